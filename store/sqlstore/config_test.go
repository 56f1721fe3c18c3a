package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"regexp"
	"slices"
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
		{"schema", Config{Dialect: PostgreSQL, Write: db, Schema: "user"}, ""},
		{"schema with a quote", Config{Dialect: PostgreSQL, Write: db, Schema: `a"`}, "Config.Schema"},
		{"schema of SQLite", Config{Dialect: SQLite, Write: db, Schema: "main"}, "Config.Schema"},
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
	db := &database{cfg: Config{TablePrefix: "p_", Schema: "s"}, dialect: dialect{parameter: "$"}}
	for text, want := range map[string]string{
		"SELECT 1 FROM {prefix}t WHERE a = ?1 AND b = ?12": `SELECT 1 FROM "s".p_t WHERE a = $1 AND b = $12`,
		"CREATE INDEX {name}t_by_a ON {prefix}t (a)":       `CREATE INDEX p_t_by_a ON "s".p_t (a)`,
	} {
		if got := db.sql(text); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// A migration's version is its place in the directory, so its number has to be;
// and a step is the same for every dialect, so that none is forgotten.
func TestMigrationsAreNumberedInOrder(t *testing.T) {
	var names []string
	for _, dialect := range []Dialect{SQLite, PostgreSQL} {
		steps, err := Migrations(Config{Dialect: dialect})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for i, step := range steps {
			if prefix := fmt.Sprintf("%04d_", i+1); step.Version != i+1 || !strings.HasPrefix(step.Name, prefix) || strings.Contains(step.Name, ".") {
				t.Errorf("%s: migration %d is %d, %s; want %s*.sql", dialect, i+1, step.Version, step.Name, prefix)
			}
			if strings.Contains(step.SQL, "{") || strings.Contains(step.SQL, "?") {
				t.Errorf("%s, %s: a placeholder is left", dialect, step.Name)
			}
			got = append(got, step.Name)
		}
		if names != nil && !slices.Equal(names, got) {
			t.Errorf("%s has the migrations %v, another dialect %v", dialect, got, names)
		}
		names = got
	}
}

// PostgreSQL cuts a name after 63 bytes, and then two may be one.
func TestNamesAreShortEnoughForPostgres(t *testing.T) {
	steps, err := Migrations(Config{Dialect: PostgreSQL, TablePrefix: strings.Repeat("p", 32)})
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`\bp{32}\w+`)
	for _, step := range steps {
		for _, name := range names.FindAllString(step.SQL, -1) {
			if len(name) > 63 {
				t.Errorf("%s: %s has %d bytes", step.Name, name, len(name))
			}
		}
	}
}

type stateError string

func (e stateError) Error() string    { return "failed" }
func (e stateError) SQLState() string { return string(e) }

// Only what did nothing, and may do better, is run again.
func TestWhatIsRunAgain(t *testing.T) {
	for err, want := range map[error]bool{
		errors.New("40001"): false,
		stateError("40001"): true,
		stateError("40P01"): true,
		stateError("23505"): true,
		stateError("40003"): false, // statement_completion_unknown
		stateError("08006"): false, // connection_failure
		stateError("57014"): false, // query_canceled
		stateError(""):      false,
		context.Canceled:    false,
	} {
		if got := passing(fmt.Errorf("sqlstore: %w", err)); got != want {
			t.Errorf("%#v: %t, want %t", err, got, want)
		}
	}
}
