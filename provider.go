package opkit

import (
	"context"
	"net/http"
	"sync"

	"github.com/opkit/opkit/audit"
	"github.com/opkit/opkit/authorize"
	"github.com/opkit/opkit/connection"
	"github.com/opkit/opkit/dcr"
	"github.com/opkit/opkit/internal/clientauth"
	"github.com/opkit/opkit/internal/httpx"
	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/internal/seal"
	"github.com/opkit/opkit/store/cachestore"
	"github.com/opkit/opkit/tenant"
	"github.com/opkit/opkit/token"
)

// Provider is an OpenID Provider. It serves every endpoint as one http.Handler;
// its methods return them one by one.
type Provider struct {
	cfg         Config
	tenants     *tenant.Directory
	connections *connection.Directory
	tokens      *token.Issuer
	browser     *authorize.Authorizer
	registrar   *dcr.Registrar
	log         *tenant.EventLog // nil without Stores.Events
	counters    cachestore.Counters
	routes      *routes
	handler     http.Handler // serves all of them

	managementDocument func() (*httpx.Document, error)
}

// New checks cfg and assembles a provider. It reads and writes no store and starts
// no goroutine; see [Provider.Check] and [Provider.Run].
func New(cfg Config) (*Provider, error) {
	cfg, err := cfg.resolved()
	if err != nil {
		return nil, err
	}
	// Not through the cache: the tenants keep keys themselves, and look for one that
	// another node made when a token names it.
	uncached := cfg.Stores
	p := &Provider{}
	if cfg.CacheStaleness >= 0 {
		cfg.Stores = cachestore.New(cfg.Stores, cachestore.Config{Staleness: cfg.CacheStaleness, Now: cfg.Now, Counters: &p.counters})
	}
	if cfg.Stores.Events != nil {
		if p.log, err = tenant.NewEventLog(tenant.EventLogConfig{
			Events: cfg.Stores.Events, Retention: cfg.EventLog.Retention, MaxEvents: cfg.EventLog.MaxEvents, Now: cfg.Now, Logger: cfg.Logger,
		}); err != nil {
			return nil, err
		}
		cfg.Audit = audit.Tee(cfg.Audit, p.log)
	}
	p.cfg = cfg
	tenantStores := cfg.Stores
	tenantStores.SigningKeys = uncached.SigningKeys
	if p.tenants, err = tenant.New(tenant.Config{
		Stores: tenantStores, Uncached: uncached, ManagementRate: cfg.ManagementRate, KeyStaleness: cfg.CacheStaleness, Keys: cfg.Keys,
		TokenLifetime: max(cfg.Lifetimes.AccessToken, cfg.Lifetimes.IDToken), Secrets: cfg.secrets(), Issuer: cfg.Issuer, Settings: cfg.Settings,
		Resolver: cfg.Resolver, Endpoints: cfg.Endpoints, Capabilities: capabilities(&cfg), Audit: cfg.Audit, Now: cfg.Now, Logger: cfg.Logger,
	}); err != nil {
		return nil, err
	}
	// One client for every address that an application or an administrator registered.
	outbound := httpx.NewOutbound(httpx.OutboundConfig{InsecureAllow: cfg.Outbound.InsecureAllow, RootCAs: cfg.Outbound.RootCAs})
	if p.connections, err = connection.New(connection.Config{
		Stores: cfg.Stores, Uncached: uncached, Tenants: p.tenants, Hosts: cfg.Hosts, ACR: cfg.ACR,
		Secrets: cfg.secrets(), Outbound: outbound, MapUpstream: cfg.MapUpstream,
		// Apart from those of clients, who could push each other's out.
		Keys:     &clientauth.KeySets{Outbound: outbound, Now: cfg.Now, Logger: cfg.Logger},
		Argon2id: cfg.Passwords.Argon2id, PasswordConcurrency: cfg.Passwords.Concurrency,
		PasswordQueue: cfg.Passwords.Queue, LegacyPassword: cfg.Passwords.Legacy, BreachedPassword: cfg.Passwords.Breached,
		Audit: cfg.Audit, Now: cfg.Now, Logger: cfg.Logger,
	}); err != nil {
		return nil, err
	}
	if p.registrar, err = dcr.New(dcr.Config{
		Stores: cfg.Stores, UncachedClients: uncached.Clients, Tenants: p.tenants, Secrets: cfg.secrets(), Outbound: outbound,
		Redirects: cfg.Registration.Redirects, Limiter: cfg.Registration.Limiter, Rate: cfg.Registration.Rate, InsecureUnsignedIDTokens: cfg.InsecureUnsignedIDTokens,
		Lifecycle: cfg.Registration.Lifecycle, Policy: cfg.Registration.Policy, ReusePublicClients: cfg.Registration.ReusePublicClients, Documents: cfg.Registration.Documents,
		SoftwareIssuers: cfg.Registration.SoftwareIssuers, RequireSoftwareStatement: cfg.Registration.RequireSoftwareStatement,
		TrustedProxies: cfg.TrustedProxies, Audit: cfg.Audit, Now: cfg.Now, Logger: cfg.Logger,
	}); err != nil {
		return nil, err
	}
	clientSecrets, err := seal.New("client-secret", cfg.secrets()...)
	if err != nil {
		return nil, err
	}
	clientAuth := &clientauth.Authenticator{
		Clients: p.registrar.Clients(), Tickets: cfg.Stores.Tickets, Tenants: p.tenants, Secrets: clientSecrets,
		Keys:                    &clientauth.KeySets{Outbound: outbound, Now: cfg.Now, Logger: cfg.Logger},
		RequireRegisteredMethod: cfg.RequireRegisteredAuthMethod, InsecureTokenEndpointAudience: cfg.InsecureTokenEndpointAudience,
		TrustedProxies: cfg.TrustedProxies, Now: cfg.Now, Logger: cfg.Logger,
	}
	if p.tokens, err = token.New(token.Config{
		Stores: cfg.Stores, Tenants: p.tenants, Connections: p.connections, ClientAuth: clientAuth,
		Secrets: cfg.secrets(), Claims: cfg.Claims, MaxAccessTokenSize: cfg.MaxAccessTokenSize, UserClaimsInIDToken: cfg.UserClaimsInIDToken,
		InsecureUnsignedIDTokens: cfg.InsecureUnsignedIDTokens, InsecureUserInfoTokenInQuery: cfg.InsecureUserInfoTokenInQuery,
		CodeLifetime: cfg.Lifetimes.Code, AccessTokenLifetime: cfg.Lifetimes.AccessToken, IDTokenLifetime: cfg.Lifetimes.IDToken,
		RefreshTokenIdle: cfg.Lifetimes.RefreshTokenIdle, RefreshTokenAbsolute: cfg.Lifetimes.RefreshTokenAbsolute,
		RefreshTokenLeeway: cfg.Lifetimes.RefreshTokenLeeway,
		Audit:              cfg.Audit, Now: cfg.Now, Logger: cfg.Logger,
	}); err != nil {
		return nil, err
	}
	if p.browser, err = authorize.New(authorize.Config{
		Stores: cfg.Stores, Tenants: p.tenants, Connections: p.connections, Tokens: p.tokens,
		Clients: p.registrar.CurrentClients(), ClientAuth: clientAuth,
		TrustedProxies: cfg.TrustedProxies, Secrets: cfg.secrets(), Pages: cfg.Pages, InsecureHotlinkLogos: cfg.InsecureHotlinkLogos,
		Mailer: cfg.Mailer, SharedLimits: cfg.SharedLimits, Outbound: outbound, Audit: cfg.Audit, Now: cfg.Now, Logger: cfg.Logger,
	}); err != nil {
		return nil, err
	}
	p.managementDocument = sync.OnceValues(p.newManagementDocument)
	p.routes = newRoutes(p)
	p.handler = p.limited(http.HandlerFunc(p.serve))
	return p, nil
}

