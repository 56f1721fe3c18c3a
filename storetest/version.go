package storetest

import (
	"context"
	"fmt"

	"github.com/opkit/opkit/store"
)

// versionChecks prove compare-and-swap.
func (k kind[S, R]) versionChecks() []check[S] {
	if k.update == nil {
		return nil
	}
	return []check[S]{
		{
			name: "version", rule: ruleVersions,
			explanation: "Create ignores the Version; an update with the stored one succeeds and adds one; " +
				"one with any other is ErrConflict and changes nothing.",
			run: k.checkVersion,
		},
		{
			name: "update-replaces", rule: ruleVersions,
			explanation: "An update that changes every field stores them all, except for those that never change.",
			run:         k.checkUpdateReplaces,
		},
		{
			name: "update-race", rule: ruleVersions,
			explanation: "Of concurrent updates with one Version exactly one succeeds, the others get ErrConflict, " +
				"and the winner's record is the one stored.",
			run: k.checkUpdateRace,
		},
		{
			name: "update-race-second-handle", rule: ruleVersions, needs: secondHandle,
			explanation: "The same through two handles.",
			run:         k.checkUpdateRace,
		},
	}
}

func (k kind[S, R]) checkVersion(ctx context.Context, s S, e *env[S]) {
	for i, version := range []int64{0, 1, 7, -1} {
		id := fmt.Sprint("created with version ", version)
		k.put(ctx, e, s, k.versioned(k.record("t", id), version))
		got, err := k.get(ctx, s, "t", id, base)
		e.ok(err, "reading %s", k.noun)
		if *k.version(&got) != 1 {
			e.fail("%s number %d created with Version %d has Version %d, want 1", k.noun, i, version, *k.version(&got))
		}
	}
	old := k.record("t", "a")
	k.put(ctx, e, s, old)
	next := k.changed("t", "a")
	for version := int64(1); version <= 3; version++ {
		for _, wrong := range []int64{0, -1, version - 1, version + 1, version + 100} {
			if wrong != version {
				err := k.update(ctx, s, k.versioned(k.recordOf(5, "t", "a"), wrong), base)
				e.is(err, store.ErrConflict, "updating version %d of %s with Version %d", version, k.noun, wrong)
			}
		}
		e.ok(k.update(ctx, s, k.versioned(next, version), base), "updating version %d of %s", version, k.noun)
		k.expect(ctx, e, s, k.updated(old, next, version+1), "t", "a")
	}
	e.is(k.update(ctx, s, k.versioned(k.record("t", "missing"), 0), base), store.ErrNotFound, "updating an absent %s", k.noun)
	e.is(k.update(ctx, s, k.versioned(k.record("t", "missing"), 1), base), store.ErrNotFound, "updating an absent %s", k.noun)
}

func (k kind[S, R]) checkUpdateReplaces(ctx context.Context, s S, e *env[S]) {
	old := k.record("t", "a")
	other := k.put(ctx, e, s, k.record("t", "b"))
	k.put(ctx, e, s, old)
	next := k.changed("t", "a")
	e.ok(k.update(ctx, s, k.versioned(next, 1), base), "updating %s", k.noun)
	k.expect(ctx, e, s, k.updated(old, next, 2), "t", "a")
	k.expect(ctx, e, s, other, "t", "b")

	// Fields go back to zero as well.
	var empty R
	k.identify(&empty, "t", "a")
	e.ok(k.update(ctx, s, k.versioned(empty, 2), base), "updating %s", k.noun)
	k.expect(ctx, e, s, k.updated(old, empty, 3), "t", "a")
	k.expect(ctx, e, s, other, "t", "b")
}

func (k kind[S, R]) checkUpdateRace(ctx context.Context, s S, e *env[S]) {
	old := k.record("t", "a")
	k.put(ctx, e, s, old)
	var next [racers]R
	for racer := range next {
		next[racer] = k.recordOf(racer+2, "t", "a")
	}
	rounds, limit := k.rounds()
	race(ctx, e, contest[S, struct{}]{
		rounds: rounds, limit: limit,
		call: func(ctx context.Context, s S, round, racer int) (struct{}, error) {
			return struct{}{}, k.update(ctx, s, k.versioned(next[racer], int64(round+1)), base)
		},
		judge: func(ctx context.Context, round int, got []outcome[struct{}]) {
			won := winner(e, round, got, store.ErrConflict)
			stored, err := k.get(ctx, s, "t", "a", base)
			e.ok(err, "reading %s", k.noun)
			e.same(k.updated(old, next[won], int64(round+2)), stored, "the winner's %s", k.noun)
		},
	})
}
