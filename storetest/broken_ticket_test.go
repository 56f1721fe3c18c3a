package storetest

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
)

func TestCatchesBrokenTicketStores(t *testing.T) {
	catches(t, ticketChecks(), func(s *memstore.Store) store.TicketStore { return s }, []fault[store.TicketStore]{
		{
			name: "reads, then marks as consumed", check: "consume-race",
			broken: func(s *memstore.Store) store.TicketStore { return &markLate{TicketStore: s} },
		},
		{
			name: "reads, then marks as consumed, in two processes", check: "consume-race-second-handle",
			broken: func(s *memstore.Store) store.TicketStore { return &lockedHere{TicketStore: &markLate{TicketStore: s}} },
			opts: &Options[store.TicketStore]{Second: func(_ *testing.T, s store.TicketStore) store.TicketStore {
				return &lockedHere{TicketStore: s.(*lockedHere).TicketStore}
			}},
		},
		{
			name: "loser gets no record", check: "consume",
			broken: func(s *memstore.Store) store.TicketStore { return noRecord{s} },
		},
		{
			name: "loser of a race gets the record as it was", check: "consume-race",
			broken: func(s *memstore.Store) store.TicketStore { return staleRecord{s} },
		},
		{
			name: "consuming deletes", check: "tombstone",
			broken: func(s *memstore.Store) store.TicketStore { return noTombstone{s} },
		},
		{
			name: "collections take tombstones", check: "tombstone",
			broken: func(s *memstore.Store) store.TicketStore { return &collectConsumed{TicketStore: s} },
		},
		{
			name: "an update makes a consumed ticket usable", check: "consume-update-race",
			broken: func(s *memstore.Store) store.TicketStore { return overwriting{s} },
		},
		{
			name: "put overwrites", check: "exists",
			broken: func(s *memstore.Store) store.TicketStore { return upsert{s} },
		},
		{
			name: "put looks, then stores", check: "create-race",
			broken: func(s *memstore.Store) store.TicketStore { return lookThenPut{s} },
		},
		{
			name: "put does not replace an expired one", check: "tombstone",
			broken: func(s *memstore.Store) store.TicketStore { return putNow{s} },
		},
		{
			name: "put removes an expired one, then stores", check: "put-expired-race",
			broken: func(s *memstore.Store) store.TicketStore { return removeThenPut{s} },
		},
		{
			name: "ignores the version", check: "version",
			broken: func(s *memstore.Store) store.TicketStore { return anyVersion{s} },
		},
		{
			name: "compares the version, then swaps", check: "update-race",
			broken: func(s *memstore.Store) store.TicketStore { return compareThenSwap{s} },
		},
		{
			name: "ignores the kind", check: "kinds",
			broken: func(s *memstore.Store) store.TicketStore { return oneKind{s} },
		},
		{
			name: "reads the wall clock", check: "clock",
			broken: func(s *memstore.Store) store.TicketStore { return wallClock{s} },
		},
		{
			name: "reads the wall clock and finds what expired", check: "expired",
			broken: func(s *memstore.Store) store.TicketStore { return wallClock{s} },
		},
		{
			name: "finds what expired until it is collected", check: "expired",
			broken: func(s *memstore.Store) store.TicketStore { return neverExpires{s} },
		},
		{
			name: "expires a moment late", check: "expired-edge",
			broken: func(s *memstore.Store) store.TicketStore { return expiresLate{s} },
		},
		{
			name: "keeps the caller's bytes", check: "copies-in",
			broken: func(s *memstore.Store) store.TicketStore { return &aliasIn{TicketStore: s} },
		},
		{
			name: "returns its own bytes", check: "copies-out",
			broken: func(s *memstore.Store) store.TicketStore { return &aliasOut{TicketStore: s} },
		},
		{
			name: "returns its own bytes when consumed", check: "consume-copies",
			broken: func(s *memstore.Store) store.TicketStore { return &aliasOut{TicketStore: s} },
		},
		{
			name: "keeps times to the second", check: "times",
			broken: func(s *memstore.Store) store.TicketStore {
				return timesAs{s, func(t time.Time) time.Time { return t.Truncate(time.Second) }}
			},
		},
		{
			name: "returns local times", check: "times",
			broken: func(s *memstore.Store) store.TicketStore {
				return timesAs{s, func(t time.Time) time.Time { return t.In(time.FixedZone("here", 3600)) }}
			},
		},
		{
			name: "makes the zero time 1970", check: "times",
			broken: func(s *memstore.Store) store.TicketStore {
				return timesAs{s, func(t time.Time) time.Time {
					if t.IsZero() {
						return time.Unix(0, 0).UTC()
					}
					return t
				}}
			},
		},
		{
			name: "ignores cancellation", check: "cancelled",
			broken: func(s *memstore.Store) store.TicketStore { return deaf{s} },
		},
		{
			name: "does it, then reports the cancellation", check: "cancelled",
			broken: func(s *memstore.Store) store.TicketStore { return tooLate{s} },
		},
		{
			name: "deleting what is absent is an error", check: "delete-absent",
			broken: func(s *memstore.Store) store.TicketStore { return strictDelete{s} },
		},
		{
			name: "delete leaves the tombstone", check: "delete-tombstone",
			broken: func(s *memstore.Store) store.TicketStore { return keepTombstone{s} },
		},
		{
			name: "collects live records", check: "collect",
			broken: func(s *memstore.Store) store.TicketStore { return greedy{s} },
		},
		{
			name: "collects without a limit", check: "collect",
			broken: func(s *memstore.Store) store.TicketStore { return unbounded{s} },
		},
		{
			name: "collects nothing", check: "collect",
			broken: func(s *memstore.Store) store.TicketStore { return hoarder{s} },
		},
		{
			name: "counts the same record for several collectors", check: "collect-race",
			broken: func(s *memstore.Store) store.TicketStore { return &countTwice{TicketStore: s} },
		},
		{
			name: "truncates large data", check: "large-values",
			broken: func(s *memstore.Store) store.TicketStore { return truncating{s} },
		},
		{
			name: "answers with an error of its own", check: "not-found",
			broken: func(s *memstore.Store) store.TicketStore { return ownErrors{s} },
		},
		{
			name: "each handle has a cache", check: "second-handle",
			broken: func(s *memstore.Store) store.TicketStore { return &caching{TicketStore: s} },
			opts: &Options[store.TicketStore]{Second: func(_ *testing.T, s store.TicketStore) store.TicketStore {
				return &caching{TicketStore: s.(*caching).TicketStore}
			}},
		},
		{
			name: "forgets everything", check: "reopen",
			broken: func(s *memstore.Store) store.TicketStore { return s },
			opts: &Options[store.TicketStore]{Reopen: func(*testing.T, store.TicketStore) store.TicketStore {
				return memstore.New()
			}},
		},
		{
			name: "forgets that a ticket was consumed", check: "tombstone-reopen",
			broken: func(s *memstore.Store) store.TicketStore { return s },
			opts: &Options[store.TicketStore]{Reopen: func(t *testing.T, s store.TicketStore) store.TicketStore {
				_ = s.DeleteTicket(t.Context(), "t", "kind", store.DigestOf("a"))
				_ = s.PutTicket(t.Context(), tickets.record("t", "a"), base)
				return s
			}},
		},
	})
}

