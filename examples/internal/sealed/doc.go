// Package sealed has a test and nothing else: it lets an application and a user do
// everything that gives somebody a bearer value, on every store, and then searches what
// the store keeps for each of those values. Whoever reads a database, or a backup of it,
// can act as nobody.
package sealed
