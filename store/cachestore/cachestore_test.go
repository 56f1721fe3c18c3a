package cachestore_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/cachestore"
	"github.com/opkit/opkit/store/memstore"
)

// clock is a time that stands still until it is moved.
type clock struct{ now atomic.Int64 }

func (c *clock) Now() time.Time                 { return time.Unix(1_700_000_000, c.now.Load()) }
func (c *clock) advance(duration time.Duration) { c.now.Add(int64(duration)) }

// clients counts the reads of the store that it decorates and lets a test step
// into them.
type clients struct {
	store.ClientStore
	reads atomic.Int64
	// after is called with what was read, before it is returned.
	after func(ctx context.Context, c store.Client, err error) (store.Client, error)
	// before is called when a write begins.
	before func()
}

func (s *clients) CreateClient(ctx context.Context, c store.Client) error {
	s.begin()
	return s.ClientStore.CreateClient(ctx, c)
}

func (s *clients) UpdateClient(ctx context.Context, c store.Client) error {
	s.begin()
	return s.ClientStore.UpdateClient(ctx, c)
}

func (s *clients) DeleteClient(ctx context.Context, tenant, id string) error {
	s.begin()
	return s.ClientStore.DeleteClient(ctx, tenant, id)
}

func (s *clients) begin() {
	if s.before != nil {
		s.before()
	}
}

func (s *clients) Client(ctx context.Context, tenant, id string) (store.Client, error) {
	s.reads.Add(1)
	c, err := s.ClientStore.Client(ctx, tenant, id)
	if s.after != nil {
		return s.after(ctx, c, err)
	}
	return c, err
}

// newClients returns a cache and the store that it reads.
func newClients(cfg cachestore.Config) (cached store.ClientStore, under *clients) {
	under = &clients{ClientStore: memstore.New().Stores().Clients}
	return cachestore.New(store.Stores{Clients: under}, cfg).Clients, under
}

func create(t *testing.T, s store.ClientStore, id, name string) {
	t.Helper()
	if err := s.CreateClient(t.Context(), store.Client{TenantID: "t", ID: id, Name: name}); err != nil {
		t.Fatal(err)
	}
}

func rename(t *testing.T, s store.ClientStore, id, name string) {
	t.Helper()
	err := store.ErrConflict
	for version := int64(1); errors.Is(err, store.ErrConflict); version++ {
		err = s.UpdateClient(t.Context(), store.Client{TenantID: "t", ID: id, Name: name, Version: version})
	}
	if err != nil {
		t.Fatal(err)
	}
}

func wantName(t *testing.T, s store.ClientStore, id, want string) {
	t.Helper()
	c, err := s.Client(t.Context(), "t", id)
	if err != nil || c.Name != want {
		t.Errorf("client %.20s is %q, %v; want %q", id, c.Name, err, want)
	}
}

func wantAbsent(t *testing.T, s store.ClientStore, id string) {
	t.Helper()
	if c, err := s.Client(t.Context(), "t", id); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("client %.20s is %q, %v; want ErrNotFound", id, c.Name, err)
	}
}

func wantReads(t *testing.T, under *clients, want int64) {
	t.Helper()
	if got := under.reads.Load(); got != want {
		t.Errorf("the underlying store was read %d times, want %d", got, want)
	}
}

func TestARecordIsReturnedUntilTheBoundIsReached(t *testing.T) {
	var c clock
	cached, under := newClients(cachestore.Config{Now: c.Now})
	create(t, under, "a", "old")
	wantName(t, cached, "a", "old")
	rename(t, under, "a", "new") // another node

	c.advance(5*time.Second - 1)
	wantName(t, cached, "a", "old")
	wantReads(t, under, 1)
	c.advance(1)
	wantName(t, cached, "a", "new")
}

