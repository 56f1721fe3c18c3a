package storetest

import (
	"context"
	"fmt"
	"time"

	"github.com/opkit/opkit/store"
)

// recordChecks prove that a record is stored whole, copied, once, and removed.
func (k kind[S, R]) recordChecks() []check[S] {
	checks := []check[S]{
		{
			name: "round-trip", rule: ruleFields,
			explanation: "A record in which every field is set, one in which only the necessary fields are, " +
				"and one for each boolean are read as they were written.",
			run: k.checkRoundTrip,
		},
		{
			name: "large-values", rule: ruleFields,
			explanation: "Bytes and JSON of 64 KiB are read as they were written.",
			run:         k.checkLargeValues,
		},
		{
			name: "times", rule: ruleTimes,
			explanation: "Times with another zone, with nanoseconds and with a monotonic clock reading, " +
				"long ago, far ahead and zero, are read in UTC and right to the microsecond.",
			run: k.checkTimes,
		},
		{
			name: "copies-in", rule: ruleCopies,
			explanation: "Everything that a record refers to is overwritten after it was stored; the store must not notice.",
			run:         k.checkCopiesIn,
		},
		{
			name: "copies-out", rule: ruleCopies,
			explanation: "Everything that a record refers to is overwritten after it was read; the store must not notice.",
			run:         k.checkCopiesOut,
		},
		{
			name: "not-found", rule: ruleErrors,
			explanation: "Reading what was never stored is ErrNotFound, also for identifiers that resemble one that was.",
			run:         k.checkNotFound,
		},
		{
			name: "exists", rule: ruleErrors,
			explanation: "Creating a record with a taken identifier is an error and changes nothing.",
			run:         k.checkExists,
		},
		{
			name: "create-race", rule: ruleOnce,
			explanation: "Of concurrent creates with one identifier exactly one succeeds, and its record is the one stored.",
			run:         k.checkCreateRace,
		},
		{
			name: "create-race-second-handle", rule: ruleOnce, needs: secondHandle,
			explanation: "The same through two handles.",
			run:         k.checkCreateRace,
		},
	}
	if k.remove != nil {
		checks = append(checks,
			check[S]{
				name: "delete", rule: ruleMethod,
				explanation: "A deleted record is not found in any way; its neighbours are; its identifier is free.",
				run:         k.checkDelete,
			},
			check[S]{
				name: "delete-absent", rule: ruleAbsent,
				explanation: "Deleting what never was and what was deleted before is nil.",
				run:         k.checkDeleteAbsent,
			})
	}
	return checks
}

func (k kind[S, R]) checkRoundTrip(ctx context.Context, s S, e *env[S]) {
	k.expect(ctx, e, s, k.put(ctx, e, s, k.record("t", "full")), "t", "full")

	var minimal R
	k.identify(&minimal, "t", "minimal")
	k.expect(ctx, e, s, k.put(ctx, e, s, minimal), "t", "minimal")

	eachBool(func(name string, set func(*R)) {
		var r R
		set(&r)
		k.identify(&r, "t", name)
		k.expect(ctx, e, s, k.put(ctx, e, s, r), "t", name)
	})
}

func (k kind[S, R]) checkLargeValues(ctx context.Context, s S, e *env[S]) {
	r := k.record("t", "large")
	enlarge(&r)
	k.expect(ctx, e, s, k.put(ctx, e, s, r), "t", "large")
}

func (k kind[S, R]) checkTimes(ctx context.Context, s S, e *env[S]) {
	east := time.FixedZone("East", 5*60*60+30*60)
	for _, c := range []struct {
		id   string
		past bool // a record that expires has to expire later
		move func(t time.Time) time.Time
	}{
		{"zone", false, func(t time.Time) time.Time { return t.In(east) }},
		{"nanoseconds", false, func(t time.Time) time.Time { return t.Add(987 * time.Nanosecond) }},
		{"long ago", true, func(t time.Time) time.Time { return t.AddDate(-90, 0, 0) }},
		{"far ahead", false, func(t time.Time) time.Time { return t.AddDate(180, 0, 0) }},
		{"zero", true, func(t time.Time) time.Time { return time.Time{} }},
		{"zero in a zone", true, func(t time.Time) time.Time { return time.Time{}.In(east) }},
		// A time with a monotonic clock reading never equals one that was stored.
		{"monotonic", true, func(t time.Time) time.Time { return time.Now() }},
	} {
		r := k.record("t", c.id)
		for _, t := range timesOf(&r) {
			if !t.IsZero() {
				*t = c.move(*t)
			}
		}
		if k.expire != nil && c.past {
			k.expire(&r, base.Add(time.Hour))
		}
		want := k.put(ctx, e, s, r)
		got, err := k.get(ctx, s, "t", c.id, base)
		e.ok(err, "reading %s %q", k.noun, c.id)
		e.same(want, got, "%s with times %q", k.noun, c.id)
		for i, t := range timesOf(&got) {
			if sent := timesOf(&want)[i]; sent.IsZero() != t.IsZero() {
				e.fail("%s with times %q: %v was stored, %v was read", k.noun, c.id, sent, t)
			}
			// Not by the zone's name: on many a server the local zone is UTC as well.
			if t.Location() != time.UTC {
				e.fail("%s with times %q: a time that was read is in zone %v", k.noun, c.id, t.Location())
			}
			if *t != t.Round(0) {
				e.fail("%s with times %q: a time that was read has a monotonic clock reading", k.noun, c.id)
			}
		}
	}
}

