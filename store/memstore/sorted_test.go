package memstore

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

type item struct {
	of string
	n  int
}

// itemOrder has hints that are often equal, so that comparisons decide too.
var itemOrder = order[item]{
	group:  func(i *item) group { return group{of: i.of} },
	hint:   func(i *item) uint64 { return uint64(i.n / 7) },
	within: func(a, b *item) int { return cmp.Compare(a.n, b.n) },
}

// TestSortedAgreesWithASortedSlice inserts and removes in a random order and
// compares with the plainest way to do it.
func TestSortedAgreesWithASortedSlice(t *testing.T) {
	for _, ascending := range []bool{false, true} {
		random := rand.New(rand.NewPCG(1, 2))
		list := sorted[item]{order: itemOrder}
		model := make(map[string][]*row[item])
		groups := []string{"a", "b", "c"}
		for step := range 20_000 {
			of := groups[random.IntN(len(groups))]
			// Growing for the first half, then shrinking.
			if n := len(model[of]); n > 0 && (step > 10_000) == (random.IntN(4) != 0) {
				i := random.IntN(n)
				list.remove(model[of][i])
				model[of] = slices.Delete(model[of], i, i+1)
				continue
			}
			n := random.IntN(1 << 20)
			if ascending {
				n = step
			}
			i, found := slices.BinarySearchFunc(model[of], n, func(r *row[item], n int) int { return cmp.Compare(r.record.n, n) })
			if found {
				continue
			}
			r := &row[item]{&item{of, n}}
			list.insert(r)
			model[of] = slices.Insert(model[of], i, r)
			if step%500 == 0 {
				compareSorted(t, &list, model, random.IntN(1<<20))
			}
		}
		compareSorted(t, &list, model, 0)
		for _, rows := range model {
			for _, r := range rows {
				list.remove(r)
			}
		}
		if len(list.chunks) != 0 {
			t.Errorf("%d chunks are left of an empty list", len(list.chunks))
		}
	}
}

func compareSorted(t *testing.T, list *sorted[item], model map[string][]*row[item], from int) {
	t.Helper()
	total := 0
	for of, rows := range model {
		var want, got []int
		for _, r := range rows {
			if r.record.n >= from {
				want = append(want, r.record.n)
			}
		}
		for i := range list.group(group{of: of}, func(i *item) bool { return i.n >= from }) {
			got = append(got, i.n)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("group %q from %d has %d items, want %d", of, from, len(got), len(want))
		}
		total += len(rows)
	}
	for range list.group(group{of: "none"}, func(*item) bool { return true }) {
		t.Fatal("a group without items has one")
	}
	for _, chunk := range list.chunks {
		if len(chunk) == 0 || len(chunk) > chunkSize {
			t.Fatalf("a chunk has %d entries", len(chunk))
		}
		total -= len(chunk)
	}
	if total != 0 {
		t.Fatalf("%d entries are missing", total)
	}
}

// TestSortedKeepsGroupsApartThatShareAHash proves that the hash is a means to be
// fast, not to be right.
func TestSortedKeepsGroupsApartThatShareAHash(t *testing.T) {
	list := sorted[item]{order: itemOrder}
	hash := itemOrder.hash(group{of: "a"})
	var entries []entry[item]
	for n := range 10 {
		for _, of := range []string{"a", "b"} {
			entries = append(entries, entry[item]{position{hash, uint64(n / 7)}, &row[item]{&item{of, n}}})
		}
	}
	list.chunks = [][]entry[item]{entries}
	var got []int
	for i := range list.group(group{of: "a"}, func(i *item) bool { return i.n >= 3 }) {
		if i.of != "a" {
			t.Errorf("group a has an item of group %s", i.of)
		}
		got = append(got, i.n)
	}
	if want := []int{3, 4, 5, 6, 7, 8, 9}; !slices.Equal(got, want) {
		t.Errorf("group a has %v, want %v", got, want)
	}
}

// TestHintsFollowTheOrder proves what sorted lists rely on.
func TestHintsFollowTheOrder(t *testing.T) {
	texts := []string{"", "\x00", "a", "a\x00", "a\x00b", "aa", "aaaaaaaa", "aaaaaaaab", "aaaaaaab", "b", "é", "\xff", "\xff\xff\xff\xff\xff\xff\xff\xff\xff"}
	for _, a := range texts {
		for _, b := range texts {
			if c := cmp.Compare(beginning(a), beginning(b)); c != 0 && c != cmp.Compare(a, b) {
				t.Errorf("the hints of %q and %q have another order than they", a, b)
			}
		}
	}
	byTime := byExpiry(func(t *time.Time) time.Time { return *t }, func(a, b *time.Time) int { return 0 })
	times := []time.Time{
		{}, time.Date(1800, 1, 1, 0, 0, 0, 0, time.UTC), time.Unix(-1, 0), time.Unix(0, 0), time.UnixMicro(1), time.Date(2262, 5, 1, 0, 0, 0, 0, time.UTC),
	}
	for i := range times[1:] {
		if byTime.hint(&times[i]) >= byTime.hint(&times[i+1]) {
			t.Errorf("the hint of %v is not less than that of %v", times[i], times[i+1])
		}
	}
}
