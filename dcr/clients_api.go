package dcr

import (
	"errors"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/opkit/opkit/internal/httpx"
	"github.com/opkit/opkit/internal/management"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// ClientSecretRotation serves the replacement of client secrets to administrators:
//
//	POST /api/v2/clients/{id}/rotate-secret   update:client_keys   200   the client with its new client_secret
//
// The body is empty, or {"overlap": seconds}: for so long the secret that is
// replaced is still accepted, not at all by default. 404 if there is no such
// client, 400 if it has no secret, 409 if somebody else replaced it meanwhile.
//
// The handler may be mounted under any path with the wildcard {id} or, without
// wildcards, where the identifier is the last segment but one.
func (r *Registrar) ClientSecretRotation() http.Handler {
	return management.Methods{
		http.MethodPost: r.cfg.Tenants.Guard().Require(tenant.ScopeUpdateClientKeys, r.postRotateSecret),
	}
}

type secretRotation struct {
	Overlap int64 `json:"overlap"` // seconds
}

func (r *Registrar) postRotateSecret(w http.ResponseWriter, req *http.Request, caller management.Caller) error {
	id := req.PathValue("id")
	if id == "" {
		id = path.Base(path.Dir(req.URL.Path))
	}
	inexistent := management.Errorf(http.StatusNotFound, "inexistent_client", "The client does not exist.")
	if !validClientID(id) {
		return inexistent
	}
	var body secretRotation
	if req.ContentLength != 0 {
		var err error
		if body, err = management.Decode[secretRotation](w, req); err != nil {
			return err
		}
	}
	if body.Overlap < 0 || body.Overlap > int64(MaxSecretOverlap/time.Second) {
		return management.InvalidBody("overlap must be a number of seconds from 0 to %d", int64(MaxSecretOverlap/time.Second))
	}
	c, secret, err := r.RotateSecret(req.Context(), caller.TenantID, id, time.Duration(body.Overlap)*time.Second)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return inexistent
	case errors.Is(err, ErrNoSecret):
		return management.Errorf(http.StatusBadRequest, "no_client_secret", "The client authenticates without a client secret.")
	case errors.Is(err, store.ErrConflict):
		return management.Errorf(http.StatusConflict, "client_changed", "The client was changed at the same time, try again.")
	case err != nil:
		return err
	}
	r.audit(req, caller, "client secret replaced by an administrator", id)
	httpx.WriteJSON(w, http.StatusOK, viewClient(&c, secret))
	return nil
}

// validClientID reports whether id can be that of any client: what is not visible
// ASCII, or too long, no store is asked for.
func validClientID(id string) bool {
	return id != "" && len(id) <= maxText && !strings.ContainsFunc(id, func(c rune) bool { return c < ' ' || c > '~' })
}

// clientView is a client on the wire, with the names that SDKs of the management
// API know.
type clientView struct {
	ClientID                string   `json:"client_id"`
	ClientSecret            string   `json:"client_secret,omitempty"`
	Name                    string   `json:"name,omitempty"`
	LogoURI                 string   `json:"logo_uri,omitempty"`
	IsFirstParty            bool     `json:"is_first_party"`
	SecurityMode            string   `json:"third_party_security_mode,omitempty"`
	Callbacks               []string `json:"callbacks"`
	AllowedLogoutURLs       []string `json:"allowed_logout_urls"`
	GrantTypes              []string `json:"grant_types"`
	TokenEndpointAuthMethod string   `json:"token_endpoint_auth_method,omitempty"`
	InitiateLoginURI        string   `json:"initiate_login_uri,omitempty"`
}

func viewClient(c *store.Client, secret string) clientView {
	extra := c.Extra()
	v := clientView{
		ClientID: c.ID, ClientSecret: secret, Name: c.Name, LogoURI: extra.LogoURI, IsFirstParty: c.FirstParty, SecurityMode: c.SecurityMode,
		Callbacks: c.RedirectURIs, AllowedLogoutURLs: extra.PostLogoutRedirectURIs, GrantTypes: c.AllowedGrantTypes(),
		TokenEndpointAuthMethod: c.TokenEndpointAuthMethod, InitiateLoginURI: extra.InitiateLoginURI,
	}
	if v.Callbacks == nil {
		v.Callbacks = []string{}
	}
	if v.AllowedLogoutURLs == nil {
		v.AllowedLogoutURLs = []string{}
	}
	return v
}
