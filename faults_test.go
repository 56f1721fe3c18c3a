package opkit_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/opkit/opkit/store"
)

// A fault is what happens to one call of a store.
type fault string

const (
	faultError fault = "error" // it is not made and fails
	faultStall fault = "stall" // it is not made and lasts until its context ends, as do all that follow
	faultLost  fault = "lost"  // it is made and fails nevertheless
)

// faults hands the calls of stores on, except the one that it was armed for.
type faults struct {
	mu    sync.Mutex
	fault fault
	at    int      // the number of the call that it happens to, from 0; negative: none
	calls []string // since it was armed
	wrote []string // those of them that changed something

	expired   time.Time // the deadline of the request that was stalled
	unbounded string    // a call that would have lasted for ever
}

// arm starts counting anew.
func (f *faults) arm(what fault, at int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault, f.at, f.calls, f.wrote, f.expired, f.unbounded = what, at, nil, nil, time.Time{}, ""
}

// hit returns the call that the fault happened to, "" if there was none.
func (f *faults) hit() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.at < 0 || f.at >= len(f.calls) {
		return ""
	}
	return f.calls[f.at]
}

func (f *faults) do(ctx context.Context, name string, call func() error) error {
	what := f.next(ctx, name)
	switch what {
	case faultError:
		return errors.New(storeErrorText)
	case faultStall:
		// Nobody has to wait for the deadline to see what happens then.
		return fmt.Errorf("%s: %w", storeErrorText, context.DeadlineExceeded)
	}
	err := call()
	if err == nil && changes(name) {
		f.mu.Lock()
		f.wrote = append(f.wrote, name)
		f.mu.Unlock()
	}
	if what == faultLost {
		return errors.New(storeErrorText)
	}
	return err
}

// next counts a call and returns what happens to it.
func (f *faults) next(ctx context.Context, name string) fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	number := len(f.calls)
	f.calls = append(f.calls, name)
	deadline, bounded := ctx.Deadline()
	switch {
	case bounded && deadline.Equal(f.expired):
		return faultStall
	case number != f.at:
		return ""
	case f.fault == faultStall && !bounded:
		f.unbounded = name
	case f.fault == faultStall:
		f.expired = deadline
	}
	return f.fault
}

func ask[T any](f *faults, ctx context.Context, name string, call func() (T, error)) (T, error) {
	var answer T
	err := f.do(ctx, name, func() (err error) {
		answer, err = call()
		return err
	})
	return answer, err
}

// changes reports whether a call that succeeds changes something.
func changes(name string) bool {
	return slices.ContainsFunc([]string{"Create", "Update", "Delete", "Start", "Rotate", "Revoke", "Put", "Consume", "Remove"},
		func(verb string) bool { return strings.HasPrefix(name, verb) })
}

// around returns s with all of its calls going through f.
func (f *faults) around(s store.Stores) store.Stores {
	return store.Stores{
		Tenants: faultyTenantStore{s.Tenants, f}, Connections: faultyConnectionStore{s.Connections, f}, Clients: faultyClientStore{s.Clients, f},
		APIs: faultyAPIStore{s.APIs, f}, ClientGrants: faultyClientGrantStore{s.ClientGrants, f}, SigningKeys: faultySigningKeyStore{s.SigningKeys, f},
		Users: faultyUserStore{s.Users, f}, Sessions: faultySessionStore{s.Sessions, f}, Grants: faultyGrantFamilyStore{s.Grants, f},
		Tickets: faultyTicketStore{s.Tickets, f}, ClientSweeper: faultyClientSweeper{s.ClientSweeper, f}, UserAdmin: faultyUserAdmin{s.UserAdmin, f},
	}
}

type faultyTenantStore struct {
	store.TenantStore
	f *faults
}

func (s faultyTenantStore) CreateTenant(ctx context.Context, t store.Tenant) error {
	return s.f.do(ctx, "CreateTenant", func() error { return s.TenantStore.CreateTenant(ctx, t) })
}

func (s faultyTenantStore) Tenant(ctx context.Context, id string) (store.Tenant, error) {
	return ask(s.f, ctx, "Tenant", func() (store.Tenant, error) { return s.TenantStore.Tenant(ctx, id) })
}

