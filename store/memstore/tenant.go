package memstore

import (
	"context"
	"time"

	"github.com/opkit/opkit/store"
)

func tenantID(t *store.Tenant) string { return t.ID }

func allTenants(*store.Tenant) group { return group{} }

var tenantSchema = schema[string, store.Tenant]{
	key:     tenantID,
	version: func(t *store.Tenant) *int64 { return &t.Version },
	orders:  []order[store.Tenant]{byID(allTenants, tenantID)},
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
	return clones(s.tenants.page(0, group{}, tenantID, p, nil)), nil
}
