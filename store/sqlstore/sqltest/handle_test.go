package sqltest

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/sqlstore"
	"github.com/opkit/opkit/store/sqlstore/sqltest/pgtest"
	"github.com/opkit/opkit/store/sqlstore/sqltest/postgres"
)

// engines are the databases that the tests run on.
var engines = []struct {
	name string
	// place returns that of an empty database: a path or a connection string.
	place func(tb testing.TB) string
}{
	{"SQLite", func(tb testing.TB) string { return filepath.Join(tb.TempDir(), "opkit.db") }},
	{"PostgreSQL", func(tb testing.TB) string { return pgtest.Start(tb).Database(tb) }},
}

// onEngines runs a test on every kind of database.
func onEngines(t *testing.T, test func(t *testing.T, place string)) {
	for _, engine := range engines {
		t.Run(engine.name, func(t *testing.T) { test(t, engine.place(t)) })
	}
}

// handle is a store with pools of its own, as a process has them.
type handle struct {
	place string
	store *sqlstore.Store
	write *sql.DB
	close func() error
}

func openHandle(ctx context.Context, place string) (*handle, error) {
	cfg, err := openPools(place)
	if err != nil {
		return nil, err
	}
	s, err := sqlstore.New(cfg)
	if err != nil {
		return nil, err
	}
	h := &handle{place: place, store: s, write: cfg.Write, close: sync.OnceValue(func() error {
		err := s.Close()
		if cfg.Read != nil {
			err = errors.Join(err, cfg.Read.Close())
		}
		return errors.Join(err, cfg.Write.Close())
	})}
	if err := s.Migrate(ctx); err != nil {
		return nil, errors.Join(err, h.close())
	}
	return h, nil
}

// openPools opens what a place asks for: a connection string, which may be
// followed by # and the name of a schema, or the path of a file.
func openPools(place string) (sqlstore.Config, error) {
	if !isPostgres(place) {
		write, read, err := OpenSQLite(place)
		return sqlstore.Config{Dialect: sqlstore.SQLite, Write: write, Read: read}, err
	}
	url, schema, _ := strings.Cut(place, "#")
	pool, err := postgres.Open(url, 8)
	return sqlstore.Config{Dialect: sqlstore.PostgreSQL, Write: pool, Schema: schema}, err
}

func closePools(tb testing.TB, cfg sqlstore.Config) {
	tb.Helper()
	err := cfg.Write.Close()
	if cfg.Read != nil {
		err = errors.Join(err, cfg.Read.Close())
	}
	if err != nil {
		tb.Error(err)
	}
}

func dialectOf(place string) sqlstore.Dialect {
	if isPostgres(place) {
		return sqlstore.PostgreSQL
	}
	return sqlstore.SQLite
}

func isPostgres(place string) bool { return strings.HasPrefix(place, "postgres://") }

func open(tb testing.TB, place string) *handle {
	tb.Helper()
	h, err := openHandle(tb.Context(), place)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := h.close(); err != nil {
			tb.Error(err)
		}
	})
	return h
}

// sentinel returns the error of package store that err is, nil if it is none.
func sentinel(err error) error {
	for _, target := range []error{store.ErrNotFound, store.ErrExists, store.ErrConsumed, store.ErrConflict} {
		if errors.Is(err, target) {
			return target
		}
	}
	return nil
}
