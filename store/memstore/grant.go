package memstore

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/opkit/opkit/store"
)

// grantRow is a grant and the flag that it shares with its families.
type grantRow struct {
	store.Grant
	// ended is set, once and for all, when the grant is deleted. That is the
	// moment at which its families are gone too. It is made with the grant, so
	// that families of a deleted grant never come back with another one of the
	// same ID.
	ended *atomic.Bool
}

func grantID(g *grantRow) string { return g.ID }

func grantTenant(g *grantRow) group { return group{tenant: g.TenantID} }

func grantUser(g *grantRow) group { return group{g.TenantID, g.UserID} }

func grantClient(g *grantRow) group { return group{g.TenantID, g.ClientID} }

// The indexes of the orders in grantSchema.
const (
	grantsOfTenant = iota
	grantsOfUser
	grantsOfClient
)

var grantSchema = schema[key, grantRow]{
	key:     func(g *grantRow) key { return key{g.TenantID, g.ID} },
	version: func(g *grantRow) *int64 { return &g.Version },
	keep: func(old, next *grantRow) {
		next.UserID = old.UserID
		next.ClientID = old.ClientID
		next.Audience = old.Audience
		next.ended = old.ended
	},
	unique: func(g *grantRow) []claim {
		return []claim{{g.TenantID, g.UserID, g.ClientID, g.Audience}}
	},
	orders: []order[grantRow]{
		grantsOfTenant: byID(grantTenant, grantID),
		grantsOfUser:   byID(grantUser, grantID),
		grantsOfClient: byID(grantClient, grantID),
	},
}

func storedGrant(g store.Grant) *grantRow {
	g = g.Clone()
	g.CreatedAt = utc(g.CreatedAt)
	g.UpdatedAt = utc(g.UpdatedAt)
	return &grantRow{Grant: g}
}

// CreateGrant implements [store.GrantStore].
func (s *Store) CreateGrant(ctx context.Context, g store.Grant) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	row := storedGrant(g)
	row.ended = new(atomic.Bool)
	return s.grants.create(row)
}

// Grant implements [store.GrantStore].
func (s *Store) Grant(ctx context.Context, tenant, id, family string, now time.Time) (store.Grant, error) {
	if err := ctx.Err(); err != nil {
		return store.Grant{}, err
	}
	if family == "" {
		g := s.grants.get(key{tenant, id})
		if g == nil {
			return store.Grant{}, store.ErrNotFound
		}
		return g.Clone(), nil
	}
	for {
		f := s.families.get(key{tenant, family})
		if !s.familyLive(f, now) || f.GrantID != id || !f.RevokedAt.IsZero() {
			return store.Grant{}, store.ErrNotFound
		}
		g := s.grants.get(key{tenant, id})
		if g == nil || g.ended != f.ended {
			return store.Grant{}, store.ErrNotFound
		}
		// If the family is the same before and after, it was so when the grant was
		// read, and the answer is true of that moment.
		if s.families.get(key{tenant, family}) == f {
			return g.Clone(), nil
		}
	}
}

// FindGrant implements [store.GrantStore].
func (s *Store) FindGrant(ctx context.Context, tenant, user, client, audience string) (store.Grant, error) {
	if err := ctx.Err(); err != nil {
		return store.Grant{}, err
	}
	g := s.grants.find(claim{tenant, user, client, audience})
	if g == nil {
		return store.Grant{}, store.ErrNotFound
	}
	return g.Clone(), nil
}

// UpdateGrant implements [store.GrantStore].
func (s *Store) UpdateGrant(ctx context.Context, g store.Grant) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.grants.update(storedGrant(g), time.Time{})
}

// DeleteGrant implements [store.GrantStore].
func (s *Store) DeleteGrant(ctx context.Context, tenant, id string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	deleted := false
	err := s.grants.change(key{tenant, id}, func(old *grantRow) (*grantRow, error) {
		if old != nil {
			old.ended.Store(true) // from here on its families are absent
			deleted = true
		}
		return nil, nil
	})
	if deleted {
		s.sweepFamilies(tenant, id)
	}
	return err
}

// Grants implements [store.GrantStore].
func (s *Store) Grants(ctx context.Context, tenant string, filter store.GrantFilter, p store.Page) ([]store.Grant, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var rows []*grantRow
	switch {
	case filter.UserID != "":
		ofClient := func(g *grantRow) bool { return filter.ClientID == "" || g.ClientID == filter.ClientID }
		rows = s.grants.page(grantsOfUser, group{tenant, filter.UserID}, grantID, p, ofClient)
	case filter.ClientID != "":
		rows = s.grants.page(grantsOfClient, group{tenant, filter.ClientID}, grantID, p, nil)
	default:
		rows = s.grants.page(grantsOfTenant, group{tenant: tenant}, grantID, p, nil)
	}
	return clones(rows), nil
}
