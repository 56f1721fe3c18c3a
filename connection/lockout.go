package connection

import (
	"container/list"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/opkit/opkit/store"
)

const (
	// ticketKind separates failed logins from everything else that tickets count.
	ticketKind = "failed-logins"

	// maxFailures attempts are free; the last of them and each further one lock the
	// login, for minLock at first and twice as long each time, up to maxLock.
	maxFailures = 10
	minLock     = time.Second
	maxLock     = 15 * time.Minute

	// memory is how long after the last attempt its login is remembered.
	memory = 24 * time.Hour

	// maxStrangers bounds how many logins of nobody are remembered; each costs its
	// sender the computation of a password hash, and about 200 bytes here.
	maxStrangers = 16 << 10

	// maxContention bounds how often a count is tried again because somebody else
	// counted at the same time.
	maxContention = 64
)

// failures is what is remembered of the attempts at a login since the last one
// that succeeded.
type failures struct {
	Count int `json:"count"`
	// Until is the time before which no attempt counts, or is answered.
	Until time.Time `json:"until,omitzero"`
}

// attempt returns the state after one more attempt at now, or a [*LockedError].
// Each attempt is a failure until it is known to be none.
func (f failures) attempt(now time.Time) (failures, error) {
	if now.Before(f.Until) {
		return f, &LockedError{RetryAfter: f.Until.Sub(now)}
	}
	f.Count++
	if over := f.Count - maxFailures; over >= 0 {
		lock := maxLock
		if over < 10 { // 2^10 seconds are more than maxLock
			lock = min(minLock<<over, maxLock)
		}
		f.Until = now.Add(lock)
	}
	return f, nil
}

// attemptID identifies a login for counting. It is the login as it was typed, not
// the user: otherwise locking somebody's email address would tell which username
// is theirs.
func attemptID(conn *store.Connection, login string) store.Digest {
	return store.DigestOf(conn.TenantID + "\x00" + conn.ID + "\x00" + login)
}

// countAttempt counts an attempt at the login of a user, before its outcome is
// known. A [*LockedError] says that it must not be answered.
func (d *Directory) countAttempt(ctx context.Context, tenant string, id store.Digest) error {
	for range maxContention {
		now := d.now()
		err := d.countOnce(ctx, tenant, id, now)
		// Somebody else was first, or the count was reset or forgotten since.
		if errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrNotFound) {
			continue
		}
		return err
	}
	// So many attempts at one login at the same instant are no person's.
	return &LockedError{RetryAfter: minLock}
}

func (d *Directory) countOnce(ctx context.Context, tenant string, id store.Digest, now time.Time) error {
	first, _ := failures{}.attempt(now)
	ticket := store.Ticket{TenantID: tenant, Kind: ticketKind, ID: id, CreatedAt: now, ExpiresAt: now.Add(memory)}
	ticket.Data = first.encode()
	err := d.cfg.Stores.Tickets.PutTicket(ctx, ticket, now)
	if !errors.Is(err, store.ErrExists) {
		return err
	}
	ticket, err = d.cfg.Stores.Tickets.Ticket(ctx, tenant, ticketKind, id, now)
	if err != nil {
		return err
	}
	var before failures
	if err := json.Unmarshal(ticket.Data, &before); err != nil {
		return fmt.Errorf("connection: failed logins: %w", err)
	}
	after, err := before.attempt(now)
	if err != nil {
		return err
	}
	ticket.Data, ticket.ExpiresAt = after.encode(), now.Add(memory)
	return d.cfg.Stores.Tickets.UpdateTicket(ctx, ticket, now)
}

func (f failures) encode() []byte {
	data, _ := json.Marshal(f) // a number and a time: cannot fail
	return data
}

// forgetAttempts resets the count of a login.
func (d *Directory) forgetAttempts(ctx context.Context, tenant string, id store.Digest) error {
	return d.cfg.Stores.Tickets.DeleteTicket(ctx, tenant, ticketKind, id)
}

// strangers counts attempts at logins that belong to nobody, so that they are
// locked like those of users and a lock says nothing. Strangers write nothing to
// the store: this is memory of one process, bounded, and the login that was not
// tried for longest is forgotten first. On several nodes, a login of nobody is
// therefore locked by what one node saw, a user's by what all saw.
type strangers struct {
	mu    sync.Mutex
	size  int
	known map[store.Digest]*list.Element
	order list.List // of *stranger, the most recent in front
}

type stranger struct {
	id store.Digest
	failures
	seen time.Time
}

func newStrangers(size int) *strangers {
	return &strangers{size: size, known: map[store.Digest]*list.Element{}}
}

// countAttempt is [Directory.countAttempt] for a login that belongs to nobody.
func (s *strangers) countAttempt(id store.Digest, now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.known[id]
	if !ok {
		if len(s.known) == s.size {
			oldest := s.order.Back()
			delete(s.known, oldest.Value.(*stranger).id)
			s.order.Remove(oldest)
		}
		e = s.order.PushFront(&stranger{id: id, seen: now})
		s.known[id] = e
	}
	s.order.MoveToFront(e)
	who := e.Value.(*stranger)
	if !who.seen.Add(memory).After(now) {
		who.failures = failures{}
	}
	after, err := who.attempt(now)
	if err != nil {
		return err
	}
	who.failures, who.seen = after, now
	return nil
}
