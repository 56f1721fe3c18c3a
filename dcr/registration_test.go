package dcr

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/internal/seal"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// The request of the reference page, byte for byte, and its answer.
func TestReferencePage(t *testing.T) {
	f := newFixture(t, options{mode: store.ModePermissive})
	w := f.post(`{"client_name":"My Dynamic Client","redirect_uris": ["https://client.example.com/callback", "https://client.example.com/callback2"]}`)
	want := `{"client_name":"My Dynamic Client","client_id":"<32>","client_secret":"<64>",` +
		`"redirect_uris":["https://client.example.com/callback","https://client.example.com/callback2"],"client_secret_expires_at":0,` +
		`"client_id_issued_at":1775044800,"token_endpoint_auth_method":"client_secret_post",` +
		`"grant_types":["authorization_code","implicit","refresh_token"],` +
		`"response_types":["code","token","id_token","id_token token","code id_token","code token","code id_token token"],` +
		`"application_type":"web","scope":"openid profile email address phone offline_access"}` + "\n"
	got := regexp.MustCompile(`"[A-Za-z0-9]{32}"`).ReplaceAllString(w.Body.String(), `"<32>"`)
	got = regexp.MustCompile(`"[A-Za-z0-9]{64}"`).ReplaceAllString(got, `"<64>"`)
	if diff := cmp.Diff(want, got); w.Code != http.StatusCreated || diff != "" {
		t.Fatalf("%d (-want +got)\n%s", w.Code, diff)
	}
	for name, want := range map[string]string{"Content-Type": "application/json", "Cache-Control": "no-store", "Pragma": "no-cache"} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}

	info := f.decode(w)
	stored := f.client(info.ClientID)
	if !stored.SecretDigest.Matches(info.ClientSecret) || stored.SealedSecret != nil {
		t.Errorf("the secret is kept as %v, sealed %v", stored.SecretDigest, stored.SealedSecret)
	}
	stored.SecretDigest = store.Digest{}
	if diff := cmp.Diff(store.Client{
		TenantID: tenant.DefaultID, ID: info.ClientID, Name: "My Dynamic Client", Dynamic: true, SecurityMode: store.ModePermissive,
		TokenEndpointAuthMethod: "client_secret_post", ApplicationType: "web", Version: 1, CreatedAt: start,
		RedirectURIs: []string{"https://client.example.com/callback", "https://client.example.com/callback2"}, RegisteredFrom: "192.0.2.0/24",
	}, stored); diff != "" {
		t.Errorf("stored (-want +got)\n%s", diff)
	}

	info, stored = f.register(`{"client_name":"My Dynamic Client","redirect_uris":["https://client.example.com/callback"],"token_endpoint_auth_method":"none"}`)
	for _, name := range []string{"client_secret", "client_secret_expires_at"} {
		if v, ok := info.raw[name]; ok {
			t.Errorf("none: %s is %v", name, v)
		}
	}
	if info.TokenEndpointAuthMethod != "none" || !stored.SecretDigest.IsZero() {
		t.Errorf("none: method %q, digest %v", info.TokenEndpointAuthMethod, stored.SecretDigest)
	}
}

func TestModeIsFixedWhenTheClientRegisters(t *testing.T) {
	for mode, id := range map[string]string{"": `^tpc_[A-Za-z0-9]{32}$`, store.ModeStrict: `^tpc_[A-Za-z0-9]{32}$`, store.ModePermissive: `^[A-Za-z0-9]{32}$`} {
		f := newFixture(t, options{mode: mode})
		info, stored := f.register(with(`"third_party_security_mode":"permissive"`))
		if !regexp.MustCompile(id).MatchString(info.ClientID) {
			t.Errorf("mode %q: client_id %q", mode, info.ClientID)
		}
		if want := mode != store.ModePermissive; stored.Strict() != want || stored.SecurityMode == "" {
			t.Errorf("mode %q: stored %q", mode, stored.SecurityMode)
		}
		if stored.FirstParty || !stored.Dynamic {
			t.Errorf("mode %q: %+v", mode, stored)
		}
	}
}

