package opkit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/opkit/opkit"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
	"github.com/opkit/opkit/tenant"
)

// elsewhere is a second provider: opkit itself, on another server, with users of its
// own.
type elsewhere struct {
	*httptest.Server
	provider *opkit.Provider
	stores   store.Stores
	issuer   string
	id       string // of the client that the first provider is there
	secret   string
	user     store.User
	// intercept sees requests first, if it is set, and says whether it answered.
	intercept func(http.ResponseWriter, *http.Request) bool
}

const elsewherePassword = "a password of the other provider"

func newElsewhere(t testing.TB, callback string) *elsewhere {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e := &elsewhere{stores: memstore.New().Stores(), issuer: "https://" + listener.Addr().String(), id: "first-provider"}
	if e.provider, err = opkit.New(opkit.Config{Issuer: e.issuer, Stores: e.stores, Secret: bytes.Repeat([]byte{9}, 32), CacheStaleness: -1}); err != nil {
		t.Fatal(err)
	}
	e.Server = &httptest.Server{Listener: listener, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if e.intercept == nil || !e.intercept(w, r) {
			e.provider.ServeHTTP(w, r)
		}
	})}}
	e.StartTLS()
	t.Cleanup(e.Close)
	ctx := context.Background()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, secret, err := e.provider.Clients().CreateClient(ctx, store.Client{
		TenantID: tenant.DefaultID, ID: e.id, Name: "First provider", FirstParty: true, TokenEndpointAuthMethod: "client_secret_basic",
		RedirectURIs: []string{callback}, GrantTypes: []string{"authorization_code"}, ResponseTypes: []string{"code"},
	}, "")
	must(err)
	e.secret = secret
	conn, err := e.provider.Connections().Create(ctx, store.Connection{TenantID: tenant.DefaultID, Name: "users", Strategy: "auth0", EnabledClients: []string{e.id}})
	must(err)
	e.user, err = e.provider.Connections().CreateUser(ctx, store.User{
		TenantID: tenant.DefaultID, ConnectionID: conn.ID, Email: "grace@elsewhere.example", EmailVerified: true, Profile: store.Profile{Name: "Grace Hopper", Nickname: "grace"},
	}, elsewherePassword)
	must(err)
	return e
}

// upstreamWorld is a world whose users sign in elsewhere.
type upstreamWorld struct {
	*world
	up *elsewhere
	// upstream is the connection to it.
	upstream store.Connection
}

// newUpstreamWorld connects a world to another provider. options are the members of the
// connection's options that differ.
func newUpstreamWorld(t testing.TB, o options, changes map[string]any) *upstreamWorld {
	t.Helper()
	u := &upstreamWorld{}
	reserved, err := net.Listen("tcp", "127.0.0.1:0") // the address of the callback has to be known first
	if err != nil {
		t.Fatal(err)
	}
	reserved.Close()
	u.up = newElsewhere(t, "http://127.0.0.1/unused")
	configure := o.config
	o.config = func(c *opkit.Config) {
		outboundTo(u.up.Server, "127.0.0.0/8")(c)
		if configure != nil {
			configure(c)
		}
	}
	u.world = newWorld(t, o)
	ctx := context.Background()
	client, err := u.up.stores.Clients.Client(ctx, tenant.DefaultID, u.up.id)
	if err != nil {
		t.Fatal(err)
	}
	client.RedirectURIs = []string{u.endpoint.LoginCallback}
	if err := u.up.stores.Clients.UpdateClient(ctx, client); err != nil {
		t.Fatal(err)
	}
	u.upstream = u.connect("elsewhere", "oidc", u.options(changes))
	return u
}

// options are those of a connection to the other provider.
func (u *upstreamWorld) options(changes map[string]any) map[string]any {
	out := map[string]any{"client_id": u.up.id, "client_secret": u.up.secret, "issuer": u.up.issuer}
	for name, value := range changes {
		if out[name] = value; value == nil {
			delete(out, name)
		}
	}
	return out
}