func (s faultyTenantStore) UpdateTenant(ctx context.Context, t store.Tenant) error {
	return s.f.do(ctx, "UpdateTenant", func() error { return s.TenantStore.UpdateTenant(ctx, t) })
}

func (s faultyTenantStore) Tenants(ctx context.Context, page store.Page) ([]store.Tenant, error) {
	return ask(s.f, ctx, "Tenants", func() ([]store.Tenant, error) { return s.TenantStore.Tenants(ctx, page) })
}

type faultyConnectionStore struct {
	store.ConnectionStore
	f *faults
}

func (s faultyConnectionStore) CreateConnection(ctx context.Context, c store.Connection) error {
	return s.f.do(ctx, "CreateConnection", func() error { return s.ConnectionStore.CreateConnection(ctx, c) })
}

func (s faultyConnectionStore) Connection(ctx context.Context, tenant, id string) (store.Connection, error) {
	return ask(s.f, ctx, "Connection", func() (store.Connection, error) { return s.ConnectionStore.Connection(ctx, tenant, id) })
}

func (s faultyConnectionStore) UpdateConnection(ctx context.Context, c store.Connection) error {
	return s.f.do(ctx, "UpdateConnection", func() error { return s.ConnectionStore.UpdateConnection(ctx, c) })
}

func (s faultyConnectionStore) DeleteConnection(ctx context.Context, tenant, id string) error {
	return s.f.do(ctx, "DeleteConnection", func() error { return s.ConnectionStore.DeleteConnection(ctx, tenant, id) })
}

func (s faultyConnectionStore) Connections(ctx context.Context, tenant string, page store.Page) ([]store.Connection, error) {
	return ask(s.f, ctx, "Connections", func() ([]store.Connection, error) { return s.ConnectionStore.Connections(ctx, tenant, page) })
}

type faultyClientStore struct {
	store.ClientStore
	f *faults
}

func (s faultyClientStore) CreateClient(ctx context.Context, c store.Client) error {
	return s.f.do(ctx, "CreateClient", func() error { return s.ClientStore.CreateClient(ctx, c) })
}

func (s faultyClientStore) Client(ctx context.Context, tenant, id string) (store.Client, error) {
	return ask(s.f, ctx, "Client", func() (store.Client, error) { return s.ClientStore.Client(ctx, tenant, id) })
}

func (s faultyClientStore) UpdateClient(ctx context.Context, c store.Client) error {
	return s.f.do(ctx, "UpdateClient", func() error { return s.ClientStore.UpdateClient(ctx, c) })
}

func (s faultyClientStore) DeleteClient(ctx context.Context, tenant, id string) error {
	return s.f.do(ctx, "DeleteClient", func() error { return s.ClientStore.DeleteClient(ctx, tenant, id) })
}

func (s faultyClientStore) Clients(ctx context.Context, tenant string, page store.Page) ([]store.Client, error) {
	return ask(s.f, ctx, "Clients", func() ([]store.Client, error) { return s.ClientStore.Clients(ctx, tenant, page) })
}

type faultyClientSweeper struct {
	store.ClientSweeper
	f *faults
}

func (s faultyClientSweeper) IdleClients(ctx context.Context, tenant string, filter store.IdleFilter, page store.IdlePage) ([]store.Client, error) {
	return ask(s.f, ctx, "IdleClients", func() ([]store.Client, error) { return s.ClientSweeper.IdleClients(ctx, tenant, filter, page) })
}

func (s faultyClientSweeper) CountProvisional(ctx context.Context, tenant string) (int, error) {
	return ask(s.f, ctx, "CountProvisional", func() (int, error) { return s.ClientSweeper.CountProvisional(ctx, tenant) })
}

func (s faultyClientSweeper) RemoveClients(ctx context.Context, tenant string, clients []store.Client) ([]string, error) {
	return ask(s.f, ctx, "RemoveClients", func() ([]string, error) { return s.ClientSweeper.RemoveClients(ctx, tenant, clients) })
}

type faultyAPIStore struct {
	store.APIStore
	f *faults
}

func (s faultyAPIStore) CreateAPI(ctx context.Context, a store.API) error {
	return s.f.do(ctx, "CreateAPI", func() error { return s.APIStore.CreateAPI(ctx, a) })
}

