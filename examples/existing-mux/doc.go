// Command existing-mux is a shop with users, a login page and a session cookie of
// its own, to which opkit is added: other people's applications may then sign its
// customers in and read their orders.
//
//	go run ./examples/existing-mux
//
// The files shop.go and users.go are the shop as it was. provider.go is what was
// added: opkit's handlers are mounted one by one, under paths that the shop chose,
// and the shop's own login serves them through [connection.Host]. Applications
// that register are strict: code flow with PKCE, and only the scopes that the shop
// grants to third parties.
//
// Everything is kept in memory.
package main
