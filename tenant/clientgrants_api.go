package tenant

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/opkit/opkit/internal/management"
	"github.com/opkit/opkit/store"
)

// ClientGrantsHandler serves client grants:
//
//	GET    /api/v2/client-grants        read:client_grants    200  filters client_id, audience, subject_type, default_for
//	POST   /api/v2/client-grants        create:client_grants  201  409 if the client has one for audience and subject type
//	GET    /api/v2/client-grants/{id}   read:client_grants    200
//	PATCH  /api/v2/client-grants/{id}   update:client_grants  200  scope alone
//	DELETE /api/v2/client-grants/{id}   delete:client_grants  204  also if there is none
//
// A grant has a client_id, or default_for "third_party_clients" instead. Its
// subject_type is "client" if a POST leaves it out, "user" with default_for.
func (d *Directory) ClientGrantsHandler() http.Handler {
	return management.Resource{
		Name: clientGrantCollection,
		Collection: management.Methods{
			http.MethodGet: d.guard.Require(ScopeReadClientGrants, d.listClientGrants).Describe(management.Doc{
				Summary: "List client grants",
				Answer:  management.Paged("client_grants", "ClientGrant", clientGrantView{}),
				Query:   []management.Parameter{{Name: "client_id"}, {Name: "audience"}, {Name: "subject_type"}, {Name: "default_for"}},
			}),
			http.MethodPost: d.guard.Require(ScopeCreateClientGrants, d.postClientGrant).Describe(management.Doc{
				Summary: "Let a client ask for scopes of an API",
				Body:    clientGrantBody{}, Required: []string{"audience"}, Status: http.StatusCreated,
				Answer: management.Object("ClientGrant", clientGrantView{}), Tagged: true, Errors: []int{409},
			}),
		},
		One: management.Methods{
			http.MethodGet: d.guard.Require(ScopeReadClientGrants, d.getClientGrant).Describe(management.Doc{
				Summary: "Read a client grant",
				Answer:  management.Object("ClientGrant", clientGrantView{}), Tagged: true, Errors: []int{404},
			}),
			http.MethodPatch: d.guard.Require(ScopeUpdateClientGrants, d.patchClientGrant).Describe(management.Doc{
				Summary: "Change the scopes of a client grant",
				Body:    clientGrantBody{}, Answer: management.Object("ClientGrant", clientGrantView{}), Tagged: true,
				Errors: []int{404, 409},
			}),
			http.MethodDelete: d.guard.Require(ScopeDeleteClientGrants, d.deleteClientGrant).Describe(management.Doc{
				Summary: "Delete a client grant",
				Status:  http.StatusNoContent, Tagged: true,
			}),
		},
	}
}

const (
	clientGrantCollection = "client-grants"
	// defaultForThirdParty is the value of default_for.
	defaultForThirdParty = "third_party_clients"
)

var (
	errNoClientGrant       = management.Errorf(http.StatusNotFound, "inexistent_client_grant", "The client grant does not exist.")
	errClientGrantTaken    = management.Errorf(http.StatusConflict, "client_grant_conflict", "The client has a grant for this audience and subject type.")
	errClientGrantChanging = management.Errorf(http.StatusConflict, "client_grant_changed", "The client grant was changed at the same time, try again.")
)

func answerableClientGrant(err error) error {
	if broken, ok := errors.AsType[*memberError](err); ok {
		return management.InvalidBody("%s", broken.Error())
	}
	switch {
	case errors.Is(err, store.ErrNotFound):
		return errNoClientGrant
	case errors.Is(err, store.ErrExists):
		return errClientGrantTaken
	case errors.Is(err, store.ErrConflict):
		return errClientGrantChanging
	}
	return err
}

// clientGrantView is a client grant on the wire.
type clientGrantView struct {
	ID          string   `json:"id"`
	ClientID    string   `json:"client_id,omitempty"`
	DefaultFor  string   `json:"default_for,omitempty"`
	Audience    string   `json:"audience"`
	Scopes      []string `json:"scope"`
	SubjectType string   `json:"subject_type"`
}

func viewClientGrant(g *store.ClientGrant) clientGrantView {
	v := clientGrantView{ID: g.ID, ClientID: g.ClientID, Audience: g.Audience, Scopes: g.Scopes, SubjectType: g.SubjectType}
	if g.ClientID == store.DefaultForThirdParty {
		v.ClientID, v.DefaultFor = "", defaultForThirdParty
	}
	if v.Scopes == nil {
		v.Scopes = []string{}
	}
	return v
}

func (d *Directory) listClientGrants(w http.ResponseWriter, r *http.Request, caller management.Caller) error {
	query := r.URL.Query()
	for _, name := range []string{"client_id", "audience", "subject_type", "default_for"} {
		if len(query[name]) > 1 {
			return management.InvalidQuery("%s appears more than once", name)
		}
	}
	matches := func(name, value string) bool { return !query.Has(name) || query.Get(name) == value }
	return management.List[store.ClientGrant]{
		Name: "client_grants",
		Fetch: func(ctx context.Context, page store.Page) ([]store.ClientGrant, error) {
			return d.cfg.Stores.ClientGrants.ClientGrants(ctx, caller.TenantID, page)
		},
		ID: func(g *store.ClientGrant) string { return g.ID },
		Match: func(g *store.ClientGrant) bool {
			v := viewClientGrant(g)
			return matches("client_id", v.ClientID) && matches("audience", v.Audience) &&
				matches("subject_type", v.SubjectType) && matches("default_for", v.DefaultFor)
		},
		View: func(g *store.ClientGrant) any { return viewClientGrant(g) },
	}.Serve(w, r)
}

