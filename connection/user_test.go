package connection

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

func TestCreateUser(t *testing.T) {
	w := newWorld(t, nil)
	given := store.User{
		TenantID: tenant.DefaultID, ConnectionID: w.conn.ID, Email: " Grace.HOPPER@Example.com", Username: "GRACE",
		EmailVerified: true, Profile: store.Profile{Name: "Grace Hopper"}, Version: 9, CreatedAt: time.Unix(1, 0),
	}
	created, err := w.CreateUser(context.Background(), given, password)
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^auth0\|[0-9a-f]{24}$`).MatchString(created.ID) {
		t.Errorf("identifier %q", created.ID)
	}
	if strings.Contains(created.PasswordHash, password) {
		t.Error("the password is kept")
	}
	want := given
	want.ID, want.Email, want.Username, want.PasswordHash = created.ID, "grace.hopper@example.com", "grace", created.PasswordHash
	want.Version, want.CreatedAt, want.UpdatedAt = 1, w.clock.now, w.clock.now
	if diff := cmp.Diff(want, created); diff != "" {
		t.Error(diff)
	}
	stored, err := w.stores.Users.User(context.Background(), tenant.DefaultID, created.ID)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(created, stored); diff != "" {
		t.Errorf("stored otherwise than returned:\n%s", diff)
	}
	if _, err := w.login("Grace", password); err != nil {
		t.Error(err)
	}
	for rule, u := range map[string]store.User{
		"the email":    {Email: "GRACE.hopper@example.com"},
		"the username": {Username: "Grace"},
		"the ID":       {ID: created.ID, Username: "other"},
	} {
		u.TenantID, u.ConnectionID = tenant.DefaultID, w.conn.ID
		if _, err := w.CreateUser(context.Background(), u, password); !errors.Is(err, store.ErrExists) {
			t.Errorf("%s again: %v", rule, err)
		}
	}
}

func TestCreateUserRefuses(t *testing.T) {
	w, host := hostWorld(t, Host{})
	ctx := context.Background()
	w.change(func(c *store.Connection) { c.Options = []byte(`{"validation":{"username":{"min":3,"max":8}}}`) })
	needs, err := w.Create(ctx, store.Connection{TenantID: tenant.DefaultID, Name: "named", Strategy: StrategyDatabase, Options: []byte(`{"requires_username":true}`)})
	if err != nil {
		t.Fatal(err)
	}
	email := func(email string) store.User { return store.User{Email: email} }
	username := func(username string) store.User { return store.User{Username: username} }
	for _, tt := range []struct {
		rule     string
		user     store.User
		password string
		field    string
	}{
		{"no connection", store.User{ConnectionID: "con_absent", Email: "a@example.com"}, password, "connection"},
		{"a host connection", store.User{ConnectionID: host.ID, Email: "a@example.com"}, password, "connection"},
		{"neither email nor username", store.User{}, password, "email"},
		{"a username is required", store.User{ConnectionID: needs.ID, Email: "a@example.com"}, password, "username"},
		{"an identifier with a space", store.User{ID: "a b", Email: "a@example.com"}, password, "user_id"},
		{"an email without @", email("ada.example.com"), password, "email"},
		{"an email with a name", email("Ada <a@example.com>"), password, "email"},
		{"an email with two @", email("a@b@example.com"), password, "email"},
		{"a quoted email", email(`"a b"@example.com`), password, "email"},
		{"an email with a line break", email("a@example.com\r\nBcc: b@example.com"), password, "email"},
		{"an overlong email", email(strings.Repeat("a", 65) + "@example.com"), password, "email"},
		{"two addresses", email("a@example.com, b@example.com"), password, "email"},
		{"a username like an email", username("a@b"), password, "username"},
		{"a username with a space", username("a bc"), password, "username"},
		{"an invisible username", username("abc\u200b"), password, "username"},
		{"a short username", username("ab"), password, "username"},
		{"a long username", username("abcdefghi"), password, "username"},
		{"no password", email("a@example.com"), "", "password"},
		{"a short password", email("a@example.com"), "short", "password"},
		{"a hash that cannot be read", store.User{Email: "a@example.com", PasswordHash: "$2a$10$abc"}, "", "password_hash"},
		{"a hash that exhausts memory", store.User{Email: "a@example.com", PasswordHash: strings.Replace(referenceHash, "m=65536", "m=4194304", 1)}, "", "password_hash"},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			u := tt.user
			u.TenantID = tenant.DefaultID
			if u.ConnectionID == "" {
				u.ConnectionID = w.conn.ID
			}
			got, err := w.CreateUser(ctx, u, tt.password)
			if e, ok := errors.AsType[*InvalidError](err); !ok || e.Field != tt.field {
				t.Errorf("error %v, want one about %s", err, tt.field)
			}
			if got.ID != "" {
				t.Errorf("an error with user %s", got.ID)
			}
		})
	}
}

func TestCreateUserTakesAHash(t *testing.T) {
	w := newWorld(t, nil)
	u := store.User{TenantID: tenant.DefaultID, ConnectionID: w.conn.ID, Username: "moved", PasswordHash: newArgon2idHash(cheap, password).String()}
	if _, err := w.CreateUser(context.Background(), u, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := w.login("moved", password); err != nil {
		t.Error(err)
	}
	w.cfg.LegacyPassword = func(context.Context, string, string) (bool, error) { return false, nil }
	u.Username, u.PasswordHash = "foreign", "$2a$10$abc"
	if _, err := w.CreateUser(context.Background(), u, ""); err != nil {
		t.Error(err)
	}
}

func TestWithoutUserAdminUsersAreReadOnly(t *testing.T) {
	w := newWorld(t, nil)
	w.cfg.Stores.UserAdmin = nil
	if _, err := w.CreateUser(context.Background(), store.User{TenantID: tenant.DefaultID, ConnectionID: w.conn.ID, Username: "x"}, password); !errors.Is(err, errNoUserAdmin) {
		t.Errorf("CreateUser: %v", err)
	}
	if err := w.SetPassword(context.Background(), tenant.DefaultID, w.user.ID, password); !errors.Is(err, errNoUserAdmin) {
		t.Errorf("SetPassword: %v", err)
	}
	if _, err := w.login("ada", password); err != nil {
		t.Errorf("a login: %v", err)
	}
}

func TestSetPassword(t *testing.T) {
	w := newWorld(t, nil)
	ctx := context.Background()
	for range maxFailures {
		w.login("ada", "x")
		w.login("ada@example.com", "x")
	}
	if _, err := w.login("ada", password); !errors.Is(err, ErrLocked) {
		t.Fatal(err)
	}
	w.clock.advance(time.Microsecond)
	// Somebody else changes the user at the same time, once.
	others := 0
	admin := w.cfg.Stores.UserAdmin
	w.cfg.Stores.UserAdmin = racing{admin, func() {
		if others++; others == 1 {
			w.changeUser(func(u *store.User) { u.EmailVerified = true })
		}
	}}
	if err := w.SetPassword(ctx, tenant.DefaultID, w.user.ID, "another password"); err != nil {
		t.Fatal(err)
	}
	w.cfg.Stores.UserAdmin = admin
	for _, login := range []string{"ada", "ada@example.com"} {
		if user, err := w.login(login, "another password"); err != nil || !user.EmailVerified || !user.UpdatedAt.Equal(w.clock.now) {
			t.Errorf("%s: user %+v, error %v", login, user, err)
		}
		if _, err := w.login(login, password); !errors.Is(err, ErrInvalidCredentials) {
			t.Errorf("%s with the old password: %v", login, err)
		}
	}
	if e, ok := errors.AsType[*InvalidError](w.SetPassword(ctx, tenant.DefaultID, w.user.ID, "short")); !ok || e.Field != "password" {
		t.Error("a short password was accepted")
	}
	if err := w.SetPassword(ctx, tenant.DefaultID, "auth0|absent", password); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("nobody's password: %v", err)
	}
}

func TestPasswordPolicy(t *testing.T) {
	for _, tt := range []struct {
		options, password string
		ok                bool
	}{
		{`{}`, "eight ch", true},
		{`{}`, "aaaaaaaa", true}, // length, and nothing about which characters
		{`{}`, "seven c", false},
		{`{}`, "ääääääää", true}, // characters, not bytes
		{`{}`, "äääääää", false},
		{`{}`, strings.Repeat("x", maxPassword), true},
		{`{}`, strings.Repeat("x", maxPassword+1), false},
		{`{}`, "eight ch\xff", false},
		{`{}`, "Ada@Example.COM", false},
		{`{}`, "adalovelace", false},
		{`{"passwordPolicy":null}`, "seven c", false},
		{`{"passwordPolicy":"none"}`, "x", true},
		{`{"passwordPolicy":"none"}`, "adalovelace", true},
		{`{"passwordPolicy":"low"}`, "abcdef", true},
		{`{"passwordPolicy":"low"}`, "abcde", false},
		{`{"passwordPolicy":"fair"}`, "abcdefG1", true},
		{`{"passwordPolicy":"fair"}`, "abcdefg1", false},
		{`{"passwordPolicy":"fair"}`, "abcdefG!", false},
		{`{"passwordPolicy":"good"}`, "abcdefG!", true},
		{`{"passwordPolicy":"good"}`, "abcdefg!", false},
		{`{"passwordPolicy":"excellent"}`, "abcdefghG!", true},
		{`{"passwordPolicy":"excellent"}`, "abcdefgG!", false},
		{`{"passwordPolicy":"excellent"}`, "aabbccddG!", true},
		{`{"passwordPolicy":"excellent"}`, "aaabcdefG!", false},
		{`{"password_complexity_options":{"min_length":12}}`, "eleven char", false},
		{`{"password_complexity_options":{"min_length":12}}`, "twelve chars", true},
		{`{"passwordPolicy":"excellent","password_complexity_options":{"min_length":4}}`, "aA1!", true},
	} {
		options, err := parseDatabaseOptions([]byte(tt.options))
		if err != nil {
			t.Fatal(err)
		}
		err = checkPassword(tt.password, &options, &store.User{Email: "ada@example.com", Username: "adalovelace"})
		if (err == nil) != tt.ok {
			t.Errorf("%s, %.20q: %v", tt.options, tt.password, err)
		}
		if err != nil && strings.Contains(err.Error(), tt.password) {
			t.Errorf("the password is repeated: %v", err)
		}
	}
}

func FuzzFoldLogin(f *testing.F) {
	f.Add(" Ada@Example.COM\t")
	f.Add("İSTANBUL")
	f.Add("K\u2028\xff")
	f.Fuzz(func(t *testing.T, login string) {
		folded := foldLogin(login)
		if again := foldLogin(folded); again != folded {
			t.Fatalf("%q became %q, then %q", login, folded, again)
		}
		if checkEmail(folded) == nil && checkUsername(folded, 1, defaultMaxUsername) == nil {
			t.Fatalf("%q is an email address and a username", folded)
		}
		if (checkEmail(folded) == nil || checkUsername(folded, 1, defaultMaxUsername) == nil) && !findable(folded) {
			t.Fatalf("%q may be stored and is never found", folded)
		}
	})
}
