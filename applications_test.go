package opkit_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opkit/opkit"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
	"github.com/opkit/opkit/tenant"
)

// grants returns the grants that there are.
func (w *world) grants() []store.Grant {
	w.t.Helper()
	all, err := w.stores.Grants.Grants(context.Background(), tenant.DefaultID, store.GrantFilter{}, store.Page{})
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

// bob is another user of the world's connection.
func (w *world) bob() store.User {
	w.t.Helper()
	u, err := w.provider.Connections().CreateUser(context.Background(), store.User{
		TenantID: tenant.DefaultID, ConnectionID: w.connection.ID, Email: "bob@example.com", Username: "bob",
	}, password)
	if err != nil {
		w.t.Fatal(err)
	}
	return u
}

// applications opens the applications page, signing in if that is needed.
func (w *world) applications(b *browser, username string) *response {
	w.t.Helper()
	page := b.get(w.endpoint.Applications)
	if strings.Contains(page.body, `id="login-submit"`) {
		res := b.login(page, username, password)
		if res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != w.endpoint.Applications {
			w.t.Fatalf("signing in to the applications page: %d %s %s", res.StatusCode, res.Header.Get("Location"), text(res.body))
		}
		page = b.get(w.endpoint.Applications)
	}
	if page.StatusCode != http.StatusOK || !strings.Contains(page.body, "<h1>Applications with access</h1>") {
		w.t.Fatalf("applications page: %d %s", page.StatusCode, text(page.body))
	}
	return page
}

// remove presses the first button of the applications page.
func (b *browser) remove(page *response) *response {
	b.t.Helper()
	action, fields := form(b.t, page)
	if fields.Get("grants") == "" {
		b.t.Fatalf("no application on the page: %s", text(page.body))
	}
	return b.post(action, fields)
}

// What a user allowed is on the page, and removing it ends all of it at once.
func TestApplications(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount, permissive: true})
		app, other := w.register(map[string]any{"client_name": "Bookings"}), w.register(map[string]any{"client_name": "Archive"})
		b := newBrowser(t)
		if page := w.applications(b, "ada"); !strings.Contains(text(page.body), "No application can use your account ada@example.com") {
			t.Errorf("before anything: %s", text(page.body))
		}
		both := w.redeem(app, w.authorizeIn(b, app, "audience", apiAudience, "scope", "openid appointments offline_access").Get("code")).json(t)
		plain := w.redeem(app, w.authorizeIn(b, app, "scope", "openid email", "claims", `{"userinfo":{"birthdate":null}}`).Get("code")).json(t)
		pending := w.authorizeIn(b, app, "scope", "openid email").Get("code")
		kept := w.redeem(other, w.authorizeIn(b, other).Get("code")).json(t)

		page := w.applications(b, "")
		said := text(page.body)
		for _, want := range []string{"ada@example.com", w.connection.Name, "Archive unverified app.example.com", "Bookings unverified app.example.com",
			"See your email address", "See your date of birth", "Appointments See your appointments", "while you are away", "Allowed " + time.Now().UTC().Format("2 January 2006")} {
			if !strings.Contains(said, want) {
				t.Errorf("the page lacks %q: %s", want, said)
			}
		}
		if strings.Count(page.body, "remove-access\"") != 2 || strings.Index(said, "Archive") > strings.Index(said, "Bookings") {
			t.Errorf("not two applications by name: %s", said)
		}
		// The second form is that of Bookings, with both of its grants.
		second := &response{page.Response, page.body[strings.Index(page.body, "</form>")+len("</form>"):]}
		after := b.remove(second)
		if said := text(after.body); after.StatusCode != 200 || !strings.Contains(said, "Bookings has no access any more.") || strings.Contains(said, "Bookings unverified") || !strings.Contains(said, "Archive unverified") {
			t.Errorf("after removing: %d %s", after.StatusCode, said)
		}
		for name, tokens := range map[string]map[string]any{"API": both, "no API": plain} {
			if w.active(app, tokens["access_token"].(string)) || w.active(app, tokens["refresh_token"].(string)) {
				t.Errorf("%s: a token is active", name)
			}
			if res := w.userinfo(tokens["access_token"].(string)); res.StatusCode != 401 {
				t.Errorf("%s: userinfo: %d", name, res.StatusCode)
			}
			if res := w.token(app, "grant_type", "refresh_token", "refresh_token", tokens["refresh_token"].(string)); res.StatusCode != 400 || res.json(t)["error"] != "invalid_grant" {
				t.Errorf("%s: refresh: %d %s", name, res.StatusCode, res.body)
			}
		}
		if res := w.redeem(app, pending); res.StatusCode != 400 || res.json(t)["error"] != "invalid_grant" {
			t.Errorf("a code from before: %d %s", res.StatusCode, res.body)
		}
		if got := b.get(w.authorizeURL(app, "scope", "openid email", "prompt", "none")).location(t); got.Get("error") != "login_required" {
			t.Errorf("silently, afterwards: %v", got)
		}
		if again := b.get(w.authorizeURL(app, "scope", "openid email")); !strings.Contains(text(again.body), "not allowed it anything before") {
			t.Errorf("consent is not asked again: %s", text(again.body))
		}
		if !w.active(other, kept["access_token"].(string)) {
			t.Error("another application lost its token")
		}
	})
}

