// Package pgtest starts a PostgreSQL server of its own for tests, and a PgBouncer
// in front of it.
//
//	func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }
//
//	func TestSomething(t *testing.T) {
//		url := pgtest.Start(t).Database(t)
//		...
//	}
//
// The server is started by the first test that asks for it and stopped by Main.
// It listens on a socket in a temporary directory only, and runs as the user
// postgres or nobody if the test runs as root, because PostgreSQL refuses to.
//
// The programs are those of Debian's package postgresql (or any other, if initdb
// is in PATH). Where they are missing, a test that needs them is skipped and says
// so; with CI=true it fails.
package pgtest
