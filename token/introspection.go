package token

import (
	"context"
	"errors"
	"net/http"

	"github.com/opkit/opkit/connection"
	"github.com/opkit/opkit/internal/clientauth"
	"github.com/opkit/opkit/internal/httpx"
	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
)

// This file implements RFC 7662 (OAuth 2.0 Token Introspection).

// introspection is the answer about a token (RFC 7662 §2.2). username is left
// out: it is for people, and an API that wants to show one asks userinfo.
type introspection struct {
	Active   bool   `json:"active"`
	Scope    string `json:"scope,omitempty"`
	ClientID string `json:"client_id,omitempty"`
	// TokenType is left out for a refresh token: the types of RFC 6749 §7.1 are
	// those of access tokens.
	TokenType string `json:"token_type,omitempty"`
	Expiry    int64  `json:"exp,omitempty"`
	IssuedAt  int64  `json:"iat,omitempty"`
	Subject   string `json:"sub,omitempty"`
	Audience  any    `json:"aud,omitempty"` // string, or []string for more than one
	Issuer    string `json:"iss,omitempty"`
	ID        string `json:"jti,omitempty"`
	SID       string `json:"sid,omitempty"`
}

// inactive is the whole answer about a token that is not valid, or none of the
// caller's business: RFC 7662 §2.2 wants no more to be said, not even why.
var inactive = introspection{}

// Introspection serves the introspection endpoint: POST with token and what
// authenticates the client, as a form or as one JSON object. token_type_hint is
// not needed to find a token and is ignored (RFC 7662 §2.1). Public clients are
// refused, because anyone could scan for tokens with their identifier.
//
// A client learns about
//
//   - the tokens that were issued to it, refresh tokens included,
//   - access tokens for an API that it holds a client grant for
//     ([store.SubjectClient]).
//
// The second is how an API asks about what it is sent: the tenant registers a
// client for the API and gives it a client grant, of no scopes if it needs none.
// Other clients with such a grant may ask as well. That tells them little: to ask
// they have to hold the token, all that is said is readable in the JWT itself
// except whether it was revoked, and an opaque token is for no API.
//
// A token is active if it is in time and would be served now: its grant and
// family were not revoked, the client exists, and the user and the connection
// are allowed. About anything else the answer is {"active":false}. With the
// media type application/token-introspection+jwt in Accept the answer is signed
// (RFC 9701).
func (i *Issuer) Introspection() http.Handler { return http.HandlerFunc(i.serveIntrospection) }

func (i *Issuer) serveIntrospection(w http.ResponseWriter, r *http.Request) {
	req, err := i.receive(w, r)
	if err == nil {
		// RFC 7662 §2.1: the endpoint must know who asks.
		req.client, err = i.clientAuth.Authenticate(w, r, req.tenant, req.form)
	}
	if err == nil && req.client.TokenEndpointAuthMethod == clientauth.MethodNone {
		err = oauth.Errorf(oauth.CodeInvalidClient, "introspection needs a client that authenticates")
	}
	var answer introspection
	if err == nil {
		answer, err = i.introspect(r.Context(), req)
	}
	if err != nil {
		i.refuse(w, r, req, err)
		return
	}
	if !acceptsIntrospectionJWT(r.Header.Values("Accept")) {
		httpx.WriteJSON(w, http.StatusOK, &answer)
		return
	}
	signed, err := i.signIntrospection(r.Context(), req, &answer)
	if err != nil {
		i.refuse(w, r, req, err)
		return
	}
	h := w.Header()
	httpx.NoStore(h)
	h.Set("Content-Type", mediaTypeIntrospection)
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusOK)
	w.Write([]byte(signed))
}

// introspect answers about the token of the request. What concerns the caller is
// decided before the store is asked, so that strangers cost nothing.
func (i *Issuer) introspect(ctx context.Context, r *request) (introspection, error) {
	raw := r.form.Get("token")
	if raw == "" {
		return inactive, oauth.Errorf(oauth.CodeInvalidRequest, "token is missing")
	}
	if rt, err := i.openRefreshToken(r.tenant, raw); err == nil {
		return i.introspectRefreshToken(ctx, r, &rt)
	}
	at, err := i.openAccessToken(ctx, r.tenant, raw, r.now)
	if errors.Is(err, errNoAccessToken) {
		return inactive, nil
	}
	if err != nil {
		return inactive, err
	}
	if concerned, err := i.concerned(ctx, r, &at); err != nil || !concerned {
		return inactive, err
	}
	subject := at.userID
	if at.forClient() {
		err = i.clientAlive(ctx, r, at.clientID)
	} else {
		subject, err = i.aliveSubject(ctx, r, &at)
	}
	if err != nil {
		return inactive, systemError(err)
	}
	answer := introspection{
		Active: true, Scope: at.scope.String(), ClientID: at.clientID, TokenType: "Bearer",
		Expiry: at.expires.Unix(), IssuedAt: at.issued.Unix(), Subject: subject, Issuer: r.tenant.Issuer(), ID: at.id,
	}
	switch {
	case len(at.audience) == 1:
		answer.Audience = at.audience[0]
	case len(at.audience) > 1:
		answer.Audience = []string(at.audience)
	case at.scope.Has(oauth.ScopeOpenID):
		answer.Audience = r.tenant.UserInfoAudience() // all that an opaque token opens
	}
	return answer, nil
}

