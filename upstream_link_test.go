package opkit_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// newLinkWorld is a world whose upstream says that somebody has the address of a user
// here. changes are members of the connection's options.
func newLinkWorld(t *testing.T, o options, changes map[string]any) *fakeWorld {
	t.Helper()
	u := newFakeWorld(t, o)
	u.upstream = u.connect("linking", "oidc", changed(map[string]any{
		"client_id": "here", "client_secret": "upstream secret", "issuer": u.fake.URL, "account_linking": true,
	}, changes))
	u.fake.set(func() { u.fake.info = map[string]any{"email": "ada@example.com"} })
	return u
}

// asked returns the question, and fails if it is none.
func (u *fakeWorld) asked(b *browser, params ...string) *response {
	u.t.Helper()
	page := u.signIn(b, params...)
	if !strings.Contains(page.body, `id="link-join"`) || !strings.Contains(page.body, "ada@example.com") {
		u.t.Fatalf("not asked: %d %s", page.StatusCode, text(page.body))
	}
	return page
}

// answer presses a button of the page.
func (b *browser) link(page *response, decision, password string) *response {
	b.t.Helper()
	action, fields := form(b.t, page)
	fields.Set("link", decision)
	fields.Set("password", password)
	return b.post(action, fields)
}

func (u *fakeWorld) subject(b *browser, page *response) string {
	u.t.Helper()
	answer := b.decide(page, "allow").location(u.t)
	tokens := u.redeem(u.app, answer.Get("code"))
	idToken, ok := tokens.json(u.t)["id_token"].(string)
	if !ok {
		u.t.Fatalf("%v: %d %s", answer, tokens.StatusCode, tokens.body)
	}
	sub, _ := claims(u.t, idToken)["sub"].(string)
	return sub
}

// Who proves the account here joins the two, and from then on signs in to it either way.
func TestAccountsAreLinked(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		u := newLinkWorld(t, options{mount: mount}, nil)
		b := newBrowser(t)
		page := u.asked(b)
		u.nothingHappened(t, b)
		// A wrong password is one, and counts.
		wrong := b.link(page, "join", "wrong")
		if wrong.StatusCode != http.StatusUnauthorized || !strings.Contains(wrong.body, `id="link-join"`) {
			t.Fatalf("%d %s", wrong.StatusCode, text(wrong.body))
		}
		u.nothingHappened(t, b)
		joined := b.link(wrong, "join", password)
		if sub := u.subject(b, joined); sub != u.user.ID {
			t.Fatalf("signed in as %s, want %s", sub, u.user.ID)
		}
		if users := u.users(); len(users) != 1 || users[0].LinkedTo != u.user.ID {
			t.Errorf("%+v", users)
		}
		// The answer is good once.
		if res := b.link(wrong, "join", password); res.StatusCode != http.StatusBadRequest && res.location(t).Get("error") == "" {
			t.Errorf("again: %d %s", res.StatusCode, text(res.body))
		}
		// Later nobody is asked.
		later := newBrowser(t)
		if got := u.signIn(later); !strings.HasPrefix(got.Header.Get("Location"), appRedirectURI) && !strings.Contains(got.body, "consent-allow") {
			t.Fatalf("%d %s", got.StatusCode, text(got.body))
		}
		if res := later.get(u.authorizeURL(u.app, "prompt", "none")); res.location(t).Get("code") == "" {
			t.Errorf("%s", res.Header.Get("Location"))
		}
		info := u.userinfo(u.redeem(u.app, later.get(u.authorizeURL(u.app)).location(t).Get("code")).json(t)["access_token"].(string)).json(t)
		if info["sub"] != u.user.ID || info["name"] != "Ada Lovelace" {
			t.Errorf("userinfo %v", info)
		}
		// Blocked here, there is no way around it; deleted, the account there is one of its own.
		user, err := u.stores.Users.User(t.Context(), tenant.DefaultID, u.user.ID)
		if err != nil {
			t.Fatal(err)
		}
		user.Blocked = true
		if err := u.stores.UserAdmin.UpdateUser(t.Context(), user); err != nil {
			t.Fatal(err)
		}
		blocked := newBrowser(t)
		if got := u.signIn(blocked).location(t); got.Get("error") != "access_denied" {
			t.Errorf("blocked: %v", got)
		}
		u.notSignedIn(t, blocked)
		if err := u.provider.Connections().DeleteUser(t.Context(), tenant.DefaultID, u.user.ID); err != nil {
			t.Fatal(err)
		}
		// Somebody else who is given the identifier is not who was joined.
		user.Blocked, user.Version, user.Email, user.CreatedAt = false, 1, "eve@example.com", u.clock.now()
		if err := u.stores.UserAdmin.CreateUser(t.Context(), user); err != nil {
			t.Fatal(err)
		}
		again := newBrowser(t)
		if sub := u.subject(again, u.signIn(again)); sub != u.users()[0].ID {
			t.Errorf("signed in as %s", sub)
		}
	})
}

