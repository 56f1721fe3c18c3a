package dcr

import (
	"net/url"
	"slices"
	"strings"

	"github.com/opkit/opkit/internal/clientauth"
	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
)

// This file applies registration rules, those of the host and those of a tenant.

// prepare fills in what an application left out and what is not allowed to be the
// default, before it is validated.
func (m *metadata) prepare(rules *store.RegistrationRules) {
	if rules == nil {
		return
	}
	c := &m.client
	if len(rules.AuthMethods) > 0 && c.TokenEndpointAuthMethod == "" && !slices.Contains(rules.AuthMethods, clientauth.MethodPost) {
		c.TokenEndpointAuthMethod = rules.AuthMethods[0]
	}
	if len(rules.GrantTypes) > 0 && len(c.GrantTypes) == 0 && len(c.ResponseTypes) == 0 {
		for _, g := range c.AllowedGrantTypes() {
			if slices.Contains(rules.GrantTypes, g) {
				c.GrantTypes = append(c.GrantTypes, g)
			}
		}
		// None of the default may be registered. What is left fits, or is refused.
		if len(c.GrantTypes) == 0 {
			c.GrantTypes = slices.Clone(rules.GrantTypes)
		}
	}
}

// apply narrows a registration that was validated, or refuses it.
func (m *metadata) apply(rules *store.RegistrationRules) error {
	if rules == nil {
		return nil
	}
	if len(rules.AuthMethods) > 0 && !slices.Contains(rules.AuthMethods, m.client.TokenEndpointAuthMethod) {
		return invalid("token_endpoint_auth_method", "token_endpoint_auth_method: %s is not one of those that may be registered here: %s",
			m.client.TokenEndpointAuthMethod, strings.Join(rules.AuthMethods, ", "))
	}
	if len(rules.GrantTypes) > 0 {
		if err := m.keepGrantTypes(rules.GrantTypes); err != nil {
			return err
		}
	}
	if len(rules.Scopes) > 0 {
		if err := m.keepScopes(rules.Scopes); err != nil {
			return err
		}
	}
	if err := m.applyToRedirects(rules); err != nil {
		return err
	}
	for _, name := range rules.RefusedNames {
		if oauth.LooksLike(m.client.Name, name) {
			// Not which one: the list is not a stranger's to read out.
			return invalid("client_name", "client_name looks like a name that may not be registered here")
		}
	}
	m.applyToLogo(rules)
	return nil
}

// applyToRedirects refuses an application that would send users where it must not.
func (m *metadata) applyToRedirects(rules *store.RegistrationRules) error {
	if len(rules.RedirectSchemes) == 0 && len(rules.RedirectHosts) == 0 && len(rules.RefusedRedirectHosts) == 0 {
		return nil
	}
	for _, list := range []struct {
		member string
		uris   []string
	}{{"redirect_uris", m.client.RedirectURIs}, {"post_logout_redirect_uris", m.extra.PostLogoutRedirectURIs}} {
		for _, uri := range list.uris {
			scheme, _, _ := strings.Cut(uri, ":")
			scheme = strings.ToLower(scheme)
			listed := slices.Contains(rules.RedirectSchemes, scheme)
			if len(rules.RedirectSchemes) > 0 && !listed {
				return invalid(list.member, "%s: %s has a scheme that may not be registered here", list.member, quote(uri))
			}
			host := oauth.RedirectHost(uri)
			if host == "" && listed {
				continue
			}
			if len(rules.RedirectHosts) > 0 && !matchesHost(rules.RedirectHosts, host) || matchesHost(rules.RefusedRedirectHosts, host) {
				return invalid(list.member, "%s: %s is not at a host that may be registered here", list.member, quote(uri))
			}
		}
	}
	return nil
}

// matchesHost reports whether host is one of hosts, or below one that begins with
// "*.".
func matchesHost(hosts []string, host string) bool {
	return slices.ContainsFunc(hosts, func(entry string) bool {
		if parent, ok := strings.CutPrefix(entry, "*"); ok {
			return strings.HasSuffix(host, parent) && len(host) > len(parent)
		}
		return host == entry
	})
}

// applyToLogo leaves out a logo that is not allowed.
func (m *metadata) applyToLogo(rules *store.RegistrationRules) {
	if m.extra.LogoURI == "" || rules.Logos == "" {
		return
	}
	if rules.Logos == store.LogosOfRedirectHosts {
		if logo, err := url.Parse(m.extra.LogoURI); err == nil && slices.Contains(redirectHosts(m.client.RedirectURIs), strings.ToLower(logo.Hostname())) {
			return
		}
	}
	m.extra.LogoURI = ""
	m.narrow("logo_uri may not be registered here")
}
