package opkit_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// A wrong is a request that has to be refused, with how, and what may be written
// all the same.
type wrong struct {
	rule   string
	do     func() *response
	status int
	code   string
	writes string
}

// misuse has what a table of wrongs is made with: applications, a browser that is
// signed in, tokens.
type misuse struct {
	*world
	ledger *ledger

	app, other, public registered
	ada                *browser
	hint               string // ada's ID token for app
	access, refresh    string // of app
}

func newMisuse(t *testing.T, mount string) *misuse {
	t.Helper()
	m := &misuse{ledger: &ledger{}, ada: newBrowser(t)}
	m.world = newWorld(t, options{mount: mount, permissive: true, stores: m.ledger.stores()})
	m.app = m.register(everyFlow(
		"redirect_uris", []string{appRedirectURI, "https://app.example.com/second?a=b"}, "post_logout_redirect_uris", []string{afterLogout},
		"request_uris", []string{"https://app.example.com/object"},
	))
	m.other = m.register(nil)
	m.public = m.register(map[string]any{"redirect_uris": []string{"http://127.0.0.1/cb", "http://localhost/cb?a=b", "com.example.app:/cb"}, "token_endpoint_auth_method": "none"})
	for _, app := range []registered{m.other, m.public} {
		m.authorizeIn(m.ada, app)
	}
	tokens := m.redeem(m.app, m.code()).json(t)
	m.hint, m.access, m.refresh = tokens["id_token"].(string), tokens["access_token"].(string), tokens["refresh_token"].(string)
	m.authorizeIn(m.ada, m.app) // what is written once a session is
	return m
}

// code returns a fresh code of app, and forgets what obtaining it wrote.
func (m *misuse) code() string {
	m.t.Helper()
	code := m.authorizeIn(m.ada, m.app, "scope", "openid profile offline_access").Get("code")
	m.ledger.take()
	return code
}

// each refuses every wrong and calls check for what is particular to the place.
func (m *misuse) each(t *testing.T, list []wrong, check func(t *testing.T, c *wrong, res *response)) {
	t.Helper()
	seen := map[string]bool{}
	for _, c := range list {
		if seen[c.rule] {
			t.Errorf("%q is there twice", c.rule)
		}
		seen[c.rule] = true
		t.Run(c.rule, func(t *testing.T) {
			m.ledger.take()
			res := c.do()
			if res.StatusCode != c.status {
				t.Errorf("status %d, want %d: %s", res.StatusCode, c.status, text(res.body))
			}
			if got := m.ledger.take(); got != c.writes {
				t.Errorf("written: %q, want %q", got, c.writes)
			}
			if internals.MatchString(res.body) {
				t.Errorf("leaks: %s", res.body)
			}
			check(t, &c, res)
		})
	}
}

