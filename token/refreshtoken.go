package token

import (
	"time"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// refreshToken is what a refresh token carries.
type refreshToken struct {
	family     string
	generation int64
	// issued is when the family reached this generation, as the store has it: a
	// retried rotation then gives the very same token.
	issued time.Time
	// expires ends the chain. Zero: never.
	expires time.Time
	// authorization lacks what only a code needs, and the nonce: OpenID Connect
	// Core §12.2 wants none in the ID token of a refresh.
	authorization Authorization
}

// firstRefreshToken returns the refresh token that a code gives.
func (i *Issuer) firstRefreshToken(a Authorization, family string, now time.Time) refreshToken {
	rt := refreshToken{family: family, issued: now, authorization: a}
	if i.refreshAbsolute > 0 {
		rt.expires = now.Add(i.refreshAbsolute)
	}
	return rt
}

// successor returns the token of the generation that family is in.
func (rt refreshToken) successor(family store.Family) refreshToken {
	rt.generation = family.Generation
	rt.issued = family.RotatedAt
	return rt
}

// until returns when the chain ends if its next token, issued at now, is not used.
func (rt *refreshToken) until(now time.Time, idle time.Duration) time.Time {
	until := now.Add(idle)
	if !rt.expires.IsZero() && rt.expires.Before(until) {
		return rt.expires
	}
	return until
}

// expired reports whether the token is too old to be used at now.
func (rt *refreshToken) expired(now time.Time, idle time.Duration) bool {
	return !now.Before(rt.until(rt.issued, idle))
}

func (i *Issuer) sealRefreshToken(t *tenant.Tenant, rt refreshToken) string {
	return i.refreshTokens.SealDeterministicString(rt.encode(), t.ID())
}

// openRefreshToken returns what a refresh token of tenant t carries.
func (i *Issuer) openRefreshToken(t *tenant.Tenant, sealed string) (refreshToken, error) {
	raw, err := i.refreshTokens.OpenString(sealed, t.ID())
	if err != nil {
		return refreshToken{}, err
	}
	return decodeRefreshToken(raw)
}

func (rt *refreshToken) encode() []byte {
	e := newEncoder()
	e.string(rt.family)
	e.int(rt.generation)
	e.time(rt.issued)
	e.time(rt.expires)
	rt.authorization.encode(&e)
	return e
}

func decodeRefreshToken(raw []byte) (refreshToken, error) {
	d := newDecoder(raw)
	var rt refreshToken
	rt.family = d.string()
	rt.generation = d.int()
	rt.issued = d.time()
	rt.expires = d.time()
	rt.authorization.decode(d)
	if err := d.done(); err != nil {
		return refreshToken{}, err
	}
	return rt, nil
}
