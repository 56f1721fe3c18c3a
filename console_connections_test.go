package opkit_test

import (
	"context"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
	"github.com/opkit/opkit/tenant"
)

// enabled are the clients that a connection lists.
func (w *world) enabled(id string) []string {
	w.t.Helper()
	c, err := w.stores.Connections.Connection(context.Background(), tenant.DefaultID, id)
	if err != nil {
		w.t.Fatal(err)
	}
	return c.EnabledClients
}

// What is enabled on the page of an application or of a connection decides who signs in.
func TestTheConsoleEnablesConnections(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount})
		s := newConsole(w)
		app, partner := w.own(appRedirectURI), w.connect("Partner-1", "github", map[string]any{"client_id": "here", "client_secret": "x"})
		signsIn := func() bool {
			return strings.Contains(newBrowser(t).get(w.authorizeURL(app)).body, `id="login-submit"`)
		}
		for _, pages := range []struct{ form, from string }{
			{"/applications/connections", "/applications/one?id=" + app.id},
			{"/connections/one", "/connections/one?id=" + w.connection.ID},
		} {
			if page := s.page(pages.from); !strings.Contains(page, `name="action" value="disabled"`) || !signsIn() {
				t.Fatalf("%s: before: %s", pages.from, text(page))
			}
			page := s.saved(s.send(pages.form, "client", app.id, "connection", w.connection.ID, "action", "disabled"), "The application may not use the connection any more.")
			if strings.Contains(page, `name="action" value="disabled"`) || slices.Contains(w.enabled(w.connection.ID), app.id) || signsIn() {
				t.Errorf("%s: disabled: %s", pages.form, text(page))
			}
			page = s.saved(s.send(pages.form, "client", app.id, "connection", w.connection.ID, "action", "enabled"), "The application may use the connection now.")
			if strings.Count(page, `name="action" value="disabled"`) != 1 || !slices.Contains(w.enabled(w.connection.ID), app.id) || !signsIn() {
				t.Errorf("%s: enabled: %s", pages.form, text(page))
			}
		}
		if list := w.enabled(partner.ID); len(list) != 0 {
			t.Errorf("the other connection: %q", list)
		}
		page := s.page("/applications/one?id=" + app.id)
		for _, want := range []string{`aria-label="Disable ` + w.connection.Name + `"`, `aria-label="Enable Partner-1"`, `<a href="/console/connections/one?id=` + partner.ID + `">`} {
			if !strings.Contains(page, want) {
				t.Errorf("no %s: %s", want, page)
			}
		}
		if page := s.page("/connections/one?id=" + w.connection.ID); !strings.Contains(page, `<a href="/console/applications/one?id=`+app.id+`">`) {
			t.Errorf("%s", page)
		}
		third := w.register(map[string]any{"client_name": "Shop", "redirect_uris": []string{appRedirectURI}})
		if page := s.page("/applications/one?id=" + third.id); !strings.Contains(text(page), "Third-party applications use domain connections") || strings.Contains(page, "/applications/connections") {
			t.Errorf("third party: %s", text(page))
		}
	})
}

