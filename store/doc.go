// Package store declares the records that opkit keeps and the small interfaces
// that keep them. It depends on the standard library only, so that a store can
// be written without importing anything else.
//
// [Stores] is a struct with one field per interface. A host mixes backends
// freely: users in its own table, clients in PostgreSQL, tickets in Redis. Four
// implementations come with opkit: store/memstore (the reference),
// store/sqlstore (database/sql without a driver), store/redisstore (tickets and
// sessions, a module of its own) and store/cachestore (a decorator for configuration
// records). Package storetest proves any other.
//
// # The rules
//
// Every implementation keeps these rules. The conformance kit in storetest has
// at least one check for each and prints the rule that it found broken.
//
//  1. Context first. A call honours cancellation: with a context that is already
//     done it returns the context's error and changes nothing.
//  2. No call crosses tenants. The tenant is an explicit parameter or the
//     record's TenantID; the same identifier in another tenant is another record.
//  3. A store never sees a bearer value. Secrets arrive as a [Digest] or as
//     [Sealed] bytes that only the provider can open.
//  4. A store never reads a clock. Where time matters the caller passes now.
//  5. Expired is not found, also before it was collected. A record has expired
//     when its ExpiresAt is not after now.
//  6. Errors are [ErrNotFound], [ErrExists], [ErrConsumed] and [ErrConflict],
//     tested with errors.Is; they may be wrapped. So is [ErrForgotten], of stores that
//     can lose something. Any other error is a system error: callers log it and answer
//     server_error without its text.
//  7. Single use is decided inside the store. Of any number of concurrent calls
//     exactly one wins; each loser gets the record together with ErrConsumed, so
//     that what the winner obtained can be revoked.
//  8. Tombstones live until they expire: a consumed ticket and a revoked family
//     stay known, and their identifiers taken, until then.
//  9. Values are copied in and out. Nothing that a caller does to a record it
//     passed or received changes what is stored. Records from a store behind
//     cachestore are shared and must not be modified; everything opkit reads is
//     treated so.
//  10. Times round-trip in UTC to the microsecond. The zero time stays zero.
//  11. Deleting or revoking what is absent is nil.
//  12. A call sees every write that returned before it began, also one made
//     through another handle on the same data.
//
// Records with a Version are updated by compare-and-swap: Create stores Version
// 1 whatever the caller set; Update compares the record's Version with the
// stored one, answers ErrConflict if they differ and ErrNotFound if the record
// is absent, and otherwise stores the record with Version+1.
//
// Lists are ordered by identifier, ascending and bytewise; see [Page].
//
// A client that nobody uses is removed by compare-and-swap as well: RemoveClients
// compares Version and removes in one step; see [ClientSweeper].
//
// A mutation that has to survive a crash is one call. Between two calls a crash
// may lose work but never security.
//
// # Grants, families, codes
//
// An authorization code and a refresh token are sealed, self-contained values;
// what the store keeps is the [Family] that a redemption starts. StartFamily is
// therefore the one place where a code's single use is decided, in the same step
// that makes sure that the grant still exists, and RotateFamily is the one place
// where a refresh token's is. A code that nobody redeems leaves nothing behind,
// losing the ticket store never makes a spent code usable again, and a refresh
// chain is one row however long it lives. That is why grants and families are
// one field of [Stores]: the atomic steps span both.
package store
