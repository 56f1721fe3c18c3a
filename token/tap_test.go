package token

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/opkit/opkit/store"
)

// tap stands between the issuer and its stores. It counts the calls that no
// cache can take away, and fails the ones that a test wants to fail.
type tap struct {
	mu    sync.Mutex
	calls map[string]int
	fail  func(method string) bool
	// before is called before each call that is counted. Nil: nothing is.
	before func(method string)
}

// errStore is what a failing store answers; its text must never reach a client.
var errStore = errors.New("pq: relation \"secret_table\" does not exist at store.go:17")

// hit counts a call and returns the error to answer it with.
func (t *tap) hit(method string) error {
	if t.before != nil {
		t.before(method)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.calls == nil {
		t.calls = map[string]int{}
	}
	t.calls[method]++
	if t.fail != nil && t.fail(method) {
		return errStore
	}
	return nil
}

// take returns the calls since the last take as "A B×2".
func (t *tap) take() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []string
	for _, method := range slices.Sorted(maps.Keys(t.calls)) {
		for range t.calls[method] {
			out = append(out, method)
		}
	}
	t.calls = nil
	return strings.Join(out, " ")
}

// failing fails the named methods until the returned function is called.
func (t *tap) failing(methods ...string) (restore func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fail = func(method string) bool { return slices.Contains(methods, method) }
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.fail = nil
	}
}

// stores wraps what decides security at use in full, and of the configuration,
// which is read through a cache, the writes. Configuration reads can fail but are
// not counted.
func (t *tap) stores(s store.Stores) store.Stores {
	s.Users = tapUsers{s.Users, t}
	s.Sessions = tapSessions{s.Sessions, t}
	s.Grants = tapGrants{s.Grants, t}
	s.Tickets = tapTickets{s.Tickets, t}
	s.Clients = tapClients{s.Clients, t}
	s.APIs = tapAPIs{s.APIs, t}
	s.SigningKeys = tapKeys{s.SigningKeys, t}
	return s
}

// read is hit without counting.
func (t *tap) read(method string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.fail != nil && t.fail(method) {
		return errStore
	}
	return nil
}

type tapUsers struct {
	store.UserStore
	t *tap
}

func (s tapUsers) User(ctx context.Context, tenant, id string) (store.User, error) {
	if err := s.t.hit("User"); err != nil {
		return store.User{}, err
	}
	return s.UserStore.User(ctx, tenant, id)
}

func (s tapUsers) UserByLogin(ctx context.Context, tenant, connection, login string) (store.User, error) {
	if err := s.t.hit("UserByLogin"); err != nil {
		return store.User{}, err
	}
	return s.UserStore.UserByLogin(ctx, tenant, connection, login)
}

// Sessions and tickets are of no concern to what is tested with a tap: any call
// is counted under one name.
type tapSessions struct {
	store.SessionStore
	t *tap
}

func (s tapSessions) Session(ctx context.Context, tenant string, id store.Digest, now time.Time) (store.Session, error) {
	if err := s.t.hit("Session"); err != nil {
		return store.Session{}, err
	}
	return s.SessionStore.Session(ctx, tenant, id, now)
}

type tapTickets struct {
	store.TicketStore
	t *tap
}

func (s tapTickets) PutTicket(ctx context.Context, k store.Ticket, now time.Time) error {
	if err := s.t.hit("PutTicket"); err != nil {
		return err
	}
	return s.TicketStore.PutTicket(ctx, k, now)
}

func (s tapTickets) Ticket(ctx context.Context, tenant, kind string, id store.Digest, now time.Time) (store.Ticket, error) {
	if err := s.t.hit("Ticket"); err != nil {
		return store.Ticket{}, err
	}
	return s.TicketStore.Ticket(ctx, tenant, kind, id, now)
}

func (s tapTickets) ConsumeTicket(ctx context.Context, tenant, kind string, id store.Digest, now time.Time) (store.Ticket, error) {
	if err := s.t.hit("ConsumeTicket"); err != nil {
		return store.Ticket{}, err
	}
	return s.TicketStore.ConsumeTicket(ctx, tenant, kind, id, now)
}

