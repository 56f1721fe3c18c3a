package memstore

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"strings"
	"time"

	"github.com/opkit/opkit/store"
)

// group is what is listed together: the records of a tenant, or those of them
// that belong to one user, client, ...
type group struct{ tenant, of string }

// order is a total order: records of a group stand together, in their order. The
// order of the groups does not matter and is that of a hash.
type order[V any] struct {
	// group returns the record's group.
	group func(*V) group
	// hint returns a number that never falls from one record of a group to the
	// next. It spares comparisons.
	hint func(*V) uint64
	// within compares records by their order in a group. It is 0 for no two
	// records of one group.
	within func(a, b *V) int
}

// seed is common to all tables: nothing depends on it but speed.
var seed = maphash.MakeSeed()

func (o *order[V]) hash(g group) uint64 {
	if g == (group{}) {
		return 0
	}
	return maphash.Comparable(seed, g)
}

func (o *order[V]) position(v *V) position {
	return position{o.hash(o.group(v)), o.hint(v)}
}

// compare decides between records in the same position.
func (o *order[V]) compare(a, b *V) int {
	if c := o.within(a, b); c != 0 {
		return c
	}
	g, h := o.group(a), o.group(b)
	if c := strings.Compare(g.tenant, h.tenant); c != 0 {
		return c
	}
	return strings.Compare(g.of, h.of)
}

// same reports whether two records are in the same place.
func (o *order[V]) same(a, b *V) bool {
	return o.group(a) == o.group(b) && o.hint(a) == o.hint(b) && o.within(a, b) == 0
}

// byID orders a group by identifier. Go compares strings bytewise, as package
// store demands.
func byID[V any](of func(*V) group, id func(*V) string) order[V] {
	return order[V]{
		group:  of,
		hint:   func(v *V) uint64 { return beginning(id(v)) },
		within: func(a, b *V) int { return strings.Compare(id(a), id(b)) },
	}
}

// byDigest is byID for identifiers that are digests.
func byDigest[V any](of func(*V) group, id func(*V) *store.Digest) order[V] {
	return order[V]{
		group:  of,
		hint:   func(v *V) uint64 { return binary.BigEndian.Uint64(id(v)[:]) },
		within: func(a, b *V) int { return bytes.Compare(id(a)[:], id(b)[:]) },
	}
}

// byExpiry orders all records of a table by expiry, and those that expire at
// once by what compare says.
func byExpiry[V any](expires func(*V) time.Time, compare func(a, b *V) int) order[V] {
	return order[V]{
		group:  func(*V) group { return group{} },
		hint:   func(v *V) uint64 { return chronological(expires(v)) },
		within: compare,
	}
}

// chronological returns a number that grows with t. The sign bit is turned, so that
// times before 1970 come first.
func chronological(t time.Time) uint64 { return uint64(t.UnixMicro()) ^ 1<<63 }

// beginning returns the first eight bytes of s as a number that grows with s.
func beginning(s string) uint64 {
	if len(s) >= 8 {
		return binary.BigEndian.Uint64([]byte(s[:8]))
	}
	var first [8]byte
	copy(first[:], s)
	return binary.BigEndian.Uint64(first[:])
}
