package storetest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opkit/opkit/store"
)

// RunEvents checks a [store.EventStore].
func RunEvents(t *testing.T, newStore func(t *testing.T) store.EventStore, opts *Options[store.EventStore]) {
	runAll(t, eventChecks(), newStore, opts)
}

func eventChecks() []check[store.EventStore] {
	return append(events.common(),
		check[store.EventStore]{
			name: "AppendEvents-batch", rule: ruleMethod,
			explanation: "A batch is stored whole but for what is there already, which stays as it was, and AppendEvents says how many were new.",
			run:         checkAppendEvents,
		},
		check[store.EventStore]{
			name: "Events-filter", rule: ruleMethod,
			explanation: "Events returns those of one type, outcome, client and user, each compared exactly, and every combination of them, in both directions.",
			run:         checkEventFilter,
		},
		check[store.EventStore]{
			name: "Events-newest", rule: ruleMethod,
			explanation: "Pages of any size from the end, and between two identifiers in both directions, bring every event once.",
			run:         checkEventsNewest,
		},
		check[store.EventStore]{
			name: "CountEvents", rule: ruleMethod,
			explanation: "CountEvents counts what Events would list, by period: the first microsecond of one belongs to it, that of the next does not, " +
				"and what has expired or is another tenant's is not counted.",
			run: checkCountEvents,
		},
		check[store.EventStore]{
			name: "TrimEvents", rule: ruleMethod,
			explanation: "TrimEvents leaves the newest events of one quota in one tenant, removes the oldest first, at most limit, and says how many.",
			run:         checkTrimEvents,
		},
	)
}

var events = kind[store.EventStore, store.Event]{
	noun: "event",
	identify: func(e *store.Event, tenant, id string) {
		e.TenantID, e.ID = tenant, id
		if e.ExpiresAt.IsZero() {
			e.ExpiresAt = base.Add(24 * time.Hour)
		}
	},
	listed: func(e store.Event) string { return e.ID },
	create: func(ctx context.Context, s store.EventStore, e store.Event, _ time.Time) error {
		n, err := s.AppendEvents(ctx, []store.Event{e})
		if err == nil && n == 0 {
			return store.ErrExists // as every other record has it
		}
		return err
	},
	taken: store.ErrExists,
	get: func(ctx context.Context, s store.EventStore, tenant, id string, now time.Time) (store.Event, error) {
		return s.Event(ctx, tenant, id, now)
	},
	lists: []lister[store.EventStore, store.Event]{{
		"Events",
		func(ctx context.Context, s store.EventStore, tenant string, page store.Page, now time.Time) ([]store.Event, error) {
			return s.Events(ctx, tenant, store.EventFilter{}, store.EventPage{After: page.After, Limit: page.Limit}, now)
		},
	}},
	expire: func(e *store.Event, at time.Time) { e.ExpiresAt = at },
	collect: func(ctx context.Context, s store.EventStore, now time.Time, limit int) (int, error) {
		return s.CollectEvents(ctx, now, limit)
	},
	spent: func(s store.EventStore, r store.Event, now time.Time) []call {
		return []call{{"Event", func(ctx context.Context) error { _, err := s.Event(ctx, r.TenantID, r.ID, now); return err }}}
	},
	calls: func(s store.EventStore, r store.Event) []call {
		return []call{
			{"AppendEvents", func(ctx context.Context) error { _, err := s.AppendEvents(ctx, []store.Event{r}); return err }},
			{"AppendEvents of none", func(ctx context.Context) error { _, err := s.AppendEvents(ctx, nil); return err }},
			{"Event", func(ctx context.Context) error { _, err := s.Event(ctx, r.TenantID, r.ID, base); return err }},
			{"Events", func(ctx context.Context) error {
				_, err := s.Events(ctx, r.TenantID, store.EventFilter{Type: r.Type}, store.EventPage{}, base)
				return err
			}},
			{"CountEvents", func(ctx context.Context) error {
				_, err := s.CountEvents(ctx, r.TenantID, store.EventFilter{}, store.EventSpan{From: base, Step: time.Hour, Steps: 2}, base)
				return err
			}},
			{"TrimEvents", func(ctx context.Context) error { _, err := s.TrimEvents(ctx, r.TenantID, r.Quota, 0, 10); return err }},
			{"CollectEvents", func(ctx context.Context) error { _, err := s.CollectEvents(ctx, base.Add(time.Hour), 10); return err }},
		}
	},
}

type eventEnv = env[store.EventStore]

