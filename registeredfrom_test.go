package opkit_test

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/opkit/opkit"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// What is kept of an address is the network, shown to administrators alone, who may
// remove it.
func TestWhereApplicationsRegisteredFrom(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount, config: func(c *opkit.Config) { c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} }})
		for address, want := range map[string]string{
			"192.0.2.77": "192.0.2.0/24", "2001:db8:1234:5678::9": "2001:db8:1234::/48", "::ffff:198.51.100.7": "198.51.100.0/24",
		} {
			body, err := json.Marshal(map[string]any{"redirect_uris": []string{appRedirectURI}, "registered_from": "203.0.113.0/24"})
			if err != nil {
				t.Fatal(err)
			}
			r, err := http.NewRequest(http.MethodPost, w.endpoint.Registration, strings.NewReader(string(body)))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("X-Forwarded-For", address)
			res := newBrowser(t).do(r)
			id, _ := res.json(t)["client_id"].(string)
			if strings.Contains(res.body, "registered_from") || strings.Contains(res.body, want) {
				t.Errorf("%s: the application is told: %s", address, res.body)
			}
			path := "/clients/" + id
			if got := w.manage(http.MethodGet, path, "").json(t)["registered_from"]; got != want {
				t.Errorf("%s: %v, want %s", address, got, want)
			}
			for _, body := range []string{`{"registered_from":"203.0.113.0/24"}`, `{"registered_from":""}`, `{"registered_from":7}`, `{"registered_from":{}}`} {
				if res := w.manage(http.MethodPatch, path, body); res.StatusCode != http.StatusBadRequest || !strings.Contains(res.body, "registered_from can only be removed") {
					t.Errorf("%s: %d %s", body, res.StatusCode, res.body)
				}
			}
			// SDKs send back what they read.
			if got := w.manage(http.MethodPatch, path, `{"name":"B","registered_from":"`+want+`"}`).json(t)["registered_from"]; got != want {
				t.Errorf("%s after another change: %v", address, got)
			}
			if got, ok := w.manage(http.MethodPatch, path, `{"registered_from":null}`).json(t)["registered_from"]; ok {
				t.Errorf("removed: %v", got)
			}
			if c, _ := w.client(id); c.RegisteredFrom != "" || c.Name != "B" {
				t.Errorf("%+v", c)
			}
		}
		if res := w.manage(http.MethodPost, "/clients", `{"name":"C","registered_from":"192.0.2.0/24"}`); res.StatusCode != http.StatusBadRequest {
			t.Errorf("%d %s", res.StatusCode, res.body)
		}
		if got := w.manage(http.MethodGet, "/clients/"+machineID, "").json(t); got["registered_from"] != nil {
			t.Errorf("a client that the tenant made: %v", got["registered_from"])
		}
	})
}

// Neither the application that changes itself nor its use touches it, and the console
// shows and removes it.
func TestWhereAnApplicationRegisteredFromStays(t *testing.T) {
	w := newWorld(t, options{})
	w.manageable(true)
	app, uri, token := w.managed()
	const want = "127.0.0.0/24"
	if res := w.sendJSON(http.MethodPut, uri, token, `{"client_id":"`+app.id+`","client_name":"Another","redirect_uris":["`+appRedirectURI+`"]}`); res.StatusCode != http.StatusOK {
		t.Fatalf("%d %s", res.StatusCode, res.body)
	}
	if got := w.authorizeIn(newBrowser(t), app); got.Get("code") == "" {
		t.Fatal(got)
	}
	if c, _ := w.client(app.id); c.RegisteredFrom != want || c.Name != "Another" || c.ConfirmedAt.IsZero() {
		t.Errorf("%+v", c)
	}
	s := newConsole(w)
	for _, path := range []string{"/applications", "/applications/one?id=" + app.id} {
		if page := s.page(path); !strings.Contains(text(page), "from "+want) {
			t.Errorf("%s: %s", path, text(page))
		}
	}
	page := s.saved(s.send("/applications/one", "id", app.id, "action", "forgotten"), "Where the application registered from was removed.")
	if c, _ := w.client(app.id); c.RegisteredFrom != "" || strings.Contains(text(page), want) || strings.Contains(page, "forgotten") {
		t.Errorf("%+v: %s", c, text(page))
	}
}

// A document says what the application is, not where from it was first used.
func TestADocumentClientKeepsWhatIsKnownOfIt(t *testing.T) {
	p := newPublisher(t)
	w := documentWorld(t, p, options{})
	if got := w.authorizeIn(newBrowser(t), p.app); got.Get("code") == "" {
		t.Fatal(got)
	}
	c, err := w.stores.Clients.Client(t.Context(), tenant.DefaultID, p.app.id)
	if err != nil || c.RegisteredFrom != "" {
		t.Fatalf("%+v, %v", c, err)
	}
	w.change(p.app, func(c *store.Client) { c.RegisteredFrom = "192.0.2.0/24" }) // a store of the host's
	w.manage(http.MethodPatch, "/clients/"+strings.ReplaceAll(strings.ReplaceAll(p.app.id, "/", "%2F"), ":", "%3A"), `{"description":"known"}`)
	p.publishes(t, map[string]any{"client_name": "Another"})
	w.clock.advance(25 * time.Hour)
	if got := w.authorizeIn(newBrowser(t), p.app); got.Get("code") == "" {
		t.Fatal(got)
	}
	c, err = w.stores.Clients.Client(t.Context(), tenant.DefaultID, p.app.id)
	if err != nil || c.RegisteredFrom != "192.0.2.0/24" || c.Name != "Another" || c.Notes == nil {
		t.Errorf("%+v, %v", c, err)
	}
}
