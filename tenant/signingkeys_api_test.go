package tenant_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
	"github.com/opkit/opkit/tenant"
)

const keyScopes = "read:signing_keys create:signing_keys update:signing_keys"

// keysAPI is the management of signing keys of a tenant whose clock stands still.
type keysAPI struct {
	t      *testing.T
	d      *tenant.Directory
	stores store.Stores
	clock  *clock
	kms    *kms // nil: software keys
}

func newKeysAPI(t *testing.T, k *kms) *keysAPI {
	a := &keysAPI{t: t, stores: memstore.New().Stores(), clock: newClock(), kms: k}
	if err := machineClient(a.stores, tenant.DefaultID, issuer+"/api/v2/"); err != nil {
		t.Fatal(err)
	}
	a.d = node(t, a.stores, a.clock, func(cfg *tenant.Config) {
		if k != nil {
			cfg.Keys.Source = k
		}
	})
	return a
}

// do sends a request as SDKs do: without a body, no content type.
func (a *keysAPI) do(scopes, method, path, body string) *httptest.ResponseRecorder {
	a.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if scopes != "" {
		r.Header.Set("Authorization", "Bearer "+managementToken(a.t, a.d, scopes, nil))
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	w := httptest.NewRecorder()
	a.d.SigningKeysHandler().ServeHTTP(w, r)
	return w
}

// wireKey is what a client reads.
type wireKey struct {
	KID            string    `json:"kid"`
	Alg            string    `json:"alg"`
	Current        bool      `json:"current"`
	Next           bool      `json:"next"`
	Previous       bool      `json:"previous"`
	Revoked        bool      `json:"revoked"`
	CurrentSince   time.Time `json:"current_since"`
	CurrentUntil   time.Time `json:"current_until"`
	RevokedAt      time.Time `json:"revoked_at"`
	PublishedUntil time.Time `json:"published_until"`
	JWK            struct{ Kid, Kty, Alg, Use string }
	Keys           []wireKey `json:"keys"`
}

func decodeKeys[T any](t *testing.T, w *httptest.ResponseRecorder, status int) T {
	t.Helper()
	var v T
	if w.Code != status || w.Header().Get("Cache-Control") != "no-store" {
		t.Fatalf("status %d, want %d: %s", w.Code, status, w.Body)
	}
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatal(err)
	}
	for _, member := range []string{`"d"`, `"private"`, `"p"`} {
		if strings.Contains(w.Body.String(), member) {
			t.Errorf("the answer has %s: %s", member, w.Body)
		}
	}
	return v
}

const keysPath = "/api/v2/keys/signing"

