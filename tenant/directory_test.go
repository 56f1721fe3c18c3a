package tenant_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/cachestore"
	"github.com/opkit/opkit/store/memstore"
	"github.com/opkit/opkit/tenant"
)

func TestNewNamesWhatIsWrong(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*tenant.Config)
		want   string
	}{
		"no stores":              {func(c *tenant.Config) { c.Stores = store.Stores{} }, "Stores"},
		"no issuer":              {func(c *tenant.Config) { c.Issuer = "" }, "Issuer"},
		"issuer and resolver":    {func(c *tenant.Config) { c.Resolver = tenant.ByPath("") }, "exclude"},
		"bad issuer":             {func(c *tenant.Config) { c.Issuer = "http://login.example.com" }, "Issuer"},
		"bad settings":           {func(c *tenant.Config) { c.Settings.SupportURL = "javascript:alert(1)" }, "support_url"},
		"short secret":           {func(c *tenant.Config) { c.Secrets = [][]byte{[]byte("short")} }, "Secrets"},
		"no secret":              {func(c *tenant.Config) { c.Secrets = nil }, "Secrets"},
		"hosts without a func":   {func(c *tenant.Config) { c.Issuer, c.Resolver = "", tenant.ByHost(nil) }, "ByHost"},
		"relative endpoint":      {func(c *tenant.Config) { c.Endpoints.Token = "token" }, "Endpoints.Token \"token\" is neither a path"},
		"http endpoint":          {func(c *tenant.Config) { c.Endpoints.Token = "http://api.example.com/token" }, "Endpoints.Token"},
		"endpoint with a query":  {func(c *tenant.Config) { c.Endpoints.Token = "/token?x" }, "Endpoints.Token"},
		"endpoint with dots":     {func(c *tenant.Config) { c.Endpoints.Token = "/a/../token" }, "Endpoints.Token"},
		"one path twice":         {func(c *tenant.Config) { c.Endpoints.Token = "/userinfo" }, "same"},
		"relative configuration": {func(c *tenant.Config) { c.Endpoints.ClientConfiguration = "app" }, "Endpoints.ClientConfiguration"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := tenant.Config{Stores: memstore.New().Stores(), Secrets: [][]byte{secret}, Issuer: issuer}
			c.change(&cfg)
			d, err := tenant.New(cfg)
			if err == nil || d != nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("New answered %v, %v; want an error that names %q", d, err, c.want)
			}
		})
	}
}

func TestTheSingleTenantIsCreatedAtFirstUse(t *testing.T) {
	c := newClock()
	d, stores := newDirectory(t, func(cfg *tenant.Config) {
		cfg.Now = c.Now
		cfg.Settings.FriendlyName = "Example"
	})
	if _, err := stores.Tenants.Tenant(t.Context(), tenant.DefaultID); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("New wrote a record: %v", err)
	}
	theTenant(t, d)
	got, err := stores.Tenants.Tenant(t.Context(), tenant.DefaultID)
	want := store.Tenant{
		ID: tenant.DefaultID, Issuer: issuer, Settings: store.TenantSettings{FriendlyName: "Example"},
		Version: 1, CreatedAt: c.Now(), UpdatedAt: c.Now(),
	}
	if err != nil || cmp.Diff(want, got) != "" {
		t.Errorf("the record (-want +got), error %v:\n%s", err, cmp.Diff(want, got))
	}
}

func TestRegistrationIsOffAndStrictForANewTenant(t *testing.T) {
	d, _ := newDirectory(t, nil)
	s := theTenant(t, d).Settings()
	if s.Flags.EnableDynamicClientRegistration {
		t.Error("dynamic registration is on")
	}
	if s.DynamicClientRegistrationSecurityMode == store.ModePermissive {
		t.Error("the mode is permissive")
	}
}

func TestNodesThatStartTogetherCreateOneRecord(t *testing.T) {
	stores := memstore.New().Stores()
	for range 50 {
		stores.Tenants = memstore.New().Stores().Tenants
		var wait sync.WaitGroup
		for range 4 {
			d, _ := newDirectory(t, func(cfg *tenant.Config) { cfg.Stores = stores })
			wait.Go(func() {
				if _, err := d.Tenant(context.Background(), tenant.DefaultID); err != nil {
					t.Error(err)
				}
			})
		}
		wait.Wait()
		if record, err := stores.Tenants.Tenant(t.Context(), tenant.DefaultID); err != nil || record.Version != 1 {
			t.Fatalf("version %d, %v", record.Version, err)
		}
	}
}

