package sqltest

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opkit/opkit/store"
)

var rows = flag.Int("rows", 0, "how many records of each kind TestScale compares with 1,000, and fails if they make an operation more than twice as slow; "+
	"0 for a few that it only reports about")

const (
	fewRows = 1000
	// A batch is calls on the small and on the large database in turns. What counts
	// is the batch with the lowest 99th percentile: others were disturbed by what
	// else the machine had to do. Between two batches of an operation there are those
	// of all others, because that comes in bursts.
	scaleBatches   = 10
	scaleBatchSize = fewRows / scaleBatches // so that no call finds what another one spent
)

// scaleOperations are the calls that requests and collection make. Each returns the
// call to be measured on the i-th record; neither i nor number repeats. None makes
// more work for a later one where there are few records.
var scaleOperations = []struct {
	name    string
	prepare func(ctx context.Context, s store.Stores, i, number int) (call func() error, err error)
}{
	{"CreateClient", func(ctx context.Context, s store.Stores, _, number int) (func() error, error) {
		c := store.Client{
			TenantID: "t", ID: nameOf("new client", number), Name: "My application", Dynamic: true, SecurityMode: store.ModeStrict,
			RedirectURIs: []string{"https://app.example.com/auth/callback"}, CreatedAt: populated,
		}
		return func() error { return s.Clients.CreateClient(ctx, c) }, nil
	}},
	{"Client", func(ctx context.Context, s store.Stores, i, _ int) (func() error, error) {
		return func() error { return second(s.Clients.Client(ctx, "t", nameOf("client", i))) }, nil
	}},
	{"UpdateClient", func(ctx context.Context, s store.Stores, i, _ int) (func() error, error) {
		c, err := s.Clients.Client(ctx, "t", nameOf("client", i))
		c.LastUsedAt, c.ConfirmedAt = populated, populated
		return func() error { return s.Clients.UpdateClient(ctx, c) }, err
	}},
	{"Clients, 50", func(ctx context.Context, s store.Stores, i, _ int) (func() error, error) {
		return func() error {
			return second(s.Clients.Clients(ctx, "t", store.Page{After: nameOf("client", i), Limit: 50}))
		}, nil
	}},
	{"IdleClients, 50", func(ctx context.Context, s store.Stores, i, _ int) (func() error, error) {
		filter := store.IdleFilter{Confirmed: i%2 == 0, Before: populated.Add(time.Hour)}
		return func() error {
			return second(s.ClientSweeper.IdleClients(ctx, "t", filter, store.IdlePage{Limit: 50}))
		}, nil
	}},
	{"RemoveClients, 1", func(ctx context.Context, s store.Stores, _, number int) (func() error, error) {
		c := store.Client{TenantID: "t", ID: nameOf("removed client", number), Dynamic: true, CreatedAt: populated, Version: 1}
		return func() error { return second(s.ClientSweeper.RemoveClients(ctx, "t", []store.Client{c})) }, s.Clients.CreateClient(ctx, c)
	}},
	{"UserByLogin", func(ctx context.Context, s store.Stores, i, _ int) (func() error, error) {
		return func() error { return second(s.Users.UserByLogin(ctx, "t", "con", nameOf("login", i))) }, nil
	}},
	{"CreateSession", func(ctx context.Context, s store.Stores, _, number int) (func() error, error) {
		session := store.Session{TenantID: "t", ID: digestOf("new session", number), SID: nameOf("new sid", number), UserID: nameOf("new user", number), ExpiresAt: populatedUntil}
		return func() error { return s.Sessions.CreateSession(ctx, session) }, nil
	}},
	{"Session", func(ctx context.Context, s store.Stores, i, _ int) (func() error, error) {
		return func() error { return second(s.Sessions.Session(ctx, "t", digestOf("session", i), populated)) }, nil
	}},
	{"UserSessions", func(ctx context.Context, s store.Stores, i, _ int) (func() error, error) {
		return func() error { return second(s.Sessions.UserSessions(ctx, "t", userOf(i), store.Page{}, populated)) }, nil
	}},
	{"FindGrant", func(ctx context.Context, s store.Stores, i, _ int) (func() error, error) {
		return func() error { return second(s.Grants.FindGrant(ctx, "t", userOf(i), nameOf("client", i), "")) }, nil
	}},
	{"CreateGrant", func(ctx context.Context, s store.Stores, i, number int) (func() error, error) {
		g := store.Grant{TenantID: "t", ID: nameOf("new grant", number), UserID: nameOf("new user", number), ClientID: nameOf("client", i)}
		return func() error { return s.Grants.CreateGrant(ctx, g) }, nil
	}},
	{"StartFamily", func(ctx context.Context, s store.Stores, i, number int) (func() error, error) {
		f := store.Family{
			TenantID: "t", ID: nameOf("new family", number), GrantID: nameOf("grant", i), UserID: userOf(i), ClientID: nameOf("client", i),
			SID: nameOf("new sid", number), ExpiresAt: populatedUntil,
		}
		return func() error { return second(s.Grants.StartFamily(ctx, f, populated)) }, nil
	}},
	{"Grant of a family", func(ctx context.Context, s store.Stores, i, _ int) (func() error, error) {
		return func() error {
			return second(s.Grants.Grant(ctx, "t", nameOf("grant", i), nameOf("family", i), populated))
		}, nil
	}},
	{"RotateFamily", func(ctx context.Context, s store.Stores, i, number int) (func() error, error) {
		until := populatedUntil.Add(time.Duration(number) * time.Millisecond)
		return func() error { return second(s.Grants.RotateFamily(ctx, "t", nameOf("family", i), 0, until, populated)) }, nil
	}},
	{"PutTicket", func(ctx context.Context, s store.Stores, _, number int) (func() error, error) {
		t := store.Ticket{TenantID: "t", Kind: "par", ID: digestOf("new ticket", number), Data: make([]byte, 300), ExpiresAt: populatedUntil}
		return func() error { return s.Tickets.PutTicket(ctx, t, populated) }, nil
	}},
	{"ConsumeTicket", func(ctx context.Context, s store.Stores, i, _ int) (func() error, error) {
		return func() error {
			return second(s.Tickets.ConsumeTicket(ctx, "t", "par", digestOf("ticket", i), populated))
		}, nil
	}},
	{"RevokeFamilies of a session", func(ctx context.Context, s store.Stores, i, _ int) (func() error, error) {
		return func() error {
			n, err := s.Grants.RevokeFamilies(ctx, "t", store.FamilyFilter{SID: nameOf("sid", i)}, populatedUntil, populated)
			if n != 1 && err == nil {
				err = fmt.Errorf("%d families were revoked", n)
			}
			return err
		}, nil
	}},
	{"RevokeFamily", func(ctx context.Context, s store.Stores, i, _ int) (func() error, error) {
		return func() error { return s.Grants.RevokeFamily(ctx, "t", nameOf("family", i), populatedUntil, populated) }, nil
	}},
	{"DeleteGrant", func(ctx context.Context, s store.Stores, _, number int) (func() error, error) {
		id := nameOf("deleted grant", number)
		if err := s.Grants.CreateGrant(ctx, store.Grant{TenantID: "t", ID: id, UserID: id}); err != nil {
			return nil, err
		}
		_, err := s.Grants.StartFamily(ctx, store.Family{TenantID: "t", ID: id, GrantID: id, ExpiresAt: populatedUntil}, populated)
		return func() error { return s.Grants.DeleteGrant(ctx, "t", id) }, err
	}},
	{"CollectFamilies, 10", func(ctx context.Context, s store.Stores, _, number int) (func() error, error) {
		grant := nameOf("grant of expired", 0)
		if number < 2 { // once for each database
			if err := s.Grants.CreateGrant(ctx, store.Grant{TenantID: "t", ID: grant, UserID: grant}); err != nil {
				return nil, err
			}
		}
		for i := range 10 {
			f := store.Family{TenantID: "t", ID: nameOf("expired", 10*number+i), GrantID: grant, ExpiresAt: populated}
			if _, err := s.Grants.StartFamily(ctx, f, populated.Add(-time.Second)); err != nil {
				return nil, err
			}
		}
		return func() error {
			if n, err := s.Grants.CollectFamilies(ctx, populated, 10); n != 10 || err != nil {
				return fmt.Errorf("%d collected: %w", n, err)
			}
			return nil
		}, nil
	}},
}

