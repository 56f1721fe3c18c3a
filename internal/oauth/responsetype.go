package oauth

import (
	"strings"
)

// ResponseType is a set of the response types of OAuth 2.0 Multiple Response
// Type Encoding Practices. A set has one value however the request spells or
// orders it, so that a rule about a flow cannot be sidestepped by another
// spelling.
type ResponseType uint8

// The members of a ResponseType.
const (
	ResponseCode ResponseType = 1 << iota
	ResponseIDToken
	ResponseToken
	// ResponseNone stands alone: nothing is returned but that the user allowed it.
	ResponseNone
)

// ParseResponseType parses the response_type parameter. Values are separated by
// single spaces, in any order, each at most once.
func ParseResponseType(s string) (ResponseType, error) {
	if s == "" {
		return 0, Errorf(CodeInvalidRequest, "response_type is missing")
	}
	var t ResponseType
	for value := range strings.SplitSeq(s, " ") {
		var bit ResponseType
		switch value {
		case "code":
			bit = ResponseCode
		case "id_token":
			bit = ResponseIDToken
		case "token":
			bit = ResponseToken
		case "none":
			bit = ResponseNone
		}
		if bit == 0 || t&bit != 0 {
			return 0, Errorf(CodeUnsupportedResponseType, "response_type is not one that this provider supports")
		}
		t |= bit
	}
	if t.Has(ResponseNone) && t != ResponseNone { // §4
		return 0, Errorf(CodeUnsupportedResponseType, "response_type has none together with another value")
	}
	return t, nil
}

// Has reports whether t includes every member of other.
func (t ResponseType) Has(other ResponseType) bool { return t&other == other }

// FrontChannel reports whether a token travels through the browser.
func (t ResponseType) FrontChannel() bool { return t&(ResponseIDToken|ResponseToken) != 0 }

// String returns the canonical spelling: code, id_token, token, in this order, or
// none.
func (t ResponseType) String() string {
	var parts []string
	if t.Has(ResponseCode) {
		parts = append(parts, "code")
	}
	if t.Has(ResponseIDToken) {
		parts = append(parts, "id_token")
	}
	if t.Has(ResponseToken) {
		parts = append(parts, "token")
	}
	if t.Has(ResponseNone) {
		parts = append(parts, "none")
	}
	return strings.Join(parts, " ")
}