// Check returns an error if the stores do not answer, or if neither Secret nor
// PreviousSecrets open what they keep (see [tenant.Directory.CheckSecrets]). Programs call
// it when they start, because New reads no store: a wrong secret then is an error at
// the start, not of the first user who signs in.
func (p *Provider) Check(ctx context.Context) error { return p.tenants.CheckSecrets(ctx) }

// CacheStats returns what the cache of configuration records has done in this process:
// hit rates, most of all. Signing keys are kept elsewhere and not counted.
func (p *Provider) CacheStats() cachestore.Stats { return p.counters.Stats() }

// capabilities collects what the rooms support, so that the metadata document
// derives from them.
func capabilities(cfg *Config) tenant.Capabilities {
	return tenant.Capabilities{
		ResponseTypes:                authorize.ResponseTypes(),
		ResponseModes:                authorize.ResponseModes(),
		Prompts:                      authorize.Prompts(),
		GrantTypes:                   append(token.GrantTypes(), "implicit"),
		Scopes:                       oauth.StandardScopes,
		Claims:                       token.StandardClaims(),
		TokenEndpointAuthMethods:     clientauth.Methods,
		TokenEndpointAuthSigningAlgs: clientauth.SigningAlgorithms,
		IntrospectionAuthMethods:     clientauth.ConfidentialMethods,
		IntrospectionSigningAlgs:     token.IntrospectionSigningAlgs(),
		IDTokenSigningAlgs:           token.IDTokenSigningAlgs(cfg.InsecureUnsignedIDTokens),
		UserInfoSigningAlgs:          token.UserInfoSigningAlgs(),
		EncryptionAlgs:               clientauth.EncryptionAlgorithms,
		EncryptionEncs:               clientauth.ContentEncryptions,
		CodeChallengeMethods:         []string{"S256"},
		SubjectTypes:                 token.SubjectTypes(),
		RequestObjectSigningAlgs:     authorize.RequestObjectSigningAlgs(),
		RequestObjectEncryptionAlgs:  authorize.RequestObjectEncryptionAlgs(),
		RequestObjectEncryptionEncs:  authorize.RequestObjectEncryptionEncs(),
		RequestObjectsByReference:    true,
		ClaimsParameter:              true,
		ACRValues:                    cfg.ACR.Supported(),
		FrontchannelLogout:           true,
		BackchannelLogout:            true,
	}
}

