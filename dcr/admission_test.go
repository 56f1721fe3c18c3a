package dcr

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/opkit/opkit/tenant"
)

func from(addr string) Attempt {
	return Attempt{TenantID: "a", Network: network(netip.MustParseAddr(addr))}
}

func TestLocalLimiter(t *testing.T) {
	now := start
	l, err := newLocalLimiter(Rate{PerSecond: 0.5, Burst: 2}, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	admit := func(a Attempt, want time.Duration) {
		t.Helper()
		if wait, err := l.Admit(context.Background(), a); wait != want || err != nil {
			t.Errorf("%v: wait %v, %v; want %v", a, wait, err, want)
		}
	}
	for range 2 {
		admit(from("198.51.100.7"), 0)
	}
	for range 3 { // refused attempts do not add up
		admit(from("198.51.100.7"), 2*time.Second)
	}
	admit(from("198.51.100.8"), 0) // the next address is somebody else
	admit(Attempt{TenantID: "b", Network: network(netip.MustParseAddr("198.51.100.7"))}, 0)

	admit(from("2001:db8:0:1::1"), 0)
	admit(from("2001:db8:0:1:ffff::2"), 0)
	admit(from("2001:db8:0:1:abcd::3"), 2*time.Second) // one subscriber has the /64
	admit(from("2001:db8:0:2::1"), 0)

	now = now.Add(time.Second)
	admit(from("198.51.100.7"), time.Second)
	now = now.Add(time.Second)
	admit(from("198.51.100.7"), 0)
	admit(from("198.51.100.7"), 2*time.Second)

	for range 10 { // this machine, and where nothing is known
		admit(from("127.0.0.1"), 0)
		admit(from("::1"), 0)
		admit(Attempt{TenantID: "a"}, 0)
	}
}

func TestLocalLimiterForgetsInTheClientsFavour(t *testing.T) {
	l, err := newLocalLimiter(Rate{PerSecond: 1, Burst: 1}, func() time.Time { return start })
	if err != nil {
		t.Fatal(err)
	}
	busy := from("198.51.100.7")
	refused := func() bool {
		wait, _ := l.Admit(context.Background(), busy)
		return wait > 0
	}
	if refused() || !refused() {
		t.Fatal("the burst is not one")
	}
	for i := range 5 * maxNetworks {
		addr := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		if wait, _ := l.Admit(context.Background(), Attempt{TenantID: "a", Network: network(addr)}); wait > 0 {
			t.Fatalf("newcomer %v has to wait", addr)
		}
		if i%1000 == 0 && !refused() {
			t.Fatalf("a network in use was forgotten after %d others", i)
		}
		if n := len(l.young) + len(l.old); n > 2*maxNetworks {
			t.Fatalf("%d buckets", n)
		}
	}
}

func TestDefaultRateIsGenerous(t *testing.T) {
	l, err := newLocalLimiter(Rate{}, func() time.Time { return start })
	if err != nil {
		t.Fatal(err)
	}
	admitted := 0
	for range 1000 {
		if wait, _ := l.Admit(context.Background(), from("198.51.100.7")); wait == 0 {
			admitted++
		}
	}
	if admitted != defaultBurst {
		t.Errorf("%d of 1000 at once", admitted)
	}
}

func TestTooManyRegistrations(t *testing.T) {
	f := newFixture(t, options{config: func(c *Config) {
		c.Rate = Rate{PerSecond: 0.1, Burst: 1}
		c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	}})
	post := func(remote, forwarded string, body string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("POST", "https://login.example.com/oidc/register", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("X-Forwarded-For", forwarded)
		r.RemoteAddr = remote
		return f.serve(r)
	}
	if w := post("10.0.0.1:1", "203.0.113.9", with("")); w.Code != http.StatusCreated {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	for _, forged := range []string{"203.0.113.9", "1.1.1.1, 203.0.113.9", "1.1.1.2, 10.0.0.2, 203.0.113.9"} {
		w := post("10.0.0.1:1", forged, with(""))
		if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") != "10" || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %v", forged, w.Code, w.Header())
		}
		if info := f.decode(w); info.Error != "temporarily_unavailable" || info.ErrorDescription == "" {
			t.Errorf("%s: %s", forged, w.Body)
		}
	}
	if w := post("10.0.0.1:1", "203.0.113.10", with("")); w.Code != http.StatusCreated {
		t.Errorf("another client of the proxy: %d %s", w.Code, w.Body)
	}
	for i := range 3 { // a peer that is no proxy cannot choose its address
		if w := post("198.51.100.7:1", fmt.Sprint("203.0.113.", 100+i), with("")); (w.Code == http.StatusCreated) != (i == 0) {
			t.Errorf("forged address %d: %d", i, w.Code)
		}
	}
	// A refused registration counts as well.
	if w := post("198.51.100.8:1", "", "{}"); w.Code != http.StatusBadRequest {
		t.Errorf("%d", w.Code)
	}
	if w := post("198.51.100.8:1", "", with("")); w.Code != http.StatusTooManyRequests {
		t.Errorf("%d", w.Code)
	}
	if n := len(f.clients()); n != 3 {
		t.Errorf("%d clients", n)
	}
	if strings.Contains(f.log.String(), "TrustedProxies") {
		t.Error("a forged header is taken for a proxy that was forgotten")
	}
}

func TestAProxyOnThisMachineIsPointedOut(t *testing.T) {
	f := newFixture(t, options{config: func(c *Config) { c.Rate = Rate{PerSecond: 0.1, Burst: 1} }})
	for range 3 {
		r := httptest.NewRequest("POST", "https://login.example.com/oidc/register", strings.NewReader(with("")))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("X-Forwarded-For", "203.0.113.9")
		r.RemoteAddr = "127.0.0.1:1"
		if w := f.serve(r); w.Code != http.StatusCreated {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	if n := strings.Count(f.log.String(), "TrustedProxies"); n != 1 {
		t.Errorf("%d warnings", n)
	}
}

// ownLimiter is a limiter that the host brings.
type ownLimiter struct {
	wait time.Duration
	err  error
	last atomic.Pointer[Attempt]
}

func (l *ownLimiter) Admit(_ context.Context, a Attempt) (time.Duration, error) {
	l.last.Store(&a)
	return l.wait, l.err
}

func TestOwnLimiter(t *testing.T) {
	l := &ownLimiter{}
	f := newFixture(t, options{config: func(c *Config) { c.Limiter = l }})
	f.register(with(""))
	if diff := cmp.Diff(Attempt{TenantID: tenant.DefaultID, Network: netip.MustParsePrefix("192.0.2.1/32")}, *l.last.Load(),
		cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("the limiter was asked about (-want +got)\n%s", diff)
	}
	l.wait = 90 * time.Minute
	if w := f.post(with("")); w.Code != 429 || w.Header().Get("Retry-After") != "5400" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	l.wait, l.err = 0, errors.New("redis: connection refused")
	w := f.post(with(""))
	if info := f.decode(w); w.Code != 500 || info.Error != "server_error" || strings.Contains(w.Body.String(), "redis") {
		t.Errorf("a limiter that fails: %d %s", w.Code, w.Body)
	}
	if n := len(f.clients()); n != 1 {
		t.Errorf("%d clients", n)
	}
}

func TestCredentials(t *testing.T) {
	const draws = 4000
	var counts [256]int
	for range draws {
		s := alphanumeric(secretLength)
		if len(s) != secretLength {
			t.Fatalf("%d characters", len(s))
		}
		for i := range len(s) {
			counts[s[i]]++
		}
	}
	// A remainder without rejection would give the first eight characters a quarter
	// more than the others; six standard deviations are six percent here.
	mean := float64(draws*secretLength) / float64(len(alphabet))
	total := 0
	for _, c := range alphabet {
		n := counts[c]
		total += n
		if d := float64(n) - mean; d > 0.1*mean || d < -0.1*mean {
			t.Errorf("%c comes %d times, %.0f are expected", c, n, mean)
		}
	}
	if total != draws*secretLength {
		t.Error("there are characters outside the alphabet")
	}
	if len(alphanumeric(idLength)) != 32 || alphanumeric(0) != "" {
		t.Error("the length is not what was asked for")
	}
}
