import assert from 'node:assert/strict'
import express from 'express'
import { auth } from 'express-openid-connect'
import session from 'express-session'
import passport from 'passport'
import OpenIDConnectStrategy from 'passport-openidconnect'
import { cookies, signIn } from './agent.mjs'

const issuer = process.argv[2]
const metadata = await (await fetch(issuer.replace(/\/$/, '') + '/.well-known/openid-configuration')).json()

// serve starts an application, which has to know its address to register it.
async function serve(name, build) {
  const app = express()
  const server = app.listen(0, '127.0.0.1')
  await new Promise(done => server.once('listening', done))
  const base = `http://127.0.0.1:${server.address().port}`
  const response = await fetch(metadata.registration_endpoint, {
    method: 'POST', headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ client_name: name, redirect_uris: [`${base}/callback`], application_type: 'native' }),
  })
  const client = await response.json()
  assert.equal(response.status, 201, JSON.stringify(client))
  build(app, base, client)

  const jar = new Map(), home = `${base}/home`
  await signIn(`${base}/login`, url => url.href === home, jar)
  const page = await fetch(home, { headers: { cookie: cookies(jar) } })
  const user = await page.json()
  assert.equal(page.status, 200)
  server.closeAllConnections()
  server.close()
  return user
}

for (const response_type of ['id_token', 'code']) {
  const user = await serve(`express-openid-connect ${response_type}`, (app, baseURL, client) => {
    app.use(auth({
      issuerBaseURL: issuer, baseURL, clientID: client.client_id, clientSecret: client.client_secret, secret: 'a long secret of the application', authRequired: false,
      routes: { login: false },
      authorizationParams: { response_type, scope: 'openid email', ...(response_type === 'id_token' && { response_mode: 'form_post' }) },
    }))
    app.get('/login', (_, response) => response.oidc.login({ returnTo: '/home' }))
    // Where there is an access token, the claims of scopes are at userinfo (Core §5.4).
    app.get('/home', async ({ oidc }, response) => response.json(oidc.accessToken ? await oidc.fetchUserInfo() : oidc.user))
  })
  assert.equal(user.email, process.env.USERNAME_OF_USER, response_type)
}

const user = await serve('passport-openidconnect', (app, base, client) => {
  app.use(session({ secret: 'a secret', resave: false, saveUninitialized: false }), passport.initialize(), passport.session())
  passport.serializeUser((user, done) => done(null, user))
  passport.deserializeUser((user, done) => done(null, user))
  passport.use(new OpenIDConnectStrategy({
    issuer: metadata.issuer, authorizationURL: metadata.authorization_endpoint, tokenURL: metadata.token_endpoint, userInfoURL: metadata.userinfo_endpoint,
    clientID: client.client_id, clientSecret: client.client_secret, callbackURL: `${base}/callback`, scope: 'profile email', skipUserProfile: false,
  }, (_, profile, done) => done(null, profile)))
  app.get('/login', passport.authenticate('openidconnect'))
  app.get('/callback', passport.authenticate('openidconnect'), (_, response) => response.redirect(`${base}/home`))
  app.get('/home', (request, response) => response.json(request.user))
})
assert.equal(user.emails[0].value, process.env.USERNAME_OF_USER)
