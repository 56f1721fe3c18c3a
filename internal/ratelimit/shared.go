package ratelimit

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"time"

	"github.com/opkit/opkit/store"
)

// Shared is a limiter that all processes on one ticket store have in common. What is
// stored for a key is the time at which its bucket is full again, 8 bytes, until
// then.
//
// It writes little: a process takes several passes at once for a source that keeps
// coming, each time twice as many, up to an eighth of the burst, and uses them within
// a few seconds; a source that has to wait is refused without asking. So one that
// comes once costs one write, and one that comes as fast as it may about one read and
// one write a second. Passes that a process took and did not use are lost, which is
// less than the burst.
type Shared struct {
	tickets store.TicketStore
	kind    string
	rate    Rate

	mu     sync.Mutex
	leases memory[lease]
}

// lease is what this process may do for a key without asking.
type lease struct {
	mu sync.Mutex
	// left passes may be used until good.
	left int
	good time.Time
	// size is how many were taken last.
	size int
	// refused is until when there are none.
	refused time.Time
	// full is when the bucket is, as far as this process knows.
	full time.Time
}

const (
	// leaseLifetime is how long passes that were taken can be used.
	leaseLifetime = 5 * time.Second
	// attempts bounds how often a process tries to change a ticket that others
	// change.
	attempts = 8
)

// NewShared returns a limiter with that rate, whose tickets are of a kind of their
// own.
func NewShared(tickets store.TicketStore, kind string, r Rate) *Shared {
	return &Shared{tickets: tickets, kind: kind, rate: r}
}

// Admit returns zero to let one pass, or after what time another attempt is
// worthwhile.
func (s *Shared) Admit(ctx context.Context, k Key, now time.Time) (time.Duration, error) {
	budget, err := s.Ask(ctx, k, now)
	return budget.Wait, err
}

// Ask is Admit for a source that is told what it has: as of when this process last
// asked the store, less what it let pass since.
func (s *Shared) Ask(ctx context.Context, k Key, now time.Time) (Budget, error) {
	s.mu.Lock()
	l := s.leases.get(k.own(), func() *lease { return new(lease) })
	s.mu.Unlock()

	l.mu.Lock()
	defer l.mu.Unlock() // requests of one source wait for each other, not for others
	if wait := l.refused.Sub(now); wait > 0 {
		return Budget{Wait: wait, Full: l.full}, nil
	}
	if l.left > 0 && l.good.After(now) {
		l.left--
		return s.budget(l, now), nil
	}
	size := 1
	if l.good.After(now) { // the last ones were used up in time
		size = min(2*l.size, max(1, s.rate.Burst/8))
	}
	taken, full, wait, err := s.take(ctx, k, size, now)
	if err != nil {
		return Budget{}, err
	}
	l.full = full
	if taken == 0 {
		// Not for the next pass alone: one store call each would be as bad as what is
		// limited. Retry-After counts seconds anyhow.
		wait = max(wait, time.Second)
		l.refused = now.Add(wait)
		return Budget{Wait: wait, Full: full}, nil
	}
	l.left, l.size, l.good = taken-1, taken, now.Add(leaseLifetime)
	return s.budget(l, now), nil
}

// budget returns what a source has that was let pass.
func (s *Shared) budget(l *lease, now time.Time) Budget {
	full := l.full
	if full.Before(now) {
		full = now
	}
	return Budget{Remaining: min(s.rate.Burst, l.left+s.rate.left(full, now)), Full: full}
}

// take takes at most n passes, or says how long to wait for one. full is when the
// bucket is.
func (s *Shared) take(ctx context.Context, k Key, n int, now time.Time) (taken int, full time.Time, wait time.Duration, err error) {
	id := store.DigestOf(k.Network.String() + " " + k.Host)
	for range attempts {
		ticket, err := s.tickets.Ticket(ctx, k.Tenant, s.kind, id, now)
		absent := errors.Is(err, store.ErrNotFound)
		if err != nil && !absent {
			return 0, time.Time{}, 0, err
		}
		if taken, full, wait = s.spend(fullAt(ticket), n, now); taken == 0 {
			return 0, full, wait, nil
		}
		ticket.Data, ticket.ExpiresAt = binary.BigEndian.AppendUint64(nil, uint64(full.UnixMicro())), full
		if absent {
			ticket.TenantID, ticket.Kind, ticket.ID, ticket.CreatedAt = k.Tenant, s.kind, id, now
			err = s.tickets.PutTicket(ctx, ticket, now)
		} else {
			err = s.tickets.UpdateTicket(ctx, ticket, now)
		}
		switch {
		case err == nil:
			return taken, full, 0, nil
		case errors.Is(err, store.ErrExists), errors.Is(err, store.ErrConflict), errors.Is(err, store.ErrNotFound):
			// another process was first
		default:
			return 0, time.Time{}, 0, err
		}
	}
	return 0, now.Add(s.rate.whole()), time.Second, nil
}

// spend takes at most n passes from a bucket that is full again at full. Each takes
// the time that it takes to come back, and no more than the burst may be missing.
func (s *Shared) spend(full time.Time, n int, now time.Time) (taken int, next time.Time, wait time.Duration) {
	if full.Before(now) {
		full = now
	}
	each, all := s.rate.each(), s.rate.whole()
	missing := full.Sub(now)
	if missing+each > all {
		return 0, full, missing + each - all
	}
	taken = min(n, int((all-missing)/each))
	return taken, full.Add(time.Duration(taken) * each), 0
}

// fullAt reads a ticket; one that nothing wrote is full.
func fullAt(t store.Ticket) time.Time {
	if len(t.Data) != 8 {
		return time.Time{}
	}
	return time.UnixMicro(int64(binary.BigEndian.Uint64(t.Data))).UTC()
}
