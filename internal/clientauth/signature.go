package clientauth

import (
	"errors"
	"slices"

	"github.com/go-jose/go-jose/v4"
)

// This file verifies what clients sign: assertions here, request objects
// (RFC 9101) at the authorization endpoint.

// PublicKeyAlgorithms are the algorithms of signatures that a client's public key
// can verify.
var PublicKeyAlgorithms = []string{"ES256", "RS256", "PS256", "EdDSA"}

// Reasons why a signature is not accepted.
var (
	// ErrAlgorithm: the value is not a compact JWS with an algorithm that the client
	// registered.
	ErrAlgorithm = errors.New("clientauth: not signed with a registered algorithm")
	// ErrCritical: the header has critical extensions, and none is understood.
	ErrCritical = errors.New("clientauth: critical header parameters")
	// ErrSignature: none of the client's keys verifies the signature.
	ErrSignature = errors.New("clientauth: no key of the client verifies the signature")
)

// verificationKey is a key with the algorithms that it may be used with.
type verificationKey struct {
	id         string
	material   any
	algorithms []jose.SignatureAlgorithm
}

// fits reports whether a header may choose the key. A header without kid leaves
// the choice open.
func (k *verificationKey) fits(id string, algorithm jose.SignatureAlgorithm) bool {
	return (id == "" || id == k.id) && slices.Contains(k.algorithms, algorithm)
}

// signed is a compact JWS whose signature is still to be verified.
type signed struct {
	jws       *jose.JSONWebSignature
	kid       string
	algorithm jose.SignatureAlgorithm
}

// parseSigned parses a compact JWS with one of algorithms. The caller has bounded
// its length. Keys that the header carries or points at are not looked at. The
// error is ErrAlgorithm or ErrCritical.
func parseSigned(compact string, algorithms []jose.SignatureAlgorithm) (signed, error) {
	parsed, err := jose.ParseSignedCompact(compact, algorithms)
	if err != nil {
		return signed{}, ErrAlgorithm
	}
	header := parsed.Signatures[0].Protected
	// RFC 7515 §4.1.11: extensions that are not understood. None is.
	if _, critical := header.ExtraHeaders["crit"]; critical {
		return signed{}, ErrCritical
	}
	return signed{parsed, header.KeyID, jose.SignatureAlgorithm(header.Algorithm)}, nil
}

// verify returns the payload if one of keys made the signature. The header chooses
// among the keys and their algorithms and adds none. The error is ErrSignature.
func (s *signed) verify(keys []verificationKey) ([]byte, error) {
	for i := range keys {
		if !keys[i].fits(s.kid, s.algorithm) {
			continue
		}
		if payload, err := s.jws.Verify(keys[i].material); err == nil {
			return payload, nil
		}
	}
	return nil, ErrSignature
}