// eventAt is an event with an identifier as opkit makes them.
func eventAt(tenant string, at time.Time, suffix string) store.Event {
	e := events.record(tenant, store.EventPosition(at)+suffix)
	e.Time, e.ExpiresAt = at, base.AddDate(1, 0, 0)
	return e
}

func appendEvents(ctx context.Context, e *eventEnv, s store.EventStore, batch ...store.Event) {
	n, err := s.AppendEvents(ctx, batch)
	e.ok(err, "AppendEvents")
	if n != len(batch) {
		e.fail("AppendEvents of %d new events says that it stored %d", len(batch), n)
	}
}

func checkAppendEvents(ctx context.Context, s store.EventStore, e *eventEnv) {
	var batch []store.Event
	for i := range 120 {
		batch = append(batch, eventAt("t", base.Add(time.Duration(i)*time.Second), "x"))
	}
	appendEvents(ctx, e, s, batch[10:50]...)
	again := slices.Clone(batch)
	for i := range again[10:50] {
		again[10+i].Outcome = "another"
	}
	other := batch[20]
	other.TenantID = "other"
	n, err := s.AppendEvents(ctx, append(again, other))
	e.ok(err, "AppendEvents")
	if n != 81 {
		e.fail("of a batch of 121 of which 40 are known AppendEvents stored %d, want 81", n)
	}
	for tenant, want := range map[string][]store.Event{"t": batch, "other": {other}} {
		got, err := s.Events(ctx, tenant, store.EventFilter{}, store.EventPage{}, base)
		e.ok(err, "Events")
		e.same(want, got, "the events of tenant %q", tenant)
	}
}

func checkEventFilter(ctx context.Context, s store.EventStore, e *eventEnv) {
	values := []string{"", "name", "Name", "name ", "%"}
	var all []store.Event
	for i := range 5 * 5 * 5 * 2 {
		r := eventAt("t", base.Add(time.Duration(i)*time.Minute), "")
		r.UserID, r.ClientID, r.Type, r.Outcome = values[i%5], values[i/5%5], values[i/25%5], []string{"allowed", "refused"}[i/125]
		all = append(all, r)
	}
	appendEvents(ctx, e, s, all...)
	for i := range 6 * 6 * 6 * 3 {
		choices := append(slices.Clone(values), "nobody")
		f := store.EventFilter{UserID: choices[i%6], ClientID: choices[i/6%6], Type: choices[i/36%6], Outcome: []string{"", "allowed", "refused"}[i/216]}
		var want []store.Event
		for _, r := range all {
			if (f.UserID == "" || f.UserID == r.UserID) && (f.ClientID == "" || f.ClientID == r.ClientID) &&
				(f.Type == "" || f.Type == r.Type) && (f.Outcome == "" || f.Outcome == r.Outcome) {
				want = append(want, r)
			}
		}
		got, err := s.Events(ctx, "t", f, store.EventPage{}, base)
		e.ok(err, "Events with %+v", f)
		e.same(want, got, "Events with %+v", f)
		slices.Reverse(want)
		got, err = s.Events(ctx, "t", f, store.EventPage{Newest: true}, base)
		e.ok(err, "the newest Events with %+v", f)
		e.same(want, got, "the newest Events with %+v", f)
		counts, err := s.CountEvents(ctx, "t", f, store.EventSpan{From: base, Step: 250 * time.Minute, Steps: 1}, base)
		e.ok(err, "CountEvents with %+v", f)
		e.same([]int{len(want)}, counts, "CountEvents with %+v", f)
	}
}

func checkEventsNewest(ctx context.Context, s store.EventStore, e *eventEnv) {
	const count = 23
	var all, down []store.Event
	for i := range count {
		all = append(all, eventAt("t", base.Add(time.Duration(i/3)*time.Minute), fmt.Sprint(i)))
	}
	slices.SortFunc(all, func(a, b store.Event) int { return strings.Compare(a.ID, b.ID) })
	appendEvents(ctx, e, s, all...)
	down = slices.Clone(all)
	slices.Reverse(down)
	for _, limit := range []int{1, 2, 5, count, count + 1, 0, store.MaxPageLimit + 1} {
		var got []store.Event
		for page := (store.EventPage{Newest: true, Limit: limit}); ; {
			part, err := s.Events(ctx, "t", store.EventFilter{}, page, base)
			e.ok(err, "Events")
			if len(part) > page.Size() {
				e.fail("a page of at most %d has %d events", page.Size(), len(part))
			}
			got = append(got, part...)
			if len(part) < page.Size() || len(got) > count {
				break
			}
			page.Before = part[len(part)-1].ID
		}
		e.same(down, got, "all pages of at most %d from the end", limit)
	}
	for low := range count {
		for _, high := range []int{low, low + 1, (low + count) / 2, count - 1} {
			if high >= count {
				continue
			}
			page := store.EventPage{After: all[low].ID, Before: all[high].ID}
			want := slices.Clone(all[min(low+1, high):high])
			got, err := s.Events(ctx, "t", store.EventFilter{}, page, base)
			e.ok(err, "Events")
			e.same(want, got, "Events between number %d and number %d", low, high)
			page.Newest = true
			slices.Reverse(want)
			got, err = s.Events(ctx, "t", store.EventFilter{}, page, base)
			e.ok(err, "Events")
			e.same(want, got, "Events between number %d and number %d, from the end", low, high)
		}
	}
}

