package management

import (
	"errors"
	"log/slog"
	"net/http"
	"slices"

	"github.com/opkit/opkit/internal/httpx"
	"github.com/opkit/opkit/internal/oauth"
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
	// It returns [InvalidToken] for a token that does not hold and another
	// [*Error] for a request that has no answer, such as one for no tenant. Any
	// other error is a failure of the provider: it must not read as "bad token",
	// because callers then throw good tokens away.
	Verify func(r *http.Request, token string) (Caller, error)
	// Logger; nil discards.
	Logger *slog.Logger
}

// HandlerFunc answers an admitted request or returns an error, which the guard
// writes: an [*Error] as it is, anything else as a bare 500. A handler that
// returns an error must not have written anything.
type HandlerFunc func(w http.ResponseWriter, r *http.Request, caller Caller) error

// maxToken bounds what is looked at as a token.
const maxToken = 16 << 10

var (
	errNoToken = &Error{
		Status: http.StatusUnauthorized, Message: "The Authorization header must carry a Bearer token.",
		// RFC 6750 §3.1: a request without any token learns no error code.
		challenge: `Bearer realm="management"`,
	}
	errLongToken = errors.New("the value is too long for a token")
)

// Require returns a handler that runs h for callers that hold scope. Responses
// are not stored by caches, whatever h writes.
func (g *Guard) Require(scope string, h HandlerFunc) http.Handler {
	insufficient := &Error{
		Status: http.StatusForbidden, Code: CodeInsufficientScope,
		Message:   "Insufficient scope, expected: " + scope,
		challenge: `Bearer realm="management", error="insufficient_scope", scope="` + scope + `"`,
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		httpx.NoStore(w.Header())
		caller, err := g.admit(r)
		if err == nil && !slices.Contains(caller.Scopes, scope) {
			err = insufficient
		}
		if err == nil {
			err = h(w, r, caller)
		}
		if err != nil {
			WriteError(w, r, g.Logger, err)
		}
	})
}

func (g *Guard) admit(r *http.Request) (Caller, error) {
	token, err := bearerToken(r)
	if err != nil {
		return Caller{}, err
	}
	return g.Verify(r, token)
}

// bearerToken returns the token of the Authorization header. RFC 6750 §2.2 and
// §2.3 also know body and query parameters: a query ends up in logs, and a
// management body is JSON, so neither is looked at.
func bearerToken(r *http.Request) (string, error) {
	token, err := oauth.BearerToken(r)
	switch {
	case errors.Is(err, oauth.ErrNoToken):
		return "", errNoToken
	case err != nil:
		return "", &Error{
			Status: http.StatusBadRequest, Code: oauth.CodeInvalidRequest, Message: oauth.AsError(err).Description,
			challenge: oauth.BearerChallenge("management", err, ""),
		}
	case len(token) > maxToken:
		return "", InvalidToken(errLongToken)
	}
	return token, nil
}