// Tenants returns the directory of tenants: creating tenants, APIs and client
// grants, changing settings.
func (p *Provider) Tenants() *tenant.Directory { return p.tenants }

// Connections returns the directory of connections: creating connections and
// users.
func (p *Provider) Connections() *connection.Directory { return p.connections }

// Clients returns the registrar: creating clients of the tenant's own.
func (p *Provider) Clients() *dcr.Registrar { return p.registrar }

// Authorization serves the authorization endpoint (default path /authorize).
func (p *Provider) Authorization() http.Handler { return p.limited(p.browser.Authorization()) }

// PushedAuthorization serves pushed authorization requests (/oauth/par).
func (p *Provider) PushedAuthorization() http.Handler {
	return p.limited(httpx.CORS(p.browser.PushedAuthorization(), http.MethodPost))
}

// Login serves the form of the login page (/login).
func (p *Provider) Login() http.Handler { return p.limited(p.browser.Login()) }

// Consent serves the form of the consent page (/consent).
func (p *Provider) Consent() http.Handler { return p.limited(p.browser.Consent()) }

// LoginCallback serves the address to which a host's login page returns, GET, a login
// with Lock, POST, and other providers, either (/login/callback). It is the redirect URI
// to register there; connections with own_redirect_uri need the handler at
// /login/callback/{id} too.
func (p *Provider) LoginCallback() http.Handler { return p.limited(p.browser.LoginCallback()) }

// Applications serves the page on which users see and remove what they allowed
// (/account/applications).
func (p *Provider) Applications() http.Handler { return p.limited(p.browser.Applications()) }

// UserApplications returns what a user allowed to which application, for hosts that
// show it on a page of their own. See [authorize.Authorizer.UserApplications].
func (p *Provider) UserApplications(ctx context.Context, tenantID, userID, after string) (list []authorize.ApplicationInfo, next string, err error) {
	return p.browser.UserApplications(ctx, tenantID, userID, after)
}

// RemoveAccess revokes what a user allowed an application; grants is
// [authorize.ApplicationInfo].Grants. See [authorize.Authorizer.RemoveAccess].
func (p *Provider) RemoveAccess(ctx context.Context, tenantID, userID, grants string) error {
	return p.browser.RemoveAccess(ctx, tenantID, userID, grants)
}

// LockTenantInfo serves the domain connections to login pages with Lock
// (/info-v1.js).
func (p *Provider) LockTenantInfo() http.Handler { return p.limited(p.browser.LockTenantInfo()) }

// LockClientInfo serves the connections of a client to them (/client/{id}, where the
// identifier ends in .js).
func (p *Provider) LockClientInfo() http.Handler { return p.limited(p.browser.LockClientInfo()) }

// LockChallenge tells Lock that there is no puzzle to solve
// (/usernamepassword/challenge).
func (p *Provider) LockChallenge() http.Handler { return p.limited(p.browser.LockChallenge()) }

// LockLogin serves logins with Lock (/usernamepassword/login).
func (p *Provider) LockLogin() http.Handler { return p.limited(p.browser.LockLogin()) }

// Signup lets people create accounts at connections that allow it
// (/dbconnections/signup).
func (p *Provider) Signup() http.Handler { return p.limited(p.browser.Signup()) }