// Nothing is removed by anybody but the user, from the page that was shown.
func TestApplicationsAgainstAttackers(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount})
		w.bob()
		app := w.register(nil)
		ada, bob, stranger := newBrowser(t), newBrowser(t), newBrowser(t)
		token := w.redeem(app, w.authorizeIn(ada, app).Get("code")).json(t)["access_token"].(string)
		page := w.applications(ada, "")
		action, fields := form(t, page)
		grant := fields.Get("grants")
		bobs, strangers := w.applications(bob, "bob"), stranger.get(w.endpoint.Applications)
		if strings.Contains(text(bobs.body), "My Dynamic Client") || strings.Contains(strangers.body, "My Dynamic Client") || strings.Contains(strangers.body, "ada@") {
			t.Error("somebody else sees what ada allowed")
		}
		with := func(b *browser, transaction string) *response {
			return b.post(action, url.Values{"transaction": {transaction}, "grants": {grant}})
		}
		transactionOf := func(page *response) string {
			// bob's page has no form: his transaction is that of an application of his own.
			_, fields := form(t, page)
			return fields.Get("transaction")
		}
		bobsApp := w.register(map[string]any{"client_name": "Of Bob"})
		w.authorizeIn(bob, bobsApp)
		bobsTransaction := transactionOf(w.applications(bob, ""))
		_, consent := form(t, ada.get(w.authorizeURL(app, "prompt", "consent")))
		crossSite := func() *response {
			req, err := http.NewRequest(http.MethodPost, action, strings.NewReader(fields.Encode()))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			req.Header.Set("Sec-Fetch-Site", "cross-site")
			return ada.do(req)
		}
		sealed := fields.Get("transaction")
		for name, tc := range map[string]struct {
			res    *response
			status int
		}{
			"another user's grant, on one's own page": {with(bob, bobsTransaction), 200},
			"ada's page in bob's browser":             {with(bob, sealed), 400},
			"ada's page in a browser without cookies": {with(newBrowser(t), sealed), 400},
			"bob's page in ada's browser":             {with(ada, bobsTransaction), 400},
			"a stranger's login page":                 {with(stranger, transactionOf(strangers)), 400},
			"the consent page's transaction":          {with(ada, consent.Get("transaction")), 400},
			"no transaction":                          {with(ada, ""), 400},
			"an altered one":                          {with(ada, "A"+sealed[1:]+"A"), 400},
			"another site's form":                     {crossSite(), 403},
			"by GET":                                  {ada.get(action + "?" + fields.Encode()), 400},
			"by PUT":                                  {ada.do(must2(http.NewRequest(http.MethodPut, action, strings.NewReader(fields.Encode())))), 405},
			"its transaction for consent":             {ada.post(w.endpoint.Consent, url.Values{"transaction": {sealed}, "decision": {"allow"}}), 400},
			"its transaction for a login":             {ada.post(action, url.Values{"transaction": {sealed}, "username": {"ada"}, "password": {password}}), 400},
			"more than a page has":                    {ada.post(action, url.Values{"transaction": {sealed}, "grants": {strings.Repeat(grant+" ", 101)}}), 400},
			"a grant that does not exist":             {ada.post(action, url.Values{"transaction": {sealed}, "grants": {"x ' -- " + strings.ToLower(grant)}}), 200},
		} {
			if tc.res.StatusCode != tc.status || tc.res.Header.Get("Location") != "" || strings.Contains(tc.res.body, "no access any more") {
				t.Errorf("%s: %d %s", name, tc.res.StatusCode, text(tc.res.body))
			}
		}
		if len(w.grants()) != 2 || !w.active(app, token) {
			t.Fatalf("something was removed: %d grants", len(w.grants()))
		}

		// The page of a session that has ended shows nothing and removes nothing.
		ended := ada.get(w.endSession())
		if strings.Contains(ended.body, `id="logout-confirm"`) {
			ada.confirm(ended)
		}
		if res := with(ada, sealed); !strings.Contains(res.body, "login-submit") || len(w.grants()) != 2 {
			t.Errorf("without a session: %d %s", res.StatusCode, text(res.body))
		}
		// Nor does it after bob signed in, in the same browser.
		w.applications(ada, "bob")
		if res := with(ada, sealed); strings.Contains(res.body, "no access any more") || len(w.grants()) != 2 {
			t.Errorf("in the session of another user: %d %s", res.StatusCode, text(res.body))
		}
	})
}

