package tenant_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
	"github.com/opkit/opkit/tenant"
)

// kms keeps keys where nobody can read them. Its calls can be made to fail, to
// hang, and to answer nonsense.
type kms struct {
	mu           sync.Mutex
	keys         map[string]crypto.Signer
	made, opened int
	destroyed    []string

	fail     error
	hang     bool
	generate func(crypto.PublicKey, []byte) (crypto.PublicKey, []byte)
	sign     func([]byte) []byte
	noSigner bool
}

func newKMS() *kms { return &kms{keys: map[string]crypto.Signer{}} }

func (k *kms) trouble(ctx context.Context) error {
	k.mu.Lock()
	hang, fail := k.hang, k.fail
	k.mu.Unlock()
	if hang {
		<-ctx.Done()
		return ctx.Err()
	}
	return fail
}

func (k *kms) set(change func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	change()
}

func (k *kms) GenerateKey(ctx context.Context, tenantID, algorithm string) (crypto.PublicKey, []byte, error) {
	if err := k.trouble(ctx); err != nil {
		return nil, nil, err
	}
	var key crypto.Signer
	var err error
	if algorithm == "RS256" {
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	} else {
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		return nil, nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.made++
	handle := fmt.Sprintf("%s/%s/%d", tenantID, algorithm, k.made)
	k.keys[handle] = key
	if k.generate != nil {
		public, handle := k.generate(key.Public(), []byte(handle))
		return public, handle, nil
	}
	return key.Public(), []byte(handle), nil
}

func (k *kms) OpenKey(ctx context.Context, tenantID, algorithm string, handle []byte) (tenant.Signer, error) {
	if err := k.trouble(ctx); err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.noSigner {
		return nil, nil
	}
	if !strings.HasPrefix(string(handle), tenantID+"/"+algorithm+"/") || k.keys[string(handle)] == nil {
		return nil, fmt.Errorf("no key %q", handle)
	}
	k.opened++
	return kmsSigner{k, string(handle)}, nil
}

func (k *kms) DestroyKey(ctx context.Context, _, _ string, handle []byte) error {
	if err := k.trouble(ctx); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.keys, string(handle))
	k.destroyed = append(k.destroyed, string(handle))
	return nil
}

type kmsSigner struct {
	kms    *kms
	handle string
}

func (s kmsSigner) Sign(ctx context.Context, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if err := s.kms.trouble(ctx); err != nil {
		return nil, err
	}
	s.kms.mu.Lock()
	key, spoil := s.kms.keys[s.handle], s.kms.sign
	s.kms.mu.Unlock()
	if key == nil || opts.HashFunc() != crypto.SHA256 || len(digest) != 32 {
		return nil, fmt.Errorf("cannot sign with %q", s.handle)
	}
	signature, err := key.Sign(rand.Reader, digest, opts)
	if spoil != nil {
		signature = spoil(signature)
	}
	return signature, err
}

func withKMS(k *kms) func(*tenant.Config) {
	return func(cfg *tenant.Config) { cfg.Keys.Source = k }
}

func TestKeysInAKMS(t *testing.T) {
	c, stores, k := newClock(), memstore.New().Stores(), newKMS()
	d, other := node(t, stores, c, withKMS(k)), node(t, stores, c, withKMS(k))
	var tokens []string
	for _, alg := range []string{"ES256", "RS256"} {
		for _, d := range []*tenant.Directory{d, other} {
			token := sign(t, d, alg)
			tokens = append(tokens, token)
			jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(alg)})
			if err != nil {
				t.Fatal(err)
			}
			if payload, err := jws.Verify(jwks(t, d)); err != nil || string(payload) != `{"sub":"alice"}` {
				t.Errorf("%s: %s, %v", alg, payload, err)
			}
		}
	}
	for _, token := range tokens {
		if err := verify(t, other, token); err != nil {
			t.Error(err)
		}
	}
	if k.made != 2 || k.opened != 4+2 { // once to prove a new key, then once on each node
		t.Errorf("%d made, %d opened", k.made, k.opened)
	}
	for range 3 {
		sign(t, d, "ES256")
	}
	if k.opened != 6 {
		t.Errorf("opened again: %d", k.opened)
	}
	for _, record := range records(t, stores) {
		if bytes.Contains(record.Private, []byte("default/")) {
			t.Error("the handle is in clear")
		}
	}

	// The schedule and its end.
	c.advance(89 * day)
	maintain(t, d)
	c.advance(32 * day)
	maintain(t, other)
	if k.made != 4 || len(k.destroyed) != 2 || len(records(t, stores)) != 2 {
		t.Errorf("%d made, destroyed %q, %d records", k.made, k.destroyed, len(records(t, stores)))
	}
	if err := verify(t, d, sign(t, other, "RS256")); err != nil {
		t.Error(err)
	}
}

