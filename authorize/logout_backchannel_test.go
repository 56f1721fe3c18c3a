package authorize

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opkit/opkit/internal/httpx"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// minted numbers the tokens that it makes.
type minted struct{ n atomic.Int64 }

func (m *minted) LogoutToken(context.Context, *tenant.Tenant, *store.Client, *store.Session) (string, error) {
	return fmt.Sprint("token", m.n.Add(1)), nil
}

// warnings counts what is logged.
type warnings struct {
	slog.Handler
	seen chan string
}

func (w warnings) Handle(_ context.Context, r slog.Record) error {
	w.seen <- r.Message
	return nil
}

func testNotifier(t *testing.T, handler http.HandlerFunc) (*notifier, *store.Client, warnings) {
	t.Helper()
	server := httptest.NewTLSServer(handler)
	t.Cleanup(server.Close)
	pool := x509.NewCertPool()
	pool.AddCert(server.Certificate())
	log := warnings{slog.NewTextHandler(t.Output(), nil), make(chan string, 2*maxNotifications)}
	n := newNotifier(&minted{}, httpx.NewOutbound(httpx.OutboundConfig{
		InsecureAllow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, RootCAs: pool,
	}), slog.New(log))
	n.pauses = []time.Duration{time.Millisecond, time.Millisecond}
	return n, &store.Client{ID: "c", Metadata: &store.ClientMetadata{BackchannelLogoutURI: server.URL}}, log
}

// A client that fails is asked three times, with one and the same token; one that
// refuses is asked once.
func TestDeliveryIsRepeated(t *testing.T) {
	for _, c := range []struct {
		statuses []int // the answers; the last one ends it
		failed   bool
	}{
		{[]int{200}, false},
		{[]int{204}, false},
		{[]int{500, 200}, false},
		{[]int{503, 429, 200}, false},
		{[]int{500, 408, 502}, true},
		{[]int{400}, true},
		{[]int{500, 404}, true},
		{[]int{302}, true},
	} {
		tokens := make(chan string, 10)
		var answered atomic.Int64
		n, client, log := testNotifier(t, func(w http.ResponseWriter, r *http.Request) {
			tokens <- r.PostFormValue("logout_token")
			w.WriteHeader(c.statuses[min(int(answered.Add(1)), len(c.statuses))-1])
		})
		n.sessionEnded(t.Context(), &tenant.Tenant{}, &store.Session{SID: "s"}, []store.Client{*client, {ID: "without an address"}})
		for i := range c.statuses {
			if got := <-tokens; got != "token1" {
				t.Errorf("%v: attempt %d has %q", c.statuses, i, got)
			}
		}
		if c.failed {
			<-log.seen
		}
		idle(t, n)
		if len(tokens) != 0 || len(log.seen) != 0 {
			t.Errorf("%v: %d attempts and %d warnings too many", c.statuses, len(tokens), len(log.seen))
		}
	}
}

// idle waits until nothing is pending.
func idle(t *testing.T, n *notifier) {
	t.Helper()
	for t.Context().Err() == nil {
		n.mu.Lock()
		pending, queued := n.pending, len(n.queue)
		n.mu.Unlock()
		if pending == 0 && queued == 0 {
			return
		}
		runtime.Gosched()
	}
}

// The queue and the number of workers are bounded, what does not fit is logged, and
// nobody waits.
func TestDeliveryIsBounded(t *testing.T) {
	release := make(chan struct{})
	var running, most, delivered atomic.Int64
	n, client, log := testNotifier(t, func(http.ResponseWriter, *http.Request) {
		if now := running.Add(1); now > most.Load() {
			most.Store(now)
		}
		<-release
		running.Add(-1)
		delivered.Add(1)
	})
	const tooMany = 7
	for range maxNotifications + tooMany {
		n.sessionEnded(t.Context(), &tenant.Tenant{}, &store.Session{}, []store.Client{*client})
	}
	for range tooMany {
		if got := <-log.seen; got != "a logout notification was dropped, too many are waiting" {
			t.Errorf("logged: %s", got)
		}
	}
	close(release)
	idle(t, n)
	if delivered.Load() != maxNotifications || most.Load() > maxDeliveries {
		t.Errorf("%d delivered, %d at once", delivered.Load(), most.Load())
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.workers > maxDeliveries {
		t.Errorf("%d workers", n.workers)
	}
}

func TestRetryable(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{errors.New("connection refused"), true},
		{context.DeadlineExceeded, true},
		{httpx.ErrTooLarge, false},
		{&httpx.StatusError{Status: 500}, true},
		{&httpx.StatusError{Status: 429}, true},
		{&httpx.StatusError{Status: 400}, false},
		{&httpx.StatusError{Status: 302}, false},
		{fmt.Errorf("dial: %w", httpx.ErrForbiddenAddress), false},
		{httpx.ErrForbiddenURL, false},
	} {
		if got := retryable(c.err); got != c.want {
			t.Errorf("%v: %v", c.err, got)
		}
	}
}
