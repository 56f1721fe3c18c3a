package token

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/opkit/opkit/internal/httpx"
	"github.com/opkit/opkit/internal/oauth"
)

// This file is the resource server's side of RFC 6750 (Bearer Token Usage).

// errNoToken says that a request carries no bearer token at all.
var errNoToken = oauth.ErrNoToken

func bearerToken(r *http.Request) (string, error) { return oauth.BearerToken(r) }

// writeBearerError answers a refused request (RFC 6750 §3). scope is what the
// resource needs, for insufficient_scope; parameters end a challenge. The caller logs
// internal errors.
func writeBearerError(w http.ResponseWriter, realm string, err error, scope, parameters string) {
	if challenge := oauth.BearerChallenge(realm, err, scope); challenge != "" {
		w.Header().Set("WWW-Authenticate", challenge+parameters)
	}
	if errors.Is(err, errNoToken) {
		httpx.NoStore(w.Header())
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	oauth.WriteError(w, err)
}

// Require returns the middleware that admits requests with a valid access token
// that has every one of scopes. The token comes in the Authorization header; in
// a body or a query it is ignored.
//
// What is not admitted is answered as RFC 6750 §3 has it: without a token 401
// and a challenge without an error, with a malformed header 400 invalid_request,
// with a bad token 401 invalid_token, with missing scope 403 insufficient_scope
// and the scope that is needed. If the issuer's keys cannot be had the answer is
// 503, because the token may be good. Handlers behind it get the token from
// [AccessTokenFromContext].
func (v *Verifier) Require(scopes ...string) func(http.Handler) http.Handler {
	needed := strings.Join(scopes, " ")
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			token, err := v.admit(r, scopes)
			if err != nil {
				if oauth.Internal(err) && !errors.Is(err, errNoToken) {
					v.logger.ErrorContext(r.Context(), "access token could not be verified", "err", err)
				}
				v.refuse(w, err, needed)
				return
			}
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), accessTokenKey{}, token)))
		})
	}
}

// refuse answers a request that is not admitted.
func (v *Verifier) refuse(w http.ResponseWriter, err error, needed string) {
	var parameters string
	if v.resourceMetadata != "" {
		if errors.Is(err, errNoToken) && needed != "" { // or a client asks for everything there is
			parameters = `, scope="` + needed + `"`
		}
		parameters += `, resource_metadata="` + v.resourceMetadata + `"`
	}
	writeBearerError(w, v.audience, err, needed, parameters)
}

func (v *Verifier) admit(r *http.Request, scopes []string) (*AccessToken, error) {
	raw, err := bearerToken(r)
	if err != nil {
		return nil, err
	}
	token, err := v.Verify(r.Context(), raw)
	switch {
	case errors.Is(err, ErrInvalidToken):
		return nil, oauth.WithCause(err, oauth.CodeInvalidToken, "the access token is not valid here, or has expired")
	case err != nil:
		return nil, oauth.Unavailable(err, retryFetch)
	}
	for _, scope := range scopes {
		if !token.HasScope(scope) {
			return nil, oauth.Errorf(oauth.CodeInsufficientScope, "the access token lacks scope")
		}
	}
	return token, nil
}

type accessTokenKey struct{}

// AccessTokenFromContext returns the verified access token of a request that
// [Verifier.Require] admitted.
func AccessTokenFromContext(ctx context.Context) (*AccessToken, bool) {
	t, ok := ctx.Value(accessTokenKey{}).(*AccessToken)
	return t, ok
}
