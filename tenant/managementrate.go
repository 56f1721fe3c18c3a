package tenant

import (
	"context"
	"errors"
	"time"

	"github.com/opkit/opkit/internal/management"
	"github.com/opkit/opkit/internal/ratelimit"
	"github.com/opkit/opkit/store"
)

// ManagementRate is how often one client may call the management API of one tenant.
// Every answer says in X-RateLimit-Limit, X-RateLimit-Remaining and X-RateLimit-Reset
// what the client has; beyond, it is 429 with Retry-After. Requests without a token that
// holds are not counted.
type ManagementRate struct {
	// PerSecond is the lasting rate. Zero: 20.
	PerSecond float64
	// Burst is how many requests may come at once. Zero: 200.
	Burst int
	// Shared counts on all nodes together, in Stores.Tickets. Otherwise each node counts
	// for itself.
	Shared bool
}

// managementTickets is the kind of the tickets of a shared rate.
const managementTickets = "management-client"

// limit returns what counts the requests of management clients.
func (r ManagementRate) limit(tickets store.TicketStore, now func() time.Time) (func(context.Context, management.Caller) (management.Allowance, error), error) {
	rate := ratelimit.Rate{PerSecond: r.PerSecond, Burst: r.Burst}
	if rate.PerSecond == 0 {
		rate.PerSecond = 20
	}
	if rate.Burst == 0 {
		rate.Burst = 200
	}
	if !rate.Valid() {
		return nil, errors.New("must have a positive PerSecond and Burst")
	}
	local := ratelimit.NewLocal(rate)
	ask := func(_ context.Context, k ratelimit.Key) (ratelimit.Budget, error) { return local.Ask(k, now()), nil }
	if r.Shared {
		if tickets == nil {
			return nil, errors.New("is Shared, which needs Stores.Tickets")
		}
		shared := ratelimit.NewShared(tickets, managementTickets, rate)
		ask = func(ctx context.Context, k ratelimit.Key) (ratelimit.Budget, error) { return shared.Ask(ctx, k, now()) }
	}
	return func(ctx context.Context, caller management.Caller) (management.Allowance, error) {
		b, err := ask(ctx, ratelimit.Key{Tenant: caller.TenantID, Host: caller.ClientID})
		return management.Allowance{Limit: rate.Burst, Remaining: b.Remaining, Reset: b.Full, Wait: b.Wait}, err
	}, nil
}
