package opkit_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opkit/opkit"
	"github.com/opkit/opkit/dcr"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
	"github.com/opkit/opkit/tenant"
)

// The loopback addresses of these tests stand for a proxy in front of the provider.
func behindProxy(c *opkit.Config) {
	c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
}

// registerFrom sends a registration as a proxy passes it on, and returns the status
// and Retry-After.
func (w *world) registerFrom(client *http.Client, addr, body string) (status int, retryAfter, answer string) {
	req, err := http.NewRequest(http.MethodPost, w.endpoint.Registration, strings.NewReader(body))
	if err != nil {
		w.t.Error(err)
		return 0, "", ""
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Forwarded-For", addr)
	res, err := client.Do(req)
	if err != nil {
		w.t.Error(err)
		return 0, "", ""
	}
	defer res.Body.Close()
	var out struct {
		Error string `json:"error"`
	}
	if err := json.NewDecoder(res.Body).Decode(&out); err != nil {
		w.t.Error(err)
	}
	return res.StatusCode, res.Header.Get("Retry-After"), out.Error
}

const plainRegistration = `{"client_name":"x","redirect_uris":["https://app.example.com/callback"]}`

// An administrator closes registration to an address, and opens it to a few alone.
func TestAddressListsOverTheManagementAPI(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount, config: behindProxy})
		patch := func(body string) *response {
			return w.sendJSON(http.MethodPatch, w.endpoint.Management+"/tenants/settings", w.managementToken(), body)
		}
		want := func(addr string, status int) {
			t.Helper()
			if got, _, answer := w.registerFrom(http.DefaultClient, addr, plainRegistration); got != status || status == 403 && answer != "access_denied" {
				t.Errorf("%s: %d %s, want %d", addr, got, answer, status)
			}
		}
		want("198.51.100.7", 201)
		if res := patch(`{"dynamic_client_registration_denied_addresses":["198.51.100.0/24","2001:db8::/32"]}`); res.StatusCode != http.StatusOK {
			t.Fatal(res.body)
		}
		want("198.51.100.7", 403)
		want("2001:db8::1", 403)
		want("203.0.113.9", 201)
		if res := patch(`{"dynamic_client_registration_allowed_addresses":["203.0.113.0/24","198.51.100.7"]}`); res.StatusCode != http.StatusOK {
			t.Fatal(res.body)
		}
		want("203.0.113.9", 201)
		want("192.0.2.1", 403)
		want("198.51.100.7", 403) // denied wins
		if res := patch(`{"dynamic_client_registration_allowed_addresses":["203.0.113.9/24"]}`); res.StatusCode != http.StatusBadRequest {
			t.Errorf("%d %s", res.StatusCode, res.body)
		}
		if res := patch(`{"dynamic_client_registration_allowed_addresses":null,"dynamic_client_registration_denied_addresses":[]}`); res.StatusCode != http.StatusOK {
			t.Fatal(res.body)
		}
		want("198.51.100.7", 201)
	})
}

// Two nodes with one ticket store: what the first admits counts on the second.
func TestSharedLimiterHoldsForAllNodes(t *testing.T) {
	stores := memstore.New().Stores()
	node := func(c *opkit.Config) {
		behindProxy(c)
		l, err := dcr.NewSharedLimiter(stores.Tickets, dcr.Rate{PerSecond: 0.01, Burst: 6}, c.Now)
		if err != nil {
			t.Fatal(err)
		}
		c.Registration.Limiter = l
	}
	w := newWorld(t, options{stores: stores, config: node})
	cfg := opkit.Config{Issuer: w.issuer, Stores: stores, Secret: make([]byte, 32), Now: w.clock.now, CacheStaleness: -1}
	node(&cfg)
	other, err := opkit.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	first := w.provider
	statuses := map[int]int{}
	for i := range 12 {
		if w.provider = first; i%2 == 1 {
			w.provider = other
		}
		status, retry, _ := w.registerFrom(http.DefaultClient, "198.51.100.7", plainRegistration)
		if statuses[status]++; status == http.StatusTooManyRequests && retry == "" {
			t.Error("no Retry-After")
		}
	}
	if statuses[201] > 6 || statuses[201] < 3 || statuses[201]+statuses[429] != 12 {
		t.Errorf("statuses: %v, of a burst of 6", statuses)
	}
	if status, _, _ := w.registerFrom(http.DefaultClient, "198.51.100.8", plainRegistration); status != 201 {
		t.Errorf("another network: %d", status)
	}
}

