package authorize

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// Bounds on what a request may carry through codes, pages and URLs.
const (
	maxRequest = 16 << 10
	maxNonce   = 512
	maxHint    = 256
)

// request is an authorization request that was checked. Until redirectURI is set
// nothing about the client has been proven and an error must not be redirected.
type request struct {
	tenant *tenant.Tenant
	// params are the effective ones, wherever they came from.
	params oauth.Parameters
	from   origin
	client *store.Client
	// account says that the user came to a page of the provider's own. client then is
	// no client but what the pages name, and nothing of the following is set.
	account bool

	redirectURI  string
	state        string
	responseType oauth.ResponseType
	responseMode string

	scope     oauth.Scope
	api       *store.API // nil: no API was asked for
	nonce     string
	challenge string
	offline   bool
	prompt    prompt
	maxAge    time.Duration // negative: not limited
	ageAsked  bool          // max_age came with the request
	loginHint string
	// hintedSub is the sub of id_token_hint: no other user may be served.
	hintedSub string
	claims    claimsRequest
	// acrValues are the authentication context classes that are asked for, best
	// first. A login that satisfies none is refused if acrRequired is set.
	acrValues   []string
	acrRequired bool
	// connection is the name of the connection that the request prefers.
	connection string

	// notAsked says that the user is not asked for consent, see skipsConsent.
	notAsked bool

	// What the response is to say for session management: whether the session was
	// looked for, the browser's state, and whether the user allowed the client
	// something before.
	sessionKnown, allowedBefore bool
	browserState                string
}

// redirectable reports whether errors may be sent to the client.
func (q *request) redirectable() bool { return q != nil && q.redirectURI != "" }

// audience returns the identifier of the API, empty for none.
func (q *request) audience() string {
	if q.api == nil {
		return ""
	}
	return q.api.Audience
}

// prompt is the parsed prompt parameter.
type prompt struct {
	none, login, consent bool
	// Which of the two values that mean login it was.
	reauthenticate, selectAccount bool
}

// parseRequest checks an authorization request in the order of OpenID Connect
// Core §3.1.2.2. params are the effective parameters: pushed ones, those of a
// request object, or what came with the request. With an error it returns what was
// proven so far: if redirectURI is set, the error goes to the client.
func (a *Authorizer) parseRequest(ctx context.Context, t *tenant.Tenant, params oauth.Parameters, from origin) (*request, error) {
	q := &request{tenant: t, params: params, from: from, maxAge: -1}
	if err := a.proveClient(ctx, q); err != nil {
		return q, err
	}
	// From here on errors are redirected, with state and in the right mode.
	q.state = params.Get("state")
	if err := q.parseResponse(); err != nil {
		return q, err
	}
	if params.Get("registration") != "" {
		return q, oauth.Errorf(oauth.CodeRegistrationNotSupport, "the parameter registration is not supported")
	}
	if err := q.checkOrigin(); err != nil {
		return q, err
	}
	if err := q.parseProtections(); err != nil {
		return q, err
	}
	if err := q.parsePrompt(); err != nil {
		return q, err
	}
	if err := a.parseTarget(ctx, q); err != nil {
		return q, err
	}
	if err := q.parseClaims(); err != nil {
		return q, err
	}
	if err := q.parseACR(); err != nil {
		return q, err
	}
	return q, a.parseHints(ctx, q)
}

// proveClient finds the client and proves the redirect URI.
func (a *Authorizer) proveClient(ctx context.Context, q *request) error {
	if q.params.Size() > maxRequest {
		return oauth.Errorf(oauth.CodeInvalidRequest, "the request is larger than %d bytes", maxRequest)
	}
	client, err := a.findClient(ctx, q.tenant, q.params.Get("client_id"))
	if err != nil {
		return err
	}
	q.client = client
	uri := q.params.Get("redirect_uri")
	if uri == "" {
		return oauth.Errorf(oauth.CodeInvalidRequest, "redirect_uri is missing")
	}
	if !oauth.MatchRedirectURI(client.RedirectURIs, uri, mayIgnorePort(client)) {
		return oauth.Errorf(oauth.CodeInvalidRequest, "redirect_uri is not one that the application registered; it has to be equal character by character")
	}
	q.redirectURI = uri
	return nil
}