// A request that proves neither client nor redirect URI ends at a page.
func TestBadAuthorizationRequestsEndAtAPage(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		m := newMisuse(t, mount)
		var list []wrong
		add := func(rule, code string, do func() *response) {
			list = append(list, wrong{rule, do, http.StatusBadRequest, code, ""})
		}
		request := func(rule, code string, app registered, params ...string) {
			add(rule, code, func() *response { return m.ada.get(m.authorizeURL(app, params...)) })
		}
		request("no client_id", "invalid_request", m.app, "client_id", "")
		request("unknown client", "invalid_client", m.app, "client_id", "<script>alert(1)</script>")
		request("no redirect_uri where two are registered", "invalid_request", m.app, "redirect_uri", "")
		for rule, uri := range map[string]string{
			"unregistered redirect_uri": "https://evil.example/callback", "query added": appRedirectURI + "?x=y", "query changed": "https://app.example.com/second?a=c",
			"query left out": "https://app.example.com/second", "fragment": appRedirectURI + "#x", "case of the path": "https://app.example.com/CALLBACK",
			"case of the host": "https://APP.example.com/callback", "user information": "https://app.example.com@evil.example/callback", "wildcard": "https://*.example.com/callback",
			"dot segments": "https://app.example.com/x/../callback", "opaque": "https:app.example.com/callback", "trailing dot": "https://app.example.com./callback", "http": "http://app.example.com/callback",
		} {
			request("redirect_uri: "+rule, "invalid_request", m.app, "redirect_uri", uri)
		}
		for rule, uri := range map[string]string{
			"other loopback host": "http://[::1]:1/cb", "name for address": "http://localhost:1/cb", "other path": "http://127.0.0.1:1/cb/", "query added": "http://127.0.0.1:1/cb?a=b",
			"name that begins like an address": "http://127.evil.example/cb", "name that contains one": "http://127.0.0.1.evil.example/cb", "https": "https://127.0.0.1:1/cb", "short address": "http://127.1/cb",
			"no port there": "com.example.app:1/cb",
		} {
			request("loopback redirect_uri: "+rule, "invalid_request", m.public, "redirect_uri", uri)
		}
		add("redirect_uri twice", "invalid_request", func() *response {
			return m.ada.get(m.authorizeURL(m.app) + "&redirect_uri=" + url.QueryEscape(appRedirectURI))
		})
		add("parameter twice", "invalid_request", func() *response { return m.ada.get(m.authorizeURL(m.app) + "&state=x") })
		request("larger than is carried", "invalid_request", m.app, "state", strings.Repeat("x", 17<<10))
		request("pushed request that nobody pushed", "invalid_request_uri", m.app, "request_uri", pushedPrefix+"x")
		request("bad object and bad redirect_uri", "invalid_request_object", m.app, "request", "e30.e30.", "redirect_uri", "https://evil.example/")
		request("redirect_uri only in an object that is refused", "invalid_request_object", m.app, "redirect_uri", "",
			"request", unsignedObject(t, map[string]any{"redirect_uri": appRedirectURI, "iss": "somebody"}))
		request("unregistered redirect_uri in an object", "invalid_request", m.app, "request", unsignedObject(t, m.object(m.app, "redirect_uri", "https://evil.example/")))
		request("object that is larger than is read", "invalid_request_object", m.app, "request", unsignedObject(t, m.object(m.app, "x", strings.Repeat("x", 15<<10))))
		add("pushed request of another client", "invalid_request_uri", func() *response {
			uri, err := url.Parse(m.pushed(m.app))
			m.ledger.take()
			if err != nil {
				t.Fatal(err)
			}
			q := uri.Query()
			q.Set("client_id", m.other.id)
			return m.ada.get(m.endpoint.Authorization + "?" + q.Encode())
		})
		add("pushed request that was answered", "invalid_request_uri", func() *response {
			uri := m.pushed(m.app)
			m.ada.get(uri).location(t)
			m.ledger.take()
			return m.ada.get(uri)
		})
		m.each(t, list, func(t *testing.T, c *wrong, res *response) {
			if heading(res) != "Authorization error" || !refusedByPage(res, c.code) {
				t.Errorf("Location %q, page %s", res.Header.Get("Location"), text(res.body))
			}
			if strings.Contains(res.body, "evil.example") || strings.Contains(res.body, "<script>alert") {
				t.Error("what came is on the page")
			}
		})
	})
}

