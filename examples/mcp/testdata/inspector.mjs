// The OAuth steps of the MCP Inspector's debugger (1.0.3), one after the other, with the
// functions of the official SDK that it is built on. It is not the Inspector itself: what
// it registers and the order of the steps are read from its source. Whoever started it plays the
// user's browser, as in client.mjs.
import { createInterface } from "node:readline";
import {
  discoverAuthorizationServerMetadata, discoverOAuthProtectedResourceMetadata, exchangeAuthorization,
  registerClient, selectResourceURL, startAuthorization,
} from "@modelcontextprotocol/sdk/client/auth.js";

const [, , server, origin] = process.argv;
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const say = (message) => process.stdout.write(JSON.stringify(message) + "\n");

const redirectUri = origin + "/oauth/callback/debug";
const resourceMetadata = await discoverOAuthProtectedResourceMetadata(server, {});
const resource = await selectResourceURL(server, {}, resourceMetadata);
const metadata = await discoverAuthorizationServerMetadata(new URL(resourceMetadata.authorization_servers[0]));
const scope = resourceMetadata.scopes_supported.join(" ");
const clientInformation = await registerClient(server, {
  metadata,
  clientMetadata: {
    redirect_uris: [origin + "/oauth/callback", redirectUri], token_endpoint_auth_method: "none",
    grant_types: ["authorization_code", "refresh_token"], response_types: ["code"],
    client_name: "MCP Inspector", client_uri: "https://github.com/modelcontextprotocol/inspector", scope,
  },
});
// Before it asks, it looks at the host of the server itself: 404 is right, other answers
// would leave it without scopes.
await discoverAuthorizationServerMetadata(new URL("/", server));
const { authorizationUrl, codeVerifier } = await startAuthorization(server, {
  metadata, clientInformation, redirectUrl: redirectUri, scope, state: "0123456789abcdef", resource,
});
say({ open: authorizationUrl.href });
const { value } = await lines.next();
const tokens = await exchangeAuthorization(server, {
  metadata, clientInformation, authorizationCode: new URL(value).searchParams.get("code"), codeVerifier, redirectUri, resource,
});
say({ scope: tokens.scope, refresh: Boolean(tokens.refresh_token), accessToken: tokens.access_token });
process.exit(0);
