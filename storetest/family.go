package storetest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/opkit/opkit/store"
)

// families all belong to one grant in each tenant, which create provides.
var families = kind[store.GrantFamilyStore, store.Family]{
	noun:   "family",
	prefix: "family-",
	identify: func(f *store.Family, tenant, id string) {
		f.TenantID, f.ID, f.GrantID = tenant, id, "grant"
		f.Generation, f.RotatedAt, f.RevokedAt = 0, time.Time{}, time.Time{} // the store sets them
		if f.ExpiresAt.IsZero() {
			f.ExpiresAt = base.Add(24 * time.Hour)
		}
	},
	listed: func(f store.Family) string { return f.ID },
	create: func(ctx context.Context, s store.GrantFamilyStore, f store.Family, now time.Time) error {
		err := s.CreateGrant(ctx, grants.record(f.TenantID, f.GrantID))
		if err != nil && !errors.Is(err, store.ErrExists) {
			return err
		}
		_, err = s.StartFamily(ctx, f, now)
		return err
	},
	taken: store.ErrConsumed,
	get: func(ctx context.Context, s store.GrantFamilyStore, tenant, id string, now time.Time) (store.Family, error) {
		return s.Family(ctx, tenant, id, now)
	},
	expire: func(f *store.Family, at time.Time) { f.ExpiresAt = at },
	collect: func(ctx context.Context, s store.GrantFamilyStore, now time.Time, limit int) (int, error) {
		return s.CollectFamilies(ctx, now, limit)
	},
	spent: func(s store.GrantFamilyStore, f store.Family, now time.Time) []call {
		return []call{
			{"Family", func(ctx context.Context) error { _, err := s.Family(ctx, f.TenantID, f.ID, now); return err }},
			{"Grant", func(ctx context.Context) error { _, err := s.Grant(ctx, f.TenantID, f.GrantID, f.ID, now); return err }},
			{"RotateFamily", func(ctx context.Context) error {
				_, err := s.RotateFamily(ctx, f.TenantID, f.ID, 0, now.AddDate(1, 0, 0), now)
				return err
			}},
			{"RotateFamily with a wrong generation", func(ctx context.Context) error {
				_, err := s.RotateFamily(ctx, f.TenantID, f.ID, 7, now.AddDate(1, 0, 0), now)
				if errors.Is(err, store.ErrConsumed) {
					return nil // as it has to be while the family is alive
				}
				return err
			}},
		}
	},
	calls: func(s store.GrantFamilyStore, f store.Family) []call {
		later := base.Add(time.Hour)
		return []call{
			{"StartFamily", func(ctx context.Context) error { _, err := s.StartFamily(ctx, f, base); return err }},
			{"Family", func(ctx context.Context) error { _, err := s.Family(ctx, f.TenantID, f.ID, base); return err }},
			{"Grant", func(ctx context.Context) error { _, err := s.Grant(ctx, f.TenantID, f.GrantID, f.ID, base); return err }},
			{"RotateFamily", func(ctx context.Context) error {
				_, err := s.RotateFamily(ctx, f.TenantID, f.ID, f.Generation, later, base)
				return err
			}},
			{"RevokeFamily", func(ctx context.Context) error { return s.RevokeFamily(ctx, f.TenantID, f.ID, later, base) }},
			{"RevokeFamilies", func(ctx context.Context) error {
				_, err := s.RevokeFamilies(ctx, f.TenantID, store.FamilyFilter{SID: f.SID}, later, base)
				return err
			}},
			{"DeleteGrant", func(ctx context.Context) error { return s.DeleteGrant(ctx, f.TenantID, f.GrantID) }},
			{"CollectFamilies", func(ctx context.Context) error { _, err := s.CollectFamilies(ctx, later, 10); return err }},
		}
	},
}

