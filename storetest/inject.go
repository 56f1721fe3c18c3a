package storetest

import (
	"context"
	"time"

	"github.com/opkit/opkit/store"
)

// Faults are what [Inject] does around the calls of a store. Both functions get the name
// of the method ("ConsumeTicket") and may be nil; calls at the same time call them at the
// same time.
type Faults struct {
	// Before is called ahead of each call. An error that it returns is the answer, and
	// the call does not reach the store: the store is down. It may wait, honouring the
	// context: the store is slow.
	Before func(ctx context.Context, call string) error

	// After is called after each call that succeeded. An error that it returns is the
	// answer, although the call has happened: the connection was lost.
	After func(ctx context.Context, call string) error
}

// Inject returns stores that fail as f says. What is nil stays nil. With it a host, or a
// program that uses stores, is tested between any two calls.
func Inject(s store.Stores, f Faults) store.Stores {
	if s.Tenants != nil {
		s.Tenants = faultyTenants{s.Tenants, f}
	}
	if s.Connections != nil {
		s.Connections = faultyConnections{s.Connections, f}
	}
	if s.Clients != nil {
		s.Clients = faultyClients{s.Clients, f}
	}
	if s.ClientSweeper != nil {
		s.ClientSweeper = faultyClientSweeper{s.ClientSweeper, f}
	}
	if s.APIs != nil {
		s.APIs = faultyAPIs{s.APIs, f}
	}
	if s.ClientGrants != nil {
		s.ClientGrants = faultyClientGrants{s.ClientGrants, f}
	}
	if s.SigningKeys != nil {
		s.SigningKeys = faultySigningKeys{s.SigningKeys, f}
	}
	if s.Users != nil {
		s.Users = faultyUsers{s.Users, f}
	}
	if s.UserAdmin != nil {
		s.UserAdmin = faultyUserAdmin{s.UserAdmin, f}
	}
	if s.Sessions != nil {
		s.Sessions = faultySessions{s.Sessions, f}
	}
	if s.Grants != nil {
		s.Grants = faultyGrants{s.Grants, f}
	}
	if s.Tickets != nil {
		s.Tickets = faultyTickets{s.Tickets, f}
	}
	if s.FamilyLister != nil {
		s.FamilyLister = faultyFamilyLister{s.FamilyLister, f}
	}
	if s.Events != nil {
		s.Events = faultyEvents{s.Events, f}
	}
	return s
}

// answer makes a call that returns something.
func answer[T any](ctx context.Context, f Faults, call string, do func() (T, error)) (T, error) {
	var none T
	if f.Before != nil {
		if err := f.Before(ctx, call); err != nil {
			return none, err
		}
	}
	value, err := do()
	if err == nil && f.After != nil {
		if err := f.After(ctx, call); err != nil {
			return none, err
		}
	}
	return value, err
}

// run makes a call that returns nothing.
func run(ctx context.Context, f Faults, call string, do func() error) error {
	_, err := answer(ctx, f, call, func() (struct{}, error) { return struct{}{}, do() })
	return err
}

type faultyTenants struct {
	in store.TenantStore
	f  Faults
}

func (x faultyTenants) CreateTenant(ctx context.Context, t store.Tenant) error {
	return run(ctx, x.f, "CreateTenant", func() error { return x.in.CreateTenant(ctx, t) })
}

func (x faultyTenants) Tenant(ctx context.Context, id string) (store.Tenant, error) {
	return answer(ctx, x.f, "Tenant", func() (store.Tenant, error) { return x.in.Tenant(ctx, id) })
}

func (x faultyTenants) UpdateTenant(ctx context.Context, t store.Tenant) error {
	return run(ctx, x.f, "UpdateTenant", func() error { return x.in.UpdateTenant(ctx, t) })
}

func (x faultyTenants) Tenants(ctx context.Context, page store.Page) ([]store.Tenant, error) {
	return answer(ctx, x.f, "Tenants", func() ([]store.Tenant, error) { return x.in.Tenants(ctx, page) })
}

type faultyConnections struct {
	in store.ConnectionStore
	f  Faults
}

func (x faultyConnections) CreateConnection(ctx context.Context, c store.Connection) error {
	return run(ctx, x.f, "CreateConnection", func() error { return x.in.CreateConnection(ctx, c) })
}

