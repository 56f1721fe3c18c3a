package memstore

import (
	"strings"

	"github.com/opkit/opkit/store"
)

// place is where a record stands in a list: the tenant, what the list is
// restricted to beside it, and the identifier. Go compares strings bytewise, as
// package store demands.
type place struct{ tenant, group, id string }

func (p place) compare(q place) int {
	if c := strings.Compare(p.tenant, q.tenant); c != 0 {
		return c
	}
	if c := strings.Compare(p.group, q.group); c != 0 {
		return c
	}
	return strings.Compare(p.id, q.id)
}

// by returns the order of the records' places.
func by[V any](of func(*V) place) func(a, b *V) int {
	return func(a, b *V) int { return of(a).compare(of(b)) }
}

// page lists the records of one tenant and group in the order by of.
func page[K comparable, V any](t *table[K, V], order int, of func(*V) place, tenant, group string,
	page store.Page, wanted func(*V) bool,
) []*V {
	after := place{tenant, group, page.After}
	return t.list(order,
		func(v *V) bool { return of(v).compare(after) > 0 },
		func(v *V) bool { p := of(v); return p.tenant == tenant && p.group == group },
		wanted, page.Size())
}

// changeAll puts what decide returns, nil for nothing, in the place of every
// record of one tenant and group, in one atomic step. It returns how many it
// changed. It serves tables without claims.
func (t *table[K, V]) changeAll(order int, of func(*V) place, tenant, group string, decide func(old *V) (next *V)) int {
	for i := range t.stripes {
		t.stripes[i].Lock()
		defer t.stripes[i].Unlock()
	}
	changed := 0
	for i := range t.stripes {
		s := &t.stripes[i]
		var found []*V // a list must not change while it is read
		reached := func(v *V) bool { return of(v).compare(place{tenant, group, ""}) >= 0 }
		for record := range s.lists[order].from(reached) {
			if p := of(record); p.tenant != tenant || p.group != group {
				break
			}
			found = append(found, record)
		}
		for _, old := range found {
			if next := decide(old); next != old {
				s.put(t.key(old), next)
				changed++
			}
		}
	}
	return changed
}

// clones returns copies of records that the caller may keep.
func clones[R any, V interface{ Clone() R }](records []*V) []R {
	out := make([]R, len(records))
	for i, record := range records {
		out[i] = (*record).Clone()
	}
	return out
}
