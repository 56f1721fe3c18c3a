package opkit

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// defaultRequestTimeout is longer than anything that a request does by itself: what
// is fetched from an application takes five seconds at most.
const defaultRequestTimeout = 20 * time.Second

// limited gives every request to h a deadline, unless its context has one.
func (p *Provider) limited(h http.Handler) http.Handler {
	limit := p.cfg.RequestTimeout
	if limit < 0 {
		return h
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		if _, ok := ctx.Deadline(); ok {
			h.ServeHTTP(w, r)
			return
		}
		bounded := &boundedContext{Context: ctx, deadline: time.Now().Add(limit)}
		defer bounded.end()
		h.ServeHTTP(w, r.WithContext(bounded))
	})
}

// boundedContext is what context.WithDeadline returns, but costs a timer and a place
// in its parent only if somebody waits for it. Most requests are answered from
// memory, and some of them take hardly longer than that.
type boundedContext struct {
	context.Context // of the request
	deadline        time.Time

	mu     sync.Mutex
	over   bool            // the request was answered
	waited context.Context // nil until somebody waits
	cancel context.CancelFunc
}

func (c *boundedContext) Deadline() (time.Time, bool) { return c.deadline, true }

func (c *boundedContext) Done() <-chan struct{} { return c.wait().Done() }

func (c *boundedContext) Err() error {
	c.mu.Lock()
	ended, waited := c.over, c.waited != nil
	c.mu.Unlock()
	if ended || waited || !time.Now().Before(c.deadline) {
		return c.wait().Err()
	}
	return c.Context.Err()
}

// Value lets package context find the one that is waited for, so that contexts made
// from this one need no goroutine.
func (c *boundedContext) Value(key any) any {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waited != nil {
		return c.waited.Value(key)
	}
	return c.Context.Value(key)
}

// wait returns the context that is waited for.
func (c *boundedContext) wait() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waited == nil {
		c.waited, c.cancel = context.WithDeadline(c.Context, c.deadline)
		if c.over {
			c.cancel()
		}
	}
	return c.waited
}

// end tells those who kept the context that the request is over.
func (c *boundedContext) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	if c.cancel != nil {
		c.cancel()
	}
}
