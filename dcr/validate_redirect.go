package dcr

import (
	"slices"
	"strings"

	"github.com/opkit/opkit/internal/oauth"
)

// Values of application_type (OpenID Connect Dynamic Client Registration §2).
const (
	typeNative = "native"
	typeWeb    = "web"
)

// checkRedirects validates redirect_uris, post_logout_redirect_uris and, because
// each depends on the other, application_type.
func (m *metadata) checkRedirects(policy *RedirectPolicy) error {
	c := &m.client
	if len(c.RedirectURIs) == 0 && usesBrowser(c) {
		return invalid("redirect_uris", "redirect_uris is required: an array of the URIs to which users may return")
	}
	c.RedirectURIs = distinct(c.RedirectURIs)
	kinds := make([]oauth.RedirectKind, len(c.RedirectURIs))
	onDevice := len(kinds) > 0 // every URI leads to the user's own machine
	for i, uri := range c.RedirectURIs {
		kind, err := oauth.ClassifyRedirectURI(uri)
		if err != nil {
			return invalid("redirect_uris", "redirect_uris: %s %w", quote(uri), err)
		}
		kinds[i] = kind
		onDevice = onDevice && (kind == oauth.RedirectLoopback || kind == oauth.RedirectPrivate)
	}

	// Who registers without a secret, and does not say that it is a web application,
	// may well be a native one that has an https URI too (RFC 8252 §7.2).
	native := m.public()
	switch c.ApplicationType {
	case typeNative:
		c.ApplicationType, native = typeNative, true
	case typeWeb:
		c.ApplicationType, native = typeWeb, false
	case "":
		if onDevice {
			c.ApplicationType, native = typeNative, true
		} else if len(c.RedirectURIs) > 0 {
			c.ApplicationType = typeWeb
		}
	default:
		return invalid("application_type", "application_type: %s is not one of native, web", quote(c.ApplicationType))
	}

	for i, uri := range c.RedirectURIs {
		if text := policy.refuses(uri, kinds[i], native); text != "" {
			return invalid("redirect_uris", "redirect_uris: %s %s", quote(uri), text)
		}
	}
	m.extra.PostLogoutRedirectURIs = distinct(m.extra.PostLogoutRedirectURIs)
	for _, uri := range m.extra.PostLogoutRedirectURIs {
		kind, err := oauth.ClassifyRedirectURI(uri)
		if err != nil {
			return invalid("post_logout_redirect_uris", "post_logout_redirect_uris: %s %w", quote(uri), err)
		}
		if text := policy.refuses(uri, kind, native); text != "" {
			return invalid("post_logout_redirect_uris", "post_logout_redirect_uris: %s %s", quote(uri), text)
		}
	}
	return nil
}

// refuses returns the rule that a well-formed URI breaks, empty if it may be
// registered.
func (p *RedirectPolicy) refuses(uri string, kind oauth.RedirectKind, native bool) string {
	switch {
	case kind == oauth.RedirectInsecure:
		return "uses http, which only a loopback host may; use https"
	case kind == oauth.RedirectLoopback:
		if p.RefuseLocalhost && isLocalhost(uri) {
			return "has the host localhost; use 127.0.0.1 or [::1]"
		}
		if !native && !p.InsecureWebLoopback {
			return "is a loopback URI, which needs application_type native"
		}
	case kind == oauth.RedirectPrivate && !oauth.PrivateSchemeHasDot(uri):
		if p.RefuseUndottedSchemes {
			return "has a scheme without a dot; use a reversed domain name (RFC 8252 section 7.1)"
		}
		if !native {
			return "has a private-use scheme without a dot, which needs application_type native"
		}
	}
	return ""
}

// isLocalhost reports whether the host of a loopback URI is a name.
func isLocalhost(uri string) bool {
	_, rest, _ := strings.Cut(uri, "//")
	return strings.HasPrefix(strings.ToLower(rest), "localhost")
}

// distinct returns values without repetitions.
func distinct(values []string) []string {
	var out []string
	for i, v := range values {
		switch repeated := slices.Contains(values[:i], v); {
		case repeated && out == nil:
			out = slices.Clone(values[:i])
		case !repeated && out != nil:
			out = append(out, v)
		}
	}
	if out == nil {
		return values
	}
	return out
}
