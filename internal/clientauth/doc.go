// Package clientauth authenticates clients, in one function for every endpoint
// that needs it: the token endpoint, introspection, revocation, pushed requests.
//
// It supports client_secret_basic and client_secret_post (RFC 6749 §2.3.1),
// client_secret_jwt and private_key_jwt (RFC 7523, OpenID Connect Core §9), and
// none: a public client that only names itself.
//
// The rules, in the order in which they are applied:
//
//  1. A request uses one method. Two of them are refused even if they agree
//     (RFC 6749 §2.3).
//  2. The client is looked up in the tenant of the request. One that is unknown
//     is answered as one that is known and proved nothing.
//  3. The method is the registered one. HTTP Basic and the body stand for each
//     other unless [Authenticator.RequireRegisteredMethod] is set, because many
//     clients register one and send the other.
//  4. The proof is right: the secret by its digest, in constant time; an
//     assertion by its signature, its claims, and by being new.
//
// The keys of clients, those that they registered and those that they publish at a
// jwks_uri, are one component, [KeySets], which also verifies what they sign
// elsewhere.
//
// A failed authentication changes nothing, and nothing but an assertion that
// passed every other check writes anything.
package clientauth
