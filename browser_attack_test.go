package opkit_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// Before client and redirect URI are proven, an error is a page and never a
// redirect.
func TestUnprovenRequestsAreNotRedirected(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount, permissive: true})
		app := w.register(map[string]any{"redirect_uris": []string{"https://app.example.com/callback", "https://app.example.com/second?a=b"}})
		for name, params := range map[string][]string{
			"no client":            {"client_id", ""},
			"unknown client":       {"client_id", "<script>alert(1)</script>"},
			"no redirect_uri":      {"redirect_uri", ""},
			"other path":           {"redirect_uri", "https://app.example.com/callback/x"},
			"path as a prefix":     {"redirect_uri", "https://app.example.com/callbackx"},
			"case of the path":     {"redirect_uri", "https://app.example.com/Callback"},
			"case of the host":     {"redirect_uri", "https://APP.example.com/callback"},
			"query added":          {"redirect_uri", "https://app.example.com/callback?x=y"},
			"query changed":        {"redirect_uri", "https://app.example.com/second?a=c"},
			"fragment":             {"redirect_uri", "https://app.example.com/callback#x"},
			"user information":     {"redirect_uri", "https://app.example.com@evil.example/callback"},
			"port":                 {"redirect_uri", "https://app.example.com:444/callback"},
			"dot segments":         {"redirect_uri", "https://app.example.com/x/../callback"},
			"javascript":           {"redirect_uri", "javascript:alert(1)"},
			"encoded slash":        {"redirect_uri", "https://app.example.com%2fcallback"},
			"line break":           {"redirect_uri", "https://app.example.com/callback\r\nSet-Cookie: a=b"},
			"NUL":                  {"state", "a\x00b"},
			"invalid UTF-8":        {"state", "\xff\xfe"},
			"larger than we carry": {"state", strings.Repeat("x", 20<<10)},
		} {
			for _, responseType := range []string{"code", "token", "nonsense", ""} {
				res := newBrowser(t).get(w.authorizeURL(app, append([]string{"response_type", responseType}, params...)...))
				if res.StatusCode < 400 || res.StatusCode > 499 || res.Header.Get("Location") != "" {
					t.Errorf("%s: %d, Location %q", name, res.StatusCode, res.Header.Get("Location"))
				}
				if !strings.Contains(res.body, "Authorization error") || strings.Contains(res.body, "<script>alert") || strings.Contains(res.body, "evil.example") {
					t.Errorf("%s: page %s", name, text(res.body))
				}
				if res.Header.Get("Access-Control-Allow-Origin") != "" {
					t.Errorf("%s: a page with CORS", name)
				}
			}
		}
		// A parameter that appears twice.
		res := newBrowser(t).get(w.authorizeURL(app) + "&redirect_uri=https://evil.example")
		if res.StatusCode != 400 || res.Header.Get("Location") != "" {
			t.Errorf("duplicate redirect_uri: %d %s", res.StatusCode, res.Header.Get("Location"))
		}
	})
}

// A registration that has vanished: the page names the remedy.
func TestUnknownClientPageNamesTheRemedy(t *testing.T) {
	w := newWorld(t, options{})
	app := w.register(nil)
	if err := w.stores.Clients.DeleteClient(context.Background(), tenant.DefaultID, app.id); err != nil {
		t.Fatal(err)
	}
	if res := newBrowser(t).get(w.authorizeURL(app)); res.StatusCode != 400 || !strings.Contains(text(res.body), "has to register again") {
		t.Errorf("%d %s", res.StatusCode, text(res.body))
	}
}

