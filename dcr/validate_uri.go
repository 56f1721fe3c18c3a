package dcr

import (
	"net/url"
	"slices"
	"strings"

	"github.com/opkit/opkit/internal/oauth"
)

var (
	https     = []string{"https"}
	httpsHTTP = []string{"https", "http"}
)

// checkURIs validates the members that are a URI but no redirect URI. Those that
// people follow may be http; those that this server or the user's browser acts on
// are https.
func (m *metadata) checkURIs() error {
	x := &m.extra
	if !m.rare {
		return nil
	}
	for _, u := range [...]struct {
		member, uri string
		schemes     []string
	}{
		{"client_uri", x.ClientURI, httpsHTTP},
		{"logo_uri", x.LogoURI, httpsHTTP},
		{"policy_uri", x.PolicyURI, httpsHTTP},
		{"tos_uri", x.TOSURI, httpsHTTP},
		{"jwks_uri", x.JWKSURI, https},
		{"sector_identifier_uri", x.SectorIdentifierURI, https},
		{"initiate_login_uri", x.InitiateLoginURI, https},
		{"backchannel_logout_uri", x.BackchannelLogoutURI, https},
	} {
		if u.uri == "" {
			continue
		}
		if err := oauth.CheckURI(u.uri, u.schemes...); err != nil {
			return invalid(u.member, "%s: %s %w", u.member, quote(u.uri), err)
		}
	}
	// OpenID Connect Back-Channel Logout §2.2.
	if strings.Contains(x.BackchannelLogoutURI, "#") {
		return invalid("backchannel_logout_uri", "backchannel_logout_uri: %s has a fragment", quote(x.BackchannelLogoutURI))
	}
	// A path is nothing that could be fetched. Libraries make one up, because
	// require_request_uri_registration says that addresses have to be registered, and
	// never use it: like everything that a client cannot have, it is left out.
	x.RequestURIs = slices.DeleteFunc(distinct(x.RequestURIs), isRelative)
	for _, uri := range x.RequestURIs {
		// OpenID Connect Core §6.2: the fragment may be a hash of the content.
		if err := oauth.CheckURI(uri, https...); err != nil {
			return invalid("request_uris", "request_uris: %s %w", quote(uri), err)
		}
	}
	return m.checkFrontchannelLogout()
}

// isRelative reports whether uri is a relative reference (RFC 3986 §4.2).
func isRelative(uri string) bool {
	u, err := url.Parse(uri)
	return err == nil && !u.IsAbs()
}

// checkFrontchannelLogout validates frontchannel_logout_uri. OpenID Connect
// Front-Channel Logout §2: scheme, host and port are those of a redirect URI.
func (m *metadata) checkFrontchannelLogout() error {
	const member = "frontchannel_logout_uri"
	uri := m.extra.FrontchannelLogoutURI
	if uri == "" {
		return nil
	}
	kind, err := oauth.ClassifyRedirectURI(uri)
	if err != nil {
		return invalid(member, "%s: %s %w", member, quote(uri), err)
	}
	if kind != oauth.RedirectWeb && kind != oauth.RedirectLoopback {
		return invalid(member, "%s: %s does not have the scheme https", member, quote(uri))
	}
	for _, redirect := range m.client.RedirectURIs {
		if origin(redirect) == origin(uri) {
			return nil
		}
	}
	return invalid(member, "%s: %s does not have scheme, host and port of a redirect URI", member, quote(uri))
}

// origin returns scheme, host and port of a URI that was validated.
func origin(uri string) string {
	u, err := url.Parse(uri)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + strings.ToLower(u.Host)
}
