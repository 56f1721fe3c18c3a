package storetest

import (
	"context"
	"fmt"
	"time"

	"github.com/opkit/opkit/store"
)

// uniqueChecks prove that no two records share a value that has to be unique.
func (k kind[S, R]) uniqueChecks() []check[S] {
	var checks []check[S]
	for _, u := range k.uniques {
		run := func(ctx context.Context, s S, e *env[S]) { k.checkUniqueRace(ctx, s, e, u) }
		checks = append(checks,
			check[S]{
				name: "unique-" + u.name, rule: ruleUnique,
				explanation: fmt.Sprintf("A %s whose %s another one has is refused with ErrExists and leaves nothing behind; "+
					"the value is free in other tenants, and again once its holder gave it up.", k.noun, u.name),
				run: func(ctx context.Context, s S, e *env[S]) { k.checkUnique(ctx, s, e, u) },
			},
			check[S]{
				name: "unique-" + u.name + "-race", rule: ruleUnique,
				explanation: fmt.Sprintf("Of concurrent creates that differ only in the identifier but for one %s exactly one succeeds; "+
					"the others get ErrExists and leave nothing behind.", u.name),
				run: run,
			},
			check[S]{
				name: "unique-" + u.name + "-race-second-handle", rule: ruleUnique, needs: secondHandle,
				explanation: "The same through two handles.",
				run:         run,
			})
	}
	return checks
}

func (k kind[S, R]) checkUnique(ctx context.Context, s S, e *env[S], u unique[R]) {
	first := k.record("t", "a")
	u.set(&first, "v")
	first = k.put(ctx, e, s, first)

	second := k.record("t", "b")
	u.second(&second, "v")
	e.is(k.create(ctx, s, second, base), store.ErrExists, "creating a second %s with the same %s", k.noun, u.name)
	if _, err := k.get(ctx, s, "t", "b", base); err == nil {
		e.fail("a %s that was refused with ErrExists is stored", k.noun)
	}
	k.expect(ctx, e, s, first, "t", "a")

	foreign := k.record("other", "b")
	u.second(&foreign, "v")
	k.expect(ctx, e, s, k.put(ctx, e, s, foreign), "other", "b")

	// The refused one can be created with a value of its own.
	second = k.put(ctx, e, s, k.record("t", "b"))
	if !u.fixed {
		attempt := k.versioned(k.record("t", "b"), 1)
		u.second(&attempt, "v")
		e.is(k.update(ctx, s, attempt, base), store.ErrExists, "updating a %s to a taken %s", k.noun, u.name)
		k.expect(ctx, e, s, second, "t", "b")
		k.expect(ctx, e, s, first, "t", "a")

		// A record does not stand in its own way.
		e.ok(k.update(ctx, s, first, base), "updating a %s that keeps its %s", k.noun, u.name)

		u.set(&first, "w")
		first = k.versioned(first, 2)
		e.ok(k.update(ctx, s, first, base), "updating a %s to a free %s", k.noun, u.name)
		first = k.versioned(first, 3)
		k.expect(ctx, e, s, first, "t", "a")
		e.ok(k.update(ctx, s, attempt, base), "updating a %s to a %s that was given up", k.noun, u.name)
		k.expect(ctx, e, s, k.versioned(attempt, 2), "t", "b")
		k.expect(ctx, e, s, first, "t", "a")
	}
	e.ok(k.remove(ctx, s, "t", "a"), "deleting %s", k.noun)
	e.ok(k.remove(ctx, s, "t", "b"), "deleting %s", k.noun)
	third := k.record("t", "c")
	u.second(&third, "v")
	k.expect(ctx, e, s, k.put(ctx, e, s, third), "t", "c")
}

func (k kind[S, R]) checkUniqueRace(ctx context.Context, s S, e *env[S], u unique[R]) {
	// A tenant for each round, because some records are only read by listing all.
	tenant := func(round int) string { return fmt.Sprint("round ", round) }
	id := func(round, racer int) string { return fmt.Sprintf("%d/%d", round, racer) }
	var records [racers]R
	race(ctx, e, contest[S, struct{}]{
		rounds: 2000, limit: 2 * time.Second,
		prepare: func(ctx context.Context, round int) {
			for racer := range records {
				var r R
				k.identify(&r, tenant(round), id(round, racer))
				if racer%2 == 0 {
					u.set(&r, "v")
				} else {
					u.second(&r, "v")
				}
				records[racer] = r
			}
		},
		call: func(ctx context.Context, s S, round, racer int) (struct{}, error) {
			return struct{}{}, k.create(ctx, s, records[racer], base)
		},
		judge: func(ctx context.Context, round int, got []outcome[struct{}]) {
			won := winner(e, round, got, store.ErrExists)
			for racer := range got {
				_, err := k.get(ctx, s, tenant(round), id(round, racer), base)
				if racer == won {
					e.ok(err, "reading the winner's %s", k.noun)
				} else {
					e.is(err, store.ErrNotFound, "reading a loser's %s", k.noun)
				}
			}
		},
	})
}
