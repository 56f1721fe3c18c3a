package authorize

import (
	"errors"
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/opkit/opkit/authorize/lock"
	"github.com/opkit/opkit/connection"
	"github.com/opkit/opkit/internal/httpx"
	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// lockLoginPath is where Lock looks for the login below its domain.
const lockLoginPath = "/usernamepassword/login"

// customPage returns the login page that the client or the tenant has, empty if it is
// the built-in one.
func (a *Authorizer) customPage(q *request) string {
	// A user who looks at their own account comes from no application.
	if q.account || a.cfg.Tenants.Endpoints().LockLogin == tenant.NotMounted {
		return ""
	}
	if page := q.client.LoginPage; page != nil && page.On && page.HTML != "" {
		return page.HTML
	}
	if page := &q.tenant.Settings().LoginPage; page.On {
		return page.HTML
	}
	return ""
}

// showLock answers with a custom login page.
func (a *Authorizer) showLock(w http.ResponseWriter, r *http.Request, q *request, html string, usable []store.Connection) {
	tx := transaction{Step: stepLock, CSRF: randomValue(), IntState: randomValue()}
	cfg := &lock.Config{
		ClientID: q.client.ID, Domain: a.lockDomain(q.tenant), CallbackURL: q.redirectURI,
		CallbackOnLocationHash: q.responseMode == modeFragment, IsThirdPartyClient: !q.client.FirstParty,
		Prompt: q.params.Get("prompt"), ExtraParams: map[string]string{},
		InternalOptions: lock.InternalOptions{
			Protocol: "oauth2", ResponseType: q.params.Get("response_type"), Scope: q.scope.String(), Nonce: q.nonce,
			State: a.seal(w, r, q, tx), CSRF: tx.CSRF, IntState: tx.IntState,
		},
		AuthorizationServer: lock.AuthorizationServer{Issuer: q.tenant.Issuer()},
	}
	cfg.Dict.SignIn.Title = tenantInfo(q.tenant).Name
	if slices.ContainsFunc(usable, func(c store.Connection) bool { return c.Name == q.connection }) {
		cfg.Connection = q.connection
	}
	if q.loginHint != "" {
		cfg.ExtraParams["login_hint"] = q.loginHint
	}
	page := lock.Render(html, cfg)
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Content-Security-Policy", page.Policy())
	w.Write([]byte(page.HTML()))
}

// lockDomain returns what Lock takes for the domain: what precedes the paths that it
// calls.
func (a *Authorizer) lockDomain(t *tenant.Tenant) string {
	_, login, _ := strings.Cut(t.URL(a.cfg.Tenants.Endpoints().LockLogin), "://")
	if domain, ok := strings.CutSuffix(login, lockLoginPath); ok {
		return domain
	}
	_, domain, _ := strings.Cut(t.Issuer(), "://")
	return strings.TrimSuffix(domain, "/")
}

// LockTenantInfo serves the domain connections to pages of third-party clients, as a
// script (/info-v1.js).
func (a *Authorizer) LockTenantInfo() http.Handler {
	return a.lockScript(func(w http.ResponseWriter, r *http.Request, t *tenant.Tenant) error {
		open, err := a.cfg.Connections.DomainConnections(r.Context(), t)
		if err != nil {
			return err
		}
		databases, err := a.lockDatabases(open)
		if err != nil {
			return err
		}
		upstreams, err := a.lockUpstreams(open)
		if err != nil {
			return err
		}
		preferred := t.Settings().DefaultDirectory
		if !slices.ContainsFunc(databases, func(d lock.Database) bool { return d.Name == preferred }) {
			preferred = ""
		}
		lock.WriteTenantInfo(w, databases, upstreams, preferred)
		return nil
	})
}

// LockClientInfo serves the connections of a client to its page, as a script
// (/client/{client_id}.js). It may be mounted under any path that ends in the wildcard
// {id} or, without wildcards, where the last segment is the file.
func (a *Authorizer) LockClientInfo() http.Handler {
	return a.lockScript(func(w http.ResponseWriter, r *http.Request, t *tenant.Tenant) error {
		file := r.PathValue("id")
		if file == "" {
			file = path.Base(r.URL.Path)
		}
		id, ok := strings.CutSuffix(file, ".js")
		if !ok {
			return store.ErrNotFound
		}
		client, err := a.findClient(r.Context(), t, id)
		if errors.Is(err, errUnknownClient) || id == "" {
			return store.ErrNotFound
		}
		if err != nil {
			return err
		}
		usable, err := a.cfg.Connections.Usable(r.Context(), t, client)
		if err != nil && !errors.Is(err, connection.ErrNotAllowed) {
			return err
		}
		databases, err := a.lockDatabases(usable)
		if err != nil {
			return err
		}
		upstreams, err := a.lockUpstreams(usable)
		if err != nil {
			return err
		}
		lock.WriteClientInfo(w, client.ID, t.ID(), databases, upstreams)
		return nil
	})
}

// lockScript serves a script that pages load.
func (a *Authorizer) lockScript(answer func(http.ResponseWriter, *http.Request, *tenant.Tenant) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !httpx.Allow(w, r, http.MethodGet, http.MethodHead) {
			return
		}
		t, err := a.cfg.Tenants.FromRequest(r)
		if err == nil {
			err = answer(w, r, t)
		}
		switch {
		case err == nil:
		case errors.Is(err, store.ErrNotFound):
			http.NotFound(w, r)
		default:
			a.cfg.Logger.ErrorContext(r.Context(), "a login page could not be told the connections", "path", r.URL.Path, "err", err)
			e := oauth.AsError(err)
			httpx.NoStore(w.Header())
			setRetryAfter(w, e.RetryAfter)
			http.Error(w, http.StatusText(e.Status), e.Status)
		}
	})
}

// lockDatabases returns the databases among connections as Lock is told of them.
func (a *Authorizer) lockDatabases(connections []store.Connection) ([]lock.Database, error) {
	var out []lock.Database
	for i := range connections {
		c := &connections[i]
		if c.Strategy != connection.StrategyDatabase {
			continue
		}
		d, err := a.cfg.Connections.Database(c)
		if err != nil {
			return nil, err
		}
		out = append(out, lock.Database{
			Name: c.Name, DisplayName: c.DisplayName, Signup: d.Signup, Forgot: d.Reset && a.sendsMail(),
			RequiresUsername: d.RequiresUsername, PasswordPolicy: d.PasswordPolicy, MinPassword: d.MinPassword,
			MinUsername: d.MinUsername, MaxUsername: d.MaxUsername,
		})
	}
	return out, nil
}

// LockSSOData tells Lock that it need not look for a session: with one, its page would
// not have been shown (/user/ssodata).
func (a *Authorizer) LockSSOData() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if httpx.Allow(w, r, http.MethodGet, http.MethodHead) {
			httpx.WriteJSON(w, http.StatusOK, struct {
				SSO bool `json:"sso"`
			}{})
		}
	})
}

// LockChallenge tells Lock that nobody has to prove to be a person: locks and limits
// see to that (/usernamepassword/challenge).
func (a *Authorizer) LockChallenge() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if httpx.Allow(w, r, http.MethodPost) {
			httpx.WriteJSON(w, http.StatusOK, struct {
				Required bool `json:"required"`
			}{})
		}
	})
}
