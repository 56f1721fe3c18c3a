package memstore

import (
	"context"
	"time"

	"github.com/opkit/opkit/store"
)

func clientGrantID(g *store.ClientGrant) string { return g.ID }

func clientGrantTenant(g *store.ClientGrant) group { return group{tenant: g.TenantID} }

var clientGrantSchema = schema[key, store.ClientGrant]{
	key:     func(g *store.ClientGrant) key { return key{g.TenantID, g.ID} },
	version: func(g *store.ClientGrant) *int64 { return &g.Version },
	keep: func(old, next *store.ClientGrant) {
		next.ClientID = old.ClientID
		next.Audience = old.Audience
		next.SubjectType = old.SubjectType
	},
	unique: func(g *store.ClientGrant) []claim {
		return []claim{{g.TenantID, g.ClientID, g.Audience, g.SubjectType}}
	},
	orders: []order[store.ClientGrant]{byID(clientGrantTenant, clientGrantID)},
}

func storedClientGrant(g store.ClientGrant) *store.ClientGrant {
	g = g.Clone()
	g.CreatedAt = utc(g.CreatedAt)
	g.UpdatedAt = utc(g.UpdatedAt)
	return &g
}

// CreateClientGrant implements [store.ClientGrantStore].
func (s *Store) CreateClientGrant(ctx context.Context, g store.ClientGrant) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.clientGrants.create(storedClientGrant(g))
}

// ClientGrant implements [store.ClientGrantStore].
func (s *Store) ClientGrant(ctx context.Context, tenant, id string) (store.ClientGrant, error) {
	if err := ctx.Err(); err != nil {
		return store.ClientGrant{}, err
	}
	g := s.clientGrants.get(key{tenant, id})
	if g == nil {
		return store.ClientGrant{}, store.ErrNotFound
	}
	return g.Clone(), nil
}

// FindClientGrant implements [store.ClientGrantStore].
func (s *Store) FindClientGrant(ctx context.Context, tenant, client, audience, subjectType string) (store.ClientGrant, error) {
	if err := ctx.Err(); err != nil {
		return store.ClientGrant{}, err
	}
	g := s.clientGrants.find(claim{tenant, client, audience, subjectType})
	if g == nil {
		return store.ClientGrant{}, store.ErrNotFound
	}
	return g.Clone(), nil
}

// UpdateClientGrant implements [store.ClientGrantStore].
func (s *Store) UpdateClientGrant(ctx context.Context, g store.ClientGrant) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.clientGrants.update(storedClientGrant(g), time.Time{})
}

// DeleteClientGrant implements [store.ClientGrantStore].
func (s *Store) DeleteClientGrant(ctx context.Context, tenant, id string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.clientGrants.remove(key{tenant, id})
	return nil
}

// ClientGrants implements [store.ClientGrantStore].
func (s *Store) ClientGrants(ctx context.Context, tenant string, p store.Page) ([]store.ClientGrant, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return clones(s.clientGrants.page(0, group{tenant: tenant}, clientGrantID, p, nil)), nil
}
