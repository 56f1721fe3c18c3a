package sqltest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/sqlstore"
	"github.com/opkit/opkit/store/sqlstore/sqltest/pgtest"
)

// schemaOf returns every column and index of a schema, in words.
func schemaOf(t *testing.T, db *sql.DB, schema string) []string {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), `
		SELECT table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable || ' ' || COALESCE(collation_name, '')
			|| ' ' || COALESCE(column_default, '')
		FROM information_schema.columns WHERE table_schema = $1
		UNION ALL
		SELECT replace(indexdef, schemaname || '.', '') FROM pg_catalog.pg_indexes WHERE schemaname = $1
		ORDER BY 1`, schema)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		all = append(all, line)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// applyByHand applies the first n migrations as a tool of the host's would.
func applyByHand(t *testing.T, db *sql.DB, cfg sqlstore.Config, n int) {
	t.Helper()
	cfg.Dialect = sqlstore.PostgreSQL
	steps, err := sqlstore.Migrations(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range steps[:n] {
		tx, err := db.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.ExecContext(t.Context(), step.SQL); err != nil {
			t.Fatalf("%s: %v", step.Name, err)
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
	}
}

func stepCount(t *testing.T) int {
	t.Helper()
	steps, err := sqlstore.Migrations(sqlstore.Config{Dialect: sqlstore.PostgreSQL})
	if err != nil {
		t.Fatal(err)
	}
	return len(steps)
}

// From any version that there was, by Migrate or by hand, one gets to the same
// schema.
func TestEveryUpgradeOfPostgresEndsInTheSameSchema(t *testing.T) {
	server := pgtest.Start(t)
	fresh := open(t, server.Database(t))
	want := schemaOf(t, fresh.write, "public")
	if len(want) < 100 {
		t.Fatalf("the schema is %q", want)
	}
	for n := range stepCount(t) + 1 {
		t.Run(fmt.Sprint("from ", n), func(t *testing.T) {
			url := server.Database(t)
			applyByHand(t, openPostgres(t, url), sqlstore.Config{}, n)
			if diff := cmp.Diff(want, schemaOf(t, open(t, url).write, "public")); diff != "" {
				t.Errorf("schema (-fresh +upgraded):\n%s", diff)
			}
		})
	}
}

// Who applies migrations with an account of its own needs no right to create
// tables for the account of the provider.
func TestAnAccountThatMayOnlyUseTheTables(t *testing.T) {
	server := pgtest.Start(t)
	name := server.NewDatabase(t)
	owner := openPostgres(t, server.URL(name))
	exec := func(statement string) {
		t.Helper()
		if _, err := owner.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	cfg := sqlstore.Config{Schema: "auth", TablePrefix: "p_"}
	exec("CREATE SCHEMA auth")
	exec("CREATE ROLE " + name + " LOGIN")
	exec("GRANT USAGE ON SCHEMA auth TO " + name)
	exec("ALTER DEFAULT PRIVILEGES IN SCHEMA auth GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO " + name)
	cfg.Write = openPostgres(t, strings.Replace(server.URL(name), "//opkit@", "//"+name+"@", 1))

	early := newPostgres(t, cfg)
	if err := early.Migrate(t.Context()); err == nil || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("before the tables are there: %v, want an error that says why", err)
	}
	if err := early.Stores().Clients.CreateClient(t.Context(), store.Client{TenantID: "t", ID: "a"}); err == nil {
		t.Error("the store works although Migrate failed")
	}
	applyByHand(t, owner, cfg, stepCount(t))
	s := newPostgres(t, cfg)
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Stores().Clients.CreateClient(t.Context(), store.Client{TenantID: "t", ID: "a"}); err != nil {
		t.Error(err)
	}
}

// Nodes that start at the same moment, each with a pool of its own.
func TestNodesMigrateTogether(t *testing.T) {
	server := pgtest.Start(t)
	for round := range 10 {
		url := server.Database(t)
		if round%2 == 1 {
			applyByHand(t, openPostgres(t, url), sqlstore.Config{}, 1)
		}
		const nodes = 4
		var errs [nodes]error
		var stores [nodes]*sqlstore.Store
		for i := range stores {
			stores[i] = newPostgres(t, sqlstore.Config{Write: openPostgres(t, url)})
		}
		var running sync.WaitGroup
		for i := range stores {
			running.Go(func() { errs[i] = stores[i].Migrate(t.Context()) })
		}
		running.Wait()
		if err := errors.Join(errs[:]...); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		var rows, newest int
		err := openPostgres(t, url).QueryRowContext(t.Context(), "SELECT COUNT(*), MAX(version) FROM opkit_schema").Scan(&rows, &newest)
		if err != nil || rows != stepCount(t) || newest != rows {
			t.Errorf("round %d: %d rows up to version %d (%v), want %d", round, rows, newest, err, stepCount(t))
		}
	}
}

func TestMigrateOfPostgresIsAllOrNothing(t *testing.T) {
	url := pgtest.Start(t).Database(t)
	db := openPostgres(t, url)
	// The name of the last table is taken, so that the migration fails late.
	if _, err := db.ExecContext(t.Context(), "CREATE TABLE opkit_tickets (mine TEXT)"); err != nil {
		t.Fatal(err)
	}
	before := schemaOf(t, db, "public")
	s := newPostgres(t, sqlstore.Config{Write: db})
	if err := s.Migrate(t.Context()); err == nil {
		t.Fatal("no error")
	}
	done, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Migrate(done); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that is done: %v, want context.Canceled", err)
	}
	if diff := cmp.Diff(before, schemaOf(t, db, "public")); diff != "" {
		t.Errorf("something is left:\n%s", diff)
	}
	if _, err := db.ExecContext(t.Context(), "DROP TABLE opkit_tickets"); err != nil {
		t.Fatal(err)
	}
	if err := s.Migrate(t.Context()); err != nil {
		t.Errorf("again, with the obstacle gone: %v", err)
	}
	if err := s.Migrate(t.Context()); err != nil {
		t.Errorf("again, with nothing to do: %v", err)
	}
}

func TestAProgramThatIsTooOldIsRefusedByPostgres(t *testing.T) {
	h := open(t, pgtest.Start(t).Database(t))
	if _, err := h.write.ExecContext(t.Context(), "INSERT INTO opkit_schema VALUES (1000, 'from the future')"); err != nil {
		t.Fatal(err)
	}
	old := newPostgres(t, sqlstore.Config{Write: h.write})
	if err := old.Migrate(t.Context()); err == nil || !strings.Contains(err.Error(), "1000") {
		t.Errorf("error is %v, want one that names version 1000", err)
	}
	if _, err := old.Stores().Clients.Client(t.Context(), "t", "a"); err == nil || errors.Is(err, store.ErrNotFound) {
		t.Errorf("reading all the same: %v, want an error", err)
	}
}

func TestStoresShareADatabase(t *testing.T) {
	db := openPostgres(t, pgtest.Start(t).Database(t))
	for _, schema := range []string{"one", "user"} { // the other one is a word of SQL
		if _, err := db.ExecContext(t.Context(), `CREATE SCHEMA "`+schema+`"`); err != nil {
			t.Fatal(err)
		}
	}
	for _, cfg := range []sqlstore.Config{
		{Write: db}, {Write: db, TablePrefix: "a_"},
		{Write: db, Schema: "one"}, {Write: db, Schema: "one", TablePrefix: "a_"}, {Write: db, Schema: "user"},
	} {
		s := newPostgres(t, cfg)
		if err := s.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := s.Stores().Clients.CreateClient(t.Context(), store.Client{TenantID: "t", ID: "a"}); err != nil {
			t.Errorf("%s.%s: %v", cfg.Schema, cfg.TablePrefix, err)
		}
	}
	missing := newPostgres(t, sqlstore.Config{Write: db, Schema: "absent"})
	if err := missing.Migrate(t.Context()); err == nil || !strings.Contains(err.Error(), `"absent"`) {
		t.Errorf("a schema that is absent: %v, want an error that names it", err)
	}
}
