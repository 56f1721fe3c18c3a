package opkit_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
	"github.com/opkit/opkit/token"
)

func onEveryMount(t *testing.T, test func(t *testing.T, mount string)) {
	for _, mount := range mounts {
		t.Run(mount, func(t *testing.T) { test(t, mount) })
	}
}

// Every step of the reference page, in its order, by its requests.
func TestReferencePage(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount, permissive: true, notReady: true})

		// By default the feature is disabled.
		res := w.sendJSON(http.MethodPost, w.endpoint.Registration, "", `{"client_name":"x","redirect_uris":["https://client.example.com/callback"]}`)
		if res.StatusCode != http.StatusForbidden || res.json(t)["error"] != "access_denied" {
			t.Fatalf("registration before it is enabled: %d %s", res.StatusCode, res.body)
		}

		bearer := w.managementToken()
		res = w.sendJSON(http.MethodPatch, w.endpoint.Management+"/tenants/settings", bearer, `{ "flags": { "enable_dynamic_client_registration": true } }`)
		if flags, _ := res.json(t)["flags"].(map[string]any); res.StatusCode != 200 || flags["enable_dynamic_client_registration"] != true {
			t.Fatalf("PATCH settings: %d %s", res.StatusCode, res.body)
		}
		res = w.sendJSON(http.MethodPatch, w.endpoint.Management+"/connections/"+w.connection.ID, bearer, `{ "is_domain_connection": true }`)
		if got := res.json(t); res.StatusCode != 200 || got["is_domain_connection"] != true || got["id"] != w.connection.ID {
			t.Fatalf("PATCH connection: %d %s", res.StatusCode, res.body)
		}

		res = w.sendJSON(http.MethodPost, w.endpoint.Registration, "", `{"client_name":"My Dynamic Client","redirect_uris": ["https://client.example.com/callback", "https://client.example.com/callback2"]}`)
		client := res.json(t)
		id, _ := client["client_id"].(string)
		secret, _ := client["client_secret"].(string)
		if res.StatusCode != 201 || !strings.HasPrefix(res.Header.Get("Content-Type"), "application/json") ||
			client["client_name"] != "My Dynamic Client" || client["client_secret_expires_at"] != 0.0 ||
			!alphanumeric(id, 32) || !alphanumeric(secret, 64) {
			t.Fatalf("registration: %d %s", res.StatusCode, res.body)
		}

		// The implicit grant, with nonce and state as the page explains them.
		app := registered{id, secret, "https://client.example.com/callback"}
		got := w.authorize(app, "audience", apiAudience, "scope", "appointments contacts", "response_type", "id_token token",
			"nonce", "a-nonce", "state", "opaque", "code_challenge", "", "code_challenge_method", "")
		if got.Get("error") != "" {
			t.Fatalf("implicit: %v", got)
		}
		access, idToken := claims(t, got.Get("access_token")), claims(t, got.Get("id_token"))
		if got.Get("state") != "opaque" || got.Get("iss") != w.issuer || got.Get("token_type") != "Bearer" || got.Get("expires_in") == "" {
			t.Errorf("implicit response: %v", got)
		}
		if access["aud"] != apiAudience || access["scope"] != "appointments contacts" || access["client_id"] != id {
			t.Errorf("access token: %v", access)
		}
		if idToken["nonce"] != "a-nonce" || idToken["aud"] != id || idToken["at_hash"] == nil || idToken["sub"] != w.user.ID {
			t.Errorf("ID token: %v", idToken)
		}

		// The API accepts the token, by JWKS.
		v, err := token.NewVerifier(token.VerifierConfig{Issuer: w.issuer, Audience: apiAudience, JWKSURL: w.endpoint.JWKS})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.Verify(context.Background(), got.Get("access_token")); err != nil {
			t.Errorf("the API refuses the token: %v", err)
		}
	})
}

func alphanumeric(s string, n int) bool {
	return len(s) == n && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789") == ""
}

