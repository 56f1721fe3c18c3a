package dcr

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/opkit/opkit/internal/httpx"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
	"github.com/opkit/opkit/tenant"
)

// A fixture is a tenant on memstore with registration switched on.
type fixture struct {
	t         testing.TB
	stores    store.Stores
	registrar *Registrar
	handler   http.Handler
	secrets   [][]byte
	log       *bytes.Buffer // what was logged, also sent to the test's output
	documents *documents
	now       time.Time
}

type options struct {
	mode   string
	off    bool
	stores func(*store.Stores)
	config func(*Config)

	settings  func(*store.TenantSettings)
	endpoints tenant.Endpoints
}

var start = time.Date(2026, 4, 1, 12, 0, 0, 0, time.UTC)

func newFixture(t testing.TB, o options) *fixture {
	t.Helper()
	f := &fixture{t: t, stores: memstore.New().Stores(), secrets: [][]byte{bytes.Repeat([]byte("k"), 32)}, log: &bytes.Buffer{}, now: start}
	for _, a := range []store.API{
		{TenantID: tenant.DefaultID, ID: "a1", Audience: "appointments:api", Scopes: []store.APIScope{{Value: "appointments"}, {Value: "read:contacts"}}},
		{TenantID: tenant.DefaultID, ID: "a2", Audience: "notes:api", Scopes: []store.APIScope{{Value: "notes"}}},
		{TenantID: "other", ID: "a1", Audience: "other:api", Scopes: []store.APIScope{{Value: "other"}}},
	} {
		if err := f.stores.APIs.CreateAPI(context.Background(), a); err != nil {
			t.Fatal(err)
		}
	}
	if o.stores != nil {
		o.stores(&f.stores)
	}
	now := func() time.Time { return f.now }
	settings := store.TenantSettings{
		Flags:                                 store.TenantFlags{EnableDynamicClientRegistration: !o.off},
		DynamicClientRegistrationSecurityMode: o.mode,
	}
	if o.settings != nil {
		o.settings(&settings)
	}
	directory, err := tenant.New(tenant.Config{
		Stores: f.stores, Secrets: f.secrets, Issuer: "https://login.example.com", Now: now, Settings: settings, Endpoints: o.endpoints,
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Stores: f.stores, Tenants: directory, Secrets: f.secrets, Now: now,
		Rate:   Rate{PerSecond: 1e6, Burst: 1e6},
		Logger: slog.New(slog.NewTextHandler(f.log, nil)),
	}
	if o.config != nil {
		o.config(&cfg)
	}
	if f.registrar, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	f.documents = &documents{byURL: map[string]string{}}
	f.registrar.sectors.outbound = f.documents
	f.handler = f.registrar.Registration()
	t.Cleanup(func() { t.Output().Write(f.log.Bytes()) })
	return f
}

// tenants creates more tenants.
func (f *fixture) tenants(ids ...string) {
	f.t.Helper()
	for _, id := range ids {
		if err := f.stores.Tenants.CreateTenant(context.Background(), store.Tenant{ID: id, Issuer: "https://" + id + ".example.com"}); err != nil {
			f.t.Fatal(err)
		}
	}
}

// documents is the internet: what is at a URL. Anything else cannot be fetched.
type documents struct {
	byURL   map[string]string
	fetched []string
	wait    func()
}

func (d *documents) Fetch(ctx context.Context, url, accept string) (httpx.Fetched, error) {
	if d.wait != nil {
		d.wait()
		return httpx.Fetched{}, ctx.Err()
	}
	d.fetched = append(d.fetched, url+" "+accept)
	if body, ok := d.byURL[url]; ok {
		return httpx.Fetched{Body: []byte(body)}, nil
	}
	return httpx.Fetched{}, fmt.Errorf("dial tcp 10.0.0.1:443: %w", httpx.ErrForbiddenAddress)
}

// post sends a registration.
func (f *fixture) post(body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "https://login.example.com/oidc/register", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	return f.serve(r)
}

func (f *fixture) serve(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	f.handler.ServeHTTP(w, r)
	return w
}

// information is a decoded answer.
type information struct {
	ClientID                string   `json:"client_id"`
	ClientSecret            string   `json:"client_secret"`
	ClientName              string   `json:"client_name"`
	RedirectURIs            []string `json:"redirect_uris"`
	TokenEndpointAuthMethod string   `json:"token_endpoint_auth_method"`
	GrantTypes              []string `json:"grant_types"`
	ResponseTypes           []string `json:"response_types"`
	ApplicationType         string   `json:"application_type"`
	Scope                   string   `json:"scope"`
	RegistrationAccessToken string   `json:"registration_access_token"`
	RegistrationClientURI   string   `json:"registration_client_uri"`
	Error                   string   `json:"error"`
	ErrorDescription        string   `json:"error_description"`

	raw map[string]any
}

func (f *fixture) decode(w *httptest.ResponseRecorder) information {
	f.t.Helper()
	var info information
	if err := json.Unmarshal(w.Body.Bytes(), &info); err != nil {
		f.t.Fatalf("answer %q: %v", w.Body, err)
	}
	json.Unmarshal(w.Body.Bytes(), &info.raw)
	return info
}

// register sends a registration that has to succeed and returns the answer and
// what was stored.
func (f *fixture) register(body string) (information, store.Client) {
	f.t.Helper()
	w := f.post(body)
	if w.Code != http.StatusCreated {
		f.t.Fatalf("%s\nanswer %d %s", body, w.Code, w.Body)
	}
	info := f.decode(w)
	return info, f.client(info.ClientID)
}

func (f *fixture) client(id string) store.Client {
	f.t.Helper()
	c, err := f.stores.Clients.Client(context.Background(), tenant.DefaultID, id)
	if err != nil {
		f.t.Fatalf("client %q: %v", id, err)
	}
	return c
}

func (f *fixture) clients() []store.Client {
	f.t.Helper()
	list, err := f.stores.Clients.Clients(context.Background(), tenant.DefaultID, store.Page{})
	if err != nil {
		f.t.Fatal(err)
	}
	return list
}

// with returns a registration that is right but for what members say: `"a":1`.
func with(members string) string {
	body := `{"redirect_uris":["https://client.example.com/cb"]`
	if strings.Contains(members, `"redirect_uris"`) {
		body = `{"client_name":"x"`
	}
	if members != "" {
		body += "," + members
	}
	return body + "}"
}