func TestStrictClientGetsCodeFlowOnly(t *testing.T) {
	f := newFixture(t, options{})
	info, _ := f.register(with(""))
	if diff := cmp.Diff([]string{"authorization_code", "refresh_token"}, info.GrantTypes); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"code"}, info.ResponseTypes); diff != "" {
		t.Error(diff)
	}
	w := f.post(with(`"grant_types":["implicit"]`))
	if info := f.decode(w); w.Code != 400 || info.Error != "invalid_client_metadata" || !strings.HasPrefix(info.ErrorDescription, "grant_types: 'implicit'") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestTheFlagIsCheckedBeforeAnythingIsRead(t *testing.T) {
	f := newFixture(t, options{off: true, config: func(c *Config) { c.Limiter = forbidden{t} }})
	r := httptest.NewRequest("POST", "https://login.example.com/oidc/register", forbidden{t})
	w := f.serve(r)
	if want := `{"error":"access_denied","error_description":"dynamic client registration is not enabled for this tenant"}` + "\n"; w.Code != 403 || w.Body.String() != want {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if n := len(f.clients()); n != 0 {
		t.Errorf("%d clients", n)
	}
}

// forbidden is a body and a limiter that must not be asked.
type forbidden struct{ t *testing.T }

func (f forbidden) Admit(context.Context, Attempt) (time.Duration, error) {
	f.t.Error("the limiter was asked")
	return 0, nil
}

func (f forbidden) Read([]byte) (int, error) {
	f.t.Error("the body was read")
	return 0, io.EOF
}

func TestMethodsAndContentTypes(t *testing.T) {
	f := newFixture(t, options{})
	for _, method := range []string{"GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"} {
		w := f.serve(httptest.NewRequest(method, "https://login.example.com/oidc/register", strings.NewReader(with(""))))
		if w.Code != 405 || w.Header().Get("Allow") != "POST" {
			t.Errorf("%s: %d, Allow %q", method, w.Code, w.Header().Get("Allow"))
		}
	}
	for contentType, want := range map[string]int{
		"application/json": 201, "application/json; charset=utf-8": 201, "APPLICATION/JSON": 201,
		"": 415, "application/x-www-form-urlencoded": 415, "text/plain": 415, "application/jwt": 415, "multipart/form-data": 415,
	} {
		r := httptest.NewRequest("POST", "https://login.example.com/oidc/register", strings.NewReader(with("")))
		r.Header.Set("Content-Type", contentType)
		if w := f.serve(r); w.Code != want {
			t.Errorf("%q: %d %s", contentType, w.Code, w.Body)
		}
	}
}

func TestNoIssuerAtThisAddress(t *testing.T) {
	stores := newFixture(t, options{}).stores
	directory, err := tenant.New(tenant.Config{Stores: stores, Secrets: [][]byte{make([]byte, 32)}, Resolver: nowhere{}})
	if err != nil {
		t.Fatal(err)
	}
	f := newFixture(t, options{config: func(c *Config) { c.Tenants = directory }})
	if w := f.post(with("")); w.Code != 404 || f.decode(w).Error != "invalid_request" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

type nowhere struct{}

func (nowhere) Resolve(*http.Request) (string, string, error) { return "", "", store.ErrNotFound }

// An application cannot choose what only the provider decides.
func TestMembersThatAreNotTheClientsToSet(t *testing.T) {
	f := newFixture(t, options{mode: store.ModePermissive})
	body := with(`"client_id":"chosen","client_secret":"chosen","client_id_issued_at":1,"client_secret_expires_at":1,
		"registration_access_token":"chosen","registration_client_uri":"https://evil.example/","software_statement":"e30.e30.",
		"first_party":true,"is_first_party":true,"dynamic":false,"third_party_security_mode":"strict","tenant_id":"other",
		"secret_digest":"00","sealed_secret":"AAAA","version":7,"created_at":"2000-01-01T00:00:00Z","confirmed_at":"2000-01-01T00:00:00Z",
		"metadata":{"client_uri":"javascript:alert(1)"},"CLIENT_NAME":"shouted","Redirect_Uris":["https://evil.example/"],
		"client_name#ja":"名前","__proto__":{"x":1},"evil<script>":["x"],"tls_client_auth_subject_dn":"CN=x"`)
	w := f.post(body)
	if w.Code != http.StatusCreated {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	info := f.decode(w)
	got := make([]string, 0, len(info.raw))
	for name := range info.raw {
		got = append(got, name)
	}
	slices.Sort(got)
	want := []string{"application_type", "client_id", "client_id_issued_at", "client_secret", "client_secret_expires_at", "grant_types",
		"redirect_uris", "response_types", "scope", "token_endpoint_auth_method"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("members of the answer (-want +got)\n%s", diff)
	}
	for _, text := range []string{"chosen", "evil", "shouted", "other", "名前"} {
		if strings.Contains(w.Body.String(), text) {
			t.Errorf("the answer contains %q: %s", text, w.Body)
		}
	}
	stored := f.client(info.ClientID)
	stored.SecretDigest = store.Digest{}
	if diff := cmp.Diff(store.Client{
		TenantID: tenant.DefaultID, ID: info.ClientID, Dynamic: true, SecurityMode: store.ModePermissive, ApplicationType: "web",
		TokenEndpointAuthMethod: "client_secret_post", RedirectURIs: []string{"https://client.example.com/cb"}, RegisteredFrom: "192.0.2.0/24", Version: 1, CreatedAt: start,
	}, stored); diff != "" {
		t.Errorf("stored (-want +got)\n%s", diff)
	}
}

// Every member that is stored is echoed, under its own name and as it was stored.
func TestEveryStoredMemberIsEchoed(t *testing.T) {
	f := newFixture(t, options{mode: store.ModePermissive})
	members := map[string]string{
		"client_name":                           `"Kalender für Ärzte 👩‍⚕️"`,
		"redirect_uris":                         `["https://client.example.com/cb","https://client.example.com/cb?a=b&c=d"]`,
		"token_endpoint_auth_method":            `"client_secret_basic"`,
		"grant_types":                           `["authorization_code","implicit","refresh_token"]`,
		"response_types":                        `["code","id_token token"]`,
		"application_type":                      `"web"`,
		"scope":                                 `"openid email appointments"`,
		"client_uri":                            `"https://client.example.com/#about"`,
		"logo_uri":                              `"https://client.example.com/logo.png"`,
		"policy_uri":                            `"https://client.example.com/policy"`,
		"tos_uri":                               `"http://client.example.com/tos"`,
		"contacts":                              `["dev@client.example.com"]`,
		"software_id":                           `"4NRB1-0XZABZI9E6-5SM3R"`,
		"software_version":                      `"2.1"`,
		"jwks_uri":                              `"https://client.example.com/jwks.json"`,
		"subject_type":                          `"pairwise"`,
		"sector_identifier_uri":                 `"https://client.example.com/sector.json"`,
		"id_token_signed_response_alg":          `"ES256"`,
		"default_max_age":                       `0`,
		"require_auth_time":                     `true`,
		"default_acr_values":                    `["urn:mace:incommon:iap:silver"]`,
		"initiate_login_uri":                    `"https://client.example.com/login"`,
		"request_uris":                          `["https://client.example.com/r.jwt#GkurKxf5T0Y-mnPFCHqWOMiZi4VS138cQO_V7PZHAdM"]`,
		"post_logout_redirect_uris":             `["https://client.example.com/bye","com.example.app:/bye"]`,
		"frontchannel_logout_uri":               `"https://client.example.com/logout?x=1"`,
		"frontchannel_logout_session_required":  `true`,
		"backchannel_logout_uri":                `"https://backend.example.com/logout"`,
		"backchannel_logout_session_required":   `true`,
		"request_object_signing_alg":            `"none"`,
		"require_pushed_authorization_requests": `true`,
	}
	f.documents.byURL["https://client.example.com/sector.json"] = members["redirect_uris"]
	var body strings.Builder
	for name, value := range members {
		if body.Len() > 0 {
			body.WriteString(",")
		}
		fmt.Fprintf(&body, "%q:%s", name, value)
	}
	w := f.post("{" + body.String() + "}")
	if w.Code != http.StatusCreated {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	for name, value := range members {
		if !strings.Contains(w.Body.String(), fmt.Sprintf("%q:%s", name, value)) {
			t.Errorf("%s: %s is not echoed", name, value)
		}
	}
	// What is known but not tried here is refused, or needs a registration of its own.
	refused := []string{"jwks", "id_token_encrypted_response_alg", "id_token_encrypted_response_enc", "userinfo_signed_response_alg",
		"userinfo_encrypted_response_alg", "userinfo_encrypted_response_enc", "request_object_encryption_alg",
		"request_object_encryption_enc", "token_endpoint_auth_signing_alg", "require_signed_request_object"}
	var m metadata
	for _, name := range refused {
		if m.target([]byte(name)) == nil {
			t.Errorf("%s is not known", name)
		}
	}
	stored := f.client(f.decode(w).ClientID)
	if stored.Metadata == nil || *stored.Metadata.DefaultMaxAge != 0 {
		t.Errorf("stored metadata %+v", stored.Metadata)
	}
}

// A template filled in by a program sends null, "" and [] for what it lacks.
func TestEmptyMembersCountAsAbsent(t *testing.T) {
	f := newFixture(t, options{})
	var plain metadata
	for _, name := range []string{"client_name", "token_endpoint_auth_method", "grant_types", "response_types", "application_type", "scope",
		"client_uri", "logo_uri", "policy_uri", "tos_uri", "contacts", "software_id", "software_version", "jwks_uri", "jwks", "subject_type",
		"sector_identifier_uri", "id_token_signed_response_alg", "userinfo_signed_response_alg", "token_endpoint_auth_signing_alg",
		"default_max_age", "require_auth_time", "default_acr_values", "initiate_login_uri", "request_uris", "post_logout_redirect_uris",
		"frontchannel_logout_uri", "backchannel_logout_uri", "backchannel_logout_session_required", "require_signed_request_object"} {
		values := []string{"null", `""`}
		switch plain.target([]byte(name)).(type) {
		case *[]string:
			values = append(values, "[]", " [ ] ")
		case *bool:
			values = append(values, "false")
		}
		for _, value := range values {
			_, stored := f.register(with(fmt.Sprintf("%q:%s", name, value)))
			stored.ID, stored.SecretDigest = "", store.Digest{}
			if diff := cmp.Diff(store.Client{
				TenantID: tenant.DefaultID, Dynamic: true, SecurityMode: store.ModeStrict, ApplicationType: "web",
				TokenEndpointAuthMethod: "client_secret_post", RedirectURIs: []string{"https://client.example.com/cb"}, RegisteredFrom: "192.0.2.0/24", Version: 1, CreatedAt: start,
			}, stored); diff != "" {
				t.Errorf("%s: %s (-want +got)\n%s", name, value, diff)
			}
		}
	}
}

func TestSecretIsSealedOnlyWhereItIsTheKey(t *testing.T) {
	f := newFixture(t, options{})
	box, err := seal.New("client-secret", f.secrets...)
	if err != nil {
		t.Fatal(err)
	}
	for _, members := range []string{`"id_token_signed_response_alg":"HS256"`, `"token_endpoint_auth_method":"client_secret_jwt"`,
		`"token_endpoint_auth_method":"client_secret_jwt","token_endpoint_auth_signing_alg":"HS256"`} {
		info, stored := f.register(with(members))
		opened, err := box.Open(stored.SealedSecret, tenant.DefaultID+"/"+info.ClientID)
		if err != nil || string(opened) != info.ClientSecret || !stored.SecretDigest.Matches(info.ClientSecret) {
			t.Errorf("%s: sealed %q, %v; secret %q", members, opened, err, info.ClientSecret)
		}
		if _, err := box.Open(stored.SealedSecret, tenant.DefaultID+"/another"); err == nil {
			t.Error("the sealed secret opens for another client")
		}
	}
	for _, members := range []string{`"id_token_signed_response_alg":"RS256"`, `"id_token_signed_response_alg":"ES256"`, ""} {
		if _, stored := f.register(with(members)); stored.SealedSecret != nil {
			t.Errorf("%s: the secret is kept", members)
		}
	}
	if strings.Contains(f.log.String(), "secret=") {
		t.Error("a secret is logged")
	}
}

func TestRegistrationsDoNotCollide(t *testing.T) {
	f := newFixture(t, options{})
	const each = 50
	var wg sync.WaitGroup
	ids := make(chan string, 8*each)
	for range 8 {
		wg.Go(func() {
			for range each {
				w := f.post(with(""))
				if w.Code != http.StatusCreated {
					t.Errorf("%d %s", w.Code, w.Body)
					return
				}
				info := f.decode(w)
				ids <- info.ClientID + info.ClientSecret
			}
		})
	}
	wg.Wait()
	close(ids)
	seen := map[string]bool{}
	for id := range ids {
		seen[id] = true
	}
	if len(seen) != 8*each || len(f.clients()) != 8*each {
		t.Errorf("%d answers, %d clients", len(seen), len(f.clients()))
	}
}

// clientStore counts and answers CreateClient.
type clientStore struct {
	store.ClientStore
	create func(n int, c store.Client) error
	calls  []store.Client
}

func (s *clientStore) CreateClient(ctx context.Context, c store.Client) error {
	s.calls = append(s.calls, c)
	if err := s.create(len(s.calls), c); err != nil {
		return err
	}
	return s.ClientStore.CreateClient(ctx, c)
}

type apiStore struct {
	store.APIStore
	err   error
	calls int
}

func (s *apiStore) APIs(ctx context.Context, tenant string, page store.Page) ([]store.API, error) {
	s.calls++
	if s.err != nil {
		return nil, s.err
	}
	return s.APIStore.APIs(ctx, tenant, page)
}

func TestStoreCalls(t *testing.T) {
	clients, apis := &clientStore{create: func(int, store.Client) error { return nil }}, &apiStore{}
	f := newFixture(t, options{stores: func(s *store.Stores) {
		clients.ClientStore, s.Clients = s.Clients, clients
		apis.APIStore, s.APIs = s.APIs, apis
	}})
	f.register(with(`"scope":"openid email"`))
	if len(clients.calls) != 1 || apis.calls != 0 {
		t.Errorf("a registration with standard scopes: %d and %d calls", len(clients.calls), apis.calls)
	}
	f.register(with(`"scope":"openid appointments"`))
	if len(clients.calls) != 2 || apis.calls != 1 {
		t.Errorf("a registration with a scope of an API: %d and %d calls", len(clients.calls)-1, apis.calls)
	}
}

// A scope counts whichever page of the list its API is on.
func TestScopesOfManyAPIs(t *testing.T) {
	f := newFixture(t, options{mode: store.ModePermissive})
	for i := range store.MaxPageLimit {
		if err := f.stores.APIs.CreateAPI(context.Background(), store.API{
			TenantID: tenant.DefaultID, ID: fmt.Sprintf("b%04d", i), Audience: fmt.Sprint("https://api.example/", i),
			Scopes: []store.APIScope{{Value: fmt.Sprint("use:", i)}}, UserPolicy: store.PolicyAllowAll,
		}); err != nil {
			t.Fatal(err)
		}
	}
	info, _ := f.register(with(`"scope":"use:0 use:999 use:1000 appointments"`))
	if info.Scope != "use:0 use:999 appointments" {
		t.Errorf("scope %q", info.Scope)
	}
	info, _ = f.register(with(""))
	if all := strings.Fields(info.Scope); len(all) != len(oauth.StandardScopes)+store.MaxPageLimit || all[len(all)-1] != "use:999" {
		t.Errorf("a client that names no scope may ask for %d, the last one %s", len(all), all[len(all)-1])
	}
}

func TestATakenIdentifierIsReplaced(t *testing.T) {
	clients := &clientStore{create: func(n int, c store.Client) error {
		if n < 3 {
			return fmt.Errorf("insert: %w", store.ErrExists)
		}
		return nil
	}}
	f := newFixture(t, options{stores: func(s *store.Stores) { clients.ClientStore, s.Clients = s.Clients, clients }})
	info, stored := f.register(with(`"id_token_signed_response_alg":"HS256"`))
	if len(clients.calls) != 3 || clients.calls[0].ID == clients.calls[1].ID || clients.calls[2].ID != info.ClientID {
		t.Fatalf("%d calls", len(clients.calls))
	}
	box, _ := seal.New("client-secret", f.secrets...)
	if opened, err := box.Open(stored.SealedSecret, tenant.DefaultID+"/"+info.ClientID); err != nil || string(opened) != info.ClientSecret {
		t.Errorf("the secret is sealed for an identifier that was not used: %v", err)
	}
}

func TestStoreErrorsStayInside(t *testing.T) {
	secret := errors.New("dial tcp 10.0.0.7:5432: password authentication failed for user opkit")
	for _, c := range []struct {
		rule    string
		clients error
		apis    error
		status  int
		code    string
	}{
		{"a system error", secret, nil, 500, "server_error"},
		{"an identifier that is always taken", store.ErrExists, nil, 500, "server_error"},
		{"an error from the list of APIs", nil, secret, 500, "server_error"},
		{"the request ended", fmt.Errorf("store: %w", context.Canceled), nil, 503, "temporarily_unavailable"},
		{"the deadline passed", nil, context.DeadlineExceeded, 503, "temporarily_unavailable"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			clients, apis := &clientStore{create: func(int, store.Client) error { return c.clients }}, &apiStore{err: c.apis}
			f := newFixture(t, options{stores: func(s *store.Stores) {
				clients.ClientStore, s.Clients = s.Clients, clients
				apis.APIStore, s.APIs = s.APIs, apis
			}})
			w := f.post(with(`"scope":"notes"`))
			info := f.decode(w)
			if w.Code != c.status || info.Error != c.code {
				t.Errorf("%d %s", w.Code, w.Body)
			}
			if strings.Contains(w.Body.String(), "10.0.0.7") || strings.Contains(w.Body.String(), "store") || info.ClientSecret != "" {
				t.Errorf("the answer says too much: %s", w.Body)
			}
			if c.status == 500 && info.ErrorDescription != "" {
				t.Errorf("description %q", info.ErrorDescription)
			}
			if !strings.Contains(f.log.String(), "level=ERROR") {
				t.Errorf("the cause is not in the log: %s", f.log)
			}
			if n := len(f.clients()); n != 0 || len(clients.calls) > 3 {
				t.Errorf("%d clients after %d calls", n, len(clients.calls))
			}
		})
	}
}

func TestNewNamesWhatIsMissing(t *testing.T) {
	good := newFixture(t, options{}).registrar.cfg
	for want, change := range map[string]func(*Config){
		"Config.Stores needs Clients, APIs, Grants, ClientGrants and Tickets": func(c *Config) { c.Stores.Tickets = nil },
		"Config.Tenants is required":                                          func(c *Config) { c.Tenants = nil },
		"Config.Secrets":                                                      func(c *Config) { c.Secrets = [][]byte{[]byte("short")} },
		"Config.Rate":                                                         func(c *Config) { c.Rate.PerSecond = -1 },
	} {
		cfg := good
		change(&cfg)
		if r, err := New(cfg); r != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, %v; want %q", r, err, want)
		}
	}
	if _, err := New(Config{Stores: good.Stores, Tenants: good.Tenants, Secrets: good.Secrets, TrustedProxies: []netip.Prefix{}}); err != nil {
		t.Errorf("defaults: %v", err)
	}
}

// Clients register with the scope that a resource named first, and step up later.
func TestAStrictClientMayAskForTheOtherScopesOfAnAPI(t *testing.T) {
	grant := func(f *fixture, scopes ...string) {
		if _, err := f.registrar.cfg.Tenants.CreateClientGrant(t.Context(), store.ClientGrant{
			TenantID: tenant.DefaultID, ClientID: store.DefaultForThirdParty, Audience: "appointments:api", SubjectType: store.SubjectUser, Scopes: scopes,
		}); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		mode    string
		granted []string
		scope   string
		want    string
	}{
		"one of two that are granted": {"", []string{"appointments", "read:contacts"}, "appointments", "appointments read:contacts"},
		"one that is granted alone":   {"", []string{"appointments"}, "openid appointments", "openid appointments"},
		"none that is granted":        {"", nil, "appointments", "appointments"},
		"of no API":                   {"", []string{"appointments"}, "openid email", "openid email"},
		"of another API":              {"", []string{"appointments"}, "notes", "notes"},
		"a permissive one as it says": {store.ModePermissive, []string{"appointments", "read:contacts"}, "appointments", "appointments"},
	} {
		f := newFixture(t, options{mode: c.mode})
		if c.granted != nil {
			grant(f, c.granted...)
		}
		info, stored := f.register(with(`"scope":"` + c.scope + `"`))
		if info.Scope != c.want || stored.Scope != c.want {
			t.Errorf("%s: answered %q, stored %q, want %q", name, info.Scope, stored.Scope, c.want)
		}
	}
	// What an initial access token allows stays the limit.
	f := newFixture(t, options{})
	grant(f, "appointments", "read:contacts")
	_, value := f.grantAccess(InitialAccessToken{Policy: InitialAccessPolicy{Scopes: []string{"appointments"}}})
	if info := f.decode(f.postWith("Bearer "+value, with(`"scope":"appointments"`))); info.Scope != "appointments" {
		t.Errorf("with a policy: %q", info.Scope)
	}
}