func (s faultyAPIStore) API(ctx context.Context, tenant, id string) (store.API, error) {
	return ask(s.f, ctx, "API", func() (store.API, error) { return s.APIStore.API(ctx, tenant, id) })
}

func (s faultyAPIStore) APIByAudience(ctx context.Context, tenant, audience string) (store.API, error) {
	return ask(s.f, ctx, "APIByAudience", func() (store.API, error) { return s.APIStore.APIByAudience(ctx, tenant, audience) })
}

func (s faultyAPIStore) UpdateAPI(ctx context.Context, a store.API) error {
	return s.f.do(ctx, "UpdateAPI", func() error { return s.APIStore.UpdateAPI(ctx, a) })
}

func (s faultyAPIStore) DeleteAPI(ctx context.Context, tenant, id string) error {
	return s.f.do(ctx, "DeleteAPI", func() error { return s.APIStore.DeleteAPI(ctx, tenant, id) })
}

func (s faultyAPIStore) APIs(ctx context.Context, tenant string, page store.Page) ([]store.API, error) {
	return ask(s.f, ctx, "APIs", func() ([]store.API, error) { return s.APIStore.APIs(ctx, tenant, page) })
}

type faultyClientGrantStore struct {
	store.ClientGrantStore
	f *faults
}

func (s faultyClientGrantStore) CreateClientGrant(ctx context.Context, g store.ClientGrant) error {
	return s.f.do(ctx, "CreateClientGrant", func() error { return s.ClientGrantStore.CreateClientGrant(ctx, g) })
}

func (s faultyClientGrantStore) ClientGrant(ctx context.Context, tenant, id string) (store.ClientGrant, error) {
	return ask(s.f, ctx, "ClientGrant", func() (store.ClientGrant, error) { return s.ClientGrantStore.ClientGrant(ctx, tenant, id) })
}

func (s faultyClientGrantStore) FindClientGrant(ctx context.Context, tenant, client, audience, subjectType string) (store.ClientGrant, error) {
	return ask(s.f, ctx, "FindClientGrant", func() (store.ClientGrant, error) {
		return s.ClientGrantStore.FindClientGrant(ctx, tenant, client, audience, subjectType)
	})
}

func (s faultyClientGrantStore) UpdateClientGrant(ctx context.Context, g store.ClientGrant) error {
	return s.f.do(ctx, "UpdateClientGrant", func() error { return s.ClientGrantStore.UpdateClientGrant(ctx, g) })
}

func (s faultyClientGrantStore) DeleteClientGrant(ctx context.Context, tenant, id string) error {
	return s.f.do(ctx, "DeleteClientGrant", func() error { return s.ClientGrantStore.DeleteClientGrant(ctx, tenant, id) })
}

func (s faultyClientGrantStore) ClientGrants(ctx context.Context, tenant string, page store.Page) ([]store.ClientGrant, error) {
	return ask(s.f, ctx, "ClientGrants", func() ([]store.ClientGrant, error) { return s.ClientGrantStore.ClientGrants(ctx, tenant, page) })
}

type faultySigningKeyStore struct {
	store.SigningKeyStore
	f *faults
}

func (s faultySigningKeyStore) CreateSigningKey(ctx context.Context, k store.SigningKey) error {
	return s.f.do(ctx, "CreateSigningKey", func() error { return s.SigningKeyStore.CreateSigningKey(ctx, k) })
}

func (s faultySigningKeyStore) SigningKeys(ctx context.Context, tenant string) ([]store.SigningKey, error) {
	return ask(s.f, ctx, "SigningKeys", func() ([]store.SigningKey, error) { return s.SigningKeyStore.SigningKeys(ctx, tenant) })
}

func (s faultySigningKeyStore) UpdateSigningKey(ctx context.Context, k store.SigningKey) error {
	return s.f.do(ctx, "UpdateSigningKey", func() error { return s.SigningKeyStore.UpdateSigningKey(ctx, k) })
}

func (s faultySigningKeyStore) DeleteSigningKey(ctx context.Context, tenant, id string) error {
	return s.f.do(ctx, "DeleteSigningKey", func() error { return s.SigningKeyStore.DeleteSigningKey(ctx, tenant, id) })
}

type faultyUserStore struct {
	store.UserStore
	f *faults
}

