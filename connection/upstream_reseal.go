package connection

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/opkit/opkit/store"
)

// resealTenants bounds how many tenants one call of ResealSecrets looks at.
const resealTenants = 500

// resealing remembers how far the tenants were gone over.
type resealing struct {
	sync.Mutex
	tenant            string // the last one
	done              bool
	resealed, unknown int
}

// ResealSecrets seals the secrets of upstream connections anew that a former one of
// Config.Secrets sealed, so that it can go. It does a bounded amount of work and
// continues where the last call ended; opkit's Provider.Run calls it once a minute. When
// it has gone over all tenants once it logs so and does nothing any more. Without former
// secrets there is nothing to do.
func (d *Directory) ResealSecrets(ctx context.Context) error {
	if len(d.cfg.Secrets) < 2 || d.upstreams == nil || d.cfg.Stores.Tenants == nil {
		return nil
	}
	at := &d.resealing
	at.Lock()
	defer at.Unlock()
	for budget := resealTenants; budget > 0 && !at.done; budget-- {
		tenants, err := d.cfg.Stores.Tenants.Tenants(ctx, store.Page{After: at.tenant, Limit: 1})
		if err != nil {
			return fmt.Errorf("connection: sealing secrets anew: %w", err)
		}
		if len(tenants) == 0 {
			at.done = true
			d.cfg.Logger.InfoContext(ctx, "all secrets of upstream connections are sealed with the current secret", "resealed", at.resealed, "not opened", at.unknown)
			return nil
		}
		all, err := d.all(ctx, tenants[0].ID)
		if err != nil {
			return fmt.Errorf("connection: sealing secrets anew: %w", err)
		}
		for i := range all {
			if err := d.resealConnection(ctx, &all[i]); err != nil {
				return fmt.Errorf("connection: sealing the secret of %s anew: %w", all[i].ID, err)
			}
		}
		at.tenant = tenants[0].ID
	}
	return nil
}

// resealConnection changes a connection as long as somebody else changes it at the same
// time.
func (d *Directory) resealConnection(ctx context.Context, c *store.Connection) error {
	for IsUpstream(c) {
		next, changed, err := d.resealed(ctx, c)
		if err != nil || changed == 0 {
			return err
		}
		err = d.cfg.Stores.Connections.UpdateConnection(ctx, next)
		if errors.Is(err, store.ErrConflict) {
			fresh, readErr := d.cfg.Stores.Connections.Connection(ctx, c.TenantID, c.ID)
			if readErr == nil {
				c = &fresh
				continue
			}
			err = readErr
		}
		if errors.Is(err, store.ErrNotFound) { // deleted
			return nil
		}
		if err == nil {
			d.resealing.resealed += changed
		}
		return err
	}
	return nil
}

// resealed returns the connection with its secrets sealed anew, and how many that are.
func (d *Directory) resealed(ctx context.Context, c *store.Connection) (store.Connection, int, error) {
	next, changed := c.Clone(), 0
	var members map[string]json.RawMessage
	if len(c.Options) == 0 {
		return next, 0, nil
	}
	if err := json.Unmarshal(c.Options, &members); err != nil {
		return next, 0, err
	}
	for _, name := range upstreamSecrets {
		var kept sealedOption
		if members[name] == nil || json.Unmarshal(members[name], &kept) != nil || d.upstreams.secrets.CurrentString(kept.Sealed, secretPlace(c, name)) {
			continue
		}
		plain, err := d.upstreams.secrets.OpenString(kept.Sealed, secretPlace(c, name))
		if err != nil {
			d.resealing.unknown++
			d.cfg.Logger.WarnContext(ctx, "the secret of a connection cannot be opened (was it sealed with another secret?)", "tenant", c.TenantID, "connection", c.ID, "member", name)
			continue
		}
		if members[name], err = json.Marshal(sealedOption{d.upstreams.secrets.SealString(plain, secretPlace(c, name))}); err != nil {
			return next, 0, err
		}
		changed++
	}
	var err error
	next.Options, err = json.Marshal(members)
	return next, changed, err
}
