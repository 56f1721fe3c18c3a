package token

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/opkit/opkit/internal/clientauth"
	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// This file makes the JWTs that are for a client alone: ID tokens, logout tokens,
// answers of userinfo and introspection. They are signed, encrypted, or both, as
// the client registered (OpenID Connect Dynamic Client Registration §2): what is
// signed is signed first.

// The algorithms of signatures.
const (
	algRS256 = "RS256"
	algES256 = "ES256"
	algHS256 = "HS256"
	algNone  = "none"
)

// jwtKeys are what one kind of JWT is made with for a client.
type jwtKeys struct {
	alg string // empty: it is not a JWS
	// secret is the client's secret for HS256. RS256 and ES256 sign with the
	// tenant's keys.
	secret []byte
	// recipient is whom it is encrypted to, nil for nobody.
	recipient *clientauth.Recipient
}

// signingKeys returns the keys for an algorithm that the client registered for
// what.
func (i *Issuer) signingKeys(t *tenant.Tenant, client *store.Client, what, alg string) (jwtKeys, error) {
	switch alg {
	case algRS256, algES256:
		return jwtKeys{alg: alg}, nil
	case algHS256:
		// OpenID Connect Core §10.1: the key is the client_secret. A client without
		// one has nothing to sign with, and an empty key would let anyone sign.
		if len(client.SealedSecret) == 0 {
			return jwtKeys{}, fmt.Errorf("token: the client registered HS256 for %s but has no sealed secret", what)
		}
		secret, err := i.clientSecrets.Open(client.SealedSecret, t.ID()+"/"+client.ID)
		if err != nil {
			return jwtKeys{}, fmt.Errorf("token: the client's secret: %w", err)
		}
		if len(secret) == 0 {
			return jwtKeys{}, errors.New("token: the client's sealed secret is empty")
		}
		return jwtKeys{alg: alg, secret: secret}, nil
	}
	return jwtKeys{}, fmt.Errorf("token: the client registered %q for %s, which is not supported", alg, what)
}

// encryptTo completes k with what the client registered about the encryption of
// what. The error is an oauth error invalid_request if the client has no key for it
// now.
func (i *Issuer) encryptTo(ctx context.Context, client *store.Client, k *jwtKeys, what, alg, enc string) error {
	if alg == "" {
		return nil
	}
	recipient, err := i.clientAuth.Keys.Recipient(ctx, client, alg, enc)
	switch {
	case errors.Is(err, clientauth.ErrAlgorithm):
		return fmt.Errorf("token: the client registered %q and %q for the encryption of %s, which is not supported", alg, enc, what)
	case errors.Is(err, clientauth.ErrNoKeys):
		return oauth.WithCause(err, oauth.CodeInvalidRequest, "the client has no key that "+what+" can be encrypted to as it registered")
	case errors.Is(err, clientauth.ErrKeysUnavailable):
		return oauth.WithCause(err, oauth.CodeInvalidRequest, "the client's jwks_uri gives no usable key set at the moment, and "+what+" has to be encrypted")
	case err != nil:
		return err
	}
	k.recipient = recipient
	return nil
}

// makeJWT signs and encrypts payload. typ is the header of the signature.
func (i *Issuer) makeJWT(ctx context.Context, t *tenant.Tenant, k *jwtKeys, typ string, payload []byte) (string, error) {
	var signed string
	switch k.alg {
	case "":
		return k.recipient.Encrypt(payload, "")
	case algNone:
		return headerNone + "." + base64.RawURLEncoding.EncodeToString(payload) + ".", nil
	case algHS256:
		signed = signHS256(k.secret, payload)
	default:
		var err error
		if signed, err = i.tenants.Sign(ctx, t, k.alg, typ, payload); err != nil {
			return "", err
		}
	}
	if k.recipient == nil {
		return signed, nil
	}
	return k.recipient.Encrypt([]byte(signed), "JWT")
}
