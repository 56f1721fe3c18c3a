package redistest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// patience is how long a server may take to start or to stop.
const patience = 30 * time.Second

// Server is a server that a test started.
type Server struct {
	program string
	dir     string // with the data and the socket
	args    []string
	address string
	command *exec.Cmd
	ended   chan error
}

var errAbsent = errors.New("neither Redis nor Valkey is installed (Debian: apt-get install redis-server)")

// shared is the server of this process.
var shared struct {
	sync.Mutex
	server *Server
	err    error
}

// Main runs the tests, stops the server that they shared, and returns the exit code.
func Main(m *testing.M) int {
	code := m.Run()
	shared.Lock()
	defer shared.Unlock()
	if shared.server != nil {
		if err := shared.server.remove(); err != nil {
			fmt.Fprintln(os.Stderr, "redistest:", err)
			return max(code, 1)
		}
	}
	return code
}

// Start returns the server of this test program, started if it is not running yet. It
// keeps everything in memory. Without Redis the test is skipped, or fails if CI=true.
func Start(tb testing.TB) *Server {
	tb.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.server == nil && shared.err == nil {
		shared.server, shared.err = launch("--save", "")
	}
	demand(tb, shared.err)
	return shared.server
}

// New starts a server for one test, with settings as on a command line ("--appendonly",
// "yes").
func New(tb testing.TB, settings ...string) *Server {
	tb.Helper()
	s, err := launch(settings...)
	demand(tb, err)
	tb.Cleanup(func() {
		if err := s.remove(); err != nil {
			tb.Error("redistest: ", err)
		}
	})
	return s
}

func demand(tb testing.TB, err error) {
	tb.Helper()
	switch {
	case errors.Is(err, errAbsent) && os.Getenv("CI") != "true":
		tb.Skipf("not run: %v", err)
	case err != nil:
		tb.Fatal("redistest: ", err)
	}
}

// launch starts a server on a socket.
func launch(settings ...string) (*Server, error) {
	s, err := prepare()
	if err != nil {
		return nil, err
	}
	s.address = filepath.Join(s.dir, "socket")
	s.args = append([]string{"--port", "0", "--unixsocket", s.address, "--unixsocketperm", "700"}, settings...)
	if err := s.start(); err != nil {
		return nil, errors.Join(err, s.remove())
	}
	return s, nil
}

// prepare makes the directory of a server.
func prepare() (*Server, error) {
	s := &Server{}
	var err error
	for _, name := range []string{"redis-server", "valkey-server"} {
		if s.program, err = exec.LookPath(name); err == nil {
			break
		}
	}
	if err != nil {
		return nil, errAbsent
	}
	account, err := findAccount()
	if err != nil {
		return nil, err
	}
	// Not in a test's directory, whose path may be too long for a socket.
	if s.dir, err = os.MkdirTemp("", "opkit-redis-"); err != nil {
		return nil, err
	}
	return s, account.own(s.dir)
}

func (s *Server) start() error {
	account, err := findAccount()
	if err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	s.command = exec.Command(s.program, append([]string{"--dir", s.dir, "--daemonize", "no"}, s.args...)...)
	s.command.Dir = s.dir
	s.command.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
	s.command.Stdout, s.command.Stderr = log, log
	account.run(s.command)
	if err := s.command.Start(); err != nil {
		return err
	}
	s.ended = make(chan error, 1)
	go func(ended chan error, command *exec.Cmd) { ended <- command.Wait() }(s.ended, s.command)
	return s.await()
}

// await returns when the server answers and has loaded its data.
func (s *Server) await() error {
	client := redis.NewClient(s.Options())
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		err := client.Ping(ctx).Err()
		if err == nil {
			return nil
		}
		select {
		case ended := <-s.ended:
			s.ended <- ended
			out, _ := os.ReadFile(filepath.Join(s.dir, "log"))
			return fmt.Errorf("the server ended: %w\n%s", ended, out)
		case <-ctx.Done():
			return fmt.Errorf("the server does not answer: %w", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Options are those of a client of this server, without retries.
func (s *Server) Options() *redis.Options {
	network := "unix"
	if !filepath.IsAbs(s.address) {
		network = "tcp"
	}
	return &redis.Options{Network: network, Addr: s.address, ContextTimeoutEnabled: true, MaxRetries: -1}
}

// Client returns a client that is closed when the test ends.
func (s *Server) Client(tb testing.TB) *redis.Client {
	tb.Helper()
	client := redis.NewClient(s.Options())
	tb.Cleanup(func() { _ = client.Close() }) // a test may have closed it
	return client
}

// Kill ends the server as a machine that loses power would.
func (s *Server) Kill(tb testing.TB) {
	tb.Helper()
	if err := s.command.Process.Kill(); err != nil {
		tb.Fatal("redistest: ", err)
	}
	<-s.ended
	s.command = nil
}

// Restart starts the server again on the data that it left.
func (s *Server) Restart(tb testing.TB) {
	tb.Helper()
	if s.command != nil {
		s.Kill(tb)
	}
	if err := s.start(); err != nil {
		tb.Fatal("redistest: ", err)
	}
}

// remove ends the server and removes its files.
func (s *Server) remove() error {
	var errs []error
	if s.command != nil && s.command.Process != nil {
		errs = append(errs, s.command.Process.Kill())
		select {
		case <-s.ended:
		case <-time.After(patience):
			errs = append(errs, errors.New("the server did not stop"))
		}
	}
	return errors.Join(append(errs, os.RemoveAll(s.dir))...)
}