// markLate lets every caller through that reads the ticket before the first one
// has marked it.
type markLate struct{ store.TicketStore }

func (s *markLate) ConsumeTicket(ctx context.Context, tenant, kind string, id store.Digest, now time.Time) (store.Ticket, error) {
	if t, err := s.Ticket(ctx, tenant, kind, id, now); err != nil {
		return t, err
	}
	runtime.Gosched()
	t, err := s.TicketStore.ConsumeTicket(ctx, tenant, kind, id, now)
	if errors.Is(err, store.ErrConsumed) {
		err = nil
	}
	return t, err
}

// lockedHere makes a store safe within one process only.
type lockedHere struct {
	store.TicketStore
	mu sync.Mutex
}

func (s *lockedHere) ConsumeTicket(ctx context.Context, tenant, kind string, id store.Digest, now time.Time) (store.Ticket, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.TicketStore.ConsumeTicket(ctx, tenant, kind, id, now)
}

type noRecord struct{ store.TicketStore }

func (s noRecord) ConsumeTicket(ctx context.Context, tenant, kind string, id store.Digest, now time.Time) (store.Ticket, error) {
	t, err := s.TicketStore.ConsumeTicket(ctx, tenant, kind, id, now)
	if err != nil {
		return store.Ticket{}, err
	}
	return t, nil
}

type staleRecord struct{ store.TicketStore }

func (s staleRecord) ConsumeTicket(ctx context.Context, tenant, kind string, id store.Digest, now time.Time) (store.Ticket, error) {
	before, _ := s.Ticket(ctx, tenant, kind, id, now)
	runtime.Gosched()
	t, err := s.TicketStore.ConsumeTicket(ctx, tenant, kind, id, now)
	if err != nil {
		return before, err
	}
	return t, nil
}

type noTombstone struct{ store.TicketStore }

func (s noTombstone) ConsumeTicket(ctx context.Context, tenant, kind string, id store.Digest, now time.Time) (store.Ticket, error) {
	t, err := s.TicketStore.ConsumeTicket(ctx, tenant, kind, id, now)
	if err == nil {
		err = s.DeleteTicket(ctx, tenant, kind, id)
	}
	return t, err
}

type collectConsumed struct {
	store.TicketStore
	consumed []store.Ticket
}

