package token

import (
	"context"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"time"

	"github.com/opkit/opkit/connection"
	"github.com/opkit/opkit/internal/httpx"
	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// This file implements the userinfo endpoint (OpenID Connect Core §5.3).

// userInfoPayload is the answer of the userinfo endpoint. iss and aud are in it if
// it is signed (OpenID Connect Core §5.3.2).
type userInfoPayload struct {
	Issuer   string `json:"iss,omitempty"`
	Audience string `json:"aud,omitempty"`
	Subject  string `json:"sub"`
	standardClaims
}

// typUserInfo is the header typ of a signed answer. What tells it from an ID token
// is that it has no exp.
const typUserInfo = "JWT"

// UserInfo serves the userinfo endpoint: GET or POST with the access token in
// the Authorization header, or POST with a form that has it as access_token. A
// token in the query is ignored (RFC 9700 §4.3.2), unless
// [Config].InsecureUserInfoTokenInQuery is set. The answer is JSON, or a JWT
// (application/jwt) for clients that registered userinfo_signed_response_alg or
// userinfo_encrypted_response_alg.
func (i *Issuer) UserInfo() http.Handler { return http.HandlerFunc(i.serveUserInfo) }

func (i *Issuer) serveUserInfo(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodPost {
		w.Header().Set("Allow", "GET, POST")
		oauth.WriteError(w, &oauth.Error{
			Code: oauth.CodeInvalidRequest, Description: "the method must be GET or POST", Status: http.StatusMethodNotAllowed,
		})
		return
	}
	t, err := i.tenants.FromRequest(r)
	if err != nil {
		i.refuse(w, r, &request{}, tenantError(err))
		return
	}
	body, contentType, err := i.userInfo(w, r, t)
	if err != nil {
		if !errors.Is(err, errNoToken) {
			i.log(r.Context(), t, "", err)
		}
		writeBearerError(w, t.Issuer(), err, oauth.ScopeOpenID, "")
		return
	}
	h := w.Header()
	httpx.NoStore(h)
	h.Set("Content-Type", contentType)
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusOK)
	w.Write(body)
}

// userInfo returns the answer and its media type.
func (i *Issuer) userInfo(w http.ResponseWriter, r *http.Request, t *tenant.Tenant) ([]byte, string, error) {
	ctx, now := r.Context(), i.now()
	raw, err := userInfoToken(w, r)
	inQuery := i.tokenInQuery && err == errNoToken && r.Method == http.MethodGet && r.Header["Authorization"] == nil
	if inQuery {
		raw, err = queryToken(r)
	}
	if err != nil {
		return nil, "", err
	}

	// The token is ours and in time.
	at, err := i.openUserToken(ctx, t, raw, now)
	if errors.Is(err, errNoAccessToken) {
		return nil, "", oauth.WithCause(err, oauth.CodeInvalidToken, "the access token is not valid or has expired")
	}
	if err != nil {
		return nil, "", err
	}

	// OpenID Connect Core §5.3.1: it was obtained by an OpenID request, and so a
	// JWT names this endpoint beside its API.
	if !at.scope.Has(oauth.ScopeOpenID) {
		return nil, "", oauth.Errorf(oauth.CodeInsufficientScope, "the access token lacks the scope openid")
	}
	if at.audience != nil && !at.audience.Contains(t.UserInfoAudience()) {
		return nil, "", oauth.Errorf(oauth.CodeInvalidToken, "the access token is not meant for userinfo")
	}

	// It is alive: neither its family nor its grant was revoked, and the client and
	// the user may still be served.
	user, client, grant, err := i.alive(ctx, t, &at, now)
	if err != nil {
		return nil, "", err
	}

	if inQuery && client.Strict() {
		return nil, "", oauth.Errorf(oauth.CodeInvalidRequest, "the access token of this application belongs in the Authorization header")
	}

	custom, err := i.customClaims(ctx, userInfoClaims, func() (ClaimsInput, error) {
		return i.userClaimsInput(ctx, t, ClaimsInput{
			Request: r, Client: client, User: user, Grant: grant, Scope: at.scope, Audience: grantedAudience(t, &at),
		}, grant.ID, oauth.CodeInvalidToken, now)
	})
	if err != nil {
		return nil, "", err
	}
	// OpenID Connect Core §5.3.2: the sub of the ID token.
	subject, err := i.Subject(ctx, t, client, user.ID)
	if err != nil {
		return nil, "", err
	}
	keys, err := i.userInfoKeys(ctx, t, client)
	if err != nil {
		return nil, "", err
	}
	answer := userInfoPayload{Subject: subject, standardClaims: claimsFor(user, ClaimsOfScope(at.scope)|at.claims)}
	if keys.alg != "" {
		answer.Issuer, answer.Audience = t.Issuer(), client.ID
	}
	payload, err := json.Marshal(answer)
	if err != nil {
		return nil, "", err
	}
	payload = splice(payload, custom.userInfo)
	if keys.alg == "" && keys.recipient == nil {
		return payload, "application/json", nil
	}
	token, err := i.makeJWT(ctx, t, &keys, typUserInfo, payload)
	return []byte(token), "application/jwt", err
}