func (s faultyUserStore) User(ctx context.Context, tenant, id string) (store.User, error) {
	return ask(s.f, ctx, "User", func() (store.User, error) { return s.UserStore.User(ctx, tenant, id) })
}

func (s faultyUserStore) UserByLogin(ctx context.Context, tenant, connection, login string) (store.User, error) {
	return ask(s.f, ctx, "UserByLogin", func() (store.User, error) { return s.UserStore.UserByLogin(ctx, tenant, connection, login) })
}

type faultyUserAdmin struct {
	store.UserAdmin
	f *faults
}

func (s faultyUserAdmin) CreateUser(ctx context.Context, u store.User) error {
	return s.f.do(ctx, "CreateUser", func() error { return s.UserAdmin.CreateUser(ctx, u) })
}

func (s faultyUserAdmin) UpdateUser(ctx context.Context, u store.User) error {
	return s.f.do(ctx, "UpdateUser", func() error { return s.UserAdmin.UpdateUser(ctx, u) })
}

func (s faultyUserAdmin) DeleteUser(ctx context.Context, tenant, id string) error {
	return s.f.do(ctx, "DeleteUser", func() error { return s.UserAdmin.DeleteUser(ctx, tenant, id) })
}

func (s faultyUserAdmin) Users(ctx context.Context, tenant, connection string, page store.Page) ([]store.User, error) {
	return ask(s.f, ctx, "Users", func() ([]store.User, error) { return s.UserAdmin.Users(ctx, tenant, connection, page) })
}

type faultySessionStore struct {
	store.SessionStore
	f *faults
}

func (s faultySessionStore) CreateSession(ctx context.Context, record store.Session) error {
	return s.f.do(ctx, "CreateSession", func() error { return s.SessionStore.CreateSession(ctx, record) })
}

func (s faultySessionStore) Session(ctx context.Context, tenant string, id store.Digest, now time.Time) (store.Session, error) {
	return ask(s.f, ctx, "Session", func() (store.Session, error) { return s.SessionStore.Session(ctx, tenant, id, now) })
}

func (s faultySessionStore) UpdateSession(ctx context.Context, record store.Session, now time.Time) error {
	return s.f.do(ctx, "UpdateSession", func() error { return s.SessionStore.UpdateSession(ctx, record, now) })
}

func (s faultySessionStore) DeleteSession(ctx context.Context, tenant string, id store.Digest) error {
	return s.f.do(ctx, "DeleteSession", func() error { return s.SessionStore.DeleteSession(ctx, tenant, id) })
}

func (s faultySessionStore) UserSessions(ctx context.Context, tenant, user string, page store.Page, now time.Time) ([]store.Session, error) {
	return ask(s.f, ctx, "UserSessions", func() ([]store.Session, error) { return s.SessionStore.UserSessions(ctx, tenant, user, page, now) })
}

func (s faultySessionStore) CollectSessions(ctx context.Context, now time.Time, limit int) (int, error) {
	return ask(s.f, ctx, "CollectSessions", func() (int, error) { return s.SessionStore.CollectSessions(ctx, now, limit) })
}

type faultyGrantFamilyStore struct {
	store.GrantFamilyStore
	f *faults
}

func (s faultyGrantFamilyStore) CreateGrant(ctx context.Context, g store.Grant) error {
	return s.f.do(ctx, "CreateGrant", func() error { return s.GrantFamilyStore.CreateGrant(ctx, g) })
}

func (s faultyGrantFamilyStore) Grant(ctx context.Context, tenant, id, family string, now time.Time) (store.Grant, error) {
	return ask(s.f, ctx, "Grant", func() (store.Grant, error) { return s.GrantFamilyStore.Grant(ctx, tenant, id, family, now) })
}

func (s faultyGrantFamilyStore) FindGrant(ctx context.Context, tenant, user, client, audience string) (store.Grant, error) {
	return ask(s.f, ctx, "FindGrant", func() (store.Grant, error) { return s.GrantFamilyStore.FindGrant(ctx, tenant, user, client, audience) })
}

func (s faultyGrantFamilyStore) UpdateGrant(ctx context.Context, g store.Grant) error {
	return s.f.do(ctx, "UpdateGrant", func() error { return s.GrantFamilyStore.UpdateGrant(ctx, g) })
}

