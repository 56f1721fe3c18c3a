package oauth

import (
	"slices"
	"strings"
)

// Standard scopes of OpenID Connect Core §5.4 and §11.
const (
	ScopeOpenID        = "openid"
	ScopeProfile       = "profile"
	ScopeEmail         = "email"
	ScopeAddress       = "address"
	ScopePhone         = "phone"
	ScopeOfflineAccess = "offline_access"
)

// StandardScopes are the scopes that need no API.
var StandardScopes = []string{ScopeOpenID, ScopeProfile, ScopeEmail, ScopeAddress, ScopePhone, ScopeOfflineAccess}

// maxScopes bounds what one request may ask for.
const maxScopes = 256

// Scope is an ordered set of scope values.
type Scope []string

// ParseScope parses a space-separated list. Repeated values count once, order is
// kept. RFC 6749 §3.3: a value has the characters %x21 / %x23-5B / %x5D-7E.
func ParseScope(s string) (Scope, error) {
	var out Scope
	for value := range strings.SplitSeq(s, " ") {
		if value == "" {
			continue
		}
		for i := range len(value) {
			if c := value[i]; c < 0x21 || c > 0x7e || c == '"' || c == '\\' {
				return nil, Errorf(CodeInvalidScope, "scope has a character that RFC 6749 §3.3 does not allow")
			}
		}
		if len(out) == maxScopes {
			return nil, Errorf(CodeInvalidScope, "scope has more than %d values", maxScopes)
		}
		if !slices.Contains(out, value) {
			out = append(out, value)
		}
	}
	return out, nil
}

// String returns the values separated by spaces.
func (s Scope) String() string { return strings.Join(s, " ") }

// Has reports whether s contains value.
func (s Scope) Has(value string) bool { return slices.Contains(s, value) }

// HasAll reports whether s contains every value of other.
func (s Scope) HasAll(other Scope) bool {
	for _, v := range other {
		if !s.Has(v) {
			return false
		}
	}
	return true
}

// Union returns s followed by the values of other that s lacks.
func (s Scope) Union(other Scope) Scope {
	out := slices.Clip(s) // so that append copies, once and only if there is something to add
	for i, v := range other {
		if out.Has(v) {
			continue
		}
		if len(out) == len(s) {
			out = slices.Grow(out, len(other)-i)
		}
		out = append(out, v)
	}
	return out
}