// connect makes a domain connection with the management API.
func (w *world) connect(name, strategy string, options map[string]any) store.Connection {
	w.t.Helper()
	body, err := json.Marshal(map[string]any{"name": name, "strategy": strategy, "options": options, "is_domain_connection": true})
	if err != nil {
		w.t.Fatal(err)
	}
	res := w.sendJSON(http.MethodPost, w.endpoint.Management+"/connections", w.managementToken(), string(body))
	if res.StatusCode != http.StatusCreated {
		w.t.Fatalf("connection: %d %s", res.StatusCode, res.body)
	}
	conn, err := w.stores.Connections.Connection(context.Background(), tenant.DefaultID, res.json(w.t)["id"].(string))
	if err != nil {
		w.t.Fatal(err)
	}
	return conn
}

// away is a browser that trusts the other provider's certificate.
func (u *upstreamWorld) away() *browser {
	b := newBrowser(u.t)
	b.client.Transport = u.up.Client().Transport
	return b
}

// there goes to the other provider, signs in and returns the address that it sends the
// browser back to.
func (u *upstreamWorld) there(b *browser, res *response) string {
	u.t.Helper()
	location := res.Header.Get("Location")
	if !strings.HasPrefix(location, u.up.issuer+"/authorize?") {
		u.t.Fatalf("not sent to the other provider: %d %q %s", res.StatusCode, location, text(res.body))
	}
	page := b.get(location)
	if strings.Contains(page.body, `id="login-submit"`) {
		page = b.login(page, "grace@elsewhere.example", elsewherePassword)
	}
	if strings.Contains(page.body, `id="consent-allow"`) { // for the loopback address
		page = b.decide(page, "allow")
	}
	back := page.Header.Get("Location")
	if !strings.HasPrefix(back, u.endpoint.LoginCallback+"?") && !strings.HasPrefix(back, u.endpoint.LoginCallback+"/"+u.upstream.ID+"?") {
		u.t.Fatalf("not sent back: %d %q %s", page.StatusCode, back, text(page.body))
	}
	return back
}

// begin opens the login page and presses the button of the connection.
func (u *upstreamWorld) begin(b *browser, app registered, params ...string) *response {
	u.t.Helper()
	return u.press(b, b.get(u.authorizeURL(app, params...)), u.upstream.Name)
}

// press presses the button of a connection on the login page.
func (u *upstreamWorld) press(b *browser, page *response, name string) *response {
	u.t.Helper()
	for _, m := range formTag.FindAllStringSubmatch(page.body, -1) {
		if strings.Contains(m[2], `name="connection" value="`+name+`"`) && !strings.Contains(m[2], "password") {
			one := *page
			one.body = m[0]
			action, fields := form(u.t, &one)
			return b.post(action, fields)
		}
	}
	u.t.Fatalf("no button for %s: %s", name, text(page.body))
	return nil
}

func TestUpstreamLogin(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		u := newUpstreamWorld(t, options{mount: mount}, nil)
		app := u.register(nil)
		b := u.away()
		got := b.decide(b.get(u.there(b, u.begin(b, app))), "allow").location(t)
		tokens := u.redeem(app, got.Get("code")).json(t)
		id := claims(t, tokens["id_token"].(string))
		if want := "oidc|" + u.upstream.ID + "|" + u.up.user.ID; id["sub"] != want {
			t.Errorf("sub %v, want %s", id["sub"], want)
		}
		info := u.userinfo(tokens["access_token"].(string)).json(t)
		if info["email"] != "grace@elsewhere.example" || info["email_verified"] != true || info["name"] != "Grace Hopper" {
			t.Errorf("userinfo %v", info)
		}
		// The session is one like any other.
		if got := b.get(u.authorizeURL(app, "prompt", "none")).location(t); !got.Has("code") {
			t.Errorf("prompt=none: %v", got)
		}
		// The parameter connection leads there without a page.
		fresh := u.away()
		if got := fresh.get(u.there(fresh, fresh.get(u.authorizeURL(app, "connection", "elsewhere", "prompt", "consent")))); !strings.Contains(got.body, "consent-allow") {
			t.Errorf("%d %s", got.StatusCode, text(got.body))
		}
		// One user, however often they sign in.
		users, err := u.stores.UserAdmin.Users(t.Context(), tenant.DefaultID, u.upstream.ID, store.Page{})
		if err != nil || len(users) != 1 {
			t.Errorf("%d users, %v", len(users), err)
		}
	})
}

