package dcr

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/opkit/opkit/internal/management"
	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// Management serves clients to administrators:
//
//	GET    /api/v2/clients        read:clients    200  filters is_first_party, app_type, dynamic
//	POST   /api/v2/clients        create:clients  201  with the client_secret, if there is one
//	GET    /api/v2/clients/{id}   read:clients    200
//	PATCH  /api/v2/clients/{id}   update:clients  200  with the client_secret, if there is a new one
//	DELETE /api/v2/clients/{id}   delete:clients  204  also if there is none; everything it holds goes too
//
// Members have the names that management SDKs know (name, callbacks,
// allowed_logout_urls), and those of a registration (RFC 7591 §2) for everything else.
// A POST without is_first_party creates a first-party client. Secrets are kept as
// digests: none is shown but when it is made.
//
// A client with blocked true is out of service. Clients that registered themselves are listed with the member dynamic. A PATCH with
// is_first_party makes one of them first party; third_party_security_mode never
// changes.
//
// The handler may be mounted under any path that ends in the wildcard {id} or,
// without wildcards, where the last segment is "clients" or the identifier.
func (r *Registrar) Management() http.Handler {
	guard := r.cfg.Tenants.Guard()
	return management.Resource{
		Name: clientCollection,
		Collection: management.Methods{
			http.MethodGet: guard.Require(tenant.ScopeReadClients, r.listClients).Describe(management.Doc{
				Summary: "List clients",
				Answer:  management.Paged(clientCollection, "Client", clientView{}),
				Query:   []management.Parameter{{Name: "is_first_party", Values: []string{"true", "false"}}, {Name: "dynamic", Values: []string{"true", "false"}}, {Name: "app_type", Values: appTypes}},
			}),
			http.MethodPost: guard.Require(tenant.ScopeCreateClients, r.postClient).Describe(management.Doc{
				Summary: "Create a client",
				Body:    clientBody(), Required: []string{"name"}, Status: http.StatusCreated,
				Answer: management.Object("Client", clientView{}), Tagged: true,
			}),
		},
		One: management.Methods{
			http.MethodGet: guard.Require(tenant.ScopeReadClients, r.getClient).Describe(management.Doc{
				Summary: "Read a client",
				Answer:  management.Object("Client", clientView{}), Tagged: true, Errors: []int{404},
			}),
			http.MethodPatch: guard.Require(tenant.ScopeUpdateClients, r.patchClient).Describe(management.Doc{
				Summary: "Change a client",
				Body:    clientBody(), Answer: management.Object("Client", clientView{}), Tagged: true,
				Errors: []int{404, 409},
			}),
			http.MethodDelete: guard.Require(tenant.ScopeDeleteClients, r.deleteClient).Describe(management.Doc{
				Summary: "Delete a client and what it holds",
				Status:  http.StatusNoContent, Tagged: true,
			}),
		},
	}
}

const clientCollection = "clients"

var (
	errNoClient       = management.Errorf(http.StatusNotFound, "inexistent_client", "The client does not exist.")
	errClientChanging = management.Errorf(http.StatusConflict, "client_changed", "The client was changed at the same time, try again.")
)

// answerable turns the errors that an administrator may read into answers.
func answerable(err error) error {
	switch {
	case errors.Is(err, store.ErrNotFound):
		return errNoClient
	case errors.Is(err, store.ErrConflict):
		return errClientChanging
	}
	if broken, ok := errors.AsType[*oauth.Error](err); ok && !oauth.Internal(err) {
		text := broken.Description
		for ours, registered := range registrationNames {
			if rest, ok := strings.CutPrefix(text, registered); ok {
				text = ours + rest
				break
			}
		}
		return management.InvalidBody("%s", text)
	}
	return err
}

// clientInPath returns the identifier in a request's path.
func clientInPath(req *http.Request) (string, error) {
	id := management.PathID(req, clientCollection)
	if !validClientID(id) {
		return "", errNoClient
	}
	return id, nil
}

