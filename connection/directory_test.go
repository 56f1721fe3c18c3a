package connection

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
	"github.com/opkit/opkit/tenant"
)

const (
	issuer   = "https://op.example/"
	password = "correct horse battery"
)

// cheap are parameters with which a test does not wait. New would refuse them.
var cheap = Argon2id{MemoryKiB: 8, Passes: 1, Lanes: 1}

// clock is a clock that stands still until it is moved.
type clock struct{ now time.Time }

func newClock() *clock { return &clock{time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time          { return c.now }
func (c *clock) advance(d time.Duration) { c.now = c.now.Add(d) }

// world is a directory over a memory store with a tenant, a database connection,
// a user and the clients of a test.
type world struct {
	*Directory
	t      testing.TB
	clock  *clock
	stores store.Stores
	tenant *tenant.Tenant
	conn   store.Connection
	user   store.User
}

// newWorld makes a world; change may be nil.
func newWorld(t testing.TB, change func(*Config)) *world {
	t.Helper()
	w := &world{t: t, clock: newClock(), stores: memstore.New().Stores()}
	w.Directory = w.node(change)
	w.reload()
	var err error
	if err := w.stores.Clients.CreateClient(context.Background(), store.Client{TenantID: tenant.DefaultID, ID: "mgmt", FirstParty: true}); err != nil {
		t.Fatal(err)
	}
	if err := w.stores.ClientGrants.CreateClientGrant(context.Background(), store.ClientGrant{
		TenantID: tenant.DefaultID, ID: "mgmt", ClientID: "mgmt", Audience: w.tenant.ManagementAudience(), SubjectType: store.SubjectClient,
		Scopes: []string{
			tenant.ScopeReadTenantSettings, tenant.ScopeUpdateTenantSettings,
			tenant.ScopeReadConnections, tenant.ScopeCreateConnections, tenant.ScopeUpdateConnections, tenant.ScopeDeleteConnections,
			tenant.ScopeReadUsers, tenant.ScopeCreateUsers, tenant.ScopeUpdateUsers, tenant.ScopeDeleteUsers,
		},
	}); err != nil {
		t.Fatal(err)
	}
	w.conn, err = w.Create(context.Background(), store.Connection{
		TenantID: tenant.DefaultID, Name: "Username-Password-Authentication", Strategy: StrategyDatabase, IsDomainConnection: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	w.user, err = w.CreateUser(context.Background(), store.User{
		TenantID: tenant.DefaultID, ConnectionID: w.conn.ID, Email: "ada@example.com", Username: "ada",
	}, password)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// node returns another directory on the same data, as on a second machine.
func (w *world) node(change func(*Config)) *Directory {
	w.t.Helper()
	tenants, err := tenant.New(tenant.Config{
		Stores: w.stores, Secrets: [][]byte{make([]byte, 32)}, Issuer: issuer, Now: w.clock.Now,
		Settings: store.TenantSettings{Flags: store.TenantFlags{EnableDynamicClientRegistration: true}},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	cfg := Config{
		Stores: w.stores, Tenants: tenants, Now: w.clock.Now,
		Logger: slog.New(slog.NewTextHandler(w.t.Output(), nil)),
	}
	if change != nil {
		change(&cfg)
	}
	d, err := New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	if cfg.Argon2id == (Argon2id{}) {
		d.cfg.Argon2id = cheap
		d.passwords = newPasswords(d.cfg)
	}
	return d
}

// reload takes the tenant as it is now.
func (w *world) reload() {
	w.t.Helper()
	var err error
	if w.tenant, err = w.cfg.Tenants.Tenant(context.Background(), tenant.DefaultID); err != nil {
		w.t.Fatal(err)
	}
}

// switchRegistration sets the tenant's flag.
func (w *world) switchRegistration(on bool) {
	w.t.Helper()
	_, err := w.cfg.Tenants.UpdateSettings(context.Background(), tenant.DefaultID, func(s *store.TenantSettings) error {
		s.Flags.EnableDynamicClientRegistration = on
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.reload()
}

// change updates the database connection.
func (w *world) change(change func(*store.Connection)) {
	w.t.Helper()
	var err error
	w.conn, err = w.Update(context.Background(), tenant.DefaultID, w.conn.ID, func(c *store.Connection) error {
		change(c)
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// changeUser updates the user.
func (w *world) changeUser(change func(*store.User)) {
	w.t.Helper()
	u, err := w.stores.Users.User(context.Background(), tenant.DefaultID, w.user.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	change(&u)
	if err := w.stores.UserAdmin.UpdateUser(context.Background(), u); err != nil {
		w.t.Fatal(err)
	}
	w.user = u
}

func (w *world) login(login, password string) (store.User, error) {
	return w.Authenticate(context.Background(), w.tenant, &w.conn, login, password)
}

func TestNewRefuses(t *testing.T) {
	w := newWorld(t, nil)
	host := Host{
		Current: func(*http.Request) (Identity, bool, error) { return Identity{}, false, nil },
		Login:   func(*http.Request, LoginRequest) (string, error) { return "/login", nil },
	}
	for rule, change := range map[string]func(*Config){
		"no connections":            func(c *Config) { c.Stores.Connections = nil },
		"no users":                  func(c *Config) { c.Stores.Users = nil },
		"no tickets":                func(c *Config) { c.Stores.Tickets = nil },
		"no tenants":                func(c *Config) { c.Tenants = nil },
		"negative concurrency":      func(c *Config) { c.PasswordConcurrency = -1 },
		"too little memory":         func(c *Config) { c.Argon2id = Argon2id{MemoryKiB: 4 << 10, Passes: 16, Lanes: 1} },
		"too little work":           func(c *Config) { c.Argon2id = Argon2id{MemoryKiB: 19 << 10, Passes: 1, Lanes: 1} },
		"more memory than is read":  func(c *Config) { c.Argon2id = Argon2id{MemoryKiB: maxMemoryKiB + 1, Passes: 1, Lanes: 1} },
		"more passes than are read": func(c *Config) { c.Argon2id = Argon2id{MemoryKiB: 19 << 10, Passes: maxPasses + 1, Lanes: 1} },
		"no lanes":                  func(c *Config) { c.Argon2id = Argon2id{MemoryKiB: 19 << 10, Passes: 2} },
		"a host without Current":    func(c *Config) { h := host; h.Current = nil; c.Hosts = map[string]Host{"app": h} },
		"a host without Login":      func(c *Config) { h := host; h.Login = nil; c.Hosts = map[string]Host{"app": h} },
		"a host with a bad name":    func(c *Config) { c.Hosts = map[string]Host{"my app": host} },
	} {
		cfg := Config{Stores: w.stores, Tenants: w.cfg.Tenants}
		change(&cfg)
		if _, err := New(cfg); err == nil {
			t.Errorf("%s was accepted", rule)
		}
	}
}

func TestDefaultsAreOWASPs(t *testing.T) {
	w := newWorld(t, nil)
	d, err := New(Config{Stores: w.stores, Tenants: w.cfg.Tenants})
	if err != nil {
		t.Fatal(err)
	}
	if d.passwords.params != (Argon2id{MemoryKiB: 19456, Passes: 2, Lanes: 1}) {
		t.Errorf("parameters %+v", d.passwords.params)
	}
	// An attempt is a failure until it succeeded: attempts that can run beside each
	// other must not be able to lock a login that all of them know.
	if n := cap(d.passwords.running); n < 1 || n >= maxFailures {
		t.Errorf("%d checks run at once", n)
	}
}

func TestLockedErrorIsErrLocked(t *testing.T) {
	var err error = &LockedError{RetryAfter: time.Minute}
	if !errors.Is(err, ErrLocked) || errors.Is(err, ErrBusy) {
		t.Error(err)
	}
}
