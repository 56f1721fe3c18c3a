package memstore

import "github.com/opkit/opkit/store"

// list returns the first records of a group in an order, at most limit, from the
// first that reached reports true for. Nil wanted means all; else those for
// which it reports true.
func (t *table[K, V]) list(order int, g group, reached, wanted func(*V) bool, limit int) []*V {
	return t.listUntil(order, g, reached, nil, wanted, limit)
}

// listUntil is list up to the first record that passed reports true for. Nil: up to
// the end of the group.
func (t *table[K, V]) listUntil(order int, g group, reached, passed, wanted func(*V) bool, limit int) []*V {
	var parts [stripeCount][]*V
	for i := range t.stripes {
		s := &t.stripes[i]
		s.RLock()
		for record := range s.lists[order].group(g, reached) {
			if passed != nil && passed(record) {
				break
			}
			if wanted == nil || wanted(record) {
				parts[i] = append(parts[i], record)
				if len(parts[i]) == limit {
					break
				}
			}
		}
		s.RUnlock()
	}
	var merged []*V
	for len(merged) < limit {
		least := -1
		for i, part := range parts {
			if len(part) != 0 && (least < 0 || t.orders[order].within(part[0], parts[least][0]) < 0) {
				least = i
			}
		}
		if least < 0 {
			break
		}
		merged = append(merged, parts[least][0])
		parts[least] = parts[least][1:]
	}
	return merged
}

// page lists a page of records by identifier.
func (t *table[K, V]) page(order int, g group, id func(*V) string, p store.Page, wanted func(*V) bool) []*V {
	return t.list(order, g, func(v *V) bool { return id(v) > p.After }, wanted, p.Size())
}

// count returns the number of records of a group.
func (t *table[K, V]) count(order int, g group) int {
	n := 0
	for i := range t.stripes {
		s := &t.stripes[i]
		s.RLock()
		for range s.lists[order].group(g, func(*V) bool { return true }) {
			n++
		}
		s.RUnlock()
	}
	return n
}

// changeAll puts what decide returns, nil for nothing, in the place of every
// record of a group, in one atomic step. It returns how many it changed. It
// serves tables without claims.
func (t *table[K, V]) changeAll(order int, g group, decide func(old *V) (next *V)) int {
	for i := range t.stripes {
		t.stripes[i].Lock()
		defer t.stripes[i].Unlock()
	}
	changed := 0
	for i := range t.stripes {
		s := &t.stripes[i]
		var found []*V // a list must not change while it is read
		for record := range s.lists[order].group(g, func(*V) bool { return true }) {
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
