package connection

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

func TestAuthenticate(t *testing.T) {
	w := newWorld(t, nil)
	other, err := w.Create(context.Background(), store.Connection{TenantID: tenant.DefaultID, Name: "other", Strategy: StrategyDatabase})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		rule            string
		conn            *store.Connection
		login, password string
		ok              bool
	}{
		{"by email", &w.conn, "ada@example.com", password, true},
		{"by username", &w.conn, "ada", password, true},
		{"case and space around do not matter", &w.conn, " \tADA@Example.COM\n", password, true},
		{"another password", &w.conn, "ada", password + "x", false},
		{"the password's case matters", &w.conn, "ada", strings.ToUpper(password), false},
		{"space around the password matters", &w.conn, "ada", " " + password, false},
		{"an empty password", &w.conn, "ada", "", false},
		{"an overlong password", &w.conn, "ada", strings.Repeat("x", maxPassword+1), false},
		{"nobody", &w.conn, "grace", password, false},
		{"an empty login", &w.conn, "", password, false},
		{"a login of blanks", &w.conn, "  ", password, false},
		{"an overlong login", &w.conn, strings.Repeat("a", maxLogin+1), password, false},
		{"a login with a control character", &w.conn, "ada\x00", password, false},
		{"a login that is not text", &w.conn, "ada\xff", password, false},
		{"a user of another connection", &other, "ada", password, false},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			user, err := w.Authenticate(context.Background(), w.tenant, tt.conn, tt.login, tt.password)
			if tt.ok {
				if err != nil || user.ID != w.user.ID {
					t.Errorf("user %q, error %v", user.ID, err)
				}
				return
			}
			if err != ErrInvalidCredentials || user.ID != "" { // nothing wrapped that could tell why
				t.Errorf("user %q, error %v", user.ID, err)
			}
		})
	}
}

func TestAuthenticateRefusesOtherConnections(t *testing.T) {
	w := newWorld(t, nil)
	for rule, conn := range map[string]store.Connection{
		"another strategy": {TenantID: tenant.DefaultID, ID: w.conn.ID, Strategy: StrategyHost},
		"another tenant":   {TenantID: "other", ID: w.conn.ID, Strategy: StrategyDatabase},
	} {
		if _, err := w.Authenticate(context.Background(), w.tenant, &conn, "ada", password); err == nil || errors.Is(err, ErrInvalidCredentials) {
			t.Errorf("%s: %v", rule, err)
		}
	}
}

func TestBlockedUserLooksLikeAWrongPassword(t *testing.T) {
	w := newWorld(t, nil)
	w.changeUser(func(u *store.User) { u.Blocked = true })
	for range maxFailures {
		if _, err := w.login("ada", password); err != ErrInvalidCredentials {
			t.Fatal(err)
		}
	}
	// The right password must not reset the count, or it could be told from a
	// wrong one.
	if _, err := w.login("ada", password); !errors.Is(err, ErrLocked) {
		t.Errorf("error %v", err)
	}
}

func TestUserWithoutUsableHashLooksLikeAWrongPassword(t *testing.T) {
	w := newWorld(t, nil)
	for _, hash := range []string{"", "nonsense", "$argon2id$v=19$m=4294967295,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5Q"} {
		w.changeUser(func(u *store.User) { u.PasswordHash = hash })
		if _, err := w.login("ada", password); err != ErrInvalidCredentials {
			t.Errorf("hash %q: %v", hash, err)
		}
	}
}