// errUnknownClient is for a page: a redirect URI is worth what the registration is
// that it was proven by.
var errUnknownClient = &oauth.Error{
	Code: oauth.CodeInvalidClient, Status: http.StatusBadRequest,
	Description: "The application is not registered here, or its registration has expired. The application has to register again.",
}

// findClient returns the client that a request names.
func (a *Authorizer) findClient(ctx context.Context, t *tenant.Tenant, id string) (*store.Client, error) {
	if id == "" {
		return nil, oauth.Errorf(oauth.CodeInvalidRequest, "client_id is missing")
	}
	client, err := a.cfg.Clients.Client(ctx, t.ID(), id)
	if e, ok := errors.AsType[*oauth.Error](err); ok && e.Code == oauth.CodeInvalidClient {
		page := *e // what is wrong with the document that the client publishes
		page.Status = http.StatusBadRequest
		return nil, &page
	}
	if errors.Is(err, store.ErrNotFound) {
		return nil, errUnknownClient
	}
	if err != nil {
		return nil, err
	}
	return &client, nil
}

// checkOrigin applies what the client registered about how its requests arrive.
func (q *request) checkOrigin() error {
	extra := q.client.Extra()
	switch {
	case extra.RequirePushedAuthorizationRequests && q.from.pushed.IsZero(): // RFC 9126 §6
		return oauth.Errorf(oauth.CodeInvalidRequest, "the application has to push its requests (require_pushed_authorization_requests)")
	case extra.RequireSignedRequestObject && !q.from.signed: // RFC 9101 §10.5
		return oauth.Errorf(oauth.CodeInvalidRequest, "the application has to sign its requests (require_signed_request_object)")
	}
	return nil
}

// mayIgnorePort reports whether the loopback rule of RFC 8252 §7.3 applies: to
// applications on the user's own machine.
func mayIgnorePort(c *store.Client) bool {
	return c.TokenEndpointAuthMethod == "none" || c.ApplicationType == "native"
}

// parseResponse decides what is returned, and how.
func (q *request) parseResponse() error {
	// Until the response type is known errors go where every client looks.
	q.responseMode = modeQuery
	mode := q.params.Get("response_mode")
	rt, err := oauth.ParseResponseType(q.params.Get("response_type"))
	if err != nil {
		if mode == modeFragment || (mode == modeFormPost || mode == modeWebMessage) && q.hasOrigin() {
			q.responseMode = mode
		}
		return err
	}
	// OAuth 2.0 Multiple Response Types §5: tokens go into the fragment.
	if rt.FrontChannel() {
		q.responseMode = modeFragment
	}
	switch mode {
	case "":
	case modeQuery:
		if rt.FrontChannel() {
			return oauth.Errorf(oauth.CodeInvalidRequest, "response_mode query is not allowed for a response_type that returns tokens")
		}
	case modeFormPost, modeWebMessage:
		if !q.hasOrigin() {
			return oauth.Errorf(oauth.CodeInvalidRequest, "response_mode %s needs an http or https redirect_uri", mode)
		}
		q.responseMode = mode
	case modeFragment:
		q.responseMode = mode
	default:
		return oauth.Errorf(oauth.CodeInvalidRequest, "response_mode is not one of %s", strings.Join(ResponseModes(), ", "))
	}
	// A set is compared with sets: no other spelling or order reaches a flow that
	// the client may not use.
	if !slices.ContainsFunc(q.client.AllowedResponseTypes(), func(s string) bool {
		allowed, err := oauth.ParseResponseType(s)
		return err == nil && allowed == rt
	}) {
		return oauth.Errorf(oauth.CodeUnauthorizedClient, "the application is not registered for this response_type")
	}
	if rt.Has(oauth.ResponseCode) && !q.client.AllowsGrantType("authorization_code") {
		return oauth.Errorf(oauth.CodeUnauthorizedClient, "the application is not registered for the grant type authorization_code")
	}
	if rt.FrontChannel() && (!q.client.AllowsGrantType("implicit") || q.client.Strict()) {
		return oauth.Errorf(oauth.CodeUnauthorizedClient, "the application may not receive tokens from the authorization endpoint")
	}
	q.responseType = rt
	return nil
}

