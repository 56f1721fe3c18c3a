// Command management is a provider that is set up through its management API, as an
// administrator's script or an infrastructure tool would do it.
//
// Go code makes the first client that may call the API, and nothing else:
//
//	go run ./examples/management
//
// The program then asks for a token as that client, lets applications register
// themselves and opens a connection to them, and goes on serving. What it prints is
// enough to go on with curl, or with a management SDK: the tests of this package drive
// several of them, in Go and in Node.js.
package main