// A failure of the KMS is not the end: the request fails with 503, and what comes
// after it works.
func TestAKMSThatFails(t *testing.T) {
	broken := errors.New("HSM slot 7 is on fire")
	for name, at := range map[string]int{"making": 0, "signing": 1} {
		t.Run(name, func(t *testing.T) {
			c, stores, k := newClock(), memstore.New().Stores(), newKMS()
			d := node(t, stores, c, withKMS(k))
			tn := theTenant(t, d)
			if at == 1 {
				sign(t, d, "ES256")
			}
			k.set(func() { k.fail = broken })
			before := len(records(t, stores))
			for _, d := range []*tenant.Directory{d, node(t, stores, c, withKMS(k))} { // the second has to open it first
				token, err := d.Sign(t.Context(), tn, "ES256", "JWT", []byte(`{}`))
				if !errors.Is(err, broken) || token != "" {
					t.Fatalf("%q, %v", token, err)
				}
				e := oauth.AsError(err)
				if e.Code != oauth.CodeTemporarilyUnavailable || e.Status != http.StatusServiceUnavailable || strings.Contains(e.Description, "HSM") {
					t.Errorf("the answer: %+v", e)
				}
			}
			if _, err := d.RotateSigningKey(t.Context(), tenant.DefaultID, tenant.Rotation{Algorithm: "ES256"}); !errors.Is(err, broken) {
				t.Errorf("rotation: %v", err)
			}
			if n := len(records(t, stores)); n != before {
				t.Errorf("%d keys were stored", n-before)
			}
			k.set(func() { k.fail = nil })
			if err := verify(t, d, sign(t, d, "ES256")); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAKMSThatHangs(t *testing.T) {
	c, stores, k := newClock(), memstore.New().Stores(), newKMS()
	d := node(t, stores, c, withKMS(k))
	tn := theTenant(t, d)
	old := sign(t, d, "ES256")
	k.set(func() { k.hang = true })
	ctx, cancel := context.WithCancel(t.Context())
	started := make(chan struct{})
	var rotating sync.WaitGroup
	rotating.Go(func() {
		close(started)
		if _, err := d.RotateSigningKey(ctx, tenant.DefaultID, tenant.Rotation{Algorithm: "ES256"}); !errors.Is(err, context.Canceled) {
			t.Errorf("rotation: %v", err)
		}
	})
	<-started
	// Meanwhile everything that needs no KMS goes on, even when keys have to be read
	// again.
	c.advance(time.Minute)
	if err := verify(t, d, old); err != nil {
		t.Error(err)
	}
	short, stop := context.WithCancel(t.Context())
	stop()
	if token, err := d.Sign(short, tn, "ES256", "JWT", []byte(`{}`)); !errors.Is(err, context.Canceled) || token != "" {
		t.Errorf("%q, %v", token, err)
	}
	cancel()
	rotating.Wait()
	if n := len(records(t, stores)); n != 1 {
		t.Errorf("%d keys", n)
	}
}

// What a source must not answer is an error that stores and publishes nothing.
func TestNonsenseOfAKMS(t *testing.T) {
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public := func(p crypto.PublicKey) func(*kms) {
		return func(k *kms) {
			k.generate = func(_ crypto.PublicKey, handle []byte) (crypto.PublicKey, []byte) { return p, handle }
		}
	}
	for name, nonsense := range map[string]func(*kms){
		"no public half":             public(nil),
		"a nil pointer":              public((*ecdsa.PublicKey)(nil)),
		"an empty RSA key":           public(&rsa.PublicKey{}),
		"a small RSA key":            public(&small.PublicKey),
		"another curve":              public(&p384.PublicKey),
		"a private half":             public(other),
		"the half of another key":    public(&other.PublicKey),
		"no signer":                  func(k *kms) { k.noSigner = true },
		"an empty signature":         func(k *kms) { k.sign = func([]byte) []byte { return nil } },
		"a signature that is cut":    func(k *kms) { k.sign = func(s []byte) []byte { return s[:len(s)-1] } },
		"a signature of another":     func(k *kms) { k.sign = func(s []byte) []byte { s[len(s)-1] ^= 1; return s } },
		"a handle that is too large": func(k *kms) { k.generate = largeHandle },
	} {
		for _, alg := range []string{"ES256", "RS256"} {
			c, stores, k := newClock(), memstore.New().Stores(), newKMS()
			nonsense(k)
			d := node(t, stores, c, withKMS(k))
			token, err := d.Sign(t.Context(), theTenant(t, d), alg, "JWT", []byte(`{}`))
			if err == nil || token != "" || len(records(t, stores)) != 0 {
				t.Errorf("%s, %s: %q, %d records", name, alg, token, len(records(t, stores)))
			}
		}
	}
}

func largeHandle(public crypto.PublicKey, _ []byte) (crypto.PublicKey, []byte) {
	return public, make([]byte, 17<<10)
}

// A source that forgets to make a key, and returns the one in use, must not lose
// it.
func TestASourceThatReturnsAKeyTwice(t *testing.T) {
	c, stores, k := newClock(), memstore.New().Stores(), newKMS()
	d := node(t, stores, c, withKMS(k))
	sign(t, d, "ES256")
	k.generate = func(crypto.PublicKey, []byte) (crypto.PublicKey, []byte) {
		return k.keys["default/ES256/1"].Public(), []byte("default/ES256/1")
	}
	if _, err := d.RotateSigningKey(t.Context(), tenant.DefaultID, tenant.Rotation{Algorithm: "ES256"}); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("rotation: %v", err)
	}
	if len(k.destroyed) != 0 || len(records(t, stores)) != 1 {
		t.Errorf("destroyed %q", k.destroyed)
	}
	sign(t, d, "ES256")
}

// Of the keys that nodes make at once, those that lose are given back.
func TestKeysThatAreNotNeededAreDestroyed(t *testing.T) {
	lost := 0
	for range 50 {
		c, stores, k := newClock(), memstore.New().Stores(), newKMS()
		nodes := []*tenant.Directory{node(t, stores, c, withKMS(k)), node(t, stores, c, withKMS(k)), node(t, stores, c, withKMS(k))}
		atOnce(nodes, func(d *tenant.Directory) { sign(t, d, "ES256") })
		if len(records(t, stores)) != 1 || len(k.keys) != 1 || k.made != 1+len(k.destroyed) {
			t.Fatalf("%d records, %d keys, %d made, destroyed %q", len(records(t, stores)), len(k.keys), k.made, k.destroyed)
		}
		lost += len(k.destroyed)
		for _, d := range nodes {
			sign(t, d, "ES256")
		}
	}
	t.Logf("%d keys were given back", lost)
}

// A key that could not be destroyed is found again in the next round.
func TestDestructionIsTriedAgain(t *testing.T) {
	c, stores, k := newClock(), memstore.New().Stores(), newKMS()
	d := node(t, stores, c, withKMS(k))
	sign(t, d, "ES256")
	rotate(t, d, "ES256", true)
	c.advance(31 * day)
	k.set(func() { k.fail = errors.New("down") })
	maintain(t, d)
	if n := len(records(t, stores)); n != 2 {
		t.Fatalf("%d records after a failure", n)
	}
	k.set(func() { k.fail = nil })
	maintain(t, d)
	if n := len(records(t, stores)); n != 1 || len(k.destroyed) != 1 || k.destroyed[0] != "default/ES256/1" {
		t.Errorf("%d records, destroyed %q", n, k.destroyed)
	}
}

// A software key goes without having been opened: the secret that sealed it may be
// gone by then.
func TestARecordOfALostSecretIsRemoved(t *testing.T) {
	c, stores := newClock(), memstore.New().Stores()
	sign(t, node(t, stores, c, nil), "ES256")
	fresh := node(t, stores, c, func(cfg *tenant.Config) { cfg.Secrets = [][]byte{[]byte("another secret of 32 bytes length")} })
	next := rotate(t, fresh, "ES256", true)
	sign(t, fresh, "ES256")
	c.advance(31 * day)
	maintain(t, fresh)
	if list := keysOf(t, stores, "ES256"); len(list) != 1 || list[0].ID != next.ID {
		t.Errorf("%+v", list)
	}
}

// Moving to a KMS needs no interruption: the old key signs until it is replaced.
func TestMovingToAKMSAndBack(t *testing.T) {
	c, stores, k := newClock(), memstore.New().Stores(), newKMS()
	before := node(t, stores, c, nil)
	old := sign(t, before, "ES256")
	d := node(t, stores, c, withKMS(k))
	if token := sign(t, d, "ES256"); kid(t, token) != kid(t, old) {
		t.Error("the key changed with the configuration")
	}
	next := rotate(t, d, "ES256", false)
	c.advance(day)
	token := sign(t, d, "ES256")
	if kid(t, token) != next.ID || k.made != 1 {
		t.Error("the KMS was not used")
	}
	if err := verify(t, d, old); err != nil {
		t.Error(err)
	}

	// Without the source its keys cannot sign, which is no reason to make another
	// key behind everybody's back; rotation is.
	back := node(t, stores, c, nil)
	if token, err := back.Sign(t.Context(), theTenant(t, back), "ES256", "JWT", []byte(`{}`)); err == nil || !strings.Contains(err.Error(), "Config.Keys.Source") {
		t.Errorf("signed %q, %v", token, err)
	}
	if err := verify(t, back, token); err != nil {
		t.Error(err)
	}
	rotate(t, back, "ES256", true)
	if err := verify(t, d, sign(t, back, "ES256")); err != nil {
		t.Error(err)
	}
	if list := records(t, stores); len(list) != 3 {
		t.Errorf("%d keys", len(list))
	}
}

// One KMS serves several tenants: a key's handle opens for its own tenant only.
func TestAHandleIsBoundToItsTenant(t *testing.T) {
	c, stores, k := newClock(), memstore.New().Stores(), newKMS()
	byPath := func(cfg *tenant.Config) {
		cfg.Issuer, cfg.Resolver, cfg.Keys.Source = "", tenant.ByPath("/t"), k
	}
	d := node(t, stores, c, byPath)
	var tenants []*tenant.Tenant
	for _, id := range []string{"a", "b"} {
		if _, err := d.CreateTenant(t.Context(), store.Tenant{ID: id, Issuer: "https://example.com/t/" + id}); err != nil {
			t.Fatal(err)
		}
		tn, err := d.Tenant(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		tenants = append(tenants, tn)
	}
	if _, err := d.Sign(t.Context(), tenants[0], "ES256", "JWT", []byte(`{}`)); err != nil {
		t.Fatal(err)
	}
	list, err := stores.SigningKeys.SigningKeys(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	stolen := list[0]
	stolen.TenantID = "b"
	if err := stores.SigningKeys.CreateSigningKey(t.Context(), stolen); err != nil {
		t.Fatal(err)
	}
	if token, err := d.Sign(t.Context(), tenants[1], "ES256", "JWT", []byte(`{}`)); err == nil {
		t.Errorf("the other tenant signed with it: %s", token)
	}
}
