package opkit_test

import (
	"context"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/opkit/opkit"
	"github.com/opkit/opkit/connection"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// essentialACR is a claims parameter that requires one of values.
func essentialACR(t testing.TB, values ...string) string {
	return string(marshal(t, map[string]any{"id_token": map[string]any{"acr": map[string]any{"essential": true, "values": values}}}))
}

// idTokenOf redeems the code of a response and returns the claims of its ID token.
func (w *world) idTokenOf(app registered, got url.Values) map[string]any {
	w.t.Helper()
	if !got.Has("code") {
		w.t.Fatalf("no code: %v", got)
	}
	return claims(w.t, w.redeem(app, got.Get("code")).json(w.t)["id_token"].(string))
}

// silentACR returns the acr of an ID token that the browser's session gets.
func (w *world) silentACR(b *browser, app registered, params ...string) any {
	w.t.Helper()
	return w.idTokenOf(app, b.get(w.authorizeURL(app, append(params, "prompt", "none")...)).location(w.t))["acr"]
}

// What the metadata advertises is what a login gets, by each way of asking; what is
// not known is a wish that cannot be fulfilled.
func TestACRValues(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount})
		var doc struct {
			ACRValues []string `json:"acr_values_supported"`
		}
		res := newBrowser(t).get(w.issuer + "/.well-known/openid-configuration")
		if err := json.Unmarshal([]byte(res.body), &doc); err != nil || !slices.Equal(doc.ACRValues, []string{connection.ACRPasswordProtectedTransport}) {
			t.Fatalf("acr_values_supported is %v, %v", doc.ACRValues, err)
		}
		advertised := doc.ACRValues[0]
		app := w.register(map[string]any{"jwks": publicJWKS(jose.ES256)})
		for name, params := range map[string][]string{
			"not asked":              {},
			"acr_values":             {"acr_values", advertised},
			"second choice":          {"acr_values", "urn:example:gold " + advertised},
			"unknown":                {"acr_values", "1 2"},
			"claim":                  {"claims", essentialACR(t, advertised)},
			"claim of several":       {"claims", essentialACR(t, "urn:example:gold", advertised)},
			"claim as a wish":        {"claims", `{"id_token":{"acr":{"values":["urn:example:gold"]}}}`},
			"claim without a value":  {"claims", `{"id_token":{"acr":{"essential":true}}}`},
			"claim beside a wish":    {"claims", essentialACR(t, advertised), "acr_values", "1 2"},
			"request object":         {"request", w.sign(w.object(app, "acr_values", advertised))},
			"claim in an object":     {"request", w.sign(w.object(app, "claims", json.RawMessage(essentialACR(t, advertised))))},
			"wish of another member": {"claims", `{"userinfo":{"acr":{"essential":true,"values":["urn:example:gold"]}}}`},
		} {
			id := w.idTokenOf(app, w.authorize(app, params...))
			if amr, _ := id["amr"].([]any); id["acr"] != advertised || len(amr) != 1 || amr[0] != "pwd" {
				t.Errorf("%s: %v", name, id)
			}
		}
	})
}

// OpenID Connect Dynamic Client Registration §2: default_acr_values are what is
// asked for where the request asks for nothing.
func TestDefaultACRValues(t *testing.T) {
	w := newWorld(t, options{config: func(c *opkit.Config) { c.ACR = connection.ACRConfig{Values: []string{"0", "1"}, Password: "1"} }})
	app := w.register(map[string]any{"default_acr_values": []string{"9", "0"}})
	b := newBrowser(t)
	w.authorizeIn(b, app)
	for want, params := range map[string][]string{"0": nil, "1": {"acr_values", "1"}} {
		if got := w.silentACR(b, app, params...); got != want {
			t.Errorf("%v: acr %v, want %s", params, got, want)
		}
	}
}

// OpenID Connect Core §5.5.1.1: a class that cannot be met is an error, before
// anybody types a password, and nothing comes of it.
func TestUnmetACR(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount})
		app := w.register(nil)
		for _, claims := range []string{essentialACR(t, "urn:example:gold"), `{"id_token":{"acr":{"essential":true,"value":"2"}}}`, essentialACR(t, "")} {
			b := newBrowser(t)
			if got := b.get(w.authorizeURL(app, "claims", claims)).location(t); got.Get("error") != "unmet_authentication_requirements" || got.Get("state") == "" || got.Has("code") {
				t.Errorf("%s: %v", claims, got)
			}
			// Silence says nothing of who is signed in.
			if got := b.get(w.authorizeURL(app, "claims", claims, "prompt", "none")).location(t); got.Get("error") != "login_required" {
				t.Errorf("%s, prompt=none: %v", claims, got)
			}
		}
		grants, err := w.stores.Grants.Grants(context.Background(), tenant.DefaultID, store.GrantFilter{}, store.Page{})
		if err != nil || len(grants) != 0 {
			t.Errorf("grants: %v, %v", grants, err)
		}
		b := newBrowser(t)
		w.authorizeIn(b, app)
		for prompt, want := range map[string]string{"": "unmet_authentication_requirements", "none": "login_required"} {
			if got := b.get(w.authorizeURL(app, "claims", essentialACR(t, "2"), "prompt", prompt)).location(t); got.Get("error") != want {
				t.Errorf("signed in, prompt=%s: %v", prompt, got)
			}
		}
		if got := newBrowser(t).get(w.authorizeURL(app, "acr_values", strings.Repeat("1 ", 33))).location(t); got.Get("error") != "invalid_request" {
			t.Errorf("33 acr_values: %v", got)
		}
	})
}

