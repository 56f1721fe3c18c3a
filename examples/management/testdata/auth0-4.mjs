// The management SDK for Node.js, version 4, against the provider of the test.
import assert from "node:assert/strict";
import { ManagementClient, ManagementApiError } from "auth0-4";
import { domain, audience, clientId, clientSecret, database, seeded, overHTTP } from "./arguments.mjs";

overHTTP();
const api = new ManagementClient({ domain, audience, clientId, clientSecret, retry: { enabled: false } });

async function refused(promise, status, errorCode, message) {
  await assert.rejects(promise, (err) => {
    assert.ok(err instanceof ManagementApiError, String(err));
    assert.equal(err.statusCode, status);
    assert.equal(err.errorCode, errorCode);
    assert.equal(typeof err.error, "string");
    assert.match(err.msg, message);
    return true;
  });
}

// Settings
assert.equal((await api.tenants.getSettings()).data.flags.enable_dynamic_client_registration, false);
const settings = (await api.tenants.updateSettings({ flags: { enable_dynamic_client_registration: true } })).data;
assert.equal(settings.flags.enable_dynamic_client_registration, true);
await refused(api.tenants.updateSettings({ support_email: 7 }), 400, "invalid_body", /support_email/);

// Connections
const connection = (await api.connections.create({ name: "Staff", strategy: "auth0" })).data;
assert.equal((await api.connections.update({ id: connection.id }, { is_domain_connection: true })).data.is_domain_connection, true);
assert.equal((await api.connections.checkStatus({ id: connection.id })).status, 200);
assert.equal((await api.connections.updateEnabledClients({ id: connection.id }, [{ client_id: "a", status: true }])).status, 204);
assert.deepEqual((await api.connections.getEnabledClients({ id: connection.id })).data.clients, [{ client_id: "a" }]);
for (let i = 0; i < 4; i++) await api.connections.create({ name: "More-" + i, strategy: "auth0" });
const names = [];
for (let page = 0; ; page++) {
  const part = (await api.connections.getAll({ page, per_page: 4, include_totals: true })).data;
  assert.equal(part.total, 6);
  names.push(...part.connections.map((c) => c.name));
  if (part.start + part.length >= part.total) break;
}
assert.equal(new Set(names).size, 6);
assert.equal((await api.connections.getAll({ name: "Staff" })).data[0].id, connection.id);
for (let from, seen = 0; ; ) {
  const part = (await api.connections.getAll({ take: 4, from })).data;
  seen += part.connections.length;
  if (!(from = part.next)) {
    assert.equal(seen, 6);
    break;
  }
}
assert.equal((await api.connections.delete({ id: connection.id })).status, 202);
await refused(api.connections.get({ id: connection.id }), 404, "inexistent_connection", /does not exist/);

// Clients
const client = (await api.clients.create({ name: "Shop", callbacks: ["https://shop.example.com/cb"] })).data;
assert.equal((await api.clients.update({ client_id: client.client_id }, { name: "Shop 2" })).data.name, "Shop 2");
assert.notEqual((await api.clients.rotateClientSecret({ client_id: client.client_id })).data.client_secret, client.client_secret);
assert.equal((await api.clients.getAll({ per_page: 1, page: 1 })).data.length, 1);
await refused(api.clients.update({ client_id: client.client_id }, { callbacks: ["https://a.example/#x"] }), 400, "invalid_body", /callbacks/);

// APIs and what clients may ask of them
const server = (await api.resourceServers.create({ identifier: "https://orders.example.com", scopes: [{ value: "read:orders" }] })).data;
assert.equal((await api.resourceServers.get({ id: server.id })).data.identifier, server.identifier);
const grant = (await api.clientGrants.create({ client_id: client.client_id, audience: server.identifier, scope: ["read:orders"] })).data;
assert.deepEqual((await api.clientGrants.update({ id: grant.id }, { scope: [] })).data.scope, []);
assert.equal((await api.clientGrants.getAll({ client_id: client.client_id })).data.length, 1);
await refused(api.clientGrants.create({ client_id: client.client_id, audience: server.identifier, scope: [] }), 409, "client_grant_conflict", /has a grant/);
assert.equal((await api.clientGrants.delete({ id: grant.id })).status, 204);
assert.equal((await api.resourceServers.delete({ id: server.id })).status, 204);
assert.equal((await api.clients.delete({ client_id: client.client_id })).status, 204);

// What a user's sign-in left behind
const log = (await api.logs.getAll({ per_page: 10, include_totals: true, q: `user_id:"${seeded}"` })).data;
assert.deepEqual([log.total, log.logs.map((e) => e.type)], [3, ["user.consent", "s", "f"]]);
assert.equal((await api.logs.get({ id: log.logs[1].log_id })).data.ip, "192.0.2.1");
assert.equal((await api.users.getLogs({ id: seeded })).data.length, 3);
assert.deepEqual((await api.logs.getAll({ take: 2 })).data.map((e) => e.type), ["f", "s"]);
assert.deepEqual((await api.logs.getAll({ from: log.logs[1].log_id, take: 2 })).data.map((e) => e.type), ["user.consent"]);
const token = (await api.users.getRefreshTokens({ user_id: seeded })).data.tokens[0];
assert.equal((await api.refreshTokens.get({ id: token.id })).data.client_id, clientId);
const session = (await api.sessions.get({ id: token.session_id })).data;
assert.equal(session.user_id, seeded);
assert.equal((await api.refreshTokens.delete({ id: token.id })).status, 204);
assert.equal((await api.users.deleteRefreshTokens({ user_id: seeded })).status, 202);
assert.equal((await api.sessions.delete({ id: session.id })).status, 202);
await refused(api.sessions.get({ id: session.id }), 404, undefined, /does not exist/);

// Users
const user = (await api.users.create({ connection: database, email: "grace@example.com", password: "correct-horse-1906" })).data;
assert.equal((await api.users.update({ id: user.user_id }, { blocked: true })).data.blocked, true);
assert.equal((await api.usersByEmail.getByEmail({ email: "grace@example.com" })).data[0].user_id, user.user_id);
assert.equal((await api.users.getAll({ q: 'email:"grace@example.com"', search_engine: "v3" })).data.length, 1);
await refused(api.users.create({ connection: database, email: "grace@example.com", password: "correct-horse-1906" }), 409, "user_exists", /already exists/);
await refused(api.users.create({ connection: database, email: "x@example.com", password: "a" }), 400, "invalid_body", /password/);
assert.equal((await api.grants.getAll({ user_id: seeded })).data[0].clientID, clientId);
assert.equal((await api.grants.deleteByUserId({ user_id: seeded })).status, 204);
assert.deepEqual((await api.users.getSessions({ user_id: user.user_id })).data.sessions, []);
assert.equal((await api.users.deleteSessions({ user_id: user.user_id })).status, 202);
assert.equal((await api.users.delete({ id: user.user_id })).status, 204);

// Keys
const key = (await api.keys.rotate()).data;
assert.equal((await api.keys.revoke({ kid: key.kid })).data.revoked, true);
assert.ok((await api.keys.getAll()).data.length > 0);

// Who may not
await refused(new ManagementClient({ domain, token: "garbage", retry: { enabled: false } }).clients.getAll(), 401, undefined, /token/);
