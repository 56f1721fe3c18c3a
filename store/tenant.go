package store

import (
	"context"
	"slices"
	"time"
)

// Tenant is one issuer with its settings.
type Tenant struct {
	ID string `json:"id"`
	// Issuer is the issuer identifier, byte for byte as it appears in tokens and
	// metadata; a trailing slash counts.
	Issuer   string         `json:"issuer"`
	Settings TenantSettings `json:"settings"`
	// PairwiseSalt is what pairwise identifiers are computed with. It is made once
	// and never replaced: every one of them would change. Empty: not needed yet.
	PairwiseSalt Sealed    `json:"pairwise_salt,omitempty"`
	Version      int64     `json:"version"`
	CreatedAt    time.Time `json:"created_at"`
	UpdatedAt    time.Time `json:"updated_at"`
}

// TenantSettings is what a tenant's administrators may change. The zero value is
// the safest choice.
type TenantSettings struct {
	FriendlyName string `json:"friendly_name,omitempty"`
	PictureURL   string `json:"picture_url,omitempty"`
	SupportEmail string `json:"support_email,omitempty"`
	SupportURL   string `json:"support_url,omitempty"`

	// DefaultAudience is assumed when an authorization request names none.
	DefaultAudience string `json:"default_audience,omitempty"`
	// DefaultDirectory is the name of the connection that login pages prefer.
	DefaultDirectory string `json:"default_directory,omitempty"`

	// LoginPage takes the place of the built-in login page for every client that has
	// none of its own.
	LoginPage LoginPage `json:"login_page,omitzero"`

	// SessionLifetime and IdleSessionLifetime are in hours, as the management API
	// has them. Zero means 168 and 72.
	SessionLifetime     float64 `json:"session_lifetime,omitempty"`
	IdleSessionLifetime float64 `json:"idle_session_lifetime,omitempty"`

	// AllowedLogoutURLs are the tenant's own targets for logout redirects.
	AllowedLogoutURLs []string `json:"allowed_logout_urls,omitempty"`

	Flags TenantFlags `json:"flags"`

	// DynamicClientRegistrationSecurityMode is given to clients that register
	// from now on: "strict" (also if empty) or "permissive".
	DynamicClientRegistrationSecurityMode string `json:"dynamic_client_registration_security_mode,omitempty"`
	// DynamicClientRegistrationAccess says who may register while the flag is on:
	// [AccessOpen] (also if empty), everybody, or [AccessInitialToken], whoever has an
	// initial access token.
	DynamicClientRegistrationAccess string `json:"dynamic_client_registration_access,omitempty"`

	// DynamicClientRegistrationAllowedAddresses are the only addresses from which
	// applications may register: IPv4 and IPv6 addresses and blocks in CIDR notation.
	// Empty: all. DynamicClientRegistrationDeniedAddresses may not, whatever else is
	// allowed.
	DynamicClientRegistrationAllowedAddresses []string `json:"dynamic_client_registration_allowed_addresses,omitempty"`
	DynamicClientRegistrationDeniedAddresses  []string `json:"dynamic_client_registration_denied_addresses,omitempty"`

	// DynamicClientRegistrationRules limit what third-party applications may register
	// as. Nil: not beyond the usual rules.
	DynamicClientRegistrationRules *RegistrationRules `json:"dynamic_client_registration_rules,omitempty"`
}