// What the client asks for is handed on, and what comes back of it is checked.
func TestUpstreamHandsOn(t *testing.T) {
	u := newFakeWorld(t, options{})
	b := newBrowser(t)
	sent := u.sent(b)
	for name, want := range map[string]string{
		"client_id": "here", "response_type": "code", "scope": "openid profile email", "redirect_uri": u.endpoint.LoginCallback, "code_challenge_method": "S256",
		"prompt": "", "max_age": "", "login_hint": "", "acr_values": "",
	} {
		if sent.Get(name) != want {
			t.Errorf("%s %q, want %q", name, sent.Get(name), want)
		}
	}
	if sent.Get("nonce") == "n-0S6_WzA2Mj" || sent.Get("code_challenge") == challenge() || strings.Contains(sent.Get("state"), "odd") {
		t.Errorf("the client's own values are handed on: %v", sent)
	}
	sent = u.sent(b, "login_hint", "grace@example.org", "acr_values", "2 1", "prompt", "login", "ui_locales", "de")
	if sent.Get("login_hint") != "grace@example.org" || sent.Get("acr_values") != "2 1" || sent.Get("prompt") != "login" || sent.Get("max_age") != "0" || sent.Has("ui_locales") {
		t.Errorf("%v", sent)
	}
	if sent = u.sent(b, "prompt", "select_account", "max_age", "60"); sent.Get("prompt") != "select_account" || sent.Get("max_age") != "60" {
		t.Errorf("%v", sent)
	}
	// Nobody is asked silently, and nobody is sent away for it.
	if got := b.get(u.authorizeURL(u.app, "connection", "fake", "prompt", "none")).location(t); got.Get("error") != "login_required" {
		t.Errorf("prompt=none: %v", got)
	}
}

// Whoever limits the age of the proof gets it, or login_required.
func TestUpstreamAuthTime(t *testing.T) {
	u := newFakeWorld(t, options{})
	says := func(ago time.Duration) {
		u.fake.set(func() { u.fake.claims = map[string]any{"auth_time": u.clock.now().Add(-ago).Unix()} })
	}
	silent := func() { u.fake.set(func() { u.fake.claims = nil }) }
	authTime := func(res *response, b *browser) int64 {
		t.Helper()
		if strings.Contains(res.body, "consent-allow") {
			res = b.decide(res, "allow")
		}
		tokens := u.redeem(u.app, res.location(t).Get("code")).json(t)
		n, _ := claims(t, tokens["id_token"].(string))["auth_time"].(float64)
		return int64(n)
	}
	for _, params := range [][]string{{"prompt", "login"}, {"max_age", "600"}} {
		for name, answer := range map[string]func(){"no auth_time": silent, "an hour ago": func() { says(time.Hour) }} {
			b := newBrowser(t)
			answer()
			if got := u.signIn(b, params...).location(t); got.Get("error") != "login_required" {
				t.Errorf("%v, %s: %v", params, name, got)
			}
			u.notSignedIn(t, b)
		}
		b := newBrowser(t)
		says(30 * time.Second)
		if got, want := authTime(u.signIn(b, append(params, "max_age", "600")...), b), u.clock.now().Add(-30*time.Second).Unix(); got < want-2 || got > want {
			t.Errorf("%v: auth_time %d, want %d", params, got, want)
		}
		// The session proves its age: it need not be proved again.
		if got := b.get(u.authorizeURL(u.app, "max_age", "600", "prompt", "none")).location(t); !got.Has("code") {
			t.Errorf("%v, again: %v", params, got)
		}
	}
	// Without a limit it is enough that the user came back, and auth_time is when. As a
	// proof of freshness it does not count afterwards.
	b := newBrowser(t)
	silent()
	if got, want := authTime(u.signIn(b), b), u.clock.now().Unix(); want-got > 2 || got > want {
		t.Errorf("auth_time %d, want %d", got, want)
	}
	if got := b.get(u.authorizeURL(u.app, "max_age", "600", "prompt", "none")).location(t); got.Get("error") != "login_required" {
		t.Errorf("a session of unknown age: %v", got)
	}
}

