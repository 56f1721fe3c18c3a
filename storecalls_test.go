package opkit_test

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opkit/opkit"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
)

// counted counts the calls that requests make to the stores below the cache.
type counted struct{ n atomic.Int64 }

func (c *counted) stores() store.Stores {
	s := memstore.New().Stores()
	s.Tenants = countedTenants{s.Tenants, c}
	s.Connections = countedConnections{s.Connections, c}
	s.Clients = countedClients{s.Clients, c}
	s.ClientSweeper = countedSweeper{s.ClientSweeper, c}
	s.APIs = countedAPIs{s.APIs, c}
	s.ClientGrants = countedClientGrants{s.ClientGrants, c}
	s.SigningKeys = countedKeys{s.SigningKeys, c}
	s.Users = countedUsers{s.Users, c}
	s.Sessions = countedSessions{s.Sessions, c}
	s.Grants = countedGrants{s.Grants, c}
	s.Tickets = countedTickets{s.Tickets, c}
	return s
}

type countedTenants struct {
	store.TenantStore
	c *counted
}

func (s countedTenants) Tenant(ctx context.Context, id string) (store.Tenant, error) {
	s.c.n.Add(1)
	return s.TenantStore.Tenant(ctx, id)
}

type countedConnections struct {
	store.ConnectionStore
	c *counted
}

func (s countedConnections) Connections(ctx context.Context, tenant string, page store.Page) ([]store.Connection, error) {
	s.c.n.Add(1)
	return s.ConnectionStore.Connections(ctx, tenant, page)
}

