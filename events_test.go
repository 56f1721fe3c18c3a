package opkit_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/opkit/opkit"
	"github.com/opkit/opkit/audit"
	"github.com/opkit/opkit/tenant"
)

// events keeps what it gets.
type events struct {
	mu   sync.Mutex
	list []audit.Event
}

func (e *events) Record(_ context.Context, event audit.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, event)
}

// take returns type and outcome of what came since the last call.
func (e *events) take() (string, []audit.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	list := e.list
	e.list = nil
	var lines []string
	for i := range list {
		lines = append(lines, fmt.Sprint(list[i].Type, " ", list[i].Outcome))
	}
	return strings.Join(lines, ", "), list
}

// What users and administrators decide is an event as well.
func TestEventsOfAWholeFlow(t *testing.T) {
	sink := &events{}
	w := newWorld(t, options{config: func(c *opkit.Config) { c.Audit = sink }})
	app := w.register(nil)
	sink.take()
	want := func(step, want string) []audit.Event {
		t.Helper()
		got, list := sink.take()
		if got != want {
			t.Errorf("%s: %q, want %q", step, got, want)
		}
		for _, e := range list {
			if e.Time.IsZero() || e.TenantID == "" || strings.Contains(fmt.Sprintf("%+v", e), password) {
				t.Errorf("%s: %+v", step, e)
			}
		}
		return list
	}

	b := newBrowser(t)
	res := b.login(b.get(w.authorizeURL(app, "scope", "openid offline_access")), "ada", "not-"+password)
	if res.StatusCode != http.StatusUnauthorized {
		t.Fatalf("%d", res.StatusCode)
	}
	for _, e := range want("a wrong password", "user.sign_in refused") {
		if e.ClientID != app.id || e.Subject != w.connection.ID || e.UserID != "" || !e.Address.IsLoopback() {
			t.Errorf("%+v", e)
		}
	}
	res = b.login(res, "ada", password)
	for _, e := range want("signing in", "user.sign_in allowed") {
		if e.UserID != w.user.ID || e.Subject != w.connection.ID {
			t.Errorf("%+v", e)
		}
	}
	b.decide(res, "deny")
	want("refusing", "user.consent refused")
	res = b.get(w.authorizeURL(app, "scope", "openid offline_access"))
	code := b.decide(res, "allow").location(t).Get("code")
	for _, e := range want("allowing", "user.consent allowed") {
		if e.UserID != w.user.ID || e.ClientID != app.id || len(e.Reasons) != 1 || e.Reasons[0] != "scope: openid offline_access" {
			t.Errorf("%+v", e)
		}
	}
	if res := w.redeem(app, code); res.StatusCode != http.StatusOK {
		t.Fatal(res.body)
	}
	want("redeeming", "signing_key.rotation allowed") // the first ID token needs the first key
	w.redeem(app, code)
	w.redeem(app, code)
	for _, e := range want("a code that was used", "code.reuse refused") { // once: the second time everything is dead
		if e.UserID != w.user.ID || e.ClientID != app.id || e.Subject == "" || strings.Contains(fmt.Sprint(e), code) {
			t.Errorf("%+v", e)
		}
	}

	w.managementToken()
	want("the first token of the management API", "signing_key.rotation allowed")
	w.manage(http.MethodPatch, "/tenants/settings", `{"friendly_name":"Events"}`)
	for _, e := range want("settings", "management.change allowed") {
		if e.Actor != machineID || e.Reasons[0] != "tenant settings changed" {
			t.Errorf("%+v", e)
		}
	}
	if _, err := w.provider.Tenants().RotateSigningKey(t.Context(), w.connection.TenantID, tenant.Rotation{Algorithm: "ES256"}); err != nil {
		t.Fatal(err)
	}
	want("a new key", "signing_key.rotation allowed")
}
