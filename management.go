package opkit

import (
	"net/http"
	"path"
	"time"

	"github.com/opkit/opkit/internal/httpx"
	"github.com/opkit/opkit/internal/management"
)

// managementDocumentAge is for how long caches may keep the description of the
// management API.
const managementDocumentAge = 5 * time.Minute

// managementResources are what the management API consists of, by the path below its
// own.
func (p *Provider) managementResources() map[string]http.Handler {
	return map[string]http.Handler{
		"/tenants/settings":           p.tenants.SettingsHandler(),
		"/connections":                p.connections.Management(),
		"/connections/{id}/clients":   p.connections.EnabledClientsManagement(),
		"/connections/{id}/status":    p.connections.StatusManagement(),
		"/clients":                    p.registrar.Management(),
		"/clients/{id}/rotate-secret": p.registrar.ClientSecretRotation(),
		"/resource-servers":           p.tenants.APIsHandler(),
		"/client-grants":              p.tenants.ClientGrantsHandler(),
		"/users":                      p.connections.UsersManagement(),
		"/users-by-email":             p.connections.UsersByEmail(),
		"/users/{id}/refresh-tokens":  p.tokens.UserRefreshTokensManagement(),
		"/refresh-tokens/{id}":        p.tokens.RefreshTokensManagement(),
		"/sessions":                   p.browser.SessionsManagement(),
		"/users/{id}/sessions":        p.browser.UserSessionsManagement(),
		"/users/{id}/logs":            p.tenants.UserLogsHandler(),
		"/grants":                     p.browser.GrantsManagement(),
		"/keys/signing":               p.tenants.SigningKeysHandler(),
		"/initial-access-tokens":      p.registrar.InitialAccessTokens(),
		"/logs":                       p.tenants.LogsHandler(),
		"/stats/hourly":               p.tenants.StatisticsHandler(),
	}
}

// newManagementDocument describes the management API.
func (p *Provider) newManagementDocument() (*httpx.Document, error) {
	described := map[string]management.Described{}
	for at, h := range p.managementResources() {
		described[at], _ = h.(management.Described)
	}
	// Relative to where the document is, so that it holds for every tenant and mount.
	body, err := management.Document("../"+path.Base(p.tenants.Endpoints().Management), described)
	if err != nil {
		return nil, err
	}
	return httpx.NewDocument("application/json", body, managementDocumentAge), nil
}

// ManagementDocument serves the OpenAPI 3.1 document of the management API
// (/api/v2/openapi.json), to everybody: it says how requests look, and nothing of the
// tenant.
func (p *Provider) ManagementDocument() http.Handler {
	return p.limited(httpx.CORS(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		document, err := p.managementDocument()
		if err != nil {
			management.WriteError(w, r, p.cfg.Logger, err)
			return
		}
		document.ServeHTTP(w, r)
	}), http.MethodGet))
}