// RegistrationRules limit what third-party applications may register as, and what
// client ID metadata documents may say. An empty member sets no limit. They hold for
// what is registered or changed from then on.
type RegistrationRules struct {
	// GrantTypes are those that may be registered. Others are left out, with the response
	// types that need them; an application that has none left is refused.
	GrantTypes []string `json:"grant_types,omitempty"`
	// Scopes are the scope values that may be registered, standard ones included.
	// Others are left out; an application that names none gets all of these.
	Scopes []string `json:"scopes,omitempty"`
	// AuthMethods are the values of token_endpoint_auth_method. An application that
	// names none gets the first one, unless client_secret_post is here.
	AuthMethods []string `json:"token_endpoint_auth_methods,omitempty"`
	// RedirectSchemes are the schemes of redirect URIs: https, http (which leads to the
	// user's own machine alone) and private-use ones.
	RedirectSchemes []string `json:"redirect_schemes,omitempty"`
	// RedirectHosts are the hosts of redirect URIs, with the port unless it is that of
	// the scheme; "*.example.com" are all names below example.com. A loopback host is
	// named without a port. A private-use URI has no host: it passes if RedirectSchemes
	// has its scheme. RefusedRedirectHosts, in the same form, are refused in any case.
	RedirectHosts        []string `json:"redirect_hosts,omitempty"`
	RefusedRedirectHosts []string `json:"refused_redirect_hosts,omitempty"`
	// RefusedNames are names that client_name must not have, nor have within as whole
	// words, nor look like: letters of other alphabets, digits, accents, capitals, spaces
	// and invisible characters make no difference.
	RefusedNames []string `json:"refused_names,omitempty"`
	// Logos says which logo_uri is kept: every one if empty, [LogosOfRedirectHosts] or
	// [LogosNone]. Others are left out.
	Logos string `json:"logos,omitempty"`
}

// Values of Logos in [RegistrationRules].
const (
	LogosOfRedirectHosts = "redirect_hosts"
	LogosNone            = "none"
)

// Clone returns a copy that shares nothing with r.
func (r *RegistrationRules) Clone() *RegistrationRules {
	if r == nil {
		return nil
	}
	c := *r
	for _, list := range []*[]string{
		&c.GrantTypes, &c.Scopes, &c.AuthMethods, &c.RedirectSchemes, &c.RedirectHosts, &c.RefusedRedirectHosts, &c.RefusedNames,
	} {
		*list = slices.Clone(*list)
	}
	return &c
}

// Values of DynamicClientRegistrationAccess.
const (
	AccessOpen         = "open"
	AccessInitialToken = "initial_access_token"
)

// TenantFlags switch features of a tenant.
type TenantFlags struct {
	// EnableDynamicClientRegistration opens the registration endpoint.
	EnableDynamicClientRegistration bool `json:"enable_dynamic_client_registration"`
	// EnableDynamicClientManagement lets applications that register from now on read,
	// change and delete their registration (RFC 7592).
	EnableDynamicClientManagement bool `json:"enable_dynamic_client_management"`
	// ClientIDMetadataDocumentRegistration accepts applications whose client_id is a
	// URL at which they publish their metadata (OAuth Client ID Metadata Document).
	ClientIDMetadataDocumentRegistration bool `json:"client_id_metadata_document_registration"`
}

// Serves reports whether c may be served: no client that is blocked, and none that
// became known in a way that the flags switch off.
func (f TenantFlags) Serves(c *Client) bool {
	switch {
	case c.Blocked:
		return false
	case !c.Dynamic:
		return true
	case c.Document != nil:
		return f.ClientIDMetadataDocumentRegistration
	}
	return f.EnableDynamicClientRegistration
}

// Clone returns a copy that shares nothing with t.
func (t Tenant) Clone() Tenant {
	t.Settings.AllowedLogoutURLs = slices.Clone(t.Settings.AllowedLogoutURLs)
	t.Settings.DynamicClientRegistrationAllowedAddresses = slices.Clone(t.Settings.DynamicClientRegistrationAllowedAddresses)
	t.Settings.DynamicClientRegistrationDeniedAddresses = slices.Clone(t.Settings.DynamicClientRegistrationDeniedAddresses)
	t.Settings.DynamicClientRegistrationRules = t.Settings.DynamicClientRegistrationRules.Clone()
	t.PairwiseSalt = slices.Clone(t.PairwiseSalt)
	return t
}

// TenantStore keeps tenants. It is the only interface without a tenant parameter.
type TenantStore interface {
	// CreateTenant stores t. ErrExists: the ID is taken.
	CreateTenant(ctx context.Context, t Tenant) error
	// Tenant returns the tenant. ErrNotFound: there is none.
	Tenant(ctx context.Context, id string) (Tenant, error)
	// UpdateTenant replaces the tenant by compare-and-swap.
	UpdateTenant(ctx context.Context, t Tenant) error
	// Tenants lists the tenants.
	Tenants(ctx context.Context, page Page) ([]Tenant, error)
}
