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
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// amrPassword is the method of a login with a password (RFC 8176 §2).
const amrPassword = "pwd"

const failureExpired = "This page was open for too long. Please sign in again."

// loginState is what a repeated login page remembers.
type loginState struct {
	login      string
	connection string
	failure    string
	notice     string
	status     int
}

// showLogin answers with the login page, or sends the browser to the host's own, or to
// another provider, if that is the only way to sign in.
func (a *Authorizer) showLogin(w http.ResponseWriter, r *http.Request, q *request, usable []store.Connection, s loginState) {
	page := &LoginPage{
		Page: Page{Tenant: tenantInfo(q.tenant)}, Client: a.clientInfo(q),
		Action: q.tenant.URL(a.stepsOf(q).loginEndpoint),
		Login:  s.login, Failure: s.failure, Notice: s.notice, Selected: s.connection,
		// Mails say which application the user came from.
		Forgot: !q.account && slices.ContainsFunc(usable, func(c store.Connection) bool { return a.resets(&c) }),
		Signup: len(a.signupsAmong(q, usable)) > 0,
	}
	var hidden []UpstreamButton
	for _, c := range usable {
		switch c.Strategy {
		case connection.StrategyDatabase:
			page.Databases = append(page.Databases, connectionInfo(c))
		case connection.StrategyHost:
			page.Hosts = append(page.Hosts, connectionInfo(c))
		default:
			info, err := a.cfg.Connections.Upstream(&c)
			if err != nil {
				a.refuse(w, r, q, err)
				return
			}
			if len(info.Domains) > 0 && len(usable) > 1 {
				page.Realms = true
			}
			buttons := &hidden
			if info.Button {
				buttons = &page.Upstreams
			}
			*buttons = append(*buttons, UpstreamButton{ConnectionInfo{c.Name, info.Label}, info.IconURL})
		}
	}
	if len(usable) == 1 && len(page.Databases) == 0 && s.failure == "" {
		a.sendElsewhere(w, r, q, &usable[0], q.loginHint)
		return
	}
	// Lock has nothing to say where there is nothing that it knows.
	if html := a.customPage(q); html != "" && (len(page.Databases) > 0 || len(page.Upstreams) > 0 || page.Realms) && s.failure == "" && s.notice == "" {
		a.showLock(w, r, q, html, usable)
		return
	}
	if len(page.Databases)+len(page.Hosts)+len(page.Upstreams) == 0 && !page.Realms {
		page.Upstreams = hidden // a page that offers nothing helps nobody
	}
	page.Transaction = a.seal(w, r, q, transaction{Step: a.stepsOf(q).login})
	status := s.status
	if status == 0 {
		status = http.StatusOK
	}
	a.pages.render(w, status, "login.html", page)
}

// Login serves the target of the login page's form.
func (a *Authorizer) Login() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t, form, ok := a.posted(w, r)
		if !ok {
			return
		}
		if form.Get("link") != "" {
			a.link(w, r, t, form, false)
			return
		}
		tx, q, expired, err := a.open(r.Context(), r, t, stepLogin, form.Get("transaction"))
		if err != nil {
			a.refuseStep(w, r, t, q, err)
			return
		}
		usable, err := a.usable(r.Context(), q)
		if err == nil {
			usable, err = a.reaching(q, usable)
		}
		if err != nil {
			a.refuse(w, r, q, err)
			return
		}
		state := loginState{login: form.Get("username"), connection: form.Get("connection")}
		if expired {
			state.failure = failureExpired
			a.showLogin(w, r, q, usable, state)
			return
		}
		if form.Get("back") != "" {
			a.showLogin(w, r, q, usable, loginState{connection: state.connection})
			return
		}
		if form.Get("signup") != "" {
			a.signUp(w, r, q, usable, form)
			return
		}
		if form.Get("forgot") != "" {
			a.forgot(w, r, q, usable, state)
			return
		}
		a.login(w, r, q, usable, tx, form.Get("password"), state)
	})
}

// forgot mails a link to who forgot the password, and says the same whoever it is.
func (a *Authorizer) forgot(w http.ResponseWriter, r *http.Request, q *request, usable []store.Connection, state loginState) {
	chosen := chooseConnection(usable, state.connection)
	err := a.admitAccount(r, q.tenant, asking)
	limited, isLimited := errors.AsType[*lock.Error](err)
	switch {
	case err != nil && !isLimited:
		a.refuse(w, r, q, err)
		return
	case chosen == nil || !a.resets(chosen):
		state.failure, state.status = "The password of this account cannot be replaced here.", http.StatusBadRequest
	case strings.TrimSpace(state.login) == "":
		state.failure, state.status = "Type your email address first.", http.StatusBadRequest
	case isLimited:
		state.failure, state.status = limited.Description, limited.StatusCode
		setRetryAfter(w, limited.RetryAfter)
	default:
		conn, email, clientID := *chosen, state.login, q.client.ID
		a.courier.accept(r.Context(), func(ctx context.Context) error { return a.mailReset(ctx, q.tenant, &conn, email, clientID) })
		state.notice = "If this is the email address of an account, a link to set a new password is on its way."
	}
	a.showLogin(w, r, q, usable, state)
}