// What upstreams say when nobody signed in, or when they cannot be asked.
func TestUpstreamErrors(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		u := newFakeWorld(t, options{mount: mount})
		b := newBrowser(t)
		for _, code := range []string{"access_denied", "login_required", "interaction_required", "consent_required", "account_selection_required"} {
			got := b.get(u.answered(u.sent(b), "code", "", "error", code, "error_description", "<script>")).location(t)
			if got.Get("error") != "access_denied" || got.Get("error_description") != "the user did not sign in at the other provider" || got.Get("state") == "" {
				t.Errorf("%s: %v", code, got)
			}
		}
		for _, code := range []string{"temporarily_unavailable", "server_error", "invalid_scope", "unauthorized_client", strings.Repeat("x", 5000)} {
			res := b.get(u.answered(u.sent(b), "code", "", "error", code, "error_description", "<script>"))
			if res.StatusCode != http.StatusBadGateway || !strings.Contains(res.body, "Continue with fake") || strings.Contains(res.body, "<script>") {
				t.Errorf("%s: %d %s", code, res.StatusCode, text(res.body))
			}
		}
		if res := b.get(u.answered(u.sent(b), "code", "")); res.StatusCode != http.StatusBadGateway {
			t.Errorf("neither code nor error: %d", res.StatusCode)
		}
		u.nothingHappened(t, b)
		// Another attempt, from the page that says so.
		page := b.get(u.answered(u.sent(b), "code", "", "error", "server_error"))
		action, fields := form(t, page)
		sent := mustParse(t, b.post(action, fields).Header.Get("Location")).Query()
		if res := b.get(u.answered(sent)); !strings.Contains(res.body, "consent-allow") {
			t.Errorf("another attempt: %d %s", res.StatusCode, text(res.body))
		}
	})
}

// Metadata and keys are asked for once, again when they are old, and, keys, when one is
// not known; a provider that does not answer is not asked again at once.
func TestUpstreamDocumentsAreKept(t *testing.T) {
	const metadata = "/.well-known/openid-configuration"
	u := newFakeWorld(t, options{})
	for range 3 {
		u.signIn(newBrowser(t))
	}
	if u.fake.count(metadata) != 1 || u.fake.count("/keys") != 1 {
		t.Errorf("asked %d and %d times", u.fake.count(metadata), u.fake.count("/keys"))
	}
	// Rotation: another key, of another name.
	u.fake.set(func() {
		key := clientKeys()[jose.ES256]
		u.fake.alg, u.fake.key, u.fake.kid, u.fake.published = jose.ES256, key.Key, "new", append(u.fake.published, jose.JSONWebKey{Key: key.Public().Key, KeyID: "new"})
	})
	u.clock.advance(time.Minute)
	if res := u.signIn(newBrowser(t)); !strings.Contains(res.body, "consent-allow") || u.fake.count("/keys") != 2 {
		t.Errorf("after a rotation: %d, asked %d times", res.StatusCode, u.fake.count("/keys"))
	}
	// A flood of unknown keys.
	u.fake.set(func() { u.fake.kid = "unknown" })
	for range 5 {
		u.signIn(newBrowser(t))
	}
	if n := u.fake.count("/keys"); n > 3 {
		t.Errorf("unknown keys: asked %d times", n)
	}
	u.fake.set(func() { u.fake.kid = "new"; u.fake.fail[metadata] = 500 })
	// What is known is used while there is nothing newer, and asked for now and then.
	u.clock.advance(2 * time.Hour)
	for range 3 {
		u.sent(newBrowser(t))
	}
	if n := u.fake.count(metadata); n != 2 {
		t.Errorf("a failure: asked %d times", n)
	}
	u.clock.advance(100 * time.Hour)
	if res := newBrowser(t).get(u.authorizeURL(u.app, "connection", "fake")); res.StatusCode != http.StatusBadGateway {
		t.Errorf("long after: %d", res.StatusCode)
	}
	u.fake.set(func() { u.fake.fail = map[string]int{} })
	u.clock.advance(10 * time.Second)
	u.sent(newBrowser(t))
}

