package opkit_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
)

// ledger has the names of the writes that succeeded.
type ledger struct {
	mu     sync.Mutex
	writes []string
}

// did records a write and passes its error on.
func (l *ledger) did(what string, err error) error {
	if err == nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.writes = append(l.writes, what)
	}
	return err
}

// take returns the writes since the last take, each once, in the order of names.
func (l *ledger) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := slices.Compact(slices.Sorted(slices.Values(l.writes)))
	l.writes = nil
	return strings.Join(out, " ")
}

func (l *ledger) stores() store.Stores {
	s := memstore.New().Stores()
	s.Tenants = notedTenants{s.Tenants, l}
	s.Connections = notedConnections{s.Connections, l}
	s.Clients = notedClients{s.Clients, l}
	s.ClientSweeper = notedSweeper{s.ClientSweeper, l}
	s.APIs = notedAPIs{s.APIs, l}
	s.ClientGrants = notedClientGrants{s.ClientGrants, l}
	s.SigningKeys = notedKeys{s.SigningKeys, l}
	s.UserAdmin = notedUsers{s.UserAdmin, l}
	s.Sessions = notedSessions{s.Sessions, l}
	s.Grants = notedGrants{s.Grants, l}
	s.Tickets = notedTickets{s.Tickets, l}
	return s
}

type notedTenants struct {
	store.TenantStore
	l *ledger
}

func (s notedTenants) CreateTenant(ctx context.Context, t store.Tenant) error {
	return s.l.did("CreateTenant", s.TenantStore.CreateTenant(ctx, t))
}

func (s notedTenants) UpdateTenant(ctx context.Context, t store.Tenant) error {
	return s.l.did("UpdateTenant", s.TenantStore.UpdateTenant(ctx, t))
}

type notedConnections struct {
	store.ConnectionStore
	l *ledger
}

func (s notedConnections) CreateConnection(ctx context.Context, c store.Connection) error {
	return s.l.did("CreateConnection", s.ConnectionStore.CreateConnection(ctx, c))
}

func (s notedConnections) UpdateConnection(ctx context.Context, c store.Connection) error {
	return s.l.did("UpdateConnection", s.ConnectionStore.UpdateConnection(ctx, c))
}

func (s notedConnections) DeleteConnection(ctx context.Context, tenant, id string) error {
	return s.l.did("DeleteConnection", s.ConnectionStore.DeleteConnection(ctx, tenant, id))
}

type notedClients struct {
	store.ClientStore
	l *ledger
}

func (s notedClients) CreateClient(ctx context.Context, c store.Client) error {
	return s.l.did("CreateClient", s.ClientStore.CreateClient(ctx, c))
}

func (s notedClients) UpdateClient(ctx context.Context, c store.Client) error {
	return s.l.did("UpdateClient", s.ClientStore.UpdateClient(ctx, c))
}

func (s notedClients) DeleteClient(ctx context.Context, tenant, id string) error {
	return s.l.did("DeleteClient", s.ClientStore.DeleteClient(ctx, tenant, id))
}

type notedSweeper struct {
	store.ClientSweeper
	l *ledger
}

func (s notedSweeper) RemoveClients(ctx context.Context, tenant string, clients []store.Client) ([]string, error) {
	removed, err := s.ClientSweeper.RemoveClients(ctx, tenant, clients)
	return removed, s.l.did("RemoveClients", err)
}

type notedAPIs struct {
	store.APIStore
	l *ledger
}

func (s notedAPIs) CreateAPI(ctx context.Context, a store.API) error {
	return s.l.did("CreateAPI", s.APIStore.CreateAPI(ctx, a))
}

func (s notedAPIs) UpdateAPI(ctx context.Context, a store.API) error {
	return s.l.did("UpdateAPI", s.APIStore.UpdateAPI(ctx, a))
}

func (s notedAPIs) DeleteAPI(ctx context.Context, tenant, id string) error {
	return s.l.did("DeleteAPI", s.APIStore.DeleteAPI(ctx, tenant, id))
}

type notedClientGrants struct {
	store.ClientGrantStore
	l *ledger
}

func (s notedClientGrants) CreateClientGrant(ctx context.Context, g store.ClientGrant) error {
	return s.l.did("CreateClientGrant", s.ClientGrantStore.CreateClientGrant(ctx, g))
}

func (s notedClientGrants) UpdateClientGrant(ctx context.Context, g store.ClientGrant) error {
	return s.l.did("UpdateClientGrant", s.ClientGrantStore.UpdateClientGrant(ctx, g))
}

func (s notedClientGrants) DeleteClientGrant(ctx context.Context, tenant, id string) error {
	return s.l.did("DeleteClientGrant", s.ClientGrantStore.DeleteClientGrant(ctx, tenant, id))
}

