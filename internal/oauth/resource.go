package oauth

import (
	"net/url"
	"strings"
)

// OtherSpelling returns a resource indicator that is an origin with its slash
// added or removed, false for any other value. Both are the same resource (RFC
// 3986 §6.2.3), and URL libraries write the one or the other.
func OtherSpelling(resource string) (string, bool) {
	u, err := url.Parse(resource)
	if err != nil || u.Host == "" || u.RawQuery != "" || u.ForceQuery || strings.Contains(resource, "#") || u.Path != "" && u.Path != "/" {
		return "", false
	}
	if bare, found := strings.CutSuffix(resource, "/"); found {
		return bare, true
	}
	return resource + "/", true
}

// SameResource reports whether two resource indicators are equal, but for the
// slash after an origin.
func SameResource(a, b string) bool {
	if a == b {
		return true
	}
	other, ok := OtherSpelling(a)
	return ok && other == b
}
