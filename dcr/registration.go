package dcr

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"

	"github.com/opkit/opkit/audit"
	"github.com/opkit/opkit/internal/httpx"
	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/internal/ratelimit"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// This file implements the client registration endpoint of RFC 7591 §3 and OpenID
// Connect Dynamic Client Registration §3.

// Registration serves POST /oidc/register. Answers are 201 with the client
// information, or the JSON errors of RFC 7591 §3.2.2:
//
//	400 invalid_redirect_uri      redirect_uris is missing or breaks a rule
//	400 invalid_client_metadata   anything else that was sent breaks a rule
//	400 invalid_software_statement, unapproved_software_statement
//	                              where a [SoftwareIssuer] is trusted
//	401 invalid_token             an initial access token that does not hold, with a
//	                              challenge, or none where the tenant asks for one
//	403 access_denied             the tenant did not switch registration on
//	404, 405, 413, 415            invalid_request: no tenant here; not POST; more
//	                              than 64 KiB; not application/json
//	429 temporarily_unavailable   too many attempts, or too many applications that
//	                              nobody has used yet, with Retry-After
func (r *Registrar) Registration() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Method != http.MethodPost {
			w.Header().Set("Allow", http.MethodPost)
			oauth.WriteError(w, &oauth.Error{Code: oauth.CodeInvalidRequest, Status: http.StatusMethodNotAllowed, Description: "the method must be POST"})
			return
		}
		t, err := r.tenantOf(req)
		var info *clientInformation
		if err == nil {
			info, err = r.register(w, req, t)
		}
		if err != nil {
			r.refuse(w, req, t, err)
			return
		}
		httpx.WriteJSON(w, http.StatusCreated, info)
	})
}

// register goes from what costs nothing to what costs more.
func (r *Registrar) register(w http.ResponseWriter, req *http.Request, t *tenant.Tenant) (*clientInformation, error) {
	if !t.Settings().Flags.EnableDynamicClientRegistration {
		return nil, oauth.Errorf(oauth.CodeAccessDenied, "dynamic client registration is not enabled for this tenant")
	}
	if err := r.admit(req, t); err != nil {
		return nil, err
	}
	access, err := r.access(req, t)
	if err != nil {
		return nil, err
	}
	body, err := httpx.ReadBody(w, req)
	if err != nil {
		return nil, bodyError(err)
	}
	address := httpx.ClientAddress(req, r.cfg.TrustedProxies)
	m := &metadata{client: store.Client{TenantID: t.ID(), Dynamic: true, SecurityMode: mode(t), RegisteredFrom: registeredFrom(address)}}
	m.caller.Network = ratelimit.Network(address)
	if access != nil {
		access.Policy.begin(m)
		m.caller.InitialAccessToken = access.ID
	}
	if err := r.read(req.Context(), t, body, m); err != nil {
		return nil, err
	}
	if err := r.judge(req.Context(), t, m, Registering); err != nil {
		return nil, err
	}
	if access == nil {
		if err := r.admitHosts(req, t, m.client.RedirectURIs); err != nil {
			return nil, err
		}
	}
	// Before the client exists: what fails must leave nothing behind.
	scope, err := r.scopeOf(req.Context(), t, &m.client)
	if err != nil {
		return nil, err
	}
	// Last of all, when nothing else is wrong: this sends a request for a stranger.
	if err := r.checkSectorDocument(req.Context(), m); err != nil {
		return nil, err
	}
	reusable := r.reusable(t, m, access)
	if reusable {
		if again, err := r.registeredBefore(req, m, scope); again != nil || err != nil {
			return again, err
		}
	}
	if access == nil { // whoever was invited does not wait for strangers
		room, err := r.makeRoom(req.Context(), t.ID())
		if err != nil {
			return nil, err
		}
		defer r.ceiling.done(room)
	}
	token := ""
	if r.configurationURL(t) != "" {
		managed := managedClient{m.client}
		token = managed.issueToken("", false, false, r.now())
		m.client = managed.Client
		if m.policy != nil {
			if m.client.Registration.Policy, err = json.Marshal(m.policy); err != nil {
				return nil, err
			}
		}
	}
	secret, err := r.createWith(req.Context(), m, access)
	if reusable && errors.Is(err, store.ErrExists) { // at the same time
		if again, err := r.registeredBefore(req, m, scope); again != nil || err != nil {
			return again, err
		}
		secret, err = r.createWith(req.Context(), m, access)
	}
	if err != nil {
		return nil, err
	}
	by := r.registrant(req)
	if access != nil {
		r.emit(req.Context(), by, audit.Event{
			TenantID: t.ID(), Type: audit.InitialAccessTokenUse, Outcome: audit.Allowed, ClientID: m.client.ID, Subject: access.ID.String(),
		})
	}
	r.emit(req.Context(), by, m.accepted(audit.ClientRegistration))
	info := newClientInformation(&m.client, secret, scope)
	if token != "" {
		info = r.managedInformation(t, &m.client, secret, scope, token)
	}
	if reusable {
		info.ClientIDIssuedAt = 0 // as later, so that the first answer looks like all
	}
	return &info, nil
}

