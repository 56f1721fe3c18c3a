package dcr

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// seed stores clients under their identifiers.
func (f *fixture) seed(clients ...store.Client) {
	f.t.Helper()
	for _, c := range clients {
		if c.TenantID == "" {
			c.TenantID = tenant.DefaultID
		}
		if err := f.stores.Clients.CreateClient(context.Background(), c); err != nil {
			f.t.Fatal(err)
		}
	}
}

func (f *fixture) sweep() {
	f.t.Helper()
	if err := f.registrar.Sweep(context.Background()); err != nil {
		f.t.Fatal(err)
	}
}

// left returns the identifiers of the clients that exist.
func (f *fixture) left() string {
	f.t.Helper()
	var ids []string
	for _, c := range f.clients() {
		ids = append(ids, c.ID)
	}
	return strings.Join(ids, " ")
}

// ready makes sure that the tenant's record exists: a sweep goes by records.
func (f *fixture) ready() *fixture {
	f.t.Helper()
	if _, err := f.registrar.cfg.Tenants.Tenant(context.Background(), tenant.DefaultID); err != nil {
		f.t.Fatal(err)
	}
	return f
}

func provisional(id string, age time.Duration) store.Client {
	return store.Client{ID: id, Dynamic: true, CreatedAt: start.Add(-age)}
}

func confirmed(id string, unused time.Duration) store.Client {
	c := provisional(id, 1000*day)
	c.ConfirmedAt, c.LastUsedAt = start.Add(-900*day), start.Add(-unused)
	return c
}

const day = 24 * time.Hour

func TestSweepRemovesWhatNobodyUses(t *testing.T) {
	never := -time.Second
	for _, tc := range []struct {
		rule      string
		lifecycle Lifecycle
		client    store.Client
		grant     bool
		vouched   bool
		stays     bool
	}{
		{rule: "a provisional client lives 24 hours", client: provisional("c", day), stays: true},
		{rule: "and no longer", client: provisional("c", day+time.Microsecond)},
		{rule: "or as long as is configured", lifecycle: Lifecycle{Provisional: 7 * day}, client: provisional("c", 6*day), stays: true},
		{rule: "which can be less", lifecycle: Lifecycle{Provisional: time.Hour}, client: provisional("c", 2*time.Hour)},
		{rule: "or for ever", lifecycle: Lifecycle{Provisional: never}, client: provisional("c", 9999*day), stays: true},
		{rule: "a confirmed client lives 180 days after its last use, however old it is", client: confirmed("c", 180*day), stays: true},
		{rule: "and no longer", client: confirmed("c", 180*day+time.Microsecond)},
		{rule: "or as long as is configured", lifecycle: Lifecycle{Unused: 7 * day}, client: confirmed("c", 8*day)},
		{rule: "or for ever", lifecycle: Lifecycle{Unused: never}, client: confirmed("c", 800*day), stays: true},
		{rule: "a grant keeps a client", client: confirmed("c", 800*day), grant: true, stays: true},
		{rule: "an administrator's client grant keeps a confirmed client", client: confirmed("c", 800*day), vouched: true, stays: true},
		{rule: "and a provisional one", client: provisional("c", 800*day), vouched: true, stays: true},
		{rule: "clients of the tenant's own stay", client: store.Client{ID: "c", CreatedAt: start.Add(-999 * day)}, stays: true},
		{rule: "used or not", client: store.Client{ID: "c", ConfirmedAt: start.Add(-999 * day), LastUsedAt: start.Add(-999 * day)}, stays: true},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			ctx := context.Background()
			f := newFixture(t, options{config: func(c *Config) { c.Lifecycle = tc.lifecycle }}).ready()
			f.seed(tc.client)
			if tc.grant {
				if err := f.stores.Grants.CreateGrant(ctx, store.Grant{TenantID: tenant.DefaultID, ID: "g", UserID: "u", ClientID: "c"}); err != nil {
					t.Fatal(err)
				}
			}
			if tc.vouched {
				if err := f.stores.ClientGrants.CreateClientGrant(ctx, store.ClientGrant{
					TenantID: tenant.DefaultID, ID: "cg", ClientID: "c", Audience: "notes:api", SubjectType: store.SubjectUser,
				}); err != nil {
					t.Fatal(err)
				}
			}
			f.sweep()
			if got := f.left(); got != "c" && tc.stays || got != "" && !tc.stays {
				t.Errorf("left are %q, stays is %v", got, tc.stays)
			}
		})
	}
}

