package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/opkit/opkit/store"
)

// Users is what [RunUsers] checks: both sides of a user directory.
type Users interface {
	store.UserStore
	store.UserAdmin
}

// RunUsers checks a [store.UserStore] together with its [store.UserAdmin]. A
// host that has only the first uses [RunUserStore].
func RunUsers(t *testing.T, newStore func(t *testing.T) Users, opts *Options[Users]) {
	runAll(t, userChecks(), newStore, opts)
}

var users = kind[Users, store.User]{
	noun: "user",
	identify: func(u *store.User, tenant, id string) {
		u.TenantID, u.ID, u.ConnectionID = tenant, id, "connection"
		u.Username, u.Email = "user-"+brief(id), brief(id)+"@example.com"
	},
	alter: func(u *store.User) {
		u.Username += "-changed"
		u.Email = "changed-" + u.Email
	},
	listed:  func(u store.User) string { return u.ID },
	version: func(u *store.User) *int64 { return &u.Version },
	create:  func(ctx context.Context, s Users, u store.User, _ time.Time) error { return s.CreateUser(ctx, u) },
	taken:   store.ErrExists,
	get: func(ctx context.Context, s Users, tenant, id string, _ time.Time) (store.User, error) {
		return s.User(ctx, tenant, id)
	},
	update: func(ctx context.Context, s Users, u store.User, _ time.Time) error { return s.UpdateUser(ctx, u) },
	remove: func(ctx context.Context, s Users, tenant, id string) error { return s.DeleteUser(ctx, tenant, id) },
	finders: []finder[Users, store.User]{
		{"UserByLogin with the username", func(ctx context.Context, s Users, u store.User) (store.User, error) {
			return s.UserByLogin(ctx, u.TenantID, u.ConnectionID, u.Username)
		}},
		{"UserByLogin with the email", func(ctx context.Context, s Users, u store.User) (store.User, error) {
			return s.UserByLogin(ctx, u.TenantID, u.ConnectionID, u.Email)
		}},
	},
	lists: []lister[Users, store.User]{
		{"Users", func(ctx context.Context, s Users, tenant string, page store.Page, _ time.Time) ([]store.User, error) {
			return s.Users(ctx, tenant, "", page)
		}},
		{"Users-of-connection", func(ctx context.Context, s Users, tenant string, page store.Page, _ time.Time) ([]store.User, error) {
			return s.Users(ctx, tenant, "connection", page)
		}},
	},
	uniques: []unique[store.User]{
		{name: "username", set: func(u *store.User, v string) { u.Username = v }},
		{name: "email", set: func(u *store.User, v string) { u.Email = v }},
		{
			name:  "login",
			set:   func(u *store.User, v string) { u.Username = v },
			other: func(u *store.User, v string) { u.Email = v },
		},
	},
	calls: func(s Users, u store.User) []call {
		return []call{
			{"CreateUser", func(ctx context.Context) error { return s.CreateUser(ctx, u) }},
			{"User", func(ctx context.Context) error { _, err := s.User(ctx, u.TenantID, u.ID); return err }},
			{"UserByLogin", func(ctx context.Context) error {
				_, err := s.UserByLogin(ctx, u.TenantID, u.ConnectionID, u.Username)
				return err
			}},
			{"UpdateUser", func(ctx context.Context) error { return s.UpdateUser(ctx, u) }},
			{"DeleteUser", func(ctx context.Context) error { return s.DeleteUser(ctx, u.TenantID, u.ID) }},
			{"Users", func(ctx context.Context) error { _, err := s.Users(ctx, u.TenantID, "", store.Page{}); return err }},
		}
	},
}

func userChecks() []check[Users] {
	return append(users.common(),
		check[Users]{
			name: "logins-empty", rule: ruleUnique,
			explanation: "Any number of users have no username, no email or neither, and an empty login finds none of them.",
			run:         checkEmptyLogins,
		},
		check[Users]{
			name: "logins", rule: ruleMethod,
			explanation: "A login finds the one user of that connection who has it, exactly, and nobody once it was given up; " +
				"a user's own username may equal the email.",
			run: checkLogins,
		},
		check[Users]{
			name: "connections", rule: ruleMethod,
			explanation: "Logins are free in another connection of the tenant; " +
				"Users of a connection, compared exactly, has its users only, and follows one that moves.",
			run: checkUserConnections,
		},
	)
}

