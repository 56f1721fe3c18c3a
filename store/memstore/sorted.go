package memstore

import (
	"cmp"
	"iter"
	"slices"
	"sort"
)

// row is a record's place in a table. It stays the same while the record that it
// points to is replaced, so that a change touches only the lists it affects.
type row[V any] struct{ record *V }

// entry is a row in a sorted list. What it repeats of the record decides nearly
// every comparison, so that a search hardly touches records, which in a large
// table are not in the processor's cache.
type entry[V any] struct {
	position
	row *row[V]
}

// position is the beginning of the order: first the hash of the group, which
// brings together what is listed together, then a number that grows with the
// order in the group.
type position struct{ group, hint uint64 }

func (p position) compare(q position) int {
	if p.group != q.group {
		return cmp.Compare(p.group, q.group)
	}
	return cmp.Compare(p.hint, q.hint)
}

// chunkSize is the number of rows above which a chunk of a sorted list is split.
// It bounds what an insertion moves to 6 KiB.
const chunkSize = 256

// sorted is a list of rows in a total order: a sorted slice cut into chunks, so
// that searching is logarithmic and inserting moves a part of one chunk. It
// costs about 34 bytes a row.
type sorted[V any] struct {
	order  order[V]
	chunks [][]entry[V] // none is empty
}

// search returns the chunk and the place in it of the first entry that reached
// reports true for. The chunk is len(x.chunks) if there is none. All entries
// after one that was reached must be reached too.
func (x *sorted[V]) search(reached func(*entry[V]) bool) (chunk, place int) {
	chunk = sort.Search(len(x.chunks), func(i int) bool {
		last := len(x.chunks[i]) - 1
		return reached(&x.chunks[i][last])
	})
	if chunk < len(x.chunks) {
		place = sort.Search(len(x.chunks[chunk]), func(i int) bool {
			return reached(&x.chunks[chunk][i])
		})
	}
	return chunk, place
}

// find returns where r is, or where it belongs.
func (x *sorted[V]) find(r *row[V]) (at position, chunk, place int) {
	at = x.order.position(r.record)
	chunk, place = x.search(func(e *entry[V]) bool {
		if c := e.compare(at); c != 0 {
			return c > 0
		}
		return x.order.compare(e.row.record, r.record) >= 0
	})
	return at, chunk, place
}

// insert adds r, which must not be in the list.
func (x *sorted[V]) insert(r *row[V]) {
	at, chunk, place := x.find(r)
	if chunk == len(x.chunks) {
		// Beyond the end. Expiry mostly grows, so a full last chunk is left full.
		if chunk == 0 || len(x.chunks[chunk-1]) == chunkSize {
			x.chunks = append(x.chunks, []entry[V]{{at, r}})
			return
		}
		chunk--
		place = len(x.chunks[chunk])
	}
	if entries := x.chunks[chunk]; len(entries) == chunkSize {
		const half = chunkSize / 2
		x.chunks = slices.Insert(x.chunks, chunk+1, slices.Clone(entries[half:]))
		clear(entries[half:])
		x.chunks[chunk] = entries[:half]
		if place > half {
			chunk, place = chunk+1, place-half
		}
	}
	x.chunks[chunk] = slices.Insert(x.chunks[chunk], place, entry[V]{at, r})
}

// remove takes r out, which must be in the list with the record it has now, or
// one in the same place.
func (x *sorted[V]) remove(r *row[V]) {
	_, chunk, place := x.find(r)
	entries := slices.Delete(x.chunks[chunk], place, place+1)
	x.chunks[chunk] = entries
	switch next := chunk + 1; {
	case len(entries) == 0:
		x.chunks = slices.Delete(x.chunks, chunk, next)
	case next < len(x.chunks) && len(entries)+len(x.chunks[next]) <= chunkSize/2:
		x.chunks[chunk] = append(entries, x.chunks[next]...)
		x.chunks = slices.Delete(x.chunks, next, next+1)
	}
}

// group yields the records of a group in their order, from the first that
// reached reports true for. The list must not change meanwhile.
func (x *sorted[V]) group(g group, reached func(*V) bool) iter.Seq[*V] {
	return func(yield func(*V) bool) {
		hash := x.order.hash(g)
		chunk, place := x.search(func(e *entry[V]) bool {
			if e.position.group != hash {
				return e.position.group > hash
			}
			return reached(e.row.record)
		})
		for ; chunk < len(x.chunks); chunk, place = chunk+1, 0 {
			for _, e := range x.chunks[chunk][place:] {
				if e.position.group != hash {
					return
				}
				// Another group may have the same hash.
				if x.order.group(e.row.record) == g && !yield(e.row.record) {
					return
				}
			}
		}
	}
}

// first returns the first record of all, nil if there is none.
func (x *sorted[V]) first() *V {
	if len(x.chunks) == 0 {
		return nil
	}
	return x.chunks[0][0].row.record
}
