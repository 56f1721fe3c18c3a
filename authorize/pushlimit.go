package authorize

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// What one network may push for public clients: the lasting rate, and how many
	// may come at once.
	pushesPerSecond = 20
	pushBurst       = 200

	// maxNetworks bounds one generation of buckets.
	maxNetworks = 16 << 10
)

// pushLimit is a token bucket per tenant and network. Its memory is bounded by two
// generations: when the young one is full it becomes the old one, and what was not
// used during a whole generation is forgotten, in the client's favour.
type pushLimit struct {
	mu         sync.Mutex
	young, old map[pushSource]*rate.Limiter
}

// pushSource is what one subscriber has: an IPv4 address or an IPv6 /64.
type pushSource struct {
	tenant  string
	network netip.Prefix
}

// admit returns zero to let a request pass, or how long to wait. Loopback addresses
// are not counted: they come from this machine, or from a proxy on it, whose
// clients must not lock each other out.
func (l *pushLimit) admit(tenant string, addr netip.Addr, now time.Time) time.Duration {
	if !addr.IsValid() || addr.IsLoopback() {
		return 0
	}
	bits := addr.BitLen()
	if addr.Is6() {
		bits = 64
	}
	network, err := addr.Prefix(bits)
	if err != nil {
		return 0
	}
	reservation := l.bucket(pushSource{tenant, network}).ReserveN(now, 1)
	wait := reservation.DelayFrom(now)
	if wait > 0 {
		reservation.CancelAt(now) // a refused request does not make the next one wait longer
	}
	return wait
}

func (l *pushLimit) bucket(s pushSource) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	if b := l.young[s]; b != nil {
		return b
	}
	b := l.old[s]
	if b == nil {
		b = rate.NewLimiter(pushesPerSecond, pushBurst)
	}
	if len(l.young) >= maxNetworks || l.young == nil {
		l.old, l.young = l.young, make(map[pushSource]*rate.Limiter)
	}
	l.young[s] = b
	return b
}
