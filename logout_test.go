package opkit_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"html"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opkit/opkit"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
	"github.com/opkit/opkit/tenant"
)

const (
	afterLogout      = "https://app.example.com/bye"
	afterLogoutQuery = "https://app.example.com/bye?from=op"
)

// loggedIn signs ada in with an application that may log out, and returns what
// the application holds.
func (w *world) loggedIn(b *browser, metadata map[string]any) (app registered, tokens map[string]any) {
	w.t.Helper()
	request := map[string]any{"post_logout_redirect_uris": []string{afterLogout, afterLogoutQuery}}
	for k, v := range metadata {
		request[k] = v
	}
	app = w.register(request)
	tokens = w.redeem(app, w.authorizeIn(b, app, "scope", "openid offline_access").Get("code")).json(w.t)
	if tokens["id_token"] == nil || tokens["refresh_token"] == nil {
		w.t.Fatalf("tokens: %v", tokens)
	}
	return app, tokens
}

// endSession returns a logout request of name, value pairs.
func (w *world) endSession(params ...string) string {
	v := url.Values{}
	for i := 0; i < len(params); i += 2 {
		v.Set(params[i], params[i+1])
	}
	return w.endpoint.EndSession + "?" + v.Encode()
}

// signedIn reports whether the browser still has a session.
func (w *world) signedIn(b *browser, app registered) bool {
	w.t.Helper()
	return b.get(w.authorizeURL(app, "prompt", "none")).location(w.t).Get("error") != "login_required"
}

func heading(page *response) string {
	m := regexp.MustCompile(`<h1>(.*?)</h1>`).FindStringSubmatch(page.body)
	if m == nil {
		return ""
	}
	return html.UnescapeString(m[1])
}

// wantHeading checks that a page came, and nothing that leads away from it.
func wantHeading(t testing.TB, res *response, status int, want string) {
	t.Helper()
	if res.StatusCode != status || heading(res) != want || res.Header.Get("Location") != "" {
		t.Errorf("status %d, heading %q, Location %q; want %d, %q", res.StatusCode, heading(res), res.Header.Get("Location"), status, want)
	}
}

// confirm presses the button of the confirmation page.
func (b *browser) confirm(page *response) *response {
	b.t.Helper()
	if !strings.Contains(page.body, `id="logout-confirm"`) {
		b.t.Fatalf("status %d: not the confirmation page: %s", page.StatusCode, text(page.body))
	}
	action, fields := form(b.t, page)
	return b.post(action, fields)
}

// A valid hint for the user who is signed in logs out at once, by GET and by POST,
// and everything that the session gave is dead afterwards.
func TestLogoutWithHint(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			w := newWorld(t, options{mount: mount, permissive: true})
			b := newBrowser(t)
			app, tokens := w.loggedIn(b, nil)
			request := url.Values{
				"id_token_hint": {tokens["id_token"].(string)}, "post_logout_redirect_uri": {afterLogout},
				"state": {"a&b=c#d"}, "ui_locales": {"de"}, "logout_hint": {"ada"},
			}
			var res *response
			want := http.StatusFound
			if method == http.MethodGet {
				res = b.get(w.endpoint.EndSession + "?" + request.Encode())
			} else {
				res, want = b.post(w.endpoint.EndSession, request), http.StatusSeeOther
			}
			if got := res.Header.Get("Location"); res.StatusCode != want || got != afterLogout+"?state=a%26b%3Dc%23d" {
				t.Fatalf("%s: %d %s", method, res.StatusCode, got)
			}
			if w.signedIn(b, app) {
				t.Errorf("%s: still signed in", method)
			}
			if res := w.token(app, "grant_type", "refresh_token", "refresh_token", tokens["refresh_token"].(string)); res.StatusCode != 400 {
				t.Errorf("%s: refresh: %d", method, res.StatusCode)
			}
			if res := w.userinfo(tokens["access_token"].(string)); res.StatusCode != 401 {
				t.Errorf("%s: userinfo: %d", method, res.StatusCode)
			}
			u, _ := url.Parse(w.issuer)
			for _, c := range b.client.Jar.Cookies(u) {
				if c.Name == "opkit_session" {
					t.Errorf("%s: the session cookie is still there", method)
				}
			}
		}
	})
}

