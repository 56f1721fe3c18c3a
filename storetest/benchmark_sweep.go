package storetest

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/opkit/opkit/store"
)

// BenchmarkSweep removes 100,000 provisional clients as a provider does, 200 in a
// call, and reports what others notice of it: the longest that reading a client and
// registering one took meanwhile, in milliseconds, and for comparison the same
// without a sweep. newStores returns stores without any data.
func BenchmarkSweep(b *testing.B, newStores func(b *testing.B) store.Stores) {
	const swept, batch = 100_000, 200
	for b.Loop() {
		b.StopTimer()
		ctx, s := b.Context(), newStores(b)
		for i := range swept {
			if err := s.Clients.CreateClient(ctx, benchClient(i)); err != nil {
				b.Fatal(err)
			}
		}
		kept := benchClient(swept)
		kept.ConfirmedAt = base
		if err := s.Clients.CreateClient(ctx, kept); err != nil {
			b.Fatal(err)
		}
		created := swept
		watch := func(until <-chan struct{}) (read, create time.Duration) {
			var reads, creates []time.Duration
			for {
				began := time.Now()
				_, err := s.Clients.Client(ctx, kept.TenantID, kept.ID)
				reads = append(reads, time.Since(began))
				created++
				c := benchClient(created)
				c.CreatedAt = base.AddDate(1, 0, 0)
				began = time.Now()
				err = errors.Join(err, s.Clients.CreateClient(ctx, c))
				creates = append(creates, time.Since(began))
				if err != nil {
					b.Error(err)
				}
				select {
				case <-until:
					return slices.Max(reads), slices.Max(creates)
				case <-time.After(200 * time.Microsecond): // not to measure the collector of garbage
				}
			}
		}
		observe := func(name string, do func()) {
			done := make(chan struct{})
			go func() {
				defer close(done)
				do()
			}()
			read, create := watch(done)
			b.ReportMetric(float64(read.Microseconds())/1000, "ms-read-"+name)
			b.ReportMetric(float64(create.Microseconds())/1000, "ms-create-"+name)
		}
		var took time.Duration
		b.StartTimer()
		observe("sweeping", func() {
			began := time.Now()
			defer func() { took = time.Since(began) }()
			removed := 0
			for removed < swept {
				clients, err := s.ClientSweeper.IdleClients(ctx, kept.TenantID, store.IdleFilter{Before: base.AddDate(0, 1, 0)}, store.IdlePage{Limit: batch})
				if err == nil && len(clients) == 0 {
					err = fmt.Errorf("%d clients are left", swept-removed)
				}
				if err == nil {
					_, err = s.ClientSweeper.RemoveClients(ctx, kept.TenantID, clients)
				}
				if err != nil {
					b.Error(err)
					return
				}
				removed += len(clients)
			}
		})
		b.StopTimer()
		observe("alone", func() { time.Sleep(min(took, 5*time.Second)) })
		b.StartTimer()
	}
}
