package opkit_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// What an upstream answers is believed only if all of it is right: each case is one
// thing that is wrong. The user gets a page that says so, nobody is signed in, and
// nothing is stored.
func TestUpstreamAnswerIsRefused(t *testing.T) {
	u := newFakeWorld(t, options{})
	now := func() int64 { return u.clock.now().Unix() }
	stranger, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		rule   string
		change func(f *fakeUpstream)
	}{
		{"the issuer is another one", func(f *fakeUpstream) { f.claims = map[string]any{"iss": "https://evil.example"} }},
		{"the issuer differs by a slash", func(f *fakeUpstream) { f.claims = map[string]any{"iss": f.URL + "/"} }},
		{"there is no issuer", func(f *fakeUpstream) { f.claims = map[string]any{"iss": nil} }},
		{"the audience is another client", func(f *fakeUpstream) { f.claims = map[string]any{"aud": "there"} }},
		{"the audience is empty", func(f *fakeUpstream) { f.claims = map[string]any{"aud": []string{}} }},
		{"several audiences without azp", func(f *fakeUpstream) { f.claims = map[string]any{"aud": []string{"here", "there"}} }},
		{"azp is another client", func(f *fakeUpstream) {
			f.claims = map[string]any{"aud": []string{"here", "there"}, "azp": "there"}
		}},
		{"azp is another client, of one audience", func(f *fakeUpstream) { f.claims = map[string]any{"azp": "there"} }},
		{"expired", func(f *fakeUpstream) { f.claims = map[string]any{"exp": now() - 121} }},
		{"no exp", func(f *fakeUpstream) { f.claims = map[string]any{"exp": nil} }},
		{"exp is text", func(f *fakeUpstream) { f.claims = map[string]any{"exp": "9999999999"} }},
		{"issued in the future", func(f *fakeUpstream) { f.claims = map[string]any{"iat": now() + 300} }},
		{"issued long ago", func(f *fakeUpstream) { f.claims = map[string]any{"iat": now() - 3600} }},
		{"the nonce is another one", func(f *fakeUpstream) { f.claims = map[string]any{"nonce": "n"} }},
		{"there is no nonce", func(f *fakeUpstream) { f.claims = map[string]any{"nonce": nil} }},
		{"there is no subject", func(f *fakeUpstream) { f.claims = map[string]any{"sub": ""} }},
		{"the subject is a number", func(f *fakeUpstream) { f.claims = map[string]any{"sub": 1} }},
		{"signed in in the future", func(f *fakeUpstream) { f.claims = map[string]any{"auth_time": now() + 600} }},
		{"the access token was swapped", func(f *fakeUpstream) { f.claims = map[string]any{"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"} }},
		{"userinfo is about somebody else", func(f *fakeUpstream) { f.info = map[string]any{"sub": "u2"} }},
		{"userinfo does not say about whom it is", func(f *fakeUpstream) { f.info = map[string]any{"sub": nil} }},
		{"userinfo fails", func(f *fakeUpstream) { f.fail = map[string]int{"/me": 500} }},
		{"the token endpoint fails", func(f *fakeUpstream) { f.fail = map[string]int{"/token": 503} }},
		{"the token endpoint redirects", func(f *fakeUpstream) { f.fail = map[string]int{"/token": 307} }},
		{"signed with a key that is not published", func(f *fakeUpstream) { f.key = stranger }},
		{"signed with the client's secret", func(f *fakeUpstream) { f.alg, f.key = jose.HS256, []byte("upstream secret, long enough now") }},
		{"an algorithm that is not on the list", func(f *fakeUpstream) { f.alg = jose.RS512 }},
		{"not signed", func(f *fakeUpstream) {
			f.answer = func(url.Values) (int, any) {
				header := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`))
				claims := base64.RawURLEncoding.EncodeToString(marshal(t, map[string]any{"iss": f.URL, "sub": "u1", "aud": "here", "exp": now() + 60, "iat": now(), "nonce": f.nonce}))
				return 200, map[string]any{"access_token": "x", "token_type": "Bearer", "id_token": header + "." + claims + "."}
			}
		}},
		{"no ID token", func(f *fakeUpstream) {
			f.answer = func(url.Values) (int, any) { return 200, map[string]any{"access_token": "x", "token_type": "Bearer"} }
		}},
		{"an ID token without end", func(f *fakeUpstream) {
			f.answer = func(url.Values) (int, any) {
				return 200, map[string]any{"access_token": "x", "token_type": "Bearer", "id_token": strings.Repeat("a", 40<<10)}
			}
		}},
		{"an answer without end", func(f *fakeUpstream) {
			f.answer = func(url.Values) (int, any) { return 200, map[string]any{"access_token": strings.Repeat("a", 80<<10)} }
		}},
		{"a code that was not given to this sign-in", func(f *fakeUpstream) {
			for code := range f.challenges {
				f.challenges[code] = "another challenge"
			}
		}},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			b := newBrowser(t)
			back := u.answered(u.sent(b))
			u.fake.set(func() { tt.change(u.fake) })
			defer u.fake.set(func() {
				good := newFakeUpstreamDefaults()
				u.fake.alg, u.fake.key, u.fake.kid = good.alg, good.key, good.kid
				u.fake.claims, u.fake.info, u.fake.fail, u.fake.answer = nil, nil, map[string]int{}, nil
			})
			res := b.get(back)
			if res.StatusCode != http.StatusBadGateway || !strings.Contains(text(res.body), "Signing in with fake did not work.") {
				t.Errorf("%d %s %s", res.StatusCode, res.Header.Get("Location"), text(res.body))
			}
			if strings.Contains(res.body, "secret") {
				t.Error("the page repeats what the upstream said")
			}
			u.nothingHappened(t, b)
		})
	}
	// The same, with nothing wrong, and a clock that is off a little.
	u.fake.set(func() {
		u.fake.claims = map[string]any{"aud": []string{"here", "there"}, "azp": "here", "iat": now() + 100, "exp": now() - 100}
	})
	if res := u.signIn(newBrowser(t)); !strings.Contains(res.body, "consent-allow") || len(u.users()) != 1 {
		t.Errorf("a good answer: %d %s", res.StatusCode, text(res.body))
	}
}

func newFakeUpstreamDefaults() *fakeUpstream {
	key := clientKeys()[jose.RS256]
	return &fakeUpstream{alg: jose.RS256, key: key.Key, kid: key.KeyID}
}

// An answer is for the browser, the sign-in, the tenant's connection and the server that
// it was made for, once. What is not asks the upstream nothing.
func TestUpstreamStateIsBound(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		u := newFakeWorld(t, options{mount: mount})
		refused := func(rule string, b *browser, back string) {
			t.Helper()
			before := u.fake.exchanges.Load()
			res := b.get(back)
			if res.StatusCode != http.StatusBadRequest || res.Header.Get("Location") != "" || u.fake.exchanges.Load() != before {
				t.Errorf("%s: %d %s, %d requests", rule, res.StatusCode, res.Header.Get("Location"), u.fake.exchanges.Load()-before)
			}
			u.nothingHappened(t, b)
		}
		attacker, victim := newBrowser(t), newBrowser(t)
		u.sent(victim) // who has a browser cookie of their own
		back := u.answered(u.sent(attacker))
		// Login CSRF: the attacker's answer in the victim's browser.
		refused("another browser", victim, back)
		refused("a browser without cookies", newBrowser(t), back)
		refused("an altered state", attacker, strings.Replace(back, "state=", "state=A", 1))
		refused("another step's transaction", attacker, u.endpoint.LoginCallback+"?code=x&state="+url.QueryEscape(loginTransaction(t, attacker.get(u.authorizeURL(u.app)))))
		refused("two states", attacker, back+"&state=x")
		// Mix-up: the answer of another server, RFC 9207.
		for rule, iss := range map[string]string{"another issuer": "https://evil.example", "no issuer, which was promised": ""} {
			sent := u.sent(attacker)
			before := u.fake.exchanges.Load()
			if res := attacker.get(u.answered(sent, "iss", iss)); res.StatusCode != http.StatusBadGateway || u.fake.exchanges.Load() != before {
				t.Errorf("%s: %d", rule, res.StatusCode)
			}
			// Errors of another server are nothing to act on either.
			if res := attacker.get(u.answered(u.sent(attacker), "iss", iss, "code", "", "error", "access_denied")); res.StatusCode != http.StatusBadGateway || res.Header.Get("Location") != "" {
				t.Errorf("%s, an error: %d %s", rule, res.StatusCode, res.Header.Get("Location"))
			}
		}
		u.nothingHappened(t, attacker)
		// Too late.
		sent := u.sent(attacker)
		u.clock.advance(2 * time.Hour)
		if got := attacker.get(u.answered(sent)).location(t); got.Get("error") != "access_denied" {
			t.Errorf("too late: %v", got)
		}
		u.nothingHappened(t, attacker)
		// Replay: the upstream forgets that a code was used, this provider does not.
		back = u.answered(u.sent(attacker))
		if res := attacker.get(back); !strings.Contains(res.body, "consent-allow") {
			t.Fatalf("%d %s", res.StatusCode, text(res.body))
		}
		u.fake.set(func() { u.fake.redeemed = map[string]bool{} })
		session := func() string {
			for _, c := range attacker.client.Jar.Cookies(mustParse(t, u.issuer)) {
				if c.Name == "opkit_session" {
					return c.Value
				}
			}
			return ""
		}
		was := session()
		if res := attacker.get(back); res.StatusCode != http.StatusBadRequest || session() != was || !strings.Contains(text(res.body), "finished already") {
			t.Errorf("replayed: %d %s", res.StatusCode, text(res.body))
		}
	})
}

// loginTransaction returns the transaction of the login page.
func loginTransaction(t *testing.T, page *response) string {
	t.Helper()
	_, fields := form(t, page)
	return fields.Get("transaction")
}

// A state of one connection does not finish at another: the answer of the second server
// is checked against the first.
func TestUpstreamAnswersAreNotMixedUp(t *testing.T) {
	u := newFakeWorld(t, options{})
	other := newFakeUpstream(t)
	other.w = u.world
	// The code of the honest server never reaches the other one: the state says which
	// was asked, and that one is asked.
	b := newBrowser(t)
	sent := u.sent(b)
	u.fake.set(func() { u.fake.metadata = map[string]any{"authorization_response_iss_parameter_supported": nil} })
	back := u.answered(sent, "iss", other.URL)
	if res := b.get(back); res.StatusCode != http.StatusBadGateway || u.fake.exchanges.Load() != 0 || other.exchanges.Load() != 0 {
		t.Errorf("%d, %d and %d requests", res.StatusCode, u.fake.exchanges.Load(), other.exchanges.Load())
	}
	u.nothingHappened(t, b)
}

// The rules are checked again when the user comes back, and when the code is redeemed.
func TestUpstreamIsCheckedAtUse(t *testing.T) {
	u := newFakeWorld(t, options{})
	update := func(change func(*store.Connection)) {
		t.Helper()
		if _, err := u.provider.Connections().Update(t.Context(), tenant.DefaultID, u.upstream.ID, func(c *store.Connection) error {
			change(c)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	demote := func(c *store.Connection) { c.IsDomainConnection = false }
	promote := func(c *store.Connection) { c.IsDomainConnection = true }

	// Demoted while the user was away: a third-party client no longer gets anything.
	b := newBrowser(t)
	back := u.answered(u.sent(b))
	update(demote)
	if got := b.get(back).location(t); got.Get("error") != "access_denied" || u.fake.exchanges.Load() != 0 {
		t.Errorf("after the demotion: %v", got)
	}
	u.nothingHappened(t, b)
	// And it is not offered any more.
	if page := newBrowser(t).get(u.authorizeURL(u.app, "connection", "fake")); strings.Contains(page.body, "Continue with") {
		t.Error("the page offers a connection that is no domain connection")
	}
	// Demoted between the code and its redemption.
	update(promote)
	got := b.decide(u.signIn(b), "allow").location(t)
	update(demote)
	if res := u.redeem(u.app, got.Get("code")); res.StatusCode != http.StatusBadRequest || res.json(t)["error"] != "invalid_grant" {
		t.Errorf("redeemed after the demotion: %d %s", res.StatusCode, res.body)
	}
	update(promote)

	// Blocked: refused, and what is known of the user does not change.
	users := u.users()
	users[0].Blocked = true
	if err := u.stores.UserAdmin.UpdateUser(t.Context(), users[0]); err != nil {
		t.Fatal(err)
	}
	u.fake.set(func() { u.fake.info = map[string]any{"name": "Somebody Else"} })
	fresh := newBrowser(t)
	if got := u.signIn(fresh).location(t); got.Get("error") != "access_denied" {
		t.Errorf("blocked: %v", got)
	}
	if now := u.users(); len(now) != 1 || now[0].Profile.Name != "Grace" || !now[0].Blocked {
		t.Errorf("a blocked user was changed: %+v", now)
	}
	if got := b.get(u.authorizeURL(u.app, "prompt", "none")).location(t); got.Get("error") != "login_required" {
		t.Errorf("the session of a blocked user: %v", got)
	}
}

// Nothing inside is asked, whatever an administrator or an upstream's metadata names.
func TestUpstreamStaysOutside(t *testing.T) {
	u := newFakeWorld(t, options{})
	for _, member := range []string{"token_endpoint", "userinfo_endpoint", "jwks_uri"} {
		for _, inside := range []string{"https://169.254.169.254/latest", "https://10.0.0.1/", "https://[fd00::1]/"} {
			b := newBrowser(t)
			u.fake.set(func() { u.fake.metadata = map[string]any{member: inside} })
			u.clock.advance(25 * time.Hour) // metadata and keys are old
			res := u.signIn(b)
			if res.StatusCode != http.StatusBadGateway || strings.Contains(res.body, inside) {
				t.Errorf("%s %s: %d %s", member, inside, res.StatusCode, text(res.body))
			}
			u.nothingHappened(t, b)
		}
	}
	for _, bad := range []string{"http://127.0.0.1/token", "https://u:p@op.example/token", "/token", "javascript:alert(1)"} {
		u.fake.set(func() { u.fake.metadata = map[string]any{"authorization_endpoint": bad} })
		u.clock.advance(100 * time.Hour) // what was known is too old
		if res := newBrowser(t).get(u.authorizeURL(u.app, "connection", "fake")); res.StatusCode != http.StatusBadGateway {
			t.Errorf("%s: %d %s", bad, res.StatusCode, res.Header.Get("Location"))
		}
	}
	u.fake.set(func() { u.fake.metadata = map[string]any{"issuer": "https://evil.example"} })
	u.clock.advance(100 * time.Hour)
	if res := newBrowser(t).get(u.authorizeURL(u.app, "connection", "fake")); res.StatusCode != http.StatusBadGateway {
		t.Errorf("metadata of another issuer: %d %s", res.StatusCode, res.Header.Get("Location"))
	}
}
