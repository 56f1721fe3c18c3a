// Package storetest is the conformance kit for the interfaces of package store:
// it proves that a store keeps the twelve rules, and everything else that the
// interfaces promise.
//
// # Use
//
// A test of a few lines runs everything:
//
//	func TestConformance(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) store.Stores {
//			db := openEmpty(t) // closed by t.Cleanup
//			return mystore.New(db).Stores()
//		}, nil)
//	}
//
// A host that keeps only some records itself runs only those parts: there is one
// function for each interface, [RunClients], [RunTickets] and so on. A host that
// has users of its own, which opkit reads but never changes, uses
// [RunUserStore].
//
// The function that opens the store is called once for each check and has to
// return a store without any data. Checks run one after the other; a test may
// run several parts in parallel, each with stores of its own.
//
// Two more functions open the same data again. They are fields of [Options], and
// without them the checks that need them are skipped:
//
//   - Second opens another handle while the first is in use, as another process
//     does. With it every race is run once more through both handles.
//   - Reopen closes the data and opens it again, as a restart does.
//
// The document docs/writing-a-store.md walks through a store and its test.
//
// # What is checked
//
// Each failure quotes the rule of package store that was broken, says what the
// check does, and shows what it found:
//
//	--- FAIL: TestConformance/Tickets/consume-race
//	    package store, rule 7: Single use is decided inside the store. …
//	    check: Of concurrent consumes exactly one succeeds; …
//	    found: round 17: two of 8 concurrent calls succeeded
//
// Every kind of record goes through the same checks: every field survives, as do
// times and large values; hostile tenants and identifiers stay apart; records
// are copied; errors, versions, unique values, lists and their pages are right;
// records expire by the caller's time, however far from the clock's, and are
// collected. What only one interface promises has
// checks of its own.
//
// Calls are interrupted: their context ends when it was looked at once, twice, and so on,
// and what a call left has to be whole. Lists are read while others write.
//
// Where security hangs on which of several concurrent calls wins, eight of them
// wait for each other and start at once, until 2,000 rounds or two seconds have
// passed. The context that they pass lets others run when it is looked at, so a
// store that looks at its context before each step is interrupted between steps.
// With -short there are a tenth of the rounds and small lists only; that is for
// development, not a proof.
//
// # Faults
//
// [Inject] makes stores fail, or be slow, between any two calls. It is for those who use
// stores: a host tests with it what its users see when the database is down.
//
// # What a result means
//
// There are no false positives: a failure is a breach of the contract, and what
// the contract leaves open is not checked. A store may wrap its errors, round
// times instead of truncating them, return empty for nil, reformat JSON, and
// refuse identifiers that its database cannot keep: those that contain a zero
// byte or are not UTF-8.
//
// A success is no proof. Races may go unnoticed; run the kit with -race, and
// more than once.
//
// The kit itself is tested against some hundred stores that are broken on
// purpose, each of which a check has to catch.
package storetest
