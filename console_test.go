package opkit_test

import (
	"context"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
	"github.com/opkit/opkit/tenant/console"
)

// A consoleServer is the console of a world, at an address of its own, and who visits
// it.
type consoleServer struct {
	*world
	*browser
	url     string
	visitor *console.Visitor // nil: not let in
}

// allScopes are those of the world's machine client.
func (w *world) allScopes() []string {
	w.t.Helper()
	ctx := context.Background()
	tn, err := w.provider.Tenants().Tenant(ctx, tenant.DefaultID)
	if err != nil {
		w.t.Fatal(err)
	}
	g, err := w.stores.ClientGrants.FindClientGrant(ctx, tn.ID(), machineID, tn.ManagementAudience(), store.SubjectClient)
	if err != nil {
		w.t.Fatal(err)
	}
	return g.Scopes
}

func newConsole(w *world) *consoleServer {
	w.t.Helper()
	s := &consoleServer{world: w, browser: newBrowser(w.t), visitor: &console.Visitor{Name: "Grace", Scopes: w.allScopes()}}
	c, err := console.New(console.Config{
		Provider: w.server.Config.Handler, Issuer: w.issuer, Management: w.endpoint.Management, Token: w.endpoint.Token,
		LoginCallback: w.endpoint.LoginCallback, ClientID: machineID, ClientSecret: machineSecret, Now: w.clock.now,
		Admit: func(rw http.ResponseWriter, r *http.Request) (console.Visitor, bool) {
			if s.visitor == nil {
				http.Redirect(rw, r, "/login", http.StatusSeeOther)
				return console.Visitor{}, false
			}
			return *s.visitor, true
		},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	server := httptest.NewServer(c)
	w.t.Cleanup(server.Close)
	s.url = server.URL + "/console"
	return s
}

// page loads a page, which has to be there.
func (s *consoleServer) page(path string) string {
	s.browser.t.Helper()
	res := s.get(s.url + path)
	if res.StatusCode != http.StatusOK {
		s.browser.t.Fatalf("%s: %d %s", path, res.StatusCode, text(res.body))
	}
	return res.body
}

// send sends a form as a browser does from the console's own pages.
func (s *consoleServer) send(path string, fields ...string) *response {
	s.browser.t.Helper()
	return s.sendFrom("same-origin", path, fields...)
}

func (s *consoleServer) sendFrom(site, path string, fields ...string) *response {
	s.browser.t.Helper()
	form := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		form.Add(fields[i], fields[i+1])
	}
	req, err := http.NewRequest(http.MethodPost, s.url+path, strings.NewReader(form.Encode()))
	if err != nil {
		s.browser.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if site != "" {
		req.Header.Set("Sec-Fetch-Site", site)
	}
	return s.do(req)
}

// saved checks that a form led back to a page, and returns that page.
func (s *consoleServer) saved(res *response, note string) string {
	s.browser.t.Helper()
	if res.StatusCode != http.StatusSeeOther {
		s.browser.t.Fatalf("%d %s", res.StatusCode, text(res.body))
	}
	at, err := res.Location()
	if err != nil {
		s.browser.t.Fatal(err)
	}
	next := s.get(at.String())
	if next.StatusCode != http.StatusOK || !strings.Contains(text(next.body), note) {
		s.browser.t.Errorf("%s: %d %s", at, next.StatusCode, text(next.body))
	}
	return next.body
}

// The reference page: the toggle on the Advanced Settings page opens registration, and
// promoting a connection lets applications sign users in.
func TestTheConsoleSwitchesDynamicRegistrationOn(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount, notReady: true})
		s := newConsole(w)
		register := func() *response {
			return w.sendJSON(http.MethodPost, w.endpoint.Registration, "", `{"client_name":"My Dynamic Application","redirect_uris":["https://application.example.com/callback"]}`)
		}
		if res := register(); res.StatusCode != http.StatusForbidden {
			t.Fatalf("before: %d %s", res.StatusCode, res.body)
		}
		if page := s.page("/settings"); !strings.Contains(page, "OIDC Dynamic Application Registration") || strings.Contains(page, `id="enable_dynamic_client_registration" checked`) {
			t.Error(text(page))
		}
		page := s.saved(s.send("/settings", "form", "advanced", "enable_dynamic_client_registration", "on",
			"dynamic_client_registration_security_mode", "permissive", "dynamic_client_registration_access", "open"), "The settings were saved.")
		if !strings.Contains(page, `id="enable_dynamic_client_registration" checked`) || !strings.Contains(page, `value="permissive" checked`) {
			t.Error(text(page))
		}
		res := register()
		if id, _ := res.json(t)["client_id"].(string); res.StatusCode != http.StatusCreated || strings.HasPrefix(id, "tpc_") {
			t.Errorf("on: %d %s", res.StatusCode, res.body)
		}
		if page := s.page("/"); !strings.Contains(text(page), "nobody can sign in to them") {
			t.Error(text(page))
		}
		page = s.saved(s.send("/connections", "id", w.connection.ID, "is_domain_connection", "true"), "is a domain connection now")
		if !strings.Contains(page, "Demote") {
			t.Error(text(page))
		}
		if page := s.page("/"); strings.Contains(text(page), "nobody can sign in to them") {
			t.Error(text(page))
		}
		s.saved(s.send("/connections", "id", w.connection.ID, "is_domain_connection", "false"), "is no domain connection any more")
		// Boxes that are not ticked are not sent.
		s.saved(s.send("/settings", "form", "advanced", "dynamic_client_registration_security_mode", "strict", "dynamic_client_registration_access", "open"), "saved")
		if res := register(); res.StatusCode != http.StatusForbidden {
			t.Errorf("off again: %d %s", res.StatusCode, res.body)
		}
	})
}

