// The management SDK for Node.js, version 7, against the provider of the test.
import assert from "node:assert/strict";
import { ManagementClient, ManagementError } from "auth0";
import { domain, audience, clientId, clientSecret, database, seeded, overHTTP } from "./arguments.mjs";

overHTTP();
const api = new ManagementClient({ domain, audience, clientId, clientSecret, maxRetries: 0 });

async function refused(promise, status, errorCode, message) {
  await assert.rejects(promise, (err) => {
    assert.ok(err instanceof ManagementError, String(err));
    assert.equal(err.statusCode, status);
    assert.equal(err.body.statusCode, status);
    assert.equal(err.body.errorCode, errorCode);
    assert.equal(typeof err.body.error, "string");
    assert.match(err.body.message, message);
    return true;
  });
}

async function all(page) {
  const records = [];
  for await (const record of await page) records.push(record);
  return records;
}

// Settings
let settings = await api.tenants.settings.get();
assert.equal(settings.flags.enable_dynamic_client_registration, false);
settings = await api.tenants.settings.update({ flags: { enable_dynamic_client_registration: true }, dynamic_client_registration_security_mode: "permissive" });
assert.equal(settings.flags.enable_dynamic_client_registration, true);
assert.equal(settings.dynamic_client_registration_security_mode, "permissive");
await refused(api.tenants.settings.update({ flags: { enable_dynamic_client_registration: "yes" } }), 400, "invalid_body", /enable_dynamic_client_registration/);

// Connections
const connection = await api.connections.create({ name: "Staff", strategy: "auth0" });
assert.match(connection.id, /^con_/);
assert.equal((await api.connections.update(connection.id, { is_domain_connection: true })).is_domain_connection, true);
assert.equal((await api.connections.get(connection.id)).is_domain_connection, true);
await api.connections.checkStatus(connection.id);
await refused(api.connections.checkStatus("con_none"), 404, "inexistent_connection", /does not exist/);
await api.connections.clients.update(connection.id, [{ client_id: "a", status: true }, { client_id: "b", status: true }, { client_id: "c", status: true }]);
await api.connections.clients.update(connection.id, [{ client_id: "b", status: false }]);
assert.deepEqual((await all(api.connections.clients.get(connection.id, { take: 1 }))).map((c) => c.client_id), ["a", "c"]);
await refused(api.connections.create({ name: "Staff", strategy: "auth0" }), 409, "connection_conflict", /already exists/);
for (let i = 0; i < 4; i++) await api.connections.create({ name: "More-" + i, strategy: "auth0" });
assert.equal((await all(api.connections.list({ take: 2 }))).length, 6);
await api.connections.delete(connection.id);
await refused(api.connections.get(connection.id), 404, "inexistent_connection", /does not exist/);

// Clients
const client = await api.clients.create({ name: "Shop", app_type: "regular_web", callbacks: ["https://shop.example.com/cb"], client_metadata: { team: "web" } });
assert.equal((await api.clients.update(client.client_id, { name: "Shop 2", client_metadata: { team: null, tier: "1" } })).name, "Shop 2");
assert.deepEqual((await api.clients.get(client.client_id)).client_metadata, { tier: "1" });
const rotated = await api.clients.rotateSecret(client.client_id);
assert.notEqual(rotated.client_secret, client.client_secret);
await refused(api.clients.update(client.client_id, { callbacks: ["https://a.example/#x"] }), 400, "invalid_body", /callbacks/);
const partner = await api.clients.create({ name: "Partner", is_first_party: false, third_party_security_mode: "strict", callbacks: ["https://partner.example.net/cb"] });
assert.match(partner.client_id, /^tpc_/);
assert.equal((await all(api.clients.list({ per_page: 1 }))).length, 3);
assert.equal((await all(api.clients.list({ is_first_party: false }))).length, 1);

