package opkit_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opkit/opkit"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
	"github.com/opkit/opkit/tenant"
)

const day = 24 * time.Hour

func (w *world) sweep() {
	w.t.Helper()
	if err := w.provider.Clients().Sweep(context.Background()); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) client(id string) (store.Client, bool) {
	w.t.Helper()
	c, err := w.stores.Clients.Client(context.Background(), tenant.DefaultID, id)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		w.t.Fatal(err)
	}
	return c, err == nil
}

// mustRegisterAgain demands the answers that lead an application out of a
// registration that has vanished.
func (w *world) mustRegisterAgain(app registered) {
	w.t.Helper()
	page := newBrowser(w.t).get(w.authorizeURL(app))
	if page.StatusCode != http.StatusBadRequest || page.Header.Get("Location") != "" ||
		!strings.Contains(text(page.body), "The application has to register again.") {
		w.t.Errorf("authorization: %d, Location %q: %s", page.StatusCode, page.Header.Get("Location"), text(page.body))
	}
	res := w.token(app, "grant_type", "refresh_token", "refresh_token", "x")
	if res.StatusCode != http.StatusUnauthorized || res.json(w.t)["error"] != "invalid_client" {
		w.t.Errorf("token: %d %s", res.StatusCode, res.body)
	}
}

// The life of a registration: provisional, confirmed, unused, gone.
func TestTheLifeOfARegistration(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount})
		never, used := w.register(nil), w.register(nil)
		if c, _ := w.client(used.id); !c.Provisional() {
			t.Fatal("a new registration is not provisional")
		}
		w.clock.advance(23 * time.Hour)
		w.sweep()
		b := newBrowser(t)
		code := w.authorizeIn(b, used).Get("code")
		if c, _ := w.client(used.id); c.Provisional() {
			t.Error("the user's consent did not confirm the registration")
		}
		tokens := w.redeem(used, code).json(t)
		refresh := tokens["refresh_token"].(string)

		w.clock.advance(2 * time.Hour)
		w.sweep()
		if _, exists := w.client(never.id); exists {
			t.Error("a registration that nobody used is still there after 25 hours")
		}
		w.mustRegisterAgain(never)

		// Age is no reason: the application is in use.
		for range 40 {
			w.clock.advance(10 * day)
			w.sweep()
			res := w.token(used, "grant_type", "refresh_token", "refresh_token", refresh)
			if res.StatusCode != http.StatusOK {
				// The chain of refresh tokens ends after 30 days; the user comes back.
				res = w.redeem(used, w.authorize(used).Get("code"))
			}
			refresh = res.json(t)["refresh_token"].(string)
		}
		// Nor is silence, while the user allows it something.
		w.clock.advance(1000 * day)
		w.sweep()
		if _, exists := w.client(used.id); !exists {
			t.Fatal("an application is gone although a user allows it something")
		}
		grants, err := w.stores.Grants.Grants(context.Background(), tenant.DefaultID, store.GrantFilter{ClientID: used.id}, store.Page{})
		if err != nil || len(grants) != 1 {
			t.Fatal(grants, err)
		}
		if err := w.stores.Grants.DeleteGrant(context.Background(), tenant.DefaultID, grants[0].ID); err != nil {
			t.Fatal(err)
		}
		w.sweep()
		if _, exists := w.client(used.id); exists {
			t.Error("an application that nothing holds is still there after 1000 days")
		}
		w.mustRegisterAgain(used)
		if _, exists := w.client(machineID); !exists {
			t.Error("the tenant's own client is gone")
		}
	})
}

// Until it is swept an application that comes back is served, however late.
func TestComingBackLateKeepsARegistration(t *testing.T) {
	w := newWorld(t, options{})
	app := w.register(nil)
	w.clock.advance(40 * time.Hour)
	if res := w.redeem(app, w.authorize(app).Get("code")); res.StatusCode != http.StatusOK {
		t.Fatal(res.body)
	}
	w.sweep()
	if _, exists := w.client(app.id); !exists {
		t.Error("swept although it had come back")
	}
}

