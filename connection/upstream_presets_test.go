package connection

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// internet stands for the servers of all upstreams: it answers for every host.
type internet struct {
	t       testing.TB
	client  *http.Client
	key     *ecdsa.PrivateKey
	mu      sync.Mutex
	pages   map[string]func(w http.ResponseWriter, r *http.Request) // by host and path
	idToken map[string]any                                          // claims of the next one
	form    url.Values                                              // last at a token endpoint
	basic   string
}

func newInternet(t testing.TB) *internet {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	n := &internet{t: t, key: key, pages: map[string]func(http.ResponseWriter, *http.Request){}}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.mu.Lock()
		page := n.pages[r.Host+r.URL.Path]
		n.mu.Unlock()
		if page == nil {
			t.Errorf("asked for %s%s", r.Host, r.URL.Path)
			http.NotFound(w, r)
			return
		}
		page(w, r)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	n.client = &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, server.Listener.Addr().String())
		},
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // a certificate for all hosts
	}}
	return n
}

// Client makes it an Outbound.
func (n *internet) Client() *http.Client { return n.client }

// VerifyPublished makes it a source of keys: of its own one, at every address.
func (n *internet) VerifyPublished(_ context.Context, _, uri, compact string, algorithms []jose.SignatureAlgorithm) ([]byte, error) {
	parsed, err := jose.ParseSignedCompact(compact, algorithms)
	if err != nil {
		return nil, err
	}
	return parsed.Verify(n.key.Public())
}

func (n *internet) serve(at string, v any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.pages[at] = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(v)
	}
}

// provider serves the metadata of an OpenID Provider and its token endpoint, which is on
// the same host.
func (n *internet) provider(at string, metadata map[string]any) {
	host, _, _ := strings.Cut(at, "/")
	base := map[string]any{
		"authorization_endpoint": "https://" + host + "/authorize", "token_endpoint": "https://" + host + "/token", "jwks_uri": "https://" + host + "/keys",
		"token_endpoint_auth_methods_supported": []string{"client_secret_post"},
	}
	for name, value := range metadata {
		base[name] = value
	}
	n.serve(at+wellKnown, base)
	n.tokens(host + "/token")
}

func (n *internet) tokens(at string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.pages[at] = func(w http.ResponseWriter, r *http.Request) {
		r.ParseForm()
		n.form = r.PostForm
		n.basic, _, _ = r.BasicAuth()
		answer := map[string]any{"access_token": "at-1", "token_type": "Bearer"}
		if n.idToken != nil {
			claims, _ := json.Marshal(n.idToken)
			signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: n.key}, nil)
			if err != nil {
				n.t.Error(err)
			}
			signed, err := signer.Sign(claims)
			if err != nil {
				n.t.Error(err)
			}
			answer["id_token"], _ = signed.CompactSerialize()
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(answer)
	}
}

// online is a world with upstreams.
type online struct {
	*world
	net *internet
}

func newOnline(t testing.TB) *online {
	n := newInternet(t)
	w := newWorld(t, func(c *Config) {
		c.Secrets, c.Outbound, c.Keys = [][]byte{[]byte("a secret of at least thirty-two bytes")}, n, n
	})
	return &online{w, n}
}

func (o *online) connect(strategy, options string) store.Connection {
	o.t.Helper()
	c, err := o.Create(o.t.Context(), store.Connection{TenantID: tenant.DefaultID, Name: "c-" + rand.Text(), Strategy: strategy, Options: json.RawMessage(options)})
	if err != nil {
		o.t.Fatal(err)
	}
	return c
}

const upstreamCallback = "https://op.example/login/callback"

func (o *online) login() UpstreamLogin {
	return UpstreamLogin{RedirectURI: upstreamCallback, Secret: "s", Begun: o.clock.now, MaxAge: -1}
}

// request returns the parameters of the request to an upstream, and where it goes.
func (o *online) request(c store.Connection, wishes UpstreamWishes) (string, url.Values) {
	o.t.Helper()
	wishes.State = "st"
	location, err := o.UpstreamRequest(o.t.Context(), o.tenant, &c, o.login(), wishes)
	if err != nil {
		o.t.Fatal(err)
	}
	u, err := url.Parse(location)
	if err != nil {
		o.t.Fatal(err)
	}
	query := u.Query()
	u.RawQuery = ""
	return u.String(), query
}

