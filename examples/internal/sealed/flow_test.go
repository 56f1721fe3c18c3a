package sealed

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/opkit/opkit"
	"github.com/opkit/opkit/authorize"
	"github.com/opkit/opkit/connection"
	"github.com/opkit/opkit/examples/internal/browser"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

const (
	callback = "https://app.example.com/callback"
	email    = "ada@example.com"
	password = "correct horse battery staple"
	typo     = "correct horse battery stable"
	another  = "wrong zebra battery staple"
	adminID  = "administrator"
)

// world is a provider and everybody who talks to it.
type world struct {
	t        *testing.T
	provider *opkit.Provider
	issuer   string
	handed   *handed
	client   *http.Client
	user     store.User
	log      *logged
	mails    chan authorize.Mail
	// controls are values that the store does keep, so that a search that finds nothing
	// is known to have looked.
	controls map[string][]byte
}

func newWorld(t *testing.T, stores store.Stores) *world {
	t.Helper()
	ctx := t.Context()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, issuer: "http://" + listener.Addr().String(), handed: newHanded(), log: &logged{}, mails: make(chan authorize.Mail, 2), controls: map[string][]byte{}}
	w.client = &http.Client{Transport: w.handed}
	w.provider, err = opkit.New(opkit.Config{
		Issuer: w.issuer, Stores: stores, Secret: []byte("a secret of at least thirty-two bytes"),
		Settings: store.TenantSettings{
			DynamicClientRegistrationSecurityMode: store.ModePermissive,
			Flags:                                 store.TenantFlags{EnableDynamicClientRegistration: true, EnableDynamicClientManagement: true},
		},
		Endpoints: tenant.Endpoints{CheckSession: "/check-session"},
		Mailer: func(_ context.Context, m authorize.Mail) error {
			w.mails <- m
			return nil
		},
		Logger: slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: w.provider}}
	server.Start()
	t.Cleanup(server.Close)

	users, err := w.provider.Connections().Ensure(ctx, store.Connection{
		TenantID: tenant.DefaultID, Name: "users", Strategy: connection.StrategyDatabase, IsDomainConnection: true,
		Options: json.RawMessage(`{"disable_signup":false}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	w.user, err = w.provider.Connections().CreateUser(ctx, store.User{TenantID: tenant.DefaultID, ConnectionID: users.ID, Email: email}, password)
	if err != nil {
		t.Fatal(err)
	}
	w.handed.add("password", password)
	w.handed.add("mistyped password", typo)
	w.handed.add("password", another)
	w.controls["email"] = []byte(email)
	w.controls["callback"] = []byte(callback)
	return w
}

// administrator makes a client for the management API and returns an access token.
func (w *world) administrator() string {
	w.t.Helper()
	ctx := w.t.Context()
	_, secret, err := w.provider.Clients().CreateClient(ctx, store.Client{
		TenantID: tenant.DefaultID, ID: adminID, Name: "Administrator", FirstParty: true,
		TokenEndpointAuthMethod: "client_secret_post", GrantTypes: []string{"client_credentials"},
	}, "")
	if err != nil {
		w.t.Fatal(err)
	}
	w.handed.add("client_secret of the administrator", secret)
	t, err := w.provider.Tenants().Tenant(ctx, tenant.DefaultID)
	if err != nil {
		w.t.Fatal(err)
	}
	management, err := w.provider.Tenants().API(ctx, t, t.ManagementAudience())
	if err != nil {
		w.t.Fatal(err)
	}
	grant := store.ClientGrant{TenantID: tenant.DefaultID, ClientID: adminID, Audience: management.Audience, SubjectType: store.SubjectClient}
	for _, scope := range management.Scopes {
		grant.Scopes = append(grant.Scopes, scope.Value)
	}
	if _, err := w.provider.Tenants().CreateClientGrant(ctx, grant); err != nil {
		w.t.Fatal(err)
	}
	return w.token("grant_type", "client_credentials", "client_id", adminID, "client_secret", secret, "audience", management.Audience)["access_token"].(string)
}

// call sends a request with a body of JSON or a form and returns the answer's members.
func (w *world) call(method, path, bearer, contentType, body string, want int) map[string]any {
	w.t.Helper()
	address := path
	if !strings.HasPrefix(path, "http") {
		address = w.issuer + path
	}
	req, err := http.NewRequestWithContext(w.t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	resp, err := w.client.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	if resp.StatusCode != want {
		w.t.Fatalf("%s %s: %d %s, want %d", method, path, resp.StatusCode, text, want)
	}
	var members map[string]any
	_ = json.Unmarshal(text, &members) // an answer may be empty
	return members
}

func (w *world) json(method, path, bearer string, body any, want int) map[string]any {
	w.t.Helper()
	text := ""
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			w.t.Fatal(err)
		}
		text = string(encoded)
	}
	return w.call(method, path, bearer, "application/json", text, want)
}

func form(pairs ...string) string {
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	return v.Encode()
}

func (w *world) token(pairs ...string) map[string]any {
	w.t.Helper()
	return w.call(http.MethodPost, "/oauth/token", "", "application/x-www-form-urlencoded", form(pairs...), http.StatusOK)
}

// use does everything, and calls look whenever there is something new to look at.
func (w *world) use(look func(when string)) {
	t := w.t
	ctx := t.Context()
	admin := w.administrator()

	// Registration, with an initial access token, and its management.
	initial := w.json(http.MethodPost, "/api/v2/initial-access-tokens", admin, map[string]any{"uses": 2}, http.StatusCreated)
	initialToken, _ := initial["token"].(string)
	if initialToken == "" {
		t.Fatalf("the initial access token is not in %v", initial)
	}
	metadata := map[string]any{
		"client_name": "Reading Diary", "redirect_uris": []string{callback}, "id_token_signed_response_alg": "HS256",
		"grant_types":    []string{"authorization_code", "refresh_token", "implicit"},
		"response_types": []string{"code", "code id_token token"}, "scope": "openid profile email offline_access",
	}
	app := w.json(http.MethodPost, "/oidc/register", initialToken, metadata, http.StatusCreated)
	look("a registration")
	id, secret := app["client_id"].(string), app["client_secret"].(string)
	configuration, _ := app["registration_client_uri"].(string)
	metadata["client_id"], metadata["client_name"], metadata["client_secret"] = id, "My Reading Diary", secret
	changed := w.json(http.MethodPut, configuration, app["registration_access_token"].(string), metadata, http.StatusOK)
	w.json(http.MethodGet, configuration, changed["registration_access_token"].(string), nil, http.StatusOK)

	// A sign-in with a pushed request, a mistyped password, and consent.
	verifier := oauth2.GenerateVerifier()
	w.handed.add("code_verifier", verifier)
	pushed := w.call(http.MethodPost, "/oauth/par", "", "application/x-www-form-urlencoded", form(
		"client_id", id, "client_secret", secret, "response_type", "code", "redirect_uri", callback, "scope", "openid profile email offline_access",
		"code_challenge", oauth2.S256ChallengeFromVerifier(verifier), "code_challenge_method", "S256", "state", "a-state",
	), http.StatusCreated)
	b := browser.New(w.handed, callback)
	page := w.open(b, "/authorize?"+form("client_id", id, "request_uri", pushed["request_uri"].(string)))
	look("a pushed request")
	page = w.press(b, page, "login-submit", "username", email, "password", typo)
	page = w.press(b, page, "login-submit", "username", email, "password", password)
	look("a login")
	page = w.press(b, page, "consent-allow")
	code := page.Address.Query().Get("code")
	look("a code")
	credentials := []string{"client_id", id, "client_secret", secret}
	tokens := w.token(append(credentials, "grant_type", "authorization_code", "code", code, "redirect_uri", callback, "code_verifier", verifier)...)
	look("tokens")
	fresh := w.token(append(credentials, "grant_type", "refresh_token", "refresh_token", tokens["refresh_token"].(string))...)
	w.call(http.MethodGet, "/userinfo", fresh["access_token"].(string), "", "", http.StatusOK)
	w.call(http.MethodPost, "/oauth/introspect", "", "application/x-www-form-urlencoded", form(append(credentials, "token", fresh["access_token"].(string))...), http.StatusOK)
	look("a refresh")

	// Tokens from the front channel, in the same session.
	page = w.open(b, "/authorize?"+form(append(credentials[:2:2], "response_type", "code id_token token", "redirect_uri", callback,
		"scope", "openid email", "nonce", "a-nonce", "state", "a-state", "code_challenge", oauth2.S256ChallengeFromVerifier(verifier), "code_challenge_method", "S256")...))
	if page.Body != "" {
		page = w.press(b, page, "consent-allow")
	}
	if answer, err := url.ParseQuery(page.Address.EscapedFragment()); err != nil || answer.Get("access_token") == "" || answer.Get("id_token") == "" || answer.Get("code") == "" {
		t.Fatalf("hybrid flow: %s", page.Address)
	}
	look("tokens of the front channel")

	// A client that proves its secret by a signature, and a secret that is replaced.
	signer := w.json(http.MethodPost, "/oidc/register", initialToken, map[string]any{
		"client_name": "Signer", "redirect_uris": []string{callback}, "grant_types": []string{"client_credentials"}, "response_types": []string{},
		"token_endpoint_auth_method": "client_secret_jwt",
	}, http.StatusCreated)
	w.token("grant_type", "client_credentials", "client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
		"client_assertion", w.assertion(signer["client_id"].(string), signer["client_secret"].(string)))
	replaced := w.json(http.MethodPost, "/api/v2/clients/"+id+"/rotate-secret", admin, map[string]any{"overlap": 3600}, http.StatusOK)
	if replaced["client_secret"] == secret {
		t.Fatal("the secret was not replaced")
	}
	look("a new secret")

	// Links in mails.
	account := map[string]any{"client_id": id, "connection": "users", "email": "grace@example.com", "password": another}
	w.json(http.MethodPost, "/dbconnections/signup", "", account, http.StatusOK)
	w.mail(authorize.MailEmailVerification)
	delete(account, "password")
	w.json(http.MethodPost, "/dbconnections/change_password", "", account, http.StatusOK)
	w.mail(authorize.MailPasswordReset)
	look("mails")

	// Another provider: the secret that it gave out, and a sign-in that goes there.
	const upstreamSecret = "a secret that the other provider gave out"
	w.handed.add("client_secret at an upstream", upstreamSecret)
	w.json(http.MethodPost, "/api/v2/connections", admin, map[string]any{
		"name": "partner", "strategy": "oidc", "is_domain_connection": true, "options": map[string]any{
			"client_id": "us", "client_secret": upstreamSecret, "issuer": "https://partner.example", "authorization_endpoint": "https://partner.example/authorize",
			"token_endpoint": "https://partner.example/token", "jwks_uri": "https://partner.example/keys",
		},
	}, http.StatusCreated)
	w.away(id)
	look("another provider")

	// Logging out.
	page = w.open(b, "/oidc/logout?"+form("id_token_hint", fresh["id_token"].(string)))
	if !strings.Contains(page.Body, "logged out") {
		w.press(b, page, "logout-confirm")
	}
	look("logging out")

	sum := sha256.Sum256([]byte(replaced["client_secret"].(string)))
	w.controls["digest of the client secret"] = sum[:]
	if clients, err := w.provider.Clients().InitialAccessToken(ctx, tenant.DefaultID, store.DigestOf(initialToken)); err != nil || clients.Uses != 0 {
		t.Errorf("the initial access token has %d uses (%v)", clients.Uses, err)
	}
	access := store.DigestOf(initialToken)
	w.controls["digest of the initial access token"] = access[:]
}

// away begins a sign-in at the other provider, as far as the state that goes along.
func (w *world) away(id string) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, w.issuer+"/authorize?"+form("client_id", id, "response_type", "code", "redirect_uri", callback,
		"connection", "partner", "code_challenge", oauth2.S256ChallengeFromVerifier(oauth2.GenerateVerifier()), "code_challenge_method", "S256"), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	resp, err := w.handed.RoundTrip(req) // which follows no redirect
	if err != nil {
		w.t.Fatal(err)
	}
	resp.Body.Close()
	location, err := resp.Location()
	if err != nil || location.Host != "partner.example" || location.Query().Get("state") == "" {
		w.t.Fatalf("status %d, sent to %v, %v", resp.StatusCode, location, err)
	}
	for _, name := range []string{"state", "nonce", "code_challenge"} {
		w.handed.add(name+" of a sign-in elsewhere", location.Query().Get(name))
	}
}

// mail takes the next mail, whose link is worth what it says.
func (w *world) mail(kind string) {
	w.t.Helper()
	m := <-w.mails
	link, err := url.Parse(m.Link)
	if err != nil || m.Kind != kind || link.Query().Get("ticket") == "" {
		w.t.Fatalf("a mail of kind %s with the link %s, want %s", m.Kind, m.Link, kind)
	}
	w.handed.add("ticket of a mail", link.Query().Get("ticket"))
}

func (w *world) open(b *browser.Browser, path string) browser.Page {
	w.t.Helper()
	page, err := b.Open(w.t.Context(), w.issuer+path)
	if err != nil {
		w.t.Fatal(err)
	}
	return page
}

func (w *world) press(b *browser.Browser, page browser.Page, button string, fill ...string) browser.Page {
	w.t.Helper()
	pressed, err := page.Button(button)
	if err != nil {
		w.t.Fatalf("%v\n%s", err, page.Body)
	}
	fields := map[string]string{}
	for i := 0; i < len(fill); i += 2 {
		fields[fill[i]] = fill[i+1]
	}
	next, err := b.Submit(w.t.Context(), page, fields, pressed)
	if err != nil {
		w.t.Fatal(err)
	}
	return next
}

// assertion signs with a client's secret (RFC 7523).
func (w *world) assertion(id, secret string) string {
	now := time.Now().Unix()
	claims, err := json.Marshal(map[string]any{"iss": id, "sub": id, "aud": w.issuer, "jti": fmt.Sprint("jti ", now), "iat": now, "exp": now + 60})
	if err != nil {
		w.t.Fatal(err)
	}
	text := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256"}`)) + "." + base64.RawURLEncoding.EncodeToString(claims)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(text))
	text += "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	w.handed.add("client_assertion", text)
	return text
}
