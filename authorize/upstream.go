package authorize

import (
	"context"
	"errors"
	"net/http"
	"path"
	"slices"
	"time"

	"github.com/opkit/opkit/audit"
	"github.com/opkit/opkit/connection"
	"github.com/opkit/opkit/internal/httpx"
	"github.com/opkit/opkit/internal/management"
	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/internal/ratelimit"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// This file sends users to other providers and takes them back. The state that goes
// along is the sealed transaction: nothing is stored until the upstream has said who it
// is, and only the browser that was sent away can come back with it.

const (
	// upstreamStateKind separates sign-ins at upstreams that were finished from
	// everything else that is used once.
	upstreamStateKind = "upstream-state"
	// maxUpstreamState bounds the state in bytes. Servers have limits on addresses that
	// they do not tell; most take 8 KiB.
	maxUpstreamState = 6 << 10
)

// upstreamRate is how many answers of upstreams one network may bring: each makes this
// server ask the upstream.
var upstreamRate = ratelimit.Rate{PerSecond: 5, Burst: 50}

// admitUpstream says whether the network has to wait, and for how long. What holds of
// loopback addresses is said at admitPush.
func (a *Authorizer) admitUpstream(r *http.Request, t *tenant.Tenant) error {
	addr := httpx.ClientAddress(r, a.cfg.TrustedProxies)
	if !addr.IsValid() || addr.IsLoopback() {
		return nil
	}
	wait, err := a.upstreams.Admit(r.Context(), ratelimit.Key{Tenant: t.ID(), Network: ratelimit.Network(addr)}, a.now())
	if err == nil && wait > 0 {
		err = oauth.Unavailable(errors.New("authorize: too many answers of upstreams"), wait)
	}
	return err
}

// upstreamLogin is what a transaction begins and finishes with.
func (a *Authorizer) upstreamLogin(q *request, tx *transaction) connection.UpstreamLogin {
	login := connection.UpstreamLogin{
		RedirectURI: q.tenant.URL(a.cfg.Tenants.Endpoints().LoginCallback),
		Secret:      tx.ID, Begun: tx.Begun, MaxAge: q.maxAge,
	}
	if q.prompt.reauthenticate {
		login.MaxAge = 0
	}
	return login
}

// sendUpstream sends the browser to another provider.
func (a *Authorizer) sendUpstream(w http.ResponseWriter, r *http.Request, q *request, c *store.Connection, hint string) {
	tx := transaction{Step: a.stepsOf(q).upstream, Connection: c.ID, ID: randomValue(), Begun: a.now()}
	state := a.seal(w, r, q, tx)
	if len(state) > maxUpstreamState {
		a.refuse(w, r, q, oauth.Errorf(oauth.CodeInvalidRequest, "the request is too large for a sign-in at another provider; push it, or make it shorter"))
		return
	}
	location, err := a.cfg.Connections.UpstreamRequest(r.Context(), q.tenant, c, a.upstreamLogin(q, &tx), connection.UpstreamWishes{
		State: state, LoginHint: hint, Reauthenticate: q.prompt.reauthenticate, SelectAccount: q.prompt.selectAccount,
		ACRValues: q.acrValues, Parameter: q.params.Get,
	})
	if err != nil {
		a.failUpstream(w, r, q, c, err)
		return
	}
	redirect(w, r, location)
}

// callbackOf returns the connection whose own redirect URI a request came to, empty for
// the one that connections share.
func (a *Authorizer) callbackOf(r *http.Request) string {
	return management.PathID(r, path.Base(a.cfg.Tenants.Endpoints().LoginCallback))
}

// finishUpstream answers for a browser that another provider sent back.
func (a *Authorizer) finishUpstream(w http.ResponseWriter, r *http.Request, t *tenant.Tenant, params oauth.Parameters) {
	ctx := r.Context()
	tx, q, expired, err := a.openUpstream(r, t, params.Get("state"))
	if err != nil {
		a.refuseStep(w, r, t, q, err)
		return
	}
	if expired {
		a.refuse(w, r, q, errLoginExpired)
		return
	}
	usable, err := a.allUsable(ctx, q)
	if err != nil {
		a.refuse(w, r, q, err)
		return
	}
	i := slices.IndexFunc(usable, func(c store.Connection) bool { return c.ID == tx.Connection && connection.IsUpstream(&c) })
	if i < 0 {
		a.refuse(w, r, q, oauth.Errorf(oauth.CodeAccessDenied, "the connection can no longer be used"))
		return
	}
	c := &usable[i]
	if err := a.admitUpstream(r, t); err != nil {
		a.refuse(w, r, q, err)
		return
	}
	identity, err := a.cfg.Connections.UpstreamIdentity(ctx, t, c, a.upstreamLogin(q, &tx), connection.UpstreamAnswer{
		Code: params.Get("code"), Issuer: params.Get("iss"), Error: params.Get("error"), User: params.Get("user"),
		Connection: a.callbackOf(r),
	})
	if err != nil {
		a.failUpstream(w, r, q, c, err)
		return
	}
	// From here on there is somebody who proved something.
	if !a.spendSignIn(w, r, q, &tx) || a.offerLink(w, r, q, usable, c, identity) {
		return
	}
	a.signInUpstream(w, r, q, usable, c, identity, a.now())
}

// signInUpstream signs in whom an upstream says somebody is who came back at that time.
func (a *Authorizer) signInUpstream(w http.ResponseWriter, r *http.Request, q *request, usable []store.Connection, c *store.Connection, identity connection.UpstreamIdentity, came time.Time) {
	user, err := a.cfg.Connections.UpstreamUser(r.Context(), q.tenant, c, identity)
	if err != nil {
		a.failUpstream(w, r, q, c, err)
		return
	}
	p := proof{connectionID: c.ID, userID: user.ID, at: provenAt(identity.AuthenticatedAt, came), amr: identity.AMR, acr: identity.ACR}
	s, err := a.linkedSession(w, r, q, usable, &user, p)
	if s == nil && err == nil {
		s = &signedIn{user: user, begun: true}
		s.session, err = a.startSession(w, r, q, p)
	}
	if err != nil {
		a.refuse(w, r, q, err)
		return
	}
	a.proceed(w, r, q, s)
}

// spendSignIn notes that a sign-in at an upstream, or the question that followed it, was
// finished, and reports whether it was not before. It answers the request itself if not.
func (a *Authorizer) spendSignIn(w http.ResponseWriter, r *http.Request, q *request, tx *transaction) bool {
	switch err := a.spendUpstreamState(r.Context(), q.tenant, tx); {
	case errors.Is(err, store.ErrExists):
		a.fail(w, r, q.tenant, oauth.Errorf(oauth.CodeInvalidRequest, "This sign-in was finished already. Go back to the application and start again."))
		return false
	case err != nil:
		a.refuse(w, r, q, err)
		return false
	}
	return true
}

// openUpstream returns the transaction that is the state, and the request, parsed and
// checked anew.
func (a *Authorizer) openUpstream(r *http.Request, t *tenant.Tenant, state string) (tx transaction, q *request, expired bool, err error) {
	if tx, _, expired, err := a.unseal(r, t, stepAccountUpstream, state); err == nil {
		return tx, accountRequest(t), expired, nil
	}
	return a.open(r.Context(), r, t, stepUpstream, state)
}

// unseen is an error of putting a marker. That it may have been there before concerns
// nobody who begins anew.
func unseen(err error) error {
	if errors.Is(err, store.ErrForgotten) {
		return oauth.Unavailable(err, time.Second)
	}
	return err
}

// spendUpstreamState notes that a sign-in was finished. store.ErrExists: it was before.
func (a *Authorizer) spendUpstreamState(ctx context.Context, t *tenant.Tenant, tx *transaction) error {
	err := a.cfg.Stores.Tickets.PutTicket(ctx, store.Ticket{
		TenantID: t.ID(), Kind: upstreamStateKind, ID: store.DigestOf(tx.ID), Version: 1,
		CreatedAt: tx.Begun, // since when it can have been finished, see [store.Ticket]
		ExpiresAt: tx.Begun.Add(a.cfg.TransactionLifetime + time.Minute),
	}, a.now())
	return unseen(err)
}

// A session has room for one time, in whole seconds as auth_time has them. Where an
// upstream does not say when the user signed in there, it is the time at which the user
// came back, with a fraction of a second: it is not taken for a proof of freshness
// afterwards, whomever the session is for.
func provenAt(said, came time.Time) time.Time {
	if !said.IsZero() {
		return said.Truncate(authTimePrecision)
	}
	if came.Equal(came.Truncate(authTimePrecision)) {
		came = came.Add(-time.Microsecond)
	}
	return came
}

// provenNow is the time of a proof that was made in this request.
func (a *Authorizer) provenNow() time.Time { return a.now().Truncate(authTimePrecision) }

// provesAge reports whether it is known when the user of a session signed in.
func provesAge(s *store.Session) bool {
	return s.AuthenticatedAt.Equal(s.AuthenticatedAt.Truncate(authTimePrecision))
}

// failUpstream answers for a sign-in at another provider that came to nothing. Where
// another way, or another attempt, may help, the login page says so.
func (a *Authorizer) failUpstream(w http.ResponseWriter, r *http.Request, q *request, c *store.Connection, err error) {
	a.emitFailedUpstream(r, q, c.ID, err)
	switch {
	case errors.Is(err, connection.ErrUpstreamDenied):
		a.refuse(w, r, q, oauth.Errorf(oauth.CodeAccessDenied, "the user did not sign in at the other provider"))
	case errors.Is(err, connection.ErrUpstreamStale):
		a.refuse(w, r, q, oauth.Errorf(oauth.CodeLoginRequired, "the user has to sign in again, and the other provider does not say that they did"))
	case errors.Is(err, connection.ErrNotAllowed):
		a.refuse(w, r, q, oauth.WithCause(err, oauth.CodeAccessDenied, "the account cannot be used"))
	case errors.Is(err, connection.ErrUpstreamFailed):
		a.cfg.Logger.WarnContext(r.Context(), "a sign-in at an upstream failed", "tenant", q.tenant.ID(), "connection", c.Name, "err", err)
		usable, usableErr := a.usable(r.Context(), q)
		if usableErr == nil {
			usable, usableErr = a.reaching(q, usable)
		}
		if usableErr != nil {
			a.refuse(w, r, q, usableErr)
			return
		}
		info, infoErr := a.cfg.Connections.Upstream(c)
		if infoErr != nil {
			a.refuse(w, r, q, infoErr)
			return
		}
		a.showLogin(w, r, q, usable, loginState{
			status:  http.StatusBadGateway,
			failure: "Signing in with " + info.Label + " did not work. Try again, or choose another way to sign in.",
		})
	default:
		a.refuse(w, r, q, err)
	}
}

// emitFailedUpstream tells the host of a sign-in at an upstream that failed.
func (a *Authorizer) emitFailedUpstream(r *http.Request, q *request, connectionID string, err error) {
	e := audit.Event{Type: audit.SignIn, Outcome: audit.Failed, ClientID: q.client.ID, Subject: connectionID}
	switch {
	case errors.Is(err, connection.ErrUpstreamDenied):
		e.Outcome, e.Reasons = audit.Refused, []string{"the upstream denied it"}
	case errors.Is(err, connection.ErrUpstreamStale):
		e.Outcome, e.Reasons = audit.Refused, []string{"the upstream does not prove that the user signed in lately"}
	case errors.Is(err, connection.ErrNotAllowed):
		e.Outcome, e.Reasons = audit.Refused, []string{"the user may not be served"}
	case errors.Is(err, connection.ErrUpstreamFailed):
		e.Reasons = []string{"the upstream failed"}
	}
	a.emit(r, q.tenant, e)
}
