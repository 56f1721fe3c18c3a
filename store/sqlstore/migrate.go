package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

// Migrate checks the settings of the database, brings the schema up to date and
// prepares the statements where the dialect does that. It must be called before
// the first use, at every start; where the schema is up to date it only reads, so
// that an account without the right to create tables will do (see [Migrations]).
//
// Migrations are ordered and go forward only. All that are missing are applied
// in one transaction, and processes that start together wait for each other. A
// schema that a later version of this package made is an error.
func (s *Store) Migrate(ctx context.Context) error {
	if err := s.db.dialect.check(ctx, s.db.cfg); err != nil {
		return err
	}
	steps, err := s.db.migrations()
	if err != nil {
		return err
	}
	for attempt := 1; ; attempt++ {
		err := s.db.migrate(ctx, steps)
		if err == nil {
			break
		}
		if attempt == attempts || !(passing(err) || errors.Is(err, errOvertaken)) {
			return err
		}
	}
	if err := s.db.prepare(ctx); err != nil {
		return err
	}
	s.db.migrated.Store(true)
	return nil
}

// A Migration is one step of the schema.
type Migration struct {
	// Version counts the steps from 1.
	Version int
	// Name says what the step is about, as in "0001_init".
	Name string
	// SQL are the statements, each ended by a semicolon and a newline. The last one
	// records the step in the schema table.
	SQL string
}

// Migrations returns what [Store.Migrate] applies to an empty database, in order,
// for those who change schemas with a tool and an account of their own. Each step
// has to run in one transaction. Of cfg only Dialect, TablePrefix and Schema count.
//
// A store still has to be told to Migrate: it finds nothing to do, or says that a
// step is missing because it may not apply it.
func Migrations(cfg Config) ([]Migration, error) {
	db, err := cfg.resolve()
	if err != nil {
		return nil, err
	}
	steps, err := db.migrations()
	if err != nil {
		return nil, err
	}
	var all []Migration
	for i, step := range steps {
		text := make([]string, 0, len(step.statements)+2)
		if i == 0 {
			text = append(text, db.sql(createSchemaTable))
		}
		text = append(text, step.statements...)
		// The name is that of a file of this package: nothing in it needs quoting.
		text = append(text, db.sql("INSERT INTO {prefix}schema (version, name) VALUES ("+strconv.Itoa(i+1)+", '"+step.name+"')"))
		all = append(all, Migration{
			Version: i + 1,
			Name:    strings.TrimSuffix(step.name, ".sql"),
			SQL:     strings.Join(text, ";\n\n") + ";\n",
		})
	}
	return all, nil
}

// migration is one file of the dialect's directory. Its version is its place.
type migration struct {
	name       string
	statements []string
}

const createSchemaTable = "CREATE TABLE IF NOT EXISTS {prefix}schema (version INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL)"

// errOvertaken says that another process applied a step first.
var errOvertaken = errors.New("sqlstore: migrate: another process was faster")

func (d *database) migrations() ([]migration, error) {
	// ReadDir sorts by name, and names begin with the number.
	files, err := fs.ReadDir(migrations, d.dialect.migrations)
	if err != nil {
		return nil, fmt.Errorf("sqlstore: migrations: %w", err)
	}
	var steps []migration
	for _, file := range files {
		text, err := fs.ReadFile(migrations, d.dialect.migrations+"/"+file.Name())
		if err != nil {
			return nil, fmt.Errorf("sqlstore: migrations: %w", err)
		}
		step := migration{name: file.Name()}
		// Not every driver runs several statements in one call.
		for statement := range strings.SplitSeq(string(text), ";\n") {
			if statement = strings.TrimSpace(statement); statement != "" {
				step.statements = append(step.statements, d.sql(statement))
			}
		}
		steps = append(steps, step)
	}
	return steps, nil
}

func (d *database) migrate(ctx context.Context, steps []migration) (err error) {
	conn, err := d.cfg.Write.Conn(ctx)
	if err != nil {
		return failed(ctx, "migrate", err)
	}
	// The connection is returned in the end: preparing needs it where there is one.
	defer func() {
		if closed := conn.Close(); err == nil && closed != nil {
			err = failed(ctx, "migrate", closed)
		}
	}()
	// An error means that there is no schema yet, or that the database does not
	// work: then the transaction below meets it again.
	if version, err := d.schemaVersion(ctx, conn); err == nil && version >= len(steps) {
		return tooOld(version, len(steps))
	}
	if _, err := conn.ExecContext(ctx, d.dialect.begin); err != nil {
		return failed(ctx, "migrate", err)
	}
	defer func() {
		if err != nil {
			rollback(context.WithoutCancel(ctx), conn)
		}
	}()
	// Of processes that create the table at the same time, PostgreSQL fails all but
	// one with unique_violation.
	if _, err := conn.ExecContext(ctx, d.sql(createSchemaTable)); err != nil {
		return failed(ctx, "migrate", err)
	}
	version, err := d.schemaVersion(ctx, conn)
	if err != nil {
		return failed(ctx, "migrate", err)
	}
	if err := tooOld(version, len(steps)); err != nil {
		return err
	}
	insert := d.sql("INSERT INTO {prefix}schema (version, name) VALUES (?1, ?2) ON CONFLICT DO NOTHING")
	for i := version; i < len(steps); i++ {
		// The row of the step is its lock: who inserts it second waits until the
		// first has committed, and then has nothing to do. A lock of the session
		// would not survive a pooler, and not every server has advisory ones.
		result, err := conn.ExecContext(ctx, insert, i+1, steps[i].name)
		if err != nil {
			return failed(ctx, "migrate: "+steps[i].name, err)
		}
		if n, err := result.RowsAffected(); err != nil || n == 0 {
			return errors.Join(errOvertaken, err)
		}
		for _, statement := range steps[i].statements {
			if _, err := conn.ExecContext(ctx, statement); err != nil {
				return failed(ctx, "migrate: "+steps[i].name, err)
			}
		}
	}
	if _, err := conn.ExecContext(ctx, "COMMIT"); err != nil {
		return failed(ctx, "migrate", err)
	}
	return nil
}

// tooOld returns an error if the schema has steps that this program does not know.
func tooOld(version, known int) error {
	if version <= known {
		return nil
	}
	return fmt.Errorf("sqlstore: the schema has version %d, this program knows %d: it is too old", version, known)
}

func (d *database) schemaVersion(ctx context.Context, conn *sql.Conn) (int, error) {
	var version int
	err := conn.QueryRowContext(ctx, d.sql("SELECT COALESCE(MAX(version), 0) FROM {prefix}schema")).Scan(&version)
	return version, err
}

// rollback ends the transaction on conn. A connection that cannot do so must not
// go back to the pool with a transaction open.
func rollback(ctx context.Context, conn *sql.Conn) {
	if _, err := conn.ExecContext(ctx, "ROLLBACK"); err != nil {
		_ = conn.Raw(func(any) error { return driver.ErrBadConn })
	}
}