// Of a sign-in at an upstream that does not say when it was nobody knows the age,
// whomever it is for.
func TestALinkedSignInProvesNoAge(t *testing.T) {
	u := newLinkWorld(t, options{}, nil)
	b := newBrowser(t)
	u.subject(b, b.link(u.asked(b), "join", password))
	if got := b.get(u.authorizeURL(u.app, "max_age", "600", "prompt", "none")).location(t); !got.Has("code") {
		t.Errorf("the password proved its age: %v", got)
	}
	later := newBrowser(t)
	u.fake.set(func() { u.fake.claims = nil })
	u.signIn(later)
	if got := later.get(u.authorizeURL(u.app, "prompt", "none")).location(t); !got.Has("code") {
		t.Fatalf("%v", got)
	}
	if got := later.get(u.authorizeURL(u.app, "max_age", "600", "prompt", "none")).location(t); got.Get("error") != "login_required" {
		t.Errorf("a session of unknown age: %v", got)
	}
}

// Whoever parts accounts, or blocks the one there, ends what began with it.
func TestPartingAccountsSignsOut(t *testing.T) {
	for _, method := range []string{http.MethodDelete, http.MethodPatch} {
		u := newLinkWorld(t, options{}, nil)
		b := newBrowser(t)
		u.subject(b, b.link(u.asked(b), "join", password))
		later := newBrowser(t)
		u.signIn(later)
		joined := "/users/" + url.PathEscape(u.users()[0].ID)
		if got := u.manage(http.MethodGet, joined, "").json(t)["linked_to"]; got != u.user.ID {
			t.Errorf("linked to %v", got)
		}
		if res := u.manage(method, joined, `{"blocked":true}`); res.StatusCode >= 300 {
			t.Fatalf("%d %s", res.StatusCode, res.body)
		}
		if got := later.get(u.authorizeURL(u.app, "prompt", "none")).location(t); got.Get("error") != "login_required" {
			t.Errorf("%s: %v", method, got)
		}
	}
}

// Who keeps them apart has two accounts, and is not asked again.
func TestAccountsAreKeptApart(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		u := newLinkWorld(t, options{mount: mount}, nil)
		b := newBrowser(t)
		if sub := u.subject(b, b.link(u.asked(b), "apart", "")); !strings.HasPrefix(sub, "oidc|"+u.upstream.ID) {
			t.Errorf("signed in as %s", sub)
		}
		again := newBrowser(t)
		if page := u.signIn(again); strings.Contains(page.body, "link-join") {
			t.Error("asked again")
		}
		// On a page of the provider's own, too.
		u.fake.set(func() {
			u.fake.claims, u.fake.info = map[string]any{"sub": "u2"}, map[string]any{"sub": "u2", "email": "ada@example.com"}
		})
		account := newBrowser(t)
		sent := mustParse(t, u.pressIn(account, account.get(u.endpoint.Applications)).Header.Get("Location")).Query()
		page := account.get(u.answered(sent))
		if res := account.link(page, "join", password); res.Header.Get("Location") != u.endpoint.Applications {
			t.Errorf("%d %s", res.StatusCode, text(res.body))
		}
	})
}

// pressIn presses the button of the connection on a login page.
func (u *fakeWorld) pressIn(b *browser, page *response) *response {
	u.t.Helper()
	return (&upstreamWorld{world: u.world}).press(b, page, u.upstream.Name)
}