// resets reports whether users of a connection may replace a forgotten password.
func (a *Authorizer) resets(c *store.Connection) bool {
	if !a.sendsMail() || c.Strategy != connection.StrategyDatabase {
		return false
	}
	d, err := a.cfg.Connections.Database(c)
	return err == nil && d.Reset
}

// login checks what the user typed, or sends the browser to the page of a host or of
// another provider that the user chose.
func (a *Authorizer) login(w http.ResponseWriter, r *http.Request, q *request, usable []store.Connection, tx transaction, password string, state loginState) {
	chosen := chooseConnection(usable, state.connection)
	if state.connection == "" || chosen != nil && chosen.Strategy == connection.StrategyDatabase {
		realm, err := a.realmOf(usable, state.login)
		if err != nil {
			a.refuse(w, r, q, err)
			return
		}
		if realm != nil {
			// Whatever was typed as a password stays here, unlooked at.
			a.sendUpstream(w, r, q, realm, hintOf(state.login))
			return
		}
	}
	if chosen == nil {
		// Either nothing can be used (any more), which the page says, or the form
		// named a connection that this client may not use.
		state.failure, state.status = "Choose a way to sign in.", http.StatusBadRequest
		if strings.Contains(state.login, "@") {
			state.failure = "Nobody signs in here with an email address of this domain."
		}
		a.showLogin(w, r, q, usable, state)
		return
	}
	if chosen.Strategy != connection.StrategyDatabase {
		a.sendElsewhere(w, r, q, chosen, q.loginHint)
		return
	}
	user, err := a.cfg.Connections.Authenticate(r.Context(), q.tenant, chosen, state.login, password)
	if err != nil {
		a.emitFailedLogin(r, q, chosen.ID, err)
		a.showFailedLogin(w, r, q, usable, state, err)
		return
	}
	session, err := a.startSession(w, r, q, proof{connectionID: chosen.ID, userID: user.ID, at: a.provenNow(), amr: []string{amrPassword}, acr: a.cfg.Connections.PasswordACR()})
	if err != nil {
		a.refuse(w, r, q, err)
		return
	}
	a.proceed(w, r, q, &signedIn{session: session, user: user, begun: true})
}

// sendElsewhere sends the browser to where users of a connection sign in that have no
// password here.
func (a *Authorizer) sendElsewhere(w http.ResponseWriter, r *http.Request, q *request, c *store.Connection, hint string) {
	if c.Strategy == connection.StrategyHost {
		a.sendToHost(w, r, q, c)
		return
	}
	a.sendUpstream(w, r, q, c, hint)
}

// chooseConnection returns the usable connection with that name; without a name,
// the only database, or the only connection.
func chooseConnection(usable []store.Connection, name string) *store.Connection {
	var databases []int
	for i := range usable {
		if name != "" && usable[i].Name == name {
			return &usable[i]
		}
		if usable[i].Strategy == connection.StrategyDatabase {
			databases = append(databases, i)
		}
	}
	switch {
	case name != "":
		return nil
	case len(databases) == 1:
		return &usable[databases[0]]
	case len(usable) == 1:
		return &usable[0]
	}
	return nil
}

func (a *Authorizer) showFailedLogin(w http.ResponseWriter, r *http.Request, q *request, usable []store.Connection, state loginState, err error) {
	failure, ok := loginFailureOf(err)
	if !ok {
		a.refuse(w, r, q, err)
		return
	}
	state.failure, state.status = failure.text, failure.status
	setRetryAfter(w, failure.retry)
	a.showLogin(w, r, q, usable, state)
}

// loginFailure is what a page says to somebody who cannot sign in.
type loginFailure struct {
	text   string
	status int
	retry  time.Duration
}

// loginFailureOf returns what a page says of an error of a login; false if that is none
// of the user's.
func loginFailureOf(err error) (loginFailure, bool) {
	locked, isLocked := errors.AsType[*connection.LockedError](err)
	switch {
	case errors.Is(err, connection.ErrInvalidCredentials):
		return loginFailure{"Wrong email, username or password.", http.StatusUnauthorized, 0}, true
	case isLocked:
		return loginFailure{"Too many failed attempts. Wait a little, then try again.", http.StatusTooManyRequests, locked.RetryAfter}, true
	case errors.Is(err, connection.ErrBusy):
		return loginFailure{"The service is busy. Try again in a moment.", http.StatusServiceUnavailable, time.Second}, true
	case errors.Is(err, connection.ErrNotAllowed):
		return loginFailure{"This account cannot be used.", http.StatusUnauthorized, 0}, true
	}
	return loginFailure{}, false
}

// refuseStep answers a form whose request no longer holds. Errors of the
// transaction itself come without a request.
func (a *Authorizer) refuseStep(w http.ResponseWriter, r *http.Request, t *tenant.Tenant, q *request, err error) {
	if q == nil {
		a.fail(w, r, t, err)
		return
	}
	a.refuse(w, r, q, err)
}
