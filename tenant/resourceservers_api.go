package tenant

import (
	"context"
	"errors"
	"math"
	"net/http"
	"time"

	"github.com/opkit/opkit/audit"
	"github.com/opkit/opkit/internal/management"
	"github.com/opkit/opkit/store"
)

// APIsHandler serves APIs, which the management API calls resource servers:
//
//	GET    /api/v2/resource-servers        read:resource_servers    200  filter identifier; the built-in API is not listed
//	POST   /api/v2/resource-servers        create:resource_servers  201  409 if the identifier is taken
//	GET    /api/v2/resource-servers/{id}   read:resource_servers    200
//	PATCH  /api/v2/resource-servers/{id}   update:resource_servers  200
//	DELETE /api/v2/resource-servers/{id}   delete:resource_servers  204  also if there is none; its client grants go too
//
// {id} is the API's id, or its identifier if that has no slash. The identifier, which
// is the audience of its tokens, never changes; a PATCH may repeat it. A PATCH
// replaces what it mentions as a whole, scopes too.
func (d *Directory) APIsHandler() http.Handler {
	return management.Resource{
		Name: apiCollection,
		Collection: management.Methods{
			http.MethodGet: d.guard.Require(ScopeReadResourceServers, d.listAPIs).Describe(management.Doc{
				Summary: "List APIs",
				Answer:  management.Paged("resource_servers", "ResourceServer", apiView{}),
				Query:   []management.Parameter{{Name: "identifier"}},
			}),
			http.MethodPost: d.guard.Require(ScopeCreateResourceServers, d.postAPI).Describe(management.Doc{
				Summary: "Create an API",
				Body:    apiBody{}, Required: []string{"identifier"}, Status: http.StatusCreated,
				Answer: management.Object("ResourceServer", apiView{}), Tagged: true, Errors: []int{409},
			}),
		},
		One: management.Methods{
			http.MethodGet: d.guard.Require(ScopeReadResourceServers, d.getAPI).Describe(management.Doc{
				Summary: "Read an API",
				Answer:  management.Object("ResourceServer", apiView{}), Tagged: true, Errors: []int{404},
			}),
			http.MethodPatch: d.guard.Require(ScopeUpdateResourceServers, d.patchAPI).Describe(management.Doc{
				Summary: "Change an API",
				Body:    apiBody{}, Answer: management.Object("ResourceServer", apiView{}), Tagged: true,
				Errors: []int{404, 409},
			}),
			http.MethodDelete: d.guard.Require(ScopeDeleteResourceServers, d.deleteAPI).Describe(management.Doc{
				Summary: "Delete an API and the client grants for it",
				Status:  http.StatusNoContent, Tagged: true,
			}),
		},
	}
}

const apiCollection = "resource-servers"

var (
	errNoAPI       = management.Errorf(http.StatusNotFound, "inexistent_resource_server", "The resource server does not exist.")
	errAPITaken    = management.Errorf(http.StatusConflict, "resource_server_conflict", "A resource server with the same identifier already exists.")
	errAPIChanging = management.Errorf(http.StatusConflict, "resource_server_changed", "The resource server was changed at the same time, try again.")
)

// answerableAPI turns the errors that an administrator may read into answers.
func answerableAPI(err error) error {
	if broken, ok := errors.AsType[*memberError](err); ok {
		return management.InvalidBody("%s", broken.Error())
	}
	switch {
	case errors.Is(err, store.ErrNotFound):
		return errNoAPI
	case errors.Is(err, store.ErrExists):
		return errAPITaken
	case errors.Is(err, store.ErrConflict):
		return errAPIChanging
	}
	return err
}

// apiView is an API on the wire.
type apiView struct {
	ID                 string            `json:"id"`
	Name               string            `json:"name,omitempty"`
	Identifier         string            `json:"identifier"`
	IsSystem           bool              `json:"is_system"`
	Scopes             []store.APIScope  `json:"scopes"`
	SigningAlgorithm   string            `json:"signing_alg"`
	TokenLifetime      int64             `json:"token_lifetime"` // seconds
	AllowOfflineAccess bool              `json:"allow_offline_access"`
	SkipConsent        bool              `json:"skip_consent_for_verifiable_first_party_clients"`
	Authorization      subjectTypeAccess `json:"subject_type_authorization"`
}

// subjectTypeAccess is who may ask for an API's scopes, by whom the token is for.
type subjectTypeAccess struct {
	User   accessPolicy `json:"user"`
	Client accessPolicy `json:"client"`
}