func TestLogoutAnswers(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount, permissive: true})
		for name, test := range map[string]struct {
			params   func(hint string, app registered) []string
			confirm  bool
			location string // empty: the page "You are logged out"
		}{
			"no parameters": {func(string, registered) []string { return nil }, true, ""},
			"only state":    {func(string, registered) []string { return []string{"state", "s"} }, true, ""},
			"hint without redirect": {func(hint string, _ registered) []string {
				return []string{"id_token_hint", hint, "state", "s"}
			}, false, ""},
			"hint without state": {func(hint string, _ registered) []string {
				return []string{"id_token_hint", hint, "post_logout_redirect_uri", afterLogout}
			}, false, afterLogout},
			"registered query": {func(hint string, app registered) []string {
				return []string{"id_token_hint", hint, "client_id", app.id, "post_logout_redirect_uri", afterLogoutQuery, "state", "s"}
			}, false, afterLogoutQuery + "&state=s"},
			"client without hint": {func(_ string, app registered) []string {
				return []string{"client_id", app.id, "post_logout_redirect_uri", afterLogout, "state", "s"}
			}, true, afterLogout + "?state=s"},
		} {
			b := newBrowser(t)
			app, tokens := w.loggedIn(b, nil)
			res := b.get(w.endSession(test.params(tokens["id_token"].(string), app)...))
			if test.confirm {
				wantHeading(t, res, 200, "Log out")
				if !w.signedIn(b, app) {
					t.Errorf("%s: logged out before the user confirmed", name)
				}
				res = b.confirm(res)
			}
			if test.location == "" {
				wantHeading(t, res, 200, "You are logged out")
			} else if got := res.Header.Get("Location"); got != test.location {
				t.Errorf("%s: %d, Location %q, want %q", name, res.StatusCode, got, test.location)
			}
			if w.signedIn(b, app) {
				t.Errorf("%s: still signed in", name)
			}
		}
	})
}

// An expired ID token is still a hint.
func TestLogoutWithExpiredHint(t *testing.T) {
	w := newWorld(t, options{})
	b := newBrowser(t)
	_, tokens := w.loggedIn(b, nil)
	w.clock.advance(26 * time.Hour)
	res := b.get(w.endSession("id_token_hint", tokens["id_token"].(string), "post_logout_redirect_uri", afterLogout))
	if res.Header.Get("Location") != afterLogout {
		t.Errorf("%d %s", res.StatusCode, text(res.body))
	}
}

// An ID token that is signed with the client's secret is a hint too.
func TestLogoutWithHintOfHS256(t *testing.T) {
	w := newWorld(t, options{permissive: true})
	b := newBrowser(t)
	app, tokens := w.loggedIn(b, map[string]any{"id_token_signed_response_alg": "HS256"})
	forged := strings.Split(tokens["id_token"].(string), ".")
	mac := hmac.New(sha256.New, []byte("guess"))
	mac.Write([]byte(forged[0] + "." + forged[1]))
	wantHeading(t, b.get(w.endSession("id_token_hint", forged[0]+"."+forged[1]+"."+base64.RawURLEncoding.EncodeToString(mac.Sum(nil)))), 400, "Logout error")
	if !w.signedIn(b, app) {
		t.Fatal("a forged hint logged out")
	}
	res := b.get(w.endSession("id_token_hint", tokens["id_token"].(string), "post_logout_redirect_uri", afterLogout))
	if res.Header.Get("Location") != afterLogout {
		t.Errorf("%d %s", res.StatusCode, text(res.body))
	}
}

