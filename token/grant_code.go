package token

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/opkit/opkit/audit"
	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
)

// This file implements grant_type=authorization_code (RFC 6749 §4.1.3, OpenID
// Connect Core §3.1.3). The client is authenticated and may use the grant type.

// redeemCode exchanges a code for tokens. Only what passes every check uses the
// code up, so that neither a mistake nor a stranger can burn it.
func (i *Issuer) redeemCode(ctx context.Context, r *request) (*response, error) {
	sealed := r.form.Get("code")
	if sealed == "" {
		return nil, oauth.Errorf(oauth.CodeInvalidRequest, "code is missing")
	}

	// RFC 6749 §4.1.3: the code is one of ours and was issued to this client.
	c, err := i.openCode(r.tenant, sealed)
	if err != nil {
		return nil, oauth.WithCause(err, oauth.CodeInvalidGrant, "code is not valid")
	}
	a := &c.authorization
	if a.ClientID != r.client.ID {
		return nil, oauth.Errorf(oauth.CodeInvalidGrant, "code was issued to another client")
	}

	// RFC 6749 §4.1.3: redirect_uri is the one of the authorization request,
	// compared exactly, and absent if it was absent there.
	if r.form.Get("redirect_uri") != a.RedirectURI {
		return nil, oauth.Errorf(oauth.CodeInvalidGrant, "redirect_uri is not the one of the authorization request")
	}

	// RFC 7636 §4.6, in both directions. A strict client cannot have obtained a
	// code without a challenge, unless it became strict since.
	if err := oauth.CheckVerifier(a.CodeChallenge, r.form.Get("code_verifier")); err != nil {
		return nil, err
	}
	if a.CodeChallenge == "" && (r.client.Strict() || r.client.FirstParty && r.client.TokenEndpointAuthMethod == "none") {
		return nil, oauth.Errorf(oauth.CodeInvalidGrant, "the client must use PKCE and the authorization request had no code_challenge")
	}

	// RFC 6749 §4.1.2: codes expire. One that comes late may be a replay.
	if !r.now.Before(c.expires) {
		if err := i.revoke(ctx, r, c.family, i.accessTokenLifetime); err != nil {
			return nil, err
		}
		return nil, oauth.Errorf(oauth.CodeInvalidGrant, "code has expired")
	}

	// RFC 8707 §2.2: another API than the granted one cannot be asked for.
	if err := checkTarget(r.form, a.Audience); err != nil {
		return nil, err
	}

	// What held when the user consented has to hold now.
	api, err := i.api(ctx, r.tenant, a.Audience, oauth.CodeInvalidGrant)
	if err != nil {
		return nil, err
	}
	if a.Scope, err = i.stillAllowed(ctx, r.tenant, api, r.client, a.Scope); err != nil {
		return nil, err
	}
	offline := a.Offline && r.client.AllowsGrantType(grantRefreshToken) && (api == nil || !api.DisallowOfflineAccess)
	if !offline {
		a.Scope = without(a.Scope, func(s string) bool { return s == oauth.ScopeOfflineAccess })
	}
	user, err := i.admit(ctx, r.tenant, r.client, a.ConnectionID, a.UserID)
	if err != nil {
		return nil, err
	}
	if err := i.stillSignedIn(ctx, r, a); err != nil {
		return nil, err
	}

	m := minting{
		issuer: i, http: r.http, grantType: grantAuthorizationCode, tenant: r.tenant, client: r.client, user: &user,
		authorization: *a, api: api, family: c.family, now: r.now,
	}
	if err := m.prepare(ctx, wantsIDToken(a.Scope), true); err != nil {
		return nil, err
	}

	// Signed before the code is used up, and sent only if this request is the one that
	// uses it: a key that lives elsewhere may fail, and must not take the code along.
	answer, err := m.response(ctx)
	if err != nil {
		return nil, err
	}

	// RFC 6749 §4.1.2: a code is used once. The store decides, in the same step in
	// which it makes sure that the grant is alive.
	var (
		rt           refreshToken
		refreshUntil time.Time
	)
	if offline {
		rt = i.firstRefreshToken(*a, c.family, r.now)
		refreshUntil = rt.until(r.now, i.refreshIdle)
	}
	family, err := i.stores.Grants.StartFamily(ctx, store.Family{
		TenantID: r.tenant.ID(), ID: c.family, GrantID: a.GrantID, UserID: a.UserID, ClientID: a.ClientID, SID: a.SID,
		Offline: offline, CreatedAt: r.now,
		ExpiresAt: later(i.familyExpiry(r.now, m.lifetime, refreshUntil), c.expires),
	}, r.now)
	switch {
	case errors.Is(err, store.ErrConsumed):
		// RFC 6749 §4.1.2, RFC 9700 §4.5: what the first redemption gave is revoked.
		if err := i.replayed(ctx, r, "authorization code", c.family, &family, m.lifetime); err != nil {
			return nil, err
		}
		return nil, oauth.Errorf(oauth.CodeInvalidGrant, "code was used before")
	case errors.Is(err, store.ErrNotFound):
		return nil, oauth.WithCause(err, oauth.CodeInvalidGrant, "access was revoked")
	case err != nil:
		return nil, err
	}
	if offline {
		answer.RefreshToken = i.sealRefreshToken(r.tenant, rt)
	}
	i.used(ctx, r.client, r.now)
	return answer, nil
}

