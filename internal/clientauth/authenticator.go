package clientauth

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/opkit/opkit/internal/httpx"
	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/internal/seal"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// The supported values of token_endpoint_auth_method (RFC 7591 §2, OpenID Connect
// Core §9).
const (
	MethodBasic         = "client_secret_basic"
	MethodPost          = "client_secret_post"
	MethodSecretJWT     = "client_secret_jwt"
	MethodPrivateKeyJWT = "private_key_jwt"
	MethodNone          = "none"
)

// Methods are the supported values of token_endpoint_auth_method, for metadata
// and registration.
var Methods = []string{MethodBasic, MethodPost, MethodPrivateKeyJWT, MethodSecretJWT, MethodNone}

// ConfidentialMethods are those of Methods with which a client proves who it is.
var ConfidentialMethods = []string{MethodBasic, MethodPost, MethodPrivateKeyJWT, MethodSecretJWT}

// ClientReader finds clients. The error is store.ErrNotFound if there is none; if it
// is an *oauth.Error as well, or alone, it is what the client is told.
type ClientReader interface {
	Client(ctx context.Context, tenant, id string) (store.Client, error)
}

// Authenticator authenticates clients. Clients and Tickets are required.
type Authenticator struct {
	Clients ClientReader
	// Tickets remembers the assertions that were used, until they expire.
	Tickets store.TicketStore
	// Tenants knows the URL of the token endpoint. It is required if
	// InsecureTokenEndpointAudience is set.
	Tenants *tenant.Directory

	// Secrets opens sealed client secrets: the box for "client-secret". It is
	// required to authenticate clients that registered client_secret_jwt.
	Secrets *seal.Box

	// Keys gives the public keys of clients. Nil: those that are registered inline.
	Keys *KeySets

	// RequireRegisteredMethod refuses a secret in the body from a client that
	// registered client_secret_basic, and HTTP Basic from one that registered
	// client_secret_post.
	RequireRegisteredMethod bool

	// InsecureTokenEndpointAudience accepts assertions whose audience is the URL
	// of the token endpoint, as older clients send it. Such an assertion can be
	// replayed here by another authorization server that the client was led to
	// use: it chooses which token endpoint the client sees. By default the
	// audience has to be the issuer.
	InsecureTokenEndpointAudience bool

	// TrustedProxies are the addresses whose X-Forwarded-For is believed. Empty: none;
	// the peer's address counts.
	TrustedProxies []netip.Prefix

	// Now is the clock. Nil: time.Now.
	Now func() time.Time
	// Logger learns why an authentication failed. Nil: nobody does.
	Logger *slog.Logger
}

// Authenticate returns the client that made the request. form holds the
// parameters of the body, r gives the Authorization header.
//
// The error is an oauth error: invalid_request if the request contradicts itself,
// invalid_client (401) if the client is unknown or did not prove who it is.
// WWW-Authenticate is set on w if, and only if, the request had an Authorization
// header (RFC 6749 §5.2). Any other error is a system error.
//
// The returned client is shared and must not be modified.
func (a *Authenticator) Authenticate(w http.ResponseWriter, r *http.Request, t *tenant.Tenant, form oauth.Parameters) (*store.Client, error) {
	c, err := parseCredentials(r.Header.Values("Authorization"), form)
	var client *store.Client
	if err == nil {
		ctx := r.Context()
		if oauth.NamesDocument(c.clientID) { // the client may have to be fetched
			ctx = httpx.WithRequester(ctx, httpx.ClientAddress(r, a.TrustedProxies))
		}
		client, err = a.verify(ctx, t, c)
	}
	if err == nil {
		return client, nil
	}
	if e, ok := errors.AsType[*oauth.Error](err); ok && e.Code == oauth.CodeInvalidClient {
		if len(r.Header.Values("Authorization")) > 0 {
			w.Header().Set("WWW-Authenticate", `Basic realm="client", charset="UTF-8"`)
		}
		a.logger().InfoContext(r.Context(), "client authentication failed", "tenant", t.ID(), "client_id", c.clientID, "err", err)
	}
	return nil, err
}

// unproven is the answer to an unknown client and to a known one with the wrong
// proof: which of the two it was is for the log.
func unproven(cause string) error {
	return oauth.WithCause(errors.New(cause), oauth.CodeInvalidClient,
		"client authentication failed: the client is unknown or its credentials are wrong")
}

// verify applies rules 2 to 4 of the package.
func (a *Authenticator) verify(ctx context.Context, t *tenant.Tenant, c credentials) (*store.Client, error) {
	client, err := a.client(ctx, t.ID(), c.clientID)
	if _, ok := errors.AsType[*oauth.Error](err); ok {
		return nil, err // what is wrong with the document that the client publishes
	}
	if errors.Is(err, store.ErrNotFound) {
		// The work that a known client's secret would have cost.
		store.Digest{}.Matches(c.secret)
		return nil, unproven("no such client")
	}
	if err != nil {
		return nil, err
	}
	if err := a.checkMethod(client.TokenEndpointAuthMethod, c.kind); err != nil {
		return nil, err
	}
	switch c.kind {
	case kindBasic, kindPost:
		if !a.acceptsSecret(client, c.secret) {
			return nil, unproven("wrong secret")
		}
	case kindAssertion:
		if err := a.verifyAssertion(ctx, t, client, c.assertion); err != nil {
			return nil, err
		}
	}
	return client, nil
}

func (a *Authenticator) client(ctx context.Context, tenant, id string) (*store.Client, error) {
	if !validClientID(id) {
		return nil, store.ErrNotFound
	}
	client, err := a.Clients.Client(ctx, tenant, id)
	if err != nil {
		return nil, err
	}
	return &client, nil
}

// checkMethod says whether a client that registered a method may present
// credentials of that kind. The texts tell a developer what to change; that the
// client exists, the authorization endpoint tells as well.
func (a *Authenticator) checkMethod(registered string, kind kind) error {
	if registered == "" {
		registered = MethodPost
	}
	allowed := false
	switch registered {
	case MethodNone:
		// A public client has no secret: what it presents here was made up, or is
		// the secret of somebody else.
		allowed = kind == kindNone
	case MethodBasic:
		allowed = kind == kindBasic || kind == kindPost && !a.RequireRegisteredMethod
	case MethodPost:
		allowed = kind == kindPost || kind == kindBasic && !a.RequireRegisteredMethod
	case MethodSecretJWT, MethodPrivateKeyJWT:
		allowed = kind == kindAssertion
	}
	if allowed {
		return nil
	}
	if !slices.Contains(Methods, registered) {
		return oauth.Errorf(oauth.CodeInvalidClient, "client authentication failed: the client's token_endpoint_auth_method is not supported")
	}
	return oauth.Errorf(oauth.CodeInvalidClient,
		"client authentication failed: the client is registered with token_endpoint_auth_method %s and the request uses %s", registered, kind)
}

func (a *Authenticator) now() time.Time {
	if a.Now == nil {
		return time.Now()
	}
	return a.Now()
}

func (a *Authenticator) logger() *slog.Logger {
	if a.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return a.Logger
}
