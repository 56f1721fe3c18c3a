package authorize

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/opkit/opkit/audit"
	"github.com/opkit/opkit/internal/httpx"
	"github.com/opkit/opkit/internal/management"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// GrantsManagement serves what users allowed to clients, to administrators:
//
//	GET    /api/v2/grants               read:grants    200  filters user_id, client_id, audience
//	DELETE /api/v2/grants?user_id=…     delete:grants  204  all of a user
//	DELETE /api/v2/grants/{id}          delete:grants  204  also if there is none
//
// With a grant goes every token under it, at once; signed access tokens that an API
// verifies by itself live until they expire.
//
// The handler may be mounted under any path that ends in the wildcard {id} or,
// without wildcards, where the last segment is "grants" or the identifier.
func (a *Authorizer) GrantsManagement() http.Handler {
	guard := a.cfg.Tenants.Guard()
	return management.Resource{
		Name: grantCollection,
		Collection: management.Methods{
			http.MethodGet: guard.Require(tenant.ScopeReadGrants, a.listGrants).Describe(management.Doc{
				Summary: "List what users allowed to clients",
				Answer:  management.Paged(grantCollection, "Grant", grantView{}),
				Query:   []management.Parameter{{Name: "user_id"}, {Name: "client_id"}, {Name: "audience"}},
			}),
			http.MethodDelete: guard.Require(tenant.ScopeDeleteGrants, a.deleteGrantsOf).Describe(management.Doc{
				Summary: "Take back all that a user allowed",
				Status:  http.StatusNoContent, Query: []management.Parameter{{Name: "user_id", Required: true}},
			}),
		},
		One: management.Methods{http.MethodDelete: guard.Require(tenant.ScopeDeleteGrants, a.deleteGrant).Describe(management.Doc{
			Summary: "Take back what a user allowed to a client",
			Status:  http.StatusNoContent,
		})},
	}
}

const grantCollection = "grants"

// grantView is a grant on the wire.
type grantView struct {
	ID         string    `json:"id"`
	ClientID   string    `json:"clientID"` // as SDKs spell it
	UserID     string    `json:"user_id"`
	Audience   string    `json:"audience,omitempty"`
	Scopes     []string  `json:"scope"`
	Claims     []string  `json:"claims,omitempty"`
	Connection string    `json:"connection_id,omitempty"`
	CreatedAt  time.Time `json:"created_at"`
	UpdatedAt  time.Time `json:"updated_at"`
}

func viewGrant(g *store.Grant) grantView {
	v := grantView{
		ID: g.ID, ClientID: g.ClientID, UserID: g.UserID, Audience: g.Audience, Scopes: g.Scopes, Claims: g.Claims,
		Connection: g.ConnectionID, CreatedAt: g.CreatedAt, UpdatedAt: g.UpdatedAt,
	}
	if v.Scopes == nil {
		v.Scopes = []string{}
	}
	return v
}

func (a *Authorizer) listGrants(w http.ResponseWriter, r *http.Request, caller management.Caller) error {
	query := r.URL.Query()
	var filter store.GrantFilter
	var audience string
	for _, parameter := range []struct {
		name  string
		value *string
	}{{"user_id", &filter.UserID}, {"client_id", &filter.ClientID}, {"audience", &audience}} {
		var err error
		if *parameter.value, err = management.Filter(query, parameter.name); err != nil {
			return err
		}
	}
	list := management.List[store.Grant]{
		Name: grantCollection,
		Fetch: func(ctx context.Context, page store.Page) ([]store.Grant, error) {
			return a.cfg.Stores.Grants.Grants(ctx, caller.TenantID, filter, page)
		},
		ID:   func(g *store.Grant) string { return g.ID },
		View: func(g *store.Grant) any { return viewGrant(g) },
	}
	if audience != "" {
		list.Match = func(g *store.Grant) bool { return g.Audience == audience }
	}
	return list.Serve(w, r)
}

