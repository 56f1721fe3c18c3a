package authorize

import (
	"context"
	"errors"
	"net/http"

	"github.com/opkit/opkit/audit"
	"github.com/opkit/opkit/internal/httpx"
	"github.com/opkit/opkit/internal/management"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// SessionsManagement serves one session to administrators:
//
//	GET    /api/v2/sessions/{id}          read:sessions    200
//	DELETE /api/v2/sessions/{id}          delete:sessions  202  and its refresh tokens; applications are told
//	POST   /api/v2/sessions/{id}/revoke   delete:sessions  202  the same
//
// The identifier is that of the list of a user's sessions, and the session_id of refresh
// tokens. It stays when the user signs in again. What is over answers 404, also when it
// is to be deleted.
//
// The handler may be mounted under any path with the wildcard {id} or, without
// wildcards, where it ends as above.
func (a *Authorizer) SessionsManagement() http.Handler {
	guard := a.cfg.Tenants.Guard()
	one := management.Methods{
		http.MethodGet: guard.Require(tenant.ScopeReadSessions, a.getSession).Describe(management.Doc{
			Summary: "Read a session", Answer: management.Object("Session", sessionView{}), Errors: []int{404},
		}),
		http.MethodDelete: guard.Require(tenant.ScopeDeleteSessions, a.deleteSession).Describe(management.Doc{
			Summary: "End a session", Status: http.StatusAccepted, Errors: []int{404},
		}),
	}
	revoke := management.Methods{
		http.MethodPost: guard.Require(tenant.ScopeDeleteSessions, a.deleteSession).Describe(management.Doc{
			Summary: "End a session", Status: http.StatusAccepted, Errors: []int{404},
		}),
	}
	return sessionResource{one, revoke}
}

// sessionResource serves the paths of one session.
type sessionResource struct{ one, revoke management.Methods }

func (res sessionResource) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if management.PathVerb(r) == "revoke" {
		res.revoke.ServeHTTP(w, r)
		return
	}
	res.one.ServeHTTP(w, r)
}

// Operations implements [management.Described].
func (res sessionResource) Operations() map[string]management.Methods {
	return map[string]management.Methods{"/{id}": res.one, "/{id}/revoke": res.revoke}
}

var errNoSession = management.Errorf(http.StatusNotFound, "", "The session does not exist, or is over.")

// pathSession returns the live session that a request names.
func (a *Authorizer) pathSession(ctx context.Context, r *http.Request, caller management.Caller) (*store.Session, error) {
	id := management.PathID(r, "sessions")
	if management.PathVerb(r) == "revoke" {
		id = management.PathOwner(r)
	}
	user, sid, ok := management.ParseSessionID(id)
	if !ok {
		return nil, errNoSession
	}
	for page := (store.Page{}); ; {
		sessions, err := a.cfg.Stores.Sessions.UserSessions(ctx, caller.TenantID, user, page, a.now())
		if err != nil {
			return nil, err
		}
		for i := range sessions {
			if sessions[i].SID == sid {
				return &sessions[i], nil
			}
		}
		if len(sessions) < page.Size() {
			return nil, errNoSession
		}
		page.After = sessions[len(sessions)-1].ID.String()
	}
}

func (a *Authorizer) getSession(w http.ResponseWriter, r *http.Request, caller management.Caller) error {
	s, err := a.pathSession(r.Context(), r, caller)
	if err != nil {
		return err
	}
	httpx.WriteJSON(w, http.StatusOK, viewSession(s))
	return nil
}

func (a *Authorizer) deleteSession(w http.ResponseWriter, r *http.Request, caller management.Caller) error {
	s, err := a.pathSession(r.Context(), r, caller)
	if err != nil {
		return err
	}
	t, err := a.cfg.Tenants.Tenant(r.Context(), caller.TenantID)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), removalTimeout)
	defer cancel()
	// Again if the user signed in meanwhile: that gives the session another record.
	for found := s; found != nil; {
		if _, err := a.closeSession(ctx, t, found); err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if found, err = a.pathSession(ctx, r, caller); err != nil && err != errNoSession {
			return err
		}
	}
	a.audit(r, caller, "session ended", audit.Event{UserID: s.UserID, Subject: s.SID})
	w.WriteHeader(http.StatusAccepted)
	return nil
}