func TestEveryAnswerCostsOneComputation(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Argon2id = defaultArgon2id })
	const memory = 19456 << 10
	cost := func(login, password string) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		w.login(login, password)
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	check := func(what, login, password string) {
		t.Helper()
		if n := cost(login, password); n < memory || n > memory+memory/4 {
			t.Errorf("%s takes %d KiB, one computation %d", what, n>>10, memory>>10)
		}
	}
	check("the right password", "ada", password)
	check("a wrong password", "ada", "x")
	check("nobody", "grace", "x")
	check("a login that nobody can have", "\x00", "x")
	for range maxFailures {
		w.countAttempt(context.Background(), tenant.DefaultID, attemptID(&w.conn, "ada"))
		w.strangers.countAttempt(attemptID(&w.conn, "grace"), w.clock.now)
	}
	check("a locked user", "ada", "x")
	check("a locked login of nobody", "grace", "x")
	w.changeUser(func(u *store.User) { u.Blocked = true })
	check("a blocked user", "ada@example.com", password)
	w.changeUser(func(u *store.User) { u.PasswordHash = "" })
	check("a user without a password", "ada@example.com", password)
	w.changeUser(func(u *store.User) { u.PasswordHash = "nonsense" })
	check("a user with an unreadable hash", "ada@example.com", password)
}

// calls counts what reaches the stores and makes them fail.
type calls struct {
	store.UserStore
	store.TicketStore
	store.ConnectionStore
	made                               []string
	failUsers, failPuts, failDeletions error
}

// countCalls puts a calls between the directory of w and its stores.
func countCalls(w *world) *calls {
	c := &calls{UserStore: w.cfg.Stores.Users, TicketStore: w.cfg.Stores.Tickets, ConnectionStore: w.cfg.Stores.Connections}
	w.cfg.Stores.Users, w.cfg.Stores.Tickets, w.cfg.Stores.Connections = c, c, c
	return c
}

func (c *calls) reset() []string {
	made := c.made
	c.made = nil
	slices.Sort(made)
	return made
}

func (c *calls) User(ctx context.Context, tenant, id string) (store.User, error) {
	c.made = append(c.made, "User")
	if c.failUsers != nil {
		return store.User{}, c.failUsers
	}
	return c.UserStore.User(ctx, tenant, id)
}

func (c *calls) UserByLogin(ctx context.Context, tenant, conn, login string) (store.User, error) {
	c.made = append(c.made, "UserByLogin")
	if c.failUsers != nil {
		return store.User{}, c.failUsers
	}
	return c.UserStore.UserByLogin(ctx, tenant, conn, login)
}

func (c *calls) PutTicket(ctx context.Context, t store.Ticket, now time.Time) error {
	c.made = append(c.made, "PutTicket")
	if c.failPuts != nil {
		return c.failPuts
	}
	return c.TicketStore.PutTicket(ctx, t, now)
}

func (c *calls) Ticket(ctx context.Context, tenant, kind string, id store.Digest, now time.Time) (store.Ticket, error) {
	c.made = append(c.made, "Ticket")
	return c.TicketStore.Ticket(ctx, tenant, kind, id, now)
}

func (c *calls) UpdateTicket(ctx context.Context, t store.Ticket, now time.Time) error {
	c.made = append(c.made, "UpdateTicket")
	return c.TicketStore.UpdateTicket(ctx, t, now)
}

func (c *calls) DeleteTicket(ctx context.Context, tenant, kind string, id store.Digest) error {
	c.made = append(c.made, "DeleteTicket")
	if c.failDeletions != nil {
		return c.failDeletions
	}
	return c.TicketStore.DeleteTicket(ctx, tenant, kind, id)
}

func (c *calls) Connections(ctx context.Context, tenant string, page store.Page) ([]store.Connection, error) {
	c.made = append(c.made, "Connections")
	return c.ConnectionStore.Connections(ctx, tenant, page)
}

func TestStoreCallsOfALogin(t *testing.T) {
	w := newWorld(t, nil)
	c := countCalls(w)
	for _, tt := range []struct {
		what, login, password string
		want                  []string
	}{
		{"success", "ada", password, []string{"DeleteTicket", "PutTicket", "UserByLogin"}},
		{"the first failure", "ada", "x", []string{"PutTicket", "UserByLogin"}},
		{"a further failure", "ada", "x", []string{"PutTicket", "Ticket", "UpdateTicket", "UserByLogin"}},
		{"strangers write nothing", "nobody", "x", []string{"UserByLogin"}},
		{"what nobody can have is not asked for", "\x00", "x", nil},
		{"an empty password costs nothing", "ada", "", nil},
		{"an overlong password costs nothing", "ada", strings.Repeat("x", maxPassword+1), nil},
	} {
		w.login(tt.login, tt.password)
		if diff := cmp.Diff(tt.want, c.reset()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.what, diff)
		}
	}
}

