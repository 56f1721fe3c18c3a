package opkit_test

import (
	"context"
	"strings"
	"testing"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// change updates the record of an application.
func (w *world) change(app registered, change func(*store.Client)) {
	w.t.Helper()
	ctx := context.Background()
	c, err := w.stores.Clients.Client(ctx, tenant.DefaultID, app.id)
	if err != nil {
		w.t.Fatal(err)
	}
	change(&c)
	if err := w.stores.Clients.UpdateClient(ctx, c); err != nil {
		w.t.Fatal(err)
	}
}

// What a user allowed an application is not remembered for what it became, and
// what they allow it afresh is all that is remembered.
func TestConsentIsForTheApplicationThatWasShown(t *testing.T) {
	w := newWorld(t, options{})
	app := w.register(nil)
	b := newBrowser(t)
	tokens := w.redeem(app, w.authorizeIn(b, app, "scope", "openid profile email offline_access").Get("code")).json(t)
	if got := w.authorizeIn(b, app, "prompt", "none", "scope", "openid profile offline_access"); got.Get("code") == "" {
		t.Fatalf("consent was not remembered: %v", got)
	}

	// A page that is open while the application changes counts for nothing.
	open := b.get(w.authorizeURL(app, "prompt", "consent", "scope", "openid offline_access"))
	w.change(app, func(c *store.Client) { c.Name, c.Revision = "Another Name", c.Revision+1 })
	again := b.decide(open, "allow")
	if !strings.Contains(text(again.body), "Another Name asks for access") || !strings.Contains(text(again.body), "It has changed its name or its address") {
		t.Fatalf("after a page with another name: %d %s", again.StatusCode, text(again.body))
	}
	if got := w.authorizeIn(b, app, "prompt", "none", "scope", "openid offline_access"); got.Get("error") != "consent_required" {
		t.Errorf("silently, after the change: %v", got)
	}
	page := b.get(w.authorizeURL(app, "scope", "openid offline_access"))
	if !strings.Contains(page.body, `id="consent-allow"`) {
		t.Fatalf("after the change: %d %s", page.StatusCode, text(page.body))
	}

	// The tokens of before are the same application's.
	if res := w.userinfo(tokens["access_token"].(string)); res.StatusCode != 200 {
		t.Errorf("userinfo: %d %s", res.StatusCode, res.body)
	}

	if got := b.decide(again, "allow").location(t); got.Get("code") == "" {
		t.Fatalf("after allowing: %v", got)
	}
	if got := w.authorizeIn(b, app, "prompt", "none", "scope", "openid offline_access"); got.Get("code") == "" {
		t.Errorf("what was allowed afresh is not remembered: %v", got)
	}
	// What only the earlier page showed is not part of it.
	if got := w.authorizeIn(b, app, "prompt", "none", "scope", "openid profile email offline_access"); got.Get("error") != "consent_required" {
		t.Errorf("what was allowed to the application as it was: %v", got)
	}
}
