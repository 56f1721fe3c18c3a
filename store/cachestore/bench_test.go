package cachestore_test

import (
	"testing"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/cachestore"
	"github.com/opkit/opkit/store/memstore"
)

// The keys are cut out of a longer string, as they are in a request.
const request = "tenant-1 client-1 https://api.example.com/"

func BenchmarkHit(b *testing.B) {
	stores := cachestore.New(memstore.New().Stores(), cachestore.Config{Staleness: 1 << 50})
	ctx := b.Context()
	tenant, client, audience := request[:8], request[9:17], request[18:]
	if err := stores.Clients.CreateClient(ctx, store.Client{TenantID: tenant, ID: client}); err != nil {
		b.Fatal(err)
	}
	b.Run("client", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := stores.Clients.Client(ctx, tenant, client); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("client-parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := stores.Clients.Client(ctx, tenant, client); err != nil {
					b.Error(err)
				}
			}
		})
	})
	b.Run("connections", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := stores.Connections.Connections(ctx, tenant, store.Page{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("absent-client-grant", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := stores.ClientGrants.FindClientGrant(ctx, tenant, client, audience, store.SubjectUser); err == nil {
				b.Fatal("found")
			}
		}
	})
}

func BenchmarkMiss(b *testing.B) {
	stores := cachestore.New(memstore.New().Stores(), cachestore.Config{Staleness: 1})
	ctx := b.Context()
	if err := stores.Clients.CreateClient(ctx, store.Client{TenantID: "t", ID: "c"}); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := stores.Clients.Client(ctx, "t", "c"); err != nil {
			b.Fatal(err)
		}
	}
}