// TestRegistrationUnderAFlood registers from many networks while one floods, and
// while the tenant is at its ceiling. What others notice of it is timing, which is
// printed (go test -v -run Flood); what is proved is that nobody but the flooder is
// refused and that no client in use is lost.
func TestRegistrationUnderAFlood(t *testing.T) {
	const honest, ceiling = 150, 2000
	w := newWorld(t, options{config: func(c *opkit.Config) {
		behindProxy(c)
		c.Registration.Lifecycle.MaxProvisional = ceiling
		c.CacheStaleness = time.Minute
	}})
	// Applications in use, and provisional ones up to the ceiling that had their time.
	var inUse []registered
	for i := range 5 {
		app := w.register(map[string]any{"client_name": fmt.Sprint("in use ", i)})
		if res := w.redeem(app, w.authorize(app).Get("code")); res.StatusCode != http.StatusOK {
			t.Fatal(res.body)
		}
		inUse = append(inUse, app)
	}
	for i := range ceiling {
		c := store.Client{TenantID: tenant.DefaultID, ID: fmt.Sprint("never used ", i), Dynamic: true, CreatedAt: w.clock.now()}
		if err := w.stores.Clients.CreateClient(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	w.clock.advance(time.Hour)

	client := func() *http.Client { return &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}} }
	round := func(block string) (took []time.Duration) {
		c := client()
		defer c.CloseIdleConnections()
		for i := range honest {
			began := time.Now()
			if status, _, answer := w.registerFrom(c, fmt.Sprintf("%s.%d", block, i), plainRegistration); status != 201 {
				t.Errorf("an honest newcomer is answered %d %s", status, answer)
			}
			took = append(took, time.Since(began))
		}
		slices.Sort(took)
		return took
	}
	alone := round("192.0.2")

	var sent, refused atomic.Int64
	var flooding sync.WaitGroup
	done := make(chan struct{})
	for range 2 {
		flooding.Go(func() {
			c := client()
			defer c.CloseIdleConnections()
			for {
				select {
				case <-done:
					return
				default:
				}
				status, retry, _ := w.registerFrom(c, "198.51.100.66", plainRegistration)
				sent.Add(1)
				switch status {
				case http.StatusCreated:
				case http.StatusTooManyRequests:
					if refused.Add(1); retry == "" {
						t.Error("no Retry-After")
					}
				default:
					t.Errorf("the flooder is answered %d", status)
				}
			}
		})
	}
	for refused.Load() == 0 && !t.Failed() { // until the flood is one
		w.registerFrom(http.DefaultClient, "198.51.100.66", plainRegistration)
	}
	during := round("192.1.2")
	close(done)
	flooding.Wait()

	t.Logf("alone: median %v, 95%% %v; under a flood: median %v, 95%% %v; the flooder sent %d, of which %d were refused",
		alone[honest/2], alone[honest*95/100], during[honest/2], during[honest*95/100], sent.Load(), refused.Load())
	for _, app := range inUse {
		if c, exists := w.client(app.id); !exists || c.Provisional() {
			t.Errorf("%s, which was in use, is gone", app.id)
		}
	}
	n, err := w.stores.ClientSweeper.CountProvisional(t.Context(), tenant.DefaultID)
	if err != nil || n > ceiling*9/8+4 {
		t.Errorf("%d provisional clients (%v), the ceiling is %d", n, err, ceiling)
	}
}
