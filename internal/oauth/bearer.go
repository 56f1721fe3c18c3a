package oauth

import (
	"errors"
	"net/http"
	"strings"
)

// This file implements the resource server's side of RFC 6750 (Bearer Token
// Usage): how a token arrives and how it is refused.

// ErrNoToken says that a request carries no bearer token at all.
var ErrNoToken = errors.New("oauth: the request has no bearer token")

// BearerToken returns the token of the Authorization header (RFC 6750 §2.1).
// ErrNoToken: the request has none, or another scheme. invalid_request: credentials
// that the scheme's grammar does not have. RFC 6750 §3.1 calls such a request malformed;
// invalid_token is about a token that there is.
func BearerToken(r *http.Request) (string, error) {
	values := r.Header["Authorization"]
	if len(values) == 0 {
		return "", ErrNoToken
	}
	if len(values) > 1 {
		return "", Errorf(CodeInvalidRequest, "the request has more than one Authorization header")
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") { // RFC 9110 §11.1
		return "", ErrNoToken
	}
	token = strings.Trim(token, " ")
	if token == "" {
		return "", Errorf(CodeInvalidRequest, "the Authorization header has no token")
	}
	if !isB64Token(token) {
		return "", Errorf(CodeInvalidRequest, "the Authorization header must have one token after Bearer, of letters, digits and -._~+/ with = at its end only")
	}
	return token, nil
}

// isB64Token reports whether s is a b64token (RFC 6750 §2.1).
func isB64Token(s string) bool {
	s = strings.TrimRight(s, "=")
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-._~+/", c) >= 0:
		default:
			return false
		}
	}
	return s != ""
}

// BearerChallenge returns the WWW-Authenticate header of a refused request (RFC
// 6750 §3), empty if the refusal is the server's own fault. scope is what the
// resource needs, for insufficient_scope.
func BearerChallenge(realm string, err error, scope string) string {
	challenge := `Bearer realm="` + quotable(realm) + `"`
	if errors.Is(err, ErrNoToken) {
		// RFC 6750 §3.1: a request without credentials learns nothing but the scheme.
		return challenge
	}
	e := AsError(err)
	if e.Status >= 500 {
		return ""
	}
	challenge += `, error="` + e.Code + `"`
	if e.Description != "" {
		challenge += `, error_description="` + quotable(e.Description) + `"`
	}
	if e.Code == CodeInsufficientScope {
		challenge += `, scope="` + quotable(scope) + `"`
	}
	return challenge
}

// quotable returns s without what ends or breaks a quoted-string (RFC 9110
// §5.6.4, RFC 6750 §3).
func quotable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '"' || r == '\\' {
			return -1
		}
		return r
	}, s)
}