func must2[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// A form that is sent again removes nothing that was allowed since.
func TestRemovalIsNotRepeated(t *testing.T) {
	w := newWorld(t, options{})
	app := w.register(nil)
	b := newBrowser(t)
	w.authorizeIn(b, app)
	page := w.applications(b, "")
	if res := b.remove(page); len(w.grants()) != 0 || !strings.Contains(text(res.body), "has no access any more") {
		t.Fatalf("%s", text(res.body))
	}
	w.authorizeIn(b, app)
	if res := b.remove(page); len(w.grants()) != 1 || strings.Contains(text(res.body), "has no access any more") {
		t.Errorf("sent again: %s", text(res.body))
	}
	// A page that was open for too long is shown again.
	page = w.applications(b, "")
	w.clock.advance(2 * time.Hour)
	if res := b.remove(page); len(w.grants()) != 1 || strings.Contains(text(res.body), "has no access any more") || !strings.Contains(res.body, "remove-access") {
		t.Errorf("an old page: %d %s", res.StatusCode, text(res.body))
	}
}

// Strangers write nothing, and the store is not asked for them.
func TestApplicationsOfNobody(t *testing.T) {
	c := &counted{}
	w := newWorld(t, options{stores: c.stores(), config: func(cfg *opkit.Config) { cfg.CacheStaleness = time.Hour }})
	newBrowser(t).get(w.endpoint.Applications) // the tenant's records are cached from here on
	before := c.n.Load()
	b := newBrowser(t)
	page := b.get(w.endpoint.Applications + "?after=x")
	if n := c.n.Load() - before; n != 0 || !strings.Contains(text(page.body), "to continue to your account") {
		t.Errorf("%d store calls: %s", n, text(page.body))
	}
	if res := b.login(page, "ada", "wrong"); res.StatusCode != 401 || !strings.Contains(text(res.body), "Wrong email, username or password.") || res.Header.Get("Location") != "" {
		t.Errorf("a wrong password: %d %s", res.StatusCode, text(res.body))
	}
	// The login page of the applications page begins nothing else.
	_, fields := form(t, page)
	fields.Set("username", "ada")
	fields.Set("password", password)
	if res := b.post(w.endpoint.Login, fields); res.StatusCode != 400 {
		t.Errorf("its transaction at the login endpoint: %d", res.StatusCode)
	}
	w.clock.advance(2 * time.Hour)
	if res := b.login(page, "ada", password); res.Header.Get("Location") != "" || !strings.Contains(text(res.body), "open for too long") {
		t.Errorf("an old login page: %d %s", res.StatusCode, text(res.body))
	}
	res := newBrowser(t).get(w.endpoint.Applications)
	for header, want := range map[string]string{"Content-Security-Policy": "frame-ancestors 'none'", "X-Frame-Options": "DENY", "Cache-Control": "no-store"} {
		if !strings.Contains(res.Header.Get(header), want) {
			t.Errorf("%s: %q", header, res.Header.Get(header))
		}
	}
	if strings.Contains(newBrowser(t).get(w.issuer+"/.well-known/openid-configuration").body, "applications") {
		t.Error("the metadata names the page")
	}
}

// A user who may not be served is not, and neither is one of a connection that no
// client may use.
func TestApplicationsAreCheckedAtUse(t *testing.T) {
	ctx := context.Background()
	for _, name := range []string{"user blocked", "user deleted", "connection deleted", "connection not a domain one"} {
		w := newWorld(t, options{})
		app := w.register(nil)
		b := newBrowser(t)
		w.authorizeIn(b, app)
		page := w.applications(b, "")
		open := newBrowser(t)
		login := open.get(w.endpoint.Applications)
		withdrawals[name](w, app)
		if res := b.get(w.endpoint.Applications); strings.Contains(res.body, "My Dynamic Client") {
			t.Errorf("%s: the page is still shown", name)
		}
		if b.remove(page); len(w.grants()) != 1 {
			t.Errorf("%s: an open page still removes", name)
		}
		if res := open.login(login, "ada", password); res.Header.Get("Location") != "" {
			t.Errorf("%s: an open login page still signs in", name)
		}
	}
	// A connection of the tenant's own client alone is good enough.
	w := newWorld(t, options{notReady: true})
	c, err := w.stores.Connections.Connection(ctx, tenant.DefaultID, w.connection.ID)
	if err != nil {
		t.Fatal(err)
	}
	c.EnabledClients = []string{machineID}
	if err := w.stores.Connections.UpdateConnection(ctx, c); err != nil {
		t.Fatal(err)
	}
	w.applications(newBrowser(t), "ada")
}

// Host logins: the host says who is signed in, also on this page.
func TestApplicationsWithHostLogin(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w, h := newHostWorld(t, mount)
		app := w.register(nil)
		b := newBrowser(t)
		res := b.get(w.endpoint.Applications)
		if h.request.ClientID != "" || h.request.ClientName != "" || !strings.HasPrefix(h.request.ReturnTo, w.endpoint.Applications+"?transaction=") {
			t.Errorf("login request: %+v", h.request)
		}
		if page := back(t, b, res); page.StatusCode != http.StatusForbidden && page.StatusCode != http.StatusBadRequest {
			t.Errorf("came back without signing in: %d", page.StatusCode)
		}
		h.signIn(b, w, "ada", w.clock.now())
		// The way back belongs to the browser that was sent, and to this page.
		other := newBrowser(t)
		h.signIn(other, w, "ada", w.clock.now())
		if res := back(t, other, res); res.StatusCode != 400 || res.Header.Get("Location") != "" {
			t.Errorf("resumed in another browser: %d", res.StatusCode)
		}
		elsewhere, _ := url.Parse(h.request.ReturnTo)
		if res := b.get(w.endpoint.LoginCallback + "?" + elsewhere.RawQuery); res.StatusCode != 400 {
			t.Errorf("its transaction at the login callback: %d", res.StatusCode)
		}
		if res := back(t, b, res); res.StatusCode != http.StatusFound || res.Header.Get("Location") != w.endpoint.Applications {
			t.Fatalf("back: %d %s", res.StatusCode, text(res.body))
		}
		w.authorizeIn(b, app)
		page := w.applications(b, "")
		if !strings.Contains(text(page.body), "My Dynamic Client") || !strings.Contains(text(page.body), "ada@host.example") {
			t.Errorf("%s", text(page.body))
		}
		// Signed out at the host: signed out here.
		h.signIn(b, w, "", time.Time{})
		if res := b.remove(page); !strings.HasPrefix(res.Header.Get("Location"), "https://host.example/") || len(w.grants()) != 1 {
			t.Errorf("after the host's logout: %d %s", res.StatusCode, text(res.body))
		}
		// Blocked at the host: no page, and no way around.
		h.signIn(b, w, "eve", w.clock.now())
		if res := back(t, b, b.get(w.endpoint.Applications)); res.StatusCode < 400 || strings.Contains(res.body, "My Dynamic Client") {
			t.Errorf("a blocked user: %d %s", res.StatusCode, text(res.body))
		}
		h.signIn(b, w, "ada", w.clock.now())
		if res := b.remove(w.applications(b, "")); !strings.Contains(text(res.body), "no access any more") || len(w.grants()) != 0 {
			t.Errorf("removing: %s", text(res.body))
		}
	})
}

