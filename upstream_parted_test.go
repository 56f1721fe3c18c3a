package opkit_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/opkit/opkit/connection"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// Whoever once knew the password may have joined an account of their own to the user's. A
// new password ends that: it has to be proved again.
func TestANewPasswordPartsAccounts(t *testing.T) {
	const fresh = "a new password of Ada's"
	byAdministrator := func(u *fakeWorld) {
		if res := u.manage(http.MethodPatch, "/users/"+url.PathEscape(u.user.ID), `{"password":"`+fresh+`"}`); res.StatusCode != http.StatusOK {
			u.t.Fatalf("%d %s", res.StatusCode, res.body)
		}
	}
	byMail := func(u *fakeWorld) {
		connections := u.provider.Connections()
		tn, err := u.provider.Tenants().Tenant(u.t.Context(), tenant.DefaultID)
		if err != nil {
			u.t.Fatal(err)
		}
		_, ticket, err := connections.RequestReset(u.t.Context(), tn, &u.connection, "ada@example.com")
		if err != nil {
			u.t.Fatal(err)
		}
		if _, err := connections.Reset(u.t.Context(), tn, ticket, fresh); err != nil {
			u.t.Fatal(err)
		}
	}
	imported := func(u *fakeWorld) {
		if _, err := u.provider.Connections().UpdateUser(u.t.Context(), tenant.DefaultID, u.user.ID, func(user *store.User) error {
			user.PasswordHash = "$2b$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy"
			return nil
		}); err != nil {
			u.t.Fatal(err)
		}
	}
	join := func(u *fakeWorld) {
		u.t.Helper()
		b := newBrowser(u.t)
		if sub := u.subject(b, b.link(u.asked(b), "join", password)); sub != u.user.ID {
			u.t.Fatalf("signed in as %s", sub)
		}
		u.clock.advance(time.Second)
	}
	own := func(u *fakeWorld) string { return "oidc|" + u.upstream.ID + "|u1" }

	for name, replace := range map[string]func(*fakeWorld){"an administrator's": byAdministrator, "by mail": byMail} {
		t.Run(name, func(t *testing.T) {
			onEveryMount(t, func(t *testing.T, mount string) {
				u := newLinkWorld(t, options{mount: mount}, nil)
				join(u)
				replace(u)
				u.clock.advance(time.Second)
				// The one who was joined is asked, and without the password stays outside.
				b := newBrowser(t)
				page := u.asked(b, "prompt", "consent")
				if res := b.link(page, "join", password); res.StatusCode != http.StatusUnauthorized {
					t.Errorf("the old password: %d %s", res.StatusCode, text(res.body))
				}
				u.notSignedIn(t, b)
				// With it, the two belong together as before, and nobody is asked again.
				if sub := u.subject(b, b.link(page, "join", fresh)); sub != u.user.ID {
					t.Errorf("signed in as %s", sub)
				}
				again := newBrowser(t)
				if sub := u.subject(again, u.signIn(again, "prompt", "consent")); sub != u.user.ID {
					t.Errorf("later signed in as %s", sub)
				}
			})
		})
	}
	t.Run("kept apart afterwards", func(t *testing.T) {
		u := newLinkWorld(t, options{}, nil)
		join(u)
		byAdministrator(u)
		b := newBrowser(t)
		if sub := u.subject(b, b.link(u.asked(b), "apart", "")); sub != own(u) {
			t.Errorf("signed in as %s", sub)
		}
		if users := u.users(); len(users) != 1 || users[0].LinkedTo != "" || !users[0].LinkedAt.IsZero() {
			t.Errorf("%+v", users)
		}
		again := newBrowser(t)
		if page := u.signIn(again); strings.Contains(page.body, "link-join") {
			t.Error("asked again")
		}
	})
	t.Run("nobody can be asked", func(t *testing.T) {
		u := newLinkWorld(t, options{}, nil)
		join(u)
		imported(u)
		u.fake.set(func() { u.fake.info = map[string]any{"email": "ada@example.com", "email_verified": false} })
		b := newBrowser(t)
		if sub := u.subject(b, u.signIn(b, "prompt", "consent")); sub != own(u) {
			t.Errorf("signed in as %s", sub)
		}
	})
	t.Run("a hash that is made anew", func(t *testing.T) {
		u := newLinkWorld(t, options{}, nil)
		join(u)
		user, err := u.stores.Users.User(t.Context(), tenant.DefaultID, u.user.ID)
		if err != nil || !user.PasswordSetAt.IsZero() {
			t.Fatalf("%v, %v", user.PasswordSetAt, err)
		}
		b := newBrowser(t)
		if sub := u.subject(b, u.signIn(b, "prompt", "consent")); sub != u.user.ID {
			t.Errorf("signed in as %s", sub)
		}
	})
	t.Run("a password that is replaced while they are joined", func(t *testing.T) {
		u := newLinkWorld(t, options{}, nil)
		tn, err := u.provider.Tenants().Tenant(t.Context(), tenant.DefaultID)
		if err != nil {
			t.Fatal(err)
		}
		proved, err := u.stores.Users.User(t.Context(), tenant.DefaultID, u.user.ID)
		if err != nil {
			t.Fatal(err)
		}
		byAdministrator(u)
		identity := connection.UpstreamIdentity{Subject: "u1", UpstreamProfile: connection.UpstreamProfile{Email: "ada@example.com", EmailVerified: true}}
		if _, err := u.provider.Connections().Link(t.Context(), tn, &u.upstream, identity, &u.connection, &proved); !errors.Is(err, connection.ErrNotAllowed) {
			t.Errorf("%v", err)
		}
		if users := u.users(); len(users) != 0 {
			t.Errorf("%+v", users)
		}
	})
	t.Run("a blocked one is not asked", func(t *testing.T) {
		u := newLinkWorld(t, options{}, nil)
		join(u)
		byAdministrator(u)
		if res := u.manage(http.MethodPatch, "/users/"+url.PathEscape(u.users()[0].ID), `{"blocked":true}`); res.StatusCode != http.StatusOK {
			t.Fatalf("%d %s", res.StatusCode, res.body)
		}
		if got := u.signIn(newBrowser(t)).location(t); got.Get("error") != "access_denied" {
			t.Errorf("%v", got)
		}
	})
}
