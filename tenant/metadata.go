package tenant

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/opkit/opkit/internal/httpx"
	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
)

// This file implements RFC 8414 and OpenID Connect Discovery 1.0 §3 and §4.

// metadataMaxAge is short because switching registration on changes the document;
// asking again costs a 304.
const metadataMaxAge = time.Minute

// metadata is the union of RFC 8414 §2 and OpenID Connect Discovery §3, with the
// members that other specifications registered for it. Both well-known paths
// serve it: neither specification minds members of the other.
type metadata struct {
	Issuer                                             string   `json:"issuer"`
	AuthorizationEndpoint                              string   `json:"authorization_endpoint,omitempty"`
	TokenEndpoint                                      string   `json:"token_endpoint,omitempty"`
	UserInfoEndpoint                                   string   `json:"userinfo_endpoint,omitempty"`
	JWKSURI                                            string   `json:"jwks_uri,omitempty"`
	RegistrationEndpoint                               string   `json:"registration_endpoint,omitempty"`
	RevocationEndpoint                                 string   `json:"revocation_endpoint,omitempty"`
	IntrospectionEndpoint                              string   `json:"introspection_endpoint,omitempty"`
	PushedAuthorizationRequestEndpoint                 string   `json:"pushed_authorization_request_endpoint,omitempty"` // RFC 9126 §5
	DeviceAuthorizationEndpoint                        string   `json:"device_authorization_endpoint,omitempty"`         // RFC 8628 §4
	EndSessionEndpoint                                 string   `json:"end_session_endpoint,omitempty"`                  // RP-Initiated Logout §2.1
	CheckSessionIframe                                 string   `json:"check_session_iframe,omitempty"`                  // Session Management §3.3
	ScopesSupported                                    []string `json:"scopes_supported,omitempty"`
	ResponseTypesSupported                             []string `json:"response_types_supported,omitempty"`
	ResponseModesSupported                             []string `json:"response_modes_supported,omitempty"`
	GrantTypesSupported                                []string `json:"grant_types_supported,omitempty"`
	ACRValuesSupported                                 []string `json:"acr_values_supported,omitempty"`
	SubjectTypesSupported                              []string `json:"subject_types_supported,omitempty"`
	IDTokenSigningAlgValuesSupported                   []string `json:"id_token_signing_alg_values_supported,omitempty"`
	IDTokenEncryptionAlgValuesSupported                []string `json:"id_token_encryption_alg_values_supported,omitempty"`
	IDTokenEncryptionEncValuesSupported                []string `json:"id_token_encryption_enc_values_supported,omitempty"`
	UserInfoSigningAlgValuesSupported                  []string `json:"userinfo_signing_alg_values_supported,omitempty"`
	UserInfoEncryptionAlgValuesSupported               []string `json:"userinfo_encryption_alg_values_supported,omitempty"`
	UserInfoEncryptionEncValuesSupported               []string `json:"userinfo_encryption_enc_values_supported,omitempty"`
	TokenEndpointAuthMethodsSupported                  []string `json:"token_endpoint_auth_methods_supported,omitempty"`
	TokenEndpointAuthSigningAlgValuesSupported         []string `json:"token_endpoint_auth_signing_alg_values_supported,omitempty"`
	RevocationEndpointAuthMethodsSupported             []string `json:"revocation_endpoint_auth_methods_supported,omitempty"`
	RevocationEndpointAuthSigningAlgValuesSupported    []string `json:"revocation_endpoint_auth_signing_alg_values_supported,omitempty"`
	IntrospectionEndpointAuthMethodsSupported          []string `json:"introspection_endpoint_auth_methods_supported,omitempty"`
	IntrospectionEndpointAuthSigningAlgValuesSupported []string `json:"introspection_endpoint_auth_signing_alg_values_supported,omitempty"`
	IntrospectionSigningAlgValuesSupported             []string `json:"introspection_signing_alg_values_supported,omitempty"` // RFC 9701 §7
	IntrospectionEncryptionAlgValuesSupported          []string `json:"introspection_encryption_alg_values_supported,omitempty"`
	IntrospectionEncryptionEncValuesSupported          []string `json:"introspection_encryption_enc_values_supported,omitempty"`
	CodeChallengeMethodsSupported                      []string `json:"code_challenge_methods_supported,omitempty"`
	PromptValuesSupported                              []string `json:"prompt_values_supported,omitempty"` // Initiating User Registration §4
	ClaimsSupported                                    []string `json:"claims_supported,omitempty"`
	ClaimsParameterSupported                           bool     `json:"claims_parameter_supported"`
	RequestObjectSigningAlgValuesSupported             []string `json:"request_object_signing_alg_values_supported,omitempty"`
	RequestObjectEncryptionAlgValuesSupported          []string `json:"request_object_encryption_alg_values_supported,omitempty"`
	RequestObjectEncryptionEncValuesSupported          []string `json:"request_object_encryption_enc_values_supported,omitempty"`
	RequestParameterSupported                          bool     `json:"request_parameter_supported"`
	FrontchannelLogoutSupported                        bool     `json:"frontchannel_logout_supported,omitempty"` // Front-Channel Logout §3
	FrontchannelLogoutSessionSupported                 bool     `json:"frontchannel_logout_session_supported,omitempty"`
	BackchannelLogoutSupported                         bool     `json:"backchannel_logout_supported,omitempty"` // Back-Channel Logout §2.1
	BackchannelLogoutSessionSupported                  bool     `json:"backchannel_logout_session_supported,omitempty"`
	ClientIDMetadataDocumentSupported                  bool     `json:"client_id_metadata_document_supported,omitempty"` // Client ID Metadata Document §6
	// Left out, this one would mean true (OpenID Connect Discovery §3).
	RequestURIParameterSupported               bool `json:"request_uri_parameter_supported"`
	RequireRequestURIRegistration              bool `json:"require_request_uri_registration,omitempty"`
	AuthorizationResponseISSParameterSupported bool `json:"authorization_response_iss_parameter_supported,omitempty"` // RFC 9207 §3
}

