package sqltest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"

	"github.com/opkit/opkit/store/sqlstore/sqltest/pgtest"
)

// Environment of a process that a test starts: this program again, in a role.
const (
	roleVariable  = "OPKIT_SQLTEST_ROLE"
	placeVariable = "OPKIT_SQLTEST_PLACE"
)

// roles are what a process that a test starts does with its handle on the database.
var roles = map[string]func(ctx context.Context, h *handle, in *bufio.Scanner, out io.Writer) error{
	"provide": provideRole,
	"migrate": func(context.Context, *handle, *bufio.Scanner, io.Writer) error { return nil },
	"race":    raceRole,
	"write":   writeRole,
}

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		if err := play(context.Background(), role, os.Getenv(placeVariable)); err != nil {
			fmt.Fprintln(os.Stderr, role+":", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(pgtest.Main(m))
}

func play(ctx context.Context, role, place string) error {
	h, err := openHandle(ctx, place)
	if err != nil {
		return err
	}
	if _, err := fmt.Println("ready"); err != nil {
		return err
	}
	if err := roles[role](ctx, h, bufio.NewScanner(os.Stdin), os.Stdout); err != nil {
		return err
	}
	return h.close()
}

// process is a process that a test started.
type process struct {
	*exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

// startProcess starts this program in a role on the database at place.
func startProcess(t *testing.T, role, place string) *process {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{Cmd: exec.CommandContext(t.Context(), program)}
	p.Env = append(os.Environ(), roleVariable+"="+role, placeVariable+"="+place)
	p.Stderr = t.Output()
	if p.in, err = p.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.out = bufio.NewScanner(out)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

// line returns the next line that the process wrote.
func (p *process) line(t *testing.T) string {
	t.Helper()
	if !p.out.Scan() {
		t.Fatalf("the process ended: %v, %v", p.out.Err(), p.Wait())
	}
	return p.out.Text()
}
