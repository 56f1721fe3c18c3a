package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/opkit/opkit/store"
)

// pool returns a pool that nothing is ever asked of.
func pool(t *testing.T) *sql.DB {
	t.Helper()
	db := sql.OpenDB(struct{ driver.Connector }{})
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func TestNewNamesWhatIsWrong(t *testing.T) {
	db := pool(t)
	for _, c := range []struct {
		rule string
		cfg  Config
		want string // "" for no error
	}{
		{"zero config", Config{}, "Config.Dialect is required"},
		{"unknown dialect", Config{Dialect: "oracle", Write: db}, `Config.Dialect "oracle"`},
		{"no pool", Config{Dialect: SQLite, Read: db}, "Config.Write is required"},
		{"defaults", Config{Dialect: SQLite, Write: db}, ""},
		{"prefix", Config{Dialect: SQLite, Write: db, TablePrefix: "_auth2_"}, ""},
		{"prefix of 32", Config{Dialect: SQLite, Write: db, TablePrefix: strings.Repeat("p", 32)}, ""},
		{"prefix of 33", Config{Dialect: SQLite, Write: db, TablePrefix: strings.Repeat("p", 33)}, "Config.TablePrefix"},
		{"prefix with a digit first", Config{Dialect: SQLite, Write: db, TablePrefix: "2fa"}, "Config.TablePrefix"},
		{"prefix in upper case", Config{Dialect: SQLite, Write: db, TablePrefix: "Auth"}, "Config.TablePrefix"},
		{"prefix that ends the name", Config{Dialect: SQLite, Write: db, TablePrefix: "a; DROP TABLE b; --"}, "Config.TablePrefix"},
		{"prefix with a quote", Config{Dialect: SQLite, Write: db, TablePrefix: `a"`}, "Config.TablePrefix"},
		{"prefix with a newline", Config{Dialect: SQLite, Write: db, TablePrefix: "a\n"}, "Config.TablePrefix"},
		{"prefix with another alphabet", Config{Dialect: SQLite, Write: db, TablePrefix: "\u0430"}, "Config.TablePrefix"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s, err := New(c.cfg)
			if c.want == "" {
				if err != nil || s == nil {
					t.Errorf("got %v", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || s != nil {
				t.Errorf("error is %v, want one that says %q", err, c.want)
			}
		})
	}
}

func TestStoresAreComplete(t *testing.T) {
	s, err := New(Config{Dialect: SQLite, Write: pool(t)})
	if err != nil {
		t.Fatal(err)
	}
	stores := s.Stores()
	if err := stores.Validate(); err != nil {
		t.Error(err)
	}
	if stores.UserAdmin == nil {
		t.Error("UserAdmin is nil")
	}
}

func TestNothingWorksBeforeMigrate(t *testing.T) {
	s, err := New(Config{Dialect: SQLite, Write: pool(t)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Stores().Clients.Client(t.Context(), "t", "a"); !errors.Is(err, errNotMigrated) {
		t.Errorf("reading: %v, want %v", err, errNotMigrated)
	}
	if err := s.Stores().Clients.CreateClient(t.Context(), store.Client{}); !errors.Is(err, errNotMigrated) {
		t.Errorf("writing: %v, want %v", err, errNotMigrated)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// A driver may say in its own words that a statement was interrupted.
func TestACancelledCallReturnsTheContextsError(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	interrupted := errors.New("interrupted (9)")
	if err := failed(ctx, "create client", interrupted); !errors.Is(err, interrupted) {
		t.Errorf("got %v, want the driver's error", err)
	}
	cancel()
	if err := failed(ctx, "create client", interrupted); err != context.Canceled {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

var parameter = regexp.MustCompile(`\?([0-9]*)`)

// Drivers count: the parameters of a statement are ?1 to ?n without a gap. No
// other question mark occurs, because a dialect may write another character.
func TestParametersAreNumberedWithoutGaps(t *testing.T) {
	s, err := New(Config{Dialect: SQLite, Write: pool(t)})
	if err != nil {
		t.Fatal(err)
	}
	for _, st := range s.db.statements {
		largest, seen := 0, make(map[int]bool)
		for _, match := range parameter.FindAllStringSubmatch(st.text, -1) {
			n, err := strconv.Atoi(match[1])
			if err != nil {
				t.Errorf("%s: a question mark that begins no parameter: %s", st.name, st.text)
			}
			seen[n] = true
			largest = max(largest, n)
		}
		if len(seen) != largest {
			t.Errorf("%s: %d parameters, the largest is %d: %s", st.name, len(seen), largest, st.text)
		}
		if strings.Contains(st.text, "{") {
			t.Errorf("%s: a placeholder is left: %s", st.name, st.text)
		}
	}
}

func TestAnotherDialectWritesParametersItsWay(t *testing.T) {
	db := &database{cfg: Config{TablePrefix: "p_"}, dialect: dialect{parameter: "$"}}
	if got, want := db.sql("SELECT 1 FROM {prefix}t WHERE a = ?1 AND b = ?12"), "SELECT 1 FROM p_t WHERE a = $1 AND b = $12"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A migration's version is its place in the directory, so its number has to be.
func TestMigrationsAreNumberedInOrder(t *testing.T) {
	for _, name := range []Dialect{SQLite} {
		d, err := name.resolve()
		if err != nil {
			t.Fatal(err)
		}
		files, err := fs.ReadDir(migrations, d.migrations)
		if err != nil {
			t.Fatal(err)
		}
		for i, file := range files {
			if prefix := fmt.Sprintf("%04d_", i+1); !strings.HasPrefix(file.Name(), prefix) || !strings.HasSuffix(file.Name(), ".sql") {
				t.Errorf("%s: migration %d is %s, want %s*.sql", name, i+1, file.Name(), prefix)
			}
		}
	}
}