// claims of an ID token for this sign-in.
func (o *online) claims(issuer string, more map[string]any) map[string]any {
	claims := map[string]any{"iss": issuer, "sub": "s1", "aud": "id1", "iat": o.clock.now.Unix(), "exp": o.clock.now.Add(time.Hour).Unix(), "nonce": o.login().nonce()}
	for name, value := range more {
		claims[name] = value
	}
	return claims
}

func (o *online) finish(c store.Connection, answer UpstreamAnswer) (UpstreamIdentity, error) {
	if answer.Error == "" {
		answer.Code = "code-1"
	}
	return o.UpstreamIdentity(o.t.Context(), o.tenant, &c, o.login(), answer)
}

func TestGoogle(t *testing.T) {
	o := newOnline(t)
	o.net.provider("accounts.google.com", map[string]any{"issuer": "https://accounts.google.com", "userinfo_endpoint": "https://openidconnect.googleapis.com/v1/userinfo"})
	c := o.connect(StrategyGoogle, `{"client_id":"id1","client_secret":"x","email":true,"profile":true,"scope":["email","profile"]}`)
	at, query := o.request(c, UpstreamWishes{LoginHint: "ada@gmail.com", SelectAccount: true})
	if at != "https://accounts.google.com/authorize" || query.Get("scope") != "openid email profile" || query.Get("login_hint") != "ada@gmail.com" || query.Get("prompt") != "select_account" {
		t.Errorf("%s %v", at, query)
	}
	o.net.idToken = o.claims("https://accounts.google.com", map[string]any{"azp": "id1", "email": "Ada@gmail.com", "email_verified": true, "name": "Ada", "picture": "https://lh3.example/p"})
	got, err := o.finish(c, UpstreamAnswer{})
	if err != nil || got.Subject != "s1" || got.Email != "ada@gmail.com" || !got.EmailVerified || got.Profile.Picture != "https://lh3.example/p" {
		t.Errorf("%+v, %v", got, err)
	}
	if o.net.form.Get("client_secret") != "x" || o.net.form.Get("code_verifier") != o.login().verifier() {
		t.Errorf("%v", o.net.form)
	}
	// It never says when the user signed in: who wants to know need not go there.
	login := o.login()
	login.MaxAge = time.Minute
	if _, err := o.UpstreamRequest(t.Context(), o.tenant, &c, login, UpstreamWishes{}); !errors.Is(err, ErrUpstreamStale) {
		t.Errorf("max_age: %v", err)
	}
	o.refuses(StrategyGoogle, map[string]string{"options.issuer must be https://accounts.google.com": `{"client_id":"a","issuer":"https://evil.example"}`})
}

// refuses checks that options are refused, each for a reason.
func (o *online) refuses(strategy string, options map[string]string) {
	o.t.Helper()
	for reason, raw := range options {
		_, err := o.Create(o.t.Context(), store.Connection{TenantID: tenant.DefaultID, Name: "bad", Strategy: strategy, Options: json.RawMessage(raw)})
		invalid, ok := errors.AsType[*InvalidError](err)
		if !ok || !strings.Contains(invalid.Field+" "+invalid.Rule, reason) {
			o.t.Errorf("%s: %v", reason, err)
		}
	}
}

const (
	tenantOne = "11111111-1111-1111-1111-111111111111"
	tenantTwo = "22222222-2222-2222-2222-222222222222"
)

func entraIssuerOf(id string) string { return "https://login.microsoftonline.com/" + id + "/v2.0" }