func TestCodeFlow(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		for _, permissive := range []bool{false, true} {
			w := newWorld(t, options{mount: mount, permissive: permissive})
			app := w.register(nil)
			got := w.authorize(app, "scope", "openid profile email offline_access")
			if got.Get("code") == "" || got.Get("state") != "a state/with+odd=signs&more" || got.Get("iss") != w.issuer {
				t.Fatalf("authorization response: %v", got)
			}
			res := w.redeem(app, got.Get("code"))
			tokens := res.json(t)
			if res.StatusCode != 200 || res.Header.Get("Cache-Control") != "no-store" {
				t.Fatalf("token response: %d %s", res.StatusCode, res.body)
			}
			idToken := claims(t, tokens["id_token"].(string))
			if idToken["iss"] != w.issuer || idToken["aud"] != app.id || idToken["sub"] != w.user.ID || idToken["nonce"] != "n-0S6_WzA2Mj" {
				t.Errorf("ID token: %v", idToken)
			}
			if idToken["email"] != nil {
				t.Error("the ID token repeats what userinfo gives")
			}
			info := w.userinfo(tokens["access_token"].(string))
			if claims := info.json(t); info.StatusCode != 200 || claims["sub"] != w.user.ID || claims["email"] != "ada@example.com" ||
				claims["email_verified"] != true || claims["name"] != "Ada Lovelace" {
				t.Errorf("userinfo: %d %s", info.StatusCode, info.body)
			}
			refreshed := w.token(app, "grant_type", "refresh_token", "refresh_token", tokens["refresh_token"].(string))
			if out := refreshed.json(t); refreshed.StatusCode != 200 || out["access_token"] == nil || out["refresh_token"] == tokens["refresh_token"] {
				t.Errorf("refresh: %d %s", refreshed.StatusCode, refreshed.body)
			}
		}
	})
}

func (w *world) userinfo(bearer string) *response {
	w.t.Helper()
	req, err := http.NewRequest(http.MethodGet, w.endpoint.UserInfo, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+bearer)
	return newBrowser(w.t).do(req)
}

// Every response type that a permissive client may use returns what it says, in
// the right place, in whatever order it is spelled.
func TestResponseTypes(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount, permissive: true})
		app := w.register(nil)
		b := newBrowser(t)
		for spelling, want := range map[string][]string{
			"code":                {"code"},
			"token":               {"access_token"},
			"id_token":            {"id_token"},
			"id_token token":      {"id_token", "access_token"},
			"token id_token":      {"id_token", "access_token"},
			"code id_token":       {"code", "id_token"},
			"code token":          {"code", "access_token"},
			"code id_token token": {"code", "id_token", "access_token"},
			"token code id_token": {"code", "id_token", "access_token"},
		} {
			got := w.authorizeIn(b, app, "response_type", spelling)
			for _, name := range []string{"code", "id_token", "access_token"} {
				if got.Has(name) != slices.Contains(want, name) {
					t.Errorf("%s: %s present: %v; error %s", spelling, name, got.Has(name), got.Get("error_description"))
				}
			}
			if id := got.Get("id_token"); id != "" {
				c := claims(t, id)
				if (c["c_hash"] != nil) != got.Has("code") || (c["at_hash"] != nil) != got.Has("access_token") {
					t.Errorf("%s: hashes of the ID token: %v", spelling, c)
				}
				// Scope claims travel in the ID token only if there is no other way to them.
				if (c["email"] != nil) != (spelling == "id_token") {
					t.Errorf("%s: email in the ID token: %v", spelling, c["email"])
				}
			}
		}
	})
}

func TestResponseModes(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount, permissive: true})
		app := w.register(map[string]any{"redirect_uris": []string{"https://app.example.com/callback?kept=yes"}})
		b := newBrowser(t)
		w.authorizeIn(b, app) // consent is remembered from here on
		if res := b.get(w.authorizeURL(app)); !strings.HasPrefix(res.Header.Get("Location"), "https://app.example.com/callback?kept=yes&code=") {
			t.Errorf("query: %s", res.Header.Get("Location"))
		}
		if res := b.get(w.authorizeURL(app, "response_mode", "fragment")); !strings.HasPrefix(res.Header.Get("Location"), "https://app.example.com/callback?kept=yes#code=") {
			t.Errorf("fragment: %s", res.Header.Get("Location"))
		}
		res := b.get(w.authorizeURL(app, "response_mode", "form_post"))
		action, fields := form(t, res)
		if action != app.redirectURI || fields.Get("code") == "" || fields.Get("state") != "a state/with+odd=signs&more" || fields.Get("iss") != w.issuer {
			t.Errorf("form_post: %s %v", action, fields)
		}
		res = b.get(w.authorizeURL(app, "response_mode", "web_message"))
		if !strings.Contains(res.body, `"https://app.example.com"`) || !strings.Contains(res.body, `"authorization_response"`) || res.Header.Get("X-Frame-Options") != "" {
			t.Errorf("web_message: %s", res.body)
		}
		if got := b.get(w.authorizeURL(app, "response_type", "token", "response_mode", "query")).location(t); got.Get("error") != "invalid_request" || got.Has("access_token") {
			t.Errorf("tokens in the query: %v", got)
		}
		// Whatever the mode, an unproven redirect URI receives nothing.
		for _, mode := range []string{"", "query", "fragment", "form_post", "web_message", "nonsense"} {
			res := b.get(w.authorizeURL(app, "response_mode", mode, "redirect_uri", "https://app.example.com/other"))
			if res.StatusCode != 400 || res.Header.Get("Location") != "" || strings.Contains(res.body, "app.example.com/other") {
				t.Errorf("mode %q, unregistered redirect_uri: %d %s", mode, res.StatusCode, text(res.body))
			}
		}
	})
}

