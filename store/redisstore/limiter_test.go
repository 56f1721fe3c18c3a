package redisstore

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opkit/opkit/dcr"
	"github.com/opkit/opkit/store/redisstore/redistest"
)

// The limiter that nodes share counts in Redis: together they admit no more than one
// would, and what one admitted counts on the other.
func TestSharedLimiterOnTwoHandles(t *testing.T) {
	const burst = 64
	server := redistest.Start(t)
	now := storeTime
	var nodes []dcr.Limiter
	for range 2 {
		s := open(t, Config{Client: server.Client(t), Prefix: "limiter"})
		l, err := dcr.NewSharedLimiter(s, dcr.Rate{PerSecond: 1, Burst: burst}, func() time.Time { return now })
		if err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, l)
	}
	admit := func(l dcr.Limiter, address string) bool {
		prefix := netip.MustParsePrefix(address + "/32")
		wait, err := l.Admit(t.Context(), dcr.Attempt{TenantID: "t", Network: prefix})
		if err != nil {
			t.Error(err)
		}
		return wait == 0 && err == nil
	}
	var admitted atomic.Int64
	var running sync.WaitGroup
	for i := range 8 {
		running.Go(func() {
			for admit(nodes[i%2], "198.51.100.7") {
				admitted.Add(1)
			}
		})
	}
	running.Wait()
	if n := admitted.Load(); n > burst || n < burst/2 {
		t.Errorf("%d of a burst of %d were admitted", n, burst)
	}
	now = now.Add(2 * time.Second)
	for admit(nodes[0], "198.51.100.7") {
		admitted.Add(1)
	}
	if admit(nodes[1], "198.51.100.7") {
		t.Error("the second node admits what the first has used up")
	}
	if n := admitted.Load(); n > burst+2 {
		t.Errorf("%d of a burst of %d and 2 seconds were admitted", n, burst)
	}
	if !admit(nodes[1], "198.51.100.8") {
		t.Error("another network has to wait")
	}
}
