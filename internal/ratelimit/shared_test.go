package ratelimit

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
)

// counted counts the calls of a ticket store and fails them.
type counted struct {
	store.TicketStore
	reads, writes atomic.Int64
	err           error
}

func (s *counted) Ticket(ctx context.Context, tenant, kind string, id store.Digest, now time.Time) (store.Ticket, error) {
	if s.reads.Add(1); s.err != nil {
		return store.Ticket{}, s.err
	}
	return s.TicketStore.Ticket(ctx, tenant, kind, id, now)
}

func (s *counted) PutTicket(ctx context.Context, t store.Ticket, now time.Time) error {
	s.writes.Add(1)
	return s.TicketStore.PutTicket(ctx, t, now)
}

func (s *counted) UpdateTicket(ctx context.Context, t store.Ticket, now time.Time) error {
	s.writes.Add(1)
	return s.TicketStore.UpdateTicket(ctx, t, now)
}

func nodes(n int, r Rate) (*counted, []*Shared) {
	tickets := &counted{TicketStore: memstore.New()}
	var all []*Shared
	for range n {
		all = append(all, NewShared(tickets, "test", r))
	}
	return tickets, all
}

func admit(t *testing.T, s *Shared, k Key, now time.Time) time.Duration {
	t.Helper()
	wait, err := s.Admit(context.Background(), k, now)
	if err != nil {
		t.Fatal(err)
	}
	return wait
}

func TestSharedCountsOnAllNodes(t *testing.T) {
	_, all := nodes(3, Rate{PerSecond: 0.5, Burst: 3})
	k := from("198.51.100.7")
	for _, s := range all {
		if wait := admit(t, s, k, start); wait > 0 {
			t.Errorf("one of the burst has to wait %v", wait)
		}
	}
	for _, s := range all {
		for range 3 { // refused attempts do not add up
			if wait := admit(t, s, k, start); wait != 2*time.Second {
				t.Errorf("after the burst: %v", wait)
			}
		}
	}
	if wait := admit(t, all[0], from("198.51.100.8"), start); wait > 0 {
		t.Errorf("somebody else has to wait %v", wait)
	}
	if wait := admit(t, all[0], Key{Tenant: "b", Network: k.Network}, start); wait > 0 {
		t.Errorf("another tenant has to wait %v", wait)
	}
	if wait := admit(t, all[0], k, start.Add(1500*time.Millisecond)); wait != 500*time.Millisecond {
		t.Errorf("half a second early: %v", wait)
	}
	if wait := admit(t, all[0], k, start.Add(2*time.Second)); wait > 0 {
		t.Errorf("when it is time: %v", wait)
	}
	if wait := admit(t, all[1], k, start.Add(2*time.Second)); wait != 2*time.Second {
		t.Errorf("on another node, what the first one admitted: %v", wait)
	}
}

// The rate holds however many nodes a source finds, and little is lost to leases.
func TestSharedKeepsTheRate(t *testing.T) {
	r := Rate{PerSecond: 20, Burst: 200}
	tickets, all := nodes(4, r)
	k := from("198.51.100.7")
	const seconds = 60
	admitted := 0
	for i := range seconds * 1000 {
		if admit(t, all[i%len(all)], k, start.Add(time.Duration(i)*time.Millisecond)) == 0 {
			admitted++
		}
	}
	most := r.Burst + int(r.PerSecond*seconds)
	if admitted > most || admitted < most*3/4 {
		t.Errorf("%d of %d attempts in a minute were admitted, want about %d", admitted, seconds*1000, most)
	}
	perSecond := float64(tickets.reads.Load()+tickets.writes.Load()) / seconds / float64(len(all))
	if perSecond > 4 {
		t.Errorf("%.1f store calls a second on each node", perSecond)
	}
	t.Logf("%d admitted, %.1f store calls a second on each node", admitted, perSecond)
}

func TestSharedWritesOnceForOneAttempt(t *testing.T) {
	tickets, all := nodes(1, Rate{PerSecond: 20, Burst: 200})
	admit(t, all[0], from("198.51.100.7"), start)
	if tickets.reads.Load() != 1 || tickets.writes.Load() != 1 {
		t.Errorf("%d reads, %d writes", tickets.reads.Load(), tickets.writes.Load())
	}
	// What was taken for a source that does not come back is gone before long, and so
	// is the ticket.
	n, err := tickets.CollectTickets(context.Background(), start.Add(time.Second), 10)
	if n != 1 || err != nil {
		t.Errorf("%d tickets collected, %v", n, err)
	}
}

func TestSharedUnderContention(t *testing.T) {
	r := Rate{PerSecond: 0.001, Burst: 40}
	_, all := nodes(4, r)
	var admitted atomic.Int64
	var running sync.WaitGroup
	for i := range 16 {
		running.Go(func() {
			for range 100 {
				if wait, err := all[i%len(all)].Admit(context.Background(), from("198.51.100.7"), start); err != nil {
					t.Error(err)
				} else if wait == 0 {
					admitted.Add(1)
				}
			}
		})
	}
	running.Wait()
	if n := admitted.Load(); n > int64(r.Burst) || n < int64(r.Burst)/2 {
		t.Errorf("%d were admitted, the burst is %d", n, r.Burst)
	}
}

func TestSharedReportsFailures(t *testing.T) {
	tickets, all := nodes(1, Rate{PerSecond: 1, Burst: 1})
	tickets.err = errors.New("connection refused")
	if wait, err := all[0].Admit(context.Background(), from("198.51.100.7"), start); !errors.Is(err, tickets.err) || wait != 0 {
		t.Errorf("%v, %v", wait, err)
	}
	tickets.err = nil
	if wait := admit(t, all[0], from("198.51.100.7"), start); wait != 0 {
		t.Errorf("a failure was counted: %v", wait)
	}
}

// A ticket that something else wrote opens nothing and breaks nothing.
func TestSharedReadsWhatItWrote(t *testing.T) {
	for _, data := range [][]byte{nil, {}, {1}, make([]byte, 7), make([]byte, 9)} {
		if at := fullAt(store.Ticket{Data: data}); !at.IsZero() {
			t.Errorf("%x is %v", data, at)
		}
	}
}
