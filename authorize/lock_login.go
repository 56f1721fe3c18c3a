package authorize

import (
	"context"
	"crypto/subtle"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/opkit/opkit/authorize/lock"
	"github.com/opkit/opkit/connection"
	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

const (
	// lockResultKind separates logins that were finished from everything else that is
	// used once.
	lockResultKind = "lock-result"
	// lockResultLifetime is how long the browser has to bring a login back. It does so
	// at once.
	lockResultLifetime = 2 * time.Minute
)

// LockLogin serves the login of a page with Lock (/usernamepassword/login): POST as
// JSON or a form. The answer to the right password is a form which the browser posts
// to the login callback; nothing is changed before that. Others are
//
//	400   invalid_request, access_denied: what was sent, or the connection
//	401   invalid_user_password: wrong, unknown or blocked
//	403   access_denied: from another site; session_missing: a state, _csrf or _intstate
//	      that does not belong to a page of this browser, or is too old
//	429   too_many_attempts, with Retry-After
//	503   too_many_requests: busy
func (a *Authorizer) LockLogin() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t, err := a.lockTenant(r)
		if err == nil {
			err = a.lockLogin(w, r, t)
		}
		if err != nil {
			a.refuseLock(w, r, t, err)
		}
	})
}

// lockTenant returns the tenant of a request from Lock, which runs on a page of ours.
func (a *Authorizer) lockTenant(r *http.Request) (*tenant.Tenant, error) {
	t, err := a.cfg.Tenants.FromRequest(r)
	if errors.Is(err, store.ErrNotFound) {
		return nil, &lock.Error{StatusCode: http.StatusNotFound, Name: "Error", Code: lock.CodeInvalidRequest, Description: "There is no issuer at this address."}
	}
	if err != nil {
		return nil, err
	}
	if a.crossOrigin.Check(r) != nil {
		return t, &lock.Error{StatusCode: http.StatusForbidden, Name: "Error", Code: lock.CodeAccessDenied, Description: "The request was sent from another site."}
	}
	return t, nil
}

// errLockSession is for a login that no page of this browser began, whatever about it
// is wrong.
var errLockSession = &lock.Error{
	StatusCode: http.StatusForbidden, Name: "Error", Code: lock.CodeSessionMissing,
	Description: "This sign-in did not begin in this browser, or it took too long. Reload the page.",
}

func (a *Authorizer) lockLogin(w http.ResponseWriter, r *http.Request, t *tenant.Tenant) error {
	in, err := lock.ReadLogin(w, r)
	if err != nil {
		return err
	}
	q, err := a.openLock(r, t, &in)
	if err != nil {
		return err
	}
	usable, err := a.usable(r.Context(), q)
	if err == nil {
		usable, err = a.reaching(q, usable)
	}
	if err != nil {
		return err
	}
	chosen := chooseConnection(usable, in.Connection)
	if chosen == nil || chosen.Strategy != connection.StrategyDatabase {
		return errLockConnection
	}
	user, err := a.cfg.Connections.Authenticate(r.Context(), t, chosen, in.Username, in.Password)
	if err != nil {
		return lockFailure(err)
	}
	result := transaction{Step: stepLockResult, Connection: chosen.ID, UserID: user.ID, ID: randomValue(), AuthenticatedAt: a.provenNow(), Password: store.DigestOf(user.PasswordHash)}
	lock.WriteResult(w, t.URL(a.cfg.Tenants.Endpoints().LoginCallback), a.seal(w, r, q, result), result.ID)
	return nil
}

var errLockConnection = &lock.Error{
	StatusCode: http.StatusBadRequest, Name: "Error", Code: lock.CodeAccessDenied,
	Description: "The application may not use this connection.",
}

// openLock returns the request that the page was shown for, parsed and checked anew.
func (a *Authorizer) openLock(r *http.Request, t *tenant.Tenant, in *lock.Login) (*request, error) {
	tx, params, expired, err := a.unseal(r, t, stepLock, in.State)
	if err != nil || expired || in.ClientID != params.Get("client_id") ||
		subtle.ConstantTimeCompare([]byte(tx.CSRF), []byte(in.CSRF)) != 1 ||
		subtle.ConstantTimeCompare([]byte(tx.IntState), []byte(in.IntState)) != 1 {
		return nil, errLockSession
	}
	return a.parseRequest(r.Context(), t, params, origin{pushed: tx.Pushed, signed: tx.Signed})
}