// APIs and what clients may ask of them
const api2 = await api.resourceServers.create({ identifier: "https://orders.example.com", name: "Orders", scopes: [{ value: "read:orders" }], token_lifetime: 600 });
assert.equal((await api.resourceServers.update(api2.id, { token_lifetime: 300 })).token_lifetime, 300);
const grant = await api.clientGrants.create({ client_id: client.client_id, audience: api2.identifier, scope: ["read:orders"] });
const byDefault = await api.clientGrants.create({ default_for: "third_party_clients", subject_type: "user", audience: api2.identifier, scope: ["read:orders"] });
assert.deepEqual((await api.clientGrants.update(grant.id, { scope: [] })).scope, []);
assert.deepEqual((await all(api.clientGrants.list({ default_for: "third_party_clients" }))).map((g) => g.id), [byDefault.id]);
assert.equal((await all(api.clientGrants.list({ take: 1, audience: api2.identifier }))).length, 2);
await api.clientGrants.delete(grant.id);
await api.resourceServers.delete(api2.id);

// What a user's sign-in left behind
const log = await all(api.logs.list({ per_page: 2 }));
assert.deepEqual(log.filter((e) => e.user_id === seeded).map((e) => e.type), ["user.consent", "s", "f"]);
assert.equal((await api.logs.get(log[0].log_id)).log_id, log[0].log_id);
assert.equal((await all(api.logs.list({ search: `user_id:"${seeded}" AND type:s` }))).length, 1);
assert.equal((await all(api.users.logs.list(seeded))).length, 3);
const [token] = await all(api.users.refreshToken.list(seeded));
assert.equal((await api.refreshTokens.get(token.id)).client_id, clientId);
const session = await api.sessions.get(token.session_id);
assert.equal(session.user_id, seeded);
assert.equal((await all(api.users.sessions.list(seeded)))[0].id, session.id);
await api.refreshTokens.delete(token.id);
await api.users.refreshToken.delete(seeded);
await api.sessions.revoke(session.id);
await refused(api.sessions.get(session.id), 404, undefined, /does not exist/);

// Users
const user = await api.users.create({ connection: database, email: "grace@example.com", password: "correct-horse-1906", verify_email: false, user_metadata: { plan: "gold" } });
assert.equal((await api.users.update(user.user_id, { blocked: true, user_metadata: { seat: "3a" } })).blocked, true);
assert.deepEqual((await api.users.get(user.user_id)).user_metadata, { plan: "gold", seat: "3a" });
assert.equal((await api.users.listUsersByEmail({ email: "Grace@example.com" }))[0].user_id, user.user_id);
assert.equal((await all(api.users.list({ q: 'email:"grace@example.com"' }))).length, 1);
await api.users.update(user.user_id, { password: "another-horse-1992", connection: database });
await refused(api.users.create({ connection: database, email: "grace@example.com", password: "correct-horse-1906" }), 409, "user_exists", /already exists/);
const grants = await all(api.userGrants.list({ user_id: seeded }));
assert.equal(grants[0].clientID, clientId);
await api.userGrants.delete(grants[0].id);
assert.deepEqual(await all(api.users.sessions.list(user.user_id)), []);
await api.users.sessions.delete(user.user_id);
await api.users.delete(user.user_id);
await refused(api.users.get(user.user_id), 404, "inexistent_user", /does not exist/);

// Keys
const key = await api.keys.signing.rotate();
assert.equal((await api.keys.signing.get(key.kid)).kid, key.kid);
assert.equal((await api.keys.signing.revoke(key.kid)).revoked, true);
assert.ok((await api.keys.signing.list()).length > 0);

// Who may not
await refused(new ManagementClient({ domain, token: "garbage", maxRetries: 0 }).clients.list(), 401, undefined, /token/);
await assert.rejects(new ManagementClient({ domain, clientId, audience, clientSecret: "wrong", maxRetries: 0 }).clients.list(), (err) => err.statusCode === 401);
