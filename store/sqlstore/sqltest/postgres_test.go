package sqltest

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"testing"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/sqlstore"
	"github.com/opkit/opkit/store/sqlstore/sqltest/pgtest"
	"github.com/opkit/opkit/store/sqlstore/sqltest/postgres"
)

// openPostgres opens one pool that is closed with the test.
func openPostgres(t *testing.T, url string) *sql.DB {
	t.Helper()
	db, err := postgres.Open(url, 4)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func newPostgres(t *testing.T, cfg sqlstore.Config) *sqlstore.Store {
	t.Helper()
	cfg.Dialect = sqlstore.PostgreSQL
	s, err := sqlstore.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestMigrateRefusesAnUnsafePostgres(t *testing.T) {
	server := pgtest.Start(t)
	name := server.NewDatabase(t)
	url, careless := server.URL(name), server.URL(name)+"&synchronous_commit=off"
	for _, c := range []struct {
		rule        string
		write, read string
		insecure    bool
		want        string // "" for no error
	}{
		{rule: "as it comes", write: url, read: url},
		{rule: "commits that may be lost", write: careless, want: "Config.Write has synchronous_commit=off"},
		{rule: "commits that may be lost, insecurely", write: careless, insecure: true},
		{rule: "what reads commits nothing", write: url, read: careless},
		{rule: "an encoding that lacks letters", write: server.URL(latin(t, server)), want: "Config.Write has server_encoding=LATIN1"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			cfg := sqlstore.Config{Write: openPostgres(t, c.write), InsecureSynchronousNormal: c.insecure}
			if c.read != "" {
				cfg.Read = openPostgres(t, c.read)
			}
			err := newPostgres(t, cfg).Migrate(t.Context())
			if c.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want one that says %q", err, c.want)
			}
		})
	}
}

// latin makes a database that cannot hold every letter.
func latin(t *testing.T, server *pgtest.Server) string {
	t.Helper()
	name := server.NewDatabase(t) + "_latin"
	alter(t, server.URL("postgres"), "CREATE DATABASE "+name+" TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
	return name
}

// A text that PostgreSQL cannot hold names no record, and is not kept.
func TestWhatIsNoTextNamesNothing(t *testing.T) {
	stores, ctx := open(t, pgtest.Start(t).Database(t)).store.Stores(), t.Context()
	for _, id := range []string{"a", "b", "c"} {
		if err := stores.Clients.CreateClient(ctx, store.Client{TenantID: "t", ID: id}); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []string{"a\x00", "\x00", "a\xff", "\xc3", "a\xed\xa0\x80"} {
		if _, err := stores.Clients.Client(ctx, "t", id); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Client %q: %v, want ErrNotFound", id, err)
		}
		if _, err := stores.Clients.Client(ctx, id, "a"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Client of tenant %q: %v, want ErrNotFound", id, err)
		}
		if err := stores.Clients.DeleteClient(ctx, "t", id); err != nil {
			t.Errorf("DeleteClient %q: %v", id, err)
		}
		if _, err := stores.Tickets.ConsumeTicket(ctx, "t", id, store.Digest{}, raceNow); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("ConsumeTicket of kind %q: %v, want ErrNotFound", id, err)
		}
		if _, err := stores.Grants.RotateFamily(ctx, "t", id, 0, raceLater, raceNow); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("RotateFamily %q: %v, want ErrNotFound", id, err)
		}
		if err := stores.Grants.RevokeFamily(ctx, "t", id, raceLater, raceNow); err != nil {
			t.Errorf("RevokeFamily %q: %v", id, err)
		}
		if err := stores.Grants.DeleteGrant(ctx, "t", id); err != nil {
			t.Errorf("DeleteGrant %q: %v", id, err)
		}
		err := stores.Clients.CreateClient(ctx, store.Client{TenantID: "t", ID: id})
		if err == nil || errors.Is(err, store.ErrExists) {
			t.Errorf("CreateClient %q: %v, want a system error", id, err)
		}
		err = stores.Connections.CreateConnection(ctx, store.Connection{TenantID: id, ID: "a", Name: "a"})
		if err == nil || errors.Is(err, store.ErrExists) {
			t.Errorf("CreateConnection in tenant %q: %v, want a system error", id, err)
		}
	}
	for after, want := range map[string]int{"a\x00": 2, "a\x00zzz": 2, "b\xff": 1, "\x00": 3, "c\x00": 0} {
		got, err := stores.Clients.Clients(ctx, "t", store.Page{After: after})
		if err != nil || len(got) != want {
			t.Errorf("after %q: %d clients (%v), want %d", after, len(got), err, want)
		}
	}
	done, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := stores.Clients.Client(done, "t", "\x00"); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that is done: %v, want context.Canceled", err)
	}
}