// lockFailure says why somebody could not sign in, in the words of Lock.
func lockFailure(err error) error {
	locked, isLocked := errors.AsType[*connection.LockedError](err)
	switch {
	case errors.Is(err, connection.ErrInvalidCredentials), errors.Is(err, connection.ErrNotAllowed):
		return &lock.Error{StatusCode: http.StatusUnauthorized, Name: "ValidationError", Code: lock.CodeInvalidUserPassword, Description: "Wrong email, username or password."}
	case isLocked:
		return &lock.Error{
			StatusCode: http.StatusTooManyRequests, Name: "ValidationError", Code: lock.CodeTooManyAttempts, RetryAfter: locked.RetryAfter,
			Description: "Too many failed attempts. Wait a little, then try again.",
		}
	case errors.Is(err, connection.ErrBusy):
		return errLockBusy
	}
	return err
}

var errLockBusy = &lock.Error{
	StatusCode: http.StatusServiceUnavailable, Name: "Error", Code: lock.CodeTooManyRequests, RetryAfter: time.Second,
	Description: "The service is busy. Try again in a moment.",
}

// refuseLock answers Lock with an error. Internal ones are logged and lose their text.
func (a *Authorizer) refuseLock(w http.ResponseWriter, r *http.Request, t *tenant.Tenant, err error) {
	if e, ok := errors.AsType[*lock.Error](err); ok {
		a.cfg.Logger.DebugContext(r.Context(), "login page refused", "path", r.URL.Path, "err", e)
		e.Write(w)
		return
	}
	e := oauth.AsError(err)
	a.log(r, &request{tenant: t}, e)
	(&lock.Error{StatusCode: e.Status, Name: "Error", Code: e.Code, Description: e.Description, RetryAfter: e.RetryAfter}).Write(w)
}

// finishLock answers the form that follows a login with Lock.
func (a *Authorizer) finishLock(w http.ResponseWriter, r *http.Request, t *tenant.Tenant, form oauth.Parameters) {
	tx, q, _, err := a.open(r.Context(), r, t, stepLockResult, form.Get("wresult"))
	if err != nil {
		a.refuseStep(w, r, t, q, err)
		return
	}
	if form.Get("wa") != "wsignin1.0" || subtle.ConstantTimeCompare([]byte(form.Get("wctx")), []byte(tx.ID)) != 1 {
		a.fail(w, r, t, oauth.Errorf(oauth.CodeInvalidRequest, "This form does not belong to the sign-in. Go back to the application and start again."))
		return
	}
	if a.now().Sub(tx.Begun) > lockResultLifetime {
		a.begin(w, r, q) // ask again, with a fresh page
		return
	}
	switch err := a.spendLockResult(r.Context(), t, &tx); {
	case errors.Is(err, store.ErrExists):
		a.fail(w, r, t, oauth.Errorf(oauth.CodeInvalidRequest, "This sign-in was finished already. Go back to the application and start again."))
		return
	case err != nil:
		a.refuse(w, r, q, err)
		return
	}
	a.resumeFromLock(w, r, q, &tx)
}

// spendLockResult notes that a login was finished. store.ErrExists: it was before.
func (a *Authorizer) spendLockResult(ctx context.Context, t *tenant.Tenant, tx *transaction) error {
	err := a.cfg.Stores.Tickets.PutTicket(ctx, store.Ticket{
		TenantID: t.ID(), Kind: lockResultKind, ID: store.DigestOf(tx.ID), Version: 1,
		CreatedAt: tx.Begun, // since when it can have been finished, see [store.Ticket]
		ExpiresAt: tx.Begun.Add(lockResultLifetime + time.Minute),
	}, a.now())
	return unseen(err)
}

// resumeFromLock goes on with a user who proved the password a moment ago. What may
// have changed since is checked again.
func (a *Authorizer) resumeFromLock(w http.ResponseWriter, r *http.Request, q *request, tx *transaction) {
	usable, err := a.usable(r.Context(), q)
	if err != nil {
		a.refuse(w, r, q, err)
		return
	}
	if !slices.ContainsFunc(usable, func(c store.Connection) bool { return c.ID == tx.Connection }) {
		a.begin(w, r, q)
		return
	}
	user, err := a.cfg.Connections.Admit(r.Context(), q.tenant, q.client, tx.Connection, tx.UserID)
	if errors.Is(err, connection.ErrNotAllowed) {
		err = oauth.WithCause(err, oauth.CodeAccessDenied, "the account cannot be used")
	}
	if err != nil {
		a.refuse(w, r, q, err)
		return
	}
	if tx.Password != store.DigestOf(user.PasswordHash) {
		// Whoever knew the former password must not get in after it was replaced.
		a.begin(w, r, q)
		return
	}
	session, err := a.startSession(w, r, q, proof{
		connectionID: tx.Connection, userID: user.ID, at: tx.AuthenticatedAt, amr: []string{amrPassword}, acr: a.cfg.Connections.PasswordACR(),
	})
	if err != nil {
		a.refuse(w, r, q, err)
		return
	}
	a.proceed(w, r, q, &signedIn{session: session, user: user, begun: true})
}