// Hosts with an account page of their own show and remove the same.
func TestApplicationsInGo(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, options{})
	bob := w.bob()
	app := w.register(nil)
	token := w.redeem(app, w.authorize(app).Get("code")).json(t)["access_token"].(string)
	list, next, err := w.provider.UserApplications(ctx, tenant.DefaultID, w.user.ID, "")
	if err != nil || next != "" || len(list) != 1 || list[0].Client.Name != "My Dynamic Client" || list[0].Client.FirstParty ||
		!slices.Equal(list[0].Hosts, []string{"app.example.com"}) || len(list[0].Access) != 1 || list[0].Grants == "" || list[0].Gone {
		t.Fatalf("%+v %q %v", list, next, err)
	}
	if list, _, err := w.provider.UserApplications(ctx, tenant.DefaultID, bob.ID, ""); err != nil || len(list) != 0 {
		t.Errorf("of another user: %+v %v", list, err)
	}
	grants := list[0].Grants
	if err := w.provider.RemoveAccess(ctx, tenant.DefaultID, bob.ID, grants+" and others"); err != nil || len(w.grants()) != 1 {
		t.Errorf("by another user: %v, %d grants", err, len(w.grants()))
	}
	for _, user := range []string{"", w.user.ID} {
		if list, _, err := w.provider.UserApplications(ctx, "elsewhere", user, ""); err == nil || list != nil {
			t.Errorf("user %q in a tenant that does not exist: %v", user, list)
		}
		if err := w.provider.RemoveAccess(ctx, "elsewhere", user, grants); err == nil {
			t.Errorf("removed for %q in a tenant that does not exist", user)
		}
	}
	if _, _, err := w.provider.UserApplications(ctx, tenant.DefaultID, "", ""); err == nil {
		t.Error("listed for nobody")
	}
	if !w.active(app, token) {
		t.Fatal("something was removed")
	}
	if err := w.provider.RemoveAccess(ctx, tenant.DefaultID, w.user.ID, grants); err != nil || len(w.grants()) != 0 || w.active(app, token) {
		t.Errorf("removing: %v, %d grants", err, len(w.grants()))
	}
}

