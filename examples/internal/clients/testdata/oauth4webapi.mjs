import assert from 'node:assert/strict'
import * as oauth from 'oauth4webapi'
import { signIn } from './agent.mjs'

const insecure = { [oauth.allowInsecureRequests]: true }, redirect_uri = 'http://127.0.0.1:9/callback', resource = process.env.AUDIENCE
const issuer = new URL(process.argv[2])
const as = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, insecure))

// A public client, as in a browser or on a device.
const client = await oauth.processDynamicClientRegistrationResponse(
  await oauth.dynamicClientRegistrationRequest(as, { client_name: 'oauth4webapi', redirect_uris: [redirect_uri], token_endpoint_auth_method: 'none' }, insecure),
)
assert.equal(client.client_secret, undefined)

const verifier = oauth.generateRandomCodeVerifier(), nonce = oauth.generateRandomNonce(), state = oauth.generateRandomState()
const address = new URL(as.authorization_endpoint)
address.search = new URLSearchParams({
  client_id: client.client_id, redirect_uri, response_type: 'code', scope: 'openid offline_access read:notes', resource, nonce, state,
  code_challenge: await oauth.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256',
})
const back = await signIn(address, url => url.href.startsWith(redirect_uri))
const params = oauth.validateAuthResponse(as, client, back, state) // iss of RFC 9207 too
const tokens = await oauth.processAuthorizationCodeResponse(
  as, client,
  await oauth.authorizationCodeGrantRequest(as, client, oauth.None(), params, redirect_uri, verifier, { ...insecure, additionalParameters: { resource } }),
  { expectedNonce: nonce, requireIdToken: true },
)
await oauth.processRefreshTokenResponse(as, client, await oauth.refreshTokenGrantRequest(as, client, oauth.None(), tokens.refresh_token, insecure))

// The API checks the access token as RFC 9068 says.
const request = new Request('https://api.example.com/notes', { headers: { authorization: `Bearer ${tokens.access_token}` } })
const claims = await oauth.validateJwtAccessToken(as, request, resource, insecure)
assert.equal(claims.client_id, client.client_id)
assert.match(claims.scope, /\bread:notes\b/)
