package authorize

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/opkit/opkit/internal/clientauth"
	"github.com/opkit/opkit/internal/httpx"
	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/internal/ratelimit"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// This file implements RFC 9126 (Pushed Authorization Requests).

const (
	requestURIPrefix = "urn:ietf:params:oauth:request_uri:"

	// pushedKind separates pushed requests from everything else that is used once.
	pushedKind = "pushed-request"

	// pushedLifetime is how long a pushed request can begin (RFC 9126 §2.2).
	pushedLifetime = time.Minute
)

// origin says how a request arrived, which its parameters do not show.
type origin struct {
	// pushed is the ticket of a pushed request, zero for others.
	pushed store.Digest
	// signed says that the client signed the parameters.
	signed bool
}

// pushedRequest is the data of a ticket.
type pushedRequest struct {
	ClientID string `json:"c"`
	Query    string `json:"q"` // the effective parameters
	Signed   bool   `json:"s,omitempty"`
}

// PushedAuthorization serves the pushed authorization request endpoint: POST with
// the parameters of an authorization request and client authentication as a form.
// The answer is 201 with request_uri and expires_in, or the JSON of RFC 6749 §5.2.
func (a *Authorizer) PushedAuthorization() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t, err := a.cfg.Tenants.FromRequest(r)
		if errors.Is(err, store.ErrNotFound) {
			err = &oauth.Error{Code: oauth.CodeInvalidRequest, Description: "there is no issuer at this address", Status: http.StatusNotFound}
		}
		var requestURI string
		if err == nil {
			requestURI, err = a.push(w, r, t)
		}
		if err != nil {
			a.log(r, &request{tenant: t}, oauth.AsError(err))
			oauth.WriteError(w, err)
			return
		}
		httpx.WriteJSON(w, http.StatusCreated, struct { // with no-store
			RequestURI string `json:"request_uri"`
			ExpiresIn  int64  `json:"expires_in"`
		}{requestURI, int64(pushedLifetime / time.Second)})
	})
}

// push stores a request and returns its request_uri.
func (a *Authorizer) push(w http.ResponseWriter, r *http.Request, t *tenant.Tenant) (string, error) {
	if r.Method != http.MethodPost { // RFC 9126 §2.3
		w.Header().Set("Allow", http.MethodPost)
		return "", &oauth.Error{Code: oauth.CodeInvalidRequest, Description: "the method must be POST", Status: http.StatusMethodNotAllowed}
	}
	form, err := oauth.ParseForm(w, r)
	if err != nil {
		return "", err
	}
	client, err := a.cfg.ClientAuth.Authenticate(w, r, t, form)
	if err != nil {
		return "", err
	}
	// RFC 9126 §2.1: checked as the request itself will be. It is not stored only to be
	// refused in front of the user.
	if !t.Settings().Flags.Serves(client) {
		return "", oauth.Errorf(oauth.CodeUnauthorizedClient, "%s", notServed(client))
	}
	// Whoever proves nothing may store only so much.
	if client.TokenEndpointAuthMethod == clientauth.MethodNone {
		if wait := a.admitPush(r, t); wait > 0 {
			return "", &oauth.Error{
				Code: oauth.CodeTemporarilyUnavailable, Status: http.StatusTooManyRequests, RetryAfter: wait,
				Description: "too many requests were pushed from this network, try again later",
			}
		}
	}
	if form.Get("request_uri") != "" { // RFC 9126 §2.1
		return "", oauth.Errorf(oauth.CodeInvalidRequest, "request_uri must not be in a pushed authorization request")
	}
	for _, name := range [...]string{"client_secret", "client_assertion", "client_assertion_type"} {
		form.Set(name, "") // not part of the authorization request, and not to be stored
	}
	form.Set("client_id", client.ID)
	// RFC 9126 §3: beside a request object there is nothing that counts.
	params, signed := form, false
	if object := form.Get("request"); object != "" {
		if params, signed, err = a.applyObject(r.Context(), t, client, form, object, true); err != nil {
			return "", err
		}
	}
	value := randomValue()
	from := origin{pushed: store.DigestOf(value), signed: signed}
	if _, err := a.parseRequest(r.Context(), t, params, from); err != nil {
		return "", err
	}
	data, err := json.Marshal(pushedRequest{ClientID: client.ID, Query: params.Encode(), Signed: signed})
	if err != nil {
		return "", err
	}
	now := a.now()
	if err := a.cfg.Stores.Tickets.PutTicket(r.Context(), store.Ticket{
		TenantID: t.ID(), Kind: pushedKind, ID: from.pushed, Data: data, CreatedAt: now, ExpiresAt: now.Add(pushedLifetime),
	}, now); err != nil {
		return "", err
	}
	return requestURIPrefix + value, nil
}

