package token

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opkit/opkit/connection"
	"github.com/opkit/opkit/internal/clientauth"
	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/internal/seal"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
	"github.com/opkit/opkit/tenant"
)

const (
	testIssuer   = "https://issuer.example"
	testAudience = "appointments:api"
	testRedirect = "https://client.example.com/callback"
	testSecret   = "Q5O000000000000000000000000000000000000000000000000000000000033P"
	testVerifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	// The S256 challenge of testVerifier, from RFC 7636 appendix B.
	testChallenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
)

// The clients of a fixture.
const (
	webClient     = "web"     // first party, confidential, every grant type
	publicClient  = "public"  // first party, public
	dynamicClient = "dynamic" // third party, permissive, registered itself
	strictClient  = "strict"  // third party, strict, registered itself
)

var testSecrets = [][]byte{bytes.Repeat([]byte{7}, 32)}

// fixture is an issuer on a memstore with a tenant, a domain connection, a user,
// clients and an API.
type fixture struct {
	testing.TB
	clock       *clock
	mem         *memstore.Store
	tap         *tap
	tenants     *tenant.Directory
	connections *connection.Directory
	issuer      *Issuer
	tenant      *tenant.Tenant
	token       http.Handler
	userinfo    http.Handler
	logs        *syncBuffer
}

type clock struct {
	mu  sync.Mutex
	now time.Time
}

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

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func newFixture(t testing.TB, change ...func(*Config)) *fixture {
	t.Helper()
	ctx := context.Background()
	f := &fixture{
		TB:    t,
		clock: &clock{now: time.Date(2026, 5, 1, 12, 0, 0, 123456000, time.UTC)},
		mem:   memstore.New(),
		tap:   &tap{},
		logs:  &syncBuffer{},
	}
	stores := f.tap.stores(f.mem.Stores())
	logger := slog.New(slog.NewTextHandler(f.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))

	var err error
	f.tenants, err = tenant.New(tenant.Config{
		Stores: stores, Secrets: testSecrets, Issuer: testIssuer, Now: f.clock.Now, Logger: logger,
		Settings: store.TenantSettings{Flags: store.TenantFlags{EnableDynamicClientRegistration: true}},
	})
	f.ok(err)
	f.connections, err = connection.New(connection.Config{Stores: stores, Tenants: f.tenants, Now: f.clock.Now, Logger: logger})
	f.ok(err)
	cfg := Config{
		Stores: stores, Tenants: f.tenants, Connections: f.connections,
		ClientAuth: &clientauth.Authenticator{Clients: stores.Clients, Tickets: stores.Tickets, Tenants: f.tenants, Now: f.clock.Now, Logger: logger},
		Secrets:    testSecrets, Now: f.clock.Now, Logger: logger,
	}
	for _, c := range change {
		c(&cfg)
	}
	f.issuer, err = New(cfg)
	f.ok(err)
	f.token, f.userinfo = f.issuer.Token(), f.issuer.UserInfo()
	f.tenant, err = f.tenants.Tenant(ctx, tenant.DefaultID)
	f.ok(err)

	now := f.clock.Now()
	f.ok(f.mem.CreateConnection(ctx, store.Connection{
		TenantID: tenant.DefaultID, ID: "con_1", Name: "users", Strategy: connection.StrategyDatabase, IsDomainConnection: true,
		EnabledClients: []string{webClient, publicClient}, CreatedAt: now, UpdatedAt: now,
	}))
	f.ok(f.mem.CreateUser(ctx, testUser(now)))
	es256 := &store.ClientMetadata{IDTokenSignedResponseAlg: "ES256"}
	all := []string{"authorization_code", "refresh_token", "client_credentials", "implicit"}
	for _, c := range []store.Client{
		{ID: webClient, FirstParty: true, TokenEndpointAuthMethod: "client_secret_post", SecretDigest: store.DigestOf(testSecret), GrantTypes: all},
		{ID: publicClient, FirstParty: true, TokenEndpointAuthMethod: "none"},
		{ID: dynamicClient, Dynamic: true, SecurityMode: store.ModePermissive, TokenEndpointAuthMethod: "client_secret_post",
			SecretDigest: store.DigestOf(testSecret), GrantTypes: all},
		{ID: strictClient, Dynamic: true, SecurityMode: store.ModeStrict, TokenEndpointAuthMethod: "client_secret_post",
			SecretDigest: store.DigestOf(testSecret), GrantTypes: all},
	} {
		c.TenantID, c.RedirectURIs, c.Metadata, c.CreatedAt = tenant.DefaultID, []string{testRedirect}, es256, now
		f.ok(f.mem.CreateClient(ctx, c))
	}
	f.ok(f.mem.CreateAPI(ctx, store.API{
		TenantID: tenant.DefaultID, ID: "api_1", Audience: testAudience, UserPolicy: store.PolicyAllowAll,
		Scopes: []store.APIScope{{Value: "appointments"}, {Value: "contacts"}}, TokenLifetime: 2 * time.Hour, CreatedAt: now, UpdatedAt: now,
	}))
	for _, c := range []string{webClient, dynamicClient, strictClient} {
		f.ok(f.mem.CreateClientGrant(ctx, store.ClientGrant{
			TenantID: tenant.DefaultID, ID: "cgr_" + c, ClientID: c, Audience: testAudience,
			Scopes: []string{"appointments", "contacts"}, SubjectType: store.SubjectClient, CreatedAt: now, UpdatedAt: now,
		}))
	}
	f.ok(f.mem.CreateClientGrant(ctx, store.ClientGrant{
		TenantID: tenant.DefaultID, ID: "cgr_third", ClientID: store.DefaultForThirdParty, Audience: testAudience,
		Scopes: []string{"appointments", "contacts"}, SubjectType: store.SubjectUser, CreatedAt: now, UpdatedAt: now,
	}))
	return f
}

