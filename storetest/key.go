package storetest

import (
	"context"
	"fmt"
	"hash/fnv"
	"testing"
	"time"

	"github.com/opkit/opkit/store"
)

// RunSigningKeys checks a [store.SigningKeyStore].
func RunSigningKeys(t *testing.T, newStore func(t *testing.T) store.SigningKeyStore, opts *Options[store.SigningKeyStore]) {
	runAll(t, signingKeyChecks(), newStore, opts)
}

func signingKeyChecks() []check[store.SigningKeyStore] {
	return append(signingKeys.common(),
		check[store.SigningKeyStore]{
			name: "SigningKeys-order", rule: ruleMethod,
			explanation: "SigningKeys returns all keys of the tenant by algorithm and then by generation as a number.",
			run:         checkSigningKeyOrder,
		},
		check[store.SigningKeyStore]{
			name: "SigningKeys-expired", rule: ruleMethod,
			explanation: "SigningKeys returns keys that are retired and expired: deleting them is the provider's decision.",
			run: func(ctx context.Context, s store.SigningKeyStore, e *env[store.SigningKeyStore]) {
				for i, era := range eras {
					k := signingKeys.record("t", fmt.Sprint(i))
					k.CreatedAt, k.ActiveAt, k.RetiredAt, k.ExpiresAt = era, era, era, era
					signingKeys.expect(ctx, e, s, signingKeys.put(ctx, e, s, k), "t", fmt.Sprint(i))
				}
			},
		},
	)
}

var signingKeys = kind[store.SigningKeyStore, store.SigningKey]{
	noun: "signing key",
	identify: func(k *store.SigningKey, tenant, id string) {
		k.TenantID, k.ID, k.Algorithm, k.Generation = tenant, id, "ES256", generationOf(id)
	},
	alter:   func(k *store.SigningKey) { k.Algorithm = "RS256" },
	listed:  func(k store.SigningKey) string { return k.ID },
	version: func(k *store.SigningKey) *int64 { return &k.Version },
	create: func(ctx context.Context, s store.SigningKeyStore, k store.SigningKey, _ time.Time) error {
		return s.CreateSigningKey(ctx, k)
	},
	taken: store.ErrExists,
	get: func(ctx context.Context, s store.SigningKeyStore, tenant, id string, _ time.Time) (store.SigningKey, error) {
		keys, err := s.SigningKeys(ctx, tenant)
		if err != nil {
			return store.SigningKey{}, err
		}
		for _, k := range keys {
			if k.ID == id {
				return k, nil
			}
		}
		return store.SigningKey{}, store.ErrNotFound
	},
	update: func(ctx context.Context, s store.SigningKeyStore, k store.SigningKey, _ time.Time) error {
		return s.UpdateSigningKey(ctx, k)
	},
	remove: func(ctx context.Context, s store.SigningKeyStore, tenant, id string) error {
		return s.DeleteSigningKey(ctx, tenant, id)
	},
	uniques: []unique[store.SigningKey]{
		{name: "generation", set: func(k *store.SigningKey, v string) { k.Algorithm, k.Generation = "RS256", generationOf(v) }},
	},
	calls: func(s store.SigningKeyStore, k store.SigningKey) []call {
		return []call{
			{"CreateSigningKey", func(ctx context.Context) error { return s.CreateSigningKey(ctx, k) }},
			{"SigningKeys", func(ctx context.Context) error { _, err := s.SigningKeys(ctx, k.TenantID); return err }},
			{"UpdateSigningKey", func(ctx context.Context) error { return s.UpdateSigningKey(ctx, k) }},
			{"DeleteSigningKey", func(ctx context.Context) error { return s.DeleteSigningKey(ctx, k.TenantID, k.ID) }},
		}
	},
}

// generationOf returns a generation from 1 that stands for s.
func generationOf(s string) int {
	h := fnv.New32a()
	h.Write([]byte(s))
	return int(h.Sum32()>>2) + 1
}

func checkSigningKeyOrder(ctx context.Context, s store.SigningKeyStore, e *env[store.SigningKeyStore]) {
	var want []store.SigningKey
	for _, algorithm := range []string{"ES256", "PS256", "RS256"} {
		for _, generation := range []int{1, 2, 9, 10, 100} {
			// The identifiers' order is not that of the keys.
			k := signingKeys.record("t", fmt.Sprint(1000-generation, algorithm))
			k.Algorithm, k.Generation, k.Version = algorithm, generation, 1
			want = append(want, k)
		}
	}
	for i := range want {
		signingKeys.put(ctx, e, s, want[(i*7)%len(want)])
	}
	signingKeys.put(ctx, e, s, signingKeys.record("other", "a"))
	got, err := s.SigningKeys(ctx, "t")
	e.ok(err, "SigningKeys")
	e.same(want, got, "SigningKeys")
	got, err = s.SigningKeys(ctx, "none")
	e.ok(err, "SigningKeys of a tenant without any")
	e.same([]store.SigningKey(nil), got, "SigningKeys of a tenant without any")
}
