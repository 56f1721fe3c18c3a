package opkit_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/opkit/opkit"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
	"github.com/opkit/opkit/tenant"
	"github.com/opkit/opkit/token"
)

// vault keeps keys outside of the provider, until it breaks.
type vault struct {
	mu     sync.Mutex
	keys   map[string]crypto.Signer
	broken error
}

func newVault() *vault { return &vault{keys: map[string]crypto.Signer{}} }

func (v *vault) fail(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.broken = err
}

func (v *vault) GenerateKey(_ context.Context, tenantID, algorithm string) (crypto.PublicKey, []byte, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.broken != nil {
		return nil, nil, v.broken
	}
	var key crypto.Signer
	var err error
	if algorithm == "RS256" {
		key, err = rsa.GenerateKey(rand.Reader, 3072)
	} else {
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		return nil, nil, err
	}
	handle := fmt.Sprintf("%s/%s/%d", tenantID, algorithm, len(v.keys))
	v.keys[handle] = key
	return key.Public(), []byte(handle), nil
}

func (v *vault) OpenKey(_ context.Context, _, _ string, handle []byte) (tenant.Signer, error) {
	return vaultSigner{v, string(handle)}, nil
}

type vaultSigner struct {
	vault  *vault
	handle string
}

func (s vaultSigner) Sign(ctx context.Context, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	s.vault.mu.Lock()
	defer s.vault.mu.Unlock()
	if s.vault.broken != nil {
		return nil, s.vault.broken
	}
	return s.vault.keys[s.handle].Sign(rand.Reader, digest, opts)
}

func (w *world) jwks() *jose.JSONWebKeySet {
	w.t.Helper()
	var set jose.JSONWebKeySet
	if err := json.Unmarshal([]byte(newBrowser(w.t).get(w.endpoint.JWKS).body), &set); err != nil {
		w.t.Fatal(err)
	}
	return &set
}

// signedBy returns the kid of a token that the published keys verify; empty if
// they do not.
func (w *world) signedBy(raw string) string {
	w.t.Helper()
	jws, err := jose.ParseSignedCompact(raw, []jose.SignatureAlgorithm{jose.ES256, jose.RS256})
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := jws.Verify(w.jwks()); err != nil {
		return ""
	}
	return jws.Signatures[0].Protected.KeyID
}

// Whatever is signed is signed by a key that the provider never sees.
func TestEveryTokenWithKeysInAVault(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		server, received := receiver(t)
		v := newVault()
		w := newWorld(t, options{mount: mount, permissive: true, config: func(cfg *opkit.Config) {
			outboundTo(server, "127.0.0.0/8")(cfg)
			cfg.Keys.Source = v
		}})
		b := newBrowser(t)
		app, tokens := w.loggedIn(b, map[string]any{"backchannel_logout_uri": server.URL})
		access := w.redeem(app, w.authorizeIn(b, app, "audience", apiAudience).Get("code")).json(t)["access_token"].(string)
		if _, err := w.provider.Tenants().CreateClientGrant(t.Context(), store.ClientGrant{
			TenantID: tenant.DefaultID, ClientID: machineID, Audience: apiAudience, SubjectType: store.SubjectClient,
		}); err != nil {
			t.Fatal(err)
		}
		req, _ := http.NewRequest(http.MethodPost, w.endpoint.Introspection, strings.NewReader("token="+access))
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Accept", "application/token-introspection+jwt")
		req.SetBasicAuth(machineID, machineSecret)
		introspection := newBrowser(t).do(req).body
		// The provider recognizes its own: a hint, and a management token.
		if list := w.sendJSON(http.MethodGet, w.endpoint.Management+"/keys/signing", w.managementToken(), ""); list.StatusCode != http.StatusOK {
			t.Errorf("%d %s", list.StatusCode, list.body)
		}
		b.get(w.endSession("id_token_hint", tokens["id_token"].(string), "post_logout_redirect_uri", afterLogout)).location(t)
		logout := (<-received).Get("logout_token")
		for name, raw := range map[string]string{
			"ID token": tokens["id_token"].(string), "access token": access, "introspection": introspection, "logout token": logout,
		} {
			if w.signedBy(raw) == "" {
				t.Errorf("the %s does not hold against the JWKS", name)
			}
		}
		if len(v.keys) != 2 {
			t.Errorf("the vault made %d keys", len(v.keys))
		}
	})
}

