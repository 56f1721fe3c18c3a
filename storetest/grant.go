package storetest

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/opkit/opkit/store"
)

// RunGrants checks a [store.GrantFamilyStore]: grants, families, and what holds
// them together.
func RunGrants(t *testing.T, newStore func(t *testing.T) store.GrantFamilyStore, opts *Options[store.GrantFamilyStore]) {
	runAll(t, grantFamilyChecks(), newStore, opts)
}

func grantFamilyChecks() []check[store.GrantFamilyStore] {
	return slices.Concat(
		grants.common(), grantChecks(),
		families.common(), familyChecks(), familyRaceChecks(), familyInterruptionChecks())
}

var grants = kind[store.GrantFamilyStore, store.Grant]{
	noun: "grant",
	identify: func(g *store.Grant, tenant, id string) {
		g.TenantID, g.ID = tenant, id
		g.UserID, g.ClientID, g.Audience = "user", "client", "https://api.example/"+brief(id)
	},
	alter: func(g *store.Grant) {
		g.UserID, g.ClientID, g.Audience = "user-changed", "client-changed", g.Audience+"/changed"
	},
	listed:  func(g store.Grant) string { return g.ID },
	version: func(g *store.Grant) *int64 { return &g.Version },
	fixed:   []string{"UserID", "ClientID", "Audience"},
	create: func(ctx context.Context, s store.GrantFamilyStore, g store.Grant, _ time.Time) error {
		return s.CreateGrant(ctx, g)
	},
	taken: store.ErrExists,
	get: func(ctx context.Context, s store.GrantFamilyStore, tenant, id string, now time.Time) (store.Grant, error) {
		return s.Grant(ctx, tenant, id, "", now)
	},
	update: func(ctx context.Context, s store.GrantFamilyStore, g store.Grant, _ time.Time) error {
		return s.UpdateGrant(ctx, g)
	},
	remove: func(ctx context.Context, s store.GrantFamilyStore, tenant, id string) error {
		return s.DeleteGrant(ctx, tenant, id)
	},
	finders: []finder[store.GrantFamilyStore, store.Grant]{{
		"FindGrant",
		func(ctx context.Context, s store.GrantFamilyStore, g store.Grant) (store.Grant, error) {
			return s.FindGrant(ctx, g.TenantID, g.UserID, g.ClientID, g.Audience)
		},
	}},
	lists: []lister[store.GrantFamilyStore, store.Grant]{
		{"Grants", grantLister(store.GrantFilter{})},
		{"Grants-of-user", grantLister(store.GrantFilter{UserID: "user"})},
		{"Grants-of-client", grantLister(store.GrantFilter{ClientID: "client"})},
		{"Grants-of-user-and-client", grantLister(store.GrantFilter{UserID: "user", ClientID: "client"})},
	},
	uniques: []unique[store.Grant]{
		{name: "key", fixed: true, set: func(g *store.Grant, v string) { g.Audience = v }},
	},
	calls: func(s store.GrantFamilyStore, g store.Grant) []call {
		return []call{
			{"CreateGrant", func(ctx context.Context) error { return s.CreateGrant(ctx, g) }},
			{"Grant", func(ctx context.Context) error { _, err := s.Grant(ctx, g.TenantID, g.ID, "", base); return err }},
			{"FindGrant", func(ctx context.Context) error {
				_, err := s.FindGrant(ctx, g.TenantID, g.UserID, g.ClientID, g.Audience)
				return err
			}},
			{"UpdateGrant", func(ctx context.Context) error { return s.UpdateGrant(ctx, g) }},
			{"DeleteGrant", func(ctx context.Context) error { return s.DeleteGrant(ctx, g.TenantID, g.ID) }},
			{"Grants", func(ctx context.Context) error {
				_, err := s.Grants(ctx, g.TenantID, store.GrantFilter{}, store.Page{})
				return err
			}},
		}
	},
}

func grantLister(filter store.GrantFilter) func(context.Context, store.GrantFamilyStore, string, store.Page, time.Time) ([]store.Grant, error) {
	return func(ctx context.Context, s store.GrantFamilyStore, tenant string, page store.Page, _ time.Time) ([]store.Grant, error) {
		return s.Grants(ctx, tenant, filter, page)
	}
}

