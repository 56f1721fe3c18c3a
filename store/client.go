package store

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"time"
)

// The security modes of third-party clients.
const (
	ModeStrict     = "strict"
	ModePermissive = "permissive"
)

// Client is an application. Registered metadata that most applications leave out
// lives in Metadata, so that a stored registration stays small.
type Client struct {
	TenantID string `json:"tenant_id"`
	ID       string `json:"client_id"`
	Name     string `json:"client_name,omitempty"`

	// FirstParty says that the tenant vouches for the client, whose users are not asked
	// for consent where the API allows that. The zero value is a third-party client:
	// domain connections only, always consent.
	FirstParty bool `json:"first_party,omitempty"`
	// Dynamic says that the client registered itself, or is known by its Document.
	Dynamic bool `json:"dynamic,omitempty"`
	// RegisteredFrom is the network that the client registered itself from
	// ("192.0.2.0/24"), for whoever looks into abuse. Administrators may remove it.
	RegisteredFrom string `json:"registered_from,omitempty"`
	// Blocked says that an administrator took the client out of service: nothing is
	// served to it, and none of its tokens is honoured, until it is put back.
	Blocked bool `json:"blocked,omitempty"`
	// SecurityMode of a third-party client: [ModeStrict] (also if empty) or
	// [ModePermissive]. Fixed when the client is created: UpdateClient keeps the
	// stored value, and those of Dynamic and CreatedAt.
	SecurityMode string `json:"third_party_security_mode,omitempty"`

	// TokenEndpointAuthMethod is an RFC 7591 §2 value: "none",
	// "client_secret_post", "client_secret_basic", ...
	TokenEndpointAuthMethod string `json:"token_endpoint_auth_method,omitempty"`
	// SecretDigest is zero for a client without a secret.
	SecretDigest Digest `json:"secret_digest,omitzero"`
	// SealedSecret is kept only if the client registered an algorithm that keys
	// on the secret itself (HS256, client_secret_jwt).
	SealedSecret Sealed `json:"sealed_secret,omitempty"`
	// PreviousSecret is what these replaced, while it may still be used. Nil: nothing.
	PreviousSecret *PreviousSecret `json:"previous_secret,omitempty"`

	RedirectURIs []string `json:"redirect_uris,omitempty"`
	// GrantTypes and ResponseTypes are what the client registered. Empty means
	// the default of its security mode.
	GrantTypes    []string `json:"grant_types,omitempty"`
	ResponseTypes []string `json:"response_types,omitempty"`
	// ApplicationType is "native" or "web".
	ApplicationType string `json:"application_type,omitempty"`
	// Scope is a space-separated list that the client may ask for. Empty: the
	// tenant's default.
	Scope string `json:"scope,omitempty"`

	Metadata *ClientMetadata `json:"metadata,omitempty"`

	// Notes is what administrators keep about the client. Nil: nothing.
	Notes *ClientNotes `json:"notes,omitempty"`

	// LoginPage is the client's own login page. Nil: it has none, the tenant's counts.
	LoginPage *LoginPage `json:"login_page,omitempty"`

	// Registration is nil unless the client may manage its own registration.
	Registration *ClientRegistration `json:"registration,omitempty"`

	// Document is nil unless ID is a URL at which the client publishes its metadata.
	// The record then says what the document said when the client was last used.
	Document *ClientDocument `json:"document,omitempty"`

	// Revision counts the changes of what users are shown of the client and of where
	// they return to, from 0. What a user consented to is of one revision, see [Grant].
	Revision int64 `json:"revision,omitempty"`

	Version   int64     `json:"version"`
	CreatedAt time.Time `json:"created_at"`
	// ConfirmedAt is when a user first allowed the client something, or it first
	// obtained a token for itself. A client that registered itself is provisional
	// until then.
	ConfirmedAt time.Time `json:"confirmed_at,omitzero"`
	// LastUsedAt is when the client was last used, up to an hour late.
	LastUsedAt time.Time `json:"last_used_at,omitzero"`
}