func (s faultyGrantFamilyStore) DeleteGrant(ctx context.Context, tenant, id string) error {
	return s.f.do(ctx, "DeleteGrant", func() error { return s.GrantFamilyStore.DeleteGrant(ctx, tenant, id) })
}

func (s faultyGrantFamilyStore) Grants(ctx context.Context, tenant string, filter store.GrantFilter, page store.Page) ([]store.Grant, error) {
	return ask(s.f, ctx, "Grants", func() ([]store.Grant, error) { return s.GrantFamilyStore.Grants(ctx, tenant, filter, page) })
}

func (s faultyGrantFamilyStore) StartFamily(ctx context.Context, f store.Family, now time.Time) (store.Family, error) {
	return ask(s.f, ctx, "StartFamily", func() (store.Family, error) { return s.GrantFamilyStore.StartFamily(ctx, f, now) })
}

func (s faultyGrantFamilyStore) Family(ctx context.Context, tenant, id string, now time.Time) (store.Family, error) {
	return ask(s.f, ctx, "Family", func() (store.Family, error) { return s.GrantFamilyStore.Family(ctx, tenant, id, now) })
}

func (s faultyGrantFamilyStore) RotateFamily(ctx context.Context, tenant, id string, generation int64, expiresAt, now time.Time) (store.Family, error) {
	return ask(s.f, ctx, "RotateFamily", func() (store.Family, error) {
		return s.GrantFamilyStore.RotateFamily(ctx, tenant, id, generation, expiresAt, now)
	})
}

func (s faultyGrantFamilyStore) RevokeFamily(ctx context.Context, tenant, id string, until, now time.Time) error {
	return s.f.do(ctx, "RevokeFamily", func() error { return s.GrantFamilyStore.RevokeFamily(ctx, tenant, id, until, now) })
}

func (s faultyGrantFamilyStore) RevokeFamilies(ctx context.Context, tenant string, filter store.FamilyFilter, until, now time.Time) (int, error) {
	return ask(s.f, ctx, "RevokeFamilies", func() (int, error) { return s.GrantFamilyStore.RevokeFamilies(ctx, tenant, filter, until, now) })
}

func (s faultyGrantFamilyStore) CollectFamilies(ctx context.Context, now time.Time, limit int) (int, error) {
	return ask(s.f, ctx, "CollectFamilies", func() (int, error) { return s.GrantFamilyStore.CollectFamilies(ctx, now, limit) })
}

type faultyTicketStore struct {
	store.TicketStore
	f *faults
}

func (s faultyTicketStore) PutTicket(ctx context.Context, t store.Ticket, now time.Time) error {
	return s.f.do(ctx, "PutTicket", func() error { return s.TicketStore.PutTicket(ctx, t, now) })
}

func (s faultyTicketStore) Ticket(ctx context.Context, tenant, kind string, id store.Digest, now time.Time) (store.Ticket, error) {
	return ask(s.f, ctx, "Ticket", func() (store.Ticket, error) { return s.TicketStore.Ticket(ctx, tenant, kind, id, now) })
}

func (s faultyTicketStore) ConsumeTicket(ctx context.Context, tenant, kind string, id store.Digest, now time.Time) (store.Ticket, error) {
	return ask(s.f, ctx, "ConsumeTicket", func() (store.Ticket, error) { return s.TicketStore.ConsumeTicket(ctx, tenant, kind, id, now) })
}

func (s faultyTicketStore) UpdateTicket(ctx context.Context, t store.Ticket, now time.Time) error {
	return s.f.do(ctx, "UpdateTicket", func() error { return s.TicketStore.UpdateTicket(ctx, t, now) })
}

func (s faultyTicketStore) DeleteTicket(ctx context.Context, tenant, kind string, id store.Digest) error {
	return s.f.do(ctx, "DeleteTicket", func() error { return s.TicketStore.DeleteTicket(ctx, tenant, kind, id) })
}

func (s faultyTicketStore) CollectTickets(ctx context.Context, now time.Time, limit int) (int, error) {
	return ask(s.f, ctx, "CollectTickets", func() (int, error) { return s.TicketStore.CollectTickets(ctx, now, limit) })
}
