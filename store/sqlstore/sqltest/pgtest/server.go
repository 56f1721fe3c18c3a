package pgtest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // registers the driver "pgx"
)

// patience is how long a server may take to start or to stop.
const patience = time.Minute

// Server is a PostgreSQL server that a test started.
type Server struct {
	programs string // directory
	dir      string // with the data and the socket
	command  *exec.Cmd
	ended    chan error
	admin    *sql.DB
	bouncers []*Bouncer

	databases atomic.Int64
}

var errAbsent = errors.New("PostgreSQL is not installed (Debian: apt-get install postgresql)")

// shared is the server of this process.
var shared struct {
	sync.Mutex
	server *Server
	err    error
}

// Main runs the tests, stops what they started, and returns the exit code.
func Main(m *testing.M) int {
	code := m.Run()
	shared.Lock()
	defer shared.Unlock()
	if shared.server != nil {
		if err := shared.server.stop(); err != nil {
			fmt.Fprintln(os.Stderr, "pgtest:", err)
			return max(code, 1)
		}
	}
	return code
}

// Start returns the server of this test program, started if it is not running
// yet. Without PostgreSQL the test is skipped, or fails if CI=true.
func Start(tb testing.TB) *Server {
	tb.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.server == nil && shared.err == nil {
		shared.server, shared.err = start()
	}
	switch {
	case errors.Is(shared.err, errAbsent) && os.Getenv("CI") != "true":
		tb.Skipf("not run: %v", shared.err)
	case shared.err != nil:
		tb.Fatal("pgtest: ", shared.err)
	}
	return shared.server
}

// Launch starts a server for a program that is not a test, which stops it.
func Launch() (*Server, error) { return start() }

// Stop ends a server that was launched and removes its files.
func (s *Server) Stop() error { return s.stop() }

// start makes a cluster and starts a server on it.
func start() (s *Server, err error) {
	s = &Server{ended: make(chan error, 1)}
	if s.programs, err = findPrograms(); err != nil {
		return nil, err
	}
	account, err := findAccount()
	if err != nil {
		return nil, err
	}
	// Not in a test's directory, whose path may be too long for a socket.
	if s.dir, err = os.MkdirTemp("", "opkit-pg-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = s.stop() // err says why
		}
	}()
	if err := account.own(s.dir); err != nil {
		return nil, err
	}
	initdb := s.as(account, "initdb", "--pgdata", s.data(), "--username", "opkit", "--auth", "trust",
		"--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync", "--no-instructions")
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	if err := s.configure(); err != nil {
		return nil, err
	}
	log, err := os.Create(s.log())
	if err != nil {
		return nil, err
	}
	defer log.Close()
	s.command = s.as(account, "postgres", "-D", s.data())
	s.command.Stdout, s.command.Stderr = log, log
	if err := s.command.Start(); err != nil {
		return nil, err
	}
	go func() { s.ended <- s.command.Wait() }()
	if s.admin, err = sql.Open("pgx", s.URL("postgres")); err != nil {
		return nil, err
	}
	return s, s.await()
}

