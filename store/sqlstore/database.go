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
	// migrated is set by Migrate.
	migrated atomic.Bool
}

// statement is one SQL text. Where the dialect prepares, that is done once:
// database/sql repeats the preparation for each connection of the pool and keeps
// it with the connection.
type statement struct {
	db       *database
	name     string // the operation, for errors
	text     string
	pool     *sql.DB
	erases   bool
	prepared atomic.Pointer[sql.Stmt]
}

var errNotMigrated = errors.New("sqlstore: Migrate has not been called")

// read, write and erase declare a statement. They are called by the constructors
// only.
func (d *database) read(name, text string) *statement {
	if d.cfg.Read == nil {
		return d.declare(name, text, d.cfg.Write)
	}
	return d.declare(name, text, d.cfg.Read)
}

func (d *database) write(name, text string) *statement {
	return d.declare(name, text, d.cfg.Write)
}

// erase declares a write that keeps none of its arguments: they only say which
// records it is about.
func (d *database) erase(name, text string) *statement {
	s := d.declare(name, text, d.cfg.Write)
	s.erases = true
	return s
}

// collect declares the statement that removes at most ?2 records of a table that
// expired at ?1, the oldest first.
func (d *database) collect(name, table, key string) *statement {
	return d.erase(name, strings.NewReplacer("{table}", "{prefix}"+table, "{key}", key).Replace(d.dialect.collect))
}

func (d *database) declare(name, text string, pool *sql.DB) *statement {
	s := &statement{db: d, name: name, text: d.sql(text), pool: pool}
	d.statements = append(d.statements, s)
	return s
}

// sql adapts a text to the table prefix, the schema and the dialect. {prefix}
// begins the name of a table where it is used, {name} that of what is created in
// the schema of its table: an index.
func (d *database) sql(text string) string {
	prefix := d.cfg.TablePrefix
	if d.cfg.Schema != "" {
		prefix = `"` + d.cfg.Schema + `".` + prefix
	}
	return strings.NewReplacer(
		"{prefix}", prefix,
		"{name}", d.cfg.TablePrefix,
		"{lock}", d.dialect.lock,
		"?", d.dialect.parameter,
	).Replace(text)
}

// prepare prepares what is not prepared yet.
func (d *database) prepare(ctx context.Context) error {
	if !d.dialect.prepares {
		return nil
	}
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
// Where a transaction can fail because of another one it is run again, so change
// must not leave anything behind but its result.
//
// The first statement of every change writes, so that a database that only locks
// when it has to (SQLite without BEGIN IMMEDIATE) waits for its turn there and
// does not fail later, when it has read something that is out of date.
func (d *database) atomically(ctx context.Context, name string, change func(tx *sql.Tx) error) error {
	for attempt := 1; ; attempt++ {
		err := d.transaction(ctx, name, change)
		if err == nil || !again(ctx, err, attempt) {
			return err
		}
	}
}

func (d *database) transaction(ctx context.Context, name string, change func(tx *sql.Tx) error) error {
	tx, err := d.cfg.Write.BeginTx(ctx, &sql.TxOptions{Isolation: d.dialect.isolation})
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
	for attempt := 1; ; attempt++ {
		n, err := s.execOnce(ctx, nil, args)
		if err == nil || !again(ctx, err, attempt) {
			return n, err
		}
	}
}

// execIn runs s inside a transaction.
func (s *statement) execIn(ctx context.Context, tx *sql.Tx, args ...any) (int64, error) {
	return s.execOnce(ctx, tx, args)
}

func (s *statement) execOnce(ctx context.Context, tx *sql.Tx, args []any) (int64, error) {
	stmt := s.prepared.Load()
	if err := s.ready(stmt); err != nil {
		return 0, err
	}
	if !s.storable(args) {
		if s.erases {
			return 0, ctx.Err() // no record has such a name
		}
		return 0, fmt.Errorf("sqlstore: %s: %w", s.name, errNotText)
	}
	var result sql.Result
	var err error
	switch {
	case stmt == nil && tx == nil:
		result, err = s.pool.ExecContext(ctx, s.text, args...)
	case stmt == nil:
		result, err = tx.ExecContext(ctx, s.text, args...)
	case tx == nil:
		result, err = stmt.ExecContext(ctx, args...)
	default:
		result, err = tx.StmtContext(ctx, stmt).ExecContext(ctx, args...)
	}
	if err != nil {
		return 0, s.failed(ctx, err)
	}
	n, err := result.RowsAffected()
	if err != nil {
		return 0, s.failed(ctx, err)
	}
	return n, nil
}

// ready says that the schema is known to be there, and the statement prepared
// where it has to be.
func (s *statement) ready(prepared *sql.Stmt) error {
	if prepared == nil && (s.db.dialect.prepares || !s.db.migrated.Load()) {
		return errNotMigrated
	}
	return nil
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
	for attempt := 1; ; attempt++ {
		all, err := queryOnce(ctx, s, scan, args)
		if err == nil || !again(ctx, err, attempt) {
			return all, err
		}
	}
}

func queryOnce[T any](ctx context.Context, s *statement, scan func(row) (T, error), args []any) ([]T, error) {
	stmt := s.prepared.Load()
	if err := s.ready(stmt); err != nil {
		return nil, err
	}
	if !s.storable(args) {
		return nil, ctx.Err() // no record has such a name
	}
	var rows *sql.Rows
	var err error
	if stmt == nil {
		rows, err = s.pool.QueryContext(ctx, s.text, args...)
	} else {
		rows, err = stmt.QueryContext(ctx, args...)
	}
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
