package tenant

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/opkit/opkit/audit"
	"github.com/opkit/opkit/internal/management"
	"github.com/opkit/opkit/internal/seal"
	"github.com/opkit/opkit/store"
)

// Config is what a [Directory] needs. Stores, Secrets, and one of Issuer and
// Resolver are required.
type Config struct {
	// Stores keeps tenants, signing keys, APIs, client grants and clients. Tenants
	// are read on every request, so they should come through a cache; signing keys
	// should not, because the directory keeps them itself: see KeyStaleness.
	Stores store.Stores

	// Uncached is Stores without a cache. Administrators read and change its Tenants and
	// APIs, so that they see each other's changes at once. Nil members: those of Stores.
	Uncached store.Stores

	// KeyStaleness bounds how long a signing key that another node made, retired or
	// deleted stays unnoticed, if Stores.SigningKeys is not cached. Zero: 5 seconds.
	// Negative: keys are read each time.
	KeyStaleness time.Duration

	// Keys says where signing keys live and when they are replaced.
	Keys KeyConfig

	// TokenLifetime is the longest lifetime of signed tokens whose lifetime is not
	// that of an API: keys are published at least that long after they last signed.
	// Zero: one hour.
	TokenLifetime time.Duration

	// Secrets seal private keys: the first one seals, all open. Each has at least
	// 32 bytes.
	Secrets [][]byte

	// Issuer is the issuer identifier of the single tenant [DefaultID]: an https
	// URL, or http on a loopback host, kept byte for byte. Its record is created at
	// first use and follows this value. Empty if Resolver is set.
	Issuer string

	// Settings are given to the single tenant when its record is created. Later the
	// record counts.
	Settings store.TenantSettings

	// Resolver finds the tenant of a request where there are several. Nil: the
	// single tenant of Issuer.
	Resolver Resolver

	// Endpoints says where endpoints are mounted. Zero: the default paths.
	Endpoints Endpoints

	// Capabilities says what the mounted endpoints support, for the metadata.
	Capabilities Capabilities

	// ManagementRate is how often a client may call the management API.
	ManagementRate ManagementRate

	// Now is the clock. Nil: time.Now.
	Now func() time.Time

	// Audit receives what administrators change, see package audit, while requests wait. Nil:
	// nobody does.
	Audit audit.Sink

	// Logger receives internal errors and warnings. Nil: they are discarded.
	Logger *slog.Logger
}

// DefaultID is the identifier of the single tenant.
const DefaultID = "default"

// Directory knows the tenants of this process. It is safe for concurrent use.
type Directory struct {
	cfg      Config
	box      *seal.Box
	salts    *seal.Box
	guard    *management.Guard
	anchored bool // requests are tied to the host of the tenant's issuer
	single   bool // the tenant DefaultID follows cfg.Issuer
	adopted  atomic.Bool

	mu      sync.RWMutex
	entries map[string]*entry
}

// entry is what the directory keeps for a tenant that exists.
type entry struct {
	snapshot atomic.Pointer[Tenant]
	keys     *keyring
	salt     atomic.Pointer[[]byte] // of pairwise identifiers; never changes
}