// hasOrigin reports whether the redirect URI leads to a website. An application
// behind a private-use scheme receives neither forms nor messages.
func (q *request) hasOrigin() bool {
	kind, err := oauth.ClassifyRedirectURI(q.redirectURI)
	return err == nil && kind != oauth.RedirectPrivate
}

// parseProtections checks what binds the response to the request.
func (q *request) parseProtections() error {
	q.nonce = q.params.Get("nonce")
	if len(q.nonce) > maxNonce {
		return oauth.Errorf(oauth.CodeInvalidRequest, "nonce is longer than %d bytes", maxNonce)
	}
	// OpenID Connect Core §3.2.2.1, §3.3.2.11.
	if q.nonce == "" && q.responseType.Has(oauth.ResponseIDToken) {
		return oauth.Errorf(oauth.CodeInvalidRequest, "nonce is required for a response_type with id_token")
	}
	challenge, err := oauth.CheckChallenge(q.params.Get("code_challenge"), q.params.Get("code_challenge_method"))
	if err != nil {
		return err
	}
	// RFC 9700 §2.1.1: public clients must use PKCE. Permissive ones of third parties
	// keep the choice that they had.
	required := q.client.Strict() || q.client.FirstParty && q.client.TokenEndpointAuthMethod == "none"
	if challenge == "" && required && q.responseType.Has(oauth.ResponseCode) {
		return oauth.Errorf(oauth.CodeInvalidRequest, "code_challenge is required (PKCE with S256)")
	}
	q.challenge = challenge
	return nil
}

// parsePrompt checks prompt and max_age.
func (q *request) parsePrompt() error {
	count := 0
	for value := range strings.FieldsSeq(q.params.Get("prompt")) {
		count++
		switch value {
		case "none":
			q.prompt.none = true
		case "login", "select_account":
			// There is one account per browser session, so choosing another one means
			// signing in again.
			q.prompt.login = true
			q.prompt.reauthenticate = q.prompt.reauthenticate || value == "login"
			q.prompt.selectAccount = q.prompt.selectAccount || value == "select_account"
		case "consent":
			q.prompt.consent = true
		default:
			return oauth.Errorf(oauth.CodeInvalidRequest, "prompt is not one of %s", strings.Join(Prompts(), ", "))
		}
	}
	if q.prompt.none && count > 1 { // OpenID Connect Core §3.1.2.1
		return oauth.Errorf(oauth.CodeInvalidRequest, "prompt has none together with another value")
	}
	switch age := q.params.Get("max_age"); {
	case age != "":
		seconds, err := strconv.ParseUint(age, 10, 31)
		if err != nil {
			return oauth.Errorf(oauth.CodeInvalidRequest, "max_age is not a number of seconds")
		}
		q.maxAge, q.ageAsked = time.Duration(seconds)*time.Second, true
	case q.client.Extra().DefaultMaxAge != nil:
		q.maxAge = time.Duration(*q.client.Extra().DefaultMaxAge) * time.Second
	}
	return nil
}

