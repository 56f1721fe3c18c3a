package tenant_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
	"github.com/opkit/opkit/tenant"
)

var anotherSecret = []byte("another secret of 32 bytes length")

func withSecrets(secrets ...[]byte) func(*tenant.Config) {
	return func(cfg *tenant.Config) { cfg.Secrets = secrets }
}

func TestCheckSecrets(t *testing.T) {
	c, stores := newClock(), memstore.New().Stores()
	check := func(what string, want string, secrets ...[]byte) {
		t.Helper()
		err := node(t, stores, c, withSecrets(secrets...)).CheckSecrets(t.Context())
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", what, err, want)
		}
	}
	check("nothing is kept yet", "", secret)
	before := node(t, stores, c, nil)
	sign(t, before, "ES256")
	check("the secret", "", secret)
	check("a wrong one", "sealed with another secret", anotherSecret)
	check("a new one, with the former", "", anotherSecret, secret)

	// A key that does not sign any more is not needed.
	if _, err := before.RevokeSigningKey(t.Context(), tenant.DefaultID, keysOf(t, stores, "ES256")[0].ID); err != nil {
		t.Fatal(err)
	}
	for _, k := range records(t, stores) {
		if k.RevokedAt.IsZero() {
			if err := stores.SigningKeys.DeleteSigningKey(t.Context(), k.TenantID, k.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	check("only a revoked key is left", "", anotherSecret)
	sign(t, node(t, stores, c, withSecrets(anotherSecret)), "ES256")
	check("the key that signs is of the new secret", "", anotherSecret)
	check("the former secret alone", "sealed with another secret", secret)

	salted, err := stores.Tenants.Tenant(t.Context(), tenant.DefaultID)
	if err != nil {
		t.Fatal(err)
	}
	salted.PairwiseSalt = []byte("sealed by nobody")
	if err := stores.Tenants.UpdateTenant(t.Context(), salted); err != nil {
		t.Fatal(err)
	}
	check("a salt that does not open", "pairwise salt", anotherSecret)

	broken := errors.New("broken")
	stores.Tenants = failingTenants{stores.Tenants, broken}
	if err := node(t, stores, c, nil).CheckSecrets(t.Context()); !errors.Is(err, broken) {
		t.Errorf("a store that does not answer: %v", err)
	}
}

// The tenants that are looked at include those whose keys this process never used.
func TestCheckSecretsLooksAtEveryTenant(t *testing.T) {
	c, stores := newClock(), memstore.New().Stores()
	byPath := func(cfg *tenant.Config) { cfg.Issuer, cfg.Resolver = "", tenant.ByPath("/t") }
	d := node(t, stores, c, byPath)
	for _, id := range []string{"ta", "tb"} {
		if _, err := d.CreateTenant(t.Context(), store.Tenant{ID: id, Issuer: "https://example.com/t/" + id}); err != nil {
			t.Fatal(err)
		}
	}
	k := keyOf(t, "tb", c)
	if err := stores.SigningKeys.CreateSigningKey(t.Context(), k); err != nil {
		t.Fatal(err)
	}
	if err := d.CheckSecrets(t.Context()); err != nil {
		t.Error(err)
	}
	wrong := node(t, stores, c, func(cfg *tenant.Config) { byPath(cfg); cfg.Secrets = [][]byte{anotherSecret} })
	if err := wrong.CheckSecrets(t.Context()); err == nil || !strings.Contains(err.Error(), `"tb"`) || !strings.Contains(err.Error(), k.ID) {
		t.Errorf("error is %v", err)
	}
}

// A node with a wrong secret does not make the key that all nodes are to sign with next.
func TestAWrongSecretMakesNoNextKey(t *testing.T) {
	c, stores := newClock(), memstore.New().Stores()
	sign(t, node(t, stores, c, nil), "ES256")
	c.advance(90 * day)
	maintain(t, node(t, stores, c, withSecrets(anotherSecret)))
	if list := keysOf(t, stores, "ES256"); len(list) != 1 {
		t.Errorf("%d keys, want the one there was", len(list))
	}
	maintain(t, node(t, stores, c, nil))
	if list := keysOf(t, stores, "ES256"); len(list) != 2 {
		t.Errorf("%d keys, want the next one too", len(list))
	}
}
