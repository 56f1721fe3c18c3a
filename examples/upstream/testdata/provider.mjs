// An OpenID Provider of another make. Its arguments: issuer, address of the callback, and
// the files of its certificate and key. It takes any name and password.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import Provider from 'oidc-provider';

const [issuer, callback, certificate, key] = process.argv.slice(2);
const provider = new Provider(issuer, {
  clients: [{ client_id: 'our-provider', client_secret: 'a secret of the other provider', redirect_uris: [callback], grant_types: ['authorization_code'] }],
  claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name', 'nickname'] },
  cookies: { keys: ['a key for tests'] },
  async findAccount(_, id) {
    return { accountId: id, claims: () => ({ sub: id, email: `${id}@partner.example`, email_verified: true, name: 'Grace Hopper', nickname: 'grace' }) };
  },
});
const { port, hostname } = new URL(issuer);
createServer({ cert: readFileSync(certificate), key: readFileSync(key) }, provider.callback())
  .listen(Number(port), hostname, () => console.log('ready'));
