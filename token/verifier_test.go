package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"
)

// fakeIssuer serves metadata and keys that a test can change.
type fakeIssuer struct {
	testing.TB
	*httptest.Server
	clock *clock

	mu       sync.Mutex
	keys     []jose.JSONWebKey
	metadata map[string]any
	jwks     func(w http.ResponseWriter, r *http.Request) bool // true: answered

	discoveries, fetches atomic.Int64
}

var (
	testECKey = sync.OnceValue(func() *ecdsa.PrivateKey {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			panic(err)
		}
		return key
	})
	testRSAKey = sync.OnceValue(func() *rsa.PrivateKey {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic(err)
		}
		return key
	})
)

func newFakeIssuer(t testing.TB) *fakeIssuer {
	f := &fakeIssuer{TB: t, clock: &clock{now: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)}}
	f.keys = []jose.JSONWebKey{
		{Key: testECKey().Public(), KeyID: "ec", Algorithm: "ES256", Use: "sig"},
		{Key: testRSAKey().Public(), KeyID: "rsa", Algorithm: "RS256", Use: "sig"},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, r *http.Request) {
		f.discoveries.Add(1)
		f.mu.Lock()
		defer f.mu.Unlock()
		json.NewEncoder(w).Encode(f.metadata)
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, r *http.Request) {
		f.fetches.Add(1)
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.jwks == nil || !f.jwks(w, r) {
			json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: f.keys})
		}
	})
	f.Server = httptest.NewServer(mux)
	t.Cleanup(f.Close)
	f.metadata = map[string]any{"issuer": f.URL, "jwks_uri": f.URL + "/keys"}
	return f
}

func (f *fakeIssuer) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *fakeIssuer) verifier(change ...func(*VerifierConfig)) *Verifier {
	f.Helper()
	cfg := VerifierConfig{Issuer: f.URL, Audience: testAudience, Now: f.clock.Now}
	for _, c := range change {
		c(&cfg)
	}
	v, err := NewVerifier(cfg)
	if err != nil {
		f.Fatal(err)
	}
	return v
}

func (f *fakeIssuer) claims(change map[string]any) map[string]any {
	now := f.clock.Now().Unix()
	claims := map[string]any{
		"iss": f.URL, "sub": "auth0|u1", "aud": testAudience, "client_id": "c1", "jti": "g.f.r", "scope": "contacts appointments",
		"iat": now, "exp": now + 3600, "https://example.com/roles": []string{"admin"},
	}
	for name, value := range change {
		if claims[name] = value; value == nil {
			delete(claims, name)
		}
	}
	return claims
}