func (r *Registrar) listClients(w http.ResponseWriter, req *http.Request, caller management.Caller) error {
	query := req.URL.Query()
	filters := map[string]string{}
	for name, values := range map[string][]string{"is_first_party": {"true", "false"}, "dynamic": {"true", "false"}, "app_type": appTypes} {
		if !query.Has(name) {
			continue
		}
		filters[name] = query.Get(name)
		if len(query[name]) > 1 {
			return management.InvalidQuery("%s appears more than once", name)
		}
		known := false
		for _, value := range values {
			known = known || value == filters[name]
		}
		if !known {
			return management.InvalidQuery("%s must be one of %s", name, strings.Join(values, ", "))
		}
	}
	matches := func(name string, is bool) bool {
		want, ok := filters[name]
		return !ok || (want == "true") == is
	}
	return management.List[store.Client]{
		Name: clientCollection,
		Fetch: func(ctx context.Context, page store.Page) ([]store.Client, error) {
			return r.cfg.Stores.Clients.Clients(ctx, caller.TenantID, page)
		},
		ID: func(c *store.Client) string { return c.ID },
		Match: func(c *store.Client) bool {
			appType, ok := filters["app_type"]
			return matches("is_first_party", c.FirstParty) && matches("dynamic", c.Dynamic) && (!ok || appType == appTypeOf(c))
		},
		View: func(c *store.Client) any { return viewClient(c, "") },
	}.Serve(w, req)
}

func (r *Registrar) getClient(w http.ResponseWriter, req *http.Request, caller management.Caller) error {
	id, err := clientInPath(req)
	if err != nil {
		return err
	}
	c, err := r.uncached.Client(req.Context(), caller.TenantID, id)
	if err != nil {
		return answerable(err)
	}
	return writeClient(w, req, http.StatusOK, &c, "")
}

func (r *Registrar) postClient(w http.ResponseWriter, req *http.Request, caller management.Caller) error {
	sent, err := management.DecodeMembers(w, req)
	if err != nil {
		return err
	}
	members := clientMembers(sent)
	c := store.Client{TenantID: caller.TenantID, FirstParty: true}
	if err := members.apply(&c); err != nil {
		return answerable(err)
	}
	if _, ok := members["name"]; !ok {
		return management.InvalidBody("name is required")
	}
	switch {
	case c.FirstParty && c.SecurityMode != "":
		return management.InvalidBody("third_party_security_mode is for clients with is_first_party false")
	case c.SecurityMode != "" && c.SecurityMode != store.ModeStrict && c.SecurityMode != store.ModePermissive:
		return management.InvalidBody("third_party_security_mode must be %q or %q", store.ModeStrict, store.ModePermissive)
	}
	members.describe(&c)
	c, secret, err := r.createClient(req.Context(), r.administrator(req, caller), c, "")
	if err != nil {
		return answerable(err)
	}
	r.audit(req, caller, "client created by an administrator", c.ID)
	return writeClient(w, req, http.StatusCreated, &c, secret)
}

func (r *Registrar) patchClient(w http.ResponseWriter, req *http.Request, caller management.Caller) error {
	id, err := clientInPath(req)
	if err != nil {
		return err
	}
	sent, err := management.DecodeMembers(w, req)
	if err != nil {
		return err
	}
	c, secret, err := r.updateClient(req.Context(), r.administrator(req, caller), caller.TenantID, id, func(c *store.Client) error {
		if err := management.CheckMatch(req, tagOf(c)); err != nil {
			return err
		}
		return clientMembers(sent).apply(c)
	})
	if err != nil {
		return answerable(err)
	}
	r.audit(req, caller, "client changed by an administrator", id)
	return writeClient(w, req, http.StatusOK, &c, secret)
}

func (r *Registrar) deleteClient(w http.ResponseWriter, req *http.Request, caller management.Caller) error {
	id, err := clientInPath(req)
	if err != nil {
		return management.WriteAbsent(w, req)
	}
	if err := management.Claim(req, func() (store.Client, error) {
		return r.uncached.Client(req.Context(), caller.TenantID, id)
	}, tagOf, func(c store.Client) error {
		return r.cfg.Stores.Clients.UpdateClient(req.Context(), c)
	}); err != nil {
		return err
	}
	if err := r.removeClient(req.Context(), r.administrator(req, caller), caller.TenantID, id); err != nil {
		return err
	}
	r.audit(req, caller, "client deleted by an administrator", id)
	w.WriteHeader(http.StatusNoContent)
	return nil
}