// A user with many grants gets them in pages, each once; what comes as the cursor is
// not trusted.
func TestApplicationsArePaged(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, options{})
	now := time.Now().UTC()
	for i := range 205 {
		client := store.Client{TenantID: tenant.DefaultID, ID: fmt.Sprintf("client-%03d", i), Name: fmt.Sprintf("Application %03d", i), Version: 1, CreatedAt: now}
		if i != 7 { // which was deleted past the provider
			must(w.stores.Clients.CreateClient(ctx, client))
		}
		must(w.stores.Grants.CreateGrant(ctx, store.Grant{
			TenantID: tenant.DefaultID, ID: fmt.Sprintf("GRANT%03d", i), UserID: w.user.ID, ClientID: client.ID, Audience: "https://gone.example/",
			Scopes: []string{"read:it"}, ConnectionID: w.connection.ID, Version: 1, CreatedAt: now, UpdatedAt: now,
		}))
	}
	b := newBrowser(t)
	page := w.applications(b, "ada")
	seen := map[string]int{}
	for pages := 1; ; pages++ {
		for _, part := range strings.Split(text(page.body), "Application ")[1:] {
			seen[part[:3]]++
		}
		at := strings.Index(page.body, `id="next" href="`)
		if at < 0 {
			if pages != 3 {
				t.Errorf("%d pages", pages)
			}
			break
		}
		next, _, _ := strings.Cut(page.body[at+len(`id="next" href="`):], `"`)
		page = b.get(strings.ReplaceAll(next, "&amp;", "&"))
	}
	for i := range 205 {
		if n := seen[fmt.Sprintf("%03d", i)]; n != 1 && i != 7 {
			t.Errorf("application %d is %d times on the pages", i, n)
		}
	}
	if first := w.applications(b, ""); !strings.Contains(text(first.body), "no longer registered") || !strings.Contains(text(first.body), "https://gone.example/ read:it") {
		t.Errorf("an application and an API that are gone: %s", text(first.body))
	}
	for _, after := range []string{"zzz", strings.Repeat("x", 4000), "' OR 1=1 --", "\x00", "\xff", "%2e%2e/", "-1"} {
		res := b.get(w.endpoint.Applications + "?after=" + url.QueryEscape(after))
		if res.StatusCode != 200 && res.StatusCode != 400 {
			t.Errorf("after=%q: %d", after, res.StatusCode)
		}
	}
	if res := b.get(w.endpoint.Applications + "?after=a&after=b"); res.StatusCode != 400 {
		t.Errorf("two cursors: %d", res.StatusCode)
	}
}

