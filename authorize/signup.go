package authorize

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/opkit/opkit/authorize/lock"
	"github.com/opkit/opkit/connection"
	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/internal/ratelimit"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// This file is signing up on the built-in pages. With a Mailer it takes an address, and
// everything else happens behind the link that is sent there, so that no answer says who
// has an account. Without one there is no such way: the account is made at once.

// SignupPage is the data of signup.html. Its form posts transaction, email, signup with
// the value yes and, if there are several, connection to Action; if Direct is set, also
// password and username. back, with any value, leads to the login page.
type SignupPage struct {
	Page
	Client      ClientInfo
	Action      string
	Transaction string
	Connections []ConnectionInfo // to which people may sign up
	Selected    string           // name of the connection chosen before
	Email       string
	Failure     string
	// Direct says that the account is made at once, UsernameAsked that it may have a
	// username, UsernameRequired that it has to.
	Direct, UsernameAsked, UsernameRequired bool
	Username                                string
	// MinPassword is how many characters a password has at least, 0 if connections
	// differ.
	MinPassword int
}

// FinishSignupPage is the data of signup_finish.html, behind the link of a mail. Its form
// posts ticket, password and username to Action.
type FinishSignupPage struct {
	Page
	Action           string
	Ticket           string
	Email            string
	Username         string
	UsernameRequired bool
	Failure          string
	// Done says that the account was made; there is no form then.
	Done bool
}

// signupState is what a repeated page remembers.
type signupState struct {
	email, username, connection, failure string
	status                               int
}

// signupsAmong returns the connections to which people may sign up.
func (a *Authorizer) signupsAmong(q *request, usable []store.Connection) []store.Connection {
	if q.account {
		return nil
	}
	var open []store.Connection
	for i := range usable {
		if usable[i].Strategy != connection.StrategyDatabase {
			continue
		}
		if d, err := a.cfg.Connections.Database(&usable[i]); err == nil && d.Signup {
			open = append(open, usable[i])
		}
	}
	return open
}

func (a *Authorizer) showSignup(w http.ResponseWriter, r *http.Request, q *request, open []store.Connection, s signupState) {
	page := &SignupPage{
		Page: Page{Tenant: tenantInfo(q.tenant)}, Client: a.clientInfo(q), Action: q.tenant.URL(a.cfg.Tenants.Endpoints().Login),
		Selected: s.connection, Email: s.email, Username: s.username, Failure: s.failure, Direct: !a.sendsMail(),
	}
	for i := range open {
		page.Connections = append(page.Connections, connectionInfo(open[i]))
		d, err := a.cfg.Connections.Database(&open[i])
		if err != nil {
			a.refuse(w, r, q, err)
			return
		}
		page.UsernameAsked = page.UsernameAsked || d.RequiresUsername
		page.UsernameRequired = d.RequiresUsername && len(open) == 1
		if len(open) == 1 {
			page.MinPassword = d.MinPassword
		}
	}
	page.Transaction = a.seal(w, r, q, transaction{Step: stepLogin})
	if s.status == 0 {
		s.status = http.StatusOK
	}
	a.pages.render(w, s.status, "signup.html", page)
}

// signUp answers the forms of the sign-up page, and the login page's button that leads
// there.
func (a *Authorizer) signUp(w http.ResponseWriter, r *http.Request, q *request, usable []store.Connection, form oauth.Parameters) {
	open := a.signupsAmong(q, usable)
	if len(open) == 0 {
		a.showLogin(w, r, q, usable, loginState{failure: "Nobody can sign up here.", status: http.StatusBadRequest})
		return
	}
	s := signupState{email: form.Get("email"), username: form.Get("username"), connection: form.Get("connection")}
	if form.Get("signup") != "yes" {
		a.showSignup(w, r, q, open, signupState{connection: s.connection})
		return
	}
	again := func(failure string, status int) {
		s.failure, s.status = failure, status
		a.showSignup(w, r, q, open, s)
	}
	i := slices.IndexFunc(open, func(c store.Connection) bool {
		return c.Name == s.connection || s.connection == "" && len(open) == 1
	})
	if i < 0 {
		again("Choose the type of your account.", http.StatusBadRequest)
		return
	}
	err := a.admitAccount(r, q.tenant, asking)
	if limited, ok := errors.AsType[*lock.Error](err); ok {
		setRetryAfter(w, limited.RetryAfter)
		again(limited.Description, limited.StatusCode)
		return
	}
	if err == nil && a.sendsMail() {
		err = a.cfg.Connections.CheckSignUp(q.tenant, &open[i], s.email)
		if err == nil {
			conn, email, clientID := open[i], s.email, q.client.ID
			a.courier.accept(r.Context(), func(ctx context.Context) error { return a.mailSignup(ctx, q.tenant, &conn, email, clientID) })
			a.showLogin(w, r, q, usable, loginState{
				login: s.email, connection: conn.Name,
				notice: "A mail is on its way to this address. Follow the link in it to choose a password, then sign in here.",
			})
			return
		}
	}
	var user store.User
	if err == nil {
		user, err = a.cfg.Connections.SignUp(r.Context(), q.tenant, &open[i], store.User{Email: s.email, Username: s.username}, form.Get("password"))
	}
	if failure, status, ok := signupProblem(err); ok {
		if errors.Is(err, connection.ErrBusy) {
			setRetryAfter(w, time.Second)
		}
		again(failure, status)
		return
	}
	if err != nil {
		a.refuse(w, r, q, err)
		return
	}
	a.cfg.Logger.InfoContext(r.Context(), "user signed up", "tenant", q.tenant.ID(), "user_id", user.ID, "connection", open[i].ID, "client_id", q.client.ID)
	session, err := a.startSession(w, r, q, proof{connectionID: open[i].ID, userID: user.ID, at: a.provenNow(), amr: []string{amrPassword}, acr: a.cfg.Connections.PasswordACR()})
	if err != nil {
		a.refuse(w, r, q, err)
		return
	}
	a.proceed(w, r, q, &signedIn{session: session, user: user, begun: true})
}

