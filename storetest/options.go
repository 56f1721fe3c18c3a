package storetest

import "testing"

// Options opens the same data more than once. S is the type that the kit runs
// on: store.Stores for [Run], store.ClientStore for [RunClients], and so on. A
// nil *Options means that neither applies.
type Options[S any] struct {
	// Reopen closes s and opens the same data again, as a restarted process
	// would. It proves that what a call returned survives. Nil: the data ends with
	// the process, and the checks of durability are skipped.
	Reopen func(t *testing.T, s S) S

	// Second opens another handle on the data of s, as a second process would,
	// while s stays in use. It proves rules 7 and 12 across handles. Nil: there is
	// only ever one handle, and those checks are skipped.
	Second func(t *testing.T, s S) S
}