func grantChecks() []check[store.GrantFamilyStore] {
	return []check[store.GrantFamilyStore]{
		{
			name: "key-exact", rule: ruleUnique,
			explanation: "User, client and audience are three values: what runs together, is empty or differs only in case stays apart, " +
				"for FindGrant and for the filter of Grants.",
			run: checkGrantKeys,
		},
		{
			name: "grant-of-family", rule: ruleMethod,
			explanation: "With a family, Grant answers only if the family is one of the grant's and neither revoked nor expired.",
			run:         checkGrantOfFamily,
		},
		{
			name: "delete-grant", rule: ruleMethod,
			explanation: "DeleteGrant takes all families of the grant, whatever their state, and no others; " +
				"nothing starts or rotates under it afterwards, also when the user allows the client again.",
			run: checkDeleteGrant,
		},
		{
			name: "delete-grant-reopen", rule: ruleDurable, needs: reopening,
			explanation: "A grant that was deleted is so after the data was closed and opened again, and so are its families.",
			run: func(ctx context.Context, s store.GrantFamilyStore, e *env[store.GrantFamilyStore]) {
				f := families.put(ctx, e, s, families.record("t", "f"))
				e.ok(s.DeleteGrant(ctx, "t", f.GrantID), "DeleteGrant")
				s = e.reopen()
				dead(ctx, e, s, f)
			},
		},
		{
			name: "delete-grant-second-handle", rule: ruleHandles, needs: secondHandle,
			explanation: "When a grant is deleted through one handle its families are dead on the other at once.",
			run: func(ctx context.Context, s store.GrantFamilyStore, e *env[store.GrantFamilyStore]) {
				f := families.put(ctx, e, s, families.record("t", "f"))
				_, err := e.handles[1].Grant(ctx, "t", f.GrantID, "f", base)
				e.ok(err, "Grant through the other handle")
				e.ok(s.DeleteGrant(ctx, "t", f.GrantID), "DeleteGrant")
				dead(ctx, e, e.handles[1], f)
			},
		},
	}
}

// dead demands that the grant of f is gone and f with it.
func dead(ctx context.Context, e *env[store.GrantFamilyStore], s store.GrantFamilyStore, f store.Family) {
	_, err := s.Grant(ctx, f.TenantID, f.GrantID, "", base)
	e.is(err, store.ErrNotFound, "Grant of a deleted grant")
	_, err = s.Grant(ctx, f.TenantID, f.GrantID, f.ID, base)
	e.is(err, store.ErrNotFound, "Grant of a deleted grant with family %q", f.ID)
	_, err = s.Family(ctx, f.TenantID, f.ID, base)
	e.is(err, store.ErrNotFound, "Family %q of a deleted grant", f.ID)
	for generation := range int64(2) {
		_, err = s.RotateFamily(ctx, f.TenantID, f.ID, generation, base.AddDate(1, 0, 0), base)
		e.is(err, store.ErrNotFound, "RotateFamily of family %q of a deleted grant", f.ID)
	}
	_, err = s.StartFamily(ctx, f, base)
	e.is(err, store.ErrNotFound, "StartFamily of family %q of a deleted grant", f.ID)
}

func checkGrantKeys(ctx context.Context, s store.GrantFamilyStore, e *env[store.GrantFamilyStore]) {
	keys := []struct{ user, client, audience string }{
		{"a", "b", ""}, {"a", "b", "c"}, {"a", "bc", ""}, {"ab", "c", ""}, {"b", "a", "c"},
		{"a/b", "c", "d"}, {"a", "b/c", "d"}, {"a", "b", "c/d"}, {"a:b", "c", "d"}, {"a", "b:c", "d"},
		{"A", "b", "c"}, {"a", "B", "c"}, {"a", "b", "C"}, {"a ", "b", "c"}, {"a%", "b", "c"}, {"_", "b", "c"},
	}
	var stored []store.Grant
	for i, key := range keys {
		_, err := s.FindGrant(ctx, "t", key.user, key.client, key.audience)
		e.is(err, store.ErrNotFound, "FindGrant of %q, which is not stored yet", key)
		g := grants.record("t", string(rune('a'+i)))
		g.UserID, g.ClientID, g.Audience = key.user, key.client, key.audience
		stored = append(stored, grants.put(ctx, e, s, g))
	}
	for i, key := range keys {
		g, err := s.FindGrant(ctx, "t", key.user, key.client, key.audience)
		e.ok(err, "FindGrant of %q", key)
		e.same(stored[i], g, "the grant found for %q", key)
		for _, filter := range []store.GrantFilter{
			{UserID: key.user}, {ClientID: key.client}, {UserID: key.user, ClientID: key.client}, {UserID: key.client, ClientID: key.user},
		} {
			var want []store.Grant
			for _, g := range stored {
				if (filter.UserID == "" || g.UserID == filter.UserID) && (filter.ClientID == "" || g.ClientID == filter.ClientID) {
					want = append(want, g)
				}
			}
			got, err := s.Grants(ctx, "t", filter, store.Page{})
			e.ok(err, "Grants of %+v", filter)
			e.same(want, got, "Grants of %+v", filter)
		}
	}
}

