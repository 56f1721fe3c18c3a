package opkit_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"html"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opkit/opkit"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
	"github.com/opkit/opkit/tenant"
)

// A world is a running provider as the reference page leaves it: dynamic
// registration on, one domain connection with one user, one API, one machine
// client for the management API.
type world struct {
	t        testing.TB
	provider *opkit.Provider
	stores   store.Stores
	server   *httptest.Server
	issuer   string
	endpoint tenant.Endpoints // absolute URLs
	clock    *clock

	connection store.Connection
	user       store.User
}

const (
	password       = "correct horse battery staple"
	machineID      = "machine"
	machineSecret  = "a-secret-of-the-machine-client-with-enough-length"
	apiAudience    = "appointments:api"
	appRedirectURI = "https://app.example.com/callback"
)

// mounts are the three ways in which every flow has to work.
var mounts = []string{"root", "prefix", "handlers"}

type options struct {
	mount      string // "" is root
	permissive bool
	notReady   bool // leave the flag off and the connection unpromoted
	config     func(*opkit.Config)
	stores     store.Stores // memstore if zero
}

// clock runs with the wall clock and can be moved.
type clock struct{ offset atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.offset.Load())) }
func (c *clock) advance(d time.Duration) { c.offset.Add(int64(d)) }

func newWorld(t testing.TB, o options) *world {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, clock: &clock{}, stores: o.stores}
	if w.stores.Clients == nil {
		w.stores = memstore.New().Stores()
	}
	base := "http://" + listener.Addr().String()
	w.issuer = base
	cfg := opkit.Config{
		Stores: w.stores, Secret: bytes.Repeat([]byte{7}, 32), Now: w.clock.now, CacheStaleness: -1,
		ManagementRate: tenant.ManagementRate{PerSecond: 1e6, Burst: 1e6},
		Logger:         slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	if o.permissive {
		cfg.Settings.DynamicClientRegistrationSecurityMode = store.ModePermissive
	}
	var handler http.Handler
	mux := http.NewServeMux()
	switch o.mount {
	case "", "root":
		handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.provider.ServeHTTP(rw, r) })
	case "prefix":
		w.issuer = base + "/auth"
		serve := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.provider.ServeHTTP(rw, r) })
		mux.Handle("/auth/", http.StripPrefix("/auth", serve))
		mux.HandleFunc("/.well-known/", func(rw http.ResponseWriter, r *http.Request) { w.provider.Metadata().ServeHTTP(rw, r) })
		handler = mux
	case "handlers":
		cfg.Endpoints = tenant.Endpoints{
			Authorization: "/o/start", Login: "/o/login", Consent: "/o/agree", LoginCallback: "/o/back", Applications: "/o/allowed",
			Token: "/o/token", UserInfo: "/o/me", JWKS: "/o/keys", Registration: "/o/apps", Management: "/o/manage",
			PushedAuthorizationRequest: "/o/push", Revocation: "/o/revoke", Introspection: "/o/introspect",
			EndSession: "/o/bye", LegacyLogout: "/o/leave",
			LockTenantInfo: "/o/info.js", LockClientInfo: "/o/client", LockChallenge: "/o/challenge", LockLogin: "/o/password", LockSSOData: "/o/sso",
			DatabaseSignup: "/o/join", DatabaseChangePassword: "/o/forgot", PasswordReset: "/o/reset", EmailVerification: "/o/verify",
		}
		handler = mux
	default:
		t.Fatalf("no mount %q", o.mount)
	}
	cfg.Issuer = w.issuer
	if o.config != nil {
		o.config(&cfg)
	}
	if w.provider, err = opkit.New(cfg); err != nil {
		t.Fatal(err)
	}
	if o.mount == "handlers" {
		p := w.provider
		mux.Handle("/o/start", p.Authorization())
		mux.Handle("/o/push", p.PushedAuthorization())
		mux.Handle("POST /o/login", p.Login())
		mux.Handle("POST /o/agree", p.Consent())
		mux.Handle("/o/back", p.LoginCallback())
		mux.Handle("/o/back/{id}", p.LoginCallback())
		mux.Handle("/o/allowed", p.Applications())
		mux.Handle("/o/info.js", p.LockTenantInfo())
		mux.Handle("/o/client/{id}", p.LockClientInfo())
		mux.Handle("/o/challenge", p.LockChallenge())
		mux.Handle("/o/password", p.LockLogin())
		mux.Handle("/o/sso", p.LockSSOData())
		mux.Handle("/o/join", p.Signup())
		mux.Handle("/o/forgot", p.ChangePassword())
		mux.Handle("/o/reset", p.PasswordReset())
		mux.Handle("/o/verify", p.EmailVerification())
		mux.Handle("/o/bye", p.EndSession())
		mux.Handle("/o/leave", p.LegacyLogout())
		mux.Handle("/o/token", p.Token())
		mux.Handle("/o/me", p.UserInfo())
		mux.Handle("/o/revoke", p.Revocation())
		mux.Handle("/o/introspect", p.Introspection())
		mux.Handle("/o/keys", p.JWKS())
		mux.Handle("/o/apps", p.Registration())
		mux.Handle("/o/apps/{id}", p.ClientConfiguration())
		mux.Handle("/o/manage/openapi.json", p.ManagementDocument())
		mux.Handle("/o/manage/tenants/settings", p.TenantSettings())
		mux.Handle("/o/manage/connections", p.ConnectionsAPI())
		mux.Handle("/o/manage/connections/{id}", p.ConnectionsAPI())
		mux.Handle("/o/manage/keys/signing", p.SigningKeysAPI())
		mux.Handle("/o/manage/keys/signing/", p.SigningKeysAPI())
		mux.Handle("/o/manage/initial-access-tokens", p.InitialAccessTokensAPI())
		mux.Handle("/o/manage/initial-access-tokens/{id}", p.InitialAccessTokensAPI())
		mux.Handle("/o/manage/clients/{id}/rotate-secret", p.ClientSecretRotationAPI())
		for collection, h := range map[string]http.Handler{
			"users": p.UsersAPI(), "grants": p.GrantsAPI(), "clients": p.ClientsAPI(), "resource-servers": p.ResourceServersAPI(), "client-grants": p.ClientGrantsAPI(), "logs": p.LogsAPI(),
		} {
			mux.Handle("/o/manage/"+collection, h)
			mux.Handle("/o/manage/"+collection+"/{id}", h)
		}
		mux.Handle("/o/manage/users-by-email", p.UsersByEmailAPI())
		mux.Handle("/o/manage/users/{id}/sessions", p.UserSessionsAPI())
		mux.Handle("/o/manage/connections/{id}/clients", p.ConnectionClientsAPI())
		mux.Handle("/o/manage/connections/{id}/status", p.ConnectionStatusAPI())
		mux.Handle("/o/manage/users/{id}/logs", p.UserLogsAPI())
		mux.Handle("/o/manage/users/{id}/refresh-tokens", p.UserRefreshTokensAPI())
		mux.Handle("/o/manage/refresh-tokens/{id}", p.RefreshTokensAPI())
		mux.Handle("/o/manage/sessions/{id}", p.SessionsAPI())
		mux.Handle("/o/manage/sessions/{id}/revoke", p.SessionsAPI())
		mux.Handle("/o/manage/stats/hourly", p.StatisticsAPI())
		mux.Handle("/.well-known/openid-configuration", p.Metadata())
		mux.Handle("/.well-known/oauth-authorization-server", p.Metadata())
	}
	e := *w.provider.Tenants().Endpoints()
	if o.mount == "handlers" && e.CheckSession != tenant.NotMounted {
		mux.Handle("GET "+e.CheckSession, w.provider.CheckSession())
	}
	for _, field := range []*string{&e.Authorization, &e.Login, &e.Consent, &e.LoginCallback, &e.Applications, &e.Token, &e.UserInfo, &e.JWKS, &e.Registration, &e.Management, &e.EndSession, &e.LegacyLogout, &e.PushedAuthorizationRequest, &e.Revocation, &e.Introspection, &e.CheckSession,
		&e.LockTenantInfo, &e.LockClientInfo, &e.LockChallenge, &e.LockLogin, &e.LockSSOData, &e.DatabaseSignup, &e.DatabaseChangePassword, &e.PasswordReset, &e.EmailVerification} {
		*field = w.issuer + *field
	}
	w.endpoint = e
	w.server = &httptest.Server{Listener: listener, Config: &http.Server{Handler: handler, ErrorLog: slog.NewLogLogger(cfg.Logger.Handler(), slog.LevelError)}}
	w.server.Start()
	t.Cleanup(w.server.Close)
	w.populate(!o.notReady)
	return w
}

