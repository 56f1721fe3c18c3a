package authorize

import (
	"net/http"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/opkit/opkit/authorize/lock"
	"github.com/opkit/opkit/connection"
	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// This file is about users who are known by the domain of their email address to sign in
// at another provider (home realm discovery). Nobody is looked up for it: the answer says
// which domains there are, and nothing about who has an account.

// realmOf returns the upstream connection among usable whose users have email addresses
// like this one, nil if there is none.
func (a *Authorizer) realmOf(usable []store.Connection, login string) (*store.Connection, error) {
	domain := connection.EmailDomain(login)
	if domain == "" {
		return nil, nil
	}
	realms, err := a.cfg.Connections.HomeRealms(usable)
	return realms[domain], err
}

// hintOf returns what another provider may be told of who is about to sign in there.
func hintOf(login string) string {
	if login = strings.TrimSpace(login); len(login) <= maxHint && utf8.ValidString(login) && !strings.ContainsFunc(login, unicode.IsControl) {
		return login
	}
	return ""
}

// lockUpstreams returns the upstream connections as Lock is told of them: those with
// domains are found by email address, others have buttons, and some are both. Each domain
// is told of one connection, so that Lock decides as the built-in page does; a connection
// without a button whose domains are all another one's is reached by its name alone.
func (a *Authorizer) lockUpstreams(connections []store.Connection) ([]lock.Upstream, error) {
	realms, err := a.cfg.Connections.HomeRealms(connections)
	if err != nil {
		return nil, err
	}
	var out []lock.Upstream
	for i := range connections {
		c := &connections[i]
		if !connection.IsUpstream(c) {
			continue
		}
		info, err := a.cfg.Connections.Upstream(c)
		if err != nil {
			return nil, err
		}
		u := lock.Upstream{Name: c.Name, DisplayName: info.Label, Strategy: c.Strategy, Button: info.Button}
		for domain, holder := range realms {
			if holder.ID == c.ID {
				u.Domains = append(u.Domains, domain)
			}
		}
		slices.Sort(u.Domains)
		if u.Button || len(u.Domains) > 0 {
			out = append(out, u)
		}
	}
	return out, nil
}

// choseUpstream answers a request that a page with Lock sends when the user chooses
// another provider: its state is not the client's but the transaction of that page, and
// what else it says does not count. It returns false for every other request.
func (a *Authorizer) choseUpstream(w http.ResponseWriter, r *http.Request, t *tenant.Tenant, params oauth.Parameters) bool {
	if params.Get("_intstate") == "" || params.Get("_csrf") == "" || params.Get("connection") == "" {
		return false
	}
	q, err := a.openLock(r, t, &lock.Login{
		ClientID: params.Get("client_id"), State: params.Get("state"), CSRF: params.Get("_csrf"), IntState: params.Get("_intstate"),
	})
	if err == errLockSession {
		err = oauth.Errorf(oauth.CodeInvalidRequest, "This page does not belong to a sign-in that began in this browser, or it was open for too long. Go back to the application and start again.")
	}
	if err != nil {
		a.refuseStep(w, r, t, q, err)
		return true
	}
	usable, err := a.usable(r.Context(), q)
	if err == nil {
		usable, err = a.reaching(q, usable)
	}
	if err != nil {
		a.refuse(w, r, q, err)
		return true
	}
	chosen := chooseConnection(usable, params.Get("connection"))
	if chosen == nil || !connection.IsUpstream(chosen) {
		a.refuse(w, r, q, oauth.Errorf(oauth.CodeAccessDenied, "the application may not use this connection"))
		return true
	}
	hint := q.loginHint
	if typed := hintOf(params.Get("login_hint")); typed != "" {
		hint = typed
	}
	a.sendUpstream(w, r, q, chosen, hint)
	return true
}