// An address takes nobody's account: each case lacks one thing that joining takes.
func TestAddressesTakeNoAccount(t *testing.T) {
	change := func(u *fakeWorld, change func(*store.User)) {
		user := u.user
		change(&user)
		if err := u.stores.UserAdmin.UpdateUser(u.t.Context(), user); err != nil {
			u.t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		rule    string
		options map[string]any
		prepare func(u *fakeWorld)
	}{
		{"off by default", map[string]any{"account_linking": nil}, func(*fakeWorld) {}},
		{"the upstream does not vouch for the address", nil, func(u *fakeWorld) {
			u.fake.info = map[string]any{"email": "ada@example.com", "email_verified": false}
		}},
		{"the upstream says nothing about it", nil, func(u *fakeWorld) { u.fake.info = map[string]any{"email": "ada@example.com", "email_verified": nil} }},
		{"it vouches for another one", nil, func(u *fakeWorld) {
			u.fake.claims, u.fake.info = map[string]any{"email": "ada@example.com"}, map[string]any{"email": "eve@example.com"}
		}},
		{"nobody vouched for the one here", nil, func(u *fakeWorld) { change(u, func(user *store.User) { user.EmailVerified = false }) }},
		{"the user here is blocked", nil, func(u *fakeWorld) { change(u, func(user *store.User) { user.Blocked = true }) }},
		{"the user here has no password", nil, func(u *fakeWorld) { change(u, func(user *store.User) { user.PasswordHash = "" }) }},
		{"the address is a username here", nil, func(u *fakeWorld) {
			change(u, func(user *store.User) { user.Email, user.Username = "other@example.com", "ada@example.com" })
		}},
		{"the application may not use the database", nil, func(u *fakeWorld) {
			if _, err := u.provider.Connections().Update(u.t.Context(), tenant.DefaultID, u.connection.ID, func(c *store.Connection) error {
				c.IsDomainConnection = false
				return nil
			}); err != nil {
				u.t.Fatal(err)
			}
		}},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			u := newLinkWorld(t, options{}, tt.options)
			u.fake.set(func() { tt.prepare(u) })
			b := newBrowser(t)
			page := u.signIn(b)
			if strings.Contains(page.body, "link-join") {
				t.Fatal("asked")
			}
			if sub := u.subject(b, page); sub != "oidc|"+u.upstream.ID+"|u1" {
				t.Errorf("signed in as %s", sub)
			}
		})
	}
}

// The question belongs to the browser and the sign-in that it was asked in, and what
// holds when it is answered counts.
func TestLinkIsBound(t *testing.T) {
	u := newLinkWorld(t, options{}, nil)
	attacker, victim := newBrowser(t), newBrowser(t)
	u.sent(victim)
	page := u.asked(attacker)
	action, fields := form(t, page)
	refused := func(rule string, b *browser, status int, change func(url.Values, *http.Request)) {
		t.Helper()
		v := url.Values{"transaction": {fields.Get("transaction")}, "link": {"join"}, "password": {password}}
		req, err := http.NewRequest(http.MethodPost, action, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		change(v, req)
		withBody, _ := http.NewRequest(http.MethodPost, req.URL.String(), strings.NewReader(v.Encode()))
		withBody.Header = req.Header
		if res := b.do(withBody); res.StatusCode != status || res.Header.Get("Location") != "" && res.location(t).Get("error") == "" {
			t.Errorf("%s: %d %s %s", rule, res.StatusCode, res.Header.Get("Location"), text(res.body))
		}
		u.nothingHappened(t, b)
	}
	refused("another browser, whose user types the password", victim, 400, func(url.Values, *http.Request) {})
	refused("from another site", attacker, 403, func(_ url.Values, r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") })
	refused("an altered transaction", attacker, 400, func(v url.Values, _ *http.Request) { v.Set("transaction", "A"+fields.Get("transaction")) })
	refused("the transaction of a login page", attacker, 400, func(v url.Values, _ *http.Request) {
		v.Set("transaction", loginTransaction(t, attacker.get(u.authorizeURL(u.app))))
	})
	refused("another answer", attacker, 303, func(v url.Values, _ *http.Request) { v.Set("link", "whatever") })
	refused("at the account page", attacker, 400, func(_ url.Values, r *http.Request) { *r.URL = *mustParse(t, u.endpoint.Applications) })
	refused("the wrong password", attacker, 401, func(v url.Values, _ *http.Request) { v.Set("password", "x") })

	// The account here got another address while the page was open.
	user := u.user
	user.Email = "new@example.com"
	if err := u.stores.UserAdmin.UpdateUser(t.Context(), user); err != nil {
		t.Fatal(err)
	}
	refused("the address changed", attacker, 401, func(url.Values, *http.Request) {})
	user.Version, user.Email, user.EmailVerified = user.Version+1, "ada@example.com", false
	if err := u.stores.UserAdmin.UpdateUser(t.Context(), user); err != nil {
		t.Fatal(err)
	}
	refused("the address is not verified any more", attacker, 303, func(url.Values, *http.Request) {})
}
