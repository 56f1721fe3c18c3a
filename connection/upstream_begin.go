package connection

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// This file sends users to an upstream: RFC 6749 §4.1.1, OpenID Connect Core §3.1.2.1.

// UpstreamLogin is what a sign-in at an upstream begins with. The one that finishes has
// to be the same.
type UpstreamLogin struct {
	// RedirectURI is where upstreams send the browser back to. That of a connection with
	// own_redirect_uri has the connection's identifier as one more segment.
	RedirectURI string
	// Secret is random and known to nobody but this provider. What protects the answer
	// (PKCE, nonce) is derived from it.
	Secret string
	// Begun is when it did.
	Begun time.Time
	// MaxAge is how long before that the user may have signed in at the upstream.
	// Negative: any time before.
	MaxAge time.Duration
}

// UpstreamWishes are what a request to an upstream says beyond what it needs.
type UpstreamWishes struct {
	// State comes back with the answer.
	State string
	// LoginHint says who is about to sign in.
	LoginHint string
	// Reauthenticate and SelectAccount are the values login and select_account of prompt.
	Reauthenticate, SelectAccount bool
	ACRValues                     []string
	// Parameter returns a parameter of the client's request.
	Parameter func(name string) string
}

func (l UpstreamLogin) derived(purpose string) string {
	sum := sha256.Sum256([]byte(purpose + "\n" + l.Secret))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// verifier is that of RFC 7636, challenged with S256.
func (l UpstreamLogin) verifier() string { return l.derived("code_verifier") }

func (l UpstreamLogin) nonce() string { return l.derived("nonce") }

// UpstreamRequest returns the address at the upstream to which the browser has to go.
// The error wraps [ErrUpstreamFailed], or is a system error.
func (d *Directory) UpstreamRequest(ctx context.Context, t *tenant.Tenant, c *store.Connection, login UpstreamLogin, wishes UpstreamWishes) (string, error) {
	o, server, err := d.upstream(ctx, t, c)
	if err != nil {
		return "", err
	}
	if login.MaxAge >= 0 && (!o.preset.oidc || o.preset.ageless) {
		// It has no way to say when the user signed in. Better to know before than after.
		return "", ErrUpstreamStale
	}
	options := []oauth2.AuthCodeOption{}
	set := func(name, value string) {
		if value != "" {
			options = append(options, oauth2.SetAuthURLParam(name, value))
		}
	}
	for name, p := range o.UpstreamParams {
		value := p.Value
		if p.Alias != "" && wishes.Parameter != nil {
			value = wishes.Parameter(p.Alias)
		}
		set(name, value)
	}
	if o.usesPKCE() {
		options = append(options, oauth2.S256ChallengeOption(login.verifier()))
	}
	if o.preset.formPost {
		set("response_mode", "form_post")
	}
	if o.preset.loginHint != "" {
		set(o.preset.loginHint, wishes.LoginHint)
	}
	if o.preset.oidc {
		set("nonce", login.nonce())
		set("login_hint", wishes.LoginHint)
		set("acr_values", strings.Join(wishes.ACRValues, " "))
		var prompt []string
		if wishes.Reauthenticate {
			prompt = append(prompt, "login")
		}
		if wishes.SelectAccount {
			prompt = append(prompt, "select_account")
		}
		set("prompt", strings.Join(prompt, " "))
		if login.MaxAge >= 0 {
			set("max_age", strconv.FormatInt(int64(login.MaxAge/time.Second), 10))
		}
	}
	cfg := &oauth2.Config{ClientID: o.ClientID, RedirectURL: o.redirectURI(login, c), Scopes: o.scopes(), Endpoint: oauth2.Endpoint{AuthURL: server.AuthorizationEndpoint}}
	return cfg.AuthCodeURL(wishes.State, options...), nil
}

// redirectURI is where the upstream of a connection sends the browser back to.
func (o *upstreamOptions) redirectURI(login UpstreamLogin, c *store.Connection) string {
	if o.OwnRedirectURI {
		return login.RedirectURI + "/" + url.PathEscape(c.ID)
	}
	return login.RedirectURI
}

// upstream reads the options of a connection and finds its server.
func (d *Directory) upstream(ctx context.Context, t *tenant.Tenant, c *store.Connection) (*upstreamOptions, *upstreamServer, error) {
	if c.TenantID != t.ID() || !d.servesUpstreams() {
		return nil, nil, notAllowed("this process does not serve the connection")
	}
	o, err := upstreamOptionsOf(c)
	if err != nil {
		return nil, nil, err
	}
	server, err := d.upstreams.server(ctx, o)
	return o, server, err
}

// exchanger is the client for the token endpoint.
func (o *upstreamOptions) exchanger(server *upstreamServer, secret, redirectURI string) *oauth2.Config {
	cfg := &oauth2.Config{ClientID: o.ClientID, ClientSecret: secret, RedirectURL: redirectURI}
	cfg.Endpoint = oauth2.Endpoint{TokenURL: server.TokenEndpoint, AuthStyle: oauth2.AuthStyleInParams}
	// Never detected by trying: a code is good for one attempt. OpenID Connect
	// Discovery §3: what names no method takes client_secret_basic.
	basic := o.AuthMethod == "client_secret_basic" ||
		o.AuthMethod == "" && server.discovered && (server.AuthMethods == nil || !slices.Contains(server.AuthMethods, "client_secret_post"))
	if basic && secret != "" {
		cfg.Endpoint.AuthStyle = oauth2.AuthStyleInHeader
	}
	return cfg
}
