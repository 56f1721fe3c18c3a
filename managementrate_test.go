package opkit_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/opkit/opkit"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
	"github.com/opkit/opkit/tenant"
)

// secondMachine makes another client that may read the settings, and returns a token.
func (w *world) secondMachine() string {
	w.t.Helper()
	ctx := w.t.Context()
	c, secret, err := w.provider.Clients().CreateClient(ctx, store.Client{
		TenantID: tenant.DefaultID, Name: "Second", FirstParty: true, GrantTypes: []string{"client_credentials"},
	}, "")
	if err != nil {
		w.t.Fatal(err)
	}
	tn, err := w.provider.Tenants().Tenant(ctx, tenant.DefaultID)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.provider.Tenants().CreateClientGrant(ctx, store.ClientGrant{
		TenantID: tn.ID(), ClientID: c.ID, Audience: tn.ManagementAudience(), SubjectType: store.SubjectClient, Scopes: []string{"read:tenant_settings"},
	}); err != nil {
		w.t.Fatal(err)
	}
	return w.token(registered{id: c.ID, secret: secret}, "grant_type", "client_credentials", "audience", tn.ManagementAudience()).json(w.t)["access_token"].(string)
}

// One client's requests are limited, each resource counts, and another client is not
// affected. The limit of all nodes together holds on each.
func TestManagementRate(t *testing.T) {
	for name, shared := range map[string]bool{"each node": false, "all nodes": true} {
		t.Run(name, func(t *testing.T) {
			clock := &frozen{at: time.Now().Truncate(time.Second)}
			stores := memstore.New().Stores()
			limited := func(cfg *opkit.Config) {
				cfg.Now = clock.now
				cfg.ManagementRate = tenant.ManagementRate{PerSecond: 0.5, Burst: 4, Shared: shared}
			}
			w := newWorld(t, options{config: limited, stores: stores})
			token, other := w.managementToken(), w.secondMachine()
			for i, path := range []string{"/tenants/settings", "/connections", "/clients", "/users/none"} {
				res := w.sendJSON(http.MethodGet, w.endpoint.Management+path, token, "")
				h := res.Header
				if res.StatusCode == http.StatusTooManyRequests || h.Get("X-RateLimit-Limit") != "4" || h.Get("X-RateLimit-Remaining") != strconv.Itoa(3-i) ||
					h.Get("X-RateLimit-Reset") != strconv.FormatInt(clock.at.Unix()+int64(2*(i+1)), 10) {
					t.Errorf("%s: %d %v", path, res.StatusCode, h)
				}
			}
			before := w.settings(t)
			res := w.sendJSON(http.MethodPatch, w.endpoint.Management+"/tenants/settings", token, `{"friendly_name":"changed"}`)
			if res.StatusCode != http.StatusTooManyRequests || res.json(t)["errorCode"] != "too_many_requests" || res.Header.Get("Retry-After") != "2" ||
				res.Header.Get("X-RateLimit-Remaining") != "0" || !strings.Contains(res.Header.Get("Access-Control-Expose-Headers"), "X-RateLimit-Reset") {
				t.Errorf("%d %s %v", res.StatusCode, res.body, res.Header)
			}
			if got := w.settings(t); got != before {
				t.Errorf("a refused request changed the name to %q", got)
			}
			if res := w.sendJSON(http.MethodGet, w.endpoint.Management+"/tenants/settings", other, ""); res.StatusCode != http.StatusOK {
				t.Errorf("another client: %d", res.StatusCode)
			}
			// Another node, with the same issuer.
			cfg := opkit.Config{Issuer: w.issuer, Stores: stores, Secret: []byte(strings.Repeat("\x07", 32))}
			limited(&cfg)
			node, err := opkit.New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			first := w.provider
			w.provider = node
			want := map[bool]int{false: http.StatusOK, true: http.StatusTooManyRequests}[shared]
			if res := w.sendJSON(http.MethodGet, w.endpoint.Management+"/tenants/settings", token, ""); res.StatusCode != want {
				t.Errorf("the other node: %d, want %d", res.StatusCode, want)
			}
			w.provider = first
			clock.at = clock.at.Add(2 * time.Second)
			if res := w.sendJSON(http.MethodGet, w.endpoint.Management+"/tenants/settings", token, ""); res.StatusCode != http.StatusOK {
				t.Errorf("after Retry-After: %d", res.StatusCode)
			}
		})
	}
}

// frozen is a clock that stands still.
type frozen struct{ at time.Time }

func (f *frozen) now() time.Time { return f.at }

// settings returns the tenant's name as it is stored.
func (w *world) settings(t *testing.T) string {
	t.Helper()
	record, err := w.stores.Tenants.Tenant(t.Context(), tenant.DefaultID)
	if err != nil {
		t.Fatal(err)
	}
	return record.Settings.FriendlyName
}

func TestAManagementRateHasToLetSomebodyPass(t *testing.T) {
	for _, rate := range []tenant.ManagementRate{{PerSecond: -1}, {Burst: -1}} {
		_, err := opkit.New(opkit.Config{
			Issuer: "https://op.example", Stores: memstore.New().Stores(), Secret: []byte(strings.Repeat("s", 32)), ManagementRate: rate,
		})
		if err == nil || !strings.Contains(err.Error(), "ManagementRate") {
			t.Errorf("%+v: %v", rate, err)
		}
	}
}