func TestErrorsAfterProofAreRedirected(t *testing.T) {
	w := newWorld(t, options{permissive: true})
	app := w.register(nil)
	for name, tc := range map[string]struct {
		params   []string
		code     string
		fragment bool
	}{
		"response_type missing":         {[]string{"response_type", ""}, "invalid_request", false},
		"response_type unknown":         {[]string{"response_type", "device"}, "unsupported_response_type", false},
		"response_type twice the same":  {[]string{"response_type", "code code"}, "unsupported_response_type", false},
		"response_type with two spaces": {[]string{"response_type", "code  token"}, "unsupported_response_type", false},
		"response_mode unknown":         {[]string{"response_mode", "carrier_pigeon"}, "invalid_request", false},
		"nonce missing":                 {[]string{"response_type", "id_token token", "nonce", ""}, "invalid_request", true},
		"nonce missing, hybrid":         {[]string{"response_type", "code id_token", "nonce", ""}, "invalid_request", true},
		"plain PKCE":                    {[]string{"code_challenge_method", "plain"}, "invalid_request", false},
		"PKCE method missing":           {[]string{"code_challenge_method", ""}, "invalid_request", false},
		"challenge malformed":           {[]string{"code_challenge", "short"}, "invalid_request", false},
		"challenge missing":             {[]string{"code_challenge", ""}, "invalid_request", false},
		"unknown audience":              {[]string{"audience", "https://unknown.example"}, "invalid_target", false},
		"two targets":                   {[]string{"audience", apiAudience, "resource", "https://other.example/"}, "invalid_target", false},
		"request object":                {[]string{"request", "e30.e30."}, "invalid_request_object", false},
		"request_uri":                   {[]string{"request_uri", "https://app.example.com/r"}, "invalid_request_uri", false},
		"scope with a quote":            {[]string{"scope", `openid "x"`}, "invalid_scope", false},
		"long nonce":                    {[]string{"nonce", strings.Repeat("n", 600)}, "invalid_request", false},
	} {
		res := newBrowser(t).get(w.authorizeURL(app, tc.params...))
		got := res.location(t)
		if got.Get("error") != tc.code || got.Get("state") != "a state/with+odd=signs&more" || got.Get("iss") != w.issuer || got.Get("error_description") == "" {
			t.Errorf("%s: %v", name, got)
		}
		if strings.Contains(res.Header.Get("Location"), "#") != tc.fragment {
			t.Errorf("%s: %s", name, res.Header.Get("Location"))
		}
	}
}

// What a strict client may not do stays out of reach whatever the spelling.
func TestForbiddenFlowsAreUnreachable(t *testing.T) {
	w := newWorld(t, options{})
	app := w.register(nil)
	for _, rt := range []string{"token", "id_token", "id_token token", "token id_token", "code token", "token code", "code id_token", "id_token code", "code id_token token", "token id_token code"} {
		for _, mode := range []string{"", "fragment", "form_post", "query", "web_message"} {
			res := newBrowser(t).get(w.authorizeURL(app, "response_type", rt, "response_mode", mode))
			if strings.Contains(res.body, "login-submit") || strings.Contains(res.Header.Get("Location"), "access_token") {
				t.Errorf("response_type %q, mode %q was not refused", rt, mode)
			}
		}
	}
	if got := newBrowser(t).get(w.authorizeURL(app, "code_challenge", "", "code_challenge_method", "")).location(t); got.Get("error") != "invalid_request" {
		t.Errorf("PKCE is optional for a strict client: %v", got)
	}
	explicit := newWorld(t, options{permissive: true})
	codeOnly := explicit.register(map[string]any{"grant_types": []string{"authorization_code"}, "response_types": []string{"code"}})
	if got := newBrowser(t).get(explicit.authorizeURL(codeOnly, "response_type", "token")).location(t); got.Get("error") != "unauthorized_client" {
		t.Errorf("a client that registered code only gets tokens: %v", got)
	}
}

// The approval step belongs to the browser that began it.
func TestPagesAreBoundToTheBrowser(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount})
		app := w.register(nil)
		attacker, victim := newBrowser(t), newBrowser(t)
		page := attacker.get(w.authorizeURL(app))
		for name, b := range map[string]*browser{"no cookie": newBrowser(t), "another browser": victim} {
			if name == "another browser" {
				victim.get(w.authorizeURL(app))
			}
			if res := b.login(page, "ada@example.com", password); res.StatusCode != 400 || res.Header.Get("Location") != "" {
				t.Errorf("login page of another browser, %s: %d", name, res.StatusCode)
			}
		}
		consent := attacker.login(page, "ada@example.com", password)
		if res := victim.decide(consent, "allow"); res.StatusCode != 400 || res.Header.Get("Location") != "" {
			t.Errorf("consent page of another browser: %d", res.StatusCode)
		}
		// One step's transaction is not another's.
		_, fields := form(t, page)
		if res := attacker.post(w.endpoint.Consent, url.Values{"transaction": {fields.Get("transaction")}, "decision": {"allow"}}); res.StatusCode != 400 {
			t.Errorf("login transaction used for consent: %d", res.StatusCode)
		}
		sealed := fields.Get("transaction")
		for name, altered := range map[string]string{"empty": "", "cut": sealed[:len(sealed)-2], "altered": "A" + sealed[1:] + "A"} {
			if res := attacker.post(w.endpoint.Login, url.Values{"transaction": {altered}, "username": {"ada"}, "password": {password}}); res.StatusCode != 400 {
				t.Errorf("%s transaction: %d", name, res.StatusCode)
			}
		}
		// A form of another site.
		req, _ := http.NewRequest(http.MethodPost, w.endpoint.Login, strings.NewReader(fields.Encode()))
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Sec-Fetch-Site", "cross-site")
		if res := attacker.do(req); res.StatusCode != 403 {
			t.Errorf("cross-site form: %d", res.StatusCode)
		}
	})
}