func TestAbsenceIsRememberedUntilTheBoundIsReached(t *testing.T) {
	var c clock
	cached, under := newClients(cachestore.Config{Now: c.Now, Staleness: time.Minute})
	wantAbsent(t, cached, "a")
	create(t, under, "a", "new") // another node

	c.advance(time.Minute - 1)
	wantAbsent(t, cached, "a")
	wantReads(t, under, 1)
	c.advance(1)
	wantName(t, cached, "a", "new")
	if err := under.DeleteClient(t.Context(), "t", "a"); err != nil {
		t.Fatal(err)
	}
	c.advance(time.Minute)
	reads := under.reads.Load()
	wantAbsent(t, cached, "a")
	wantAbsent(t, cached, "a")
	wantReads(t, under, reads+1)
}

func TestTheBoundCountsFromTheBeginningOfTheRead(t *testing.T) {
	var c clock
	cached, under := newClients(cachestore.Config{Now: c.Now})
	create(t, under, "a", "old")
	under.after = func(_ context.Context, client store.Client, err error) (store.Client, error) {
		c.advance(3 * time.Second) // the answer is on its way
		return client, err
	}
	wantName(t, cached, "a", "old")
	under.after = nil
	rename(t, under, "a", "new")
	c.advance(2*time.Second - 1)
	wantName(t, cached, "a", "old")
	c.advance(1)
	wantName(t, cached, "a", "new")
}

func TestAClockThatIsSetBackDoesNotKeepARecord(t *testing.T) {
	var c clock
	cached, under := newClients(cachestore.Config{Now: c.Now})
	create(t, under, "a", "old")
	wantName(t, cached, "a", "old")
	rename(t, under, "a", "new")
	c.advance(-time.Hour)
	wantName(t, cached, "a", "new")
}

func TestASystemErrorIsNotKept(t *testing.T) {
	cached, under := newClients(cachestore.Config{})
	create(t, under, "a", "name")
	broken := errors.New("connection refused")
	under.after = func(context.Context, store.Client, error) (store.Client, error) {
		return store.Client{Name: "not a result"}, broken
	}
	if c, err := cached.Client(t.Context(), "t", "a"); !errors.Is(err, broken) || c.Name != "" {
		t.Errorf("got %q, %v; want the error of the store and a zero record", c.Name, err)
	}
	under.after = nil
	wantName(t, cached, "a", "name")
	wantReads(t, under, 2)
}

func TestAContextThatIsDoneGetsNothing(t *testing.T) {
	cached, under := newClients(cachestore.Config{})
	create(t, under, "a", "name")
	wantName(t, cached, "a", "name")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := cached.Client(ctx, "t", "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("a cached record with a cancelled context: %v, want context.Canceled", err)
	}
}

func TestKeysAreNotConcatenated(t *testing.T) {
	cached, under := newClients(cachestore.Config{})
	for tenant, id := range map[string]string{"ab": "c", "a": "bc", "": "abc", "abc": ""} {
		if err := under.CreateClient(t.Context(), store.Client{TenantID: tenant, ID: id, Name: tenant + "|" + id}); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		for tenant, id := range map[string]string{"ab": "c", "a": "bc", "": "abc", "abc": ""} {
			c, err := cached.Client(t.Context(), tenant, id)
			if err != nil || c.Name != tenant+"|"+id {
				t.Errorf("tenant %q, client %q: got %q, %v", tenant, id, c.Name, err)
			}
		}
	}
}

// gate holds reads of the underlying store back until it is opened. They have
// read their record by then.
func gate(under *clients) (open func()) {
	held := make(chan struct{})
	under.after = func(ctx context.Context, c store.Client, err error) (store.Client, error) {
		select {
		case <-held:
			return c, err
		case <-ctx.Done():
			return store.Client{}, ctx.Err()
		}
	}
	return sync.OnceFunc(func() { close(held) })
}

func TestConcurrentReadsShareOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cached, under := newClients(cachestore.Config{})
		create(t, under, "a", "name")
		open := gate(under)
		for range 8 {
			go wantName(t, cached, "a", "name")
			go wantAbsent(t, cached, "b")
		}
		synctest.Wait()
		wantReads(t, under, 2)
		open()
		synctest.Wait()
		wantReads(t, under, 2)
	})
}