func (w *world) populate(ready bool) {
	w.t.Helper()
	ctx := context.Background()
	must := func(err error) {
		w.t.Helper()
		if err != nil {
			w.t.Fatal(err)
		}
	}
	tn, err := w.provider.Tenants().Tenant(ctx, tenant.DefaultID)
	must(err)
	w.connection, err = w.provider.Connections().Create(ctx, store.Connection{
		TenantID: tn.ID(), Name: "Username-Password-Authentication", Strategy: "auth0", IsDomainConnection: ready,
	})
	must(err)
	w.user, err = w.provider.Connections().CreateUser(ctx, store.User{
		TenantID: tn.ID(), ConnectionID: w.connection.ID, Email: "ada@example.com", EmailVerified: true, Username: "ada",
		Profile: store.Profile{Name: "Ada Lovelace", GivenName: "Ada", FamilyName: "Lovelace", Nickname: "ada"},
	}, password)
	must(err)
	_, err = w.provider.Tenants().CreateAPI(ctx, store.API{
		TenantID: tn.ID(), Audience: apiAudience, Name: "Appointments", UserPolicy: store.PolicyAllowAll,
		Scopes: []store.APIScope{{Value: "appointments", Description: "See your appointments"}, {Value: "contacts", Description: "See your contacts"}, {Value: "read:contacts"}},
	})
	must(err)
	now := time.Now().UTC()
	must(w.stores.Clients.CreateClient(ctx, store.Client{
		TenantID: tn.ID(), ID: machineID, Name: "Machine", FirstParty: true, TokenEndpointAuthMethod: "client_secret_post",
		SecretDigest: store.DigestOf(machineSecret), GrantTypes: []string{"client_credentials"}, Version: 1, CreatedAt: now,
	}))
	_, err = w.provider.Tenants().CreateClientGrant(ctx, store.ClientGrant{
		TenantID: tn.ID(), ClientID: machineID, Audience: tn.ManagementAudience(), SubjectType: store.SubjectClient,
		Scopes: []string{"read:tenant_settings", "update:tenant_settings", "read:connections", "update:connections", "create:connections", "delete:connections",
			"read:signing_keys", "create:signing_keys", "update:signing_keys",
			"read:initial_access_tokens", "create:initial_access_tokens", "delete:initial_access_tokens",
			"update:client_keys", "read:clients", "create:clients", "update:clients", "delete:clients",
			"read:resource_servers", "create:resource_servers", "update:resource_servers", "delete:resource_servers",
			"read:client_grants", "create:client_grants", "update:client_grants", "delete:client_grants",
			"read:grants", "delete:grants", "read:sessions", "delete:sessions", "read:refresh_tokens", "delete:refresh_tokens", "read:logs", "read:users", "create:users", "update:users", "delete:users"},
	})
	must(err)
	if ready {
		_, err = w.provider.Tenants().UpdateSettings(ctx, tn.ID(), func(s *store.TenantSettings) error {
			s.Flags.EnableDynamicClientRegistration = true
			return nil
		})
		must(err)
	}
}

