package connection

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/opkit/opkit/internal/httpx"
	"github.com/opkit/opkit/internal/management"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// EnabledClientsManagement serves the first-party clients that may use a connection,
// to administrators:
//
//	GET    /api/v2/connections/{id}/clients   read:connections     200  by checkpoint, whatever the request says
//	PATCH  /api/v2/connections/{id}/clients   update:connections   204  [{"client_id":"…","status":true}, …], 50 at most
//
// A PATCH enables the connection for the clients with status true and takes it from
// those with false, all of them or none; it leaves the others as they are. They are
// the member enabled_clients of the connection, which a PATCH of that replaces as a
// whole.
//
// The handler may be mounted under any path with the wildcard {id} or, without
// wildcards, where the identifier is the last segment but one.
func (d *Directory) EnabledClientsManagement() http.Handler {
	guard := d.cfg.Tenants.Guard()
	return management.Methods{
		http.MethodGet: guard.Require(tenant.ScopeReadConnections, d.listEnabledClients).Describe(management.Doc{
			Summary: "List the clients that a connection is enabled for",
			Answer:  management.ByCheckpoint("clients", "EnabledClient", enabledClientView{}), Errors: []int{404},
		}),
		http.MethodPatch: guard.Require(tenant.ScopeUpdateConnections, d.patchEnabledClients).Describe(management.Doc{
			Summary: "Enable a connection for clients, or not",
			Body:    []enabledClientChange{}, Status: http.StatusNoContent, Errors: []int{404, 409, 412},
		}),
	}
}

// StatusManagement serves whether people can sign in through a connection:
//
//	GET  /api/v2/connections/{id}/status   read:connections   200   they can; 404 connection_offline if not
//
// A database needs its user store, a host connection its login in Config.Hosts, an
// upstream connection a provider that says where its endpoints are. Who may use the
// connection does not matter here.
//
// The handler may be mounted as that of [Directory.EnabledClientsManagement].
func (d *Directory) StatusManagement() http.Handler {
	return management.Methods{http.MethodGet: d.cfg.Tenants.Guard().Require(tenant.ScopeReadConnections, d.getStatus).Describe(management.Doc{
		Summary: "Tell whether people can sign in through a connection",
		Answer:  management.Object("ConnectionStatus", statusView{}), Errors: []int{404},
	})}
}

var errOffline = management.Errorf(http.StatusNotFound, "connection_offline", "Nobody can sign in through the connection: this provider does not have what it needs.")

// owner returns the connection that a path names before its last segment.
func (d *Directory) owner(r *http.Request, caller management.Caller) (store.Connection, error) {
	id := management.PathOwner(r)
	if !validID(id) {
		return store.Connection{}, errInexistent
	}
	c, err := d.stored(r.Context(), caller.TenantID, id)
	return c, answerable(err)
}

type enabledClientView struct {
	ClientID string `json:"client_id"`
}

func (d *Directory) listEnabledClients(w http.ResponseWriter, r *http.Request, caller management.Caller) error {
	c, err := d.owner(r, caller)
	if err != nil {
		return err
	}
	ids := slices.Sorted(slices.Values(c.EnabledClients))
	return management.List[string]{
		Name: "clients",
		Fetch: func(_ context.Context, page store.Page) ([]string, error) {
			i, found := slices.BinarySearch(ids, page.After)
			if found {
				i++
			}
			return ids[i:min(len(ids), i+page.Size())], nil
		},
		ID:             func(id *string) string { return *id },
		View:           func(id *string) any { return enabledClientView{*id} },
		CheckpointOnly: true,
	}.Serve(w, r)
}

// maxEnabledChanges bounds one PATCH.
const maxEnabledChanges = 50

type enabledClientChange struct {
	ClientID *string `json:"client_id"`
	Status   *bool   `json:"status"`
}

func (d *Directory) patchEnabledClients(w http.ResponseWriter, r *http.Request, caller management.Caller) error {
	id := management.PathOwner(r)
	if !validID(id) {
		return errInexistent
	}
	changes, err := management.DecodeList[enabledClientChange](w, r)
	if err != nil {
		return err
	}
	if len(changes) == 0 || len(changes) > maxEnabledChanges {
		return management.InvalidBody("the request body must have 1 to %d elements", maxEnabledChanges)
	}
	enable := make(map[string]bool, len(changes))
	for i, change := range changes {
		if change.ClientID == nil || change.Status == nil {
			return management.InvalidBody("[%d] must have client_id and status", i)
		}
		if _, twice := enable[*change.ClientID]; twice {
			return management.InvalidBody("[%d].client_id is there twice", i)
		}
		enable[*change.ClientID] = *change.Status
	}
	c, err := d.Update(r.Context(), caller.TenantID, id, func(c *store.Connection) error {
		if err := management.CheckMatch(r, tagOf(c)); err != nil {
			return err
		}
		c.EnabledClients = slices.DeleteFunc(c.EnabledClients, func(client string) bool {
			_, changed := enable[client]
			return changed
		})
		for _, change := range changes {
			if *change.Status {
				c.EnabledClients = append(c.EnabledClients, *change.ClientID)
			}
		}
		slices.SortFunc(c.EnabledClients, strings.Compare)
		return nil
	})
	if err != nil {
		return answerable(err)
	}
	d.audit(r, caller, "clients of a connection changed", c.ID)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (d *Directory) getStatus(w http.ResponseWriter, r *http.Request, caller management.Caller) error {
	c, err := d.owner(r, caller)
	if err != nil {
		return err
	}
	if !d.online(r.Context(), &c) {
		return errOffline
	}
	httpx.WriteJSON(w, http.StatusOK, statusView{Online: true})
	return nil
}

type statusView struct {
	Online bool `json:"online"`
}

// online reports whether this provider has what logins through the connection need.
func (d *Directory) online(ctx context.Context, c *store.Connection) bool {
	switch c.Strategy {
	case StrategyDatabase:
		return d.cfg.Stores.Users != nil
	case StrategyHost:
		_, ok := d.hosts[c.Name]
		return ok
	}
	if !IsUpstream(c) {
		return false
	}
	t, err := d.cfg.Tenants.Tenant(ctx, c.TenantID)
	if err == nil {
		_, _, err = d.upstream(ctx, t, c)
	}
	if err != nil {
		d.cfg.Logger.WarnContext(ctx, "a connection is offline", "tenant", c.TenantID, "connection", c.ID, "err", err)
	}
	return err == nil
}
