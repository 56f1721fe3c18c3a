package opkit_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/opkit/opkit"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// The domain of an email address leads to another provider, for third-party applications
// if the connection is a domain connection. A password that was typed along goes nowhere.
func TestHomeRealm(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		u := newFakeWorld(t, options{mount: mount})
		u.upstream = u.connect("partner", "oidc", map[string]any{
			"client_id": "here", "client_secret": "upstream secret", "issuer": u.fake.URL, "domain_aliases": []string{"partner.example", "partner.test"},
		})
		b := newBrowser(t)
		page := b.get(u.authorizeURL(u.app))
		if strings.Contains(page.body, "Continue with partner") || !strings.Contains(page.body, "Continue with fake") || strings.Contains(page.body, `autocomplete="current-password" required`) {
			t.Errorf("the page: %s", page.body)
		}
		for _, address := range []string{"grace@partner.example", " Grace@PARTNER.test "} {
			b := newBrowser(t)
			res := b.login(b.get(u.authorizeURL(u.app)), address, "a password")
			location := mustParse(t, res.Header.Get("Location"))
			if location.Host != u.fake.Listener.Addr().String() || location.Query().Get("login_hint") != strings.TrimSpace(address) || strings.Contains(location.String(), "password") {
				t.Errorf("%s: %d %s", address, res.StatusCode, location)
			}
			if res := b.get(u.answered(location.Query())); !strings.Contains(res.body, "consent-allow") {
				t.Errorf("%s: %d %s", address, res.StatusCode, text(res.body))
			}
		}
		// Others sign in as ever, and domains that only look like one of these are others.
		for _, address := range []string{"x@sub.partner.example", "x@partner.example.evil.example", "partner.example", "x@partner.example@evil.example"} {
			if res := newBrowser(t).login(newBrowser(t).get(u.authorizeURL(u.app)), address, "wrong"); res.Header.Get("Location") != "" {
				t.Errorf("%s: %d %s", address, res.StatusCode, res.Header.Get("Location"))
			}
		}
		fresh := newBrowser(t)
		if res := fresh.login(fresh.get(u.authorizeURL(u.app)), "ada@example.com", password); !strings.Contains(res.body, "consent-allow") {
			t.Errorf("with a password: %d %s", res.StatusCode, text(res.body))
		}
		// On a page of the provider's own, too.
		res := fresh.login(newBrowser(t).get(u.endpoint.Applications), "x@partner.example", "")
		if res.StatusCode != http.StatusBadRequest { // the page of another browser
			t.Errorf("%d", res.StatusCode)
		}
		other := newBrowser(t)
		if res := other.login(other.get(u.endpoint.Applications), "x@partner.example", ""); !strings.HasPrefix(res.Header.Get("Location"), u.fake.URL) {
			t.Errorf("the account page: %d %s", res.StatusCode, res.Header.Get("Location"))
		}
		// Not a domain connection any more: third-party applications do not get there.
		if _, err := u.provider.Connections().Update(t.Context(), tenant.DefaultID, u.upstream.ID, func(c *store.Connection) error {
			c.IsDomainConnection = false
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if res := fresh.login(newBrowser(t).get(u.authorizeURL(u.app)), "grace@partner.example", "x"); res.Header.Get("Location") != "" {
			t.Errorf("after the demotion: %s", res.Header.Get("Location"))
		}
	})
}

