package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/opkit/opkit/store"
)

// familyRaceChecks prove that what families decide is decided once.
func familyRaceChecks() []check[store.GrantFamilyStore] {
	type run = func(context.Context, store.GrantFamilyStore, *env[store.GrantFamilyStore])
	twice := func(name, explanation string, run run) []check[store.GrantFamilyStore] {
		return []check[store.GrantFamilyStore]{
			{name: name, rule: ruleOnce, explanation: explanation, run: run},
			{
				name: name + "-second-handle", rule: ruleOnce, needs: secondHandle,
				explanation: explanation + " Through two handles.", run: run,
			},
		}
	}
	return slices.Concat(
		twice("start-race", "Of concurrent starts of one family, redemptions of one code, exactly one succeeds; "+
			"each other gets the winner's record with ErrConsumed.", checkStartRace),
		twice("start-expired-race", "Of concurrent starts over a family that has expired exactly one succeeds.", checkStartExpiredRace),
		twice("rotate-race", "Of concurrent rotations of one generation exactly one succeeds; "+
			"each other gets the rotated record with ErrConsumed.", checkRotateRace),
		twice("revoke-rotate-race", "Rotations and revocations of one family at once: no rotation undoes the revocation.", checkRevokeRotateRace),
		twice("revoke-families-race", "RevokeFamilies is one step: "+
			"nobody who saw one family revoked sees another one alive afterwards.", checkRevokeFamiliesRace),
		twice("delete-grant-race", "Starts and rotations while the grant is deleted: "+
			"once DeleteGrant returned, no family of the grant is alive.", checkDeleteGrantRace),
	)
}

func checkStartRace(ctx context.Context, s store.GrantFamilyStore, e *env[store.GrantFamilyStore]) {
	grants.put(ctx, e, s, grants.record("t", "grant"))
	startRace(ctx, e, nil)
}

func checkStartExpiredRace(ctx context.Context, s store.GrantFamilyStore, e *env[store.GrantFamilyStore]) {
	startRace(ctx, e, func(ctx context.Context, round int) {
		f := families.record("t", fmt.Sprint(round))
		f.ExpiresAt = base
		e.ok(families.create(ctx, s, f, base.Add(-time.Hour)), "StartFamily")
	})
}

// startRace races for families of a grant that exists.
func startRace(ctx context.Context, e *env[store.GrantFamilyStore], prepare func(context.Context, int)) {
	var next [racers]store.Family
	race(ctx, e, contest[store.GrantFamilyStore, store.Family]{
		rounds: 2000, limit: 2 * time.Second,
		prepare: func(ctx context.Context, round int) {
			for racer := range next {
				next[racer] = families.recordOf(racer+1, "t", fmt.Sprint(round))
			}
			if prepare != nil {
				prepare(ctx, round)
			}
		},
		call: func(ctx context.Context, s store.GrantFamilyStore, round, racer int) (store.Family, error) {
			return s.StartFamily(ctx, next[racer], base)
		},
		judge: func(ctx context.Context, round int, got []outcome[store.Family]) {
			won := winner(e, round, got, store.ErrConsumed)
			for _, o := range got {
				e.same(next[won], o.value, "round %d: the family that came with %v", round, o.err)
			}
		},
	})
}

func checkRotateRace(ctx context.Context, s store.GrantFamilyStore, e *env[store.GrantFamilyStore]) {
	f := families.put(ctx, e, s, families.record("t", "a"))
	race(ctx, e, contest[store.GrantFamilyStore, store.Family]{
		rounds: 2000, limit: 2 * time.Second,
		call: func(ctx context.Context, s store.GrantFamilyStore, round, racer int) (store.Family, error) {
			return s.RotateFamily(ctx, "t", "a", int64(round), f.ExpiresAt.Add(time.Duration(racer)*time.Hour), base.Add(time.Duration(racer)*time.Minute))
		},
		judge: func(ctx context.Context, round int, got []outcome[store.Family]) {
			won := winner(e, round, got, store.ErrConsumed)
			want := f
			want.Generation = int64(round) + 1
			want.ExpiresAt = f.ExpiresAt.Add(time.Duration(won) * time.Hour)
			want.RotatedAt = base.Add(time.Duration(won) * time.Minute)
			for _, o := range got {
				e.same(want, o.value, "round %d: the family that came with %v", round, o.err)
			}
		},
	})
}

