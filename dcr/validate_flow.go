package dcr

import (
	"slices"
	"strings"

	"github.com/opkit/opkit/internal/clientauth"
	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
)

// Grant types (RFC 6749, RFC 8628).
const (
	grantCode              = "authorization_code"
	grantRefresh           = "refresh_token"
	grantImplicit          = "implicit"
	grantClientCredentials = "client_credentials"
	grantDevice            = "urn:ietf:params:oauth:grant-type:device_code"
)

// Neither list is ever changed.
var (
	strictGrantTypes = []string{grantCode, grantRefresh}
	allGrantTypes    = []string{grantCode, grantRefresh, grantImplicit, grantClientCredentials}
)

// checkAuthMethod validates how the client authenticates at the token endpoint.
func (m *metadata) checkAuthMethod() error {
	c := &m.client
	if c.TokenEndpointAuthMethod == "" {
		// RFC 7591 §2 says client_secret_basic; a client registered with
		// client_secret_post may use that as well.
		c.TokenEndpointAuthMethod = clientauth.MethodPost
		return nil
	}
	i := slices.Index(clientauth.Methods, c.TokenEndpointAuthMethod)
	if i < 0 {
		return invalid("token_endpoint_auth_method", "token_endpoint_auth_method: %s is not one of %s",
			quote(c.TokenEndpointAuthMethod), strings.Join(clientauth.Methods, ", "))
	}
	c.TokenEndpointAuthMethod = clientauth.Methods[i]
	return nil
}

// public reports whether the client has nothing to authenticate with.
func (m *metadata) public() bool { return m.client.TokenEndpointAuthMethod == clientauth.MethodNone }

// hasSecret reports whether the client authenticates with a client secret.
func (m *metadata) hasSecret() bool {
	switch m.client.TokenEndpointAuthMethod {
	case clientauth.MethodNone, clientauth.MethodPrivateKeyJWT:
		return false
	}
	return true
}

// restricted reports whether the flows of strict clients are all that may be
// registered. A tenant may give a strict client of its own choice more.
func (m *metadata) restricted() bool { return m.client.Dynamic && m.client.Strict() }

// checkFlows validates grant_types and response_types, each and together.
func (m *metadata) checkFlows() error {
	if err := m.checkGrantTypes(); err != nil {
		return err
	}
	if err := m.checkResponseTypes(); err != nil {
		return err
	}
	c := &m.client
	switch {
	case len(c.ResponseTypes) > 0 && len(c.GrantTypes) > 0:
		all := c.GrantTypes
		if c.GrantTypes = usable(all, c.ResponseTypes); len(c.GrantTypes) < len(all) {
			m.narrow("grant_types: those that no response type uses are left out")
		}
	case slices.Contains(c.GrantTypes, grantImplicit):
		// RFC 7591 §2 has the default "code" here, which does not belong to implicit.
		c.ResponseTypes = responseTypesOf(c.GrantTypes)
	}
	return nil
}

func (m *metadata) checkGrantTypes() error {
	c := &m.client
	allowed := allGrantTypes
	if m.restricted() {
		allowed = strictGrantTypes
	}
	var grants []string
	for _, g := range c.GrantTypes {
		// Editors list the device grant at every provider, beside the code flow that
		// they then use. They are registered without it (RFC 7591 §3.2.1).
		if g == grantDevice && slices.Contains(c.GrantTypes, grantCode) {
			m.narrow("grant_types: %s is left out", g)
			continue
		}
		i := slices.Index(allowed, g)
		if i < 0 {
			return invalid("grant_types", "grant_types: %s is not one of those that this application may use: %s",
				quote(g), strings.Join(allowed, ", "))
		}
		if !slices.Contains(grants, g) {
			grants = append(grants, allowed[i])
		}
	}
	c.GrantTypes = grants
	if slices.Contains(grants, grantClientCredentials) && m.public() {
		// RFC 6749 §4.4: confidential clients only.
		return invalid("grant_types", "grant_types: client_credentials needs an application that authenticates, and token_endpoint_auth_method is none")
	}
	if len(grants) == 1 && grants[0] == grantRefresh {
		return invalid("grant_types", "grant_types: refresh_token needs a grant type that issues refresh tokens")
	}
	return nil
}

func (m *metadata) checkResponseTypes() error {
	c := &m.client
	var responses []string
	for _, s := range c.ResponseTypes {
		rt, err := oauth.ParseResponseType(s)
		if err != nil {
			return invalid("response_types", "response_types: %s is not supported", quote(s))
		}
		if rt.FrontChannel() && m.restricted() {
			return invalid("response_types", "response_types: %s returns tokens through the browser, which this application may not use", quote(s))
		}
		if rt == oauth.ResponseNone && m.restricted() {
			return invalid("response_types", "response_types: %s is not one that this application may use", quote(s))
		}
		// RFC 7591 §2.1: what a response type needs.
		for _, grant := range grantsOf(rt) {
			if !c.AllowsGrantType(grant) {
				return invalid("response_types", "response_types: %s needs %s in grant_types", quote(s), grant)
			}
		}
		if canonical := rt.String(); !slices.Contains(responses, canonical) {
			responses = append(responses, canonical)
		}
	}
	c.ResponseTypes = responses
	return nil
}

// grantsOf returns the grant types that a response type belongs to.
func grantsOf(rt oauth.ResponseType) []string {
	switch {
	case !rt.FrontChannel():
		return []string{grantCode}
	case rt.Has(oauth.ResponseCode):
		return []string{grantCode, grantImplicit}
	}
	return []string{grantImplicit}
}

// usable returns grants without those that no response type leads to. Listing
// more than is used is common and harmless; RFC 7591 §3.2.1 lets the server
// replace what was asked for.
func usable(grants, responses []string) []string {
	used := make([]string, 0, 2)
	for _, s := range responses {
		rt, _ := oauth.ParseResponseType(s) // proved before
		used = append(used, grantsOf(rt)...)
	}
	out := make([]string, 0, len(grants))
	for _, g := range grants {
		if (g == grantCode || g == grantImplicit) && !slices.Contains(used, g) {
			continue
		}
		out = append(out, g)
	}
	return out
}

// responseTypesOf returns every response type that grants cover.
func responseTypesOf(grants []string) []string {
	every := store.Client{SecurityMode: store.ModePermissive}
	var out []string
	for _, s := range every.AllowedResponseTypes() {
		rt, _ := oauth.ParseResponseType(s)
		if !slices.ContainsFunc(grantsOf(rt), func(g string) bool { return !slices.Contains(grants, g) }) {
			out = append(out, s)
		}
	}
	return out
}

// usesBrowser reports whether the client sends users to the authorization
// endpoint and so needs a place to which they return.
func usesBrowser(c *store.Client) bool {
	return c.AllowsGrantType(grantCode) || c.AllowsGrantType(grantImplicit)
}
