package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Error codes of RFC 6749, RFC 6750, RFC 7009, RFC 7591, RFC 8707 and OpenID
// Connect Core.
const (
	CodeInvalidRequest          = "invalid_request"
	CodeInvalidClient           = "invalid_client"
	CodeInvalidGrant            = "invalid_grant"
	CodeUnauthorizedClient      = "unauthorized_client"
	CodeUnsupportedGrantType    = "unsupported_grant_type"
	CodeUnsupportedResponseType = "unsupported_response_type"
	CodeInvalidScope            = "invalid_scope"
	CodeAccessDenied            = "access_denied"
	CodeServerError             = "server_error"
	CodeTemporarilyUnavailable  = "temporarily_unavailable"
	CodeInvalidTarget           = "invalid_target"
	CodeInvalidToken            = "invalid_token"
	CodeUnsupportedTokenType    = "unsupported_token_type"
	CodeInsufficientScope       = "insufficient_scope"
	CodeInvalidRedirectURI      = "invalid_redirect_uri"
	CodeInvalidClientMetadata   = "invalid_client_metadata"
	CodeLoginRequired           = "login_required"
	CodeConsentRequired         = "consent_required"
	CodeInteractionRequired     = "interaction_required"
	CodeAccountSelection        = "account_selection_required"
	CodeInvalidRequestObject    = "invalid_request_object"
	CodeInvalidRequestURI       = "invalid_request_uri"
	CodeRequestNotSupported     = "request_not_supported"
	CodeRequestURINotSupported  = "request_uri_not_supported"
	CodeRegistrationNotSupport  = "registration_not_supported"

	// RFC 7591 §3.2.2.
	CodeInvalidSoftwareStatement    = "invalid_software_statement"
	CodeUnapprovedSoftwareStatement = "unapproved_software_statement"

	// OpenID Connect Core Unmet Authentication Requirements 1.0 §2.
	CodeUnmetAuthenticationRequirements = "unmet_authentication_requirements"
)

// Error is a protocol error. Description is written for the client's developer
// and is sent as it is; the cause is for the log only.
type Error struct {
	Code        string
	Description string
	// Status is the HTTP status where the error is sent as JSON. Zero: the one that
	// belongs to the code.
	Status int
	// RetryAfter is sent as Retry-After if positive.
	RetryAfter time.Duration
	cause      error
}

func (e *Error) Error() string {
	s := e.Code
	if e.Description != "" {
		s += ": " + e.Description
	}
	if e.cause != nil {
		s += ": " + e.cause.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.cause }

// Errorf returns an *Error with a formatted description and the status that
// belongs to the code. An %w operand becomes the cause as well as part of the
// description, so use it for errors whose text may be seen.
func Errorf(code, format string, args ...any) error {
	wrapped := fmt.Errorf(format, args...)
	return &Error{Code: code, Description: descriptive(wrapped.Error()), Status: status(code), cause: errors.Unwrap(wrapped)}
}

// descriptive replaces what error_description must not contain. RFC 6749 §5.2:
// %x20-21 / %x23-5B / %x5D-7E.
func descriptive(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '"':
			return '\''
		case r < ' ' || r > '~' || r == '\\':
			return '?'
		}
		return r
	}, s)
}

// WithCause returns an *Error with a description for the client and a cause for
// the log.
func WithCause(cause error, code, description string) error {
	return &Error{Code: code, Description: description, Status: status(code), cause: cause}
}

// Unavailable returns temporarily_unavailable with a Retry-After.
func Unavailable(cause error, after time.Duration) error {
	return &Error{
		Code: CodeTemporarilyUnavailable, Description: "the service is busy, try again later",
		Status: http.StatusServiceUnavailable, RetryAfter: after, cause: cause,
	}
}

// status is the one table from code to HTTP status.
func status(code string) int {
	switch code {
	case CodeInvalidClient, CodeInvalidToken:
		return http.StatusUnauthorized // RFC 6749 §5.2, RFC 6750 §3.1
	case CodeInsufficientScope, CodeAccessDenied:
		return http.StatusForbidden
	case CodeServerError:
		return http.StatusInternalServerError
	case CodeTemporarilyUnavailable:
		return http.StatusServiceUnavailable
	default:
		return http.StatusBadRequest
	}
}

// AsError returns err as an *Error. Anything that is not one becomes a bare
// server_error (or temporarily_unavailable if the context ended), with err as
// the cause: its text must reach the log and nobody else. Status is always set.
func AsError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		if e.Status == 0 {
			filled := *e
			filled.Status = status(e.Code)
			return &filled
		}
		return e
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		e, _ := errors.AsType[*Error](Unavailable(err, time.Second))
		return e
	}
	return &Error{Code: CodeServerError, Status: http.StatusInternalServerError, cause: err}
}

// Internal reports whether err is the provider's fault and belongs in the log.
func Internal(err error) bool { return AsError(err).Status >= 500 }

// WriteError sends err as the JSON of RFC 6749 §5.2. The caller logs internal
// errors. WWW-Authenticate is the caller's as well.
func WriteError(w http.ResponseWriter, err error) {
	e := AsError(err)
	body, _ := json.Marshal(struct { // two strings: cannot fail
		Code        string `json:"error"`
		Description string `json:"error_description,omitempty"`
	}{e.Code, e.Description})
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache")
	h.Set("X-Content-Type-Options", "nosniff")
	if e.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int((e.RetryAfter+time.Second-1)/time.Second)))
	}
	w.WriteHeader(e.Status)
	w.Write(append(body, '\n'))
}
