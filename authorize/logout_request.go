package authorize

import (
	"context"
	"errors"
	"slices"

	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
	"github.com/opkit/opkit/token"
)

// maxLogoutRequest bounds what is sealed into the confirmation page, so that its
// form stays within what a form may have.
const maxLogoutRequest = 32 << 10

// logoutRequest is a logout request that was checked.
type logoutRequest struct {
	tenant *tenant.Tenant
	params oauth.Parameters
	client *store.Client // nil: the request names none
	hint   *token.Hint   // nil: none came with it
	// redirectURI is registered; location is the same with state. Both are empty if
	// the browser stays here.
	redirectURI, location string
}

// hints reports whether the request's ID token was issued to the user of the
// session. Whoever holds one need not ask the user (RP-Initiated Logout §2, §6).
// sid and sub of the token are as its client knows them.
func (a *Authorizer) hints(ctx context.Context, q *logoutRequest, s *store.Session) (bool, error) {
	if q.hint == nil {
		return false, nil
	}
	sid, err := a.cfg.Tokens.SessionID(ctx, q.tenant, q.client, s.SID)
	if err != nil || q.hint.SID == sid {
		return err == nil, err
	}
	sub, err := a.cfg.Tokens.Subject(ctx, q.tenant, q.client, s.UserID)
	return err == nil && q.hint.Subject == sub, err
}

// parseLogout checks the parameters of RP-Initiated Logout §2. logout_hint and
// ui_locales are ignored.
func (a *Authorizer) parseLogout(ctx context.Context, t *tenant.Tenant, params oauth.Parameters) (*logoutRequest, error) {
	if params.Size() > maxLogoutRequest {
		return nil, oauth.Errorf(oauth.CodeInvalidRequest, "the request is larger than %d bytes", maxLogoutRequest)
	}
	q := &logoutRequest{tenant: t, params: params}
	clientID := params.Get("client_id")
	if raw := params.Get("id_token_hint"); raw != "" {
		hint, err := a.cfg.Tokens.Hint(ctx, t, raw)
		if errors.Is(err, token.ErrInvalidHint) {
			return nil, oauth.WithCause(err, oauth.CodeInvalidRequest, "id_token_hint is not an ID token that was issued here")
		}
		if err != nil {
			return nil, err
		}
		if clientID != "" && clientID != hint.ClientID {
			return nil, oauth.Errorf(oauth.CodeInvalidRequest, "client_id is not the client that id_token_hint was issued to")
		}
		q.hint, clientID = &hint, hint.ClientID
	}
	if err := a.logoutClient(ctx, q, clientID); err != nil {
		return nil, err
	}
	uri := params.Get("post_logout_redirect_uri")
	switch {
	case uri == "":
		return q, nil
	case q.client == nil:
		return nil, oauth.Errorf(oauth.CodeInvalidRequest, "post_logout_redirect_uri needs id_token_hint or client_id")
	case !slices.Contains(q.client.Extra().PostLogoutRedirectURIs, uri):
		return nil, oauth.Errorf(oauth.CodeInvalidRequest, "post_logout_redirect_uri is not registered for the client")
	}
	if err := q.redirectTo(uri); err != nil {
		return nil, err
	}
	if state := params.Get("state"); state != "" {
		q.location = withQuery(uri, encode([]Parameter{{"state", state}}))
	}
	return q, nil
}

// parseLegacyLogout checks the parameters of the older address: client_id and
// returnTo, which is registered for the client or allowed by the tenant. Others
// are ignored.
func (a *Authorizer) parseLegacyLogout(ctx context.Context, t *tenant.Tenant, params oauth.Parameters) (*logoutRequest, error) {
	if params.Size() > maxLogoutRequest {
		return nil, oauth.Errorf(oauth.CodeInvalidRequest, "the request is larger than %d bytes", maxLogoutRequest)
	}
	q := &logoutRequest{tenant: t, params: params}
	if err := a.logoutClient(ctx, q, params.Get("client_id")); err != nil {
		return nil, err
	}
	uri := params.Get("returnTo")
	if uri == "" {
		return q, nil
	}
	registered := slices.Contains(t.Settings().AllowedLogoutURLs, uri) ||
		q.client != nil && slices.Contains(q.client.Extra().PostLogoutRedirectURIs, uri)
	if !registered {
		return nil, oauth.Errorf(oauth.CodeInvalidRequest, "returnTo is neither registered for the client nor allowed by the tenant")
	}
	return q, q.redirectTo(uri)
}

// logoutClient sets the client that the request names.
func (a *Authorizer) logoutClient(ctx context.Context, q *logoutRequest, id string) error {
	if id == "" {
		return nil
	}
	client, err := a.cfg.Stores.Clients.Client(ctx, q.tenant.ID(), id)
	if errors.Is(err, store.ErrNotFound) {
		return oauth.Errorf(oauth.CodeInvalidRequest, "the client is unknown")
	}
	if err != nil {
		return err
	}
	q.client = &client
	return nil
}

// redirectTo sets where the browser goes. uri is registered, but records may have
// been written past the registration's rules, and some schemes run scripts.
func (q *logoutRequest) redirectTo(uri string) error {
	if _, err := oauth.ClassifyRedirectURI(uri); err != nil {
		return oauth.Errorf(oauth.CodeInvalidRequest, "the redirect URI %w", err)
	}
	q.redirectURI, q.location = uri, uri
	return nil
}
