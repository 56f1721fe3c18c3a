package oauth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestWriteError(t *testing.T) {
	secret := errors.New("dial tcp 10.0.0.7:5432: password rejected for opkit")
	for _, c := range []struct {
		rule, body, retryAfter string
		err                    error
		status                 int
	}{
		{rule: "RFC 6749 §5.2 invalid_request", err: Errorf(CodeInvalidRequest, "x is missing"), status: 400,
			body: `{"error":"invalid_request","error_description":"x is missing"}`},
		{rule: "RFC 6749 §5.2 invalid_client", err: Errorf(CodeInvalidClient, "no such client"), status: 401,
			body: `{"error":"invalid_client","error_description":"no such client"}`},
		{rule: "invalid_grant", err: Errorf(CodeInvalidGrant, "x"), status: 400, body: `{"error":"invalid_grant","error_description":"x"}`},
		{rule: "RFC 7591 §3.2.2", err: Errorf(CodeInvalidRedirectURI, "x"), status: 400, body: `{"error":"invalid_redirect_uri","error_description":"x"}`},
		{rule: "RFC 6750 §3.1 invalid_token", err: Errorf(CodeInvalidToken, "x"), status: 401, body: `{"error":"invalid_token","error_description":"x"}`},
		{rule: "RFC 6750 §3.1 insufficient_scope", err: Errorf(CodeInsufficientScope, "x"), status: 403, body: `{"error":"insufficient_scope","error_description":"x"}`},
		{rule: "access_denied", err: Errorf(CodeAccessDenied, "x"), status: 403, body: `{"error":"access_denied","error_description":"x"}`},
		{rule: "no description", err: &Error{Code: CodeInvalidGrant, Status: 400}, status: 400, body: `{"error":"invalid_grant"}`},
		{rule: "a status of its own", err: &Error{Code: CodeInvalidRequest, Status: 413}, status: 413, body: `{"error":"invalid_request"}`},
		{rule: "a status that was left out", err: &Error{Code: CodeInvalidClient}, status: 401, body: `{"error":"invalid_client"}`},
		{rule: "a status that was left out for an unknown code", err: &Error{Code: "slow_down"}, status: 400, body: `{"error":"slow_down"}`},
		{rule: "a wrapped error", err: fmt.Errorf("token: %w", Errorf(CodeInvalidGrant, "x")), status: 400, body: `{"error":"invalid_grant","error_description":"x"}`},
		{rule: "the cause stays inside", err: WithCause(secret, CodeInvalidGrant, "x"), status: 400, body: `{"error":"invalid_grant","error_description":"x"}`},
		{rule: "another error is a bare server_error", err: secret, status: 500, body: `{"error":"server_error"}`},
		{rule: "server_error with a cause", err: WithCause(secret, CodeServerError, ""), status: 500, body: `{"error":"server_error"}`},
		{rule: "no error", err: nil, status: 500, body: `{"error":"server_error"}`},
		{rule: "busy", err: Unavailable(secret, 1500*time.Millisecond), status: 503, retryAfter: "2",
			body: `{"error":"temporarily_unavailable","error_description":"the service is busy, try again later"}`},
		{rule: "deadline", err: fmt.Errorf("store: %w", context.DeadlineExceeded), status: 503, retryAfter: "1",
			body: `{"error":"temporarily_unavailable","error_description":"the service is busy, try again later"}`},
		{rule: "cancelled", err: context.Canceled, status: 503, retryAfter: "1",
			body: `{"error":"temporarily_unavailable","error_description":"the service is busy, try again later"}`},
		{rule: "too many requests", err: &Error{Code: CodeTemporarilyUnavailable, Status: 429, RetryAfter: time.Millisecond}, status: 429, retryAfter: "1",
			body: `{"error":"temporarily_unavailable"}`},
		{rule: "markup cannot be taken for HTML", err: &Error{Code: CodeInvalidRequest, Description: "<script>"}, status: 400,
			body: `{"error":"invalid_request","error_description":"\u003cscript\u003e"}`},
	} {
		t.Run(c.rule, func(t *testing.T) {
			w := httptest.NewRecorder()
			WriteError(w, c.err)
			if w.Code != c.status || strings.TrimSuffix(w.Body.String(), "\n") != c.body {
				t.Errorf("got %d %s\nwant %d %s", w.Code, w.Body, c.status, c.body)
			}
			for name, want := range map[string]string{
				"Content-Type": "application/json", "Cache-Control": "no-store", "Pragma": "no-cache",
				"X-Content-Type-Options": "nosniff", "Retry-After": c.retryAfter,
			} {
				if got := w.Header().Get(name); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
			if !json.Valid(w.Body.Bytes()) || bytes.Contains(w.Body.Bytes(), []byte("10.0.0.7")) {
				t.Errorf("body: %s", w.Body)
			}
		})
	}
}

func TestErrorf(t *testing.T) {
	cause := errors.New("is empty")
	err := Errorf(CodeInvalidRedirectURI, "redirect_uris %w", cause)
	e := AsError(err)
	if e.Description != "redirect_uris is empty" || !errors.Is(err, cause) {
		t.Errorf("got %+v", e)
	}
	if got := err.Error(); !strings.HasPrefix(got, "invalid_redirect_uri: redirect_uris is empty") {
		t.Errorf("Error() = %q", got)
	}

	// RFC 6749 §5.2: what a description must not contain cannot get there.
	e = AsError(Errorf(CodeInvalidRequest, "%s", "a\"b\\c\r\nd\x00e\x7ffü\u202eg\xff"))
	if want := "a'b?c??d?e?f??g?"; e.Description != want {
		t.Errorf("description %q, want %q", e.Description, want)
	}
}

func TestInternal(t *testing.T) {
	for err, want := range map[error]bool{
		errors.New("x"):                      true,
		context.Canceled:                     true,
		&Error{Code: CodeServerError}:        true,
		&Error{Code: CodeInvalidRequest}:     false,
		Errorf(CodeAccessDenied, "x"):        false,
		&Error{Code: CodeInvalidTarget}:      false,
		Unavailable(nil, time.Second):        true,
		&Error{Code: "any", Status: 429}:     false,
		WithCause(nil, CodeServerError, "x"): true,
	} {
		if Internal(err) != want {
			t.Errorf("Internal(%v) = %v", err, !want)
		}
	}
}

func TestAsErrorDoesNotChangeItsArgument(t *testing.T) {
	shared := &Error{Code: CodeInvalidClient}
	if AsError(shared).Status != 401 || shared.Status != 0 {
		t.Errorf("got %+v", shared)
	}
}
