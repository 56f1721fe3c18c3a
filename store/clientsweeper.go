package store

import (
	"context"
	"time"
)

// Provisional reports whether the client registered itself and nobody has used it
// yet.
func (c *Client) Provisional() bool { return c.Dynamic && c.ConfirmedAt.IsZero() }

// IdleSince returns since when nobody used the client: since it was created or,
// once it is confirmed, since LastUsedAt.
func (c *Client) IdleSince() time.Time {
	if c.ConfirmedAt.IsZero() {
		return c.CreatedAt
	}
	return c.LastUsedAt
}

// IdleFilter selects clients that registered themselves (Dynamic) by how long they
// have not been used.
type IdleFilter struct {
	// Confirmed selects confirmed clients, else provisional ones.
	Confirmed bool
	// Before is compared with IdleSince: clients that are idle since then, or since
	// later, are not selected.
	Before time.Time
}

// IdlePage selects a part of a list of idle clients, which is ordered by IdleSince
// and, where that is equal, by identifier.
type IdlePage struct {
	// AfterTime and AfterID are IdleSince and ID of the last client already seen,
	// which need not exist any more. Zero: the list begins at its beginning.
	AfterTime time.Time
	AfterID   string
	// Limit is that of [Page].
	Limit int
}

// Size returns the number of clients to return at most.
func (p IdlePage) Size() int { return Page{Limit: p.Limit}.Size() }

// ClientSweeper finds the clients that registered themselves and that nobody uses,
// and removes them. It works on the clients of a [ClientStore].
//
// That a client is used is written into its record before anybody can rely on it,
// so that comparing versions is all it takes to never remove a client in use,
// wherever grants are kept.
type ClientSweeper interface {
	// IdleClients lists clients of the tenant, the longest unused first.
	IdleClients(ctx context.Context, tenant string, filter IdleFilter, page IdlePage) ([]Client, error)
	// CountProvisional returns how many provisional clients the tenant has.
	CountProvisional(ctx context.Context, tenant string) (int, error)
	// RemoveClients removes those of the clients that are stored with the Version
	// given, and returns their identifiers in the order of clients. A client is
	// compared and removed in one atomic step: of an UpdateClient at the same time
	// either the call succeeds and the client stays, or it answers ErrNotFound.
	// Clients that are absent or have another version are passed over.
	RemoveClients(ctx context.Context, tenant string, clients []Client) ([]string, error)
}