// Whatever is wrong, the answer is a page, the browser goes nowhere and the user
// stays signed in.
func TestLogoutRefuses(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount, permissive: true})
		foreign := newWorld(t, options{permissive: true})
		fb := newBrowser(t)
		_, foreignTokens := foreign.loggedIn(fb, nil)
		b := newBrowser(t)
		app, tokens := w.loggedIn(b, nil)
		other := w.register(map[string]any{"client_name": "Other", "post_logout_redirect_uris": []string{"https://app.example.com/other"}})
		hint := tokens["id_token"].(string)
		parts := strings.Split(hint, ".")
		none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + parts[1] + "."
		hs256 := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + parts[1] + "." + parts[2]
		changed := parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"`+w.issuer+`","sub":"x","aud":"`+app.id+`"}`)) + "." + parts[2]
		uri := func(u string) []string { return []string{"id_token_hint", hint, "post_logout_redirect_uri", u} }
		for name, params := range map[string][]string{
			"hint that is no token":       {"id_token_hint", "x"},
			"hint with alg none":          {"id_token_hint", none, "post_logout_redirect_uri", afterLogout},
			"hint with another alg":       {"id_token_hint", hs256, "post_logout_redirect_uri", afterLogout},
			"hint with other claims":      {"id_token_hint", changed, "post_logout_redirect_uri", afterLogout},
			"hint without signature":      {"id_token_hint", parts[0] + "." + parts[1] + ".", "post_logout_redirect_uri", afterLogout},
			"hint of another issuer":      {"id_token_hint", foreignTokens["id_token"].(string), "post_logout_redirect_uri", afterLogout},
			"access token as hint":        {"id_token_hint", tokens["access_token"].(string), "post_logout_redirect_uri", afterLogout},
			"bad hint, good client":       {"id_token_hint", none, "client_id", app.id, "post_logout_redirect_uri", afterLogout},
			"client that differs":         {"id_token_hint", hint, "client_id", other.id},
			"unknown client":              {"client_id", "<script>alert(1)</script>"},
			"URI without hint and client": {"post_logout_redirect_uri", afterLogout, "state", "s"},
			"unregistered":                uri("https://evil.example/"),
			"URI of another client":       uri("https://app.example.com/other"),
			"redirect URI":                uri(appRedirectURI),
			"query added":                 uri(afterLogout + "?x=y"),
			"query changed":               uri(afterLogout + "?from=evil"),
			"path as a prefix":            uri(afterLogout + "x"),
			"case":                        uri("https://app.example.com/Bye"),
			"fragment":                    uri(afterLogout + "#x"),
			"user information":            uri("https://app.example.com@evil.example/bye"),
			"javascript":                  uri("javascript:alert(1)"),
			"scheme-relative":             uri("//app.example.com/bye"),
			"line break":                  uri(afterLogout + "\r\nSet-Cookie: a=b"),
			"NUL":                         {"id_token_hint", hint, "state", "a\x00b"},
			"too large":                   {"state", strings.Repeat("x", 40<<10)},
		} {
			res := b.get(w.endSession(params...))
			if name == "too large" && res.StatusCode == http.StatusRequestHeaderFieldsTooLarge {
				continue
			}
			if res.StatusCode != 400 || heading(res) != "Logout error" || res.Header.Get("Location") != "" {
				t.Errorf("%s: %d %q %q", name, res.StatusCode, heading(res), res.Header.Get("Location"))
			}
			if strings.Contains(res.body, "evil.example") || strings.Contains(res.body, "<script>alert") {
				t.Errorf("%s: reflected", name)
			}
		}
		wantHeading(t, b.get(w.endpoint.EndSession+"?state=a&state=b"), 400, "Logout error")
		req, _ := http.NewRequest(http.MethodPut, w.endpoint.EndSession, nil)
		if res := b.do(req); res.StatusCode != 405 || res.Header.Get("Allow") != "GET, POST" {
			t.Errorf("PUT: %d, Allow %q", res.StatusCode, res.Header.Get("Allow"))
		}
		if !w.signedIn(b, app) {
			t.Error("a refused request logged out")
		}
		if res := w.userinfo(tokens["access_token"].(string)); res.StatusCode != 200 {
			t.Errorf("a refused request revoked: %d", res.StatusCode)
		}
	})
}

// Nobody logs a user out without a proof or the user's own click in the same
// browser.
func TestLogoutCannotBeForged(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount, permissive: true})
		victim, attacker := newBrowser(t), newBrowser(t)
		app, _ := w.loggedIn(victim, nil)
		_, attackersTokens := func() (registered, map[string]any) {
			if _, err := w.provider.Connections().CreateUser(context.Background(), store.User{
				TenantID: tenant.DefaultID, ConnectionID: w.connection.ID, Email: "mallory@example.com", Username: "mallory",
			}, password); err != nil {
				t.Fatal(err)
			}
			res := attacker.decide(attacker.login(attacker.get(w.authorizeURL(app)), "mallory", password), "allow")
			return app, w.redeem(app, res.location(t).Get("code")).json(t)
		}()
		// The hint of another user asks.
		page := victim.get(w.endSession("id_token_hint", attackersTokens["id_token"].(string), "post_logout_redirect_uri", afterLogout))
		wantHeading(t, page, 200, "Log out")
		// A page of another browser, a transaction that was altered, of another step.
		theirs := attacker.get(w.endSession())
		action, fields := form(t, theirs)
		wantHeading(t, victim.post(action, fields), 400, "Logout error")
		fields.Set("transaction", fields.Get("transaction")+"x")
		wantHeading(t, attacker.post(action, fields), 400, "Logout error")
		_, login := form(t, newBrowser(t).get(w.authorizeURL(app)))
		wantHeading(t, victim.post(w.endpoint.EndSession, url.Values{"transaction": {login.Get("transaction")}}), 400, "Logout error")
		// The victim's own page, sent by another site.
		action, fields = form(t, page)
		req, _ := http.NewRequest(http.MethodPost, action, strings.NewReader(fields.Encode()))
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Sec-Fetch-Site", "cross-site")
		wantHeading(t, victim.do(req), 403, "Logout error")
		if !w.signedIn(victim, app) {
			t.Fatal("the victim was logged out")
		}
		// A page that was open while somebody else signed in decides nothing.
		mine := attacker.get(w.endSession())
		attacker.login(attacker.get(w.authorizeURL(app, "prompt", "login")), "ada", password)
		again := attacker.confirm(mine)
		wantHeading(t, again, 200, "Log out")
		if !w.signedIn(attacker, app) {
			t.Error("the confirmation of one user logged out another")
		}
		wantHeading(t, attacker.confirm(again), 200, "You are logged out")
	})
}

// A form that another site posts comes without cookies; there is nothing to end.
func TestLogoutWithoutCookies(t *testing.T) {
	w := newWorld(t, options{permissive: true})
	b := newBrowser(t)
	app, tokens := w.loggedIn(b, nil)
	for name, params := range map[string]url.Values{
		"hint and URI": {"id_token_hint": {tokens["id_token"].(string)}, "post_logout_redirect_uri": {afterLogout}},
		"client":       {"client_id": {app.id}},
		"nothing":      {},
	} {
		req, _ := http.NewRequest(http.MethodPost, w.endpoint.EndSession, strings.NewReader(params.Encode()))
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Sec-Fetch-Site", "cross-site")
		req.Header.Set("Origin", "https://app.example.com")
		if res := newBrowser(t).do(req); res.StatusCode != 200 && res.StatusCode != 303 {
			t.Errorf("%s: %d", name, res.StatusCode)
		}
	}
	if !w.signedIn(b, app) || w.userinfo(tokens["access_token"].(string)).StatusCode != 200 {
		t.Error("a request without the cookie ended the session")
	}
}

func TestLegacyLogout(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount, permissive: true})
		if _, err := w.provider.Tenants().UpdateSettings(context.Background(), tenant.DefaultID, func(s *store.TenantSettings) error {
			s.AllowedLogoutURLs = []string{"https://tenant.example/bye"}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		legacy := func(b *browser, header [2]string, params ...string) *response {
			req, _ := http.NewRequest(http.MethodGet, strings.Replace(w.endSession(params...), w.endpoint.EndSession, w.endpoint.LegacyLogout, 1), nil)
			if header[0] != "" {
				req.Header.Set(header[0], header[1])
			}
			return b.do(req)
		}
		const atOnce, asks, refused = "at once", "asks", "refused"
		for name, test := range map[string]struct {
			header   [2]string
			params   func(registered) []string
			want     string
			location string
		}{
			"client and its URI": {want: atOnce, location: afterLogout, params: func(a registered) []string { return []string{"client_id", a.id, "returnTo", afterLogout} }},
			"client and URI of the tenant": {want: atOnce, location: "https://tenant.example/bye", params: func(a registered) []string {
				return []string{"client_id", a.id, "returnTo", "https://tenant.example/bye"}
			}},
			"navigation":                {want: atOnce, location: afterLogout, header: [2]string{"Sec-Fetch-Dest", "document"}, params: func(a registered) []string { return []string{"client_id", a.id, "returnTo", afterLogout} }},
			"embedded as an image":      {want: asks, location: afterLogout, header: [2]string{"Sec-Fetch-Dest", "image"}, params: func(a registered) []string { return []string{"client_id", a.id, "returnTo", afterLogout} }},
			"embedded in a frame":       {want: asks, location: afterLogout, header: [2]string{"Sec-Fetch-Dest", "iframe"}, params: func(a registered) []string { return []string{"client_id", a.id, "returnTo", afterLogout} }},
			"prefetched":                {want: asks, location: afterLogout, header: [2]string{"Sec-Purpose", "prefetch;prerender"}, params: func(a registered) []string { return []string{"client_id", a.id, "returnTo", afterLogout} }},
			"URI of the tenant alone":   {want: asks, location: "https://tenant.example/bye", params: func(registered) []string { return []string{"returnTo", "https://tenant.example/bye"} }},
			"client alone":              {want: asks, params: func(a registered) []string { return []string{"client_id", a.id} }},
			"nothing":                   {want: asks, params: func(registered) []string { return nil }},
			"unregistered":              {want: refused, params: func(a registered) []string { return []string{"client_id", a.id, "returnTo", "https://evil.example/"} }},
			"altered":                   {want: refused, params: func(a registered) []string { return []string{"client_id", a.id, "returnTo", afterLogout + "/"} }},
			"URI of a client not named": {want: refused, params: func(registered) []string { return []string{"returnTo", afterLogout} }},
			"unknown client": {want: refused, params: func(registered) []string {
				return []string{"client_id", "nobody", "returnTo", "https://tenant.example/bye"}
			}},
		} {
			b := newBrowser(t)
			app, _ := w.loggedIn(b, nil)
			res := legacy(b, test.header, test.params(app)...)
			if test.want == refused {
				if res.StatusCode != 400 || heading(res) != "Logout error" || res.Header.Get("Location") != "" || !w.signedIn(b, app) {
					t.Errorf("%s: %d %q", name, res.StatusCode, heading(res))
				}
				continue
			}
			if test.want == asks {
				if res.StatusCode != 200 || heading(res) != "Log out" || !w.signedIn(b, app) {
					t.Errorf("%s: %d %q", name, res.StatusCode, heading(res))
				}
				res = b.confirm(res)
			}
			if got := res.Header.Get("Location"); got != test.location {
				t.Errorf("%s: %d, Location %q, want %q", name, res.StatusCode, got, test.location)
			}
			if w.signedIn(b, app) {
				t.Errorf("%s: still signed in", name)
			}
		}
	})
}

// Whoever signs in again keeps sid and the applications of before, so that logging
// out reaches them. When somebody else signs in, the first user is logged out.
func TestSigningInAgainKeepsTheSession(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount, permissive: true})
		if _, err := w.provider.Connections().CreateUser(context.Background(), store.User{
			TenantID: tenant.DefaultID, ConnectionID: w.connection.ID, Email: "bob@example.com", Username: "bob",
		}, password); err != nil {
			t.Fatal(err)
		}
		b := newBrowser(t)
		app, first := w.loggedIn(b, map[string]any{"frontchannel_logout_uri": "https://app.example.com/front"})
		other := w.register(nil)
		second := w.redeem(other, w.authorizeIn(b, other, "prompt", "login consent").Get("code")).json(t)
		sid := claims(t, first["id_token"].(string))["sid"]
		if got := claims(t, second["id_token"].(string))["sid"]; got != sid || sid == nil {
			t.Errorf("sid %v after %v", got, sid)
		}
		if w.userinfo(first["access_token"].(string)).StatusCode != 200 {
			t.Error("signing in again revoked")
		}
		b.login(b.get(w.authorizeURL(app, "prompt", "login")), "bob", password)
		for _, tokens := range []map[string]any{first, second} {
			if got := w.userinfo(tokens["access_token"].(string)).StatusCode; got != 401 {
				t.Errorf("userinfo of the first user: %d", got)
			}
		}
	})
}

var frameTag = regexp.MustCompile(`<iframe src="([^"]*)"`)

