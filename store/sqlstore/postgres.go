package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/opkit/opkit/store"
)

// collectPostgreSQL locks what it removes, so that two nodes that collect at the
// same time take different rows, and looks at each row again once it is locked:
// a ticket that was put again in the meantime has not expired any more. In a
// subquery that is not materialized the limit would not be one, because it may
// be run more than once.
const collectPostgreSQL = `
	WITH expired AS MATERIALIZED (
		SELECT {key} FROM {table} WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2 FOR UPDATE SKIP LOCKED)
	DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM expired) AND expires_at <= ?1`

// attempts at a change that another one got in the way of. At READ COMMITTED each
// failure means that somebody else got further, so a few are enough.
const attempts = 20

// again reports whether to run once more what failed with err, and waits before that
// from the fourth time on: at SERIALIZABLE those that got in each other's way would go on
// doing so.
func again(ctx context.Context, err error, attempt int) bool {
	if attempt == attempts || !passing(err) {
		return false
	}
	if attempt <= 3 {
		return true
	}
	pause := time.NewTimer(rand.N(time.Duration(attempt) * time.Millisecond))
	defer pause.Stop()
	select {
	case <-pause.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// passing reports whether err means that a statement or transaction did nothing
// because of another one at the same time, and that it may do better now. The
// codes are those of PostgreSQL (SQLSTATE); errors of SQLite have none.
func passing(err error) bool {
	type sqlState interface {
		error
		SQLState() string
	}
	e, ok := errors.AsType[sqlState](err)
	if !ok {
		return false
	}
	switch e.SQLState() {
	case "40001", // serialization_failure: only at a level above READ COMMITTED
		"40P01", // deadlock_detected
		"23505": // unique_violation: taken after the statement had found it free. Now it finds it taken.
		return true
	}
	return false
}

// errNotText is a system error: what providers let into a column is text.
var errNotText = errors.New("a value is not UTF-8, or contains a zero byte")

// postgresText reports whether PostgreSQL takes s for a text.
func postgresText(s string) bool {
	return strings.IndexByte(s, 0) < 0 && utf8.ValidString(s)
}

// storable reports whether the database can hold every argument, so that a
// record that goes by it may exist.
func (s *statement) storable(args []any) bool {
	text := s.db.dialect.text
	if text == nil {
		return true
	}
	for _, arg := range args {
		if arg, ok := arg.(string); ok && !text(arg) {
			return false
		}
	}
	return true
}

// after returns where a page begins, as a text that the database can compare
// with. Records come after "a\x00" if and only if they come after "a", because
// none contains a zero byte.
func (d *database) after(page store.Page) string {
	if d.dialect.text == nil || d.dialect.text(page.After) {
		return page.After
	}
	before, _, _ := strings.Cut(page.After, "\x00")
	return strings.ToValidUTF8(before, "\uFFFD")
}

func (s *statement) after(page store.Page) string { return s.db.after(page) }

// checkPostgreSQL reads the settings that decide whether an acknowledged write
// survives and whether every text can be kept. They may differ between the roles
// of the pools; one connection of each stands for all.
func checkPostgreSQL(ctx context.Context, cfg Config) error {
	if err := checkPostgreSQLPool(ctx, "Config.Write", cfg.Write, !cfg.InsecureSynchronousNormal); err != nil {
		return err
	}
	if cfg.Read == nil {
		return nil
	}
	return checkPostgreSQLPool(ctx, "Config.Read", cfg.Read, false) // a pool that only reads commits nothing
}

// postgresVersion is the oldest that has all that the statements use, as
// server_version_num has it: WITH ... AS MATERIALIZED came with 12.
const postgresVersion = 120000

func checkPostgreSQLPool(ctx context.Context, name string, pool *sql.DB, durable bool) error {
	var version, encoding, commit, standby sql.NullString
	// Servers that speak PostgreSQL's protocol do not know all of its settings: an
	// unknown one is NULL.
	err := pool.QueryRowContext(ctx, `SELECT current_setting('server_version_num', true), current_setting('server_encoding', true),
		current_setting('synchronous_commit', true), current_setting('in_hot_standby', true)`).
		Scan(&version, &encoding, &commit, &standby)
	if err != nil {
		return failed(ctx, "read settings", err)
	}
	if n, err := strconv.Atoi(version.String); err == nil && n < postgresVersion {
		return fmt.Errorf("sqlstore: %s is PostgreSQL %d, want %d or later", name, n/10000, postgresVersion/10000)
	}
	if encoding.Valid && !strings.EqualFold(encoding.String, "UTF8") {
		return fmt.Errorf("sqlstore: %s has server_encoding=%s, want UTF8", name, encoding.String)
	}
	if commit.String == "off" && durable {
		return fmt.Errorf("sqlstore: %s has synchronous_commit=off, want on (or Config.InsecureSynchronousNormal)", name)
	}
	if standby.String == "on" {
		return fmt.Errorf("sqlstore: %s is a standby, want the primary: what was just revoked must not be read as valid", name)
	}
	return nil
}
