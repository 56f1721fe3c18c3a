package main

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/opkit/opkit"
	"github.com/opkit/opkit/audit"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
	"github.com/opkit/opkit/tenant"
)

// site is a provider on loopback, and its client for the management API.
type site struct {
	*opkit.Provider
	stores store.Stores
	server *httptest.Server
	issuer string // with a slash at the end, as SDKs expect
	secret string
}

func newSite(t *testing.T, https bool) *site {
	t.Helper()
	var p http.Handler
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.ServeHTTP(w, r) })
	start := httptest.NewServer
	if https {
		start = httptest.NewTLSServer
	}
	s := &site{server: start(handler)}
	t.Cleanup(s.server.Close)
	s.issuer = s.server.URL + "/"
	var err error
	s.stores = memstore.New().Stores()
	if s.Provider, s.secret, err = newProvider(t.Context(), s.issuer, s.stores, slog.New(slog.NewTextHandler(t.Output(), nil))); err != nil {
		t.Fatal(err)
	}
	p = s.Provider
	return s
}

// onBoth runs a test over http and over https.
func onBoth(t *testing.T, test func(t *testing.T, s *site)) {
	for name, https := range map[string]bool{"http": false, "https": true} {
		t.Run(name, func(t *testing.T) { test(t, newSite(t, https)) })
	}
}

// domain is what SDKs call the provider's host.
func (s *site) domain() string {
	_, host, _ := strings.Cut(s.server.URL, "//")
	return host
}

// allow makes a grant, as a user's consent would.
func (s *site) allow(t *testing.T, user, client string) {
	t.Helper()
	err := s.stores.Grants.CreateGrant(context.WithoutCancel(t.Context()), store.Grant{
		TenantID: tenant.DefaultID, ID: "grant-of-" + client, UserID: user, ClientID: client, Scopes: []string{"openid"},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// signIn leaves behind what a user's sign-in with an application does: a session, a
// refresh token and entries of the log, the last one a minute ago.
func (s *site) signIn(t *testing.T, user, client string) {
	t.Helper()
	ctx, now := context.WithoutCancel(t.Context()), time.Now()
	s.allow(t, user, client)
	_, err := s.stores.Grants.StartFamily(ctx, store.Family{
		TenantID: tenant.DefaultID, ID: "tokens-of-" + client, GrantID: "grant-of-" + client, UserID: user, ClientID: client, SID: "SID1", Offline: true,
		CreatedAt: now, ExpiresAt: now.Add(time.Hour),
	}, now)
	if err == nil {
		err = s.stores.Sessions.CreateSession(ctx, store.Session{
			TenantID: tenant.DefaultID, ID: store.DigestOf("cookie"), SID: "SID1", UserID: user, ClientIDs: []string{client}, AMR: []string{"pwd"},
			AuthenticatedAt: now, CreatedAt: now, ExpiresAt: now.Add(time.Hour),
		})
	}
	var log []store.Event
	for i, e := range []store.Event{{Type: string(audit.SignIn), Outcome: string(audit.Refused)}, {Type: string(audit.SignIn), Outcome: string(audit.Allowed)}, {Type: string(audit.Consent), Outcome: string(audit.Allowed)}} {
		e.TenantID, e.Time, e.UserID, e.ClientID, e.Address = tenant.DefaultID, now.Add(time.Duration(i-3)*time.Minute), user, client, "192.0.2.1"
		e.ID, e.ExpiresAt, e.Reasons = store.EventPosition(e.Time)+"x", now.Add(time.Hour), []string{"because"}
		log = append(log, e)
	}
	if err == nil {
		_, err = s.stores.Events.AppendEvents(ctx, log)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// The program is what its documentation says.
func TestAdminister(t *testing.T) {
	s := newSite(t, false)
	var out strings.Builder
	if err := administer(t.Context(), s.issuer, machineID, s.secret, &out); err != nil {
		t.Fatal(err)
	}
	response, err := http.Post(s.issuer+"oidc/register", "application/json", strings.NewReader(`{"client_name":"App","redirect_uris":["https://app.example.com/cb"]}`))
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusCreated || !strings.Contains(out.String(), "oidc/register") {
		t.Errorf("%d after %s", response.StatusCode, &out)
	}
	list, err := s.stores.Connections.Connections(t.Context(), tenant.DefaultID, store.Page{})
	if err != nil || len(list) != 1 || !list[0].IsDomainConnection {
		t.Errorf("%v %v", list, err)
	}
}
