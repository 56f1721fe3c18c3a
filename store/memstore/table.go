package memstore

import (
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"github.com/opkit/opkit/store"
)

const (
	// stripeCount is the number of locks of a table.
	stripeCount = 32
	// collectBatch bounds how many records are removed under one lock.
	collectBatch = 256
)

// schema describes the records of a table.
type schema[K comparable, V any] struct {
	key func(*V) K
	// version points to the record's Version. Nil: it has none.
	version func(*V) *int64
	// keep copies to next what an update never changes. Nil: nothing.
	keep func(old, next *V)
	// unique returns what no two records may have in common beside the key. Nil:
	// nothing.
	unique func(*V) []claim
	// expires returns when the record expires. Nil: never.
	expires func(*V) time.Time
	// orders are the total orders in which the table lists records. If records
	// expire, the last one is by expiry.
	orders []order[V]
}

// claim is a value that is unique in its tenant.
type claim struct{ tenant, a, b, c string }

// table keeps the records of one kind. Its records are never modified.
type table[K comparable, V any] struct {
	schema[K, V]
	stripes [stripeCount]stripe[K, V]

	claimsMu sync.RWMutex // taken after a stripe's lock
	claims   map[claim]K
}

// stripe is a part of a table.
type stripe[K comparable, V any] struct {
	sync.RWMutex
	rows  map[K]*row[V]
	lists []sorted[V] // one for each order
}

func (t *table[K, V]) init(s schema[K, V]) {
	t.schema = s
	t.claims = make(map[claim]K)
	for i := range t.stripes {
		st := &t.stripes[i]
		st.rows = make(map[K]*row[V])
		for _, order := range s.orders {
			st.lists = append(st.lists, sorted[V]{order: order})
		}
	}
}

func (t *table[K, V]) stripe(k K) *stripe[K, V] {
	return &t.stripes[maphash.Comparable(seed, k)%stripeCount]
}

// live reports whether the record exists for a caller whose time is now: rule 5
// of package store.
func (t *table[K, V]) live(record *V, now time.Time) bool {
	return record != nil && (t.expires == nil || t.expires(record).After(now))
}

// get returns the record, expired or not, nil if there is none.
func (t *table[K, V]) get(k K) *V {
	s := t.stripe(k)
	s.RLock()
	defer s.RUnlock()
	if r := s.rows[k]; r != nil {
		return r.record
	}
	return nil
}

// find returns the record that holds c, nil if there is none.
func (t *table[K, V]) find(c claim) *V {
	t.claimsMu.RLock()
	k, ok := t.claims[c]
	t.claimsMu.RUnlock()
	if !ok {
		return nil
	}
	// The record may have given up c by now. Then there was a moment at which
	// nobody held it, which makes "none" a right answer.
	record := t.get(k)
	if record == nil || !slices.Contains(t.unique(record), c) {
		return nil
	}
	return record
}

// change is the only way to a table's content. Under the stripe's lock decide
// sees the present record, nil if there is none, and returns the one to put in
// its place, nil to remove it. An error changes nothing; store.ErrExists is
// added to what decide may answer, for a value that is not unique.
func (t *table[K, V]) change(k K, decide func(old *V) (next *V, err error)) error {
	s := t.stripe(k)
	s.Lock()
	defer s.Unlock()
	var old *V
	if r := s.rows[k]; r != nil {
		old = r.record
	}
	next, err := decide(old)
	if err != nil {
		return err
	}
	if err := t.reclaim(k, old, next); err != nil {
		return err
	}
	s.put(k, next)
	return nil
}

// reclaim gives the claims of old back and takes those of next.
func (t *table[K, V]) reclaim(k K, old, next *V) error {
	if t.unique == nil {
		return nil
	}
	var given, taken []claim
	if old != nil {
		given = t.unique(old)
	}
	if next != nil {
		taken = t.unique(next)
	}
	if slices.Equal(given, taken) {
		return nil
	}
	t.claimsMu.Lock()
	defer t.claimsMu.Unlock()
	for _, c := range taken {
		if holder, ok := t.claims[c]; ok && holder != k {
			return store.ErrExists
		}
	}
	for _, c := range given {
		delete(t.claims, c)
	}
	for _, c := range taken {
		t.claims[c] = k
	}
	return nil
}

// put stores next under k, or removes the record if next is nil.
func (s *stripe[K, V]) put(k K, next *V) {
	r := s.rows[k]
	switch {
	case r == nil && next == nil:
	case r == nil:
		r = &row[V]{next}
		s.rows[k] = r
		for i := range s.lists {
			s.lists[i].insert(r)
		}
	case next == nil:
		for i := range s.lists {
			s.lists[i].remove(r)
		}
		delete(s.rows, k)
	default:
		var moved uint // a bit for each list
		for i := range s.lists {
			if !s.lists[i].order.same(r.record, next) {
				s.lists[i].remove(r)
				moved |= 1 << i
			}
		}
		r.record = next
		for i := range s.lists {
			if moved&(1<<i) != 0 {
				s.lists[i].insert(r)
			}
		}
	}
}

// create stores record with Version 1.
func (t *table[K, V]) create(record *V) error {
	*t.version(record) = 1
	return t.change(t.key(record), func(old *V) (*V, error) {
		if old != nil {
			return nil, store.ErrExists
		}
		return record, nil
	})
}

// update replaces the record by compare-and-swap. now matters only if records
// expire.
func (t *table[K, V]) update(record *V, now time.Time) error {
	return t.change(t.key(record), func(old *V) (*V, error) {
		if !t.live(old, now) {
			return nil, store.ErrNotFound
		}
		if *t.version(old) != *t.version(record) {
			return nil, store.ErrConflict
		}
		*t.version(record)++
		if t.keep != nil {
			t.keep(old, record)
		}
		return record, nil
	})
}

// remove removes the record if there is one.
func (t *table[K, V]) remove(k K) {
	// It cannot fail: neither decide nor giving claims back does.
	_ = t.change(k, func(*V) (*V, error) { return nil, nil })
}

// collect removes at most limit expired records and returns how many.
func (t *table[K, V]) collect(now time.Time, limit int) int {
	removed := 0
	for i := range t.stripes {
		for removed < limit {
			batch := min(collectBatch, limit-removed)
			n := t.collectFrom(&t.stripes[i], now, batch)
			removed += n
			if n < batch {
				break
			}
		}
	}
	return removed
}

func (t *table[K, V]) collectFrom(s *stripe[K, V], now time.Time, limit int) (removed int) {
	s.Lock()
	defer s.Unlock()
	byExpiry := &s.lists[len(s.lists)-1]
	for ; removed < limit; removed++ {
		record := byExpiry.first()
		if record == nil || t.live(record, now) {
			break
		}
		s.put(t.key(record), nil)
	}
	return removed
}
