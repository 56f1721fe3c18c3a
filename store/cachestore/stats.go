package cachestore

import (
	"sync"
	"sync/atomic"
)

// Counters counts what caches do. Its zero value is ready; give it to
// [Config.Counters] and read [Counters.Stats] as often as you like.
type Counters struct {
	mu     sync.Mutex
	caches map[string][]func(*Counts)
}

// Stats is what happened since the caches were made, by the kind of record.
type Stats struct {
	Tenants, Connections, Clients, APIs, ClientGrants, SigningKeys Counts
}

// Counts is what happened to the reads of one kind of record. Reads that are not cached
// (see the package documentation) are not counted.
type Counts struct {
	// Hits were answered from memory. Of them Absent were answered with ErrNotFound.
	Hits, Absent uint64
	// Loads went to the underlying store. Shared waited for a load that another read
	// had begun.
	Loads, Shared uint64
	// Evicted entries made room for others. More than a few mean that MaxEntries is
	// too small.
	Evicted uint64
	// Entries are kept now, those that say that there is nothing included.
	Entries int
}

// Reads is the number of reads.
func (c Counts) Reads() uint64 { return c.Hits + c.Loads + c.Shared }

// HitRate is the part of the reads for which nothing was read from the underlying
// store, from 0 to 1; 0 if there were no reads.
func (c Counts) HitRate() float64 {
	if c.Reads() == 0 {
		return 0
	}
	return float64(c.Hits+c.Shared) / float64(c.Reads())
}

// Stats returns a snapshot. While reads go on, its numbers may be from moments that are
// a little apart.
func (c *Counters) Stats() Stats {
	var s Stats
	c.mu.Lock()
	defer c.mu.Unlock()
	for what, counts := range map[string]*Counts{
		"tenants": &s.Tenants, "connections": &s.Connections, "clients": &s.Clients,
		"APIs": &s.APIs, "client grants": &s.ClientGrants, "signing keys": &s.SigningKeys,
	} {
		for _, add := range c.caches[what] {
			add(counts)
		}
	}
	return s
}

// watch includes a cache. A nil c does nothing.
func (c *Counters) watch(what string, add func(*Counts)) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.caches == nil {
		c.caches = make(map[string][]func(*Counts))
	}
	c.caches[what] = append(c.caches[what], add)
}

// counting are the counters of a shard.
type counting struct {
	hits, absent, loads, shared, evicted atomic.Uint64
}

// count adds what happened in c.
func (c *cache[V]) count(to *Counts) {
	for i := range c.shards {
		s := &c.shards[i]
		to.Hits += s.counts.hits.Load()
		to.Absent += s.counts.absent.Load()
		to.Loads += s.counts.loads.Load()
		to.Shared += s.counts.shared.Load()
		to.Evicted += s.counts.evicted.Load()
		s.RLock()
		to.Entries += len(s.present) + len(s.absent)
		s.RUnlock()
	}
}
