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
// Each tenant has an ES256 and an RS256 key. They are made at first use, by
// whoever gets its record into the store first, since a generation exists once.
// Private halves are sealed under [Config.Secrets] and bound to their tenant and
// kid; they are opened once per process, behind crypto.Signer, so that a key that
// lives elsewhere only needs another way of opening its record. kid is the
// thumbprint of RFC 7638.
//
// The directory keeps keys in their parsed form itself, for at most
// [Config.KeyStaleness]. A kid that it does not know makes it look into the store
// at once, because another node may just have made the key, but no more than once
// in that time, so that strangers who make up kids cannot turn verification into
// reads. That is why [store.SigningKeyStore] should not sit behind a cache here: a
// cache would hide the very key that is looked for.
//
// [Directory.Verify] accepts only what [Directory.Sign] makes: a header of exactly
// alg, typ and kid, a key of this tenant that has not expired, and the algorithm
// of that key. A retired key no longer signs but verifies until it expires.
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
package tenant
