package cachestore

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"unsafe"

	"github.com/opkit/opkit/store"
)

func (c *cache[V]) entries() (present, absent, loads int) {
	for i := range c.shards {
		present += len(c.shards[i].present)
		absent += len(c.shards[i].absent)
		loads += len(c.shards[i].loads)
	}
	return present, absent, loads
}

// echo finds every key but those that begin with "no".
func echo(_ context.Context, k key) (string, error) {
	if strings.HasPrefix(k.a, "no") {
		return "", store.ErrNotFound
	}
	return k.a, nil
}

func TestNoMoreThanMaxEntriesAreKept(t *testing.T) {
	for _, limit := range []int{1, 2, 63, 64, 65, 1000, 10_000} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			c := newCache(Config{MaxEntries: limit}.resolve(), "clients", echo)
			for i := range 3 * limit {
				for _, id := range []string{"yes", "no"} {
					if _, err := c.get(t.Context(), key{"t", id + fmt.Sprint(i), "", ""}); (err == nil) != (id == "yes") {
						t.Fatal(err)
					}
				}
			}
			present, absent, loads := c.entries()
			// The shards do not fill evenly; what is kept should still be of use.
			if present > limit || absent > limit || present < limit/2 || absent < limit/2 || loads != 0 {
				t.Errorf("%d present, %d absent, %d loads; the limit is %d", present, absent, loads, limit)
			}
		})
	}
}

func TestEntriesThatAreReadAgainTakeNoMoreRoom(t *testing.T) {
	now := moment(0)
	cfg := Config{MaxEntries: 2}.resolve()
	cfg.now = func() moment { return now }
	c := newCache(cfg, "clients", echo)
	for range 10 {
		now += moment(cfg.staleness)
		for _, id := range []string{"a", "b", "no1", "no2"} {
			_, _ = c.get(t.Context(), key{"t", id, "", ""})
		}
	}
	if present, absent, _ := c.entries(); present != 2 || absent != 2 {
		t.Errorf("%d present, %d absent, want 2 of each", present, absent)
	}
}

func TestAnEntryIsPresentOrAbsent(t *testing.T) {
	now, exists := moment(0), false
	cfg := Config{}.resolve()
	cfg.now = func() moment { return now }
	c := newCache(cfg, "clients", func(ctx context.Context, k key) (string, error) {
		if exists = !exists; exists {
			return k.a, nil
		}
		return "", store.ErrNotFound
	})
	for range 5 {
		now += moment(cfg.staleness)
		_, _ = c.get(t.Context(), key{"t", "a", "", ""})
		if present, absent, _ := c.entries(); present+absent != 1 || (present == 1) != exists {
			t.Errorf("%d present, %d absent; it exists: %t", present, absent, exists)
		}
	}
}

// A key that is kept must not keep the request alive that it came with.
func TestKeysAreCopied(t *testing.T) {
	c := newCache(Config{}.resolve(), "clients", echo)
	request := strings.Repeat("x", 1<<16) + "client" + "nobody"
	for _, id := range []string{request[1<<16 : 1<<16+6], request[1<<16+6:]} {
		_, _ = c.get(t.Context(), key{tenant: request[:1], a: id})
	}
	begin := uintptr(unsafe.Pointer(unsafe.StringData(request)))
	inside := func(s string) bool {
		p := uintptr(unsafe.Pointer(unsafe.StringData(s)))
		return begin <= p && p < begin+uintptr(len(request))
	}
	for i := range c.shards {
		for k := range c.shards[i].present {
			if inside(k.tenant) || inside(k.a) {
				t.Errorf("the key of %q is a part of the request", k.a)
			}
		}
		for k := range c.shards[i].absent {
			if inside(k.tenant) || inside(k.a) {
				t.Errorf("the key of the absent %q is a part of the request", k.a)
			}
		}
	}
}
