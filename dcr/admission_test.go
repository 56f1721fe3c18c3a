package dcr

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/opkit/opkit/internal/ratelimit"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
	"github.com/opkit/opkit/tenant"
)

func from(addr string) Attempt {
	return Attempt{TenantID: "a", Network: ratelimit.Network(netip.MustParseAddr(addr))}
}

func to(host string) Attempt {
	a := from("198.51.100.7")
	a.RedirectHost = host
	return a
}

// Both limiters of this package count the same.
func TestLimiters(t *testing.T) {
	for name, make := range map[string]func(Rate, func() time.Time) (Limiter, error){
		"local": func(r Rate, now func() time.Time) (Limiter, error) { return newLocalLimiter(r, now) },
		"shared": func(r Rate, now func() time.Time) (Limiter, error) {
			return NewSharedLimiter(memstore.New(), r, now)
		},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := make(Rate{PerSecond: 0.5, Burst: 2, HostPerSecond: 0.25, HostBurst: 3}, func() time.Time { return start })
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
			admit(from("198.51.100.7"), 2*time.Second)
			admit(from("198.51.100.8"), 0)
			other := from("198.51.100.7")
			other.TenantID = "b"
			admit(other, 0)
			// Hosts are counted apart from networks, whoever names them.
			for _, network := range []string{"198.51.100.7", "198.51.100.8", "203.0.113.9"} {
				a := from(network)
				a.RedirectHost = "app.example.com"
				admit(a, 0)
			}
			admit(to("app.example.com"), 4*time.Second)
			admit(to("another.example.com"), 0)
			for range 10 { // this machine, and where nothing is known
				admit(from("127.0.0.1"), 0)
				admit(from("::1"), 0)
				admit(Attempt{TenantID: "a"}, 0)
				admit(Attempt{TenantID: "a", RedirectHost: "app.example.com"}, 0)
			}
		})
	}
}

func TestRateIsChecked(t *testing.T) {
	for _, r := range []Rate{{PerSecond: -1}, {Burst: -1}, {HostPerSecond: -1}, {HostBurst: -1}, {PerSecond: math.NaN()}, {HostPerSecond: math.Inf(1)}} {
		if l, err := newLocalLimiter(r, time.Now); err == nil || l != nil {
			t.Errorf("%+v is accepted", r)
		}
		if l, err := NewSharedLimiter(memstore.New(), r, nil); err == nil || l != nil {
			t.Errorf("%+v is accepted", r)
		}
	}
	if l, err := NewSharedLimiter(nil, Rate{}, nil); err == nil || l != nil {
		t.Error("a limiter without a store is shared")
	}
}

func TestDefaultRateIsGenerous(t *testing.T) {
	l, err := newLocalLimiter(Rate{}, func() time.Time { return start })
	if err != nil {
		t.Fatal(err)
	}
	for want, a := range map[int]Attempt{200: from("198.51.100.7"), 2000: to("app.example.com")} {
		admitted := 0
		for range 5000 {
			if wait, _ := l.Admit(context.Background(), a); wait == 0 {
				admitted++
			}
		}
		if admitted != want {
			t.Errorf("%+v: %d of 5000 at once", a, admitted)
		}
	}
}

func TestRedirectHosts(t *testing.T) {
	many := make([]string, 50)
	for i := range many {
		many[i] = fmt.Sprintf("https://app%02d.example.com/cb", i)
	}
	for _, tc := range []struct{ uris, want []string }{
		{nil, nil},
		{[]string{"https://app.example.com/cb", "https://APP.example.com:8443/other", "https://app2.example.com/cb"}, []string{"app.example.com", "app2.example.com"}},
		{[]string{"http://127.0.0.1/cb", "http://localhost:33418/cb", "http://[::1]/", "com.example.app:/cb", "cursor://anysphere"}, nil},
		{[]string{"https://[2001:db8::1]/cb"}, []string{"2001:db8::1"}},
		{[]string{"https://a.example.com", "https://a.example.com?x=/", "https://a.example.com.b.example/", "com.example.app:/cb//x", "https://c.example.com/cb"}, []string{"a.example.com", "a.example.com.b.example", "c.example.com"}},
	} {
		if got := redirectHosts(tc.uris); !slices.Equal(got, tc.want) {
			t.Errorf("%v: %v, want %v", tc.uris, got, tc.want)
		}
	}
	if n := len(redirectHosts(many)); n != maxHosts {
		t.Errorf("a limiter is asked about %d hosts", n)
	}
}

