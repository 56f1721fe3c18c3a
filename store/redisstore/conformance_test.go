package redisstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/redisstore/redistest"
	"github.com/opkit/opkit/storetest"
)

func TestConformance(t *testing.T) {
	server := redistest.Start(t)
	connect := func(t *testing.T) redis.UniversalClient { return server.Client(t) }
	t.Run("records end with the server", func(t *testing.T) {
		t.Parallel()
		conformance(t, Config{}, connect)
	})
	t.Run("durable", func(t *testing.T) {
		t.Parallel()
		conformance(t, Config{Durable: true}, connect)
	})
}

// In a cluster a script that uses keys of several slots is refused.
func TestConformanceOnACluster(t *testing.T) {
	cluster := redistest.NewCluster(t, 3)
	conformance(t, Config{}, func(t *testing.T) redis.UniversalClient { return cluster.Client(t) })
	for i, node := range cluster.Nodes() {
		keys, err := node.Client(t).DBSize(t.Context()).Result()
		if err != nil || keys == 0 {
			t.Errorf("node %d has %d keys (%v): nothing was spread", i, keys, err)
		}
	}
}

// conformance runs the kit. Each check has a prefix of its own, each handle a client.
func conformance(t *testing.T, cfg Config, connect func(t *testing.T) redis.UniversalClient) {
	t.Run("Tickets", func(t *testing.T) {
		newStore, opts := handles(cfg, connect, func(s *Store) store.TicketStore { return s })
		storetest.RunTickets(t, newStore, opts)
	})
	t.Run("Sessions", func(t *testing.T) {
		newStore, opts := handles(cfg, connect, func(s *Store) store.SessionStore { return s })
		storetest.RunSessions(t, newStore, opts)
	})
}

var prefixes atomic.Int64

func handles[S any](cfg Config, connect func(t *testing.T) redis.UniversalClient, as func(*Store) S) (func(t *testing.T) S, *storetest.Options[S]) {
	open := func(t *testing.T, prefix string) S {
		cfg := cfg
		cfg.Client, cfg.Prefix = connect(t), prefix
		s, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		return as(s)
	}
	of := func(s S) *Store { return any(s).(*Store) }
	return func(t *testing.T) S { return open(t, fmt.Sprint("test", prefixes.Add(1))) }, &storetest.Options[S]{
		Second: func(t *testing.T, s S) S { return open(t, of(s).prefix) },
		Reopen: func(t *testing.T, s S) S {
			if err := of(s).client.(io.Closer).Close(); err != nil {
				t.Fatal(err)
			}
			if _, err := of(s).Ticket(context.Background(), "t", "k", store.Digest{}, storeTime); err == nil || errors.Is(err, store.ErrNotFound) {
				t.Fatal("the handle still works")
			}
			return open(t, of(s).prefix)
		},
	}
}

func Benchmark(b *testing.B) {
	server := redistest.Start(b)
	storetest.Benchmark(b, func(b *testing.B) store.Stores {
		s, err := New(Config{Client: server.Client(b), Prefix: fmt.Sprint("bench", prefixes.Add(1))})
		if err != nil {
			b.Fatal(err)
		}
		return store.Stores{Tickets: s, Sessions: s}
	})
}
