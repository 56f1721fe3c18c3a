package storetest

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/opkit/opkit/store"
)

// eras are times on both sides of every clock.
var eras = []time.Time{
	time.Date(1999, time.December, 31, 23, 59, 59, 123456000, time.UTC),
	base,
	time.Date(2150, time.January, 1, 0, 0, 0, 0, time.UTC),
}

// expiryChecks prove that records end when the caller's now says so, and that
// they are collected.
func (k kind[S, R]) expiryChecks() []check[S] {
	if k.expire == nil {
		return nil
	}
	return []check[S]{
		{
			name: "clock", rule: ruleClock,
			explanation: "With a now of 1999, of 2031 and of 2150 a record is found until a microsecond before it expires.",
			run:         k.checkClock,
		},
		{
			name: "expired", rule: ruleExpired,
			explanation: "From ExpiresAt on a record is found by no method, although nothing was collected.",
			run:         k.checkExpired,
		},
		{
			name: "expired-edge", rule: ruleExpired,
			explanation: "Every microsecond counts: of records that expire one after the other exactly those are found whose time has not come.",
			run:         k.checkExpiredEdge,
		},
		{
			name: "collect", rule: ruleCollected,
			explanation: "Collections of at most limit remove every expired record once and no live one.",
			run:         k.checkCollect,
		},
		{
			name: "collect-race", rule: ruleCollected,
			explanation: "Concurrent collections remove every expired record once between them.",
			run:         k.checkCollectRace,
		},
	}
}

// expiring stores a record that expires at a time, and returns how it is read.
func (k kind[S, R]) expiring(ctx context.Context, e *env[S], s S, id string, at time.Time) R {
	r := k.record("t", id)
	k.expire(&r, at)
	e.ok(k.create(ctx, s, r, at.Add(-time.Hour)), "creating %s that expires at %v", k.noun, at)
	return k.versioned(r, 1)
}

func (k kind[S, R]) checkClock(ctx context.Context, s S, e *env[S]) {
	for _, era := range eras {
		just := era.Add(-time.Microsecond)
		id := fmt.Sprint("a", era.Year())
		want := k.expiring(ctx, e, s, id, era)
		got, err := k.get(ctx, s, "t", id, just)
		e.ok(err, "reading %s just before it expires, now %v", k.noun, just)
		e.same(want, got, "%s", k.noun)
		for _, l := range k.lists {
			records, err := l.list(ctx, s, "t", store.Page{}, just)
			e.ok(err, "%s", l.name)
			if !slices.Contains(k.ids(records), k.listed(want)) {
				e.fail("%s lacks a %s that has not expired, now %v", l.name, k.noun, just)
			}
		}
		// Each call on a record of its own, because some consume it.
		for i := range k.spent(s, want, just) {
			live := k.expiring(ctx, e, s, fmt.Sprint(id, "call", i), era)
			c := k.spent(s, live, just)[i]
			e.ok(c.do(ctx), "%s just before the %s expires, now %v", c.method, k.noun, just)
		}
	}
}

func (k kind[S, R]) checkExpired(ctx context.Context, s S, e *env[S]) {
	for _, era := range eras {
		id := fmt.Sprint("a", era.Year())
		r := k.expiring(ctx, e, s, id, era)
		for _, now := range []time.Time{era, era.Add(time.Microsecond), era.Add(time.Hour), era.AddDate(40, 0, 0)} {
			_, err := k.get(ctx, s, "t", id, now)
			e.is(err, store.ErrNotFound, "reading %s that expired at %v, now %v", k.noun, era, now)
			for _, c := range k.spent(s, r, now) {
				e.is(c.do(ctx), store.ErrNotFound, "%s of a %s that expired at %v, now %v", c.method, k.noun, era, now)
			}
			for _, l := range k.lists {
				records, err := l.list(ctx, s, "t", store.Page{}, now)
				e.ok(err, "%s", l.name)
				if slices.Contains(k.ids(records), k.listed(r)) {
					e.fail("%s has a %s that expired at %v, now %v", l.name, k.noun, era, now)
				}
			}
		}
	}
}

