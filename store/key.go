package store

import (
	"context"
	"encoding/json"
	"slices"
	"time"
)

// SigningKey is a key pair of a tenant. Private is sealed or, for a key that
// lives elsewhere (KMS, HSM), a sealed reference to it.
type SigningKey struct {
	TenantID string `json:"tenant_id"`
	// ID is the kid, unique in the tenant.
	ID string `json:"kid"`
	// Algorithm is a JWA name: "RS256", "ES256", ...
	Algorithm string `json:"alg"`
	// Generation counts the keys of one algorithm from 1. It is unique per tenant
	// and algorithm, which is how nodes that create a key at the same time end
	// with one.
	Generation int `json:"generation"`
	// Public is the public JWK as it is published.
	Public  json.RawMessage `json:"public"`
	Private Sealed          `json:"private"`

	CreatedAt time.Time `json:"created_at"`
	// ActiveAt is when the key may begin to sign; it is published before.
	ActiveAt time.Time `json:"active_at"`
	// RetiredAt is when the key stopped signing; it stays published until
	// ExpiresAt. Zero: when a newer key of its algorithm becomes active.
	RetiredAt time.Time `json:"retired_at,omitzero"`
	// ExpiresAt is when the key is no longer published. Zero: a grace period after
	// it stopped signing.
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	// RevokedAt is when somebody took the key out of use, for signing and for
	// verifying. Zero: nobody did.
	RevokedAt time.Time `json:"revoked_at,omitzero"`
	Version   int64     `json:"version"`
}

// Clone returns a copy that shares nothing with k.
func (k SigningKey) Clone() SigningKey {
	k.Public = slices.Clone(k.Public)
	k.Private = slices.Clone(k.Private)
	return k
}

// SigningKeyStore keeps signing keys. A tenant has a handful.
type SigningKeyStore interface {
	// CreateSigningKey stores k. ErrExists: the ID, or the generation of that
	// algorithm, is taken.
	CreateSigningKey(ctx context.Context, k SigningKey) error
	// SigningKeys returns all keys of the tenant ordered by algorithm and
	// generation, expired ones too: deleting them is the provider's decision.
	SigningKeys(ctx context.Context, tenant string) ([]SigningKey, error)
	// UpdateSigningKey replaces the key by compare-and-swap.
	UpdateSigningKey(ctx context.Context, k SigningKey) error
	// DeleteSigningKey removes the key.
	DeleteSigningKey(ctx context.Context, tenant, id string) error
}