func TestTheConsoleRefusesToEnableConnections(t *testing.T) {
	w := newWorld(t, options{})
	s := newConsole(w)
	app := w.own(appRedirectURI)
	before := w.enabled(w.connection.ID)
	for _, path := range []string{"/applications/connections", "/connections/one"} {
		for rule, try := range map[string]struct {
			client, connection, action string
			status                     int
			says                       string
		}{
			"an application that is not there": {"nobody", w.connection.ID, "enabled", http.StatusNotFound, "The client does not exist."},
			"no application":                   {"", w.connection.ID, "enabled", http.StatusBadRequest, "Say which application"},
			"a connection that is not there":   {machineID, "con_0", "enabled", http.StatusNotFound, "The connection does not exist."},
			"no connection":                    {machineID, "", "enabled", http.StatusNotFound, ""},
			"a path":                           {machineID, "../clients/" + app.id + "?x=", "enabled", http.StatusNotFound, "The connection does not exist."},
			"nothing that the page does":       {machineID, w.connection.ID, "deleted", http.StatusBadRequest, "not one of this page"},
			"nothing":                          {machineID, w.connection.ID, "", http.StatusBadRequest, "not one of this page"},
		} {
			res := s.send(path, "client", try.client, "connection", try.connection, "action", try.action)
			if res.StatusCode != try.status || !strings.Contains(text(res.body), try.says) {
				t.Errorf("%s: %s: %d %s", path, rule, res.StatusCode, text(res.body))
			}
		}
		for _, site := range []string{"cross-site", "same-site", "none", ""} {
			if res := s.sendFrom(site, path, "client", machineID, "connection", w.connection.ID, "action", "enabled"); res.StatusCode != http.StatusForbidden {
				t.Errorf("%s from %q: %d %s", path, site, res.StatusCode, text(res.body))
			}
		}
		s.visitor.Scopes = withoutValue(w.allScopes(), "update:connections")
		for _, action := range []string{"enabled", "disabled"} {
			if res := s.send(path, "client", app.id, "connection", w.connection.ID, "action", action); res.StatusCode != http.StatusForbidden || !strings.Contains(text(res.body), "You may not do this.") {
				t.Errorf("%s: %s without the scope: %d %s", path, action, res.StatusCode, text(res.body))
			}
		}
		s.visitor.Scopes = w.allScopes()
	}
	if after := w.enabled(w.connection.ID); !slices.Equal(before, after) {
		t.Errorf("%q became %q", before, after)
	}
	for _, path := range []string{"/connections/one", "/applications/one", "/connections/one?id=con_0", "/connections/one?id=..%2Fclients"} {
		if res := s.get(s.url + path); res.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %d %s", path, res.StatusCode, text(res.body))
		}
	}
	for _, path := range []string{"/connections?", "/connections/one?id=" + w.connection.ID, "/applications/one?id=" + app.id} {
		if res := s.get(s.url + path + "&from=~"); res.StatusCode != http.StatusBadRequest {
			t.Errorf("%s from somewhere: %d %s", path, res.StatusCode, text(res.body))
		}
	}

	// Who may look only is offered nothing; who may not look, sees nothing of it.
	s.visitor.Scopes = []string{"read:clients", "read:connections"}
	for _, path := range []string{"/connections/one?id=" + w.connection.ID, "/applications/one?id=" + app.id} {
		if page := s.page(path); strings.Contains(page, "<button") || !strings.Contains(page, w.connection.Name) {
			t.Errorf("%s: %s", path, text(page))
		}
	}
	s.visitor.Scopes = []string{"read:clients", "update:connections"}
	if page := s.page("/applications/one?id=" + app.id); strings.Contains(page, "<button") || strings.Contains(page, w.connection.Name) {
		t.Errorf("without read:connections: %s", text(page))
	}
	s.visitor.Scopes = []string{"read:connections"}
	if page := s.page("/connections/one?id=" + w.connection.ID); strings.Contains(page, "/applications/one") || !strings.Contains(page, app.id) {
		t.Errorf("without read:clients: %s", text(page))
	}
}

// A connection goes on listing an application that was deleted, until it is told not to.
func TestTheConsoleDisablesWhatIsDeleted(t *testing.T) {
	w := newWorld(t, options{})
	s := newConsole(w)
	app := w.own(appRedirectURI)
	if err := w.stores.Clients.DeleteClient(t.Context(), tenant.DefaultID, app.id); err != nil {
		t.Fatal(err)
	}
	s.saved(s.send("/connections/one", "client", app.id, "connection", w.connection.ID, "action", "disabled"), "may not use the connection any more")
	if list := w.enabled(w.connection.ID); slices.Contains(list, app.id) {
		t.Errorf("%q", list)
	}
}

// outrun are connections that somebody else has always just changed.
type outrun struct {
	store.ConnectionStore
	on bool
}

func (o *outrun) UpdateConnection(ctx context.Context, c store.Connection) error {
	if o.on {
		return store.ErrConflict
	}
	return o.ConnectionStore.UpdateConnection(ctx, c)
}

func TestTheConsoleSaysWhatKeepsAConnectionFromBeingEnabled(t *testing.T) {
	stores := memstore.New().Stores()
	others := &outrun{ConnectionStore: stores.Connections}
	stores.Connections = others
	w := newWorld(t, options{stores: stores})
	s := newConsole(w)
	full := store.Connection{Name: "full", Strategy: "auth0", TenantID: tenant.DefaultID}
	for i := range 1000 {
		full.EnabledClients = append(full.EnabledClients, fmt.Sprintf("client-%04d", i))
	}
	full, err := w.provider.Connections().Create(t.Context(), full)
	if err != nil {
		t.Fatal(err)
	}
	res := s.send("/connections/one", "client", machineID, "connection", full.ID, "action", "enabled")
	if res.StatusCode != http.StatusBadRequest || !strings.Contains(text(res.body), "enabled_clients must have at most 1000 elements") || len(w.enabled(full.ID)) != 1000 {
		t.Errorf("%d %s", res.StatusCode, text(res.body))
	}

	others.on = true
	res = s.send("/connections/one", "client", "client-0000", "connection", full.ID, "action", "disabled")
	if res.StatusCode != http.StatusConflict || !strings.Contains(text(res.body), "The connection was changed at the same time, try again.") {
		t.Errorf("%d %s", res.StatusCode, text(res.body))
	}
}

