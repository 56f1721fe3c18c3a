// Package postgres opens PostgreSQL for package sqlstore with the driver pgx. It is
// a package of its own, so that a program that keeps its records in SQLite is not
// linked with pgx.
package postgres
