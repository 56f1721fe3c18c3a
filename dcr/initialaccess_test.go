package dcr

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

func closed(s *store.TenantSettings) { s.DynamicClientRegistrationAccess = store.AccessInitialToken }

// grantAccess makes an initial access token.
func (f *fixture) grantAccess(t InitialAccessToken) (InitialAccessToken, string) {
	f.t.Helper()
	t.TenantID = tenant.DefaultID
	t, value, err := f.registrar.CreateInitialAccessToken(context.Background(), t)
	if err != nil {
		f.t.Fatal(err)
	}
	return t, value
}

func (f *fixture) uses(t InitialAccessToken) int {
	f.t.Helper()
	t, err := f.registrar.InitialAccessToken(context.Background(), t.TenantID, t.ID)
	if err != nil {
		f.t.Fatal(err)
	}
	return t.Uses
}

// postWith sends a registration with an Authorization header.
func (f *fixture) postWith(authorization, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "https://login.example.com/oidc/register", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", authorization)
	return f.serve(r)
}

func TestInitialAccessTokensOpenClosedRegistration(t *testing.T) {
	f := newFixture(t, options{settings: closed})
	w := f.post(with(""))
	if info := f.decode(w); w.Code != 401 || info.Error != "invalid_token" || !strings.HasPrefix(info.ErrorDescription, "registration needs an initial access token") ||
		w.Header().Get("WWW-Authenticate") != `Bearer realm="https://login.example.com"` {
		t.Errorf("without: %d %s %q", w.Code, w.Body, w.Header().Get("WWW-Authenticate"))
	}
	token, value := f.grantAccess(InitialAccessToken{Uses: 2})
	for i, want := range []int{201, 201, 401} {
		if w := f.postWith("Bearer "+value, with("")); w.Code != want {
			t.Errorf("use %d: %d %s", i+1, w.Code, w.Body)
		}
	}
	if n := len(f.clients()); n != 2 || f.uses(token) != 0 {
		t.Errorf("%d clients, %d uses left", n, f.uses(token))
	}
	for _, c := range f.clients() {
		if !c.Dynamic || c.FirstParty || !c.Strict() {
			t.Errorf("%+v", c)
		}
	}
	if strings.Contains(f.log.String(), value) {
		t.Error("the log has the token")
	}
}

