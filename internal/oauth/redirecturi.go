package oauth

import (
	"fmt"
	"net/netip"
	"net/url"
	"strings"
)

// This file holds the redirect URI rules: what may be registered, and when a
// requested URI equals a registered one. Nothing else in opkit compares or
// judges redirect URIs.

// RedirectKind classifies a redirect URI by where it leads.
type RedirectKind int

// The kinds of redirect URIs.
const (
	RedirectWeb      RedirectKind = iota + 1 // https
	RedirectLoopback                         // http on a loopback IP literal or localhost (RFC 8252 §7.3)
	RedirectPrivate                          // private-use scheme (RFC 8252 §7.1)
	RedirectInsecure                         // http on any other host
)

// deniedSchemes never lead back to an application, or run or read something on
// the user's machine.
var deniedSchemes = map[string]bool{
	// run or read in the browser
	"javascript": true, "vbscript": true, "livescript": true, "mocha": true, "jscript": true, "data": true,
	"blob": true, "filesystem": true, "about": true, "view-source": true, "jar": true, "mhtml": true,
	"resource": true, "res": true, "chrome": true, "chrome-extension": true, "chrome-untrusted": true,
	"chrome-search": true, "devtools": true, "moz-extension": true, "safari-extension": true,
	"safari-web-extension": true, "edge": true, "opera": true, "brave": true, "vivaldi": true, "wyciwyg": true,
	"feed": true, "cid": true, "mid": true,
	// read or run on the machine
	"file": true, "content": true, "intent": true, "android-app": true, "shell": true, "hcp": true,
	"ms-appx": true, "ms-appx-web": true, "ms-appdata": true, "ms-its": true, "its": true, "mk": true,
	"ms-msdt": true, "ms-officecmd": true, "ms-settings": true, "ms-cxh": true, "ms-cxh-full": true,
	"search": true, "search-ms": true,
	// other protocols
	"ws": true, "wss": true, "ftp": true, "ftps": true, "sftp": true, "ssh": true, "telnet": true, "smb": true,
	"ldap": true, "ldaps": true, "gopher": true, "nntp": true, "news": true, "imap": true, "irc": true,
	"git": true, "rtsp": true, "dict": true, "tftp": true, "jdbc": true, "webcal": true, "magnet": true,
	"mailto": true, "tel": true, "sms": true, "geo": true, "urn": true, "tag": true,
	// look like http(s), which is a trap for readers
	"shttp": true, "hxxp": true, "hxxps": true, "htp": true, "htps": true, "httos": true, "hhttps": true,
	"hhttp": true, "ttp": true, "ttps": true,
}

// ClassifyRedirectURI validates the form of a redirect URI and returns its kind.
// The error's text names the rule that is broken; the caller adds which URI.
func ClassifyRedirectURI(raw string) (RedirectKind, error) {
	// RFC 6749 §3.1.2: no fragment, not even an empty one.
	if strings.Contains(raw, "#") {
		return 0, fmt.Errorf("has a fragment")
	}
	u, err := parseURI(raw)
	if err != nil {
		return 0, err
	}
	switch u.Scheme { // url.Parse lower-cases it
	case "https", "http":
		if err := checkAuthority(u); err != nil {
			return 0, err
		}
		if u.Scheme == "https" {
			return RedirectWeb, nil
		}
		if isLoopbackHost(u.Hostname()) {
			return RedirectLoopback, nil
		}
		return RedirectInsecure, nil
	}
	// One letter is a drive on some systems.
	if deniedSchemes[u.Scheme] || strings.HasPrefix(u.Scheme, "http") || len(u.Scheme) == 1 {
		return 0, fmt.Errorf("has a scheme that is not allowed")
	}
	// Without a slash the rest has no structure that rules could hold for.
	_, rest, _ := strings.Cut(raw, ":")
	if !strings.HasPrefix(rest, "/") {
		return 0, fmt.Errorf("has no slash after the scheme")
	}
	if strings.Trim(rest, "/") == "" && strings.HasPrefix(rest, "//") {
		return 0, fmt.Errorf("has nothing after the scheme")
	}
	return RedirectPrivate, nil
}

// isLoopbackHost reports whether host is localhost or a loopback IP literal.
// Only a real address counts: "127.0.0.1.example" and "127.evil.example" are
// names.
func isLoopbackHost(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Zone() == "" && addr.IsLoopback() && !addr.Is4In6()
}

// LeadsToDevice reports whether a redirect URI leads to the user's own device, where
// any program can be: to a loopback host, over https as well, or to an application
// behind a private-use scheme. What is not a redirect URI leads there, too.
func LeadsToDevice(uri string) bool {
	if kind, err := ClassifyRedirectURI(uri); err != nil || kind != RedirectWeb {
		return true
	}
	u, err := url.Parse(uri)
	return err != nil || isLoopbackHost(u.Hostname())
}

// SameOrigin reports whether two http or https URLs have scheme, host and port in
// common, character by character.
func SameOrigin(a, b string) bool {
	u, errA := url.Parse(a)
	v, errB := url.Parse(b)
	return errA == nil && errB == nil && u.Host != "" && (u.Scheme == "https" || u.Scheme == "http") && u.Scheme == v.Scheme && u.Host == v.Host
}

// RedirectHost returns the host that a redirect URI is known by in rules: in lower
// case, with the port unless it is the scheme's own or that of a loopback URI. It is
// empty if the URI has no host.
func RedirectHost(uri string) string {
	kind, err := ClassifyRedirectURI(uri)
	if err != nil || kind == RedirectPrivate {
		return ""
	}
	u, err := url.Parse(uri)
	if err != nil {
		return ""
	}
	host := strings.ToLower(u.Host)
	switch {
	case kind == RedirectLoopback: // RFC 8252 §7.3: any port
		return strings.TrimSuffix(host, ":"+u.Port())
	case u.Scheme == "https":
		return strings.TrimSuffix(host, ":443")
	}
	return host
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
	start := len("http://")
	return raw[:start+colon] + raw[start+len(host):]
}
