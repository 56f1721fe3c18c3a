package dcr

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/opkit/opkit/audit"
	"github.com/opkit/opkit/store"
)

// Bounds of one sweep. A batch is what one store call removes: what others wait for.
const (
	sweepBatch      = 200
	sweepTenants    = 200     // looked at in one sweep
	sweepRemoved    = 100_000 // removed in one sweep
	sweepUnusedSeen = 1000    // unused clients of a tenant looked at in one sweep
)

// sweeper remembers where the last sweep ended.
type sweeper struct {
	sync.Mutex
	after  string                    // the tenant
	unused map[string]store.IdlePage // by tenant, if more are left to look at
}

// Sweep removes applications that registered themselves and that nobody uses, as
// [Lifecycle] says. It does a bounded amount of work, in short store calls, and
// continues where the last one ended; opkit's Provider.Run calls it once a minute.
// Any number of nodes may do so at the same time. It does nothing if Stores has no
// ClientSweeper.
//
// Until it is removed an application is served, however old its registration is:
// one that comes back in time stays.
func (r *Registrar) Sweep(ctx context.Context) error {
	if r.cfg.Stores.ClientSweeper == nil {
		return nil
	}
	r.sweeper.Lock()
	defer r.sweeper.Unlock()
	tenants, err := r.cfg.Stores.Tenants.Tenants(ctx, store.Page{After: r.sweeper.after, Limit: sweepTenants})
	if err != nil {
		return fmt.Errorf("dcr: sweeping: %w", err)
	}
	left := sweepRemoved
	var errs []error
	for i := range tenants {
		n, err := r.sweepTenant(ctx, tenants[i].ID, left)
		if err != nil {
			errs = append(errs, fmt.Errorf("dcr: sweeping tenant %s: %w", tenants[i].ID, err))
		}
		r.sweeper.after = tenants[i].ID
		if left -= n; left <= 0 || ctx.Err() != nil {
			return errors.Join(errs...)
		}
	}
	if len(tenants) < sweepTenants {
		r.sweeper.after = "" // from the first one again
	}
	return errors.Join(errs...)
}

// sweepTenant removes at most limit clients of one tenant and returns how many.
func (r *Registrar) sweepTenant(ctx context.Context, tenant string, limit int) (removed int, err error) {
	kept := r.keptClients(tenant)
	if lifetime := r.lifecycle.Provisional; lifetime > 0 {
		filter := store.IdleFilter{Before: r.now().Add(-lifetime)}
		page := store.IdlePage{Limit: sweepBatch}
		for more := true; more && err == nil && removed < limit; {
			var ids []string
			ids, page, more, err = r.removeIdle(ctx, tenant, filter, page, kept)
			removed += len(ids)
			r.emitExpiry(ctx, tenant, ids, neverUsed)
		}
		r.logSwept(ctx, tenant, removed, neverUsed)
	}
	if lifetime := r.lifecycle.Unused; lifetime > 0 && err == nil {
		n := 0
		filter := store.IdleFilter{Confirmed: true, Before: r.now().Add(-lifetime)}
		// Many may be held by a grant, so that those behind them have to be reached.
		page, more := r.sweeper.unused[tenant], true
		page.Limit = sweepBatch
		for seen := 0; more && err == nil && seen < sweepUnusedSeen; seen += sweepBatch {
			var ids []string
			ids, page, more, err = r.removeIdle(ctx, tenant, filter, page, kept)
			n += len(ids)
			r.emitExpiry(ctx, tenant, ids, longUnused)
		}
		if delete(r.sweeper.unused, tenant); more {
			r.sweeper.unused[tenant] = page
		}
		r.logSwept(ctx, tenant, n, longUnused)
		removed += n
	}
	return removed, err
}

// Why an application was removed.
const (
	neverUsed  = "registered and never used"
	longUnused = "unused for a long time"
)

func (r *Registrar) emitExpiry(ctx context.Context, tenant string, ids []string, why string) {
	for _, id := range ids {
		r.emit(ctx, requester{}, audit.Event{TenantID: tenant, Type: audit.ClientExpiry, Outcome: audit.Allowed, ClientID: id, Reasons: []string{why}})
	}
}

func (r *Registrar) logSwept(ctx context.Context, tenant string, n int, why string) {
	if n > 0 {
		r.cfg.Logger.InfoContext(ctx, "clients removed", "tenant", tenant, "count", n, "reason", why)
	}
}

// removeIdle looks at one page of idle clients and removes those that hold nothing.
// It returns their identifiers, the next page, and whether there is one.
//
// Nothing that a client is granted meanwhile is lost: its record says first that it
// is used (token.Issuer.Confirm), which makes it another version than the one that
// is removed here. So there is nothing to delete with it either.
func (r *Registrar) removeIdle(ctx context.Context, tenant string, filter store.IdleFilter, page store.IdlePage, kept func(context.Context, *store.Client) (bool, error)) (removed []string, next store.IdlePage, more bool, err error) {
	clients, err := r.cfg.Stores.ClientSweeper.IdleClients(ctx, tenant, filter, page)
	if err != nil || len(clients) == 0 {
		return nil, page, false, err
	}
	last := &clients[len(clients)-1]
	next = store.IdlePage{AfterTime: last.IdleSince(), AfterID: last.ID, Limit: page.Limit}
	var remove []store.Client
	for i := range clients {
		keep, err := kept(ctx, &clients[i])
		if err != nil {
			return nil, page, false, err
		}
		if !keep {
			remove = append(remove, clients[i])
		}
	}
	if len(remove) > 0 {
		removed, err = r.cfg.Stores.ClientSweeper.RemoveClients(ctx, tenant, remove)
	}
	return removed, next, len(clients) == page.Size(), err
}

// keptClients returns a function that reports whether a client of the tenant stays
// although nobody uses it: because it holds a grant, or a client grant that an
// administrator gave it. A provisional client has no grants: it is confirmed before
// it gets one.
func (r *Registrar) keptClients(tenant string) func(context.Context, *store.Client) (bool, error) {
	var granted map[string]bool // read once it is needed
	return func(ctx context.Context, c *store.Client) (bool, error) {
		if granted == nil {
			ids, err := r.clientsWithGrants(ctx, tenant)
			if err != nil {
				return false, err
			}
			granted = ids
		}
		if granted[c.ID] || c.Provisional() {
			return granted[c.ID], nil
		}
		grants, err := r.cfg.Stores.Grants.Grants(ctx, tenant, store.GrantFilter{ClientID: c.ID}, store.Page{Limit: 1})
		return len(grants) > 0, err
	}
}

// clientsWithGrants returns the identifiers that the tenant's client grants name.
func (r *Registrar) clientsWithGrants(ctx context.Context, tenant string) (map[string]bool, error) {
	ids := make(map[string]bool)
	for page := (store.Page{}); ; {
		grants, err := r.cfg.Stores.ClientGrants.ClientGrants(ctx, tenant, page)
		if err != nil {
			return nil, err
		}
		for i := range grants {
			ids[grants[i].ClientID] = true
		}
		if len(grants) < page.Size() {
			return ids, nil
		}
		page.After = grants[len(grants)-1].ID
	}
}