func checkRevokeRotateRace(ctx context.Context, s store.GrantFamilyStore, e *env[store.GrantFamilyStore]) {
	until := base.AddDate(9, 0, 0)
	race(ctx, e, contest[store.GrantFamilyStore, store.Family]{
		rounds: 2000, limit: 2 * time.Second,
		prepare: func(ctx context.Context, round int) { families.put(ctx, e, s, families.record("t", fmt.Sprint(round))) },
		call: func(ctx context.Context, s store.GrantFamilyStore, round, racer int) (store.Family, error) {
			if racer == round%racers {
				return store.Family{}, s.RevokeFamily(ctx, "t", fmt.Sprint(round), until, base)
			}
			return s.RotateFamily(ctx, "t", fmt.Sprint(round), 0, base.AddDate(0, 1, 0), base)
		},
		judge: func(ctx context.Context, round int, got []outcome[store.Family]) {
			rotated := 0
			for racer, o := range got {
				switch {
				case racer == round%racers:
					e.ok(o.err, "round %d: RevokeFamily", round)
				case o.err == nil:
					rotated++
				default:
					e.is(o.err, store.ErrConsumed, "round %d: RotateFamily", round)
				}
			}
			if rotated > 1 {
				e.fail("round %d: %d concurrent rotations succeeded", round, rotated)
			}
			f, err := s.Family(ctx, "t", fmt.Sprint(round), base)
			e.is(err, store.ErrConsumed, "round %d: Family after it was revoked", round)
			if f.ExpiresAt.Before(until) {
				e.fail("round %d: the tombstone expires at %v, want %v", round, f.ExpiresAt, until)
			}
		},
	})
}

func checkRevokeFamiliesRace(ctx context.Context, s store.GrantFamilyStore, e *env[store.GrantFamilyStore]) {
	const count = 6
	id := func(round, i int) string { return fmt.Sprintf("%d/%d", round, i%count) }
	race(ctx, e, contest[store.GrantFamilyStore, string]{
		rounds: 500, limit: 2 * time.Second,
		prepare: func(ctx context.Context, round int) {
			for i := range count {
				f := families.record("t", id(round, i))
				f.SID = fmt.Sprint(round)
				families.put(ctx, e, s, f)
			}
		},
		call: func(ctx context.Context, s store.GrantFamilyStore, round, racer int) (string, error) {
			if racer == round%racers {
				n, err := s.RevokeFamilies(ctx, "t", store.FamilyFilter{SID: fmt.Sprint(round)}, base.AddDate(9, 0, 0), base)
				if err == nil && n != count {
					return fmt.Sprintf("RevokeFamilies says %d, want %d", n, count), nil
				}
				return "", err
			}
			seen := "" // the family that was seen revoked
			for i := range count {
				family := id(round, i+racer)
				switch _, err := s.Family(ctx, "t", family, base); {
				case errors.Is(err, store.ErrConsumed):
					seen = family
				case err != nil:
					return "", err
				case seen != "":
					return fmt.Sprintf("family %q is alive although %q was revoked", family, seen), nil
				}
			}
			return "", nil
		},
		judge: func(ctx context.Context, round int, got []outcome[string]) {
			for _, o := range got {
				e.ok(o.err, "round %d", round)
				if o.value != "" {
					e.fail("round %d: %s", round, o.value)
				}
			}
		},
	})
}

func checkDeleteGrantRace(ctx context.Context, s store.GrantFamilyStore, e *env[store.GrantFamilyStore]) {
	family := func(round, racer int) store.Family {
		f := families.record("t", fmt.Sprintf("%d/%d", round, racer))
		f.GrantID = fmt.Sprint(round)
		return f
	}
	const old = racers // the family that is there before
	var next [racers + 1]store.Family
	race(ctx, e, contest[store.GrantFamilyStore, store.Family]{
		rounds: 2000, limit: 2 * time.Second,
		prepare: func(ctx context.Context, round int) {
			for racer := range next {
				next[racer] = family(round, racer)
			}
			families.put(ctx, e, s, next[old])
		},
		call: func(ctx context.Context, s store.GrantFamilyStore, round, racer int) (store.Family, error) {
			switch {
			case racer == round%racers:
				return store.Family{}, s.DeleteGrant(ctx, "t", next[old].GrantID)
			case racer%4 == 3:
				return s.RotateFamily(ctx, "t", next[old].ID, 0, base.AddDate(1, 0, 0), base)
			}
			return s.StartFamily(ctx, next[racer], base)
		},
		judge: func(ctx context.Context, round int, got []outcome[store.Family]) {
			for racer, o := range got {
				switch got := sentinel(o.err); {
				case o.err == nil, racer != round%racers && errors.Is(got, store.ErrNotFound):
				case racer%4 == 3 && errors.Is(got, store.ErrConsumed):
				default:
					e.fail("round %d: while the grant is deleted: %w", round, o.err)
				}
				dead(ctx, e, s, next[racer])
			}
			dead(ctx, e, s, next[old])
		},
	})
}