// newMetadata prepares the document. What is not mounted is not mentioned, and
// registration only while the tenant has it switched on.
func newMetadata(t *Tenant, e *Endpoints, c *Capabilities) *httpx.Document {
	m := metadata{
		Issuer:                             t.Issuer(),
		AuthorizationEndpoint:              t.URL(e.Authorization),
		TokenEndpoint:                      t.URL(e.Token),
		UserInfoEndpoint:                   t.URL(e.UserInfo),
		JWKSURI:                            t.URL(e.JWKS),
		RevocationEndpoint:                 t.URL(e.Revocation),
		IntrospectionEndpoint:              t.URL(e.Introspection),
		PushedAuthorizationRequestEndpoint: t.URL(e.PushedAuthorizationRequest),
		DeviceAuthorizationEndpoint:        t.URL(e.DeviceAuthorization),
		EndSessionEndpoint:                 t.URL(e.EndSession),
		CheckSessionIframe:                 t.URL(e.CheckSession),
		ScopesSupported:                    c.Scopes,
		SubjectTypesSupported:              c.SubjectTypes,
		IDTokenSigningAlgValuesSupported:   c.IDTokenSigningAlgs,
		ClaimsSupported:                    c.Claims,
	}
	m.GrantTypesSupported = slices.DeleteFunc(slices.Clone(c.GrantTypes), func(grant string) bool {
		switch grant {
		case "implicit":
			return m.AuthorizationEndpoint == ""
		case "authorization_code", "refresh_token": // there is no other way to a refresh token
			return m.AuthorizationEndpoint == "" || m.TokenEndpoint == ""
		}
		return m.TokenEndpoint == ""
	})
	if t.Settings().Flags.EnableDynamicClientRegistration {
		m.RegistrationEndpoint = t.URL(e.Registration)
	}
	if m.AuthorizationEndpoint != "" {
		m.ResponseTypesSupported = c.ResponseTypes
		m.ResponseModesSupported = c.ResponseModes
		m.CodeChallengeMethodsSupported = c.CodeChallengeMethods
		m.PromptValuesSupported = c.Prompts
		m.ACRValuesSupported = c.ACRValues
		m.ClaimsParameterSupported = c.ClaimsParameter
		m.RequestObjectSigningAlgValuesSupported = c.RequestObjectSigningAlgs
		if m.JWKSURI != "" {
			m.RequestObjectEncryptionAlgValuesSupported = c.RequestObjectEncryptionAlgs
			m.RequestObjectEncryptionEncValuesSupported = c.RequestObjectEncryptionEncs
		}
		m.RequestParameterSupported = len(c.RequestObjectSigningAlgs) > 0
		m.RequestURIParameterSupported = m.RequestParameterSupported && c.RequestObjectsByReference
		m.RequireRequestURIRegistration = m.RequestURIParameterSupported
		m.AuthorizationResponseISSParameterSupported = true
		m.ClientIDMetadataDocumentSupported = t.Settings().Flags.ClientIDMetadataDocumentRegistration
	}
	if m.AuthorizationEndpoint != "" || m.TokenEndpoint != "" {
		m.IDTokenEncryptionAlgValuesSupported, m.IDTokenEncryptionEncValuesSupported = c.EncryptionAlgs, c.EncryptionEncs
	}
	if m.UserInfoEndpoint != "" {
		m.UserInfoSigningAlgValuesSupported = c.UserInfoSigningAlgs
		m.UserInfoEncryptionAlgValuesSupported, m.UserInfoEncryptionEncValuesSupported = c.EncryptionAlgs, c.EncryptionEncs
	}
	if m.TokenEndpoint != "" {
		m.TokenEndpointAuthMethodsSupported = c.TokenEndpointAuthMethods
		m.TokenEndpointAuthSigningAlgValuesSupported = c.TokenEndpointAuthSigningAlgs
	}
	if m.EndSessionEndpoint != "" {
		m.FrontchannelLogoutSupported, m.FrontchannelLogoutSessionSupported = c.FrontchannelLogout, c.FrontchannelLogout
		m.BackchannelLogoutSupported, m.BackchannelLogoutSessionSupported = c.BackchannelLogout, c.BackchannelLogout
	}
	if m.RevocationEndpoint != "" {
		m.RevocationEndpointAuthMethodsSupported = c.TokenEndpointAuthMethods
		m.RevocationEndpointAuthSigningAlgValuesSupported = c.TokenEndpointAuthSigningAlgs
	}
	if m.IntrospectionEndpoint != "" {
		m.IntrospectionEndpointAuthMethodsSupported = c.IntrospectionAuthMethods
		m.IntrospectionEndpointAuthSigningAlgValuesSupported = c.TokenEndpointAuthSigningAlgs
		m.IntrospectionSigningAlgValuesSupported = c.IntrospectionSigningAlgs
		m.IntrospectionEncryptionAlgValuesSupported, m.IntrospectionEncryptionEncValuesSupported = c.EncryptionAlgs, c.EncryptionEncs
	}
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(m); err != nil {
		panic(err) // strings and booleans cannot fail
	}
	return httpx.NewDocument("application/json", body.Bytes(), metadataMaxAge)
}