func checkEmptyLogins(ctx context.Context, s Users, e *env[Users]) {
	for _, id := range []string{"a", "b", "c"} {
		nameless, mailless, neither := users.record("t", id+"1"), users.record("t", id+"2"), users.record("t", id+"3")
		nameless.Username, mailless.Email = "", ""
		neither.Username, neither.Email = "", ""
		for _, u := range []store.User{nameless, mailless, neither} {
			want := users.put(ctx, e, s, u)
			got, err := s.User(ctx, "t", u.ID)
			e.ok(err, "User")
			e.same(want, got, "a user without a username, an email, or both")
		}
	}
	_, err := s.UserByLogin(ctx, "t", "connection", "")
	e.is(err, store.ErrNotFound, "UserByLogin of an empty login")
	u, err := s.User(ctx, "t", "a1")
	e.ok(err, "User")
	u.Email = ""
	e.ok(s.UpdateUser(ctx, u), "UpdateUser that takes the email away")
}

func checkLogins(ctx context.Context, s Users, e *env[Users]) {
	u := users.record("t", "a")
	u.Username, u.Email = "a@example.com", "a@example.com"
	u = users.put(ctx, e, s, u)
	users.expect(ctx, e, s, u, "t", "a")
	other := users.record("t", "b")
	other.Username, other.Email = "b", "b@example.com"
	other = users.put(ctx, e, s, other)
	for _, login := range []string{
		"", "a", "a@example.co", "a@example.com ", " a@example.com", "a@example.comm", "%", "a%", "_", "_@example.com", "*", "' or ''='", "a", "à@example.com",
	} {
		_, err := s.UserByLogin(ctx, "t", "connection", login)
		e.is(err, store.ErrNotFound, "UserByLogin of %q", login)
	}
	u.Username, u.Email = "new", "new@example.com"
	e.ok(s.UpdateUser(ctx, u), "UpdateUser")
	u.Version = 2
	users.expect(ctx, e, s, u, "t", "a")
	_, err := s.UserByLogin(ctx, "t", "connection", "a@example.com")
	e.is(err, store.ErrNotFound, "UserByLogin of a login that was given up")
	e.ok(s.DeleteUser(ctx, "t", "a"), "DeleteUser")
	users.absent(ctx, e, s, u, "t", "a")
	users.expect(ctx, e, s, other, "t", "b")
}

func checkUserConnections(ctx context.Context, s Users, e *env[Users]) {
	want := make(map[string]store.User)
	for _, connection := range lookalikes {
		u := users.record("t", "of "+connection)
		u.ConnectionID, u.Username, u.Email = connection, "same", "same@example.com"
		want[connection] = users.put(ctx, e, s, u)
	}
	for _, connection := range lookalikes {
		for _, login := range []string{"same", "same@example.com"} {
			got, err := s.UserByLogin(ctx, "t", connection, login)
			e.ok(err, "UserByLogin of %q in connection %q", login, connection)
			e.same(want[connection], got, "the user found for %q in connection %q", login, connection)
		}
		got, err := s.Users(ctx, "t", connection, store.Page{})
		e.ok(err, "Users of connection %q", connection)
		e.same([]store.User{want[connection]}, got, "Users of connection %q", connection)
	}
	for _, connection := range []string{"", "nobody's", "%", "nam"} {
		_, err := s.UserByLogin(ctx, "t", connection, "same")
		e.is(err, store.ErrNotFound, "UserByLogin in connection %q", connection)
	}
	_, err := s.UserByLogin(ctx, "other", "name", "same")
	e.is(err, store.ErrNotFound, "UserByLogin in another tenant")

	moved := want["name"]
	moved.ConnectionID = "another"
	e.ok(s.UpdateUser(ctx, moved), "UpdateUser")
	moved.Version = 2
	for connection, want := range map[string][]store.User{"name": nil, "another": {moved}} {
		got, err := s.Users(ctx, "t", connection, store.Page{})
		e.ok(err, "Users of connection %q", connection)
		e.same(want, got, "Users of connection %q", connection)
	}
	_, err = s.UserByLogin(ctx, "t", "name", "same")
	e.is(err, store.ErrNotFound, "UserByLogin in the connection that the user left")
	got, err := s.UserByLogin(ctx, "t", "another", "same")
	e.ok(err, "UserByLogin in the connection that the user moved to")
	e.same(moved, got, "the user that moved")
}
