package memstore

import (
	"context"
	"time"

	"github.com/opkit/opkit/store"
)

func tenantPlace(t *store.Tenant) place { return place{id: t.ID} }

var tenantSchema = schema[string, store.Tenant]{
	key:     func(t *store.Tenant) string { return t.ID },
	version: func(t *store.Tenant) *int64 { return &t.Version },
	orders:  []func(a, b *store.Tenant) int{by(tenantPlace)},
}

func storedTenant(t store.Tenant) *store.Tenant {
	t = t.Clone()
	t.CreatedAt = utc(t.CreatedAt)
	t.UpdatedAt = utc(t.UpdatedAt)
	return &t
}

// CreateTenant implements [store.TenantStore].
func (s *Store) CreateTenant(ctx context.Context, t store.Tenant) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.tenants.create(storedTenant(t))
}

// Tenant implements [store.TenantStore].
func (s *Store) Tenant(ctx context.Context, id string) (store.Tenant, error) {
	if err := ctx.Err(); err != nil {
		return store.Tenant{}, err
	}
	t := s.tenants.get(id)
	if t == nil {
		return store.Tenant{}, store.ErrNotFound
	}
	return t.Clone(), nil
}

// UpdateTenant implements [store.TenantStore].
func (s *Store) UpdateTenant(ctx context.Context, t store.Tenant) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.tenants.update(storedTenant(t), time.Time{})
}

// Tenants implements [store.TenantStore].
func (s *Store) Tenants(ctx context.Context, p store.Page) ([]store.Tenant, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return clones(page(&s.tenants, 0, tenantPlace, "", "", p, nil)), nil
}
