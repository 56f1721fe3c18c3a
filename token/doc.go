// Package token is everything that a client or an API calls with credentials:
// the token endpoint and its grants, minting, userinfo, and for the API side a
// verifier and a bearer middleware. Minting happens here and nowhere else.
package token
