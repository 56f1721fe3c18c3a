package management

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"time"

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
	// Limit counts a request of a caller whose token holds and says what the caller
	// has. An error is a failure of the provider. Nil: nothing is counted or said.
	Limit func(ctx context.Context, caller Caller) (Allowance, error)
	// Now is the clock of Limit.
	Now func() time.Time
	// Logger; nil discards.
	Logger *slog.Logger
}

// Allowance is what a caller may do. Each answer says it in the headers that SDKs read.
type Allowance struct {
	// Limit is how many requests may come at once, Remaining how many more may now.
	Limit, Remaining int
	// Reset is when as many as Limit may again.
	Reset time.Time
	// Wait is zero, or after what time a request will be served again: this one gets
	// 429 with Retry-After.
	Wait time.Duration
}

// write says what the caller has. Reset is a number of seconds since 1970, of the
// moment at which another request is worthwhile if this one was refused.
func (a Allowance) write(h http.Header, now time.Time) {
	reset := a.Reset
	if a.Wait > 0 {
		reset = now.Add(a.Wait)
	}
	h.Set("X-RateLimit-Limit", strconv.Itoa(a.Limit))
	h.Set("X-RateLimit-Remaining", strconv.Itoa(a.Remaining))
	h.Set("X-RateLimit-Reset", strconv.FormatInt(reset.Add(time.Second-1).Unix(), 10))
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
func (g *Guard) Require(scope string, h HandlerFunc) *Operation {
	insufficient := &Error{
		Status: http.StatusForbidden, Code: CodeInsufficientScope,
		Message:   "Insufficient scope, expected: " + scope,
		challenge: `Bearer realm="management", error="insufficient_scope", scope="` + scope + `"`,
	}
	op := &Operation{scope: scope}
	op.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		httpx.NoStore(w.Header())
		caller, err := g.admit(w, r)
		if err == nil && !slices.Contains(caller.Scopes, scope) {
			err = insufficient
		}
		if err == nil && !op.conditional(r.Method) {
			err = checkUntagged(r)
		}
		if err == nil {
			err = h(w, r, caller)
		}
		if err != nil {
			WriteError(w, r, g.Logger, err)
		}
	})
	return op
}

func (g *Guard) admit(w http.ResponseWriter, r *http.Request) (Caller, error) {
	token, err := bearerToken(r)
	if err != nil {
		return Caller{}, err
	}
	caller, err := g.Verify(r, token)
	if err != nil || g.Limit == nil {
		return caller, err
	}
	allowance, err := g.Limit(r.Context(), caller)
	if err != nil {
		return Caller{}, err
	}
	allowance.write(w.Header(), g.Now())
	if allowance.Wait > 0 {
		return Caller{}, &Error{
			Status: http.StatusTooManyRequests, Code: CodeTooManyRequests, Message: "Too many requests, try again later.", retryAfter: allowance.Wait,
		}
	}
	return caller, nil
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
