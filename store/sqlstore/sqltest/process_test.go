package sqltest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/sqlstore"
)

const (
	raceProcesses = 2
	racers        = 4 // in each process
)

var (
	raceNow   = time.Date(2031, time.May, 6, 7, 8, 9, 0, time.UTC)
	raceLater = raceNow.Add(time.Hour)
)

// raceCalls are calls of which one may win. Each has a method for the parent,
// which makes the round's record, and one for the processes that race.
var raceCalls = []struct {
	name    string
	prepare func(ctx context.Context, s store.Stores, id string) error
	call    func(ctx context.Context, s store.Stores, id string) error
	lost    error
}{
	{
		name: "StartFamily",
		prepare: func(ctx context.Context, s store.Stores, id string) error {
			return s.Grants.CreateGrant(ctx, store.Grant{TenantID: "t", ID: id, UserID: id})
		},
		call: func(ctx context.Context, s store.Stores, id string) error {
			_, err := s.Grants.StartFamily(ctx, store.Family{TenantID: "t", ID: id, GrantID: id, ExpiresAt: raceLater}, raceNow)
			return err
		},
		lost: store.ErrConsumed,
	},
	{
		name: "RotateFamily",
		prepare: func(ctx context.Context, s store.Stores, id string) error {
			if err := s.Grants.CreateGrant(ctx, store.Grant{TenantID: "t", ID: id, UserID: id}); err != nil {
				return err
			}
			_, err := s.Grants.StartFamily(ctx, store.Family{TenantID: "t", ID: id, GrantID: id, ExpiresAt: raceLater}, raceNow)
			return err
		},
		call: func(ctx context.Context, s store.Stores, id string) error {
			f, err := s.Grants.RotateFamily(ctx, "t", id, 0, raceLater, raceNow)
			if f.Generation != 1 {
				return fmt.Errorf("generation %d (%w)", f.Generation, err)
			}
			return err
		},
		lost: store.ErrConsumed,
	},
	{
		name: "ConsumeTicket",
		prepare: func(ctx context.Context, s store.Stores, id string) error {
			return s.Tickets.PutTicket(ctx, store.Ticket{TenantID: "t", ID: store.DigestOf(id), ExpiresAt: raceLater}, raceNow)
		},
		call: func(ctx context.Context, s store.Stores, id string) error {
			_, err := s.Tickets.ConsumeTicket(ctx, "t", "", store.DigestOf(id), raceNow)
			return err
		},
		lost: store.ErrConsumed,
	},
	{
		name:    "PutTicket",
		prepare: func(context.Context, store.Stores, string) error { return nil },
		call: func(ctx context.Context, s store.Stores, id string) error {
			return s.Tickets.PutTicket(ctx, store.Ticket{TenantID: "t", ID: store.DigestOf(id), ExpiresAt: raceLater}, raceNow)
		},
		lost: store.ErrExists,
	},
	{
		name:    "CreateUser",
		prepare: func(context.Context, store.Stores, string) error { return nil },
		call: func(ctx context.Context, s store.Stores, id string) error {
			return s.UserAdmin.CreateUser(ctx, store.User{TenantID: "t", ID: id, ConnectionID: "c", Username: id, Email: id + "@"})
		},
		lost: store.ErrExists,
	},
}

// raceRole reads the number of a call and of a round, makes the call from several
// goroutines at once, and writes how many won and lost.
func raceRole(ctx context.Context, h *handle, in *bufio.Scanner, out io.Writer) error {
	stores := h.store.Stores()
	for in.Scan() {
		var number, round int
		if _, err := fmt.Sscan(in.Text(), &number, &round); err != nil {
			return err
		}
		c := raceCalls[number]
		errs := make([]error, racers)
		var running sync.WaitGroup
		for i := range errs {
			running.Go(func() { errs[i] = c.call(ctx, stores, raceID(c.name, round)) })
		}
		running.Wait()
		won, lost := 0, 0
		for _, err := range errs {
			switch {
			case err == nil:
				won++
			case errors.Is(err, c.lost):
				lost++
			default:
				return fmt.Errorf("%s, round %d: %w", c.name, round, err)
			}
		}
		if _, err := fmt.Fprintln(out, won, lost); err != nil {
			return err
		}
	}
	return in.Err()
}

func raceID(name string, round int) string { return fmt.Sprint(name, " ", round) }

// What is used once is used once, however many processes share the database.
func TestOfTwoProcessesOneWins(t *testing.T) {
	onEngines(t, testProcessRace)
}

func testProcessRace(t *testing.T, place string) {
	stores := open(t, place).store.Stores()
	var processes []*process
	for range raceProcesses {
		p := startProcess(t, "race", place)
		p.line(t) // ready
		processes = append(processes, p)
	}
	rounds := 200
	if testing.Short() {
		rounds = 20
	}
	for number, c := range raceCalls {
		t.Run(c.name, func(t *testing.T) {
			wins := make([]int, raceProcesses)
			for round := range rounds {
				if err := c.prepare(t.Context(), stores, raceID(c.name, round)); err != nil {
					t.Fatal(err)
				}
				for _, p := range processes {
					if _, err := fmt.Fprintln(p.in, number, round); err != nil {
						t.Fatal(err)
					}
				}
				total := 0
				for i, p := range processes {
					var won, lost int
					line := p.line(t)
					if _, err := fmt.Sscan(line, &won, &lost); err != nil || won+lost != racers {
						t.Fatalf("round %d: process %d answered %q (%v)", round, i, line, err)
					}
					wins[i] += won
					total += won
				}
				if total != 1 {
					t.Fatalf("round %d: %d calls of %d succeeded, want 1", round, total, raceProcesses*racers)
				}
			}
			t.Logf("won by each process: %v", wins)
		})
	}
	for _, p := range processes {
		if err := p.in.Close(); err != nil {
			t.Error(err)
		}
		if err := p.Wait(); err != nil {
			t.Error(err)
		}
	}
}

// Processes that start together on a database without tables all end up with one
// schema, whether they find nothing or a schema that is out of date.
func TestProcessesMigrateTogether(t *testing.T) {
	for round := range 6 {
		onEngines(t, func(t *testing.T, place string) {
			if round%2 == 1 {
				cfg, err := openPools(place)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := cfg.Write.ExecContext(t.Context(), "CREATE TABLE opkit_schema (version INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL)"); err != nil {
					t.Fatal(err)
				}
				closePools(t, cfg)
			}
			var processes []*process
			for range 4 {
				processes = append(processes, startProcess(t, "migrate", place))
			}
			for _, p := range processes {
				p.line(t)
				if err := p.Wait(); err != nil {
					t.Error(err)
				}
			}
			steps, err := sqlstore.Migrations(sqlstore.Config{Dialect: dialectOf(place)})
			if err != nil {
				t.Fatal(err)
			}
			var versions int
			if err := open(t, place).write.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM opkit_schema").Scan(&versions); err != nil || versions != len(steps) {
				t.Errorf("the schema table has %d rows (%v), want %d", versions, err, len(steps))
			}
		})
	}
}
