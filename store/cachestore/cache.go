package cachestore

import (
	"context"
	"errors"
	"hash/maphash"
	"strings"
	"sync"
	"time"

	"github.com/opkit/opkit/store"
)

const (
	// maxShards is the largest number of locks of a cache.
	maxShards = 16
	// maxAbsentKey is the longest key, in bytes, that is remembered as absent.
	// Anybody can ask for what does not exist; what exists has been let in before.
	maxAbsentKey = 512
	// evictionSample is how many entries are looked at to find one to drop.
	evictionSample = 4
)

// key is the arguments of a read. Members that a read does not have are empty.
type key struct{ tenant, a, b, c string }

func (k key) len() int { return len(k.tenant) + len(k.a) + len(k.b) + len(k.c) }

// own returns a copy of k that keeps no other memory alive: an identifier may be
// a part of a whole request body.
func (k key) own() key {
	return key{strings.Clone(k.tenant), strings.Clone(k.a), strings.Clone(k.b), strings.Clone(k.c)}
}

// moment is a time, counted from when the caches were made. It is cheaper to ask
// for and to keep than a time.Time.
type moment time.Duration

// cache keeps the results of one kind of read.
type cache[V any] struct {
	load      func(context.Context, key) (V, error)
	staleness time.Duration
	now       func() moment
	seed      maphash.Seed
	shards    []shard[V] // a power of two
	capacity  int        // of a shard
}

type shard[V any] struct {
	sync.RWMutex
	present map[key]*result[V]
	absent  map[key]moment // when the read began that did not find it
	loads   map[key]*loading[V]
	counts  counting
}

// result is the outcome of a read that found something. It is never modified.
type result[V any] struct {
	value *V
	began moment // when the read began
}

func newCache[V any](cfg settings, what string, load func(context.Context, key) (V, error)) *cache[V] {
	shards := 1
	for shards < maxShards && shards*64 < cfg.maxEntries {
		shards *= 2
	}
	c := &cache[V]{
		load:      load,
		staleness: cfg.staleness,
		now:       cfg.now,
		seed:      maphash.MakeSeed(),
		shards:    make([]shard[V], shards),
		capacity:  cfg.maxEntries / shards,
	}
	for i := range c.shards {
		c.shards[i].present = make(map[key]*result[V])
		c.shards[i].absent = make(map[key]moment)
		c.shards[i].loads = make(map[key]*loading[V])
	}
	cfg.counters.watch(what, c.count)
	return c
}

func (c *cache[V]) shard(k key) *shard[V] {
	return &c.shards[maphash.Comparable(c.seed, k)&uint64(len(c.shards)-1)]
}

// fresh reports whether the outcome of a read that began then may be returned. A
// clock that was set back does not make it last longer.
func (c *cache[V]) fresh(then, now moment) bool {
	return then <= now && time.Duration(now-then) < c.staleness
}

// get returns the value of k, which is shared by all who ask for it.
func (c *cache[V]) get(ctx context.Context, k key) (*V, error) {
	s := c.shard(k)
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		now := c.now()
		s.RLock()
		r, known := c.lookup(s, k, now)
		s.RUnlock()
		switch {
		case known && r == nil:
			s.counts.hits.Add(1)
			s.counts.absent.Add(1)
			return nil, store.ErrNotFound
		case known:
			s.counts.hits.Add(1)
			return r.value, nil
		}
		l, leads := c.join(s, k, now)
		if leads {
			s.counts.loads.Add(1)
			return c.lead(ctx, s, k, l)
		}
		if l == nil {
			continue // another call has brought it since
		}
		select {
		case <-l.done:
			if !l.abandoned {
				s.counts.shared.Add(1)
				return l.value, l.err
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// lookup returns what is kept for k: nil if it is known to be absent. known is
// false if nothing is kept, or what is kept is too old. The shard is locked.
func (c *cache[V]) lookup(s *shard[V], k key, now moment) (r *result[V], known bool) {
	if r := s.present[k]; r != nil {
		return r, c.fresh(r.began, now)
	}
	began, known := s.absent[k]
	return nil, known && c.fresh(began, now)
}

// keep stores the outcome of a read of the underlying store. The shard is locked.
func (c *cache[V]) keep(s *shard[V], k key, value *V, err error, began moment) {
	switch {
	case err == nil:
		delete(s.absent, k)
		if _, replaces := s.present[k]; !replaces && len(s.present) >= c.capacity {
			evict(s.present, func(r *result[V]) moment { return r.began })
			s.counts.evicted.Add(1)
		}
		s.present[k] = &result[V]{value, began}
	case errors.Is(err, store.ErrNotFound):
		delete(s.present, k)
		if k.len() > maxAbsentKey {
			return
		}
		if _, replaces := s.absent[k]; !replaces && len(s.absent) >= c.capacity {
			evict(s.absent, func(began moment) moment { return began })
			s.counts.evicted.Add(1)
		}
		s.absent[k] = began
	}
}

// evict removes the oldest of a few entries, which the order of the map picks at
// random.
func evict[V any](entries map[key]V, began func(V) moment) {
	var oldest key
	var since moment
	seen := 0
	for k, v := range entries {
		if seen == 0 || began(v) < since {
			oldest, since = k, began(v)
		}
		if seen++; seen == evictionSample {
			break
		}
	}
	delete(entries, oldest)
}

// forget makes the next read of k go to the underlying store. A read that is
// under way may have begun before the write that is the reason, so that nobody
// who comes later gets its value.
func (c *cache[V]) forget(k key) {
	s := c.shard(k)
	s.Lock()
	defer s.Unlock()
	delete(s.present, k)
	delete(s.absent, k)
	delete(s.loads, k)
}

// forgetTenant is forget for everything of a tenant.
func (c *cache[V]) forgetTenant(tenant string) {
	for i := range c.shards {
		s := &c.shards[i]
		s.Lock()
		forgetTenant(s.present, tenant)
		forgetTenant(s.absent, tenant)
		forgetTenant(s.loads, tenant)
		s.Unlock()
	}
}

func forgetTenant[V any](entries map[key]V, tenant string) {
	for k := range entries {
		if k.tenant == tenant {
			delete(entries, k)
		}
	}
}
