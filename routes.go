package opkit

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// routes dispatches by the path below the issuer, exactly: a mux would redirect
// what it takes for an unclean path, and discovery must never redirect.
type routes struct {
	resolver tenant.Resolver
	exact    map[string]http.Handler
	// byID are the endpoints with one identifier at the end, by what precedes it.
	byID map[string]http.Handler
	// byAction are those where a verb follows the identifier, by what precedes and
	// what follows it.
	byAction map[[2]string]http.Handler
}

const (
	wellKnownOpenID = "/.well-known/openid-configuration"
	wellKnownOAuth  = "/.well-known/oauth-authorization-server"
)

func newRoutes(p *Provider) *routes {
	e := p.tenants.Endpoints()
	rt := &routes{resolver: p.tenants.Resolver(), exact: map[string]http.Handler{}, byID: map[string]http.Handler{}, byAction: map[[2]string]http.Handler{}}
	add := func(endpoint string, h http.Handler) {
		if servedHere(endpoint) {
			rt.exact[endpoint] = h
		}
	}
	add(e.Authorization, p.Authorization())
	add(e.PushedAuthorizationRequest, p.PushedAuthorization())
	add(e.Login, p.Login())
	add(e.Consent, p.Consent())
	add(e.LoginCallback, p.LoginCallback())
	if servedHere(e.LoginCallback) {
		rt.byID[e.LoginCallback+"/"] = p.LoginCallback()
	}
	add(e.Applications, p.Applications())
	add(e.LockTenantInfo, p.LockTenantInfo())
	if servedHere(e.LockClientInfo) {
		rt.byID[e.LockClientInfo+"/"] = p.LockClientInfo()
	}
	add(e.LockChallenge, p.LockChallenge())
	add(e.LockLogin, p.LockLogin())
	add(e.LockSSOData, p.LockSSOData())
	if servedHere(e.LockSSOData) {
		add(e.LockSSOData+"/", p.LockSSOData()) // as one version of Lock asks
	}
	add(e.DatabaseSignup, p.Signup())
	add(e.DatabaseChangePassword, p.ChangePassword())
	for _, endpoint := range []string{e.DatabaseSignup, e.DatabaseChangePassword} {
		if servedHere(endpoint) {
			add(endpoint+"/challenge", p.LockChallenge())
		}
	}
	add(e.PasswordReset, p.PasswordReset())
	add(e.EmailVerification, p.EmailVerification())
	add(e.EndSession, p.EndSession())
	add(e.LegacyLogout, p.LegacyLogout())
	add(e.CheckSession, p.CheckSession())
	add(e.Token, p.Token())
	add(e.UserInfo, p.UserInfo())
	add(e.Revocation, p.Revocation())
	add(e.Introspection, p.Introspection())
	add(e.JWKS, p.JWKS())
	add(e.Registration, p.Registration())
	if servedHere(e.ClientConfiguration) {
		rt.byID[e.ClientConfiguration+"/"] = p.ClientConfiguration()
	}
	add(wellKnownOpenID, p.Metadata())
	add(wellKnownOAuth, p.Metadata())
	if servedHere(e.Management) {
		add(e.Management+"/openapi.json", p.ManagementDocument())
		add(e.Management+"/tenants/settings", p.TenantSettings())
		add(e.Management+"/users-by-email", p.UsersByEmailAPI())
		add(e.Management+"/stats/hourly", p.StatisticsAPI())
		for collection, h := range map[string]http.Handler{
			"/users": p.UsersAPI(), "/grants": p.GrantsAPI(), "/clients": p.ClientsAPI(), "/connections": p.ConnectionsAPI(), "/resource-servers": p.ResourceServersAPI(), "/client-grants": p.ClientGrantsAPI(), "/logs": p.LogsAPI(),
		} {
			add(e.Management+collection, h)
			rt.byID[e.Management+collection+"/"] = h
		}
		add(e.Management+"/keys/signing", p.SigningKeysAPI())
		rt.byID[e.Management+"/keys/signing/"] = p.SigningKeysAPI() // and .../rotate
		rt.byAction[[2]string{e.Management + "/keys/signing/", "/revoke"}] = p.SigningKeysAPI()
		add(e.Management+"/initial-access-tokens", p.InitialAccessTokensAPI())
		rt.byID[e.Management+"/initial-access-tokens/"] = p.InitialAccessTokensAPI()
		rt.byAction[[2]string{e.Management + "/users/", "/sessions"}] = p.UserSessionsAPI()
		rt.byAction[[2]string{e.Management + "/connections/", "/clients"}] = p.ConnectionClientsAPI()
		rt.byAction[[2]string{e.Management + "/connections/", "/status"}] = p.ConnectionStatusAPI()
		rt.byAction[[2]string{e.Management + "/users/", "/logs"}] = p.UserLogsAPI()
		rt.byAction[[2]string{e.Management + "/users/", "/refresh-tokens"}] = p.UserRefreshTokensAPI()
		rt.byID[e.Management+"/refresh-tokens/"] = p.RefreshTokensAPI()
		rt.byID[e.Management+"/sessions/"] = p.SessionsAPI()
		rt.byAction[[2]string{e.Management + "/sessions/", "/revoke"}] = p.SessionsAPI()
		rt.byAction[[2]string{e.Management + "/clients/", "/rotate-secret"}] = p.ClientSecretRotationAPI()
	}
	return rt
}

