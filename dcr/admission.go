package dcr

import (
	"context"
	"errors"
	"math"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/opkit/opkit/internal/httpx"
	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/tenant"
)

// Attempt is an attempt to register, as far as it is known before its body is
// read.
type Attempt struct {
	TenantID string
	// Network is where the attempt comes from: one IPv4 address or one IPv6 /64,
	// which is what one subscriber has. Not valid: unknown.
	Network netip.Prefix
}

// Limiter decides which attempts to register go ahead. An implementation that
// several processes share makes the limit hold for all of them.
type Limiter interface {
	// Admit returns zero to let the attempt pass, or after what time another one is
	// worthwhile: the answer is then 429 with Retry-After. After an error the
	// answer is server_error.
	Admit(ctx context.Context, a Attempt) (wait time.Duration, err error)
}

// Rate is how often one network may register at one tenant. Attempts from a
// loopback address are not counted: they come from this machine, or from a proxy
// on it that TrustedProxies does not name, and a limit that all clients of a proxy
// share would let one of them lock out the rest.
type Rate struct {
	// PerSecond is the lasting rate. Zero: 20.
	PerSecond float64
	// Burst is how many may come at once. Zero: 200.
	Burst int
}

const (
	defaultPerSecond = 20
	defaultBurst     = 200

	// maxNetworks bounds one generation of the default limiter.
	maxNetworks = 16 << 10
)

// admit asks the limiter.
func (r *Registrar) admit(req *http.Request, t *tenant.Tenant) error {
	addr := httpx.ClientAddress(req, r.cfg.TrustedProxies)
	if local(addr) && req.Header.Get("X-Forwarded-For") != "" {
		r.warnProxy.Do(func() {
			r.cfg.Logger.WarnContext(req.Context(), "dcr: registrations arrive through a proxy that TrustedProxies does not name; they are not limited")
		})
	}
	wait, err := r.limiter.Admit(req.Context(), Attempt{TenantID: t.ID(), Network: network(addr)})
	if err != nil {
		return err
	}
	if wait > 0 {
		return &oauth.Error{
			Code: oauth.CodeTemporarilyUnavailable, Status: http.StatusTooManyRequests, RetryAfter: wait,
			Description: "too many applications were registered from this network, try again later",
		}
	}
	return nil
}

// network returns what one subscriber has.
func network(addr netip.Addr) netip.Prefix {
	bits := addr.BitLen()
	if addr.Is6() && !addr.IsLoopback() {
		bits = 64
	}
	p, err := addr.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

func local(addr netip.Addr) bool { return !addr.IsValid() || addr.IsLoopback() }

// localLimiter is the limiter of one process: a token bucket per tenant and
// network. Its memory is bounded by two generations of buckets. When the young
// generation is full it becomes the old one, and what was not used during a whole
// generation is forgotten; forgetting is in the client's favour.
type localLimiter struct {
	limit rate.Limit
	burst int
	now   func() time.Time

	mu         sync.Mutex
	young, old map[Attempt]*rate.Limiter
}

func newLocalLimiter(r Rate, now func() time.Time) (*localLimiter, error) {
	if r.PerSecond < 0 || math.IsNaN(r.PerSecond) || r.Burst < 0 {
		return nil, errors.New("dcr: Config.Rate must not be negative")
	}
	if r.PerSecond == 0 {
		r.PerSecond = defaultPerSecond
	}
	if r.Burst == 0 {
		r.Burst = defaultBurst
	}
	return &localLimiter{limit: rate.Limit(r.PerSecond), burst: r.Burst, now: now, young: map[Attempt]*rate.Limiter{}}, nil
}

// Admit implements [Limiter].
func (l *localLimiter) Admit(_ context.Context, a Attempt) (time.Duration, error) {
	if local(a.Network.Addr()) {
		return 0, nil
	}
	now := l.now()
	reservation := l.bucket(a).ReserveN(now, 1)
	wait := reservation.DelayFrom(now)
	if wait > 0 {
		reservation.CancelAt(now) // a refused attempt does not make the next one wait longer
	}
	return wait, nil
}

func (l *localLimiter) bucket(a Attempt) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	if b := l.young[a]; b != nil {
		return b
	}
	b := l.old[a]
	if b == nil {
		b = rate.NewLimiter(l.limit, l.burst)
	}
	if len(l.young) >= maxNetworks {
		l.old, l.young = l.young, make(map[Attempt]*rate.Limiter, maxNetworks)
	}
	l.young[a] = b
	return b
}