// configure adds to the settings of a new cluster.
func (s *Server) configure() error {
	file, err := os.OpenFile(filepath.Join(s.data(), "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(file, `
listen_addresses = ''
unix_socket_directories = '%s'
max_connections = 600
shared_buffers = 256MB
max_wal_size = 2GB
# What is written outlives a process that is killed, not the machine.
fsync = off
full_page_writes = off
`, s.dir)
	return errors.Join(err, file.Close())
}

// await returns when the server answers.
func (s *Server) await() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		err := s.admin.PingContext(ctx)
		if err == nil {
			return nil
		}
		select {
		case ended := <-s.ended:
			s.ended <- ended
			out, _ := os.ReadFile(s.log())
			return fmt.Errorf("postgres ended: %w\n%s", ended, out)
		case <-ctx.Done():
			return fmt.Errorf("postgres does not answer: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// stop ends the server and removes its files.
func (s *Server) stop() error {
	var errs []error
	for _, b := range s.bouncers {
		errs = append(errs, b.stop())
	}
	if s.admin != nil {
		errs = append(errs, s.admin.Close())
	}
	if s.command != nil && s.command.Process != nil {
		errs = append(errs, s.command.Process.Signal(syscall.SIGINT)) // a fast shutdown
		select {
		case <-s.ended:
		case <-time.After(patience):
			errs = append(errs, errors.New("postgres did not stop"), s.command.Process.Kill())
		}
	}
	return errors.Join(append(errs, os.RemoveAll(s.dir))...)
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }
func (s *Server) log() string  { return filepath.Join(s.dir, "log") }

// Program returns the path of a program that belongs to the server: "pgbench",
// "psql".
func (s *Server) Program(name string) string { return filepath.Join(s.programs, name) }

// Socket is the directory of the server's socket.
func (s *Server) Socket() string { return s.dir }

// URL returns the connection string of a database.
func (s *Server) URL(database string) string { return address(s.dir, 5432, database) }

func address(socket string, port int, database string) string {
	u := url.URL{Scheme: "postgres", User: url.User("opkit"), Path: "/" + database, RawQuery: url.Values{
		"host": {socket}, "port": {strconv.Itoa(port)},
	}.Encode()}
	return u.String()
}

// Database makes an empty database, which goes with the server, and returns its
// connection string. Where the server can, its texts are ordered as a dictionary
// orders them, not bytewise.
func (s *Server) Database(tb testing.TB) string {
	tb.Helper()
	return s.URL(s.NewDatabase(tb))
}

// NewDatabase is [Server.Database] for those who want the name.
func (s *Server) NewDatabase(tb testing.TB) string {
	tb.Helper()
	name := fmt.Sprintf("test%d", s.databases.Add(1))
	var version int
	if err := s.admin.QueryRowContext(tb.Context(), "SELECT current_setting('server_version_num')").Scan(&version); err != nil {
		tb.Fatal("pgtest: ", err)
	}
	locale := ""
	if version >= 150000 {
		locale = " LOCALE_PROVIDER icu ICU_LOCALE 'en-US'"
	}
	if _, err := s.admin.ExecContext(tb.Context(), "CREATE DATABASE "+name+" TEMPLATE template0"+locale); err != nil {
		tb.Fatal("pgtest: ", err)
	}
	return name
}

// Set changes a setting of the server until the test ends: fsync, for one, which is
// off. The value is spelled as the server spells it ("on", not "true").
func (s *Server) Set(tb testing.TB, name, value string) {
	tb.Helper()
	change := func(statement string) {
		if _, err := s.admin.Exec(statement); err != nil {
			tb.Fatal("pgtest: ", err)
		}
		if _, err := s.admin.Exec("SELECT pg_reload_conf()"); err != nil {
			tb.Fatal("pgtest: ", err)
		}
	}
	change("ALTER SYSTEM SET " + name + " = '" + value + "'")
	tb.Cleanup(func() { change("ALTER SYSTEM RESET " + name) })
	for now := ""; now != value; {
		if err := s.admin.QueryRowContext(tb.Context(), "SELECT current_setting($1)", name).Scan(&now); err != nil {
			tb.Fatal("pgtest: ", err)
		}
	}
}

// as returns a command that runs a program of the server as account.
func (s *Server) as(account account, name string, args ...string) *exec.Cmd {
	cmd := exec.Command(s.Program(name), args...)
	cmd.Dir = s.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8", "TZ=UTC"}
	account.run(cmd)
	return cmd
}

// findPrograms returns the directory of initdb: of the newest version that
// Debian's packages installed, or in PATH.
func findPrograms() (string, error) {
	installed, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil {
		return "", err
	}
	version := func(path string) int {
		n, _ := strconv.Atoi(strings.Split(path, "/")[4])
		return n
	}
	if len(installed) > 0 {
		return filepath.Dir(slices.MaxFunc(installed, func(a, b string) int { return version(a) - version(b) })), nil
	}
	path, err := exec.LookPath("initdb")
	if err != nil {
		return "", errAbsent
	}
	return filepath.Dir(path), nil
}
