// An MCP client on the official TypeScript SDK. Whoever started it plays the user's
// browser: it writes the address to open as a line of JSON and reads the address at
// which the browser arrived.
import { createInterface } from "node:readline";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { UnauthorizedError } from "@modelcontextprotocol/sdk/client/auth.js";

const [, , server, redirectURL, documentURL] = process.argv;
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const say = (message) => process.stdout.write(JSON.stringify(message) + "\n");

class Provider {
  // keep says whether refresh tokens are kept. The SDK, when it is told that a token
  // lacks scope, refreshes it if it can, which gives no more scope; without a refresh
  // token it asks the user again.
  constructor(keep) { this.keep = keep; }
  get redirectUrl() { return redirectURL; }
  get clientMetadataUrl() { return documentURL; }
  get clientMetadata() {
    return {
      client_name: "TypeScript client", redirect_uris: [redirectURL], token_endpoint_auth_method: "none",
      grant_types: ["authorization_code", "refresh_token"], response_types: ["code"],
    };
  }
  state() { return "some-state"; }
  clientInformation() { return this.client; }
  saveClientInformation(client) { this.client = client; say({ registered: client.client_id }); }
  tokens() { return this.saved; }
  saveTokens(tokens) {
    say({ scope: tokens.scope, refresh: Boolean(tokens.refresh_token) });
    this.saved = this.keep ? tokens : { ...tokens, refresh_token: undefined };
  }
  redirectToAuthorization(url) { say({ open: url.href }); }
  saveCodeVerifier(verifier) { this.verifier = verifier; }
  codeVerifier() { return this.verifier; }
  invalidateCredentials(scope) { say({ invalidated: scope }); if (scope !== "verifier") { this.saved = undefined; if (scope !== "tokens") this.client = undefined; } }
}

// attempt runs work on a connection, through as many authorizations as it takes.
async function attempt(provider, work) {
  for (let round = 0; round < 3; round++) {
    const transport = new StreamableHTTPClientTransport(new URL(server), { authProvider: provider });
    const client = new Client({ name: "typescript-client", version: "1.0.0" });
    try {
      await client.connect(transport);
      return await work(client);
    } catch (error) {
      if (!(error instanceof UnauthorizedError)) throw error;
      const { value } = await lines.next();
      await transport.finishAuth(new URL(value).searchParams.get("code"));
    } finally {
      await client.close();
    }
  }
  throw new Error("asked for authorization again and again");
}

const tool = (name, text) => (client) => client.callTool({ name, arguments: text ? { text } : {} });

const stepping = new Provider(false);
const tools = await attempt(stepping, (client) => client.listTools());
say({ tools: tools.tools.map((tool) => tool.name).sort() });
say({ before: (await attempt(stepping, tool("list_notes"))).structuredContent });
say({ after: (await attempt(stepping, tool("add_note", "from TypeScript"))).structuredContent });

const refreshing = new Provider(true);
await attempt(refreshing, tool("list_notes"));
refreshing.saved = { ...refreshing.saved, access_token: "x." + refreshing.saved.access_token };
say({ refreshed: (await attempt(refreshing, tool("list_notes"))).structuredContent });

if (!documentURL) {
  // Its registration is gone: the refresh token is refused with invalid_client.
  say({ forget: refreshing.client.client_id });
  await lines.next();
  refreshing.saved = { ...refreshing.saved, access_token: "x." + refreshing.saved.access_token };
  say({ again: (await attempt(refreshing, tool("list_notes"))).structuredContent });
}
say({ done: true });
process.exit(0);