func (x faultyConnections) Connection(ctx context.Context, tenant, id string) (store.Connection, error) {
	return answer(ctx, x.f, "Connection", func() (store.Connection, error) { return x.in.Connection(ctx, tenant, id) })
}

func (x faultyConnections) UpdateConnection(ctx context.Context, c store.Connection) error {
	return run(ctx, x.f, "UpdateConnection", func() error { return x.in.UpdateConnection(ctx, c) })
}

func (x faultyConnections) DeleteConnection(ctx context.Context, tenant, id string) error {
	return run(ctx, x.f, "DeleteConnection", func() error { return x.in.DeleteConnection(ctx, tenant, id) })
}

func (x faultyConnections) Connections(ctx context.Context, tenant string, page store.Page) ([]store.Connection, error) {
	return answer(ctx, x.f, "Connections", func() ([]store.Connection, error) { return x.in.Connections(ctx, tenant, page) })
}

type faultyClients struct {
	in store.ClientStore
	f  Faults
}

func (x faultyClients) CreateClient(ctx context.Context, c store.Client) error {
	return run(ctx, x.f, "CreateClient", func() error { return x.in.CreateClient(ctx, c) })
}

func (x faultyClients) Client(ctx context.Context, tenant, id string) (store.Client, error) {
	return answer(ctx, x.f, "Client", func() (store.Client, error) { return x.in.Client(ctx, tenant, id) })
}

func (x faultyClients) UpdateClient(ctx context.Context, c store.Client) error {
	return run(ctx, x.f, "UpdateClient", func() error { return x.in.UpdateClient(ctx, c) })
}

func (x faultyClients) DeleteClient(ctx context.Context, tenant, id string) error {
	return run(ctx, x.f, "DeleteClient", func() error { return x.in.DeleteClient(ctx, tenant, id) })
}

func (x faultyClients) Clients(ctx context.Context, tenant string, page store.Page) ([]store.Client, error) {
	return answer(ctx, x.f, "Clients", func() ([]store.Client, error) { return x.in.Clients(ctx, tenant, page) })
}

type faultyClientSweeper struct {
	in store.ClientSweeper
	f  Faults
}

func (x faultyClientSweeper) IdleClients(ctx context.Context, tenant string, filter store.IdleFilter, page store.IdlePage) ([]store.Client, error) {
	return answer(ctx, x.f, "IdleClients", func() ([]store.Client, error) { return x.in.IdleClients(ctx, tenant, filter, page) })
}

func (x faultyClientSweeper) CountProvisional(ctx context.Context, tenant string) (int, error) {
	return answer(ctx, x.f, "CountProvisional", func() (int, error) { return x.in.CountProvisional(ctx, tenant) })
}

func (x faultyClientSweeper) RemoveClients(ctx context.Context, tenant string, clients []store.Client) ([]string, error) {
	return answer(ctx, x.f, "RemoveClients", func() ([]string, error) { return x.in.RemoveClients(ctx, tenant, clients) })
}

type faultyAPIs struct {
	in store.APIStore
	f  Faults
}

func (x faultyAPIs) CreateAPI(ctx context.Context, a store.API) error {
	return run(ctx, x.f, "CreateAPI", func() error { return x.in.CreateAPI(ctx, a) })
}

func (x faultyAPIs) API(ctx context.Context, tenant, id string) (store.API, error) {
	return answer(ctx, x.f, "API", func() (store.API, error) { return x.in.API(ctx, tenant, id) })
}

func (x faultyAPIs) APIByAudience(ctx context.Context, tenant, audience string) (store.API, error) {
	return answer(ctx, x.f, "APIByAudience", func() (store.API, error) { return x.in.APIByAudience(ctx, tenant, audience) })
}

func (x faultyAPIs) UpdateAPI(ctx context.Context, a store.API) error {
	return run(ctx, x.f, "UpdateAPI", func() error { return x.in.UpdateAPI(ctx, a) })
}

func (x faultyAPIs) DeleteAPI(ctx context.Context, tenant, id string) error {
	return run(ctx, x.f, "DeleteAPI", func() error { return x.in.DeleteAPI(ctx, tenant, id) })
}

