package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/opkit/opkit/store"
)

// RunTenants checks a [store.TenantStore].
func RunTenants(t *testing.T, newStore func(t *testing.T) store.TenantStore, opts *Options[store.TenantStore]) {
	runAll(t, tenantChecks(), newStore, opts)
}

func tenantChecks() []check[store.TenantStore] { return tenants.common() }

var tenants = kind[store.TenantStore, store.Tenant]{
	noun:     "tenant",
	global:   true,
	identify: func(t *store.Tenant, _, id string) { t.ID = id },
	listed:   func(t store.Tenant) string { return t.ID },
	version:  func(t *store.Tenant) *int64 { return &t.Version },
	create: func(ctx context.Context, s store.TenantStore, t store.Tenant, _ time.Time) error {
		return s.CreateTenant(ctx, t)
	},
	taken: store.ErrExists,
	get: func(ctx context.Context, s store.TenantStore, _, id string, _ time.Time) (store.Tenant, error) {
		return s.Tenant(ctx, id)
	},
	update: func(ctx context.Context, s store.TenantStore, t store.Tenant, _ time.Time) error {
		return s.UpdateTenant(ctx, t)
	},
	lists: []lister[store.TenantStore, store.Tenant]{{
		"Tenants",
		func(ctx context.Context, s store.TenantStore, _ string, page store.Page, _ time.Time) ([]store.Tenant, error) {
			return s.Tenants(ctx, page)
		},
	}},
	calls: func(s store.TenantStore, t store.Tenant) []call {
		return []call{
			{"CreateTenant", func(ctx context.Context) error { return s.CreateTenant(ctx, t) }},
			{"Tenant", func(ctx context.Context) error { _, err := s.Tenant(ctx, t.ID); return err }},
			{"UpdateTenant", func(ctx context.Context) error { return s.UpdateTenant(ctx, t) }},
			{"Tenants", func(ctx context.Context) error { _, err := s.Tenants(ctx, store.Page{}); return err }},
		}
	},
}