// A login that is not good enough is done again where it can become better. The
// host's login reaches the second level, a password the first.
func TestStepUp(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w, h := newHostWorld(t, mount)
		ctx := context.Background()
		if _, err := w.provider.Connections().Create(ctx, store.Connection{TenantID: tenant.DefaultID, Name: "database", Strategy: connection.StrategyDatabase, IsDomainConnection: true}); err != nil {
			t.Fatal(err)
		}
		app := w.register(nil)
		b := newBrowser(t)
		h.acr = "1"
		h.signIn(b, w, "ada", w.clock.now())
		b.decide(b.get(w.authorizeURL(app)), "allow").location(t)
		if got := w.silentACR(b, app); got != "1" {
			t.Fatalf("acr %v", got)
		}
		// A wish does not ask for a login, and is not fulfilled.
		if got := w.silentACR(b, app, "acr_values", "2"); got != "1" {
			t.Errorf("acr %v for the wish", got)
		}
		required := essentialACR(t, "2")
		if got := b.get(w.authorizeURL(app, "claims", required, "prompt", "none")).location(t); got.Get("error") != "login_required" {
			t.Errorf("prompt=none: %v", got)
		}
		// A password would not do, so there is one way.
		res := b.get(w.authorizeURL(app, "claims", required))
		if !slices.Equal(h.request.ACRValues, []string{"2"}) || !h.request.ACRRequired {
			t.Errorf("the host is asked for %+v", h.request)
		}
		// Coming back as before is not enough.
		if got := back(t, b, res).location(t); got.Get("error") != "unmet_authentication_requirements" || got.Has("code") {
			t.Errorf("no better login: %v", got)
		}
		res = b.get(w.authorizeURL(app, "claims", required))
		h.acr = "2"
		if got := w.idTokenOf(app, back(t, b, res).location(t))["acr"]; got != "2" {
			t.Errorf("acr %v after the better login", got)
		}
		// The better login satisfies both.
		for asked, want := range map[string]string{"1": "1", "2": "2", "2 1": "2", "1 2": "1", "9": "2", "": "2"} {
			if got := w.silentACR(b, app, "acr_values", asked); got != want {
				t.Errorf("acr_values %q: acr %v, want %s", asked, got, want)
			}
		}
		if got := w.silentACR(b, app, "claims", required); got != "2" {
			t.Errorf("acr %v", got)
		}
		// The host's word counts at once, also if the login became worse.
		h.acr = "1"
		if got := b.get(w.authorizeURL(app, "claims", required, "prompt", "none")).location(t); got.Get("error") != "login_required" {
			t.Errorf("after the host took it back: %v", got)
		}
		// A wish is passed on as one.
		h.signIn(b, w, "", w.clock.now())
		page := b.get(w.authorizeURL(app, "acr_values", "2 1"))
		if !strings.Contains(page.body, "login-submit") {
			t.Errorf("no choice for a wish: %s", text(page.body))
		}
		_, fields := form(t, page)
		fields.Set("connection", "app")
		b.post(w.endpoint.Login, fields)
		if !slices.Equal(h.request.ACRValues, []string{"2", "1"}) || h.request.ACRRequired {
			t.Errorf("the host is asked for %+v", h.request)
		}
	})
}

// A page that was shown for a class keeps to it.
func TestACRHoldsOnEveryStep(t *testing.T) {
	w := newWorld(t, options{config: func(c *opkit.Config) { c.ACR = connection.ACRConfig{Values: []string{"1", "2"}, Password: "1"} }})
	app := w.register(nil)
	b := newBrowser(t)
	consent := b.login(b.get(w.authorizeURL(app, "claims", essentialACR(t, "1"))), "ada", password)
	// The session becomes worse while the page is open.
	u, _ := url.Parse(w.issuer)
	for _, c := range b.client.Jar.Cookies(u) {
		if c.Name != "opkit_session" {
			continue
		}
		s, err := w.stores.Sessions.Session(context.Background(), tenant.DefaultID, store.DigestOf(c.Value), w.clock.now())
		if err != nil {
			t.Fatal(err)
		}
		s.ACR = ""
		if err := w.stores.Sessions.UpdateSession(context.Background(), s, w.clock.now()); err != nil {
			t.Fatal(err)
		}
	}
	if got := b.decide(consent, "allow").location(t); got.Get("error") != "unmet_authentication_requirements" || got.Has("code") {
		t.Errorf("consent in a session of no class: %v", got)
	}
	if page := b.get(w.authorizeURL(app, "claims", essentialACR(t, "1"))); !strings.Contains(page.body, "login-submit") {
		t.Errorf("a session of no class: %d %s", page.StatusCode, text(page.body))
	}
}

func TestACRConfigIsChecked(t *testing.T) {
	w := newWorld(t, options{})
	_, err := opkit.New(opkit.Config{
		Issuer: "https://login.example.com", Stores: w.stores, Secret: make([]byte, 32),
		ACR: connection.ACRConfig{Values: []string{"1"}, Password: "2"},
	})
	if err == nil || !strings.Contains(err.Error(), "Config.ACR") {
		t.Errorf("error %v", err)
	}
}
