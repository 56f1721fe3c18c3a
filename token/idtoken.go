package token

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// This file mints ID tokens (OpenID Connect Core §2).

// The algorithms that ID tokens are signed with.
const (
	algRS256 = "RS256"
	algES256 = "ES256"
	algHS256 = "HS256"
	algNone  = "none"
)

// typIDToken is the header typ of an ID token.
const typIDToken = "JWT"

// idTokenKey is what an ID token is signed with.
type idTokenKey struct {
	alg string
	// secret is the client's secret for HS256. RS256 and ES256 sign with the
	// tenant's keys.
	secret []byte
}

// idTokenKey returns the key for the algorithm that the client registered.
func (i *Issuer) idTokenKey(t *tenant.Tenant, client *store.Client) (idTokenKey, error) {
	alg := ""
	if client.Metadata != nil {
		alg = client.Metadata.IDTokenSignedResponseAlg
	}
	switch alg {
	case "":
		// OpenID Connect Dynamic Client Registration §2: the default is RS256.
		return idTokenKey{alg: algRS256}, nil
	case algRS256, algES256:
		return idTokenKey{alg: alg}, nil
	case algHS256:
		// OpenID Connect Core §10.1: the key is the client_secret. A client without
		// one has nothing to sign with, and an empty key would let anyone sign.
		if len(client.SealedSecret) == 0 {
			return idTokenKey{}, errors.New("token: the client registered HS256 for ID tokens but has no sealed secret")
		}
		secret, err := i.clientSecrets.Open(client.SealedSecret, t.ID()+"/"+client.ID)
		if err != nil {
			return idTokenKey{}, fmt.Errorf("token: the client's secret: %w", err)
		}
		if len(secret) == 0 {
			return idTokenKey{}, errors.New("token: the client's sealed secret is empty")
		}
		return idTokenKey{alg: alg, secret: secret}, nil
	case algNone:
		if i.unsignedIDTokens {
			return idTokenKey{alg: alg}, nil
		}
	}
	return idTokenKey{}, fmt.Errorf("token: the client registered %q for ID tokens, which is not supported", alg)
}

// idTokenPayload is the claims set of an ID token.
type idTokenPayload struct {
	Issuer          string   `json:"iss"`
	Subject         string   `json:"sub"`
	Audience        string   `json:"aud"`
	Expiry          int64    `json:"exp"`
	IssuedAt        int64    `json:"iat"`
	AuthTime        int64    `json:"auth_time,omitempty"`
	Nonce           string   `json:"nonce,omitempty"`
	AccessTokenHash string   `json:"at_hash,omitempty"`
	CodeHash        string   `json:"c_hash,omitempty"`
	ACR             string   `json:"acr,omitempty"`
	AMR             []string `json:"amr,omitempty"`
	SID             string   `json:"sid,omitempty"`
	*standardClaims          // nil: they are at userinfo
}

// idToken mints the ID token. accessToken and code are those that it comes with,
// empty for none.
func (m *minting) idToken(ctx context.Context, accessToken, code string, claims *standardClaims) (string, error) {
	a := &m.authorization
	p := idTokenPayload{
		Issuer:         m.tenant.Issuer(),
		Subject:        m.subject,
		Audience:       a.ClientID,
		Expiry:         m.now.Add(m.issuer.idTokenLifetime).Unix(),
		IssuedAt:       m.now.Unix(),
		AuthTime:       unix(a.AuthTime),
		Nonce:          a.Nonce,
		ACR:            a.ACR,
		AMR:            a.AMR,
		SID:            m.sid,
		standardClaims: claims,
	}
	// The hash is that of the signature's algorithm (OpenID Connect Core §3.1.3.6).
	if accessToken != "" && m.idTokenKey.alg != algNone {
		p.AccessTokenHash = halfHash(accessToken)
	}
	if code != "" {
		p.CodeHash = halfHash(code)
	}
	payload, err := json.Marshal(p)
	if err != nil {
		return "", err
	}
	payload = splice(payload, m.custom.idToken)
	switch m.idTokenKey.alg {
	case algHS256:
		return signHS256(m.idTokenKey.secret, payload), nil
	case algNone:
		return headerNone + "." + base64.RawURLEncoding.EncodeToString(payload) + ".", nil
	}
	return m.issuer.tenants.Sign(ctx, m.tenant, m.idTokenKey.alg, typIDToken, payload)
}

// halfHash is at_hash and c_hash (OpenID Connect Core §3.1.3.6, §3.3.2.11): the
// left half of the hash that the algorithm uses. That is SHA-256 for all of
// RS256, ES256 and HS256; an algorithm with another hash needs its own.
func halfHash(value string) string {
	sum := sha256.Sum256([]byte(value))
	return base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2])
}

// headerNone is {"alg":"none","typ":"JWT"}.
const headerNone = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0"

// headerHS256 is {"alg":"HS256","typ":"JWT"}.
const headerHS256 = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9"

// signHS256 returns the compact JWS of payload.
func signHS256(secret, payload []byte) string {
	enc := base64.RawURLEncoding
	out := make([]byte, 0, len(headerHS256)+2+enc.EncodedLen(len(payload))+enc.EncodedLen(sha256.Size))
	out = append(out, headerHS256+"."...)
	out = enc.AppendEncode(out, payload)
	mac := hmac.New(sha256.New, secret)
	mac.Write(out)
	out = append(out, '.')
	out = enc.AppendEncode(out, mac.Sum(nil))
	return string(out)
}

// wantsIDToken reports whether a token response carries an ID token.
func wantsIDToken(scope oauth.Scope) bool { return scope.Has(oauth.ScopeOpenID) }
