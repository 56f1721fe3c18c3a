package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/opkit/opkit/store"
)

// RunAPIs checks a [store.APIStore].
func RunAPIs(t *testing.T, newStore func(t *testing.T) store.APIStore, opts *Options[store.APIStore]) {
	runAll(t, apiChecks(), newStore, opts)
}

func apiChecks() []check[store.APIStore] {
	return append(apis.common(), check[store.APIStore]{
		name: "audience-exact", rule: ruleUnique,
		explanation: "Audiences that differ only in case, blanks, Unicode form or a slash are different audiences.",
		run: func(ctx context.Context, s store.APIStore, e *env[store.APIStore]) {
			for _, audience := range append([]string{"https://a/", "https://a", "https://A"}, lookalikes...) {
				a := apis.record("t", audience)
				a.Audience = audience
				_, err := s.APIByAudience(ctx, "t", audience)
				e.is(err, store.ErrNotFound, "APIByAudience of %q, which is not stored yet", audience)
				apis.put(ctx, e, s, a)
			}
			for _, audience := range lookalikes {
				a, err := s.APIByAudience(ctx, "t", audience)
				e.ok(err, "APIByAudience of %q", audience)
				e.same(audience, a.Audience, "the audience found for %q", audience)
			}
		},
	})
}

var apis = kind[store.APIStore, store.API]{
	noun: "API",
	identify: func(a *store.API, tenant, id string) {
		a.TenantID, a.ID, a.Audience = tenant, id, "https://api.example/"+brief(id)
	},
	alter:   func(a *store.API) { a.Audience += "/changed" },
	listed:  func(a store.API) string { return a.ID },
	version: func(a *store.API) *int64 { return &a.Version },
	fixed:   []string{"Audience"},
	create: func(ctx context.Context, s store.APIStore, a store.API, _ time.Time) error {
		return s.CreateAPI(ctx, a)
	},
	taken: store.ErrExists,
	get: func(ctx context.Context, s store.APIStore, tenant, id string, _ time.Time) (store.API, error) {
		return s.API(ctx, tenant, id)
	},
	update: func(ctx context.Context, s store.APIStore, a store.API, _ time.Time) error {
		return s.UpdateAPI(ctx, a)
	},
	remove: func(ctx context.Context, s store.APIStore, tenant, id string) error {
		return s.DeleteAPI(ctx, tenant, id)
	},
	finders: []finder[store.APIStore, store.API]{{
		"APIByAudience",
		func(ctx context.Context, s store.APIStore, a store.API) (store.API, error) {
			return s.APIByAudience(ctx, a.TenantID, a.Audience)
		},
	}},
	lists: []lister[store.APIStore, store.API]{{
		"APIs",
		func(ctx context.Context, s store.APIStore, tenant string, page store.Page, _ time.Time) ([]store.API, error) {
			return s.APIs(ctx, tenant, page)
		},
	}},
	uniques: []unique[store.API]{
		{name: "audience", fixed: true, set: func(a *store.API, v string) { a.Audience = v }},
	},
	calls: func(s store.APIStore, a store.API) []call {
		return []call{
			{"CreateAPI", func(ctx context.Context) error { return s.CreateAPI(ctx, a) }},
			{"API", func(ctx context.Context) error { _, err := s.API(ctx, a.TenantID, a.ID); return err }},
			{"APIByAudience", func(ctx context.Context) error { _, err := s.APIByAudience(ctx, a.TenantID, a.Audience); return err }},
			{"UpdateAPI", func(ctx context.Context) error { return s.UpdateAPI(ctx, a) }},
			{"DeleteAPI", func(ctx context.Context) error { return s.DeleteAPI(ctx, a.TenantID, a.ID) }},
			{"APIs", func(ctx context.Context) error { _, err := s.APIs(ctx, a.TenantID, store.Page{}); return err }},
		}
	},
}
