package storetest

// rule is a sentence of package store's documentation that a check proves.
type rule struct {
	// number is the rule's, 0 for what stands outside the numbered list.
	number int
	text   string
}

// The texts are those of store/doc.go; a test compares them.
var (
	ruleContext  = rule{1, "Context first. A call honours cancellation: with a context that is already done it returns the context's error and changes nothing."}
	ruleTenants  = rule{2, "No call crosses tenants. The tenant is an explicit parameter or the record's TenantID; the same identifier in another tenant is another record."}
	ruleSecrets  = rule{3, "A store never sees a bearer value. Secrets arrive as a [Digest] or as [Sealed] bytes that only the provider can open."}
	ruleClock    = rule{4, "A store never reads a clock. Where time matters the caller passes now."}
	ruleExpired  = rule{5, "Expired is not found, also before it was collected. A record has expired when its ExpiresAt is not after now."}
	ruleErrors   = rule{6, "Errors are [ErrNotFound], [ErrExists], [ErrConsumed] and [ErrConflict], tested with errors.Is; they may be wrapped."}
	ruleOnce     = rule{7, "Single use is decided inside the store. Of any number of concurrent calls exactly one wins; each loser gets the record together with ErrConsumed, so that what the winner obtained can be revoked."}
	ruleTombs    = rule{8, "Tombstones live until they expire: a consumed ticket and a revoked family stay known, and their identifiers taken, until then."}
	ruleCopies   = rule{9, "Values are copied in and out. Nothing that a caller does to a record it passed or received changes what is stored."}
	ruleTimes    = rule{10, "Times round-trip in UTC to the microsecond. The zero time stays zero."}
	ruleAbsent   = rule{11, "Deleting or revoking what is absent is nil."}
	ruleHandles  = rule{12, "A call sees every write that returned before it began, also one made through another handle on the same data."}
	ruleVersions = rule{0, "Create stores Version 1 whatever the caller set; Update compares the record's Version with the stored one, answers ErrConflict if they differ and ErrNotFound if the record is absent, and otherwise stores the record with Version+1."}
	ruleLists    = rule{0, "Lists are ordered by identifier, ascending and bytewise; see [Page]."}
	ruleDurable  = rule{0, "A mutation that has to survive a crash is one call. Between two calls a crash may lose work but never security."}
)

// The rest is in the documentation of the records and methods.
var (
	ruleFields    = rule{0, "Every field of a record is kept."}
	ruleUnique    = rule{0, "ErrExists says that the identifier, or another value that has to be unique, is taken."}
	ruleMethod    = rule{0, "A method does what its documentation says."}
	ruleCollected = rule{0, "A collection removes at most limit expired records and returns how many."}
)