// What is wrong after that goes back to the application, with state and issuer and
// nothing that is worth something.
func TestBadAuthorizationRequestsGoBack(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		m := newMisuse(t, mount)
		signing := m.register(everyFlow("jwks", publicJWKS(jose.ES256), "request_object_signing_alg", "ES256"))
		m.authorizeIn(m.ada, signing)
		pushing := m.register(everyFlow("require_pushed_authorization_requests", true))
		narrow := m.register(map[string]any{"grant_types": []string{"authorization_code"}, "response_types": []string{"code"}})
		parts := strings.Split(m.hint, ".")
		list := []wrong{}
		request := func(rule, code string, app registered, params ...string) {
			list = append(list, wrong{rule, func() *response { return m.ada.get(m.authorizeURL(app, params...)) }, http.StatusFound, code, ""})
		}
		request("response_type missing", "invalid_request", m.app, "response_type", "")
		request("response_type unknown", "unsupported_response_type", m.app, "response_type", "device")
		request("response_type that is not registered", "unauthorized_client", narrow, "response_type", "id_token")
		request("none that is not registered", "unauthorized_client", narrow, "response_type", "none")
		for _, rt := range []string{"id_token", "id_token token", "code id_token", "code id_token token"} {
			request("no nonce for "+rt, "invalid_request", m.app, "response_type", rt, "nonce", "")
		}
		request("tokens in the query", "invalid_request", m.app, "response_type", "token", "response_mode", "query")
		request("response_mode unknown", "invalid_request", m.app, "response_mode", "jwt")
		request("none beside another prompt", "invalid_request", m.app, "prompt", "none login")
		request("prompt unknown", "invalid_request", m.app, "prompt", "create")
		request("max_age negative", "invalid_request", m.app, "max_age", "-1")
		request("challenge by plain", "invalid_request", m.app, "code_challenge_method", "plain")
		request("challenge without a method", "invalid_request", m.app, "code_challenge_method", "")
		request("challenge too short", "invalid_request", m.app, "code_challenge", "x")
		request("scope with a quote", "invalid_scope", m.app, "scope", `openid "`)
		request("unknown API", "invalid_target", m.app, "audience", "https://unknown.example/")
		request("two APIs", "invalid_target", m.app, "audience", apiAudience, "resource", "https://other.example/")
		request("registration", "registration_not_supported", m.app, "registration", "{}")
		request("claims that are no JSON", "invalid_request", m.app, "claims", "{")
		request("claims with a member twice", "invalid_request", m.app, "claims", `{"id_token":{},"id_token":{}}`)
		request("required class that no login has", "unmet_authentication_requirements", m.app, "claims", essentialACR(t, "gold"))
		request("required user is another", "login_required", m.app, "prompt", "none", "claims", `{"id_token":{"sub":{"value":"x"}}}`)
		request("max_age passed, silently", "login_required", m.app, "prompt", "none", "max_age", "0")
		request("wider scope, silently", "consent_required", m.app, "prompt", "none", "scope", "openid phone")
		request("hint that is no token", "login_required", m.app, "prompt", "none", "id_token_hint", "x")
		request("hint without a signature", "login_required", m.app, "prompt", "none", "id_token_hint", compact(`{"alg":"none"}`, string(decode(t, parts[1])), ""))
		request("hint that was changed", "login_required", m.app, "prompt", "none", "id_token_hint", parts[0]+"."+compact(`{"sub":"x"}`)+"."+parts[2])
		request("access token as a hint", "login_required", m.app, "prompt", "none", "id_token_hint", m.access)
		request("request_uri that is not registered", "invalid_request_uri", m.app, "request_uri", "https://app.example.com/other")
		request("request_uri with a longer query", "invalid_request_uri", m.app, "request_uri", "https://app.example.com/object?x")
		request("request that was not pushed", "invalid_request", pushing)
		for rule, object := range map[string]string{
			"no JWT": "x", "unsigned, registered signed": unsignedObject(t, m.object(signing)), "changed": m.sign(m.object(signing))[:40] + "x",
			"of another client": m.sign(m.object(signing, "iss", m.other.id)), "for another server": m.sign(m.object(signing, "aud", "https://other.example/")),
			"expired":           m.sign(m.object(signing, "exp", m.clock.now().Add(-2*time.Minute).Unix())),
			"keyed with secret": signObject(t, jose.HS256, []byte(signing.secret), nil, marshal(t, m.object(signing))),
			"object in it":      m.sign(m.object(signing, "request", "x")), "crit": compact(`{"alg":"ES256","crit":["b64"],"b64":false}`, "{}", "x"),
		} {
			request("request object: "+rule, "invalid_request_object", signing, "request", object)
		}
		list = append(list,
			wrong{"nobody is signed in", func() *response { return newBrowser(t).get(m.authorizeURL(m.app, "prompt", "none")) }, http.StatusFound, "login_required", ""},
			wrong{"consent refused", func() *response {
				return m.ada.decide(m.ada.get(m.authorizeURL(narrow)), "deny")
			}, http.StatusSeeOther, "access_denied", ""},
		)
		m.each(t, list, func(t *testing.T, c *wrong, res *response) {
			got := res.location(t)
			if !strings.HasPrefix(res.Header.Get("Location"), appRedirectURI+"?") && !strings.HasPrefix(res.Header.Get("Location"), appRedirectURI+"#") {
				t.Errorf("Location %q", res.Header.Get("Location"))
			}
			if got.Get("error") != c.code || got.Get("state") == "" || got.Get("iss") != m.issuer {
				t.Errorf("%v, want %s", got, c.code)
			}
			for name := range got {
				if !slices.Contains([]string{"error", "error_description", "state", "iss"}, name) {
					t.Errorf("%s in an error", name)
				}
			}
		})
	})
}

