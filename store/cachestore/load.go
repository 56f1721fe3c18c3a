package cachestore

import "context"

// loading is a read of the underlying store that is under way. What follows done
// may be read once it is closed.
type loading[V any] struct {
	began moment
	done  chan struct{}
	value *V
	err   error
	// abandoned says that the call that made the read gave up or panicked, so that
	// the outcome says nothing about the store.
	abandoned bool
}

// join returns the load of k to wait for, or a new one that the caller leads, or
// nil if there is a result by now.
func (c *cache[V]) join(s *shard[V], k key, now moment) (l *loading[V], leads bool) {
	s.Lock()
	defer s.Unlock()
	if _, known := c.lookup(s, k, now); known {
		return nil, false
	}
	// A load that began long ago may bring what is too old for this call.
	if l := s.loads[k]; l != nil && c.fresh(l.began, now) {
		return l, false
	}
	l = &loading[V]{began: now, done: make(chan struct{})}
	s.loads[k.own()] = l
	return l, true
}

// lead reads the value of k for all who wait for l. It keeps the outcome unless
// the load was forgotten, which a write does.
func (c *cache[V]) lead(ctx context.Context, s *shard[V], k key, l *loading[V]) (*V, error) {
	l.abandoned = true // unless load returns
	defer func() {
		s.Lock()
		if s.loads[k] == l {
			delete(s.loads, k)
			if !l.abandoned {
				c.keep(s, k.own(), l.value, l.err, l.began)
			}
		}
		s.Unlock()
		close(l.done)
	}()
	value, err := c.load(ctx, k)
	l.value, l.err = &value, err
	l.abandoned = err != nil && ctx.Err() != nil
	return l.value, l.err
}
