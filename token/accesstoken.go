package token

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// This file mints and opens access tokens: JWTs as RFC 9068 profiles them, and
// opaque ones.

// typAccessToken is the header typ of a JWT access token (RFC 9068 §2.1). An ID
// token has another, so that neither passes for the other.
const typAccessToken = "at+jwt"

// maxToken bounds what is looked at before anything is decoded.
const maxToken = 16 << 10

// accessTokenPayload is the claims set of RFC 9068 §2.2.
type accessTokenPayload struct {
	Issuer   string `json:"iss"`
	Subject  string `json:"sub"`
	Audience any    `json:"aud"` // string, or []string for more than one
	Expiry   int64  `json:"exp"`
	IssuedAt int64  `json:"iat"`
	AuthTime int64  `json:"auth_time,omitempty"`
	ACR      string `json:"acr,omitempty"`
	ClientID string `json:"client_id"`
	ID       string `json:"jti"`
	Scope    string `json:"scope,omitempty"`
	// UserInfoClaims are for this provider's own userinfo endpoint, which would
	// otherwise have to remember them.
	UserInfoClaims []string `json:"userinfo_claims,omitempty"`
}

// accessToken mints the access token.
func (m *minting) accessToken(ctx context.Context) (string, error) {
	a := &m.authorization
	if m.api == nil {
		at := openedToken{
			clientID: a.ClientID, userID: a.UserID, grantID: a.GrantID, family: m.family, scope: a.Scope, claims: a.UserInfoClaims,
			issued: m.now, expires: m.now.Add(m.lifetime),
		}
		return m.issuer.accessTokens.SealString(at.encode(), m.tenant.ID()), nil
	}
	p := accessTokenPayload{
		Subject:  m.subject,
		Audience: m.api.Audience,
		AuthTime: unix(a.AuthTime),
		ACR:      a.ACR,
		ClientID: a.ClientID,
		// Grant and family make it possible to tell whether the token is alive.
		ID:    a.GrantID + "." + m.family + "." + rand.Text(),
		Scope: a.Scope.String(),
	}
	if a.Scope.Has(oauth.ScopeOpenID) {
		p.Audience = []string{m.api.Audience, m.tenant.UserInfoAudience()}
		p.UserInfoClaims = a.UserInfoClaims.Names()
	}
	return m.issuer.signAccessToken(ctx, m.tenant, m.api, p, m.lifetime, m.now, m.custom.accessToken)
}

// signAccessToken completes p and signs it with the API's algorithm.
func (i *Issuer) signAccessToken(ctx context.Context, t *tenant.Tenant, api *store.API, p accessTokenPayload, lifetime time.Duration, now time.Time, custom []byte) (string, error) {
	p.Issuer = t.Issuer()
	p.IssuedAt = now.Unix()
	p.Expiry = now.Add(lifetime).Unix()
	payload, err := json.Marshal(p)
	if err != nil {
		return "", err
	}
	alg := api.SigningAlgorithm
	if alg == "" {
		alg = algES256
	}
	token, err := i.tenants.Sign(ctx, t, alg, typAccessToken, splice(payload, custom))
	if err != nil {
		return "", err
	}
	if err := i.checkSize(token, len(custom)); err != nil {
		return "", err
	}
	return token, nil
}

// defaultMaxAccessToken leaves room: common servers and proxies take 8 KiB for a line
// of a header, some for all headers together, and applications that keep a token in a
// cookie have 4 KiB.
const defaultMaxAccessToken = 4 << 10

// checkSize refuses an access token that its API might never see. The client is told
// what it can change; what the tenant added is the tenant's to change.
func (i *Issuer) checkSize(token string, custom int) error {
	size, limit := len(token), i.maxAccessToken
	if size <= limit {
		return nil
	}
	if custom = base64.RawURLEncoding.EncodedLen(custom); size-custom <= limit {
		return &oauth.Error{
			Code: oauth.CodeServerError, Status: http.StatusInternalServerError,
			Description: fmt.Sprintf("the access token would have %d bytes, more than the %d that are allowed, with the %d of its custom claims", size, limit, custom),
		}
	}
	return oauth.Errorf(oauth.CodeInvalidScope, "the access token would have %d bytes, more than the %d that are allowed: scope has to be shorter", size, limit)
}

