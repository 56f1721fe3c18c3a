package opkit_test

import (
	"testing"

	"github.com/opkit/opkit"
)

// The statistics of a provider show what its cache spares the stores.
func TestCacheStats(t *testing.T) {
	w := newWorld(t, options{config: func(c *opkit.Config) { c.CacheStaleness = 0 }})
	app := w.register(nil)
	for range 3 {
		w.redeem(app, w.authorize(app).Get("code"))
	}
	s := w.provider.CacheStats()
	if s.Clients.Hits == 0 || s.Clients.Loads == 0 || s.Clients.HitRate() < 0.5 || s.Connections.Hits == 0 || s.Tenants.Entries == 0 {
		t.Errorf("%+v", s)
	}
	off := newWorld(t, options{})
	off.register(nil)
	if got := off.provider.CacheStats(); got.Clients.Reads() != 0 {
		t.Errorf("without a cache: %+v", got)
	}
}
