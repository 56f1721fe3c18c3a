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

	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// SigningAlgorithms are the supported values of token_endpoint_auth_signing_alg,
// for metadata and registration. HS256 belongs to client_secret_jwt, the others
// to private_key_jwt.
var SigningAlgorithms = []string{"ES256", "RS256", "PS256", "EdDSA", "HS256"}

const (
	maxKeys    = 20
	minRSABits = 2048
)

// key is a registered key with the algorithms that it may be used with.
type key struct {
	id         string
	material   any
	algorithms []jose.SignatureAlgorithm
}

// fits reports whether a header may choose the key. A header without kid leaves
// the choice open.
func (k *key) fits(id string, algorithm jose.SignatureAlgorithm) bool {
	return (id == "" || id == k.id) && slices.Contains(k.algorithms, algorithm)
}

// registeredKeys returns the keys that may sign the client's assertions. Which
// algorithm goes with which key follows from the registration alone, so that a
// header can neither demand none nor turn a public key into an HMAC secret.
func (a *Authenticator) registeredKeys(t *tenant.Tenant, client *store.Client) ([]key, error) {
	extra := client.Extra()
	if client.TokenEndpointAuthMethod == MethodSecretJWT {
		return a.secretKey(t, client, extra.TokenEndpointAuthSigningAlg)
	}
	if len(extra.JWKS) == 0 {
		return nil, oauth.Errorf(oauth.CodeInvalidClient, "client authentication failed: the client registered no jwks")
	}
	keys, err := publicKeys(extra.JWKS, extra.TokenEndpointAuthSigningAlg)
	if err != nil {
		return nil, err
	}
	if len(keys) == 0 {
		return nil, oauth.Errorf(oauth.CodeInvalidClient, "client authentication failed: the client's jwks has no key that can verify an assertion")
	}
	return keys, nil
}

// secretKey returns the client's secret as an HMAC key.
func (a *Authenticator) secretKey(t *tenant.Tenant, client *store.Client, registered string) ([]key, error) {
	if registered != "" && registered != string(jose.HS256) {
		return nil, oauth.Errorf(oauth.CodeInvalidClient, "client authentication failed: the client's token_endpoint_auth_signing_alg is not supported for client_secret_jwt")
	}
	if a.Secrets == nil {
		return nil, errors.New("clientauth: Authenticator.Secrets is required for client_secret_jwt")
	}
	secret, err := a.Secrets.Open(client.SealedSecret, t.ID()+"/"+client.ID)
	if err != nil {
		return nil, fmt.Errorf("clientauth: the sealed secret of client %s: %w", client.ID, err)
	}
	return []key{{material: secret, algorithms: []jose.SignatureAlgorithm{jose.HS256}}}, nil
}

// publicKeys returns the keys of a JWK set that can verify signatures made with
// the registered algorithm, or with any that fits the key if none is registered.
// Keys of other kinds and for other uses are skipped: a set serves more than one
// purpose.
func publicKeys(set json.RawMessage, registered string) ([]key, error) {
	var document struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := josejson.Unmarshal(set, &document); err != nil {
		return nil, fmt.Errorf("clientauth: registered jwks: %w", err)
	}
	if len(document.Keys) > maxKeys {
		return nil, oauth.Errorf(oauth.CodeInvalidClient, "client authentication failed: the client's jwks has more than %d keys", maxKeys)
	}
	var keys []key
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
			keys = append(keys, key{id: jwk.KeyID, material: jwk.Key, algorithms: algorithms})
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