// ClientMetadata is the part of RFC 7591 §2 and OpenID Connect Dynamic Client
// Registration §2 that most registrations leave out. JSON names are the wire
// names.
type ClientMetadata struct {
	ClientURI       string   `json:"client_uri,omitempty"`
	LogoURI         string   `json:"logo_uri,omitempty"`
	PolicyURI       string   `json:"policy_uri,omitempty"`
	TOSURI          string   `json:"tos_uri,omitempty"`
	Contacts        []string `json:"contacts,omitempty"`
	SoftwareID      string   `json:"software_id,omitempty"`
	SoftwareVersion string   `json:"software_version,omitempty"`
	// SoftwareStatement is kept as it came, if an issuer that is trusted signed it.
	SoftwareStatement string `json:"software_statement,omitempty"`

	JWKSURI string          `json:"jwks_uri,omitempty"`
	JWKS    json.RawMessage `json:"jwks,omitempty"`

	SubjectType         string `json:"subject_type,omitempty"`
	SectorIdentifierURI string `json:"sector_identifier_uri,omitempty"`

	IDTokenSignedResponseAlg    string `json:"id_token_signed_response_alg,omitempty"`
	IDTokenEncryptedResponseAlg string `json:"id_token_encrypted_response_alg,omitempty"`
	IDTokenEncryptedResponseEnc string `json:"id_token_encrypted_response_enc,omitempty"`

	UserInfoSignedResponseAlg    string `json:"userinfo_signed_response_alg,omitempty"`
	UserInfoEncryptedResponseAlg string `json:"userinfo_encrypted_response_alg,omitempty"`
	UserInfoEncryptedResponseEnc string `json:"userinfo_encrypted_response_enc,omitempty"`

	IntrospectionSignedResponseAlg    string `json:"introspection_signed_response_alg,omitempty"` // RFC 9701 §6
	IntrospectionEncryptedResponseAlg string `json:"introspection_encrypted_response_alg,omitempty"`
	IntrospectionEncryptedResponseEnc string `json:"introspection_encrypted_response_enc,omitempty"`

	RequestObjectSigningAlg    string `json:"request_object_signing_alg,omitempty"`
	RequestObjectEncryptionAlg string `json:"request_object_encryption_alg,omitempty"`
	RequestObjectEncryptionEnc string `json:"request_object_encryption_enc,omitempty"`

	TokenEndpointAuthSigningAlg string `json:"token_endpoint_auth_signing_alg,omitempty"`

	DefaultMaxAge    *int64   `json:"default_max_age,omitempty"`
	RequireAuthTime  bool     `json:"require_auth_time,omitempty"`
	DefaultACRValues []string `json:"default_acr_values,omitempty"`
	InitiateLoginURI string   `json:"initiate_login_uri,omitempty"`
	RequestURIs      []string `json:"request_uris,omitempty"`

	PostLogoutRedirectURIs            []string `json:"post_logout_redirect_uris,omitempty"`
	FrontchannelLogoutURI             string   `json:"frontchannel_logout_uri,omitempty"`
	FrontchannelLogoutSessionRequired bool     `json:"frontchannel_logout_session_required,omitempty"`
	BackchannelLogoutURI              string   `json:"backchannel_logout_uri,omitempty"`
	BackchannelLogoutSessionRequired  bool     `json:"backchannel_logout_session_required,omitempty"`

	RequirePushedAuthorizationRequests bool `json:"require_pushed_authorization_requests,omitempty"`
	RequireSignedRequestObject         bool `json:"require_signed_request_object,omitempty"`
}

// ClientNotes is what administrators keep about a client. None of it changes what the
// client may do.
type ClientNotes struct {
	Description string `json:"description,omitempty"`
	// AppType is "native", "spa", "regular_web" or "non_interactive".
	AppType string `json:"app_type,omitempty"`
	// Metadata is whatever the tenant wants to find again.
	Metadata map[string]string `json:"metadata,omitempty"`
	// WebOrigins and AllowedOrigins are those that the tenant's SDKs ask for.
	WebOrigins     []string `json:"web_origins,omitempty"`
	AllowedOrigins []string `json:"allowed_origins,omitempty"`
}

// LoginPage is a login page that takes the place of the built-in one.
type LoginPage struct {
	// HTML is the page, in which @@config@@ stands for what it is about.
	HTML string `json:"html,omitempty"`
	// On says that the page is shown. Otherwise it is only kept.
	On bool `json:"on,omitempty"`
}

// PreviousSecret is a client secret that was replaced.
type PreviousSecret struct {
	Digest Digest `json:"digest,omitzero"`
	// Sealed is kept as SealedSecret of [Client] is.
	Sealed    Sealed    `json:"sealed,omitempty"`
	ExpiresAt time.Time `json:"expires_at"`
}

// ClientRegistration is what a client manages its registration with (RFC 7592).
type ClientRegistration struct {
	// TokenDigest is that of the registration access token.
	TokenDigest Digest `json:"token_digest,omitzero"`
	// PreviousTokenDigest is that of the token before, which is accepted until
	// PreviousTokenUntil: the answer with the new one may have been lost.
	PreviousTokenDigest Digest    `json:"previous_token_digest,omitzero"`
	PreviousTokenUntil  time.Time `json:"previous_token_until,omitzero"`
	// IssuedSecret says that the same answer had a client secret.
	IssuedSecret bool `json:"issued_secret,omitempty"`
	// Policy is what the client may become, if its initial access token said so:
	// bytes that only the provider reads.
	Policy []byte `json:"policy,omitempty"`
}

