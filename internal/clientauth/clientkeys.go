package clientauth

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	josejson "github.com/go-jose/go-jose/v4/json"

	"github.com/opkit/opkit/internal/httpx"
	"github.com/opkit/opkit/store"
)

// Reasons why a client has no keys.
var (
	// ErrNoKeys: the client registered no keys, or none of those that it registered
	// inline is fit for the purpose.
	ErrNoKeys = errors.New("clientauth: the client registered no key that can be used")
	// ErrKeysUnavailable: the client's jwks_uri gives no key set.
	ErrKeysUnavailable = errors.New("clientauth: the keys at the client's jwks_uri cannot be fetched")
)

// KeySets gives the public keys of clients: those that they registered (jwks), or
// those that they publish (jwks_uri), which are fetched and kept. It is safe for
// concurrent use, and must not be copied. The zero value, and nil, knows registered
// keys only.
//
// Anybody can name a client and a key that does not exist, so that what strangers
// send decides little: an address is asked at most once in 30 seconds, whatever the
// outcome was, by one request while the others wait, and never for a value with an
// algorithm that the client did not register.
type KeySets struct {
	// Outbound fetches. Nil: keys at a jwks_uri are not available.
	Outbound *httpx.Outbound
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
	// Logger learns why keys could not be fetched. Nil: nobody does.
	Logger *slog.Logger

	mu      sync.Mutex
	fetched map[address]*published
}

// Verify returns the payload of a compact JWS that the client signed. registered is
// the algorithm that the client registered for the purpose, empty if it leaves that
// open. The caller has bounded the length of the value.
//
// The error is ErrAlgorithm, ErrCritical, ErrSignature, ErrNoKeys, or that of ctx,
// or wraps ErrKeysUnavailable.
func (k *KeySets) Verify(ctx context.Context, client *store.Client, compact, registered string) ([]byte, error) {
	s, err := parseSigned(compact, algorithmsFor(registered))
	if err != nil {
		return nil, err
	}
	extra := client.Metadata
	switch {
	case extra != nil && len(extra.JWKS) > 0:
		keys, err := registeredKeys(extra.JWKS)
		if err != nil {
			return nil, err
		}
		return s.verify(verificationKeys(keys))
	case extra == nil || extra.JWKSURI == "":
		return nil, ErrNoKeys
	}
	return k.verifyAt(ctx, address{client.TenantID, extra.JWKSURI}, s)
}

// VerifyPublished returns the payload of a compact JWS that one of the keys at uri
// signed, with one of algorithms. It is for others than clients: what a tenant's own
// configuration names. The rules and the errors are those of [KeySets.Verify].
func (k *KeySets) VerifyPublished(ctx context.Context, tenant, uri, compact string, algorithms []jose.SignatureAlgorithm) ([]byte, error) {
	for _, algorithm := range algorithms {
		if !slices.Contains(publicKeyAlgorithms, algorithm) {
			return nil, ErrAlgorithm
		}
	}
	s, err := parseSigned(compact, algorithms)
	if err != nil {
		return nil, err
	}
	return k.verifyAt(ctx, address{tenant, uri}, s)
}

// verifyAt verifies with the keys that are published at an address.
func (k *KeySets) verifyAt(ctx context.Context, at address, s signed) ([]byte, error) {
	set, err := k.keysAt(ctx, at, nil)
	if err != nil {
		return nil, err
	}
	payload, err := s.verify(verificationKeys(set.keys))
	if err == nil || s.kid != "" && set.has(s.kid) {
		return payload, err
	}
	// The client may have a new key: one with another name, or without any.
	newer, fetchErr := k.keysAt(ctx, at, set)
	if fetchErr != nil || newer == set {
		return nil, err
	}
	return s.verify(verificationKeys(newer.keys))
}

var publicKeyAlgorithms = []jose.SignatureAlgorithm{jose.ES256, jose.RS256, jose.PS256, jose.EdDSA}

// algorithmsFor returns the algorithms that a client's signature may have.
func algorithmsFor(registered string) []jose.SignatureAlgorithm {
	if registered == "" {
		return publicKeyAlgorithms
	}
	if i := slices.Index(publicKeyAlgorithms, jose.SignatureAlgorithm(registered)); i >= 0 {
		return publicKeyAlgorithms[i : i+1]
	}
	return nil
}

// verificationKeys returns those of keys that can verify signatures. Keys of other
// kinds and for other uses are skipped: a set serves more than one purpose.
func verificationKeys(keys []jose.JSONWebKey) []verificationKey {
	out := make([]verificationKey, 0, len(keys))
	for i := range keys {
		if algorithms := SigningAlgorithmsOf(&keys[i]); len(algorithms) > 0 {
			out = append(out, verificationKey{keys[i].KeyID, keys[i].Key, algorithms})
		}
	}
	return out
}

// registeredKeys returns the keys of a registered set, which was checked when it
// was registered: what cannot be read is skipped.
func registeredKeys(set json.RawMessage) ([]jose.JSONWebKey, error) {
	var document struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if josejson.Unmarshal(set, &document) != nil || len(document.Keys) > maxKeys {
		return nil, ErrNoKeys
	}
	keys := make([]jose.JSONWebKey, 0, len(document.Keys))
	for _, raw := range document.Keys {
		var key jose.JSONWebKey
		if key.UnmarshalJSON(raw) == nil && key.IsPublic() {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil, ErrNoKeys
	}
	return keys, nil
}
