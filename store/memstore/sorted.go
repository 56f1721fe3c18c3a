package memstore

import (
	"iter"
	"slices"
	"sort"
)

// row is a record's place in a table. It stays the same while the record that it
// points to is replaced, so that a change touches only the orders it affects.
type row[V any] struct{ record *V }

// chunkSize is the number of rows above which a chunk of a sorted list is split.
// It bounds what an insertion moves to 2 KiB.
const chunkSize = 256

// sorted is a list of rows in a total order: a sorted slice cut into chunks, so
// that searching is logarithmic and inserting moves one chunk only. It costs 8
// to 16 bytes a row. The zero value with a compare function is an empty list.
type sorted[V any] struct {
	compare func(a, b *V) int
	chunks  [][]*row[V] // none is empty
}

// search returns the chunk and the place in it of the first row that reached
// reports true for. The chunk is len(x.chunks) if there is none. All rows after
// one that was reached must be reached too.
func (x *sorted[V]) search(reached func(*V) bool) (chunk, place int) {
	chunk = sort.Search(len(x.chunks), func(i int) bool {
		last := len(x.chunks[i]) - 1
		return reached(x.chunks[i][last].record)
	})
	if chunk < len(x.chunks) {
		place = sort.Search(len(x.chunks[chunk]), func(i int) bool {
			return reached(x.chunks[chunk][i].record)
		})
	}
	return chunk, place
}

// insert adds r, which must not be in the list.
func (x *sorted[V]) insert(r *row[V]) {
	chunk, place := x.search(func(other *V) bool { return x.compare(other, r.record) >= 0 })
	if chunk == len(x.chunks) {
		// Beyond the end. Expiry mostly grows, so a full last chunk is left full.
		if chunk == 0 || len(x.chunks[chunk-1]) == chunkSize {
			x.chunks = append(x.chunks, []*row[V]{r})
			return
		}
		chunk--
		place = len(x.chunks[chunk])
	}
	if rows := x.chunks[chunk]; len(rows) == chunkSize {
		const half = chunkSize / 2
		x.chunks = slices.Insert(x.chunks, chunk+1, slices.Clone(rows[half:]))
		clear(rows[half:])
		x.chunks[chunk] = rows[:half]
		if place > half {
			chunk, place = chunk+1, place-half
		}
	}
	x.chunks[chunk] = slices.Insert(x.chunks[chunk], place, r)
}

// remove takes r out, which must be in the list with the record it had when it
// was inserted, or one that compares equal.
func (x *sorted[V]) remove(r *row[V]) {
	chunk, place := x.search(func(other *V) bool { return x.compare(other, r.record) >= 0 })
	rows := slices.Delete(x.chunks[chunk], place, place+1)
	x.chunks[chunk] = rows
	switch next := chunk + 1; {
	case len(rows) == 0:
		x.chunks = slices.Delete(x.chunks, chunk, next)
	case next < len(x.chunks) && len(rows)+len(x.chunks[next]) <= chunkSize/2:
		x.chunks[chunk] = append(rows, x.chunks[next]...)
		x.chunks = slices.Delete(x.chunks, next, next+1)
	}
}

// from yields the records from the first that reached reports true for. The list
// must not change meanwhile.
func (x *sorted[V]) from(reached func(*V) bool) iter.Seq[*V] {
	return func(yield func(*V) bool) {
		chunk, place := x.search(reached)
		for ; chunk < len(x.chunks); chunk, place = chunk+1, 0 {
			for _, r := range x.chunks[chunk][place:] {
				if !yield(r.record) {
					return
				}
			}
		}
	}
}

// first returns the first record, nil if there is none.
func (x *sorted[V]) first() *V {
	if len(x.chunks) == 0 {
		return nil
	}
	return x.chunks[0][0].record
}