func testUser(now time.Time) store.User {
	return store.User{
		TenantID: tenant.DefaultID, ID: "auth0|u1", ConnectionID: "con_1", Username: "alice", Email: "alice@example.com",
		Profile: store.Profile{
			Name: "Alice Adams", GivenName: "Alice", FamilyName: "Adams", MiddleName: "B.", Nickname: "al",
			PreferredUsername: "alice", ProfileURL: "https://example.com/alice", Picture: "https://example.com/alice.png",
			Website: "https://alice.example", Gender: "female", Birthdate: "1990-01-02", Zoneinfo: "Europe/Berlin", Locale: "de-DE",
			PhoneNumber: "+49 30 123456", PhoneNumberVerified: true,
			Address: &store.Address{Formatted: "Street 1\n12345 Berlin", StreetAddress: "Street 1", Locality: "Berlin", PostalCode: "12345", Country: "DE"},
		},
		CreatedAt: now, UpdatedAt: now,
	}
}

func (f *fixture) ok(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

// authorization returns what the user allowed client, with its grant in place.
func (f *fixture) authorization(client, audience string, scope ...string) Authorization {
	f.Helper()
	ctx := context.Background()
	g := store.Grant{
		TenantID: tenant.DefaultID, ID: "grant-" + client + "-" + audience, UserID: "auth0|u1", ClientID: client,
		Audience: audience, Scopes: scope, ConnectionID: "con_1", CreatedAt: f.clock.Now(), UpdatedAt: f.clock.Now(),
	}
	if err := f.mem.CreateGrant(ctx, g); err != nil && !strings.Contains(err.Error(), "exists") {
		f.Fatal(err)
	}
	return Authorization{
		ClientID: client, UserID: g.UserID, ConnectionID: "con_1", GrantID: g.ID, SID: "sid-1",
		Scope: scope, Audience: audience, Nonce: "n-0S6_WzA2Mj", AuthTime: f.clock.Now().Add(-time.Minute).Truncate(time.Second),
		ACR: "urn:example:silver", AMR: []string{"pwd"}, RedirectURI: testRedirect, CodeChallenge: testChallenge, Offline: true,
	}
}

func (f *fixture) code(a Authorization) string {
	f.Helper()
	code, err := f.issuer.Code(f.tenant, a)
	f.ok(err)
	return code
}

// answer is an answer of the token endpoint.
type answer struct {
	response
	Status      int         `json:"-"`
	Header      http.Header `json:"-"`
	Error       string      `json:"error"`
	Description string      `json:"error_description"`
}

// credentials are the form parameters that authenticate a client.
func credentials(client string) url.Values {
	v := url.Values{"client_id": {client}}
	if client != publicClient {
		v.Set("client_secret", testSecret)
	}
	return v
}

// form returns credentials and the parameters in pairs; an empty value removes.
func form(client string, pairs ...string) url.Values {
	v := credentials(client)
	for i := 0; i < len(pairs); i += 2 {
		if v.Del(pairs[i]); pairs[i+1] != "" {
			v.Set(pairs[i], pairs[i+1])
		}
	}
	return v
}

func codeForm(client, code string, pairs ...string) url.Values {
	v := form(client, "grant_type", "authorization_code", "code", code, "redirect_uri", testRedirect, "code_verifier", testVerifier)
	maps.Copy(v, form(client, pairs...))
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] == "" {
			v.Del(pairs[i])
		}
	}
	return v
}