func TestTooManyForOneRedirectHost(t *testing.T) {
	f := newFixture(t, options{config: func(c *Config) { c.Rate = Rate{HostPerSecond: 0.1, HostBurst: 2} }})
	post := func(remote, uri string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("POST", "https://login.example.com/oidc/register", strings.NewReader(`{"client_name":"x","redirect_uris":["`+uri+`"]}`))
		r.Header.Set("Content-Type", "application/json")
		r.RemoteAddr = remote + ":1"
		return f.serve(r)
	}
	for i, want := range []int{201, 201, 429, 429} { // from networks of its own each
		w := post(fmt.Sprint("203.0.113.", i), "https://wild.example.com/cb")
		if w.Code != want || want == 429 && w.Header().Get("Retry-After") != "10" {
			t.Errorf("attempt %d: %d, Retry-After %q", i+1, w.Code, w.Header().Get("Retry-After"))
		}
	}
	for _, uri := range []string{"https://tame.example.com/cb", "http://localhost:8080/cb", "com.example.app:/cb"} {
		if w := post("203.0.113.50", uri); w.Code != 201 {
			t.Errorf("%s: %d %s", uri, w.Code, w.Body)
		}
	}
	// What is wrong otherwise does not count for the host.
	for range 5 {
		if w := post("203.0.113.51", "https://u:p@victim.example.com/cb"); w.Code != 400 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
	if w := post("203.0.113.51", "https://victim.example.com/cb"); w.Code != 201 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if n := len(f.clients()); n != 6 {
		t.Errorf("%d clients", n)
	}
}

// The tenant's lists decide before anything is read or counted, and do not explain
// themselves.
func TestAddressListsOfTheTenant(t *testing.T) {
	l := &ownLimiter{}
	f := newFixture(t, options{
		config: func(c *Config) { c.Limiter, c.TrustedProxies = l, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} },
		settings: func(s *store.TenantSettings) {
			s.DynamicClientRegistrationAllowedAddresses = []string{"198.51.100.0/24", "2001:db8::/32"}
			s.DynamicClientRegistrationDeniedAddresses = []string{"198.51.100.66"}
		},
	})
	for _, tc := range []struct {
		rule, remote, forwarded string
		want                    int
	}{
		{"allowed", "198.51.100.7:1", "", 201},
		{"allowed IPv6", "[2001:db8::7]:1", "", 201},
		{"allowed behind a proxy that is trusted", "10.0.0.1:1", "198.51.100.7", 201},
		{"not allowed", "203.0.113.9:1", "", 403},
		{"not allowed behind a proxy", "10.0.0.1:1", "203.0.113.9", 403},
		{"a forged header is not an address", "203.0.113.9:1", "198.51.100.7", 403},
		{"nor is what a client put before the proxy's", "10.0.0.1:1", "198.51.100.7, 203.0.113.9", 403},
		{"denied", "198.51.100.66:1", "", 403},
		{"denied behind a proxy", "10.0.0.1:1", "198.51.100.66", 403},
		{"not known", "@", "", 403},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			l.last.Store(nil)
			body := &readOnce{Reader: strings.NewReader(with(""))}
			r := httptest.NewRequest("POST", "https://login.example.com/oidc/register", body)
			r.Header.Set("Content-Type", "application/json")
			if tc.forwarded != "" {
				r.Header.Set("X-Forwarded-For", tc.forwarded)
			}
			r.RemoteAddr = tc.remote
			before := len(f.clients())
			w := f.serve(r)
			if w.Code != tc.want {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
			if tc.want == 403 && (w.Body.String() != `{"error":"access_denied"}`+"\n" || len(f.clients()) != before || body.read || l.last.Load() != nil) {
				t.Errorf("%s; %d clients, read %v, limiter asked about %v", w.Body, len(f.clients())-before, body.read, l.last.Load())
			}
		})
	}
}

type readOnce struct {
	io.Reader
	read bool
}

func (r *readOnce) Read(p []byte) (int, error) {
	r.read = true
	return r.Reader.Read(p)
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
	asked := func(body, host string) {
		t.Helper()
		f.post(body)
		if diff := cmp.Diff(Attempt{TenantID: tenant.DefaultID, Network: netip.MustParsePrefix("192.0.2.1/32"), RedirectHost: host}, *l.last.Load(),
			cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
			t.Errorf("the limiter was asked about (-want +got)\n%s", diff)
		}
	}
	asked("{}", "") // before it is read
	asked(with(""), "client.example.com")
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
