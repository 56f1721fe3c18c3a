package opkit_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/opkit/opkit"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

const checkSessionPath = "/o/check"

func managed(c *opkit.Config) { c.Endpoints.CheckSession = checkSessionPath }

// state returns the value of the browser's state cookie, empty for none.
func (w *world) state(b *browser) string {
	w.t.Helper()
	u, err := url.Parse(w.issuer)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, c := range b.client.Jar.Cookies(u) {
		if strings.HasPrefix(c.Name, "opkit_state") || strings.HasPrefix(c.Name, "__Host-opkit_state") {
			return c.Value
		}
	}
	return ""
}

// check answers as the page does (Session Management §3.2).
func (w *world) check(b *browser, app registered, sessionState string) string {
	w.t.Helper()
	hash, salt, ok := strings.Cut(sessionState, ".")
	if !ok || !regexp.MustCompile(`^[0-9a-f]{64}\.[A-Za-z0-9_-]{22}$`).MatchString(sessionState) {
		w.t.Errorf("session_state %q", sessionState)
		return "error"
	}
	u, err := url.Parse(app.redirectURI)
	if err != nil {
		w.t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(app.id + " " + u.Scheme + "://" + u.Host + " " + w.state(b) + " " + salt))
	if hex.EncodeToString(sum[:]) != hash {
		return "changed"
	}
	return "unchanged"
}

func (w *world) wantCheck(b *browser, app registered, sessionState, want string) {
	w.t.Helper()
	if got := w.check(b, app, sessionState); got != want {
		w.t.Errorf("%s, want %s", got, want)
	}
}

// Every flow and mode has session_state, and it is good until the user signs out,
// or somebody else signs in.
func TestSessionState(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount, permissive: true, config: managed})
		b := newBrowser(t)
		app, other := w.register(nil), w.register(map[string]any{"redirect_uris": []string{"https://other.example/cb"}})
		first := w.authorizeIn(b, app).Get("session_state")
		w.wantCheck(b, app, first, "unchanged")
		seen := map[string]bool{first: true}
		for _, rt := range []string{"code", "id_token", "id_token token", "code id_token", "code token", "code id_token token"} {
			s := w.authorizeIn(b, app, "response_type", rt).Get("session_state")
			w.wantCheck(b, app, s, "unchanged")
			if seen[s] {
				t.Errorf("%s: the same session_state again", rt)
			}
			seen[s] = true
		}
		// Without openid it is no authentication response.
		if s := w.authorizeIn(b, app, "scope", "email", "response_type", "token"); s.Has("session_state") {
			t.Errorf("an OAuth response: %v", s)
		}
		theirs := w.authorizeIn(b, other).Get("session_state")
		w.wantCheck(b, other, theirs, "unchanged")
		// It is bound to client and origin.
		w.wantCheck(b, registered{id: app.id, redirectURI: other.redirectURI}, first, "changed")
		w.wantCheck(b, registered{id: other.id, redirectURI: app.redirectURI}, first, "changed")

		// The same user proves who they are again: nothing has changed.
		res := b.login(b.get(w.authorizeURL(app, "prompt", "login")), "ada@example.com", password)
		w.wantCheck(b, app, res.location(t).Get("session_state"), "unchanged")
		w.wantCheck(b, app, first, "unchanged")
		// Another browser of the same user is another session.
		w.authorizeIn(newBrowser(t), app)
		w.wantCheck(b, app, first, "unchanged")

		res = b.get(w.endSession())
		if strings.Contains(res.body, `id="logout-confirm"`) {
			w.wantCheck(b, app, first, "unchanged")
			b.confirm(res)
		}
		w.wantCheck(b, app, first, "changed")
		w.wantCheck(b, other, theirs, "changed")
		signedOut := w.state(b)

		again := w.authorizeIn(b, app).Get("session_state")
		w.wantCheck(b, app, again, "unchanged")
		w.wantCheck(b, app, first, "changed")
		if w.state(b) == signedOut {
			t.Error("signing in did not change the state")
		}
	})
}

// The state changes when somebody signs in, not only when the application is told:
// on the way the consent page is shown.
func TestSessionStateOfAnotherUser(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount, permissive: true, config: managed})
		if _, err := w.provider.Connections().CreateUser(context.Background(), store.User{
			TenantID: tenant.DefaultID, ConnectionID: w.connection.ID, Email: "bob@example.com", Username: "bob",
		}, password); err != nil {
			t.Fatal(err)
		}
		b := newBrowser(t)
		app := w.register(nil)
		ada := w.authorizeIn(b, app).Get("session_state")
		page := b.get(w.authorizeURL(app, "prompt", "login"))
		w.wantCheck(b, app, ada, "unchanged") // nothing has happened yet
		page = b.login(page, "bob@example.com", password)
		if !strings.Contains(page.body, `id="consent-allow"`) {
			t.Fatalf("%d %s", page.StatusCode, text(page.body))
		}
		w.wantCheck(b, app, ada, "changed")
		bob := b.decide(page, "allow").location(t).Get("session_state")
		w.wantCheck(b, app, bob, "unchanged")
	})
}

