package management

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/opkit/opkit/internal/httpx"
	"github.com/opkit/opkit/internal/oauth"
)

// Values of Error.Code that every resource shares.
const (
	// CodeInvalidBody: the request body breaks a rule.
	CodeInvalidBody = "invalid_body"
	// CodeInvalidQuery: a query parameter breaks a rule.
	CodeInvalidQuery = "invalid_query_string"
	// CodeInsufficientScope: the token is good, but lacks a scope.
	CodeInsufficientScope = "insufficient_scope"
	// CodeTooManyRequests: the caller has to wait as long as Retry-After says.
	CodeTooManyRequests = "too_many_requests"
)

// Error is an answer of the management API other than success. Message is
// written for the caller's developer and is sent as it is; the cause is for the
// log only.
type Error struct {
	// Status is the HTTP status.
	Status int
	// Code is the errorCode member, left out if empty.
	Code    string
	Message string
	// challenge is sent as WWW-Authenticate (RFC 6750 §3).
	challenge  string
	retryAfter time.Duration // of 429 and 503; a second if zero
	cause      error
}

func (e *Error) Error() string {
	s := fmt.Sprintf("%d %s: %s", e.Status, e.Code, e.Message)
	if e.Code == "" {
		s = fmt.Sprintf("%d: %s", e.Status, e.Message)
	}
	if e.cause != nil {
		s += ": " + e.cause.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.cause }

// Errorf returns an *Error. code may be empty. The text is sent: it must not
// contain the text of another error.
func Errorf(status int, code, format string, args ...any) error {
	return &Error{Status: status, Code: code, Message: fmt.Sprintf(format, args...)}
}

// InvalidBody returns 400 invalid_body. The text names the member and the rule:
// "name must not be empty".
func InvalidBody(format string, args ...any) error {
	return Errorf(http.StatusBadRequest, CodeInvalidBody, format, args...)
}

// InvalidQuery returns 400 invalid_query_string. The text names the parameter
// and the rule.
func InvalidQuery(format string, args ...any) error {
	return Errorf(http.StatusBadRequest, CodeInvalidQuery, format, args...)
}

// InvalidToken returns 401 for a token that does not hold, with the reason for
// the log. The answer never says which check failed.
func InvalidToken(cause error) error {
	return &Error{
		Status: http.StatusUnauthorized, Message: "The token is malformed, expired, or not meant for this API.",
		challenge: `Bearer realm="management", error="invalid_token", error_description="The token is malformed, expired, or not meant for this API"`,
		cause:     cause,
	}
}

// asError returns err as an *Error. Any other error is the provider's own: the
// caller learns nothing but that.
func asError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	// What is busy or out of order says so, a key's source for instance.
	if e := oauth.AsError(err); e.Status == http.StatusServiceUnavailable {
		return &Error{Status: e.Status, Message: "The service is busy, try again later.", retryAfter: e.RetryAfter, cause: err}
	}
	return &Error{Status: http.StatusInternalServerError, Message: "An internal error occurred.", cause: err}
}

// WriteError answers a request with err. What is not an [*Error] becomes a bare
// 500 and is logged with its text; nil logs nothing.
func WriteError(w http.ResponseWriter, r *http.Request, logger *slog.Logger, err error) {
	e := asError(err)
	if e.Status >= http.StatusInternalServerError && logger != nil {
		logger.ErrorContext(r.Context(), "management request failed", "method", r.Method, "err", err)
	}
	if e.challenge != "" {
		w.Header().Set("WWW-Authenticate", e.challenge)
	}
	if e.Status == http.StatusServiceUnavailable || e.Status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", strconv.Itoa(max(1, int((e.retryAfter+time.Second-1)/time.Second))))
	}
	httpx.NoStore(w.Header())
	httpx.WriteJSON(w, e.Status, errorBody{e.Status, http.StatusText(e.Status), e.Message, e.Code})
}

// errorBody is an error on the wire.
type errorBody struct {
	StatusCode int    `json:"statusCode"`
	Error      string `json:"error"`
	Message    string `json:"message"`
	ErrorCode  string `json:"errorCode,omitempty"`
}
