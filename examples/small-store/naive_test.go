package smallstore

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/sqlstore/sqltest"
	"github.com/opkit/opkit/storetest"
)

// naive consumes as one would at first: it looks, decides, and writes.
type naive struct{ Tickets }

// ConsumeTicket implements store.TicketStore, wrongly.
func (s naive) ConsumeTicket(ctx context.Context, tenant, kind string, id store.Digest, now time.Time) (store.Ticket, error) {
	t, err := s.Ticket(ctx, tenant, kind, id, now)
	if err != nil {
		return t, err
	}
	t.ConsumedAt = now.UTC().Truncate(time.Microsecond)
	_, err = s.DB.ExecContext(ctx, `UPDATE tickets SET consumed = ? WHERE tenant = ? AND kind = ? AND id = ?`,
		micros(now), tenant, kind, id[:])
	return t, err
}

const naiveVariable = "OPKIT_SMALLSTORE_NAIVE"

// The document quotes what the kit says about it.
func TestTheKitNoticesTheNaiveStore(t *testing.T) {
	if os.Getenv(naiveVariable) != "" {
		storetest.RunTickets(t, func(t *testing.T) store.TicketStore {
			db, read, err := sqltest.OpenSQLite(filepath.Join(t.TempDir(), "tickets.db"))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = read.Close(); _ = db.Close() })
			if _, err := db.Exec(Schema); err != nil {
				t.Fatal(err)
			}
			return naive{Tickets{db}}
		}, nil)
		return
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "-test.run", "^TestTheKitNoticesTheNaiveStore$/^consume-race$")
	cmd.Env = append(os.Environ(), naiveVariable+"=1")
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Fatalf("the kit did not notice:\n%s", out)
	}
	for _, line := range quoted(t) {
		if !strings.Contains(string(out), line) {
			t.Errorf("the document quotes %q, the kit says:\n%s", line, out)
		}
	}
}