// The profile is what the upstream said last. An email address belongs to one user; the
// second one who comes with it gets none, and never the first one's account.
func TestUpstreamProfile(t *testing.T) {
	u := newFakeWorld(t, options{})
	u.signIn(newBrowser(t))
	u.fake.set(func() {
		u.fake.info = map[string]any{"email": "New@Example.ORG", "email_verified": "true", "name": "Grace B. Hopper", "picture": "javascript:alert(1)", "nickname": "a\u0000b", "website": "https://grace.example/"}
	})
	before := u.users()[0]
	before.AppMetadata = json.RawMessage(`{"plan":"gold"}`)
	if err := u.stores.UserAdmin.UpdateUser(t.Context(), before); err != nil {
		t.Fatal(err)
	}
	u.signIn(newBrowser(t))
	got := u.users()
	if len(got) != 1 || got[0].Email != "new@example.org" || !got[0].EmailVerified || got[0].Profile.Name != "Grace B. Hopper" || got[0].Profile.Picture != "" ||
		got[0].Profile.Nickname != "" || got[0].Profile.Website != "https://grace.example/" || string(got[0].AppMetadata) != `{"plan":"gold"}` {
		t.Errorf("%+v", got)
	}
	// Signed and unsigned do not mix.
	u.fake.set(func() {
		u.fake.claims = map[string]any{"email": "signed@example.org"}
		u.fake.info = map[string]any{"email": "other@example.org", "email_verified": true}
	})
	u.signIn(newBrowser(t))
	if got := u.users(); got[0].Email != "signed@example.org" || got[0].EmailVerified {
		t.Errorf("%+v", got[0])
	}
	// Another user with that address; and one with that of a user with a password here.
	for _, email := range []string{"signed@example.org", "ada@example.com"} {
		b := newBrowser(t)
		u.fake.set(func() {
			u.fake.claims = map[string]any{"sub": "of " + email}
			u.fake.info = map[string]any{"sub": "of " + email, "email": email, "email_verified": true}
		})
		code := b.decide(u.signIn(b), "allow").location(t).Get("code")
		sub := claims(t, u.redeem(u.app, code).json(t)["id_token"].(string))["sub"]
		if sub == u.user.ID || sub == got[0].ID || sub == nil {
			t.Errorf("%s: signed in as %v", email, sub)
		}
	}
	for _, user := range u.users() {
		if owner := strings.HasSuffix(user.ID, "|u1"); user.Email == "signed@example.org" && !owner {
			t.Errorf("%+v", user)
		}
	}
}

