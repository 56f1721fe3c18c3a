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
	// grantImplicit is that of tokens that no request to the endpoint asks for.
	grantImplicit = "implicit"
)

// GrantTypes lists what the token endpoint supports.
func GrantTypes() []string {
	return []string{grantAuthorizationCode, grantRefreshToken, grantClientCredentials}
}

// request is a request to an endpoint that clients call with POST. client is nil
// until it is authenticated.
type request struct {
	http   *http.Request
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
	req, err := i.receive(w, r)
	if err != nil {
		i.refuse(w, r, req, err)
		return
	}
	grant, err := i.grant(req.form.Get("grant_type"))
	if err != nil {
		i.refuse(w, r, req, err)
		return
	}
	// RFC 6749 §3.2.1: authenticate the client before anything is looked at that
	// belongs to it.
	if req.client, err = i.clientAuth.Authenticate(w, r, req.tenant, req.form); err != nil {
		i.refuse(w, r, req, err)
		return
	}
	// RFC 6749 §5.2 unauthorized_client.
	if !req.client.AllowsGrantType(req.form.Get("grant_type")) {
		i.refuse(w, r, req, oauth.Errorf(oauth.CodeUnauthorizedClient, "the client is not registered for grant_type %s", req.form.Get("grant_type")))
		return
	}
	answer, err := grant(r.Context(), req)
	if err != nil {
		i.refuse(w, r, req, err)
		return
	}
	httpx.WriteJSON(w, http.StatusOK, answer) // with no-store, RFC 6749 §5.1
}

// receive reads what a client sent. On error the request has what was read so
// far, for the log.
func (i *Issuer) receive(w http.ResponseWriter, r *http.Request) (*request, error) {
	req := &request{http: r, now: i.now()}
	// RFC 6749 §3.2, RFC 7009 §2.1, RFC 7662 §2.1: the client must use POST.
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return req, &oauth.Error{
			Code: oauth.CodeInvalidRequest, Description: "the method must be POST", Status: http.StatusMethodNotAllowed,
		}
	}
	var err error
	if req.tenant, err = i.tenants.FromRequest(r); err != nil {
		return req, tenantError(err)
	}
	req.form, err = readParameters(w, r)
	return req, err
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
func (i *Issuer) refuse(w http.ResponseWriter, r *http.Request, req *request, err error) {
	clientID := req.form.Get("client_id")
	if req.client != nil {
		clientID = req.client.ID
	}
	i.log(r.Context(), req.tenant, clientID, err)
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