// parseTarget finds the API that is asked for and the scope that may be granted.
func (a *Authorizer) parseTarget(ctx context.Context, q *request) error {
	requested, err := oauth.ParseScope(q.params.Get("scope"))
	if err != nil {
		return err
	}
	registered, err := oauth.ParseScope(q.client.Scope)
	if err != nil {
		return err
	}
	if len(requested) == 0 { // RFC 6749 §3.3: a default is allowed
		requested = registered
	}
	var permitted oauth.Scope
	if q.api, err = a.findAPI(ctx, q); err != nil {
		return err
	}
	if q.api != nil {
		if permitted, err = a.cfg.Tenants.AllowedScopes(ctx, q.tenant, q.api, q.client, store.SubjectUser); err != nil {
			return err
		}
	} else if q.api, permitted, err = a.findDefaultAPI(ctx, q); err != nil {
		return err
	}
	for _, value := range requested {
		// A value that is not understood is ignored (OpenID Connect Core §3.1.2.1);
		// the response's scope says what was granted.
		if len(registered) > 0 && !registered.Has(value) {
			continue
		}
		if value == oauth.ScopeOfflineAccess {
			if !q.client.AllowsGrantType("refresh_token") || q.api != nil && q.api.DisallowOfflineAccess || !q.responseType.Has(oauth.ResponseCode) {
				continue
			}
		} else if !slices.Contains(oauth.StandardScopes, value) && !permitted.Has(value) {
			continue
		}
		q.scope = append(q.scope, value)
	}
	q.offline = q.responseType.Has(oauth.ResponseCode) && q.client.AllowsGrantType("refresh_token") &&
		(q.scope.Has(oauth.ScopeOfflineAccess) || !q.client.FirstParty || len(q.client.GrantTypes) > 0) &&
		(q.api == nil || !q.api.DisallowOfflineAccess)
	return nil
}

// findAPI resolves audience and resource (RFC 8707), which mean the same here.
func (a *Authorizer) findAPI(ctx context.Context, q *request) (*store.API, error) {
	audience, resources := q.params.Get("audience"), q.params.All("resource")
	if len(resources) > 1 {
		return nil, oauth.Errorf(oauth.CodeInvalidTarget, "only one resource can be asked for")
	}
	if len(resources) == 1 {
		u, err := url.Parse(resources[0])
		if err != nil || !u.IsAbs() || strings.Contains(resources[0], "#") { // RFC 8707 §2
			return nil, oauth.Errorf(oauth.CodeInvalidTarget, "resource is not an absolute URI without a fragment")
		}
		if audience != "" && audience != resources[0] {
			return nil, oauth.Errorf(oauth.CodeInvalidTarget, "audience and resource differ")
		}
	}
	switch {
	case len(resources) == 1:
		api, err := a.cfg.Tenants.API(ctx, q.tenant, resources[0])
		return knownAPI(api, err, "resource")
	case audience != "":
		api, err := a.cfg.Tenants.API(ctx, q.tenant, audience)
		return knownAPI(api, err, "audience")
	}
	return nil, nil
}

// findDefaultAPI returns the tenant's default API and what of it the client may
// ask for. Nobody asked for it by name, so that a default which is unknown or
// closed to the client is no default and fails nothing.
func (a *Authorizer) findDefaultAPI(ctx context.Context, q *request) (*store.API, oauth.Scope, error) {
	audience := q.tenant.Settings().DefaultAudience
	if audience == "" {
		return nil, nil, nil
	}
	api, err := a.cfg.Tenants.API(ctx, q.tenant, audience)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	permitted, err := a.cfg.Tenants.AllowedScopes(ctx, q.tenant, &api, q.client, store.SubjectUser)
	if err != nil && !oauth.Internal(err) {
		return nil, nil, nil
	}
	return &api, permitted, err
}

func knownAPI(api store.API, err error, what string) (*store.API, error) {
	if errors.Is(err, store.ErrNotFound) {
		return nil, oauth.Errorf(oauth.CodeInvalidTarget, "%s is not an API of this provider", what)
	}
	if err != nil {
		return nil, err
	}
	return &api, nil
}

// parseHints reads what helps the user, and whom the client expects.
func (a *Authorizer) parseHints(ctx context.Context, q *request) (err error) {
	if hint := q.params.Get("login_hint"); len(hint) <= maxHint {
		q.loginHint = hint
	}
	q.connection = q.params.Get("connection")
	if hint := q.params.Get("id_token_hint"); hint != "" {
		q.hintedSub, err = a.hintedSubject(ctx, q, hint)
	}
	return err
}