// userInfoKeys returns the keys for what the client registered, zero if it gets
// JSON.
func (i *Issuer) userInfoKeys(ctx context.Context, t *tenant.Tenant, client *store.Client) (k jwtKeys, err error) {
	const what = "userinfo"
	m := client.Metadata
	if m == nil {
		return k, nil
	}
	if m.UserInfoSignedResponseAlg != "" {
		if k, err = i.signingKeys(t, client, what, m.UserInfoSignedResponseAlg); err != nil {
			return k, err
		}
	}
	err = i.encryptTo(ctx, client, &k, what, m.UserInfoEncryptedResponseAlg, m.UserInfoEncryptedResponseEnc)
	return k, err
}

// alive returns whom the token is about, whom it was issued to, and under which
// grant.
func (i *Issuer) alive(ctx context.Context, t *tenant.Tenant, at *openedToken, now time.Time) (*store.User, *store.Client, *store.Grant, error) {
	dead := func(cause error) error {
		return oauth.WithCause(cause, oauth.CodeInvalidToken, "the access token was revoked")
	}
	client, err := i.stores.Clients.Client(ctx, t.ID(), at.clientID)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil, nil, dead(err)
	}
	if err != nil {
		return nil, nil, nil, err
	}
	grant, err := i.stores.Grants.Grant(ctx, t.ID(), at.grantID, at.family, now)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil, nil, dead(err)
	}
	if err != nil {
		return nil, nil, nil, err
	}
	userID := grant.UserID
	if at.audience != nil { // a JWT names the user as its client knows them
		if userID, err = i.Subject(ctx, t, &client, userID); err != nil {
			return nil, nil, nil, err
		}
	}
	if userID != at.userID || grant.ClientID != at.clientID {
		return nil, nil, nil, dead(errors.New("the grant is of another user or client"))
	}
	user, err := i.connections.Admit(ctx, t, &client, grant.ConnectionID, grant.UserID)
	if errors.Is(err, connection.ErrNotAllowed) {
		return nil, nil, nil, dead(err)
	}
	if err != nil {
		return nil, nil, nil, err
	}
	return &user, &client, &grant, nil
}

// grantedAudience returns the API that a JWT was issued for, empty for an opaque
// token.
func grantedAudience(t *tenant.Tenant, at *openedToken) string {
	for _, audience := range at.audience {
		if audience != t.UserInfoAudience() {
			return audience
		}
	}
	return ""
}

// userInfoToken returns the access token of a request. RFC 6750 §2: it comes in
// one way only.
func userInfoToken(w http.ResponseWriter, r *http.Request) (string, error) {
	inHeader, err := bearerToken(r)
	if err != nil && !errors.Is(err, errNoToken) {
		return "", err
	}
	if mediaType, _, merr := mime.ParseMediaType(r.Header.Get("Content-Type")); r.Method != http.MethodPost ||
		merr != nil || mediaType != "application/x-www-form-urlencoded" {
		return inHeader, err
	}
	form, ferr := oauth.ParseForm(w, r)
	if ferr != nil {
		return "", ferr
	}
	inBody := form.Get("access_token")
	switch {
	case inBody == "":
		return inHeader, err
	case inHeader != "":
		return "", oauth.Errorf(oauth.CodeInvalidRequest, "the access token is both in the Authorization header and in the body")
	}
	return inBody, nil
}

// queryToken returns the access token in the query (RFC 6750 §2.3).
func queryToken(r *http.Request) (string, error) {
	params, err := oauth.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return "", err
	}
	if token := params.Get("access_token"); token != "" {
		return token, nil
	}
	return "", errNoToken
}