func TestNothingIsSaidBeforeTheAttemptIsCounted(t *testing.T) {
	w := newWorld(t, nil)
	broken := errors.New("disk full")
	countCalls(w).failPuts = broken
	for _, p := range []string{password, "x"} {
		if user, err := w.login("ada", p); !errors.Is(err, broken) || user.ID != "" {
			t.Errorf("password %q: user %q, error %v", p, user.ID, err)
		}
	}
}

func TestSystemErrorIsNotInvalidCredentials(t *testing.T) {
	w := newWorld(t, nil)
	broken := errors.New("connection refused")
	countCalls(w).failUsers = broken
	if _, err := w.login("ada", password); !errors.Is(err, broken) || errors.Is(err, ErrInvalidCredentials) {
		t.Errorf("error %v", err)
	}
}

// wrongUsers is a host's store that forgets to look at the connection.
type wrongUsers struct {
	store.UserStore
	user store.User
}

func (u wrongUsers) UserByLogin(context.Context, string, string, string) (store.User, error) {
	return u.user, nil
}

func TestUserOfAnotherConnectionDoesNotSignIn(t *testing.T) {
	w := newWorld(t, nil)
	stray := w.user
	stray.ConnectionID = "con_other"
	w.cfg.Stores.Users = wrongUsers{w.cfg.Stores.Users, stray}
	if user, err := w.login("ada", password); err == nil || user.ID != "" {
		t.Errorf("user %q, error %v", user.ID, err)
	}
}

func TestLoginSurvivesAFailedReset(t *testing.T) {
	w := newWorld(t, nil)
	countCalls(w).failDeletions = errors.New("disk full")
	if _, err := w.login("ada", password); err != nil {
		t.Error(err)
	}
}

func TestBusy(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.PasswordConcurrency, c.PasswordQueue = 1, -1 })
	c := countCalls(w)
	leave, err := w.passwords.enter(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, login := range []string{"ada", "nobody"} {
		c.reset()
		if _, err := w.login(login, password); !errors.Is(err, ErrBusy) {
			t.Errorf("%s: %v", login, err)
		}
		if diff := cmp.Diff([]string{"UserByLogin"}, c.reset()); diff != "" {
			t.Errorf("%s: something was counted:\n%s", login, diff)
		}
	}
	leave()
	if _, err := w.login("ada", password); err != nil {
		t.Error(err)
	}
}

func TestCancelledLoginSaysNothing(t *testing.T) {
	w := newWorld(t, nil)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, p := range []string{password, "x"} {
		if _, err := w.Authenticate(ctx, w.tenant, &w.conn, "ada", p); !errors.Is(err, context.Canceled) {
			t.Errorf("password %q: %v", p, err)
		}
	}
}

