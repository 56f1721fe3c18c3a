package sqltest

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/sqlstore"
)

// openRaw opens one pool with settings of its own.
func openRaw(t *testing.T, path, settings string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+"?"+settings)
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

func newStore(t *testing.T, cfg sqlstore.Config) *sqlstore.Store {
	t.Helper()
	cfg.Dialect = sqlstore.SQLite
	s, err := sqlstore.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func tables(t *testing.T, db *sql.DB) int {
	t.Helper()
	var n int
	if err := db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM sqlite_schema").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

const safe = "_journal_mode=WAL&_synchronous=FULL&_busy_timeout=5000&_txlock=immediate"

func TestMigrateRefusesUnsafeSettings(t *testing.T) {
	for _, c := range []struct {
		rule        string
		write, read string
		insecure    bool
		want        string // "" for no error
	}{
		{rule: "as documented", write: safe, read: "_busy_timeout=5000&_query_only=1"},
		{rule: "one pool", write: safe},
		{rule: "EXTRA", write: "_journal_mode=WAL&_synchronous=EXTRA&_busy_timeout=1"},
		{rule: "rollback journal", write: "_synchronous=FULL&_busy_timeout=5000", want: "Config.Write has journal_mode"},
		{rule: "no durability", write: "_journal_mode=WAL&_synchronous=OFF&_busy_timeout=5000", want: "Config.Write has synchronous"},
		{rule: "no durability, not even insecurely", write: "_journal_mode=WAL&_synchronous=OFF&_busy_timeout=5000", insecure: true, want: "Config.Write has synchronous"},
		{rule: "NORMAL", write: "_journal_mode=WAL&_synchronous=NORMAL&_busy_timeout=5000", want: "InsecureSynchronousNormal"},
		{rule: "NORMAL, insecurely", write: "_journal_mode=WAL&_synchronous=NORMAL&_busy_timeout=5000", insecure: true},
		{rule: "no patience", write: "_journal_mode=WAL&_synchronous=FULL", want: "Config.Write has busy_timeout"},
		{rule: "no patience when reading", write: safe, read: "_query_only=1", want: "Config.Read has busy_timeout"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "opkit.db")
			cfg := sqlstore.Config{Write: openRaw(t, path, c.write), InsecureSynchronousNormal: c.insecure}
			if c.read != "" {
				cfg.Read = openRaw(t, path, c.read)
			}
			err := newStore(t, cfg).Migrate(t.Context())
			if c.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want one that says %q", err, c.want)
			}
			if n := tables(t, cfg.Write); n != 0 {
				t.Errorf("%d tables and indexes were made", n)
			}
		})
	}
}