// A grant that is revoked keeps nothing any more.
func TestSweepFollowsTheGrants(t *testing.T) {
	ctx := context.Background()
	f := newFixture(t, options{}).ready()
	for i := range 2*sweepUnusedSeen + 7 { // more than one sweep looks at
		id := fmt.Sprintf("held %05d", i)
		f.seed(confirmed(id, 800*day))
		if err := f.stores.Grants.CreateGrant(ctx, store.Grant{TenantID: tenant.DefaultID, ID: id, UserID: "u", ClientID: id}); err != nil {
			t.Fatal(err)
		}
	}
	f.seed(confirmed("not held", 300*day))
	exists := func(id string) bool {
		_, err := f.stores.Clients.Client(ctx, tenant.DefaultID, id)
		return err == nil
	}
	// Those that are held do not hide the one behind them.
	for range 3 {
		f.sweep()
	}
	if exists("not held") || !exists("held 00000") {
		t.Error("three sweeps did not reach the client that nothing holds")
	}
	if err := f.stores.Grants.DeleteGrant(ctx, tenant.DefaultID, "held 00000"); err != nil {
		t.Fatal(err)
	}
	f.sweep()
	if exists("held 00000") || !exists("held 00001") {
		t.Error("a client stays after its last grant was revoked")
	}
}

func TestSweepGoesThroughAllTenantsInTurn(t *testing.T) {
	ctx := context.Background()
	f := newFixture(t, options{}).ready()
	const tenants = sweepTenants + 50
	for i := range tenants {
		id := fmt.Sprintf("t%04d", i)
		if err := f.stores.Tenants.CreateTenant(ctx, store.Tenant{ID: id, Issuer: "https://" + id + ".example.com"}); err != nil {
			t.Fatal(err)
		}
		old, fresh := provisional("old", 2*day), provisional("fresh", time.Hour)
		old.TenantID, fresh.TenantID = id, id
		f.seed(old, fresh)
	}
	count := func() (n int) {
		for i := range tenants {
			list, err := f.stores.Clients.Clients(ctx, fmt.Sprintf("t%04d", i), store.Page{})
			if err != nil {
				t.Fatal(err)
			}
			n += len(list)
		}
		return n
	}
	f.sweep()
	if n := count(); n <= tenants || n >= 2*tenants {
		t.Errorf("after one sweep %d clients are left, which should be a part of the tenants", n)
	}
	f.sweep()
	if n := count(); n != tenants {
		t.Errorf("after two sweeps %d clients are left, want %d", n, tenants)
	}
	f.now = f.now.Add(2 * day)
	f.sweep() // from the beginning
	f.sweep()
	if n := count(); n != 0 {
		t.Errorf("two days later %d clients are left", n)
	}
}