func (k kind[S, R]) checkCopiesIn(ctx context.Context, s S, e *env[S]) {
	r := k.record("t", "a")
	k.put(ctx, e, s, r)
	scribble(&r)
	k.expect(ctx, e, s, k.versioned(k.record("t", "a"), 1), "t", "a")
	if k.update == nil {
		return
	}
	r = k.versioned(k.changed("t", "a"), 1)
	e.ok(k.update(ctx, s, r, base), "updating %s", k.noun)
	scribble(&r)
	k.expect(ctx, e, s, k.updated(k.record("t", "a"), k.changed("t", "a"), 2), "t", "a")
}

func (k kind[S, R]) checkCopiesOut(ctx context.Context, s S, e *env[S]) {
	want := k.put(ctx, e, s, k.record("t", "a"))
	got, err := k.get(ctx, s, "t", "a", base)
	e.ok(err, "reading %s", k.noun)
	scribble(&got)
	k.expect(ctx, e, s, want, "t", "a")
	for _, f := range k.finders {
		got, err := f.find(ctx, s, want)
		e.ok(err, "%s", f.name)
		scribble(&got)
		k.expect(ctx, e, s, want, "t", "a")
	}
	for _, l := range k.lists {
		for _, got := range k.all(ctx, e, s, l, "t") {
			scribble(&got)
		}
		k.expect(ctx, e, s, want, "t", "a")
	}
}

func (k kind[S, R]) checkNotFound(ctx context.Context, s S, e *env[S]) {
	k.absent(ctx, e, s, k.record("t", "abc"), "t", "abc")
	k.put(ctx, e, s, k.record("t", "abc"))
	for _, id := range []string{
		"", "ab", "abcd", "bc", "ABC", "Abc", " abc", "abc ", "abc\n", "ab%", "%", "ab_", "___", "a*", "*",
		"abc'--", "' OR ''='", `abc\`, `"abc"`, "àbc", "ab\u0441", // the last letter is Cyrillic
	} {
		k.absent(ctx, e, s, k.record("t", id), "t", id)
	}
	if k.update != nil {
		missing := k.versioned(k.record("t", "ABC"), 1)
		e.is(k.update(ctx, s, missing, base), store.ErrNotFound, "updating %s that is absent", k.noun)
		k.absent(ctx, e, s, missing, "t", "ABC")
	}
}

func (k kind[S, R]) checkExists(ctx context.Context, s S, e *env[S]) {
	want := k.put(ctx, e, s, k.record("t", "a"))
	e.is(k.create(ctx, s, k.record("t", "a"), base), k.taken, "creating the same %s again", k.noun)
	e.is(k.create(ctx, s, k.recordOf(2, "t", "a"), base), k.taken, "creating another %s with a taken identifier", k.noun)
	k.expect(ctx, e, s, want, "t", "a")
}

func (k kind[S, R]) checkCreateRace(ctx context.Context, s S, e *env[S]) {
	// A tenant for each round, because some records are only read by listing all.
	name := func(round int) string { return fmt.Sprint("round ", round) }
	var records [racers]R
	rounds, limit := k.rounds()
	race(ctx, e, contest[S, struct{}]{
		rounds: rounds, limit: limit,
		prepare: func(ctx context.Context, round int) {
			for racer := range records {
				records[racer] = k.recordOf(racer+1, name(round), name(round))
			}
		},
		call: func(ctx context.Context, s S, round, racer int) (struct{}, error) {
			return struct{}{}, k.create(ctx, s, records[racer], base)
		},
		judge: func(ctx context.Context, round int, got []outcome[struct{}]) {
			won := winner(e, round, got, k.taken)
			stored, err := k.get(ctx, s, name(round), name(round), base)
			e.ok(err, "reading the winner's %s", k.noun)
			e.same(k.versioned(records[won], 1), stored, "the winner's %s", k.noun)
		},
	})
}

func (k kind[S, R]) checkDelete(ctx context.Context, s S, e *env[S]) {
	a := k.put(ctx, e, s, k.record("t", "a"))
	b := k.put(ctx, e, s, k.record("t", "b"))
	ab := k.put(ctx, e, s, k.record("t", "ab"))
	e.ok(k.remove(ctx, s, "t", "a"), "deleting %s", k.noun)
	k.absent(ctx, e, s, a, "t", "a")
	k.expect(ctx, e, s, b, "t", "b")
	k.expect(ctx, e, s, ab, "t", "ab")
	if k.update != nil {
		e.is(k.update(ctx, s, a, base), store.ErrNotFound, "updating a deleted %s", k.noun)
		k.absent(ctx, e, s, a, "t", "a")
	}
	k.expect(ctx, e, s, k.put(ctx, e, s, k.recordOf(3, "t", "a")), "t", "a")
}

func (k kind[S, R]) checkDeleteAbsent(ctx context.Context, s S, e *env[S]) {
	e.ok(k.remove(ctx, s, "t", "a"), "deleting %s that never was", k.noun)
	k.put(ctx, e, s, k.record("t", "a"))
	for range 3 {
		e.ok(k.remove(ctx, s, "t", "a"), "deleting %s", k.noun)
	}
	e.ok(k.remove(ctx, s, "no such tenant", "a"), "deleting %s of a tenant that never was", k.noun)
}
