package dcr

import (
	"encoding/json"
	"slices"

	"github.com/go-jose/go-jose/v4"
	josejson "github.com/go-jose/go-jose/v4/json"

	"github.com/opkit/opkit/internal/clientauth"
)

const maxJWKS = 16 << 10

// checkKeys validates jwks. What is stored is written anew from the keys that
// were understood, so that nothing else in it survives. Keys at a jwks_uri are
// fetched when they are needed: a registration makes this server ask nobody.
func (m *metadata) checkKeys() error {
	x := &m.extra
	var keys []jose.JSONWebKey
	if x.JWKS != nil {
		if x.JWKSURI != "" {
			// RFC 7591 §2: not both.
			return invalid("jwks", "jwks and jwks_uri exclude each other")
		}
		var err error
		if x.JWKS, keys, err = publicKeys(x.JWKS); err != nil {
			return err
		}
	}
	if x.JWKSURI != "" {
		return nil
	}
	var algorithms []jose.SignatureAlgorithm
	for i := range keys {
		algorithms = append(algorithms, clientauth.SigningAlgorithmsOf(&keys[i])...)
	}
	for _, e := range m.encrypted() {
		if *e.alg != "" && clientauth.EncryptionKey(keys, *e.alg) == nil {
			return invalid("jwks", "jwks has no key for the %s_alg %s", e.name, quote(*e.alg))
		}
	}
	// Signed request objects are verified with keys that are here.
	switch alg := x.RequestObjectSigningAlg; {
	case alg != "" && alg != algNone && !slices.Contains(algorithms, jose.SignatureAlgorithm(alg)):
		return invalid("jwks", "jwks has no key for the request_object_signing_alg %s", quote(alg))
	case x.RequireSignedRequestObject && len(algorithms) == 0:
		return invalid("jwks", "jwks has no key that can sign, which require_signed_request_object needs")
	}
	if m.client.TokenEndpointAuthMethod != clientauth.MethodPrivateKeyJWT {
		return nil
	}
	if x.JWKS == nil {
		return invalid("jwks", "jwks or jwks_uri is required for token_endpoint_auth_method private_key_jwt")
	}
	if alg := x.TokenEndpointAuthSigningAlg; alg != "" {
		if !slices.Contains(algorithms, jose.SignatureAlgorithm(alg)) {
			return invalid("jwks", "jwks has no key for the token_endpoint_auth_signing_alg %s", quote(alg))
		}
	} else if len(algorithms) == 0 {
		return invalid("jwks", "jwks has no key that can sign for token_endpoint_auth_method private_key_jwt")
	}
	return nil
}

// publicKeys returns the public keys in set, and the JWK set of them.
func publicKeys(set json.RawMessage) (json.RawMessage, []jose.JSONWebKey, error) {
	if len(set) > maxJWKS {
		return nil, nil, invalid("jwks", "jwks is larger than 16 KiB")
	}
	keys, err := clientauth.ParseKeySet(set)
	if err != nil {
		return nil, nil, invalid("jwks", "jwks %w", err)
	}
	out, err := josejson.Marshal(jose.JSONWebKeySet{Keys: keys})
	if err != nil {
		return nil, nil, invalid("jwks", "jwks has a key that is not valid")
	}
	return out, keys, nil
}
