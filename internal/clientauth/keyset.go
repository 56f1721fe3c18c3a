package clientauth

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"unicode"

	"github.com/go-jose/go-jose/v4"
	josejson "github.com/go-jose/go-jose/v4/json"
)

// This file reads JWK sets (RFC 7517) that applications publish or register, by
// one set of rules.

const (
	maxKeys    = 20
	maxKeyText = 256
	minRSABits = 2048 // RFC 7518 §3.3
	maxRSABits = 4096
)

// ParseKeySet returns the public keys of a JWK set. Keys of types that are not
// supported are left out (RFC 7517 §5); a set without any other, or with a key
// that is not valid, is refused as a whole. The error continues a sentence about
// the set. The caller has bounded its length.
func ParseKeySet(set []byte) ([]jose.JSONWebKey, error) {
	var document struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if josejson.Unmarshal(set, &document) != nil {
		return nil, errors.New("is not a JSON Web Key Set")
	}
	if len(document.Keys) > maxKeys {
		return nil, errors.New("has more than 20 keys")
	}
	var keys []jose.JSONWebKey
	for _, raw := range document.Keys {
		if private, err := hasPrivateParts(raw); err != nil {
			return nil, errors.New("has a key that is not a JSON Web Key")
		} else if private {
			return nil, errors.New("has private or symmetric key material; register public keys only, and replace this one")
		}
		var key jose.JSONWebKey
		if err := key.UnmarshalJSON(raw); errors.Is(err, jose.ErrUnsupportedKeyType) {
			continue
		} else if err != nil || !key.IsPublic() || !key.Valid() {
			return nil, errors.New("has a key that is not valid")
		}
		if k, ok := key.Key.(*rsa.PublicKey); ok {
			if k.N.BitLen() < minRSABits || k.N.BitLen() > maxRSABits {
				return nil, errors.New("has an RSA key of less than 2048 or more than 4096 bits")
			}
			// A large exponent makes each verification many times dearer.
			if k.E != 3 && k.E != 65537 {
				return nil, errors.New("has an RSA key whose exponent is neither 3 nor 65537")
			}
		}
		if !plainText(key.KeyID) || !plainText(key.Algorithm) || !plainText(key.Use) {
			return nil, errors.New("has a kid, alg or use that is too long or not plain text")
		}
		key.CertificatesURL = nil // never fetched
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.New("has no public key of a supported type")
	}
	return keys, nil
}

// plainText reports whether s is short and each of its characters shows.
func plainText(s string) bool {
	return len(s) <= maxKeyText && (s == "" || strings.TrimSpace(s) != "") &&
		!strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar })
}

// hasPrivateParts reports whether a JWK carries members of private or symmetric
// keys (RFC 7518 §6, RFC 8037 §2), whatever its type claims to be.
func hasPrivateParts(raw json.RawMessage) (bool, error) {
	var members map[string]json.RawMessage
	if err := josejson.Unmarshal(raw, &members); err != nil {
		return false, err
	}
	for _, name := range [...]string{"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"} {
		if _, ok := members[name]; ok {
			return true, nil
		}
	}
	return string(members["kty"]) == `"oct"`, nil
}

// SigningAlgorithmsOf returns the algorithms of signatures that a key can verify,
// by its type and by its own restrictions. Symmetric and private keys can verify
// none.
func SigningAlgorithmsOf(key *jose.JSONWebKey) []jose.SignatureAlgorithm {
	if key.Use != "" && key.Use != "sig" {
		return nil
	}
	var algorithms []jose.SignatureAlgorithm
	switch k := key.Key.(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() >= minRSABits {
			algorithms = []jose.SignatureAlgorithm{jose.RS256, jose.PS256}
		}
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() {
			algorithms = []jose.SignatureAlgorithm{jose.ES256}
		}
	case ed25519.PublicKey:
		algorithms = []jose.SignatureAlgorithm{jose.EdDSA}
	}
	return slices.DeleteFunc(algorithms, func(alg jose.SignatureAlgorithm) bool { return key.Algorithm != "" && key.Algorithm != string(alg) })
}
