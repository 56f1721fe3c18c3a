package sqlstore

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
)

// Dialect names the kind of database behind a [sql.DB].
type Dialect string

const (
	// SQLite, version 3.37 or later.
	SQLite Dialect = "sqlite"
	// PostgreSQL, version 12 or later. The driver's errors have to have a method
	// SQLState() string, as those of pgx and pq do.
	PostgreSQL Dialect = "postgres"
)

//go:embed migrations
var migrations embed.FS

// dialect is what differs between databases. Statements are written once, in
// SQL that SQLite and PostgreSQL share, with ?1, ?2, ... for parameters.
type dialect struct {
	// migrations is the directory with the schema, one file for each version.
	migrations string
	// begin opens the transaction of a migration.
	begin string
	// parameter is what the number of a parameter is written after.
	parameter string
	// prepares tells that statements are prepared by Migrate. Otherwise that is
	// up to the driver.
	prepares bool
	// schemas tells that Config.Schema means something.
	schemas bool
	// isolation of transactions.
	isolation sql.IsolationLevel
	// lock ends a subquery whose rows have to be there until the statement that it
	// is part of has committed.
	lock string
	// collect removes at most ?2 rows of {table} with expires_at up to ?1. {key}
	// are the columns of its primary key.
	collect string
	// text tells which strings the database can keep. Nil: all.
	text func(string) bool
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
			prepares:   true,
			collect: `
				DELETE FROM {table} WHERE ({key}) IN (
					SELECT {key} FROM {table} WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2)`,
			check: checkSQLite,
		}, nil
	case PostgreSQL:
		return dialect{
			migrations: "migrations/postgres",
			begin:      "BEGIN",
			parameter:  "$",
			schemas:    true,
			isolation:  sql.LevelReadCommitted,
			lock:       "FOR KEY SHARE",
			collect:    collectPostgreSQL,
			text:       postgresText,
			check:      checkPostgreSQL,
		}, nil
	case "":
		return dialect{}, errors.New("sqlstore: Config.Dialect is required")
	default:
		return dialect{}, fmt.Errorf("sqlstore: Config.Dialect %q is not known", string(d))
	}
}