type accessPolicy struct {
	Policy string `json:"policy"`
}

func viewAPI(a *store.API) apiView {
	v := apiView{
		ID: a.ID, Name: a.Name, Identifier: a.Audience, IsSystem: a.ID == managementAPIID, Scopes: a.Scopes,
		SigningAlgorithm: a.SigningAlgorithm, TokenLifetime: int64(a.TokenLifetime / time.Second),
		AllowOfflineAccess: !a.DisallowOfflineAccess, SkipConsent: a.SkipFirstPartyConsent,
		Authorization: subjectTypeAccess{accessPolicy{a.UserPolicy}, accessPolicy{a.ClientPolicy}},
	}
	if v.Scopes == nil {
		v.Scopes = []store.APIScope{}
	}
	return v
}

// apiBody is what an administrator sends. null resets a member to its default.
type apiBody struct {
	Identifier         *string                               `json:"identifier"`
	Name               management.Nullable[string]           `json:"name"`
	Scopes             management.Nullable[[]store.APIScope] `json:"scopes"`
	SigningAlgorithm   management.Nullable[string]           `json:"signing_alg"`
	TokenLifetime      management.Nullable[int64]            `json:"token_lifetime"`
	AllowOfflineAccess *bool                                 `json:"allow_offline_access"`
	SkipConsent        *bool                                 `json:"skip_consent_for_verifiable_first_party_clients"`
	Authorization      *struct {
		User   *accessPolicy `json:"user"`
		Client *accessPolicy `json:"client"`
	} `json:"subject_type_authorization"`
}

// applyTo changes what the body mentions. What it writes is checked as a whole later;
// here is refused what the record would take for "default".
func (b *apiBody) applyTo(a *store.API) error {
	if b.Identifier != nil {
		a.Audience = *b.Identifier
	}
	b.Name.ApplyTo(&a.Name)
	b.Scopes.ApplyTo(&a.Scopes)
	if b.SigningAlgorithm.Sent {
		if a.SigningAlgorithm = b.SigningAlgorithm.Value; b.SigningAlgorithm.Null {
			a.SigningAlgorithm = defaultAPIAlgorithm
		}
	}
	if b.TokenLifetime.Sent {
		seconds := b.TokenLifetime.Value
		if seconds < 1 || seconds > math.MaxInt64/int64(time.Second) {
			seconds = -1 // which the check refuses, by name
		}
		if a.TokenLifetime = time.Duration(seconds) * time.Second; b.TokenLifetime.Null {
			a.TokenLifetime = defaultTokenLifetime
		}
	}
	if a.SigningAlgorithm == "" {
		return checkAlgorithm(a.SigningAlgorithm)
	}
	if b.AllowOfflineAccess != nil {
		a.DisallowOfflineAccess = !*b.AllowOfflineAccess
	}
	if b.SkipConsent != nil {
		a.SkipFirstPartyConsent = *b.SkipConsent
	}
	if b.Authorization != nil {
		if b.Authorization.User != nil {
			a.UserPolicy = b.Authorization.User.Policy
		}
		if b.Authorization.Client != nil {
			a.ClientPolicy = b.Authorization.Client.Policy
		}
	}
	return checkPolicies(a)
}

func (d *Directory) listAPIs(w http.ResponseWriter, r *http.Request, caller management.Caller) error {
	identifiers := r.URL.Query()["identifier"]
	if len(identifiers) > 1 {
		return management.InvalidQuery("identifier appears more than once")
	}
	return management.List[store.API]{
		Name: "resource_servers",
		Fetch: func(ctx context.Context, page store.Page) ([]store.API, error) {
			return d.cfg.Stores.APIs.APIs(ctx, caller.TenantID, page)
		},
		ID:    func(a *store.API) string { return a.ID },
		Match: func(a *store.API) bool { return len(identifiers) == 0 || a.Audience == identifiers[0] },
		View:  func(a *store.API) any { return viewAPI(a) },
	}.Serve(w, r)
}