func familyChecks() []check[store.GrantFamilyStore] {
	return []check[store.GrantFamilyStore]{
		{
			name: "start", rule: ruleOnce,
			explanation: "StartFamily returns the family with Generation 0, and once it exists the existing record with ErrConsumed, " +
				"also for another grant; without its grant it answers ErrNotFound and stores nothing.",
			run: checkStart,
		},
		{
			name: "rotate", rule: ruleOnce,
			explanation: "RotateFamily with the present generation returns the new record; " +
				"with any other it returns the present one with ErrConsumed and changes nothing.",
			run: checkRotate,
		},
		{
			name: "revoke", rule: ruleMethod,
			explanation: "RevokeFamily sets RevokedAt once and only ever prolongs the record's life; " +
				"a revoked family is returned with ErrConsumed by reads, rotations and starts.",
			run: checkRevoke,
		},
		{
			name: "revoke-absent", rule: ruleAbsent,
			explanation: "Revoking a family that never was, is of another tenant, or has expired is nil, and brings nothing to life.",
			run:         checkRevokeAbsent,
		},
		{
			name: "family-tombstone", rule: ruleTombs,
			explanation: "Until a revoked family expires its identifier is taken and collections leave it; then the identifier is free.",
			run:         checkFamilyTombstone,
		},
		{
			name: "revoke-families", rule: ruleMethod,
			explanation: "RevokeFamilies revokes the live families of one tenant that match every member of the filter, exactly, " +
				"counts them, and leaves the others; an empty filter matches nothing.",
			run: checkRevokeFamilies,
		},
		{
			name: "family-state-reopen", rule: ruleTombs, needs: reopening,
			explanation: "A family that was revoked or rotated is so after the data was closed and opened again.",
			run:         checkFamilyReopen,
		},
		{
			name: "family-state-second-handle", rule: ruleHandles, needs: secondHandle,
			explanation: "A rotation and a revocation through one handle are seen through the other at once.",
			run:         checkFamilySecondHandle,
		},
	}
}

func checkStart(ctx context.Context, s store.GrantFamilyStore, e *env[store.GrantFamilyStore]) {
	f := families.record("t", "a")
	_, err := s.StartFamily(ctx, f, base)
	e.is(err, store.ErrNotFound, "StartFamily without its grant")
	grants.put(ctx, e, s, grants.record("other", f.GrantID))
	_, err = s.StartFamily(ctx, f, base)
	e.is(err, store.ErrNotFound, "StartFamily with a grant of another tenant")
	families.absent(ctx, e, s, f, "t", "a")

	grants.put(ctx, e, s, grants.record("t", f.GrantID))
	grants.put(ctx, e, s, grants.record("t", "another grant"))
	sent := f
	sent.Generation = 7
	got, err := s.StartFamily(ctx, sent, base)
	e.ok(err, "StartFamily")
	e.same(f, got, "the family from StartFamily")
	families.expect(ctx, e, s, f, "t", "a")

	again := families.recordOf(2, "t", "a")
	for range 2 {
		for _, grant := range []string{f.GrantID, "another grant"} {
			again.GrantID = grant
			got, err = s.StartFamily(ctx, again, base)
			e.is(err, store.ErrConsumed, "StartFamily of a family of %q that exists in %q", grant, f.GrantID)
			e.same(f, got, "the family that came with ErrConsumed from StartFamily")
			families.expect(ctx, e, s, f, "t", "a")
		}
		// And once more with the record that a rotation leaves.
		f, err = s.RotateFamily(ctx, "t", "a", f.Generation, f.ExpiresAt, base)
		e.ok(err, "RotateFamily")
	}
}