func TestMigrateIsIdempotent(t *testing.T) {
	db := openRaw(t, filepath.Join(t.TempDir(), "opkit.db"), safe)
	s := newStore(t, sqlstore.Config{Write: db})
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Stores().Clients.CreateClient(t.Context(), store.Client{TenantID: "t", ID: "a"}); err != nil {
		t.Fatal(err)
	}
	before := tables(t, db)
	for range 2 {
		if err := s.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	// Where there is nothing to do, nothing is written: an account that may not
	// change the schema will do.
	readOnly := newStore(t, sqlstore.Config{Write: openRaw(t, databaseFile(t, db), safe+"&_query_only=1")})
	if err := readOnly.Migrate(t.Context()); err != nil {
		t.Error(err)
	}
	if after := tables(t, db); after != before {
		t.Errorf("%d tables and indexes, then %d", before, after)
	}
	if _, err := s.Stores().Clients.Client(t.Context(), "t", "a"); err != nil {
		t.Error(err)
	}
}

// migrations returns the names of the files that make the schema, in order.
func migrations(t *testing.T) []string {
	t.Helper()
	names, err := filepath.Glob("../migrations/sqlite/*.sql")
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	return names
}

// A file that an earlier version wrote knows afterwards which clients nobody used.
func TestMigrateFindsTheIdlenessOfClients(t *testing.T) {
	path := filepath.Join(t.TempDir(), "opkit.db")
	db := openRaw(t, path, safe)
	exec := func(statement string, args ...any) {
		t.Helper()
		if _, err := db.ExecContext(t.Context(), strings.ReplaceAll(statement, "{prefix}", "opkit_"), args...); err != nil {
			t.Fatal(err)
		}
	}
	exec("CREATE TABLE {prefix}schema (version INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL)")
	for i, name := range migrations(t) {
		if strings.HasSuffix(name, "_client_idleness.sql") {
			break
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for statement := range strings.SplitSeq(string(text), ";\n") {
			exec(statement)
		}
		exec("INSERT INTO {prefix}schema VALUES (?, ?)", i+1, name)
	}
	created := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	insert := func(id string, dynamic int, record string) {
		exec("INSERT INTO {prefix}clients (tenant_id, id, security_mode, dynamic, created_at, version, record) VALUES ('t', ?, '', ?, ?, 3, ?)",
			id, dynamic, created.UnixMicro(), record)
	}
	insert("provisional", 1, `{}`)
	insert("own", 0, `{"confirmed_at":"2026-03-02T00:00:00Z"}`)
	insert("confirmed", 1, `{"confirmed_at":"2026-03-02T00:00:00Z","last_used_at":"2026-03-03T04:05:06.789012Z"}`)
	insert("confirmed earlier", 1, `{"confirmed_at":"2026-03-02T00:00:00Z"}`)

	s := newStore(t, sqlstore.Config{Write: db})
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	sweeper := s.Stores().ClientSweeper
	idle := func(confirmed bool, before time.Time) string {
		t.Helper()
		clients, err := sweeper.IdleClients(t.Context(), "t", store.IdleFilter{Confirmed: confirmed, Before: before}, store.IdlePage{})
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, c := range clients {
			ids = append(ids, c.ID)
		}
		return strings.Join(ids, ",")
	}
	far := created.AddDate(1, 0, 0)
	for _, c := range []struct {
		confirmed bool
		before    time.Time
		want      string
	}{
		{false, far, "provisional"},
		{false, created, ""},
		{true, far, "confirmed earlier,confirmed"},
		{true, time.Date(2026, 3, 3, 4, 5, 6, 0, time.UTC), "confirmed earlier"},
	} {
		if got := idle(c.confirmed, c.before); got != c.want {
			t.Errorf("confirmed %v, idle before %v: %q, want %q", c.confirmed, c.before, got, c.want)
		}
	}
}

func databaseFile(t *testing.T, db *sql.DB) string {
	t.Helper()
	var path string
	if err := db.QueryRowContext(t.Context(), "SELECT file FROM pragma_database_list WHERE name = 'main'").Scan(&path); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestMigrateIsAllOrNothing(t *testing.T) {
	db := openRaw(t, filepath.Join(t.TempDir(), "opkit.db"), safe)
	// The name of the last table is taken, so that the migration fails late.
	if _, err := db.ExecContext(t.Context(), "CREATE TABLE opkit_tickets (mine TEXT)"); err != nil {
		t.Fatal(err)
	}
	s := newStore(t, sqlstore.Config{Write: db})
	if err := s.Migrate(t.Context()); err == nil {
		t.Fatal("no error")
	}
	if n := tables(t, db); n != 1 {
		t.Errorf("%d tables and indexes are left, want the one that was there", n)
	}
	if _, err := db.ExecContext(t.Context(), "DROP TABLE opkit_tickets"); err != nil {
		t.Fatal(err)
	}
	if err := s.Migrate(t.Context()); err != nil {
		t.Errorf("again, with the obstacle gone: %v", err)
	}
}

func TestMigrateWithADoneContextChangesNothing(t *testing.T) {
	db := openRaw(t, filepath.Join(t.TempDir(), "opkit.db"), safe)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := newStore(t, sqlstore.Config{Write: db}).Migrate(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want context.Canceled", err)
	}
	if n := tables(t, db); n != 0 {
		t.Errorf("%d tables and indexes were made", n)
	}
}

func TestAProgramThatIsTooOldIsRefused(t *testing.T) {
	db := openRaw(t, filepath.Join(t.TempDir(), "opkit.db"), safe)
	if err := newStore(t, sqlstore.Config{Write: db}).Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), "INSERT INTO opkit_schema VALUES (1000, 'from the future')"); err != nil {
		t.Fatal(err)
	}
	err := newStore(t, sqlstore.Config{Write: db}).Migrate(t.Context())
	if err == nil || !strings.Contains(err.Error(), "1000") {
		t.Errorf("error is %v, want one that names version 1000", err)
	}
}

func TestStoresWithTwoPrefixesShareAFile(t *testing.T) {
	db := openRaw(t, filepath.Join(t.TempDir(), "opkit.db"), safe)
	a, b := newStore(t, sqlstore.Config{Write: db, TablePrefix: "a_"}), newStore(t, sqlstore.Config{Write: db, TablePrefix: "b_"})
	for _, s := range []*sqlstore.Store{a, b} {
		if err := s.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Stores().Clients.CreateClient(t.Context(), store.Client{TenantID: "t", ID: "a"}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Stores().Clients.Client(t.Context(), "t", "a"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a client of the other prefix: %v, want ErrNotFound", err)
	}
}

// A database that an earlier version made keeps its records, and they get the
// members that came since.
func TestMigrateKeepsGrants(t *testing.T) {
	db := openRaw(t, filepath.Join(t.TempDir(), "opkit.db"), safe)
	first, err := os.ReadFile("../migrations/sqlite/0001_init.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range append(strings.Split(strings.ReplaceAll(string(first), "{prefix}", "opkit_"), ";\n"),
		"CREATE TABLE opkit_schema (version INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL)",
		"INSERT INTO opkit_schema VALUES (1, '0001_init.sql')",
		`INSERT INTO opkit_grants (tenant_id, id, user_id, client_id, audience, scopes, connection_id, version, created_at, updated_at)
			VALUES ('t', 'old', 'user', 'client', '', '["openid"]', 'con_1', 1, 0, 0)`) {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	s := newStore(t, sqlstore.Config{Write: db})
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	g, err := s.Stores().Grants.Grant(t.Context(), "t", "old", "", time.Now())
	if err != nil || !slices.Equal(g.Scopes, []string{"openid"}) || g.Claims != nil {
		t.Fatalf("the grant of before is %+v, %v", g, err)
	}
	g.Claims = []string{"email"}
	if err := s.Stores().Grants.UpdateGrant(t.Context(), g); err != nil {
		t.Error(err)
	}
}
