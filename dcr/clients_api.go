package dcr

import (
	"cmp"
	"errors"
	"net/http"
	"strings"
	"time"

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
		http.MethodPost: r.cfg.Tenants.Guard().Require(tenant.ScopeUpdateClientKeys, r.postRotateSecret).Describe(management.Doc{
			Summary: "Replace a client's secret",
			Body:    secretRotation{}, Optional: true, Answer: management.Object("Client", clientView{}),
			Tagged: true, Errors: []int{404, 409},
		}),
	}
}

type secretRotation struct {
	Overlap int64 `json:"overlap"` // seconds
}

func (r *Registrar) postRotateSecret(w http.ResponseWriter, req *http.Request, caller management.Caller) error {
	id := management.PathOwner(req)
	if !validClientID(id) {
		return errNoClient
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
	c, secret, err := r.rotateSecret(req.Context(), r.administrator(req, caller), caller.TenantID, id, time.Duration(body.Overlap)*time.Second)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return errNoClient
	case errors.Is(err, ErrNoSecret):
		return management.Errorf(http.StatusBadRequest, "no_client_secret", "The client authenticates without a client secret.")
	case errors.Is(err, store.ErrConflict):
		return errClientChanging
	case err != nil:
		return err
	}
	r.audit(req, caller, "client secret replaced by an administrator", id)
	return writeClient(w, req, http.StatusOK, &c, secret)
}

// tagOf is that of the client without a secret: the answer that has one is the only one.
func tagOf(c *store.Client) management.Tag { return management.TagOf(c.Version, viewClient(c, "")) }

func writeClient(w http.ResponseWriter, req *http.Request, status int, c *store.Client, secret string) error {
	return management.WriteRecord(w, req, status, tagOf(c), viewClient(c, secret))
}

// validClientID reports whether id can be that of any client: what is not visible
// ASCII, or too long, no store is asked for.
func validClientID(id string) bool {
	return id != "" && len(id) <= maxText && !strings.ContainsFunc(id, func(c rune) bool { return c < ' ' || c > '~' })
}

// clientView is a client on the wire, with the names that SDKs of the management
// API know. Its other members are those of a registration.
type clientView struct {
	ClientID                string            `json:"client_id"`
	ClientSecret            string            `json:"client_secret,omitempty"`
	Name                    string            `json:"name,omitempty"`
	Description             string            `json:"description,omitempty"`
	AppType                 string            `json:"app_type"`
	IsFirstParty            bool              `json:"is_first_party"`
	Blocked                 bool              `json:"blocked,omitempty"`
	OIDCConformant          bool              `json:"oidc_conformant"`
	SecurityMode            string            `json:"third_party_security_mode,omitempty"`
	Callbacks               []string          `json:"callbacks"`
	AllowedLogoutURLs       []string          `json:"allowed_logout_urls"`
	WebOrigins              []string          `json:"web_origins,omitempty"`
	AllowedOrigins          []string          `json:"allowed_origins,omitempty"`
	GrantTypes              []string          `json:"grant_types"`
	ResponseTypes           []string          `json:"response_types,omitempty"`
	ApplicationType         string            `json:"application_type,omitempty"`
	Scope                   string            `json:"scope,omitempty"`
	TokenEndpointAuthMethod string            `json:"token_endpoint_auth_method,omitempty"`
	JWTConfiguration        jwtConfiguration  `json:"jwt_configuration"`
	Metadata                map[string]string `json:"client_metadata,omitempty"`
	CustomLoginPage         string            `json:"custom_login_page,omitempty"`
	CustomLoginPageOn       bool              `json:"custom_login_page_on"`

	// Dynamic says that the client registered itself. It is provisional until
	// confirmed_at.
	Dynamic        bool      `json:"dynamic"`
	RegisteredFrom string    `json:"registered_from,omitempty"`
	CreatedAt      time.Time `json:"created_at,omitzero"`
	ConfirmedAt    time.Time `json:"confirmed_at,omitzero"`
	LastUsedAt     time.Time `json:"last_used_at,omitzero"`

	*store.ClientMetadata
}

type jwtConfiguration struct {
	Algorithm string `json:"alg"`
}

func viewClient(c *store.Client, secret string) clientView {
	extra := c.Extra()
	v := clientView{
		ClientID: c.ID, ClientSecret: secret, Name: c.Name, AppType: appTypeOf(c), IsFirstParty: c.FirstParty, Blocked: c.Blocked, OIDCConformant: true,
		Callbacks: c.RedirectURIs, AllowedLogoutURLs: extra.PostLogoutRedirectURIs, GrantTypes: c.AllowedGrantTypes(),
		ApplicationType: c.ApplicationType, Scope: c.Scope, TokenEndpointAuthMethod: c.TokenEndpointAuthMethod,
		JWTConfiguration: jwtConfiguration{cmp.Or(extra.IDTokenSignedResponseAlg, "RS256")},
		Dynamic:          c.Dynamic, RegisteredFrom: c.RegisteredFrom, CreatedAt: c.CreatedAt, ConfirmedAt: c.ConfirmedAt, LastUsedAt: c.LastUsedAt,
		ClientMetadata: &extra,
	}
	extra.PostLogoutRedirectURIs = nil
	page := loginPageOf(c)
	v.CustomLoginPage, v.CustomLoginPageOn = page.HTML, page.On
	if !c.FirstParty {
		v.SecurityMode = cmp.Or(c.SecurityMode, store.ModeStrict)
	}
	if usesBrowser(c) {
		v.ResponseTypes = c.AllowedResponseTypes()
	}
	if n := c.Notes; n != nil {
		v.Description, v.Metadata, v.WebOrigins, v.AllowedOrigins = n.Description, n.Metadata, n.WebOrigins, n.AllowedOrigins
	}
	if v.Callbacks == nil {
		v.Callbacks = []string{}
	}
	if v.AllowedLogoutURLs == nil {
		v.AllowedLogoutURLs = []string{}
	}
	return v
}