// failingRemoval fails to delete grants, once armed.
type failingRemoval struct {
	store.GrantFamilyStore
	armed *atomic.Bool
}

func (s failingRemoval) DeleteGrant(ctx context.Context, tenant, id string) error {
	if s.armed.Load() {
		return errors.New(storeErrorText)
	}
	return s.GrantFamilyStore.DeleteGrant(ctx, tenant, id)
}

// What could not be removed is not reported as removed, and the page does not say
// why.
func TestRemovalThatFails(t *testing.T) {
	stores := memstore.New().Stores()
	armed := new(atomic.Bool)
	stores.Grants = failingRemoval{stores.Grants, armed}
	w := newWorld(t, options{stores: stores})
	app := w.register(nil)
	b := newBrowser(t)
	w.authorizeIn(b, app)
	page := w.applications(b, "")
	armed.Store(true)
	res := b.remove(page)
	if res.StatusCode < 500 || strings.Contains(res.body, "no access any more") || internals.MatchString(text(res.body)) {
		t.Errorf("%d %s", res.StatusCode, text(res.body))
	}
	armed.Store(false)
	if res := b.remove(page); !strings.Contains(res.body, "no access any more") {
		t.Errorf("the second try: %d %s", res.StatusCode, text(res.body))
	}
}

// The consent page leads to the page, unless that is not mounted.
func TestConsentPageLinksApplications(t *testing.T) {
	for _, endpoint := range []string{"", "/me/apps", tenant.NotMounted} {
		w := newWorld(t, options{config: func(c *opkit.Config) { c.Endpoints.Applications = endpoint }})
		app := w.register(nil)
		b := newBrowser(t)
		page := b.login(b.get(w.authorizeURL(app)), "ada", password)
		if linked := strings.Contains(page.body, `href="`+w.endpoint.Applications+`"`); linked != (endpoint != tenant.NotMounted) {
			t.Errorf("endpoint %q: linked %t", endpoint, linked)
		}
		if endpoint == tenant.NotMounted {
			if res := b.get(w.issuer + "/account/applications"); res.StatusCode != 404 {
				t.Errorf("not mounted: %d", res.StatusCode)
			}
		}
	}
}