// Discovery serves the metadata document, the same bytes for OpenID Connect
// Discovery and RFC 8414, whatever path it is mounted at. It adds no CORS headers.
func (d *Directory) Discovery() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t, err := d.FromRequest(r)
		if err != nil {
			d.fail(w, r, err)
			return
		}
		t.metadata().ServeHTTP(w, r)
	})
}

// JWKS serves the public halves of the tenant's signing keys (RFC 7517 §5). The
// keys are created if this is the first use: an empty set in a cache would make
// the first tokens unverifiable. It adds no CORS headers.
func (d *Directory) JWKS() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t, err := d.FromRequest(r)
		if err != nil {
			d.fail(w, r, err)
			return
		}
		set, err := d.allKeys(r.Context(), t)
		if err != nil {
			d.fail(w, r, err)
			return
		}
		set.document.ServeHTTP(w, r)
	})
}

// fail answers a request for a public document with err: 404 if it is for no
// tenant. Clients that probe for metadata go on after a 404 and stop at a 5xx.
func (d *Directory) fail(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, store.ErrNotFound) {
		err = &oauth.Error{
			Code: oauth.CodeInvalidRequest, Description: "there is no issuer at this address", Status: http.StatusNotFound,
		}
	}
	if oauth.Internal(err) {
		d.cfg.Logger.ErrorContext(r.Context(), "serving a public document failed", "err", err)
	}
	oauth.WriteError(w, err)
}
