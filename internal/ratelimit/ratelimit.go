package ratelimit

import (
	"math"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/opkit/opkit/store"
)

// Rate is a lasting rate, and how many may come at once.
type Rate struct {
	PerSecond float64
	Burst     int
}

// Valid reports whether anything can ever pass.
func (r Rate) Valid() bool { return r.PerSecond > 0 && !math.IsInf(r.PerSecond, 1) && r.Burst > 0 }

// each returns how long it takes for one pass to come back, whole for the burst.
func (r Rate) each() time.Duration { return max(1, time.Duration(float64(time.Second)/r.PerSecond)) }

func (r Rate) whole() time.Duration { return time.Duration(float64(r.Burst) * float64(r.each())) }

// left returns how many of the burst are there if it is whole again at full.
func (r Rate) left(full, now time.Time) int {
	return max(0, int((r.whole()-max(0, full.Sub(now)))/r.each()))
}

// Budget is what a source has.
type Budget struct {
	// Wait is zero if one more passed, else after what time another attempt is
	// worthwhile.
	Wait time.Duration
	// Remaining is how many more may come at once.
	Remaining int
	// Full is when as many as the burst may.
	Full time.Time
}

// Key is what is limited. Members that do not matter are zero.
type Key struct {
	Tenant  string
	Network netip.Prefix
	Host    string
}

// Network returns what one subscriber has: an IPv4 address or an IPv6 /64. It is not
// valid if addr is not.
func Network(addr netip.Addr) netip.Prefix {
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

// maxKeys bounds one generation of what is remembered.
const maxKeys = 16 << 10

// own is a Key that keeps nothing of a request alive, however long the host is.
type own struct {
	tenant  string
	network netip.Prefix
	host    store.Digest
}

func (k Key) own() own {
	o := own{tenant: k.Tenant, network: k.Network}
	if k.Host != "" {
		o.host = store.DigestOf(k.Host)
	}
	return o
}

// memory keeps a value for each key in bounded space: when the young generation is
// full it becomes the old one, and what was not used during a whole generation is
// forgotten. It is not safe for concurrent use.
type memory[V any] struct{ young, old map[own]*V }

// get returns the value of k, which make makes if it is not known.
func (m *memory[V]) get(k own, make func() *V) *V {
	if v := m.young[k]; v != nil {
		return v
	}
	v := m.old[k]
	if v == nil {
		v = make()
	}
	if m.young == nil || len(m.young) >= maxKeys {
		m.old, m.young = m.young, map[own]*V{}
	}
	m.young[k] = v
	return v
}

// Local is the limiter of one process: a token bucket for each key. What it forgets
// is forgotten in the source's favour. The zero value admits nothing; use [NewLocal].
type Local struct {
	rate Rate

	mu      sync.Mutex
	buckets memory[rate.Limiter]
}

// NewLocal returns a limiter with that rate.
func NewLocal(r Rate) *Local { return &Local{rate: r} }

// Admit returns zero to let one pass, or after what time another attempt is
// worthwhile. A refused attempt does not make the next one wait longer.
func (l *Local) Admit(k Key, now time.Time) time.Duration {
	wait, _ := l.admit(k, now)
	return wait
}

func (l *Local) admit(k Key, now time.Time) (time.Duration, *rate.Limiter) {
	bucket := l.bucket(k.own())
	reservation := bucket.ReserveN(now, 1)
	wait := reservation.DelayFrom(now)
	if wait > 0 {
		reservation.CancelAt(now)
	}
	return wait, bucket
}

// Ask is Admit for a source that is told what it has.
func (l *Local) Ask(k Key, now time.Time) Budget {
	wait, bucket := l.admit(k, now)
	tokens := bucket.TokensAt(now) // of a moment later, if others are at it
	missing := max(0, float64(l.rate.Burst)-tokens)
	return Budget{Wait: wait, Remaining: max(0, int(tokens)), Full: now.Add(time.Duration(missing * float64(l.rate.each())))}
}

func (l *Local) bucket(k own) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buckets.get(k, func() *rate.Limiter { return rate.NewLimiter(rate.Limit(l.rate.PerSecond), l.rate.Burst) })
}
