package management

import (
	"log/slog"
	"net/http"
)

// Caller is the application behind a management token.
type Caller struct {
	TenantID string
	ClientID string
	Subject  string
	Scopes   []string
}

// Guard admits requests that carry a management token with the right scope.
type Guard struct {
	// Verify checks the token of a request: signature, issuer, audience, expiry.
	// Any error that is not an [*Error] counts as an invalid token only if Verify
	// says so; see the implementation.
	Verify func(r *http.Request, token string) (Caller, error)
	Logger *slog.Logger
}

// HandlerFunc answers an admitted request or returns an error, which the guard
// writes.
type HandlerFunc func(w http.ResponseWriter, r *http.Request, caller Caller) error

// Require returns a handler that runs h for callers that hold scope.
func (g *Guard) Require(scope string, h HandlerFunc) http.Handler { panic("not built") }
