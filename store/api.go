package store

import (
	"context"
	"slices"
	"time"
)

// Access policies of an [API].
const (
	// PolicyRequireClientGrant lets a client ask only for what a [ClientGrant]
	// covers.
	PolicyRequireClientGrant = "require_client_grant"
	// PolicyAllowAll lets every client ask for every scope.
	PolicyAllowAll = "allow_all"
	// PolicyDenyAll refuses every client.
	PolicyDenyAll = "deny_all"
)

// API is a resource server that access tokens are issued for.
type API struct {
	TenantID string `json:"tenant_id"`
	ID       string `json:"id"`
	// Audience is the aud value of its access tokens, unique in the tenant and
	// never changed.
	Audience string     `json:"identifier"`
	Name     string     `json:"name,omitempty"`
	Scopes   []APIScope `json:"scopes,omitempty"`
	// SigningAlgorithm of its access tokens: "ES256" (also if empty) or "RS256".
	SigningAlgorithm string `json:"signing_alg,omitempty"`
	// TokenLifetime of its access tokens. Zero means one hour.
	TokenLifetime time.Duration `json:"token_lifetime,omitempty"`
	// UserPolicy decides which clients may ask for access on behalf of a user,
	// ClientPolicy which may ask for themselves (client_credentials). Empty means
	// PolicyRequireClientGrant. A strict third-party client always needs a grant.
	UserPolicy   string `json:"user_policy,omitempty"`
	ClientPolicy string `json:"client_policy,omitempty"`
	// DisallowOfflineAccess refuses refresh tokens for this API.
	DisallowOfflineAccess bool `json:"disallow_offline_access,omitempty"`
	// SkipFirstPartyConsent lets first-party clients have access without asking the
	// user. Those that return to the user's own device are asked about all the same:
	// whoever is there can only claim to be the client.
	SkipFirstPartyConsent bool      `json:"skip_consent_for_verifiable_first_party_clients,omitempty"`
	Version               int64     `json:"version"`
	CreatedAt             time.Time `json:"created_at"`
	UpdatedAt             time.Time `json:"updated_at"`
}

// APIScope is a permission of an API with the text that consent pages show.
type APIScope struct {
	Value       string `json:"value"`
	Description string `json:"description,omitempty"`
}

// Clone returns a copy that shares nothing with a.
func (a API) Clone() API {
	a.Scopes = slices.Clone(a.Scopes)
	return a
}

// APIStore keeps APIs.
type APIStore interface {
	// CreateAPI stores a. ErrExists: the ID or the audience is taken.
	CreateAPI(ctx context.Context, a API) error
	// API returns the API with that identifier. ErrNotFound: there is none.
	API(ctx context.Context, tenant, id string) (API, error)
	// APIByAudience returns the API with that audience, compared exactly.
	APIByAudience(ctx context.Context, tenant, audience string) (API, error)
	// UpdateAPI replaces the API by compare-and-swap. The audience never changes:
	// the stored one is kept.
	UpdateAPI(ctx context.Context, a API) error
	// DeleteAPI removes the API.
	DeleteAPI(ctx context.Context, tenant, id string) error
	// APIs lists the tenant's APIs.
	APIs(ctx context.Context, tenant string, page Page) ([]API, error)
}

// DefaultForThirdParty as a [ClientGrant]'s ClientID makes it the default for
// every third-party client. It cannot be the identifier of a client.
const DefaultForThirdParty = "@third_party_clients"

// Subject types of a [ClientGrant].
const (
	SubjectUser   = "user"
	SubjectClient = "client"
)

// ClientGrant says which scopes of an API a client may ask for.
type ClientGrant struct {
	TenantID string `json:"tenant_id"`
	ID       string `json:"id"`
	// ClientID is a client's identifier or [DefaultForThirdParty].
	ClientID string   `json:"client_id"`
	Audience string   `json:"audience"`
	Scopes   []string `json:"scope,omitempty"`
	// SubjectType is "user" (access on behalf of a user) or "client"
	// (client_credentials).
	SubjectType string    `json:"subject_type"`
	Version     int64     `json:"version"`
	CreatedAt   time.Time `json:"created_at"`
	UpdatedAt   time.Time `json:"updated_at"`
}

// Clone returns a copy that shares nothing with g.
func (g ClientGrant) Clone() ClientGrant {
	g.Scopes = slices.Clone(g.Scopes)
	return g
}

// ClientGrantStore keeps client grants.
type ClientGrantStore interface {
	// CreateClientGrant stores g. ErrExists: the ID is taken, or there is one for
	// the same client, audience and subject type.
	CreateClientGrant(ctx context.Context, g ClientGrant) error
	// ClientGrant returns the one with that identifier. ErrNotFound: there is none.
	ClientGrant(ctx context.Context, tenant, id string) (ClientGrant, error)
	// FindClientGrant returns the one for that client, audience and subject type.
	FindClientGrant(ctx context.Context, tenant, client, audience, subjectType string) (ClientGrant, error)
	// UpdateClientGrant replaces the grant by compare-and-swap. ClientID,
	// Audience and SubjectType never change: the stored ones are kept.
	UpdateClientGrant(ctx context.Context, g ClientGrant) error
	// DeleteClientGrant removes the grant.
	DeleteClientGrant(ctx context.Context, tenant, id string) error
	// ClientGrants lists the tenant's client grants.
	ClientGrants(ctx context.Context, tenant string, page Page) ([]ClientGrant, error)
}
