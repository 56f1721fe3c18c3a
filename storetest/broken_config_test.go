package storetest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
)

func TestCatchesOtherBrokenStores(t *testing.T) {
	catches(t, connectionChecks(), func(s *memstore.Store) store.ConnectionStore { return s }, []fault[store.ConnectionStore]{
		{name: "takes a show_as_button of false for none", check: "button-zero", broken: func(s *memstore.Store) store.ConnectionStore { return noHiding{s} }},
		{name: "folds names", check: "name-exact", broken: func(s *memstore.Store) store.ConnectionStore { return foldNames{s} }},
		{name: "looks for the name, then creates", check: "unique-name-race", broken: func(s *memstore.Store) store.ConnectionStore { return &lateNames{ConnectionStore: s} }},
		{name: "never frees a name", check: "unique-name", broken: func(s *memstore.Store) store.ConnectionStore { return &greedyNames{ConnectionStore: s} }},
	})
	catches(t, userChecks(), func(s *memstore.Store) Users { return s }, []fault[Users]{
		{name: "tells usernames from emails", check: "unique-login", broken: func(s *memstore.Store) Users { return twoNamespaces{s} }},
		{name: "an empty email is an email", check: "logins-empty", broken: func(s *memstore.Store) Users { return &emptyIsUnique{directory: s} }},
		{name: "matches logins by pattern", check: "logins", broken: func(s *memstore.Store) Users { return patterns{s} }},
		{name: "ignores the connection", check: "connections", broken: func(s *memstore.Store) Users { return oneConnection{s} }},
	})
	catches(t, apiChecks(), func(s *memstore.Store) store.APIStore { return s }, []fault[store.APIStore]{
		{name: "drops the trailing slash of an audience", check: "audience-exact", broken: func(s *memstore.Store) store.APIStore { return noSlash{s} }},
		{name: "a deleted API is still found by audience", check: "delete", broken: func(s *memstore.Store) store.APIStore { return &staleIndex{APIStore: s} }},
	})
	catches(t, clientGrantChecks(), func(s *memstore.Store) store.ClientGrantStore { return s }, []fault[store.ClientGrantStore]{
		{name: "joins the key", check: "key-exact", broken: func(s *memstore.Store) store.ClientGrantStore { return joinedKey{s} }},
	})
	catches(t, signingKeyChecks(), func(s *memstore.Store) store.SigningKeyStore { return s }, []fault[store.SigningKeyStore]{
		{
			name: "orders by identifier", check: "SigningKeys-order",
			broken: sortedKeys(func(a, b store.SigningKey) int { return strings.Compare(a.ID, b.ID) }),
		},
		{
			name: "orders generations as text", check: "SigningKeys-order",
			broken: sortedKeys(func(a, b store.SigningKey) int {
				return strings.Compare(a.Algorithm+fmt.Sprint(a.Generation), b.Algorithm+fmt.Sprint(b.Generation))
			}),
		},
		{name: "hides expired keys", check: "SigningKeys-expired", broken: func(s *memstore.Store) store.SigningKeyStore { return unexpired{s} }},
		{name: "forgets that a key was revoked", check: "update-replaces", broken: func(s *memstore.Store) store.SigningKeyStore { return forgiving{s} }},
		{name: "generations may repeat", check: "unique-generation-race", broken: func(s *memstore.Store) store.SigningKeyStore { return &lateGenerations{SigningKeyStore: s} }},
	})
	catches(t, sessionChecks(), func(s *memstore.Store) store.SessionStore { return s }, []fault[store.SessionStore]{
		{name: "lists expired sessions", check: "expired", broken: func(s *memstore.Store) store.SessionStore { return allSessions{s} }},
		{name: "an update brings an expired session back", check: "expired", broken: func(s *memstore.Store) store.SessionStore { return revive{s} }},
		{name: "lists the sessions of others", check: "UserSessions-user", broken: func(s *memstore.Store) store.SessionStore { return caseless{s} }},
	})
	catches(t, tenantChecks(), func(s *memstore.Store) store.TenantStore { return s }, []fault[store.TenantStore]{
		{name: "creating overwrites", check: "exists", broken: func(s *memstore.Store) store.TenantStore { return replaceTenants{s} }},
	})
}

func TestCatchesBrokenUserStores(t *testing.T) {
	working := func(s *memstore.Store) store.UserStore {
		for _, u := range seededUsers {
			if err := s.CreateUser(t.Context(), u); err != nil {
				t.Fatal(err)
			}
		}
		return s
	}
	broken := func(edit func(hostUsers) hostUsers) func(*memstore.Store) store.UserStore {
		return func(s *memstore.Store) store.UserStore { return edit(hostUsers{UserStore: working(s)}) }
	}
	catches(t, userStoreChecks(), working, []fault[store.UserStore]{
		{name: "ignores the tenant", check: "tenants", broken: broken(func(h hostUsers) hostUsers { h.tenant = "tenant"; return h })},
		{name: "ignores the connection", check: "tenants", broken: broken(func(h hostUsers) hostUsers { h.connection = "connection"; return h })},
		{name: "folds identifiers", check: "not-found", broken: broken(func(h hostUsers) hostUsers { h.fold = strings.ToLower; return h })},
		{name: "forgets that a user is blocked", check: "read", broken: broken(func(h hostUsers) hostUsers { h.edit = func(u *store.User) { u.Blocked = false }; return h })},
		{name: "returns local times", check: "times", broken: broken(func(h hostUsers) hostUsers {
			h.edit = func(u *store.User) { u.CreatedAt = u.CreatedAt.In(time.FixedZone("here", 3600)) }
			return h
		})},
		{name: "ignores cancellation", check: "cancelled", broken: broken(func(h hostUsers) hostUsers { h.deaf = true; return h })},
		{name: "returns its own pointers", check: "copies-out", broken: broken(func(h hostUsers) hostUsers {
			own := &store.Address{Country: "UK"}
			h.edit = func(u *store.User) { u.Profile.Address = own }
			return h
		})},
	})
}

