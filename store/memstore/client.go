package memstore

import (
	"context"
	"time"

	"github.com/opkit/opkit/store"
)

func clientID(c *store.Client) string { return c.ID }

func clientTenant(c *store.Client) group { return group{tenant: c.TenantID} }

var clientSchema = schema[key, store.Client]{
	key:     func(c *store.Client) key { return key{c.TenantID, c.ID} },
	version: func(c *store.Client) *int64 { return &c.Version },
	keep: func(old, next *store.Client) {
		next.SecurityMode = old.SecurityMode
		next.Dynamic = old.Dynamic
		next.CreatedAt = old.CreatedAt
	},
	orders: []order[store.Client]{
		clientsOfTenant: byID(clientTenant, clientID),
		clientsIdle:     byIdleness,
	},
}

// The indexes of the orders in clientSchema.
const (
	clientsOfTenant = iota
	clientsIdle
)

func storedClient(c store.Client) *store.Client {
	c = c.Clone()
	c.CreatedAt = utc(c.CreatedAt)
	c.ConfirmedAt = utc(c.ConfirmedAt)
	c.LastUsedAt = utc(c.LastUsedAt)
	if c.PreviousSecret != nil {
		c.PreviousSecret.ExpiresAt = utc(c.PreviousSecret.ExpiresAt)
	}
	if c.Registration != nil {
		c.Registration.PreviousTokenUntil = utc(c.Registration.PreviousTokenUntil)
	}
	if c.Document != nil {
		c.Document.FetchedAt = utc(c.Document.FetchedAt)
	}
	return &c
}

// CreateClient implements [store.ClientStore].
func (s *Store) CreateClient(ctx context.Context, c store.Client) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.clients.create(storedClient(c))
}

// Client implements [store.ClientStore].
func (s *Store) Client(ctx context.Context, tenant, id string) (store.Client, error) {
	if err := ctx.Err(); err != nil {
		return store.Client{}, err
	}
	c := s.clients.get(key{tenant, id})
	if c == nil {
		return store.Client{}, store.ErrNotFound
	}
	return c.Clone(), nil
}

// UpdateClient implements [store.ClientStore].
func (s *Store) UpdateClient(ctx context.Context, c store.Client) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.clients.update(storedClient(c), time.Time{})
}

// DeleteClient implements [store.ClientStore].
func (s *Store) DeleteClient(ctx context.Context, tenant, id string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.clients.remove(key{tenant, id})
	return nil
}

// Clients implements [store.ClientStore].
func (s *Store) Clients(ctx context.Context, tenant string, p store.Page) ([]store.Client, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return clones(s.clients.page(clientsOfTenant, group{tenant: tenant}, clientID, p, nil)), nil
}
