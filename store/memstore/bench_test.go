package memstore_test

import (
	"crypto/rand"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
	"github.com/opkit/opkit/storetest"
)

func BenchmarkStores(b *testing.B) {
	storetest.Benchmark(b, func(b *testing.B) store.Stores { return memstore.New().Stores() })
}

func BenchmarkSweep(b *testing.B) {
	storetest.BenchmarkSweep(b, func(b *testing.B) store.Stores { return memstore.New().Stores() })
}

// BenchmarkBytesPerClient reports what one stored registration keeps alive: a
// name, two redirect URIs of 35 bytes, an identifier of 32 and a digest.
func BenchmarkBytesPerClient(b *testing.B) {
	for b.Loop() {
		b.ReportMetric(bytesPerClient(b), "B/client")
	}
	b.ReportMetric(0, "ns/op")
}

// TestBytesPerClient holds the budget of 900 bytes.
func TestBytesPerClient(t *testing.T) {
	if got := bytesPerClient(t); got > 900 {
		t.Errorf("a client takes %.0f bytes, more than 900", got)
	}
}

func bytesPerClient(tb testing.TB) float64 {
	const clients = 100_000
	s := memstore.New()
	before := liveBytes()
	for i := range clients {
		id := rand.Text() + fmt.Sprintf("%06d", i)
		err := s.CreateClient(tb.Context(), store.Client{
			TenantID:                "tenant",
			ID:                      id,
			Name:                    fmt.Sprintf("My application %06d", i),
			Dynamic:                 true,
			RegisteredFrom:          fmt.Sprintf("192.%d.%d.0/24", i>>8%256, i%256),
			SecurityMode:            store.ModePermissive,
			TokenEndpointAuthMethod: "client_secret_post",
			SecretDigest:            store.DigestOf(id),
			RedirectURIs: []string{
				fmt.Sprintf("https://%06d.apps.example.com/cb/1", i),
				fmt.Sprintf("https://%06d.apps.example.com/cb/2", i),
			},
			CreatedAt: time.Unix(int64(i), 0),
		})
		if err != nil {
			tb.Fatal(err)
		}
	}
	grown := liveBytes() - before
	runtime.KeepAlive(s)
	return float64(grown) / clients
}

func liveBytes() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkCreateClientAmong shows what one more client costs among many.
func BenchmarkCreateClientAmong(b *testing.B) {
	for _, population := range []int{1, 100_000} {
		b.Run(fmt.Sprint(population), func(b *testing.B) {
			s := memstore.New()
			client := func() store.Client {
				return store.Client{TenantID: "tenant", ID: rand.Text(), RedirectURIs: []string{"https://app.example.com/cb"}}
			}
			for range population {
				if err := s.CreateClient(b.Context(), client()); err != nil {
					b.Fatal(err)
				}
			}
			for b.Loop() {
				c := client()
				if err := s.CreateClient(b.Context(), c); err != nil {
					b.Fatal(err)
				}
				if err := s.DeleteClient(b.Context(), "tenant", c.ID); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkCollect removes 100,000 expired sessions, 1,000 a call, and reports
// the longest that a reader waited meanwhile.
func BenchmarkCollect(b *testing.B) {
	const sessions, limit = 100_000, 1000
	now := time.Now()
	for b.Loop() {
		b.StopTimer()
		s := memstore.New()
		for i := range sessions {
			err := s.CreateSession(b.Context(), store.Session{
				TenantID: "tenant", ID: store.DigestOf(fmt.Sprint(i)), UserID: fmt.Sprint(i % 1000), ExpiresAt: now,
			})
			if err != nil {
				b.Fatal(err)
			}
		}
		done, waited := make(chan struct{}), make(chan time.Duration)
		go func() {
			var longest time.Duration
			for i := 0; ; i++ {
				select {
				case <-done:
					waited <- longest
					return
				default:
				}
				start := time.Now()
				_, _ = s.Session(b.Context(), "tenant", store.DigestOf(fmt.Sprint(i%sessions)), now)
				longest = max(longest, time.Since(start))
			}
		}()
		b.StartTimer()
		for removed := 0; removed < sessions; {
			n, err := s.CollectSessions(b.Context(), now, limit)
			if err != nil || n == 0 {
				b.Fatal(n, err)
			}
			removed += n
		}
		close(done)
		b.ReportMetric(float64((<-waited).Microseconds()), "µs-waited")
	}
}