func TestACancelledReadDoesNotFailThoseWhoWaitForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cached, under := newClients(cachestore.Config{})
		create(t, under, "a", "name")
		open := gate(under)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			if _, err := cached.Client(ctx, "t", "a"); !errors.Is(err, context.Canceled) {
				t.Errorf("the cancelled call: %v, want context.Canceled", err)
			}
		}()
		synctest.Wait()
		for range 4 {
			go wantName(t, cached, "a", "name")
		}
		synctest.Wait()
		cancel()
		synctest.Wait()
		wantReads(t, under, 2) // another call took over, alone
		open()
		synctest.Wait()
		wantReads(t, under, 2)
	})
}

func TestACallThatWaitsCanBeCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cached, under := newClients(cachestore.Config{})
		create(t, under, "a", "name")
		open := gate(under)
		go wantName(t, cached, "a", "name")
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		ended := false
		go func() {
			if _, err := cached.Client(ctx, "t", "a"); !errors.Is(err, context.Canceled) {
				t.Errorf("the call that waited: %v, want context.Canceled", err)
			}
			ended = true
		}()
		synctest.Wait()
		cancel()
		synctest.Wait()
		if !ended {
			t.Error("a cancelled call still waits for another call's read")
		}
		open()
		synctest.Wait()
	})
}

func TestAPanicInAReadDoesNotHoldOthersUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cached, under := newClients(cachestore.Config{})
		create(t, under, "a", "name")
		held, first := make(chan struct{}), true
		under.after = func(_ context.Context, c store.Client, err error) (store.Client, error) {
			if first {
				first = false
				<-held
				panic("driver bug")
			}
			return c, err
		}
		go func() {
			defer func() { _ = recover() }()
			_, _ = cached.Client(t.Context(), "t", "a")
			t.Error("the panic was swallowed")
		}()
		synctest.Wait()
		go wantName(t, cached, "a", "name")
		synctest.Wait()
		close(held)
		synctest.Wait()
		wantName(t, cached, "a", "name")
	})
}

func TestAReadThatTakesTooLongIsNotJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cached, under := newClients(cachestore.Config{Staleness: 5 * time.Second})
		create(t, under, "a", "old")
		held, first := make(chan struct{}), true
		under.after = func(_ context.Context, c store.Client, err error) (store.Client, error) {
			if first {
				first = false
				<-held
			}
			return c, err
		}
		go wantName(t, cached, "a", "old")
		synctest.Wait()
		rename(t, under, "a", "new") // another node
		time.Sleep(5 * time.Second)  // of the bubble's clock
		wantName(t, cached, "a", "new")
		close(held)
		synctest.Wait()
		wantName(t, cached, "a", "new")
	})
}

// The order that makes a cache keep what is out of date: a read takes the old
// value, a write ends and discards what is kept, the read brings the old value.
func TestAReadThatBeganBeforeAWriteIsNotKept(t *testing.T) {
	writes := map[string]func(t *testing.T, cached store.ClientStore){
		"update": func(t *testing.T, cached store.ClientStore) { rename(t, cached, "a", "new") },
		"delete": func(t *testing.T, cached store.ClientStore) {
			if err := cached.DeleteClient(t.Context(), "t", "a"); err != nil {
				t.Error(err)
			}
		},
		"create": func(t *testing.T, cached store.ClientStore) { create(t, cached, "b", "new") },
	}
	for name, write := range writes {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cached, under := newClients(cachestore.Config{})
				create(t, under, "a", "old")
				open := gate(under)
				go wantName(t, cached, "a", "old")
				go wantAbsent(t, cached, "b")
				synctest.Wait() // both have read
				write(t, cached)
				switch name {
				case "update":
					go wantName(t, cached, "a", "new")
				case "delete":
					go wantAbsent(t, cached, "a")
				case "create":
					go wantName(t, cached, "b", "new")
				}
				synctest.Wait()
				wantReads(t, under, 3) // who comes after the write does not wait for the old reads
				open()
				synctest.Wait()
				switch name {
				case "update":
					wantName(t, cached, "a", "new")
				case "delete":
					wantAbsent(t, cached, "a")
				case "create":
					wantName(t, cached, "b", "new")
				}
			})
		})
	}
}