func (x faultyAPIs) APIs(ctx context.Context, tenant string, page store.Page) ([]store.API, error) {
	return answer(ctx, x.f, "APIs", func() ([]store.API, error) { return x.in.APIs(ctx, tenant, page) })
}

type faultyClientGrants struct {
	in store.ClientGrantStore
	f  Faults
}

func (x faultyClientGrants) CreateClientGrant(ctx context.Context, g store.ClientGrant) error {
	return run(ctx, x.f, "CreateClientGrant", func() error { return x.in.CreateClientGrant(ctx, g) })
}

func (x faultyClientGrants) ClientGrant(ctx context.Context, tenant, id string) (store.ClientGrant, error) {
	return answer(ctx, x.f, "ClientGrant", func() (store.ClientGrant, error) { return x.in.ClientGrant(ctx, tenant, id) })
}

func (x faultyClientGrants) FindClientGrant(ctx context.Context, tenant, client, audience, subjectType string) (store.ClientGrant, error) {
	return answer(ctx, x.f, "FindClientGrant", func() (store.ClientGrant, error) {
		return x.in.FindClientGrant(ctx, tenant, client, audience, subjectType)
	})
}

func (x faultyClientGrants) UpdateClientGrant(ctx context.Context, g store.ClientGrant) error {
	return run(ctx, x.f, "UpdateClientGrant", func() error { return x.in.UpdateClientGrant(ctx, g) })
}

func (x faultyClientGrants) DeleteClientGrant(ctx context.Context, tenant, id string) error {
	return run(ctx, x.f, "DeleteClientGrant", func() error { return x.in.DeleteClientGrant(ctx, tenant, id) })
}

func (x faultyClientGrants) ClientGrants(ctx context.Context, tenant string, page store.Page) ([]store.ClientGrant, error) {
	return answer(ctx, x.f, "ClientGrants", func() ([]store.ClientGrant, error) { return x.in.ClientGrants(ctx, tenant, page) })
}

type faultySigningKeys struct {
	in store.SigningKeyStore
	f  Faults
}

func (x faultySigningKeys) CreateSigningKey(ctx context.Context, k store.SigningKey) error {
	return run(ctx, x.f, "CreateSigningKey", func() error { return x.in.CreateSigningKey(ctx, k) })
}

func (x faultySigningKeys) SigningKeys(ctx context.Context, tenant string) ([]store.SigningKey, error) {
	return answer(ctx, x.f, "SigningKeys", func() ([]store.SigningKey, error) { return x.in.SigningKeys(ctx, tenant) })
}

func (x faultySigningKeys) UpdateSigningKey(ctx context.Context, k store.SigningKey) error {
	return run(ctx, x.f, "UpdateSigningKey", func() error { return x.in.UpdateSigningKey(ctx, k) })
}

func (x faultySigningKeys) DeleteSigningKey(ctx context.Context, tenant, id string) error {
	return run(ctx, x.f, "DeleteSigningKey", func() error { return x.in.DeleteSigningKey(ctx, tenant, id) })
}

type faultyUsers struct {
	in store.UserStore
	f  Faults
}

func (x faultyUsers) User(ctx context.Context, tenant, id string) (store.User, error) {
	return answer(ctx, x.f, "User", func() (store.User, error) { return x.in.User(ctx, tenant, id) })
}

func (x faultyUsers) UserByLogin(ctx context.Context, tenant, connection, login string) (store.User, error) {
	return answer(ctx, x.f, "UserByLogin", func() (store.User, error) { return x.in.UserByLogin(ctx, tenant, connection, login) })
}

type faultyUserAdmin struct {
	in store.UserAdmin
	f  Faults
}

func (x faultyUserAdmin) CreateUser(ctx context.Context, u store.User) error {
	return run(ctx, x.f, "CreateUser", func() error { return x.in.CreateUser(ctx, u) })
}

func (x faultyUserAdmin) UpdateUser(ctx context.Context, u store.User) error {
	return run(ctx, x.f, "UpdateUser", func() error { return x.in.UpdateUser(ctx, u) })
}

func (x faultyUserAdmin) DeleteUser(ctx context.Context, tenant, id string) error {
	return run(ctx, x.f, "DeleteUser", func() error { return x.in.DeleteUser(ctx, tenant, id) })
}

