package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/oauth2"

	"github.com/opkit/opkit/examples/internal/browser"
)

const callback = "https://app.example.com/callback"

// world is the shop and an application that registered itself.
type world struct {
	t        *testing.T
	base     string
	metadata map[string]any
	app      oauth2.Config
}

func newWorld(t *testing.T) *world {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, base: "http://" + listener.Addr().String()}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	handler, err := newHandler(ctx, w.base, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: handler}}
	server.Start()
	t.Cleanup(server.Close)

	if status := w.call(http.MethodGet, w.base+"/.well-known/openid-configuration", "", "", &w.metadata); status != http.StatusOK {
		t.Fatalf("metadata: %d", status)
	}
	var registered struct {
		ClientID string `json:"client_id"`
		Secret   string `json:"client_secret"`
	}
	body := `{"client_name":"Parcel Tracker","redirect_uris":["` + callback + `"]}`
	if status := w.call(http.MethodPost, w.endpoint("registration"), "", body, &registered); status != http.StatusCreated {
		t.Fatalf("registration: %d", status)
	}
	w.app = oauth2.Config{
		ClientID: registered.ClientID, ClientSecret: registered.Secret, RedirectURL: callback,
		Endpoint: oauth2.Endpoint{AuthURL: w.endpoint("authorization"), TokenURL: w.endpoint("token"), AuthStyle: oauth2.AuthStyleInParams},
		Scopes:   []string{"openid", "profile", "email", ordersScope, "write:orders"},
	}
	return w
}

func (w *world) endpoint(name string) string {
	w.t.Helper()
	address, _ := w.metadata[name+"_endpoint"].(string)
	if !strings.HasPrefix(address, w.base+"/connect/") {
		w.t.Fatalf("%s_endpoint is %q", name, address)
	}
	return address
}

