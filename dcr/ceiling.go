package dcr

import (
	"context"
	"sync"
	"time"

	"github.com/opkit/opkit/audit"
	"github.com/opkit/opkit/store"
)

// ceiling holds each tenant below MaxProvisional. Counting is not for free, so it
// counts once in a while and adds what this node registered since.
type ceiling struct {
	mu      sync.Mutex
	tenants map[string]*population
}

// population is what is known of a tenant's provisional clients.
type population struct {
	// count is how many there are, and uncounted how many of them this node
	// registered since it last counted. Before the first time it is unknown.
	known            bool
	count, uncounted int
	// pending is how many of them are admitted and perhaps not stored yet: a count of
	// the store may or may not see them.
	pending int
	// looking is closed when the request that counts and evicts is done. Nil: none
	// does.
	looking chan struct{}
	// full is until when nothing can be evicted. It is believed until recheck: some
	// may be confirmed meanwhile.
	full, recheck time.Time
}

// recheckFull is how long a tenant is taken to be full without counting again.
const recheckFull = 5 * time.Second

// makeRoom prepares for one more provisional client of the tenant. If there are too
// many it removes the oldest of those that had their time. When the client is stored,
// or not to be, the caller tells it to what is returned.
func (r *Registrar) makeRoom(ctx context.Context, tenant string) (*population, error) {
	if r.cfg.Stores.ClientSweeper == nil {
		r.warnSweeper.Do(func() {
			r.cfg.Logger.WarnContext(ctx, "dcr: the stores have no ClientSweeper; applications that register are kept for ever")
		})
		return nil, nil
	}
	if r.lifecycle.MaxProvisional < 0 {
		return nil, nil
	}
	now := r.now()
	for {
		p, look, looking, err := r.ceiling.enter(tenant, r.lifecycle.MaxProvisional, now)
		switch {
		case err != nil:
			return nil, err
		case look:
			count, full, err := r.evict(ctx, tenant, now)
			r.ceiling.leave(p, count, full, now, err)
			if err == nil && full.After(now) {
				err = tooManyProvisional(full.Sub(now))
			}
			if err != nil {
				return nil, err
			}
			return p, nil
		case p != nil:
			return p, nil
		}
		select {
		case <-looking:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// enter counts one more client. If look is set the caller has to look at the store and
// to leave first; if looking is returned, another request does, and whether there is
// room is known when it is done.
func (c *ceiling) enter(tenant string, most int, now time.Time) (p *population, look bool, looking <-chan struct{}, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p = c.tenants[tenant]; p == nil {
		p = &population{}
		c.tenants[tenant] = p
	}
	over := p.count >= most
	switch {
	case p.full.After(now) && p.recheck.After(now):
		return nil, false, nil, tooManyProvisional(p.full.Sub(now))
	case p.looking != nil && over:
		return nil, false, p.looking, nil
	case p.looking == nil && (over || !p.known || p.uncounted >= most/8):
		p.looking = make(chan struct{})
		p.uncounted = 0
		return p, true, nil, nil
	}
	p.count++
	p.uncounted++
	p.pending++
	return p, false, nil, nil
}

// done notes that a client was stored, or will not be. p is nil where nothing counts.
func (c *ceiling) done(p *population) {
	if p == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	p.pending--
}

// leave notes what a request found in the store.
func (c *ceiling) leave(p *population, count int, full, now time.Time, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(p.looking)
	p.looking = nil
	if err != nil {
		return
	}
	p.known, p.full, p.recheck = true, full, now.Add(recheckFull)
	if !full.After(now) {
		p.uncounted++ // with those that registered meanwhile
		p.pending++
	}
	// Some of those may be in count already; better one too many than one too few.
	p.count = count + p.pending
}

func tooManyProvisional(wait time.Duration) error {
	return tooMany(wait, "too many applications are registered here that nobody has used yet, try again later")
}

// evict returns how many provisional clients the tenant has and, if that is too many
// and none of them may go yet, when the first one may.
func (r *Registrar) evict(ctx context.Context, tenant string, now time.Time) (count int, full time.Time, err error) {
	sweeper := r.cfg.Stores.ClientSweeper
	if count, err = sweeper.CountProvisional(ctx, tenant); err != nil || count < r.lifecycle.MaxProvisional {
		return count, time.Time{}, err
	}
	// A batch at a time, so that it pays for many registrations to come.
	filter := store.IdleFilter{Before: now.Add(-r.lifecycle.MinAge)}
	page := store.IdlePage{Limit: min(sweepBatch, max(1, r.lifecycle.MaxProvisional/8))}
	kept := r.keptClients(tenant)
	var evicted []string
	for more := true; more && len(evicted) == 0; {
		if evicted, page, more, err = r.removeIdle(ctx, tenant, filter, page, kept); err != nil {
			return count, time.Time{}, err
		}
	}
	for _, id := range evicted {
		r.emit(ctx, requester{}, audit.Event{TenantID: tenant, Type: audit.ClientEviction, Outcome: audit.Allowed, ClientID: id, Reasons: []string{"too many provisional applications"}})
	}
	if len(evicted) > 0 {
		r.cfg.Logger.WarnContext(ctx, "provisional clients evicted: the tenant has as many as Lifecycle.MaxProvisional", "tenant", tenant, "count", len(evicted))
		return count - len(evicted), time.Time{}, nil
	}
	oldest, err := sweeper.IdleClients(ctx, tenant, store.IdleFilter{Before: now.Add(time.Second)}, store.IdlePage{AfterTime: filter.Before, Limit: 1})
	if err != nil {
		return count, time.Time{}, err
	}
	full = now.Add(time.Second)
	if len(oldest) > 0 {
		if at := oldest[0].CreatedAt.Add(r.lifecycle.MinAge); at.After(full) {
			full = at
		}
	}
	return count, full, nil
}
