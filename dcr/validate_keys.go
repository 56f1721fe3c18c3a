package dcr

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"slices"

	"github.com/go-jose/go-jose/v4"
	josejson "github.com/go-jose/go-jose/v4/json"

	"github.com/opkit/opkit/internal/clientauth"
)

const (
	maxJWKS    = 16 << 10
	maxKeys    = 20
	minRSABits = 2048 // RFC 7518 §3.3
	maxRSABits = 4096
)

// checkKeys validates jwks. What is stored is written anew from the keys that
// were understood, so that nothing else in it survives.
func (m *metadata) checkKeys() error {
	x := &m.extra
	var algorithms []string
	if x.JWKS != nil {
		if x.JWKSURI != "" {
			// RFC 7591 §2: not both.
			return invalid("jwks", "jwks and jwks_uri exclude each other")
		}
		var err error
		if x.JWKS, algorithms, err = publicKeys(x.JWKS); err != nil {
			return err
		}
	}
	// Signed request objects are verified with keys that are here.
	switch alg := x.RequestObjectSigningAlg; {
	case alg != "" && alg != algNone && !slices.Contains(algorithms, alg):
		return invalid("jwks", "jwks has no key for the request_object_signing_alg %s", quote(alg))
	case x.RequireSignedRequestObject && len(algorithms) == 0:
		return invalid("jwks", "jwks has no key that can sign, which require_signed_request_object needs")
	}
	if m.client.TokenEndpointAuthMethod != clientauth.MethodPrivateKeyJWT {
		return nil
	}
	if x.JWKS == nil {
		return invalid("jwks", "jwks is required for token_endpoint_auth_method private_key_jwt")
	}
	if alg := x.TokenEndpointAuthSigningAlg; alg != "" {
		if !slices.Contains(algorithms, alg) {
			return invalid("jwks", "jwks has no key for the token_endpoint_auth_signing_alg %s", quote(alg))
		}
	} else if len(algorithms) == 0 {
		return invalid("jwks", "jwks has no key that can sign for token_endpoint_auth_method private_key_jwt")
	}
	return nil
}

// publicKeys returns the JWK set of the public keys in set and the algorithms
// that they can sign with.
func publicKeys(set json.RawMessage) (json.RawMessage, []string, error) {
	fail := func(text string) (json.RawMessage, []string, error) {
		return nil, nil, invalid("jwks", "jwks %s", text)
	}
	if len(set) > maxJWKS {
		return fail("is larger than 16 KiB")
	}
	var document struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if josejson.Unmarshal(set, &document) != nil {
		return fail("is not a JSON Web Key Set")
	}
	if len(document.Keys) > maxKeys {
		return fail("has more than 20 keys")
	}
	var keys []jose.JSONWebKey
	var algorithms []string
	for _, raw := range document.Keys {
		if private, err := hasPrivateParts(raw); err != nil {
			return fail("has a key that is not a JSON Web Key")
		} else if private {
			return fail("has private or symmetric key material; register public keys only, and replace this one")
		}
		var key jose.JSONWebKey
		if err := key.UnmarshalJSON(raw); errors.Is(err, jose.ErrUnsupportedKeyType) {
			continue // RFC 7517 §5: a key type that is not understood is ignored
		} else if err != nil || !key.IsPublic() || !key.Valid() {
			return fail("has a key that is not valid")
		}
		if k, ok := key.Key.(*rsa.PublicKey); ok {
			if k.N.BitLen() < minRSABits || k.N.BitLen() > maxRSABits {
				return fail("has an RSA key of less than 2048 or more than 4096 bits")
			}
			// A large exponent makes each verification many times dearer.
			if k.E != 3 && k.E != 65537 {
				return fail("has an RSA key whose exponent is neither 3 nor 65537")
			}
		}
		for _, text := range []string{key.KeyID, key.Algorithm, key.Use} {
			if checkText("jwks", text) != nil {
				return fail("has a kid, alg or use that is too long or not plain text")
			}
		}
		key.CertificatesURL = nil // never fetched
		keys = append(keys, key)
		algorithms = append(algorithms, signingAlgorithms(&key)...)
	}
	if len(keys) == 0 {
		return fail("has no public key of a supported type")
	}
	out, err := josejson.Marshal(jose.JSONWebKeySet{Keys: keys})
	if err != nil {
		return fail("has a key that is not valid")
	}
	return out, algorithms, nil
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

// signingAlgorithms returns the algorithms of client assertions that a key can
// verify, by its type and by its own restrictions.
func signingAlgorithms(key *jose.JSONWebKey) []string {
	if key.Use != "" && key.Use != "sig" {
		return nil
	}
	var algorithms []string
	switch k := key.Key.(type) {
	case *rsa.PublicKey:
		algorithms = []string{"RS256", "PS256"}
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() {
			algorithms = []string{"ES256"}
		}
	case ed25519.PublicKey:
		algorithms = []string{"EdDSA"}
	}
	return slices.DeleteFunc(algorithms, func(alg string) bool { return key.Algorithm != "" && key.Algorithm != alg })
}