func TestDiscovery(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount})
		base, path, _ := strings.Cut(strings.TrimPrefix(w.issuer, "http://"), "/")
		if path != "" {
			path = "/" + path
		}
		var first string
		for _, u := range []string{
			w.issuer + "/.well-known/openid-configuration", w.issuer + "/.well-known/oauth-authorization-server",
			"http://" + base + "/.well-known/openid-configuration" + path, "http://" + base + "/.well-known/oauth-authorization-server" + path,
		} {
			res := newBrowser(t).get(u)
			if res.StatusCode != 200 || res.Header.Get("Content-Type") != "application/json" || res.Header.Get("Access-Control-Allow-Origin") != "*" {
				t.Fatalf("%s: %d %s", u, res.StatusCode, res.Header)
			}
			if first == "" {
				first = res.body
			}
			if res.body != first {
				t.Errorf("%s differs from the other form", u)
			}
		}
		var doc map[string]any
		if err := json.Unmarshal([]byte(first), &doc); err != nil {
			t.Fatal(err)
		}
		if doc["issuer"] != w.issuer || doc["authorization_response_iss_parameter_supported"] != true {
			t.Errorf("metadata: %s", first)
		}
		// Every endpoint of the document is there.
		for name, value := range doc {
			u, ok := value.(string)
			if !ok || !strings.HasSuffix(name, "_endpoint") && name != "jwks_uri" {
				continue
			}
			if res := newBrowser(t).get(u); res.StatusCode == 404 || res.StatusCode >= 500 {
				t.Errorf("%s %s: %d", name, u, res.StatusCode)
			}
		}
	})
}

// The registration endpoint is advertised while it is open.
func TestDiscoveryFollowsTheFlag(t *testing.T) {
	w := newWorld(t, options{notReady: true})
	discover := func() map[string]any {
		return newBrowser(t).get(w.issuer + "/.well-known/openid-configuration").json(t)
	}
	if discover()["registration_endpoint"] != nil {
		t.Error("advertised while the flag is off")
	}
	w.setFlag(true)
	if discover()["registration_endpoint"] != w.endpoint.Registration {
		t.Error("not advertised while the flag is on")
	}
}

func (w *world) setFlag(on bool) {
	w.t.Helper()
	if _, err := w.provider.Tenants().UpdateSettings(context.Background(), tenant.DefaultID, func(s *store.TenantSettings) error {
		s.Flags.EnableDynamicClientRegistration = on
		return nil
	}); err != nil {
		w.t.Fatal(err)
	}
}

func TestConsent(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount})
		app := w.register(map[string]any{"client_name": "<b>Bank</b> & Co"})
		b := newBrowser(t)
		page := b.login(b.get(w.authorizeURL(app)), "ADA@example.com ", password)
		for _, want := range []string{"app.example.com", "not verified", "You have not allowed it anything before", "ada@example.com", "&lt;b&gt;Bank&lt;/b&gt; &amp; Co"} {
			if !strings.Contains(page.body, want) {
				t.Errorf("the consent page lacks %q:\n%s", want, text(page.body))
			}
		}
		if got := b.decide(page, "deny").location(t); got.Get("error") != "access_denied" || got.Get("state") == "" || got.Get("iss") != w.issuer {
			t.Errorf("denied: %v", got)
		}
		if got := b.get(w.authorizeURL(app, "prompt", "none")).location(t); got.Get("error") != "login_required" {
			t.Errorf("a refusal was taken for consent: %v", got)
		}
		w.authorizeIn(b, app)
		if res := b.get(w.authorizeURL(app)); !res.location(t).Has("code") {
			t.Error("consent is not remembered")
		}
		if got := b.get(w.authorizeURL(app, "scope", "openid profile email phone", "prompt", "none")).location(t); got.Get("error") != "consent_required" {
			t.Errorf("a wider scope needs no consent: %v", got)
		}
		if res := b.get(w.authorizeURL(app, "prompt", "consent")); !strings.Contains(res.body, "consent-allow") || strings.Contains(res.body, "not allowed it anything before") {
			t.Errorf("prompt=consent: %s", text(res.body))
		}
		if got := w.authorizeIn(b, app, "audience", apiAudience, "prompt", "none"); got.Get("error") != "unauthorized_client" {
			t.Errorf("a strict client without a client grant reaches the API: %v", got)
		}
	})
}