func (s *collectConsumed) ConsumeTicket(ctx context.Context, tenant, kind string, id store.Digest, now time.Time) (store.Ticket, error) {
	t, err := s.TicketStore.ConsumeTicket(ctx, tenant, kind, id, now)
	if err == nil {
		s.consumed = append(s.consumed, t)
	}
	return t, err
}

func (s *collectConsumed) CollectTickets(ctx context.Context, now time.Time, limit int) (int, error) {
	for _, t := range s.consumed {
		_ = s.DeleteTicket(ctx, t.TenantID, t.Kind, t.ID)
	}
	s.consumed = nil
	return s.TicketStore.CollectTickets(ctx, now, limit)
}

// overwriting updates by writing the whole record that it read before.
type overwriting struct{ store.TicketStore }

func (s overwriting) UpdateTicket(ctx context.Context, t store.Ticket, now time.Time) error {
	old, err := s.Ticket(ctx, t.TenantID, t.Kind, t.ID, now)
	if err != nil {
		return err
	}
	if old.Version != t.Version {
		return store.ErrConflict
	}
	runtime.Gosched()
	_ = s.DeleteTicket(ctx, t.TenantID, t.Kind, t.ID)
	return s.PutTicket(ctx, t, now)
}

type upsert struct{ store.TicketStore }

func (s upsert) PutTicket(ctx context.Context, t store.Ticket, now time.Time) error {
	_ = s.DeleteTicket(ctx, t.TenantID, t.Kind, t.ID)
	return s.TicketStore.PutTicket(ctx, t, now)
}

type lookThenPut struct{ store.TicketStore }

func (s lookThenPut) PutTicket(ctx context.Context, t store.Ticket, now time.Time) error {
	if _, err := s.Ticket(ctx, t.TenantID, t.Kind, t.ID, now); !errors.Is(err, store.ErrNotFound) {
		return store.ErrExists
	}
	runtime.Gosched()
	return upsert(s).PutTicket(ctx, t, now)
}

// putNow takes what has expired for still there.
type putNow struct{ store.TicketStore }

func (s putNow) PutTicket(ctx context.Context, t store.Ticket, _ time.Time) error {
	return s.TicketStore.PutTicket(ctx, t, time.Time{})
}

type removeThenPut struct{ store.TicketStore }

func (s removeThenPut) PutTicket(ctx context.Context, t store.Ticket, now time.Time) error {
	if _, err := s.Ticket(ctx, t.TenantID, t.Kind, t.ID, now); errors.Is(err, store.ErrNotFound) {
		runtime.Gosched()
		_ = s.DeleteTicket(ctx, t.TenantID, t.Kind, t.ID)
	}
	return s.TicketStore.PutTicket(ctx, t, now)
}

type anyVersion struct{ store.TicketStore }

func (s anyVersion) UpdateTicket(ctx context.Context, t store.Ticket, now time.Time) error {
	old, err := s.Ticket(ctx, t.TenantID, t.Kind, t.ID, now)
	if err != nil {
		return err
	}
	t.Version = old.Version
	return s.TicketStore.UpdateTicket(ctx, t, now)
}

type compareThenSwap struct{ store.TicketStore }

func (s compareThenSwap) UpdateTicket(ctx context.Context, t store.Ticket, now time.Time) error {
	old, err := s.Ticket(ctx, t.TenantID, t.Kind, t.ID, now)
	if err != nil {
		return err
	}
	if old.Version != t.Version {
		return store.ErrConflict
	}
	runtime.Gosched()
	for {
		err := anyVersion(s).UpdateTicket(ctx, t, now)
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
}

// oneKind keeps replay markers, device codes and all else in one place.
type oneKind struct{ store.TicketStore }

func (s oneKind) PutTicket(ctx context.Context, t store.Ticket, now time.Time) error {
	t.Kind = ""
	return s.TicketStore.PutTicket(ctx, t, now)
}

func (s oneKind) Ticket(ctx context.Context, tenant, kind string, id store.Digest, now time.Time) (store.Ticket, error) {
	t, err := s.TicketStore.Ticket(ctx, tenant, "", id, now)
	t.Kind = kind
	return t, err
}

func (s oneKind) ConsumeTicket(ctx context.Context, tenant, kind string, id store.Digest, now time.Time) (store.Ticket, error) {
	t, err := s.TicketStore.ConsumeTicket(ctx, tenant, "", id, now)
	t.Kind = kind
	return t, err
}

func (s oneKind) UpdateTicket(ctx context.Context, t store.Ticket, now time.Time) error {
	t.Kind = ""
	return s.TicketStore.UpdateTicket(ctx, t, now)
}

func (s oneKind) DeleteTicket(ctx context.Context, tenant, _ string, id store.Digest) error {
	return s.TicketStore.DeleteTicket(ctx, tenant, "", id)
}
