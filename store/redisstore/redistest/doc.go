// Package redistest starts Redis servers of its own for tests, single ones and
// clusters.
//
//	func TestMain(m *testing.M) { os.Exit(redistest.Main(m)) }
//
//	func TestSomething(t *testing.T) {
//		client := redistest.Start(t).Client(t)
//		...
//	}
//
// The server that all tests of a program share is started by the first that asks for
// it and stopped by Main. It listens on a socket in a temporary directory only; the
// nodes of a cluster, which cannot, listen on free ports of 127.0.0.1. If the test runs
// as root, the servers run as the user redis or nobody.
//
// The program is that of Debian's package redis-server, or valkey-server if that is in
// PATH instead. Where it is missing, a test that needs it is skipped and says so; with
// CI=true it fails.
package redistest