// response is an answer with its body read.
type response struct {
	*http.Response
	body string
}

// json decodes the body into a map.
func (r *response) json(t testing.TB) map[string]any {
	t.Helper()
	var out map[string]any
	if err := json.Unmarshal([]byte(r.body), &out); err != nil {
		t.Fatalf("status %d: not a JSON object: %q", r.StatusCode, r.body)
	}
	return out
}

// location returns the parameters that a redirect delivers, from query or
// fragment.
func (r *response) location(t testing.TB) url.Values {
	t.Helper()
	if r.StatusCode != http.StatusFound && r.StatusCode != http.StatusSeeOther {
		t.Fatalf("status %d, want a redirect; body: %s", r.StatusCode, text(r.body))
	}
	u, err := url.Parse(r.Header.Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	if u.Fragment != "" {
		v, err := url.ParseQuery(u.EscapedFragment())
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	return u.Query()
}

// text strips a page of its style and tags.
func text(page string) string {
	page = regexp.MustCompile(`(?s)<style.*?</style>`).ReplaceAllString(page, "")
	page = regexp.MustCompile(`<[^>]*>`).ReplaceAllString(page, " ")
	return strings.Join(strings.Fields(html.UnescapeString(page)), " ")
}

// browser is a user agent with cookies that does not follow redirects.
type browser struct {
	t      testing.TB
	client *http.Client
}

func newBrowser(t testing.TB) *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{t: t, client: &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

func (b *browser) do(req *http.Request) *response {
	b.t.Helper()
	res, err := b.client.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return &response{res, string(body)}
}

func (b *browser) get(u string) *response {
	b.t.Helper()
	req, err := http.NewRequest(http.MethodGet, u, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.do(req)
}

func (b *browser) post(u string, form url.Values) *response {
	b.t.Helper()
	req, err := http.NewRequest(http.MethodPost, u, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return b.do(req)
}

var (
	formTag  = regexp.MustCompile(`(?s)<form method="post" action="([^"]*)">(.*?)</form>`)
	inputTag = regexp.MustCompile(`<input type="(?:hidden|text)"[^>]* name="([^"]*)" value="([^"]*)"`)
)

// form returns the action and the prefilled fields of a page's first form.
func form(t testing.TB, page *response) (string, url.Values) {
	t.Helper()
	m := formTag.FindStringSubmatch(page.body)
	if m == nil {
		t.Fatalf("status %d: no form on the page: %s", page.StatusCode, text(page.body))
	}
	fields := url.Values{}
	for _, in := range inputTag.FindAllStringSubmatch(m[2], -1) {
		fields.Set(html.UnescapeString(in[1]), html.UnescapeString(in[2]))
	}
	return html.UnescapeString(m[1]), fields
}

// login fills in the login page.
func (b *browser) login(page *response, username, password string) *response {
	b.t.Helper()
	action, fields := form(b.t, page)
	fields.Set("username", username)
	fields.Set("password", password)
	return b.post(action, fields)
}

// decide presses a button of the consent page.
func (b *browser) decide(page *response, decision string) *response {
	b.t.Helper()
	if !strings.Contains(page.body, `id="consent-`+decision+`"`) {
		b.t.Fatalf("status %d: not the consent page: %s", page.StatusCode, text(page.body))
	}
	action, fields := form(b.t, page)
	fields.Set("decision", decision)
	return b.post(action, fields)
}

// postJSON sends JSON with an optional bearer token.
func (w *world) sendJSON(method, u, bearer, body string) *response {
	w.t.Helper()
	req, err := http.NewRequest(method, u, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	return newBrowser(w.t).do(req)
}

// registered is an application of a test.
type registered struct{ id, secret, redirectURI string }

// register registers an application; metadata overrides members of the request.
func (w *world) register(metadata map[string]any) registered {
	w.t.Helper()
	request := map[string]any{"client_name": "My Dynamic Client", "redirect_uris": []string{appRedirectURI}}
	for k, v := range metadata {
		request[k] = v
	}
	body, _ := json.Marshal(request)
	res := w.sendJSON(http.MethodPost, w.endpoint.Registration, "", string(body))
	if res.StatusCode != http.StatusCreated {
		w.t.Fatalf("registration: status %d: %s", res.StatusCode, res.body)
	}
	var out struct {
		ID           string   `json:"client_id"`
		Secret       string   `json:"client_secret"`
		RedirectURIs []string `json:"redirect_uris"`
	}
	if err := json.Unmarshal([]byte(res.body), &out); err != nil {
		w.t.Fatal(err)
	}
	return registered{out.ID, out.Secret, out.RedirectURIs[0]}
}

const verifier = "a-code-verifier-that-is-long-enough-for-rfc-7636-0123456789"

func challenge() string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// authorizeURL returns an authorization request for a code with PKCE; params are
// name, value pairs that override it, an empty value removes.
func (w *world) authorizeURL(app registered, params ...string) string {
	v := url.Values{
		"client_id": {app.id}, "redirect_uri": {app.redirectURI}, "response_type": {"code"}, "state": {"a state/with+odd=signs&more"},
		"scope": {"openid profile email"}, "nonce": {"n-0S6_WzA2Mj"}, "code_challenge": {challenge()}, "code_challenge_method": {"S256"},
	}
	for pair := range slices.Chunk(params, 2) {
		if v.Set(pair[0], pair[1]); pair[1] == "" {
			v.Del(pair[0])
		}
	}
	return w.endpoint.Authorization + "?" + v.Encode()
}

// authorize goes through login and consent with a new browser and returns what
// the application receives.
func (w *world) authorize(app registered, params ...string) url.Values {
	w.t.Helper()
	return w.authorizeIn(newBrowser(w.t), app, params...)
}

func (w *world) authorizeIn(b *browser, app registered, params ...string) url.Values {
	w.t.Helper()
	res := b.get(w.authorizeURL(app, params...))
	if strings.Contains(res.body, `id="login-submit"`) {
		res = b.login(res, "ada@example.com", password)
	}
	if strings.Contains(res.body, `id="consent-allow"`) {
		res = b.decide(res, "allow")
	}
	return res.location(w.t)
}

// token posts to the token endpoint.
func (w *world) token(app registered, params ...string) *response {
	w.t.Helper()
	v := url.Values{"client_id": {app.id}}
	if app.secret != "" {
		v.Set("client_secret", app.secret)
	}
	for pair := range slices.Chunk(params, 2) {
		v.Set(pair[0], pair[1])
	}
	return newBrowser(w.t).post(w.endpoint.Token, v)
}

// redeem exchanges a code that authorize obtained.
func (w *world) redeem(app registered, code string) *response {
	w.t.Helper()
	return w.token(app, "grant_type", "authorization_code", "code", code, "redirect_uri", app.redirectURI, "code_verifier", verifier)
}

// managementToken obtains a token for the management API.
func (w *world) managementToken() string {
	w.t.Helper()
	tn, err := w.provider.Tenants().Tenant(context.Background(), tenant.DefaultID)
	if err != nil {
		w.t.Fatal(err)
	}
	res := w.token(registered{id: machineID, secret: machineSecret}, "grant_type", "client_credentials", "audience", tn.ManagementAudience())
	out := res.json(w.t)
	if res.StatusCode != http.StatusOK {
		w.t.Fatalf("management token: status %d: %s", res.StatusCode, res.body)
	}
	return out["access_token"].(string)
}

// claims decodes a JWT's payload without verifying it.
func claims(t testing.TB, jwt string) map[string]any {
	t.Helper()
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 {
		t.Fatalf("not a JWT: %q", jwt)
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatal(err)
	}
	return out
}
