package memstore

import (
	"cmp"
	"context"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/opkit/opkit/store"
)

var signingKeySchema = schema[key, store.SigningKey]{
	key:     func(k *store.SigningKey) key { return key{k.TenantID, k.ID} },
	version: func(k *store.SigningKey) *int64 { return &k.Version },
	unique: func(k *store.SigningKey) []claim {
		return []claim{{tenant: k.TenantID, a: k.Algorithm, b: strconv.Itoa(k.Generation)}}
	},
	orders: []order[store.SigningKey]{{
		group:  func(k *store.SigningKey) group { return group{tenant: k.TenantID} },
		hint:   func(*store.SigningKey) uint64 { return 0 }, // there are too few to matter
		within: compareSigningKeys,
	}},
}

// compareSigningKeys orders by algorithm and generation, which together are
// unique in a tenant.
func compareSigningKeys(a, b *store.SigningKey) int {
	if c := strings.Compare(a.Algorithm, b.Algorithm); c != 0 {
		return c
	}
	return cmp.Compare(a.Generation, b.Generation)
}

func storedSigningKey(k store.SigningKey) *store.SigningKey {
	k = k.Clone()
	k.CreatedAt = utc(k.CreatedAt)
	k.ActiveAt = utc(k.ActiveAt)
	k.RetiredAt = utc(k.RetiredAt)
	k.ExpiresAt = utc(k.ExpiresAt)
	k.RevokedAt = utc(k.RevokedAt)
	return &k
}

// CreateSigningKey implements [store.SigningKeyStore].
func (s *Store) CreateSigningKey(ctx context.Context, k store.SigningKey) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.signingKeys.create(storedSigningKey(k))
}

// SigningKeys implements [store.SigningKeyStore].
func (s *Store) SigningKeys(ctx context.Context, tenant string) ([]store.SigningKey, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	all := func(*store.SigningKey) bool { return true }
	return clones(s.signingKeys.list(0, group{tenant: tenant}, all, nil, math.MaxInt)), nil
}

// UpdateSigningKey implements [store.SigningKeyStore].
func (s *Store) UpdateSigningKey(ctx context.Context, k store.SigningKey) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.signingKeys.update(storedSigningKey(k), time.Time{})
}

// DeleteSigningKey implements [store.SigningKeyStore].
func (s *Store) DeleteSigningKey(ctx context.Context, tenant, id string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.signingKeys.remove(key{tenant, id})
	return nil
}
