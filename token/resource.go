package token

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/opkit/opkit/internal/httpx"
	"github.com/opkit/opkit/internal/oauth"
)

// This file implements the API's side of RFC 9728 (OAuth 2.0 Protected Resource
// Metadata): how a client that knows nothing but an API's address finds out who issues
// its tokens. MCP clients start there.

// ProtectedResource is what an API says of itself.
type ProtectedResource struct {
	// Resource is the API's identifier, the audience of its tokens: an https URL, or
	// http on a loopback host, without a fragment. Clients compare it with the address
	// that they call. Required.
	Resource string
	// AuthorizationServers are the issuer identifiers of the providers whose tokens the
	// API accepts, byte for byte. Required.
	AuthorizationServers []string
	// Scopes are those that clients may need. Empty: not said.
	Scopes []string
	// Name and Documentation, a URL, are for people. Empty: not said.
	Name, Documentation string
}

// resourceMetadataAge is for how long the document may be cached.
const resourceMetadataAge = 10 * time.Minute

// MetadataPath returns the path, at the host of Resource, where clients look for the
// document (RFC 9728 §3): /.well-known/oauth-protected-resource followed by the path of
// Resource, unless that is a slash alone.
func (p ProtectedResource) MetadataPath() string {
	const wellKnown = "/.well-known/oauth-protected-resource"
	u, err := url.Parse(p.Resource)
	if err != nil || u.Path == "/" {
		return wellKnown
	}
	// A slash at the end of a longer path is part of the identifier, and so of the
	// address that clients make of it (RFC 9728 §3.1).
	return wellKnown + u.EscapedPath()
}

// MetadataURL returns the address of the document, for [VerifierConfig]: that of
// MetadataPath, with the query of Resource if it has one.
func (p ProtectedResource) MetadataURL() string {
	u, err := url.Parse(p.Resource)
	if err != nil {
		return ""
	}
	at := u.Scheme + "://" + u.Host + p.MetadataPath()
	if u.RawQuery != "" {
		at += "?" + u.RawQuery
	}
	return at
}

// Handler serves the document, which scripts of any origin may read. Mount it at
// MetadataPath. The error names the member that is wrong.
func (p ProtectedResource) Handler() (http.Handler, error) {
	if err := oauth.CheckURI(p.Resource, "https", "http"); err != nil {
		return nil, fmt.Errorf("token: ProtectedResource.Resource %w", err)
	}
	if err := checkFetchURL(p.Resource, false); err != nil {
		return nil, fmt.Errorf("token: ProtectedResource.Resource: %w", err)
	}
	if len(p.AuthorizationServers) == 0 {
		return nil, errors.New("token: ProtectedResource.AuthorizationServers is required")
	}
	for _, issuer := range p.AuthorizationServers {
		if err := checkFetchURL(issuer, false); err != nil {
			return nil, fmt.Errorf("token: ProtectedResource.AuthorizationServers: %q: %w", issuer, err)
		}
	}
	for _, scope := range p.Scopes {
		if parsed, err := oauth.ParseScope(scope); err != nil || len(parsed) != 1 {
			return nil, fmt.Errorf("token: ProtectedResource.Scopes: %q is not a scope value (RFC 6749 §3.3)", scope)
		}
	}
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(struct {
		Resource               string   `json:"resource"`
		AuthorizationServers   []string `json:"authorization_servers"`
		ScopesSupported        []string `json:"scopes_supported,omitempty"`
		BearerMethodsSupported []string `json:"bearer_methods_supported"`
		ResourceName           string   `json:"resource_name,omitempty"`
		ResourceDocumentation  string   `json:"resource_documentation,omitempty"`
	}{p.Resource, p.AuthorizationServers, p.Scopes, []string{"header"}, p.Name, p.Documentation}); err != nil {
		return nil, err
	}
	document := httpx.NewDocument("application/json", body.Bytes(), resourceMetadataAge)
	return httpx.CORS(document, http.MethodGet), nil
}
