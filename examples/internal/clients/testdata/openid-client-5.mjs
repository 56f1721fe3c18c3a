import assert from 'node:assert/strict'
import { Issuer, generators } from 'openid-client-5'
import { signIn } from './agent.mjs'

const redirect_uri = 'https://app.example.com/callback'
const issuer = await Issuer.discover(process.argv[2])
const client = await issuer.Client.register({
  client_name: 'openid-client 5', redirect_uris: [redirect_uri], grant_types: ['authorization_code', 'implicit'],
  response_types: ['code', 'id_token', 'id_token token', 'code id_token', 'code token', 'code id_token token'],
})
for (const response_type of client.response_types) {
  const nonce = generators.nonce(), state = generators.state()
  const back = await signIn(
    client.authorizationUrl({ redirect_uri, response_type, scope: 'openid email', nonce, state }),
    url => url.href.startsWith(redirect_uri),
  )
  const params = Object.fromEntries(new URLSearchParams(back.hash.slice(1) || back.search))
  const tokens = await client.callback(redirect_uri, params, { nonce, state, response_type })
  if (tokens.access_token) assert.equal((await client.userinfo(tokens)).email, process.env.USERNAME_OF_USER, response_type)
  else assert.equal(response_type, 'id_token')
}
