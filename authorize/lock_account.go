package authorize

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/opkit/opkit/authorize/lock"
	"github.com/opkit/opkit/connection"
	"github.com/opkit/opkit/internal/httpx"
	"github.com/opkit/opkit/internal/ratelimit"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

var (
	// accountRate limits what one network asks for: accounts, and mails. And how often it
	// finishes a sign-up.
	accountRate = ratelimit.Rate{PerSecond: 0.1, Burst: 20}
	// mailRate limits the mails that one address gets.
	mailRate = ratelimit.Rate{PerSecond: 1.0 / 600, Burst: 3}
)

// Signup serves the sign-up tab of Lock and the SDKs' sign-up (/dbconnections/signup):
// POST as JSON or a form with client_id, connection, email, password and what else the
// connection asks for. The answer is 200 with _id, email and email_verified. Others are
//
//	400   invalid_request: what was sent; access_denied: the client may not use the
//	      connection, or nobody may sign up to it; invalid_password: with policy;
//	      password_leaked; invalid_signup: the email address or username is taken
//	403   access_denied: from another site
//	429   too_many_requests, with Retry-After
//	503   too_many_requests: busy
func (a *Authorizer) Signup() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t, err := a.lockTenant(r)
		if err == nil {
			err = a.signup(w, r, t)
		}
		if err != nil {
			a.refuseLock(w, r, t, err)
		}
	})
}

func (a *Authorizer) signup(w http.ResponseWriter, r *http.Request, t *tenant.Tenant) error {
	in, err := lock.ReadSignup(w, r)
	if err != nil {
		return err
	}
	if err := a.admitAccount(r, t, asking); err != nil {
		return err
	}
	conn, err := a.accountConnection(r.Context(), t, in.ClientID, in.Connection)
	if err != nil {
		return err
	}
	user, err := a.cfg.Connections.SignUp(r.Context(), t, conn, store.User{
		Email: in.Email, Username: in.Username, UserMetadata: in.UserMetadata,
		Profile: store.Profile{Name: in.Name, GivenName: in.GivenName, FamilyName: in.FamilyName, Nickname: in.Nickname, Picture: in.Picture},
	}, in.Password)
	if err != nil {
		return signupFailure(err)
	}
	a.cfg.Logger.InfoContext(r.Context(), "user signed up", "tenant", t.ID(), "user_id", user.ID, "connection", conn.ID, "client_id", in.ClientID)
	if a.cfg.Mailer != nil && a.cfg.Tenants.Endpoints().EmailVerification != tenant.NotMounted {
		a.courier.accept(r.Context(), func(ctx context.Context) error { return a.mailVerification(ctx, t, &user, in.ClientID) })
	}
	httpx.WriteJSON(w, http.StatusOK, struct {
		ID            string `json:"_id"`
		Email         string `json:"email"`
		EmailVerified bool   `json:"email_verified"`
		Username      string `json:"username,omitempty"`
	}{strings.TrimPrefix(user.ID, connection.StrategyDatabase+"|"), user.Email, user.EmailVerified, user.Username})
	return nil
}

// accountConnection returns a database connection that the client may use.
func (a *Authorizer) accountConnection(ctx context.Context, t *tenant.Tenant, clientID, name string) (*store.Connection, error) {
	client, err := a.findClient(ctx, t, clientID)
	if err != nil {
		return nil, err
	}
	usable, err := a.cfg.Connections.Usable(ctx, t, client)
	if errors.Is(err, connection.ErrNotAllowed) {
		return nil, errLockConnection
	}
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(usable, func(c store.Connection) bool { return c.Name == name })
	if i < 0 || usable[i].Strategy != connection.StrategyDatabase {
		return nil, errLockConnection
	}
	return &usable[i], nil
}

// signupFailure says why somebody could not sign up, in the words of Lock.
func signupFailure(err error) error {
	invalid, isInvalid := errors.AsType[*connection.InvalidError](err)
	switch {
	case errors.Is(err, connection.ErrBreachedPassword):
		return &lock.Error{StatusCode: http.StatusBadRequest, Name: "PasswordLeakedError", Code: lock.CodePasswordLeaked, Description: "The password " + invalid.Rule + "."}
	case isInvalid && invalid.Field == "password":
		return &lock.Error{
			StatusCode: http.StatusBadRequest, Name: "PasswordStrengthError", Code: lock.CodeInvalidPassword,
			Description: "The password " + invalid.Rule + ".", Policy: "The password " + invalid.Rule + ".",
		}
	case isInvalid:
		return lock.BadRequest(invalid.Field + " " + invalid.Rule + ".")
	case errors.Is(err, store.ErrExists):
		return &lock.Error{StatusCode: http.StatusBadRequest, Name: "BadRequestError", Code: lock.CodeInvalidSignup, Description: "Nobody can sign up with this email address or username."}
	case errors.Is(err, connection.ErrNoSignup):
		return &lock.Error{StatusCode: http.StatusBadRequest, Name: "Error", Code: lock.CodeAccessDenied, Description: "Nobody can sign up to this connection."}
	case errors.Is(err, connection.ErrBusy):
		return errLockBusy
	}
	return err
}

