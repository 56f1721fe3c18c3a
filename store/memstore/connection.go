package memstore

import (
	"context"
	"time"

	"github.com/opkit/opkit/store"
)

func connectionID(c *store.Connection) string { return c.ID }

func connectionTenant(c *store.Connection) group { return group{tenant: c.TenantID} }

var connectionSchema = schema[key, store.Connection]{
	key:     func(c *store.Connection) key { return key{c.TenantID, c.ID} },
	version: func(c *store.Connection) *int64 { return &c.Version },
	unique:  func(c *store.Connection) []claim { return []claim{{tenant: c.TenantID, a: c.Name}} },
	orders:  []order[store.Connection]{byID(connectionTenant, connectionID)},
}

func storedConnection(c store.Connection) *store.Connection {
	c = c.Clone()
	c.CreatedAt = utc(c.CreatedAt)
	c.UpdatedAt = utc(c.UpdatedAt)
	return &c
}

// CreateConnection implements [store.ConnectionStore].
func (s *Store) CreateConnection(ctx context.Context, c store.Connection) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.connections.create(storedConnection(c))
}

// Connection implements [store.ConnectionStore].
func (s *Store) Connection(ctx context.Context, tenant, id string) (store.Connection, error) {
	if err := ctx.Err(); err != nil {
		return store.Connection{}, err
	}
	c := s.connections.get(key{tenant, id})
	if c == nil {
		return store.Connection{}, store.ErrNotFound
	}
	return c.Clone(), nil
}

// UpdateConnection implements [store.ConnectionStore].
func (s *Store) UpdateConnection(ctx context.Context, c store.Connection) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.connections.update(storedConnection(c), time.Time{})
}

// DeleteConnection implements [store.ConnectionStore].
func (s *Store) DeleteConnection(ctx context.Context, tenant, id string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.connections.remove(key{tenant, id})
	return nil
}

// Connections implements [store.ConnectionStore].
func (s *Store) Connections(ctx context.Context, tenant string, p store.Page) ([]store.Connection, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return clones(s.connections.page(0, group{tenant: tenant}, connectionID, p, nil)), nil
}
