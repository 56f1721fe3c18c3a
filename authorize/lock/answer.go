package lock

import (
	"bytes"
	"html/template"
	"net/http"
	"strconv"
	"time"

	"github.com/opkit/opkit/internal/httpx"
)

// Codes that Lock has a text for.
const (
	CodeInvalidUserPassword = "invalid_user_password"
	CodeTooManyAttempts     = "too_many_attempts"
	CodeTooManyRequests     = "too_many_requests"
	CodeSessionMissing      = "session_missing"
	CodeInvalidPassword     = "invalid_password"
	CodePasswordLeaked      = "password_leaked"
	CodeInvalidSignup       = "invalid_signup"
	CodeAccessDenied        = "access_denied"
	CodeInvalidRequest      = "invalid_request"
)

// Error is an answer other than success. Lock shows the text that it has for Code.
type Error struct {
	StatusCode  int    `json:"statusCode"`
	Name        string `json:"name"`
	Code        string `json:"code"`
	Description string `json:"description"`
	// Policy says what a password needs, if that is what was wrong.
	Policy string `json:"policy,omitempty"`
	// RetryAfter is sent as Retry-After if positive.
	RetryAfter time.Duration `json:"-"`
}

func (e *Error) Error() string { return e.Code + ": " + e.Description }

// BadRequest returns 400 invalid_request. The text is sent.
func BadRequest(description string) error {
	return &Error{StatusCode: http.StatusBadRequest, Name: "Error", Code: CodeInvalidRequest, Description: description}
}

// Write answers with the error.
func (e *Error) Write(w http.ResponseWriter) {
	if e.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((e.RetryAfter+time.Second-1)/time.Second)))
	}
	httpx.WriteJSON(w, e.StatusCode, e)
}

// resultForm is what Lock puts into its page and submits: it takes the first
// element.
var resultForm = template.Must(template.New("").Parse(`<form method="post" name="hiddenform" action="{{.Action}}">` +
	`<input type="hidden" name="wa" value="wsignin1.0">` +
	`<input type="hidden" name="wresult" value="{{.Result}}">` +
	`<input type="hidden" name="wctx" value="{{.Context}}">` +
	`<noscript><button type="submit">Continue</button></noscript></form>`))

// WriteResult answers a login that succeeded with the form that takes the browser
// on: it posts wa, wresult and wctx to action.
func WriteResult(w http.ResponseWriter, action, result, context string) {
	var form bytes.Buffer
	if err := resultForm.Execute(&form, struct{ Action, Result, Context string }{action, result, context}); err != nil {
		panic(err) // three strings always execute
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	w.Write(form.Bytes())
}