func TestFrontchannelLogout(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount, permissive: true})
		b := newBrowser(t)
		_, tokens := w.loggedIn(b, map[string]any{"frontchannel_logout_uri": "https://app.example.com/front?a=b", "frontchannel_logout_session_required": true})
		second := w.register(map[string]any{"redirect_uris": []string{"https://second.example/cb"}, "frontchannel_logout_uri": "https://second.example/front"})
		w.authorizeIn(b, second)
		w.authorizeIn(b, w.register(nil)) // has no such address
		sid := claims(t, tokens["id_token"].(string))["sid"].(string)

		res := b.get(w.endSession("id_token_hint", tokens["id_token"].(string), "post_logout_redirect_uri", afterLogout, "state", `"></script><script>alert(1)</script>`))
		wantHeading(t, res, 200, "You are logged out")
		want := []string{
			"https://app.example.com/front?a=b&iss=" + url.QueryEscape(w.issuer) + "&sid=" + sid,
			"https://second.example/front?iss=" + url.QueryEscape(w.issuer) + "&sid=" + sid,
		}
		frames := frameTag.FindAllStringSubmatch(res.body, -1)
		if len(frames) != len(want) {
			t.Fatalf("frames: %v", frames)
		}
		for i, f := range frames {
			if got := html.UnescapeString(f[1]); got != want[i] {
				t.Errorf("frame %q, want %q", got, want[i])
			}
		}
		policy := res.Header.Get("Content-Security-Policy")
		if !strings.Contains(policy, "; frame-src https://app.example.com https://second.example") || !strings.Contains(policy, "frame-ancestors 'none'") {
			t.Errorf("policy: %s", policy)
		}
		location := afterLogout + "?state=%22%3E%3C%2Fscript%3E%3Cscript%3Ealert%281%29%3C%2Fscript%3E"
		if !strings.Contains(res.body, `id="logout-continue" href="`+location+`"`) {
			t.Errorf("no link to continue: %s", res.body)
		}
		if strings.Contains(res.body, "<script>alert") || !strings.Contains(res.body, `<noscript><meta http-equiv="refresh"`) || strings.Contains(res.body, "ZgotmplZ") {
			t.Errorf("page: %s", res.body)
		}
		// Nothing is embedded for a browser that had no session.
		if res := newBrowser(t).get(w.endSession()); strings.Contains(res.body, "<iframe") || strings.Contains(res.Header.Get("Content-Security-Policy"), "frame-src") {
			t.Error("frames without a session")
		}
	})
}

