package connection

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/opkit/opkit/audit"
	"github.com/opkit/opkit/internal/httpx"
	"github.com/opkit/opkit/internal/management"
	"github.com/opkit/opkit/store"
)

// Management serves connections to administrators:
//
//	GET    /api/v2/connections         read:connections    200  filters strategy (may be repeated) and name
//	POST   /api/v2/connections         create:connections  201  409 if the name is taken
//	GET    /api/v2/connections/{id}    read:connections    200
//	PATCH  /api/v2/connections/{id}    update:connections  200
//	DELETE /api/v2/connections/{id}    delete:connections  202  also if there is none
//
// PATCH leaves alone what it does not mention. What it mentions is replaced as a
// whole, options too: that is what the SDKs expect. name and strategy never
// change; a PATCH may repeat them.
//
// The handler may be mounted under any path that ends in the wildcard {id} or,
// without wildcards, where the last segment is "connections" or the identifier.
func (d *Directory) Management() http.Handler {
	guard := d.cfg.Tenants.Guard()
	return management.Resource{
		Name: collectionName,
		Collection: management.Methods{
			http.MethodGet: guard.Require("read:connections", d.list).Describe(management.Doc{
				Summary: "List connections",
				Answer:  management.Paged("connections", "Connection", view{}),
				Query:   []management.Parameter{{Name: "strategy", Repeats: true}, {Name: "name"}},
			}),
			http.MethodPost: guard.Require("create:connections", d.create).Describe(management.Doc{
				Summary: "Create a connection",
				Body:    body{}, Required: []string{"name", "strategy"}, Status: http.StatusCreated,
				Answer: management.Object("Connection", view{}), Tagged: true, Errors: []int{409},
			}),
		},
		One: management.Methods{
			http.MethodGet: guard.Require("read:connections", d.get).Describe(management.Doc{
				Summary: "Read a connection",
				Answer:  management.Object("Connection", view{}), Tagged: true, Errors: []int{404},
			}),
			http.MethodPatch: guard.Require("update:connections", d.patch).Describe(management.Doc{
				Summary: "Change a connection",
				Body:    body{}, Answer: management.Object("Connection", view{}), Tagged: true, Errors: []int{404, 409},
			}),
			http.MethodDelete: guard.Require("delete:connections", d.delete).Describe(management.Doc{
				Summary: "Delete a connection",
				Status:  http.StatusAccepted, Answer: management.Object("ConnectionDeletion", deletionView{}),
				Tagged: true, Errors: []int{404},
			}),
		},
	}
}

const collectionName = "connections"

func pathID(r *http.Request) string { return management.PathID(r, collectionName) }

var (
	errInexistent = management.Errorf(http.StatusNotFound, "inexistent_connection", "The connection does not exist.")
	errNameTaken  = management.Errorf(http.StatusConflict, "connection_conflict", "A connection with the same name already exists.")
	errChanging   = management.Errorf(http.StatusConflict, "connection_changed", "The connection was changed at the same time, try again.")
)

// answerable turns the errors that an administrator may read into answers.
func answerable(err error) error {
	if e, ok := errors.AsType[*InvalidError](err); ok {
		return management.InvalidBody("%s %s", e.Field, e.Rule)
	}
	switch {
	case errors.Is(err, store.ErrNotFound):
		return errInexistent
	case errors.Is(err, store.ErrExists):
		return errNameTaken
	case errors.Is(err, store.ErrConflict):
		return errChanging
	}
	return err
}

// view is a connection on the wire.
type view struct {
	ID                 string            `json:"id"`
	Name               string            `json:"name"`
	DisplayName        string            `json:"display_name,omitempty"`
	Strategy           string            `json:"strategy"`
	Options            json.RawMessage   `json:"options"`
	EnabledClients     []string          `json:"enabled_clients"`
	IsDomainConnection bool              `json:"is_domain_connection"`
	ShowAsButton       *bool             `json:"show_as_button,omitempty"`
	Realms             []string          `json:"realms"`
	Metadata           map[string]string `json:"metadata,omitempty"`
}

func viewOf(c *store.Connection) view {
	v := view{
		ID: c.ID, Name: c.Name, DisplayName: c.DisplayName, Strategy: c.Strategy,
		Options: shownOptions(c.Options), EnabledClients: c.EnabledClients,
		IsDomainConnection: c.IsDomainConnection, ShowAsButton: c.ShowAsButton, Realms: c.Realms, Metadata: c.Metadata,
	}
	if v.EnabledClients == nil {
		v.EnabledClients = []string{}
	}
	if len(v.Realms) == 0 {
		v.Realms = []string{c.Name}
	}
	return v
}

func (d *Directory) list(w http.ResponseWriter, r *http.Request, caller management.Caller) error {
	query := r.URL.Query()
	strategies, names := query["strategy"], query["name"]
	if len(names) > 1 {
		return management.InvalidQuery("name appears more than once")
	}
	return management.List[store.Connection]{
		Name: "connections",
		Fetch: func(ctx context.Context, page store.Page) ([]store.Connection, error) {
			return d.cfg.Stores.Connections.Connections(ctx, caller.TenantID, page)
		},
		ID: func(c *store.Connection) string { return c.ID },
		Match: func(c *store.Connection) bool {
			return (len(strategies) == 0 || slices.Contains(strategies, c.Strategy)) && (len(names) == 0 || names[0] == c.Name)
		},
		View: func(c *store.Connection) any { return viewOf(c) },
	}.Serve(w, r)
}

