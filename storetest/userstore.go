package storetest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/opkit/opkit/store"
)

// RunUserStore checks a [store.UserStore] over a host's own users, for which
// there is no [store.UserAdmin]. newStore returns a store that has these users
// and no others; all of them are in one tenant and one connection.
//
// A host's table need not have a column for every field of a [store.User]. The
// kit compares TenantID, ID, ConnectionID, Username, Email, EmailVerified and
// Blocked, on which security hangs.
func RunUserStore(t *testing.T, newStore func(t *testing.T, users []store.User) store.UserStore) {
	newSeeded := func(t *testing.T) store.UserStore { return newStore(t, slices.Clone(seededUsers)) }
	runAll(t, userStoreChecks(), newSeeded, nil)
}

var seededUsers = []store.User{
	seededUser("user-1", "ada", "ada@example.com", true, false),
	seededUser("user-2", "", "grace@example.com", false, false),
	seededUser("user-3", "alan", "", false, true),
	seededUser("USER-1", "ada2", "other@example.com", false, false),
}

func seededUser(id, username, email string, verified, blocked bool) store.User {
	return store.User{
		TenantID: "tenant", ID: id, ConnectionID: "connection",
		Username: username, Email: email, EmailVerified: verified, Blocked: blocked,
		Profile: store.Profile{Name: id}, Version: 1, CreatedAt: base, UpdatedAt: base,
	}
}

// essential returns what RunUserStore compares.
func essential(u store.User) store.User {
	return store.User{
		TenantID: u.TenantID, ID: u.ID, ConnectionID: u.ConnectionID,
		Username: u.Username, Email: u.Email, EmailVerified: u.EmailVerified, Blocked: u.Blocked,
	}
}

func userStoreChecks() []check[store.UserStore] {
	return []check[store.UserStore]{
		{
			name: "read", rule: ruleMethod,
			explanation: "Every user is found by identifier, by username and by email, and always the same.",
			run: func(ctx context.Context, s store.UserStore, e *env[store.UserStore]) {
				for range 2 {
					for _, u := range seededUsers {
						expectSeeded(ctx, s, e, u)
					}
				}
			},
		},
		{
			name: "not-found", rule: ruleErrors,
			explanation: "Identifiers and logins that nobody has, empty ones and ones that resemble a user's, are ErrNotFound.",
			run: func(ctx context.Context, s store.UserStore, e *env[store.UserStore]) {
				for _, id := range []string{"", "user", "user-", "user-11", "User-1", " user-1", "user-1 ", "%", "user-%", "user__", "' OR ''='"} {
					_, err := s.User(ctx, "tenant", id)
					e.is(err, store.ErrNotFound, "User %q", id)
				}
				for _, login := range []string{"", "ad", "adaa", " ada", "ada ", "ada@", "%", "a%", "___", "user-1", "' or ''='"} {
					_, err := s.UserByLogin(ctx, "tenant", "connection", login)
					e.is(err, store.ErrNotFound, "UserByLogin of %q", login)
				}
			},
		},
		{
			name: "tenants", rule: ruleTenants,
			explanation: "No user is found through another tenant, and none by login through another connection.",
			run: func(ctx context.Context, s store.UserStore, e *env[store.UserStore]) {
				for _, other := range []string{"", "Tenant", "tenan", "tenants", "tenant ", "%", "_", "other", "connection"} {
					_, err := s.User(ctx, other, "user-1")
					e.is(err, store.ErrNotFound, "User in tenant %q", other)
					_, err = s.UserByLogin(ctx, other, "connection", "ada")
					e.is(err, store.ErrNotFound, "UserByLogin in tenant %q", other)
				}
				for _, other := range []string{"", "Connection", "connectio", "%", "other", "tenant"} {
					_, err := s.UserByLogin(ctx, "tenant", other, "ada")
					e.is(err, store.ErrNotFound, "UserByLogin in connection %q", other)
				}
			},
		},
		{
			name: "cancelled", rule: ruleContext,
			explanation: "With a context that is cancelled or past its deadline both methods return the context's error.",
			run: func(ctx context.Context, s store.UserStore, e *env[store.UserStore]) {
				cancelled, cancel := context.WithCancel(ctx)
				cancel()
				late, cancel := context.WithDeadline(ctx, time.Now().Add(-time.Hour))
				defer cancel()
				for _, done := range []context.Context{cancelled, late} {
					if _, err := s.User(done, "tenant", "user-1"); !errors.Is(err, done.Err()) {
						e.fail("User: error is %v, want %v", err, done.Err())
					}
					if _, err := s.UserByLogin(done, "tenant", "connection", "ada"); !errors.Is(err, done.Err()) {
						e.fail("UserByLogin: error is %v, want %v", err, done.Err())
					}
				}
			},
		},
		{
			name: "copies-out", rule: ruleCopies,
			explanation: "Everything that a user refers to is overwritten after it was read; the store must not notice.",
			run: func(ctx context.Context, s store.UserStore, e *env[store.UserStore]) {
				for _, read := range []func() (store.User, error){
					func() (store.User, error) { return s.User(ctx, "tenant", "user-1") },
					func() (store.User, error) { return s.UserByLogin(ctx, "tenant", "connection", "ada") },
				} {
					got, err := read()
					e.ok(err, "reading a user")
					want := got.Clone()
					scribble(&got)
					again, err := read()
					e.ok(err, "reading a user")
					e.same(want, again, "a user that was read before")
				}
			},
		},
		{
			name: "times", rule: ruleTimes,
			explanation: "Times are in UTC and have no monotonic clock reading.",
			run: func(ctx context.Context, s store.UserStore, e *env[store.UserStore]) {
				u, err := s.User(ctx, "tenant", "user-1")
				e.ok(err, "User")
				for _, t := range timesOf(&u) {
					if zone, offset := t.Zone(); zone != "UTC" || offset != 0 || *t != t.Round(0) {
						e.fail("a time that was read is %v", t)
					}
				}
			},
		},
	}
}

func expectSeeded(ctx context.Context, s store.UserStore, e *env[store.UserStore], want store.User) {
	got, err := s.User(ctx, "tenant", want.ID)
	e.ok(err, "User %q", want.ID)
	e.same(essential(want), essential(got), "user %q", want.ID)
	for _, login := range []string{want.Username, want.Email} {
		if login != "" {
			byLogin, err := s.UserByLogin(ctx, "tenant", "connection", login)
			e.ok(err, "UserByLogin of %q", login)
			e.same(got, byLogin, "the user found for %q", login)
		}
	}
}