func checkGrantOfFamily(ctx context.Context, s store.GrantFamilyStore, e *env[store.GrantFamilyStore]) {
	f := families.put(ctx, e, s, families.record("t", "f"))
	want, err := s.Grant(ctx, "t", f.GrantID, "", base)
	e.ok(err, "Grant")
	other := grants.put(ctx, e, s, grants.record("t", "other grant"))
	foreign := families.put(ctx, e, s, families.record("other tenant", "foreign"))

	got, err := s.Grant(ctx, "t", f.GrantID, "f", base)
	e.ok(err, "Grant with a live family")
	e.same(want, got, "the grant of a live family")
	for _, c := range []struct{ why, tenant, grant, family string }{
		{"a family that never was", "t", f.GrantID, "missing"},
		{"a family that looks alike", "t", f.GrantID, "F"},
		{"a family of another grant", "t", other.ID, "f"},
		{"a family of another tenant", "t", f.GrantID, foreign.ID},
		{"a family of this tenant", "other tenant", foreign.GrantID, "f"},
		{"a grant that never was", "t", "missing", "f"},
	} {
		_, err := s.Grant(ctx, c.tenant, c.grant, c.family, base)
		e.is(err, store.ErrNotFound, "Grant with %s", c.why)
	}

	_, err = s.Grant(ctx, "t", f.GrantID, "f", f.ExpiresAt)
	e.is(err, store.ErrNotFound, "Grant with an expired family")
	_, err = s.Grant(ctx, "t", f.GrantID, "f", f.ExpiresAt.Add(-time.Microsecond))
	e.ok(err, "Grant with a family that is about to expire")
	e.ok(s.RevokeFamily(ctx, "t", "f", f.ExpiresAt, base), "RevokeFamily")
	_, err = s.Grant(ctx, "t", f.GrantID, "f", base)
	e.is(err, store.ErrNotFound, "Grant with a revoked family")
	_, err = s.Grant(ctx, "t", f.GrantID, "", base)
	e.ok(err, "Grant without a family")
}

func checkDeleteGrant(ctx context.Context, s store.GrantFamilyStore, e *env[store.GrantFamilyStore]) {
	const count = 40
	g := grants.put(ctx, e, s, grants.record("t", "doomed"))
	keep := families.put(ctx, e, s, families.record("t", "keep"))
	foreign := families.record("other", "family 1")
	foreign.GrantID = "doomed"
	grants.put(ctx, e, s, grants.record("other", "doomed"))
	foreign, err := s.StartFamily(ctx, foreign, base)
	e.ok(err, "StartFamily")
	var doomed []store.Family
	for i := range count {
		f := families.record("t", "family "+string(rune('0'+i)))
		f.GrantID = "doomed"
		_, err := s.StartFamily(ctx, f, base)
		e.ok(err, "StartFamily")
		switch i % 3 {
		case 1:
			_, err := s.RotateFamily(ctx, "t", f.ID, 0, f.ExpiresAt, base)
			e.ok(err, "RotateFamily")
		case 2:
			e.ok(s.RevokeFamily(ctx, "t", f.ID, f.ExpiresAt.Add(time.Hour), base), "RevokeFamily")
		}
		doomed = append(doomed, f)
	}
	for range 2 { // the second time it is absent
		e.ok(s.DeleteGrant(ctx, "t", "doomed"), "DeleteGrant")
		for _, f := range doomed {
			dead(ctx, e, s, f)
		}
	}
	families.expect(ctx, e, s, keep, "t", "keep")
	families.expect(ctx, e, s, foreign, "other", "family 1")

	// The same consent again is another grant.
	again := g
	again.ID = "again"
	again = grants.put(ctx, e, s, again)
	found, err := s.FindGrant(ctx, "t", g.UserID, g.ClientID, g.Audience)
	e.ok(err, "FindGrant")
	e.same(again, found, "the grant that was given again")
	for _, f := range doomed {
		dead(ctx, e, s, f)
		_, err := s.Grant(ctx, "t", "again", f.ID, base)
		e.is(err, store.ErrNotFound, "Grant of the grant that was given again, with a family of the first")
	}
}
