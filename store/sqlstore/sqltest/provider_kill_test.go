package sqltest

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/sqlstore/sqltest/flowtest"
)

var kills = flag.Int("kills", 10, "how often TestAKilledProvider kills a provider on each database")

const (
	killDrivers = 4
	maxAnswers  = 60 // of one life
	maxPause    = 3 * time.Millisecond
	overdue     = 40 // records of each kind that expired before a life begins
)

// A provider that is killed at any moment, under load, has done what it answered,
// and of what it did not answer nothing by halves.
func TestAKilledProvider(t *testing.T) {
	onEngines(t, testKilledProvider)
}

func testKilledProvider(t *testing.T, place string) {
	w := newProviderWorld(t, place, killDrivers)
	answers := 0
	for life := range *kills {
		w.prepare(t, life)
		answers += w.live(t, rand.IntN(maxAnswers))
		if t.Failed() {
			t.Fatalf("in life %d", life)
		}
		w.inspect(t)
	}
	// What is there is served, and then all of it is over.
	p := w.start(t)
	for _, d := range w.drivers {
		if err := errors.Join(d.Resume(t.Context()), d.Check(t.Context())); err != nil {
			t.Error(err)
		}
	}
	if err := p.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = p.Wait() // killed
	w.collect(t)
	applications, refreshes := 0, 0
	for _, d := range w.drivers {
		applications += len(d.Applications)
		refreshes += d.Refreshes
	}
	t.Logf("%d kills: %d answers, %d applications, %d refreshes", *kills, answers, applications, refreshes)
}

// prepare leaves something to collect, so that the provider is killed at that, too.
func (w *providerWorld) prepare(t *testing.T, life int) {
	t.Helper()
	h := open(t, w.place)
	stores, ctx := h.store.Stores(), t.Context()
	then, now := time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	grant := fmt.Sprint("overdue ", life)
	if err := stores.Grants.CreateGrant(ctx, store.Grant{TenantID: "t", ID: grant, UserID: grant}); err != nil {
		t.Fatal(err)
	}
	for i := range overdue {
		id := fmt.Sprint("overdue ", life, " ", i)
		_, err := stores.Grants.StartFamily(ctx, store.Family{TenantID: "t", ID: id, GrantID: grant, ExpiresAt: now}, then)
		if err := errors.Join(err,
			stores.Tickets.PutTicket(ctx, store.Ticket{TenantID: "t", ID: store.DigestOf(id), ExpiresAt: now}, then),
			stores.Sessions.CreateSession(ctx, store.Session{TenantID: "t", ID: store.DigestOf(id), SID: id, ExpiresAt: now}),
		); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.close(); err != nil {
		t.Fatal(err)
	}
}

// start begins a life.
func (w *providerWorld) start(t *testing.T) *process {
	t.Helper()
	p := startProcess(t, "provide", w.place)
	p.line(t) // ready
	address := p.line(t)
	w.address.Store(&address)
	return p
}

// live puts load on a provider until it has given so many answers, kills it a moment
// later, and returns how many it gave.
func (w *providerWorld) live(t *testing.T, answers int) int {
	t.Helper()
	p := w.start(t)
	var (
		killed   atomic.Bool
		given    atomic.Int64
		enough   = make(chan struct{})
		reached  = sync.OnceFunc(func() { close(enough) })
		running  sync.WaitGroup
		failures = make([]error, len(w.drivers))
	)
	if answers == 0 {
		reached()
	}
	for i, d := range w.drivers {
		running.Go(func() {
			err := d.Resume(t.Context())
			for ; err == nil; err = d.Step(t.Context()) {
				if given.Add(1) >= int64(answers) {
					reached()
				}
			}
			if !errors.Is(err, flowtest.ErrNoAnswer) || !killed.Load() {
				failures[i] = err
				reached()
			}
		})
	}
	<-enough
	<-time.After(rand.N(maxPause))
	killed.Store(true)
	if err := p.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = p.Wait() // killed
	running.Wait()
	for _, err := range failures {
		if err != nil {
			t.Error(err)
		}
	}
	return int(given.Load())
}

// inspect compares what there is with what was answered.
func (w *providerWorld) inspect(t *testing.T) {
	t.Helper()
	h := open(t, w.place)
	clients := map[string]bool{}
	for _, id := range column(t, h, "SELECT id FROM opkit_clients WHERE dynamic = 1") {
		clients[id] = true
	}
	granted := map[string]bool{}
	for _, id := range column(t, h, "SELECT client_id FROM opkit_grants") {
		granted[id] = true
	}
	families := map[string][]string{}
	rows, err := h.write.QueryContext(t.Context(), "SELECT client_id, generation, revoked_at IS NOT NULL FROM opkit_families")
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		var client string
		var generation int64
		var revoked bool
		if err := rows.Scan(&client, &generation, &revoked); err != nil {
			t.Fatal(err)
		}
		families[client] = append(families[client], flowtest.State(generation, revoked))
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		t.Fatal(err)
	}
	for _, d := range w.drivers {
		for _, app := range d.Applications {
			if !d.Unsure(app) && clients[app.ID] == app.Deleted {
				t.Errorf("application %s: deleted: %t, stored: %t", app.ID, app.Deleted, clients[app.ID])
			}
			if app.Deleted && granted[app.ID] {
				t.Errorf("application %s was deleted and has a grant", app.ID)
			}
			got, outcomes := families[app.ID], d.Outcomes(app)
			slices.Sort(got)
			if outcomes != nil && !slices.ContainsFunc(outcomes, func(o []string) bool { return slices.Equal(o, got) }) {
				t.Errorf("families of application %s: %q, want one of %q", app.ID, got, outcomes)
			}
		}
	}
	if orphans := column(t, h, `SELECT id FROM opkit_families AS f WHERE NOT EXISTS
		(SELECT 1 FROM opkit_grants AS g WHERE g.tenant_id = f.tenant_id AND g.id = f.grant_id)`); len(orphans) > 0 {
		t.Errorf("families whose grant is gone: %q", orphans)
	}
	if !isPostgres(w.place) {
		if got := column(t, h, "PRAGMA integrity_check"); !slices.Equal(got, []string{"ok"}) {
			t.Errorf("integrity_check: %q", got)
		}
	}
	if err := h.close(); err != nil {
		t.Error(err)
	}
}

// collect removes everything once it has expired.
func (w *providerWorld) collect(t *testing.T) {
	t.Helper()
	h := open(t, w.place)
	stores, ctx, end := h.store.Stores(), t.Context(), time.Now().AddDate(10, 0, 0)
	for {
		families, err1 := stores.Grants.CollectFamilies(ctx, end, 100)
		tickets, err2 := stores.Tickets.CollectTickets(ctx, end, 100)
		sessions, err3 := stores.Sessions.CollectSessions(ctx, end, 100)
		if err := errors.Join(err1, err2, err3); err != nil {
			t.Fatal(err)
		}
		if families+tickets+sessions == 0 {
			break
		}
	}
	for _, table := range []string{"families", "tickets", "sessions"} {
		if left := column(t, h, "SELECT tenant_id FROM opkit_"+table); len(left) > 0 {
			t.Errorf("%d %s were not collected", len(left), table)
		}
	}
}

// column returns the texts that a query selects.
func column(t *testing.T, h *handle, query string) []string {
	t.Helper()
	rows, err := h.write.QueryContext(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var texts []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			t.Fatal(err)
		}
		texts = append(texts, s)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return texts
}