func checkRotate(ctx context.Context, s store.GrantFamilyStore, e *env[store.GrantFamilyStore]) {
	_, err := s.RotateFamily(ctx, "t", "a", 0, base.AddDate(1, 0, 0), base)
	e.is(err, store.ErrNotFound, "RotateFamily of what never was")
	neighbour := families.put(ctx, e, s, families.record("t", "b"))
	want := families.put(ctx, e, s, families.record("t", "a"))
	for generation := range int64(4) {
		now := base.Add(time.Duration(generation) * time.Minute)
		for _, wrong := range []int64{-1, 0, generation - 1, generation + 1, generation + 100} {
			if wrong == generation {
				continue
			}
			got, err := s.RotateFamily(ctx, "t", "a", wrong, now.AddDate(9, 0, 0), now)
			e.is(err, store.ErrConsumed, "RotateFamily of generation %d with %d", generation, wrong)
			e.same(want, got, "the family that came with ErrConsumed from RotateFamily")
			families.expect(ctx, e, s, want, "t", "a")
		}
		// The expiry may come nearer as well.
		want.Generation, want.RotatedAt, want.ExpiresAt = generation+1, now, base.AddDate(0, 0, 9-int(generation))
		got, err := s.RotateFamily(ctx, "t", "a", generation, want.ExpiresAt, now)
		e.ok(err, "RotateFamily")
		e.same(want, got, "the family from RotateFamily")
		families.expect(ctx, e, s, want, "t", "a")
	}
	_, err = s.RotateFamily(ctx, "other", "a", want.Generation, want.ExpiresAt, base)
	e.is(err, store.ErrNotFound, "RotateFamily of another tenant's family")
	families.expect(ctx, e, s, want, "t", "a")
	families.expect(ctx, e, s, neighbour, "t", "b")
	_, err = s.RotateFamily(ctx, "t", "a", want.Generation, want.ExpiresAt.AddDate(1, 0, 0), want.ExpiresAt)
	e.is(err, store.ErrNotFound, "RotateFamily of a family that expired by the time its rotation gave it")
}

func checkRevoke(ctx context.Context, s store.GrantFamilyStore, e *env[store.GrantFamilyStore]) {
	for _, c := range []struct {
		id    string
		until time.Duration // from the family's own expiry
	}{{"sooner", -time.Minute}, {"same", 0}, {"later", time.Hour}} {
		want := families.put(ctx, e, s, families.record("t", c.id))
		now, until := base.Add(time.Minute), want.ExpiresAt.Add(c.until)
		e.ok(s.RevokeFamily(ctx, "t", c.id, until, now), "RevokeFamily")
		want.RevokedAt = now
		want.ExpiresAt = want.ExpiresAt.Add(max(c.until, 0))
		revoked(ctx, e, s, want, now)

		// Revoking again keeps the first time, and may prolong.
		e.ok(s.RevokeFamily(ctx, "t", c.id, until, now.Add(time.Minute)), "RevokeFamily")
		revoked(ctx, e, s, want, now)
		want.ExpiresAt = want.ExpiresAt.Add(time.Minute)
		e.ok(s.RevokeFamily(ctx, "t", c.id, want.ExpiresAt, now.Add(time.Hour)), "RevokeFamily")
		revoked(ctx, e, s, want, now)
		_, err := s.Family(ctx, "t", c.id, want.ExpiresAt.Add(-time.Microsecond))
		e.is(err, store.ErrConsumed, "Family of a revoked family that is about to expire")
		_, err = s.Family(ctx, "t", c.id, want.ExpiresAt)
		e.is(err, store.ErrNotFound, "Family of a revoked family that has expired")
	}
}

// revoked demands that the family is known as revoked wherever it is met.
func revoked(ctx context.Context, e *env[store.GrantFamilyStore], s store.GrantFamilyStore, want store.Family, now time.Time) {
	got, err := s.Family(ctx, want.TenantID, want.ID, now)
	e.is(err, store.ErrConsumed, "Family of a revoked family")
	e.same(want, got, "the family that came with ErrConsumed from Family")
	got, err = s.RotateFamily(ctx, want.TenantID, want.ID, want.Generation, now.AddDate(9, 0, 0), now)
	e.is(err, store.ErrConsumed, "RotateFamily of a revoked family")
	e.same(want, got, "the family that came with ErrConsumed from RotateFamily")
	got, err = s.StartFamily(ctx, families.recordOf(2, want.TenantID, want.ID), now)
	e.is(err, store.ErrConsumed, "StartFamily of a revoked family")
	e.same(want, got, "the family that came with ErrConsumed from StartFamily")
	_, err = s.Grant(ctx, want.TenantID, want.GrantID, want.ID, now)
	e.is(err, store.ErrNotFound, "Grant with a revoked family")
}