// "You have not allowed it anything before" is about the application, not about the
// API that it asks for this time.
func TestFirstTime(t *testing.T) {
	const sentence = "You have not allowed it anything before."
	w := newWorld(t, options{permissive: true})
	app := w.register(nil)
	b := newBrowser(t)
	page := b.login(b.get(w.authorizeURL(app)), "ada", password)
	if !strings.Contains(page.body, sentence) {
		t.Error("the first page does not say so")
	}
	b.decide(page, "allow")
	if page := b.get(w.authorizeURL(app, "audience", apiAudience, "scope", "openid appointments")); !strings.Contains(page.body, "consent-allow") || strings.Contains(page.body, sentence) {
		t.Errorf("for an API, after the application was allowed something: %s", text(page.body))
	}
	if page := b.get(w.authorizeURL(w.register(nil))); !strings.Contains(page.body, sentence) {
		t.Error("the page of another application does not say so")
	}
}

// What a silent request is told is about the application as well: one that was allowed
// something may know that its user is there, and has to ask for the rest.
func TestSilentRequestForAnotherAPI(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount, permissive: true})
		app, stranger := w.register(nil), w.register(nil)
		b := newBrowser(t)
		w.authorizeIn(b, app)
		for _, c := range []struct {
			app  registered
			want string
		}{{app, "consent_required"}, {stranger, "login_required"}} {
			got := b.get(w.authorizeURL(c.app, "prompt", "none", "audience", apiAudience, "scope", "openid appointments")).location(t)
			if got.Get("error") != c.want || got.Has("code") {
				t.Errorf("%v, want %s", got, c.want)
			}
		}
		if grants := w.grants(); len(grants) != 1 {
			t.Errorf("%d grants, want that of the sign-in", len(grants))
		}
		// What was removed is not remembered.
		if err := w.stores.Grants.DeleteGrant(context.Background(), tenant.DefaultID, w.grants()[0].ID); err != nil {
			t.Fatal(err)
		}
		if got := b.get(w.authorizeURL(app, "prompt", "none", "audience", apiAudience, "scope", "openid appointments")).location(t); got.Get("error") != "login_required" {
			t.Errorf("after all was removed: %v", got)
		}
	})
}

// When a user last signed in with an application is noted once a day, and noting it
// gives nothing back that was removed.
func TestLastSignIn(t *testing.T) {
	w := newWorld(t, options{})
	app := w.register(nil)
	b := newBrowser(t)
	w.authorizeIn(b, app)
	first := w.grants()[0]
	w.clock.advance(23 * time.Hour)
	w.authorizeIn(b, app)
	if got := w.grants()[0]; got.Version != first.Version {
		t.Error("the grant was written within a day")
	}
	w.clock.advance(2 * time.Hour)
	w.authorizeIn(b, app)
	got := w.grants()[0]
	if got.UpdatedAt.Sub(first.UpdatedAt) < 24*time.Hour || !got.CreatedAt.Equal(first.CreatedAt) || !slices.Equal(got.Scopes, first.Scopes) {
		t.Errorf("after a day: %+v", got)
	}
}