// TestRunUserStore runs the kit as a host does that has fewer columns.
func TestRunUserStore(t *testing.T) {
	RunUserStore(t, func(t *testing.T, users []store.User) store.UserStore {
		s := memstore.New()
		for _, u := range users {
			u.Profile, u.CreatedAt = store.Profile{}, time.Time{}
			if err := s.CreateUser(t.Context(), u); err != nil {
				t.Fatal(err)
			}
		}
		return s
	})
}

type hostUsers struct {
	store.UserStore
	tenant, connection string
	fold               func(string) string
	edit               func(*store.User)
	deaf               bool
}

func (h hostUsers) User(ctx context.Context, tenant, id string) (store.User, error) {
	if h.tenant != "" {
		tenant = h.tenant
	}
	if h.fold != nil {
		id = h.fold(id)
	}
	if h.deaf {
		ctx = context.WithoutCancel(ctx)
	}
	u, err := h.UserStore.User(ctx, tenant, id)
	if h.edit != nil {
		h.edit(&u)
	}
	return u, err
}

func (h hostUsers) UserByLogin(ctx context.Context, tenant, connection, login string) (store.User, error) {
	if h.tenant != "" {
		tenant = h.tenant
	}
	if h.connection != "" {
		connection = h.connection
	}
	u, err := h.UserStore.UserByLogin(ctx, tenant, connection, login)
	if h.edit != nil {
		h.edit(&u)
	}
	return u, err
}

type noHiding struct{ store.ConnectionStore }

func (s noHiding) CreateConnection(ctx context.Context, c store.Connection) error {
	if c.ShowAsButton != nil && !*c.ShowAsButton {
		c.ShowAsButton = nil
	}
	return s.ConnectionStore.CreateConnection(ctx, c)
}

type foldNames struct{ store.ConnectionStore }

func (s foldNames) CreateConnection(ctx context.Context, c store.Connection) error {
	c.Name = strings.ToLower(c.Name)
	return s.ConnectionStore.CreateConnection(ctx, c)
}

// lateNames looks for a name before it creates, and keeps names apart so that
// the store below does not.
type lateNames struct {
	store.ConnectionStore
	names sync.Map
}

func (s *lateNames) CreateConnection(ctx context.Context, c store.Connection) error {
	if _, ok := s.names.Load(c.TenantID + c.Name); ok {
		return store.ErrExists
	}
	runtime.Gosched()
	s.names.Store(c.TenantID+c.Name, true)
	c.Name = c.ID
	return s.ConnectionStore.CreateConnection(ctx, c)
}

type greedyNames struct {
	store.ConnectionStore
	names sync.Map
}

func (s *greedyNames) CreateConnection(ctx context.Context, c store.Connection) error {
	if _, ok := s.names.Load(c.TenantID + c.Name); ok {
		return store.ErrExists
	}
	err := s.ConnectionStore.CreateConnection(ctx, c)
	if err == nil {
		s.names.Store(c.TenantID+c.Name, true)
	}
	return err
}

// directory is Users under a name that is not also a method's.
type directory = Users

type twoNamespaces struct{ directory }

func (s twoNamespaces) CreateUser(ctx context.Context, u store.User) error {
	u.Username = "u:" + u.Username
	return s.directory.CreateUser(ctx, u)
}

type emptyIsUnique struct {
	directory
	taken bool
}

func (s *emptyIsUnique) CreateUser(ctx context.Context, u store.User) error {
	if u.Email == "" {
		if s.taken {
			return store.ErrExists
		}
		s.taken = true
	}
	return s.directory.CreateUser(ctx, u)
}

type patterns struct{ directory }

func (s patterns) UserByLogin(ctx context.Context, tenant, connection, login string) (store.User, error) {
	if prefix, ok := strings.CutSuffix(login, "%"); ok {
		us, err := s.directory.Users(ctx, tenant, connection, store.Page{})
		for _, u := range us {
			if strings.HasPrefix(u.Username, prefix) {
				return u, err
			}
		}
	}
	return s.directory.UserByLogin(ctx, tenant, connection, login)
}

type oneConnection struct{ directory }

func (s oneConnection) CreateUser(ctx context.Context, u store.User) error {
	u.ConnectionID = "connection"
	return s.directory.CreateUser(ctx, u)
}

