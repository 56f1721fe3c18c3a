package main

import (
	"crypto/x509"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/opkit/opkit"
	"github.com/opkit/opkit/connection"
	"github.com/opkit/opkit/examples/internal/chromium"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
	"github.com/opkit/opkit/tenant"
)

// A partner is another provider, with a user.
type partner struct {
	issuer   string
	provider *opkit.Provider
	roots    *x509.CertPool
}

const (
	partnerClient   = "hosted-login"
	partnerEmail    = "grace@partner.example"
	partnerPassword = "tutorial-1952-Compiler"
)

func newPartner(t *testing.T) *partner {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &partner{issuer: "https://" + listener.Addr().String(), roots: x509.NewCertPool()}
	p.provider, err = opkit.New(opkit.Config{Issuer: p.issuer, Stores: memstore.New().Stores(), Secret: []byte("a secret of the partner, in this test"), Settings: store.TenantSettings{FriendlyName: "Partner"}})
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: p.provider}}
	server.StartTLS()
	t.Cleanup(server.Close)
	p.roots.AddCert(server.Certificate())
	return p
}

// know makes s a client of the partner, and returns the secret.
func (p *partner) know(s *site) (secret string) {
	s.t.Helper()
	_, secret, err := p.provider.Clients().CreateClient(s.t.Context(), store.Client{
		TenantID: tenant.DefaultID, ID: partnerClient, Name: "Hosted Login", FirstParty: true, TokenEndpointAuthMethod: "client_secret_post",
		RedirectURIs: []string{s.issuer + "login/callback"}, GrantTypes: []string{"authorization_code"}, ResponseTypes: []string{"code"},
	}, "")
	if err != nil {
		s.t.Fatal(err)
	}
	users, err := p.provider.Connections().Create(s.t.Context(), store.Connection{TenantID: tenant.DefaultID, Name: "staff", Strategy: connection.StrategyDatabase, EnabledClients: []string{partnerClient}})
	if err == nil {
		_, err = p.provider.Connections().CreateUser(s.t.Context(), store.User{TenantID: tenant.DefaultID, ConnectionID: users.ID, Email: partnerEmail, EmailVerified: true}, partnerPassword)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return secret
}

// newSiteWithPartner is a site whose users may sign in at the partner, too: by a button,
// by a button and by addresses of a domain, and by addresses of another domain alone. These
// connections are open to third-party applications and to the client "own", one more with
// a button is open to that client alone.
func newSiteWithPartner(t *testing.T, l *release, page string) (s *site, redirectURI string) {
	t.Helper()
	l.bundle(t)
	p := newPartner(t)
	s = newSiteOf(t, func(s *site, logger *slog.Logger) (*opkit.Provider, error) {
		return opkit.New(opkit.Config{
			Issuer: s.issuer, Stores: memstore.New().Stores(), Secret: []byte("a secret of the provider, in this test"), Logger: logger,
			Settings: store.TenantSettings{
				FriendlyName: "Hosted Login", LoginPage: store.LoginPage{HTML: page, On: true},
				Flags: store.TenantFlags{EnableDynamicClientRegistration: true}, DynamicClientRegistrationSecurityMode: store.ModePermissive,
			},
			Outbound: opkit.OutboundConfig{InsecureAllow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, RootCAs: p.roots},
		})
	})
	app := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.Write([]byte(`<!doctype html><title>Application</title><h1 id="application">Application</h1>`))
	}))
	t.Cleanup(app.Close)
	redirectURI = app.URL + "/callback"
	if _, _, err := s.provider.Clients().CreateClient(t.Context(), store.Client{
		TenantID: tenant.DefaultID, ID: "own", Name: "Own application", FirstParty: true, TokenEndpointAuthMethod: "none",
		RedirectURIs: []string{redirectURI}, GrantTypes: []string{"implicit"}, ResponseTypes: []string{"id_token token"},
	}, ""); err != nil {
		t.Fatal(err)
	}
	options := map[string]any{"client_id": partnerClient, "client_secret": p.know(s), "issuer": p.issuer}
	show := true
	create := func(name, strategy string, domain bool, options map[string]any, button *bool) {
		t.Helper()
		raw, err := json.Marshal(options)
		if err == nil {
			_, err = s.provider.Connections().Create(t.Context(), store.Connection{
				TenantID: tenant.DefaultID, Name: name, Strategy: strategy, IsDomainConnection: domain, EnabledClients: []string{"own"}, Options: raw, ShowAsButton: button,
			})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	create(database, connection.StrategyDatabase, true, map[string]any{}, nil)
	create("partner-button", connection.StrategyOIDC, true, options, nil)
	create("private-button", connection.StrategyOIDC, false, options, nil)
	options["domain_aliases"] = []string{"partner.example"}
	create("partner-both", connection.StrategyOIDC, true, options, &show)
	options["domain_aliases"] = []string{"quiet.example"}
	create("partner-domain", connection.StrategyOIDC, true, options, nil)
	s.browse(l, 390, 844)
	return s, redirectURI
}

// signInThere signs in at the partner, where the typed address is known if it was handed
// on, and returns what the application received.
func (s *site) signInThere(hint string) url.Values {
	s.t.Helper()
	// Waiting outlives the pages in between; a script would end with the one it is on.
	chromium.Do(s.t, s.tab, chromedp.WaitVisible(chromedp.CSS("#login-submit")))
	s.says("Partner")
	if got := chromium.Do(s.t, s.tab, chromedp.Value(chromedp.CSS("#username"))); got != hint {
		s.t.Errorf("the other provider was told %q, want %q", got, hint)
	}
	if hint == "" {
		chromium.Do(s.t, s.tab, chromedp.SendKeys(chromedp.CSS("#username"), partnerEmail))
	}
	chromium.Do(s.t, s.tab, chromedp.SendKeys(chromedp.CSS("#password"), partnerPassword))
	chromium.Click(s.t, s.tab, "#login-submit")
	chromium.Do(s.t, s.tab, chromedp.WaitVisible(chromedp.CSS("#consent-allow")))
	chromium.Click(s.t, s.tab, "#consent-allow") // the site is on the user's own machine
	chromium.Do(s.t, s.tab, chromedp.WaitVisible(chromedp.CSS("body")))
	return s.arrived()
}

// Lock's buttons lead to the connections that the application may use, and so does the
// domain of an email address: for third-party applications, of which Lock is told with
// the tenant, and for others, of which it is told one by one.
func TestOtherProviders(t *testing.T) {
	for name, l := range releases {
		t.Run(name, func(t *testing.T) {
			for _, client := range []string{"third party", "first party"} {
				for _, way := range []string{"button", "domain"} {
					t.Run(client+"/"+way, func(t *testing.T) {
						s, redirectURI := newSiteWithPartner(t, l.release, l.page)
						id := "own"
						if client == "third party" {
							id = s.registerApplication(map[string]any{"client_name": "My Dynamic Client", "redirect_uris": []string{redirectURI}})
						}
						s.authorize(id, redirectURI)
						s.shows(email)
						s.screenshot("lock-" + name + "-phone-" + way + "-" + client[:5])
						buttons := chromium.Do(t, s.tab, chromedp.Evaluate[int](`document.querySelectorAll(".auth0-lock-social-button").length`))
						if want := map[string]int{"third party": 2, "first party": 3}[client]; buttons != want {
							t.Errorf("%d buttons, want %d", buttons, want)
						}
						var got url.Values
						if way == "button" {
							s.press(".auth0-lock-social-button")
							got = s.signInThere("")
						} else {
							s.fill(email, partnerEmail)
							got = s.signInThere(partnerEmail)
						}
						if got.Get("access_token") == "" || got.Get("id_token") == "" || got.Get("state") != "opaque" || got.Get("iss") != s.issuer {
							t.Errorf("the application received %v", got)
						}
					})
				}
			}
		})
	}
}
