package opkit_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// block blocks a client, or puts it back, as an administrator does.
func (w *world) block(id string, blocked bool) {
	w.t.Helper()
	_, _, err := w.provider.Clients().UpdateClient(context.Background(), tenant.DefaultID, id, func(c *store.Client) error {
		c.Blocked = blocked
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// A client that an administrator blocked is served nowhere, whatever it holds, and
// everything comes back with it.
func TestABlockedClientIsServedNowhere(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount, permissive: true})
		app := w.register(map[string]any{"grant_types": []string{"authorization_code", "refresh_token", "client_credentials"}})
		other := w.register(nil)
		b := newBrowser(t)
		tokens := w.redeem(app, w.authorizeIn(b, app).Get("code")).json(t)
		access, refresh := tokens["access_token"].(string), tokens["refresh_token"].(string)
		code := w.authorizeIn(b, app).Get("code")
		login := newBrowser(t)
		page := login.get(w.authorizeURL(app))
		machine := func() *response { return w.token(app, "grant_type", "client_credentials") }
		if res := machine(); res.StatusCode != http.StatusOK {
			t.Fatalf("before: %d %s", res.StatusCode, res.body)
		}
		otherCode := w.authorizeIn(b, other).Get("code")

		w.block(app.id, true)
		before := w.records()
		for name, res := range map[string]*response{
			"userinfo":           w.userinfo(access),
			"refresh":            w.token(app, "grant_type", "refresh_token", "refresh_token", refresh),
			"code":               w.redeem(app, code),
			"client credentials": machine(),
			"authorization":      b.get(w.authorizeURL(app)),
			"silent":             b.get(w.authorizeURL(app, "prompt", "none")),
			"login":              login.login(page, "ada@example.com", password),
		} {
			switch {
			case res.StatusCode == http.StatusFound || res.StatusCode == http.StatusSeeOther:
				if got := res.location(t); got.Get("error") == "" || got.Get("code") != "" || got.Get("access_token") != "" {
					t.Errorf("%s: %v", name, got)
				}
			case res.StatusCode < 400:
				t.Errorf("%s: %d %s", name, res.StatusCode, res.body)
			}
		}
		if len(w.records()) != len(before) {
			t.Error("a record came or went")
		}
		if res := w.redeem(other, otherCode); res.StatusCode != http.StatusOK {
			t.Errorf("another client: %d %s", res.StatusCode, res.body)
		}

		w.block(app.id, false)
		for name, res := range map[string]*response{
			"userinfo": w.userinfo(access), "client credentials": machine(),
			"refresh": w.token(app, "grant_type", "refresh_token", "refresh_token", refresh),
		} {
			if res.StatusCode != http.StatusOK {
				t.Errorf("%s, put back: %d %s", name, res.StatusCode, res.body)
			}
		}
	})
}
