// Package clients has no code but tests: client libraries that many applications use
// register themselves and sign a user in, each through its own API and with nothing
// but the issuer's address, which has a path or none, and a slash at its end or none.
package clients
