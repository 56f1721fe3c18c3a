package storetest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/opkit/opkit/store"
)

// These tickets break the rules about time, copies, cancellation, collection and
// handles, which are the same for all records.

type wallClock struct{ store.TicketStore }

func (s wallClock) Ticket(ctx context.Context, tenant, kind string, id store.Digest, _ time.Time) (store.Ticket, error) {
	return s.TicketStore.Ticket(ctx, tenant, kind, id, time.Now())
}

type neverExpires struct{ store.TicketStore }

func (s neverExpires) ConsumeTicket(ctx context.Context, tenant, kind string, id store.Digest, _ time.Time) (store.Ticket, error) {
	return s.TicketStore.ConsumeTicket(ctx, tenant, kind, id, time.Time{})
}

type expiresLate struct{ store.TicketStore }

func (s expiresLate) Ticket(ctx context.Context, tenant, kind string, id store.Digest, now time.Time) (store.Ticket, error) {
	return s.TicketStore.Ticket(ctx, tenant, kind, id, now.Add(-time.Microsecond))
}

// aliasIn shows what the caller does to the bytes that it passed.
type aliasIn struct {
	store.TicketStore
	passed []byte
}

func (s *aliasIn) PutTicket(ctx context.Context, t store.Ticket, now time.Time) error {
	s.passed = t.Data
	return s.TicketStore.PutTicket(ctx, t, now)
}

func (s *aliasIn) Ticket(ctx context.Context, tenant, kind string, id store.Digest, now time.Time) (store.Ticket, error) {
	t, err := s.TicketStore.Ticket(ctx, tenant, kind, id, now)
	t.Data = slices.Clone(s.passed)
	return t, err
}

// aliasOut returns the same bytes every time.
type aliasOut struct {
	store.TicketStore
	own []byte
}

func (s *aliasOut) PutTicket(ctx context.Context, t store.Ticket, now time.Time) error {
	s.own = slices.Clone(t.Data)
	return s.TicketStore.PutTicket(ctx, t, now)
}

func (s *aliasOut) Ticket(ctx context.Context, tenant, kind string, id store.Digest, now time.Time) (store.Ticket, error) {
	t, err := s.TicketStore.Ticket(ctx, tenant, kind, id, now)
	t.Data = s.own
	return t, err
}

func (s *aliasOut) ConsumeTicket(ctx context.Context, tenant, kind string, id store.Digest, now time.Time) (store.Ticket, error) {
	t, err := s.TicketStore.ConsumeTicket(ctx, tenant, kind, id, now)
	t.Data = s.own
	return t, err
}

type timesAs struct {
	store.TicketStore
	as func(time.Time) time.Time
}

func (s timesAs) Ticket(ctx context.Context, tenant, kind string, id store.Digest, now time.Time) (store.Ticket, error) {
	t, err := s.TicketStore.Ticket(ctx, tenant, kind, id, now)
	for _, p := range timesOf(&t) {
		*p = s.as(*p)
	}
	return t, err
}

type deaf struct{ store.TicketStore }

func (s deaf) ConsumeTicket(ctx context.Context, tenant, kind string, id store.Digest, now time.Time) (store.Ticket, error) {
	return s.TicketStore.ConsumeTicket(context.WithoutCancel(ctx), tenant, kind, id, now)
}

type tooLate struct{ store.TicketStore }

func (s tooLate) DeleteTicket(ctx context.Context, tenant, kind string, id store.Digest) error {
	if err := s.TicketStore.DeleteTicket(context.WithoutCancel(ctx), tenant, kind, id); err != nil {
		return err
	}
	return ctx.Err()
}

type strictDelete struct{ store.TicketStore }

func (s strictDelete) DeleteTicket(ctx context.Context, tenant, kind string, id store.Digest) error {
	if _, err := s.Ticket(ctx, tenant, kind, id, base); err != nil {
		return err
	}
	return s.TicketStore.DeleteTicket(ctx, tenant, kind, id)
}

type keepTombstone struct{ store.TicketStore }

func (s keepTombstone) DeleteTicket(ctx context.Context, tenant, kind string, id store.Digest) error {
	if _, err := s.Ticket(ctx, tenant, kind, id, base); err != nil {
		return nil
	}
	return s.TicketStore.DeleteTicket(ctx, tenant, kind, id)
}

type greedy struct{ store.TicketStore }

func (s greedy) CollectTickets(ctx context.Context, now time.Time, limit int) (int, error) {
	return s.TicketStore.CollectTickets(ctx, now.Add(time.Minute), limit)
}

type unbounded struct{ store.TicketStore }

func (s unbounded) CollectTickets(ctx context.Context, now time.Time, limit int) (int, error) {
	return s.TicketStore.CollectTickets(ctx, now, 1000*limit)
}

type hoarder struct{ store.TicketStore }

func (hoarder) CollectTickets(ctx context.Context, _ time.Time, _ int) (int, error) {
	return 0, ctx.Err()
}

// countTwice counts what it selected, not what it removed.
type countTwice struct{ store.TicketStore }

func (s *countTwice) CollectTickets(ctx context.Context, now time.Time, limit int) (int, error) {
	n, err := s.TicketStore.CollectTickets(ctx, now, limit)
	if n != 0 {
		n = limit
	}
	return n, err
}

type truncating struct{ store.TicketStore }

func (s truncating) PutTicket(ctx context.Context, t store.Ticket, now time.Time) error {
	t.Data = t.Data[:min(len(t.Data), 1<<12)]
	return s.TicketStore.PutTicket(ctx, t, now)
}

type ownErrors struct{ store.TicketStore }

func (s ownErrors) Ticket(ctx context.Context, tenant, kind string, id store.Digest, now time.Time) (store.Ticket, error) {
	t, err := s.TicketStore.Ticket(ctx, tenant, kind, id, now)
	if err != nil {
		err = errors.New(err.Error())
	}
	return t, err
}

// caching reads a ticket once.
type caching struct {
	store.TicketStore
	seen sync.Map
}

func (s *caching) Ticket(ctx context.Context, tenant, kind string, id store.Digest, now time.Time) (store.Ticket, error) {
	type answer struct {
		t   store.Ticket
		err error
	}
	if a, ok := s.seen.Load(id); ok {
		return a.(answer).t.Clone(), a.(answer).err
	}
	t, err := s.TicketStore.Ticket(ctx, tenant, kind, id, now)
	s.seen.Store(id, answer{t.Clone(), err})
	return t, err
}
