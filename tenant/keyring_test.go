package tenant_test

import (
	"bytes"
	"context"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
	"github.com/opkit/opkit/tenant"
)

func jwks(t *testing.T, d *tenant.Directory) jose.JSONWebKeySet {
	t.Helper()
	w := get(d.JWKS(), "/.well-known/jwks.json")
	if w.Code != http.StatusOK {
		t.Fatal(w.Code, w.Body)
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(w.Body.Bytes(), &set); err != nil {
		t.Fatal(err)
	}
	return set
}

func kids(set jose.JSONWebKeySet) []string {
	var kids []string
	for _, k := range set.Keys {
		kids = append(kids, k.KeyID)
	}
	return kids
}

func records(t testing.TB, stores store.Stores) []store.SigningKey {
	t.Helper()
	list, err := stores.SigningKeys.SigningKeys(context.Background(), tenant.DefaultID)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func sign(t testing.TB, d *tenant.Directory, alg string) string {
	t.Helper()
	token, err := d.Sign(context.Background(), theTenant(t, d), alg, "JWT", []byte(`{"sub":"alice"}`))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func verify(t testing.TB, d *tenant.Directory, token string) error {
	t.Helper()
	payload, err := d.Verify(context.Background(), theTenant(t, d), "JWT", token)
	if err != nil && payload != nil {
		t.Errorf("a payload came with the error %v", err)
	}
	return err
}

func TestJWKSHoldsThePublicHalvesOnly(t *testing.T) {
	d, stores := newDirectory(t, nil)
	body := get(d.JWKS(), "/").Body.Bytes()
	var set struct{ Keys []map[string]any }
	if err := json.Unmarshal(body, &set); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, k := range set.Keys {
		alg, _ := k["alg"].(string)
		got = append(got, k["use"].(string)+" "+alg)
		for name := range k {
			if !strings.Contains(" kty use alg kid n e crv x y ", " "+name+" ") {
				t.Errorf("%s has the member %s", k["alg"], name)
			}
		}
	}
	if diff := cmp.Diff([]string{"sig ES256", "sig RS256", "enc "}, got); diff != "" {
		t.Error(diff)
	}
	for _, k := range jwks(t, d).Keys {
		thumbprint, err := k.Thumbprint(crypto.SHA256)
		if want := base64.RawURLEncoding.EncodeToString(thumbprint); err != nil || k.KeyID != want {
			t.Errorf("kid %s is not the thumbprint %s of RFC 7638, %v", k.KeyID, want, err)
		}
	}
	for _, record := range records(t, stores) {
		if record.Generation != 1 || record.Version != 1 {
			t.Errorf("record %+v", record)
		}
	}
}

// Whatever a store hands back as the public half, private members stay inside.
func TestAPrivateKeyInThePublicHalfIsNotPublished(t *testing.T) {
	d, stores := newDirectory(t, nil)
	theTenant(t, d)
	raw := []byte(`{"kty":"EC","crv":"P-256","kid":"leaky","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",` +
		`"y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM","d":"870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE","note":"hello"}`)
	if err := stores.SigningKeys.CreateSigningKey(t.Context(), store.SigningKey{
		TenantID: tenant.DefaultID, ID: "leaky", Algorithm: "ES256", Generation: 1, Public: raw,
	}); err != nil {
		t.Fatal(err)
	}
	body := get(d.JWKS(), "/").Body.String()
	if !strings.Contains(body, "leaky") || strings.Contains(body, "870MB6") || strings.Contains(body, "note") {
		t.Errorf("published: %s", body)
	}
}

func TestPrivateKeysAreSealedAtRest(t *testing.T) {
	d, stores := newDirectory(t, nil)
	sign(t, d, "ES256")
	record := records(t, stores)[0]
	if bytes.Contains(record.Private, []byte{0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01}) { // id-ecPublicKey
		t.Error("the private half is in clear")
	}
	// A record that was moved to another tenant does not open there.
	d2, stores2 := newDirectory(t, func(cfg *tenant.Config) { cfg.Issuer, cfg.Resolver = "", tenant.ByPath("/t") })
	other, err := d2.CreateTenant(t.Context(), store.Tenant{ID: "other", Issuer: "https://example.com/t/other"})
	if err != nil {
		t.Fatal(err)
	}
	record.TenantID = other.ID
	if err := stores2.SigningKeys.CreateSigningKey(t.Context(), record); err != nil {
		t.Fatal(err)
	}
	tn, err := d2.Tenant(t.Context(), other.ID)
	if err != nil {
		t.Fatal(err)
	}
	if token, err := d2.Sign(t.Context(), tn, "ES256", "JWT", []byte(`{}`)); err == nil {
		t.Errorf("the other tenant signed with it: %s", token)
	}
}

// Whoever can write the store could otherwise have their own public half published
// under a kid that tokens carry.
func TestHalvesThatDoNotBelongTogetherDoNotSign(t *testing.T) {
	d, stores := newDirectory(t, nil)
	sign(t, d, "ES256")
	scratch, other := newDirectory(t, nil)
	sign(t, scratch, "ES256")
	record := records(t, stores)[0]
	record.Public = records(t, other)[0].Public
	if err := stores.SigningKeys.UpdateSigningKey(t.Context(), record); err != nil {
		t.Fatal(err)
	}
	after, _ := newDirectory(t, func(cfg *tenant.Config) { cfg.Stores = stores })
	if token, err := after.Sign(t.Context(), theTenant(t, after), "ES256", "JWT", []byte(`{}`)); err == nil {
		t.Errorf("signed: %s", token)
	}
}

func TestASecretCanBeReplaced(t *testing.T) {
	d, stores := newDirectory(t, nil)
	token := sign(t, d, "ES256")
	fresh := []byte("fedcba9876543210fedcba9876543210")

	after, _ := newDirectory(t, func(cfg *tenant.Config) { cfg.Stores, cfg.Secrets = stores, [][]byte{fresh, secret} })
	if err := verify(t, after, sign(t, after, "ES256")); err != nil {
		t.Error(err)
	}
	if err := verify(t, after, token); err != nil {
		t.Error(err)
	}
	if n := len(records(t, stores)); n != 1 {
		t.Errorf("%d keys, want 1", n)
	}
}

// A node with a wrong secret would otherwise hand all others keys that they
// cannot open.
func TestAWrongSecretMakesNoOtherKey(t *testing.T) {
	d, stores := newDirectory(t, nil)
	sign(t, d, "ES256")
	wrong, _ := newDirectory(t, func(cfg *tenant.Config) {
		cfg.Stores, cfg.Secrets = stores, [][]byte{[]byte("another secret of 32 bytes length")}
	})
	if token, err := wrong.Sign(t.Context(), theTenant(t, wrong), "ES256", "JWT", []byte(`{}`)); err == nil {
		t.Errorf("signed: %s", token)
	}
	if n := len(records(t, stores)); n != 1 {
		t.Errorf("%d keys, want 1", n)
	}
}

func TestNodesThatNeedAKeyAtOnceGetOne(t *testing.T) {
	stores := memstore.New().Stores()
	for round := range 50 {
		stores.SigningKeys = memstore.New().Stores().SigningKeys
		var nodes [4]*tenant.Directory
		var tokens [4]string
		var ready, done sync.WaitGroup
		ready.Add(len(nodes))
		for i := range nodes {
			nodes[i], _ = newDirectory(t, func(cfg *tenant.Config) { cfg.Stores = stores })
			done.Go(func() {
				ready.Done()
				ready.Wait()
				tokens[i] = sign(t, nodes[i], "ES256")
			})
		}
		done.Wait()
		if n := len(records(t, stores)); n != 1 {
			t.Fatalf("round %d: %d keys, want 1", round, n)
		}
		for _, node := range nodes {
			for _, token := range tokens {
				if err := verify(t, node, token); err != nil {
					t.Fatalf("round %d: a token of one node does not hold on another: %v", round, err)
				}
			}
		}
	}
}

func TestRequestsThatNeedAKeyAtOnceMakeOne(t *testing.T) {
	counts, stores := count(memstore.New().Stores())
	d, _ := newDirectory(t, func(cfg *tenant.Config) { cfg.Stores = stores })
	var wait sync.WaitGroup
	for range 16 {
		wait.Go(func() { sign(t, d, "RS256") })
	}
	wait.Wait()
	if got := counts.keyWrites.Load(); got != 1 {
		t.Errorf("%d keys were made, want 1", got)
	}
}

// holdingKeys lets a test hold the first read of keys.
type holdingKeys struct {
	store.SigningKeyStore
	entered, leave chan struct{}
}

func (h *holdingKeys) SigningKeys(ctx context.Context, tenant string) ([]store.SigningKey, error) {
	h.entered <- struct{}{}
	<-h.leave
	return h.SigningKeyStore.SigningKeys(ctx, tenant)
}

func TestWaitingForAKeyEndsWithTheContext(t *testing.T) {
	hold := &holdingKeys{entered: make(chan struct{}), leave: make(chan struct{})}
	d, _ := newDirectory(t, func(cfg *tenant.Config) {
		hold.SigningKeyStore = cfg.Stores.SigningKeys
		cfg.Stores.SigningKeys = hold
	})
	tn := theTenant(t, d)
	var first sync.WaitGroup
	first.Go(func() { d.Verify(context.Background(), tn, "JWT", unknownKid("a")) })
	<-hold.entered
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.Sign(ctx, tn, "ES256", "JWT", []byte(`{}`)); !errors.Is(err, context.Canceled) {
		t.Errorf("Sign answered %v", err)
	}
	go func() { // the read because of the unknown kid
		<-hold.entered
	}()
	close(hold.leave)
	first.Wait()
}

func unknownKid(kid string) string {
	return forge(`{"alg":"ES256","typ":"JWT","kid":"`+kid+`"}`, `{}`, make([]byte, 64))
}

func forge(header, payload string, signature []byte) string {
	e := base64.RawURLEncoding
	return e.EncodeToString([]byte(header)) + "." + e.EncodeToString([]byte(payload)) + "." + e.EncodeToString(signature)
}

func TestUnknownKidsDoNotReadWithoutLimit(t *testing.T) {
	c := newClock()
	counts, stores := count(memstore.New().Stores())
	d, _ := newDirectory(t, func(cfg *tenant.Config) { cfg.Stores, cfg.Now = stores, c.Now })
	sign(t, d, "ES256")
	before := counts.keyReads.Load()
	// What does not even have the shape of a token of ours makes no read.
	for _, token := range []string{
		"", "..", "a.b.c", forge(`{"alg":"none"}`, `{}`, nil), forge(`{"alg":"none","typ":"JWT","kid":"y"}`, `{}`, nil),
		forge(`{"alg":"ES256","typ":"at+jwt","kid":"y"}`, `{}`, nil), unknownKid(`y\u0020`), unknownKid(""),
	} {
		verify(t, d, token)
	}
	if got := counts.keyReads.Load() - before; got != 0 {
		t.Errorf("garbage made %d reads, want 0", got)
	}
	for i := range 100 {
		if err := verify(t, d, unknownKid(strings.Repeat("k", i+1))); !errors.Is(err, tenant.ErrInvalidToken) {
			t.Fatal(err)
		}
	}
	if got := counts.keyReads.Load() - before; got != 1 {
		t.Errorf("100 unknown kids made %d reads, want 1", got)
	}
}

// The other node made a key after this one read them.
func TestAKeyOfAnotherNodeIsFoundAtOnce(t *testing.T) {
	c := newClock()
	a, stores := newDirectory(t, func(cfg *tenant.Config) { cfg.Now = c.Now })
	counts, counted := count(stores)
	b, _ := newDirectory(t, func(cfg *tenant.Config) { cfg.Stores, cfg.Now = counted, c.Now })
	if err := verify(t, b, sign(t, a, "ES256")); err != nil {
		t.Fatal(err)
	}
	if err := verify(t, b, sign(t, a, "RS256")); err != nil {
		t.Error(err)
	}
	if got := counts.keyReads.Load(); got != 2 {
		t.Errorf("%d reads, want 2", got)
	}
}

func TestKeysOfAnotherNodeAreSeenWithinTheBound(t *testing.T) {
	c := newClock()
	d, stores := newDirectory(t, func(cfg *tenant.Config) { cfg.Now, cfg.KeyStaleness = c.Now, time.Minute })
	first := jwks(t, d)
	for _, k := range records(t, stores) {
		if err := stores.SigningKeys.DeleteSigningKey(t.Context(), k.TenantID, k.ID); err != nil {
			t.Fatal(err)
		}
	}
	c.advance(time.Minute - time.Microsecond)
	if diff := cmp.Diff(kids(first), kids(jwks(t, d))); diff != "" {
		t.Errorf("read again before the bound:\n%s", diff)
	}
	c.advance(time.Microsecond)
	if diff := cmp.Diff(kids(first), kids(jwks(t, d))); diff == "" {
		t.Error("not read again at the bound")
	}
}

func TestARetiredKeyVerifiesUntilItExpires(t *testing.T) {
	c := newClock()
	d, stores := newDirectory(t, func(cfg *tenant.Config) { cfg.Now, cfg.KeyStaleness = c.Now, -1 })
	old := sign(t, d, "ES256")
	record := records(t, stores)[0]
	record.RetiredAt = c.Now().Add(time.Hour)
	record.ExpiresAt = c.Now().Add(2 * time.Hour)
	if err := stores.SigningKeys.UpdateSigningKey(t.Context(), record); err != nil {
		t.Fatal(err)
	}

	c.advance(time.Hour)
	fresh := sign(t, d, "ES256")
	if list := records(t, stores); len(list) != 2 || list[1].Generation != 2 {
		t.Fatalf("no new key after the old one retired: %+v", list)
	}
	if kid(t, fresh) == record.ID {
		t.Error("the retired key signed")
	}
	for _, token := range []string{old, fresh} {
		if err := verify(t, d, token); err != nil {
			t.Error(err)
		}
	}

	c.advance(time.Hour)
	if err := verify(t, d, old); !errors.Is(err, tenant.ErrInvalidToken) {
		t.Errorf("after the key expired: %v", err)
	}
	if slices.Contains(kids(jwks(t, d)), record.ID) {
		t.Error("the expired key is published")
	}
}

// Expiry counts at its moment, not at the next time the store is read.
func TestAnExpiredKeyIsNotKeptAlive(t *testing.T) {
	c := newClock()
	d, stores := newDirectory(t, func(cfg *tenant.Config) { cfg.Now, cfg.KeyStaleness = c.Now, time.Hour })
	token := sign(t, d, "ES256")
	record := records(t, stores)[0]
	record.ExpiresAt = c.Now().Add(time.Minute)
	if err := stores.SigningKeys.UpdateSigningKey(t.Context(), record); err != nil {
		t.Fatal(err)
	}
	other, _ := newDirectory(t, func(cfg *tenant.Config) { cfg.Stores, cfg.Now, cfg.KeyStaleness = stores, c.Now, time.Hour })
	if err := verify(t, other, token); err != nil || !slices.Contains(kids(jwks(t, other)), record.ID) {
		t.Fatal(err)
	}
	c.advance(time.Minute)
	if slices.Contains(kids(jwks(t, other)), record.ID) {
		t.Error("published after expiry")
	}
	if err := verify(t, other, token); !errors.Is(err, tenant.ErrInvalidToken) {
		t.Errorf("after expiry: %v", err)
	}
}

func TestTheNewestActiveKeySigns(t *testing.T) {
	c := newClock()
	d, stores := newDirectory(t, func(cfg *tenant.Config) { cfg.Now, cfg.KeyStaleness = c.Now, -1 })
	first := kid(t, sign(t, d, "ES256"))

	// The next key is published before it signs.
	scratch, other := newDirectory(t, nil)
	sign(t, scratch, "ES256")
	next := records(t, other)[0]
	next.Generation, next.ActiveAt = 2, c.Now().Add(time.Hour)
	if err := stores.SigningKeys.CreateSigningKey(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	if got := kid(t, sign(t, d, "ES256")); got != first {
		t.Error("a key signed before it was active")
	}
	if len(jwks(t, d).Keys) != 4 { // with that of the other algorithm, and the one to encrypt to
		t.Error("the next key is not published")
	}
	c.advance(time.Hour)
	if got := kid(t, sign(t, d, "ES256")); got != next.ID {
		t.Error("the next key does not sign although it is active")
	}
}

// The clock of the node that made the first key is ahead. Making another one on
// every such node would leave the tenant with a heap of keys.
func TestAKeyFromTheNearFutureIsUsed(t *testing.T) {
	c := newClock()
	d, stores := newDirectory(t, func(cfg *tenant.Config) { cfg.Now = c.Now })
	sign(t, d, "ES256")
	behind := newClock()
	behind.advance(-time.Minute)
	other, _ := newDirectory(t, func(cfg *tenant.Config) { cfg.Stores, cfg.Now = stores, behind.Now })
	if err := verify(t, other, sign(t, other, "ES256")); err != nil {
		t.Error(err)
	}
	if n := len(records(t, stores)); n != 1 {
		t.Errorf("%d keys, want 1", n)
	}
}

func TestABadKeyRecordIsLeftOut(t *testing.T) {
	c := newClock()
	d, stores := newDirectory(t, func(cfg *tenant.Config) { cfg.Now = c.Now })
	want := kids(jwks(t, d))
	good := records(t, stores)
	for i, record := range []store.SigningKey{
		{ID: "not-json", Algorithm: "ES256", Public: json.RawMessage(`{`)},
		{ID: "symmetric", Algorithm: "HS256", Public: json.RawMessage(`{"kty":"oct","k":"c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"}`)},
		{ID: "wrong-alg", Algorithm: "RS256", Public: good[0].Public},
		{ID: "other-wrong-alg", Algorithm: "ES256", Public: good[1].Public},
		{ID: `quo"te`, Algorithm: "ES256", Public: good[0].Public},
	} {
		record.TenantID, record.Generation = tenant.DefaultID, i+2
		if err := stores.SigningKeys.CreateSigningKey(t.Context(), record); err != nil {
			t.Fatal(err)
		}
	}
	c.advance(time.Minute)
	if diff := cmp.Diff(want, kids(jwks(t, d))); diff != "" {
		t.Errorf("key set (-want +got):\n%s", diff)
	}
}
