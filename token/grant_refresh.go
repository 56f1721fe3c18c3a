package token

import (
	"context"
	"errors"

	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
)

// This file implements grant_type=refresh_token (RFC 6749 §6, OpenID Connect
// Core §12, RFC 9700 §4.14). The client is authenticated and may use the grant
// type.

// refresh exchanges a refresh token for tokens and the next refresh token. Only
// what passes every check moves the family on.
func (i *Issuer) refresh(ctx context.Context, r *request) (*response, error) {
	sealed := r.form.Get("refresh_token")
	if sealed == "" {
		return nil, oauth.Errorf(oauth.CodeInvalidRequest, "refresh_token is missing")
	}

	// RFC 6749 §6: the token is one of ours and was issued to this client.
	rt, err := i.openRefreshToken(r.tenant, sealed)
	if err != nil {
		return nil, oauth.WithCause(err, oauth.CodeInvalidGrant, "refresh_token is not valid")
	}
	a := rt.authorization
	if a.ClientID != r.client.ID {
		return nil, oauth.Errorf(oauth.CodeInvalidGrant, "refresh_token was issued to another client")
	}
	if rt.expired(r.now, i.refreshIdle) {
		return nil, oauth.Errorf(oauth.CodeInvalidGrant, "refresh_token has expired")
	}

	// RFC 8707 §2.2: the audience never changes.
	if err := checkTarget(r.form, a.Audience); err != nil {
		return nil, err
	}

	// What held when the user consented has to hold now.
	api, err := i.api(ctx, r.tenant, a.Audience, oauth.CodeInvalidGrant)
	if err != nil {
		return nil, err
	}
	if api != nil && api.DisallowOfflineAccess {
		return nil, oauth.Errorf(oauth.CodeInvalidGrant, "the API does not allow offline access any more")
	}
	if a.Scope, err = i.stillAllowed(ctx, r.tenant, api, r.client, a.Scope); err != nil {
		return nil, err
	}
	if a.Scope, err = narrow(a.Scope, r.form.Get("scope")); err != nil {
		return nil, err
	}
	user, err := i.admit(ctx, r.tenant, r.client, a.ConnectionID, a.UserID)
	if err != nil {
		return nil, err
	}

	m := minting{
		issuer: i, http: r.http, grantType: grantRefreshToken, tenant: r.tenant, client: r.client, user: &user,
		authorization: a, api: api, family: rt.family, now: r.now,
	}
	if err := m.prepare(ctx, wantsIDToken(a.Scope), true); err != nil {
		return nil, err
	}

	// Signed before the token is used up, as with a code: otherwise a client that
	// tried again after an outage of the key's source would look like a thief.
	answer, err := m.response(ctx)
	if err != nil {
		return nil, err
	}

	// RFC 9700 §4.14.2: every refresh token is used once. The store decides, in
	// the same step in which it makes sure that the grant is alive.
	family, err := i.stores.Grants.RotateFamily(ctx, r.tenant.ID(), rt.family, rt.generation,
		i.familyExpiry(r.now, m.lifetime, rt.until(r.now, i.refreshIdle)), r.now)
	switch {
	case errors.Is(err, store.ErrConsumed):
		if !i.isRetry(&rt, &family, r) {
			// RFC 9700 §4.14.2: which of the two is the thief cannot be told.
			if err := i.replayed(ctx, r, "refresh token", rt.family, &family, m.lifetime); err != nil {
				return nil, err
			}
			return nil, oauth.Errorf(oauth.CodeInvalidGrant, "refresh_token was used before, or revoked")
		}
	case errors.Is(err, store.ErrNotFound):
		return nil, oauth.WithCause(err, oauth.CodeInvalidGrant, "refresh_token has expired, or access was revoked")
	case err != nil:
		return nil, err
	}
	answer.RefreshToken = i.sealRefreshToken(r.tenant, rt.successor(family))
	i.used(ctx, r.client, r.now)
	return answer, nil
}

// isRetry reports whether rt is the token that was just rotated, presented again
// within the leeway: the client did not get the answer. The comparison has two
// sides because another node, whose clock may be ahead, can have written
// RotatedAt.
func (i *Issuer) isRetry(rt *refreshToken, family *store.Family, r *request) bool {
	age := r.now.Sub(family.RotatedAt)
	return family.Generation == rt.generation+1 && family.RevokedAt.IsZero() &&
		age <= i.refreshLeeway && age >= -i.refreshLeeway
}

// narrow returns the part of granted that the scope parameter asks for, all of it
// if the parameter is absent. RFC 6749 §6 forbids scope that was not granted; it
// is left out as it is at the authorization endpoint, because clients repeat what
// they asked for there, and the answer says what the token is good for. If
// nothing is left: invalid_scope.
func narrow(granted oauth.Scope, parameter string) (oauth.Scope, error) {
	if parameter == "" {
		return granted, nil
	}
	requested, err := oauth.ParseScope(parameter)
	if err != nil {
		return nil, err
	}
	var out oauth.Scope
	for _, s := range granted {
		if requested.Has(s) {
			out = append(out, s)
		}
	}
	if len(out) == 0 && len(requested) > 0 {
		return nil, oauth.Errorf(oauth.CodeInvalidScope, "scope has nothing that was granted")
	}
	return out, nil
}
