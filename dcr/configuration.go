package dcr

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"path"
	"time"

	"github.com/opkit/opkit/audit"
	"github.com/opkit/opkit/internal/httpx"
	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/internal/ratelimit"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// This file implements RFC 7592 (OAuth 2.0 Dynamic Client Registration Management
// Protocol).

// ClientConfiguration serves GET, PUT and DELETE of /oidc/register/{client_id} to
// whoever has the registration access token of that client. It may be mounted
// under any path that ends in the wildcard {id} or, without wildcards, where the
// last segment is the identifier. Answers are
//
//	200   GET, PUT: the client information; PUT with the next token
//	204   DELETE
//	400   PUT: the errors of a registration; client_id or client_secret do not match
//	401   invalid_token, with a challenge: a wrong token and a client that does not
//	      exist are the same
//	403   access_denied: the tenant did not switch this on, whoever asks
//	404, 405, 413, 415, 429   as at registration
//
// A PUT replaces what was registered as a whole: a member that is left out is gone,
// or gets its default. It cannot change the client's identifier, its security mode
// or whose it is, nor turn a client that authenticates into one that does not. What
// it changes of what users are shown (name, logo, links) and a new redirect URI
// make consent be asked again, see [store.Client].Revision. The client secret stays
// unless the client has none yet, or an algorithm needs one that was not kept: the
// answer has it then.
//
// Each PUT replaces the token. The one before is accepted for another minute, in
// case the answer was lost: the same PUT can be sent again. A GET changes nothing.
func (r *Registrar) ClientConfiguration() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		switch req.Method {
		case http.MethodGet, http.MethodPut, http.MethodDelete:
		default:
			w.Header().Set("Allow", "GET, PUT, DELETE")
			oauth.WriteError(w, &oauth.Error{
				Code: oauth.CodeInvalidRequest, Status: http.StatusMethodNotAllowed, Description: "the method must be GET, PUT or DELETE",
			})
			return
		}
		t, err := r.tenantOf(req)
		if err == nil && r.configurationURL(t) == "" {
			// Before anything is looked up: the answer says nothing about any client.
			err = oauth.Errorf(oauth.CodeAccessDenied, "applications of this tenant cannot be managed by those who registered them")
		}
		var info *clientInformation
		if err == nil {
			info, err = r.configure(w, req, t)
		}
		switch {
		case err != nil:
			r.refuse(w, req, t, err)
		case info == nil:
			httpx.NoStore(w.Header())
			w.WriteHeader(http.StatusNoContent)
		default:
			httpx.WriteJSON(w, http.StatusOK, info)
		}
	})
}

// configure answers a request of a tenant that has this switched on; nil: there is
// nothing to say.
func (r *Registrar) configure(w http.ResponseWriter, req *http.Request, t *tenant.Tenant) (*clientInformation, error) {
	presented, err := oauth.BearerToken(req)
	if errors.Is(err, oauth.ErrNoToken) {
		err = oauth.WithCause(err, oauth.CodeInvalidToken, "the registration access token is missing, a bearer token in the Authorization header")
	}
	if err != nil {
		return nil, err
	}
	id := clientIDIn(req)
	switch req.Method {
	case http.MethodPut:
		return r.replace(w, req, t, id, presented)
	case http.MethodDelete:
		c, _, err := r.managed(req.Context(), t, id, presented)
		if err != nil {
			return nil, err
		}
		return nil, r.removeClient(req.Context(), r.registrant(req), t.ID(), c.ID)
	}
	c, _, err := r.managed(req.Context(), t, id, presented)
	if err != nil {
		return nil, err
	}
	scope, err := r.scopeOf(req.Context(), t, c)
	if err != nil {
		return nil, err
	}
	// The secret is not known here any more, only its digest; the token was just sent.
	info := r.managedInformation(t, c, "", scope, presented)
	return &info, nil
}

// clientIDIn returns the identifier in the path of a request.
func clientIDIn(req *http.Request) string {
	if id := req.PathValue("id"); id != "" {
		return id
	}
	return path.Base(req.URL.Path)
}

// replacements is how often a PUT is tried anew when the record changes under it.
const replacements = 4

// replace answers a PUT.
func (r *Registrar) replace(w http.ResponseWriter, req *http.Request, t *tenant.Tenant, id, presented string) (*clientInformation, error) {
	ctx := req.Context()
	old, retry, err := r.managed(ctx, t, id, presented)
	if err != nil {
		return nil, err
	}
	if err := r.admit(req, t); err != nil {
		return nil, err
	}
	body, err := httpx.ReadBody(w, req)
	if err != nil {
		return nil, bodyError(err)
	}
	network := ratelimit.Network(httpx.ClientAddress(req, r.cfg.TrustedProxies))
	for attempt := range replacements {
		if attempt > 0 {
			// Somebody else changed the record: a PUT with the same token, or whoever
			// notes that the client is in use.
			if old, retry, err = r.managed(ctx, t, id, presented); err != nil {
				return nil, err
			}
		}
		m, err := r.parseReplacement(ctx, t, network, body, old)
		if err != nil {
			return nil, err
		}
		next, secret := r.replaced(old, m, retry)
		token := next.issueToken(presented, retry, secret != "", r.now())
		scope, err := r.scopeOf(ctx, t, &next.Client)
		if err != nil {
			return nil, err
		}
		switch err := r.cfg.Stores.Clients.UpdateClient(ctx, next.Client); {
		case errors.Is(err, store.ErrConflict):
			continue
		case errors.Is(err, store.ErrNotFound): // deleted meanwhile
			return nil, errNotManaged
		case err != nil:
			return nil, err
		}
		r.cfg.Logger.InfoContext(ctx, "client changed by its registrant", "tenant", t.ID(), "client_id", id,
			"asks_consent_again", next.Revision != old.Revision)
		r.emit(ctx, r.registrant(req), m.accepted(audit.ClientUpdate))
		info := r.managedInformation(t, &next.Client, secret, scope, token)
		return &info, nil
	}
	return nil, oauth.Unavailable(store.ErrConflict, time.Second)
}