// A sign-in elsewhere costs the stores: nothing when it begins, and when it is finished
// the note that it was, the user, the session and the grant. Counting answers on all nodes
// together costs a read and a write more, and less for a network that keeps coming.
func TestStoreCallsOfUpstreams(t *testing.T) {
	for _, shared := range []bool{false, true} {
		c := &counted{}
		u := newFakeWorld(t, options{stores: c.stores(), config: func(cfg *opkit.Config) {
			behindProxy(cfg)
			cfg.CacheStaleness, cfg.SharedLimits = 48*time.Hour, shared
		}})
		b := newBrowser(t)
		b.decide(u.signIn(b), "allow") // and the client is confirmed
		u.sent(newBrowser(t))
		for i, most := range map[bool][]int64{false: {4, 4, 4}, true: {6, 6, 4}}[shared] {
			fresh := newBrowser(t)
			before := c.n.Load()
			back := u.answered(u.sent(fresh))
			if n := c.n.Load() - before; n != 0 {
				t.Errorf("begun: %d store calls", n)
			}
			before = c.n.Load()
			if got := fresh.getFrom("198.51.100.7", back).location(t); !got.Has("code") {
				t.Fatalf("%v", got)
			}
			if n := c.n.Load() - before; n > most {
				t.Errorf("shared %v, finished for the %d. time: %d store calls, at most %d are allowed", shared, i+1, n, most)
			} else {
				t.Logf("shared %v, finished for the %d. time: %d store calls", shared, i+1, n)
			}
		}
	}
}

// getFrom is get as a proxy passes it on that an address comes through.
func (b *browser) getFrom(addr, u string) *response {
	b.t.Helper()
	req, err := http.NewRequest(http.MethodGet, u, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("X-Forwarded-For", addr)
	return b.do(req)
}

// What one network brings back from upstreams counts on one node, or on all together if
// the host says so. Whoever has to wait makes no node ask the upstream.
func TestAnswersOfUpstreamsAreLimited(t *testing.T) {
	for _, shared := range []bool{false, true} {
		stores, at := memstore.New().Stores(), time.Now()
		node := func(c *opkit.Config) {
			behindProxy(c)
			c.SharedLimits, c.Now = shared, func() time.Time { return at }
		}
		u := newFakeWorld(t, options{stores: stores, config: node})
		cfg := opkit.Config{Issuer: u.issuer, Stores: stores, Secret: bytes.Repeat([]byte{7}, 32), CacheStaleness: -1}
		outboundTo(u.fake.Server, "127.0.0.0/8")(&cfg)
		node(&cfg)
		other, err := opkit.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		first, b := u.provider, newBrowser(t)
		back := u.answered(u.sent(b), "code", "forged")
		passed, refused := 0, 0
		answer := func(i int, addr string) {
			t.Helper()
			if u.provider = first; i%2 == 1 {
				u.provider = other
			}
			res := b.getFrom(addr, back)
			if res.StatusCode == http.StatusBadGateway {
				passed++
				return
			}
			if got := res.location(t); got.Get("error") != "temporarily_unavailable" || got.Get("state") == "" {
				t.Fatalf("%v", got)
			}
			refused++
		}
		for i := range 120 {
			answer(i, "198.51.100.7")
		}
		want := map[bool]int{false: 100, true: 50}[shared]
		if asked := int(u.fake.exchanges.Load()); passed != want || asked != want || refused != 120-want {
			t.Errorf("shared %v: %d passed, %d refused, and the upstream was asked %d times", shared, passed, refused, asked)
		}
		// A page that belongs to no application says so, too.
		sent := mustParse(t, u.pressIn(b, b.get(u.endpoint.Applications)).Header.Get("Location")).Query()
		page := b.getFrom("198.51.100.7", u.answered(sent))
		if page.StatusCode != http.StatusServiceUnavailable || page.Header.Get("Retry-After") != "1" {
			t.Errorf("shared %v: %d %v", shared, page.StatusCode, page.Header)
		}
		if answer(0, "198.51.100.8"); passed != want+1 {
			t.Errorf("shared %v: another network has to wait", shared)
		}
		at = at.Add(2 * time.Second)
		if answer(0, "198.51.100.7"); passed != want+2 {
			t.Errorf("shared %v: the network has to wait for longer", shared)
		}
		u.notSignedIn(t, b)
	}
}
