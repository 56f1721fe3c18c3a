package memstore

import (
	"context"
	"time"

	"github.com/opkit/opkit/store"
)

func apiID(a *store.API) string { return a.ID }

func apiTenant(a *store.API) group { return group{tenant: a.TenantID} }

func apiAudience(tenant, audience string) claim { return claim{tenant: tenant, a: audience} }

var apiSchema = schema[key, store.API]{
	key:     func(a *store.API) key { return key{a.TenantID, a.ID} },
	version: func(a *store.API) *int64 { return &a.Version },
	keep:    func(old, next *store.API) { next.Audience = old.Audience },
	unique:  func(a *store.API) []claim { return []claim{apiAudience(a.TenantID, a.Audience)} },
	orders:  []order[store.API]{byID(apiTenant, apiID)},
}

func storedAPI(a store.API) *store.API {
	a = a.Clone()
	a.CreatedAt = utc(a.CreatedAt)
	a.UpdatedAt = utc(a.UpdatedAt)
	return &a
}

// CreateAPI implements [store.APIStore].
func (s *Store) CreateAPI(ctx context.Context, a store.API) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.apis.create(storedAPI(a))
}

// API implements [store.APIStore].
func (s *Store) API(ctx context.Context, tenant, id string) (store.API, error) {
	if err := ctx.Err(); err != nil {
		return store.API{}, err
	}
	a := s.apis.get(key{tenant, id})
	if a == nil {
		return store.API{}, store.ErrNotFound
	}
	return a.Clone(), nil
}

// APIByAudience implements [store.APIStore].
func (s *Store) APIByAudience(ctx context.Context, tenant, audience string) (store.API, error) {
	if err := ctx.Err(); err != nil {
		return store.API{}, err
	}
	a := s.apis.find(apiAudience(tenant, audience))
	if a == nil {
		return store.API{}, store.ErrNotFound
	}
	return a.Clone(), nil
}

// UpdateAPI implements [store.APIStore].
func (s *Store) UpdateAPI(ctx context.Context, a store.API) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.apis.update(storedAPI(a), time.Time{})
}

// DeleteAPI implements [store.APIStore].
func (s *Store) DeleteAPI(ctx context.Context, tenant, id string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.apis.remove(key{tenant, id})
	return nil
}

// APIs implements [store.APIStore].
func (s *Store) APIs(ctx context.Context, tenant string, p store.Page) ([]store.API, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return clones(s.apis.page(0, group{tenant: tenant}, apiID, p, nil)), nil
}