func TestTheConsoleShowsAndChangesApplications(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount})
		s := newConsole(w)
		app := w.register(map[string]any{"client_name": `<b>Shop</b> & "Co"`, "redirect_uris": []string{appRedirectURI, "com.example.shop:/cb"}})
		list := s.page("/applications?kind=dynamic")
		if !strings.Contains(list, "&lt;b&gt;Shop&lt;/b&gt;") || strings.Contains(list, "<b>Shop") || !strings.Contains(text(list), "app.example.com, com.example.shop:") ||
			!strings.Contains(list, ">provisional<") || strings.Contains(list, "Machine") {
			t.Error(text(list))
		}
		if list := s.page("/applications?kind=first-party"); !strings.Contains(list, "Machine") || strings.Contains(list, "Shop") {
			t.Error(text(list))
		}
		one := "/applications/one?id=" + url.QueryEscape(app.id)
		if page := text(s.page(one)); !strings.Contains(page, "nobody has used it yet") || !strings.Contains(page, "third party, strict") {
			t.Error(page)
		}
		if got := w.authorizeIn(newBrowser(t), app); got.Get("code") == "" {
			t.Fatal(got)
		}
		if page := s.page(one); !strings.Contains(page, ">confirmed<") {
			t.Error(text(page))
		}

		record := func() store.Client {
			c, err := w.stores.Clients.Client(context.Background(), tenant.DefaultID, app.id)
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		for _, step := range []struct {
			action, note        string
			blocked, firstParty bool
		}{
			{"blocked", "nothing is served to it", true, false}, {"unblocked", "no longer blocked", false, false},
			{"first-party", "is first party now", false, true}, {"third-party", "is third party now", false, false},
		} {
			s.saved(s.send("/applications/one", "id", app.id, "action", step.action), step.note)
			if c := record(); c.Blocked != step.blocked || c.FirstParty != step.firstParty {
				t.Errorf("%s: %+v", step.action, c)
			}
		}
		s.saved(s.send("/applications/one", "id", app.id, "action", "delete"), "was deleted")
		if res := s.get(s.url + one); res.StatusCode != http.StatusNotFound || !strings.Contains(text(res.body), "The client does not exist.") {
			t.Errorf("%d %s", res.StatusCode, text(res.body))
		}
	})
}

