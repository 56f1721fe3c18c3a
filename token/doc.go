// Package token is everything that a client or an API calls with credentials:
// the token endpoint and its grants, minting, userinfo, revocation, introspection,
// and for the API's side a [Verifier] and a bearer middleware. Minting happens here
// and nowhere else.
//
// [Issuer.Token], [Issuer.UserInfo], [Issuer.Revocation] and
// [Issuer.Introspection] are plain handlers that can be mounted at any path. They
// answer for themselves with the methods that they do not serve, but they do not
// speak CORS: a host that mounts them one by one decides which origins may call
// them.
//
// # The life of a code
//
// [Issuer.Code] seals an [Authorization] together with a random family
// identifier and an expiry. Nothing is stored, so a code that nobody redeems
// leaves nothing behind. The token endpoint then works in this order, and
// nothing that fails before step 8 uses the code up:
//
//  1. authenticate the client (RFC 6749 §3.2.1)
//  2. open the code; it must have been issued to this client (§4.1.3)
//  3. compare redirect_uri (§4.1.3) and code_verifier (RFC 7636 §4.6)
//  4. check the expiry (§4.1.2)
//  5. check again what may have changed since: the API and what the client may
//     ask of it, the tenant's flag, the connection, the user
//  6. run the claims hook and open the key of the ID token
//  7. sign the tokens, which may need a key that lives elsewhere
//  8. start the family: in one step the store makes sure that the grant still
//     exists and that the code was not redeemed before. Only then are the tokens
//     answered; whoever is refused here gets none of them
//
// A second redemption is refused by step 8, whenever and wherever it happens,
// and revokes the family: what the first one obtained is dead (§4.1.2, RFC 9700
// §4.5). An expired code that passes steps 1 to 3 revokes its family too. A code
// that fails step 2 or 3 revokes nothing, or whoever saw one could end a user's
// session.
//
// # The life of a refresh token
//
// A refresh token is sealed as well. It carries what was granted, its family and
// a generation; the store keeps one row per family with the generation that is
// valid now. Every use takes the steps above and then rotates: the store moves
// the generation from n to n+1 for exactly one caller, and the answer carries
// the token of generation n+1. Rotation applies to all clients (RFC 9700
// §4.14.2).
//
// A token of an earlier generation was used before. If it is the one just
// rotated and no more than [Config].RefreshTokenLeeway ago, the request is taken
// for a retry whose answer got lost: the answer carries the very same successor
// and a new access token, and nothing is written. Otherwise the family is
// revoked. A successor that was used ends the leeway of its predecessor.
//
// A refresh token dies with its family or grant, when it was not used for
// [Config].RefreshTokenIdle, and [Config].RefreshTokenAbsolute after the code.
// Scope can be narrowed for one access token and never widens; the audience
// never changes.
//
// # Access tokens
//
// With an audience the access token is a JWT (RFC 9068), signed with the API's
// algorithm, that the API verifies by itself with a [Verifier]. Without one it
// is opaque: sealed, so that issuing writes nothing and userinfo opens it without
// verifying a signature. Both name their grant and family, so that userinfo
// refuses them once either is gone. A JWT at an API lives until it expires, unless
// the API asks [Issuer.Introspection].
//
// A client that obtains a token for itself without an API gets an opaque one of
// no family. It opens nothing; its client can introspect it.
//
// # Revocation and introspection
//
// Access tokens are not stored, so what is alive or dead is the family: revoking
// any token of it revokes them all. [Issuer.Introspection] asks what userinfo
// asks: whether grant and family live and whether the user, the connection and
// the client may still be served. Besides what authenticates the client by an
// assertion, a revocation is one store call and an introspection at most two; for
// a value that is no token, or none of the caller's business, there is none.
//
// # Subjects
//
// [Issuer.Subject] and [Issuer.SessionID] say by which sub and sid a client knows a
// user and a session. Nothing else goes into what a client or an API reads. A
// pairwise sub cannot be turned back: what comes with a token is found through its
// grant, and a hint is compared with the sub of the user at hand.
//
// # Claims
//
// Standard claims follow the granted scopes (OpenID Connect Core §5.4). They are
// at userinfo; the ID token carries them only if no access token comes with it
// (response_type=id_token). Claims that the client asked for by name (§5.5) go where
// it asked for them: the access token says which of them userinfo gives. A [ClaimsFunc] adds custom claims, each named by a
// URI; any other name is dropped and reported.
package token