// A registration that vanishes while the user signs in leads to a page, never to the
// redirect URI that the registration had proven, and nothing is granted to it.
func TestARegistrationThatVanishesDuringASignIn(t *testing.T) {
	for name, cache := range map[string]time.Duration{"seen at once": -1, "seen late, by another node's sweep": time.Hour} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, options{config: func(c *opkit.Config) { c.CacheStaleness = cache }})
			other, err := opkit.New(opkit.Config{Issuer: w.issuer, Stores: w.stores, Secret: make([]byte, 32), Now: w.clock.now, CacheStaleness: -1})
			if err != nil {
				t.Fatal(err)
			}
			app := w.register(nil)
			b := newBrowser(t)
			w.clock.advance(25 * time.Hour)
			page := b.login(b.get(w.authorizeURL(app)), "ada@example.com", password)
			if err := other.Clients().Sweep(context.Background()); err != nil {
				t.Fatal(err)
			}
			res := b.decide(page, "allow")
			if res.StatusCode != http.StatusBadRequest || res.Header.Get("Location") != "" || !strings.Contains(text(res.body), "register again") {
				t.Errorf("%d, Location %q: %s", res.StatusCode, res.Header.Get("Location"), text(res.body))
			}
			grants, err := w.stores.Grants.Grants(context.Background(), tenant.DefaultID, store.GrantFilter{}, store.Page{})
			if err != nil || len(grants) != 0 {
				t.Errorf("granted: %v, %v", grants, err)
			}
		})
	}
}

// Two nodes: users consent on one while the other sweeps. Whoever got a code has an
// application that stays.
func TestSweepingNeverTakesWhatWasJustGranted(t *testing.T) {
	stores := memstore.New().Stores()
	w := newWorld(t, options{stores: stores, config: func(c *opkit.Config) { c.CacheStaleness = time.Hour }})
	other, err := opkit.New(opkit.Config{Issuer: w.issuer, Stores: stores, Secret: make([]byte, 32), Now: w.clock.now, CacheStaleness: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	granted, refused := 0, 0
	for round := range 30 {
		app := w.register(map[string]any{"client_name": fmt.Sprint("round ", round)})
		b := newBrowser(t)
		w.clock.advance(25 * time.Hour)
		page := b.login(b.get(w.authorizeURL(app)), "ada@example.com", password)
		var res *response
		var running sync.WaitGroup
		running.Go(func() { res = b.decide(page, "allow") })
		running.Go(func() {
			for range round % 4 { // about as long as the consent takes
				newBrowser(t).get(w.endpoint.JWKS)
			}
			if err := other.Clients().Sweep(context.Background()); err != nil {
				t.Error(err)
			}
		})
		running.Wait()
		_, exists := w.client(app.id)
		switch location := res.Header.Get("Location"); {
		case strings.Contains(location, "code="):
			granted++
			if !exists {
				t.Fatalf("round %d: a code was sent for a client that is gone", round)
			}
			if res := w.redeem(app, res.location(t).Get("code")); res.StatusCode != http.StatusOK {
				t.Errorf("round %d: %d %s", round, res.StatusCode, res.body)
			}
		default:
			refused++
			if exists || location != "" {
				t.Fatalf("round %d: refused with %d, Location %q, and the client exists: %v", round, res.StatusCode, location, exists)
			}
		}
	}
	t.Logf("%d consents were faster, %d sweeps", granted, refused)
}

func TestRunSweeps(t *testing.T) {
	w := newWorld(t, options{})
	app := w.register(nil)
	w.clock.advance(25 * time.Hour)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- w.provider.Run(ctx) }()
	for deadline := time.Now().Add(10 * time.Second); ; {
		if _, exists := w.client(app.id); !exists || time.Now().After(deadline) {
			break
		}
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	w.mustRegisterAgain(app)
}

// An application that only ever asks who a browser belongs to (response_type none) is
// used by that, from the first time on.
func TestUseWithoutTokensIsUse(t *testing.T) {
	w := newWorld(t, options{permissive: true})
	app := w.register(map[string]any{"response_types": []string{"code", "none"}})
	b := newBrowser(t)
	w.authorizeIn(b, app, "response_type", "none")
	first, _ := w.client(app.id)
	if first.Provisional() || first.LastUsedAt.IsZero() {
		t.Fatalf("after the first use: %+v", first)
	}
	w.clock.advance(25 * time.Hour)
	w.authorizeIn(b, app, "response_type", "none")
	if c, _ := w.client(app.id); c.LastUsedAt.Sub(first.LastUsedAt) < 25*time.Hour || !c.ConfirmedAt.Equal(first.ConfirmedAt) {
		t.Errorf("a day later: used %v, confirmed %v; before %v", c.LastUsedAt, c.ConfirmedAt, first.LastUsedAt)
	}
}