// Addresses with a scheme of the application's own get the same page.
func TestFrontchannelLogoutToAPrivateScheme(t *testing.T) {
	w := newWorld(t, options{permissive: true})
	b := newBrowser(t)
	_, tokens := w.loggedIn(b, map[string]any{
		"redirect_uris": []string{"com.example.app:/cb", "https://app.example.com/cb"}, "token_endpoint_auth_method": "none", "application_type": "native",
		"post_logout_redirect_uris": []string{"com.example.app:/bye"}, "frontchannel_logout_uri": "https://app.example.com/front",
	})
	res := b.get(w.endSession("id_token_hint", tokens["id_token"].(string), "post_logout_redirect_uri", "com.example.app:/bye"))
	if !strings.Contains(res.body, `href="com.example.app:/bye"`) || strings.Contains(res.body, "ZgotmplZ") || strings.Count(res.body, "com.example.app:") < 3 {
		t.Errorf("page: %s", res.body)
	}
}

// receiver is a client's back-channel address.
func receiver(t *testing.T) (server *httptest.Server, received chan url.Values) {
	received = make(chan url.Values, 10)
	server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" {
			t.Errorf("%s %s: %v", r.Method, r.Header.Get("Content-Type"), err)
		}
		received <- r.PostForm
	}))
	t.Cleanup(server.Close)
	return server, received
}

