// Command quickstart runs a whole provider on loopback, with everything that is
// needed to try dynamic client registration: a tenant, a connection with a user,
// a management client, an API, and a third-party application that registers
// itself.
//
//	go run ./examples/quickstart                # then follow what it prints
//	go run ./examples/quickstart -walkthrough   # performs every step by itself
//
// The tenant starts as every tenant does: dynamic registration is off and no
// connection is promoted. The commands that the quickstart prints, or the flag
// -ready, change that. Its tenant is permissive so that applications can use the
// implicit flow; -mode strict shows the default of every other tenant.
//
// Data is kept in an SQLite file, and the provider's secret in a file beside it
// that only its owner can read. Both survive every kind of end. Delete them to
// start anew.
//
// This is a demonstration: it prints passwords, and with -tls makes a certificate
// authority that lives as long as the process.
package main
