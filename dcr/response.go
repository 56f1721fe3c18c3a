package dcr

import "github.com/opkit/opkit/store"

// clientInformation is the response of RFC 7591 §3.2.1: what was issued, and what
// was stored, with the defaults that apply. Empty members are left out: clients
// trip over null and "".
type clientInformation struct {
	ClientName string `json:"client_name,omitempty"`
	ClientID   string `json:"client_id"`
	// ClientSecretExpiresAt comes with a secret and only then (RFC 7591 §3.2.1).
	ClientSecret          string   `json:"client_secret,omitempty"`
	RedirectURIs          []string `json:"redirect_uris,omitempty"`
	ClientSecretExpiresAt *int64   `json:"client_secret_expires_at,omitempty"`
	ClientIDIssuedAt      int64    `json:"client_id_issued_at,omitempty"`
	// RFC 7592 §3: both or neither.
	RegistrationAccessToken string `json:"registration_access_token,omitempty"`
	RegistrationClientURI   string `json:"registration_client_uri,omitempty"`

	TokenEndpointAuthMethod string   `json:"token_endpoint_auth_method"`
	GrantTypes              []string `json:"grant_types,omitempty"`
	ResponseTypes           []string `json:"response_types,omitempty"`
	ApplicationType         string   `json:"application_type,omitempty"`
	Scope                   string   `json:"scope,omitempty"`

	*store.ClientMetadata
}

// never is the client_secret_expires_at of secrets that do not expire.
var never int64

func newClientInformation(c *store.Client, secret, scope string) clientInformation {
	info := clientInformation{
		ClientName:              c.Name,
		ClientID:                c.ID,
		ClientSecret:            secret,
		RedirectURIs:            c.RedirectURIs,
		ClientIDIssuedAt:        c.CreatedAt.Unix(),
		TokenEndpointAuthMethod: c.TokenEndpointAuthMethod,
		GrantTypes:              c.AllowedGrantTypes(),
		ApplicationType:         c.ApplicationType,
		Scope:                   scope,
		ClientMetadata:          c.Metadata,
	}
	if secret != "" {
		info.ClientSecretExpiresAt = &never
	}
	if usesBrowser(c) {
		info.ResponseTypes = c.AllowedResponseTypes()
		info.GrantTypes = usable(info.GrantTypes, info.ResponseTypes)
	}
	return info
}
