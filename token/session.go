package token

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// This file is what the end of a session asks of this room: OpenID Connect
// RP-Initiated Logout 1.0 §2 (id_token_hint) and Back-Channel Logout 1.0 §2.4
// (logout token), and the revocation of what the session gave.

// RevokeSession revokes everything that was issued in the session: access tokens
// that are checked for liveness, refresh tokens, and the codes that were redeemed.
func (i *Issuer) RevokeSession(ctx context.Context, t *tenant.Tenant, sid string) error {
	now := i.now()
	// Families already live as long as the tokens that were minted in them; revoking
	// never shortens that.
	_, err := i.stores.Grants.RevokeFamilies(ctx, t.ID(), store.FamilyFilter{SID: sid}, i.familyExpiry(now, i.accessTokenLifetime, time.Time{}), now)
	return err
}

// ErrInvalidHint says that a value is not an ID token of this provider.
var ErrInvalidHint = errors.New("token: not an ID token of this issuer")

// Hint is what an ID token says that comes back as id_token_hint. Subject and SID
// are as the client knows them: compare with [Issuer.Subject] and
// [Issuer.SessionID].
type Hint struct {
	ClientID string
	Subject  string
	SID      string // empty if the token has none
}

// Hint returns what an ID token says that the tenant issued, however long ago.
// ErrInvalidHint: it did not. Other errors are system errors.
func (i *Issuer) Hint(ctx context.Context, t *tenant.Tenant, token string) (Hint, error) {
	payload, err := i.tenants.Verify(ctx, t, typIDToken, token)
	if errors.Is(err, tenant.ErrInvalidToken) && strings.HasPrefix(token, headerHS256+".") {
		return i.hintHS256(ctx, t, token)
	}
	if errors.Is(err, tenant.ErrInvalidToken) {
		return Hint{}, ErrInvalidHint
	}
	if err != nil {
		return Hint{}, err
	}
	return readHint(t, payload)
}

func readHint(t *tenant.Tenant, payload []byte) (Hint, error) {
	var p struct {
		Issuer   string `json:"iss"`
		Subject  string `json:"sub"`
		Audience string `json:"aud"`
		Expiry   int64  `json:"exp"`
		SID      string `json:"sid"`
	}
	// Every ID token has exp. An answer of userinfo, which is signed with the same
	// keys, has none.
	if json.Unmarshal(payload, &p) != nil || p.Issuer != t.Issuer() || p.Subject == "" || p.Audience == "" || p.Expiry == 0 {
		return Hint{}, ErrInvalidHint
	}
	return Hint{ClientID: p.Audience, Subject: p.Subject, SID: p.SID}, nil
}

// hintHS256 checks an ID token that is signed with the secret of the client that
// it names, which has to be registered for that.
func (i *Issuer) hintHS256(ctx context.Context, t *tenant.Tenant, token string) (Hint, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 || len(token) > maxHint {
		return Hint{}, ErrInvalidHint
	}
	payload, err := base64.RawURLEncoding.Strict().DecodeString(parts[1])
	if err != nil {
		return Hint{}, ErrInvalidHint
	}
	hint, err := readHint(t, payload) // not trusted yet: it says whose key to try
	if err != nil {
		return Hint{}, err
	}
	client, err := i.stores.Clients.Client(ctx, t.ID(), hint.ClientID)
	if errors.Is(err, store.ErrNotFound) {
		return Hint{}, ErrInvalidHint
	}
	if err != nil {
		return Hint{}, err
	}
	if client.Extra().IDTokenSignedResponseAlg != algHS256 {
		return Hint{}, ErrInvalidHint
	}
	key, err := i.signingKeys(t, &client, "ID tokens", algHS256)
	if err != nil {
		return Hint{}, err
	}
	if subtle.ConstantTimeCompare([]byte(signHS256(key.secret, payload)), []byte(token)) != 1 {
		return Hint{}, ErrInvalidHint
	}
	return hint, nil
}

// maxHint bounds what is decoded of a hint, as tenants bound every JWS.
const maxHint = 16 << 10

// typLogoutToken is the header typ of a logout token: none of another kind can
// take its place.
const typLogoutToken = "logout+jwt"

// logoutTokenLifetime is the two minutes at most that Back-Channel Logout §4
// recommends.
const logoutTokenLifetime = 2 * time.Minute

// logoutTokenPayload is the claims set of a logout token. There is never a nonce.
type logoutTokenPayload struct {
	Issuer   string       `json:"iss"`
	Subject  string       `json:"sub"`
	Audience string       `json:"aud"`
	Expiry   int64        `json:"exp"`
	IssuedAt int64        `json:"iat"`
	ID       string       `json:"jti"`
	Events   logoutEvents `json:"events"`
	SID      string       `json:"sid"`
}

type logoutEvents struct {
	BackchannelLogout struct{} `json:"http://schemas.openid.net/event/backchannel-logout"`
}

// LogoutToken mints the token that tells the client that the session of the user
// has ended. It is signed and encrypted as the client's ID tokens are (Back-Channel
// Logout §2.4), with RS256 if those are signed with the client's secret or not at
// all.
func (i *Issuer) LogoutToken(ctx context.Context, t *tenant.Tenant, client *store.Client, session *store.Session) (string, error) {
	extra := client.Extra()
	keys := jwtKeys{alg: algRS256}
	if extra.IDTokenSignedResponseAlg == algES256 {
		keys.alg = algES256
	}
	if err := i.encryptTo(ctx, client, &keys, "logout tokens", extra.IDTokenEncryptedResponseAlg, extra.IDTokenEncryptedResponseEnc); err != nil {
		return "", err
	}
	subject, err := i.Subject(ctx, t, client, session.UserID)
	if err != nil {
		return "", err
	}
	sid, err := i.SessionID(ctx, t, client, session.SID)
	if err != nil {
		return "", err
	}
	now := i.now()
	payload, err := json.Marshal(logoutTokenPayload{
		Issuer: t.Issuer(), Subject: subject, Audience: client.ID, SID: sid,
		IssuedAt: now.Unix(), Expiry: now.Add(logoutTokenLifetime).Unix(), ID: rand.Text(),
	})
	if err != nil {
		return "", err
	}
	return i.makeJWT(ctx, t, &keys, typLogoutToken, payload)
}
