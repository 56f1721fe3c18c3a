package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/opkit/opkit/store"
)

// database holds the pools and every statement that runs on them.
type database struct {
	cfg        Config
	dialect    dialect
	statements []*statement
}

// statement is one SQL text, prepared once. database/sql repeats the preparation
// for each connection of the pool and keeps it with the connection.
type statement struct {
	name     string // the operation, for errors
	text     string
	pool     *sql.DB
	prepared atomic.Pointer[sql.Stmt]
}

var errNotMigrated = errors.New("sqlstore: Migrate has not been called")

// read and write declare a statement. They are called by the constructors only.
func (d *database) read(name, text string) *statement {
	if d.cfg.Read == nil {
		return d.declare(name, text, d.cfg.Write)
	}
	return d.declare(name, text, d.cfg.Read)
}

func (d *database) write(name, text string) *statement {
	return d.declare(name, text, d.cfg.Write)
}

func (d *database) declare(name, text string, pool *sql.DB) *statement {
	s := &statement{name: name, text: d.sql(text), pool: pool}
	d.statements = append(d.statements, s)
	return s
}

// sql adapts a text to the table prefix and the dialect.
func (d *database) sql(text string) string {
	return strings.NewReplacer(
		"{prefix}", d.cfg.TablePrefix,
		"?", d.dialect.parameter,
	).Replace(text)
}

// prepare prepares what is not prepared yet.
func (d *database) prepare(ctx context.Context) error {
	for _, s := range d.statements {
		if s.prepared.Load() != nil {
			continue
		}
		stmt, err := s.pool.PrepareContext(ctx, s.text)
		if err != nil {
			return s.failed(ctx, err)
		}
		if !s.prepared.CompareAndSwap(nil, stmt) {
			_ = stmt.Close() // another call of Migrate was first
		}
	}
	return nil
}

func (d *database) close() error {
	var errs []error
	for _, s := range d.statements {
		if stmt := s.prepared.Load(); stmt != nil {
			errs = append(errs, stmt.Close())
		}
	}
	return errors.Join(errs...)
}

// atomically runs change in a transaction and commits it if change returns nil.
// The first statement of every change writes, so that a database that only locks
// when it has to (SQLite without BEGIN IMMEDIATE) waits for its turn there and
// does not fail later, when it has read something that is out of date.
func (d *database) atomically(ctx context.Context, name string, change func(tx *sql.Tx) error) error {
	tx, err := d.cfg.Write.BeginTx(ctx, nil)
	if err != nil {
		return failed(ctx, name, err)
	}
	if err := change(tx); err != nil {
		_ = tx.Rollback() // nothing was committed; err says why
		return err
	}
	if err := tx.Commit(); err != nil {
		return failed(ctx, name, err)
	}
	return nil
}

// exec runs s and returns how many rows it changed.
func (s *statement) exec(ctx context.Context, args ...any) (int64, error) {
	stmt := s.prepared.Load()
	if stmt == nil {
		return 0, errNotMigrated
	}
	return s.changed(ctx, stmt, args)
}

// execIn runs s inside a transaction.
func (s *statement) execIn(ctx context.Context, tx *sql.Tx, args ...any) (int64, error) {
	stmt := s.prepared.Load()
	if stmt == nil {
		return 0, errNotMigrated
	}
	return s.changed(ctx, tx.StmtContext(ctx, stmt), args)
}

func (s *statement) changed(ctx context.Context, stmt *sql.Stmt, args []any) (int64, error) {
	result, err := stmt.ExecContext(ctx, args...)
	if err != nil {
		return 0, s.failed(ctx, err)
	}
	n, err := result.RowsAffected()
	if err != nil {
		return 0, s.failed(ctx, err)
	}
	return n, nil
}

func (s *statement) failed(ctx context.Context, err error) error {
	return failed(ctx, s.name, err)
}

// failed wraps an error of the driver. Drivers report a cancelled statement in
// words of their own; the caller wants the context's error.
func failed(ctx context.Context, name string, err error) error {
	if cancelled := ctx.Err(); cancelled != nil {
		return cancelled
	}
	return fmt.Errorf("sqlstore: %s: %w", name, err)
}

// row is what a query scans from.
type row interface {
	Scan(dest ...any) error
}

// queryAll returns the records that s selects, in order.
func queryAll[T any](ctx context.Context, s *statement, scan func(row) (T, error), args ...any) ([]T, error) {
	stmt := s.prepared.Load()
	if stmt == nil {
		return nil, errNotMigrated
	}
	rows, err := stmt.QueryContext(ctx, args...)
	if err != nil {
		return nil, s.failed(ctx, err)
	}
	defer rows.Close()
	var all []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, s.failed(ctx, err)
		}
		all = append(all, v)
	}
	if err := rows.Err(); err != nil {
		return nil, s.failed(ctx, err)
	}
	if err := rows.Close(); err != nil {
		return nil, s.failed(ctx, err)
	}
	return all, nil
}

// queryOne returns the only record that s selects or changes, ErrNotFound if
// there is none.
func queryOne[T any](ctx context.Context, s *statement, scan func(row) (T, error), args ...any) (T, error) {
	// The rows are read to their end: a statement with RETURNING commits with its
	// last step, and only then is it known that it did.
	all, err := queryAll(ctx, s, scan, args...)
	if err != nil || len(all) == 0 {
		var none T
		if err == nil {
			err = store.ErrNotFound
		}
		return none, err
	}
	return all[0], nil
}

func scanInt(r row) (int64, error) {
	var version int64
	err := r.Scan(&version)
	return version, err
}

// refused says why a compare-and-swap changed nothing. versionOf selects the
// version of the record as it is now; guarded tells that the update also
// required a unique value to be free.
func refused(ctx context.Context, versionOf *statement, version int64, guarded bool, args ...any) error {
	now, err := queryOne(ctx, versionOf, scanInt, args...)
	switch {
	case err != nil:
		return err
	case guarded && now == version:
		return store.ErrExists
	default:
		return store.ErrConflict
	}
}

// created turns the outcome of INSERT ... ON CONFLICT DO NOTHING into that of a
// Create call.
func created(changed int64, err error) error {
	if err == nil && changed == 0 {
		return store.ErrExists
	}
	return err
}