func (x faultyUserAdmin) Users(ctx context.Context, tenant, connection string, page store.Page) ([]store.User, error) {
	return answer(ctx, x.f, "Users", func() ([]store.User, error) { return x.in.Users(ctx, tenant, connection, page) })
}

type faultySessions struct {
	in store.SessionStore
	f  Faults
}

func (x faultySessions) CreateSession(ctx context.Context, s store.Session) error {
	return run(ctx, x.f, "CreateSession", func() error { return x.in.CreateSession(ctx, s) })
}

func (x faultySessions) Session(ctx context.Context, tenant string, id store.Digest, now time.Time) (store.Session, error) {
	return answer(ctx, x.f, "Session", func() (store.Session, error) { return x.in.Session(ctx, tenant, id, now) })
}

func (x faultySessions) UpdateSession(ctx context.Context, s store.Session, now time.Time) error {
	return run(ctx, x.f, "UpdateSession", func() error { return x.in.UpdateSession(ctx, s, now) })
}

func (x faultySessions) DeleteSession(ctx context.Context, tenant string, id store.Digest) error {
	return run(ctx, x.f, "DeleteSession", func() error { return x.in.DeleteSession(ctx, tenant, id) })
}

func (x faultySessions) UserSessions(ctx context.Context, tenant, user string, page store.Page, now time.Time) ([]store.Session, error) {
	return answer(ctx, x.f, "UserSessions", func() ([]store.Session, error) { return x.in.UserSessions(ctx, tenant, user, page, now) })
}

func (x faultySessions) CollectSessions(ctx context.Context, now time.Time, limit int) (int, error) {
	return answer(ctx, x.f, "CollectSessions", func() (int, error) { return x.in.CollectSessions(ctx, now, limit) })
}

type faultyGrants struct {
	in store.GrantFamilyStore
	f  Faults
}

func (x faultyGrants) CreateGrant(ctx context.Context, g store.Grant) error {
	return run(ctx, x.f, "CreateGrant", func() error { return x.in.CreateGrant(ctx, g) })
}

func (x faultyGrants) Grant(ctx context.Context, tenant, id, family string, now time.Time) (store.Grant, error) {
	return answer(ctx, x.f, "Grant", func() (store.Grant, error) { return x.in.Grant(ctx, tenant, id, family, now) })
}

func (x faultyGrants) FindGrant(ctx context.Context, tenant, user, client, audience string) (store.Grant, error) {
	return answer(ctx, x.f, "FindGrant", func() (store.Grant, error) { return x.in.FindGrant(ctx, tenant, user, client, audience) })
}

func (x faultyGrants) UpdateGrant(ctx context.Context, g store.Grant) error {
	return run(ctx, x.f, "UpdateGrant", func() error { return x.in.UpdateGrant(ctx, g) })
}

func (x faultyGrants) DeleteGrant(ctx context.Context, tenant, id string) error {
	return run(ctx, x.f, "DeleteGrant", func() error { return x.in.DeleteGrant(ctx, tenant, id) })
}

func (x faultyGrants) Grants(ctx context.Context, tenant string, filter store.GrantFilter, page store.Page) ([]store.Grant, error) {
	return answer(ctx, x.f, "Grants", func() ([]store.Grant, error) { return x.in.Grants(ctx, tenant, filter, page) })
}

func (x faultyGrants) StartFamily(ctx context.Context, f store.Family, now time.Time) (store.Family, error) {
	return answer(ctx, x.f, "StartFamily", func() (store.Family, error) { return x.in.StartFamily(ctx, f, now) })
}

func (x faultyGrants) Family(ctx context.Context, tenant, id string, now time.Time) (store.Family, error) {
	return answer(ctx, x.f, "Family", func() (store.Family, error) { return x.in.Family(ctx, tenant, id, now) })
}

func (x faultyGrants) RotateFamily(ctx context.Context, tenant, id string, generation int64, expiresAt, now time.Time) (store.Family, error) {
	return answer(ctx, x.f, "RotateFamily", func() (store.Family, error) { return x.in.RotateFamily(ctx, tenant, id, generation, expiresAt, now) })
}

func (x faultyGrants) RevokeFamily(ctx context.Context, tenant, id string, until, now time.Time) error {
	return run(ctx, x.f, "RevokeFamily", func() error { return x.in.RevokeFamily(ctx, tenant, id, until, now) })
}