// pathAPI returns the API that a path names by its id or its audience. The built-in
// one can be read, not changed.
func (d *Directory) pathAPI(r *http.Request, caller management.Caller) (store.API, error) {
	id := management.PathID(r, apiCollection)
	if id == "" || len(id) > maxAudience {
		return store.API{}, errNoAPI
	}
	api, err := d.cfg.Uncached.APIs.API(r.Context(), caller.TenantID, id)
	if !errors.Is(err, store.ErrNotFound) {
		return api, err
	}
	t, err := d.Tenant(r.Context(), caller.TenantID)
	if err != nil {
		return store.API{}, err
	}
	if id == managementAPIID {
		id = t.ManagementAudience()
	}
	api, err = d.API(r.Context(), t, id)
	if err == nil && api.ID != managementAPIID {
		api, err = d.cfg.Uncached.APIs.API(r.Context(), caller.TenantID, api.ID)
	}
	return api, answerableAPI(err)
}

func tagOfAPI(a *store.API) management.Tag { return management.TagOf(a.Version, viewAPI(a)) }

func (d *Directory) getAPI(w http.ResponseWriter, r *http.Request, caller management.Caller) error {
	api, err := d.pathAPI(r, caller)
	if err != nil {
		return err
	}
	return management.WriteRecord(w, r, http.StatusOK, tagOfAPI(&api), viewAPI(&api))
}

func (d *Directory) postAPI(w http.ResponseWriter, r *http.Request, caller management.Caller) error {
	body, err := management.Decode[apiBody](w, r)
	if err != nil {
		return err
	}
	if body.Identifier == nil {
		return management.InvalidBody("identifier is required")
	}
	// Lasting access is what an administrator switches on, as in other products that
	// have this API.
	api := store.API{
		TenantID: caller.TenantID, SigningAlgorithm: defaultAPIAlgorithm, TokenLifetime: defaultTokenLifetime,
		UserPolicy: store.PolicyRequireClientGrant, ClientPolicy: store.PolicyRequireClientGrant, DisallowOfflineAccess: true,
	}
	if err := body.applyTo(&api); err != nil {
		return answerableAPI(err)
	}
	if api, err = d.CreateAPI(r.Context(), api); err != nil {
		return answerableAPI(err)
	}
	d.audit(r, caller, "API created", api.ID)
	return management.WriteRecord(w, r, http.StatusCreated, tagOfAPI(&api), viewAPI(&api))
}

var errSystemAPI = management.Errorf(http.StatusForbidden, "system_resource_server", "The management API cannot be changed.")

func (d *Directory) patchAPI(w http.ResponseWriter, r *http.Request, caller management.Caller) error {
	body, err := management.Decode[apiBody](w, r)
	if err != nil {
		return err
	}
	api, err := d.pathAPI(r, caller)
	if err != nil {
		return err
	}
	if api.ID == managementAPIID {
		return errSystemAPI
	}
	if api, err = d.UpdateAPI(r.Context(), caller.TenantID, api.ID, func(a *store.API) error {
		if err := management.CheckMatch(r, tagOfAPI(a)); err != nil {
			return err
		}
		return body.applyTo(a)
	}); err != nil {
		return answerableAPI(err)
	}
	d.audit(r, caller, "API updated", api.ID)
	return management.WriteRecord(w, r, http.StatusOK, tagOfAPI(&api), viewAPI(&api))
}

func (d *Directory) deleteAPI(w http.ResponseWriter, r *http.Request, caller management.Caller) error {
	api, err := d.pathAPI(r, caller)
	switch {
	case err == errNoAPI:
		return management.WriteAbsent(w, r)
	case err != nil:
		return err
	case api.ID == managementAPIID:
		return errSystemAPI
	}
	if err := management.Claim(r, func() (store.API, error) {
		return d.cfg.Uncached.APIs.API(r.Context(), caller.TenantID, api.ID)
	}, tagOfAPI, func(a store.API) error {
		return d.cfg.Stores.APIs.UpdateAPI(r.Context(), a)
	}); err != nil {
		return err
	}
	if err := d.DeleteAPI(r.Context(), caller.TenantID, api.ID); err != nil {
		return err
	}
	d.audit(r, caller, "API deleted", api.ID)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// audit records what an administrator did.
func (d *Directory) audit(r *http.Request, caller management.Caller, what, id string) {
	d.cfg.Logger.InfoContext(r.Context(), what, "tenant", caller.TenantID, "client_id", caller.ClientID, "id", id)
	audit.Emit(r.Context(), d.cfg.Audit, audit.Event{
		Time: d.now(), TenantID: caller.TenantID, Type: audit.Management, Outcome: audit.Allowed, Actor: caller.ClientID, Subject: id, Reasons: []string{what},
	})
}
