package opkit_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/opkit/opkit"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// fakeUpstream is another provider as a test wants it, good or bad. Nobody looks at its
// pages: tests make up what it answers.
type fakeUpstream struct {
	*httptest.Server
	w *world

	mu sync.Mutex
	// Members of the metadata, of ID tokens and of userinfo that differ; nil removes.
	metadata, claims, info map[string]any
	alg                    jose.SignatureAlgorithm
	key                    any // that signs
	kid                    string
	published              []jose.JSONWebKey
	fail                   map[string]int // status by path
	answer                 func(form url.Values) (int, any)

	asked      map[string]int // requests by path
	redeemed   map[string]bool
	challenges map[string]string // by code
	nonce      string
	form       url.Values // last at the token endpoint
	exchanges  atomic.Int32
}

func newFakeUpstream(t testing.TB) *fakeUpstream {
	key := clientKeys()[jose.RS256]
	f := &fakeUpstream{
		alg: jose.RS256, key: key.Key, kid: key.KeyID, published: []jose.JSONWebKey{key.Public()},
		asked: map[string]int{}, redeemed: map[string]bool{}, challenges: map[string]string{}, fail: map[string]int{},
	}
	f.Server = httptest.NewTLSServer(http.HandlerFunc(f.serve))
	t.Cleanup(f.Close)
	return f
}

// set changes the fake while nobody asks it.
func (f *fakeUpstream) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *fakeUpstream) count(path string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked[path]
}

func changed(base, changes map[string]any) map[string]any {
	out := maps.Clone(base)
	for name, value := range changes {
		if out[name] = value; value == nil {
			delete(out, name)
		}
	}
	return out
}

func (f *fakeUpstream) serve(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked[r.URL.Path]++
	status, body := http.StatusOK, any(nil)
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		body = changed(map[string]any{
			"issuer": f.URL, "authorization_endpoint": f.URL + "/authorize", "token_endpoint": f.URL + "/token",
			"userinfo_endpoint": f.URL + "/me", "jwks_uri": f.URL + "/keys", "token_endpoint_auth_methods_supported": []string{"client_secret_post"},
			"authorization_response_iss_parameter_supported": true,
		}, f.metadata)
	case "/keys":
		body = jose.JSONWebKeySet{Keys: f.published}
	case "/token":
		status, body = f.token(r)
	case "/me":
		body = changed(map[string]any{"sub": "u1", "email": "grace@example.org", "email_verified": true, "name": "Grace"}, f.info)
	default:
		status = http.StatusNotFound
	}
	if failure := f.fail[r.URL.Path]; failure != 0 {
		status = failure
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body)
}

// token redeems a code once, with the verifier of its challenge and the client's secret.
func (f *fakeUpstream) token(r *http.Request) (int, any) {
	r.ParseForm()
	f.form = r.PostForm
	f.exchanges.Add(1)
	if f.answer != nil {
		return f.answer(f.form)
	}
	code := f.form.Get("code")
	sum := sha256.Sum256([]byte(f.form.Get("code_verifier")))
	challenge, known := f.challenges[code]
	switch {
	case f.form.Get("client_id") != "here" || f.form.Get("client_secret") != "upstream secret":
		return http.StatusUnauthorized, map[string]any{"error": "invalid_client"}
	case !known || f.redeemed[code] || challenge != base64.RawURLEncoding.EncodeToString(sum[:]):
		return http.StatusBadRequest, map[string]any{"error": "invalid_grant", "error_description": "secret of the upstream"}
	}
	f.redeemed[code] = true
	now := f.w.clock.now()
	claims := changed(map[string]any{
		"iss": f.URL, "sub": "u1", "aud": "here", "exp": now.Add(time.Hour).Unix(), "iat": now.Unix(), "nonce": f.nonce,
	}, f.claims)
	payload, _ := json.Marshal(claims)
	idToken := signObject(f.w.t, f.alg, jose.JSONWebKey{Key: f.key, KeyID: f.kid}, nil, payload)
	return http.StatusOK, map[string]any{"access_token": "upstream access token", "token_type": "Bearer", "expires_in": 60, "id_token": idToken}
}

// fakeWorld is a world with a connection to a fake.
type fakeWorld struct {
	*world
	fake     *fakeUpstream
	upstream store.Connection
	app      registered
}

func newFakeWorld(t testing.TB, o options) *fakeWorld {
	t.Helper()
	u := &fakeWorld{fake: newFakeUpstream(t)}
	configure := o.config
	o.config = func(c *opkit.Config) {
		outboundTo(u.fake.Server, "127.0.0.0/8")(c)
		if configure != nil {
			configure(c)
		}
	}
	u.world = newWorld(t, o)
	u.fake.w = u.world
	u.upstream = u.connect("fake", "oidc", map[string]any{"client_id": "here", "client_secret": "upstream secret", "issuer": u.fake.URL})
	u.app = u.register(nil)
	return u
}

// sent begins a sign-in and returns the request that reaches the upstream.
func (u *fakeWorld) sent(b *browser, params ...string) url.Values {
	u.t.Helper()
	res := b.get(u.authorizeURL(u.app, append([]string{"connection", u.upstream.Name}, params...)...))
	location, err := url.Parse(res.Header.Get("Location"))
	if err != nil || location.Host != u.fake.Listener.Addr().String() {
		u.t.Fatalf("not sent to the upstream: %d %s %s", res.StatusCode, location, text(res.body))
	}
	return location.Query()
}

// answered is what the upstream sends back for a request: a code for the user.
func (u *fakeWorld) answered(sent url.Values, changes ...string) string {
	u.t.Helper()
	code := store.DigestOf(sent.Get("state")).String()
	u.fake.set(func() {
		u.fake.nonce = sent.Get("nonce")
		u.fake.challenges[code] = sent.Get("code_challenge")
	})
	v := url.Values{"code": {code}, "state": {sent.Get("state")}, "iss": {u.fake.URL}}
	for i := 0; i < len(changes); i += 2 {
		if v.Set(changes[i], changes[i+1]); changes[i+1] == "" {
			v.Del(changes[i])
		}
	}
	return sent.Get("redirect_uri") + "?" + v.Encode()
}

// signIn goes the whole way up to the consent page.
func (u *fakeWorld) signIn(b *browser, params ...string) *response {
	u.t.Helper()
	return b.get(u.answered(u.sent(b, params...)))
}

// users lists the users of the connection.
func (u *fakeWorld) users() []store.User {
	u.t.Helper()
	users, err := u.stores.UserAdmin.Users(context.Background(), tenant.DefaultID, u.upstream.ID, store.Page{})
	if err != nil {
		u.t.Fatal(err)
	}
	return users
}

// nothingHappened checks that nobody was signed in, and that nothing was stored.
func (u *fakeWorld) nothingHappened(t *testing.T, b *browser) {
	t.Helper()
	if users := u.users(); len(users) != 0 {
		t.Errorf("there are users: %+v", users)
	}
	u.notSignedIn(t, b)
}

func (u *fakeWorld) notSignedIn(t *testing.T, b *browser) {
	t.Helper()
	for _, c := range b.client.Jar.Cookies(mustParse(t, u.issuer)) {
		if c.Name == "opkit_session" {
			t.Error("the browser has a session")
		}
	}
}

func mustParse(t *testing.T, raw string) *url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
