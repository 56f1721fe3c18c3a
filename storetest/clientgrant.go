package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/opkit/opkit/store"
)

// RunClientGrants checks a [store.ClientGrantStore].
func RunClientGrants(t *testing.T, newStore func(t *testing.T) store.ClientGrantStore, opts *Options[store.ClientGrantStore]) {
	runAll(t, clientGrantChecks(), newStore, opts)
}

func clientGrantChecks() []check[store.ClientGrantStore] {
	return append(clientGrants.common(), check[store.ClientGrantStore]{
		name: "key-exact", rule: ruleUnique,
		explanation: "Client, audience and subject type are three values: what runs together, is empty, or is the default for " +
			"third-party clients, stays apart.",
		run: checkClientGrantKeys,
	})
}

var clientGrants = kind[store.ClientGrantStore, store.ClientGrant]{
	noun: "client grant",
	identify: func(g *store.ClientGrant, tenant, id string) {
		g.TenantID, g.ID = tenant, id
		g.ClientID, g.Audience, g.SubjectType = "client", "https://api.example/"+brief(id), store.SubjectUser
	},
	alter: func(g *store.ClientGrant) {
		g.ClientID, g.Audience, g.SubjectType = store.DefaultForThirdParty, g.Audience+"/changed", store.SubjectClient
	},
	listed:  func(g store.ClientGrant) string { return g.ID },
	version: func(g *store.ClientGrant) *int64 { return &g.Version },
	fixed:   []string{"ClientID", "Audience", "SubjectType"},
	create: func(ctx context.Context, s store.ClientGrantStore, g store.ClientGrant, _ time.Time) error {
		return s.CreateClientGrant(ctx, g)
	},
	taken: store.ErrExists,
	get: func(ctx context.Context, s store.ClientGrantStore, tenant, id string, _ time.Time) (store.ClientGrant, error) {
		return s.ClientGrant(ctx, tenant, id)
	},
	update: func(ctx context.Context, s store.ClientGrantStore, g store.ClientGrant, _ time.Time) error {
		return s.UpdateClientGrant(ctx, g)
	},
	remove: func(ctx context.Context, s store.ClientGrantStore, tenant, id string) error {
		return s.DeleteClientGrant(ctx, tenant, id)
	},
	finders: []finder[store.ClientGrantStore, store.ClientGrant]{{
		"FindClientGrant",
		func(ctx context.Context, s store.ClientGrantStore, g store.ClientGrant) (store.ClientGrant, error) {
			return s.FindClientGrant(ctx, g.TenantID, g.ClientID, g.Audience, g.SubjectType)
		},
	}},
	lists: []lister[store.ClientGrantStore, store.ClientGrant]{{
		"ClientGrants",
		func(ctx context.Context, s store.ClientGrantStore, tenant string, page store.Page, _ time.Time) ([]store.ClientGrant, error) {
			return s.ClientGrants(ctx, tenant, page)
		},
	}},
	uniques: []unique[store.ClientGrant]{
		{name: "key", fixed: true, set: func(g *store.ClientGrant, v string) { g.ClientID, g.Audience = "c", v }},
	},
	calls: func(s store.ClientGrantStore, g store.ClientGrant) []call {
		return []call{
			{"CreateClientGrant", func(ctx context.Context) error { return s.CreateClientGrant(ctx, g) }},
			{"ClientGrant", func(ctx context.Context) error { _, err := s.ClientGrant(ctx, g.TenantID, g.ID); return err }},
			{"FindClientGrant", func(ctx context.Context) error {
				_, err := s.FindClientGrant(ctx, g.TenantID, g.ClientID, g.Audience, g.SubjectType)
				return err
			}},
			{"UpdateClientGrant", func(ctx context.Context) error { return s.UpdateClientGrant(ctx, g) }},
			{"DeleteClientGrant", func(ctx context.Context) error { return s.DeleteClientGrant(ctx, g.TenantID, g.ID) }},
			{"ClientGrants", func(ctx context.Context) error { _, err := s.ClientGrants(ctx, g.TenantID, store.Page{}); return err }},
		}
	},
}

func checkClientGrantKeys(ctx context.Context, s store.ClientGrantStore, e *env[store.ClientGrantStore]) {
	keys := []struct{ client, audience, subjectType string }{
		{"a", "b", store.SubjectUser},
		{"a", "b", store.SubjectClient},
		{"b", "a", store.SubjectUser},
		{"ab", "", store.SubjectUser},
		{"", "ab", store.SubjectUser},
		{"a/b", "c", store.SubjectUser},
		{"a", "b/c", store.SubjectUser},
		{"a:b", "c", store.SubjectUser},
		{"a", "b:c", store.SubjectUser},
		{"A", "b", store.SubjectUser},
		{"a", "B", store.SubjectUser},
		{store.DefaultForThirdParty, "b", store.SubjectUser},
		{store.DefaultForThirdParty, "c", store.SubjectUser},
	}
	var stored []store.ClientGrant
	for i, key := range keys {
		_, err := s.FindClientGrant(ctx, "t", key.client, key.audience, key.subjectType)
		e.is(err, store.ErrNotFound, "FindClientGrant of %q, which is not stored yet", key)
		g := clientGrants.record("t", string(rune('a'+i)))
		g.ClientID, g.Audience, g.SubjectType = key.client, key.audience, key.subjectType
		stored = append(stored, clientGrants.put(ctx, e, s, g))
	}
	for i, key := range keys {
		g, err := s.FindClientGrant(ctx, "t", key.client, key.audience, key.subjectType)
		e.ok(err, "FindClientGrant of %q", key)
		e.same(stored[i], g, "the client grant found for %q", key)
	}
}
