package memstore

import (
	"context"
	"strings"
	"time"

	"github.com/opkit/opkit/store"
)

// Clients that may be swept, by the group that they are in. The others are in the
// group of the tenant itself.
const (
	provisional = "provisional"
	confirmed   = "confirmed"
)

func clientIdleness(c *store.Client) group {
	switch {
	case !c.Dynamic:
		return group{tenant: c.TenantID}
	case c.ConfirmedAt.IsZero():
		return group{c.TenantID, provisional}
	}
	return group{c.TenantID, confirmed}
}

var byIdleness = order[store.Client]{
	group: clientIdleness,
	hint:  func(c *store.Client) uint64 { return chronological(c.IdleSince()) },
	within: func(a, b *store.Client) int {
		return compareIdleness(a, b.IdleSince(), b.ID)
	},
}

func compareIdleness(c *store.Client, since time.Time, id string) int {
	if d := c.IdleSince().Compare(since); d != 0 {
		return d
	}
	return strings.Compare(c.ID, id)
}

// IdleClients implements [store.ClientSweeper].
func (s *Store) IdleClients(ctx context.Context, tenant string, filter store.IdleFilter, p store.IdlePage) ([]store.Client, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	g := group{tenant, provisional}
	if filter.Confirmed {
		g.of = confirmed
	}
	reached := func(c *store.Client) bool { return compareIdleness(c, p.AfterTime, p.AfterID) > 0 }
	passed := func(c *store.Client) bool { return !c.IdleSince().Before(filter.Before) }
	return clones(s.clients.listUntil(clientsIdle, g, reached, passed, nil, p.Size())), nil
}

// CountProvisional implements [store.ClientSweeper].
func (s *Store) CountProvisional(ctx context.Context, tenant string) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	return s.clients.count(clientsIdle, group{tenant, provisional}), nil
}

// RemoveClients implements [store.ClientSweeper].
func (s *Store) RemoveClients(ctx context.Context, tenant string, clients []store.Client) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var removed []string
	for i := range clients {
		gone := false
		// It cannot fail: clients have no claims to give back.
		_ = s.clients.change(key{tenant, clients[i].ID}, func(old *store.Client) (*store.Client, error) {
			if old == nil || old.Version != clients[i].Version {
				return old, nil
			}
			gone = true
			return nil, nil
		})
		if gone {
			removed = append(removed, clients[i].ID)
		}
	}
	return removed, nil
}
