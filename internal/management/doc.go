// Package management is the plumbing that every management endpoint shares:
// bearer token and scope check, strict JSON, paging, the error shape. It has no
// endpoints of its own; each room serves the resources that it owns.
//
// # A resource
//
// A room writes one [HandlerFunc] for each method, wraps it with the scope that
// it needs, and joins them with [Methods]:
//
//	management.Methods{
//		"GET":   guard.Require("read:tenant_settings", get),
//		"PATCH": guard.Require("update:tenant_settings", patch),
//	}
//
// A HandlerFunc decodes with [Decode], answers with httpx.WriteJSON or a [List],
// and returns an error for everything else. The errors a caller may read are made
// with [InvalidBody], [InvalidQuery] and [Errorf]; any other error is logged and
// becomes a bare 500, so that no text of a store ever leaves the process.
//
// # Errors
//
//	{"statusCode":400,"error":"Bad Request","message":"name must be a string","errorCode":"invalid_body"}
//
// error is the status text, message names the member or parameter and the rule,
// errorCode is left out where the status says it all. 401 and 403 carry the
// challenge of RFC 6750 §3.
//
// # PATCH
//
// A PATCH merges (RFC 7396): what is left out stays. Null resets a member to its
// default where that makes sense, which is where the resource declares it as
// [Nullable], and is a wrong type everywhere else: a client whose variable was
// not set must not switch anything off. Objects such as a tenant's flags merge
// member by member.
//
// # Lost updates
//
// Each single record is answered with a strong ETag ([WriteRecord]). A PATCH, PUT or
// DELETE with If-Match goes ahead only if the record is still the one that the caller
// saw, else 412 precondition_failed: a change checks it ([CheckMatch]) between reading
// the record and writing it by compare-and-swap, a deletion writes the record in that
// way before it deletes anything ([Claim]). A GET with If-None-Match gets 304 for what
// the caller has. Without these headers nothing is different.
//
// # Lists
//
// Clients ask in three ways, and [List] answers each:
//
//	GET /things?page=1&per_page=50              [ {...}, ... ]
//	GET /things?include_totals=true&page=1      {"start":50,"limit":50,"length":2,"total":52,"things":[...]}
//	GET /things?take=50&from=TOKEN              {"things":[...],"next":"TOKEN"}
//
// Pages count from 0 and have 50 records by default, 100 at most. A page beyond
// the end is empty. next is absent on the last page. Beyond the first 10,000
// records only the third form works: it costs the same for every page.
package management
