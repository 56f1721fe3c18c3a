package token

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// minting is one answer with tokens for a user. Everything that may fail comes
// before the code or the refresh token is consumed, so that a failure uses nothing
// up: prepare finds what is needed (hook, key of the ID token), then the tokens are
// signed. They are given away only if the store decides that this request is the
// one that consumes.
type minting struct {
	issuer *Issuer
	// http is the request that is answered, and grantType how the claims hook knows it.
	http      *http.Request
	grantType string
	tenant    *tenant.Tenant
	client    *store.Client
	user      *store.User
	// authorization has the scope of this answer.
	authorization Authorization
	api           *store.API // nil: the access token is opaque
	family        string
	lifetime      time.Duration // of the access token
	now           time.Time

	// subject and sid are the user and the session as the client knows them.
	subject, sid string

	idTokenKeys jwtKeys // zero: no ID token
	custom      customClaims
}

// prepare fills in what m's other members leave to be found. idToken asks for an
// ID token, accessToken for an access token.
func (m *minting) prepare(ctx context.Context, idToken, accessToken bool) error {
	m.lifetime = m.issuer.lifetime(m.api)
	var err error
	if m.subject, err = m.issuer.Subject(ctx, m.tenant, m.client, m.authorization.UserID); err != nil {
		return err
	}
	if m.sid, err = m.issuer.SessionID(ctx, m.tenant, m.client, m.authorization.SID); err != nil {
		return err
	}
	if idToken {
		if m.idTokenKeys, err = m.issuer.idTokenKeys(ctx, m.tenant, m.client); err != nil {
			return err
		}
	}
	var kinds claimKinds
	if idToken {
		kinds |= idTokenClaims
	}
	if accessToken && m.api != nil {
		kinds |= accessTokenClaims
	}
	m.custom, err = m.issuer.customClaims(ctx, kinds, func() (ClaimsInput, error) {
		gone := oauth.CodeInvalidGrant
		if m.grantType == grantImplicit {
			gone = oauth.CodeAccessDenied
		}
		return m.issuer.userClaimsInput(ctx, m.tenant, ClaimsInput{
			Request: m.http, GrantType: m.grantType, Client: m.client, User: m.user,
			Scope: m.authorization.Scope, Audience: m.authorization.Audience,
		}, m.authorization.GrantID, gone, m.now)
	})
	return err
}

// lifetime returns for how long access tokens for api are good.
func (i *Issuer) lifetime(api *store.API) time.Duration {
	if api != nil && api.TokenLifetime > 0 {
		return api.TokenLifetime
	}
	return i.accessTokenLifetime
}

// api returns the API with that audience, nil if audience is empty. gone is the
// code of the oauth error if the API does not exist any more.
func (i *Issuer) api(ctx context.Context, t *tenant.Tenant, audience, gone string) (*store.API, error) {
	if audience == "" {
		return nil, nil
	}
	api, err := i.tenants.API(ctx, t, audience)
	if errors.Is(err, store.ErrNotFound) {
		return nil, oauth.Errorf(gone, "the API that access was granted to does not exist any more")
	}
	if err != nil {
		return nil, err
	}
	return &api, nil
}

// stillAllowed returns the part of scope that client may have at api now. The
// API's policy and client grants can change after the user consented; what they
// no longer cover is dropped. Nothing is ever added. The error is
// unauthorized_client if nothing covers the API any more.
func (i *Issuer) stillAllowed(ctx context.Context, t *tenant.Tenant, api *store.API, client *store.Client, scope oauth.Scope) (oauth.Scope, error) {
	if api == nil {
		return scope, nil
	}
	allowed, err := i.tenants.AllowedScopes(ctx, t, api, client, store.SubjectUser)
	if err != nil {
		return nil, err
	}
	return without(scope, func(s string) bool {
		return !slices.Contains(oauth.StandardScopes, s) && !slices.Contains(allowed, s)
	}), nil
}

// without returns scope without the values that drop selects, scope itself if it
// selects none.
func without(scope oauth.Scope, drop func(string) bool) oauth.Scope {
	if !slices.ContainsFunc(scope, drop) {
		return scope
	}
	return slices.DeleteFunc(slices.Clone(scope), drop)
}

// checkTarget refuses a token request that names another API than the one that
// was granted: RFC 8707 §2.2 lets a client ask for a subset, and of one API that
// is the API itself.
func checkTarget(form oauth.Parameters, granted string) error {
	for _, name := range [...]string{"resource", "audience"} {
		for _, value := range form.All(name) {
			if !oauth.SameResource(value, granted) {
				return oauth.Errorf(oauth.CodeInvalidTarget, "%s is not the API that access was granted to", name)
			}
		}
	}
	return nil
}
