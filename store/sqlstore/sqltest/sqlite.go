package sqltest

import (
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	_ "modernc.org/sqlite" // registers the driver "sqlite"
)

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
	write, err = sql.Open("sqlite", dsn(path, url.Values{
		"_journal_mode": {"WAL"},
		"_synchronous":  {"FULL"},
		"_busy_timeout": {"5000"},
		"_txlock":       {"immediate"},
	}))
	if err != nil {
		return nil, nil, fmt.Errorf("sqltest: %w", err)
	}
	write.SetMaxOpenConns(1)
	read, err = sql.Open("sqlite", dsn(path, url.Values{
		"_busy_timeout": {"5000"},
		"_query_only":   {"1"},
	}))
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("sqltest: %w", err), write.Close())
	}
	readers := 2 * runtime.GOMAXPROCS(0)
	read.SetMaxOpenConns(readers)
	read.SetMaxIdleConns(readers)
	return write, read, nil
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
