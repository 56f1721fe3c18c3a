// Package sqltest opens SQLite for package sqlstore with the driver
// modernc.org/sqlite, which needs no C compiler. It is a module of its own, so
// that drivers are dependencies of those programs only that want them, and it
// holds the tests of sqlstore on real databases. Package postgres below it opens
// PostgreSQL with pgx, package pgtest starts a server for tests, package flowtest
// uses providers as people and applications do.
package sqltest