func second(_ any, err error) error { return err }

// An operation takes as long among a million records as among a thousand.
func TestScale(t *testing.T) {
	for _, engine := range engines {
		t.Run(engine.name, func(t *testing.T) {
			many := *rows
			if many == 0 {
				many = 2 * fewRows
			}
			sizes := [2]int{fewRows, many}
			var handles [2]*handle
			for i, n := range sizes {
				handles[i] = open(t, engine.place(t))
				started := time.Now()
				populate(t, handles[i], n, "clients users user_logins sessions grants families tickets")
				t.Logf("%d records of each of 7 kinds were written in %v: %d MB", n, time.Since(started).Round(time.Millisecond), size(t, handles[i])/1e6)
			}
			median, worst := measureScale(t, handles, sizes)
			var report strings.Builder
			for i, op := range scaleOperations {
				ratio := float64(worst[i][1]) / float64(worst[i][0])
				fmt.Fprintf(&report, "%-28s %10d %10d %10d %10d %8.2f\n", op.name,
					median[i][0].Microseconds(), median[i][1].Microseconds(), worst[i][0].Microseconds(), worst[i][1].Microseconds(), ratio)
				if *rows > 0 && ratio > 2 {
					t.Errorf("%s: the 99th percentile is %v among %d records, %v among %d", op.name, worst[i][1], sizes[1], worst[i][0], sizes[0])
				}
			}
			t.Logf("microseconds                 p50 %d  p50 %d  p99 %d  p99 %d  ratio of p99\n%s", sizes[0], sizes[1], sizes[0], sizes[1], report.String())
		})
	}
}