// pushRate is what one network may push for public clients.
var pushRate = ratelimit.Rate{PerSecond: 20, Burst: 200}

// admitPush returns zero, or how long the network has to wait. Loopback addresses are
// not counted: they come from this machine, or from a proxy on it, whose clients must
// not lock each other out.
func (a *Authorizer) admitPush(r *http.Request, t *tenant.Tenant) time.Duration {
	addr := httpx.ClientAddress(r, a.cfg.TrustedProxies)
	if !addr.IsValid() || addr.IsLoopback() {
		return 0
	}
	return a.pushes.Admit(ratelimit.Key{Tenant: t.ID(), Network: ratelimit.Network(addr)}, a.now())
}

// receive checks what arrived at the authorization endpoint, whichever way the
// client passed its parameters.
func (a *Authorizer) receive(ctx context.Context, t *tenant.Tenant, params oauth.Parameters) (*request, error) {
	if value, ok := strings.CutPrefix(params.Get("request_uri"), requestURIPrefix); ok {
		// RFC 9126 §4, RFC 9101 §5: beside client_id nothing counts.
		pushed, from, err := a.openPushed(ctx, t, params.Get("client_id"), value)
		if err != nil {
			return &request{tenant: t}, err
		}
		return a.parseRequest(ctx, t, pushed, from)
	}
	if params.Get("request") == "" && params.Get("request_uri") == "" {
		return a.parseRequest(ctx, t, params, origin{})
	}
	outside := &request{tenant: t, params: params}
	client, err := a.findClient(ctx, t, params.Get("client_id"))
	if err != nil {
		return outside, err
	}
	object, err := a.object(ctx, client, params)
	var effective oauth.Parameters
	var signed bool
	if err == nil {
		effective, signed, err = a.applyObject(ctx, t, client, params, object, false)
	}
	if err != nil {
		// Nothing in the object is believed. The error goes to the client if what is
		// outside proves where that is.
		if a.proveClient(ctx, outside) == nil {
			outside.state = params.Get("state")
			_ = outside.parseResponse() // for the response mode
		}
		return outside, err
	}
	return a.parseRequest(ctx, t, effective, origin{signed: signed})
}

// openPushed returns the parameters that a client pushed. They can begin until a
// response was sent, so that a page may be loaded again.
func (a *Authorizer) openPushed(ctx context.Context, t *tenant.Tenant, clientID, value string) (oauth.Parameters, origin, error) {
	// To the one who holds the value it is all the same. Another client is not told
	// that the value exists.
	gone := &oauth.Error{
		Code: oauth.CodeInvalidRequestURI, Status: http.StatusBadRequest,
		Description: "This sign-in was begun too long ago, or has been completed already. Go back to the application and start again.",
	}
	now := a.now()
	id := store.DigestOf(value)
	ticket, err := a.cfg.Stores.Tickets.Ticket(ctx, t.ID(), pushedKind, id, now)
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrConsumed) {
		return oauth.Parameters{}, origin{}, gone
	}
	if err != nil {
		return oauth.Parameters{}, origin{}, err
	}
	var pushed pushedRequest
	if err := json.Unmarshal(ticket.Data, &pushed); err != nil {
		return oauth.Parameters{}, origin{}, err
	}
	if pushed.ClientID != clientID || !ticket.CreatedAt.Add(pushedLifetime).After(now) {
		return oauth.Parameters{}, origin{}, gone
	}
	// The ticket decides that there is one response, so it has to live as long as
	// the pages may: twice, because a page that was open for too long is shown again.
	ticket.ExpiresAt = now.Add(2 * a.cfg.TransactionLifetime)
	switch err := a.cfg.Stores.Tickets.UpdateTicket(ctx, ticket, now); {
	case errors.Is(err, store.ErrConsumed), errors.Is(err, store.ErrNotFound):
		return oauth.Parameters{}, origin{}, gone
	case err != nil && !errors.Is(err, store.ErrConflict): // a conflict: loaded twice at once
		return oauth.Parameters{}, origin{}, err
	}
	params, err := oauth.ParseQuery(pushed.Query)
	return params, origin{pushed: id, signed: pushed.Signed}, err
}

// spend uses up a pushed request: one of several responses to it is sent.
func (a *Authorizer) spend(ctx context.Context, q *request) error {
	if q.from.pushed.IsZero() {
		return nil
	}
	_, err := a.cfg.Stores.Tickets.ConsumeTicket(ctx, q.tenant.ID(), pushedKind, q.from.pushed, a.now())
	if errors.Is(err, store.ErrConsumed) || errors.Is(err, store.ErrNotFound) {
		return oauth.Errorf(oauth.CodeInvalidRequest, "the pushed request was used before, or signing in took too long")
	}
	return err
}