// A session that ends without the browser is noticed at the next request.
func TestSessionStateOfASessionThatEndedElsewhere(t *testing.T) {
	w := newWorld(t, options{permissive: true, config: managed})
	b := newBrowser(t)
	app := w.register(nil)
	state := w.authorizeIn(b, app).Get("session_state")
	sessions, err := w.stores.Sessions.UserSessions(context.Background(), tenant.DefaultID, w.user.ID, store.Page{}, w.clock.now())
	if err != nil || len(sessions) != 1 {
		t.Fatalf("%d sessions, %v", len(sessions), err)
	}
	if err := w.stores.Sessions.DeleteSession(context.Background(), tenant.DefaultID, sessions[0].ID); err != nil {
		t.Fatal(err)
	}
	b.get(w.authorizeURL(app, "prompt", "none"))
	w.wantCheck(b, app, state, "changed")
	signedOut := w.state(b)
	b.get(w.authorizeURL(app, "prompt", "none"))
	if w.state(b) != signedOut {
		t.Error("the state of a browser that is signed out changes with every request")
	}
}

// Errors of silent requests have session_state where it tells nothing new: a frame
// of strangers must not learn when somebody signs in.
func TestSessionStateInErrors(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount, permissive: true, config: managed})
		w.enableClient(registered{id: "own"})
		own, secret, err := w.provider.Clients().CreateClient(context.Background(), store.Client{
			TenantID: tenant.DefaultID, ID: "own", FirstParty: true, RedirectURIs: []string{"https://own.example/cb"},
		}, "")
		if err != nil {
			t.Fatal(err)
		}
		first, stranger, known := registered{own.ID, secret, own.RedirectURIs[0]}, w.register(nil), w.register(map[string]any{"redirect_uris": []string{"https://known.example/cb"}})
		b := newBrowser(t)
		silent := func(app registered, want string, params ...string) url.Values {
			t.Helper()
			v := b.get(w.authorizeURL(app, append([]string{"prompt", "none"}, params...)...)).location(t)
			if v.Get("error") != want {
				t.Fatalf("%v, want %s", v, want)
			}
			return v
		}
		// Nobody is signed in.
		out := silent(first, "login_required").Get("session_state")
		w.wantCheck(b, first, out, "unchanged")
		if again := silent(first, "login_required").Get("session_state"); again == out {
			t.Error("§3.2: session_state should vary with each request")
		} else {
			w.wantCheck(b, first, again, "unchanged")
		}
		if v := silent(stranger, "login_required"); v.Has("session_state") {
			t.Errorf("a stranger is told %v", v)
		}
		w.authorizeIn(b, known, "scope", "openid")
		w.wantCheck(b, first, out, "changed")
		// Somebody is.
		if v := silent(stranger, "login_required"); v.Has("session_state") {
			t.Errorf("a stranger is told %v", v)
		}
		w.wantCheck(b, known, silent(known, "consent_required", "scope", "openid email").Get("session_state"), "unchanged")
		// Errors that are not about the session have none.
		for _, params := range [][]string{{"response_type", "x"}, {"max_age", "x"}, {"prompt", "none login"}, {"code_challenge_method", "plain"}} {
			v := b.get(w.authorizeURL(first, append([]string{"prompt", "none"}, params...)...)).location(t)
			if v.Get("error") == "" || v.Has("session_state") {
				t.Errorf("%q: %v", params, v)
			}
		}
		// Nor have refusals by the user.
		page := b.get(w.authorizeURL(stranger))
		if v := b.decide(page, "deny").location(t); v.Get("error") != "access_denied" || v.Has("session_state") {
			t.Errorf("refused: %v", v)
		}
	})
}

// The host's own login is followed.
func TestSessionStateFollowsTheHost(t *testing.T) {
	w, h := newHostWorld(t, "root", managed)
	b := newBrowser(t)
	app := w.register(nil)
	h.signIn(b, w, "ada", time.Now())
	s := w.authorizeIn(b, app).Get("session_state")
	w.wantCheck(b, app, s, "unchanged")
	h.signIn(b, w, "", time.Now())
	b.get(w.authorizeURL(app, "prompt", "none"))
	w.wantCheck(b, app, s, "changed")
}

