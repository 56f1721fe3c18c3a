package postgres

import (
	"database/sql"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// How long a connection may be kept: long enough for its statements to be worth
// preparing, short enough for a server that joined or changed its address to be
// noticed.
const connectionLifetime = 30 * time.Minute

// Open opens a pool of at most connections connections on the database
// that a connection string of pgx names, all of which stay open once they are:
// database/sql would keep two.
//
// Behind PgBouncer in transaction mode the string has to say
// default_query_exec_mode=exec. Otherwise pgx prepares statements, which PgBouncer
// knows from version 1.21 on and if max_prepared_statements is set there.
//
// A program that uses another driver, or wants other settings, does without this
// function: the documentation of sqlstore says what matters.
func Open(url string, connections int) (*sql.DB, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	pool := stdlib.OpenDB(*config)
	pool.SetMaxOpenConns(connections)
	pool.SetMaxIdleConns(connections)
	pool.SetConnMaxLifetime(connectionLifetime)
	return pool, nil
}
