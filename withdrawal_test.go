package opkit_test

import (
	"context"
	"strings"
	"testing"

	"github.com/opkit/opkit/tenant"
)

// withdrawals are the ways in which what held when a user signed in ceases to hold.
var withdrawals = map[string]func(t *testing.T, w *world, app registered){
	"flag off": func(t *testing.T, w *world, _ registered) { w.setFlag(false) },
	"connection not a domain one": func(t *testing.T, w *world, _ registered) {
		c, err := w.stores.Connections.Connection(context.Background(), tenant.DefaultID, w.connection.ID)
		if err != nil {
			t.Fatal(err)
		}
		c.IsDomainConnection = false
		if err := w.stores.Connections.UpdateConnection(context.Background(), c); err != nil {
			t.Fatal(err)
		}
	},
	"connection deleted": func(t *testing.T, w *world, _ registered) {
		if err := w.stores.Connections.DeleteConnection(context.Background(), tenant.DefaultID, w.connection.ID); err != nil {
			t.Fatal(err)
		}
	},
	"user blocked": func(t *testing.T, w *world, _ registered) {
		u, err := w.stores.Users.User(context.Background(), tenant.DefaultID, w.user.ID)
		if err != nil {
			t.Fatal(err)
		}
		u.Blocked = true
		if err := w.stores.UserAdmin.UpdateUser(context.Background(), u); err != nil {
			t.Fatal(err)
		}
	},
	"user deleted": func(t *testing.T, w *world, _ registered) {
		if err := w.stores.UserAdmin.DeleteUser(context.Background(), tenant.DefaultID, w.user.ID); err != nil {
			t.Fatal(err)
		}
	},
	"client deleted": func(t *testing.T, w *world, app registered) {
		if err := w.stores.Clients.DeleteClient(context.Background(), tenant.DefaultID, app.id); err != nil {
			t.Fatal(err)
		}
	},
}

// Rechecked at use: what is withdrawn while a session, a page or a code is around.
func TestWithdrawnAccess(t *testing.T) {
	for name, withdraw := range withdrawals {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, options{})
			app := w.register(nil)
			b, pending := newBrowser(t), newBrowser(t)
			tokens := w.redeem(app, w.authorizeIn(b, app, "scope", "openid offline_access").Get("code")).json(t)
			code := w.authorizeIn(b, app, "scope", "openid offline_access").Get("code")
			loginPage := newBrowser(t)
			login := loginPage.get(w.authorizeURL(app))
			consent := pending.login(pending.get(w.authorizeURL(app, "prompt", "consent")), "ada", password)

			withdraw(t, w, app)

			if res := b.get(w.authorizeURL(app, "prompt", "none")); strings.Contains(res.Header.Get("Location"), "code=") {
				t.Error("a session still obtains a code")
			}
			if res := loginPage.login(login, "ada", password); strings.Contains(res.Header.Get("Location"), "code=") || strings.Contains(res.body, "consent-allow") {
				t.Error("a login page that was open still works")
			}
			if res := pending.decide(consent, "allow"); strings.Contains(res.Header.Get("Location"), "code=") {
				t.Error("a consent page that was open still works")
			}
			if res := w.redeem(app, code); res.StatusCode < 400 || res.StatusCode >= 500 {
				t.Errorf("code redemption: %d %s", res.StatusCode, res.body)
			}
			if res := w.token(app, "grant_type", "refresh_token", "refresh_token", tokens["refresh_token"].(string)); res.StatusCode < 400 || res.StatusCode >= 500 {
				t.Errorf("refresh: %d %s", res.StatusCode, res.body)
			}
			if res := w.userinfo(tokens["access_token"].(string)); res.StatusCode != 401 && res.StatusCode != 403 {
				t.Errorf("userinfo: %d %s", res.StatusCode, res.body)
			}
		})
	}
}
