package dcr

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// counting counts the calls of a sweeper.
type counting struct {
	store.ClientSweeper
	mu    sync.Mutex
	calls map[string]int
	fail  bool
}

func (s *counting) hit(method string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calls == nil {
		s.calls = make(map[string]int)
	}
	s.calls[method]++
	if s.fail {
		return errCrash
	}
	return nil
}

func (s *counting) CountProvisional(ctx context.Context, tenant string) (int, error) {
	if err := s.hit("count"); err != nil {
		return 0, err
	}
	return s.ClientSweeper.CountProvisional(ctx, tenant)
}

func (s *counting) IdleClients(ctx context.Context, tenant string, filter store.IdleFilter, page store.IdlePage) ([]store.Client, error) {
	if err := s.hit("list"); err != nil {
		return nil, err
	}
	return s.ClientSweeper.IdleClients(ctx, tenant, filter, page)
}

// crowded is a tenant with a ceiling.
func crowded(t *testing.T, l Lifecycle) (*fixture, *counting) {
	c := &counting{}
	f := newFixture(t, options{
		stores: func(s *store.Stores) { c.ClientSweeper = s.ClientSweeper; s.ClientSweeper = c },
		config: func(cfg *Config) { cfg.Lifecycle = l },
	}).ready()
	return f, c
}

func (f *fixture) provisionalClients() int {
	f.t.Helper()
	n, err := f.stores.ClientSweeper.CountProvisional(context.Background(), tenant.DefaultID)
	if err != nil {
		f.t.Fatal(err)
	}
	return n
}

func TestTheOldestProvisionalClientMakesRoom(t *testing.T) {
	f, _ := crowded(t, Lifecycle{MaxProvisional: 5})
	f.seed(provisional("b", 50*time.Minute), provisional("a", 40*time.Minute), provisional("d", 30*time.Minute),
		provisional("c", 20*time.Minute), provisional("young", 9*time.Minute), confirmed("used", 300*day),
		store.Client{ID: "own", CreatedAt: start.Add(-999 * day)})
	seeded := func() string {
		return strings.Join(slices.DeleteFunc(strings.Fields(f.left()), func(id string) bool { return strings.HasPrefix(id, strictPrefix) }), " ")
	}
	for _, want := range []string{"a c d own used young", "c d own used young", "c own used young", "own used young"} {
		f.register(with(""))
		if got := seeded(); got != want {
			t.Errorf("left are %q, want %q", got, want)
		}
		if n := f.provisionalClients(); n != 5 {
			t.Errorf("%d provisional clients", n)
		}
	}
}

func TestTheCeilingRefusesForNoLongerThanItHasTo(t *testing.T) {
	f, _ := crowded(t, Lifecycle{MaxProvisional: 3})
	f.seed(provisional("a", 6*time.Minute), provisional("b", 5*time.Minute), provisional("c", 4*time.Minute), confirmed("used", 300*day))
	for range 3 {
		w := f.post(with(""))
		if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") != "240" {
			t.Fatalf("%d, Retry-After %q", w.Code, w.Header().Get("Retry-After"))
		}
		if info := f.decode(w); info.Error != "temporarily_unavailable" || info.ErrorDescription == "" {
			t.Errorf("%s", w.Body)
		}
	}
	if got := f.left(); got != "a b c used" {
		t.Errorf("left are %q", got)
	}
	f.now = f.now.Add(4*time.Minute - time.Second)
	if w := f.post(with("")); w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") != "1" {
		t.Errorf("a second early: %d, Retry-After %q", w.Code, w.Header().Get("Retry-After"))
	}
	f.now = f.now.Add(time.Second + time.Microsecond)
	f.register(with(""))
	if got := f.left(); strings.HasPrefix(got, "a ") || f.provisionalClients() != 3 {
		t.Errorf("left are %q", got)
	}
}

// A client that is confirmed does not count any more, which others see soon.
func TestTheCeilingSeesConfirmations(t *testing.T) {
	f, _ := crowded(t, Lifecycle{MaxProvisional: 2})
	f.register(with(""))
	info, _ := f.register(with(""))
	if w := f.post(with("")); w.Code != http.StatusTooManyRequests {
		t.Fatalf("%d", w.Code)
	}
	c := f.client(info.ClientID)
	c.ConfirmedAt, c.LastUsedAt = f.now, f.now
	if err := f.stores.Clients.UpdateClient(context.Background(), c); err != nil {
		t.Fatal(err)
	}
	f.now = f.now.Add(recheckFull)
	f.register(with(""))
}

