package cachestore_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/cachestore"
	"github.com/opkit/opkit/store/memstore"
)

func TestStatsCountWhatHappened(t *testing.T) {
	clock, counters := &clock{}, new(cachestore.Counters)
	s, under := newClients(cachestore.Config{Staleness: time.Second, Now: clock.Now, Counters: counters})
	want := cachestore.Counts{}
	check := func(when string) {
		t.Helper()
		if diff := cmp.Diff(cachestore.Stats{Clients: want}, counters.Stats()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
		if got := under.reads.Load(); uint64(got) != want.Loads {
			t.Errorf("%s: %d loads, and the store was read %d times", when, want.Loads, got)
		}
	}
	check("at first")
	if rate := (cachestore.Counts{}).HitRate(); rate != 0 {
		t.Errorf("the hit rate of nothing is %v", rate)
	}
	create(t, s, "a", "A")
	check("after a write")
	for range 3 {
		wantName(t, s, "a", "A")
	}
	want = cachestore.Counts{Hits: 2, Loads: 1, Entries: 1}
	check("after three reads")
	for range 3 {
		wantAbsent(t, s, "b")
	}
	want = cachestore.Counts{Hits: 4, Absent: 2, Loads: 2, Entries: 2}
	check("after three reads of what is absent")
	rename(t, s, "a", "B")
	want.Entries = 1
	check("after a write")
	wantName(t, s, "a", "B")
	want.Loads, want.Entries = 3, 2
	check("after a read that follows a write")
	clock.advance(time.Second)
	wantName(t, s, "a", "B")
	want.Loads = 4
	check("after a read that follows the bound")
	if _, err := s.Clients(t.Context(), "t", store.Page{}); err != nil {
		t.Fatal(err)
	}
	check("after a list, which is not cached")
	if got := counters.Stats().Clients; got.Reads() != 8 || got.HitRate() != 0.5 {
		t.Errorf("%d reads, hit rate %v", got.Reads(), got.HitRate())
	}
}

func TestStatsCountReadsThatShareALoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		counters := new(cachestore.Counters)
		s, under := newClients(cachestore.Config{Counters: counters})
		create(t, s, "a", "A")
		gate := make(chan struct{})
		under.after = func(_ context.Context, c store.Client, err error) (store.Client, error) {
			<-gate
			return c, err
		}
		var readers sync.WaitGroup
		for range 5 {
			readers.Go(func() { wantName(t, s, "a", "A") })
		}
		synctest.Wait()
		close(gate)
		readers.Wait()
		if got := counters.Stats().Clients; got != (cachestore.Counts{Loads: 1, Shared: 4, Entries: 1}) || got.HitRate() != 0.8 {
			t.Errorf("%+v, hit rate %v", got, got.HitRate())
		}
	})
}

func TestStatsCountEvictionsAndErrors(t *testing.T) {
	counters := new(cachestore.Counters)
	s, under := newClients(cachestore.Config{MaxEntries: 2, Counters: counters})
	for _, id := range []string{"a", "b", "c"} {
		create(t, s, id, id)
		wantName(t, s, id, id)
		wantAbsent(t, s, "no "+id)
	}
	if got := counters.Stats().Clients; got != (cachestore.Counts{Loads: 6, Evicted: 2, Entries: 4}) {
		t.Errorf("%+v", got)
	}
	broken := errors.New("broken")
	under.after = func(context.Context, store.Client, error) (store.Client, error) { return store.Client{}, broken }
	if _, err := s.Client(t.Context(), "t", "d"); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	if got := counters.Stats().Clients; got != (cachestore.Counts{Loads: 7, Evicted: 2, Entries: 4}) {
		t.Errorf("after a system error: %+v", got)
	}
}

// Every kind is counted as itself, both ways to find an API included.
func TestStatsTellKindsApart(t *testing.T) {
	counters := new(cachestore.Counters)
	s := cachestore.New(memstore.New().Stores(), cachestore.Config{Counters: counters})
	ctx := t.Context()
	reads := map[string]func(){
		"Tenants": func() { _, _ = s.Tenants.Tenant(ctx, "t") },
		"Connections": func() {
			_, _ = s.Connections.Connection(ctx, "t", "c")
			_, _ = s.Connections.Connections(ctx, "t", store.Page{})
		},
		"Clients":      func() { _, _ = s.Clients.Client(ctx, "t", "c") },
		"APIs":         func() { _, _ = s.APIs.API(ctx, "t", "a"); _, _ = s.APIs.APIByAudience(ctx, "t", "a") },
		"ClientGrants": func() { _, _ = s.ClientGrants.FindClientGrant(ctx, "t", "c", "a", store.SubjectUser) },
		"SigningKeys":  func() { _, _ = s.SigningKeys.SigningKeys(ctx, "t") },
	}
	for what, read := range reads {
		before := counters.Stats()
		read()
		after := counters.Stats()
		for kind, loads := range map[string]uint64{
			"Tenants": after.Tenants.Loads - before.Tenants.Loads, "Connections": after.Connections.Loads - before.Connections.Loads,
			"Clients": after.Clients.Loads - before.Clients.Loads, "APIs": after.APIs.Loads - before.APIs.Loads,
			"ClientGrants": after.ClientGrants.Loads - before.ClientGrants.Loads, "SigningKeys": after.SigningKeys.Loads - before.SigningKeys.Loads,
		} {
			if (loads > 0) != (kind == what) {
				t.Errorf("reading %s: %d loads of %s", what, loads, kind)
			}
		}
	}
	// Not counted without counters, and not needed.
	if _, err := cachestore.New(memstore.New().Stores(), cachestore.Config{}).Clients.Client(ctx, "t", "c"); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
}
