package dcr

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/opkit/opkit/store"
)

// Bounds of one call of ResealSecrets.
const (
	resealClients = 10_000 // looked at
	resealPage    = 500    // read by one store call
)

// resealing remembers how far the clients were gone over.
type resealing struct {
	sync.Mutex
	tenant, client    string // the last ones seen
	inTenant, done    bool
	resealed, unknown int
}

// ResealSecrets seals client secrets anew that a former one of Config.Secrets sealed, so
// that it can go. It does a bounded amount of work and continues where the last call
// ended; opkit's Provider.Run calls it once a minute. When it has gone over all
// clients once it logs so and does nothing any more. Without former secrets there is
// nothing to do.
func (r *Registrar) ResealSecrets(ctx context.Context) error {
	if len(r.cfg.Secrets) < 2 || r.cfg.Stores.Tenants == nil {
		return nil
	}
	at := &r.resealing
	at.Lock()
	defer at.Unlock()
	for budget := resealClients; budget > 0 && !at.done; {
		if !at.inTenant {
			tenants, err := r.cfg.Stores.Tenants.Tenants(ctx, store.Page{After: at.tenant, Limit: 1})
			if err != nil {
				return fmt.Errorf("dcr: sealing client secrets anew: %w", err)
			}
			if len(tenants) == 0 {
				at.done = true
				r.cfg.Logger.InfoContext(ctx, "all client secrets are sealed with the current secret", "resealed", at.resealed, "not opened", at.unknown)
				return nil
			}
			at.tenant, at.client, at.inTenant = tenants[0].ID, "", true
		}
		clients, err := r.uncached.Clients(ctx, at.tenant, store.Page{After: at.client, Limit: resealPage})
		if err != nil {
			return fmt.Errorf("dcr: sealing client secrets anew: %w", err)
		}
		for i := range clients {
			if err := r.resealClient(ctx, clients[i]); err != nil {
				return fmt.Errorf("dcr: sealing the secret of client %s anew: %w", clients[i].ID, err)
			}
			at.client = clients[i].ID
		}
		at.inTenant = len(clients) == resealPage
		budget -= len(clients) + 1
	}
	return nil
}

// resealClient changes a client as long as somebody else changes it at the same time.
func (r *Registrar) resealClient(ctx context.Context, c store.Client) error {
	for {
		next := c.Clone()
		place := next.TenantID + "/" + next.ID
		sealed := []*store.Sealed{&next.SealedSecret}
		if next.PreviousSecret != nil {
			sealed = append(sealed, &next.PreviousSecret.Sealed)
		}
		changed := 0
		for _, s := range sealed {
			if len(*s) == 0 || r.secrets.Current(*s, place) {
				continue
			}
			secret, err := r.secrets.Open(*s, place)
			if err != nil {
				r.resealing.unknown++
				r.cfg.Logger.WarnContext(ctx, "the secret of a client cannot be opened (was it sealed with another secret?)", "tenant", next.TenantID, "client_id", next.ID)
				continue
			}
			*s = r.secrets.Seal(secret, place)
			changed++
		}
		if changed == 0 {
			return nil
		}
		err := r.cfg.Stores.Clients.UpdateClient(ctx, next)
		if errors.Is(err, store.ErrConflict) {
			c, err = r.uncached.Client(ctx, c.TenantID, c.ID)
			if err == nil {
				continue
			}
		}
		if errors.Is(err, store.ErrNotFound) { // deleted
			return nil
		}
		if err == nil {
			r.resealing.resealed += changed
		}
		return err
	}
}
