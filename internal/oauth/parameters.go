package oauth

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

// MaxParameters bounds the size of a query or form in bytes.
const MaxParameters = 64 << 10

// Parameters are the parameters of a request to an OAuth endpoint.
type Parameters struct {
	values url.Values
	size   int
}

// ParseQuery parses a raw query. RFC 6749 §3.1: a parameter must not appear more
// than once (resource may, RFC 8707 §2), and one without a value is treated as
// if it were left out.
func ParseQuery(raw string) (Parameters, error) {
	if len(raw) > MaxParameters {
		return Parameters{}, Errorf(CodeInvalidRequest, "the request parameters are larger than %d bytes", MaxParameters)
	}
	// Not url.ParseQuery's partial result: a request that does not parse as a
	// whole must not be acted on in part.
	values, err := url.ParseQuery(raw)
	if err != nil {
		return Parameters{}, Errorf(CodeInvalidRequest, "the request parameters are not valid application/x-www-form-urlencoded")
	}
	for name, v := range values {
		if len(v) > 1 && name != "resource" {
			return Parameters{}, Errorf(CodeInvalidRequest, "%s", duplicate(name))
		}
		if !isText(name) || slices.ContainsFunc(v, func(s string) bool { return !isText(s) }) {
			return Parameters{}, Errorf(CodeInvalidRequest, "the request parameters are not valid UTF-8 text")
		}
	}
	return Parameters{values, len(raw)}, nil
}

func isText(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }

// Known reports whether name is a parameter of the protocol's.
func Known(name string) bool { return known[name] }

// duplicate names the parameter only if it is one of the protocol's: names of
// unknown members are not reflected.
func duplicate(name string) string {
	if known[name] {
		return "the parameter " + name + " appears more than once"
	}
	return "a parameter appears more than once"
}

// known is never changed.
var known = map[string]bool{
	"acr_values": true, "assertion": true, "audience": true, "claims": true, "claims_locales": true, "client_assertion": true,
	"client_assertion_type": true, "client_id": true, "client_secret": true, "code": true,
	"code_challenge": true, "code_challenge_method": true, "code_verifier": true, "device_code": true,
	"display": true, "grant_type": true, "id_token_hint": true, "login_hint": true, "max_age": true,
	"nonce": true, "password": true, "prompt": true, "redirect_uri": true, "refresh_token": true,
	"request": true, "request_uri": true, "resource": true, "response_mode": true, "response_type": true, "scope": true,
	"state": true, "token": true, "token_type_hint": true, "ui_locales": true, "username": true,
}

// ParseForm reads and parses the body of a POST with the content type
// application/x-www-form-urlencoded; the query is not looked at. An error has the
// status 405, 413 or 415 where that is the reason.
func ParseForm(w http.ResponseWriter, r *http.Request) (Parameters, error) {
	if r.Method != http.MethodPost {
		return Parameters{}, &Error{Code: CodeInvalidRequest, Description: "the method must be POST", Status: http.StatusMethodNotAllowed}
	}
	if ct, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || ct != "application/x-www-form-urlencoded" {
		return Parameters{}, &Error{
			Code: CodeInvalidRequest, Description: "the content type must be application/x-www-form-urlencoded",
			Status: http.StatusUnsupportedMediaType,
		}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxParameters))
	if err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return Parameters{}, &Error{
				Code: CodeInvalidRequest, Description: "the request body is larger than 64 KiB",
				Status: http.StatusRequestEntityTooLarge,
			}
		}
		return Parameters{}, WithCause(err, CodeInvalidRequest, "the request body could not be read")
	}
	return ParseQuery(string(body))
}

// Size returns the length of what was parsed, in bytes.
func (p Parameters) Size() int { return p.size }

// Get returns the value of a parameter, empty if absent.
func (p Parameters) Get(name string) string { return p.values.Get(name) }

// All returns every value of a repeatable parameter, without empty ones.
func (p Parameters) All(name string) []string {
	var out []string
	for _, v := range p.values[name] {
		if v != "" {
			out = append(out, v)
		}
	}
	return out
}

// Set replaces a parameter; an empty value removes it.
func (p *Parameters) Set(name, value string) {
	if p.values == nil {
		p.values = url.Values{}
	}
	if value == "" {
		p.values.Del(name)
		return
	}
	p.values.Set(name, value)
}

// Names calls yield for each parameter that is present.
func (p Parameters) Names(yield func(string) bool) {
	for name := range p.values {
		if !yield(name) {
			return
		}
	}
}

// Encode returns the parameters as a query sorted by name.
func (p Parameters) Encode() string { return p.values.Encode() }
