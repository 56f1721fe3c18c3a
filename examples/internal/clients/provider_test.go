package clients

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/opkit/opkit"
	"github.com/opkit/opkit/connection"
	"github.com/opkit/opkit/examples/internal/browser"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
	"github.com/opkit/opkit/tenant"
)

const (
	user     = "ada@example.com"
	password = "correct horse battery staple"
	audience = "https://api.example.com"
)

// onEach runs a test with issuers that have these paths.
func onEach(t *testing.T, paths []string, test func(t *testing.T, issuer string)) {
	for _, path := range paths {
		t.Run("issuer"+strings.ReplaceAll(path, "/", "_"), func(t *testing.T) {
			t.Parallel()
			test(t, newProvider(t, path))
		})
	}
}

// newProvider serves a provider whose issuer has that path, and returns the issuer.
func newProvider(t *testing.T, path string) string {
	t.Helper()
	var handler http.Handler
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	t.Cleanup(server.Close)
	ctx := context.WithoutCancel(t.Context())
	p, err := opkit.New(opkit.Config{
		Issuer: server.URL + path, Stores: memstore.New().Stores(), Secret: bytes.Repeat([]byte{7}, 32),
		Settings: store.TenantSettings{
			Flags:                                 store.TenantFlags{EnableDynamicClientRegistration: true},
			DynamicClientRegistrationSecurityMode: store.ModePermissive,
		},
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	users, err := p.Connections().Create(ctx, store.Connection{
		TenantID: tenant.DefaultID, Name: "users", Strategy: connection.StrategyDatabase, IsDomainConnection: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.Connections().CreateUser(ctx, store.User{
		TenantID: tenant.DefaultID, ConnectionID: users.ID, Email: user, EmailVerified: true, Profile: store.Profile{Name: "Ada Lovelace"},
	}, password)
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.Tenants().CreateAPI(ctx, store.API{
		TenantID: tenant.DefaultID, Audience: audience, Name: "API", UserPolicy: store.PolicyAllowAll,
		Scopes: []store.APIScope{{Value: "read:notes", Description: "Read your notes"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle(strings.TrimSuffix(path, "/")+"/", p)
	mux.Handle("/.well-known/", p)
	handler = mux
	return server.URL + path
}

// signIn goes from an authorization request to where it sends the browser, as the user
// who allows everything.
func signIn(ctx context.Context, address, redirectURI string) (string, error) {
	b := browser.New(nil, redirectURI)
	page, err := b.Open(ctx, address)
	for range 3 {
		if err != nil || strings.HasPrefix(page.Address.String(), redirectURI) {
			break
		}
		if button, failed := page.Button("consent-allow"); failed == nil {
			page, err = b.Submit(ctx, page, nil, button)
		} else {
			page, err = b.Submit(ctx, page, map[string]string{"username": user, "password": password}, "")
		}
	}
	if err == nil && !strings.HasPrefix(page.Address.String(), redirectURI) {
		err = errors.New("the browser ended at " + page.Address.String() + ": " + page.Body)
	}
	if err != nil {
		return "", err
	}
	return page.Address.String(), nil
}