func TestRehash(t *testing.T) {
	stored := func(w *world) store.User {
		u, err := w.stores.Users.User(context.Background(), tenant.DefaultID, w.user.ID)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	raise := func(w *world) {
		w.passwords.params.Passes++
	}
	t.Run("raised parameters replace the hash at the next login", func(t *testing.T) {
		w := newWorld(t, nil)
		before := stored(w)
		raise(w)
		user, err := w.login("ada", password)
		if err != nil {
			t.Fatal(err)
		}
		after := stored(w)
		h, err := parseArgon2id(after.PasswordHash)
		if err != nil || h.params != w.passwords.params || !h.matches(password) {
			t.Errorf("hash %s, error %v", after.PasswordHash, err)
		}
		if !after.UpdatedAt.Equal(before.UpdatedAt) {
			t.Error("updated_at changed, though nothing about the user did")
		}
		if diff := cmp.Diff(after, user); diff != "" {
			t.Errorf("the user that was returned is not the stored one:\n%s", diff)
		}
	})
	t.Run("a wrong password replaces nothing", func(t *testing.T) {
		w := newWorld(t, nil)
		before := stored(w)
		raise(w)
		w.login("ada", "x")
		if diff := cmp.Diff(before, stored(w)); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("a foreign hash is replaced", func(t *testing.T) {
		w := newWorld(t, func(c *Config) {
			c.LegacyPassword = func(_ context.Context, hash, p string) (bool, error) { return hash == "legacy:"+p, nil }
		})
		w.changeUser(func(u *store.User) { u.PasswordHash = "legacy:" + password })
		if _, err := w.login("ada", password); err != nil {
			t.Fatal(err)
		}
		if _, err := parseArgon2id(stored(w).PasswordHash); err != nil {
			t.Error(err)
		}
		if _, err := w.login("ada", password); err != nil {
			t.Error(err)
		}
	})
	t.Run("imported hashes are replaced", func(t *testing.T) {
		w := newWorld(t, nil)
		for name, hash := range importedHashes {
			u, err := w.CreateUser(context.Background(), store.User{TenantID: tenant.DefaultID, ConnectionID: w.conn.ID, Email: "grace@example.com", PasswordHash: hash}, "")
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if _, err := w.login("grace@example.com", "correct horsf"); !errors.Is(err, ErrInvalidCredentials) {
				t.Errorf("%s, another password: %v", name, err)
			}
			for range 2 {
				if _, err := w.login("grace@example.com", "correct horse"); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
			if u, err = w.cfg.Stores.Users.User(context.Background(), tenant.DefaultID, u.ID); err != nil || !strings.HasPrefix(u.PasswordHash, argon2idPrefix) {
				t.Errorf("%s: the hash is %.20s, %v", name, u.PasswordHash, err)
			}
			if err := w.cfg.Stores.UserAdmin.DeleteUser(context.Background(), tenant.DefaultID, u.ID); err != nil {
				t.Fatal(err)
			}
		}
	})
	t.Run("without UserAdmin users are left alone", func(t *testing.T) {
		w := newWorld(t, nil)
		w.cfg.Stores.UserAdmin = nil
		before := stored(w)
		raise(w)
		if _, err := w.login("ada", password); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(before, stored(w)); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("a change that came first wins", func(t *testing.T) {
		w := newWorld(t, nil)
		raise(w)
		w.cfg.Stores.UserAdmin = racing{w.cfg.Stores.UserAdmin, func() { w.changeUser(func(u *store.User) { u.PasswordHash = "changed" }) }}
		if _, err := w.login("ada", password); err != nil {
			t.Fatal(err)
		}
		if got := stored(w).PasswordHash; got != "changed" {
			t.Errorf("hash %s", got)
		}
	})
}

// racing changes the user before each update of somebody else.
type racing struct {
	store.UserAdmin
	first func()
}

func (r racing) UpdateUser(ctx context.Context, u store.User) error {
	r.first()
	return r.UserAdmin.UpdateUser(ctx, u)
}

func BenchmarkAuthenticate(b *testing.B) {
	w := newWorld(b, func(c *Config) { c.Argon2id = defaultArgon2id })
	w.change(func(c *store.Connection) { c.Options = []byte(`{"brute_force_protection":false}`) })
	for _, bb := range []struct{ name, login, password string }{
		{"success", "ada", password}, {"wrong password", "ada", "x"}, {"nobody", "grace", "x"},
	} {
		b.Run(bb.name, func(b *testing.B) {
			for b.Loop() {
				w.login(bb.login, bb.password)
			}
		})
	}
}

// BenchmarkAuthenticateOverhead is a login without the cost of its password hash.
func BenchmarkAuthenticateOverhead(b *testing.B) {
	w := newWorld(b, nil)
	for b.Loop() {
		w.login("ada", password)
	}
}
