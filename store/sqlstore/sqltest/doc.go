// Package sqltest opens databases for package sqlstore: SQLite with the driver
// modernc.org/sqlite, which needs no C compiler, and PostgreSQL with pgx. It is a
// module of its own, so that the drivers are dependencies of those programs only
// that want them, and it holds the tests of sqlstore on real databases. Those on
// PostgreSQL start a server of their own: see package pgtest.
package sqltest