// A domain in another script is the one that DNS has, however it is typed, and one that
// two connections name belongs to the older: on the built-in page and in Lock alike.
func TestHomeRealmIsDecided(t *testing.T) {
	u := newFakeWorld(t, options{})
	connect := func(name string, domains ...string) {
		u.clock.advance(time.Second)
		u.connect(name, "oidc", map[string]any{"client_id": name, "issuer": u.fake.URL, "domain_aliases": domains})
	}
	connect("first", "one.example", "b\u00fccher.example")
	connect("second", "one.example", "two.example")
	connect("third", "one.example", "xn--bcher-kva.example")
	for address, want := range map[string]string{
		"x@one.example": "first", "x@two.example": "second", "x@b\u00fccher.example": "first", "x@B\u00dcCHER.example": "first",
		"x@xn--bcher-kva.example": "first", "x@b\u00fccher\u3002example": "first",
	} {
		b := newBrowser(t)
		res := b.login(b.get(u.authorizeURL(u.app)), address, "")
		if sent := mustParse(t, res.Header.Get("Location")).Query(); sent.Get("client_id") != want || sent.Get("login_hint") != address {
			t.Errorf("%s: %d %v", address, res.StatusCode, sent)
		}
	}
	info := newBrowser(t).get(u.endpoint.LockTenantInfo).body
	for _, want := range []string{`"domains":["one.example","xn--bcher-kva.example"]`, `"domains":["two.example"]`} {
		if !strings.Contains(info, want) {
			t.Errorf("Lock is not told %s: %s", want, info)
		}
	}
	if strings.Contains(info, `"third"`) || strings.Count(info, "one.example") != 1 {
		t.Errorf("Lock is told of a domain twice, or of a connection without a way: %s", info)
	}
	for _, domains := range []string{`"Corp.example"`, `"corp"`, `"a.example","a.example"`, `"b\u00fccher.example","xn--bcher-kva.example"`, `"*.example.com"`, `"x@example.com"`, `"https://example.com"`, `"exa mple.com"`, `7`, `""`} {
		res := u.sendJSON(http.MethodPatch, u.endpoint.Management+"/connections/"+u.upstream.ID, u.managementToken(), `{"options":{"client_id":"here","issuer":"`+u.fake.URL+`","domain_aliases":[`+domains+`]}}`)
		if res.StatusCode != http.StatusBadRequest || !strings.Contains(res.body, "options.domain_aliases must be") {
			t.Errorf("%s: %d %s", domains, res.StatusCode, res.body)
		}
	}
}

// Whether there is such a user makes no difference before a password is checked.
func TestHomeRealmTellsNothingOfUsers(t *testing.T) {
	u := newFakeWorld(t, options{})
	u.connect("partner", "oidc", map[string]any{"client_id": "here", "issuer": u.fake.URL, "domain_aliases": []string{"example.net"}})
	var pages []string
	for _, address := range []string{"ada@example.com", "nobody@example.com"} {
		b := newBrowser(t)
		res := b.login(b.get(u.authorizeURL(u.app)), address, "")
		if res.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: %d", address, res.StatusCode)
		}
		pages = append(pages, text(res.body))
	}
	if pages[0] != pages[1] {
		t.Errorf("%s\n%s", pages[0], pages[1])
	}
}

// Where nobody has a password, the page asks for the address alone.
func TestHomeRealmWithoutPasswords(t *testing.T) {
	u := newFakeWorld(t, options{})
	if err := u.stores.Connections.DeleteConnection(t.Context(), tenant.DefaultID, u.connection.ID); err != nil {
		t.Fatal(err)
	}
	u.connect("partner", "oidc", map[string]any{"client_id": "here", "issuer": u.fake.URL, "domain_aliases": []string{"partner.example"}})
	b := newBrowser(t)
	page := b.get(u.authorizeURL(u.app))
	action, fields := form(t, page)
	if strings.Contains(page.body, `type="password"`) || fields.Has("password") {
		t.Errorf("the page asks for a password: %s", page.body)
	}
	fields.Set("username", "grace@partner.example")
	if res := b.post(action, fields); !strings.HasPrefix(res.Header.Get("Location"), u.fake.URL) {
		t.Errorf("%d %s", res.StatusCode, text(res.body))
	}
	fields.Set("username", "grace@elsewhere.example")
	if res := b.post(action, fields); res.StatusCode != http.StatusBadRequest || !strings.Contains(text(res.body), "Nobody signs in here with an email address of this domain.") {
		t.Errorf("%d %s", res.StatusCode, text(res.body))
	}
}