func TestEntraOfOneTenant(t *testing.T) {
	o := newOnline(t)
	o.net.provider("login.microsoftonline.com/contoso.example/v2.0", map[string]any{"issuer": entraIssuerOf(tenantOne)})
	c := o.connect(StrategyEntra, `{"client_id":"id1","client_secret":"x","tenant_domain":"contoso.example","domain_aliases":["contoso.example"],"should_trust_email_verified_connection":"always_set_emails_as_verified"}`)
	if at, query := o.request(c, UpstreamWishes{Reauthenticate: true}); at != "https://login.microsoftonline.com/authorize" || query.Get("prompt") != "login" {
		t.Errorf("%s %v", at, query)
	}
	o.net.idToken = o.claims(entraIssuerOf(tenantOne), map[string]any{"tid": tenantOne, "email": "ada@contoso.example", "preferred_username": "ada@contoso.example"})
	got, err := o.finish(c, UpstreamAnswer{})
	if err != nil || got.Subject != tenantOne+":s1" || !got.EmailVerified || got.Profile.PreferredUsername != "ada@contoso.example" {
		t.Errorf("%+v, %v", got, err)
	}
	for rule, claims := range map[string]map[string]any{
		"another tenant":                 o.claims(entraIssuerOf(tenantTwo), map[string]any{"tid": tenantTwo}),
		"tid of another tenant":          o.claims(entraIssuerOf(tenantOne), map[string]any{"tid": tenantTwo}),
		"no tid":                         o.claims(entraIssuerOf(tenantOne), nil),
		"the template itself":            o.claims(entraTemplate, map[string]any{"tid": "{tenantid}"}),
		"another host":                   o.claims("https://evil.example/"+tenantOne+"/v2.0", map[string]any{"tid": tenantOne}),
		"a path that only looks like it": o.claims("https://login.microsoftonline.com/"+tenantTwo+"/"+tenantOne+"/v2.0", map[string]any{"tid": tenantOne}),
	} {
		o.net.idToken = claims
		if got, err := o.finish(c, UpstreamAnswer{}); !errors.Is(err, ErrUpstreamFailed) {
			t.Errorf("%s: %+v, %v", rule, got, err)
		}
	}
	o.refuses(StrategyEntra, map[string]string{
		"options.tenant_domain is required":              `{"client_id":"a"}`,
		"options.tenant_domain must be a domain":         `{"client_id":"a","tenant_domain":"common"}`,
		"options.tenant_domain must be":                  `{"client_id":"a","tenant_domain":"a/../b"}`,
		"options.allowed_tenants is for":                 `{"client_id":"a","tenant_domain":"contoso.example","allowed_tenants":["` + tenantOne + `"]}`,
		"options.allowed_tenants must be":                `{"client_id":"a","waad_common_endpoint":true,"allowed_tenants":["contoso.example"]}`,
		"options.should_trust_email_verified_connection": `{"client_id":"a","waad_common_endpoint":true,"should_trust_email_verified_connection":"always_set_emails_as_verified"}`,
	})
	// The metadata of another tenant.
	o.net.provider("login.microsoftonline.com/"+tenantOne+"/v2.0", map[string]any{"issuer": entraIssuerOf(tenantTwo)})
	other := o.connect(StrategyEntra, `{"client_id":"id1","tenant_domain":"`+tenantOne+`"}`)
	if _, err := o.UpstreamRequest(t.Context(), o.tenant, &other, o.login(), UpstreamWishes{}); !errors.Is(err, ErrUpstreamFailed) {
		t.Errorf("metadata of another tenant: %v", err)
	}
}

// Whoever has a tenant of their own writes what they like into its users: not their
// address, nor their subject, makes them somebody else here.
func TestEntraOfAllTenants(t *testing.T) {
	o := newOnline(t)
	o.net.provider("login.microsoftonline.com/common/v2.0", map[string]any{"issuer": entraTemplate})
	c := o.connect(StrategyEntra, `{"client_id":"id1","client_secret":"x","waad_common_endpoint":true}`)
	only := o.connect(StrategyEntra, `{"client_id":"id1","client_secret":"x","useCommonEndpoint":true,"allowed_tenants":["`+tenantOne+`"]}`)
	users := map[string]bool{}
	for _, id := range []string{tenantOne, tenantTwo} {
		o.net.idToken = o.claims(entraIssuerOf(id), map[string]any{"tid": id, "email": "ada@contoso.example", "email_verified": true})
		got, err := o.finish(c, UpstreamAnswer{})
		if err != nil || got.EmailVerified || got.Email != "ada@contoso.example" {
			t.Errorf("%s: %+v, %v", id, got, err)
		}
		user, err := o.UpstreamUser(t.Context(), o.tenant, &c, got)
		if err != nil || users[user.ID] {
			t.Errorf("%s: %s is known, %v", id, user.ID, err)
		}
		users[user.ID] = true
		if _, err := o.finish(only, UpstreamAnswer{}); (err == nil) != (id == tenantOne) {
			t.Errorf("%s, one allowed: %v", id, err)
		}
	}
	o.net.idToken = o.claims(entraIssuerOf(tenantOne), map[string]any{"tid": tenantOne, "email": "ada@contoso.example", "xms_edov": true})
	if got, err := o.finish(c, UpstreamAnswer{}); err != nil || !got.EmailVerified {
		t.Errorf("an address whose domain the tenant owns: %+v, %v", got, err)
	}
	for rule, claims := range map[string]map[string]any{
		"issuer and tid disagree": o.claims(entraIssuerOf(tenantOne), map[string]any{"tid": tenantTwo}),
		"the template":            o.claims(entraTemplate, map[string]any{"tid": "{tenantid}"}),
		"a tid that is no tenant": o.claims("https://login.microsoftonline.com/common/v2.0", map[string]any{"tid": "common"}),
	} {
		o.net.idToken = claims
		if got, err := o.finish(c, UpstreamAnswer{}); !errors.Is(err, ErrUpstreamFailed) {
			t.Errorf("%s: %+v, %v", rule, got, err)
		}
	}
}