// aliveSubject returns whom a user's token is about, as its client knows them: an
// API is told no more by introspection than a JWT says.
func (i *Issuer) aliveSubject(ctx context.Context, r *request, at *openedToken) (string, error) {
	user, client, _, err := i.alive(ctx, r.tenant, at, r.now)
	if err != nil {
		return "", err
	}
	return i.Subject(ctx, r.tenant, client, user.ID)
}

// systemError returns err unless it says that the token is not alive.
func systemError(err error) error {
	if oauth.Internal(err) {
		return err
	}
	return nil
}

// concerned reports whether the caller may know about the access token.
func (i *Issuer) concerned(ctx context.Context, r *request, at *openedToken) (bool, error) {
	if at.clientID == r.client.ID {
		return true, nil
	}
	audience := grantedAudience(r.tenant, at)
	if audience == "" || r.switchedOff(r.client) {
		return false, nil
	}
	api, err := i.tenants.API(ctx, r.tenant, audience)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	// The rules of the API first: they refuse strict third parties whatever is
	// stored. Then the grant itself: the policy of an API may let in every client.
	if _, err := i.tenants.AllowedScopes(ctx, r.tenant, &api, r.client, store.SubjectClient); err != nil {
		return false, systemError(err)
	}
	_, err = i.stores.ClientGrants.FindClientGrant(ctx, r.tenant.ID(), r.client.ID, api.Audience, store.SubjectClient)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// switchedOff reports whether client is blocked, or registered itself in a tenant that
// switched this off since.
func (r *request) switchedOff(client *store.Client) bool {
	return !r.tenant.Settings().Flags.Serves(client)
}

// clientAlive checks what is left to check of a token that a client obtained for
// itself: there is no grant and no user.
func (i *Issuer) clientAlive(ctx context.Context, r *request, clientID string) error {
	client, err := i.stores.Clients.Client(ctx, r.tenant.ID(), clientID)
	if errors.Is(err, store.ErrNotFound) || err == nil && r.switchedOff(&client) {
		return oauth.WithCause(err, oauth.CodeInvalidToken, "the client may not be served any more")
	}
	return err
}

// introspectRefreshToken answers about a refresh token, to its own client only:
// it is active if the token endpoint would take it now.
func (i *Issuer) introspectRefreshToken(ctx context.Context, r *request, rt *refreshToken) (introspection, error) {
	a := &rt.authorization
	if a.ClientID != r.client.ID || !r.client.AllowsGrantType(grantRefreshToken) || rt.expired(r.now, i.refreshIdle) {
		return inactive, nil
	}
	api, err := i.api(ctx, r.tenant, a.Audience, oauth.CodeInvalidGrant)
	if err != nil {
		return inactive, systemError(err)
	}
	if api != nil && api.DisallowOfflineAccess {
		return inactive, nil
	}
	scope, err := i.stillAllowed(ctx, r.tenant, api, r.client, a.Scope)
	if err != nil {
		return inactive, systemError(err)
	}
	// A family goes with its grant, so that this one read is about both.
	family, err := i.stores.Grants.Family(ctx, r.tenant.ID(), rt.family, r.now)
	switch {
	case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrConsumed):
		return inactive, nil
	case err != nil:
		return inactive, err
	case family.Generation != rt.generation: // it was used
		return inactive, nil
	}
	user, err := i.connections.Admit(ctx, r.tenant, r.client, a.ConnectionID, a.UserID)
	if errors.Is(err, connection.ErrNotAllowed) {
		return inactive, nil
	}
	if err != nil {
		return inactive, err
	}
	subject, err := i.Subject(ctx, r.tenant, r.client, user.ID)
	if err != nil {
		return inactive, err
	}
	sid, err := i.SessionID(ctx, r.tenant, r.client, a.SID)
	if err != nil {
		return inactive, err
	}
	return introspection{
		Active: true, Scope: scope.String(), ClientID: a.ClientID,
		Expiry: rt.until(rt.issued, i.refreshIdle).Unix(), IssuedAt: rt.issued.Unix(),
		Subject: subject, Issuer: r.tenant.Issuer(), SID: sid,
	}, nil
}
