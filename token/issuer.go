package token

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/opkit/opkit/connection"
	"github.com/opkit/opkit/internal/clientauth"
	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// Config is what an Issuer needs.
type Config struct {
	Stores      store.Stores
	Tenants     *tenant.Directory
	Connections *connection.Directory
	ClientAuth  *clientauth.Authenticator
	Secrets     [][]byte
	// Claims adds custom claims. Nil: none.
	Claims ClaimsFunc
	// Lifetimes; zero: defaults (code 60 s, ID token 10 h? see implementation).
	CodeLifetime, AccessTokenLifetime, IDTokenLifetime         time.Duration
	RefreshTokenIdle, RefreshTokenAbsolute, RefreshTokenLeeway time.Duration
	Now                                                        func() time.Time
	Logger                                                     *slog.Logger
}

// ClaimsFunc adds custom claims; each name must be namespaced by a URI.
type ClaimsFunc func(ctx context.Context, in ClaimsInput) (CustomClaims, error)

// ClaimsInput is what a ClaimsFunc sees.
type ClaimsInput struct {
	TenantID string
	Client   *store.Client
	User     *store.User // nil for client_credentials
	Scope    []string
	Audience string
}

// CustomClaims are claims by token.
type CustomClaims struct {
	IDToken, AccessToken, UserInfo map[string]any
}

// Authorization is what a user allowed a client in one authorization. A code is
// its sealed form.
type Authorization struct {
	ClientID        string
	UserID          string
	ConnectionID    string
	GrantID         string
	SID             string
	Scope           oauth.Scope
	Audience        string // identifier of the API, empty: none
	Nonce           string
	AuthTime        time.Time
	RequireAuthTime bool // max_age was given or the client demands auth_time
	ACR             string
	AMR             []string
	// RedirectURI is the redirect_uri parameter as it was sent, empty if it was left out.
	RedirectURI   string
	CodeChallenge string
	// Offline says that a refresh token may be issued.
	Offline bool
}

// Issuer mints.
type Issuer struct{ cfg Config }

func New(cfg Config) (*Issuer, error) { panic("not built") }

// Code returns an authorization code for a. Nothing is stored.
func (i *Issuer) Code(t *tenant.Tenant, a Authorization) (string, error) { panic("not built") }

// FrontChannel is the token part of an authorization response.
type FrontChannel struct {
	AccessToken string
	ExpiresIn   int64
	IDToken     string
	Scope       string
}

// FrontChannel mints what response type rt asks for besides the code: access
// token and/or ID token with at_hash and c_hash. It starts the family.
func (i *Issuer) FrontChannel(ctx context.Context, t *tenant.Tenant, client *store.Client, user *store.User, a Authorization, rt oauth.ResponseType, code string) (FrontChannel, error) {
	panic("not built")
}

// Token serves the token endpoint, UserInfo the userinfo endpoint.
func (i *Issuer) Token() http.Handler    { panic("not built") }
func (i *Issuer) UserInfo() http.Handler { panic("not built") }

// GrantTypes lists what the token endpoint supports.
func GrantTypes() []string { panic("not built") }
