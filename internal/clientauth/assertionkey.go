package clientauth

import (
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"

	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// SigningAlgorithms are the supported values of token_endpoint_auth_signing_alg,
// for metadata and registration. HS256 belongs to client_secret_jwt, the others
// to private_key_jwt.
var SigningAlgorithms = []string{"ES256", "RS256", "PS256", "EdDSA", "HS256"}

// registeredKeys returns the keys that may sign the client's assertions. Which
// algorithm goes with which key follows from the registration alone, so that a
// header can neither demand none nor turn a public key into an HMAC secret.
func (a *Authenticator) registeredKeys(t *tenant.Tenant, client *store.Client) ([]Key, error) {
	extra := client.Extra()
	if client.TokenEndpointAuthMethod == MethodSecretJWT {
		return a.secretKey(t, client, extra.TokenEndpointAuthSigningAlg)
	}
	if len(extra.JWKS) == 0 {
		return nil, oauth.Errorf(oauth.CodeInvalidClient, "client authentication failed: the client registered no jwks")
	}
	keys, err := PublicKeys(extra.JWKS, extra.TokenEndpointAuthSigningAlg)
	if errors.Is(err, errTooManyKeys) {
		return nil, oauth.Errorf(oauth.CodeInvalidClient, "client authentication failed: the client's jwks has more than %d keys", maxKeys)
	}
	if err != nil {
		return nil, err
	}
	if len(keys) == 0 {
		return nil, oauth.Errorf(oauth.CodeInvalidClient, "client authentication failed: the client's jwks has no key that can verify an assertion")
	}
	return keys, nil
}

// secretKey returns the client's secret as an HMAC key.
func (a *Authenticator) secretKey(t *tenant.Tenant, client *store.Client, registered string) ([]Key, error) {
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
	return []Key{{material: secret, algorithms: []jose.SignatureAlgorithm{jose.HS256}}}, nil
}