// The condition finds the name free, and another node takes it before the change.
func TestANameTakenInBetweenIsTaken(t *testing.T) {
	h := open(t, pgtest.Start(t).Database(t))
	connections, ctx := h.store.Stores().Connections, t.Context()
	for _, id := range []string{"a", "b"} {
		if err := connections.CreateConnection(ctx, store.Connection{TenantID: "t", ID: id, Name: id}); err != nil {
			t.Fatal(err)
		}
	}
	tx, err := h.write.BeginTx(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.ExecContext(ctx, "UPDATE opkit_connections SET name = 'c' WHERE id = 'a'"); err != nil {
		t.Fatal(err)
	}
	result := make(chan error, 1)
	go func() {
		result <- connections.UpdateConnection(ctx, store.Connection{TenantID: "t", ID: "b", Name: "c", Version: 1})
	}()
	awaitLock(t, h.write)
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := <-result; !errors.Is(err, store.ErrExists) {
		t.Errorf("error is %v, want ErrExists", err)
	}
}

// awaitLock returns once a statement of this database waits for another one.
func awaitLock(t *testing.T, db *sql.DB) {
	t.Helper()
	for {
		var waiting int
		err := db.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM pg_stat_activity
			WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&waiting)
		if err != nil {
			t.Fatal(err)
		}
		if waiting > 0 {
			return
		}
	}
}

// A ticket that expired is put again while it is being collected: it stays. It
// may be the mark of a value that must not be accepted twice.
func TestCollectionSparesWhatWasPutAgain(t *testing.T) {
	h := open(t, pgtest.Start(t).Database(t))
	tickets, ctx := h.store.Stores().Tickets, t.Context()
	old := store.Ticket{TenantID: "t", ExpiresAt: raceNow}
	if err := tickets.PutTicket(ctx, old, raceNow.Add(-1)); err != nil {
		t.Fatal(err)
	}
	// Another node has replaced it, but not committed yet.
	tx, err := h.write.BeginTx(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.ExecContext(ctx, "UPDATE opkit_tickets SET expires_at = $1", raceLater.UnixMicro()); err != nil {
		t.Fatal(err)
	}
	if n, err := tickets.CollectTickets(ctx, raceNow, 10); n != 0 || err != nil {
		t.Errorf("%d tickets were collected (%v), want none: what is locked is left alone", n, err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if n, err := tickets.CollectTickets(ctx, raceNow, 10); n != 0 || err != nil {
		t.Errorf("%d tickets were collected (%v), want none", n, err)
	}
	if _, err := tickets.Ticket(ctx, "t", "", store.Digest{}, raceNow); err != nil {
		t.Errorf("the ticket that was put again: %v", err)
	}
}

// A family that is started while its grant is deleted is deleted with it.
func TestAFamilyIsNotStartedUnderAGrantThatGoes(t *testing.T) {
	h := open(t, pgtest.Start(t).Database(t))
	grants, ctx := h.store.Stores().Grants, t.Context()
	if err := grants.CreateGrant(ctx, store.Grant{TenantID: "t", ID: "a", UserID: "a"}); err != nil {
		t.Fatal(err)
	}
	tx, err := h.write.BeginTx(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.ExecContext(ctx, "DELETE FROM opkit_grants"); err != nil {
		t.Fatal(err)
	}
	result := make(chan error, 1)
	go func() {
		_, err := grants.StartFamily(ctx, store.Family{TenantID: "t", ID: "f", GrantID: "a", ExpiresAt: raceLater}, raceNow)
		result <- err
	}()
	awaitLock(t, h.write)
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := <-result; !errors.Is(err, store.ErrNotFound) {
		t.Errorf("StartFamily: %v, want ErrNotFound", err)
	}
	if _, err := grants.Family(ctx, "t", "f", raceNow); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Family: %v, want ErrNotFound", err)
	}
}

// A transaction that PostgreSQL ended to resolve a deadlock is run again.
func TestADeadlockIsRunAgain(t *testing.T) {
	h := open(t, pgtest.Start(t).Database(t))
	stores, ctx := h.store.Stores(), t.Context()
	if err := stores.UserAdmin.CreateUser(ctx, store.User{TenantID: "t", ID: "a", ConnectionID: "c", Username: "a"}); err != nil {
		t.Fatal(err)
	}
	// The host locks the login first and then the user; DeleteUser does it the
	// other way round.
	tx, err := h.write.BeginTx(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	// Of the two PostgreSQL ends the one that notices: not this one.
	if _, err := tx.ExecContext(ctx, "SET LOCAL deadlock_timeout = '1h'"); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.ExecContext(ctx, "UPDATE opkit_user_logins SET user_id = user_id WHERE login = 'a'"); err != nil {
		t.Fatal(err)
	}
	result := make(chan error, 1)
	go func() { result <- stores.UserAdmin.DeleteUser(ctx, "t", "a") }()
	awaitLock(t, h.write) // it holds the user and waits for the login
	if _, err := tx.ExecContext(ctx, "UPDATE opkit_users SET version = version WHERE id = 'a'"); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := <-result; err != nil {
		t.Errorf("DeleteUser: %v", err)
	}
	if _, err := stores.Users.User(ctx, "t", "a"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("User: %v, want ErrNotFound", err)
	}
}
