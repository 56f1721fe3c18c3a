package memstore_test

import (
	"fmt"
	"testing"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
)

// BenchmarkClientAmong shows that finding a client takes as long among a million as
// among a thousand. store/sqlstore/sqltest measures the same on databases (TestScale).
//
//	go test -run '^$' -bench ClientAmong ./store/memstore
func BenchmarkClientAmong(b *testing.B) {
	for _, population := range []int{1_000, 1_000_000} {
		b.Run(fmt.Sprint(population), func(b *testing.B) {
			s := memstore.New()
			id := func(i int) string { return fmt.Sprintf("%032d", i) }
			for i := range population {
				if err := s.CreateClient(b.Context(), store.Client{TenantID: "tenant", ID: id(i), RedirectURIs: []string{"https://app.example.com/cb"}}); err != nil {
					b.Fatal(err)
				}
			}
			i := 0
			for b.Loop() {
				i = (i + 7919) % population
				if _, err := s.Client(b.Context(), "tenant", id(i)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
