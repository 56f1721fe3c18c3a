package opkit

import (
	"context"
	"time"
)

// Bounds of one round of collection.
const (
	collectInterval = time.Minute
	collectBatch    = 500
	collectBatches  = 200
)

// Run removes expired tickets, sessions and families until ctx ends, and returns
// its error. Any number of nodes may run it at the same time. A provider works
// without Run; its stores then grow.
func (p *Provider) Run(ctx context.Context) error {
	ticker := time.NewTicker(collectInterval)
	defer ticker.Stop()
	for {
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
	for what, collect := range map[string]func(context.Context, time.Time, int) (int, error){
		"tickets":  p.cfg.Stores.Tickets.CollectTickets,
		"sessions": p.cfg.Stores.Sessions.CollectSessions,
		"families": p.cfg.Stores.Grants.CollectFamilies,
	} {
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
}
