package token

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"

	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
)

// This file implements grant_type=client_credentials (RFC 6749 §4.4). The client
// is authenticated and may use the grant type.

// clientSubject makes the subject of a client's own tokens. RFC 9068 §5: it must
// not look like the identifier of a user.
const clientSubject = "@clients"

// clientCredentials issues an access token to the client itself. No user is
// involved, so there is no grant and no family, and nothing is written but, now and
// then, that the client is in use.
func (i *Issuer) clientCredentials(ctx context.Context, r *request) (*response, error) {
	// RFC 6749 §4.4: confidential clients only.
	if r.client.TokenEndpointAuthMethod == "none" {
		return nil, oauth.Errorf(oauth.CodeUnauthorizedClient, "grant_type client_credentials needs a client that authenticates")
	}
	// Neither a client that is blocked nor, where the tenant switched dynamic
	// registration off, those that registered themselves.
	if r.client.Blocked {
		return nil, oauth.Errorf(oauth.CodeUnauthorizedClient, "the client is blocked")
	}
	if r.switchedOff(r.client) {
		return nil, oauth.Errorf(oauth.CodeUnauthorizedClient, "dynamically registered clients are switched off")
	}

	audience, err := requestedAudience(r.form)
	if err != nil {
		return nil, err
	}
	what := "audience"
	if audience == "" {
		audience, what = r.tenant.Settings().DefaultAudience, "the tenant's default audience"
	}
	if audience == "" {
		return i.clientCredentialsForNoAPI(ctx, r)
	}
	api, err := i.tenants.API(ctx, r.tenant, audience)
	if errors.Is(err, store.ErrNotFound) {
		return nil, oauth.Errorf(oauth.CodeInvalidTarget, "%s is not the identifier of an API", what)
	}
	if err != nil {
		return nil, err
	}

	// The API's policy and the client's grants decide; strict third parties are
	// refused here.
	allowed, err := i.tenants.AllowedScopes(ctx, r.tenant, &api, r.client, store.SubjectClient)
	if err != nil {
		return nil, err
	}
	// RFC 7591 §2: the scope that a client registered is what it can use.
	registered, err := oauth.ParseScope(r.client.Scope)
	if err != nil {
		return nil, err
	}
	if len(registered) > 0 {
		allowed = slices.DeleteFunc(slices.Clone(allowed), func(s string) bool { return !registered.Has(s) })
	}
	scope, err := clientScope(allowed, r.form.Get("scope"))
	if err != nil {
		return nil, err
	}

	custom, err := i.customClaims(ctx, accessTokenClaims, func() (ClaimsInput, error) {
		return ClaimsInput{
			TenantID: r.tenant.ID(), Request: r.http, GrantType: grantClientCredentials, Client: r.client, Scope: scope, Audience: audience,
		}, nil
	})
	if err != nil {
		return nil, err
	}
	lifetime := i.lifetime(&api)
	accessToken, err := i.signAccessToken(ctx, r.tenant, &api, accessTokenPayload{
		Subject:  r.client.ID + clientSubject,
		Audience: api.Audience,
		ClientID: r.client.ID,
		ID:       rand.Text(),
		Scope:    scope.String(),
	}, lifetime, r.now, custom.accessToken)
	if err != nil {
		return nil, err
	}
	// As with a code: what cannot be signed stores nothing.
	if err := i.confirmClient(ctx, r); err != nil {
		return nil, err
	}
	i.used(ctx, r.client, r.now)
	// RFC 6749 §4.4.3: no refresh token.
	return &response{
		AccessToken: accessToken,
		TokenType:   "Bearer",
		ExpiresIn:   int64(lifetime.Seconds()),
		Scope:       scope.String(),
	}, nil
}

// clientCredentialsForNoAPI issues an opaque access token that says who the
// client is and opens nothing: it has no scope, no API verifies it, and userinfo
// wants a user. The client can introspect it.
func (i *Issuer) clientCredentialsForNoAPI(ctx context.Context, r *request) (*response, error) {
	if r.client.Strict() {
		return nil, oauth.Errorf(oauth.CodeUnauthorizedClient, "third-party clients in strict mode act on behalf of users only")
	}
	if _, err := clientScope(nil, r.form.Get("scope")); err != nil {
		return nil, err
	}
	if err := i.confirmClient(ctx, r); err != nil {
		return nil, err
	}
	at := openedToken{
		clientID: r.client.ID, userID: r.client.ID + clientSubject, issued: r.now, expires: r.now.Add(i.accessTokenLifetime),
	}
	i.used(ctx, r.client, r.now)
	return &response{
		AccessToken: i.accessTokens.SealString(at.encode(), r.tenant.ID()),
		TokenType:   "Bearer",
		ExpiresIn:   int64(i.accessTokenLifetime.Seconds()),
	}, nil
}

// confirmClient makes sure that the client stays, since no grant of a user keeps it.
func (i *Issuer) confirmClient(ctx context.Context, r *request) error {
	client, err := i.Confirm(ctx, r.client)
	if errors.Is(err, store.ErrNotFound) {
		return oauth.WithCause(err, oauth.CodeInvalidClient, "the client's registration has expired; it has to register again")
	}
	if err != nil {
		return err
	}
	r.client = client
	return nil
}

// requestedAudience returns the one API that a request names, by audience or by
// resource (RFC 8707 §2), empty if it names none.
func requestedAudience(form oauth.Parameters) (string, error) {
	named := append(form.All("audience"), form.All("resource")...)
	if len(named) == 0 {
		return "", nil
	}
	for _, value := range named[1:] {
		if value != named[0] {
			return "", oauth.Errorf(oauth.CodeInvalidTarget, "audience and resource name more than one API")
		}
	}
	return named[0], nil
}

// clientScope returns what of the allowed scopes the scope parameter asks for,
// all of them if it is absent. The scopes of OpenID Connect are about a user,
// and there is none.
func clientScope(allowed []string, parameter string) (oauth.Scope, error) {
	requested, err := oauth.ParseScope(parameter)
	if err != nil {
		return nil, err
	}
	scope := make(oauth.Scope, 0, len(allowed))
	for _, s := range allowed {
		if !slices.Contains(oauth.StandardScopes, s) && (len(requested) == 0 || requested.Has(s)) {
			scope = append(scope, s)
		}
	}
	if len(scope) == 0 && len(requested) > 0 {
		return nil, oauth.Errorf(oauth.CodeInvalidScope, "scope has nothing that the client may ask for")
	}
	return scope, nil
}
