package sqltest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/opkit/opkit/store"
)

// writers is the number of goroutines of the process that is killed. Each makes
// every kind of write in turn.
const writers = 4

// writes are what a process acknowledges, and how it is seen afterwards.
var writes = []struct {
	name  string
	do    func(ctx context.Context, s store.Stores, id string) error
	check func(ctx context.Context, s store.Stores, id string) error
}{
	{
		name: "register",
		do: func(ctx context.Context, s store.Stores, id string) error {
			return s.Clients.CreateClient(ctx, store.Client{TenantID: "t", ID: id, Name: id})
		},
		check: func(ctx context.Context, s store.Stores, id string) error {
			_, err := s.Clients.Client(ctx, "t", id)
			return err
		},
	},
	{
		name: "create-user",
		do: func(ctx context.Context, s store.Stores, id string) error {
			return s.UserAdmin.CreateUser(ctx, store.User{
				TenantID: "t", ID: id, ConnectionID: "c", Username: "name-" + id, Email: "mail-" + id,
			})
		},
		check: func(ctx context.Context, s store.Stores, id string) error {
			_, err := s.Users.UserByLogin(ctx, "t", "c", "mail-"+id)
			return err
		},
	},
	{
		name: "consume",
		do: func(ctx context.Context, s store.Stores, id string) error {
			t := store.Ticket{TenantID: "t", ID: store.DigestOf(id), ExpiresAt: raceLater}
			if err := s.Tickets.PutTicket(ctx, t, raceNow); err != nil {
				return err
			}
			_, err := s.Tickets.ConsumeTicket(ctx, "t", "", t.ID, raceNow)
			return err
		},
		check: func(ctx context.Context, s store.Stores, id string) error {
			_, err := s.Tickets.Ticket(ctx, "t", "", store.DigestOf(id), raceNow)
			return want(err, store.ErrConsumed)
		},
	},
	{
		name: "rotate",
		do: func(ctx context.Context, s store.Stores, id string) error {
			if err := startFamily(ctx, s, id); err != nil {
				return err
			}
			_, err := s.Grants.RotateFamily(ctx, "t", id, 0, raceLater, raceNow)
			return err
		},
		check: func(ctx context.Context, s store.Stores, id string) error {
			_, err := s.Grants.RotateFamily(ctx, "t", id, 0, raceLater, raceNow)
			return want(err, store.ErrConsumed)
		},
	},
	{
		name: "revoke",
		do: func(ctx context.Context, s store.Stores, id string) error {
			if err := startFamily(ctx, s, id); err != nil {
				return err
			}
			return s.Grants.DeleteGrant(ctx, "t", id)
		},
		check: func(ctx context.Context, s store.Stores, id string) error {
			_, err := s.Grants.Grant(ctx, "t", id, "", raceNow)
			_, err2 := s.Grants.Family(ctx, "t", id, raceNow)
			return errors.Join(want(err, store.ErrNotFound), want(err2, store.ErrNotFound))
		},
	},
}

func startFamily(ctx context.Context, s store.Stores, id string) error {
	if err := s.Grants.CreateGrant(ctx, store.Grant{TenantID: "t", ID: id, UserID: id}); err != nil {
		return err
	}
	_, err := s.Grants.StartFamily(ctx, store.Family{TenantID: "t", ID: id, GrantID: id, ExpiresAt: raceLater}, raceNow)
	return err
}

func want(err, target error) error {
	if !errors.Is(err, target) {
		return fmt.Errorf("got %w, want %w", err, target)
	}
	return nil
}

// writeRole writes until it is killed, and acknowledges each write on out once
// its call has returned. The first line of in is the number of the life it leads.
func writeRole(ctx context.Context, h *handle, in *bufio.Scanner, out io.Writer) error {
	in.Scan()
	life := in.Text()
	errs := make([]error, writers)
	var running sync.WaitGroup
	for writer := range writers {
		running.Go(func() {
			for i := 0; errs[writer] == nil; i++ {
				w := i % len(writes)
				id := fmt.Sprint(life, ".", writer, ".", i)
				if errs[writer] = writes[w].do(ctx, h.store.Stores(), id); errs[writer] == nil {
					_, errs[writer] = fmt.Fprintln(out, w, id)
				}
			}
		})
	}
	running.Wait()
	return errors.Join(errs...)
}

// A process that is killed has done what it said it had done.
func TestAcknowledgedWritesSurviveAKill(t *testing.T) {
	onEngines(t, testKill)
}

func testKill(t *testing.T, place string) {
	lives := 8
	if testing.Short() {
		lives = 2
	}
	var acknowledged []string
	for life := range lives {
		p := startProcess(t, "write", place)
		p.line(t) // ready
		if _, err := fmt.Fprintln(p.in, life); err != nil {
			t.Fatal(err)
		}
		for range 1 + rand.IntN(100) {
			acknowledged = append(acknowledged, p.line(t))
		}
		if err := p.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for p.out.Scan() { // what it still said before it died
			acknowledged = append(acknowledged, p.out.Text())
		}
		_ = p.Wait() // killed
		inspect(t, place, acknowledged)
	}
	t.Logf("%d writes were acknowledged in %d lives", len(acknowledged), lives)
}

func inspect(t *testing.T, place string, acknowledged []string) {
	t.Helper()
	h := open(t, place)
	stores := h.store.Stores()
	for _, line := range acknowledged {
		number, id, ok := strings.Cut(line, " ")
		w, err := strconv.Atoi(number)
		if !ok || err != nil {
			t.Fatalf("acknowledged: %q", line)
		}
		if err := writes[w].check(t.Context(), stores, id); err != nil {
			t.Errorf("%s %s was acknowledged: %v", writes[w].name, id, err)
		}
	}
	// What was not acknowledged happened in full or not at all.
	users, err := stores.UserAdmin.Users(t.Context(), "t", "", store.Page{})
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range users {
		for _, login := range []string{u.Username, u.Email} {
			if found, err := stores.Users.UserByLogin(t.Context(), "t", "c", login); err != nil || found.ID != u.ID {
				t.Errorf("user %s cannot sign in as %s: %v", u.ID, login, err)
			}
		}
	}
	var orphans int
	err = h.write.QueryRowContext(t.Context(), `SELECT
		(SELECT COUNT(*) FROM opkit_families AS f WHERE NOT EXISTS
			(SELECT 1 FROM opkit_grants AS g WHERE g.tenant_id = f.tenant_id AND g.id = f.grant_id)) +
		(SELECT COUNT(*) FROM opkit_user_logins AS l WHERE NOT EXISTS
			(SELECT 1 FROM opkit_users AS u WHERE u.tenant_id = l.tenant_id AND u.id = l.user_id))`).Scan(&orphans)
	if err != nil || orphans != 0 {
		t.Errorf("%d rows belong to nothing (%v)", orphans, err)
	}
	if isPostgres(place) {
		if err := h.close(); err != nil {
			t.Error(err)
		}
		return
	}
	var integrity string
	if err := h.write.QueryRowContext(t.Context(), "PRAGMA integrity_check").Scan(&integrity); err != nil || integrity != "ok" {
		t.Errorf("integrity_check: %s (%v)", integrity, err)
	}
	if err := h.close(); err != nil {
		t.Error(err)
	}
}
