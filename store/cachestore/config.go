package cachestore

import (
	"time"

	"github.com/opkit/opkit/store"
)

// Config says how much is kept, and for how long. Its zero value is ready to use.
type Config struct {
	// Staleness is how long a record may be returned after it was read. Zero or
	// less means 5 seconds.
	Staleness time.Duration

	// MaxEntries bounds how many results are kept of each kind of read, and,
	// apart from those, how many identifiers are known to be absent. Zero or less
	// means 10,000.
	MaxEntries int

	// Now returns the time. Nil means time.Now.
	Now func() time.Time

	// Counters counts what the caches do, if it is not nil.
	Counters *Counters
}

// settings is a Config with its defaults filled in.
type settings struct {
	staleness  time.Duration
	maxEntries int
	now        func() moment
	counters   *Counters
}

func (cfg Config) resolve() settings {
	s := settings{staleness: cfg.Staleness, maxEntries: cfg.MaxEntries, counters: cfg.Counters}
	if s.staleness <= 0 {
		s.staleness = 5 * time.Second
	}
	if s.maxEntries <= 0 {
		s.maxEntries = 10_000
	}
	if cfg.Now == nil {
		began := time.Now()
		s.now = func() moment { return moment(time.Since(began)) }
	} else {
		began := cfg.Now()
		s.now = func() moment { return moment(cfg.Now().Sub(began)) }
	}
	return s
}

// New returns stores with a cache in front of the configuration stores of
// stores. What is nil stays nil.
func New(stores store.Stores, cfg Config) store.Stores {
	s := cfg.resolve()
	if stores.Tenants != nil {
		stores.Tenants = newTenants(stores.Tenants, s)
	}
	if stores.Connections != nil {
		stores.Connections = newConnections(stores.Connections, s)
	}
	if stores.Clients != nil {
		cached := newClients(stores.Clients, s)
		stores.Clients = cached
		if stores.ClientSweeper != nil {
			stores.ClientSweeper = clientSweeper{stores.ClientSweeper, cached.byID}
		}
	}
	if stores.APIs != nil {
		stores.APIs = newAPIs(stores.APIs, s)
	}
	if stores.ClientGrants != nil {
		stores.ClientGrants = newClientGrants(stores.ClientGrants, s)
	}
	if stores.SigningKeys != nil {
		stores.SigningKeys = newSigningKeys(stores.SigningKeys, s)
	}
	return stores
}
