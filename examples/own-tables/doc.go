// Command own-tables is a library whose members and partner applications have been in
// its database for years, and stay there: opkit reads the members and keeps its clients
// among the partners. Tickets and sessions are in Redis if there is one, everything else
// is in a database of opkit's own.
//
//	go run ./examples/own-tables
//	go run ./examples/own-tables -redis 127.0.0.1:6379 -postgres postgres://...
//
// With one of these flags OPKIT_SECRET has to be set, to what openssl rand -hex 32
// prints, the same at every start.
//
// library.sql is the library's schema as it was, and the one column that was added for
// opkit. members.go is a [store.UserStore] over the members, partners.go a
// [store.ClientStore] over the partners, stores.go puts the stores together. The tests
// in kit_test.go prove both with the conformance kit.
package main
