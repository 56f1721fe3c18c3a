package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The tests of this package run the quickstart as a process of its own, as a user
// does, and talk to it over the network only.

var binary struct {
	dir string
	err error
}

func TestMain(m *testing.M) {
	binary.dir, binary.err = os.MkdirTemp("", "opkit-quickstart-test-")
	if binary.err == nil {
		out, err := exec.Command("go", "build", "-o", binaryPath(), ".").CombinedOutput()
		if err != nil {
			binary.err = fmt.Errorf("go build: %w\n%s", err, out)
		}
	}
	code := m.Run()
	os.RemoveAll(binary.dir)
	os.Exit(code)
}

func binaryPath() string { return filepath.Join(binary.dir, "quickstart") }

func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	if binary.err != nil {
		t.Fatal(binary.err)
	}
	cmd := exec.CommandContext(t.Context(), binaryPath(), args...)
	cmd.Dir = t.TempDir()
	cmd.Stderr = t.Output()
	return cmd
}

// process is a running quickstart.
type process struct {
	state
	cmd       *exec.Cmd
	stateFile string
	printed   string      // what it printed until it was ready
	announce  chan string // receives printed
	rest      strings.Builder
	ended     chan struct{} // closed when its output has ended
	once      sync.Once
	err       error // of Wait
}

// start runs the quickstart on free ports with data in dir, and returns when it
// has printed everything. What args repeat overrides the defaults.
func start(t *testing.T, dir string, args ...string) *process {
	t.Helper()
	p := launch(t, dir, args...)
	p.ready(t)
	return p
}

// launch starts the process and does not wait for it.
func launch(t *testing.T, dir string, args ...string) *process {
	t.Helper()
	p := &process{
		stateFile: filepath.Join(t.TempDir(), "state.json"), announce: make(chan string, 1), ended: make(chan struct{}),
	}
	p.cmd = command(t, append([]string{
		"-addr", "127.0.0.1:0", "-app-addr", "127.0.0.1:0", "-db", filepath.Join(dir, "quickstart.db"), "-state", p.stateFile,
	}, args...)...)
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.kill(t) })
	go func() {
		defer close(p.ended)
		var text strings.Builder
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			fmt.Fprintln(&text, lines.Text())
			if strings.HasPrefix(lines.Text(), "Ctrl-C") {
				p.announce <- text.String()
				break
			}
		}
		for lines.Scan() {
			fmt.Fprintln(&p.rest, lines.Text())
		}
	}()
	return p
}

// ready waits until the process has said that everything is served.
func (p *process) ready(t *testing.T) {
	t.Helper()
	select {
	case p.printed = <-p.announce:
	case <-p.ended:
		t.Fatalf("the quickstart ended: %v", p.wait())
	case <-time.After(time.Minute):
		t.Fatal("the quickstart did not get ready within a minute")
	}
	text, err := os.ReadFile(p.stateFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &p.state); err != nil {
		t.Fatalf("%s: %v", p.stateFile, err)
	}
}

func (p *process) wait() error {
	p.once.Do(func() {
		<-p.ended
		p.err = p.cmd.Wait()
	})
	return p.err
}

// kill ends the process as a crash does: it can finish and save nothing.
func (p *process) kill(t *testing.T) {
	t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGKILL) // it may have ended already
	_ = p.wait()                              // always an error
}

// host returns the host and port of the provider.
func (p *process) host() string {
	_, rest, _ := strings.Cut(p.Issuer, "://")
	return strings.TrimSuffix(rest, "/")
}

// walk returns the means of the walkthrough to talk to the process.
func (p *process) walk(t *testing.T, transport http.RoundTripper) *walk {
	return &walk{made: made{state: p.state}, out: t.Output(), client: &http.Client{Transport: transport}}
}

// output runs a tool and returns what it printed.
func output(t *testing.T, ctx context.Context, dir string, env []string, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = t.Output()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}