// ClientDocument is what is known of the document at a client's identifier (OAuth
// Client ID Metadata Document).
type ClientDocument struct {
	// FetchedAt is when the document was fetched that the record agrees with.
	FetchedAt time.Time `json:"fetched_at"`
}

// Extra returns the rare metadata, zero if there is none.
func (c *Client) Extra() ClientMetadata {
	if c.Metadata == nil {
		return ClientMetadata{}
	}
	return *c.Metadata
}

// Strict reports whether the rules of strict third-party clients apply.
func (c *Client) Strict() bool { return !c.FirstParty && c.SecurityMode != ModePermissive }

// What a client that registered no grant_types or response_types may use.
var (
	defaultGrantTypes       = []string{"authorization_code", "refresh_token"}
	defaultResponseTypes    = []string{"code"}
	permissiveGrantTypes    = []string{"authorization_code", "implicit", "refresh_token"}
	permissiveResponseTypes = []string{"code", "token", "id_token", "id_token token", "code id_token", "code token", "code id_token token"}
)

// AllowedGrantTypes returns what the client registered or, if it registered
// nothing, the default: authorization_code and refresh_token, for a permissive
// third-party client implicit as well. The slice must not be modified.
func (c *Client) AllowedGrantTypes() []string {
	switch {
	case len(c.GrantTypes) > 0:
		return c.GrantTypes
	case c.SecurityMode == ModePermissive: // also if it became first party since
		return permissiveGrantTypes
	}
	return defaultGrantTypes
}

// AllowsGrantType reports whether the client may use a grant type.
func (c *Client) AllowsGrantType(grantType string) bool {
	return slices.Contains(c.AllowedGrantTypes(), grantType)
}

// AllowedResponseTypes returns what the client registered or, if it registered
// nothing, the default: code, for a permissive third-party client that registered
// no grant types every combination. The slice must not be modified.
func (c *Client) AllowedResponseTypes() []string {
	switch {
	case len(c.ResponseTypes) > 0:
		return c.ResponseTypes
	case c.SecurityMode == ModePermissive && len(c.GrantTypes) == 0:
		return permissiveResponseTypes
	}
	return defaultResponseTypes
}

// Clone returns a copy that shares nothing with c.
func (c Client) Clone() Client {
	c.SealedSecret = slices.Clone(c.SealedSecret)
	c.RedirectURIs = slices.Clone(c.RedirectURIs)
	c.GrantTypes = slices.Clone(c.GrantTypes)
	c.ResponseTypes = slices.Clone(c.ResponseTypes)
	if c.Metadata != nil {
		m := *c.Metadata
		m.Contacts = slices.Clone(m.Contacts)
		m.JWKS = slices.Clone(m.JWKS)
		if m.DefaultMaxAge != nil {
			age := *m.DefaultMaxAge
			m.DefaultMaxAge = &age
		}
		m.DefaultACRValues = slices.Clone(m.DefaultACRValues)
		m.RequestURIs = slices.Clone(m.RequestURIs)
		m.PostLogoutRedirectURIs = slices.Clone(m.PostLogoutRedirectURIs)
		c.Metadata = &m
	}
	if c.Notes != nil {
		n := *c.Notes
		n.Metadata = maps.Clone(n.Metadata)
		n.WebOrigins = slices.Clone(n.WebOrigins)
		n.AllowedOrigins = slices.Clone(n.AllowedOrigins)
		c.Notes = &n
	}
	if c.LoginPage != nil {
		page := *c.LoginPage
		c.LoginPage = &page
	}
	if c.PreviousSecret != nil {
		s := *c.PreviousSecret
		s.Sealed = slices.Clone(s.Sealed)
		c.PreviousSecret = &s
	}
	if c.Registration != nil {
		r := *c.Registration
		r.Policy = slices.Clone(r.Policy)
		c.Registration = &r
	}
	if c.Document != nil {
		d := *c.Document
		c.Document = &d
	}
	return c
}

// ClientStore keeps clients. There may be millions.
type ClientStore interface {
	// CreateClient stores c. ErrExists: the ID is taken.
	CreateClient(ctx context.Context, c Client) error
	// Client returns the client. ErrNotFound: there is none.
	Client(ctx context.Context, tenant, id string) (Client, error)
	// UpdateClient replaces the client by compare-and-swap, except for
	// SecurityMode, Dynamic and CreatedAt, which never change.
	UpdateClient(ctx context.Context, c Client) error
	// DeleteClient removes the client.
	DeleteClient(ctx context.Context, tenant, id string) error
	// Clients lists the tenant's clients.
	Clients(ctx context.Context, tenant string, page Page) ([]Client, error)
}