func TestTheRecordFollowsTheConfiguredIssuer(t *testing.T) {
	old, stores := newDirectory(t, func(cfg *tenant.Config) { cfg.Issuer = "https://old.example.com" })
	if _, err := old.UpdateSettings(t.Context(), tenant.DefaultID, enableRegistration); err != nil {
		t.Fatal(err)
	}
	moved, _ := newDirectory(t, func(cfg *tenant.Config) { cfg.Stores = stores })
	if tn := theTenant(t, moved); tn.Issuer() != issuer || !tn.Settings().Flags.EnableDynamicClientRegistration {
		t.Errorf("issuer %q, settings %+v", tn.Issuer(), tn.Settings())
	}
	record, err := stores.Tenants.Tenant(t.Context(), tenant.DefaultID)
	if err != nil || record.Issuer != issuer || record.Version != 3 {
		t.Errorf("issuer %q, version %d, %v", record.Issuer, record.Version, err)
	}
}

// During a move both configurations run for a while. Each node must serve its own
// issuer, and they must not take turns writing.
func TestNodesWithTwoIssuersDoNotOverwriteEachOther(t *testing.T) {
	a, stores := newDirectory(t, func(cfg *tenant.Config) { cfg.Issuer = "https://a.example.com" })
	b, _ := newDirectory(t, func(cfg *tenant.Config) { cfg.Issuer, cfg.Stores = "https://b.example.com", stores })
	for range 5 {
		if got := theTenant(t, a).Issuer(); got != "https://a.example.com" {
			t.Errorf("a serves %q", got)
		}
		if got := theTenant(t, b).Issuer(); got != "https://b.example.com" {
			t.Errorf("b serves %q", got)
		}
	}
	record, err := stores.Tenants.Tenant(t.Context(), tenant.DefaultID)
	if err != nil || record.Version > 3 {
		t.Errorf("version %d after a few requests, %v", record.Version, err)
	}
}

func TestASnapshotIsSharedUntilTheRecordChanges(t *testing.T) {
	d, _ := newDirectory(t, nil)
	first := theTenant(t, d)
	if again := theTenant(t, d); again != first {
		t.Error("an unchanged record made another snapshot")
	}
	if _, err := d.UpdateSettings(t.Context(), tenant.DefaultID, enableRegistration); err != nil {
		t.Fatal(err)
	}
	second := theTenant(t, d)
	if second == first || !second.Settings().Flags.EnableDynamicClientRegistration {
		t.Error("a changed record kept its snapshot")
	}
	if first.Settings().Flags.EnableDynamicClientRegistration {
		t.Error("a snapshot in use changed")
	}
}

func TestUnknownTenantsAreNotFoundAndLeaveNothing(t *testing.T) {
	counts, stores := count(memstore.New().Stores())
	d, _ := newDirectory(t, func(cfg *tenant.Config) { cfg.Stores = stores })
	for _, id := range []string{"", "other", "Default", "a/b", "../default", "-a", "_a", "a b", "ä", strings.Repeat("a", 65)} {
		if _, err := d.Tenant(t.Context(), id); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%q: %v", id, err)
		}
	}
	if got := counts.calls.Load(); got != 1 {
		t.Errorf("%d store calls, want 1: only a valid identifier reaches the store", got)
	}
	list, err := stores.Tenants.Tenants(t.Context(), store.Page{})
	if err != nil || len(list) != 0 {
		t.Errorf("%d tenants, %v", len(list), err)
	}
}

func TestTheWarmPathCallsNoStore(t *testing.T) {
	counts, stores := count(memstore.New().Stores())
	cached := cachestore.New(stores, cachestore.Config{})
	cached.SigningKeys = stores.SigningKeys
	d, _ := newDirectory(t, func(cfg *tenant.Config) { cfg.Stores = cached })
	tn := theTenant(t, d)
	api, err := d.CreateAPI(t.Context(), store.API{
		TenantID: tn.ID(), Audience: "appointments:api", Scopes: []store.APIScope{{Value: "contacts"}}, UserPolicy: store.PolicyAllowAll,
	})
	if err != nil {
		t.Fatal(err)
	}
	client := store.Client{TenantID: tn.ID(), ID: "c", SecurityMode: store.ModePermissive}
	discovery, jwks := d.Discovery(), d.JWKS()
	requests := func() {
		for _, h := range []http.Handler{discovery, jwks} {
			if w := get(h, "/.well-known/x"); w.Code != http.StatusOK {
				t.Fatal(w.Code, w.Body)
			}
		}
		token, err := d.Sign(t.Context(), tn, "ES256", "at+jwt", []byte(`{}`))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Verify(t.Context(), tn, "at+jwt", token); err != nil {
			t.Fatal(err)
		}
		if _, err := d.API(t.Context(), tn, api.Audience); err != nil {
			t.Fatal(err)
		}
		if _, err := d.AllowedScopes(t.Context(), tn, &api, &client, store.SubjectUser); err != nil {
			t.Fatal(err)
		}
	}
	requests()
	before := counts.calls.Load()
	requests()
	if got := counts.calls.Load() - before; got != 0 {
		t.Errorf("%d store calls with everything warm, want 0", got)
	}
}

