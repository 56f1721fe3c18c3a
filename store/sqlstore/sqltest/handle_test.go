package sqltest

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"testing"

	"github.com/opkit/opkit/store/sqlstore"
)

// handle is a store with pools of its own, as a process has them.
type handle struct {
	path  string
	store *sqlstore.Store
	write *sql.DB
	close func() error
}

func openHandle(ctx context.Context, path string) (*handle, error) {
	write, read, err := OpenSQLite(path)
	if err != nil {
		return nil, err
	}
	s, err := sqlstore.New(sqlstore.Config{Dialect: sqlstore.SQLite, Write: write, Read: read})
	if err != nil {
		return nil, err
	}
	h := &handle{path: path, store: s, write: write, close: sync.OnceValue(func() error {
		return errors.Join(s.Close(), read.Close(), write.Close())
	})}
	if err := s.Migrate(ctx); err != nil {
		return nil, errors.Join(err, h.close())
	}
	return h, nil
}

func open(tb testing.TB, path string) *handle {
	tb.Helper()
	h, err := openHandle(tb.Context(), path)
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