func checkRevokeAbsent(ctx context.Context, s store.GrantFamilyStore, e *env[store.GrantFamilyStore]) {
	later := base.AddDate(9, 0, 0)
	e.ok(s.RevokeFamily(ctx, "t", "a", later, base), "RevokeFamily of what never was")
	want := families.put(ctx, e, s, families.record("t", "a"))
	for _, id := range []string{"", "A", "a ", "%", "_", "ab"} {
		e.ok(s.RevokeFamily(ctx, "t", id, later, base), "RevokeFamily of %q", id)
	}
	e.ok(s.RevokeFamily(ctx, "other", "a", later, base), "RevokeFamily in another tenant")
	families.expect(ctx, e, s, want, "t", "a")

	e.ok(s.RevokeFamily(ctx, "t", "a", later, want.ExpiresAt), "RevokeFamily of an expired family")
	_, err := s.Family(ctx, "t", "a", want.ExpiresAt)
	e.is(err, store.ErrNotFound, "Family of an expired family that was revoked")
	n, err := s.RevokeFamilies(ctx, "t", store.FamilyFilter{SID: want.SID}, later, want.ExpiresAt)
	e.ok(err, "RevokeFamilies")
	if n != 0 {
		e.fail("RevokeFamilies revoked %d expired families", n)
	}
	_, err = s.Family(ctx, "t", "a", want.ExpiresAt)
	e.is(err, store.ErrNotFound, "Family of an expired family that was revoked")
}

func checkFamilyTombstone(ctx context.Context, s store.GrantFamilyStore, e *env[store.GrantFamilyStore]) {
	for _, era := range eras {
		id, now := fmt.Sprint(era.Year()), era.Add(-time.Hour)
		families.expiring(ctx, e, s, id, now.Add(time.Minute))
		e.ok(s.RevokeFamily(ctx, "t", id, era, now), "RevokeFamily")
		want, err := s.Family(ctx, "t", id, now)
		e.is(err, store.ErrConsumed, "Family of a revoked family, now %v", now)
		// Past the expiry that the family had before.
		for _, now := range []time.Time{now.Add(time.Minute), era.Add(-time.Microsecond)} {
			n, err := s.CollectFamilies(ctx, now, 100)
			e.ok(err, "CollectFamilies")
			if n != 0 {
				e.fail("CollectFamilies removed %d records although only a tombstone is there that has not expired", n)
			}
			revoked(ctx, e, s, want, now)
		}
		_, err = s.Family(ctx, "t", id, era)
		e.is(err, store.ErrNotFound, "Family of an expired tombstone, now %v", era)
		next := families.recordOf(2, "t", id)
		next.ExpiresAt = era.Add(time.Hour)
		got, err := s.StartFamily(ctx, next, era)
		e.ok(err, "StartFamily over an expired tombstone, now %v", era)
		e.same(next, got, "the family that took the place of a tombstone")
		got, err = s.RotateFamily(ctx, "t", id, 0, era.Add(time.Hour), era)
		e.ok(err, "RotateFamily of the family that took the place of a tombstone")
		if got.Generation != 1 || !got.RevokedAt.IsZero() {
			e.fail("the family that took the place of a tombstone is %+v after its first rotation", got)
		}
		n, err := s.CollectFamilies(ctx, era.Add(time.Hour), 100)
		e.ok(err, "CollectFamilies")
		if n != 1 {
			e.fail("CollectFamilies removed %d records, want the one family that expired", n)
		}
	}
}