// Where everybody may register a token is not needed, but one that is sent has to
// hold.
func TestRefusedInitialAccessTokens(t *testing.T) {
	ctx := context.Background()
	for name, settings := range map[string]func(*store.TenantSettings){
		"open": nil, "closed": closed,
		"a word that this version does not know": func(s *store.TenantSettings) {},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, options{settings: settings})
			if settings != nil && name != "closed" {
				if _, err := f.registrar.cfg.Tenants.Tenant(ctx, tenant.DefaultID); err != nil { // which creates it
					t.Fatal(err)
				}
				record, err := f.stores.Tenants.Tenant(ctx, tenant.DefaultID)
				record.Settings.DynamicClientRegistrationAccess = "members_only"
				if err := errors.Join(err, f.stores.Tenants.UpdateTenant(ctx, record)); err != nil {
					t.Fatal(err)
				}
				if w := f.post(with("")); w.Code != 401 {
					t.Errorf("without a token: %d", w.Code)
				}
			}
			expired, expiredValue := f.grantAccess(InitialAccessToken{ExpiresAt: f.now.Add(time.Minute)})
			f.now = f.now.Add(time.Minute)
			deleted, deletedValue := f.grantAccess(InitialAccessToken{})
			if err := f.registrar.DeleteInitialAccessToken(ctx, tenant.DefaultID, deleted.ID); err != nil {
				t.Fatal(err)
			}
			spent, spentValue := f.grantAccess(InitialAccessToken{})
			if w := f.postWith("Bearer "+spentValue, with("")); w.Code != 201 {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
			good, goodValue := f.grantAccess(InitialAccessToken{})
			otherKind := store.Ticket{TenantID: tenant.DefaultID, Kind: "pushed-request", ID: store.DigestOf("pushed"), Data: []byte(`{"uses":1}`), ExpiresAt: f.now.Add(time.Hour)}
			otherTenant := store.Ticket{TenantID: "other", Kind: initialAccessKind, ID: store.DigestOf("elsewhere"), Data: []byte(`{"uses":1}`), ExpiresAt: f.now.Add(time.Hour)}
			consumed := store.Ticket{TenantID: tenant.DefaultID, Kind: initialAccessKind, ID: store.DigestOf("consumed"), Data: []byte(`{"uses":1}`), ExpiresAt: f.now.Add(time.Hour)}
			for _, ticket := range []store.Ticket{otherKind, otherTenant, consumed} {
				if err := f.stores.Tickets.PutTicket(ctx, ticket, f.now); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := f.stores.Tickets.ConsumeTicket(ctx, consumed.TenantID, consumed.Kind, consumed.ID, f.now); err != nil {
				t.Fatal(err)
			}
			before := len(f.clients())
			for name, value := range map[string]string{
				"made up": "x", "expired": expiredValue, "deleted": deletedValue, "spent": spentValue, "of another kind": "pushed",
				"of another tenant": "elsewhere", "consumed": "consumed", "its digest": good.ID.String(), "cut off": goodValue[:63],
				"long": strings.Repeat("x", 32<<10),
			} {
				r := httptest.NewRequest("POST", "https://login.example.com/oidc/register", forbidden{t})
				r.Header.Set("Authorization", "Bearer "+value)
				w := f.serve(r)
				if info := f.decode(w); w.Code != 401 || info.Error != "invalid_token" ||
					info.ErrorDescription != "the initial access token is not valid, has expired, or was used up" ||
					!strings.Contains(w.Header().Get("WWW-Authenticate"), `Bearer realm="https://login.example.com", error="invalid_token"`) {
					t.Errorf("%s: %d %s %q", name, w.Code, w.Body, w.Header().Get("WWW-Authenticate"))
				}
			}
			for _, malformed := range []string{"Bearer", "Bearer " + goodValue + " " + goodValue} { // RFC 6750 §3.1
				if w := f.postWith(malformed, with("")); w.Code != 400 || f.decode(w).Error != "invalid_request" {
					t.Errorf("%q: %d %s", malformed, w.Code, w.Body)
				}
			}
			if n := len(f.clients()); n != before {
				t.Errorf("%d clients were registered", n-before)
			}
			if f.uses(good) != 1 || f.uses(spent) != 0 {
				t.Errorf("uses: %d, %d", f.uses(good), f.uses(spent))
			}
			if _, err := f.registrar.InitialAccessToken(ctx, tenant.DefaultID, expired.ID); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("the expired one: %v", err)
			}
			if name == "open" {
				if w := f.postWith("Basic eDp5", with("")); w.Code != 201 {
					t.Errorf("another scheme: %d %s", w.Code, w.Body)
				}
			}
		})
	}
}

// The flag is above tokens, and refuses before one is looked at.
func TestNoTokenOpensWhatIsSwitchedOff(t *testing.T) {
	f := newFixture(t, options{off: true, settings: closed})
	token, value := f.grantAccess(InitialAccessToken{})
	if w := f.postWith("Bearer "+value, with("")); w.Code != 403 || f.uses(token) != 1 {
		t.Errorf("%d %s, %d uses", w.Code, w.Body, f.uses(token))
	}
}

// Of concurrent registrations as many succeed as there are uses.
func TestUsesAreCountedUnderContention(t *testing.T) {
	for _, c := range []struct{ uses, want int }{{1, 1}, {3, 3}, {UnlimitedUses, 8}} {
		for range 20 {
			f := newFixture(t, options{settings: closed})
			token, value := f.grantAccess(InitialAccessToken{Uses: c.uses})
			var wait sync.WaitGroup
			for range 8 {
				wait.Go(func() {
					if w := f.postWith("Bearer "+value, with("")); w.Code != 201 && w.Code != 401 {
						t.Errorf("%d %s", w.Code, w.Body)
					}
				})
			}
			wait.Wait()
			left := c.uses - c.want
			if c.uses == UnlimitedUses {
				left = UnlimitedUses
			}
			if n := len(f.clients()); n != c.want || f.uses(token) != left {
				t.Fatalf("%d uses: %d clients, %d uses left", c.uses, n, f.uses(token))
			}
		}
	}
}

