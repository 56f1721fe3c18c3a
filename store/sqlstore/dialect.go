package sqlstore

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Dialect names the kind of database behind a [sql.DB].
type Dialect string

// SQLite, version 3.37 or later.
const SQLite Dialect = "sqlite"

//go:embed migrations
var migrations embed.FS

// dialect is what differs between databases. Statements are written once, in
// SQL that SQLite and PostgreSQL share, with ?1, ?2, ... for parameters.
type dialect struct {
	// migrations is the directory with the schema, one file for each version.
	migrations string
	// begin opens the transaction of a migration so that a second process waits
	// until it has ended.
	begin string
	// parameter is what the number of a parameter is written after.
	parameter string
	// check refuses a database that would not keep the rules of package store.
	check func(ctx context.Context, cfg Config) error
}

func (d Dialect) resolve() (dialect, error) {
	switch d {
	case SQLite:
		return dialect{
			migrations: "migrations/sqlite",
			begin:      "BEGIN IMMEDIATE",
			parameter:  "?",
			check:      checkSQLite,
		}, nil
	case "":
		return dialect{}, errors.New("sqlstore: Config.Dialect is required")
	default:
		return dialect{}, fmt.Errorf("sqlstore: Config.Dialect %q is not known", string(d))
	}
}

// checkSQLite reads the settings that decide whether an acknowledged write
// survives and whether processes can share the file. They belong to a
// connection, so they have to come from the data source name; one connection of
// each pool stands for all.
func checkSQLite(ctx context.Context, cfg Config) error {
	if err := checkSQLiteSharing(ctx, "Config.Write", cfg.Write); err != nil {
		return err
	}
	if cfg.Read != nil {
		if err := checkSQLiteSharing(ctx, "Config.Read", cfg.Read); err != nil {
			return err
		}
	}
	// A pool that only reads commits nothing.
	synchronous, err := pragma(ctx, cfg.Write, "synchronous")
	if err != nil {
		return err
	}
	switch {
	case synchronous == "2", synchronous == "3": // FULL, EXTRA
	case synchronous == "1" && cfg.InsecureSynchronousNormal:
	case synchronous == "1":
		return errors.New("sqlstore: Config.Write has synchronous=NORMAL, want FULL (or Config.InsecureSynchronousNormal)")
	default:
		return fmt.Errorf("sqlstore: Config.Write has synchronous=%s, want FULL", synchronous)
	}
	return nil
}

func checkSQLiteSharing(ctx context.Context, name string, pool *sql.DB) error {
	mode, err := pragma(ctx, pool, "journal_mode")
	if err != nil {
		return err
	}
	if !strings.EqualFold(mode, "wal") {
		return fmt.Errorf("sqlstore: %s has journal_mode=%s, want WAL", name, mode)
	}
	timeout, err := pragma(ctx, pool, "busy_timeout")
	if err != nil {
		return err
	}
	if ms, err := strconv.Atoi(timeout); err != nil || ms <= 0 {
		return fmt.Errorf("sqlstore: %s has busy_timeout=%s, want some seconds (5000)", name, timeout)
	}
	return nil
}

func pragma(ctx context.Context, pool *sql.DB, name string) (string, error) {
	var value string
	if err := pool.QueryRowContext(ctx, "PRAGMA "+name).Scan(&value); err != nil {
		return "", failed(ctx, "read "+name, err)
	}
	return value, nil
}
