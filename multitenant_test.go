package opkit_test

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/opkit/opkit"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
	"github.com/opkit/opkit/tenant"
)

// twoTenants returns worlds for two tenants of one provider at
// http://host/t/{tenant}.
func twoTenants(t *testing.T) (a, b *world) {
	t.Helper()
	stores := memstore.New().Stores()
	var provider *opkit.Provider
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { provider.ServeHTTP(w, r) }))
	t.Cleanup(server.Close)
	provider, err := opkit.New(opkit.Config{Resolver: tenant.ByPath("/t"), Stores: stores, Secret: bytes.Repeat([]byte{7}, 32)})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	worlds := map[string]*world{}
	for _, id := range []string{"acme", "umbrella"} {
		issuer := server.URL + "/t/" + id
		tn, err := provider.Tenants().CreateTenant(ctx, store.Tenant{ID: id, Issuer: issuer, Settings: store.TenantSettings{
			Flags: store.TenantFlags{EnableDynamicClientRegistration: true},
		}})
		if err != nil {
			t.Fatal(err)
		}
		w := &world{t: t, provider: provider, stores: stores, issuer: tn.Issuer, clock: &clock{}}
		w.endpoint = tenant.Endpoints{
			Authorization: issuer + "/authorize", Token: issuer + "/oauth/token", UserInfo: issuer + "/userinfo",
			Registration: issuer + "/oidc/register", Management: issuer + "/api/v2", Login: issuer + "/login", Consent: issuer + "/consent",
		}
		if w.connection, err = provider.Connections().Create(ctx, store.Connection{TenantID: id, Name: "users", Strategy: "auth0", IsDomainConnection: true}); err != nil {
			t.Fatal(err)
		}
		if w.user, err = provider.Connections().CreateUser(ctx, store.User{TenantID: id, ConnectionID: w.connection.ID, Email: "ada@example.com"}, password); err != nil {
			t.Fatal(err)
		}
		if _, _, err := provider.Clients().CreateClient(ctx, store.Client{
			TenantID: id, ID: machineID, FirstParty: true, GrantTypes: []string{"client_credentials"},
		}, machineSecret); err != nil {
			t.Fatal(err)
		}
		if _, err := provider.Tenants().CreateClientGrant(ctx, store.ClientGrant{
			TenantID: id, ClientID: machineID, Audience: issuer + "/api/v2/", SubjectType: store.SubjectClient, Scopes: []string{"read:tenant_settings"},
		}); err != nil {
			t.Fatal(err)
		}
		worlds[id] = w
	}
	return worlds["acme"], worlds["umbrella"]
}

// Nothing of one tenant is worth anything at another of the same provider, on the
// same host, with the same secret and stores.
func TestTenantsAreApart(t *testing.T) {
	a, b := twoTenants(t)
	for _, w := range []*world{a, b} {
		doc := newBrowser(t).get(w.issuer + "/.well-known/openid-configuration").json(t)
		u, _ := url.Parse(w.issuer)
		inserted := newBrowser(t).get("http://" + u.Host + "/.well-known/oauth-authorization-server" + u.Path).json(t)
		if doc["issuer"] != w.issuer || inserted["issuer"] != w.issuer || doc["token_endpoint"] != w.endpoint.Token {
			t.Errorf("metadata of %s: %v", w.issuer, doc)
		}
	}
	appA, appB := a.register(nil), b.register(nil)
	both := newBrowser(t)
	got := a.authorizeIn(both, appA, "scope", "openid offline_access")
	if res := both.get(b.authorizeURL(appB)); !strings.Contains(res.body, "login-submit") {
		t.Error("a session of one tenant signs in at another")
	}
	if res := both.get(b.authorizeURL(appA)); res.StatusCode != 400 {
		t.Errorf("a client of one tenant is known at another: %d", res.StatusCode)
	}
	for name, res := range map[string]*response{
		"code, foreign client": b.redeem(appB, got.Get("code")),
		"code and client":      b.redeem(appA, got.Get("code")),
	} {
		if res.StatusCode != 400 && res.StatusCode != 401 {
			t.Errorf("%s at another tenant: %d %s", name, res.StatusCode, res.body)
		}
	}
	tokens := a.redeem(appA, got.Get("code"))
	if tokens.StatusCode != 200 {
		t.Fatalf("the code was burned: %s", tokens.body)
	}
	out := tokens.json(t)
	if res := b.userinfo(out["access_token"].(string)); res.StatusCode != 401 {
		t.Errorf("access token at another tenant: %d", res.StatusCode)
	}
	if res := b.token(appB, "grant_type", "refresh_token", "refresh_token", out["refresh_token"].(string)); res.StatusCode != 400 {
		t.Errorf("refresh token at another tenant: %d", res.StatusCode)
	}
	page := both.get(a.authorizeURL(appA, "prompt", "login"))
	_, fields := form(t, page)
	fields.Set("username", "ada@example.com")
	fields.Set("password", password)
	if res := both.post(b.endpoint.Login, fields); res.StatusCode != 400 {
		t.Errorf("login page of one tenant posted to another: %d", res.StatusCode)
	}
	management := a.token(registered{id: machineID, secret: machineSecret}, "grant_type", "client_credentials", "audience", a.issuer+"/api/v2/").json(t)["access_token"].(string)
	if res := a.sendJSON(http.MethodGet, a.endpoint.Management+"/tenants/settings", management, ""); res.StatusCode != 200 {
		t.Errorf("management token at its tenant: %d %s", res.StatusCode, res.body)
	}
	if res := b.sendJSON(http.MethodGet, b.endpoint.Management+"/tenants/settings", management, ""); res.StatusCode != 401 {
		t.Errorf("management token at another tenant: %d %s", res.StatusCode, res.body)
	}
	if res := newBrowser(t).get(strings.TrimSuffix(a.issuer, "acme") + "nobody/authorize"); res.StatusCode != 404 {
		t.Errorf("unknown tenant: %d", res.StatusCode)
	}
}