// ChangePassword mails links to who forgot a password
// (/dbconnections/change_password).
func (p *Provider) ChangePassword() http.Handler { return p.limited(p.browser.ChangePassword()) }

// PasswordReset serves the page behind these links (/login/reset-password).
func (p *Provider) PasswordReset() http.Handler { return p.limited(p.browser.PasswordReset()) }

// EmailVerification serves the page behind the links that people get who sign up
// (/login/verify-email).
func (p *Provider) EmailVerification() http.Handler { return p.limited(p.browser.EmailVerification()) }

// LockSSOData tells Lock that there is no session to offer (/user/ssodata).
func (p *Provider) LockSSOData() http.Handler { return p.limited(p.browser.LockSSOData()) }

// EndSession serves the end-session endpoint (/oidc/logout).
func (p *Provider) EndSession() http.Handler { return p.limited(p.browser.EndSession()) }

// LegacyLogout serves the logout address of older SDKs (/v2/logout).
func (p *Provider) LegacyLogout() http.Handler { return p.limited(p.browser.LegacyLogout()) }

// CheckSession serves the page by which applications learn that the session has
// changed. It and what belongs to it is there only if Endpoints.CheckSession is set.
func (p *Provider) CheckSession() http.Handler { return p.limited(p.browser.CheckSession()) }

// Token serves the token endpoint (/oauth/token).
func (p *Provider) Token() http.Handler {
	return p.limited(httpx.CORS(p.tokens.Token(), http.MethodPost))
}

// UserInfo serves the userinfo endpoint (/userinfo).
func (p *Provider) UserInfo() http.Handler {
	return p.limited(httpx.CORS(p.tokens.UserInfo(), http.MethodGet, http.MethodPost))
}

// Revocation serves token revocation (/oauth/revoke).
func (p *Provider) Revocation() http.Handler {
	return p.limited(httpx.CORS(p.tokens.Revocation(), http.MethodPost))
}

// Introspection serves token introspection (/oauth/introspect). Scripts of other
// origins cannot call it: its callers have a secret, which no browser keeps.
func (p *Provider) Introspection() http.Handler { return p.limited(p.tokens.Introspection()) }

// Metadata serves the metadata documents of OpenID Connect Discovery and RFC 8414
// at whatever path it is mounted (/.well-known/openid-configuration and
// /.well-known/oauth-authorization-server).
func (p *Provider) Metadata() http.Handler {
	return p.limited(httpx.CORS(p.tenants.Discovery(), http.MethodGet))
}

// JWKS serves the public signing keys (/.well-known/jwks.json).
func (p *Provider) JWKS() http.Handler {
	return p.limited(httpx.CORS(p.tenants.JWKS(), http.MethodGet))
}

// Registration serves dynamic client registration (/oidc/register).
func (p *Provider) Registration() http.Handler {
	return p.limited(httpx.CORS(p.registrar.Registration(), http.MethodPost))
}

// ClientConfiguration serves the registration of one client to whoever registered
// it (RFC 7592, /oidc/register/{client_id}). Mount it at a path that ends in {id}.
func (p *Provider) ClientConfiguration() http.Handler {
	return p.limited(httpx.CORS(p.registrar.ClientConfiguration(), http.MethodGet, http.MethodPut, http.MethodDelete))
}

// TenantSettings serves the tenant's settings (/api/v2/tenants/settings).
func (p *Provider) TenantSettings() http.Handler {
	return p.limited(httpx.CORS(p.tenants.SettingsHandler(), http.MethodGet, http.MethodPatch))
}

// ConnectionsAPI serves the management of connections (/api/v2/connections and
// /api/v2/connections/{id}).
func (p *Provider) ConnectionsAPI() http.Handler {
	return p.limited(httpx.CORS(p.connections.Management(), http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodDelete))
}

// ConnectionClientsAPI serves the clients that a connection is enabled for
// (/api/v2/connections/{id}/clients).
func (p *Provider) ConnectionClientsAPI() http.Handler {
	return p.limited(httpx.CORS(p.connections.EnabledClientsManagement(), http.MethodGet, http.MethodPatch))
}

// ConnectionStatusAPI serves whether people can sign in through a connection
// (/api/v2/connections/{id}/status).
func (p *Provider) ConnectionStatusAPI() http.Handler {
	return p.limited(httpx.CORS(p.connections.StatusManagement(), http.MethodGet))
}

// ClientsAPI serves the management of clients (/api/v2/clients and
// /api/v2/clients/{id}).
func (p *Provider) ClientsAPI() http.Handler {
	return p.limited(httpx.CORS(p.registrar.Management(), http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodDelete))
}