// A vault that fails is a moment's trouble of the server's. Nothing of it is told,
// and nothing is used up: whoever tries again is neither refused nor taken for a
// thief, however long it lasted.
func TestAVaultThatFails(t *testing.T) {
	v := newVault()
	w := newWorld(t, options{permissive: true, config: func(cfg *opkit.Config) { cfg.Keys.Source = v }})
	app := w.register(nil)
	b := newBrowser(t)
	refresh := w.redeem(app, w.authorizeIn(b, app, "scope", "openid offline_access").Get("code")).json(t)["refresh_token"].(string)
	code := w.authorizeIn(b, app).Get("code")
	v.fail(errors.New("sql: connection to hsm-7.internal refused /srv/app/pool.go:99"))
	answers := map[string]*response{
		"client_credentials": w.token(registered{id: machineID, secret: machineSecret}, "grant_type", "client_credentials", "audience", w.issuer+"/api/v2/"),
		"code":               w.redeem(app, code),
		"refresh":            w.token(app, "grant_type", "refresh_token", "refresh_token", refresh),
	}
	for name, res := range answers {
		if res.StatusCode != http.StatusServiceUnavailable || res.json(t)["error"] != "temporarily_unavailable" || res.Header.Get("Retry-After") == "" {
			t.Errorf("%s: %d %s", name, res.StatusCode, res.body)
		}
	}
	answers["implicit"] = b.get(w.authorizeURL(app, "response_type", "id_token", "code_challenge", "", "code_challenge_method", ""))
	if got := answers["implicit"].location(t); got.Get("error") != "temporarily_unavailable" || got.Get("id_token") != "" {
		t.Errorf("implicit: %v", got)
	}
	for name, res := range answers {
		if said, _ := url.QueryUnescape(res.Header.Get("Location")); internals.MatchString(res.body + said) {
			t.Errorf("%s leaks: %s %s", name, res.body, said)
		}
	}
	v.fail(nil)
	if res := w.redeem(app, code); res.StatusCode != http.StatusOK {
		t.Errorf("the code afterwards: %d %s", res.StatusCode, res.body)
	}
	w.clock.advance(time.Hour)
	if res := w.token(app, "grant_type", "refresh_token", "refresh_token", refresh); res.StatusCode != http.StatusOK {
		t.Errorf("the refresh token afterwards: %d %s", res.StatusCode, res.body)
	}
	if res := w.redeem(app, w.authorizeIn(newBrowser(t), app).Get("code")); res.StatusCode != http.StatusOK || w.signedBy(res.json(t)["id_token"].(string)) == "" {
		t.Errorf("afterwards: %d %s", res.StatusCode, res.body)
	}
}

// What the suite's module on rotation asks, and what an administrator does about a
// key that leaked.
func TestKeysThroughTheManagementAPI(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount, permissive: true})
		app, b := w.register(nil), newBrowser(t)
		verifier, err := token.NewVerifier(token.VerifierConfig{Issuer: w.issuer, Audience: apiAudience, JWKSURL: w.endpoint.JWKS, Now: w.clock.now})
		if err != nil {
			t.Fatal(err)
		}
		issue := func() (id, access string) {
			t.Helper()
			tokens := w.redeem(app, w.authorizeIn(b, app, "audience", apiAudience).Get("code")).json(t)
			return tokens["id_token"].(string), tokens["access_token"].(string)
		}
		keys := w.endpoint.Management + "/keys/signing"
		oldID, oldAccess := issue()
		before := w.jwks()
		if _, err := verifier.Verify(t.Context(), oldAccess); err != nil {
			t.Fatal(err)
		}

		// Published at once, both old and new; signing in a day.
		res := w.sendJSON(http.MethodPost, keys+"/rotate", w.managementToken(), "")
		if res.StatusCode != http.StatusCreated || res.Header.Get("Access-Control-Allow-Origin") != "*" {
			t.Fatalf("%d %s", res.StatusCode, res.body)
		}
		after := w.jwks()
		if len(after.Keys) != 5 || // with the one to encrypt to
			len(after.Key(res.json(t)["kid"].(string))) != 1 || len(before.Key(res.json(t)["kid"].(string))) != 0 {
			t.Errorf("the JWKS after a rotation has %d keys", len(after.Keys))
		}
		for _, k := range before.Keys {
			if len(after.Key(k.KeyID)) != 1 {
				t.Errorf("the old key %s is gone", k.KeyID)
			}
		}
		if id, _ := issue(); w.signedBy(id) != w.signedBy(oldID) {
			t.Error("the new key signs at once")
		}
		w.clock.advance(24 * time.Hour)
		id, access := issue()
		if got := w.signedBy(id); got == "" || len(before.Key(got)) != 0 {
			t.Error("the new key does not sign")
		}
		if _, err := verifier.Verify(t.Context(), access); err != nil {
			t.Error(err)
		}

		// At once, if asked for; then the old one is revoked.
		res = w.sendJSON(http.MethodPost, keys+"/rotate", w.managementToken(), `{"immediate":true,"alg":"RS256"}`)
		if res.StatusCode != http.StatusCreated {
			t.Fatalf("%d %s", res.StatusCode, res.body)
		}
		fresh, _ := issue()
		if w.signedBy(fresh) != res.json(t)["kid"] {
			t.Error("the new key does not sign at once")
		}
		leaked := w.signedBy(id)
		res = w.sendJSON(http.MethodPut, keys+"/"+leaked+"/revoke", w.managementToken(), "")
		if res.StatusCode != http.StatusOK || res.json(t)["revoked"] != true {
			t.Fatalf("%d %s", res.StatusCode, res.body)
		}
		if w.signedBy(id) != "" || len(w.jwks().Key(leaked)) != 0 || w.signedBy(oldID) == "" || w.signedBy(fresh) == "" {
			t.Error("the JWKS after a revocation")
		}
		wantHeading(t, b.get(w.endSession("id_token_hint", id)), 400, "Logout error")
		if res := w.sendJSON(http.MethodGet, keys+"/"+leaked, w.managementToken(), ""); res.StatusCode != http.StatusOK || res.json(t)["kid"] != leaked {
			t.Errorf("%d %s", res.StatusCode, res.body)
		}
		if res := w.sendJSON(http.MethodGet, keys, w.managementToken(), ""); res.StatusCode != http.StatusOK || strings.Count(res.body, `"kid":"`)/2 != 5 {
			t.Errorf("%d %s", res.StatusCode, res.body)
		}
		if res := w.sendJSON(http.MethodPut, keys+"/unknown/revoke", w.managementToken(), ""); res.StatusCode != http.StatusNotFound {
			t.Errorf("%d %s", res.StatusCode, res.body)
		}
	})
}