func TestTheWarmPathAllocatesLittle(t *testing.T) {
	d, _ := newDirectory(t, func(cfg *tenant.Config) {
		cfg.Stores = cachestore.New(cfg.Stores, cachestore.Config{})
	})
	discovery := d.Discovery()
	r := httptest.NewRequest(http.MethodGet, "/.well-known/openid-configuration", nil)
	w := &discard{header: http.Header{}}
	if got := testing.AllocsPerRun(100, func() { discovery.ServeHTTP(w, r) }); got > 0 {
		t.Errorf("the metadata document costs %v allocations, want 0", got)
	}
}

// discard is a response writer that keeps nothing.
type discard struct{ header http.Header }

func (d *discard) Header() http.Header            { return d.header }
func (d *discard) WriteHeader(int)                {}
func (d *discard) Write(data []byte) (int, error) { return len(data), nil }

// broken answers every read with a system error.
type broken struct{ store.TenantStore }

var errBroken = errors.New("sql: connection refused to 10.0.0.7")

func (broken) Tenant(context.Context, string) (store.Tenant, error) { return store.Tenant{}, errBroken }

func TestAStoreErrorIsAFailureNotAnAbsence(t *testing.T) {
	d, _ := newDirectory(t, func(cfg *tenant.Config) { cfg.Stores.Tenants = broken{} })
	if _, err := d.Tenant(t.Context(), tenant.DefaultID); !errors.Is(err, errBroken) {
		t.Errorf("Tenant answered %v", err)
	}
	for name, h := range map[string]http.Handler{"discovery": d.Discovery(), "JWKS": d.JWKS(), "settings": d.SettingsHandler()} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Authorization", "Bearer x.y.z")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusInternalServerError {
			t.Errorf("%s: status %d", name, w.Code)
		}
		for _, secret := range []string{"sql", "10.0.0.7", ".go:"} {
			if strings.Contains(w.Body.String(), secret) {
				t.Errorf("%s leaks %q: %s", name, secret, w.Body)
			}
		}
	}
}

func TestURLsOfEndpoints(t *testing.T) {
	for _, c := range []struct{ issuer, endpoint, want string }{
		{"https://a.example", "/authorize", "https://a.example/authorize"},
		{"https://a.example/", "/authorize", "https://a.example/authorize"},
		{"https://a.example/idp", "/authorize", "https://a.example/idp/authorize"},
		{"https://a.example/idp/", "/authorize", "https://a.example/idp/authorize"},
		{"https://a.example/idp", "https://b.example/authorize", "https://b.example/authorize"},
		{"https://a.example/idp", tenant.NotMounted, ""},
	} {
		d, _ := newDirectory(t, func(cfg *tenant.Config) { cfg.Issuer = c.issuer })
		if got := theTenant(t, d).URL(c.endpoint); got != c.want {
			t.Errorf("%s + %s = %s, want %s", c.issuer, c.endpoint, got, c.want)
		}
	}
}

func TestAudiencesHaveOneSlashAfterTheIssuer(t *testing.T) {
	for _, issuer := range []string{"https://a.example/idp", "https://a.example/idp/"} {
		d, _ := newDirectory(t, func(cfg *tenant.Config) { cfg.Issuer = issuer })
		tn := theTenant(t, d)
		if got := tn.Issuer(); got != issuer {
			t.Errorf("issuer %q became %q", issuer, got)
		}
		if got, want := tn.ManagementAudience(), "https://a.example/idp/api/v2/"; got != want {
			t.Errorf("management audience %q, want %q", got, want)
		}
		if got, want := tn.UserInfoAudience(), "https://a.example/idp/userinfo"; got != want {
			t.Errorf("userinfo audience %q, want %q", got, want)
		}
	}
}

func TestCreateTenantChecksItsArguments(t *testing.T) {
	d, _ := newDirectory(t, func(cfg *tenant.Config) { cfg.Issuer, cfg.Resolver = "", tenant.ByPath("/t") })
	good := store.Tenant{ID: "acme", Issuer: "https://example.com/t/acme"}
	if _, err := d.CreateTenant(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	if _, err := d.CreateTenant(t.Context(), good); !errors.Is(err, store.ErrExists) {
		t.Errorf("the same tenant again: %v", err)
	}
	for name, bad := range map[string]store.Tenant{
		"identifier with a slash": {ID: "a/b", Issuer: "https://example.com"},
		"identifier in capitals":  {ID: "Acme", Issuer: "https://example.com"},
		"issuer over http":        {ID: "b", Issuer: "http://example.com"},
		"settings":                {ID: "b", Issuer: "https://example.com", Settings: store.TenantSettings{SessionLifetime: -1}},
	} {
		if got, err := d.CreateTenant(t.Context(), bad); err == nil || got.ID != "" {
			t.Errorf("%s: accepted as %+v", name, got)
		}
	}
}

func enableRegistration(s *store.TenantSettings) error {
	s.Flags.EnableDynamicClientRegistration = true
	return nil
}
