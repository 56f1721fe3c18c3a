package dcr

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/opkit/opkit/internal/httpx"
	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/internal/ratelimit"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// Attempt is an attempt to register.
type Attempt struct {
	TenantID string
	// Network is where the attempt comes from: one IPv4 address or one IPv6 /64,
	// which is what one subscriber has. Not valid: unknown.
	Network netip.Prefix
	// RedirectHost is empty the first time that a limiter is asked about an attempt,
	// before its body is read. When everything in it is right, the limiter is asked
	// once for each host that users would be sent to. Applications on the user's own
	// machine have none.
	RedirectHost string
}

// Limiter decides which attempts to register go ahead. An implementation that
// several processes share makes the limit hold for all of them.
type Limiter interface {
	// Admit returns zero to let the attempt pass, or after what time another one is
	// worthwhile: the answer is then 429 with Retry-After. After an error the
	// answer is server_error.
	Admit(ctx context.Context, a Attempt) (wait time.Duration, err error)
}

// Rate is how often one network may register at one tenant, and how often one host
// may be registered to send users to, whoever does it. Attempts from a loopback
// address are not counted: they come from this machine, or from a proxy on it that
// TrustedProxies does not name, and a limit that all clients of a proxy share would
// let one of them lock out the rest.
type Rate struct {
	// PerSecond is the lasting rate of a network. Zero: 20.
	PerSecond float64
	// Burst is how many may come from a network at once. Zero: 200.
	Burst int
	// HostPerSecond is the lasting rate of a redirect host. It is a guard against one
	// application gone wild on many machines; too low, it lets strangers use up what
	// the application needs. Zero: 100.
	HostPerSecond float64
	// HostBurst is how many may name a redirect host at once. Zero: 2,000.
	HostBurst int
}

// maxHosts bounds for how many hosts of one attempt a limiter is asked.
const maxHosts = 8

// resolved checks r and fills in the defaults.
func (r Rate) resolved() (network, host ratelimit.Rate, err error) {
	orDefault := func(r ratelimit.Rate, perSecond float64, burst int) ratelimit.Rate {
		if r.PerSecond == 0 {
			r.PerSecond = perSecond
		}
		if r.Burst == 0 {
			r.Burst = burst
		}
		return r
	}
	network = orDefault(ratelimit.Rate{PerSecond: r.PerSecond, Burst: r.Burst}, 20, 200)
	host = orDefault(ratelimit.Rate{PerSecond: r.HostPerSecond, Burst: r.HostBurst}, 100, 2000)
	if !network.Valid() || !host.Valid() {
		return ratelimit.Rate{}, ratelimit.Rate{}, errors.New("Rate has a member that is negative or not a number")
	}
	return network, host, nil
}

// localLimiter is the limiter of one process.
type localLimiter struct {
	networks, hosts *ratelimit.Local
	now             func() time.Time
}

func newLocalLimiter(r Rate, now func() time.Time) (*localLimiter, error) {
	network, host, err := r.resolved()
	if err != nil {
		return nil, err
	}
	return &localLimiter{networks: ratelimit.NewLocal(network), hosts: ratelimit.NewLocal(host), now: now}, nil
}

// Admit implements [Limiter].
func (l *localLimiter) Admit(_ context.Context, a Attempt) (time.Duration, error) {
	key, limited := a.key()
	switch {
	case !limited:
		return 0, nil
	case a.RedirectHost != "":
		return l.hosts.Admit(key, l.now()), nil
	}
	return l.networks.Admit(key, l.now()), nil
}

// key returns what the attempt is counted under, and whether it is counted at all.
func (a Attempt) key() (k ratelimit.Key, limited bool) {
	switch {
	case local(a.Network.Addr()):
		return ratelimit.Key{}, false
	case a.RedirectHost != "":
		return ratelimit.Key{Tenant: a.TenantID, Host: a.RedirectHost}, true
	}
	return ratelimit.Key{Tenant: a.TenantID, Network: a.Network}, true
}

// sharedLimiter is the limiter of all processes on one ticket store.
type sharedLimiter struct {
	networks, hosts *ratelimit.Shared
	now             func() time.Time
}

