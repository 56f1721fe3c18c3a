package token

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"

	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// This file mints ID tokens (OpenID Connect Core §2).

// typIDToken is the header typ of an ID token.
const typIDToken = "JWT"

// idTokenKeys returns the keys for what the client registered.
func (i *Issuer) idTokenKeys(ctx context.Context, t *tenant.Tenant, client *store.Client) (jwtKeys, error) {
	const what = "ID tokens"
	m := client.Metadata
	if m == nil || m.IDTokenSignedResponseAlg == "" && m.IDTokenEncryptedResponseAlg == "" {
		return jwtKeys{alg: algRS256}, nil
	}
	if m.IDTokenSignedResponseAlg == algNone && m.IDTokenEncryptedResponseAlg == "" && i.unsignedIDTokens {
		return jwtKeys{alg: algNone}, nil
	}
	// OpenID Connect Dynamic Client Registration §2: the default is RS256.
	k, err := i.signingKeys(t, client, what, cmp.Or(m.IDTokenSignedResponseAlg, algRS256))
	if err == nil {
		err = i.encryptTo(ctx, client, &k, what, m.IDTokenEncryptedResponseAlg, m.IDTokenEncryptedResponseEnc)
	}
	return k, err
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
	if accessToken != "" && m.idTokenKeys.alg != algNone {
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
	return m.issuer.makeJWT(ctx, m.tenant, &m.idTokenKeys, typIDToken, payload)
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