// Only a registration that succeeded uses a token up.
func TestARegistrationThatFailsGivesItsUseBack(t *testing.T) {
	clients := &createFails{}
	f := newFixture(t, options{settings: closed, stores: func(s *store.Stores) {
		clients.ClientStore = s.Clients
		s.Clients = clients
	}})
	token, value := f.grantAccess(InitialAccessToken{})
	for _, c := range refusals()[:40] {
		if w := f.postWith("Bearer "+value, c.body); w.Code != 400 {
			t.Errorf("%s: %d %s", c.rule, w.Code, w.Body)
		}
	}
	if f.uses(token) != 1 {
		t.Fatalf("%d uses", f.uses(token))
	}
	clients.err = errors.New("sql: connection lost")
	if w := f.postWith("Bearer "+value, with("")); w.Code != 500 || strings.Contains(w.Body.String(), "sql") || f.uses(token) != 1 {
		t.Errorf("nothing was stored: %d %s, %d uses", w.Code, w.Body, f.uses(token))
	}
	// The client came to be although the store says otherwise: there must not be two.
	clients.stores = true
	if w := f.postWith("Bearer "+value, with("")); w.Code != 500 || f.uses(token) != 0 || len(f.clients()) != 1 {
		t.Errorf("stored: %d %s, %d uses, %d clients", w.Code, w.Body, f.uses(token), len(f.clients()))
	}
}

type createFails struct {
	store.ClientStore
	err    error
	stores bool
}

func (s *createFails) CreateClient(ctx context.Context, c store.Client) error {
	if s.err != nil && !s.stores {
		return s.err
	}
	return errors.Join(s.ClientStore.CreateClient(ctx, c), s.err)
}