// A client_id that is a URL has slashes, and is managed like any other.
func TestTheConsoleManagesApplicationsThatPublishTheirMetadata(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		p := newPublisher(t)
		w := documentWorld(t, p, options{mount: mount})
		s := newConsole(w)
		b := newBrowser(t)
		if got := w.authorizeIn(b, p.app); got.Get("code") == "" {
			t.Fatal(got)
		}
		s.saved(s.send("/applications/one", "id", p.app.id, "action", "blocked"), "nothing is served to it")
		if res := b.get(w.authorizeURL(p.app)); res.StatusCode < 400 && res.location(t).Get("code") != "" {
			t.Errorf("blocked: %d %s", res.StatusCode, text(res.body))
		}
		s.saved(s.send("/applications/one", "id", p.app.id, "action", "unblocked"), "no longer blocked")
		if got := w.authorizeIn(b, p.app); got.Get("code") == "" {
			t.Error(got)
		}
		s.saved(s.send("/applications/one", "id", p.app.id, "action", "delete"), "was deleted")
		if list := w.records(); len(list) != 0 {
			t.Errorf("%+v", list)
		}
	})
}

func TestTheConsoleSaysWhetherFirstPartiesNeedConsent(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount})
		s := newConsole(w)
		api := func() store.API {
			api, err := w.stores.APIs.APIByAudience(context.Background(), tenant.DefaultID, apiAudience)
			if err != nil {
				t.Fatal(err)
			}
			return api
		}
		const box = `name="skip_consent"`
		if page := s.page("/apis"); !strings.Contains(page, box) || strings.Contains(page, box+" checked") || api().SkipFirstPartyConsent {
			t.Error("skipping is on before anybody switched it on")
		}
		s.saved(s.send("/apis/consent", "id", api().ID, "skip_consent", "on"), "asked for consent was saved")
		if page := s.page("/apis"); !strings.Contains(page, box+" checked") || !api().SkipFirstPartyConsent || api().UserPolicy != store.PolicyAllowAll {
			t.Errorf("%+v", api())
		}
		s.saved(s.send("/apis/consent", "id", api().ID), "asked for consent was saved")
		if api().SkipFirstPartyConsent {
			t.Errorf("%+v", api())
		}
		if res := s.send("/apis/consent", "id", "rs_nobody", "skip_consent", "on"); res.StatusCode != http.StatusNotFound {
			t.Errorf("unknown API: %d", res.StatusCode)
		}
		if res := s.send("/apis/consent", "id", "rs_management", "skip_consent", "on"); res.StatusCode != http.StatusForbidden {
			t.Errorf("the built-in API: %d", res.StatusCode)
		}
	})
}

func TestTheConsoleSaysWhatThirdPartiesMayAskFor(t *testing.T) {
	w := newWorld(t, options{})
	s := newConsole(w)
	defaults := func() (scopes []string, ok bool) {
		g, err := w.stores.ClientGrants.FindClientGrant(context.Background(), tenant.DefaultID, store.DefaultForThirdParty, apiAudience, store.SubjectUser)
		return g.Scopes, err == nil
	}
	if _, ok := defaults(); ok {
		t.Fatal("there are defaults")
	}
	s.saved(s.send("/apis", "audience", apiAudience, "open", "on", "scope", "appointments", "scope", "contacts"), "were saved")
	if scopes, ok := defaults(); !ok || strings.Join(scopes, " ") != "appointments contacts" {
		t.Errorf("%v, %v", scopes, ok)
	}
	page := s.saved(s.send("/apis", "audience", apiAudience, "open", "on", "scope", "contacts"), "were saved")
	if scopes, _ := defaults(); strings.Join(scopes, " ") != "contacts" || !strings.Contains(page, `value="contacts" checked`) || strings.Contains(page, `value="appointments" checked`) {
		t.Errorf("%v %s", scopes, text(page))
	}
	if res := s.send("/apis", "audience", apiAudience, "open", "on", "scope", "everything"); res.StatusCode != http.StatusBadRequest {
		t.Errorf("%d %s", res.StatusCode, text(res.body))
	}
	s.saved(s.send("/apis", "audience", apiAudience), "were saved")
	if scopes, ok := defaults(); ok {
		t.Errorf("closed: %v", scopes)
	}
}