// servedHere reports whether an endpoint is a path: neither switched off nor at an
// absolute URL, where the host mounts it.
func servedHere(endpoint string) bool { return strings.HasPrefix(endpoint, "/") }

// find returns the handler for a path below the issuer, and the identifier that
// the path ends with. raw is the path before it was decoded, if that differs: an
// identifier may be a URL, with slashes of its own.
func (rt *routes) find(path, raw string) (h http.Handler, id string) {
	if h, ok := rt.exact[path]; ok {
		return h, ""
	}
	// Clients of an issuer with a trailing slash put it, or a second one, around the
	// well-known path.
	if trimmed := "/" + strings.Trim(path, "/"); trimmed == wellKnownOpenID || trimmed == wellKnownOAuth {
		return rt.exact[trimmed], ""
	}
	if raw == "" {
		return rt.findID(path)
	}
	h, escaped := rt.findID(raw)
	id, err := url.PathUnescape(escaped)
	if err != nil {
		return nil, ""
	}
	return h, id
}

// findID returns the handler for a path with an identifier in it, and the identifier.
func (rt *routes) findID(path string) (h http.Handler, id string) {
	slash := strings.LastIndexByte(path, '/') + 1
	if h, ok := rt.byID[path[:slash]]; ok {
		return h, path[slash:]
	}
	if slash == 0 {
		return nil, ""
	}
	before := strings.LastIndexByte(path[:slash-1], '/') + 1
	return rt.byAction[[2]string{path[:before], path[slash-1:]}], path[before : slash-1]
}

// ServeHTTP serves every endpoint.
func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) { p.handler.ServeHTTP(w, r) }

func (p *Provider) serve(w http.ResponseWriter, r *http.Request) {
	_, path, err := p.routes.resolver.Resolve(r)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		p.cfg.Logger.ErrorContext(r.Context(), "resolving the tenant failed", "err", err)
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	raw := ""
	if r.URL.RawPath != "" { // below what precedes path, the same in both
		raw = strings.TrimPrefix(r.URL.RawPath, strings.TrimSuffix(r.URL.Path, path))
	}
	h, id := p.routes.find(path, raw)
	if err != nil || h == nil {
		http.NotFound(w, r)
		return
	}
	r.SetPathValue("id", id) // none, too: a pattern of the host may have set one
	h.ServeHTTP(w, r)
}
