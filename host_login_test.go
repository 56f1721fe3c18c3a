package opkit_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opkit/opkit"
	"github.com/opkit/opkit/connection"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// hostApplication is an application with its own session: a cookie "who".
type hostApplication struct {
	mu      sync.Mutex
	since   time.Time
	acr     string
	request connection.LoginRequest
}

func (h *hostApplication) current(r *http.Request) (connection.Identity, bool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c, err := r.Cookie("who")
	if err != nil || c.Value == "" {
		return connection.Identity{}, false, nil
	}
	return connection.Identity{UserID: c.Value, AuthenticatedAt: h.since, ACR: h.acr}, true, nil
}

func (h *hostApplication) login(_ *http.Request, l connection.LoginRequest) (string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.request = l
	return "https://host.example/sign-in?back=" + url.QueryEscape(l.ReturnTo), nil
}

func (h *hostApplication) signIn(b *browser, w *world, user string, at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.since = at
	u, _ := url.Parse(w.issuer)
	b.client.Jar.SetCookies(u, []*http.Cookie{{Name: "who", Value: user, Path: "/"}})
}

func newHostWorld(t *testing.T, mount string, change ...func(*opkit.Config)) (*world, *hostApplication) {
	t.Helper()
	h := &hostApplication{}
	users := map[string]store.User{"ada": {Email: "ada@host.example"}, "eve": {Blocked: true}}
	w := newWorld(t, options{mount: mount, config: func(c *opkit.Config) {
		c.ACR = connection.ACRConfig{Values: []string{"1", "2"}, Password: "1"}
		c.Hosts = map[string]connection.Host{"app": {
			Current: h.current, Login: h.login,
			User: func(_ context.Context, _, id string) (store.User, error) {
				u, ok := users[id]
				if !ok {
					return store.User{}, store.ErrNotFound
				}
				return u, nil
			},
		}}
		for _, f := range change {
			f(c)
		}
	}})
	ctx := context.Background()
	if err := w.stores.Connections.DeleteConnection(ctx, tenant.DefaultID, w.connection.ID); err != nil {
		t.Fatal(err)
	}
	var err error
	w.connection, err = w.provider.Connections().Create(ctx, store.Connection{TenantID: tenant.DefaultID, Name: "app", Strategy: connection.StrategyHost, IsDomainConnection: true})
	if err != nil {
		t.Fatal(err)
	}
	return w, h
}

// back follows the redirect to the host's login page and returns from it.
func back(t *testing.T, b *browser, res *response) *response {
	t.Helper()
	location := res.Header.Get("Location")
	if !strings.HasPrefix(location, "https://host.example/sign-in?") {
		t.Fatalf("not sent to the host's login page: %d %q %s", res.StatusCode, location, text(res.body))
	}
	u, _ := url.Parse(location)
	return b.get(u.Query().Get("back"))
}

func TestHostLogin(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w, h := newHostWorld(t, mount)
		app := w.register(nil)
		b := newBrowser(t)

		// Nobody is signed in: the host's page, then back, then consent.
		res := b.get(w.authorizeURL(app, "login_hint", "ada"))
		if h.request.ClientID != app.id || h.request.LoginHint != "ada" || h.request.Reauthenticate {
			t.Errorf("login request: %+v", h.request)
		}
		h.signIn(b, w, "ada", w.clock.now())
		got := b.decide(back(t, b, res), "allow").location(t)
		tokens := w.redeem(app, got.Get("code")).json(t)
		if sub := claims(t, tokens["id_token"].(string))["sub"]; sub != "ada" {
			t.Errorf("sub %v", sub)
		}
		if info := w.userinfo(tokens["access_token"].(string)).json(t); info["email"] != "ada@host.example" {
			t.Errorf("userinfo %v", info)
		}
		// Signed in: no detour.
		if res := b.get(w.authorizeURL(app, "prompt", "none")); !res.location(t).Has("code") {
			t.Errorf("prompt=none: %s", res.Header.Get("Location"))
		}
		// The host signed the user out: so did we.
		h.signIn(b, w, "", time.Time{})
		if got := b.get(w.authorizeURL(app, "prompt", "none")).location(t); got.Get("error") != "login_required" {
			t.Errorf("after the host's logout: %v", got)
		}
		// The way back belongs to the browser that was sent.
		res = b.get(w.authorizeURL(app))
		other := newBrowser(t)
		h.signIn(other, w, "ada", w.clock.now())
		if res := back(t, other, res); res.StatusCode != 400 || res.Header.Get("Location") != "" {
			t.Errorf("resumed in another browser: %d", res.StatusCode)
		}
		// Came back without signing in.
		if got := back(t, b, res).location(t); got.Get("error") != "access_denied" {
			t.Errorf("gave up: %v", got)
		}
	})
}

func TestHostReauthentication(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w, h := newHostWorld(t, mount)
		app := w.register(nil)
		for _, params := range [][]string{{"prompt", "login"}, {"max_age", "60"}} {
			b := newBrowser(t)
			h.signIn(b, w, "ada", w.clock.now().Add(-time.Hour))
			if page := b.get(w.authorizeURL(app)); strings.Contains(page.body, "consent-allow") {
				b.decide(page, "allow")
			}
			res := b.get(w.authorizeURL(app, params...))
			if !h.request.Reauthenticate {
				t.Errorf("%v: the host is not asked for a fresh proof", params)
			}
			// Coming back with the old proof, or without saying when, is not enough.
			if got := back(t, b, res).location(t); got.Get("error") != "login_required" {
				t.Errorf("%v: old proof accepted: %v", params, got)
			}
			h.signIn(b, w, "ada", time.Time{})
			if got := back(t, b, b.get(w.authorizeURL(app, "prompt", "login"))).location(t); got.Get("error") != "login_required" {
				t.Errorf("%v: proof without a time accepted: %v", params, got)
			}
			res = b.get(w.authorizeURL(app, "prompt", "login"))
			h.signIn(b, w, "ada", w.clock.now())
			if got := back(t, b, res).location(t); !got.Has("code") {
				t.Errorf("%v: fresh proof refused: %v", params, got)
			}
		}
	})
}

func TestHostUserIsCheckedAtUse(t *testing.T) {
	w, h := newHostWorld(t, "root")
	app := w.register(nil)
	for _, user := range []string{"eve", "nobody"} {
		b := newBrowser(t)
		h.signIn(b, w, user, w.clock.now())
		if res := back(t, b, b.get(w.authorizeURL(app))); res.location(t).Get("error") != "access_denied" {
			t.Errorf("%s: %d %s", user, res.StatusCode, res.Header.Get("Location"))
		}
	}
}