func TestTheConsoleRotatesAndRevokesKeys(t *testing.T) {
	w := newWorld(t, options{})
	s := newConsole(w)
	page := s.saved(s.send("/keys", "action", "rotate"), "next keys are published")
	if strings.Count(page, ">next<") != 1 { // the first RS256 key signs at once
		t.Error(text(page))
	}
	keys, err := w.stores.SigningKeys.SigningKeys(context.Background(), tenant.DefaultID)
	if err != nil {
		t.Fatal(err)
	}
	// Those with which the console's own token is signed too: it gets another one.
	for _, k := range keys {
		s.saved(s.send("/keys", "action", "revoke", "kid", k.ID), "was revoked")
	}
	if page := s.page("/keys"); strings.Count(page, ">revoked<") != len(keys) {
		t.Error(text(page))
	}
}

// Whatever a visitor may not do is neither offered nor done.
func TestTheConsoleDoesWhatTheVisitorMay(t *testing.T) {
	w := newWorld(t, options{})
	s := newConsole(w)
	app := w.register(nil)
	before := w.records()
	s.visitor.Scopes = []string{"read:clients", "read:tenant_settings"}
	page := s.page("/applications/one?id=" + app.id)
	for _, hidden := range []string{"Block", "Delete", "Connections", "Signing keys"} {
		if strings.Contains(text(page), hidden) {
			t.Errorf("%s is offered: %s", hidden, text(page))
		}
	}
	if page := s.page("/settings"); !strings.Contains(page, "disabled") || strings.Contains(page, "<button") {
		t.Error(text(page))
	}
	for path, fields := range map[string][]string{
		"/applications/one":         {"id", app.id, "action", "delete"},
		"/settings":                 {"form", "general", "friendly_name", "x"},
		"/connections":              {"id", w.connection.ID, "is_domain_connection", "false"},
		"/connections/one":          {"connection", w.connection.ID, "client", machineID, "action", "enabled"},
		"/applications/connections": {"connection", w.connection.ID, "client", machineID, "action", "enabled"},
		"/keys":                     {"action", "rotate"},
		"/apis":                     {"audience", apiAudience, "open", "on"},
		"/apis/consent":             {"id", "rs_any", "skip_consent", "on"},
	} {
		if res := s.send(path, fields...); res.StatusCode != http.StatusForbidden || !strings.Contains(text(res.body), "You may not do this.") {
			t.Errorf("%s: %d %s", path, res.StatusCode, text(res.body))
		}
	}
	for _, path := range []string{"/connections", "/connections/one?id=" + w.connection.ID, "/keys", "/apis"} {
		if res := s.get(s.url + path); res.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %d", path, res.StatusCode)
		}
	}
	s.visitor.Scopes = nil
	if page := s.page("/"); !strings.Contains(text(page), "You may not see anything here") {
		t.Error(text(page))
	}
	s.visitor = nil
	if res := s.get(s.url + "/applications"); res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != "/login" {
		t.Errorf("%d %v", res.StatusCode, res.Header)
	}
	if res := s.send("/applications/one", "id", app.id, "action", "delete"); res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != "/login" {
		t.Errorf("%d %v", res.StatusCode, res.Header)
	}
	if len(w.records()) != len(before) {
		t.Error("an application is gone")
	}
}