// New checks cfg. It reads and writes no store and starts no goroutine.
func New(cfg Config) (*Directory, error) {
	switch {
	case cfg.Stores.Tenants == nil, cfg.Stores.SigningKeys == nil, cfg.Stores.APIs == nil,
		cfg.Stores.ClientGrants == nil, cfg.Stores.Clients == nil:
		return nil, errors.New("tenant: Config.Stores needs Tenants, SigningKeys, APIs, ClientGrants and Clients")
	case cfg.Issuer == "" && cfg.Resolver == nil:
		return nil, errors.New("tenant: Config.Issuer or Config.Resolver is required")
	case cfg.Issuer != "" && cfg.Resolver != nil:
		return nil, errors.New("tenant: Config.Issuer and Config.Resolver exclude each other")
	}
	if cfg.Uncached.Tenants == nil {
		cfg.Uncached.Tenants = cfg.Stores.Tenants
	}
	if cfg.Uncached.APIs == nil {
		cfg.Uncached.APIs = cfg.Stores.APIs
	}
	d := &Directory{cfg: cfg, entries: map[string]*entry{}}
	if d.cfg.Resolver == nil {
		if err := checkIssuer(cfg.Issuer); err != nil {
			return nil, fmt.Errorf("tenant: Config.Issuer %w", err)
		}
		if err := checkSettings(&cfg.Settings); err != nil {
			return nil, fmt.Errorf("tenant: Config.Settings: %w", err)
		}
		d.single = true
		d.cfg.Resolver = Single(DefaultID, cfg.Issuer)
	}
	if hosts, ok := d.cfg.Resolver.(byHost); ok {
		if hosts.tenantOf == nil {
			return nil, errors.New("tenant: ByHost needs a function")
		}
		d.anchored = true
	}
	var err error
	if d.cfg.Endpoints, err = cfg.Endpoints.resolved(); err != nil {
		return nil, err
	}
	if d.box, err = seal.New("signing-key", cfg.Secrets...); err != nil {
		return nil, fmt.Errorf("tenant: Config.Secrets: %w", err)
	}
	if d.salts, err = seal.New("pairwise-salt", cfg.Secrets...); err != nil {
		return nil, fmt.Errorf("tenant: Config.Secrets: %w", err)
	}
	if d.cfg.KeyStaleness == 0 {
		d.cfg.KeyStaleness = defaultKeyStaleness
	}
	if d.cfg.TokenLifetime == 0 {
		d.cfg.TokenLifetime = defaultTokenLifetime
	}
	if d.cfg.Keys, err = cfg.Keys.resolved(d.cfg.KeyStaleness, d.cfg.TokenLifetime); err != nil {
		return nil, err
	}
	if d.cfg.Now == nil {
		d.cfg.Now = time.Now
	}
	if d.cfg.Logger == nil {
		d.cfg.Logger = slog.New(slog.DiscardHandler)
	}
	limit, err := cfg.ManagementRate.limit(cfg.Stores.Tickets, d.now)
	if err != nil {
		return nil, fmt.Errorf("tenant: Config.ManagementRate %w", err)
	}
	d.guard = &management.Guard{Verify: d.verifyManagement, Limit: limit, Now: d.now, Logger: d.cfg.Logger}
	return d, nil
}

// Endpoints returns where endpoints are mounted, with defaults filled in. An
// endpoint that is not mounted is [NotMounted]. The value must not be modified.
func (d *Directory) Endpoints() *Endpoints { return &d.cfg.Endpoints }

// Resolver returns the resolver in use.
func (d *Directory) Resolver() Resolver { return d.cfg.Resolver }

// Guard returns the guard of the management API, for the handlers of other rooms.
func (d *Directory) Guard() *management.Guard { return d.guard }

// FromRequest returns the tenant that a request is for; store.ErrNotFound if
// there is none.
func (d *Directory) FromRequest(r *http.Request) (*Tenant, error) {
	id, _, err := d.cfg.Resolver.Resolve(r)
	if err != nil {
		return nil, err
	}
	t, err := d.Tenant(r.Context(), id)
	if err != nil {
		return nil, err
	}
	if d.anchored && !t.servedAt(r.Host) {
		// The host's function may have matched a suffix or a pattern. Only the host
		// of the issuer itself may speak for the issuer.
		return nil, store.ErrNotFound
	}
	return t, nil
}

// Tenant returns a tenant by its identifier; store.ErrNotFound if there is none.
func (d *Directory) Tenant(ctx context.Context, id string) (*Tenant, error) {
	if !validID(id) {
		return nil, store.ErrNotFound
	}
	record, err := d.cfg.Stores.Tenants.Tenant(ctx, id)
	if d.single && id == DefaultID {
		record, err = d.follow(ctx, record, err)
	}
	if err != nil {
		return nil, err
	}
	e := d.entry(id)
	if t := e.snapshot.Load(); t != nil && t.of(&record) {
		return t, nil
	}
	t := newTenant(record, e.keys, &d.cfg)
	e.snapshot.Store(t)
	d.resealSalt(ctx, e, &record)
	return t, nil
}

// entry returns the entry of a tenant that exists, so that strangers cannot make
// the map grow.
func (d *Directory) entry(id string) *entry {
	d.mu.RLock()
	e := d.entries[id]
	d.mu.RUnlock()
	if e != nil {
		return e
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if e = d.entries[id]; e == nil {
		e = &entry{keys: newKeyring()}
		d.entries[id] = e
	}
	return e
}

// now returns the time as records keep it.
func (d *Directory) now() time.Time { return d.cfg.Now().UTC().Truncate(time.Microsecond) }