func (x faultyGrants) RevokeFamilies(ctx context.Context, tenant string, filter store.FamilyFilter, until, now time.Time) (int, error) {
	return answer(ctx, x.f, "RevokeFamilies", func() (int, error) { return x.in.RevokeFamilies(ctx, tenant, filter, until, now) })
}

func (x faultyGrants) CollectFamilies(ctx context.Context, now time.Time, limit int) (int, error) {
	return answer(ctx, x.f, "CollectFamilies", func() (int, error) { return x.in.CollectFamilies(ctx, now, limit) })
}

type faultyTickets struct {
	in store.TicketStore
	f  Faults
}

func (x faultyTickets) PutTicket(ctx context.Context, t store.Ticket, now time.Time) error {
	return run(ctx, x.f, "PutTicket", func() error { return x.in.PutTicket(ctx, t, now) })
}

func (x faultyTickets) Ticket(ctx context.Context, tenant, kind string, id store.Digest, now time.Time) (store.Ticket, error) {
	return answer(ctx, x.f, "Ticket", func() (store.Ticket, error) { return x.in.Ticket(ctx, tenant, kind, id, now) })
}

func (x faultyTickets) ConsumeTicket(ctx context.Context, tenant, kind string, id store.Digest, now time.Time) (store.Ticket, error) {
	return answer(ctx, x.f, "ConsumeTicket", func() (store.Ticket, error) { return x.in.ConsumeTicket(ctx, tenant, kind, id, now) })
}

func (x faultyTickets) UpdateTicket(ctx context.Context, t store.Ticket, now time.Time) error {
	return run(ctx, x.f, "UpdateTicket", func() error { return x.in.UpdateTicket(ctx, t, now) })
}

func (x faultyTickets) DeleteTicket(ctx context.Context, tenant, kind string, id store.Digest) error {
	return run(ctx, x.f, "DeleteTicket", func() error { return x.in.DeleteTicket(ctx, tenant, kind, id) })
}

func (x faultyTickets) CollectTickets(ctx context.Context, now time.Time, limit int) (int, error) {
	return answer(ctx, x.f, "CollectTickets", func() (int, error) { return x.in.CollectTickets(ctx, now, limit) })
}

type faultyFamilyLister struct {
	in store.FamilyLister
	f  Faults
}

func (x faultyFamilyLister) UserFamilies(ctx context.Context, tenant, user string, page store.Page, now time.Time) ([]store.Family, error) {
	return answer(ctx, x.f, "UserFamilies", func() ([]store.Family, error) { return x.in.UserFamilies(ctx, tenant, user, page, now) })
}

type faultyEvents struct {
	in store.EventStore
	f  Faults
}

func (x faultyEvents) AppendEvents(ctx context.Context, events []store.Event) (int, error) {
	return answer(ctx, x.f, "AppendEvents", func() (int, error) { return x.in.AppendEvents(ctx, events) })
}

func (x faultyEvents) Event(ctx context.Context, tenant, id string, now time.Time) (store.Event, error) {
	return answer(ctx, x.f, "Event", func() (store.Event, error) { return x.in.Event(ctx, tenant, id, now) })
}

func (x faultyEvents) Events(ctx context.Context, tenant string, filter store.EventFilter, page store.EventPage, now time.Time) ([]store.Event, error) {
	return answer(ctx, x.f, "Events", func() ([]store.Event, error) { return x.in.Events(ctx, tenant, filter, page, now) })
}

func (x faultyEvents) CountEvents(ctx context.Context, tenant string, filter store.EventFilter, span store.EventSpan, now time.Time) ([]int, error) {
	return answer(ctx, x.f, "CountEvents", func() ([]int, error) { return x.in.CountEvents(ctx, tenant, filter, span, now) })
}

func (x faultyEvents) TrimEvents(ctx context.Context, tenant, quota string, keep, limit int) (int, error) {
	return answer(ctx, x.f, "TrimEvents", func() (int, error) { return x.in.TrimEvents(ctx, tenant, quota, keep, limit) })
}

func (x faultyEvents) CollectEvents(ctx context.Context, now time.Time, limit int) (int, error) {
	return answer(ctx, x.f, "CollectEvents", func() (int, error) { return x.in.CollectEvents(ctx, now, limit) })
}