func (a *Authorizer) deleteGrant(w http.ResponseWriter, r *http.Request, caller management.Caller) error {
	id := management.PathID(r, grantCollection)
	if err := a.cfg.Stores.Grants.DeleteGrant(r.Context(), caller.TenantID, id); err != nil {
		return err
	}
	a.audit(r, caller, "grant revoked", audit.Event{Subject: id})
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (a *Authorizer) deleteGrantsOf(w http.ResponseWriter, r *http.Request, caller management.Caller) error {
	user, err := management.Filter(r.URL.Query(), "user_id")
	switch {
	case err != nil:
		return err
	case user == "":
		return management.InvalidQuery("user_id is required: all grants of that user are deleted")
	}
	// Whoever hangs up does not stop it halfway.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), removalTimeout)
	defer cancel()
	page := store.Page{}
	for {
		grants, err := a.cfg.Stores.Grants.Grants(ctx, caller.TenantID, store.GrantFilter{UserID: user}, page)
		if err != nil {
			return err
		}
		for i := range grants {
			if err := a.cfg.Stores.Grants.DeleteGrant(ctx, caller.TenantID, grants[i].ID); err != nil {
				return err
			}
		}
		if len(grants) < page.Size() {
			break
		}
		page.After = grants[len(grants)-1].ID
	}
	a.audit(r, caller, "grants of a user revoked", audit.Event{UserID: user})
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// audit records what an administrator did to what e names.
func (a *Authorizer) audit(r *http.Request, caller management.Caller, what string, e audit.Event) {
	a.cfg.Logger.InfoContext(r.Context(), what+" by an administrator", "tenant", caller.TenantID, "client_id", caller.ClientID, "user", e.UserID, "id", e.Subject)
	e.Time, e.TenantID, e.Type, e.Outcome = a.now(), caller.TenantID, audit.Management, audit.Allowed
	e.Actor, e.Reasons = caller.ClientID, []string{what}
	audit.Emit(r.Context(), a.cfg.Audit, e)
}

// UserSessionsManagement serves the sessions of a user, to administrators:
//
//	GET    /api/v2/users/{id}/sessions   read:sessions    200  an array of those that are alive, 100 at most
//	DELETE /api/v2/users/{id}/sessions   delete:sessions  202  and their refresh tokens; applications are told
//
// The handler may be mounted under any path with the wildcard {id} or, without
// wildcards, where the identifier is the last segment but one.
func (a *Authorizer) UserSessionsManagement() http.Handler {
	guard := a.cfg.Tenants.Guard()
	return management.Methods{
		http.MethodGet: guard.Require(tenant.ScopeReadSessions, a.listSessions).Describe(management.Doc{
			Summary: "List the sessions of a user",
			Answer:  management.ByCheckpoint("sessions", "Session", sessionView{}),
		}),
		http.MethodDelete: guard.Require(tenant.ScopeDeleteSessions, a.deleteSessions).Describe(management.Doc{
			Summary: "End the sessions of a user",
			Status:  http.StatusAccepted,
		}),
	}
}

// sessionView is a session on the wire. What the browser holds cannot be made of it.
type sessionView struct {
	ID              string          `json:"id"`
	SID             string          `json:"sid"` // that of tokens, if users' subjects are public
	UserID          string          `json:"user_id"`
	ConnectionID    string          `json:"connection_id,omitempty"`
	CreatedAt       time.Time       `json:"created_at"`
	AuthenticatedAt time.Time       `json:"authenticated_at"`
	ExpiresAt       time.Time       `json:"expires_at"`
	AMR             []string        `json:"amr,omitempty"`
	Clients         []sessionClient `json:"clients"`
}

type sessionClient struct {
	ClientID string `json:"client_id"`
}

const maxSessions = 100

func viewSession(s *store.Session) sessionView {
	v := sessionView{
		ID: management.SessionID(s.UserID, s.SID), SID: s.SID, UserID: s.UserID, ConnectionID: s.ConnectionID, CreatedAt: s.CreatedAt, AuthenticatedAt: s.AuthenticatedAt,
		ExpiresAt: s.ExpiresAt, AMR: s.AMR, Clients: []sessionClient{},
	}
	for _, id := range s.ClientIDs {
		v.Clients = append(v.Clients, sessionClient{id})
	}
	return v
}

func (a *Authorizer) listSessions(w http.ResponseWriter, r *http.Request, caller management.Caller) error {
	user, err := management.OwnerID(r)
	if err != nil {
		return err
	}
	sessions, err := a.cfg.Stores.Sessions.UserSessions(r.Context(), caller.TenantID, user, store.Page{Limit: maxSessions}, a.now())
	if err != nil {
		return err
	}
	views := []sessionView{}
	for i := range sessions {
		views = append(views, viewSession(&sessions[i]))
	}
	httpx.WriteJSON(w, http.StatusOK, map[string]any{"sessions": views})
	return nil
}

func (a *Authorizer) deleteSessions(w http.ResponseWriter, r *http.Request, caller management.Caller) error {
	user, err := management.OwnerID(r)
	if err != nil {
		return err
	}
	t, err := a.cfg.Tenants.Tenant(r.Context(), caller.TenantID)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), removalTimeout)
	defer cancel()
	// Those that were read are gone: always the first page.
	for {
		sessions, err := a.cfg.Stores.Sessions.UserSessions(ctx, t.ID(), user, store.Page{Limit: maxSessions}, a.now())
		if err != nil {
			return err
		}
		if len(sessions) == 0 {
			break
		}
		for i := range sessions {
			if _, err := a.closeSession(ctx, t, &sessions[i]); err != nil && !errors.Is(err, store.ErrNotFound) {
				return err
			}
		}
	}
	a.audit(r, caller, "sessions of a user ended", audit.Event{UserID: user})
	w.WriteHeader(http.StatusAccepted)
	return nil
}