func outboundTo(server *httptest.Server, allow ...string) func(*opkit.Config) {
	return func(c *opkit.Config) {
		c.Outbound.RootCAs = x509.NewCertPool()
		c.Outbound.RootCAs.AddCert(server.Certificate())
		for _, p := range allow {
			c.Outbound.InsecureAllow = append(c.Outbound.InsecureAllow, netip.MustParsePrefix(p))
		}
	}
}

func TestBackchannelLogout(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		for _, alg := range []string{"RS256", "ES256", "HS256"} {
			server, received := receiver(t)
			w := newWorld(t, options{mount: mount, permissive: true, config: outboundTo(server, "127.0.0.0/8")})
			b := newBrowser(t)
			app, tokens := w.loggedIn(b, map[string]any{
				"backchannel_logout_uri": server.URL + "/back?x=y", "backchannel_logout_session_required": true, "id_token_signed_response_alg": alg,
			})
			res := b.get(w.endSession("id_token_hint", tokens["id_token"].(string), "post_logout_redirect_uri", afterLogout))
			if res.Header.Get("Location") != afterLogout {
				t.Fatalf("%d %s", res.StatusCode, text(res.body))
			}
			sent := <-received
			if len(sent) != 1 || len(sent["logout_token"]) != 1 {
				t.Fatalf("form: %v", sent)
			}
			logoutToken := sent.Get("logout_token")
			got, idToken := claims(t, logoutToken), claims(t, tokens["id_token"].(string))
			for _, name := range []string{"iss", "sub", "aud", "sid"} {
				if got[name] == nil || got[name] != idToken[name] {
					t.Errorf("%s: %v, in the ID token %v", name, got[name], idToken[name])
				}
			}
			events, _ := got["events"].(map[string]any)
			if _, ok := events["http://schemas.openid.net/event/backchannel-logout"].(map[string]any); !ok || len(events) != 1 {
				t.Errorf("events: %v", got["events"])
			}
			if got["aud"] != app.id || got["jti"] == "" || got["nonce"] != nil || got["exp"].(float64)-got["iat"].(float64) != 120 || len(got) != 8 {
				t.Errorf("claims: %v", got)
			}
			header, _ := base64.RawURLEncoding.DecodeString(strings.Split(logoutToken, ".")[0])
			want := alg
			if alg == "HS256" {
				want = "RS256" // the secret does not sign what the client did not ask for
			}
			if !strings.Contains(string(header), `"alg":"`+want+`"`) || !strings.Contains(string(header), `"typ":"logout+jwt"`) {
				t.Errorf("header: %s", header)
			}
			tn, err := w.provider.Tenants().Tenant(context.Background(), tenant.DefaultID)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.provider.Tenants().Verify(context.Background(), tn, "logout+jwt", logoutToken); err != nil {
				t.Error(err)
			}
			// A logout token is no hint.
			wantHeading(t, b.get(w.endSession("id_token_hint", logoutToken)), 400, "Logout error")
		}
	})
}