// measureScale returns the lowest median and the lowest 99th percentile of each
// operation on each database.
func measureScale(t *testing.T, handles [2]*handle, sizes [2]int) (median, worst [][2]time.Duration) {
	t.Helper()
	median, worst = make([][2]time.Duration, len(scaleOperations)), make([][2]time.Duration, len(scaleOperations))
	for batch := range scaleBatches {
		for o, op := range scaleOperations {
			var took [2][]time.Duration
			for call := range batchSize() {
				for size, n := range sizes {
					// Spread over all records; their names make that a random order.
					record := batch*batchSize() + call
					i, number := record*(n/fewRows), 2*record+size
					call, err := op.prepare(t.Context(), handles[size].store.Stores(), i, number)
					if err != nil {
						t.Fatalf("%s among %d, before the call: %v", op.name, n, err)
					}
					started := time.Now()
					err = call()
					took[size] = append(took[size], time.Since(started))
					if err != nil {
						t.Fatalf("%s among %d: %v", op.name, n, err)
					}
				}
			}
			for size := range sizes {
				slices.Sort(took[size])
				calls := len(took[size])
				m, w := took[size][calls/2], took[size][(99*calls+99)/100-1] // no more than one in a hundred took longer
				if batch == 0 {
					median[o][size], worst[o][size] = m, w
				}
				median[o][size], worst[o][size] = min(median[o][size], m), min(worst[o][size], w)
			}
		}
	}
	return median, worst
}

func batchSize() int {
	if *rows == 0 {
		return 10 // enough to see that every operation works
	}
	return scaleBatchSize
}

// size returns how many bytes the database has.
func size(t *testing.T, h *handle) int64 {
	t.Helper()
	query := "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
	if isPostgres(h.place) {
		query = "SELECT SUM(pg_total_relation_size(c.oid)) FROM pg_class AS c WHERE c.relname LIKE 'opkit%' AND c.relkind = 'r'"
	}
	var n int64
	if err := h.write.QueryRowContext(t.Context(), query).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
