package token

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// FrontChannel is the token part of an authorization response.
type FrontChannel struct {
	AccessToken string
	ExpiresIn   int64 // seconds, 0 without an access token
	IDToken     string
	// Scope is what the access token is good for.
	Scope string
}

// FrontChannel mints what response type rt asks for besides the code: an access
// token, an ID token with at_hash and c_hash, or both. code is the code of the
// same response, empty if there is none. The caller has just checked that the
// user may be served and that the client may have a.Scope. r is the request that is
// answered.
//
// An access token starts a family of its own, so that it can be revoked apart
// from what a code of the same response leads to. The error is an oauth error
// access_denied if the grant was revoked in the meantime, invalid_target if the
// API was deleted, and otherwise internal.
func (i *Issuer) FrontChannel(r *http.Request, t *tenant.Tenant, client *store.Client, user *store.User, a Authorization, rt oauth.ResponseType, code string) (FrontChannel, error) {
	if !rt.FrontChannel() {
		return FrontChannel{}, nil
	}
	if err := a.validate(); err != nil {
		return FrontChannel{}, err
	}
	ctx := r.Context()
	m := minting{issuer: i, http: r, grantType: grantImplicit, tenant: t, client: client, user: user, authorization: a, now: i.now()}
	withToken, withIDToken := rt.Has(oauth.ResponseToken), rt.Has(oauth.ResponseIDToken)
	if withToken {
		var err error
		if m.api, err = i.api(ctx, t, a.Audience, oauth.CodeInvalidTarget); err != nil {
			return FrontChannel{}, err
		}
	}
	if err := m.prepare(ctx, withIDToken, withToken); err != nil {
		return FrontChannel{}, err
	}
	// OpenID Connect Core §2: an ID token without a signature comes from the token
	// endpoint or not at all. No client could be registered for both.
	if withIDToken && m.idTokenKeys.alg == algNone {
		return FrontChannel{}, fmt.Errorf("token: client %q has unsigned ID tokens, which the authorization endpoint does not return", client.ID)
	}

	// As at the token endpoint: what cannot be signed stores nothing.
	var out FrontChannel
	var err error
	if withToken {
		m.family = newFamilyID()
		if out.AccessToken, err = m.accessToken(ctx); err != nil {
			return FrontChannel{}, err
		}
		out.ExpiresIn = int64(m.lifetime.Seconds())
		out.Scope = a.Scope.String()
	}
	if withIDToken {
		if out.IDToken, err = m.idToken(ctx, out.AccessToken, code, m.userClaims(rt == oauth.ResponseIDToken)); err != nil {
			return FrontChannel{}, err
		}
	}
	if withToken {
		_, err = i.stores.Grants.StartFamily(ctx, store.Family{
			TenantID: t.ID(), ID: m.family, GrantID: a.GrantID, UserID: a.UserID, ClientID: a.ClientID, SID: a.SID,
			CreatedAt: m.now, ExpiresAt: m.now.Add(m.lifetime),
		}, m.now)
		if errors.Is(err, store.ErrNotFound) {
			return FrontChannel{}, oauth.WithCause(err, oauth.CodeAccessDenied, "access was revoked during the request")
		}
		if err != nil {
			return FrontChannel{}, err
		}
	}
	i.used(ctx, client, m.now)
	return out, nil
}