func TestTheConsoleShowsEvents(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount})
		s := newConsole(w)
		if page := s.page("/events"); !strings.Contains(text(page), "There is none.") || !strings.Contains(text(page), "0 sign-ins") {
			t.Error(text(page))
		}
		app := w.register(map[string]any{"client_name": "Shop", "redirect_uris": []string{appRedirectURI}})
		w.sendJSON(http.MethodPost, w.endpoint.Registration, "", `{"redirect_uris":["https://app.example.com/<i>?x=`+"`"+`"]}`)
		b := newBrowser(t)
		b.decide(b.login(b.login(b.get(w.authorizeURL(app)), "ada", "not-"+password), "ada", password), "allow")
		w.written()

		page := s.page("/events")
		for _, want := range []string{"1 sign-in ", "1 refused", "1 registration ", "no such user, another password", "from 127.0.0.1", "Consent"} {
			if !strings.Contains(text(page), want) {
				t.Errorf("no %q: %s", want, text(page))
			}
		}
		for _, want := range []string{
			`aria-label="Sign-ins by the hour: 1 and 1 refused, together at most 2 in one hour."`, `aria-label="Registrations by the hour: 1, at most 1 in one hour."`,
			`<rect class="done" x="23.14" y="50" width="0.72" height="50"/><rect class="refused" x="23.14" y="0" width="0.72" height="50"/>`,
			`<a href="/console/events?user=` + strings.ToLower(url.QueryEscape(w.user.ID)) + `">`,
		} {
			if !strings.Contains(page, want) {
				t.Errorf("no %s in %s", want, page)
			}
		}
		if strings.Contains(page, "<i>?x") {
			t.Error("what a stranger sent is not escaped")
		}
		for query, want := range map[string]int{
			"kind=sign-ins": 1, "kind=refused-sign-ins": 1, "kind=registrations": 2, "kind=refused": 2, "kind=consent": 1, "kind=administration": 0,
			"client=" + app.id: 4, "user=" + url.QueryEscape(w.user.ID): 2, "user=nobody": 0, "kind=consent&client=" + app.id: 1, "client=+" + app.id + "+": 4,
			"page=1": 0,
		} {
			if page := s.page("/events?" + query); strings.Count(page, `<div class="row">`) != want {
				t.Errorf("%s: want %d events: %s", query, want, text(page))
			}
		}
		for query, want := range map[string]int{"kind=x": 404, "page=x": 404, "page=-1": 404, "client=" + url.QueryEscape(`a" OR b`): 400, "user=%00": 400, "page=999999": 400} {
			if res := s.get(s.url + "/events?" + query); res.StatusCode != want {
				t.Errorf("%s: %d %s", query, res.StatusCode, text(res.body))
			}
		}
		if page := s.page("/applications/one?id=" + url.QueryEscape(app.id)); !strings.Contains(page, `href="/console/events?client=`+app.id) {
			t.Error(page)
		}

		s.visitor.Scopes = withoutValue(w.allScopes(), "read:logs")
		if res := s.get(s.url + "/events"); res.StatusCode != http.StatusForbidden {
			t.Errorf("without the scope: %d", res.StatusCode)
		}
		if page := s.page("/"); strings.Contains(page, "/events") {
			t.Error("the navigation leads where the visitor may not go")
		}
	})
}

// Pages of events go back to the first one.
func TestTheConsolePagesEvents(t *testing.T) {
	w := newWorld(t, options{})
	s := newConsole(w)
	for i := range 101 {
		at := w.clock.now().Add(-time.Duration(i) * time.Minute)
		e := store.Event{TenantID: tenant.DefaultID, ID: store.EventPosition(at), Time: at, Type: "user.sign_in", Outcome: "allowed", ExpiresAt: at.Add(24 * time.Hour)}
		if _, err := w.stores.Events.AppendEvents(t.Context(), []store.Event{e}); err != nil {
			t.Fatal(err)
		}
	}
	next := regexp.MustCompile(`<a href="/console(/events[^"]*)">Older</a>`)
	seen, path := 0, "/events?kind=sign-ins"
	for pages := 1; ; pages++ {
		page := s.page(path)
		seen += strings.Count(page, `<div class="row">`)
		if strings.Contains(page, ">Newer<") != (pages > 1) {
			t.Errorf("page %d: %s", pages, page)
		}
		older := next.FindStringSubmatch(page)
		if older == nil {
			if seen != 101 || pages != 3 {
				t.Errorf("%d events on %d pages", seen, pages)
			}
			return
		}
		path = html.UnescapeString(older[1])
	}
}

