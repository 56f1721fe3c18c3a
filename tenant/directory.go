package tenant

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"time"

	"github.com/opkit/opkit/internal/management"
	"github.com/opkit/opkit/store"
)

// Config is what a Directory needs.
type Config struct {
	Stores store.Stores
	// Secrets seal private keys; the first one seals, all open.
	Secrets [][]byte
	// Issuer is the issuer of the single tenant; its record is created at first
	// use and follows this value. Leave empty if Resolver is set.
	Issuer string
	// Settings are given to the single tenant when its record is created.
	Settings store.TenantSettings
	// Resolver finds the tenant of a request. Nil: the single tenant of Issuer.
	Resolver Resolver
	// Endpoints says where endpoints are mounted. Zero: the default paths.
	Endpoints Endpoints
	// Capabilities says what the mounted endpoints support, for the metadata.
	Capabilities Capabilities
	Now          func() time.Time
	Logger       *slog.Logger
}

// DefaultID is the identifier of the single tenant.
const DefaultID = "default"

// Resolver finds the tenant that a request is for.
type Resolver interface {
	// Resolve returns the tenant's identifier and the path below its issuer.
	// store.ErrNotFound: the request is for no tenant.
	Resolve(r *http.Request) (id, path string, err error)
}

// Single returns the resolver for one tenant whose issuer may have a path.
// ByHost returns the one for hosts, ByPath for https://host/prefix/{tenant}.
func Single(id, issuer string) Resolver { panic("not built") }
func ByHost(tenantOf func(ctx context.Context, host string) (string, error)) Resolver {
	panic("not built")
}
func ByPath(prefix string) Resolver { panic("not built") }

// Endpoints are paths below the issuer ("/authorize"), or absolute URLs. Empty
// means the default path, "-" not mounted.
type Endpoints struct {
	Authorization, Login, Consent, LoginCallback                                  string
	Token, UserInfo, JWKS, Registration                                           string
	Revocation, Introspection                                                     string
	PushedAuthorizationRequest, DeviceAuthorization, DeviceActivation, EndSession string
	Management                                                                    string // "/api/v2"
}

// Capabilities says what the endpoints accept. Members that are empty are not
// advertised.
type Capabilities struct {
	ResponseTypes, ResponseModes, GrantTypes, Scopes, Claims, Prompts []string
	TokenEndpointAuthMethods, TokenEndpointAuthSigningAlgs            []string
	IDTokenSigningAlgs, CodeChallengeMethods, SubjectTypes, ACRValues []string
}

// Directory knows the tenants of this process.
type Directory struct{ cfg Config }

// New validates cfg.
func New(cfg Config) (*Directory, error) { panic("not built") }

// Tenant is a snapshot of a tenant. It is shared and never changes.
type Tenant struct{ Record store.Tenant }

func (t *Tenant) ID() string                      { return t.Record.ID }
func (t *Tenant) Issuer() string                  { return t.Record.Issuer }
func (t *Tenant) Settings() *store.TenantSettings { return &t.Record.Settings }

// URL returns the absolute URL of an endpoint's path (issuer without trailing
// slash, then path), or path itself if it is absolute.
func (t *Tenant) URL(path string) string { panic("not built") }

// ManagementAudience is ISSUER/api/v2/, UserInfoAudience ISSUER/userinfo.
func (t *Tenant) ManagementAudience() string { panic("not built") }
func (t *Tenant) UserInfoAudience() string   { panic("not built") }

// FromRequest resolves the tenant of a request; store.ErrNotFound if there is
// none. Tenant returns one by identifier.
func (d *Directory) FromRequest(r *http.Request) (*Tenant, error)           { panic("not built") }
func (d *Directory) Tenant(ctx context.Context, id string) (*Tenant, error) { panic("not built") }
func (d *Directory) Endpoints() *Endpoints                                  { panic("not built") } // with defaults filled in

// Sign returns the compact JWS of payload with the tenant's active key for alg
// ("RS256", "ES256"; the key is created at first use) and typ in the header
// ("JWT", "at+jwt").
func (d *Directory) Sign(ctx context.Context, t *Tenant, alg, typ string, payload []byte) (string, error) {
	panic("not built")
}

// Verify checks the signature of a JWS made by Sign (current and retired,
// not expired keys; exactly one of the algorithms RS256, ES256; header typ equal
// to typ) and returns the payload. Claims are the caller's to check.
func (d *Directory) Verify(ctx context.Context, t *Tenant, typ, token string) (json.RawMessage, error) {
	panic("not built")
}

// API returns the API with that audience: the built-in management API or a
// stored one. store.ErrNotFound if there is none.
func (d *Directory) API(ctx context.Context, t *Tenant, audience string) (store.API, error) {
	panic("not built")
}

// AllowedScopes returns which of an API's scopes client may ask for, applying
// the API's policy, the client's grants and the defaults for third parties.
// subjectType is store.SubjectUser or SubjectClient. An error is an oauth error
// unauthorized_client (no grant covers the API, or policy denies).
func (d *Directory) AllowedScopes(ctx context.Context, t *Tenant, api *store.API, client *store.Client, subjectType string) ([]string, error) {
	panic("not built")
}

// Go methods for setting up.
func (d *Directory) CreateTenant(ctx context.Context, tn store.Tenant) (store.Tenant, error) {
	panic("not built")
}
func (d *Directory) UpdateSettings(ctx context.Context, tenant string, change func(*store.TenantSettings) error) (store.Tenant, error) {
	panic("not built")
}
func (d *Directory) CreateAPI(ctx context.Context, a store.API) (store.API, error) {
	panic("not built")
}
func (d *Directory) CreateClientGrant(ctx context.Context, g store.ClientGrant) (store.ClientGrant, error) {
	panic("not built")
}

// Handlers. Discovery serves both metadata documents, whatever path it is mounted at.
func (d *Directory) Discovery() http.Handler       { panic("not built") }
func (d *Directory) JWKS() http.Handler            { panic("not built") }
func (d *Directory) SettingsHandler() http.Handler { panic("not built") } // GET, PATCH /api/v2/tenants/settings
func (d *Directory) Guard() *management.Guard      { panic("not built") } // for the other rooms' management handlers
