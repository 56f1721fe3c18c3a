package authorize

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/opkit/opkit/connection"
	"github.com/opkit/opkit/internal/httpx"
	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// This file is the pages behind the links that users get by mail. Looking at one
// changes nothing: mail is read by programs too, which follow every link. It takes a
// button.

// ResetPasswordPage is the data of reset_password.html. Its form posts ticket and
// password to Action.
type ResetPasswordPage struct {
	Page
	Action  string
	Ticket  string
	Account string // the email address
	Failure string
	// Done says that the password was replaced; there is no form then.
	Done bool
}

// VerifyEmailPage is the data of verify_email.html. Its form posts ticket to Action.
type VerifyEmailPage struct {
	Page
	Action string
	Ticket string
	Email  string
	// Done says that the address is verified; there is no form then.
	Done bool
}

// errBadLink is for whoever follows a link that is no good.
var errBadLink = oauth.Errorf(oauth.CodeInvalidRequest, "This link was used already, has expired, or is not complete. Ask for another one.")

// PasswordReset serves the page where a user who forgot the password sets a new one, and
// the one where whoever signs up chooses the first (/login/reset-password): GET from the
// link, POST from the page. With a new password everybody who is signed in as the user is
// signed out, with the refresh tokens of their applications.
func (a *Authorizer) PasswordReset() http.Handler {
	return a.ticketPage(func(w http.ResponseWriter, r *http.Request, t *tenant.Tenant, ticket string) error {
		user, err := a.cfg.Connections.ResetFor(r.Context(), t, ticket)
		if errors.Is(err, connection.ErrTicket) {
			pending, err := a.cfg.Connections.SignUpFor(r.Context(), t, ticket)
			if err == nil {
				a.showFinishSignup(w, t, http.StatusOK, &FinishSignupPage{Ticket: ticket, Email: pending.Email, UsernameRequired: pending.RequiresUsername})
			}
			return err
		}
		if err != nil {
			return err
		}
		a.showReset(w, t, http.StatusOK, &ResetPasswordPage{Ticket: ticket, Account: user.Email})
		return nil
	}, a.resetPassword)
}

// resetTimeout bounds a reset, which goes on when the browser hangs up.
const resetTimeout = 30 * time.Second

func (a *Authorizer) resetPassword(w http.ResponseWriter, r *http.Request, t *tenant.Tenant, form oauth.Parameters) error {
	ticket := form.Get("ticket")
	page := &ResetPasswordPage{Ticket: ticket}
	// The link is spent and somebody may be signed in who knows the former password:
	// whoever closes the page right after the click does not stop it halfway.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), resetTimeout)
	defer cancel()
	user, err := a.cfg.Connections.Reset(ctx, t, ticket, form.Get("password"))
	invalid, isInvalid := errors.AsType[*connection.InvalidError](err)
	switch {
	case errors.Is(err, connection.ErrTicket):
		return a.finishSignup(w, r, t, form)
	case isInvalid && invalid.Field == "password":
		page.Failure = "The password " + invalid.Rule + "."
	case errors.Is(err, connection.ErrBusy):
		return oauth.Unavailable(err, time.Second)
	case err != nil:
		return err
	}
	if page.Failure != "" {
		user, err := a.cfg.Connections.ResetFor(r.Context(), t, ticket)
		if err != nil {
			return err
		}
		page.Account = user.Email
		a.showReset(w, t, http.StatusBadRequest, page)
		return nil
	}
	a.cfg.Logger.InfoContext(r.Context(), "a user replaced a forgotten password", "tenant", t.ID(), "user_id", user.ID)
	if err := a.endAccess(ctx, t, user.ID); err != nil {
		return err
	}
	page.Account, page.Done = user.Email, true
	a.showReset(w, t, http.StatusOK, page)
	return nil
}

func (a *Authorizer) showReset(w http.ResponseWriter, t *tenant.Tenant, status int, page *ResetPasswordPage) {
	page.Page, page.Action = Page{Tenant: tenantInfo(t)}, t.URL(a.cfg.Tenants.Endpoints().PasswordReset)
	a.pages.render(w, status, "reset_password.html", page)
}

// endAccess signs a user out everywhere and tells the applications.
func (a *Authorizer) endAccess(ctx context.Context, t *tenant.Tenant, userID string) error {
	sessions, err := a.cfg.Stores.Sessions.UserSessions(ctx, t.ID(), userID, store.Page{}, a.now())
	if err != nil {
		return err
	}
	// One that cannot be ended must not keep the others.
	for i := range sessions {
		_, closeErr := a.closeSession(ctx, t, &sessions[i])
		err = errors.Join(err, closeErr)
	}
	// What no session leads to, and sessions beyond a page.
	return errors.Join(err, a.cfg.Connections.EndAccess(ctx, t.ID(), userID))
}

// EmailVerification serves the page where a user confirms an email address
// (/login/verify-email): GET from the link, POST from the page.
func (a *Authorizer) EmailVerification() http.Handler {
	return a.ticketPage(func(w http.ResponseWriter, r *http.Request, t *tenant.Tenant, ticket string) error {
		user, err := a.cfg.Connections.VerificationFor(r.Context(), t, ticket)
		if err != nil {
			return err
		}
		a.showVerification(w, t, &VerifyEmailPage{Ticket: ticket, Email: user.Email})
		return nil
	}, func(w http.ResponseWriter, r *http.Request, t *tenant.Tenant, form oauth.Parameters) error {
		user, err := a.cfg.Connections.Verify(r.Context(), t, form.Get("ticket"))
		if err != nil {
			return err
		}
		a.cfg.Logger.InfoContext(r.Context(), "a user verified an email address", "tenant", t.ID(), "user_id", user.ID)
		a.showVerification(w, t, &VerifyEmailPage{Email: user.Email, Done: true})
		return nil
	})
}

func (a *Authorizer) showVerification(w http.ResponseWriter, t *tenant.Tenant, page *VerifyEmailPage) {
	page.Page, page.Action = Page{Tenant: tenantInfo(t)}, t.URL(a.cfg.Tenants.Endpoints().EmailVerification)
	a.pages.render(w, http.StatusOK, "verify_email.html", page)
}

// ticketPage serves a page behind a link, and its form.
func (a *Authorizer) ticketPage(show func(http.ResponseWriter, *http.Request, *tenant.Tenant, string) error, submit func(http.ResponseWriter, *http.Request, *tenant.Tenant, oauth.Parameters) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !httpx.Allow(w, r, http.MethodGet, http.MethodHead, http.MethodPost) {
			return
		}
		var t *tenant.Tenant
		var err error
		if r.Method == http.MethodPost {
			var form oauth.Parameters
			var ok bool
			if t, form, ok = a.posted(w, r); !ok {
				return
			}
			err = submit(w, r, t, form)
		} else {
			var ok bool
			if t, ok = a.resolve(w, r); !ok {
				return
			}
			err = show(w, r, t, r.URL.Query().Get("ticket"))
		}
		if errors.Is(err, connection.ErrTicket) {
			err = errBadLink
		}
		if err != nil {
			a.failLink(w, r, t, err)
		}
	})
}

// failLink answers with a page.
func (a *Authorizer) failLink(w http.ResponseWriter, r *http.Request, t *tenant.Tenant, err error) {
	e := oauth.AsError(err)
	a.log(r, &request{tenant: t}, e)
	setRetryAfter(w, e.RetryAfter)
	a.pages.render(w, e.Status, "link_error.html", &ErrorPage{Page: Page{Tenant: tenantInfo(t)}, Code: e.Code, Description: e.Description})
}