// registeredBefore answers a registration with the client that the application has,
// nil if it has none.
func (r *Registrar) registeredBefore(req *http.Request, m *metadata, scope string) (*clientInformation, error) {
	m.client.ID = ""
	record, err := r.reuse(req.Context(), m)
	if record == nil || err != nil {
		return nil, err
	}
	m.client.ID = record.ID
	if m.rare {
		m.client.Metadata = &m.extra
	}
	return r.reused(req.Context(), r.registrant(req), m, scope), nil
}

// read reads a registration into m, and what a trusted issuer says of it.
func (r *Registrar) read(ctx context.Context, t *tenant.Tenant, body []byte, m *metadata) error {
	if r.software.any(t) {
		m.statement = new(string)
	}
	if err := decode(body, m); err != nil {
		return err
	}
	return r.applyStatement(ctx, t, m)
}

// tenantOf returns the tenant of a request.
func (r *Registrar) tenantOf(req *http.Request) (*tenant.Tenant, error) {
	t, err := r.cfg.Tenants.FromRequest(req)
	if errors.Is(err, store.ErrNotFound) {
		return nil, &oauth.Error{Code: oauth.CodeInvalidRequest, Status: http.StatusNotFound, Description: "there is no issuer at this address"}
	}
	return t, err
}

// mode returns the security mode of clients that register now. Only the one exact
// word loosens it.
func mode(t *tenant.Tenant) string {
	if t.Settings().DynamicClientRegistrationSecurityMode == store.ModePermissive {
		return store.ModePermissive
	}
	return store.ModeStrict
}

func bodyError(err error) error {
	e, ok := errors.AsType[*httpx.BodyError](err)
	switch {
	case !ok:
		return err
	case e.Status == http.StatusBadRequest:
		return oauth.Errorf(oauth.CodeInvalidClientMetadata, "%s", e.Reason)
	}
	return &oauth.Error{Code: oauth.CodeInvalidRequest, Status: e.Status, Description: e.Reason}
}

// validate checks m and brings it into the form in which it is stored. The client's
// tenant and security mode are set.
func (r *Registrar) validate(ctx context.Context, m *metadata) error {
	if err := m.policy.prepare(m); err != nil {
		return err
	}
	if err := m.checkTexts(); err != nil {
		return err
	}
	if err := m.checkAuthMethod(); err != nil {
		return err
	}
	if err := m.checkFlows(); err != nil {
		return err
	}
	if err := m.checkRedirects(&r.cfg.Redirects); err != nil {
		return err
	}
	if err := m.checkURIs(); err != nil {
		return err
	}
	if err := m.checkAlgorithms(r.cfg.InsecureUnsignedIDTokens); err != nil {
		return err
	}
	if err := m.checkSector(); err != nil {
		return err
	}
	if err := m.checkKeys(); err != nil {
		return err
	}
	if err := r.checkScope(ctx, m); err != nil {
		return err
	}
	return m.policy.check(m)
}

// createWith creates the client of a registration with what permits it, nil if
// everybody may. A use is taken before, so that there are never more clients than
// uses, and given back if it then turns out that there is no client.
func (r *Registrar) createWith(ctx context.Context, m *metadata, access *InitialAccessToken) (string, error) {
	if access == nil {
		secret, err := r.create(ctx, m, "")
		if err == nil {
			r.cfg.Logger.InfoContext(ctx, "client registered", "tenant", m.client.TenantID, "client_id", m.client.ID)
		}
		return secret, err
	}
	if err := r.claim(ctx, access); err != nil {
		return "", err
	}
	secret, err := r.create(ctx, m, "")
	if err != nil {
		r.giveBack(ctx, access, m.client.ID)
		return "", err
	}
	r.cfg.Logger.InfoContext(ctx, "client registered", "tenant", m.client.TenantID, "client_id", m.client.ID,
		"initial_access_token", access.ID, "first_party", m.client.FirstParty)
	return secret, nil
}

// create gives m an identifier, unless it has one, and a secret, if its way to
// authenticate needs one, and stores it. An empty secret is generated.
func (r *Registrar) create(ctx context.Context, m *metadata, secret string) (string, error) {
	c := &m.client
	if m.rare {
		c.Metadata = &m.extra
	}
	c.CreatedAt = r.now()
	switch {
	case !m.hasSecret():
		secret = ""
	case secret == "":
		secret = alphanumeric(secretLength)
	}
	if secret != "" {
		c.SecretDigest = store.DigestOf(secret)
	}
	chosen := c.ID != ""
	for attempt := 0; ; attempt++ {
		if !chosen {
			c.ID = alphanumeric(idLength)
			if c.Strict() {
				c.ID = strictPrefix + c.ID
			}
		}
		if secret != "" && m.keysOnSecret() {
			c.SealedSecret = r.secrets.Seal([]byte(secret), c.TenantID+"/"+c.ID)
		}
		err := r.cfg.Stores.Clients.CreateClient(ctx, *c)
		// 190 random bits collide in a store that is broken, or never.
		if errors.Is(err, store.ErrExists) && !chosen && attempt < 2 {
			continue
		}
		if err != nil {
			return "", err
		}
		return secret, nil
	}
}

// registeredFrom returns what is kept of the address of whoever registers, for as long
// as the client lives: the network of a provider or a site, not a person's line. The
// event of the registration has the address itself, for as long as events are kept.
func registeredFrom(address netip.Addr) string {
	bits := 24
	if address.Is6() {
		bits = 48
	}
	network, err := address.Prefix(bits)
	if err != nil { // it is not known
		return ""
	}
	return network.String()
}
