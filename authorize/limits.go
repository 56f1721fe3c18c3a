package authorize

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/opkit/opkit/internal/ratelimit"
	"github.com/opkit/opkit/store"
)

// limiter counts something by key: in this process, or on all nodes together.
type limiter interface {
	// Admit returns zero to let one pass, or after what time another attempt is
	// worthwhile. An error lets nothing pass.
	Admit(ctx context.Context, k ratelimit.Key, now time.Time) (time.Duration, error)
}

// localLimiter is the one of a process.
type localLimiter struct{ *ratelimit.Local }

func (l localLimiter) Admit(_ context.Context, k ratelimit.Key, now time.Time) (time.Duration, error) {
	return l.Local.Admit(k, now), nil
}

// newLimiter returns a limiter that is shared if there are tickets to share it by. They
// are of a kind of their own.
func newLimiter(tickets store.TicketStore, kind string, r ratelimit.Rate) limiter {
	if tickets == nil {
		return localLimiter{ratelimit.NewLocal(r)}
	}
	return ratelimit.NewShared(tickets, kind, r)
}

// setRetryAfter says when another attempt is worthwhile, in whole seconds; nothing for
// zero.
func setRetryAfter(w http.ResponseWriter, wait time.Duration) {
	if wait > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
	}
}