// Lock is told of upstreams, and what it sends when one is chosen leads there: with the
// application's request, whatever else the address says.
func TestLockOffersUpstreams(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		u := newFakeWorld(t, options{mount: mount, config: func(cfg *opkit.Config) {
			cfg.Settings.LoginPage = store.LoginPage{HTML: lockPage, On: true}
		}})
		u.connect("partner", "oidc", map[string]any{"client_id": "here", "issuer": u.fake.URL, "domain_aliases": []string{"partner.example"}})
		u.connect("hub", "github", map[string]any{"client_id": "here", "client_secret": "x"})
		info := newBrowser(t).get(u.endpoint.LockTenantInfo)
		for _, want := range []string{
			`{"name":"fake","displayName":"fake","strategy":"oauth2"}`, `{"name":"hub","displayName":"GitHub","strategy":"github"}`,
			`"enterprise":[{"name":"partner","displayName":"partner","strategy":"custom","domains":["partner.example"]}]`,
		} {
			if !strings.Contains(info.body, want) {
				t.Errorf("the tenant's information lacks %s: %s", want, info.body)
			}
		}
		info = newBrowser(t).get(u.endpoint.LockClientInfo + "/" + u.app.id + ".js")
		for _, want := range []string{
			`{"name":"github","connections":[{"name":"hub","display_name":"GitHub"}]}`, `{"name":"oauth2","connections":[{"name":"fake","display_name":"fake"}]}`,
			`{"name":"custom","connections":[{"name":"partner","display_name":"partner","domain_aliases":["partner.example"]}]}`,
		} {
			if !strings.Contains(info.body, want) {
				t.Errorf("the client's information lacks %s: %s", want, info.body)
			}
		}

		b := newBrowser(t)
		cfg := lockConfigOf(t, b.get(u.authorizeURL(u.app)))
		chosen := func(changes ...string) string {
			v := url.Values{"client_id": {cfg.ClientID}, "redirect_uri": {cfg.CallbackURL}, "connection": {"fake"}, "sso": {"true"}}
			for name, value := range cfg.InternalOptions {
				v.Set(name, value)
			}
			for i := 0; i < len(changes); i += 2 {
				v.Set(changes[i], changes[i+1])
			}
			return u.endpoint.Authorization + "?" + v.Encode()
		}
		res := b.get(chosen("login_hint", "grace@example.org", "scope", "openid everything", "redirect_uri", "https://evil.example/", "nonce", "another"))
		sent := mustParse(t, res.Header.Get("Location"))
		if !strings.HasPrefix(sent.String(), u.fake.URL) || sent.Query().Get("login_hint") != "grace@example.org" {
			t.Fatalf("%d %s %s", res.StatusCode, sent, text(res.body))
		}
		got := b.decide(b.get(u.answered(sent.Query())), "allow").location(t)
		if got.Get("state") != "a state/with+odd=signs&more" || got.Get("code") == "" {
			t.Errorf("the application's answer: %v", got)
		}
		if nonce := claims(t, u.redeem(u.app, got.Get("code")).json(t)["id_token"].(string))["nonce"]; nonce != "n-0S6_WzA2Mj" {
			t.Errorf("nonce %v", nonce)
		}
		fresh := newBrowser(t)
		fresh.get(u.authorizeURL(u.app))
		for rule, try := range map[string]func() *response{
			"another browser":         func() *response { return fresh.get(chosen()) },
			"another _csrf":           func() *response { return b.get(chosen("_csrf", "x")) },
			"another _intstate":       func() *response { return b.get(chosen("_intstate", "x")) },
			"another client":          func() *response { return b.get(chosen("client_id", machineID)) },
			"the application's state": func() *response { return b.get(chosen("state", "a state")) },
		} {
			if res := try(); res.StatusCode != http.StatusBadRequest || res.Header.Get("Location") != "" {
				t.Errorf("%s: %d %s", rule, res.StatusCode, res.Header.Get("Location"))
			}
		}
		if got := b.get(chosen("connection", "nothing")).location(t); got.Get("error") != "access_denied" {
			t.Errorf("a connection that is not there: %v", got)
		}
		if got := b.get(chosen("connection", u.connection.Name)).location(t); got.Get("error") != "access_denied" {
			t.Errorf("a database: %v", got)
		}
	})
}

// The console says where users of a connection sign in, promotes it, and shows no secret.
func TestTheConsoleShowsUpstreams(t *testing.T) {
	u := newFakeWorld(t, options{})
	u.upstream = u.connect("partner", "oidc", map[string]any{
		"client_id": "here", "client_secret": "upstream secret", "issuer": u.fake.URL, "domain_aliases": []string{"partner.example", "partner.test"},
	})
	s := newConsole(u.world)
	page := text(s.get(s.url + "/connections").body)
	if !strings.Contains(page, "OpenID Provider at "+u.fake.URL+" · for @partner.example, @partner.test") || strings.Contains(page, "secret") {
		t.Errorf("%s", page)
	}
	for _, is := range []string{"false", "true"} {
		s.send("/connections", "id", u.upstream.ID, "is_domain_connection", is)
		c, err := u.stores.Connections.Connection(t.Context(), tenant.DefaultID, u.upstream.ID)
		if err != nil || c.IsDomainConnection != (is == "true") || !strings.Contains(string(c.Options), "sealed") {
			t.Errorf("%+v, %v", c, err)
		}
	}
}
