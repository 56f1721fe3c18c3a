package opkit_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
)

// forgetful are stores whose memory of what was seen begins at a time, as if they had been
// restarted then without their data.
type forgetful struct {
	store.TicketStore
	since atomic.Pointer[time.Time]
}

func newForgetful() (*forgetful, store.Stores) {
	s := memstore.New().Stores()
	f := &forgetful{TicketStore: s.Tickets}
	s.Tickets = f
	return f, s
}

func (f *forgetful) restart(at time.Time) { f.since.Store(&at) }

func (f *forgetful) PutTicket(ctx context.Context, t store.Ticket, now time.Time) error {
	if since := f.since.Load(); since != nil && len(t.Data) == 0 && t.CreatedAt.Before(*since) {
		return fmt.Errorf("the store of %s: %w", t.TenantID, store.ErrForgotten)
	}
	return f.TicketStore.PutTicket(ctx, t, now)
}

// Whether an assertion from before the store forgot was used is not known: it proves
// nothing, and the client is told when a new one does.
func TestAssertionsFromBeforeTheStoreForgot(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		f, stores := newForgetful()
		w := newWorld(t, options{mount: mount, stores: stores})
		app := w.register(map[string]any{"token_endpoint_auth_method": "private_key_jwt", "jwks": publicJWKS(jose.ES256)})
		code := w.authorize(app).Get("code")
		d := &document{world: w}
		send := func(endpoint string, params url.Values) *response {
			form := d.asserts(app, "ES256")
			maps.Copy(form, params)
			return newBrowser(t).post(endpoint, form)
		}
		redeem := func() *response {
			return send(w.endpoint.Token, url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {app.redirectURI}, "code_verifier": {verifier}})
		}
		push := func() *response {
			return send(w.endpoint.PushedAuthorizationRequest, mustParse(t, w.authorizeURL(app, "client_id", "")).Query())
		}
		f.restart(w.clock.now())
		for endpoint, res := range map[string]*response{
			"token": redeem(), "pushed request": push(),
			"revocation":    send(w.endpoint.Revocation, url.Values{"token": {"x"}}),
			"introspection": send(w.endpoint.Introspection, url.Values{"token": {"x"}}),
		} {
			out := res.json(t)
			description, _ := out["error_description"].(string)
			if res.StatusCode != http.StatusServiceUnavailable || out["error"] != "temporarily_unavailable" || res.Header.Get("Retry-After") != "60" ||
				!strings.Contains(description, "send a new one") || strings.Contains(res.body, "the store") || res.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s: %d %v %s", endpoint, res.StatusCode, res.Header, res.body)
			}
		}
		// Nothing was burned, and when Retry-After is over a new one is good.
		f.restart(w.clock.now().Add(-time.Hour))
		if res := redeem(); res.StatusCode != http.StatusOK {
			t.Errorf("the code: %d %s", res.StatusCode, res.body)
		}
		f.restart(w.clock.now())
		w.clock.advance(61 * time.Second)
		if res := push(); res.StatusCode != http.StatusCreated {
			t.Errorf("later: %d %s", res.StatusCode, res.body)
		}
	})
}

// A sign-in that was under way may have been finished before the store forgot. Nobody is
// signed in by it, and whoever begins anew is.
func TestSignInsFromBeforeTheStoreForgot(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		f, stores := newForgetful()
		u := newFakeWorld(t, options{mount: mount, stores: stores})
		b := newBrowser(t)
		sent := u.sent(b)
		account := mustParse(t, u.pressIn(b, b.get(u.endpoint.Applications)).Header.Get("Location")).Query()
		f.restart(u.clock.now())
		if got := b.get(u.answered(sent)).location(t); got.Get("error") != "temporarily_unavailable" || got.Get("state") == "" {
			t.Errorf("%v", got)
		}
		u.nothingHappened(t, b)
		if page := b.get(u.answered(account)); page.StatusCode != http.StatusServiceUnavailable || page.Header.Get("Retry-After") != "1" {
			t.Errorf("a page of our own: %d %v", page.StatusCode, page.Header)
		}
		u.nothingHappened(t, b)
		if page := u.signIn(b); !strings.Contains(page.body, "consent-allow") {
			t.Errorf("anew: %d %s", page.StatusCode, text(page.body))
		}
	})
	f, stores := newForgetful()
	w := newLockWorld(t, options{stores: stores})
	app, b := w.register(nil), newBrowser(t)
	action, fields := resultForm(t, b.post(w.endpoint.LockLogin, lockConfigOf(t, b.get(w.authorizeURL(app))).login(w, "ada@example.com", password)))
	f.restart(w.clock.now())
	if got := b.post(action, fields).location(t); got.Get("error") != "temporarily_unavailable" || w.sessions() != 0 {
		t.Errorf("with Lock: %v, %d sessions", got, w.sessions())
	}
}