// parseReplacement reads and validates the body of a PUT for the client old.
func (r *Registrar) parseReplacement(ctx context.Context, t *tenant.Tenant, network netip.Prefix, body []byte, old *store.Client) (*metadata, error) {
	m := &metadata{
		client: store.Client{
			TenantID: old.TenantID, ID: old.ID, FirstParty: old.FirstParty, Dynamic: old.Dynamic, SecurityMode: old.SecurityMode,
			Notes: old.Notes,
		},
		issued:    &issuedMembers{},
		caller:    Caller{Network: network},
		wasStated: old.Extra().SoftwareStatement != "", // or what the issuer said could be taken back
	}
	if policy := old.Registration.Policy; policy != nil {
		m.policy = &InitialAccessPolicy{}
		if err := json.Unmarshal(policy, m.policy); err != nil {
			return nil, fmt.Errorf("dcr: the policy of client %s: %w", old.ID, err)
		}
	}
	if err := r.read(ctx, t, body, m); err != nil {
		return nil, err
	}
	// RFC 7592 §2.2.
	switch {
	case m.issued.clientID != old.ID:
		return nil, invalid("client_id", "client_id must be that of the application")
	case m.issued.clientSecret != "" && !old.SecretDigest.Matches(m.issued.clientSecret):
		return nil, invalid("client_secret", "client_secret is not that of the application; it cannot be chosen")
	}
	if err := r.judge(ctx, t, m, Updating); err != nil {
		return nil, err
	}
	if was := (&metadata{client: *old}); m.public() && !was.public() {
		// The tokens of a client that authenticates were given out because nobody else
		// can use them.
		return nil, invalid("token_endpoint_auth_method",
			"token_endpoint_auth_method: an application that authenticates cannot become one that does not; register another one")
	}
	// Or a client could move into the sector of another one, and learn with the
	// tokens that it has by which sub that one knows its users.
	if subjectsOf(old) != subjectsOf(&store.Client{RedirectURIs: m.client.RedirectURIs, Metadata: &m.extra}) {
		return nil, invalid("subject_type", "subject_type and the sector of a pairwise subject_type, here the host of redirect URIs or of sector_identifier_uri, cannot be changed; register another application")
	}
	return m, r.checkSectorDocument(ctx, m)
}

// subjectsOf returns what by which sub a client knows users depends on: empty if
// its subjects are public.
func subjectsOf(c *store.Client) string {
	extra := c.Extra()
	if extra.SubjectType != subjectPairwise {
		return ""
	}
	sector, _ := oauth.SectorIdentifier(extra.SectorIdentifierURI, c.RedirectURIs) // proved before
	return subjectPairwise + " " + sector
}

// replaced returns the record old with the metadata m, and the client secret if one
// is issued. What the provider decided and keeps of the client is as before.
func (r *Registrar) replaced(old *store.Client, m *metadata, retry bool) (managedClient, string) {
	next := managedClient{old.Clone()}
	c := &m.client
	next.Name, next.RedirectURIs, next.ApplicationType, next.Scope = c.Name, c.RedirectURIs, c.ApplicationType, c.Scope
	next.GrantTypes, next.ResponseTypes, next.TokenEndpointAuthMethod = c.GrantTypes, c.ResponseTypes, c.TokenEndpointAuthMethod
	next.Metadata, next.Notes = nil, c.Notes
	if m.rare {
		next.Metadata = &m.extra
	}
	if showsOtherwise(old, &next.Client) {
		next.Revision++
	}

	known, secret := m.issued.clientSecret, "" // known: what can be sealed
	switch {
	case !m.hasSecret():
		next.SecretDigest, next.PreviousSecret, known = store.Digest{}, nil, ""
	case next.SecretDigest.IsZero(),
		m.keysOnSecret() && len(next.SealedSecret) == 0 && known == "",
		retry && old.Registration.IssuedSecret && known == "":
		secret = alphanumeric(secretLength)
		next.SecretDigest, next.PreviousSecret, known = store.DigestOf(secret), nil, secret
	}
	switch {
	case !m.hasSecret() || !m.keysOnSecret():
		next.SealedSecret = nil
	case known != "":
		next.SealedSecret = r.secrets.Seal([]byte(known), next.TenantID+"/"+next.ID)
	}
	return next, secret
}
