package oauth

import (
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"unicode"
)

// This file holds the redirect URI rules: what may be registered, and when a
// requested URI equals a registered one. Nothing else in opkit compares or
// judges redirect URIs.

// MaxURI is the largest accepted length of a URI in registered metadata.
const MaxURI = 2 << 10

// RedirectKind classifies a redirect URI by where it leads.
type RedirectKind int

// The kinds of redirect URIs.
const (
	RedirectWeb      RedirectKind = iota + 1 // https
	RedirectLoopback                         // http on a loopback IP literal or localhost (RFC 8252 §7.3)
	RedirectPrivate                          // private-use scheme (RFC 8252 §7.1)
	RedirectInsecure                         // http on any other host
)

// deniedSchemes never lead back to an application, or run or read something in
// the browser. A scheme that merely looks like http(s) is a trap for readers.
var deniedSchemes = map[string]bool{
	"javascript": true, "data": true, "vbscript": true, "file": true, "blob": true, "about": true,
	"filesystem": true, "view-source": true, "ws": true, "wss": true, "ftp": true, "mailto": true,
	"tel": true, "sms": true, "urn": true, "chrome": true, "chrome-extension": true, "moz-extension": true,
	"edge": true, "resource": true, "jar": true, "intent": true, "android-app": true, "ms-appx": true,
	"httpss": true, "https+http": true, "http+https": true, "shttp": true, "hxxp": true, "hxxps": true, "htp": true,
	"htps": true, "httos": true, "livescript": true, "mocha": true, "mhtml": true, "res": true, "smb": true, "ssh": true,
}

// ClassifyRedirectURI validates the form of a redirect URI and returns its kind.
// The error's text names the rule that is broken; the caller adds which URI.
func ClassifyRedirectURI(raw string) (RedirectKind, error) {
	if raw == "" {
		return 0, fmt.Errorf("is empty")
	}
	if len(raw) > MaxURI {
		return 0, fmt.Errorf("is longer than %d bytes", MaxURI)
	}
	for _, r := range raw {
		// RFC 3986 is ASCII: a host in another script has to come in its ASCII form,
		// so that what is compared, shown and visited is one thing.
		if r > unicode.MaxASCII || r <= ' ' || r == 0x7f {
			return 0, fmt.Errorf("has a character that RFC 3986 does not allow")
		}
		switch r {
		case '\\', '"', '<', '>', '^', '`', '{', '|', '}':
			return 0, fmt.Errorf("has a character that RFC 3986 does not allow")
		case '*':
			return 0, fmt.Errorf("has a wildcard; every redirect URI is registered in full")
		}
	}
	// RFC 6749 §3.1.2: no fragment, not even an empty one.
	if strings.ContainsRune(raw, '#') {
		return 0, fmt.Errorf("has a fragment")
	}
	u, err := url.Parse(raw)
	if err != nil {
		return 0, fmt.Errorf("is not a valid URI")
	}
	if !u.IsAbs() {
		return 0, fmt.Errorf("is not absolute")
	}
	if u.User != nil || strings.Contains(authority(raw), "@") {
		return 0, fmt.Errorf("has user information")
	}
	for segment := range strings.SplitSeq(u.Path, "/") {
		// Browsers resolve dot segments before they send the request, so that the
		// registered URI would not be the one that is visited.
		if segment == "." || segment == ".." {
			return 0, fmt.Errorf("has a path with dot segments")
		}
	}
	switch u.Scheme { // url.Parse lower-cases it
	case "https", "http":
		if u.Opaque != "" || u.Hostname() == "" {
			return 0, fmt.Errorf("has no host")
		}
		if err := checkPort(u); err != nil {
			return 0, err
		}
		if strings.HasSuffix(u.Hostname(), ".") || strings.Contains(u.Hostname(), "..") || strings.ContainsAny(u.Hostname(), "%,;!'()&=+$~") {
			return 0, fmt.Errorf("has a host that is not a domain name or an IP address")
		}
		if u.Scheme == "https" {
			return RedirectWeb, nil
		}
		if isLoopbackHost(u.Hostname()) {
			return RedirectLoopback, nil
		}
		return RedirectInsecure, nil
	}
	if deniedSchemes[u.Scheme] || strings.HasPrefix(u.Scheme, "http") {
		return 0, fmt.Errorf("has the scheme %q, which is not allowed", u.Scheme)
	}
	// "myapp:" alone leads nowhere.
	if u.Host == "" && u.Path == "" && u.Opaque == "" && u.RawQuery == "" {
		return 0, fmt.Errorf("has nothing after the scheme")
	}
	return RedirectPrivate, nil
}

// authority returns the part between // and the next slash, question mark or end.
func authority(raw string) string {
	_, rest, ok := strings.Cut(raw, "//")
	if !ok {
		return ""
	}
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		rest = rest[:i]
	}
	return rest
}

func checkPort(u *url.URL) error {
	if strings.HasSuffix(u.Host, ":") {
		return fmt.Errorf("has an empty port")
	}
	if p := u.Port(); len(p) > 5 || (len(p) > 1 && p[0] == '0') || p == "0" {
		return fmt.Errorf("has a port that is not a number from 1 to 65535")
	}
	return nil
}

// isLoopbackHost reports whether host is localhost or a loopback IP literal.
// Only a real address counts: "127.0.0.1.example" and "127.evil.example" are
// names.
func isLoopbackHost(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Zone() == "" && addr.Unmap().IsLoopback() && !addr.Is4In6()
}

// PrivateSchemeHasDot reports whether the scheme of a private-use URI follows
// RFC 8252 §7.1 (a reversed domain name). raw must be of kind RedirectPrivate.
func PrivateSchemeHasDot(raw string) bool {
	scheme, _, _ := strings.Cut(raw, ":")
	return strings.Contains(scheme, ".")
}

// MatchRedirectURI reports whether requested equals one of the registered URIs.
// The comparison is of strings, exact and case-sensitive (RFC 9700 §2.1). If
// loopback is set, the port of an http loopback URI is ignored on both sides
// (RFC 8252 §7.3); scheme, host, path and query stay exact, and 127.0.0.1, [::1]
// and localhost are never interchanged.
func MatchRedirectURI(registered []string, requested string, loopback bool) bool {
	for _, r := range registered {
		if r == requested {
			return requested != ""
		}
	}
	if !loopback || !strings.HasPrefix(requested, "http://") {
		return false
	}
	kind, err := ClassifyRedirectURI(requested)
	if err != nil || kind != RedirectLoopback {
		return false
	}
	want := withoutPort(requested)
	for _, r := range registered {
		if !strings.HasPrefix(r, "http://") {
			continue
		}
		if kind, err := ClassifyRedirectURI(r); err == nil && kind == RedirectLoopback && withoutPort(r) == want {
			return true
		}
	}
	return false
}

// withoutPort removes the port from a URI that was classified as loopback.
func withoutPort(raw string) string {
	host := authority(raw)
	colon := strings.LastIndexByte(host, ':')
	if colon < 0 || strings.HasSuffix(host, "]") { // no port, or a bare [::1]
		return raw
	}
	start := strings.Index(raw, "//") + 2
	return raw[:start+colon] + raw[start+len(host):]
}
