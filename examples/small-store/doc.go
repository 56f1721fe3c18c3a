// Package smallstore is the store that docs/writing-a-store.md writes: tickets in one
// table of a SQL database. A test compares the two, so that what the document shows is
// what was compiled and proved.
package smallstore