type countedClients struct {
	store.ClientStore
	c *counted
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

type countedSweeper struct {
	store.ClientSweeper
	c *counted
}

func (s countedSweeper) CountProvisional(ctx context.Context, tenant string) (int, error) {
	s.c.n.Add(1)
	return s.ClientSweeper.CountProvisional(ctx, tenant)
}

func (s countedSweeper) IdleClients(ctx context.Context, tenant string, filter store.IdleFilter, page store.IdlePage) ([]store.Client, error) {
	s.c.n.Add(1)
	return s.ClientSweeper.IdleClients(ctx, tenant, filter, page)
}

type countedAPIs struct {
	store.APIStore
	c *counted
}

func (s countedAPIs) APIByAudience(ctx context.Context, tenant, audience string) (store.API, error) {
	s.c.n.Add(1)
	return s.APIStore.APIByAudience(ctx, tenant, audience)
}

func (s countedAPIs) APIs(ctx context.Context, tenant string, page store.Page) ([]store.API, error) {
	s.c.n.Add(1)
	return s.APIStore.APIs(ctx, tenant, page)
}

type countedClientGrants struct {
	store.ClientGrantStore
	c *counted
}

func (s countedClientGrants) FindClientGrant(ctx context.Context, tenant, client, audience, subjectType string) (store.ClientGrant, error) {
	s.c.n.Add(1)
	return s.ClientGrantStore.FindClientGrant(ctx, tenant, client, audience, subjectType)
}

type countedKeys struct {
	store.SigningKeyStore
	c *counted
}

func (s countedKeys) SigningKeys(ctx context.Context, tenant string) ([]store.SigningKey, error) {
	s.c.n.Add(1)
	return s.SigningKeyStore.SigningKeys(ctx, tenant)
}

type countedUsers struct {
	store.UserStore
	c *counted
}

func (s countedUsers) User(ctx context.Context, tenant, id string) (store.User, error) {
	s.c.n.Add(1)
	return s.UserStore.User(ctx, tenant, id)
}

func (s countedUsers) UserByLogin(ctx context.Context, tenant, connection, login string) (store.User, error) {
	s.c.n.Add(1)
	return s.UserStore.UserByLogin(ctx, tenant, connection, login)
}

type countedSessions struct {
	store.SessionStore
	c *counted
}

func (s countedSessions) CreateSession(ctx context.Context, record store.Session) error {
	s.c.n.Add(1)
	return s.SessionStore.CreateSession(ctx, record)
}

func (s countedSessions) Session(ctx context.Context, tenant string, id store.Digest, now time.Time) (store.Session, error) {
	s.c.n.Add(1)
	return s.SessionStore.Session(ctx, tenant, id, now)
}

func (s countedSessions) UpdateSession(ctx context.Context, record store.Session, now time.Time) error {
	s.c.n.Add(1)
	return s.SessionStore.UpdateSession(ctx, record, now)
}

func (s countedSessions) DeleteSession(ctx context.Context, tenant string, id store.Digest) error {
	s.c.n.Add(1)
	return s.SessionStore.DeleteSession(ctx, tenant, id)
}

type countedGrants struct {
	store.GrantFamilyStore
	c *counted
}

func (s countedGrants) FindGrant(ctx context.Context, tenant, user, client, audience string) (store.Grant, error) {
	s.c.n.Add(1)
	return s.GrantFamilyStore.FindGrant(ctx, tenant, user, client, audience)
}

func (s countedGrants) CreateGrant(ctx context.Context, g store.Grant) error {
	s.c.n.Add(1)
	return s.GrantFamilyStore.CreateGrant(ctx, g)
}

func (s countedGrants) Grant(ctx context.Context, tenant, id, family string, now time.Time) (store.Grant, error) {
	s.c.n.Add(1)
	return s.GrantFamilyStore.Grant(ctx, tenant, id, family, now)
}

func (s countedGrants) StartFamily(ctx context.Context, f store.Family, now time.Time) (store.Family, error) {
	s.c.n.Add(1)
	return s.GrantFamilyStore.StartFamily(ctx, f, now)
}

func (s countedGrants) RotateFamily(ctx context.Context, tenant, id string, generation int64, expiresAt, now time.Time) (store.Family, error) {
	s.c.n.Add(1)
	return s.GrantFamilyStore.RotateFamily(ctx, tenant, id, generation, expiresAt, now)
}

type countedTickets struct {
	store.TicketStore
	c *counted
}

func (s countedTickets) PutTicket(ctx context.Context, t store.Ticket, now time.Time) error {
	s.c.n.Add(1)
	return s.TicketStore.PutTicket(ctx, t, now)
}

func (s countedTickets) Ticket(ctx context.Context, tenant, kind string, id store.Digest, now time.Time) (store.Ticket, error) {
	s.c.n.Add(1)
	return s.TicketStore.Ticket(ctx, tenant, kind, id, now)
}

func (s countedTickets) ConsumeTicket(ctx context.Context, tenant, kind string, id store.Digest, now time.Time) (store.Ticket, error) {
	s.c.n.Add(1)
	return s.TicketStore.ConsumeTicket(ctx, tenant, kind, id, now)
}

func (s countedTickets) UpdateTicket(ctx context.Context, t store.Ticket, now time.Time) error {
	s.c.n.Add(1)
	return s.TicketStore.UpdateTicket(ctx, t, now)
}

func (s countedTickets) DeleteTicket(ctx context.Context, tenant, kind string, id store.Digest) error {
	s.c.n.Add(1)
	return s.TicketStore.DeleteTicket(ctx, tenant, kind, id)
}

// What each request costs in store calls, with a warm cache.
func TestStoreCalls(t *testing.T) { storeCalls(t, func(*opkit.Config) {}, nil) }

// Pairwise subjects and session management ask no store for more.
func TestStoreCallsWithSectorsAndSessions(t *testing.T) {
	storeCalls(t, managed, map[string]any{"subject_type": "pairwise"})
}

func storeCalls(t *testing.T, change func(*opkit.Config), metadata map[string]any) {
	c := &counted{}
	w := newWorld(t, options{permissive: true, stores: c.stores(), config: func(cfg *opkit.Config) {
		cfg.CacheStaleness = 48 * time.Hour
		change(cfg)
	}})
	app := w.register(metadata)
	b := newBrowser(t)
	// Warm up: consent is given, the client confirmed, every record cached.
	tokens := w.redeem(app, w.authorizeIn(b, app).Get("code")).json(t)
	w.authorizeIn(b, app, "audience", apiAudience)
	for range 2 { // the first use of a client is recorded, at most once an hour
		w.managementToken()
	}

	measure := func(name string, most int64, operation func()) {
		t.Helper()
		before := c.n.Load()
		operation()
		if n := c.n.Load() - before; n > most {
			t.Errorf("%s: %d store calls, at most %d are allowed", name, n, most)
		} else {
			t.Logf("%s: %d store calls", name, n)
		}
	}
	measure("discovery and JWKS", 0, func() {
		newBrowser(t).get(w.issuer + "/.well-known/openid-configuration")
		newBrowser(t).get(w.endpoint.JWKS)
	})
	measure("registration", 2, func() { w.register(metadata) })
	measure("client_credentials", 0, func() { w.managementToken() })
	measure("code flow with login", 7, func() {
		if res := w.redeem(app, w.authorize(app).Get("code")); res.StatusCode != http.StatusOK {
			t.Fatal(res.body)
		}
	})
	measure("code flow with a session", 6, func() {
		if res := w.redeem(app, w.authorizeIn(b, app).Get("code")); res.StatusCode != http.StatusOK {
			t.Fatal(res.body)
		}
	})
	measure("refresh", 2, func() {
		if res := w.token(app, "grant_type", "refresh_token", "refresh_token", tokens["refresh_token"].(string)); res.StatusCode != http.StatusOK {
			t.Fatal(res.body)
		}
	})
	measure("userinfo", 2, func() { w.userinfo(tokens["access_token"].(string)) })
	// Strangers write nothing, and read little.
	measure("a request of nobody", 0, func() {
		if page := newBrowser(t).get(w.authorizeURL(app)); !strings.Contains(page.body, "login-submit") {
			t.Fatal(page.StatusCode)
		}
	})
	// That a client is in use is written down once an hour: one call more, and one to
	// read the record anew.
	tokens = w.redeem(app, w.authorizeIn(b, app).Get("code")).json(t)
	w.clock.advance(61 * time.Minute)
	for _, most := range []int64{3, 3, 2, 2} {
		measure("refresh after an hour", most, func() {
			tokens = w.token(app, "grant_type", "refresh_token", "refresh_token", tokens["refresh_token"].(string)).json(t)
		})
	}
}