func TestPolicyOfInitialAccessTokens(t *testing.T) {
	hosts := InitialAccessPolicy{RedirectHosts: []string{"partner.example", "partner.example:8443", "127.0.0.1", "[::1]"}}
	grants := InitialAccessPolicy{GrantTypes: []string{"authorization_code", "client_credentials"}, SecurityMode: store.ModePermissive}
	machine := InitialAccessPolicy{GrantTypes: []string{"client_credentials"}, SecurityMode: store.ModePermissive}
	scopes := InitialAccessPolicy{Scopes: []string{"openid", "appointments"}}
	named := InitialAccessPolicy{NamePrefix: "Partner: "}
	for _, c := range []struct {
		rule    string
		policy  InitialAccessPolicy
		members string
		text    string // how the refusal begins; empty: it is accepted
		check   func(c *store.Client) bool
	}{
		{"third party by default", InitialAccessPolicy{}, ``, "", func(c *store.Client) bool { return !c.FirstParty && c.Strict() }},
		{"first party", InitialAccessPolicy{FirstParty: true}, ``, "", func(c *store.Client) bool {
			return c.FirstParty && c.Dynamic && c.SecurityMode == "" && !strings.HasPrefix(c.ID, strictPrefix)
		}},
		{"permissive", InitialAccessPolicy{SecurityMode: store.ModePermissive}, `"grant_types":["implicit"]`, "", func(c *store.Client) bool { return !c.Strict() }},
		{"strict", InitialAccessPolicy{SecurityMode: store.ModeStrict}, `"grant_types":["implicit"]`, "grant_types: 'implicit'", nil},

		{"host", hosts, `"redirect_uris":["https://partner.example/cb","https://PARTNER.example:443/cb"]`, "", nil},
		{"host with a port", hosts, `"redirect_uris":["https://partner.example:8443/cb"]`, "", nil},
		{"loopback with any port", hosts, `"redirect_uris":["http://127.0.0.1:4711/cb","http://[::1]/cb"]`, "", nil},
		{"another port", hosts, `"redirect_uris":["https://partner.example:8444/cb"]`, "redirect_uris: 'https://partner.example:8444/cb' is not at one of the hosts", nil},
		{"subdomain", hosts, `"redirect_uris":["https://x.partner.example/cb"]`, "redirect_uris: 'https://x.partner.example/cb' is not at one of the hosts", nil},
		{"suffix", hosts, `"redirect_uris":["https://evilpartner.example/cb"]`, "redirect_uris: 'https://evilpartner.example/cb' is not at one", nil},
		{"prefix", hosts, `"redirect_uris":["https://partner.example.evil.example/cb"]`, "redirect_uris: 'https://partner.example.evil", nil},
		{"host in the path", hosts, `"redirect_uris":["https://evil.example/partner.example"]`, "redirect_uris: 'https://evil.example/partner.example' is not", nil},
		{"one of two", hosts, `"redirect_uris":["https://partner.example/cb","https://evil.example/cb"]`, "redirect_uris: 'https://evil.example/cb' is not", nil},
		{"another loopback host", hosts, `"redirect_uris":["http://localhost/cb"]`, "redirect_uris: 'http://localhost/cb' is not", nil},
		{"private-use scheme", hosts, `"redirect_uris":["example.partner:/cb"]`, "redirect_uris: 'example.partner:/cb' is not", nil},
		{"after logging out", hosts, `"redirect_uris":["https://partner.example/cb"],"post_logout_redirect_uris":["https://evil.example/"]`, "post_logout_redirect_uris: 'https://evil.example/' is not", nil},

		{"default grant types narrowed", grants, ``, "", func(c *store.Client) bool { return cmp.Equal(c.GrantTypes, []string{"authorization_code"}) }},
		{"grant types within", grants, `"grant_types":["client_credentials"]`, "", nil},
		{"grant types beyond", grants, `"grant_types":["authorization_code","refresh_token"]`, "grant_types: 'refresh_token' is not one of those that the initial access token allows: authorization_code, client_credentials", nil},
		{"none of the default", machine, ``, "", func(c *store.Client) bool { return cmp.Equal(c.GrantTypes, []string{"client_credentials"}) }},
		{"what the mode does not have", InitialAccessPolicy{GrantTypes: []string{"client_credentials"}}, ``, "grant_types: 'client_credentials' is not one of those that this application may use", nil},

		{"scopes by default", scopes, ``, "", func(c *store.Client) bool { return c.Scope == "openid appointments" }},
		{"scopes narrowed", scopes, `"scope":"openid email appointments notes"`, "", func(c *store.Client) bool { return c.Scope == "openid appointments" }},
		{"scopes beyond", scopes, `"scope":"email notes"`, "scope has nothing that the initial access token allows", nil},

		{"name", named, `"client_name":"Partner: A"`, "", nil},
		{"another name", named, `"client_name":"partner: A"`, "client_name must begin with 'Partner: '", nil},
		{"no name", named, ``, "client_name must begin with 'Partner: '", nil},
	} {
		t.Run(c.rule, func(t *testing.T) {
			f := newFixture(t, options{settings: func(s *store.TenantSettings) { closed(s); manageable(s) }})
			token, value := f.grantAccess(InitialAccessToken{Policy: c.policy})
			body := with(c.members)
			if strings.Contains(c.members, `"redirect_uris"`) {
				body = "{" + c.members + "}"
			}
			w := f.postWith("Bearer "+value, body)
			info := f.decode(w)
			if c.text != "" {
				if w.Code != 400 || !strings.HasPrefix(info.ErrorDescription, c.text) || len(f.clients()) > 0 || f.uses(token) != 1 {
					t.Errorf("%d %s, %d clients, %d uses", w.Code, w.Body, len(f.clients()), f.uses(token))
				}
				return
			}
			if w.Code != 201 {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
			stored := f.client(info.ClientID)
			if c.check != nil && !c.check(&stored) {
				t.Errorf("stored %+v", stored)
			}
		})
	}
}

// An application that manages itself does not get out of what its token allowed.
func TestThePolicyBindsReplacements(t *testing.T) {
	f := newFixture(t, options{settings: func(s *store.TenantSettings) { closed(s); manageable(s) }})
	_, value := f.grantAccess(InitialAccessToken{Policy: InitialAccessPolicy{
		FirstParty: true, RedirectHosts: []string{"client.example.com"}, GrantTypes: []string{"authorization_code"}, Scopes: []string{"openid"}, NamePrefix: "x",
	}})
	w := f.postWith("Bearer "+value, with(`"client_name":"x"`))
	info := f.decode(w)
	if w.Code != 201 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	for members, text := range map[string]string{
		`"client_name":"x","grant_types":["client_credentials"]`: "grant_types: 'client_credentials' is not one of those that the initial",
		`"client_name":"y"`:                            "client_name must begin with 'x'",
		`"redirect_uris":["https://evil.example/cb"]`:  "redirect_uris: 'https://evil.example/cb' is not at one of the hosts",
		`"client_name":"x","scope":"email"`:            "scope has nothing",
		`"client_name":"x","response_types":["token"]`: "response_types: 'token' needs implicit",
	} {
		w := f.configure("PUT", info.ClientID, info.RegistrationAccessToken, f.replacement(info.ClientID, members))
		if got := f.decode(w); w.Code != 400 || !strings.HasPrefix(got.ErrorDescription, text) {
			t.Errorf("%s: %d %s", members, w.Code, w.Body)
		}
	}
	if v := f.client(info.ClientID).Version; v != 1 {
		t.Errorf("version %d", v)
	}
	answer, stored := f.put(info.ClientID, info.RegistrationAccessToken, `"client_name":"x2"`)
	if !stored.FirstParty || stored.Scope != "openid" || !cmp.Equal(stored.GrantTypes, []string{"authorization_code"}) || answer.Scope != "openid" {
		t.Errorf("%+v", stored)
	}
	if len(stored.Registration.Policy) == 0 {
		t.Error("the policy is gone")
	}
}

func TestCreateInitialAccessToken(t *testing.T) {
	ctx := context.Background()
	f := newFixture(t, options{})
	token, value := f.grantAccess(InitialAccessToken{ID: store.DigestOf("chosen"), CreatedAt: start.Add(-time.Hour)})
	want := InitialAccessToken{TenantID: tenant.DefaultID, ID: store.DigestOf(value), Uses: 1, CreatedAt: start, ExpiresAt: start.Add(7 * 24 * time.Hour)}
	if diff := cmp.Diff(want, token); diff != "" || len(value) != 64 {
		t.Errorf("value %q (-want +got)\n%s", value, diff)
	}
	read, err := f.registrar.InitialAccessToken(ctx, tenant.DefaultID, token.ID)
	if diff := cmp.Diff(token, read); err != nil || diff != "" {
		t.Errorf("%v (-made +read)\n%s", err, diff)
	}
	ticket, err := f.stores.Tickets.Ticket(ctx, tenant.DefaultID, initialAccessKind, token.ID, start)
	if stored, _ := json.Marshal(ticket); err != nil || strings.Contains(string(stored), value) {
		t.Errorf("the store has the value: %s, %v", stored, err)
	}

	many := make([]string, maxValues+1)
	for i := range many {
		many[i] = "openid"
	}
	for rule, c := range map[string]InitialAccessToken{
		"tenant of the initial":                    {TenantID: "nowhere"},
		"uses must be":                             {TenantID: tenant.DefaultID, Uses: -2},
		"uses must be from 1":                      {TenantID: tenant.DefaultID, Uses: maxInitialAccessUses + 1},
		"the lifetime must be":                     {TenantID: tenant.DefaultID, ExpiresAt: start},
		"the lifetime must be positive":            {TenantID: tenant.DefaultID, ExpiresAt: start.Add(367 * 24 * time.Hour)},
		"third_party_security_mode must be":        {TenantID: tenant.DefaultID, Policy: InitialAccessPolicy{SecurityMode: "lax"}},
		"third_party_security_mode does not":       {TenantID: tenant.DefaultID, Policy: InitialAccessPolicy{SecurityMode: "strict", FirstParty: true}},
		"redirect_hosts must have hosts":           {TenantID: tenant.DefaultID, Policy: InitialAccessPolicy{RedirectHosts: []string{"https://a.example"}}},
		"redirect_hosts must have hosts in lower":  {TenantID: tenant.DefaultID, Policy: InitialAccessPolicy{RedirectHosts: []string{"A.example"}}},
		"redirect_hosts must have hosts in":        {TenantID: tenant.DefaultID, Policy: InitialAccessPolicy{RedirectHosts: []string{"*.example"}}},
		"redirect_hosts must have":                 {TenantID: tenant.DefaultID, Policy: InitialAccessPolicy{RedirectHosts: []string{""}}},
		"redirect_hosts must":                      {TenantID: tenant.DefaultID, Policy: InitialAccessPolicy{RedirectHosts: []string{"a.example/b"}}},
		"with a port only if":                      {TenantID: tenant.DefaultID, Policy: InitialAccessPolicy{RedirectHosts: []string{"a.example:443"}}},
		"grant_types must have none but":           {TenantID: tenant.DefaultID, Policy: InitialAccessPolicy{GrantTypes: []string{"password"}}},
		"scopes must have scope values":            {TenantID: tenant.DefaultID, Policy: InitialAccessPolicy{Scopes: []string{"a b"}}},
		"scopes must have at most 20 values":       {TenantID: tenant.DefaultID, Policy: InitialAccessPolicy{Scopes: many}},
		"name_prefix must be visible text of at m": {TenantID: tenant.DefaultID, Policy: InitialAccessPolicy{NamePrefix: "a\nb"}},
	} {
		got, value, err := f.registrar.CreateInitialAccessToken(ctx, c)
		if err == nil || !strings.Contains(err.Error(), rule) || value != "" || !cmp.Equal(got, InitialAccessToken{}) {
			t.Errorf("%s: %v, %q, %+v", rule, err, value, got)
		}
	}
}
