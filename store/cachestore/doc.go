// Package cachestore keeps configuration records in memory in front of another
// store: tenants, connections, clients, APIs, client grants and signing keys.
//
//	stores := cachestore.New(db.Stores(), cachestore.Config{})
//
// Users, sessions, grants, families and tickets decide security at the moment
// they are used and are never cached: their stores are passed on as they are.
//
// # How old a record may be
//
// A read returns what was stored at some moment within the last Config.Staleness
// before the read began, five seconds unless set otherwise. That bound is for
// changes made elsewhere: on another node, or through another handle. A change
// made through the stores that [New] returned is seen by the next read through
// them.
//
// The bound counts from the moment a read of the underlying store began. A write
// also discards what reads that are under way will bring, so that a value read
// before the write is not kept after it.
//
// # What is cached
//
// Reads of one record, whether it exists or not; the first page of a tenant's
// connections if it is asked for in full; the list of a tenant's signing keys.
// Other lists go to the underlying store. A system error is never kept.
//
// Concurrent reads of the same record that miss share one read of the underlying
// store. If the context of the call that makes it ends, another of the calls
// takes over.
//
// [Config.MaxEntries] bounds the memory. Identifiers that do not exist have a bound of
// their own, so that whoever makes them up cannot displace what does exist.
// [Counters] tells how often the memory has the answer.
//
// # Records are shared
//
// Rule 9 of package store has an exception for this package: a record is the
// same for everyone who reads it, together with its slices, maps and pointers.
// It must not be modified. Clone it first.
package cachestore