func (d *Directory) get(w http.ResponseWriter, r *http.Request, caller management.Caller) error {
	id := pathID(r)
	if !validID(id) {
		return errInexistent
	}
	c, err := d.stored(r.Context(), caller.TenantID, id)
	if err != nil {
		return answerable(err)
	}
	return management.WriteRecord(w, r, http.StatusOK, tagOf(&c), viewOf(&c))
}

func tagOf(c *store.Connection) management.Tag { return management.TagOf(c.Version, viewOf(c)) }

// body is what an administrator sends. null resets a member to its default.
type body struct {
	Name               *string                                `json:"name"`
	Strategy           *string                                `json:"strategy"`
	DisplayName        management.Nullable[string]            `json:"display_name"`
	Options            management.Nullable[json.RawMessage]   `json:"options"`
	EnabledClients     management.Nullable[[]string]          `json:"enabled_clients"`
	IsDomainConnection *bool                                  `json:"is_domain_connection"`
	ShowAsButton       management.Nullable[bool]              `json:"show_as_button"`
	Realms             management.Nullable[[]string]          `json:"realms"`
	Metadata           management.Nullable[map[string]string] `json:"metadata"`
}

// applyTo changes what the body mentions. That name and strategy stay, the
// directory sees to.
func (b *body) applyTo(c *store.Connection) error {
	if b.Name != nil {
		c.Name = *b.Name
	}
	if b.Strategy != nil {
		c.Strategy = *b.Strategy
	}
	if b.IsDomainConnection != nil {
		c.IsDomainConnection = *b.IsDomainConnection
	}
	if b.ShowAsButton.Sent {
		c.ShowAsButton = nil
		if show := b.ShowAsButton.Value; !b.ShowAsButton.Null {
			c.ShowAsButton = &show
		}
	}
	b.DisplayName.ApplyTo(&c.DisplayName)
	b.Options.ApplyTo(&c.Options)
	b.EnabledClients.ApplyTo(&c.EnabledClients)
	b.Realms.ApplyTo(&c.Realms)
	b.Metadata.ApplyTo(&c.Metadata)
	return nil
}

func (d *Directory) create(w http.ResponseWriter, r *http.Request, caller management.Caller) error {
	b, err := management.Decode[body](w, r)
	if err != nil {
		return err
	}
	switch {
	case b.Name == nil:
		return management.InvalidBody("name is required")
	case b.Strategy == nil:
		return management.InvalidBody("strategy is required")
	}
	c := store.Connection{TenantID: caller.TenantID}
	if err := b.applyTo(&c); err != nil {
		return err
	}
	c, err = d.Create(r.Context(), c)
	if err != nil {
		return answerable(err)
	}
	d.audit(r, caller, "connection created", c.ID)
	return management.WriteRecord(w, r, http.StatusCreated, tagOf(&c), viewOf(&c))
}

func (d *Directory) patch(w http.ResponseWriter, r *http.Request, caller management.Caller) error {
	id := pathID(r)
	if !validID(id) {
		return errInexistent
	}
	b, err := management.Decode[body](w, r)
	if err != nil {
		return err
	}
	c, err := d.Update(r.Context(), caller.TenantID, id, func(c *store.Connection) error {
		if err := management.CheckMatch(r, tagOf(c)); err != nil {
			return err
		}
		return b.applyTo(c)
	})
	if err != nil {
		return answerable(err)
	}
	d.audit(r, caller, "connection updated", c.ID)
	return management.WriteRecord(w, r, http.StatusOK, tagOf(&c), viewOf(&c))
}

func (d *Directory) delete(w http.ResponseWriter, r *http.Request, caller management.Caller) error {
	id := pathID(r)
	if !validID(id) {
		return errInexistent
	}
	if err := management.Claim(r, func() (store.Connection, error) {
		return d.stored(r.Context(), caller.TenantID, id)
	}, tagOf, func(c store.Connection) error {
		return d.cfg.Stores.Connections.UpdateConnection(r.Context(), c)
	}); err != nil {
		return err
	}
	if err := d.cfg.Stores.Connections.DeleteConnection(r.Context(), caller.TenantID, id); err != nil {
		return err
	}
	d.audit(r, caller, "connection deleted", id)
	httpx.WriteJSON(w, http.StatusAccepted, deletionView{d.now()})
	return nil
}

type deletionView struct {
	DeletedAt time.Time `json:"deleted_at"`
}

// audit records what an administrator did.
func (d *Directory) audit(r *http.Request, caller management.Caller, what, id string) {
	d.cfg.Logger.InfoContext(r.Context(), what, "tenant", caller.TenantID, "client_id", caller.ClientID, "connection", id)
	audit.Emit(r.Context(), d.cfg.Audit, audit.Event{
		Time: d.now(), TenantID: caller.TenantID, Type: audit.Management, Outcome: audit.Allowed, Actor: caller.ClientID, Subject: id, Reasons: []string{what},
	})
}