// NewSharedLimiter returns a limiter that all nodes have in common: what one of them
// admits counts on the others. It keeps one short-lived ticket for each network and
// redirect host that registers, and makes few store calls: a source that keeps coming
// takes several passes at once, and one that has to wait costs nothing. A nil now
// means time.Now.
func NewSharedLimiter(tickets store.TicketStore, r Rate, now func() time.Time) (Limiter, error) {
	network, host, err := r.resolved()
	if err != nil {
		return nil, fmt.Errorf("dcr: %w", err)
	}
	if tickets == nil {
		return nil, errors.New("dcr: NewSharedLimiter needs a TicketStore")
	}
	if now == nil {
		now = time.Now
	}
	return &sharedLimiter{
		networks: ratelimit.NewShared(tickets, "registration-network", network),
		hosts:    ratelimit.NewShared(tickets, "registration-host", host),
		now:      now,
	}, nil
}

// Admit implements [Limiter].
func (l *sharedLimiter) Admit(ctx context.Context, a Attempt) (time.Duration, error) {
	key, limited := a.key()
	now := l.now().UTC().Truncate(time.Microsecond)
	switch {
	case !limited:
		return 0, nil
	case a.RedirectHost != "":
		return l.hosts.Admit(ctx, key, now)
	}
	return l.networks.Admit(ctx, key, now)
}

// admit decides by where an attempt comes from: first what the tenant says about the
// address, then the limiter.
func (r *Registrar) admit(req *http.Request, t *tenant.Tenant) error {
	addr := httpx.ClientAddress(req, r.cfg.TrustedProxies)
	if local(addr) && req.Header.Get("X-Forwarded-For") != "" {
		r.warnProxy.Do(func() {
			r.cfg.Logger.WarnContext(req.Context(), "dcr: registrations arrive through a proxy that TrustedProxies does not name; they are not limited")
		})
	}
	if !t.MayRegisterFrom(addr) {
		// Whoever is kept out is not told by what.
		r.cfg.Logger.InfoContext(req.Context(), "registration refused by its address", "tenant", t.ID(), "address", addr)
		return &oauth.Error{Code: oauth.CodeAccessDenied, Status: http.StatusForbidden}
	}
	wait, err := r.limiter.Admit(req.Context(), Attempt{TenantID: t.ID(), Network: ratelimit.Network(addr)})
	if err != nil {
		return err
	}
	if wait > 0 {
		return tooMany(wait, "too many applications were registered from this network, try again later")
	}
	return nil
}

// admitHosts asks the limiter about where users would be sent.
func (r *Registrar) admitHosts(req *http.Request, t *tenant.Tenant, uris []string) error {
	network := ratelimit.Network(httpx.ClientAddress(req, r.cfg.TrustedProxies))
	for _, host := range redirectHosts(uris) {
		wait, err := r.limiter.Admit(req.Context(), Attempt{TenantID: t.ID(), Network: network, RedirectHost: host})
		if err != nil {
			return err
		}
		if wait > 0 {
			return tooMany(wait, "too many applications were registered with this redirect host, try again later")
		}
	}
	return nil
}

// redirectHosts returns the hosts of redirect URIs that were validated, each once.
func redirectHosts(uris []string) []string {
	var hosts []string
	for i, uri := range uris {
		if i > 0 && beforePath(uri) == beforePath(uris[i-1]) {
			continue // mostly all are on one host
		}
		u, err := url.Parse(uri)
		if err != nil || u.Scheme != "https" { // the others are not on the web
			continue
		}
		if host := strings.ToLower(u.Hostname()); !slices.Contains(hosts, host) && len(hosts) < maxHosts {
			hosts = append(hosts, host)
		}
	}
	return hosts
}

// beforePath returns scheme and authority of a URI as they were written.
func beforePath(uri string) string {
	scheme, rest, _ := strings.Cut(uri, "//")
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		return uri[:len(scheme)+len("//")+end]
	}
	return uri
}

func tooMany(wait time.Duration, description string) error {
	return &oauth.Error{
		Code: oauth.CodeTemporarilyUnavailable, Status: http.StatusTooManyRequests, RetryAfter: wait, Description: description,
	}
}

func local(addr netip.Addr) bool { return !addr.IsValid() || addr.IsLoopback() }
