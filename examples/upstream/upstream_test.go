package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/opkit/opkit"
	"github.com/opkit/opkit/examples/internal/browser"
	"github.com/opkit/opkit/examples/internal/tool"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// site is our provider, and what it takes to look at it.
type site struct {
	t           *testing.T
	provider    *opkit.Provider
	issuer      string
	certificate tls.Certificate
	transport   *http.Transport
	conn        store.Connection
}

const appCallback = "https://app.example/callback"

func newSite(t *testing.T) *site {
	t.Helper()
	certificate, err := newCertificate(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	trusted := x509.NewCertPool()
	trusted.AddCert(certificate.Leaf)
	s := &site{t: t, certificate: certificate, transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted}}}
	s.issuer = s.serve(func(issuer string) http.Handler {
		s.provider, err = newProvider(t.Context(), issuer, trusted, slog.New(slog.NewTextHandler(t.Output(), nil)))
		if err != nil {
			t.Fatal(err)
		}
		return s.provider
	})
	if _, _, err := s.provider.Clients().CreateClient(t.Context(), store.Client{
		TenantID: tenant.DefaultID, ID: "app", Name: "App", FirstParty: true, TokenEndpointAuthMethod: "none", RedirectURIs: []string{appCallback},
		GrantTypes: []string{"authorization_code"}, ResponseTypes: []string{"code"},
	}, ""); err != nil {
		t.Fatal(err)
	}
	return s
}

// serve starts a server for what handler makes of its issuer.
func (s *site) serve(handler func(issuer string) http.Handler) string {
	s.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	issuer := "https://" + listener.Addr().String()
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: handler(issuer)}, TLS: &tls.Config{Certificates: []tls.Certificate{s.certificate}}}
	server.StartTLS()
	s.t.Cleanup(server.Close)
	return issuer
}

// connect connects our provider to an upstream.
func (s *site) connect(o options) {
	s.t.Helper()
	if err := connect(s.t.Context(), s.provider, "partner", "Partner", o); err != nil {
		s.t.Fatal(err)
	}
	all, err := s.provider.Connections().DomainConnections(s.t.Context(), s.tenant())
	if err != nil || len(all) != 1 {
		s.t.Fatal(all, err)
	}
	s.conn = all[0]
	if _, err := s.provider.Connections().Update(s.t.Context(), tenant.DefaultID, s.conn.ID, func(c *store.Connection) error {
		c.EnabledClients = []string{"app"}
		return nil
	}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) tenant() *tenant.Tenant {
	s.t.Helper()
	t, err := s.provider.Tenants().Tenant(s.t.Context(), tenant.DefaultID)
	if err != nil {
		s.t.Fatal(err)
	}
	return t
}

// application is what the application's library does.
func (s *site) application() (*oauth2.Config, context.Context) {
	return &oauth2.Config{
		ClientID: "app", RedirectURL: appCallback, Scopes: []string{"openid", "profile", "email"},
		Endpoint: oauth2.Endpoint{AuthURL: s.issuer + "/authorize", TokenURL: s.issuer + "/oauth/token", AuthStyle: oauth2.AuthStyleInParams},
	}, context.WithValue(s.t.Context(), oauth2.HTTPClient, &http.Client{Transport: s.transport})
}

// signIn begins at the application. through fills in the pages of the upstream, and
// returns where the browser arrives.
func (s *site) signIn(b *browser.Browser, through func(browser.Page) browser.Page, params ...oauth2.AuthCodeOption) url.Values {
	s.t.Helper()
	cfg, _ := s.application()
	verifier := oauth2.GenerateVerifier()
	page, err := b.Open(s.t.Context(), cfg.AuthCodeURL("a-state", append(params, oauth2.S256ChallengeOption(verifier))...))
	if err != nil {
		s.t.Fatal(err)
	}
	if through != nil {
		page = through(page)
	}
	if !strings.HasPrefix(page.Address.String(), appCallback) {
		s.t.Fatalf("the browser is at %s:\n%s", page.Address, page.Body)
	}
	answer := page.Address.Query()
	answer.Set("verifier", verifier)
	return answer
}

// profile redeems a code and asks who the user is.
func (s *site) profile(answer url.Values) string {
	s.t.Helper()
	cfg, ctx := s.application()
	tokens, err := cfg.Exchange(ctx, answer.Get("code"), oauth2.VerifierOption(answer.Get("verifier")))
	if err != nil {
		s.t.Fatalf("%v: %v", answer, err)
	}
	res, err := cfg.Client(ctx, tokens).Get(s.issuer + "/userinfo")
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		s.t.Fatalf("%d %s %v", res.StatusCode, body, err)
	}
	return string(body)
}

func (s *site) submit(b *browser.Browser, page browser.Page, fill map[string]string, button string) browser.Page {
	s.t.Helper()
	next, err := b.Submit(s.t.Context(), page, fill, button)
	if err != nil {
		s.t.Fatalf("%v\n%s", err, page.Body)
	}
	return next
}

func (s *site) pressed(page browser.Page, id string) string {
	s.t.Helper()
	button, err := page.Button(id)
	if err != nil {
		s.t.Fatalf("%v\n%s", err, page.Body)
	}
	return button
}