// strings.Split of an empty claim gives one empty text. At the token endpoint an empty
// scope means all that the console's client has.
func TestAVisitorWithAnEmptyScopeMayNothing(t *testing.T) {
	w := newWorld(t, options{})
	s := newConsole(w)
	app := w.register(nil)
	before := w.records()
	for _, scopes := range [][]string{{""}, strings.Split("", " "), {"", ""}, {" "}, {"\t"}} {
		s.visitor.Scopes = scopes
		if res := s.send("/applications/one", "id", app.id, "action", "delete"); res.StatusCode != http.StatusForbidden {
			t.Errorf("%q: %d %s", scopes, res.StatusCode, text(res.body))
		}
		if res := s.get(s.url + "/applications"); res.StatusCode != http.StatusForbidden {
			t.Errorf("%q: %d %s", scopes, res.StatusCode, text(res.body))
		}
	}
	if len(w.records()) != len(before) {
		t.Error("an application is gone")
	}
}

func TestTheConsoleAnswersItsOwnFormsOnly(t *testing.T) {
	w := newWorld(t, options{})
	s := newConsole(w)
	app := w.register(nil)
	for _, site := range []string{"cross-site", "same-site", "none", ""} {
		res := s.sendFrom(site, "/applications/one", "id", app.id, "action", "delete")
		if res.StatusCode != http.StatusForbidden || !strings.Contains(text(res.body), "was not sent by the console itself") {
			t.Errorf("%q: %d %s", site, res.StatusCode, text(res.body))
		}
	}
	if len(w.records()) != 1 {
		t.Error("the application is gone")
	}
	for _, path := range []string{"/", "/settings", "/nothing"} {
		h := s.get(s.url + path).Header
		for name, want := range map[string]string{
			"Content-Security-Policy": "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
			"Cache-Control":           "no-store", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer",
		} {
			if got := h.Get(name); got != want {
				t.Errorf("%s: %s %q", path, name, got)
			}
		}
	}
	// A note comes from a fixed list, not from the address.
	if page := s.page("/settings?done=%3Cscript%3E"); strings.Contains(page, "script") {
		t.Error(page)
	}
	if res := s.send("/settings", "form", "other"); res.StatusCode != http.StatusBadRequest {
		t.Error(res.StatusCode)
	}
	if res := s.send("/settings", "form", "general", "support_email", "not an address"); res.StatusCode != http.StatusBadRequest || !strings.Contains(text(res.body), "support_email must be an email address") {
		t.Errorf("%d %s", res.StatusCode, text(res.body))
	}
	if res := s.send("/settings", "form", "general", "friendly_name", strings.Repeat("x", 70<<10)); res.StatusCode != http.StatusBadRequest {
		t.Error(res.StatusCode)
	}
}

func TestTheConsoleNamesWhatItLacks(t *testing.T) {
	complete := func() console.Config {
		return console.Config{
			Provider: http.NotFoundHandler(), Issuer: "https://login.example.com", ClientID: "c", ClientSecret: "s",
			Admit: func(http.ResponseWriter, *http.Request) (console.Visitor, bool) { return console.Visitor{}, true },
		}
	}
	if _, err := console.New(complete()); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*console.Config){
		"Provider": func(c *console.Config) { c.Provider = nil }, "Issuer": func(c *console.Config) { c.Issuer = "" },
		"ClientID": func(c *console.Config) { c.ClientID = "" }, "ClientSecret": func(c *console.Config) { c.ClientSecret = "" },
		"Admit": func(c *console.Config) { c.Admit = nil }, "Management": func(c *console.Config) { c.Management = "/api/v2" },
		"LoginCallback": func(c *console.Config) { c.LoginCallback = "/login/callback" }, "Path": func(c *console.Config) { c.Path = "console" },
	} {
		cfg := complete()
		change(&cfg)
		if c, err := console.New(cfg); err == nil || c != nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