func TestWhatIsReadDuringAWriteIsNotKept(t *testing.T) {
	cached, under := newClients(cachestore.Config{})
	under.before = func() { wantAbsent(t, cached, "a") }
	create(t, cached, "a", "old")
	under.before = func() { wantName(t, cached, "a", "old") }
	rename(t, cached, "a", "new")
	wantName(t, cached, "a", "new")
	under.before = func() { wantName(t, cached, "a", "new") }
	if err := cached.DeleteClient(t.Context(), "t", "a"); err != nil {
		t.Error(err)
	}
	wantAbsent(t, cached, "a")
}

// A write that failed may have been applied: the answer can have been lost.
func TestAFailedWriteDiscardsToo(t *testing.T) {
	cached, under := newClients(cachestore.Config{})
	create(t, under, "a", "old")
	wantName(t, cached, "a", "old")
	rename(t, under, "a", "new") // another node
	err := cached.UpdateClient(t.Context(), store.Client{TenantID: "t", ID: "a", Name: "mine", Version: 1})
	if !errors.Is(err, store.ErrConflict) {
		t.Fatal(err)
	}
	wantName(t, cached, "a", "new")
}

func TestWhoReadsAfterAWriteSeesIt(t *testing.T) {
	cached, under := newClients(cachestore.Config{})
	create(t, under, "a", "")
	var written atomic.Int64
	written.Store(1)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for floor := int64(0); floor < 2000; {
				floor = written.Load()
				c, err := cached.Client(t.Context(), "t", "a")
				if err != nil || c.Version < floor {
					t.Errorf("version %d was written, then read: %d, %v", floor, c.Version, err)
					return
				}
			}
		})
	}
	for version := int64(1); version < 2000; version++ {
		if err := cached.UpdateClient(t.Context(), store.Client{TenantID: "t", ID: "a", Version: version}); err != nil {
			t.Error(err)
		}
		written.Store(version + 1)
	}
	wg.Wait()
}

func TestStrangersCannotDisplaceWhatExists(t *testing.T) {
	cached, under := newClients(cachestore.Config{MaxEntries: 1000})
	const existing = 100
	for i := range existing {
		create(t, under, fmt.Sprint("client", i), "name")
		wantName(t, cached, fmt.Sprint("client", i), "name")
	}
	for i := range 5000 {
		wantAbsent(t, cached, fmt.Sprint("stranger", i))
	}
	reads := under.reads.Load()
	for i := range existing {
		wantName(t, cached, fmt.Sprint("client", i), "name")
	}
	wantReads(t, under, reads)
}

func TestALongIdentifierIsNotRememberedAsAbsent(t *testing.T) {
	cached, under := newClients(cachestore.Config{})
	long := strings.Repeat("x", 1<<16)
	wantAbsent(t, cached, long)
	wantAbsent(t, cached, long)
	wantReads(t, under, 2)
}

func TestOnlyConfigurationIsCached(t *testing.T) {
	under := memstore.New().Stores()
	got := cachestore.New(under, cachestore.Config{})
	if got.Users != under.Users || got.Sessions != under.Sessions || got.Grants != under.Grants ||
		got.Tickets != under.Tickets || got.UserAdmin != under.UserAdmin {
		t.Error("a store whose records decide security was replaced")
	}
	if got.Tenants == under.Tenants || got.Connections == under.Connections || got.Clients == under.Clients ||
		got.APIs == under.APIs || got.ClientGrants == under.ClientGrants || got.SigningKeys == under.SigningKeys {
		t.Error("a store of configuration was not replaced")
	}
}

func TestWhatIsMissingStaysMissing(t *testing.T) {
	if got := cachestore.New(store.Stores{}, cachestore.Config{}); got != (store.Stores{}) {
		t.Errorf("got %+v: store.Stores.Validate would no longer name what is missing", got)
	}
}
