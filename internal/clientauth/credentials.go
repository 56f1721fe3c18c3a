package clientauth

import (
	"encoding/base64"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/opkit/opkit/internal/oauth"
)

// kind is how a request presents who its client is.
type kind int

const (
	kindNone kind = iota
	kindBasic
	kindPost
	kindAssertion
)

func (k kind) String() string {
	switch k {
	case kindBasic:
		return "HTTP Basic"
	case kindPost:
		return "client_secret in the body"
	case kindAssertion:
		return "client_assertion"
	}
	return "no credentials"
}

// credentials are what a request presents.
type credentials struct {
	kind      kind
	clientID  string
	secret    string
	assertion string
}

const (
	maxAuthorization = 4 << 10
	maxClientID      = 2 << 10 // a client identifier may be a URL
	maxSecret        = 1 << 10
)

// parseCredentials reads what a request presents and refuses requests that use
// two methods or name two clients. On error the credentials are zero.
func parseCredentials(authorization []string, form oauth.Parameters) (credentials, error) {
	id, secret, assertion := form.Get("client_id"), form.Get("client_secret"), form.Get("client_assertion")
	presented := 0
	for _, present := range []bool{len(authorization) > 0, secret != "", assertion != "" || form.Get("client_assertion_type") != ""} {
		if present {
			presented++
		}
	}
	// RFC 6749 §2.3: no more than one method in each request. Agreement of two is
	// no excuse: which one is checked must never matter.
	if presented > 1 || len(authorization) > 1 {
		return credentials{}, oauth.Errorf(oauth.CodeInvalidRequest, "the request uses more than one method of client authentication")
	}
	switch {
	case len(authorization) > 0:
		basicID, basicSecret, err := parseBasic(authorization[0])
		if err != nil {
			return credentials{}, err
		}
		if id != "" && id != basicID {
			return credentials{}, oauth.Errorf(oauth.CodeInvalidRequest, "client_id and the client of the Authorization header differ")
		}
		return credentials{kind: kindBasic, clientID: basicID, secret: basicSecret}, nil
	case presented == 1 && secret == "":
		return parseAssertionParameters(id, assertion, form.Get("client_assertion_type"))
	case id == "":
		// RFC 6749 §5.2: "no client authentication included".
		return credentials{}, oauth.Errorf(oauth.CodeInvalidClient, "client authentication failed: the request names no client")
	case len(secret) > maxSecret:
		return credentials{}, oauth.Errorf(oauth.CodeInvalidClient, "client authentication failed: client_secret is too long")
	case secret != "":
		return credentials{kind: kindPost, clientID: id, secret: secret}, nil
	}
	return credentials{clientID: id}, nil
}

// parseBasic parses an Authorization header with the scheme Basic. RFC 6749
// §2.3.1: identifier and secret are encoded as in a form before they are joined.
func parseBasic(header string) (id, secret string, err error) {
	scheme, encoded, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Basic") {
		return "", "", oauth.Errorf(oauth.CodeInvalidClient, "client authentication failed: the scheme of the Authorization header is not Basic")
	}
	malformed := func() (string, string, error) {
		return "", "", oauth.Errorf(oauth.CodeInvalidClient,
			"client authentication failed: the Authorization header is not Base64 of the form-encoded client identifier, a colon and the form-encoded secret")
	}
	encoded = strings.TrimLeft(encoded, " ")
	// The decoder would skip line breaks.
	if len(header) > maxAuthorization || strings.ContainsAny(encoded, "\r\n") {
		return malformed()
	}
	decoded, decodeErr := base64.StdEncoding.Strict().DecodeString(encoded)
	rawID, rawSecret, ok := strings.Cut(string(decoded), ":")
	if decodeErr != nil || !ok {
		return malformed()
	}
	id, idErr := url.QueryUnescape(rawID)
	secret, secretErr := url.QueryUnescape(rawSecret)
	if idErr != nil || secretErr != nil || id == "" || len(secret) > maxSecret || !utf8.ValidString(id) || !utf8.ValidString(secret) {
		return malformed()
	}
	return id, secret, nil
}

// validClientID reports whether id can be the identifier of a client: RFC 6749
// appendix A.1, visible ASCII characters and spaces. Anything else is unknown
// without asking the store, which may choke on it.
func validClientID(id string) bool {
	if id == "" || len(id) > maxClientID {
		return false
	}
	for i := range len(id) {
		if id[i] < 0x20 || id[i] > 0x7e {
			return false
		}
	}
	return true
}
