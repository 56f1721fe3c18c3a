package authorize

import (
	"errors"
	"net/http"
	"slices"

	"github.com/opkit/opkit/audit"
	"github.com/opkit/opkit/connection"
	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// This file asks users who come from another provider, and have an account here with the
// same address, whether the two are to be one. Nothing of either is stored before they
// answer: the page carries, sealed, who the other provider said they are.

// LinkPage is the data of link_account.html. Its form posts transaction, link ("join" or
// "apart") and, to join, password to Action.
type LinkPage struct {
	Page
	Client      ClientInfo
	Action      string
	Transaction string
	// Provider is where the user comes from, and Email the address of both accounts.
	Provider, Email string
	Failure         string
}

// offerLink shows the page if there is an account to join, and reports whether it did,
// or answered with an error.
func (a *Authorizer) offerLink(w http.ResponseWriter, r *http.Request, q *request, usable []store.Connection, c *store.Connection, identity connection.UpstreamIdentity) bool {
	user, database, err := a.cfg.Connections.LinkCandidate(r.Context(), q.tenant, c, identity, usable)
	if errors.Is(err, store.ErrNotFound) {
		return false
	}
	if err != nil {
		a.refuse(w, r, q, err)
		return true
	}
	a.showLink(w, r, q, c, transaction{
		Step: a.stepsOf(q).link, Connection: c.ID, Database: database.ID, UserID: user.ID, ID: randomValue(), Upstream: &identity,
	}, "", http.StatusOK)
	return true
}

func (a *Authorizer) showLink(w http.ResponseWriter, r *http.Request, q *request, c *store.Connection, tx transaction, failure string, status int) {
	info, err := a.cfg.Connections.Upstream(c)
	if err != nil {
		a.refuse(w, r, q, err)
		return
	}
	a.pages.render(w, status, "link_account.html", &LinkPage{
		Page: Page{Tenant: tenantInfo(q.tenant)}, Client: a.clientInfo(q), Action: q.tenant.URL(a.stepsOf(q).loginEndpoint),
		Transaction: a.seal(w, r, q, tx), Provider: info.Label, Email: tx.Upstream.Email, Failure: failure,
	})
}

// link answers the page's form. q is nil for a form of the account page.
func (a *Authorizer) link(w http.ResponseWriter, r *http.Request, t *tenant.Tenant, form oauth.Parameters, account bool) {
	ctx := r.Context()
	var tx transaction
	var q *request
	var expired bool
	var err error
	if account {
		tx, _, expired, err = a.unseal(r, t, stepAccountLink, form.Get("transaction"))
		q = accountRequest(t)
	} else {
		tx, q, expired, err = a.open(ctx, r, t, stepLink, form.Get("transaction"))
	}
	if err != nil {
		if account {
			q = nil
		}
		a.refuseStep(w, r, t, q, err)
		return
	}
	if expired || tx.Upstream == nil {
		a.refuse(w, r, q, errLoginExpired)
		return
	}
	usable, err := a.allUsable(ctx, q)
	if err != nil {
		a.refuse(w, r, q, err)
		return
	}
	usableByID := func(id string) *store.Connection {
		if i := slices.IndexFunc(usable, func(c store.Connection) bool { return c.ID == id }); i >= 0 {
			return &usable[i]
		}
		return nil
	}
	c, database := usableByID(tx.Connection), usableByID(tx.Database)
	switch {
	case c == nil || !connection.IsUpstream(c):
		a.refuse(w, r, q, oauth.Errorf(oauth.CodeAccessDenied, "the connection can no longer be used"))
		return
	case form.Get("link") == "apart":
		if a.spendSignIn(w, r, q, &tx) {
			a.signInUpstream(w, r, q, usable, c, *tx.Upstream, tx.Begun)
		}
		return
	case database == nil || form.Get("link") != "join":
		a.refuse(w, r, q, oauth.Errorf(oauth.CodeAccessDenied, "the accounts cannot be joined"))
		return
	}
	user, err := a.cfg.Connections.Authenticate(ctx, t, database, tx.Upstream.Email, form.Get("password"))
	if failure, isFailure := loginFailureOf(err); isFailure {
		a.emitFailedLogin(r, q, database.ID, err)
		setRetryAfter(w, failure.retry)
		a.showLink(w, r, q, c, tx, failure.text, failure.status)
		return
	}
	if err == nil && user.ID != tx.UserID {
		err = oauth.Errorf(oauth.CodeAccessDenied, "the accounts cannot be joined (any more)")
	}
	if err != nil {
		a.refuse(w, r, q, err)
		return
	}
	if !a.spendSignIn(w, r, q, &tx) {
		return
	}
	joined, err := a.cfg.Connections.Link(ctx, t, c, *tx.Upstream, database, &user)
	if err != nil {
		a.failUpstream(w, r, q, c, err)
		return
	}
	a.emit(r, t, audit.Event{
		Type: audit.AccountsLinked, Outcome: audit.Allowed, ClientID: q.client.ID, UserID: user.ID, Subject: c.ID,
		Notes: map[string]string{"joined": joined},
	})
	session, err := a.startSession(w, r, q, proof{connectionID: database.ID, userID: user.ID, at: a.provenNow(), amr: []string{amrPassword}, acr: a.cfg.Connections.PasswordACR()})
	if err != nil {
		a.refuse(w, r, q, err)
		return
	}
	a.proceed(w, r, q, &signedIn{session: session, user: user, begun: true})
}

// linkedSession begins a session of the user whom a sign-in at an upstream is for. It is
// nil if nobody was joined to it, or is there any more.
func (a *Authorizer) linkedSession(w http.ResponseWriter, r *http.Request, q *request, usable []store.Connection, user *store.User, p proof) (*signedIn, error) {
	linked, err := a.cfg.Connections.LinkedUser(r.Context(), user)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	denied := oauth.Errorf(oauth.CodeAccessDenied, "the account cannot be used")
	if !slices.ContainsFunc(usable, func(c store.Connection) bool { return c.ID == linked.ConnectionID }) {
		return nil, denied
	}
	s, err := a.admit(r.Context(), q, store.Session{ConnectionID: linked.ConnectionID, UserID: linked.ID})
	if err != nil {
		return nil, err
	}
	if s == nil {
		return nil, denied
	}
	p.connectionID, p.userID = linked.ConnectionID, linked.ID
	s.begun = true
	s.session, err = a.startSession(w, r, q, p)
	return s, err
}