// clientGrantID returns the identifier in a request's path.
func clientGrantID(r *http.Request) (string, error) {
	id := management.PathID(r, clientGrantCollection)
	if !validID(id) {
		return "", errNoClientGrant
	}
	return id, nil
}

func (d *Directory) getClientGrant(w http.ResponseWriter, r *http.Request, caller management.Caller) error {
	id, err := clientGrantID(r)
	if err != nil {
		return err
	}
	g, err := d.cfg.Stores.ClientGrants.ClientGrant(r.Context(), caller.TenantID, id)
	if err != nil {
		return answerableClientGrant(err)
	}
	return management.WriteRecord(w, r, http.StatusOK, tagOfClientGrant(&g), viewClientGrant(&g))
}

func tagOfClientGrant(g *store.ClientGrant) management.Tag {
	return management.TagOf(g.Version, viewClientGrant(g))
}

// clientGrantBody is what an administrator sends.
type clientGrantBody struct {
	ClientID    *string   `json:"client_id"`
	DefaultFor  *string   `json:"default_for"`
	Audience    *string   `json:"audience"`
	Scopes      *[]string `json:"scope"`
	SubjectType *string   `json:"subject_type"`
}

func (d *Directory) postClientGrant(w http.ResponseWriter, r *http.Request, caller management.Caller) error {
	body, err := management.Decode[clientGrantBody](w, r)
	if err != nil {
		return err
	}
	g := store.ClientGrant{TenantID: caller.TenantID, SubjectType: store.SubjectClient}
	if body.Scopes != nil {
		g.Scopes = *body.Scopes
	}
	switch {
	case body.Audience == nil:
		return management.InvalidBody("audience is required")
	case (body.ClientID == nil) == (body.DefaultFor == nil):
		return management.InvalidBody("one of client_id and default_for is required")
	case body.DefaultFor == nil:
		// That value names the default, not a client.
		if g.ClientID = *body.ClientID; g.ClientID == store.DefaultForThirdParty {
			return management.InvalidBody("client_id must be the identifier of a client")
		}
	case *body.DefaultFor != defaultForThirdParty:
		return management.InvalidBody("default_for must be %q", defaultForThirdParty)
	default:
		g.ClientID, g.SubjectType = store.DefaultForThirdParty, store.SubjectUser
	}
	if g.Audience = *body.Audience; body.SubjectType != nil {
		g.SubjectType = *body.SubjectType
	}
	if g, err = d.CreateClientGrant(r.Context(), g); err != nil {
		return answerableClientGrant(err)
	}
	d.audit(r, caller, "client grant created", g.ID)
	return management.WriteRecord(w, r, http.StatusCreated, tagOfClientGrant(&g), viewClientGrant(&g))
}

// patchClientGrant accepts what identifies the grant as well, if it is what it was:
// SDKs send the object that they read.
func (d *Directory) patchClientGrant(w http.ResponseWriter, r *http.Request, caller management.Caller) error {
	id, err := clientGrantID(r)
	if err != nil {
		return err
	}
	body, err := management.Decode[clientGrantBody](w, r)
	if err != nil {
		return err
	}
	g, err := d.UpdateClientGrant(r.Context(), caller.TenantID, id, func(g *store.ClientGrant) error {
		if err := management.CheckMatch(r, tagOfClientGrant(g)); err != nil {
			return err
		}
		is := viewClientGrant(g)
		for _, fixed := range []struct {
			member string
			sent   *string
			value  string
		}{
			{"client_id", body.ClientID, is.ClientID},
			{"default_for", body.DefaultFor, is.DefaultFor},
			{"audience", body.Audience, is.Audience},
			{"subject_type", body.SubjectType, is.SubjectType},
		} {
			if fixed.sent != nil && *fixed.sent != fixed.value {
				return &memberError{fixed.member, "cannot be changed"}
			}
		}
		if body.Scopes != nil {
			g.Scopes = slices.Clone(*body.Scopes)
		}
		return nil
	})
	if err != nil {
		return answerableClientGrant(err)
	}
	d.audit(r, caller, "client grant updated", id)
	return management.WriteRecord(w, r, http.StatusOK, tagOfClientGrant(&g), viewClientGrant(&g))
}

func (d *Directory) deleteClientGrant(w http.ResponseWriter, r *http.Request, caller management.Caller) error {
	id, err := clientGrantID(r)
	if err != nil {
		return management.WriteAbsent(w, r)
	}
	if err := management.Claim(r, func() (store.ClientGrant, error) {
		return d.cfg.Stores.ClientGrants.ClientGrant(r.Context(), caller.TenantID, id)
	}, tagOfClientGrant, func(g store.ClientGrant) error {
		return d.cfg.Stores.ClientGrants.UpdateClientGrant(r.Context(), g)
	}); err != nil {
		return err
	}
	if err := d.cfg.Stores.ClientGrants.DeleteClientGrant(r.Context(), caller.TenantID, id); err != nil {
		return err
	}
	d.audit(r, caller, "client grant deleted", id)
	w.WriteHeader(http.StatusNoContent)
	return nil
}
