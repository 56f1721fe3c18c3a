package clientauth

import (
	"context"
	"errors"

	"github.com/go-jose/go-jose/v4"

	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// SigningAlgorithms are the supported values of token_endpoint_auth_signing_alg,
// for metadata and registration. HS256 belongs to client_secret_jwt, the others
// to private_key_jwt.
var SigningAlgorithms = []string{"ES256", "RS256", "PS256", "EdDSA", "HS256"}

// verifiedPayload returns the payload of an assertion that the client signed. Which
// algorithm goes with which key follows from the registration alone, so that a
// header can neither demand none nor turn a public key into an HMAC secret.
func (a *Authenticator) verifiedPayload(ctx context.Context, t *tenant.Tenant, client *store.Client, assertion string) ([]byte, error) {
	registered := client.Extra().TokenEndpointAuthSigningAlg
	if client.TokenEndpointAuthMethod != MethodSecretJWT {
		return a.Keys.Verify(ctx, client, assertion, registered)
	}
	if registered != "" && registered != string(jose.HS256) {
		return nil, oauth.Errorf(oauth.CodeInvalidClient, "client authentication failed: the client's token_endpoint_auth_signing_alg is not supported for client_secret_jwt")
	}
	if a.Secrets == nil {
		return nil, errors.New("clientauth: Authenticator.Secrets is required for client_secret_jwt")
	}
	keys, err := a.sealedSecrets(t, client)
	if err != nil {
		return nil, err
	}
	s, err := parseSigned(assertion, keys[0].algorithms)
	if err != nil {
		return nil, err
	}
	return s.verify(keys)
}
