package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"io/fs"
	"strings"
)

// Migrate checks the settings of the database, brings the schema up to date and
// prepares the statements. It must be called before the first use, at every
// start; where the schema is up to date it only reads.
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
	conn, err := s.db.cfg.Write.Conn(ctx)
	if err != nil {
		return failed(ctx, "migrate", err)
	}
	err = s.db.migrate(ctx, conn, steps)
	// The connection is returned first: preparing needs it where there is one.
	if closed := conn.Close(); err == nil && closed != nil {
		err = failed(ctx, "migrate", closed)
	}
	if err != nil {
		return err
	}
	return s.db.prepare(ctx)
}

// migration is one file of the dialect's directory. Its version is its place.
type migration struct {
	name       string
	statements []string
}

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
			if strings.TrimSpace(statement) != "" {
				step.statements = append(step.statements, d.sql(statement))
			}
		}
		steps = append(steps, step)
	}
	return steps, nil
}

func (d *database) migrate(ctx context.Context, conn *sql.Conn, steps []migration) (err error) {
	// An error means that there is no schema yet, or that the database does not
	// work: then the transaction below meets it again.
	if version, err := d.schemaVersion(ctx, conn); err == nil && version == len(steps) {
		return nil
	}
	if _, err := conn.ExecContext(ctx, d.dialect.begin); err != nil {
		return failed(ctx, "migrate", err)
	}
	defer func() {
		if err != nil {
			rollback(context.WithoutCancel(ctx), conn)
		}
	}()
	create := d.sql("CREATE TABLE IF NOT EXISTS {prefix}schema (version INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL)")
	if _, err := conn.ExecContext(ctx, create); err != nil {
		return failed(ctx, "migrate", err)
	}
	version, err := d.schemaVersion(ctx, conn)
	if err != nil {
		return failed(ctx, "migrate", err)
	}
	if version > len(steps) {
		return fmt.Errorf("sqlstore: the schema has version %d, this program knows %d: it is too old", version, len(steps))
	}
	insert := d.sql("INSERT INTO {prefix}schema (version, name) VALUES (?1, ?2)")
	for i := version; i < len(steps); i++ {
		for _, statement := range steps[i].statements {
			if _, err := conn.ExecContext(ctx, statement); err != nil {
				return failed(ctx, "migrate: "+steps[i].name, err)
			}
		}
		if _, err := conn.ExecContext(ctx, insert, i+1, steps[i].name); err != nil {
			return failed(ctx, "migrate: "+steps[i].name, err)
		}
	}
	if _, err := conn.ExecContext(ctx, "COMMIT"); err != nil {
		return failed(ctx, "migrate", err)
	}
	return nil
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
