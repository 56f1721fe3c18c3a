// Command conformance is the provider that the OpenID Foundation's conformance
// suite is run against: https on loopback with a certificate made at start, a
// permissive tenant with dynamic registration open to everybody, one domain
// connection, and a user who has every standard claim.
//
//	go run ./examples/conformance
//
// config.json is the suite's configuration for this provider and plans.txt the
// plans that are run with it; both are for the default flags. docs/conformance.md
// says how to repeat the run, and what came out. A POST to /rotate-keys replaces the
// signing keys, which one module waits for.
//
// Everything is kept in memory, the user's password is printed, and certificates
// that nobody signed are the rule here: the command serves only loopback.
package main
