package clientauth

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/go-jose/go-jose/v4"
	josejson "github.com/go-jose/go-jose/v4/json"
)

// This file verifies what clients sign with the keys that they registered:
// assertions here, request objects (RFC 9101) at the authorization endpoint.

const (
	maxKeys    = 20
	minRSABits = 2048
)

// PublicKeyAlgorithms are the algorithms of signatures that a registered public
// key can verify.
var PublicKeyAlgorithms = []string{"ES256", "RS256", "PS256", "EdDSA"}

// Reasons why a signature is not accepted.
var (
	// ErrAlgorithm: the value is not a compact JWS with an algorithm that the client
	// registered.
	ErrAlgorithm = errors.New("clientauth: not signed with a registered algorithm")
	// ErrCritical: the header has critical extensions, and none is understood.
	ErrCritical = errors.New("clientauth: critical header parameters")
	// ErrSignature: no registered key verifies the signature.
	ErrSignature = errors.New("clientauth: no registered key verifies the signature")

	errTooManyKeys = fmt.Errorf("clientauth: registered jwks has more than %d keys", maxKeys)
)

// Key is a registered key with the algorithms that it may be used with.
type Key struct {
	id         string
	material   any
	algorithms []jose.SignatureAlgorithm
}

// fits reports whether a header may choose the key. A header without kid leaves
// the choice open.
func (k *Key) fits(id string, algorithm jose.SignatureAlgorithm) bool {
	return (id == "" || id == k.id) && slices.Contains(k.algorithms, algorithm)
}

// VerifySignature returns the payload of a compact JWS that one of keys signed.
// The caller has bounded its length. The header chooses among the keys and
// algorithms that the client registered; keys that it carries or points at are not
// looked at. The error is ErrAlgorithm, ErrCritical or ErrSignature.
func VerifySignature(compact string, keys []Key) ([]byte, error) {
	var algorithms []jose.SignatureAlgorithm
	for _, k := range keys {
		algorithms = append(algorithms, k.algorithms...)
	}
	parsed, err := jose.ParseSignedCompact(compact, algorithms)
	if err != nil {
		return nil, ErrAlgorithm
	}
	header := parsed.Signatures[0].Protected
	// RFC 7515 §4.1.11: extensions that are not understood. None is.
	if _, critical := header.ExtraHeaders["crit"]; critical {
		return nil, ErrCritical
	}
	for _, k := range keys {
		if !k.fits(header.KeyID, jose.SignatureAlgorithm(header.Algorithm)) {
			continue
		}
		if payload, err := parsed.Verify(k.material); err == nil {
			return payload, nil
		}
	}
	return nil, ErrSignature
}

// PublicKeys returns the keys of a JWK set that can verify signatures made with
// the registered algorithm, or with any that fits the key if none is registered.
// Keys of other kinds and for other uses are skipped: a set serves more than one
// purpose.
func PublicKeys(set json.RawMessage, registered string) ([]Key, error) {
	var document struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := josejson.Unmarshal(set, &document); err != nil {
		return nil, fmt.Errorf("clientauth: registered jwks: %w", err)
	}
	if len(document.Keys) > maxKeys {
		return nil, errTooManyKeys
	}
	var keys []Key
	for _, raw := range document.Keys {
		var jwk jose.JSONWebKey
		if jwk.UnmarshalJSON(raw) != nil || jwk.Use != "" && jwk.Use != "sig" {
			continue
		}
		algorithms := algorithmsOf(jwk.Key)
		for _, restriction := range []string{registered, jwk.Algorithm} {
			if restriction != "" {
				algorithms = slices.DeleteFunc(algorithms, func(alg jose.SignatureAlgorithm) bool { return string(alg) != restriction })
			}
		}
		if len(algorithms) > 0 {
			keys = append(keys, Key{id: jwk.KeyID, material: jwk.Key, algorithms: algorithms})
		}
	}
	return keys, nil
}

// algorithmsOf returns the algorithms that a public key fits. Symmetric and
// private keys fit none.
func algorithmsOf(material any) []jose.SignatureAlgorithm {
	switch k := material.(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() >= minRSABits {
			return []jose.SignatureAlgorithm{jose.RS256, jose.PS256}
		}
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() {
			return []jose.SignatureAlgorithm{jose.ES256}
		}
	case ed25519.PublicKey:
		return []jose.SignatureAlgorithm{jose.EdDSA}
	}
	return nil
}
