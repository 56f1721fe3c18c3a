package dcr

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
)

const (
	// What documents may take up in memory, in all and of one tenant: strangers decide
	// which are fetched.
	maxDocuments       = 16 << 20
	maxTenantDocuments = 4 << 20

	// documentOverhead is counted for each, about what an entry without a document takes.
	documentOverhead = 1 << 10

	// evictionSample is how many entries are looked at to find one to drop.
	evictionSample = 8

	// refreshTimeout bounds what is done for all who wait for a document: it is fetched,
	// perhaps another one that it names, and a store is asked which scopes there are.
	refreshTimeout = 15 * time.Second
)

// documentKey is where an application of a tenant publishes its metadata. The client
// is the tenant's: which scopes exist, for instance.
type documentKey struct{ tenant, url string }

// documentCache knows the clients that documents describe. Each document is fetched
// by one request while the others wait. It is safe for concurrent use.
type documentCache struct {
	fetcher *documentFetcher
	parse   func(context.Context, documentKey, []byte) (*store.Client, error)

	mu      sync.Mutex
	tenants map[string]*tenantDocuments
	size    int
}

type tenantDocuments struct {
	entries map[string]*documentEntry // by URL
	size    int
}

// documentEntry is what is known about a URL. documentCache.mu guards it.
type documentEntry struct {
	// client is nil if the last fetch gave none. It is never modified.
	client  *store.Client
	fetched time.Time
	fresh   time.Duration
	// settings is the version of the tenant by whose rules this is the client, or
	// is none.
	settings int64
	// failure is the outcome of a fetch that gave no client.
	failure error
	failed  time.Time

	running chan struct{} // closed when the running fetch ends; nil: none runs
	used    time.Time
	size    int
}

// get returns the client that a document describes, fetched if need be: also if the
// tenant, whose version settings is, has changed its mind since about what it accepts.
// known says that users have allowed it something.
func (c *documentCache) get(ctx context.Context, key documentKey, settings int64, known bool) (*store.Client, error) {
	for {
		now := c.fetcher.now()
		c.mu.Lock()
		e := c.lookup(key)
		var running chan struct{}
		if e != nil {
			e.used = now
			client, failure := e.client, e.failure
			switch {
			case e.settings != settings:
			case client != nil && within(now, e.fetched, e.fresh):
				c.mu.Unlock()
				return client, nil
			case failure != nil && within(now, e.failed, documentCooldown):
				c.mu.Unlock()
				return nil, failure
			}
			running = e.running
		}
		if running == nil {
			release, err := c.fetcher.admit(ctx, key, known || e != nil && e.client != nil)
			if err != nil {
				c.mu.Unlock()
				return nil, err
			}
			e = c.begin(key, now)
			c.mu.Unlock()
			return c.refresh(ctx, key, settings, e, release)
		}
		c.mu.Unlock()
		select {
		case <-running:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// lookup returns the entry of a URL, nil if there is none. c.mu is held.
func (c *documentCache) lookup(key documentKey) *documentEntry {
	if t := c.tenants[key.tenant]; t != nil {
		return t.entries[key.url]
	}
	return nil
}

// begin marks that a fetch runs. c.mu is held.
func (c *documentCache) begin(key documentKey, now time.Time) *documentEntry {
	t := c.tenants[key.tenant]
	if t == nil {
		t = &tenantDocuments{entries: map[string]*documentEntry{}}
		// Not a part of a request that would stay in memory with it.
		c.tenants[strings.Clone(key.tenant)] = t
	}
	e := t.entries[key.url]
	if e == nil {
		e = &documentEntry{}
		t.entries[strings.Clone(key.url)] = e
		c.resize(t, e, documentOverhead+len(key.url))
	}
	e.running, e.used = make(chan struct{}), now
	return e
}

// refresh fetches the document for all who wait. The request that happened to come
// first may end early; the others must not suffer from that, so that its time limit
// does not count and this has one of its own.
func (c *documentCache) refresh(ctx context.Context, key documentKey, settings int64, e *documentEntry, release func()) (client *store.Client, err error) {
	defer release()
	began := c.fetcher.now()
	var fresh time.Duration
	size := 0
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		close(e.running)
		e.running = nil
		switch {
		case client != nil:
			e.client, e.fetched, e.fresh, e.settings, e.failure = client, began, fresh, settings, nil
		case err == nil || oauth.Internal(err):
			return // a panic, or the provider's fault: nothing is known
		default:
			e.client, e.settings, e.failure, e.failed = nil, settings, err, c.fetcher.now()
		}
		if t := c.tenants[key.tenant]; t != nil && t.entries[key.url] == e {
			c.resize(t, e, documentOverhead+len(key.url)+2*size)
			c.evict(key.tenant)
		}
	}()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), refreshTimeout)
	defer cancel()
	fetched, err := c.fetcher.fetch(ctx, key)
	if err != nil {
		return nil, err
	}
	parsed, err := c.parse(ctx, key, fetched.Body)
	if err != nil {
		if oauth.Internal(err) {
			return nil, err
		}
		return nil, unusable(err, "the client ID metadata document at the application's client_id is not accepted: "+oauth.AsError(err).Description)
	}
	parsed.CreatedAt = began.UTC().Truncate(time.Microsecond)
	parsed.Document = &store.ClientDocument{FetchedAt: parsed.CreatedAt}
	fresh, size = fetched.Freshness(documentFresh, minDocumentFresh, maxDocumentFresh), len(fetched.Body)
	return parsed, nil
}

func (c *documentCache) resize(t *tenantDocuments, e *documentEntry, size int) {
	c.size += size - e.size
	t.size += size - e.size
	e.size = size
}

// evict drops entries until the bounds are kept. c.mu is held.
func (c *documentCache) evict(tenant string) {
	t := c.tenants[tenant]
	for t.size > maxTenantDocuments && c.evictOne(tenant) {
	}
	for c.size > maxDocuments {
		// Of a few tenants, which the order of the map picks at random, the one that has
		// most.
		largest, seen := "", 0
		for id, t := range c.tenants {
			if seen == 0 || t.size > c.tenants[largest].size {
				largest = id
			}
			if seen++; seen == evictionSample {
				break
			}
		}
		if !c.evictOne(largest) {
			return
		}
	}
}

// evictOne drops what was asked for least recently among a few entries of a tenant.
// It reports false if all of them are being fetched.
func (c *documentCache) evictOne(tenant string) bool {
	t := c.tenants[tenant]
	oldest, seen := "", 0
	for url, e := range t.entries {
		if e.running != nil {
			continue
		}
		if seen == 0 || e.used.Before(t.entries[oldest].used) {
			oldest = url
		}
		if seen++; seen == evictionSample {
			break
		}
	}
	if seen == 0 {
		return false
	}
	c.resize(t, t.entries[oldest], 0)
	delete(t.entries, oldest)
	if len(t.entries) == 0 {
		delete(c.tenants, tenant)
	}
	return true
}

// within reports whether less than d has passed since then. A clock that was set
// back does not make it last longer.
func within(now, then time.Time, d time.Duration) bool {
	since := now.Sub(then)
	return 0 <= since && since < d
}