func TestGitHub(t *testing.T) {
	o := newOnline(t)
	o.net.tokens("github.com/login/oauth/access_token")
	o.net.serve("api.github.com/user", map[string]any{"id": 583231, "login": "octocat", "name": "The Octocat", "email": "public@example.org", "avatar_url": "https://avatars.example/u", "html_url": "https://github.com/octocat", "blog": "not a URL"})
	emails := func(v any) { o.net.serve("api.github.com/user/emails", v) }
	c := o.connect(StrategyGitHub, `{"client_id":"id1","client_secret":"x","email":true,"scope":["user:email"]}`)
	at, query := o.request(c, UpstreamWishes{LoginHint: "octocat"})
	if at != "https://github.com/login/oauth/authorize" || query.Get("scope") != "user:email" || query.Get("login") != "octocat" || query.Get("code_challenge") == "" || query.Has("nonce") {
		t.Errorf("%s %v", at, query)
	}
	for _, tt := range []struct {
		emails   any
		email    string
		verified bool
	}{
		{[]map[string]any{{"email": "second@example.org", "primary": false, "verified": true}, {"email": "Octo@Example.org", "primary": true, "verified": true}}, "octo@example.org", true},
		{[]map[string]any{{"email": "victim@example.org", "primary": true, "verified": false}}, "victim@example.org", false},
		{[]map[string]any{{"email": "second@example.org", "primary": false, "verified": true}}, "", false},
		{[]map[string]any{}, "", false},
	} {
		emails(tt.emails)
		got, err := o.finish(c, UpstreamAnswer{})
		if err != nil || got.Subject != "583231" || got.Email != tt.email || got.EmailVerified != tt.verified ||
			got.Profile != (store.Profile{Name: "The Octocat", Nickname: "octocat", PreferredUsername: "octocat", Picture: "https://avatars.example/u", ProfileURL: "https://github.com/octocat"}) {
			t.Errorf("%v: %+v, %v", tt.emails, got, err)
		}
	}
	emails(map[string]any{"message": "no array"})
	if _, err := o.finish(c, UpstreamAnswer{}); !errors.Is(err, ErrUpstreamFailed) {
		t.Errorf("no list: %v", err)
	}
	// It answers 200 with an error.
	o.net.serve("github.com/login/oauth/access_token", map[string]any{"error": "bad_verification_code", "error_description": "The code passed is incorrect or expired."})
	if _, err := o.finish(c, UpstreamAnswer{}); !errors.Is(err, ErrUpstreamFailed) {
		t.Errorf("a bad code: %v", err)
	}
}

