// Package tenant is the tenant: who it is (issuer, resolver), how it is set
// (settings, flags and their management API), what it signs with (keys, JWKS),
// what it says about itself (metadata), and which APIs it issues tokens for. A
// [Directory] knows all tenants of a process.
//
// # Finding the tenant of a request
//
// A provider with one issuer sets [Config.Issuer]; the tenant's record is created
// at first use. A provider with several sets [Config.Resolver] to [ByHost] or
// [ByPath] and creates each tenant with [Directory.CreateTenant].
//
// Every handler asks [Directory.FromRequest], which answers a [Tenant]: a snapshot
// of the record with everything that derives from it. It is rebuilt when the
// record has another version, not when a request comes. So a request costs one
// read of the record, which a cache in front of [store.TenantStore] answers, and
// no encoding: the metadata document and the key set are prepared bytes with an
// ETag.
//
// # Issuers
//
// An issuer is an https URL, or http on a loopback host, without query and
// fragment. It is kept byte for byte, a trailing slash included, because relying
// parties compare it as a string; URLs of endpoints are made from it without that
// slash.
//
// # Signing keys
//
// Each tenant signs with ES256 and RS256. The first key of each is made at first
// use. Keys are replaced by schedule, and this is the life of one:
//
//	state      begins                                          signs  in the JWKS
//	published  when its record is stored                       no     yes
//	signing    at ActiveAt, KeyConfig.Prepublication later     yes    yes
//	retired    when the next key signs, after a SigningPeriod  no     yes
//	expired    KeyConfig.Grace later                           no     no
//	removed    with the next round of MaintainKeys
//	revoked    with RevokeSigningKey, at any time              no     no
//
// Tokens hold while the key that signed them is in the JWKS.
// A key is published long enough before it signs for every cache to have it, and
// stays published after it retired for longer than any token lives that it signed.
//
// The only write that replaces a key is that of the next key's record, which says
// from when it signs. Everything else follows from the records and the clock, so
// that all nodes come to the same answer without talking to each other: a key
// retires when a newer one of its algorithm becomes active. Generations count the
// keys of an algorithm and exist once, so that nodes which replace a key at the
// same moment end with one; revoking a key is a compare-and-swap of its record. If
// nobody calls [Directory.MaintainKeys], or the next key cannot be made, the key
// that signs goes on signing.
//
// [Directory.RotateSigningKey] is a rotation ahead of the schedule, which by
// default also publishes first. When a key has leaked, rotate with
// Rotation.Immediate and revoke the leaked key, or just revoke it, which does both:
// every token that it signed dies. [Directory.SigningKeysHandler] offers the same to
// administrators.
//
// A [KeySource] makes keys and opens them for use. The built-in one makes keys in
// this process. Another one keeps them in a KMS or an HSM; the schedule stays the
// same, and so does everything else: what the source knows a key by is stored like
// a private half. Handles are sealed under [Config.Secrets] and bound to their
// tenant and kid. A key is opened once in the life of a process, and has to prove
// with a signature that its halves belong together. kid is the thumbprint of
// RFC 7638.
//
// The directory keeps keys in their parsed form itself, for at most
// [Config.KeyStaleness]. A kid that it does not know makes it look into the store
// at once, because another node may just have made the key, but no more than once
// in that time, so that strangers who make up kids cannot turn verification into
// reads. That is why [store.SigningKeyStore] should not sit behind a cache here: a
// cache would hide the very key that is looked for.
//
// [Directory.Verify] accepts only what [Directory.Sign] makes: a header of exactly
// alg, typ and kid, a key of this tenant that is published, and the algorithm of
// that key.
//
// # Settings
//
// Everything is off and strict until somebody says otherwise: dynamic registration
// in particular. The management API under [Directory.SettingsHandler] changes
// settings by merging; [Directory.UpdateSettings] does the same for Go code, and
// both retry when somebody else changed the record in between.
//
// # APIs and client grants
//
// An API is what access tokens are issued for. [Directory.AllowedScopes] is the one
// place that decides which of its scopes a client may ask for. The management API
// is an API without a record, with the audience ISSUER/api/v2/; neither users nor
// third-party applications can obtain tokens for it.
//
// Handlers of this package add no CORS headers; who mounts them decides.
//
// # The encryption key
//
// Beside the keys that sign, the JWKS has one key with use "enc", which clients may
// encrypt request objects to (ECDH-ES with P-256). It is derived from the first of
// Config.Secrets and differs for each tenant; keys of the other secrets still
// decrypt. It lives as long as the secret, is no part of the schedule, and is never
// in a KeySource.
package tenant