func refreshForm(client, token string, pairs ...string) url.Values {
	v := form(client, "grant_type", "refresh_token", "refresh_token", token)
	maps.Copy(v, form(client, pairs...))
	return v
}

func (f *fixture) post(values url.Values) answer {
	f.Helper()
	r := httptest.NewRequest(http.MethodPost, testIssuer+"/oauth/token", strings.NewReader(values.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return f.serve(r)
}

func (f *fixture) serve(r *http.Request) answer {
	f.Helper()
	w := httptest.NewRecorder()
	f.token.ServeHTTP(w, r)
	a := answer{Status: w.Code, Header: w.Header()}
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
		f.Fatalf("%d %q: %v", w.Code, w.Body, err)
	}
	if got := w.Header().Get("Cache-Control"); got != "no-store" {
		f.Errorf("Cache-Control = %q, want no-store", got)
	}
	return a
}

// redeem expects success.
func (f *fixture) redeem(client, code string) answer {
	f.Helper()
	return f.granted(f.post(codeForm(client, code)))
}

func (f *fixture) granted(a answer) answer {
	f.Helper()
	if a.Status != http.StatusOK || a.AccessToken == "" || a.TokenType != "Bearer" {
		f.Fatalf("answer = %d %s %s, want tokens", a.Status, a.Error, a.Description)
	}
	return a
}

// refused expects an error and nothing minted.
func (f *fixture) refused(a answer, status int, code string) {
	f.Helper()
	if a.Status != status || a.Error != code {
		f.Errorf("answer = %d %q %q, want %d %q", a.Status, a.Error, a.Description, status, code)
	}
	if a.AccessToken != "" || a.IDToken != "" || a.RefreshToken != "" {
		f.Errorf("an error came with tokens: %+v", a)
	}
}

// info is an answer of the userinfo endpoint.
type info struct {
	Status    int
	Challenge string
	Claims    map[string]any
}

func (f *fixture) info(accessToken string) info {
	f.Helper()
	r := httptest.NewRequest(http.MethodGet, testIssuer+"/userinfo", nil)
	r.Header.Set("Authorization", "Bearer "+accessToken)
	return f.serveInfo(r)
}

func (f *fixture) serveInfo(r *http.Request) info {
	f.Helper()
	w := httptest.NewRecorder()
	f.userinfo.ServeHTTP(w, r)
	out := info{Status: w.Code, Challenge: w.Header().Get("WWW-Authenticate")}
	if w.Body.Len() > 0 {
		if err := json.Unmarshal(w.Body.Bytes(), &out.Claims); err != nil {
			f.Fatalf("%d %q: %v", w.Code, w.Body, err)
		}
	}
	if got := w.Header().Get("Cache-Control"); got != "no-store" {
		f.Errorf("Cache-Control = %q, want no-store", got)
	}
	return out
}

// alive expects that the token opens userinfo, dead that it does not any more.
func (f *fixture) alive(accessToken string) {
	f.Helper()
	if got := f.info(accessToken); got.Status != http.StatusOK {
		f.Errorf("userinfo = %+v, want 200", got)
	}
}

func (f *fixture) dead(accessToken string) {
	f.Helper()
	got := f.info(accessToken)
	if got.Status != http.StatusUnauthorized || !strings.Contains(got.Challenge, `error="invalid_token"`) {
		f.Errorf("userinfo = %+v, want 401 invalid_token", got)
	}
}

// changes of what the user and the tenant allowed.

func (f *fixture) changeUser(change func(*store.User)) {
	f.Helper()
	u, err := f.mem.User(context.Background(), tenant.DefaultID, "auth0|u1")
	f.ok(err)
	change(&u)
	f.ok(f.mem.UpdateUser(context.Background(), u))
}

func (f *fixture) changeClient(id string, change func(*store.Client)) {
	f.Helper()
	c, err := f.mem.Client(context.Background(), tenant.DefaultID, id)
	f.ok(err)
	change(&c)
	f.ok(f.mem.UpdateClient(context.Background(), c))
}

func (f *fixture) client(id string) *store.Client {
	f.Helper()
	c, err := f.mem.Client(context.Background(), tenant.DefaultID, id)
	f.ok(err)
	return &c
}

func (f *fixture) changeConnection(change func(*store.Connection)) {
	f.Helper()
	c, err := f.mem.Connection(context.Background(), tenant.DefaultID, "con_1")
	f.ok(err)
	change(&c)
	f.ok(f.mem.UpdateConnection(context.Background(), c))
}

func (f *fixture) changeAPI(change func(*store.API)) {
	f.Helper()
	a, err := f.mem.APIByAudience(context.Background(), tenant.DefaultID, testAudience)
	f.ok(err)
	change(&a)
	f.ok(f.mem.UpdateAPI(context.Background(), a))
}

func (f *fixture) switchDynamicRegistrationOff() {
	f.Helper()
	_, err := f.tenants.UpdateSettings(context.Background(), tenant.DefaultID, func(s *store.TenantSettings) error {
		s.Flags.EnableDynamicClientRegistration = false
		return nil
	})
	f.ok(err)
}

func (f *fixture) defaultAudience(audience string) {
	f.Helper()
	_, err := f.tenants.UpdateSettings(context.Background(), tenant.DefaultID, func(s *store.TenantSettings) error {
		s.DefaultAudience = audience
		return nil
	})
	f.ok(err)
}

func (f *fixture) sealedSecret(client, secret string) store.Sealed {
	f.Helper()
	box, err := seal.New("client-secret", testSecrets...)
	f.ok(err)
	return box.Seal([]byte(secret), tenant.DefaultID+"/"+client)
}

// jwtParts decodes a JWS without looking at its signature.
func jwtParts(t testing.TB, token string) (header, claims map[string]any) {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("%q is not a compact JWS", token)
	}
	for i, v := range []*map[string]any{&header, &claims} {
		raw, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(raw, v); err != nil {
			t.Fatal(err)
		}
	}
	return header, claims
}

// idTokenClaims verifies an ID token with the tenant's keys.
func (f *fixture) idTokenClaims(token string) map[string]any {
	f.Helper()
	if _, err := f.tenants.Verify(context.Background(), f.tenant, "JWT", token); err != nil {
		f.Fatal(err)
	}
	_, claims := jwtParts(f, token)
	return claims
}

// accessTokenClaims verifies a JWT access token with the tenant's keys.
func (f *fixture) accessTokenClaims(token string) map[string]any {
	f.Helper()
	if _, err := f.tenants.Verify(context.Background(), f.tenant, "at+jwt", token); err != nil {
		f.Fatal(err)
	}
	_, claims := jwtParts(f, token)
	return claims
}

func scopes(s string) oauth.Scope { return strings.Fields(s) }