func TestTheLifeOfAKeyOnTheWire(t *testing.T) {
	a := newKeysAPI(t, nil)
	list := func() []string {
		t.Helper()
		var got []string
		for _, k := range decodeKeys[[]wireKey](t, a.do(keyScopes, http.MethodGet, keysPath, ""), http.StatusOK) {
			var states []string
			for state, is := range map[string]bool{"current": k.Current, "next": k.Next, "previous": k.Previous, "revoked": k.Revoked} {
				if is {
					states = append(states, state)
				}
			}
			if len(states) != 1 || k.JWK.Kid != k.KID || k.JWK.Alg != k.Alg || k.JWK.Use != "sig" {
				t.Errorf("%+v", k)
			}
			got = append(got, k.Alg+" "+strings.Join(states, " "))
		}
		return got
	}
	want := func(states ...string) {
		t.Helper()
		if diff := cmp.Diff(states, list()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	want("ES256 current") // which signed the token
	get(a.d.JWKS(), "/")
	want("ES256 current", "RS256 current")

	next := decodeKeys[wireKey](t, a.do(keyScopes, http.MethodPost, keysPath+"/rotate", ""), http.StatusCreated)
	if next.Alg != "RS256" || !next.Next || !next.CurrentSince.Equal(a.clock.Now().Add(day)) || len(next.Keys) != 2 ||
		next.Keys[0].Alg != "ES256" || next.Keys[1].KID != next.KID {
		t.Errorf("the answer: %+v", next)
	}
	want("ES256 current", "ES256 next", "RS256 current", "RS256 next")
	current := decodeKeys[[]wireKey](t, a.do(keyScopes, http.MethodGet, keysPath, ""), http.StatusOK)[2]
	if !current.CurrentUntil.Equal(next.CurrentSince) || !current.PublishedUntil.Equal(next.CurrentSince.Add(31*day)) {
		t.Errorf("the current key: %+v", current)
	}

	a.clock.advance(day)
	want("ES256 previous", "ES256 current", "RS256 previous", "RS256 current")
	one := decodeKeys[wireKey](t, a.do(keyScopes, http.MethodPost, keysPath+"/rotate", `{"alg":"ES256","immediate":true}`), http.StatusCreated)
	if one.Alg != "ES256" || !one.Current || len(one.Keys) != 1 {
		t.Errorf("the answer: %+v", one)
	}
	want("ES256 previous", "ES256 previous", "ES256 current", "RS256 previous", "RS256 current")

	revoked := decodeKeys[wireKey](t, a.do(keyScopes, http.MethodPut, keysPath+"/"+current.KID+"/revoke", ""), http.StatusOK)
	if revoked.KID != current.KID || !revoked.Revoked || !revoked.RevokedAt.Equal(a.clock.Now()) {
		t.Errorf("the answer: %+v", revoked)
	}
	want("ES256 previous", "ES256 previous", "ES256 current", "RS256 revoked", "RS256 current")
	got := decodeKeys[wireKey](t, a.do(keyScopes, http.MethodGet, keysPath+"/"+current.KID, ""), http.StatusOK)
	if diff := cmp.Diff(revoked, got); diff != "" {
		t.Error(diff)
	}
	if published(t, a.d, current.KID) || !published(t, a.d, next.KID) {
		t.Error("the JWKS does not follow")
	}
}

// Bare, below another path, and as an SDK spells it.
func TestSigningKeysAnywhere(t *testing.T) {
	a := newKeysAPI(t, nil)
	for _, path := range []string{"/keys/signing", "/o/manage/keys/signing", "/signing", "/signing/", "/"} {
		if w := a.do(keyScopes, http.MethodGet, path, ""); w.Code != http.StatusOK || w.Body.Bytes()[0] != '[' {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	for _, body := range []string{"", "{}", `{"immediate":false}`, `{"alg":"RS256"}`} {
		if w := a.do(keyScopes, http.MethodPost, "/somewhere/signing/rotate", body); w.Code != http.StatusCreated {
			t.Errorf("%q: %d %s", body, w.Code, w.Body)
		}
	}
}

func TestSigningKeysRefuse(t *testing.T) {
	a := newKeysAPI(t, nil)
	get(a.d.JWKS(), "/")
	kid := records(t, a.stores)[0].ID
	for _, c := range []struct {
		scopes, method, path, body string
		status                     int
		want                       string
	}{
		{"", "GET", "", "", 401, "Bearer token"},
		{"create:signing_keys update:signing_keys", "GET", "", "", 403, "expected: read:signing_keys"},
		{"create:signing_keys update:signing_keys", "GET", "/" + kid, "", 403, "expected: read:signing_keys"},
		{"read:signing_keys update:signing_keys", "POST", "/rotate", "", 403, "expected: create:signing_keys"},
		{"read:signing_keys create:signing_keys", "PUT", "/" + kid + "/revoke", "", 403, "expected: update:signing_keys"},
		{"", "POST", "/rotate", "", 401, "Bearer token"},
		{"", "PUT", "/" + kid + "/revoke", "", 401, "Bearer token"},
		{keyScopes, "GET", "/x", "", 404, "does not exist"},
		{keyScopes, "GET", "/" + kid[1:], "", 404, "does not exist"},
		{keyScopes, "PUT", "/" + strings.Repeat("k", 43) + "/revoke", "", 404, "does not exist"},
		{keyScopes, "PUT", "/revoke", "", 404, "does not exist"},
		{keyScopes, "POST", "", "", 405, "does not support the method"},
		{keyScopes, "DELETE", "/" + kid, "", 405, "does not support the method"},
		{keyScopes, "GET", "/rotate", "", 405, "does not support the method"},
		{keyScopes, "POST", "/" + kid + "/revoke", "", 405, "does not support the method"},
		{keyScopes, "POST", "/rotate", `{"alg":"HS256"}`, 400, "alg must be one of ES256, RS256"},
		{keyScopes, "POST", "/rotate", `{"alg":null}`, 400, "alg must be a string"},
		{keyScopes, "POST", "/rotate", `{"immediate":"yes"}`, 400, "immediate must be a boolean"},
		{keyScopes, "POST", "/rotate", `{"now":true}`, 400, "unknown member now"},
		{keyScopes, "POST", "/rotate", `[]`, 400, "JSON object"},
	} {
		w := a.do(c.scopes, c.method, keysPath+c.path, c.body)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s %s %s: %d %s", c.method, c.path, c.body, w.Code, w.Body)
		}
	}
	for _, k := range records(t, a.stores) {
		if k.Generation != 1 || !k.RevokedAt.IsZero() {
			t.Errorf("a refused request changed a key: %s %d %v", k.Algorithm, k.Generation, k.RevokedAt)
		}
	}
	// A body in another type is not read.
	r := httptest.NewRequest(http.MethodPost, keysPath+"/rotate", strings.NewReader("immediate=true"))
	r.Header.Set("Authorization", "Bearer "+managementToken(t, a.d, keyScopes, nil))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	if a.d.SigningKeysHandler().ServeHTTP(w, r); w.Code != http.StatusUnsupportedMediaType {
		t.Errorf("a form: %d", w.Code)
	}
}

// What fails inside is answered without its text: a key's source that fails as a
// moment's trouble, one that answers nonsense as an error of the server.
func TestSigningKeysDoNotLeak(t *testing.T) {
	for name, c := range map[string]struct {
		trouble func(*kms)
		status  int
		retry   string
	}{
		"no signer":    {func(k *kms) { k.noSigner = true }, http.StatusServiceUnavailable, "1"},
		"an outage":    {func(k *kms) { k.fail = errors.New("HSM slot 7 cannot sign") }, http.StatusServiceUnavailable, "1"},
		"no signature": {func(k *kms) { k.sign = func([]byte) []byte { return nil } }, http.StatusInternalServerError, ""},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKMS()
			a := newKeysAPI(t, k)
			token := managementToken(t, a.d, keyScopes, nil)
			k.set(func() { c.trouble(k) })
			kid := records(t, a.stores)[0].ID
			for _, call := range [][2]string{{http.MethodPost, "/rotate"}, {http.MethodPut, "/" + kid + "/revoke"}} {
				r := httptest.NewRequest(call[0], keysPath+call[1], nil)
				r.Header.Set("Authorization", "Bearer "+token)
				w := httptest.NewRecorder()
				a.d.SigningKeysHandler().ServeHTTP(w, r)
				if w.Code != c.status || w.Header().Get("Retry-After") != c.retry || strings.Contains(w.Body.String(), "sign") {
					t.Errorf("%s: %d %q %s", call[1], w.Code, w.Header().Get("Retry-After"), w.Body)
				}
			}
			if keys := records(t, a.stores); len(keys) != 1 || !keys[0].RevokedAt.IsZero() {
				t.Errorf("%d keys, revoked at %v", len(keys), keys[0].RevokedAt)
			}
		})
	}
}