// sign makes a JWS; header members with a nil value are left out.
func (f *fakeIssuer) sign(claims, header map[string]any) string {
	f.Helper()
	h := map[string]any{"alg": "ES256", "typ": "at+jwt", "kid": "ec"}
	maps.Copy(h, header)
	maps.DeleteFunc(h, func(_ string, v any) bool { return v == nil })
	enc := func(v any) string {
		raw, err := json.Marshal(v)
		if err != nil {
			f.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(raw)
	}
	input := enc(h) + "." + enc(claims)
	var key any = testECKey()
	alg, _ := h["alg"].(string)
	switch {
	case strings.HasPrefix(alg, "RS"), strings.HasPrefix(alg, "PS"):
		key = testRSAKey()
	case strings.HasPrefix(alg, "HS"):
		// RS/HS confusion: the public key as the HMAC key.
		raw, err := json.Marshal(f.keys[0])
		if err != nil {
			f.Fatal(err)
		}
		key = raw
	case alg == "none":
		return input + "."
	}
	signature, err := signRaw(key, alg, []byte(input))
	if err != nil {
		f.Fatal(err)
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// signRaw signs by hand, because the tests need headers that no library writes.
func signRaw(key any, alg string, input []byte) ([]byte, error) {
	sum := sha256.Sum256(input)
	switch key := key.(type) {
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
		if err != nil {
			return nil, err
		}
		out := make([]byte, 64)
		r.FillBytes(out[:32])
		s.FillBytes(out[32:])
		return out, nil
	case *rsa.PrivateKey:
		if strings.HasPrefix(alg, "PS") {
			return rsa.SignPSS(rand.Reader, key, crypto.SHA256, sum[:], nil)
		}
		return rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	case []byte:
		mac := hmac.New(sha256.New, key)
		mac.Write(input)
		return mac.Sum(nil), nil
	}
	return nil, fmt.Errorf("no key for %s", alg)
}

func TestVerifyAcceptsTheProvidersTokens(t *testing.T) {
	f := newFixture(t)
	// The provider's own discovery and keys, served at its issuer.
	client := &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		w := httptest.NewRecorder()
		switch r.URL.Path {
		case "/.well-known/openid-configuration":
			f.tenants.Discovery().ServeHTTP(w, r)
		default:
			f.tenants.JWKS().ServeHTTP(w, r)
		}
		return w.Result(), nil
	})}
	v, err := NewVerifier(VerifierConfig{Issuer: testIssuer, Audience: testAudience, HTTPClient: client, Now: f.clock.Now})
	f.ok(err)
	user := f.redeem(webClient, f.code(f.authorization(webClient, testAudience, "openid", "contacts")))
	got, err := v.Verify(t.Context(), user.AccessToken)
	f.ok(err)
	if got.Subject != "auth0|u1" || got.ClientID != webClient || !got.HasScope("contacts") || got.HasScope("appointments") || got.ACR == "" || got.AuthTime.IsZero() {
		t.Errorf("token = %+v", got)
	}
	machine := f.granted(f.post(credentialsForm(webClient)))
	if got, err = v.Verify(t.Context(), machine.AccessToken); err != nil || got.Subject != webClient+"@clients" {
		t.Errorf("token = %+v, %v", got, err)
	}
	for name, token := range map[string]string{
		"ID token": user.IDToken, "refresh token": user.RefreshToken,
		"opaque": f.redeem(webClient, f.code(f.authorization(webClient, "", "openid"))).AccessToken,
	} {
		if got, err := v.Verify(t.Context(), token); !errors.Is(err, ErrInvalidToken) || got != nil {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestVerify(t *testing.T) {
	f := newFakeIssuer(t)
	v := f.verifier()
	got, err := v.Verify(t.Context(), f.sign(f.claims(nil), nil))
	if err != nil {
		t.Fatal(err)
	}
	now := f.clock.Now()
	want := &AccessToken{
		Issuer: f.URL, Subject: "auth0|u1", Audience: []string{testAudience}, ClientID: "c1", ID: "g.f.r",
		Scopes: []string{"contacts", "appointments"}, IssuedAt: now, ExpiresAt: now.Add(time.Hour),
	}
	payload := got.payload
	got.payload = nil
	if !got.IssuedAt.Equal(want.IssuedAt) || !got.ExpiresAt.Equal(want.ExpiresAt) {
		t.Errorf("times = %v, %v", got.IssuedAt, got.ExpiresAt)
	}
	got.IssuedAt, got.ExpiresAt = want.IssuedAt, want.ExpiresAt
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(AccessToken{})); diff != "" {
		t.Errorf("token (-want +got):\n%s", diff)
	}
	got.payload = payload
	var roles []string
	if ok, err := got.Claim("https://example.com/roles", &roles); !ok || err != nil || !slices.Equal(roles, []string{"admin"}) {
		t.Errorf("Claim = %v, %v, %q", ok, err, roles)
	}
	if ok, err := got.Claim("absent", &roles); ok || err != nil {
		t.Errorf("Claim of what is absent = %v, %v", ok, err)
	}
	if ok, err := got.Claim("sub", new(int)); !ok || err == nil {
		t.Errorf("Claim of another type = %v, %v", ok, err)
	}
}

func TestVerifyAccepts(t *testing.T) {
	f := newFakeIssuer(t)
	v := f.verifier()
	now := f.clock.Now().Unix()
	for rule, token := range map[string]string{
		"RS256":                       f.sign(f.claims(nil), map[string]any{"alg": "RS256", "kid": "rsa"}),
		"typ as a full media type":    f.sign(f.claims(nil), map[string]any{"typ": "application/at+jwt"}),
		"typ without regard to case":  f.sign(f.claims(nil), map[string]any{"typ": "AT+JWT"}),
		"several audiences":           f.sign(f.claims(map[string]any{"aud": []string{"x", testAudience}}), nil),
		"expired within the leeway":   f.sign(f.claims(map[string]any{"exp": now - 9}), nil),
		"not before, with the leeway": f.sign(f.claims(map[string]any{"nbf": now + 10}), nil),
		"no scope":                    f.sign(f.claims(map[string]any{"scope": nil}), nil),
	} {
		if _, err := v.Verify(t.Context(), token); err != nil {
			t.Errorf("%s: %v", rule, err)
		}
	}
}

func TestVerifyRefuses(t *testing.T) {
	f := newFakeIssuer(t)
	v := f.verifier()
	now := f.clock.Now().Unix()
	good := f.sign(f.claims(nil), nil)
	parts := strings.Split(good, ".")
	evil := f.sign(f.claims(map[string]any{"sub": "evil"}), nil)
	attacker, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	embedded := map[string]any{"jwk": jose.JSONWebKey{Key: attacker.Public()}, "jku": "https://evil.example/keys", "x5u": "https://evil.example/c"}
	signed := func(header map[string]any) string {
		token := f.sign(f.claims(nil), header)
		input := token[:strings.LastIndexByte(token, '.')]
		sig, err := signRaw(attacker, "ES256", []byte(input))
		if err != nil {
			t.Fatal(err)
		}
		return input + "." + base64.RawURLEncoding.EncodeToString(sig)
	}
	for rule, token := range map[string]string{
		"nothing":                              "",
		"not a JWS":                            "garbage",
		"two parts":                            parts[0] + "." + parts[1],
		"four parts":                           good + ".x",
		"JSON serialization":                   `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`,
		"too long":                             good + strings.Repeat("A", maxToken),
		"RFC 8725 §3.1: none":                  f.sign(f.claims(nil), map[string]any{"alg": "none"}),
		"RFC 8725 §2.1: HS256 by a public key": f.sign(f.claims(nil), map[string]any{"alg": "HS256"}),
		"the algorithm of another key":         f.sign(f.claims(nil), map[string]any{"alg": "RS256", "kid": "ec"}),
		"an algorithm that is not accepted":    f.sign(f.claims(nil), map[string]any{"alg": "PS256", "kid": "rsa"}),
		"RFC 9068 §4: typ of an ID token":      f.sign(f.claims(nil), map[string]any{"typ": "JWT"}),
		"no typ":                               f.sign(f.claims(nil), map[string]any{"typ": nil}),
		"no kid":                               f.sign(f.claims(nil), map[string]any{"kid": nil}),
		"unknown kid":                          f.sign(f.claims(nil), map[string]any{"kid": "other"}),
		"RFC 7515 §4.1.11: crit":               f.sign(f.claims(nil), map[string]any{"crit": []string{"exp"}, "exp": 1}),
		"crit that a library knows":            f.sign(f.claims(nil), map[string]any{"crit": []string{"b64"}, "b64": true}),
		"another payload":                      parts[0] + "." + strings.Split(evil, ".")[1] + "." + parts[2],
		"another signature":                    parts[0] + "." + parts[1] + "." + strings.Split(evil, ".")[2],
		"no signature":                         parts[0] + "." + parts[1] + ".",
		"signed by a stranger":                 signed(nil),
		"the sender's own key in the header":   signed(embedded),
		"RFC 9068 §4: iss":                     f.sign(f.claims(map[string]any{"iss": f.URL + "/"}), nil),
		"no iss":                               f.sign(f.claims(map[string]any{"iss": nil}), nil),
		"RFC 9068 §4: aud":                     f.sign(f.claims(map[string]any{"aud": "other:api"}), nil),
		"aud as a prefix":                      f.sign(f.claims(map[string]any{"aud": testAudience + "2"}), nil),
		"no aud":                               f.sign(f.claims(map[string]any{"aud": nil}), nil),
		"aud of another type":                  f.sign(f.claims(map[string]any{"aud": 1}), nil),
		"expired":                              f.sign(f.claims(map[string]any{"exp": now - 10}), nil),
		"no exp":                               f.sign(f.claims(map[string]any{"exp": nil}), nil),
		"exp of another type":                  f.sign(f.claims(map[string]any{"exp": "later"}), nil),
		"not before":                           f.sign(f.claims(map[string]any{"nbf": now + 11}), nil),
		"no sub":                               f.sign(f.claims(map[string]any{"sub": nil}), nil),
		"scope of another type":                f.sign(f.claims(map[string]any{"scope": []string{"contacts"}}), nil),
	} {
		got, err := v.Verify(t.Context(), token)
		if !errors.Is(err, ErrInvalidToken) || got != nil {
			t.Errorf("%s: %+v, %v", rule, got, err)
		}
	}
	if _, err := v.Verify(t.Context(), good); err != nil {
		t.Error(err)
	}
}

// RFC 8725 §3.1: a key is good for the one algorithm that it was published for,
// even where it would verify another that is accepted.
func TestKeysKeepTheirAlgorithm(t *testing.T) {
	f := newFakeIssuer(t)
	v := f.verifier(func(c *VerifierConfig) { c.Algorithms = []string{"PS256", "RS256"} })
	header := map[string]any{"alg": "PS256", "kid": "rsa"}
	if _, err := v.Verify(t.Context(), f.sign(f.claims(nil), header)); !errors.Is(err, ErrInvalidToken) {
		t.Errorf("PS256 by a key for RS256: %v", err)
	}
	f.set(func() { f.keys[1].Algorithm = "" })
	v = f.verifier(func(c *VerifierConfig) { c.Algorithms = []string{"PS256", "RS256"} })
	if _, err := v.Verify(t.Context(), f.sign(f.claims(nil), header)); err != nil {
		t.Errorf("PS256 by a key for any algorithm: %v", err)
	}
	if _, err := v.Verify(t.Context(), f.sign(f.claims(nil), nil)); !errors.Is(err, ErrInvalidToken) {
		t.Errorf("ES256 is not accepted here: %v", err)
	}
}

func TestVerifierWithoutLeeway(t *testing.T) {
	f := newFakeIssuer(t)
	v := f.verifier(func(c *VerifierConfig) { c.Leeway = -1 })
	now := f.clock.Now().Unix()
	for name, claims := range map[string]map[string]any{"exp": {"exp": now}, "nbf": {"nbf": now + 1}} {
		if _, err := v.Verify(t.Context(), f.sign(f.claims(claims), nil)); !errors.Is(err, ErrInvalidToken) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := v.Verify(t.Context(), f.sign(f.claims(map[string]any{"exp": now + 1, "nbf": now}), nil)); err != nil {
		t.Error(err)
	}
}

func TestNewVerifierRefuses(t *testing.T) {
	good := VerifierConfig{Issuer: "https://issuer.example/", Audience: "api"}
	if _, err := NewVerifier(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*VerifierConfig){
		"no issuer":             func(c *VerifierConfig) { c.Issuer = "" },
		"no audience":           func(c *VerifierConfig) { c.Audience = "" },
		"an issuer over http":   func(c *VerifierConfig) { c.Issuer = "http://issuer.example" },
		"a name like loopback":  func(c *VerifierConfig) { c.Issuer = "http://127.0.0.1.example" },
		"an issuer without URL": func(c *VerifierConfig) { c.Issuer = "issuer.example" },
		"user information":      func(c *VerifierConfig) { c.Issuer = "https://a:b@issuer.example" },
		"keys over http":        func(c *VerifierConfig) { c.JWKSURL = "http://issuer.example/keys" },
		"keys from a file":      func(c *VerifierConfig) { c.JWKSURL = "file:///etc/keys" },
		"none":                  func(c *VerifierConfig) { c.Algorithms = []string{"none"} },
		"HMAC":                  func(c *VerifierConfig) { c.Algorithms = []string{"ES256", "HS256"} },
	} {
		cfg := good
		change(&cfg)
		if v, err := NewVerifier(cfg); err == nil || v != nil {
			t.Errorf("%s was accepted", name)
		}
	}
	cfg := good
	cfg.Issuer, cfg.InsecureHTTP = "http://issuer.example", true
	if _, err := NewVerifier(cfg); err != nil {
		t.Error(err)
	}
	for _, loopback := range []string{"http://127.0.0.1:8080", "http://[::1]:8080", "http://localhost"} {
		if _, err := NewVerifier(VerifierConfig{Issuer: loopback, Audience: "api"}); err != nil {
			t.Errorf("%s: %v", loopback, err)
		}
	}
}

func FuzzVerify(f *testing.F) {
	issuer := newFakeIssuer(f)
	v := issuer.verifier()
	good := issuer.sign(issuer.claims(nil), nil)
	f.Add(good[:len(good)-10])
	f.Add(issuer.sign(issuer.claims(nil), map[string]any{"alg": "none"}))
	f.Add("a.b.c")
	payload := strings.Split(good, ".")[1]
	f.Fuzz(func(t *testing.T, token string) {
		got, err := v.Verify(t.Context(), token)
		if err != nil && got != nil {
			t.Errorf("an error came with %+v", got)
		}
		if err == nil && !strings.Contains(token, payload) {
			t.Errorf("%q verifies", token)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	f := newFakeIssuer(b)
	v := f.verifier()
	token := f.sign(f.claims(nil), nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(b.Context(), token); err != nil {
			b.Fatal(err)
		}
	}
}