type noSlash struct{ store.APIStore }

func (s noSlash) CreateAPI(ctx context.Context, a store.API) error {
	a.Audience = strings.TrimSuffix(a.Audience, "/")
	return s.APIStore.CreateAPI(ctx, a)
}

func (s noSlash) APIByAudience(ctx context.Context, tenant, audience string) (store.API, error) {
	return s.APIStore.APIByAudience(ctx, tenant, strings.TrimSuffix(audience, "/"))
}

type staleIndex struct {
	store.APIStore
	byAudience sync.Map
}

func (s *staleIndex) CreateAPI(ctx context.Context, a store.API) error {
	err := s.APIStore.CreateAPI(ctx, a)
	if err == nil {
		a = a.Clone()
		a.Version = 1
		s.byAudience.Store(a.Audience, a)
	}
	return err
}

func (s *staleIndex) APIByAudience(ctx context.Context, tenant, audience string) (store.API, error) {
	if a, ok := s.byAudience.Load(audience); ok {
		return a.(store.API).Clone(), nil
	}
	return s.APIStore.APIByAudience(ctx, tenant, audience)
}

type joinedKey struct{ store.ClientGrantStore }

func (s joinedKey) CreateClientGrant(ctx context.Context, g store.ClientGrant) error {
	if _, err := s.FindClientGrant(ctx, g.TenantID, g.ClientID, g.Audience, g.SubjectType); err == nil {
		return store.ErrExists
	}
	return s.ClientGrantStore.CreateClientGrant(ctx, g)
}

func (s joinedKey) FindClientGrant(ctx context.Context, tenant, client, audience, subjectType string) (store.ClientGrant, error) {
	gs, err := s.ClientGrants(ctx, tenant, store.Page{})
	for _, g := range gs {
		if g.ClientID+":"+g.Audience+":"+g.SubjectType == client+":"+audience+":"+subjectType {
			return g, nil
		}
	}
	if err == nil {
		err = store.ErrNotFound
	}
	return store.ClientGrant{}, err
}

func sortedKeys(compare func(a, b store.SigningKey) int) func(*memstore.Store) store.SigningKeyStore {
	return func(s *memstore.Store) store.SigningKeyStore { return keysInOrder{s, compare} }
}

type keysInOrder struct {
	store.SigningKeyStore
	compare func(a, b store.SigningKey) int
}

func (s keysInOrder) SigningKeys(ctx context.Context, tenant string) ([]store.SigningKey, error) {
	ks, err := s.SigningKeyStore.SigningKeys(ctx, tenant)
	slices.SortFunc(ks, s.compare)
	return ks, err
}

type unexpired struct{ store.SigningKeyStore }

func (s unexpired) SigningKeys(ctx context.Context, tenant string) ([]store.SigningKey, error) {
	ks, err := s.SigningKeyStore.SigningKeys(ctx, tenant)
	return slices.DeleteFunc(ks, func(k store.SigningKey) bool { return k.ExpiresAt.Before(time.Now()) }), err
}

type forgiving struct{ store.SigningKeyStore }

func (s forgiving) UpdateSigningKey(ctx context.Context, k store.SigningKey) error {
	k.RevokedAt = time.Time{}
	return s.SigningKeyStore.UpdateSigningKey(ctx, k)
}

type lateGenerations struct {
	store.SigningKeyStore
	mu      sync.Mutex
	created int
}

func (s *lateGenerations) CreateSigningKey(ctx context.Context, k store.SigningKey) error {
	ks, err := s.SigningKeys(ctx, k.TenantID)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(ks, func(old store.SigningKey) bool { return old.Algorithm == k.Algorithm && old.Generation == k.Generation }) {
		return store.ErrExists
	}
	runtime.Gosched()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.created++
	err = s.SigningKeyStore.CreateSigningKey(ctx, k)
	if errors.Is(err, store.ErrExists) {
		k.Generation = -s.created
		err = s.SigningKeyStore.CreateSigningKey(ctx, k)
	}
	return err
}

type allSessions struct{ store.SessionStore }

func (s allSessions) UserSessions(ctx context.Context, tenant, user string, page store.Page, _ time.Time) ([]store.Session, error) {
	return s.SessionStore.UserSessions(ctx, tenant, user, page, time.Time{})
}

type revive struct{ store.SessionStore }

func (s revive) UpdateSession(ctx context.Context, r store.Session, _ time.Time) error {
	return s.SessionStore.UpdateSession(ctx, r, time.Time{})
}

type caseless struct{ store.SessionStore }

func (s caseless) UserSessions(ctx context.Context, tenant, user string, page store.Page, now time.Time) ([]store.Session, error) {
	return s.SessionStore.UserSessions(ctx, tenant, strings.ToLower(user), page, now)
}

type replaceTenants struct{ store.TenantStore }

func (s replaceTenants) CreateTenant(ctx context.Context, t store.Tenant) error {
	err := s.TenantStore.CreateTenant(ctx, t)
	if errors.Is(err, store.ErrExists) {
		t.Version = 1
		err = s.UpdateTenant(ctx, t)
	}
	return err
}