// What a network asks for, and what it does behind the links that it got, is counted apart:
// a class that signs up does each once.
const (
	asking    = ""
	finishing = "finish"
)

// admitAccount limits what one network does: asks for accounts and mails, or finishes.
// Loopback addresses are not counted, see admitPush.
func (a *Authorizer) admitAccount(r *http.Request, t *tenant.Tenant, what string) error {
	addr := httpx.ClientAddress(r, a.cfg.TrustedProxies)
	if !addr.IsValid() || addr.IsLoopback() {
		return nil
	}
	wait, err := a.accounts.Admit(r.Context(), ratelimit.Key{Tenant: t.ID(), Network: ratelimit.Network(addr), Host: what}, a.now())
	if err != nil {
		return err
	}
	if wait > 0 {
		return &lock.Error{
			StatusCode: http.StatusTooManyRequests, Name: "Error", Code: lock.CodeTooManyRequests, RetryAfter: wait,
			Description: "Too many requests came from this network. Try again later.",
		}
	}
	return nil
}

// resetSent is the answer to everybody who forgot a password.
const resetSent = "We've just sent you an email to reset your password."

// ChangePassword serves the tab of Lock for who forgot a password, and the SDKs' call
// (/dbconnections/change_password): POST as JSON or a form with client_id, connection
// and email. The answer is 200 with one sentence as text, whether or not there is such
// a user; the mail with the link is sent apart from it. Errors are those of [Signup]
// without the ones about what is taken, and 400 invalid_request if the connection, or a
// provider without a [Mailer], resets no passwords.
func (a *Authorizer) ChangePassword() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t, err := a.lockTenant(r)
		if err == nil {
			err = a.changePassword(w, r, t)
		}
		if err != nil {
			a.refuseLock(w, r, t, err)
		}
	})
}

func (a *Authorizer) changePassword(w http.ResponseWriter, r *http.Request, t *tenant.Tenant) error {
	in, err := lock.ReadChangePassword(w, r)
	if err != nil {
		return err
	}
	if err := a.admitAccount(r, t, asking); err != nil {
		return err
	}
	conn, err := a.accountConnection(r.Context(), t, in.ClientID, in.Connection)
	if err != nil {
		return err
	}
	database, err := a.cfg.Connections.Database(conn)
	switch {
	case err != nil:
		return err
	case !database.Reset || !a.sendsMail():
		return lock.BadRequest("Passwords of this connection cannot be reset here.")
	case strings.TrimSpace(in.Email) == "":
		return lock.BadRequest("email is required.")
	}
	a.courier.accept(r.Context(), func(ctx context.Context) error { return a.mailReset(ctx, t, conn, in.Email, in.ClientID) })
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	httpx.NoStore(h)
	w.Write([]byte(resetSent))
	return nil
}

// sendsMail reports whether links reach users, and lead to a page.
func (a *Authorizer) sendsMail() bool {
	return a.cfg.Mailer != nil && a.cfg.Tenants.Endpoints().PasswordReset != tenant.NotMounted
}

// mailReset sends a link to a user who forgot the password. Nobody is no error.
func (a *Authorizer) mailReset(ctx context.Context, t *tenant.Tenant, conn *store.Connection, email, clientID string) error {
	if wait, err := a.mails.Admit(ctx, mailKey(t, conn, email), a.now()); err != nil || wait > 0 {
		return err
	}
	user, ticket, err := a.cfg.Connections.RequestReset(ctx, t, conn, email)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return a.mail(ctx, t, &user, Mail{
		Kind: MailPasswordReset, Link: ticketLink(t, a.cfg.Tenants.Endpoints().PasswordReset, ticket),
		ExpiresAt: a.now().Add(connection.ResetLifetime), ClientID: clientID,
	})
}

// mailVerification sends a link to a user whose address is not verified.
func (a *Authorizer) mailVerification(ctx context.Context, t *tenant.Tenant, user *store.User, clientID string) error {
	ticket, err := a.cfg.Connections.RequestVerification(ctx, user)
	if err != nil {
		return err
	}
	return a.mail(ctx, t, user, Mail{
		Kind: MailEmailVerification, Link: ticketLink(t, a.cfg.Tenants.Endpoints().EmailVerification, ticket),
		ExpiresAt: a.now().Add(connection.VerificationLifetime), ClientID: clientID,
	})
}

func (a *Authorizer) mail(ctx context.Context, t *tenant.Tenant, user *store.User, m Mail) error {
	m.TenantID, m.TenantName = t.ID(), tenantInfo(t).Name
	m.To, m.UserID, m.UserName, m.ConnectionID = user.Email, user.ID, user.Profile.Name, user.ConnectionID
	m.ExpiresAt = m.ExpiresAt.Truncate(time.Second)
	return a.cfg.Mailer(ctx, m)
}

func ticketLink(t *tenant.Tenant, endpoint, ticket string) string {
	return t.URL(endpoint) + "?ticket=" + url.QueryEscape(ticket)
}