// unix returns 0 for the zero time, which omitempty leaves out.
func unix(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

// splice appends the members of the JSON object custom, which may be nil, to the
// JSON object payload. They have no name in common.
func splice(payload, custom []byte) []byte {
	if len(custom) <= len("{}") {
		return payload
	}
	payload[len(payload)-1] = ','
	return append(payload, custom[1:]...)
}

// openedToken is what an access token says, opaque or JWT. One for a user has a
// grant and a family. One for a client itself has neither, and clientSubject at
// the end of userID. The userID of a JWT is its sub, which is pairwise if the
// client's subjects are: it is compared with what the grant's user has, and finds
// nobody.
type openedToken struct {
	clientID, userID, grantID, family string

	scope oauth.Scope
	// claims are those that were asked for at userinfo by name.
	claims          ClaimSet
	issued, expires time.Time
	// audience and id are those of a JWT; an opaque token is for this provider.
	audience jwt.Audience
	id       string
}

// forUser reports whether the token is about a user. Without a family a store
// would answer for the grant alone.
func (at *openedToken) forUser() bool { return at.grantID != "" && at.family != "" }

// forClient reports whether a client obtained the token for itself. The
// identifier of a user cannot look like its subject, see [Authorization].
func (at *openedToken) forClient() bool {
	return at.grantID == "" && at.family == "" && at.userID == at.clientID+clientSubject
}

func (at *openedToken) encode() []byte {
	e := newEncoder()
	e.string(at.clientID)
	e.string(at.userID)
	e.string(at.grantID)
	e.string(at.family)
	e.strings(at.scope)
	e.claims(at.claims)
	e.time(at.issued)
	e.time(at.expires)
	return e
}

func decodeOpenedToken(raw []byte) (openedToken, error) {
	d := newDecoder(raw)
	var at openedToken
	at.clientID = d.string()
	at.userID = d.string()
	at.grantID = d.string()
	at.family = d.string()
	at.scope = d.strings()
	at.claims = d.claims()
	at.issued = d.time()
	at.expires = d.time()
	if err := d.done(); err != nil {
		return openedToken{}, err
	}
	return at, nil
}

// errNoAccessToken says that a value is no access token that tenant t issued, or
// an expired one.
var errNoAccessToken = errors.New("token: not an access token of this provider, or expired")

// openUserToken is openAccessToken for what only tokens of users can do.
func (i *Issuer) openUserToken(ctx context.Context, t *tenant.Tenant, raw string, now time.Time) (openedToken, error) {
	at, err := i.openAccessToken(ctx, t, raw, now)
	if err == nil && !at.forUser() {
		return openedToken{}, errNoAccessToken
	}
	return at, err
}

// openAccessToken returns what an access token says that tenant t issued, for a
// user or for a client itself, and that has not expired. Audience, scope and
// liveness are the caller's to check. An error is errNoAccessToken or a system
// error.
func (i *Issuer) openAccessToken(ctx context.Context, t *tenant.Tenant, raw string, now time.Time) (openedToken, error) {
	if len(raw) > maxToken {
		return openedToken{}, errNoAccessToken
	}
	var (
		at  openedToken
		err error
	)
	if strings.Contains(raw, ".") { // base64url has none
		at, err = i.openJWT(ctx, t, raw)
	} else {
		at, err = i.openOpaque(t, raw)
	}
	if err != nil {
		return openedToken{}, err
	}
	if !at.forUser() && !at.forClient() || !now.Before(at.expires) {
		return openedToken{}, errNoAccessToken
	}
	return at, nil
}

func (i *Issuer) openOpaque(t *tenant.Tenant, sealed string) (openedToken, error) {
	raw, err := i.accessTokens.OpenString(sealed, t.ID())
	if err != nil {
		return openedToken{}, errNoAccessToken
	}
	at, err := decodeOpenedToken(raw)
	if err != nil {
		return openedToken{}, fmt.Errorf("%w: %w", errNoAccessToken, err)
	}
	return at, nil
}

// openJWT verifies a JWT access token with the tenant's own keys.
func (i *Issuer) openJWT(ctx context.Context, t *tenant.Tenant, raw string) (openedToken, error) {
	payload, err := i.tenants.Verify(ctx, t, typAccessToken, raw)
	if errors.Is(err, tenant.ErrInvalidToken) {
		return openedToken{}, fmt.Errorf("%w: %w", errNoAccessToken, err)
	}
	if err != nil {
		return openedToken{}, err
	}
	var claims struct {
		Issuer   string       `json:"iss"`
		Subject  string       `json:"sub"`
		Audience jwt.Audience `json:"aud"`
		Expiry   int64        `json:"exp"`
		IssuedAt int64        `json:"iat"`
		ClientID string       `json:"client_id"`
		ID       string       `json:"jti"`
		Scope    string       `json:"scope"`
		UserInfo []string     `json:"userinfo_claims"`
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		return openedToken{}, fmt.Errorf("%w: %w", errNoAccessToken, err)
	}
	if claims.Issuer != t.Issuer() {
		return openedToken{}, errNoAccessToken
	}
	at := openedToken{
		clientID: claims.ClientID, userID: claims.Subject, scope: strings.Fields(claims.Scope), claims: ClaimsOf(claims.UserInfo...),
		issued: time.Unix(claims.IssuedAt, 0), expires: time.Unix(claims.Expiry, 0),
		audience: claims.Audience, id: claims.ID,
	}
	// jti is grant.family.random, that of a client's own token just random.
	if rest, _, ok := cutLast(claims.ID, '.'); ok {
		at.grantID, at.family, _ = cutLast(rest, '.')
	}
	return at, nil
}

// cutLast slices s around the last sep: unlike grant identifiers, which are the
// caller's, families and random parts never contain a dot.
func cutLast(s string, sep byte) (before, after string, found bool) {
	n := strings.LastIndexByte(s, sep)
	if n < 0 {
		return s, "", false
	}
	return s[:n], s[n+1:], true
}
