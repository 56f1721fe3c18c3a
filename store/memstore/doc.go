// Package memstore keeps everything in memory. It is the reference
// implementation of the interfaces of package store: where their text leaves a
// question open, this package shows one right answer. It serves tests,
// examples, and single processes that may forget everything when they end.
//
// # How it is built
//
// Each kind of record lives in a table, and each table is split into stripes
// with a lock each. A call that reads or changes one record takes one stripe's
// lock for a few map operations; records are copied outside it. A stored record
// is never modified: a change puts another one in its place, so what a reader
// took out under the lock stays valid after it.
//
// Three things reach further than one stripe.
//
//   - A list visits the stripes one after the other and merges what they hold.
//   - Values that are unique beside the identifier (a connection's name, a
//     user's logins, a grant's user, client and audience) are claimed in one map
//     for each table with its own lock.
//   - RevokeFamilies holds all stripes of the families, because its effect is one
//     atomic step.
//
// Lock order: stripes of one table in ascending order, then the claims of that
// table. No call holds locks of two tables.
//
// Deleting a grant kills its families in one step although they are in another
// table: a grant and its families share one flag. DeleteGrant sets it, and every
// call treats a family whose flag is set as absent. Removing those families
// afterwards only frees memory.
//
// # What it costs
//
// Beside the record a table needs about 70 bytes for its map entry and about 34
// for each list that the record is in. A page of n records costs
// O(stripes × (log records + n)) however long the list is: lists are kept
// sorted, never sorted when they are read. Collection takes expired records from
// the front of a list by expiry, at most 256 under one lock. Clients are also
// listed by how long nobody used them, and removed one under a lock.
package memstore
