package token

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/opkit/opkit/internal/httpx"
	"github.com/opkit/opkit/internal/oauth"
)

// This file implements RFC 7009 (OAuth 2.0 Token Revocation).

// retryRevocation is when a client may try again to revoke a token.
const retryRevocation = time.Second

// Revocation serves the revocation endpoint: POST with token and what
// authenticates the client, as a form or as one JSON object. token_type_hint is
// not needed to find a token and is ignored (RFC 7009 §2.1).
//
// A refresh token and an access token for a user are revoked together with
// everything that came of the same code. What the user allowed stays: the next
// authorization needs no consent again. The answer is 200 without a body, also
// for a token that is not valid or belongs to another client. It is 400
// unsupported_token_type for an access token that the client obtained for
// itself, which is good until it expires, and 503 if it is not certain that the
// token was revoked.
func (i *Issuer) Revocation() http.Handler { return http.HandlerFunc(i.serveRevocation) }

func (i *Issuer) serveRevocation(w http.ResponseWriter, r *http.Request) {
	req, err := i.receive(w, r)
	if err == nil {
		// RFC 7009 §2.1: the client authenticates; a public one names itself.
		req.client, err = i.clientAuth.Authenticate(w, r, req.tenant, req.form)
	}
	if err == nil {
		err = i.revokeToken(r.Context(), req)
	}
	if err != nil {
		// RFC 7009 §2.2.1: 503 is what tells a client that the token still exists and
		// that it may try again.
		if oauth.Internal(err) && oauth.AsError(err).RetryAfter == 0 {
			err = oauth.Unavailable(err, retryRevocation)
		}
		i.refuse(w, r, req, err)
		return
	}
	// RFC 7009 §2.2: the client ignores the body. Without one there is no content
	// type either.
	httpx.NoStore(w.Header())
	w.WriteHeader(http.StatusOK)
}

// revokeToken revokes the token of the request. Nil means that the token cannot
// be used any more, or that it never was one of the client's.
func (i *Issuer) revokeToken(ctx context.Context, r *request) error {
	raw := r.form.Get("token")
	if raw == "" {
		return oauth.Errorf(oauth.CodeInvalidRequest, "token is missing")
	}

	// A refresh token of any generation and age: RFC 7009 §2.1 wants the access
	// tokens of the same authorization revoked with it, and those can be younger.
	// The family is remembered for as long as those of any API live: a revocation
	// never makes that time shorter.
	if rt, err := i.openRefreshToken(r.tenant, raw); err == nil {
		if rt.authorization.ClientID != r.client.ID {
			return nil
		}
		return i.revoke(ctx, r, rt.family, i.accessTokenLifetime)
	}

	at, err := i.openAccessToken(ctx, r.tenant, raw, r.now)
	switch {
	case errors.Is(err, errNoAccessToken):
		// RFC 7009 §2.2: a client could do nothing about an error, and what it wants,
		// that the token is not valid, is the case.
		return nil
	case err != nil:
		return err
	case at.clientID != r.client.ID:
		// RFC 7009 §2.1: only the client's own. The answer is that for an invalid
		// token, so that nobody learns whether what they found is one.
		return nil
	case at.forClient():
		// RFC 7009 §2.2.1. Nothing is stored for such a token; 200 would be untrue.
		return oauth.Errorf(oauth.CodeUnsupportedTokenType,
			"an access token that a client obtained for itself cannot be revoked, it expires")
	}
	// Access tokens are not stored either: what can be alive or dead is the family.
	// RFC 7009 §2.1 allows to revoke the refresh token with an access token.
	return i.revoke(ctx, r, at.family, at.expires.Sub(r.now))
}