// signupFields are what people call what a rule is about.
var signupFields = map[string]string{"email": "The email address", "username": "The username", "password": "The password"}

// signupProblem says in words what somebody can mend; ok is false for anything else.
func signupProblem(err error) (failure string, status int, ok bool) {
	invalid, isInvalid := errors.AsType[*connection.InvalidError](err)
	switch {
	case isInvalid && signupFields[invalid.Field] != "":
		return signupFields[invalid.Field] + " " + invalid.Rule + ".", http.StatusBadRequest, true
	case errors.Is(err, store.ErrExists):
		return "Nobody can sign up with this email address or username.", http.StatusBadRequest, true
	case errors.Is(err, connection.ErrNoSignup):
		return "Nobody can sign up here.", http.StatusBadRequest, true
	case errors.Is(err, connection.ErrBusy):
		return "The service is busy. Try again in a moment.", http.StatusServiceUnavailable, true
	}
	return "", 0, false
}

// mailSignup sends a link to whoever reads mail at an address: to make an account, or to
// find the one that there is.
func (a *Authorizer) mailSignup(ctx context.Context, t *tenant.Tenant, conn *store.Connection, email, clientID string) error {
	if wait, err := a.mails.Admit(ctx, mailKey(t, conn, email), a.now()); err != nil || wait > 0 {
		return err
	}
	endpoint := a.cfg.Tenants.Endpoints().PasswordReset
	user, ticket, err := a.cfg.Connections.RequestSignUp(ctx, t, conn, email)
	switch {
	case err == nil:
		return a.mail(ctx, t, &user, Mail{
			Kind: MailSignUp, Link: ticketLink(t, endpoint, ticket), ExpiresAt: a.now().Add(connection.SignUpLifetime), ClientID: clientID,
		})
	case !errors.Is(err, store.ErrExists):
		return err
	case user.Email != foldAddress(email):
		return nil // it is the username of somebody who reads mail elsewhere
	}
	m := Mail{Kind: MailAccountExists, ExpiresAt: a.now().Add(connection.ResetLifetime), ClientID: clientID}
	switch _, ticket, err := a.cfg.Connections.RequestReset(ctx, t, conn, email); {
	case err == nil:
		m.Link = ticketLink(t, endpoint, ticket)
	case !errors.Is(err, store.ErrNotFound):
		return err
	}
	return a.mail(ctx, t, &user, m)
}

// mailKey is what the mails to an address are counted under.
func mailKey(t *tenant.Tenant, conn *store.Connection, email string) ratelimit.Key {
	return ratelimit.Key{Tenant: t.ID(), Host: conn.ID + "\x00" + foldAddress(email)}
}

// foldAddress returns an address as users have it.
func foldAddress(email string) string { return strings.ToLower(strings.TrimSpace(email)) }

func (a *Authorizer) showFinishSignup(w http.ResponseWriter, t *tenant.Tenant, status int, page *FinishSignupPage) {
	page.Page, page.Action = Page{Tenant: tenantInfo(t)}, t.URL(a.cfg.Tenants.Endpoints().PasswordReset)
	a.pages.render(w, status, "signup_finish.html", page)
}

// finishSignup makes the account that a link was sent for.
func (a *Authorizer) finishSignup(w http.ResponseWriter, r *http.Request, t *tenant.Tenant, form oauth.Parameters) error {
	page := &FinishSignupPage{Ticket: form.Get("ticket"), Username: form.Get("username")}
	var user store.User
	err := a.admitAccount(r, t, finishing) // it says which usernames are taken
	if err == nil {
		user, err = a.cfg.Connections.FinishSignUp(r.Context(), t, page.Ticket, page.Username, form.Get("password"))
	}
	failure, status, ok := signupProblem(err)
	limited, isLimited := errors.AsType[*lock.Error](err)
	if isLimited {
		failure, status = limited.Description, limited.StatusCode
	}
	if ok || isLimited {
		pending, err := a.cfg.Connections.SignUpFor(r.Context(), t, page.Ticket)
		if err != nil {
			return err
		}
		switch {
		case isLimited:
			setRetryAfter(w, limited.RetryAfter)
		case status == http.StatusServiceUnavailable:
			setRetryAfter(w, time.Second)
		}
		page.Failure, page.Email, page.UsernameRequired = failure, pending.Email, pending.RequiresUsername
		a.showFinishSignup(w, t, status, page)
		return nil
	}
	if err != nil {
		return err
	}
	a.cfg.Logger.InfoContext(r.Context(), "user signed up", "tenant", t.ID(), "user_id", user.ID, "connection", user.ConnectionID)
	page.Email, page.Done = user.Email, true
	a.showFinishSignup(w, t, http.StatusOK, page)
	return nil
}
