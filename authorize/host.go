package authorize

import (
	"errors"
	"net/http"
	"net/url"
	"slices"

	"github.com/opkit/opkit/connection"
	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// followHost brings the browser's session in line with what the embedding
// application says: if it signed the user out or another one in, so does opkit.
// With a host connection among usable, and no session of another connection, the
// host's word is asked for on every request.
func (a *Authorizer) followHost(w http.ResponseWriter, r *http.Request, q *request, usable []store.Connection, session *store.Session) (*store.Session, error) {
	i := slices.IndexFunc(usable, func(c store.Connection) bool {
		return c.Strategy == connection.StrategyHost && (session == nil || c.ID == session.ConnectionID)
	})
	if i < 0 {
		return session, nil
	}
	host, ok := a.cfg.Connections.Host(&usable[i])
	if !ok {
		return nil, nil
	}
	identity, signedIn, err := host.Current(r)
	if err != nil || !signedIn {
		return nil, err
	}
	// A better login of the same user is another one, even if it is as old.
	if session != nil && session.UserID == identity.UserID && session.ACR == identity.ACR && !identity.AuthenticatedAt.Truncate(authTimePrecision).After(session.AuthenticatedAt) {
		return session, nil
	}
	if q.prompt.login {
		return nil, nil // the browser is sent to the host's page anyhow
	}
	// When the user signed in is not known, so that no limit on it is met.
	if identity.AuthenticatedAt.IsZero() && q.maxAge >= 0 {
		return nil, nil
	}
	s, err := a.startHostSession(w, r, q, &usable[i], identity)
	if s == nil || err != nil {
		return nil, err
	}
	return &s.session, nil
}

// hostAgrees reports whether the embedding application still says what a session
// says. Sessions of other connections are none of its business.
func (a *Authorizer) hostAgrees(r *http.Request, q *request, session store.Session) (bool, error) {
	// All of them: who prefers an upstream may get the session of an account that was
	// joined to the one there.
	usable, err := a.allUsable(r.Context(), q)
	if err != nil {
		return false, err
	}
	i := slices.IndexFunc(usable, func(c store.Connection) bool { return c.ID == session.ConnectionID })
	if i < 0 {
		return false, nil
	}
	if usable[i].Strategy != connection.StrategyHost {
		return true, nil
	}
	host, ok := a.cfg.Connections.Host(&usable[i])
	if !ok {
		return false, nil
	}
	identity, signedIn, err := host.Current(r)
	return signedIn && identity.UserID == session.UserID, err
}

// startHostSession begins the session of a user whom the embedding application signed
// in. It is nil for a user who may not be served: nothing is stored then.
func (a *Authorizer) startHostSession(w http.ResponseWriter, r *http.Request, q *request, c *store.Connection, identity connection.Identity) (*signedIn, error) {
	s, err := a.admit(r.Context(), q, store.Session{ConnectionID: c.ID, UserID: identity.UserID})
	if s == nil || err != nil {
		return nil, err
	}
	at := identity.AuthenticatedAt.UTC().Truncate(authTimePrecision)
	if identity.AuthenticatedAt.IsZero() {
		at = a.now()
	}
	s.begun = true
	s.session, err = a.startSession(w, r, q, proof{
		connectionID: c.ID, userID: identity.UserID, at: at, amr: identity.AMR, acr: identity.ACR,
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// sendToHost sends the browser to the host's login page, with the transaction in
// the address to come back to.
func (a *Authorizer) sendToHost(w http.ResponseWriter, r *http.Request, q *request, c *store.Connection) {
	host, ok := a.cfg.Connections.Host(c)
	if !ok {
		a.refuse(w, r, q, errors.New("authorize: no host login is configured for the connection "+c.Name))
		return
	}
	reauthenticate := q.prompt.login || q.maxAge >= 0
	steps, clientName := a.stepsOf(q), ""
	if !q.account {
		clientName = oauth.ShownText(q.client.Name)
	}
	sealed := a.seal(w, r, q, transaction{Step: steps.host, Connection: c.ID, Reauthenticate: reauthenticate})
	location, err := host.Login(r, connection.LoginRequest{
		ReturnTo:       withQuery(q.tenant.URL(steps.hostEndpoint), "transaction="+url.QueryEscape(sealed)),
		ClientID:       q.client.ID,
		ClientName:     clientName,
		LoginHint:      q.loginHint,
		Reauthenticate: reauthenticate,
		ACRValues:      slices.Clone(q.acrValues),
		ACRRequired:    q.acrRequired,
	})
	if err != nil {
		a.refuse(w, r, q, err)
		return
	}
	redirect(w, r, location)
}

var errLoginExpired = oauth.Errorf(oauth.CodeAccessDenied, "signing in took too long")

// LoginCallback serves the address to which a login sends the browser back: GET from
// the host's login page, with a transaction; POST from a page with Lock, with wresult;
// and either from another provider, with state. Connections with own_redirect_uri need it
// also below that address, at any path that ends in the wildcard {id} or, without
// wildcards, in the connection's identifier.
func (a *Authorizer) LoginCallback() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t, ok := a.resolve(w, r)
		if !ok {
			return
		}
		switch r.Method {
		case http.MethodGet, http.MethodHead:
		case http.MethodPost:
			a.finishPosted(w, r, t)
			return
		default:
			w.Header().Set("Allow", "GET, HEAD, POST")
			a.fail(w, r, t, &oauth.Error{Code: oauth.CodeInvalidRequest, Description: "the method must be GET or POST", Status: http.StatusMethodNotAllowed})
			return
		}
		params, err := oauth.ParseQuery(r.URL.RawQuery)
		if err != nil {
			a.fail(w, r, t, err)
			return
		}
		if params.Get("transaction") == "" && params.Get("state") != "" {
			a.finishUpstream(w, r, t, params)
			return
		}
		if a.callbackOf(r) != "" {
			http.NotFound(w, r)
			return
		}
		tx, q, expired, err := a.open(r.Context(), r, t, stepHost, params.Get("transaction"))
		if err != nil {
			a.refuseStep(w, r, t, q, err)
			return
		}
		if expired {
			a.refuse(w, r, q, errLoginExpired)
			return
		}
		a.resumeFromHost(w, r, q, tx)
	})
}

// finishPosted answers a form at the login callback: one of another provider, which
// comes from its site (OAuth 2.0 Form Post Response Mode), or one of a page with Lock.
func (a *Authorizer) finishPosted(w http.ResponseWriter, r *http.Request, t *tenant.Tenant) {
	form, err := oauth.ParseForm(w, r)
	if err == nil && form.Get("wresult") == "" && form.Get("state") != "" {
		// Nothing but the state says whose it is: it opens in the browser that was sent.
		a.finishUpstream(w, r, t, form)
		return
	}
	if err == nil && a.callbackOf(r) != "" {
		http.NotFound(w, r)
		return
	}
	if crossErr := a.crossOrigin.Check(r); crossErr != nil {
		err = errCrossOrigin(crossErr)
	}
	if err != nil {
		a.fail(w, r, t, err)
		return
	}
	a.finishLock(w, r, t, form)
}

func (a *Authorizer) resumeFromHost(w http.ResponseWriter, r *http.Request, q *request, tx transaction) {
	usable, err := a.usable(r.Context(), q)
	if err != nil {
		a.refuse(w, r, q, err)
		return
	}
	i := slices.IndexFunc(usable, func(c store.Connection) bool { return c.ID == tx.Connection })
	if i < 0 {
		a.refuse(w, r, q, oauth.Errorf(oauth.CodeAccessDenied, "the connection can no longer be used"))
		return
	}
	host, ok := a.cfg.Connections.Host(&usable[i])
	if !ok {
		a.refuse(w, r, q, errors.New("authorize: no host login is configured for the connection "+usable[i].Name))
		return
	}
	identity, signedIn, err := host.Current(r)
	if err != nil {
		a.refuse(w, r, q, err)
		return
	}
	if !signedIn {
		a.refuse(w, r, q, oauth.Errorf(oauth.CodeAccessDenied, "the user did not sign in"))
		return
	}
	// The host has to show that the proof is new; saying nothing is not enough.
	if tx.Reauthenticate && identity.AuthenticatedAt.Before(tx.Begun.Truncate(authTimePrecision)) {
		a.refuse(w, r, q, oauth.Errorf(oauth.CodeLoginRequired, "the user has to sign in again"))
		return
	}
	s, err := a.startHostSession(w, r, q, &usable[i], identity)
	if err != nil {
		a.refuse(w, r, q, err)
		return
	}
	if s == nil {
		a.refuse(w, r, q, oauth.Errorf(oauth.CodeAccessDenied, "the account cannot be used"))
		return
	}
	a.proceed(w, r, q, s)
}
