package connection

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// However many come with one ticket: one of them sets the password.
func TestOneTicketSetsOnePassword(t *testing.T) {
	w := newWorld(t, nil)
	ctx := context.Background()
	for round := range 20 {
		_, value, err := w.RequestReset(ctx, w.tenant, &w.conn, " ADA@example.com ")
		if err != nil {
			t.Fatal(err)
		}
		var group sync.WaitGroup
		var won atomic.Int32
		var winner atomic.Value
		for i := range 4 {
			group.Go(func() {
				next := fmt.Sprintf("password %d of round %d", i, round)
				switch _, err := w.Reset(ctx, w.tenant, value, next); {
				case err == nil:
					won.Add(1)
					winner.Store(next)
				case !errors.Is(err, ErrTicket):
					t.Error(err)
				}
			})
		}
		group.Wait()
		if n := won.Load(); n != 1 {
			t.Fatalf("%d passwords were set with one ticket", n)
		}
		if _, err := w.login("ada", winner.Load().(string)); err != nil {
			t.Errorf("the password that was set: %v", err)
		}
	}
}

// Of two tickets the one that is used first ends the other.
func TestATicketDiesWithThePassword(t *testing.T) {
	w := newWorld(t, nil)
	ctx := context.Background()
	var values [2]string
	for i := range values {
		var err error
		if _, values[i], err = w.RequestReset(ctx, w.tenant, &w.conn, "ada@example.com"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Reset(ctx, w.tenant, values[1], "short"); err == nil || errors.Is(err, ErrTicket) {
		t.Errorf("a weak password: %v", err)
	}
	if user, err := w.Reset(ctx, w.tenant, values[1], "a new one that is long"); err != nil || !user.EmailVerified {
		t.Errorf("%+v, %v", user, err)
	}
	for _, value := range values {
		if user, err := w.Reset(ctx, w.tenant, value, "yet another long one"); !errors.Is(err, ErrTicket) || user.ID != "" {
			t.Errorf("%q, %v", user.ID, err)
		}
	}
}

// Nobody gets a ticket for somebody who cannot use it, and the caller cannot tell why.
func TestRequestResetForNobody(t *testing.T) {
	ctx := context.Background()
	for name, change := range map[string]func(*world) string{
		"nobody":      func(*world) string { return "grace@example.com" },
		"by username": func(*world) string { return "ada" },
		"blocked": func(w *world) string {
			w.changeUser(func(u *store.User) { u.Blocked = true })
			return "ada@example.com"
		},
		"no text": func(*world) string { return "\xff" },
		"nothing": func(*world) string { return "" },
		"switched off": func(w *world) string {
			w.conn.Options = []byte(`{"disable_self_service_change_password":true}`)
			return "ada@example.com"
		},
		"another's tenant": func(w *world) string { w.conn.TenantID = "other"; return "ada@example.com" },
	} {
		w := newWorld(t, nil)
		login := change(w)
		if user, value, err := w.RequestReset(ctx, w.tenant, &w.conn, login); !errors.Is(err, store.ErrNotFound) || value != "" || user.ID != "" {
			t.Errorf("%s: %q %q %v", name, user.ID, value, err)
		}
	}
}

// What a user says of themselves sets nothing that is for others to set.
func TestSignUpBelievesNothing(t *testing.T) {
	w := newWorld(t, nil)
	ctx := context.Background()
	u := store.User{ID: "auth0|chosen", TenantID: "other", ConnectionID: "other", Email: "grace@example.com", EmailVerified: true, PasswordHash: "x", AppMetadata: []byte(`{"admin":true}`)}
	if _, err := w.SignUp(ctx, w.tenant, &w.conn, u, "a long enough one"); !errors.Is(err, ErrNoSignup) {
		t.Errorf("nobody allowed it: %v", err)
	}
	w.conn.Options = []byte(`{"disable_signup":false}`)
	got, err := w.SignUp(ctx, w.tenant, &w.conn, u, "a long enough one")
	if err != nil {
		t.Fatal(err)
	}
	if got.ID == u.ID || got.TenantID != tenant.DefaultID || got.ConnectionID != w.conn.ID || got.EmailVerified || got.PasswordHash == "x" || got.AppMetadata != nil {
		t.Errorf("%+v", got)
	}
	if _, err := w.SignUp(ctx, w.tenant, &w.conn, store.User{Email: "GRACE@example.com"}, "a long enough one"); !errors.Is(err, store.ErrExists) {
		t.Errorf("twice: %v", err)
	}
}

// However many come with one link: one of them makes the account. Two links for one
// address make one, too.
func TestOneTicketMakesOneAccount(t *testing.T) {
	w := newWorld(t, nil)
	ctx := context.Background()
	w.change(func(c *store.Connection) { c.Options = []byte(`{"disable_signup":false}`) })
	for round := range 20 {
		email := fmt.Sprintf("new%d@example.com", round)
		var values [2]string
		for i := range values {
			var err error
			if _, values[i], err = w.RequestSignUp(ctx, w.tenant, &w.conn, " "+email); err != nil {
				t.Fatal(err)
			}
		}
		var group sync.WaitGroup
		var made atomic.Int32
		for i := range 4 {
			group.Go(func() {
				switch u, err := w.FinishSignUp(ctx, w.tenant, values[i%2], "", "a long enough one"); {
				case err == nil && u.Email == email && u.EmailVerified:
					made.Add(1)
				case !errors.Is(err, ErrTicket) || u.ID != "":
					t.Errorf("%+v, %v", u, err)
				}
			})
		}
		group.Wait()
		if n := made.Load(); n != 1 {
			t.Fatalf("%d accounts were made", n)
		}
		if _, err := w.login(email, "a long enough one"); err != nil {
			t.Error(err)
		}
		for _, value := range values {
			if pending, err := w.SignUpFor(ctx, w.tenant, value); err == nil && pending.Email != email || err != nil && (!errors.Is(err, ErrTicket) || pending != (PendingUser{})) {
				t.Errorf("%+v, %v", pending, err)
			}
		}
	}
}