// The program as it is: opkit at opkit.
func TestPartner(t *testing.T) {
	s := newSite(t)
	var secret string
	partnerIssuer := s.serve(func(issuer string) http.Handler {
		p, made, err := newPartner(t.Context(), issuer, s.issuer+"/login/callback", slog.New(slog.NewTextHandler(t.Output(), nil)))
		if err != nil {
			t.Fatal(err)
		}
		secret = made
		return p
	})
	s.connect(options{ClientID: partnerClientID, ClientSecret: secret, Issuer: partnerIssuer})
	b := browser.New(s.transport, appCallback)
	through := func(page browser.Page) browser.Page {
		t.Helper()
		if !strings.HasPrefix(page.Address.String(), partnerIssuer) {
			t.Fatalf("the browser is at %s", page.Address)
		}
		page = s.submit(b, page, map[string]string{"username": partnerEmail, "password": partnerPassword}, s.pressed(page, "login-submit"))
		if strings.Contains(page.Body, "consent-allow") { // the callback is on this machine
			page = s.submit(b, page, nil, s.pressed(page, "consent-allow"))
		}
		return page
	}
	if got := s.profile(s.signIn(b, through)); !strings.Contains(got, `"email":"`+partnerEmail+`"`) || !strings.Contains(got, "Grace Hopper") {
		t.Errorf("userinfo %s", got)
	}
	// A fresh proof is asked for, and given.
	if got := s.signIn(b, through, oauth2.SetAuthURLParam("prompt", "login")); got.Get("code") == "" {
		t.Errorf("prompt=login: %v", got)
	}
}

// A provider of another make, with its own pages, which leaves claims to userinfo.
func TestOIDCProvider(t *testing.T) {
	s := newSite(t)
	s.connect(options{ClientID: partnerClientID, ClientSecret: "a secret of the other provider", Issuer: s.node()})
	b := browser.New(s.transport, appCallback)
	through := func(page browser.Page) browser.Page {
		t.Helper()
		if strings.Contains(page.Body, `name="login"`) {
			page = s.submit(b, page, map[string]string{"login": "grace", "password": "any"}, "")
		}
		if strings.Contains(page.Body, `value="consent"`) {
			page = s.submit(b, page, nil, "")
		}
		return page
	}
	got := s.profile(s.signIn(b, through))
	for _, want := range []string{`"sub":"oidc|` + s.conn.ID + `|grace"`, `"email":"grace@partner.example"`, `"email_verified":true`, `"name":"Grace Hopper"`} {
		if !strings.Contains(got, want) {
			t.Errorf("userinfo lacks %s: %s", want, got)
		}
	}
	// One session here: no detour.
	if answer := s.signIn(b, nil, oauth2.SetAuthURLParam("prompt", "none")); answer.Get("code") == "" {
		t.Errorf("prompt=none: %v", answer)
	}
	// A fresh proof: it says when the user signed in.
	if answer := s.signIn(b, through, oauth2.SetAuthURLParam("prompt", "login")); answer.Get("code") == "" {
		t.Errorf("prompt=login: %v", answer)
	}
	// The user goes away without signing in.
	stranger := browser.New(s.transport, appCallback)
	answer := s.signIn(stranger, func(page browser.Page) browser.Page {
		t.Helper()
		at := strings.Index(page.Body, "/abort")
		if at < 0 {
			t.Fatalf("no way out:\n%s", page.Body)
		}
		start := strings.LastIndex(page.Body[:at], `"`) + 1
		left, err := stranger.Open(t.Context(), page.Address.Scheme+"://"+page.Address.Host+strings.TrimPrefix(page.Body[start:at], page.Address.Scheme+"://"+page.Address.Host)+"/abort")
		if err != nil {
			t.Fatal(err)
		}
		return left
	})
	if answer.Get("error") != "access_denied" || answer.Get("state") != "a-state" {
		t.Errorf("left: %v", answer)
	}
}

// node starts the provider of testdata and returns its issuer.
func (s *site) node() string {
	t := s.t
	t.Helper()
	tool.Need(t, "node")
	tool.Need(t, "npm")
	dir := t.TempDir()
	for _, from := range []string{"testdata", "testdata/npm"} {
		if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
	}
	if err := tool.InstallPackages(dir); err != nil {
		tool.NotRun(t, err.Error())
	}
	der, err := x509.MarshalECPrivateKey(s.certificate.PrivateKey.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]*pem.Block{"certificate.pem": {Type: "CERTIFICATE", Bytes: s.certificate.Certificate[0]}, "key.pem": {Type: "EC PRIVATE KEY", Bytes: der}}
	for name, block := range files {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	issuer := "https://" + free.Addr().String()
	free.Close()
	cmd := exec.CommandContext(t.Context(), "node", filepath.Join(dir, "provider.mjs"), issuer, s.issuer+"/login/callback", filepath.Join(dir, "certificate.pem"), filepath.Join(dir, "key.pem"))
	if line, err := bufio.NewReader(started(t, cmd)).ReadString('\n'); line != "ready\n" {
		t.Fatalf("%q, %v", line, err)
	}
	return issuer
}

// started starts a program, which ends with the test, and returns what it prints.
func started(t *testing.T, cmd *exec.Cmd) io.Reader {
	t.Helper()
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return out
}
