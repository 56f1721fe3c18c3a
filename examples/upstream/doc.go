// Command upstream is a provider whose users sign in at another provider, here called the
// partner: another opkit, in the same program. It shows what a connection to an upstream
// takes on both sides, see docs/upstream.md.
//
//	go run ./examples/upstream
//
// Then open the address that it prints. Its certificates are made when it starts, so that
// browsers warn.
package main