func TestApple(t *testing.T) {
	o := newOnline(t)
	o.net.provider("appleid.apple.com", map[string]any{"issuer": "https://appleid.apple.com"})
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text, _ := json.Marshal(string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	c := o.connect(StrategyApple, `{"client_id":"id1","app_secret":`+string(text)+`,"team_id":"TEAM","kid":"KEY","name":true,"email":true,"scope":"name email"}`)
	if strings.Contains(string(c.Options), "PRIVATE") {
		t.Errorf("the key is stored in clear: %s", c.Options)
	}
	at, query := o.request(c, UpstreamWishes{LoginHint: "ada"})
	if at != "https://appleid.apple.com/authorize" || query.Get("response_mode") != "form_post" || query.Get("scope") != "openid name email" {
		t.Errorf("%s %v", at, query)
	}
	o.net.idToken = o.claims("https://appleid.apple.com", map[string]any{"email": "x@privaterelay.example", "email_verified": "true", "nonce_supported": true})
	first := UpstreamAnswer{User: `{"name":{"firstName":"Ada","lastName":"Lovelace"},"email":"forged@example.org"}`}
	got, err := o.finish(c, first)
	if err != nil || got.Email != "x@privaterelay.example" || !got.EmailVerified || got.Profile.Name != "Ada Lovelace" || got.Profile.FamilyName != "Lovelace" {
		t.Errorf("%+v, %v", got, err)
	}
	// The secret is a signature, made for this request.
	secret := o.net.form.Get("client_secret")
	parsed, err := jose.ParseSignedCompact(secret, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil || parsed.Signatures[0].Header.KeyID != "KEY" {
		t.Fatalf("%q: %v", secret, err)
	}
	payload, err := parsed.Verify(key.Public())
	var claims map[string]any
	if err != nil || json.Unmarshal(payload, &claims) != nil || claims["iss"] != "TEAM" || claims["sub"] != "id1" || claims["aud"] != "https://appleid.apple.com" ||
		claims["exp"].(float64)-claims["iat"].(float64) > 600 || claims["iat"] != float64(o.clock.now.Unix()) {
		t.Errorf("%s, %v", payload, err)
	}
	// The name comes once, and stays.
	for _, answer := range []UpstreamAnswer{first, {}, {User: "not JSON"}, {User: strings.Repeat(" ", 5<<10)}} {
		got, err := o.finish(c, answer)
		if err != nil {
			t.Fatal(err)
		}
		user, err := o.UpstreamUser(t.Context(), o.tenant, &c, got)
		if err != nil || user.Profile.Name != "Ada Lovelace" || user.Email != "x@privaterelay.example" {
			t.Errorf("%+v: %+v, %v", answer, user, err)
		}
	}
	if _, err := o.finish(c, UpstreamAnswer{Error: "user_cancelled_authorize"}); !errors.Is(err, ErrUpstreamDenied) {
		t.Errorf("cancelled: %v", err)
	}
	other, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	der, _ = x509.MarshalPKCS8PrivateKey(other)
	wrong, _ := json.Marshal(string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	o.refuses(StrategyApple, map[string]string{
		"options.team_id is required":                 `{"client_id":"a","kid":"K","app_secret":` + string(text) + `}`,
		"options.kid is required":                     `{"client_id":"a","team_id":"T","app_secret":` + string(text) + `}`,
		"options.app_secret is required":              `{"client_id":"a","team_id":"T","kid":"K"}`,
		"options.app_secret must be a private key in": `{"client_id":"a","team_id":"T","kid":"K","app_secret":"x"}`,
		"options.app_secret must be a private key of": `{"client_id":"a","team_id":"T","kid":"K","app_secret":` + string(wrong) + `}`,
	})
}

func TestAuth0AndKeycloak(t *testing.T) {
	o := newOnline(t)
	o.net.provider("tenant.auth0.example", map[string]any{"issuer": "https://tenant.auth0.example/", "userinfo_endpoint": "https://tenant.auth0.example/userinfo"})
	o.net.serve("tenant.auth0.example/userinfo", map[string]any{"sub": "s1", "email": "ada@example.com", "email_verified": true, "nickname": "ada"})
	c := o.connect(StrategyAuth0, `{"client_id":"id1","client_secret":"x","domain":"tenant.auth0.example"}`)
	o.net.idToken = o.claims("https://tenant.auth0.example/", map[string]any{"auth_time": o.clock.now.Unix()})
	if got, err := o.finish(c, UpstreamAnswer{}); err != nil || got.Email != "ada@example.com" || got.Profile.Nickname != "ada" || got.AuthenticatedAt.IsZero() {
		t.Errorf("%+v, %v", got, err)
	}
	o.net.idToken = o.claims("https://tenant.auth0.example", nil)
	if got, err := o.finish(c, UpstreamAnswer{}); !errors.Is(err, ErrUpstreamFailed) {
		t.Errorf("without the slash: %+v, %v", got, err)
	}
	o.refuses(StrategyAuth0, map[string]string{
		"options.domain is required": `{"client_id":"a"}`,
		"options.issuer must be":     `{"client_id":"a","domain":"tenant.auth0.example","issuer":"https://other.example/"}`,
		"options.domain must be":     `{"client_id":"a","domain":"tenant.auth0.example/x"}`,
	})

	const realm = "https://sso.example/realms/staff"
	o.net.provider("sso.example/realms/staff", map[string]any{
		"issuer": realm, "userinfo_endpoint": "https://sso.example/me", "token_endpoint_auth_methods_supported": []string{"client_secret_basic"},
		"authorization_response_iss_parameter_supported": true,
	})
	o.net.serve("sso.example/me", map[string]any{"sub": "s1", "preferred_username": "ada", "email": "ada@sso.example", "email_verified": false})
	c = o.connect(StrategyKeycloak, `{"client_id":"id1","client_secret":"x","issuer":"`+realm+`"}`)
	o.net.idToken = o.claims(realm, map[string]any{"azp": "id1", "aud": []string{"id1", "account"}, "acr": "1", "sid": "x", "typ": "ID"})
	if got, err := o.finish(c, UpstreamAnswer{Issuer: realm}); err != nil || got.Profile.PreferredUsername != "ada" || got.Email != "ada@sso.example" || got.EmailVerified || got.ACR != "" {
		t.Errorf("%+v, %v", got, err)
	}
	if o.net.basic != "id1" || o.net.form.Get("client_secret") != "" {
		t.Errorf("basic %q, form %v", o.net.basic, o.net.form)
	}
	// Another realm of the same server is another issuer.
	for _, answer := range []UpstreamAnswer{{Issuer: "https://sso.example/realms/guests"}, {}} {
		if _, err := o.finish(c, answer); !errors.Is(err, ErrUpstreamFailed) {
			t.Errorf("%+v: %v", answer, err)
		}
	}
}

// What comes with Apple's answer, and GitHub's list: an error comes with nothing.
func FuzzPresetParsers(f *testing.F) {
	f.Add([]byte(`{"name":{"firstName":"Ada","lastName":"L"}}`))
	f.Add([]byte(`[{"email":"a@b.example","primary":true,"verified":true}]`))
	f.Add([]byte(`{"name":{"firstName":"\u0000"}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if given, family, err := parseAppleUser(string(raw)); err != nil && given+family != "" || err == nil && (given+family == "" || !isText(given, maxUserText)) {
			t.Errorf("%q %q %v", given, family, err)
		}
		if email, verified, err := parseGitHubEmails(raw); err != nil && (email != "" || verified) {
			t.Errorf("%q %v %v", email, verified, err)
		}
		if key, err := parseAppleKey(string(raw)); err != nil && key != nil {
			t.Error("an error with a key")
		}
	})
}

// After the provider's secret was replaced, secrets of upstreams are sealed with the new
// one, and still open.
func TestUpstreamSecretsAreSealedAnew(t *testing.T) {
	o := newOnline(t)
	const options = `{"client_id":"id1","client_secret":"the client's secret","issuer":"https://op.example"}`
	c := o.connect(StrategyOIDC, options)
	former, current := []byte("a secret of at least thirty-two bytes"), []byte("another secret of at least 32 bytes")
	node := func(secrets ...[]byte) *Directory {
		return o.node(func(cfg *Config) { cfg.Secrets, cfg.Outbound, cfg.Keys = secrets, o.net, o.net })
	}
	opens := func(d *Directory) bool {
		stored, err := d.cfg.Stores.Connections.Connection(t.Context(), tenant.DefaultID, c.ID)
		if err != nil {
			t.Fatal(err)
		}
		read, err := upstreamOptionsOf(&stored)
		if err != nil {
			t.Fatal(err)
		}
		secret, err := d.openSecret(&stored, "client_secret", read.ClientSecret)
		return err == nil && secret == "the client's secret"
	}
	if !opens(node(current, former)) || opens(node(current)) {
		t.Fatal("the secret does not open as it should before")
	}
	for range 2 { // a second time there is nothing to do
		if err := node(current, former).ResealSecrets(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	stored, _ := o.cfg.Stores.Connections.Connection(t.Context(), tenant.DefaultID, c.ID)
	if !opens(node(current)) || stored.Version != c.Version+1 {
		t.Errorf("afterwards: version %d", stored.Version)
	}
	// Moved to another connection it does not open.
	moved := stored
	moved.ID = "con_other"
	read, _ := upstreamOptionsOf(&moved)
	if _, err := node(current).openSecret(&moved, "client_secret", read.ClientSecret); !errors.Is(err, ErrUpstreamFailed) {
		t.Errorf("moved: %v", err)
	}
}
