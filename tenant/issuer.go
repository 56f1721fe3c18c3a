package tenant

import (
	"errors"
	"net"
	"net/netip"
	"net/url"
	"strings"

	"github.com/opkit/opkit/internal/oauth"
)

// maxIssuer bounds what every token of the tenant carries.
const maxIssuer = 255

// checkIssuer applies RFC 8414 §2 and OpenID Connect Discovery §3: https, no query
// and no fragment. http is accepted for loopback hosts, where there is no network
// to listen on. The error continues a sentence about the issuer.
func checkIssuer(issuer string) error {
	if len(issuer) > maxIssuer {
		return errors.New("is longer than 255 bytes")
	}
	if strings.Contains(issuer, "?") {
		return errors.New("has a query")
	}
	// The rules for where a redirect may lead are those for where a provider may
	// be: a real host, no user information, no dot segments, plain ASCII.
	kind, err := oauth.ClassifyRedirectURI(issuer)
	switch {
	case err != nil:
		return err
	case kind == oauth.RedirectInsecure:
		return errors.New("uses http on a host that is not a loopback host")
	case kind == oauth.RedirectPrivate:
		return errors.New("does not use https")
	}
	u, err := url.Parse(issuer)
	if err != nil {
		return errors.New("is not a valid URI")
	}
	// Relying parties compare issuers as strings. A scheme or host in capitals, a
	// path with escapes or empty segments has a second spelling for one place.
	if !strings.HasPrefix(issuer, u.Scheme+"://") || u.Host != strings.ToLower(u.Host) {
		return errors.New("has capitals in its scheme or host")
	}
	if strings.Contains(u.Path, "//") || !plainPath(issuer[len(u.Scheme)+len("://")+len(u.Host):]) {
		return errors.New("has a path with empty segments or characters other than letters, digits and -._~")
	}
	return nil
}

// plainPath reports whether every character of a path means itself.
func plainPath(path string) bool {
	for i := range len(path) {
		switch c := path[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("/-._~", c) >= 0:
		default:
			return false
		}
	}
	return true
}

// maxID keeps identifiers short enough for cookie names and file names.
const maxID = 64

// validID reports whether id may identify a tenant: lower-case letters, digits,
// hyphens and underscores, beginning with a letter or digit. Identifiers arrive in
// paths that routers unescape differently, so nothing else passes.
func validID(id string) bool {
	if id == "" || len(id) > maxID || id[0] == '-' || id[0] == '_' {
		return false
	}
	for i := range len(id) {
		switch c := id[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}

// issuerHost returns the host and the port of an issuer that was checked.
func issuerHost(issuer string) (host, port string) {
	u, err := url.Parse(issuer)
	if err != nil {
		return "", ""
	}
	if port = u.Port(); port == "" {
		port = defaultPort(issuer)
	}
	return strings.ToLower(u.Hostname()), port
}

func defaultPort(issuer string) string {
	if strings.HasPrefix(issuer, "http:") {
		return "80"
	}
	return "443"
}

// splitHost splits a Host header into a lower-case name or address and a port.
func splitHost(header string) (host, port string, ok bool) {
	host = header
	if h, p, err := net.SplitHostPort(header); err == nil {
		host, port = h, p
		if port == "" {
			return "", "", false
		}
	} else if inner, found := strings.CutPrefix(header, "["); found {
		if host, found = strings.CutSuffix(inner, "]"); !found {
			return "", "", false
		}
	}
	if strings.HasPrefix(header, "[") != strings.Contains(host, ":") { // RFC 3986 §3.2.2
		return "", "", false
	}
	host = strings.ToLower(host)
	return host, port, validHost(host)
}

// validHost reports whether host is a name of letters, digits, hyphens and dots,
// or an IP address.
func validHost(host string) bool {
	if host == "" || len(host) > 253 {
		return false
	}
	if strings.Contains(host, ":") {
		addr, err := netip.ParseAddr(host)
		return err == nil && addr.Zone() == ""
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" { // also a trailing dot: one host, one spelling
			return false
		}
		for i := range len(label) {
			switch c := label[i]; {
			case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
			default:
				return false
			}
		}
	}
	return true
}