// UsersAPI serves the management of the users of database connections (/api/v2/users
// and /api/v2/users/{id}).
func (p *Provider) UsersAPI() http.Handler {
	return p.limited(httpx.CORS(p.connections.UsersManagement(), http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodDelete))
}

// UsersByEmailAPI serves the search for users by email address
// (/api/v2/users-by-email).
func (p *Provider) UsersByEmailAPI() http.Handler {
	return p.limited(httpx.CORS(p.connections.UsersByEmail(), http.MethodGet))
}

// GrantsAPI serves the management of what users allowed (/api/v2/grants and
// /api/v2/grants/{id}).
func (p *Provider) GrantsAPI() http.Handler {
	return p.limited(httpx.CORS(p.browser.GrantsManagement(), http.MethodGet, http.MethodDelete))
}

// UserSessionsAPI serves the management of a user's sessions
// (/api/v2/users/{id}/sessions).
func (p *Provider) UserSessionsAPI() http.Handler {
	return p.limited(httpx.CORS(p.browser.UserSessionsManagement(), http.MethodGet, http.MethodDelete))
}

// LogsAPI serves the log of events (/api/v2/logs and /api/v2/logs/{id}).
func (p *Provider) LogsAPI() http.Handler {
	return p.limited(httpx.CORS(p.tenants.LogsHandler(), http.MethodGet))
}

// UserLogsAPI serves what the log has about a user (/api/v2/users/{id}/logs).
func (p *Provider) UserLogsAPI() http.Handler {
	return p.limited(httpx.CORS(p.tenants.UserLogsHandler(), http.MethodGet))
}

// StatisticsAPI serves how many users signed in and applications registered in each of
// the last hours (/api/v2/stats/hourly).
func (p *Provider) StatisticsAPI() http.Handler {
	return p.limited(httpx.CORS(p.tenants.StatisticsHandler(), http.MethodGet))
}

// SessionsAPI serves the management of one session (/api/v2/sessions/{id} and
// /api/v2/sessions/{id}/revoke).
func (p *Provider) SessionsAPI() http.Handler {
	return p.limited(httpx.CORS(p.browser.SessionsManagement(), http.MethodGet, http.MethodPost, http.MethodDelete))
}

// RefreshTokensAPI serves the management of one chain of refresh tokens
// (/api/v2/refresh-tokens/{id}).
func (p *Provider) RefreshTokensAPI() http.Handler {
	return p.limited(httpx.CORS(p.tokens.RefreshTokensManagement(), http.MethodGet, http.MethodDelete))
}

// UserRefreshTokensAPI serves the management of a user's refresh tokens
// (/api/v2/users/{id}/refresh-tokens).
func (p *Provider) UserRefreshTokensAPI() http.Handler {
	return p.limited(httpx.CORS(p.tokens.UserRefreshTokensManagement(), http.MethodGet, http.MethodDelete))
}

// ResourceServersAPI serves the management of APIs (/api/v2/resource-servers and
// /api/v2/resource-servers/{id}).
func (p *Provider) ResourceServersAPI() http.Handler {
	return p.limited(httpx.CORS(p.tenants.APIsHandler(), http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodDelete))
}

// ClientGrantsAPI serves the management of client grants (/api/v2/client-grants and
// /api/v2/client-grants/{id}).
func (p *Provider) ClientGrantsAPI() http.Handler {
	return p.limited(httpx.CORS(p.tenants.ClientGrantsHandler(), http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodDelete))
}

// SigningKeysAPI serves the signing keys, their rotation and revocation
// (/api/v2/keys/signing and what is below it).
func (p *Provider) SigningKeysAPI() http.Handler {
	return p.limited(httpx.CORS(p.tenants.SigningKeysHandler(), http.MethodGet, http.MethodPost, http.MethodPut))
}

// InitialAccessTokensAPI serves the management of initial access tokens
// (/api/v2/initial-access-tokens and /api/v2/initial-access-tokens/{id}).
func (p *Provider) InitialAccessTokensAPI() http.Handler {
	return p.limited(httpx.CORS(p.registrar.InitialAccessTokens(), http.MethodGet, http.MethodPost, http.MethodDelete))
}

// ClientSecretRotationAPI serves the replacement of client secrets
// (/api/v2/clients/{id}/rotate-secret).
func (p *Provider) ClientSecretRotationAPI() http.Handler {
	return p.limited(httpx.CORS(p.registrar.ClientSecretRotation(), http.MethodPost))
}
