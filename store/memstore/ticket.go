package memstore

import (
	"bytes"
	"context"
	"strings"
	"time"

	"github.com/opkit/opkit/store"
)

type ticketKey struct {
	tenant, kind string
	id           store.Digest
}

var ticketSchema = schema[ticketKey, store.Ticket]{
	key:     func(t *store.Ticket) ticketKey { return ticketKey{t.TenantID, t.Kind, t.ID} },
	expires: func(t *store.Ticket) time.Time { return t.ExpiresAt },
	orders: []order[store.Ticket]{byExpiry(
		func(t *store.Ticket) time.Time { return t.ExpiresAt },
		compareTickets)},
}

func compareTickets(a, b *store.Ticket) int {
	if c := bytes.Compare(a.ID[:], b.ID[:]); c != 0 {
		return c
	}
	if c := strings.Compare(a.Kind, b.Kind); c != 0 {
		return c
	}
	return strings.Compare(a.TenantID, b.TenantID)
}

func storedTicket(t store.Ticket) *store.Ticket {
	t = t.Clone()
	t.CreatedAt = utc(t.CreatedAt)
	t.ConsumedAt = utc(t.ConsumedAt)
	t.ExpiresAt = utc(t.ExpiresAt)
	return &t
}

// PutTicket implements [store.TicketStore]. It ignores ConsumedAt: only
// ConsumeTicket consumes.
func (s *Store) PutTicket(ctx context.Context, t store.Ticket, now time.Time) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	record := storedTicket(t)
	record.Version = 1
	record.ConsumedAt = time.Time{}
	return s.tickets.change(s.tickets.key(record), func(old *store.Ticket) (*store.Ticket, error) {
		if s.tickets.live(old, now) {
			return nil, store.ErrExists
		}
		return record, nil
	})
}

// Ticket implements [store.TicketStore].
func (s *Store) Ticket(ctx context.Context, tenant, kind string, id store.Digest, now time.Time) (store.Ticket, error) {
	if err := ctx.Err(); err != nil {
		return store.Ticket{}, err
	}
	t := s.tickets.get(ticketKey{tenant, kind, id})
	switch {
	case !s.tickets.live(t, now):
		return store.Ticket{}, store.ErrNotFound
	case !t.ConsumedAt.IsZero():
		return t.Clone(), store.ErrConsumed
	}
	return t.Clone(), nil
}

// ConsumeTicket implements [store.TicketStore].
func (s *Store) ConsumeTicket(ctx context.Context, tenant, kind string, id store.Digest, now time.Time) (store.Ticket, error) {
	if err := ctx.Err(); err != nil {
		return store.Ticket{}, err
	}
	var seen *store.Ticket
	err := s.tickets.change(ticketKey{tenant, kind, id}, func(old *store.Ticket) (*store.Ticket, error) {
		if !s.tickets.live(old, now) {
			return nil, store.ErrNotFound
		}
		seen = old
		if !old.ConsumedAt.IsZero() {
			return nil, store.ErrConsumed
		}
		next := *old
		next.ConsumedAt = utc(now)
		seen = &next
		return seen, nil
	})
	if seen == nil {
		return store.Ticket{}, err
	}
	return seen.Clone(), err
}

// UpdateTicket implements [store.TicketStore].
func (s *Store) UpdateTicket(ctx context.Context, t store.Ticket, now time.Time) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	record := storedTicket(t)
	return s.tickets.change(s.tickets.key(record), func(old *store.Ticket) (*store.Ticket, error) {
		switch {
		case !s.tickets.live(old, now):
			return nil, store.ErrNotFound
		case !old.ConsumedAt.IsZero():
			return nil, store.ErrConsumed
		case old.Version != record.Version:
			return nil, store.ErrConflict
		}
		next := *old
		next.Data = record.Data
		next.ExpiresAt = record.ExpiresAt
		next.Version++
		return &next, nil
	})
}

// DeleteTicket implements [store.TicketStore].
func (s *Store) DeleteTicket(ctx context.Context, tenant, kind string, id store.Digest) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.tickets.remove(ticketKey{tenant, kind, id})
	return nil
}

// CollectTickets implements [store.TicketStore].
func (s *Store) CollectTickets(ctx context.Context, now time.Time, limit int) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	return s.tickets.collect(now, limit), nil
}