// A consent page that stays open while the user signs out, or in as somebody
// else, decides nothing.
func TestConsentNeedsItsSession(t *testing.T) {
	w := newWorld(t, options{})
	app := w.register(nil)
	b := newBrowser(t)
	page := b.login(b.get(w.authorizeURL(app)), "ada", password)
	again := b.login(b.get(w.authorizeURL(app, "prompt", "login")), "ada", password)
	if res := b.decide(page, "allow"); res.Header.Get("Location") != "" {
		t.Error("the consent page of an ended session was accepted")
	}
	if res := b.decide(again, "allow"); !res.location(t).Has("code") {
		t.Error("the consent page of the present session was refused")
	}
}

// The session identifier changes at login.
func TestSessionChangesAtLogin(t *testing.T) {
	w := newWorld(t, options{})
	app := w.register(nil)
	b := newBrowser(t)
	u, _ := url.Parse(w.issuer)
	session := func() string {
		for _, c := range b.client.Jar.Cookies(u) {
			if c.Name == "opkit_session" {
				return c.Value
			}
		}
		return ""
	}
	b.client.Jar.SetCookies(u, []*http.Cookie{{Name: "opkit_session", Value: "planted", Path: "/"}})
	b.login(b.get(w.authorizeURL(app)), "ada", password)
	first := session()
	if first == "planted" || first == "" {
		t.Fatalf("session after login: %q", first)
	}
	b.login(b.get(w.authorizeURL(app, "prompt", "login")), "ada", password)
	if second := session(); second == first {
		t.Error("the session identifier did not change")
	}
	if _, err := w.stores.Sessions.Session(context.Background(), tenant.DefaultID, store.DigestOf(first), time.Now()); err == nil {
		t.Error("the session before the login is still alive")
	}
}

// Without a domain connection the login page says so.
func TestNoDomainConnection(t *testing.T) {
	w := newWorld(t, options{notReady: true})
	w.setFlag(true)
	app := w.register(nil)
	res := newBrowser(t).get(w.authorizeURL(app))
	if !strings.Contains(text(res.body), "no connection has been promoted") || strings.Contains(res.body, "login-submit") {
		t.Errorf("%d %s", res.StatusCode, text(res.body))
	}
	if got := newBrowser(t).get(w.authorizeURL(app, "prompt", "none")).location(t); got.Get("error") != "login_required" {
		t.Errorf("prompt=none: %v", got)
	}
}

func TestPagesAreHardened(t *testing.T) {
	w := newWorld(t, options{})
	app := w.register(map[string]any{"logo_uri": "https://evil.example/logo.png"})
	res := newBrowser(t).get(w.authorizeURL(app))
	for header, want := range map[string]string{
		"Content-Security-Policy": "frame-ancestors 'none'", "X-Frame-Options": "DENY", "Cache-Control": "no-store",
		"Referrer-Policy": "same-origin", "X-Content-Type-Options": "nosniff",
	} {
		if !strings.Contains(res.Header.Get(header), want) {
			t.Errorf("%s: %q", header, res.Header.Get(header))
		}
	}
	if strings.Contains(res.body, "evil.example") {
		t.Error("the logo is loaded from the client's server")
	}
	for _, c := range res.Cookies() {
		if !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Secure {
			t.Errorf("cookie over http: %v", c)
		}
	}
}
