package clientauth

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/opkit/opkit/internal/httpx"
	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
)

// publisher is a client's server with a key set.
type publisher struct {
	*httptest.Server
	asked atomic.Int32

	mu     sync.Mutex
	answer func(w http.ResponseWriter)
}

func newPublisher(t testing.TB) *publisher {
	p := &publisher{}
	p.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.asked.Add(1)
		p.mu.Lock()
		answer := p.answer
		p.mu.Unlock()
		answer(w)
	}))
	t.Cleanup(p.Close)
	return p
}

// publish replaces the answer.
func (p *publisher) publish(header http.Header, status int, body string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = func(w http.ResponseWriter) {
		for name, values := range header {
			w.Header()[name] = values
		}
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}
}

func (p *publisher) keys(t testing.TB, keys ...jose.JSONWebKey) {
	p.publish(nil, http.StatusOK, string(jwks(t, keys...)))
}

// outbound may connect to the publisher.
func (p *publisher) outbound() *httpx.Outbound {
	roots := x509.NewCertPool()
	roots.AddCert(p.Certificate())
	return httpx.NewOutbound(httpx.OutboundConfig{RootCAs: roots, InsecureAllow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
}

// keySets returns the component with a clock that the test moves.
func keySets(t testing.TB, outbound *httpx.Outbound) (*KeySets, *atomic.Int64) {
	offset := &atomic.Int64{}
	return &KeySets{
		Outbound: outbound, Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Now: func() time.Time { return now.Add(time.Duration(offset.Load())) },
	}, offset
}

func publishes(id, uri string) *store.Client {
	return &store.Client{TenantID: "t", ID: id, TokenEndpointAuthMethod: MethodPrivateKeyJWT, Metadata: &store.ClientMetadata{JWKSURI: uri}}
}

// signedBy returns a JWS of key that names kid, or no key if it is empty.
func signedBy(t testing.TB, key *ecdsa.PrivateKey, kid string) string {
	headers := map[string]any{}
	if kid != "" {
		headers["kid"] = kid
	}
	return sign(t, jose.ES256, key, headers, "payload")
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestReplacedKeyIsPickedUp(t *testing.T) {
	first, second := newKey(t), newKey(t)
	for name, kids := range map[string][2]string{"with another kid": {"1", "2"}, "without kid": {"", ""}} {
		t.Run(name, func(t *testing.T) {
			p := newPublisher(t)
			p.keys(t, public(kids[0], first))
			k, offset := keySets(t, p.outbound())
			client := publishes("app", p.URL)
			verify := func(compact string, want error, asked int32) {
				t.Helper()
				payload, err := k.Verify(t.Context(), client, compact, "")
				if !errors.Is(err, want) || (err == nil) != (string(payload) == "payload") || err != nil && payload != nil {
					t.Errorf("%q, %v, want %v", payload, err, want)
				}
				if n := p.asked.Load(); n != asked {
					t.Errorf("asked %d times, want %d", n, asked)
				}
			}
			old, fresh := signedBy(t, first, kids[0]), signedBy(t, second, kids[1])
			verify(old, nil, 1)
			verify(old, nil, 1)
			p.keys(t, public(kids[1], second))
			verify(fresh, ErrSignature, 1) // within the cooldown
			offset.Store(int64(keyCooldown))
			verify(fresh, nil, 2)
			verify(fresh, nil, 2)
			verify(old, ErrSignature, 2) // it is gone, and the set was asked for just now
		})
	}
}

func TestFloodOfUnknownKeysAsksOnceInACooldown(t *testing.T) {
	p := newPublisher(t)
	key, stranger := newKey(t), newKey(t)
	p.keys(t, public("1", key))
	k, offset := keySets(t, p.outbound())
	client := publishes("app", p.URL)
	for second := range 90 {
		offset.Store(int64(time.Duration(second) * time.Second))
		for i := range 5 {
			if _, err := k.Verify(t.Context(), client, signedBy(t, stranger, fmt.Sprint("unknown-", second, i)), ""); !errors.Is(err, ErrSignature) {
				t.Fatal(err)
			}
		}
		if _, err := k.Verify(t.Context(), client, signedBy(t, key, "1"), ""); err != nil {
			t.Fatal(err)
		}
	}
	if n := p.asked.Load(); n != 3 { // at 0, 30 and 60 seconds
		t.Errorf("asked %d times in 90 seconds", n)
	}
	// A wrong signature under a kid that is known is no reason to ask.
	offset.Store(int64(100 * time.Second))
	if _, err := k.Verify(t.Context(), client, signedBy(t, stranger, "1"), ""); !errors.Is(err, ErrSignature) || p.asked.Load() != 3 {
		t.Errorf("%v, asked %d times", err, p.asked.Load())
	}
	// Neither is what the client cannot have signed.
	for name, compact := range map[string]string{
		"none":     raw(`{"alg":"none","kid":"x"}`, "payload", ""),
		"HMAC":     sign(t, jose.HS256, []byte(secret), map[string]any{"kid": "x"}, "payload"),
		"crit":     sign(t, jose.ES256, stranger, map[string]any{"kid": "x", "crit": []string{"b64"}, "b64": true}, "payload"),
		"no JWS":   "x",
		"in parts": "a.b.c.d.e",
	} {
		if _, err := k.Verify(t.Context(), client, compact, ""); err == nil || errors.Is(err, ErrSignature) || p.asked.Load() != 3 {
			t.Errorf("%s: %v, asked %d times", name, err, p.asked.Load())
		}
	}
}

func TestFailuresAreRememberedAndOldKeysOutliveThem(t *testing.T) {
	p := newPublisher(t)
	key := newKey(t)
	p.publish(nil, http.StatusInternalServerError, "")
	k, offset := keySets(t, p.outbound())
	client := publishes("app", p.URL)
	verify := func(want error, asked int32) {
		t.Helper()
		if _, err := k.Verify(t.Context(), client, signedBy(t, key, "1"), ""); !errors.Is(err, want) || p.asked.Load() != asked {
			t.Errorf("%v, asked %d times; want %v, %d", err, p.asked.Load(), want, asked)
		}
	}
	verify(ErrKeysUnavailable, 1)
	verify(ErrKeysUnavailable, 1)
	p.keys(t, public("1", key))
	verify(ErrKeysUnavailable, 1)
	offset.Add(int64(keyCooldown))
	verify(nil, 2)
	p.publish(nil, http.StatusInternalServerError, "")
	offset.Add(int64(keysFresh))
	verify(nil, 3)
	verify(nil, 3)
	offset.Add(int64(maxKeysAge - keysFresh - time.Second))
	verify(nil, 4)
	offset.Add(int64(time.Second))
	verify(ErrKeysUnavailable, 4) // too old, and just asked
	p.keys(t, public("1", key))
	offset.Add(int64(keyCooldown))
	verify(nil, 5)
	// A clock that is set back asks again instead of using keys for ever.
	offset.Add(-int64(24 * time.Hour))
	verify(nil, 6)
}

func TestFreshness(t *testing.T) {
	for header, want := range map[string]time.Duration{
		"":                             keysFresh,
		"public, max-age=300":          5 * time.Minute,
		`Max-Age="300"`:                5 * time.Minute,
		"max-age=0":                    minKeysFresh,
		"max-age=5":                    minKeysFresh,
		"max-age=86400":                maxKeysAge,
		"max-age=99999999999999999999": keysFresh,
		"max-age=-1":                   keysFresh,
		"max-age":                      keysFresh,
		"no-store":                     minKeysFresh,
		"no-cache, max-age=300":        minKeysFresh,
		"max-age=300, no-store":        minKeysFresh,
	} {
		if got := (httpx.Fetched{Header: http.Header{"Cache-Control": {header}}}).Freshness(keysFresh, minKeysFresh, maxKeysAge); got != want {
			t.Errorf("%q: %v, want %v", header, got, want)
		}
	}
	if got := (httpx.Fetched{Header: http.Header{"Cache-Control": {"public", "max-age=120"}}}).Freshness(keysFresh, minKeysFresh, maxKeysAge); got != 2*time.Minute {
		t.Errorf("two headers: %v", got)
	}
}

// A published set keeps the rules of a registered one, and what breaks them is the
// client's fault.
func TestPublishedSetIsRefused(t *testing.T) {
	k := keys()
	good := public("1", k.ec)
	set := func(keys ...jose.JSONWebKey) string { return string(jwks(t, keys...)) }
	var many []jose.JSONWebKey
	for range maxKeys + 1 {
		many = append(many, good)
	}
	for rule, answer := range map[string]struct {
		status int
		body   string
	}{
		"not found":         {http.StatusNotFound, set(good)},
		"a redirect":        {http.StatusFound, set(good)},
		"no content":        {http.StatusNoContent, ""},
		"not JSON":          {http.StatusOK, "<html>"},
		"a member twice":    {http.StatusOK, `{"keys":[],"keys":[]}`},
		"no keys":           {http.StatusOK, `{"keys":[]}`},
		"too many keys":     {http.StatusOK, set(many...)},
		"a private key":     {http.StatusOK, set(good, jose.JSONWebKey{KeyID: "2", Key: k.otherEC})},
		"a symmetric key":   {http.StatusOK, set(good, jose.JSONWebKey{KeyID: "2", Key: []byte(secret)})},
		"a short RSA key":   {http.StatusOK, set(good, public("2", k.small))},
		"more than 64 KiB":  {http.StatusOK, `{"x":"` + strings.Repeat("x", 64<<10) + `",` + set(good)[1:]},
		"a kid too long":    {http.StatusOK, set(good, public(strings.Repeat("k", maxKeyText+1), k.otherEC))},
		"a point elsewhere": {http.StatusOK, `{"keys":[{"kty":"EC","crv":"P-256","x":"AAAA","y":"AAAA"}]}`},
	} {
		t.Run(rule, func(t *testing.T) {
			p := newPublisher(t)
			p.publish(http.Header{"Location": {"https://127.0.0.1:1/"}}, answer.status, answer.body)
			a := newAuthenticator(t, *publishes("app", p.URL))
			a.Keys, _ = keySets(t, p.outbound())
			a.Tickets = untouchable{t: t}
			tn := tenantOf(t, a)
			form := oauth.Parameters{}
			form.Set("client_assertion_type", assertionType)
			form.Set("client_assertion", sign(t, jose.ES256, k.ec, map[string]any{"kid": "1"}, claimSet("app", "1", nil)))
			client := *publishes("app", p.URL)
			client.TenantID = tn.ID()
			if err := a.Clients.(store.ClientStore).CreateClient(t.Context(), client); err != nil {
				t.Fatal(err)
			}
			_, err := a.Authenticate(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/", nil), tn, form)
			e, ok := errors.AsType[*oauth.Error](err)
			if !ok || e.Code != oauth.CodeInvalidClient || !errors.Is(err, ErrKeysUnavailable) || strings.Contains(e.Description, "127.0.0.1") {
				t.Errorf("%v", err)
			}
		})
	}
}

// Addresses inside are not asked, whatever a client registered.
func TestPublishedSetInsideIsNotFetched(t *testing.T) {
	p := newPublisher(t)
	key := newKey(t)
	p.keys(t, public("1", key))
	roots := x509.NewCertPool()
	roots.AddCert(p.Certificate())
	k, _ := keySets(t, httpx.NewOutbound(httpx.OutboundConfig{RootCAs: roots}))
	for _, uri := range []string{p.URL, strings.Replace(p.URL, "https", "http", 1), "https://169.254.169.254/latest", "https://[::1]/", "file:///etc/passwd"} {
		if _, err := k.Verify(t.Context(), publishes("app", uri), signedBy(t, key, "1"), ""); !errors.Is(err, ErrKeysUnavailable) {
			t.Errorf("%s: %v", uri, err)
		}
	}
	if n := p.asked.Load(); n != 0 {
		t.Errorf("asked %d times", n)
	}
	for name, none := range map[string]*KeySets{"nil": nil, "zero": {}} {
		if _, err := none.Verify(t.Context(), publishes("app", p.URL), signedBy(t, key, "1"), ""); !errors.Is(err, ErrKeysUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPublishedAndRegisteredAlgorithm(t *testing.T) {
	k := keys()
	pinned := public("pinned", k.otherRSA)
	pinned.Algorithm = "PS256"
	enc := public("enc", k.otherEC)
	enc.Use = "enc"
	p := newPublisher(t)
	p.keys(t, public("rsa", k.rsa), public("ec", k.ec), public("ed", k.ed), pinned, enc)
	sets, _ := keySets(t, p.outbound())
	for _, tt := range []struct {
		alg        jose.SignatureAlgorithm
		key        any
		kid        string
		registered string
		want       error
	}{
		{jose.RS256, k.rsa, "rsa", "", nil},
		{jose.PS256, k.rsa, "", "PS256", nil},
		{jose.EdDSA, k.ed, "ed", "EdDSA", nil},
		{jose.ES256, k.ec, "ec", "RS256", ErrAlgorithm},
		{jose.RS256, k.rsa, "rsa", "none", ErrAlgorithm},
		{jose.RS256, k.rsa, "rsa", "HS256", ErrAlgorithm},
		{jose.RS256, k.otherRSA, "pinned", "", ErrSignature},
		{jose.PS256, k.otherRSA, "pinned", "", nil},
		{jose.ES256, k.otherEC, "enc", "", ErrSignature},
		{jose.ES256, k.ec, "rsa", "", ErrSignature},
	} {
		compact := sign(t, tt.alg, tt.key, map[string]any{"kid": tt.kid}, "payload")
		if _, err := sets.Verify(t.Context(), publishes("app", p.URL), compact, tt.registered); !errors.Is(err, tt.want) {
			t.Errorf("%s with the key %q, registered %q: %v, want %v", tt.alg, tt.kid, tt.registered, err, tt.want)
		}
	}
}

// One request fetches while the others wait, and its end is not theirs.
func TestConcurrentRequestsFetchOnce(t *testing.T) {
	p := newPublisher(t)
	key := newKey(t)
	inside, release := make(chan struct{}), make(chan struct{})
	body := string(jwks(t, public("1", key)))
	p.answer = func(w http.ResponseWriter) {
		close(inside)
		<-release
		fmt.Fprint(w, body)
	}
	k, _ := keySets(t, p.outbound())
	client := publishes("app", p.URL)
	compact := signedBy(t, key, "1")
	errs := make(chan error, 33)
	verify := func(ctx context.Context) {
		_, err := k.Verify(ctx, client, compact, "")
		errs <- err
	}
	first, cancelFirst := context.WithCancel(t.Context())
	go verify(first)
	<-inside
	cancelFirst()
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := k.Verify(gone, client, compact, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("who has gone does not wait: %v", err)
	}
	for range 32 {
		go verify(t.Context())
	}
	close(release)
	for range 33 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if n := p.asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

// What is remembered is bounded, apart for each tenant, and the least recently
// fetched goes first.
func TestRememberedAddressesAreBounded(t *testing.T) {
	k, offset := keySets(t, httpx.NewOutbound(httpx.OutboundConfig{}))
	k.Logger = nil
	for i := range maxPublished + 50 {
		offset.Add(int64(time.Millisecond))
		if _, err := k.keysAt(t.Context(), address{"t", fmt.Sprint("https://127.0.0.1/", i)}, nil); !errors.Is(err, ErrKeysUnavailable) {
			t.Fatal(err)
		}
	}
	if len(k.fetched) != maxPublished {
		t.Errorf("%d addresses", len(k.fetched))
	}
	for i, want := range map[int]bool{0: false, 49: false, 50: true, maxPublished + 49: true} {
		if _, got := k.fetched[address{"t", fmt.Sprint("https://127.0.0.1/", i)}]; got != want {
			t.Errorf("address %d is remembered: %v", i, got)
		}
	}
	if _, shared := k.fetched[address{"u", "https://127.0.0.1/100"}]; shared {
		t.Error("another tenant's")
	}
}

func FuzzKeySet(f *testing.F) {
	k := keys()
	f.Add([]byte(jwks(f, public("rsa", k.rsa), public("ec", k.ec), public("ed", k.ed))))
	f.Add([]byte(`{"keys":[{"kty":"oct","k":"AAAA"},{"kty":"XYZ"},null,1]}`))
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","x":"AAAA","y":"AAAA","kid":"\u0000"}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		set, err := ParseKeySet(raw)
		if err != nil {
			if set != nil {
				t.Fatalf("an error with %d keys", len(set))
			}
			return
		}
		if len(set) == 0 || len(set) > maxKeys {
			t.Fatalf("%d keys", len(set))
		}
		for _, key := range set {
			if !key.IsPublic() || !key.Valid() || !plainText(key.KeyID) {
				t.Fatalf("%+v", key)
			}
		}
	})
}

// Keys that others than clients publish: the caller names the algorithms, and only those
// of public keys can be named.
func TestVerifyPublished(t *testing.T) {
	p := newPublisher(t)
	key := newKey(t)
	p.keys(t, public("1", key))
	k, _ := keySets(t, p.outbound())
	compact := signedBy(t, key, "1")
	for _, tt := range []struct {
		rule       string
		algorithms []jose.SignatureAlgorithm
		compact    string
		want       error
	}{
		{"a listed algorithm", []jose.SignatureAlgorithm{jose.RS256, jose.ES256}, compact, nil},
		{"an algorithm that is not listed", []jose.SignatureAlgorithm{jose.RS256}, compact, ErrAlgorithm},
		{"no algorithm", nil, compact, ErrAlgorithm},
		{"a symmetric one", []jose.SignatureAlgorithm{jose.HS256}, sign(t, jose.HS256, []byte("0123456789abcdef0123456789abcdef"), nil, "payload"), ErrAlgorithm},
		{"another key", []jose.SignatureAlgorithm{jose.ES256}, signedBy(t, newKey(t), "1"), ErrSignature},
	} {
		payload, err := k.VerifyPublished(t.Context(), "t", p.URL, tt.compact, tt.algorithms)
		if !errors.Is(err, tt.want) || (err == nil) != (string(payload) == "payload") {
			t.Errorf("%s: %q, %v", tt.rule, payload, err)
		}
	}
}
