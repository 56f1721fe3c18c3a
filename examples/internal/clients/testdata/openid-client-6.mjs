import assert from 'node:assert/strict'
import * as client from 'openid-client'
import { signIn } from './agent.mjs'

const issuer = new URL(process.argv[2]), redirect_uri = 'http://127.0.0.1:9/callback'
const config = await client.dynamicClientRegistration(
  issuer,
  { client_name: 'openid-client 6', redirect_uris: [redirect_uri], application_type: 'native', grant_types: ['authorization_code', 'refresh_token'] },
  undefined,
  { execute: [client.allowInsecureRequests] },
)
assert.equal(config.serverMetadata().issuer, process.argv[2])

async function tokens(build) {
  const pkceCodeVerifier = client.randomPKCECodeVerifier(), expectedNonce = client.randomNonce(), expectedState = client.randomState()
  const address = await build(config, {
    redirect_uri, scope: 'openid email offline_access', nonce: expectedNonce, state: expectedState,
    code_challenge: await client.calculatePKCECodeChallenge(pkceCodeVerifier), code_challenge_method: 'S256',
  })
  const back = await signIn(address, url => url.href.startsWith(redirect_uri))
  return client.authorizationCodeGrant(config, back, { pkceCodeVerifier, expectedNonce, expectedState, idTokenExpected: true })
}

const first = await tokens(client.buildAuthorizationUrl)
const user = await client.fetchUserInfo(config, first.access_token, first.claims().sub)
assert.equal(user.email, process.env.USERNAME_OF_USER)

const second = await client.refreshTokenGrant(config, first.refresh_token)
assert.notEqual(second.refresh_token, first.refresh_token)
assert.equal((await client.tokenIntrospection(config, second.access_token)).active, true)
await client.tokenRevocation(config, second.refresh_token)
assert.equal((await client.tokenIntrospection(config, second.access_token)).active, false)
await assert.rejects(client.refreshTokenGrant(config, second.refresh_token), { error: 'invalid_grant' })

const pushed = await tokens(client.buildAuthorizationUrlWithPAR)
assert.equal(pushed.token_type, 'bearer')
const goodbye = client.buildEndSessionUrl(config, { id_token_hint: pushed.id_token })
assert.equal((await fetch(goodbye)).status, 200)
