package storetest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/opkit/opkit/store"
)

// listChecks prove order and paging.
func (k kind[S, R]) listChecks() []check[S] {
	var checks []check[S]
	for _, l := range k.lists {
		checks = append(checks,
			check[S]{
				name: l.name + "-order", rule: ruleLists,
				explanation: "All records come, once, in the bytewise order of their identifiers, which no locale agrees with.",
				run:         func(ctx context.Context, s S, e *env[S]) { k.checkOrder(ctx, s, e, l) },
			},
			check[S]{
				name: l.name + "-pages", rule: ruleLists,
				explanation: "Pages of any size continue after the last identifier seen, " +
					"also if records before and after it, and itself, come and go.",
				run: func(ctx context.Context, s S, e *env[S]) { k.checkPages(ctx, s, e, l) },
			},
			check[S]{
				name: l.name + "-pages-race", rule: ruleLists,
				explanation: "While others create and delete, pages bring every record that is there all the time, once and in order, and no error.",
				run:         func(ctx context.Context, s S, e *env[S]) { k.checkPagesRace(ctx, s, e, l) },
			},
			check[S]{
				name: l.name + "-after", rule: ruleLists,
				explanation: "Page.After is compared, whatever it contains, and never interpreted.",
				run:         func(ctx context.Context, s S, e *env[S]) { k.checkAfter(ctx, s, e, l) },
			},
			check[S]{
				name: l.name + "-limit", rule: ruleLists,
				explanation: "A page never has more than its Limit nor than MaxPageLimit records; " +
					"a Limit of zero or less, or beyond that, means MaxPageLimit.",
				run: func(ctx context.Context, s S, e *env[S]) { k.checkLimit(ctx, s, e, l) },
			})
	}
	return checks
}

// scattered are identifiers whose bytewise order is not that of a dictionary, of
// numbers, or of a case-folding database.
var scattered = []string{
	"b", "B", "a", "A", "aa", "a b", "a-b", "a_b", "a.b", "a/b", "aB", "ab", "10", "9", "1", "01", "~", "!", "Z", "z",
	"é", "e", "f", "e\u0301", "ü", "ö", "ß", "ss", "Ж", "漢", "\uffee", "🔑", "\u00a0", "con_2", "con_10", "con-1",
}

// sortedIDs returns the identifiers of records by which lists are ordered.
func (k kind[S, R]) sortedIDs(ids []string) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = k.listed(k.record("t", id))
	}
	slices.Sort(out)
	return out
}

func (k kind[S, R]) ids(records []R) []string {
	out := make([]string, len(records))
	for i, r := range records {
		out[i] = k.listed(r)
	}
	return out
}

// fill creates records, in an order that is not theirs.
func (k kind[S, R]) fill(ctx context.Context, e *env[S], s S, ids []string) {
	for _, id := range ids {
		e.ok(k.create(ctx, s, k.record("t", id), base), "creating %s %q", k.noun, id)
	}
}

func (k kind[S, R]) checkOrder(ctx context.Context, s S, e *env[S], l lister[S, R]) {
	if got := k.all(ctx, e, s, l, "t"); len(got) != 0 {
		e.fail("%s of a store without data has %d records", l.name, len(got))
	}
	k.fill(ctx, e, s, scattered)
	e.same(k.sortedIDs(scattered), k.ids(k.all(ctx, e, s, l, "t")), "%s", l.name)
}

func (k kind[S, R]) checkPages(ctx context.Context, s S, e *env[S], l lister[S, R]) {
	k.fill(ctx, e, s, scattered)
	want := k.sortedIDs(scattered)
	for _, limit := range []int{1, 2, 3, 7, len(want) - 1, len(want), len(want) + 1} {
		var got []string
		page := store.Page{Limit: limit}
		for range len(want) + 1 {
			records, err := l.list(ctx, s, "t", page, base)
			e.ok(err, "%s", l.name)
			if len(records) > limit {
				e.fail("%s with Limit %d has %d records", l.name, limit, len(records))
			}
			if len(records) == 0 {
				break
			}
			got = append(got, k.ids(records)...)
			page.After = got[len(got)-1]
		}
		e.same(want, got, "%s in pages of %d", l.name, limit)
	}

	if k.remove == nil {
		return
	}
	// The list changes between two pages: the record that the first ended with
	// goes, and others come before and after it.
	half := len(want) / 2
	first, err := l.list(ctx, s, "t", store.Page{Limit: half}, base)
	e.ok(err, "%s", l.name)
	last := k.listed(first[len(first)-1])
	for _, id := range scattered {
		if k.listed(k.record("t", id)) == last {
			e.ok(k.remove(ctx, s, "t", id), "deleting %s %q", k.noun, id)
		}
	}
	come := []string{"0", "AA", "a a", "c", "dz", "é1", "zz", "漢字", "🔒"}
	k.fill(ctx, e, s, come)
	rest, err := l.list(ctx, s, "t", store.Page{After: last}, base)
	e.ok(err, "%s", l.name)
	var later []string
	for _, id := range k.sortedIDs(append(come, scattered...)) {
		if id > last {
			later = append(later, id)
		}
	}
	e.same(later, k.ids(rest), "%s after a deleted record", l.name)
}

func (k kind[S, R]) checkAfter(ctx context.Context, s S, e *env[S], l lister[S, R]) {
	k.fill(ctx, e, s, scattered)
	all := k.sortedIDs(scattered)
	for _, after := range []string{
		"'", "' OR ''='", `"`, `\`, "%", "_", "*", "a%", "a_", "-1", "0", "999999999999999999999", "null", "{}",
		"b' --", "zzzzzz", "ZZ", "g", "\u0301", "e", "E", "é", "漢字", "\U0010ffff", "\ufffd", strings.Repeat("a", 10000),
	} {
		got, err := l.list(ctx, s, "t", store.Page{After: after}, base)
		e.ok(err, "%s after %.20q", l.name, after)
		var want []string
		for _, id := range all {
			if id > after {
				want = append(want, id)
			}
		}
		e.same(want, k.ids(got), "%s after %.20q", l.name, after)
	}
}

func (k kind[S, R]) checkLimit(ctx context.Context, s S, e *env[S], l lister[S, R]) {
	most := store.MaxPageLimit
	total := most + 3
	if testing.Short() {
		total = 20 // enough to see a Limit being ignored
	}
	k.fillMany(ctx, e, s, total)
	for _, limit := range []int{1, 10, most - 1, most, most + 1, 1 << 30, 0, -1, -1 << 30} {
		got, err := l.list(ctx, s, "t", store.Page{Limit: limit}, base)
		e.ok(err, "%s with Limit %d", l.name, limit)
		want := limit
		if limit <= 0 || limit > most {
			want = most
		}
		if want = min(want, total); len(got) != want {
			e.fail("%s with Limit %d has %d of %d records, want %d", l.name, limit, len(got), total, want)
		}
	}
}

// fillMany creates n records, several at a time.
func (k kind[S, R]) fillMany(ctx context.Context, e *env[S], s S, n int) {
	errs := make([]error, racers)
	var running sync.WaitGroup
	for racer := range racers {
		running.Go(func() {
			for i := racer; i < n && errs[racer] == nil; i += racers {
				var r R // small: the number is what counts
				k.identify(&r, "t", fmt.Sprintf("%08d", i))
				errs[racer] = k.create(ctx, s, r, base)
			}
		})
	}
	running.Wait()
	for _, err := range errs {
		e.ok(err, "creating %s", k.noun)
	}
}
