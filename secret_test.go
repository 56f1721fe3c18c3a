package opkit_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	"github.com/opkit/opkit"
	"github.com/opkit/opkit/tenant"
)

var newSecret = bytes.Repeat([]byte{8}, 32)

// renewed puts a node with other secrets in the place of w's, as a restart does.
func (w *world) renewed(secret []byte, previous ...[]byte) *opkit.Provider {
	w.t.Helper()
	p, err := opkit.New(opkit.Config{
		Issuer: w.issuer, Stores: w.stores, Secret: secret, PreviousSecrets: previous, Now: w.clock.now, CacheStaleness: -1,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.provider = p
	return p
}

// Config.Secret is replaced without anybody noticing: what the former one sealed is
// opened until it is sealed anew.
func TestReplacingTheSecret(t *testing.T) {
	w := newWorld(t, options{permissive: true})
	former := bytes.Repeat([]byte{7}, 32)
	if err := w.provider.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	b := newBrowser(t)
	app, tokens := w.loggedIn(b, map[string]any{"id_token_signed_response_alg": "HS256", "scope": "openid offline_access"})
	refresh := func(want int) {
		t.Helper()
		res := w.token(app, "grant_type", "refresh_token", "refresh_token", tokens["refresh_token"].(string))
		if res.StatusCode != want {
			t.Fatalf("refresh: %d %s, want %d", res.StatusCode, res.body, want)
		}
		if want == http.StatusOK {
			tokens = res.json(t)
		}
	}
	signed := func() {
		t.Helper()
		got := w.redeem(app, w.authorizeIn(b, app).Get("code")).json(t)
		if idToken, _ := got["id_token"].(string); !hs256(idToken, app.secret) {
			t.Errorf("an ID token is not signed with the client's secret: %v", got)
		}
	}
	signed()

	p := w.renewed(newSecret, former)
	if err := p.Check(t.Context()); err != nil {
		t.Errorf("with the former secret: %v", err)
	}
	if !w.signedIn(b, app) {
		t.Error("the session ended")
	}
	signed()
	refresh(http.StatusOK)

	// What is left of the former secret goes.
	if err := p.Clients().ResealSecrets(t.Context()); err != nil {
		t.Fatal(err)
	}
	rotateKeys(t, p)
	p = w.renewed(newSecret)
	if err := p.Check(t.Context()); err != nil {
		t.Errorf("without the former secret: %v", err)
	}
	signed()
	refresh(http.StatusOK)

	// A wrong one is noticed at the start.
	p = w.renewed(bytes.Repeat([]byte{9}, 32))
	if err := p.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "sealed with another secret") {
		t.Errorf("with a wrong secret: %v", err)
	}
	refresh(http.StatusBadRequest)
}

func hs256(jws, secret string) bool {
	parts := strings.Split(jws, ".")
	if len(parts) != 3 {
		return false
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(parts[0] + "." + parts[1]))
	return parts[2] == base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// rotateKeys replaces every signing key, so that none is left that a former secret sealed.
func rotateKeys(t *testing.T, p *opkit.Provider) {
	t.Helper()
	for _, algorithm := range []string{"RS256", "ES256"} {
		if _, err := p.Tenants().RotateSigningKey(t.Context(), tenant.DefaultID, tenant.Rotation{Algorithm: algorithm, Immediate: true}); err != nil {
			t.Fatal(err)
		}
	}
}
