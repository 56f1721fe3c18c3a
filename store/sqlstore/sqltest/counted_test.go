package sqltest

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/opkit/opkit/store"
)

// countedCalls counts the calls that reach the stores in registration, the code
// flow and a refresh. Configuration is read from the provider's cache.
type countedCalls struct{ n atomic.Int64 }

func (c *countedCalls) stores(s store.Stores) store.Stores {
	s.Clients = countedClients{s.Clients, c}
	s.APIs = countedAPIs{s.APIs, c}
	s.Users = countedUsers{s.Users, c}
	s.Sessions = countedSessions{s.Sessions, c}
	s.Grants = countedGrants{s.Grants, c}
	s.Tickets = countedTickets{s.Tickets, c}
	return s
}

type countedClients struct {
	store.ClientStore
	c *countedCalls
}

func (s countedClients) CreateClient(ctx context.Context, client store.Client) error {
	s.c.n.Add(1)
	return s.ClientStore.CreateClient(ctx, client)
}

func (s countedClients) Client(ctx context.Context, tenant, id string) (store.Client, error) {
	s.c.n.Add(1)
	return s.ClientStore.Client(ctx, tenant, id)
}

func (s countedClients) UpdateClient(ctx context.Context, client store.Client) error {
	s.c.n.Add(1)
	return s.ClientStore.UpdateClient(ctx, client)
}

type countedAPIs struct {
	store.APIStore
	c *countedCalls
}

func (s countedAPIs) APIs(ctx context.Context, tenant string, page store.Page) ([]store.API, error) {
	s.c.n.Add(1)
	return s.APIStore.APIs(ctx, tenant, page)
}

type countedUsers struct {
	store.UserStore
	c *countedCalls
}

func (s countedUsers) User(ctx context.Context, tenant, id string) (store.User, error) {
	s.c.n.Add(1)
	return s.UserStore.User(ctx, tenant, id)
}

type countedSessions struct {
	store.SessionStore
	c *countedCalls
}

func (s countedSessions) CreateSession(ctx context.Context, session store.Session) error {
	s.c.n.Add(1)
	return s.SessionStore.CreateSession(ctx, session)
}

func (s countedSessions) Session(ctx context.Context, tenant string, id store.Digest, now time.Time) (store.Session, error) {
	s.c.n.Add(1)
	return s.SessionStore.Session(ctx, tenant, id, now)
}

func (s countedSessions) UpdateSession(ctx context.Context, session store.Session, now time.Time) error {
	s.c.n.Add(1)
	return s.SessionStore.UpdateSession(ctx, session, now)
}

type countedGrants struct {
	store.GrantFamilyStore
	c *countedCalls
}

func (s countedGrants) Grant(ctx context.Context, tenant, id, family string, now time.Time) (store.Grant, error) {
	s.c.n.Add(1)
	return s.GrantFamilyStore.Grant(ctx, tenant, id, family, now)
}

func (s countedGrants) FindGrant(ctx context.Context, tenant, user, client, audience string) (store.Grant, error) {
	s.c.n.Add(1)
	return s.GrantFamilyStore.FindGrant(ctx, tenant, user, client, audience)
}

func (s countedGrants) CreateGrant(ctx context.Context, g store.Grant) error {
	s.c.n.Add(1)
	return s.GrantFamilyStore.CreateGrant(ctx, g)
}

func (s countedGrants) StartFamily(ctx context.Context, f store.Family, now time.Time) (store.Family, error) {
	s.c.n.Add(1)
	return s.GrantFamilyStore.StartFamily(ctx, f, now)
}

func (s countedGrants) Family(ctx context.Context, tenant, id string, now time.Time) (store.Family, error) {
	s.c.n.Add(1)
	return s.GrantFamilyStore.Family(ctx, tenant, id, now)
}

func (s countedGrants) RotateFamily(ctx context.Context, tenant, id string, generation int64, expiresAt, now time.Time) (store.Family, error) {
	s.c.n.Add(1)
	return s.GrantFamilyStore.RotateFamily(ctx, tenant, id, generation, expiresAt, now)
}

type countedTickets struct {
	store.TicketStore
	c *countedCalls
}

func (s countedTickets) PutTicket(ctx context.Context, t store.Ticket, now time.Time) error {
	s.c.n.Add(1)
	return s.TicketStore.PutTicket(ctx, t, now)
}

func (s countedTickets) Ticket(ctx context.Context, tenant, kind string, id store.Digest, now time.Time) (store.Ticket, error) {
	s.c.n.Add(1)
	return s.TicketStore.Ticket(ctx, tenant, kind, id, now)
}