// stillSignedIn refuses a code whose session was ended since: what the session gave was
// revoked then, and a code is not there to be revoked. A user who signed in once more
// in the same browser has another session with the same sid, which ended nothing.
func (i *Issuer) stillSignedIn(ctx context.Context, r *request, a *Authorization) error {
	if a.Session.IsZero() || i.stores.Sessions == nil {
		return nil
	}
	_, err := i.stores.Sessions.Session(ctx, r.tenant.ID(), a.Session, r.now)
	if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	var page store.Page
	for {
		sessions, err := i.stores.Sessions.UserSessions(ctx, r.tenant.ID(), a.UserID, page, r.now)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(sessions, func(s store.Session) bool { return s.SID == a.SID }) {
			return nil
		}
		if len(sessions) < page.Size() {
			return oauth.Errorf(oauth.CodeInvalidGrant, "the user signed out")
		}
		page.After = sessions[len(sessions)-1].ID.String()
	}
}

// replayed answers proof that a code or a refresh token is in two hands: it
// revokes the family, unless that was done before.
func (i *Issuer) replayed(ctx context.Context, r *request, what, id string, family *store.Family, accessTokenLifetime time.Duration) error {
	if !family.RevokedAt.IsZero() {
		return nil
	}
	i.logger.WarnContext(ctx, what+" was presented again, everything that came of it is revoked",
		"tenant", r.tenant.ID(), "client_id", r.client.ID, "family", id)
	if err := i.revoke(ctx, r, id, accessTokenLifetime); err != nil {
		return err
	}
	reused := audit.CodeReuse
	if what == "refresh token" {
		reused = audit.RefreshTokenReuse
	}
	audit.Emit(ctx, i.audit, audit.Event{
		Time: r.now, TenantID: r.tenant.ID(), Type: reused, Outcome: audit.Refused, ClientID: r.client.ID, UserID: family.UserID, Subject: family.GrantID,
		Code: oauth.CodeInvalidGrant, Reasons: []string{what + " was presented again, everything that came of it is revoked"},
	})
	return nil
}

// revocationTimeout bounds a revocation, which goes on when the request ends.
const revocationTimeout = 10 * time.Second

// revoke revokes a family and everything in it. The tombstone outlives each
// access token that was minted until now. A failure is the caller's failure:
// tokens that could not be revoked must not be reported as revoked.
func (i *Issuer) revoke(ctx context.Context, r *request, family string, accessTokenLifetime time.Duration) error {
	// Whoever replays a code does not get to stop this by hanging up.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), revocationTimeout)
	defer cancel()
	return i.stores.Grants.RevokeFamily(ctx, r.tenant.ID(), family, i.familyExpiry(r.now, accessTokenLifetime, time.Time{}), r.now)
}

// response signs the access token and, if one was prepared, the ID token.
func (m *minting) response(ctx context.Context) (*response, error) {
	answer := &response{
		TokenType: "Bearer",
		ExpiresIn: int64(m.lifetime.Seconds()),
		Scope:     m.authorization.Scope.String(),
	}
	var err error
	if answer.AccessToken, err = m.accessToken(ctx); err != nil {
		return nil, err
	}
	if m.idTokenKeys.alg != "" {
		if answer.IDToken, err = m.idToken(ctx, answer.AccessToken, "", m.userClaims(false)); err != nil {
			return nil, err
		}
	}
	return answer, nil
}
