package opkit_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"
	"time"

	"github.com/opkit/opkit"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
)

// stalling is a store of clients that answers nobody once it is told to.
type stalling struct {
	store.ClientStore
	stalls *bool
}

func (s stalling) Client(ctx context.Context, tenant, id string) (store.Client, error) {
	if !*s.stalls {
		return s.ClientStore.Client(ctx, tenant, id)
	}
	if _, ok := ctx.Deadline(); !ok {
		return store.Client{}, nil // instead of for ever
	}
	<-ctx.Done()
	return store.Client{}, ctx.Err()
}

func TestAStoreThatDoesNotAnswerFailsTheRequest(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		stores, stalls := memstore.New().Stores(), false
		stores.Clients = stalling{stores.Clients, &stalls}
		w := newWorld(t, options{mount: mount, stores: stores, config: func(c *opkit.Config) { c.RequestTimeout = 20 * time.Millisecond }})
		stalls = true
		machine := registered{id: machineID, secret: machineSecret, redirectURI: appRedirectURI}
		for name, res := range map[string]*response{
			"token":     w.token(machine, "grant_type", "client_credentials"),
			"authorize": newBrowser(t).get(w.authorizeURL(machine)),
		} {
			if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") != "1" || res.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s: %d %v", name, res.StatusCode, res.Header)
			}
		}
	})
}

// A deadline of the host's counts instead, and so does its wish for none.
func TestTheTimeLimitIsTheHosts(t *testing.T) {
	for _, c := range []struct {
		name  string
		limit time.Duration
		host  time.Duration // zero: it sets none
		want  time.Duration // zero: none
	}{
		{"by default", 0, 0, 20 * time.Second},
		{"as configured", time.Minute, 0, time.Minute},
		{"none", -1, 0, 0},
		{"the host's is shorter", 0, time.Second, time.Second},
		{"the host's is longer", 0, time.Hour, time.Hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			stores := memstore.New().Stores()
			seen := &seeing{TenantStore: stores.Tenants}
			stores.Tenants = seen
			w := newWorld(t, options{stores: stores, config: func(cfg *opkit.Config) { cfg.RequestTimeout = c.limit }})
			ctx := context.Background()
			if c.host > 0 {
				bounded, cancel := context.WithTimeout(ctx, c.host)
				defer cancel()
				ctx = bounded
			}
			r, err := http.NewRequestWithContext(ctx, http.MethodGet, w.endpoint.JWKS, nil)
			if err != nil {
				t.Fatal(err)
			}
			before := time.Now()
			w.provider.ServeHTTP(discarded{}, r)
			after := time.Now()
			switch {
			case c.want == 0:
				if !seen.deadline.IsZero() {
					t.Errorf("there was a deadline at %v", seen.deadline)
				}
			case seen.deadline.Before(before.Add(c.want - time.Second)), seen.deadline.After(after.Add(c.want)):
				t.Errorf("the deadline was after %v, want %v", seen.deadline.Sub(before), c.want)
			}
			if seen.ctx != nil && c.want > 0 && c.host == 0 && seen.ctx.Err() == nil {
				t.Error("after the request its context has not ended")
			}
		})
	}
}

// Each endpoint has the limit, however it is mounted.
func TestEveryHandlerHasTheTimeLimit(t *testing.T) {
	seen := &deadlines{}
	p, err := opkit.New(opkit.Config{Resolver: seen, Stores: memstore.New().Stores(), Secret: make([]byte, 32)})
	if err != nil {
		t.Fatal(err)
	}
	handlers := map[string]http.Handler{"Provider": p}
	value := reflect.ValueOf(p)
	for i := range value.NumMethod() {
		if returns, ok := value.Method(i).Interface().(func() http.Handler); ok {
			handlers[value.Type().Method(i).Name] = returns()
		}
	}
	if len(handlers) < 20 {
		t.Fatalf("%d handlers were found", len(handlers))
	}
	for name, h := range handlers {
		*seen = deadlines{}
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			r := httptest.NewRequest(method, "https://login.example.com/", nil)
			r.Header.Set("Authorization", "Bearer a.b.c") // past the check that there is one
			h.ServeHTTP(discarded{}, r)
		}
		// Some answers are the same for everybody: they ask for no tenant.
		same := name == "LockChallenge" || name == "LockSSOData" || name == "ManagementDocument"
		if seen.none > 0 || seen.some == 0 && !same {
			t.Errorf("%s: %d requests had a deadline, %d had none", name, seen.some, seen.none)
		}
	}
}

// deadlines is a resolver that counts requests with a deadline and those without.
type deadlines struct{ some, none int }

func (d *deadlines) Resolve(r *http.Request) (id, path string, err error) {
	if _, ok := r.Context().Deadline(); ok {
		d.some++
	} else {
		d.none++
	}
	return "", "", store.ErrNotFound
}

// seeing remembers the context of the last call.
type seeing struct {
	store.TenantStore
	ctx      context.Context
	deadline time.Time
}

func (s *seeing) Tenant(ctx context.Context, id string) (store.Tenant, error) {
	s.ctx = ctx
	s.deadline, _ = ctx.Deadline()
	return s.TenantStore.Tenant(ctx, id)
}

// discarded takes an answer that nobody looks at.
type discarded struct{}

func (discarded) Header() http.Header         { return http.Header{} }
func (discarded) Write(b []byte) (int, error) { return len(b), nil }
func (discarded) WriteHeader(int)             {}