// However many there are, a page has 50 of them, and a form returns to its page.
func TestTheConsolePagesConnections(t *testing.T) {
	w := newWorld(t, options{})
	s := newConsole(w)
	app := w.own(appRedirectURI)
	many := store.Connection{Name: "many", Strategy: "auth0", TenantID: tenant.DefaultID}
	for i := range 101 {
		many.EnabledClients = append(many.EnabledClients, fmt.Sprintf("client-%04d", i))
	}
	many, err := w.provider.Connections().Create(t.Context(), many)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 99 {
		w.connect(fmt.Sprintf("partner-%d", i), "github", map[string]any{"client_id": "here", "client_secret": "x"})
	}
	next := regexp.MustCompile(`<a href="/console([^"]*)">Next page</a>`)
	row := regexp.MustCompile(`<div class="row">`)
	// In this order: what the forms of the pages enable counts on the second one.
	for _, path := range []string{"/connections", "/connections/one?id=" + many.ID, "/applications/one?id=" + app.id} {
		const want = 101
		seen, pages := 0, 1
		for ; ; pages++ {
			page := s.page(path)
			n := len(row.FindAllString(page, -1))
			if n > 50 {
				t.Errorf("%s: %d on a page", path, n)
			}
			seen += n
			match := next.FindStringSubmatch(page)
			if match == nil {
				break
			}
			path = html.UnescapeString(match[1])
		}
		if seen != want || pages != 3 {
			t.Errorf("%s: %d on %d pages", path, seen, pages)
		}
		u := mustParse(t, path)
		if !strings.HasSuffix(u.Path, "/one") {
			continue
		}
		fields := []string{"client", app.id, "connection", many.ID, "action", "enabled", "from", u.Query().Get("from")}
		form := map[string]string{"/applications/one": "/applications/connections", "/connections/one": "/connections/one"}[u.Path]
		if at, err := s.send(form, fields...).Location(); err != nil || at.Query().Get("from") != u.Query().Get("from") || at.Query().Get("id") != u.Query().Get("id") {
			t.Errorf("%s: back to %v, %v", form, at, err)
		}
	}
	// Where everything was disabled since.
	if page := s.page("/connections/one?id=" + many.ID + "&from=" + url.QueryEscape("fn5-")); !strings.Contains(text(page), "There is none here.") || !strings.Contains(page, "First page") {
		t.Errorf("%s", text(page))
	}
}

// What the console says to register is what is sent to the other provider.
func TestTheConsoleShowsRedirectURIs(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		u := newUpstreamWorld(t, options{mount: mount}, nil)
		s := newConsole(u.world)
		app := u.register(nil)
		for _, own := range []bool{false, true} {
			u.own(own)
			res := newBrowser(t).get(u.authorizeURL(app, "connection", u.upstream.Name))
			sent := mustParse(t, res.Header.Get("Location")).Query().Get("redirect_uri")
			if sent == "" || strings.HasSuffix(sent, "/"+u.upstream.ID) != own {
				t.Fatalf("%d %q", res.StatusCode, sent)
			}
			if page := s.page("/connections"); strings.Count(page, "Redirect URI to register there: <code>"+sent+"</code>") != 1 || strings.Count(page, "Redirect URI") != 1 {
				t.Errorf("own %t: no %s in %s", own, sent, text(page))
			}
			if page := s.page("/connections/one?id=" + u.upstream.ID); !strings.Contains(page, "<dd><code>"+sent+"</code>") {
				t.Errorf("own %t: no %s in %s", own, sent, text(page))
			}
		}
		if page := s.page("/connections/one?id=" + u.connection.ID); strings.Contains(page, "Redirect URI") {
			t.Errorf("a database: %s", text(page))
		}
	})
}

func TestTheConsoleSaysHowAConnectionIsReached(t *testing.T) {
	w := newWorld(t, options{})
	s := newConsole(w)
	partner := w.connect("partner", "github", map[string]any{"client_id": "here", "client_secret": "x"})
	for body, want := range map[string]string{
		`{"options":{"client_id":"here"}}`:                                                   "Login page a button Redirect",
		`{"options":{"client_id":"here"},"show_as_button":false}`:                            "Login page no button Redirect",
		`{"options":{"client_id":"here","domain_aliases":["a.test","b.test"]}}`:              "Login page no button; email addresses at a.test, b.test lead there",
		`{"options":{"client_id":"here","domain_aliases":["a.test"]},"show_as_button":true}`: "Login page a button; email addresses at a.test lead there",
	} {
		w.manage(http.MethodPatch, "/connections/"+partner.ID, `{"show_as_button":null}`)
		if res := w.manage(http.MethodPatch, "/connections/"+partner.ID, body); res.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d %s", body, res.StatusCode, res.body)
		}
		if page := text(s.page("/connections/one?id=" + partner.ID)); !strings.Contains(page, want) {
			t.Errorf("%s: %s", body, page)
		}
	}
	if page := text(s.page("/connections/one?id=" + w.connection.ID)); strings.Contains(page, "Login page") {
		t.Errorf("a database: %s", page)
	}
}