// announcedKeys says which keys are made.
type announcedKeys struct {
	store.SigningKeyStore
	made chan store.SigningKey
}

func (s announcedKeys) CreateSigningKey(ctx context.Context, k store.SigningKey) error {
	err := s.SigningKeyStore.CreateSigningKey(ctx, k)
	if err == nil {
		s.made <- k
	}
	return err
}

// Two nodes that do nothing but run keep the schedule for one that only serves.
func TestRunReplacesKeys(t *testing.T) {
	stores := memstore.New().Stores()
	made := make(chan store.SigningKey, 10)
	stores.SigningKeys = announcedKeys{stores.SigningKeys, made}
	w := newWorld(t, options{stores: stores})
	first := w.jwks()
	<-made
	<-made
	w.clock.advance(89*24*time.Hour + time.Minute)
	ctx, cancel := context.WithCancel(t.Context())
	var nodes sync.WaitGroup
	for range 2 {
		p, err := opkit.New(opkit.Config{Issuer: w.issuer, Stores: stores, Secret: slices.Repeat([]byte{7}, 32), Now: w.clock.now})
		if err != nil {
			t.Fatal(err)
		}
		nodes.Go(func() {
			if err := p.Run(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("Run returned %v", err)
			}
		})
	}
	got := []string{(<-made).Algorithm, (<-made).Algorithm}
	slices.Sort(got)
	if !slices.Equal(got, []string{"ES256", "RS256"}) {
		t.Errorf("made: %v", got)
	}
	cancel()
	nodes.Wait()
	if set := w.jwks(); len(set.Keys) != len(first.Keys)+2 {
		t.Errorf("%d keys are published, %d were", len(set.Keys), len(first.Keys))
	}
}

func TestKeySettingsAreChecked(t *testing.T) {
	base := opkit.Config{Issuer: "https://op.example", Stores: memstore.New().Stores(), Secret: slices.Repeat([]byte{7}, 32)}
	for name, change := range map[string]func(*opkit.Config){
		"a grace period shorter than ID tokens live": func(c *opkit.Config) { c.Keys.Grace, c.Lifetimes.IDToken = 24*time.Hour, 48*time.Hour },
		"or access tokens":                           func(c *opkit.Config) { c.Keys.Grace, c.Lifetimes.AccessToken = 24*time.Hour, 48*time.Hour },
		"publication shorter than the cache":         func(c *opkit.Config) { c.Keys.Prepublication, c.CacheStaleness = time.Hour, time.Hour },
	} {
		cfg := base
		change(&cfg)
		if p, err := opkit.New(cfg); err == nil || p != nil || !strings.Contains(err.Error(), "Config.Keys") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
