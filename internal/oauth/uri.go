package oauth

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// This file holds what every URI in registered metadata has to keep, whatever it
// is for. RFC 3986 leaves room that browsers, URL parsers and people fill in
// differently; a URI that two of them could read as two places is refused.

// MaxURI is the largest accepted length of a URI in registered metadata.
const MaxURI = 2 << 10

// CheckURI validates a URI in registered metadata that is not a redirect URI. Its
// scheme has to be one of schemes, which are lower case and have an authority
// ("https"). A fragment is accepted. The error's text names the rule that is
// broken; the caller adds which URI.
func CheckURI(raw string, schemes ...string) error {
	u, err := parseURI(raw)
	if err != nil {
		return err
	}
	if !slices.Contains(schemes, u.Scheme) {
		return fmt.Errorf("does not have the scheme %s", strings.Join(schemes, " or "))
	}
	return checkAuthority(u)
}

// parseURI applies the rules that hold for every scheme.
func parseURI(raw string) (*url.URL, error) {
	if raw == "" {
		return nil, fmt.Errorf("is empty")
	}
	if len(raw) > MaxURI {
		return nil, fmt.Errorf("is longer than %d bytes", MaxURI)
	}
	for i := range len(raw) {
		switch c := raw[i]; c {
		case '*':
			return nil, fmt.Errorf("has a wildcard; every URI is registered in full")
		case '%':
			if i+2 >= len(raw) || !isHex(raw[i+1]) || !isHex(raw[i+2]) {
				return nil, fmt.Errorf("has a percent sign without two hexadecimal digits")
			}
		case '\\', '"', '<', '>', '^', '`', '{', '|', '}':
			return nil, fmt.Errorf("has a character that RFC 3986 does not allow")
		default:
			// RFC 3986 is ASCII: a host in another script has to come in its ASCII form,
			// so that what is compared, shown and visited is one thing.
			if c > unicode.MaxASCII || c <= ' ' || c == 0x7f {
				return nil, fmt.Errorf("has a character that RFC 3986 does not allow")
			}
		}
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("is not a valid URI")
	}
	if !u.IsAbs() {
		return nil, fmt.Errorf("is not absolute")
	}
	if u.User != nil || strings.Contains(authority(raw), "@") {
		return nil, fmt.Errorf("has user information")
	}
	for segment := range strings.SplitSeq(u.Path, "/") {
		// Browsers resolve dot segments before they send the request, so that the
		// registered URI would not be the one that is visited.
		if segment == "." || segment == ".." {
			return nil, fmt.Errorf("has a path with dot segments")
		}
	}
	return u, nil
}

// authority returns the part between // and the next slash, question mark, number
// sign or end; empty if // does not follow the scheme.
func authority(raw string) string {
	_, rest, _ := strings.Cut(raw, ":")
	rest, ok := strings.CutPrefix(rest, "//")
	if !ok {
		return ""
	}
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		rest = rest[:i]
	}
	return rest
}

// checkAuthority validates host and port of an http(s) URI.
func checkAuthority(u *url.URL) error {
	host := u.Hostname()
	if u.Opaque != "" || host == "" {
		return fmt.Errorf("has no host")
	}
	if strings.HasSuffix(u.Host, ":") {
		return fmt.Errorf("has an empty port")
	}
	if p := u.Port(); p != "" {
		if n, err := strconv.ParseUint(p, 10, 16); err != nil || n == 0 || p[0] == '0' {
			return fmt.Errorf("has a port that is not a number from 1 to 65535")
		}
	}
	if !isHost(host, strings.HasPrefix(u.Host, "[")) {
		return fmt.Errorf("has a host that is not a domain name or an IP address")
	}
	return nil
}

// isHost reports whether host is a domain name, an IPv4 address in its one
// canonical form, or (in brackets) an IPv6 address without a zone.
func isHost(host string, brackets bool) bool {
	addr, err := netip.ParseAddr(host)
	if brackets || strings.Contains(host, ":") {
		return brackets && err == nil && addr.Is6() && addr.Zone() == ""
	}
	if len(host) > 253 {
		return false
	}
	var label string
	for label = range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
		for i := range len(label) {
			if c := label[i]; !isAlphanumeric(c) && c != '-' && c != '_' {
				return false
			}
		}
	}
	// No top-level domain begins with a digit, but browsers take such a host
	// (127.1, 2130706433, 0x7f.1) for an IPv4 address.
	if c := label[0]; '0' <= c && c <= '9' {
		return err == nil && addr.Is4()
	}
	return true
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func isAlphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
