package main

import (
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"golang.org/x/oauth2"

	"github.com/opkit/opkit/examples/internal/browser"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/redisstore/redistest"
	"github.com/opkit/opkit/store/sqlstore/sqltest/pgtest"
	"github.com/opkit/opkit/tenant"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

const callback = "https://app.example.com/callback"

// A partner that registers is a row of the library's, and a member signs in with the
// password that the library has had for years, wherever the rest is kept.
func TestMemberSignsInToPartner(t *testing.T) {
	for name, at := range map[string]func(t *testing.T) places{
		"SQLite": func(t *testing.T) places { return places{dir: t.TempDir()} },
		"SQLite, PostgreSQL and Redis": func(t *testing.T) places {
			return places{
				dir: t.TempDir(), postgres: pgtest.Start(t).Database(t),
				redis: redistest.New(t, "--save", "").Options(),
			}
		},
	} {
		t.Run(name, func(t *testing.T) { signIn(t, at(t)) })
	}
}

func signIn(t *testing.T, at places) {
	ctx := t.Context()
	stores, library, closeAll, err := openStores(ctx, at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := closeAll(); err != nil {
			t.Error(err)
		}
	})
	if err := enrol(ctx, library); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	issuer := "http://" + listener.Addr().String()
	p, err := newProvider(ctx, issuer, stores, make([]byte, 32), slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: p}}
	server.Start()
	t.Cleanup(server.Close)

	app := register(t, issuer)
	var title string
	var house, secret bool
	row := library.QueryRowContext(ctx, "SELECT title, house, secret IS NOT NULL FROM partners WHERE branch = ? AND code = ?", tenant.DefaultID, app.ClientID)
	if err := row.Scan(&title, &house, &secret); err != nil || title != "Reading Diary" || house || !secret {
		t.Errorf("the partner's row: %q, %v, %v (%v)", title, house, secret, err)
	}

	verifier := oauth2.GenerateVerifier()
	b := browser.New(http.DefaultTransport, callback)
	page, err := b.Open(ctx, app.AuthCodeURL("a-state", oauth2.S256ChallengeOption(verifier)))
	if err != nil {
		t.Fatal(err)
	}
	login, err := page.Button("login-submit")
	if err != nil {
		t.Fatalf("%v\n%s", err, page.Body)
	}
	if page, err = b.Submit(ctx, page, map[string]string{"username": "ADA@example.com", "password": "lending-1815"}, login); err != nil {
		t.Fatal(err)
	}
	allow, err := page.Button("consent-allow")
	if err != nil {
		t.Fatalf("%v\n%s", err, page.Body)
	}
	if page, err = b.Submit(ctx, page, nil, allow); err != nil {
		t.Fatal(err)
	}
	token, err := app.Exchange(ctx, page.Address.Query().Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatalf("%v at %s", err, page.Address)
	}
	if user := userinfo(t, issuer, token.AccessToken); user["sub"] != "card-1815" || user["email"] != "ada@example.com" || user["preferred_username"] != "Ada" {
		t.Errorf("userinfo: %v", user)
	}

	// What the library does to the row counts at once.
	if _, err := library.ExecContext(ctx, "UPDATE members SET suspended = 1"); err != nil {
		t.Fatal(err)
	}
	token.Expiry = token.Expiry.AddDate(-1, 0, 0)
	if _, err := app.TokenSource(ctx, token).Token(); err == nil {
		t.Error("a member who is suspended gets tokens")
	}
	if err := p.Clients().DeleteClient(ctx, tenant.DefaultID, app.ClientID); err != nil {
		t.Fatal(err)
	}
	if clients, err := stores.Clients.Clients(ctx, tenant.DefaultID, store.Page{}); err != nil || len(clients) != 0 {
		t.Errorf("partners after one was deleted: %v, %v", clients, err)
	}
}

func register(t *testing.T, issuer string) oauth2.Config {
	t.Helper()
	resp, err := http.Post(issuer+"/oidc/register", "application/json",
		strings.NewReader(`{"client_name":"Reading Diary","redirect_uris":["`+callback+`"]}`))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var registered struct {
		ClientID string `json:"client_id"`
		Secret   string `json:"client_secret"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&registered); err != nil || resp.StatusCode != http.StatusCreated {
		t.Fatalf("registration: %d, %v", resp.StatusCode, err)
	}
	return oauth2.Config{
		ClientID: registered.ClientID, ClientSecret: registered.Secret, RedirectURL: callback,
		Endpoint: oauth2.Endpoint{AuthURL: issuer + "/authorize", TokenURL: issuer + "/oauth/token", AuthStyle: oauth2.AuthStyleInParams},
		Scopes:   []string{"openid", "profile", "email", "offline_access"},
	}
}

func userinfo(t *testing.T, issuer, token string) map[string]any {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, issuer+"/userinfo", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var user map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&user); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("userinfo: %d, %v", resp.StatusCode, err)
	}
	return user
}