func checkRevokeFamilies(ctx context.Context, s store.GrantFamilyStore, e *env[store.GrantFamilyStore]) {
	values := []string{"a", "b", "A", "%"}
	now, until := base.Add(time.Minute), base.AddDate(9, 0, 0)
	for i, filter := range []store.FamilyFilter{
		{},
		{SID: "a"}, {UserID: "a"}, {ClientID: "a"},
		{SID: "a", UserID: "b"}, {UserID: "a", ClientID: "b"}, {SID: "b", ClientID: "a"},
		{SID: "a", UserID: "a", ClientID: "a"},
		{SID: "%"}, {UserID: "_"}, {ClientID: "nobody"}, {SID: "a", UserID: "nobody"},
	} {
		tenant := fmt.Sprint("tenant ", i)
		var all []store.Family
		for _, t := range []string{tenant, "not " + tenant} {
			for _, sid := range values {
				for _, user := range values {
					for _, client := range values {
						f := families.record(t, sid+user+client)
						f.SID, f.UserID, f.ClientID = sid, user, client
						if sid == user {
							f.ExpiresAt = until.Add(time.Hour) // stays
						}
						all = append(all, families.put(ctx, e, s, f))
					}
				}
			}
		}
		matches := func(f store.Family) bool {
			return f.TenantID == tenant && filter != (store.FamilyFilter{}) &&
				(filter.SID == "" || f.SID == filter.SID) &&
				(filter.UserID == "" || f.UserID == filter.UserID) &&
				(filter.ClientID == "" || f.ClientID == filter.ClientID)
		}
		// One that matches was revoked before: it keeps its time and is not counted.
		want := 0
		for j, f := range all {
			if !matches(f) {
				continue
			}
			if want++; want == 1 {
				e.ok(s.RevokeFamily(ctx, f.TenantID, f.ID, base, base), "RevokeFamily")
				all[j].RevokedAt = base
			}
		}
		for _, want := range []int{max(want-1, 0), 0} { // the second time there is nothing left
			got, err := s.RevokeFamilies(ctx, tenant, filter, until, now)
			e.ok(err, "RevokeFamilies of %+v", filter)
			if got != want {
				e.fail("RevokeFamilies of %+v says %d, want %d", filter, got, want)
			}
		}
		for _, f := range all {
			if !matches(f) {
				families.expect(ctx, e, s, f, f.TenantID, f.ID)
				continue
			}
			got, err := s.Family(ctx, f.TenantID, f.ID, now)
			e.is(err, store.ErrConsumed, "Family %q after RevokeFamilies of %+v", f.ID, filter)
			if f.RevokedAt.IsZero() {
				f.RevokedAt = now
				if until.After(f.ExpiresAt) {
					f.ExpiresAt = until
				}
			}
			e.same(f, got, "family %q after RevokeFamilies of %+v", f.ID, filter)
		}
	}
}

func checkFamilyReopen(ctx context.Context, s store.GrantFamilyStore, e *env[store.GrantFamilyStore]) {
	f := families.put(ctx, e, s, families.record("t", "revoked"))
	families.put(ctx, e, s, families.record("t", "rotated"))
	e.ok(s.RevokeFamily(ctx, "t", "revoked", f.ExpiresAt.Add(time.Hour), base), "RevokeFamily")
	f.RevokedAt, f.ExpiresAt = base, f.ExpiresAt.Add(time.Hour)
	want, err := s.RotateFamily(ctx, "t", "rotated", 0, f.ExpiresAt, base)
	e.ok(err, "RotateFamily")
	s = e.reopen()
	revoked(ctx, e, s, f, base)
	families.expect(ctx, e, s, want, "t", "rotated")
	got, err := s.RotateFamily(ctx, "t", "rotated", 0, f.ExpiresAt, base)
	e.is(err, store.ErrConsumed, "RotateFamily with a generation that was used before")
	e.same(want, got, "the family that came with ErrConsumed from RotateFamily")
}

func checkFamilySecondHandle(ctx context.Context, _ store.GrantFamilyStore, e *env[store.GrantFamilyStore]) {
	for i, id := range []string{"a", "b"} {
		writer, reader := e.handles[i], e.handles[1-i]
		f := families.put(ctx, e, writer, families.record("t", id))
		families.expect(ctx, e, reader, f, "t", id)
		rotated, err := writer.RotateFamily(ctx, "t", id, 0, f.ExpiresAt, base)
		e.ok(err, "RotateFamily")
		families.expect(ctx, e, reader, rotated, "t", id)
		got, err := reader.RotateFamily(ctx, "t", id, 0, f.ExpiresAt, base)
		e.is(err, store.ErrConsumed, "RotateFamily with a generation that was used through the other handle")
		e.same(rotated, got, "the family that came with ErrConsumed from RotateFamily")
		e.ok(writer.RevokeFamily(ctx, "t", id, f.ExpiresAt, base), "RevokeFamily")
		rotated.RevokedAt = base
		revoked(ctx, e, reader, rotated, base)
	}
}