// call sends a request and decodes the answer into v if it is JSON.
func (w *world) call(method, address, token, body string, v any) int {
	w.t.Helper()
	req, err := http.NewRequest(method, address, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	if v != nil && bytes.HasPrefix(text, []byte("{")) {
		if err := json.Unmarshal(text, v); err != nil {
			w.t.Fatal(err)
		}
	}
	return resp.StatusCode
}

// signIn gets a code and redeems it. It returns the pages that were seen.
func (w *world) signIn(b *browser.Browser, email, password string, options ...oauth2.AuthCodeOption) (*oauth2.Token, []string) {
	w.t.Helper()
	verifier := oauth2.GenerateVerifier()
	options = append(options, oauth2.S256ChallengeOption(verifier), oauth2.SetAuthURLParam("audience", ordersAPI))
	p, err := b.Open(w.t.Context(), w.app.AuthCodeURL("a-state", options...))
	if err != nil {
		w.t.Fatal(err)
	}
	var seen []string
	for p.Body != "" && len(seen) < 5 {
		seen = append(seen, p.Title())
		switch {
		case strings.Contains(p.Title(), "The Gear Shop"):
			p, err = b.Submit(w.t.Context(), p, map[string]string{"email": email, "password": password}, "")
		default:
			allow, missing := p.Button("consent-allow")
			if missing != nil {
				w.t.Fatalf("%v\n%s", missing, p.Body)
			}
			p, err = b.Submit(w.t.Context(), p, nil, allow)
		}
		if err != nil {
			w.t.Fatal(err)
		}
	}
	answer := p.Address.Query()
	if answer.Get("code") == "" || answer.Get("state") != "a-state" || answer.Get("iss") != w.base {
		w.t.Fatalf("after %q the answer is %v", seen, answer)
	}
	token, err := w.app.Exchange(w.t.Context(), answer.Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		w.t.Fatal(err)
	}
	return token, seen
}

// A third-party application signs a customer in with the shop's own page and
// session, and reads the orders.
func TestShopSignsCustomersIn(t *testing.T) {
	w := newWorld(t)
	b := browser.New(http.DefaultTransport, callback)
	token, seen := w.signIn(b, "ada@example.com", "shop-cust-1815")
	if len(seen) != 2 || !strings.Contains(seen[0], "Sign in") {
		t.Errorf("pages of the first sign-in: %q", seen)
	}
	// write:orders is not granted to third parties.
	if scope, _ := token.Extra("scope").(string); scope != "openid profile email "+ordersScope {
		t.Errorf("scope %q", scope)
	}
	var answer struct {
		Customer string
		Orders   []order
	}
	if status := w.call(http.MethodGet, w.base+"/api/orders", token.AccessToken, "", &answer); status != http.StatusOK || answer.Customer != "Ada Lovelace" || len(answer.Orders) != 2 {
		t.Errorf("orders: %d %+v", status, answer)
	}
	if status := w.call(http.MethodGet, w.base+"/api/orders", "", "", nil); status != http.StatusUnauthorized {
		t.Errorf("orders without a token: %d", status)
	}
	var user map[string]any
	if status := w.call(http.MethodGet, w.endpoint("userinfo"), token.AccessToken, "", &user); status != http.StatusOK ||
		user["sub"] != "cust-1815" || user["email"] != "ada@example.com" || user["name"] != "Ada Lovelace" {
		t.Errorf("userinfo: %d %v", status, user)
	}

	if _, seen = w.signIn(b, "", ""); len(seen) != 0 {
		t.Errorf("with the shop's session and the customer's consent there were pages: %q", seen)
	}
	if _, seen = w.signIn(b, "ada@example.com", "shop-cust-1815", oauth2.SetAuthURLParam("prompt", "login")); len(seen) != 1 {
		t.Errorf("prompt=login: %q", seen)
	}
}

// Whoever signs out of the shop is signed out here, and another customer who signs
// in is another user.
// The metadata names nothing that is not mounted.
func TestShopMetadataIsTrue(t *testing.T) {
	w := newWorld(t)
	addresses := 0
	for name, value := range w.metadata {
		address, _ := value.(string)
		if !strings.HasSuffix(name, "_endpoint") && name != "jwks_uri" {
			continue
		}
		addresses++
		if status := w.call(http.MethodGet, address, "", "", nil); status == http.StatusNotFound {
			t.Errorf("%s %s: %d", name, address, status)
		}
	}
	if addresses < 8 {
		t.Errorf("%d addresses in the metadata", addresses)
	}
}

func TestShopDecidesWhoIsSignedIn(t *testing.T) {
	w := newWorld(t)
	b := browser.New(http.DefaultTransport, callback)
	w.signIn(b, "ada@example.com", "shop-cust-1815")
	home, err := b.Open(t.Context(), w.base+"/")
	if err != nil || !strings.Contains(home.Body, "Hello, Ada Lovelace") {
		t.Fatalf("the shop's own page: %v\n%s", err, home.Body)
	}
	if home, err = b.Submit(t.Context(), home, nil, ""); err != nil || !strings.Contains(home.Body, "Sign in to see your orders") {
		t.Fatalf("after signing out: %v\n%s", err, home.Body)
	}
	token, seen := w.signIn(b, "grace@example.com", "shop-cust-1906")
	if len(seen) != 2 {
		t.Errorf("another customer: %q", seen)
	}
	var user map[string]any
	w.call(http.MethodGet, w.endpoint("userinfo"), token.AccessToken, "", &user)
	if user["sub"] != "cust-1906" {
		t.Errorf("userinfo of another customer: %v", user)
	}
}

// The tenant is strict, as every tenant is that does not say otherwise.
func TestShopIsStrict(t *testing.T) {
	w := newWorld(t)
	if !strings.HasPrefix(w.app.ClientID, "tpc_") {
		t.Errorf("client_id %s", w.app.ClientID)
	}
	b := browser.New(http.DefaultTransport, callback)
	for what, address := range map[string]string{
		"implicit":     w.app.AuthCodeURL("s", oauth2.SetAuthURLParam("response_type", "id_token token"), oauth2.SetAuthURLParam("nonce", "n")),
		"without PKCE": w.app.AuthCodeURL("s"),
	} {
		p, err := b.Open(t.Context(), address)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := url.ParseQuery(p.Address.RawQuery + "&" + p.Address.EscapedFragment())
		if err != nil || !strings.HasPrefix(p.Address.String(), callback) || answer.Get("error") == "" {
			t.Errorf("%s: %s %v", what, p.Address, err)
		}
	}
	if status := w.call(http.MethodGet, w.base+"/api/v2/tenants/settings", "", "", nil); status != http.StatusNotFound {
		t.Errorf("the management API is mounted: %d", status)
	}
}

// The shop's login page sends nobody to another site.
func TestLoginPageKeepsToItsSite(t *testing.T) {
	s := newShop("https://shop.example", nil)
	for next, want := range map[string]string{
		"https://shop.example/connect/resume?transaction=x": "https://shop.example/connect/resume?transaction=x",
		"":                                  "/",
		"/":                                 "/",
		"//evil.example/":                   "/",
		"https://evil.example/":             "/",
		"https://shop.example.evil.example": "/",
		"https://shop.example@evil.example": "/",
		"https://u:p@shop.example/":         "/",
		"http://shop.example/":              "/",
		"javascript:alert(1)":               "/",
		"https://shop.example\\@evil":       "/",
	} {
		if got := s.destination(next); got != want {
			t.Errorf("%q leads to %q, not %q", next, got, want)
		}
	}
}
