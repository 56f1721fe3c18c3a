package opkit_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// site is an application's server: what it serves, by path, and how often it was
// asked.
type site struct {
	*httptest.Server
	asked atomic.Int32
	pages atomic.Pointer[map[string]page]
}

type page struct {
	contentType string
	body        string
	status      int // zero is 200
}

func newSite(t testing.TB) *site {
	s := &site{}
	s.pages.Store(&map[string]page{})
	s.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		p, ok := (*s.pages.Load())[r.URL.RequestURI()]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", p.contentType)
		w.WriteHeader(max(p.status, http.StatusOK))
		w.Write([]byte(p.body))
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *site) serve(pages map[string]page) { s.pages.Store(&pages) }

func (s *site) publish(t testing.TB, keys ...jose.JSONWebKey) {
	var set jose.JSONWebKeySet
	for _, key := range keys {
		set.Keys = append(set.Keys, key.Public())
	}
	s.serve(map[string]page{"/jwks": {"application/json", string(marshal(t, set)), 0}})
}

// clientAssertion signs an assertion with key; changes are those of object.
func (w *world) clientAssertion(app registered, key jose.JSONWebKey, alg jose.SignatureAlgorithm, jti string, changes ...any) string {
	w.t.Helper()
	now := w.clock.now()
	claims := map[string]any{"iss": app.id, "sub": app.id, "aud": w.issuer, "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(), "jti": jti}
	for pair := range slices.Chunk(changes, 2) {
		claims[pair[0].(string)] = pair[1]
	}
	return signObject(w.t, alg, key, nil, marshal(w.t, claims))
}

// asserted posts a form with a client assertion.
func (w *world) asserted(endpoint, assertion string, params ...string) *response {
	w.t.Helper()
	v := url.Values{"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {assertion}}
	for pair := range slices.Chunk(params, 2) {
		v.Set(pair[0], pair[1])
	}
	return newBrowser(w.t).post(endpoint, v)
}

// The keys at a jwks_uri verify assertions and request objects, and new ones count
// once the client uses them.
func TestKeysByReference(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		s := newSite(t)
		w := newWorld(t, options{mount: mount, config: outboundTo(s.Server, "127.0.0.0/8")})
		app := w.register(map[string]any{"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": s.URL + "/jwks", "require_signed_request_object": true})
		if n := s.asked.Load(); n != 0 {
			t.Errorf("a registration asked for keys %d times", n)
		}
		ec, rsa := clientKeys()[jose.ES256], clientKeys()[jose.RS256]
		s.publish(t, ec)
		b := newBrowser(t)
		redeem := func(key jose.JSONWebKey, alg jose.SignatureAlgorithm, jti string) *response {
			t.Helper()
			object := signObject(t, alg, key, nil, marshal(t, w.object(app)))
			code := b.finish(b.get(w.authorizeURL(app, "request", object))).location(t).Get("code")
			return w.asserted(w.endpoint.Token, w.clientAssertion(app, key, alg, jti),
				"grant_type", "authorization_code", "code", code, "redirect_uri", app.redirectURI, "code_verifier", verifier)
		}
		if res := redeem(ec, jose.ES256, "1"); res.StatusCode != http.StatusOK {
			t.Fatalf("%d %s", res.StatusCode, res.body)
		}
		s.publish(t, rsa)
		w.clock.advance(30 * time.Second)
		if res := redeem(rsa, jose.RS256, "2"); res.StatusCode != http.StatusOK {
			t.Fatalf("after a rotation: %d %s", res.StatusCode, res.body)
		}
		res := w.asserted(w.endpoint.Token, w.clientAssertion(app, ec, jose.ES256, "3"), "grant_type", "authorization_code", "code", "x")
		if res.StatusCode != http.StatusUnauthorized || res.json(t)["error"] != "invalid_client" {
			t.Errorf("with the old key: %d %s", res.StatusCode, res.body)
		}
		if n := s.asked.Load(); n != 2 {
			t.Errorf("asked for keys %d times", n)
		}
	})
}

// Without the exemption nothing inside is asked, and the answer does not tell what
// is there.
func TestKeysByReferenceStayOutside(t *testing.T) {
	s := newSite(t)
	w := newWorld(t, options{config: outboundTo(s.Server)})
	s.publish(t, clientKeys()[jose.ES256])
	answers := map[string]bool{}
	for _, uri := range []string{s.URL + "/jwks", "https://127.0.0.1:1/", "https://169.254.169.254/latest/meta-data", "https://[::1]/", "https://10.0.0.1/", "https://nowhere.invalid/"} {
		app := w.register(map[string]any{"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": uri})
		res := w.asserted(w.endpoint.Token, w.clientAssertion(app, clientKeys()[jose.ES256], jose.ES256, "1"), "grant_type", "authorization_code", "code", "x")
		if res.StatusCode != http.StatusUnauthorized || res.json(t)["error"] != "invalid_client" {
			t.Errorf("%s: %d %s", uri, res.StatusCode, res.body)
		}
		answers[res.body] = true
		object := signObject(t, jose.ES256, clientKeys()[jose.ES256], nil, marshal(t, w.object(app)))
		if got := newBrowser(t).get(w.authorizeURL(app, "request", object)).location(t); got.Get("error") != "invalid_request_object" || strings.Contains(got.Get("error_description"), "://") {
			t.Errorf("%s: %v", uri, got)
		}
	}
	if s.asked.Load() != 0 || len(answers) != 1 {
		t.Errorf("asked %d times, answers %v", s.asked.Load(), answers)
	}
}

// An assertion is good for one request, whichever endpoint gets it first.
func TestAssertionIsUsedOnceAcrossEndpoints(t *testing.T) {
	w := newWorld(t, options{})
	app := w.register(map[string]any{"token_endpoint_auth_method": "private_key_jwt", "jwks": publicJWKS(jose.ES256)})
	endpoints := map[string]string{
		"token": w.endpoint.Token, "revocation": w.endpoint.Revocation, "introspection": w.endpoint.Introspection, "push": w.endpoint.PushedAuthorizationRequest,
	}
	for first, at := range endpoints {
		assertion := w.clientAssertion(app, clientKeys()[jose.ES256], jose.ES256, first)
		if res := w.asserted(at, assertion, "grant_type", "authorization_code", "token", "x"); res.StatusCode == http.StatusUnauthorized {
			t.Errorf("%s: %d %s", first, res.StatusCode, res.body)
		}
		for second, at := range endpoints {
			if res := w.asserted(at, assertion, "grant_type", "authorization_code", "token", "x"); res.StatusCode != http.StatusUnauthorized || res.json(t)["error"] != "invalid_client" {
				t.Errorf("%s, then %s: %d %s", first, second, res.StatusCode, res.body)
			}
		}
	}
}