// heard passes on the warnings about clients that could not be told.
type heard struct {
	slog.Handler
	failures chan error
}

func (h heard) Handle(ctx context.Context, r slog.Record) error {
	if strings.HasPrefix(r.Message, "a client could not be told") {
		r.Attrs(func(a slog.Attr) bool {
			if err, ok := a.Value.Any().(error); ok && a.Key == "err" {
				h.failures <- err
			}
			return true
		})
	}
	return nil
}

// Without the exemption a client cannot make the provider connect to addresses
// outside of the internet, however it spells them; the user does not notice.
func TestBackchannelLogoutIsGuarded(t *testing.T) {
	server, received := receiver(t)
	port := server.URL[strings.LastIndexByte(server.URL, ':'):]
	for name, test := range map[string]struct {
		uri   string
		allow []string
	}{
		"loopback":                    {server.URL, nil},
		"localhost":                   {"https://localhost" + port, nil},
		"beside the exemption":        {"https://127.0.0.2" + port, []string{"127.0.0.1/32"}},
		"IPv6 loopback":               {"https://[::1]" + port, []string{"127.0.0.0/8"}},
		"IPv4-mapped":                 {"https://[::ffff:127.0.0.1]" + port, nil},
		"metadata service of a cloud": {"https://169.254.169.254/latest", []string{"127.0.0.0/8"}},
		"http":                        {"http://127.0.0.1" + port, []string{"127.0.0.0/8"}},
		"user information":            {"https://a:b@127.0.0.1" + port, []string{"127.0.0.0/8"}},
	} {
		trust := outboundTo(server, test.allow...)
		log := heard{slog.NewTextHandler(t.Output(), nil), make(chan error, 1)}
		w := newWorld(t, options{permissive: true, config: func(c *opkit.Config) {
			trust(c)
			c.Logger = slog.New(log)
		}})
		b := newBrowser(t)
		app, tokens := w.loggedIn(b, nil)
		client, err := w.stores.Clients.Client(context.Background(), tenant.DefaultID, app.id)
		if err != nil {
			t.Fatal(err)
		}
		client.Metadata.BackchannelLogoutURI = test.uri // past the rules of the registration
		if err := w.stores.Clients.UpdateClient(context.Background(), client); err != nil {
			t.Fatal(err)
		}
		res := b.get(w.endSession("id_token_hint", tokens["id_token"].(string), "post_logout_redirect_uri", afterLogout))
		if res.Header.Get("Location") != afterLogout {
			t.Errorf("%s: %d", name, res.StatusCode)
		}
		if err := <-log.failures; !strings.Contains(err.Error(), "must not be") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(received) != 0 {
		t.Error("delivered")
	}
}

// stubborn fails or disturbs single calls, once armed.
type stubborn struct {
	store.GrantFamilyStore
	revoke *atomic.Bool
}

func (s stubborn) RevokeFamilies(ctx context.Context, tenant string, filter store.FamilyFilter, until, now time.Time) (int, error) {
	if s.revoke.Load() {
		return 0, errors.New(storeErrorText)
	}
	return s.GrantFamilyStore.RevokeFamilies(ctx, tenant, filter, until, now)
}

// Tokens that could not be revoked are not reported as revoked, and the user can
// try again.
func TestLogoutThatFails(t *testing.T) {
	stores := memstore.New().Stores()
	var broken atomic.Bool
	stores.Grants = stubborn{stores.Grants, &broken}
	w := newWorld(t, options{permissive: true, stores: stores})
	b := newBrowser(t)
	app, tokens := w.loggedIn(b, nil)
	request := w.endSession("id_token_hint", tokens["id_token"].(string), "post_logout_redirect_uri", afterLogout)
	broken.Store(true)
	res := b.get(request)
	wantHeading(t, res, 500, "Logout error")
	if internals.MatchString(res.body) {
		t.Errorf("leaks: %s", text(res.body))
	}
	if !w.signedIn(b, app) {
		t.Error("the session is gone although its tokens are not")
	}
	broken.Store(false)
	if res := b.get(request); res.Header.Get("Location") != afterLogout || w.signedIn(b, app) {
		t.Errorf("the second attempt: %d", res.StatusCode)
	}
}

// crowded lets somebody else change a session before the first update of it.
type crowded struct {
	store.SessionStore
	once *sync.Once
}

func (s crowded) UpdateSession(ctx context.Context, record store.Session, now time.Time) error {
	s.once.Do(func() {
		other := record.Clone()
		other.ClientIDs = append(other.ClientIDs[:len(other.ClientIDs)-1], "somebody else")
		if err := s.SessionStore.UpdateSession(ctx, other, now); err != nil {
			panic(err)
		}
	})
	return s.SessionStore.UpdateSession(ctx, record, now)
}

// Two applications that are served at the same time are both remembered, or one of
// them would not be told.
func TestSessionRemembersEveryApplication(t *testing.T) {
	stores := memstore.New().Stores()
	stores.Sessions = crowded{stores.Sessions, &sync.Once{}}
	w := newWorld(t, options{permissive: true, stores: stores})
	b := newBrowser(t)
	first, _ := w.loggedIn(b, nil)
	second := w.register(nil)
	w.authorizeIn(b, second)
	sessions, err := stores.Sessions.UserSessions(context.Background(), tenant.DefaultID, w.user.ID, store.Page{Limit: 10}, time.Now())
	if err != nil || len(sessions) != 1 {
		t.Fatal(sessions, err)
	}
	for _, id := range []string{first.id, "somebody else", second.id} {
		if !slices.Contains(sessions[0].ClientIDs, id) {
			t.Errorf("%s is not among %v", id, sessions[0].ClientIDs)
		}
	}
}

// The metadata says what is mounted.
func TestLogoutMetadata(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount})
		m := newBrowser(t).get(w.issuer + "/.well-known/openid-configuration").json(t)
		if m["end_session_endpoint"] != w.endpoint.EndSession {
			t.Errorf("end_session_endpoint: %v", m["end_session_endpoint"])
		}
		for _, name := range []string{"frontchannel_logout_supported", "frontchannel_logout_session_supported", "backchannel_logout_supported", "backchannel_logout_session_supported"} {
			if m[name] != true {
				t.Errorf("%s: %v", name, m[name])
			}
		}
	})
	w := newWorld(t, options{config: func(c *opkit.Config) { c.Endpoints.EndSession = tenant.NotMounted }})
	for name := range newBrowser(t).get(w.issuer + "/.well-known/openid-configuration").json(t) {
		if strings.Contains(name, "logout") || name == "end_session_endpoint" {
			t.Errorf("%s without an end-session endpoint", name)
		}
	}
	if res := newBrowser(t).get(w.issuer + "/oidc/logout"); res.StatusCode != 404 {
		t.Errorf("an endpoint that is switched off: %d", res.StatusCode)
	}
}
