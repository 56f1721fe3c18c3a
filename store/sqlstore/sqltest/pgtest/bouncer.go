package pgtest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// Bouncer is a PgBouncer in transaction mode in front of a [Server].
type Bouncer struct {
	dir     string
	command *exec.Cmd
	ended   chan error
}

// Bouncer starts a PgBouncer with connections server connections, which it gives
// to each transaction anew. It is stopped with the server. Without PgBouncer the
// test is skipped, or fails if CI=true.
func (s *Server) Bouncer(tb testing.TB, connections int) *Bouncer {
	tb.Helper()
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		program = "/usr/sbin/pgbouncer" // not in every user's PATH
		_, err = os.Stat(program)
	}
	switch {
	case err != nil && os.Getenv("CI") != "true":
		tb.Skip("not run: PgBouncer is not installed (Debian: apt-get install pgbouncer)")
	case err != nil:
		tb.Fatal("pgtest: PgBouncer is not installed (Debian: apt-get install pgbouncer)")
	}
	b, err := s.bouncer(program, connections)
	if err != nil {
		tb.Fatal("pgtest: ", err)
	}
	return b
}

func (s *Server) bouncer(program string, connections int) (*Bouncer, error) {
	dir, err := os.MkdirTemp("", "opkit-pgb-")
	if err != nil {
		return nil, err
	}
	b := &Bouncer{dir: dir, ended: make(chan error, 1)}
	shared.Lock()
	s.bouncers = append(s.bouncers, b)
	shared.Unlock()
	account, err := findAccount()
	if err != nil {
		return nil, err
	}
	if err := account.own(dir); err != nil {
		return nil, err
	}
	settings := filepath.Join(dir, "pgbouncer.ini")
	text := fmt.Sprintf(`[databases]
* = host=%s port=5432 user=opkit
[pgbouncer]
listen_addr =
unix_socket_dir = %s
listen_port = 6432
auth_type = any
pool_mode = transaction
default_pool_size = %d
max_client_conn = 500
server_check_query = select 1
`, s.dir, dir, connections)
	if err := os.WriteFile(settings, []byte(text), 0o644); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	b.command = exec.Command(program, settings)
	b.command.Dir = dir
	b.command.Stdout, b.command.Stderr = log, log
	account.run(b.command)
	if err := b.command.Start(); err != nil {
		return nil, err
	}
	go func() { b.ended <- b.command.Wait() }()
	return b, b.await()
}

func (b *Bouncer) await() error {
	admin, err := sql.Open("pgx", b.URL("postgres")+"&default_query_exec_mode=exec")
	if err != nil {
		return err
	}
	defer admin.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		err := admin.PingContext(ctx)
		if err == nil {
			return nil
		}
		select {
		case ended := <-b.ended:
			b.ended <- ended
			out, _ := os.ReadFile(filepath.Join(b.dir, "log"))
			return fmt.Errorf("pgbouncer ended: %w\n%s", ended, out)
		case <-ctx.Done():
			return fmt.Errorf("pgbouncer does not answer: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (b *Bouncer) stop() error {
	var errs []error
	if b.command != nil && b.command.Process != nil {
		errs = append(errs, b.command.Process.Signal(syscall.SIGTERM)) // at once
		select {
		case <-b.ended:
		case <-time.After(patience):
			errs = append(errs, errors.New("pgbouncer did not stop"), b.command.Process.Kill())
		}
	}
	return errors.Join(append(errs, os.RemoveAll(b.dir))...)
}

// URL returns the connection string of a database of the server, through
// PgBouncer.
func (b *Bouncer) URL(database string) string { return address(b.dir, 6432, database) }