// RFC 8252 §8.6: in strict mode an earlier consent does not speak for whoever
// listens on the user's machine now.
func TestConsentOnLoopback(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		for _, permissive := range []bool{false, true} {
			w := newWorld(t, options{mount: mount, permissive: permissive})
			app := w.register(map[string]any{"redirect_uris": []string{"http://127.0.0.1/callback"}, "token_endpoint_auth_method": "none"})
			app.redirectURI = "http://127.0.0.1:49152/callback"
			b := newBrowser(t)
			page := b.login(b.get(w.authorizeURL(app)), "ada", password)
			if !strings.Contains(page.body, "your own computer") {
				t.Errorf("no loopback warning: %s", text(page.body))
			}
			if res := b.decide(page, "allow"); !strings.HasPrefix(res.Header.Get("Location"), app.redirectURI+"?code=") {
				t.Fatalf("loopback with an ephemeral port: %d %s", res.StatusCode, res.Header.Get("Location"))
			}
			if asked := strings.Contains(b.get(w.authorizeURL(app)).body, "consent-allow"); asked == permissive {
				t.Errorf("permissive %v: asked again: %v", permissive, asked)
			}
		}
	})
}

func TestPromptAndMaxAge(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount})
		app := w.register(nil)
		b := newBrowser(t)
		if got := b.get(w.authorizeURL(app, "prompt", "none")).location(t); got.Get("error") != "login_required" || got.Get("state") == "" {
			t.Errorf("prompt=none without a session: %v", got)
		}
		code := w.authorizeIn(b, app).Get("code")
		first := claims(t, w.redeem(app, code).json(t)["id_token"].(string))["auth_time"].(float64)
		if got := b.get(w.authorizeURL(app, "prompt", "none")).location(t); !got.Has("code") {
			t.Errorf("prompt=none with a session: %v", got)
		}
		w.clock.advance(30 * time.Second)
		if res := b.get(w.authorizeURL(app, "max_age", "10000")); !res.location(t).Has("code") {
			t.Error("max_age=10000 asks for a login")
		}
		for _, params := range [][]string{{"max_age", "10"}, {"prompt", "login"}, {"max_age", "0"}, {"prompt", "select_account"}} {
			res := b.get(w.authorizeURL(app, params...))
			if !strings.Contains(res.body, "login-submit") {
				t.Fatalf("%v: no login page: %d %s", params, res.StatusCode, text(res.body))
			}
			got := b.login(res, "ada@example.com", password).location(t)
			later := claims(t, w.redeem(app, got.Get("code")).json(t)["id_token"].(string))["auth_time"].(float64)
			if later < first+30 {
				t.Errorf("%v: auth_time %v is not later than %v", params, later, first)
			}
		}
		for _, params := range [][]string{{"prompt", "none login"}, {"prompt", "nonsense"}, {"max_age", "-1"}, {"max_age", "1.5"}} {
			if got := b.get(w.authorizeURL(app, params...)).location(t); got.Get("error") != "invalid_request" {
				t.Errorf("%v: %v", params, got)
			}
		}
	})
}

// POST to the authorization endpoint is GET by another method.
func TestAuthorizePost(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount})
		app := w.register(nil)
		u, _ := url.Parse(w.authorizeURL(app))
		b := newBrowser(t)
		page := b.post(w.endpoint.Authorization, u.Query())
		got := b.decide(b.login(page, "ada", password), "allow")
		if got.StatusCode != http.StatusSeeOther || !got.location(t).Has("code") {
			t.Errorf("%d %s", got.StatusCode, got.Header.Get("Location"))
		}
	})
}
