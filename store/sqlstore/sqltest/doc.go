// Package sqltest opens SQLite for package sqlstore with the driver
// modernc.org/sqlite, which needs no C compiler. It is a module of its own, so
// that the driver is a dependency of those programs only that want it, and it
// holds the tests of sqlstore on a real database.
package sqltest
