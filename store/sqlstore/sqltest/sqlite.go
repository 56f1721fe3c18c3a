package sqltest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"modernc.org/sqlite" // registers the driver "sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// How long a connection waits for another process, and how often OpenSQLite
// looks whether it still has to.
const (
	busyTimeout = 5 * time.Second
	busyPause   = 10 * time.Millisecond
)

// cacheSize is how many bytes of pages the connections of one process may keep in
// all, which they do as they read them. SQLite's default of 2 MB for each holds not
// even the upper levels of the indexes over a million records.
const cacheSize = 128 << 20

// OpenSQLite opens the two pools that sqlstore.Config asks for on the file at
// path, and creates the file, readable by its owner only, if it is absent. The
// caller closes read and then write, after the store.
//
// A program that uses another driver, or wants other settings, does without this
// function: the documentation of sqlstore says what matters.
func OpenSQLite(path string) (write, read *sql.DB, err error) {
	path, err = filepath.Abs(path)
	if err != nil {
		return nil, nil, fmt.Errorf("sqltest: %w", err)
	}
	// SQLite would create the file with the permissions that the umask leaves, and
	// gives its other files those of this one.
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		err = file.Close()
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, nil, fmt.Errorf("sqltest: %w", err)
	}
	timeout := strconv.FormatInt(busyTimeout.Milliseconds(), 10)
	readers := 2 * runtime.GOMAXPROCS(0)
	cache := fmt.Sprintf("cache_size(-%d)", max(2<<10, cacheSize>>10/(readers+1))) // in KiB
	write, err = sql.Open("sqlite", dsn(path, url.Values{
		"_pragma":       {cache},
		"_journal_mode": {"WAL"},
		"_synchronous":  {"FULL"},
		"_busy_timeout": {timeout},
		"_txlock":       {"immediate"},
	}))
	if err != nil {
		return nil, nil, fmt.Errorf("sqltest: %w", err)
	}
	write.SetMaxOpenConns(1)
	if err := connect(write); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("sqltest: %w", err), write.Close())
	}
	read, err = sql.Open("sqlite", dsn(path, url.Values{
		"_busy_timeout": {timeout},
		"_query_only":   {"1"},
		"_pragma":       {cache},
	}))
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("sqltest: %w", err), write.Close())
	}
	read.SetMaxOpenConns(readers)
	read.SetMaxIdleConns(readers)
	return write, read, nil
}

// connect makes the first connection, which switches the file to WAL. There the
// busy timeout does not help: of processes that start together on a new file all
// but one may be told at once that it is locked.
func connect(db *sql.DB) error {
	ctx, cancel := context.WithTimeout(context.Background(), busyTimeout)
	defer cancel()
	for {
		err := db.PingContext(ctx)
		failure, ok := errors.AsType[*sqlite.Error](err)
		if !ok || failure.Code()&0xff != sqlite3.SQLITE_BUSY {
			return err
		}
		select {
		case <-time.After(busyPause):
		case <-ctx.Done():
			return err
		}
	}
}

// dsn returns the data source name of the file at an absolute path.
func dsn(path string, settings url.Values) string {
	path = filepath.ToSlash(path)
	if !strings.HasPrefix(path, "/") {
		path = "/" + path // C:/...
	}
	name := url.URL{Scheme: "file", Path: path, RawQuery: settings.Encode()}
	return name.String()
}