type notedKeys struct {
	store.SigningKeyStore
	l *ledger
}

func (s notedKeys) CreateSigningKey(ctx context.Context, k store.SigningKey) error {
	return s.l.did("CreateSigningKey", s.SigningKeyStore.CreateSigningKey(ctx, k))
}

func (s notedKeys) UpdateSigningKey(ctx context.Context, k store.SigningKey) error {
	return s.l.did("UpdateSigningKey", s.SigningKeyStore.UpdateSigningKey(ctx, k))
}

func (s notedKeys) DeleteSigningKey(ctx context.Context, tenant, id string) error {
	return s.l.did("DeleteSigningKey", s.SigningKeyStore.DeleteSigningKey(ctx, tenant, id))
}

type notedUsers struct {
	store.UserAdmin
	l *ledger
}

func (s notedUsers) CreateUser(ctx context.Context, u store.User) error {
	return s.l.did("CreateUser", s.UserAdmin.CreateUser(ctx, u))
}

func (s notedUsers) UpdateUser(ctx context.Context, u store.User) error {
	return s.l.did("UpdateUser", s.UserAdmin.UpdateUser(ctx, u))
}

func (s notedUsers) DeleteUser(ctx context.Context, tenant, id string) error {
	return s.l.did("DeleteUser", s.UserAdmin.DeleteUser(ctx, tenant, id))
}

type notedSessions struct {
	store.SessionStore
	l *ledger
}

func (s notedSessions) CreateSession(ctx context.Context, record store.Session) error {
	return s.l.did("CreateSession", s.SessionStore.CreateSession(ctx, record))
}

func (s notedSessions) UpdateSession(ctx context.Context, record store.Session, now time.Time) error {
	return s.l.did("UpdateSession", s.SessionStore.UpdateSession(ctx, record, now))
}

func (s notedSessions) DeleteSession(ctx context.Context, tenant string, id store.Digest) error {
	return s.l.did("DeleteSession", s.SessionStore.DeleteSession(ctx, tenant, id))
}

type notedGrants struct {
	store.GrantFamilyStore
	l *ledger
}

func (s notedGrants) CreateGrant(ctx context.Context, g store.Grant) error {
	return s.l.did("CreateGrant", s.GrantFamilyStore.CreateGrant(ctx, g))
}

func (s notedGrants) UpdateGrant(ctx context.Context, g store.Grant) error {
	return s.l.did("UpdateGrant", s.GrantFamilyStore.UpdateGrant(ctx, g))
}

func (s notedGrants) DeleteGrant(ctx context.Context, tenant, id string) error {
	return s.l.did("DeleteGrant", s.GrantFamilyStore.DeleteGrant(ctx, tenant, id))
}

func (s notedGrants) StartFamily(ctx context.Context, f store.Family, now time.Time) (store.Family, error) {
	family, err := s.GrantFamilyStore.StartFamily(ctx, f, now)
	return family, s.l.did("StartFamily", err)
}

func (s notedGrants) RotateFamily(ctx context.Context, tenant, id string, generation int64, expiresAt, now time.Time) (store.Family, error) {
	family, err := s.GrantFamilyStore.RotateFamily(ctx, tenant, id, generation, expiresAt, now)
	return family, s.l.did("RotateFamily", err)
}

func (s notedGrants) RevokeFamily(ctx context.Context, tenant, id string, until, now time.Time) error {
	return s.l.did("RevokeFamily", s.GrantFamilyStore.RevokeFamily(ctx, tenant, id, until, now))
}

func (s notedGrants) RevokeFamilies(ctx context.Context, tenant string, filter store.FamilyFilter, until, now time.Time) (int, error) {
	n, err := s.GrantFamilyStore.RevokeFamilies(ctx, tenant, filter, until, now)
	return n, s.l.did("RevokeFamilies", err)
}

type notedTickets struct {
	store.TicketStore
	l *ledger
}

func (s notedTickets) PutTicket(ctx context.Context, t store.Ticket, now time.Time) error {
	return s.l.did("PutTicket", s.TicketStore.PutTicket(ctx, t, now))
}

func (s notedTickets) ConsumeTicket(ctx context.Context, tenant, kind string, id store.Digest, now time.Time) (store.Ticket, error) {
	ticket, err := s.TicketStore.ConsumeTicket(ctx, tenant, kind, id, now)
	return ticket, s.l.did("ConsumeTicket", err)
}

func (s notedTickets) UpdateTicket(ctx context.Context, t store.Ticket, now time.Time) error {
	return s.l.did("UpdateTicket", s.TicketStore.UpdateTicket(ctx, t, now))
}

func (s notedTickets) DeleteTicket(ctx context.Context, tenant, kind string, id store.Digest) error {
	return s.l.did("DeleteTicket", s.TicketStore.DeleteTicket(ctx, tenant, kind, id))
}