func checkCountEvents(ctx context.Context, s store.EventStore, e *eventEnv) {
	from := base.Truncate(time.Hour)
	span := store.EventSpan{From: from, Step: time.Hour, Steps: 4}
	add := func(tenant string, at time.Time, suffix string, expires time.Time) {
		r := eventAt(tenant, at, suffix)
		r.Type, r.ExpiresAt = "a", expires
		if suffix == "b" {
			r.Type = "b"
		}
		appendEvents(ctx, e, s, r)
	}
	far := base.AddDate(1, 0, 0)
	for hour, n := range []int{2, 0, 3, 1} {
		for i := range n { // the first of them in the first microsecond, the second in the last
			at := from.Add(time.Duration(hour) * time.Hour)
			switch i {
			case 1:
				at = at.Add(time.Hour - time.Microsecond)
			case 2:
				at = at.Add(time.Minute)
			}
			add("t", at, fmt.Sprint(i), far)
			add("other", at, "", far)
			add("t", at, "b", far)
		}
	}
	add("t", from.Add(-time.Microsecond), "before", far)
	add("t", from.Add(4*time.Hour), "after", far)
	add("t", from.Add(time.Minute), "expired", base)
	for _, c := range []struct {
		filter store.EventFilter
		want   []int
	}{
		{store.EventFilter{Type: "a"}, []int{2, 0, 3, 1}},
		{store.EventFilter{Type: "b"}, []int{2, 0, 3, 1}},
		{store.EventFilter{}, []int{4, 0, 6, 2}},
		{store.EventFilter{Type: "c"}, []int{0, 0, 0, 0}},
	} {
		got, err := s.CountEvents(ctx, "t", c.filter, span, base)
		e.ok(err, "CountEvents")
		e.same(c.want, got, "CountEvents with %+v", c.filter)
	}
}

func checkTrimEvents(ctx context.Context, s store.EventStore, e *eventEnv) {
	var mine, others, foreign []store.Event
	for i := range 12 {
		r := eventAt("t", base.Add(time.Duration(i)*time.Second), "x")
		r.Quota = "q"
		if i%3 == 0 { // expired ones count like others
			r.ExpiresAt = base.Add(-time.Hour)
		}
		mine = append(mine, r)
		r.ID, r.Quota, r.ExpiresAt = r.ID+"y", "Q", base.AddDate(1, 0, 0)
		others = append(others, r)
		r.TenantID, r.Quota = "other", "q"
		foreign = append(foreign, r)
	}
	appendEvents(ctx, e, s, slices.Concat(mine, others, foreign)...)
	trimmed := func(keep, limit, want int) {
		n, err := s.TrimEvents(ctx, "t", "q", keep, limit)
		e.ok(err, "TrimEvents")
		if n != want {
			e.fail("TrimEvents that keeps %d and removes at most %d says that it removed %d, want %d", keep, limit, n, want)
		}
	}
	long := base.Add(-2 * time.Hour)
	left := func(want []store.Event) {
		for _, tenant := range []struct {
			id   string
			want []store.Event
		}{{"t", slices.Concat(want, others)}, {"other", foreign}} {
			slices.SortFunc(tenant.want, func(a, b store.Event) int { return strings.Compare(a.ID, b.ID) })
			got, err := s.Events(ctx, tenant.id, store.EventFilter{}, store.EventPage{}, long)
			e.ok(err, "Events")
			e.same(tenant.want, got, "what is left of tenant %q", tenant.id)
		}
	}
	trimmed(12, 100, 0)
	trimmed(50, 100, 0)
	left(mine)
	trimmed(7, 0, 0)
	trimmed(7, 2, 2)
	left(mine[2:])
	trimmed(7, 100, 3)
	left(mine[5:])
	trimmed(7, 100, 0)
	trimmed(0, 100, 7)
	left(nil)
}
