package opkit

import (
	"context"
	"sync"
	"time"
)

// Bounds of one round of collection.
const (
	collectInterval = time.Minute
	collectBatch    = 500
	collectBatches  = 200
)

// Bounds of one round over the signing keys.
const (
	keysInterval = 10 * time.Minute
	keysTimeout  = 5 * time.Minute
)

// Run writes the log of events, replaces signing keys by schedule (see
// [tenant.Directory.MaintainKeys]), seals
// client secrets anew after Config.Secret was replaced (see
// [dcr.Registrar.ResealSecrets] and [connection.Directory.ResealSecrets]), and removes what is over: expired tickets, sessions
// and families, and applications that registered themselves and that nobody uses (see
// [dcr.Registrar.Sweep]). What [Provider.Check] finds it logs when it begins. It ends with ctx, once the
// events that wait are written, and returns its error. Any number of nodes may run it at
// the same time. A provider works without Run; its stores then grow, its log stays empty,
// and its keys stay until somebody rotates them.
func (p *Provider) Run(ctx context.Context) error {
	if p.log != nil {
		var writing sync.WaitGroup
		defer writing.Wait()
		writing.Go(func() { _ = p.log.Run(ctx) }) // it ends with ctx, whose error Run returns
	}
	if err := p.Check(ctx); err != nil && ctx.Err() == nil {
		p.cfg.Logger.ErrorContext(ctx, "the provider cannot work as it is set up", "err", err)
	}
	ticker := time.NewTicker(collectInterval)
	defer ticker.Stop()
	var keysAt time.Time
	for {
		if now := p.cfg.Now(); keysAt.IsZero() || now.Before(keysAt) || now.Sub(keysAt) >= keysInterval {
			p.maintainKeys(ctx)
			keysAt = now
		}
		p.collect(ctx)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// collect works in small batches, so that no call holds a store for long.
func (p *Provider) collect(ctx context.Context) {
	collections := map[string]func(context.Context, time.Time, int) (int, error){
		"tickets":  p.cfg.Stores.Tickets.CollectTickets,
		"sessions": p.cfg.Stores.Sessions.CollectSessions,
		"families": p.cfg.Stores.Grants.CollectFamilies,
	}
	if p.log != nil {
		collections["events"] = p.cfg.Stores.Events.CollectEvents
		if err := p.tenants.TrimEvents(ctx, p.log); err != nil && ctx.Err() == nil {
			p.cfg.Logger.ErrorContext(ctx, "logs were not shortened", "err", err)
		}
	}
	for what, collect := range collections {
		for range collectBatches {
			n, err := collect(ctx, p.cfg.Now(), collectBatch)
			if err != nil && ctx.Err() == nil {
				p.cfg.Logger.ErrorContext(ctx, "collection failed", "what", what, "err", err)
			}
			if err != nil || n < collectBatch {
				break
			}
		}
	}
	if err := p.connections.ResealSecrets(ctx); err != nil && ctx.Err() == nil {
		p.cfg.Logger.ErrorContext(ctx, "secrets of upstream connections were not sealed anew", "err", err)
	}
	if err := p.registrar.ResealSecrets(ctx); err != nil && ctx.Err() == nil {
		p.cfg.Logger.ErrorContext(ctx, "client secrets were not sealed anew", "err", err)
	}
	if err := p.registrar.Sweep(ctx); err != nil && ctx.Err() == nil {
		p.cfg.Logger.ErrorContext(ctx, "collection failed", "what", "clients", "err", err)
	}
}

// maintainKeys is bounded, so that a KMS that hangs does not keep the rest from
// being done.
func (p *Provider) maintainKeys(ctx context.Context) {
	bounded, cancel := context.WithTimeout(ctx, keysTimeout)
	defer cancel()
	if err := p.tenants.MaintainKeys(bounded); err != nil && ctx.Err() == nil {
		p.cfg.Logger.ErrorContext(ctx, "maintaining signing keys failed", "err", err)
	}
}