func TestSweepDoesABoundedAmountOfWork(t *testing.T) {
	s := &batches{}
	f := newFixture(t, options{stores: func(st *store.Stores) { s.ClientSweeper = st.ClientSweeper; st.ClientSweeper = s }}).ready()
	const clients = 3*sweepBatch + 7
	for i := range clients {
		f.seed(provisional(fmt.Sprint(i), 2*day))
	}
	f.sweep()
	if s.removed != clients || s.largest > sweepBatch {
		t.Errorf("%d clients were removed, at most %d in a call", s.removed, s.largest)
	}
	if !strings.Contains(f.log.String(), fmt.Sprintf("count=%d", clients)) {
		t.Error("nobody is told")
	}
	// Whoever ends the provider does not wait for the rest.
	for i := range clients {
		f.seed(provisional(fmt.Sprint(i), 2*day))
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.removed, s.then = 0, cancel
	if err := f.registrar.Sweep(ctx); !errors.Is(err, context.Canceled) || s.removed != sweepBatch {
		t.Errorf("%v after %d clients", err, s.removed)
	}
}

// batches looks at how clients are removed.
type batches struct {
	store.ClientSweeper
	removed, largest int
	then             func()
}

func (s *batches) RemoveClients(ctx context.Context, tenant string, clients []store.Client) ([]string, error) {
	ids, err := s.ClientSweeper.RemoveClients(ctx, tenant, clients)
	s.removed += len(ids)
	s.largest = max(s.largest, len(clients))
	if s.then != nil {
		s.then()
	}
	return ids, err
}

// A client that comes into use between the look and the removal stays.
func TestSweepLosesToAFirstUse(t *testing.T) {
	ctx := context.Background()
	s := &interrupted{}
	f := newFixture(t, options{stores: func(st *store.Stores) { s.ClientSweeper = st.ClientSweeper; st.ClientSweeper = s }}).ready()
	f.seed(provisional("used", 2*day), provisional("unused", 2*day), confirmed("used again", 400*day), confirmed("unused for long", 400*day))
	s.before = func() {
		for _, id := range []string{"used", "used again"} {
			c := f.client(id)
			c.LastUsedAt = start
			if c.ConfirmedAt.IsZero() {
				c.ConfirmedAt = start
			}
			if err := f.stores.Clients.UpdateClient(ctx, c); err != nil {
				t.Fatal(err)
			}
		}
		s.before = func() {}
	}
	f.sweep()
	if got := f.left(); got != "used used again" {
		t.Errorf("left are %q", got)
	}
}

type interrupted struct {
	store.ClientSweeper
	before func()
}

func (s *interrupted) RemoveClients(ctx context.Context, tenant string, clients []store.Client) ([]string, error) {
	s.before()
	return s.ClientSweeper.RemoveClients(ctx, tenant, clients)
}

func TestSweepSaysWhatFailed(t *testing.T) {
	f := newFixture(t, options{stores: func(s *store.Stores) { s.Grants = brokenGrants{s.Grants} }}).ready()
	f.seed(provisional("a", 2*day), confirmed("b", 400*day))
	err := f.registrar.Sweep(context.Background())
	if !errors.Is(err, errCrash) || !strings.Contains(err.Error(), tenant.DefaultID) {
		t.Errorf("error is %v", err)
	}
	if got := f.left(); got != "b" {
		t.Errorf("left are %q: what cannot be decided stays, and the rest goes", got)
	}
}

type brokenGrants struct{ store.GrantFamilyStore }

func (brokenGrants) Grants(context.Context, string, store.GrantFilter, store.Page) ([]store.Grant, error) {
	return nil, errCrash
}

func TestWithoutASweeperNothingIsSwept(t *testing.T) {
	f := newFixture(t, options{
		stores: func(s *store.Stores) { s.ClientSweeper = nil },
		config: func(c *Config) { c.Lifecycle.MaxProvisional = 1 },
	}).ready()
	f.seed(provisional("a", 999*day))
	f.sweep()
	f.register(with(""))
	f.register(with(""))
	if got := len(f.clients()); got != 3 {
		t.Errorf("%d clients", got)
	}
	if n := strings.Count(f.log.String(), "ClientSweeper"); n != 1 {
		t.Errorf("%d warnings that registrations are kept for ever", n)
	}
}

func TestLifecycleIsChecked(t *testing.T) {
	for rule, l := range map[string]Lifecycle{
		"a user needs ten minutes":    {Provisional: 9 * time.Minute},
		"LastUsedAt lags behind":      {Unused: 47 * time.Hour},
		"an age is no negative one":   {MinAge: -1},
		"and the others do not hide":  {MinAge: -1, Provisional: time.Hour, Unused: 48 * time.Hour},
		"nor does a negative ceiling": {MinAge: -1, MaxProvisional: -1},
	} {
		t.Run(rule, func(t *testing.T) {
			f := newFixture(t, options{})
			cfg := f.registrar.cfg
			cfg.Lifecycle = l
			if r, err := New(cfg); err == nil || r != nil {
				t.Errorf("%+v is accepted", l)
			}
		})
	}
	if l, err := (Lifecycle{}).resolved(); err != nil || l != (Lifecycle{day, 180 * day, 100_000, 10 * time.Minute}) {
		t.Errorf("the defaults are %+v, %v", l, err)
	}
}

// BenchmarkSweep removes 100,000 provisional clients and reports the longest that a
// registration took meanwhile, and the longest of as many without a sweep.
func BenchmarkSweep(b *testing.B) {
	const clients = 100_000
	for b.Loop() {
		b.StopTimer()
		f := newFixture(b, options{config: func(c *Config) { c.Logger, c.Lifecycle.MaxProvisional = nil, -1 }}).ready()
		for i := range clients {
			f.seed(provisional(fmt.Sprint(i), 2*day))
		}
		register := func() time.Duration {
			began := time.Now()
			if w := f.post(with("")); w.Code != 201 {
				b.Errorf("%d %s", w.Code, w.Body)
			}
			return time.Since(began)
		}
		done, registered := make(chan struct{}), make(chan []time.Duration)
		go func() {
			var took []time.Duration
			for {
				select {
				case <-done:
					registered <- took
					return
				case <-time.After(200 * time.Microsecond): // not to measure the collector of garbage
					took = append(took, register())
				}
			}
		}()
		b.StartTimer()
		f.sweep()
		b.StopTimer()
		close(done)
		during := <-registered
		alone := make([]time.Duration, len(during))
		for i := range alone {
			time.Sleep(200 * time.Microsecond)
			alone[i] = register()
		}
		b.ReportMetric(float64(slices.Max(during).Microseconds()), "µs-longest")
		b.ReportMetric(float64(slices.Max(alone).Microseconds()), "µs-longest-alone")
		b.StartTimer()
	}
}