// What the cookie has cannot be read, made up, or used at another tenant; and a
// script can read nothing else.
func TestSessionStateCookie(t *testing.T) {
	w := newWorld(t, options{permissive: true, config: managed})
	app := w.register(nil)
	b := newBrowser(t)
	page := b.get(w.authorizeURL(app))
	if w.state(b) != "" {
		t.Error("a browser that never signed in has a state")
	}
	res := b.login(page, "ada@example.com", password)
	var cookies []*http.Cookie
	for _, c := range res.Cookies() {
		if c.Name == "opkit_state" {
			cookies = append(cookies, c)
		} else if !c.HttpOnly {
			t.Errorf("scripts can read %s", c)
		}
	}
	if len(cookies) != 1 {
		t.Fatalf("cookies: %q", res.Header["Set-Cookie"])
	}
	c := cookies[0]
	if c.HttpOnly || c.Path != "/" || c.SameSite != http.SameSiteLaxMode || c.Secure || c.MaxAge != 168*3600 || c.Domain != "" {
		t.Errorf("cookie: %s", c)
	}
	sessions, err := w.stores.Sessions.UserSessions(context.Background(), tenant.DefaultID, w.user.ID, store.Page{}, w.clock.now())
	if err != nil || len(sessions) != 1 {
		t.Fatalf("%d sessions, %v", len(sessions), err)
	}
	raw, err := base64.RawURLEncoding.DecodeString(c.Value)
	if err != nil || bytes.Contains(raw, []byte(sessions[0].SID)) || bytes.Contains(raw, []byte(w.user.ID)) {
		t.Errorf("value: %q, %v", raw, err)
	}
	// A value that was made up, or cut, is replaced and its states are void.
	u, _ := url.Parse(w.issuer)
	for _, value := range []string{"x", c.Value[:len(c.Value)-2], sessions[0].SID, ""} {
		b.client.Jar.SetCookies(u, []*http.Cookie{{Name: "opkit_state", Value: value, Path: "/"}})
		s := w.authorizeIn(b, app).Get("session_state")
		w.wantCheck(b, app, s, "unchanged")
		if w.state(b) != c.Value {
			t.Errorf("%q became %q, want %q", value, w.state(b), c.Value)
		}
	}
}

func TestCheckSessionPage(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount, config: managed})
		b := newBrowser(t)
		if got := b.get(w.issuer + "/.well-known/openid-configuration").json(t)["check_session_iframe"]; got != w.endpoint.CheckSession {
			t.Errorf("check_session_iframe: %v", got)
		}
		res := b.get(w.endpoint.CheckSession)
		h := res.Header
		if res.StatusCode != 200 || h.Get("Content-Type") != "text/html; charset=utf-8" || h.Get("X-Content-Type-Options") != "nosniff" || len(res.Cookies()) != 0 {
			t.Errorf("%d %v", res.StatusCode, h)
		}
		script := regexp.MustCompile(`(?s)<script id="check" data-cookie="opkit_state">(.*?)</script>`).FindStringSubmatch(res.body)
		if script == nil || strings.Count(res.body, "<script") != 1 {
			t.Fatalf("page: %s", res.body)
		}
		// Nothing runs but the script, and any application may embed the page.
		sum := sha256.Sum256([]byte(script[1]))
		want := "default-src 'none'; base-uri 'none'; form-action 'none'; script-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
		if h.Get("Content-Security-Policy") != want || h.Get("X-Frame-Options") != "" {
			t.Errorf("header: %v", h)
		}
		// It can be kept: polling costs nothing.
		if h.Get("Cache-Control") != "public, max-age=3600" || h.Get("ETag") == "" {
			t.Errorf("header: %v", h)
		}
		if res := b.post(w.endpoint.CheckSession, nil); res.StatusCode != 405 {
			t.Errorf("POST: %d", res.StatusCode)
		}
	})
}

// Unless it is mounted there is nothing of it.
func TestSessionManagementIsOff(t *testing.T) {
	w := newWorld(t, options{permissive: true})
	b := newBrowser(t)
	app, tokens := w.loggedIn(b, nil)
	if v := w.authorizeIn(b, app); v.Has("session_state") {
		t.Errorf("response: %v", v)
	}
	if v := b.get(w.authorizeURL(app, "prompt", "none", "max_age", "0")).location(t); v.Has("session_state") {
		t.Errorf("error: %v", v)
	}
	b.get(w.endSession("id_token_hint", tokens["id_token"].(string)))
	if s := w.state(b); s != "" {
		t.Errorf("cookie: %q", s)
	}
	if doc := b.get(w.issuer + "/.well-known/openid-configuration").json(t); doc["check_session_iframe"] != nil {
		t.Errorf("metadata: %v", doc["check_session_iframe"])
	}
	if res := b.get(w.issuer + "/oidc/session/check"); res.StatusCode != 404 {
		t.Errorf("page: %d", res.StatusCode)
	}
}