func TestTheCeilingIsOfEachTenantAlone(t *testing.T) {
	f, _ := crowded(t, Lifecycle{MaxProvisional: 2})
	for i := range 9 {
		c := provisional(fmt.Sprint(i), time.Hour)
		c.TenantID = "other"
		f.seed(c)
	}
	f.register(with(""))
	f.register(with(""))
	if list, err := f.stores.Clients.Clients(context.Background(), "other", store.Page{}); err != nil || len(list) != 9 {
		t.Errorf("another tenant has %d clients (%v)", len(list), err)
	}
}

func TestEvictionPassesOverWhatAnAdministratorVouchesFor(t *testing.T) {
	f, _ := crowded(t, Lifecycle{MaxProvisional: 2})
	f.seed(provisional("vouched", 3*time.Hour), provisional("a", 2*time.Hour))
	if err := f.stores.ClientGrants.CreateClientGrant(context.Background(), store.ClientGrant{
		TenantID: tenant.DefaultID, ID: "cg", ClientID: "vouched", Audience: "notes:api", SubjectType: store.SubjectUser,
	}); err != nil {
		t.Fatal(err)
	}
	f.register(with(""))
	left := strings.Fields(f.left()) // with one that was generated, and may end in any letter
	if len(left) != 2 || !slices.Contains(left, "vouched") || slices.Contains(left, "a") {
		t.Errorf("left are %q", left)
	}
}

// Ordinary registrations make no call more than they have to.
func TestTheCeilingCostsOrdinaryRegistrationsNothing(t *testing.T) {
	f, c := crowded(t, Lifecycle{MaxProvisional: 800})
	for range 100 {
		f.register(with(""))
	}
	if c.calls["count"] != 1 || c.calls["list"] != 0 {
		t.Errorf("calls: %v, want one count", c.calls)
	}
	for range 100 { // another node may have registered as many
		f.register(with(""))
	}
	if c.calls["count"] != 2 {
		t.Errorf("calls: %v, want a second count", c.calls)
	}
	// At the ceiling one registration in many pays, and a refusal costs nothing.
	c.calls = nil
	f.now = f.now.Add(time.Hour)
	for range 1500 {
		f.register(with(""))
		f.now = f.now.Add(time.Second)
	}
	if n := f.provisionalClients(); n > 801 {
		t.Errorf("%d provisional clients", n)
	}
	if c.calls["count"] > 40 || c.calls["list"] > 40 {
		t.Errorf("calls: %v", c.calls)
	}

	full, c := crowded(t, Lifecycle{MaxProvisional: 10})
	for range 10 {
		full.register(with(""))
	}
	c.calls = nil
	for range 100 {
		if w := full.post(with("")); w.Code != http.StatusTooManyRequests {
			t.Fatalf("%d", w.Code)
		}
	}
	if c.calls["count"] > 1 || c.calls["list"] > 2 {
		t.Errorf("calls of 100 refusals: %v", c.calls)
	}
}

func TestAFailingCountIsAServerError(t *testing.T) {
	f, c := crowded(t, Lifecycle{})
	c.fail = true
	w := f.post(with(""))
	if info := f.decode(w); w.Code != http.StatusInternalServerError || info.Error != "server_error" || strings.Contains(w.Body.String(), errCrash.Error()) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if !strings.Contains(f.log.String(), errCrash.Error()) {
		t.Error("the cause is not in the log")
	}
	c.fail = false
	f.register(with("")) // the next one counts
	if got := len(f.clients()); got != 1 {
		t.Errorf("%d clients", got)
	}
}

// Many at once do not go far above the ceiling.
func TestTheCeilingUnderConcurrency(t *testing.T) {
	f, _ := crowded(t, Lifecycle{MaxProvisional: 20})
	for i := range 20 {
		f.seed(provisional(fmt.Sprint("old ", i), time.Hour))
	}
	f.seed(confirmed("used", 300*day))
	const workers = 8
	var running sync.WaitGroup
	errs := make(chan error, workers*100)
	for range workers {
		running.Go(func() {
			for range 100 {
				if w := f.post(with("")); w.Code != http.StatusCreated && w.Code != http.StatusTooManyRequests {
					errs <- errors.New(w.Body.String())
				}
			}
		})
	}
	running.Wait()
	close(errs)
	for err := range errs {
		t.Error(err)
	}
	if n := f.provisionalClients(); n > 20+workers {
		t.Errorf("%d provisional clients", n)
	}
	if f.client("used").ID == "" {
		t.Error("a confirmed client is gone")
	}
}

// Strangers do not keep out who was invited.
func TestAnInitialAccessTokenPassesTheCeiling(t *testing.T) {
	f, _ := crowded(t, Lifecycle{MaxProvisional: 2})
	_, value := f.grantAccess(InitialAccessToken{Uses: 1})
	f.register(with(""))
	f.register(with(""))
	if w := f.post(with("")); w.Code != http.StatusTooManyRequests {
		t.Fatalf("%d", w.Code)
	}
	if w := f.postWith("Bearer "+value, with("")); w.Code != http.StatusCreated {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