type tapGrants struct {
	store.GrantFamilyStore
	t *tap
}

func (s tapGrants) CreateGrant(ctx context.Context, g store.Grant) error {
	if err := s.t.hit("CreateGrant"); err != nil {
		return err
	}
	return s.GrantFamilyStore.CreateGrant(ctx, g)
}

func (s tapGrants) Grant(ctx context.Context, tenant, id, family string, now time.Time) (store.Grant, error) {
	if err := s.t.hit("Grant"); err != nil {
		return store.Grant{}, err
	}
	return s.GrantFamilyStore.Grant(ctx, tenant, id, family, now)
}

func (s tapGrants) FindGrant(ctx context.Context, tenant, user, client, audience string) (store.Grant, error) {
	if err := s.t.hit("FindGrant"); err != nil {
		return store.Grant{}, err
	}
	return s.GrantFamilyStore.FindGrant(ctx, tenant, user, client, audience)
}

func (s tapGrants) UpdateGrant(ctx context.Context, g store.Grant) error {
	if err := s.t.hit("UpdateGrant"); err != nil {
		return err
	}
	return s.GrantFamilyStore.UpdateGrant(ctx, g)
}

func (s tapGrants) StartFamily(ctx context.Context, f store.Family, now time.Time) (store.Family, error) {
	if err := s.t.hit("StartFamily"); err != nil {
		return store.Family{}, err
	}
	return s.GrantFamilyStore.StartFamily(ctx, f, now)
}

func (s tapGrants) Family(ctx context.Context, tenant, id string, now time.Time) (store.Family, error) {
	if err := s.t.hit("Family"); err != nil {
		return store.Family{}, err
	}
	return s.GrantFamilyStore.Family(ctx, tenant, id, now)
}

func (s tapGrants) RotateFamily(ctx context.Context, tenant, id string, generation int64, expiresAt, now time.Time) (store.Family, error) {
	if err := s.t.hit("RotateFamily"); err != nil {
		return store.Family{}, err
	}
	return s.GrantFamilyStore.RotateFamily(ctx, tenant, id, generation, expiresAt, now)
}

func (s tapGrants) RevokeFamily(ctx context.Context, tenant, id string, until, now time.Time) error {
	if err := s.t.hit("RevokeFamily"); err != nil {
		return err
	}
	return s.GrantFamilyStore.RevokeFamily(ctx, tenant, id, until, now)
}

func (s tapGrants) RevokeFamilies(ctx context.Context, tenant string, filter store.FamilyFilter, until, now time.Time) (int, error) {
	if err := s.t.hit("RevokeFamilies"); err != nil {
		return 0, err
	}
	return s.GrantFamilyStore.RevokeFamilies(ctx, tenant, filter, until, now)
}

type tapClients struct {
	store.ClientStore
	t *tap
}

func (s tapClients) Client(ctx context.Context, tenant, id string) (store.Client, error) {
	if err := s.t.read("Client"); err != nil {
		return store.Client{}, err
	}
	return s.ClientStore.Client(ctx, tenant, id)
}

func (s tapClients) UpdateClient(ctx context.Context, c store.Client) error {
	if err := s.t.hit("UpdateClient"); err != nil {
		return err
	}
	return s.ClientStore.UpdateClient(ctx, c)
}

type tapAPIs struct {
	store.APIStore
	t *tap
}

func (s tapAPIs) APIByAudience(ctx context.Context, tenant, audience string) (store.API, error) {
	if err := s.t.read("APIByAudience"); err != nil {
		return store.API{}, err
	}
	return s.APIStore.APIByAudience(ctx, tenant, audience)
}

type tapKeys struct {
	store.SigningKeyStore
	t *tap
}

func (s tapKeys) SigningKeys(ctx context.Context, tenant string) ([]store.SigningKey, error) {
	if err := s.t.read("SigningKeys"); err != nil {
		return nil, err
	}
	return s.SigningKeyStore.SigningKeys(ctx, tenant)
}
