package connection

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/opkit/opkit/internal/httpx"
	"github.com/opkit/opkit/store"
)

// This file is about Sign in with Apple: the client's secret is a signature, the answer
// comes as a form, and a user's name comes once, beside the ID token.

const (
	appleIssuer = "https://appleid.apple.com"
	// appleSecretLifetime is enough for one request and a clock that is off.
	appleSecretLifetime = 5 * time.Minute
	maxAppleUser        = 4 << 10
)

var apple = &preset{
	oidc: true, social: true, label: "Apple", issuer: appleIssuer, scopes: []string{"openid", "name", "email"},
	namesOnce: true, complete: true, ageless: true, formPost: true,
	check: func(o *upstreamOptions) error {
		switch {
		case o.TeamID == "":
			return invalid("options.team_id", "is required")
		case o.KeyID == "":
			return invalid("options.kid", "is required: the identifier of the key in app_secret")
		}
		return nil
	},
	secret: func(d *Directory, c *store.Connection, o *upstreamOptions) (string, error) {
		key, err := d.openSecret(c, "app_secret", o.AppSecret)
		if err != nil {
			return "", err
		}
		return appleSecret(key, o.TeamID, o.KeyID, o.ClientID, d.now())
	},
	refine: func(o *upstreamOptions, _ map[string]json.RawMessage, answer *UpstreamAnswer, identity *UpstreamIdentity) {
		given, family, err := parseAppleUser(answer.User)
		if err != nil {
			return // it decides nothing, and comes from the browser
		}
		p := &identity.Profile
		p.GivenName, p.FamilyName = given, family
		p.Name = strings.TrimSpace(given + " " + family)
		o.drop(&identity.UpstreamProfile)
	},
}

// appleSecret returns the secret for a request at a time: a JWT that the client's key
// signs.
func appleSecret(keyPEM, teamID, keyID, clientID string, now time.Time) (string, error) {
	key, err := parseAppleKey(keyPEM)
	if err != nil {
		return "", upstreamFailed("the app_secret %w", err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: keyID}}, nil)
	if err != nil {
		return "", err
	}
	claims, err := json.Marshal(map[string]any{
		"iss": teamID, "sub": clientID, "aud": appleIssuer, "iat": now.Unix(), "exp": now.Add(appleSecretLifetime).Unix(),
	})
	if err != nil {
		return "", err
	}
	signed, err := signer.Sign(claims)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}

// parseAppleKey reads a private key of P-256 in PEM. The error continues a sentence and
// repeats nothing of the key.
func parseAppleKey(text string) (*ecdsa.PrivateKey, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("must be a private key in PEM, as Apple gives it out")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, ok := parsed.(*ecdsa.PrivateKey)
	if err != nil || !ok || key.Curve != elliptic.P256() {
		return nil, errors.New("must be a private key of P-256 in PKCS #8")
	}
	return key, nil
}

// parseAppleUser reads the parameter user of an answer. It is not signed: only names are
// taken from it, which users choose anyway. On error the result is zero.
func parseAppleUser(raw string) (given, family string, err error) {
	if raw == "" || len(raw) > maxAppleUser {
		return "", "", errors.New("there is no user, or it is too long")
	}
	var user struct {
		Name struct {
			First string `json:"firstName"`
			Last  string `json:"lastName"`
		} `json:"name"`
	}
	if err := httpx.DecodeJSON([]byte(raw), &user); err != nil {
		return "", "", err
	}
	if !isText(user.Name.First, maxUserText) || !isText(user.Name.Last, maxUserText) || user.Name.First+user.Name.Last == "" {
		return "", "", errors.New("the name is no text")
	}
	return user.Name.First, user.Name.Last, nil
}
