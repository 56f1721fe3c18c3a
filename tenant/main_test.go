package tenant_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
	"github.com/opkit/opkit/tenant"
)

const issuer = "https://login.example.com"

var secret = []byte("0123456789abcdef0123456789abcdef")

// clock is a time that stands still until it is moved.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// newDirectory returns a directory with one tenant on memstore, unless change says
// otherwise.
func newDirectory(t testing.TB, change func(*tenant.Config)) (*tenant.Directory, store.Stores) {
	t.Helper()
	cfg := tenant.Config{
		Stores:  memstore.New().Stores(),
		Secrets: [][]byte{secret},
		Issuer:  issuer,
		Capabilities: tenant.Capabilities{
			ResponseTypes: []string{"code"}, SubjectTypes: []string{"public"}, IDTokenSigningAlgs: []string{"RS256"},
		},
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	if err := machineClient(cfg.Stores, tenant.DefaultID, issuer+"/api/v2/"); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(&cfg)
	}
	d, err := tenant.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d, cfg.Stores
}

// machineClient stores the client m2m with a grant for all of the management API.
func machineClient(s store.Stores, tenantID, audience string) error {
	if err := s.Clients.CreateClient(context.Background(), store.Client{
		TenantID: tenantID, ID: "m2m", FirstParty: true, GrantTypes: []string{"client_credentials"},
	}); err != nil {
		return err
	}
	return s.ClientGrants.CreateClientGrant(context.Background(), store.ClientGrant{
		TenantID: tenantID, ID: "m2m", ClientID: "m2m", Audience: audience, SubjectType: store.SubjectClient,
		Scopes: []string{
			tenant.ScopeReadTenantSettings, tenant.ScopeUpdateTenantSettings,
			tenant.ScopeReadConnections, tenant.ScopeCreateConnections, tenant.ScopeUpdateConnections, tenant.ScopeDeleteConnections,
			tenant.ScopeReadSigningKeys, tenant.ScopeCreateSigningKeys, tenant.ScopeUpdateSigningKeys,
			tenant.ScopeReadResourceServers, tenant.ScopeCreateResourceServers, tenant.ScopeUpdateResourceServers, tenant.ScopeDeleteResourceServers,
			tenant.ScopeReadClientGrants, tenant.ScopeCreateClientGrants, tenant.ScopeUpdateClientGrants, tenant.ScopeDeleteClientGrants,
		},
	})
}

// theTenant returns the single tenant.
func theTenant(t testing.TB, d *tenant.Directory) *tenant.Tenant {
	t.Helper()
	tn, err := d.Tenant(context.Background(), tenant.DefaultID)
	if err != nil {
		t.Fatal(err)
	}
	return tn
}

func get(h http.Handler, target string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, nil))
	return w
}

// counting counts the calls of the stores that a directory uses.
type counting struct {
	store.TenantStore
	store.SigningKeyStore
	store.APIStore
	store.ClientGrantStore
	calls, keyReads, keyWrites atomic.Int64
}

func count(s store.Stores) (*counting, store.Stores) {
	c := &counting{TenantStore: s.Tenants, SigningKeyStore: s.SigningKeys, APIStore: s.APIs, ClientGrantStore: s.ClientGrants}
	s.Tenants, s.SigningKeys, s.APIs, s.ClientGrants = c, c, c, c
	return c, s
}

func (c *counting) Tenant(ctx context.Context, id string) (store.Tenant, error) {
	c.calls.Add(1)
	return c.TenantStore.Tenant(ctx, id)
}

func (c *counting) CreateTenant(ctx context.Context, t store.Tenant) error {
	c.calls.Add(1)
	return c.TenantStore.CreateTenant(ctx, t)
}

func (c *counting) UpdateTenant(ctx context.Context, t store.Tenant) error {
	c.calls.Add(1)
	return c.TenantStore.UpdateTenant(ctx, t)
}

func (c *counting) SigningKeys(ctx context.Context, tenant string) ([]store.SigningKey, error) {
	c.calls.Add(1)
	c.keyReads.Add(1)
	return c.SigningKeyStore.SigningKeys(ctx, tenant)
}

func (c *counting) CreateSigningKey(ctx context.Context, k store.SigningKey) error {
	c.calls.Add(1)
	c.keyWrites.Add(1)
	return c.SigningKeyStore.CreateSigningKey(ctx, k)
}

func (c *counting) APIByAudience(ctx context.Context, tenant, audience string) (store.API, error) {
	c.calls.Add(1)
	return c.APIStore.APIByAudience(ctx, tenant, audience)
}

func (c *counting) FindClientGrant(ctx context.Context, tenant, client, audience, subject string) (store.ClientGrant, error) {
	c.calls.Add(1)
	return c.ClientGrantStore.FindClientGrant(ctx, tenant, client, audience, subject)
}
