package token

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/opkit/opkit/connection"
	"github.com/opkit/opkit/internal/httpx"
	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// The grant types of the token endpoint.
const (
	grantAuthorizationCode = "authorization_code"
	grantRefreshToken      = "refresh_token"
	grantClientCredentials = "client_credentials"
)

// GrantTypes lists what the token endpoint supports.
func GrantTypes() []string {
	return []string{grantAuthorizationCode, grantRefreshToken, grantClientCredentials}
}

// request is an authenticated request to the token endpoint.
type request struct {
	tenant *tenant.Tenant
	client *store.Client
	form   oauth.Parameters
	now    time.Time
}

// response is a successful answer (RFC 6749 §5.1). Scope is always there: left
// out it would say that everything was granted that had been asked for.
type response struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int64  `json:"expires_in"`
	RefreshToken string `json:"refresh_token,omitempty"`
	IDToken      string `json:"id_token,omitempty"`
	Scope        string `json:"scope"`
}

// Token serves the token endpoint (RFC 6749 §3.2): POST with the parameters as a
// form or as one JSON object.
func (i *Issuer) Token() http.Handler { return http.HandlerFunc(i.serveToken) }

func (i *Issuer) serveToken(w http.ResponseWriter, r *http.Request) {
	// RFC 6749 §3.2: the client must use POST.
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		oauth.WriteError(w, &oauth.Error{
			Code: oauth.CodeInvalidRequest, Description: "the method must be POST", Status: http.StatusMethodNotAllowed,
		})
		return
	}
	t, err := i.tenants.FromRequest(r)
	if err != nil {
		i.refuse(w, r, nil, "", tenantError(err))
		return
	}
	form, err := readParameters(w, r)
	if err != nil {
		i.refuse(w, r, t, "", err)
		return
	}
	grant, err := i.grant(form.Get("grant_type"))
	if err != nil {
		i.refuse(w, r, t, "", err)
		return
	}
	// RFC 6749 §3.2.1: authenticate the client before anything is looked at that
	// belongs to it.
	client, err := i.clientAuth.Authenticate(w, r, t, form)
	if err != nil {
		i.refuse(w, r, t, form.Get("client_id"), err)
		return
	}
	// RFC 6749 §5.2 unauthorized_client.
	if !client.AllowsGrantType(form.Get("grant_type")) {
		i.refuse(w, r, t, client.ID, oauth.Errorf(oauth.CodeUnauthorizedClient, "the client is not registered for grant_type %s", form.Get("grant_type")))
		return
	}
	answer, err := grant(r.Context(), &request{tenant: t, client: client, form: form, now: i.now()})
	if err != nil {
		i.refuse(w, r, t, client.ID, err)
		return
	}
	httpx.WriteJSON(w, http.StatusOK, answer) // with no-store, RFC 6749 §5.1
}

// grant returns what answers requests of a grant type.
func (i *Issuer) grant(grantType string) (func(context.Context, *request) (*response, error), error) {
	switch grantType {
	case grantAuthorizationCode:
		return i.redeemCode, nil
	case grantRefreshToken:
		return i.refresh, nil
	case grantClientCredentials:
		return i.clientCredentials, nil
	case "":
		return nil, oauth.Errorf(oauth.CodeInvalidRequest, "grant_type is missing")
	}
	return nil, oauth.Errorf(oauth.CodeUnsupportedGrantType, "grant_type is not one that this provider supports")
}

// tenantError is the answer to a request for no tenant.
func tenantError(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return &oauth.Error{Code: oauth.CodeInvalidRequest, Description: "there is no issuer at this address", Status: http.StatusNotFound}
	}
	return err
}

// refuse logs what is the provider's fault and answers err.
func (i *Issuer) refuse(w http.ResponseWriter, r *http.Request, t *tenant.Tenant, clientID string, err error) {
	i.log(r.Context(), t, clientID, err)
	oauth.WriteError(w, err)
}

func (i *Issuer) log(ctx context.Context, t *tenant.Tenant, clientID string, err error) {
	id := ""
	if t != nil {
		id = t.ID()
	}
	if oauth.Internal(err) {
		i.logger.ErrorContext(ctx, "request failed", "tenant", id, "client_id", clientID, "err", err)
		return
	}
	i.logger.DebugContext(ctx, "request refused", "tenant", id, "client_id", clientID, "err", err)
}

// admit checks that client may still serve the user through the connection.
func (i *Issuer) admit(ctx context.Context, t *tenant.Tenant, client *store.Client, connectionID, userID string) (store.User, error) {
	user, err := i.connections.Admit(ctx, t, client, connectionID, userID)
	if errors.Is(err, connection.ErrNotAllowed) {
		return store.User{}, oauth.WithCause(err, oauth.CodeInvalidGrant, "the user, the connection or the client is not allowed any more")
	}
	return user, err
}