// Requests to log out that prove nothing end at a page, and nobody is logged out.
func TestBadLogoutRequestsEndAtAPage(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		m := newMisuse(t, mount)
		parts := strings.Split(m.hint, ".")
		var list []wrong
		for rule, params := range map[string][]string{
			"hint that is no token":                {"id_token_hint", "x", "post_logout_redirect_uri", afterLogout},
			"hint without a signature":             {"id_token_hint", compact(`{"alg":"none"}`, decode(t, parts[1]), ""), "post_logout_redirect_uri", afterLogout},
			"hint that was changed":                {"id_token_hint", parts[0] + "." + compact(`{"sub":"x"}`) + "." + parts[2], "post_logout_redirect_uri", afterLogout},
			"hint keyed with the secret":           {"id_token_hint", signObject(t, jose.HS256, []byte(m.app.secret), nil, []byte(decode(t, parts[1]))), "post_logout_redirect_uri", afterLogout},
			"no hint":                              {"post_logout_redirect_uri", afterLogout, "state", "s"},
			"unregistered address":                 {"id_token_hint", m.hint, "post_logout_redirect_uri", "https://evil.example/"},
			"query added to the address":           {"id_token_hint", m.hint, "post_logout_redirect_uri", afterLogout + "?x=y"},
			"redirect URI as the address":          {"id_token_hint", m.hint, "post_logout_redirect_uri", appRedirectURI},
			"hint of another client":               {"id_token_hint", m.hint, "client_id", m.other.id},
			"unknown client":                       {"client_id", "<script>alert(1)</script>"},
			"address of one client, hint of other": {"client_id", m.other.id, "post_logout_redirect_uri", afterLogout},
		} {
			list = append(list, wrong{rule, func() *response { return m.ada.get(m.endSession(params...)) }, http.StatusBadRequest, "invalid_request", ""})
		}
		m.each(t, list, func(t *testing.T, c *wrong, res *response) {
			if heading(res) != "Logout error" || !refusedByPage(res, "invalid_") {
				t.Errorf("Location %q, page %s", res.Header.Get("Location"), text(res.body))
			}
			if strings.Contains(res.body, "evil.example") || strings.Contains(res.body, "<script>alert") {
				t.Error("what came is on the page")
			}
		})
		if !m.signedIn(m.ada, m.app) {
			t.Error("a request that was refused logged out")
		}
	})
}

// What is shown of a request cannot become part of the page.
func TestWhatARequestSaysIsEscaped(t *testing.T) {
	w := newWorld(t, options{})
	const script = `"><script>alert(1)</script>'`
	app := w.register(map[string]any{"client_name": script})
	b := newBrowser(t)
	for name, page := range map[string]*response{
		"login page": b.get(w.authorizeURL(app, "login_hint", script, "state", script, "ui_locales", script)),
		"page after a wrong password": func() *response {
			return b.login(b.get(w.authorizeURL(app)), script, "wrong")
		}(),
		"form post":   b.finish(b.get(w.authorizeURL(app, "response_mode", "form_post", "state", script))),
		"web message": b.finish(b.get(w.authorizeURL(app, "response_mode", "web_message", "state", script))),
		"logout page": b.get(w.endSession("client_id", app.id, "state", script)),
	} {
		if page.StatusCode != http.StatusOK && page.StatusCode != http.StatusUnauthorized || strings.Contains(page.body, "<script>alert") {
			t.Errorf("%s: %d %s", name, page.StatusCode, page.body)
		}
	}
}