func (k kind[S, R]) checkExpiredEdge(ctx context.Context, s S, e *env[S]) {
	const count = 5
	at := func(i int) time.Time { return base.Add(time.Hour + time.Duration(i)*time.Microsecond) }
	for i := range count {
		k.expiring(ctx, e, s, fmt.Sprint(i), at(i))
	}
	for now := range count {
		for i := range count {
			_, err := k.get(ctx, s, "t", fmt.Sprint(i), at(now))
			if i > now {
				e.ok(err, "reading %s %v before it expires", k.noun, at(i).Sub(at(now)))
			} else {
				e.is(err, store.ErrNotFound, "reading %s %v after it expired", k.noun, at(now).Sub(at(i)))
			}
		}
	}
}

func (k kind[S, R]) checkCollect(ctx context.Context, s S, e *env[S]) {
	if n, err := k.collect(ctx, s, base, 10); n != 0 || err != nil {
		e.fail("collecting from a store without data: %d, %v", n, err)
	}
	const expired, live, limit = 23, 9, 5
	now := base.Add(24 * time.Hour)
	for i := range expired - 1 {
		k.expiring(ctx, e, s, fmt.Sprint("expired ", i), now.Add(-time.Duration(i)*time.Minute))
	}
	foreign := k.record("other", "expired")
	k.expire(&foreign, now)
	e.ok(k.create(ctx, s, foreign, base), "creating %s of another tenant", k.noun)
	for i := range live {
		k.expiring(ctx, e, s, fmt.Sprint("live ", i), now.Add(time.Microsecond+time.Duration(i)*time.Minute))
	}
	if n, err := k.collect(ctx, s, base, 100); n != 0 || err != nil {
		e.fail("collecting before anything expired: %d, %v", n, err)
	}
	for _, none := range []int{0, -1} { // to SQL a negative limit may mean none at all
		if n, err := k.collect(ctx, s, now, none); n != 0 || err != nil {
			e.fail("collecting with limit %d: %d, %v", none, n, err)
		}
	}
	total := 0
	for range expired + 1 {
		n, err := k.collect(ctx, s, now, limit)
		e.ok(err, "collecting")
		if n < 0 || n > limit {
			e.fail("a collection with limit %d says it removed %d", limit, n)
		}
		if total += n; n == 0 {
			break
		}
	}
	if total != expired {
		e.fail("collections with limit %d until nothing was left removed %d records, want %d", limit, total, expired)
	}
	for i := range live {
		_, err := k.get(ctx, s, "t", fmt.Sprint("live ", i), now)
		e.ok(err, "reading a live %s after the collections", k.noun)
	}
	for i := range expired - 1 {
		_, err := k.get(ctx, s, "t", fmt.Sprint("expired ", i), now)
		e.is(err, store.ErrNotFound, "reading a collected %s", k.noun)
	}
	// The rest goes when its time has come.
	n, err := k.collect(ctx, s, now.AddDate(1, 0, 0), 1000)
	e.ok(err, "collecting")
	if n != live {
		e.fail("a year later a collection removed %d records, want %d", n, live)
	}
}

func (k kind[S, R]) checkCollectRace(ctx context.Context, s S, e *env[S]) {
	const records = 200
	for i := range records {
		k.expiring(ctx, e, s, fmt.Sprint(i), base.Add(time.Duration(i)*time.Second))
	}
	now := base.Add(records / 2 * time.Second) // half of them, and the one of now
	total := 0
	race(ctx, e, contest[S, int]{
		rounds: 20, limit: 2 * time.Second,
		call: func(ctx context.Context, s S, round, racer int) (int, error) {
			return k.collect(ctx, s, now, 7)
		},
		judge: func(ctx context.Context, round int, got []outcome[int]) {
			for _, o := range got {
				e.ok(o.err, "collecting while others collect")
				total += o.value
			}
		},
	})
	for { // what the race had no time for
		n, err := k.collect(ctx, s, now, records)
		e.ok(err, "collecting")
		if total += n; n == 0 || total > records {
			break
		}
	}
	if total != records/2+1 {
		e.fail("concurrent collections removed %d records, want %d", total, records/2+1)
	}
	for i := records/2 + 1; i < records; i++ {
		_, err := k.get(ctx, s, "t", fmt.Sprint(i), now)
		e.ok(err, "reading a live %s after the collections", k.noun)
	}
}
