package opkit_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/opkit/opkit"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// withdrawals are the ways in which what held when a user signed in ceases to hold.
// They change the records alone, as another node or a host's own program may: nothing
// of what hangs on them is tidied up. What is returned puts it back, nil if nothing
// does.
var withdrawals = map[string]func(w *world, app registered) (restore func()){
	"flag off": func(w *world, _ registered) func() {
		w.setFlag(false)
		return func() { w.setFlag(true) }
	},
	"connection not a domain one": func(w *world, _ registered) func() {
		w.changeConnection(func(c *store.Connection) { c.IsDomainConnection = false })
		return func() { w.changeConnection(func(c *store.Connection) { c.IsDomainConnection = true }) }
	},
	"connection not for the client": func(w *world, app registered) func() {
		w.changeConnection(func(c *store.Connection) { c.EnabledClients = []string{"another"} })
		return func() { w.changeConnection(func(c *store.Connection) { c.EnabledClients = []string{app.id} }) }
	},
	"connection deleted": func(w *world, _ registered) func() {
		w.must(w.stores.Connections.DeleteConnection(context.Background(), tenant.DefaultID, w.connection.ID))
		return nil
	},
	"user blocked": func(w *world, _ registered) func() {
		w.changeUser(func(u *store.User) { u.Blocked = true })
		return func() { w.changeUser(func(u *store.User) { u.Blocked = false }) }
	},
	"user deleted": func(w *world, _ registered) func() {
		w.must(w.stores.UserAdmin.DeleteUser(context.Background(), tenant.DefaultID, w.user.ID))
		return nil
	},
	"client blocked": func(w *world, app registered) func() {
		w.change(app, func(c *store.Client) { c.Blocked = true })
		return func() { w.change(app, func(c *store.Client) { c.Blocked = false }) }
	},
	"client deleted": func(w *world, app registered) func() {
		w.must(w.stores.Clients.DeleteClient(context.Background(), tenant.DefaultID, app.id))
		return nil
	},
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) changeConnection(change func(*store.Connection)) {
	w.t.Helper()
	c, err := w.stores.Connections.Connection(context.Background(), tenant.DefaultID, w.connection.ID)
	w.must(err)
	change(&c)
	w.must(w.stores.Connections.UpdateConnection(context.Background(), c))
}

func (w *world) changeUser(change func(*store.User)) {
	w.t.Helper()
	u, err := w.stores.Users.User(context.Background(), tenant.DefaultID, w.user.ID)
	w.must(err)
	change(&u)
	w.must(w.stores.UserAdmin.UpdateUser(context.Background(), u))
}

// outcome says in a word what an answer is.
func outcome(t *testing.T, res *response) string {
	t.Helper()
	switch {
	case strings.HasPrefix(res.Header.Get("Location"), "https://host.example/"):
		return "host's page"
	case res.StatusCode == http.StatusFound || res.StatusCode == http.StatusSeeOther:
		got := res.location(t)
		if got.Has("code") || got.Has("access_token") || got.Has("id_token") || !got.Has("error") {
			return "minted"
		}
		return "redirect " + got.Get("error")
	case strings.HasPrefix(res.Header.Get("Content-Type"), "application/json"):
		members := res.json(t)
		if active, ok := members["active"]; ok {
			return fmt.Sprintf("active=%v", active)
		}
		if code, ok := members["error"].(string); ok {
			return fmt.Sprintf("%d %s", res.StatusCode, code)
		}
		for _, member := range []string{"access_token", "request_uri", "sub"} {
			if members[member] != nil && res.StatusCode < 300 {
				return map[string]string{"access_token": "minted", "request_uri": "pushed", "sub": "claims"}[member]
			}
		}
		return res.body
	case strings.Contains(res.body, `id="consent-allow"`):
		return "consent page"
	case strings.Contains(res.body, `id="login-submit"`):
		return fmt.Sprintf("login page %d", res.StatusCode)
	case strings.Contains(res.body, "There is no way to sign in"):
		return fmt.Sprintf("no login %d", res.StatusCode)
	}
	return fmt.Sprintf("page %d", res.StatusCode)
}

// The paths on which an application is served, and on each what it gets when nothing
// has changed.
var served = map[string]string{
	"code": "minted", "code of an API": "minted", "refresh": "minted", "refresh of an API": "minted", "client credentials": "minted",
	"userinfo": "claims", "userinfo with a JWT": "claims",
	"introspection": "active=true", "introspection of a refresh token": "active=true", "introspection by the API": "active=true",
	"silent": "minted", "silent, tokens": "minted", "silent, pushed": "minted", "push": "pushed",
	"session": "minted", "login page": "consent page", "consent page": "minted", "consent page with a login": "minted",
}

// answered are the paths that end with their first answer, an error included.
var answered = map[string]bool{"login page": true, "consent page": true, "consent page with a login": true, "silent, pushed": true}

// paths prepares everything that an application, a user or an API may hold, and
// returns how each is used.
func (w *world) paths(app registered) map[string]func() *response {
	w.t.Helper()
	const scope = "openid email offline_access"
	api := []string{"audience", apiAudience, "scope", "openid appointments offline_access"}
	b, login, consent := newBrowser(w.t), newBrowser(w.t), newBrowser(w.t)
	code := func(params ...string) string { return w.authorizeIn(b, app, params...).Get("code") }
	plain := w.redeem(app, code("scope", scope)).json(w.t)
	jwt := w.redeem(app, code(api...)).json(w.t)
	w.authorizeIn(b, app, "scope", "openid email", "response_type", "id_token token")
	unused, unusedJWT := code("scope", scope), code(api...)
	pushed := w.pushed(app, "scope", scope, "prompt", "none")
	loginPage := login.get(w.authorizeURL(app, "scope", scope, "prompt", "login consent"))
	consentPage := consent.login(consent.get(w.authorizeURL(app, "scope", scope, "prompt", "consent")), "ada", password)
	agreed := newBrowser(w.t)
	agreedPage := agreed.login(agreed.get(w.authorizeURL(app, "scope", scope, "response_type", "code id_token token", "prompt", "consent")), "ada", password)
	token := func(of map[string]any, name string) string {
		w.t.Helper()
		s, _ := of[name].(string)
		if s == "" {
			w.t.Fatalf("no %s: %v", name, of)
		}
		return s
	}
	access, refresh, accessJWT, refreshJWT := token(plain, "access_token"), token(plain, "refresh_token"), token(jwt, "access_token"), token(jwt, "refresh_token")
	machine := registered{id: machineID, secret: machineSecret}
	return map[string]func() *response{
		"code":           func() *response { return w.redeem(app, unused) },
		"code of an API": func() *response { return w.redeem(app, unusedJWT) },
		"refresh": func() *response {
			return w.token(app, "grant_type", "refresh_token", "refresh_token", refresh)
		},
		"refresh of an API": func() *response {
			return w.token(app, "grant_type", "refresh_token", "refresh_token", refreshJWT)
		},
		"client credentials":               func() *response { return w.token(app, "grant_type", "client_credentials") },
		"userinfo":                         func() *response { return w.userinfo(access) },
		"userinfo with a JWT":              func() *response { return w.userinfo(accessJWT) },
		"introspection":                    func() *response { return w.as(app, w.endpoint.Introspection, "token", access) },
		"introspection of a refresh token": func() *response { return w.as(app, w.endpoint.Introspection, "token", refresh) },
		"introspection by the API":         func() *response { return w.as(machine, w.endpoint.Introspection, "token", accessJWT) },
		"silent":                           func() *response { return b.get(w.authorizeURL(app, "scope", scope, "prompt", "none")) },
		"silent, tokens": func() *response {
			return b.get(w.authorizeURL(app, "scope", "openid email", "prompt", "none", "response_type", "id_token token"))
		},
		"silent, pushed":            func() *response { return b.get(pushed) },
		"push":                      func() *response { return w.push(app) },
		"session":                   func() *response { return b.get(w.authorizeURL(app, "scope", scope)) },
		"login page":                func() *response { return login.login(loginPage, "ada", password) },
		"consent page":              func() *response { return consent.decide(consentPage, "allow") },
		"consent page with a login": func() *response { return agreed.decide(agreedPage, "allow") },
	}
}

// The kinds of applications that a rule may mean.
const (
	kindRegistered = "registered itself"
	kindListed     = "registered itself and listed"
	kindFirstParty = "first party that registered itself"
	kindOwn        = "the tenant's own"
)

// applicationOf sets up an application that may do everything.
func (w *world) applicationOf(kind string) registered {
	w.t.Helper()
	grants, responses := []string{"authorization_code", "refresh_token", "implicit", "client_credentials"}, []string{"code", "id_token token", "code id_token token"}
	var app registered
	if kind == kindOwn {
		c, secret, err := w.provider.Clients().CreateClient(context.Background(), store.Client{
			TenantID: tenant.DefaultID, Name: "Own", FirstParty: true, TokenEndpointAuthMethod: "client_secret_post",
			RedirectURIs: []string{appRedirectURI}, GrantTypes: grants, ResponseTypes: responses,
		}, "")
		w.must(err)
		app = registered{c.ID, secret, appRedirectURI}
	} else {
		app = w.register(map[string]any{"grant_types": grants, "response_types": responses})
	}
	switch kind {
	case kindFirstParty: // as an administrator makes it one
		_, _, err := w.provider.Clients().UpdateClient(context.Background(), tenant.DefaultID, app.id, func(c *store.Client) error {
			c.FirstParty = true
			return nil
		})
		w.must(err)
	case kindListed, kindOwn:
		w.enableClient(app)
	}
	return app
}

// answers is what the paths answer when something was withdrawn. For paths that are
// not in it nothing changes.
type answers map[string]string

// everywhere returns what happens if all that is about a user is refused: tokens with
// oauthError, tokens and introspection as dead, silent requests with silently, and
// whoever is in front of a page with page.
func everywhere(oauthError, silently, session, loginPage, consentPage string) answers {
	out := answers{
		"userinfo": "401 invalid_token", "userinfo with a JWT": "401 invalid_token",
		"introspection": "active=false", "introspection of a refresh token": "active=false", "introspection by the API": "active=false",
		"session": session, "login page": loginPage, "consent page": consentPage, "consent page with a login": consentPage,
	}
	for _, path := range []string{"code", "code of an API", "refresh", "refresh of an API"} {
		out[path] = oauthError
	}
	for _, path := range []string{"silent", "silent, tokens", "silent, pushed"} {
		out[path] = silently
	}
	return out
}

func (a answers) with(pairs ...string) answers {
	for pair := range slices.Chunk(pairs, 2) {
		a[pair[0]] = pair[1]
	}
	return a
}

// A rule that held when a user signed in is checked again wherever something is
// served: the path answers with the error that its specification has for it, mints
// and stores nothing, and burns nothing either.
func TestWithdrawnAccess(t *testing.T) {
	const unauthorized, loginRequired = "redirect unauthorized_client", "redirect login_required"
	// Clients that may not be served at all.
	client := func() answers {
		return everywhere("400 invalid_grant", unauthorized, unauthorized, unauthorized, unauthorized).
			with("client credentials", "400 unauthorized_client", "push", "400 unauthorized_client")
	}
	connection := func() answers {
		return everywhere("400 invalid_grant", loginRequired, "no login 200", "no login 400", "no login 200")
	}
	user := func() answers {
		return everywhere("400 invalid_grant", loginRequired, "login page 200", "login page 401", "login page 200")
	}
	gone := func() answers {
		return everywhere("401 invalid_client", "page 400", "page 400", "page 400", "page 400").
			with("client credentials", "401 invalid_client", "push", "401 invalid_client",
				"introspection", "401 invalid_client", "introspection of a refresh token", "401 invalid_client")
	}
	for i, tc := range []struct {
		kind, withdrawal string
		want             answers
	}{
		{kindRegistered, "flag off", client()},
		{kindRegistered, "connection not a domain one", connection()},
		// It is listed, and that does not help a third party.
		{kindListed, "connection not a domain one", connection()},
		{kindRegistered, "connection not for the client", nil},
		{kindRegistered, "connection deleted", connection()},
		{kindRegistered, "user blocked", user()},
		{kindRegistered, "user deleted", user()},
		{kindRegistered, "client blocked", client()},
		{kindRegistered, "client deleted", gone()},
		{kindFirstParty, "flag off", client()},
		{kindFirstParty, "connection not a domain one", connection()},
		{kindFirstParty, "user blocked", user()},
		{kindOwn, "flag off", nil},
		{kindOwn, "connection not a domain one", nil},
		{kindOwn, "connection not for the client", connection()},
		{kindOwn, "connection deleted", connection()},
		{kindOwn, "user blocked", user()},
		{kindOwn, "client blocked", client()},
		{kindOwn, "client deleted", gone()},
	} {
		mount := mounts[i%len(mounts)]
		t.Run(fmt.Sprintf("%s/%s/%s", tc.kind, tc.withdrawal, mount), func(t *testing.T) {
			w := newWorld(t, options{mount: mount, permissive: true})
			app := w.applicationOf(tc.kind)
			_, err := w.provider.Tenants().CreateClientGrant(context.Background(), store.ClientGrant{
				TenantID: tenant.DefaultID, ClientID: machineID, Audience: apiAudience, SubjectType: store.SubjectClient,
			})
			w.must(err)
			paths := w.paths(app)
			restore := withdrawals[tc.withdrawal](w, app)
			before := w.everything()
			order := slices.Sorted(maps.Keys(paths)) // introspection before the token is used
			for _, path := range order {
				if want, affected := tc.want[path]; affected {
					if got := outcome(t, paths[path]()); got != want {
						t.Errorf("%s: %s, want %s", path, got, want)
					}
				}
			}
			if after := w.everything(); after != before {
				t.Errorf("something was stored: %s, before %s", after, before)
			}
			for _, path := range order {
				// What is not affected goes on. The rest is good again when the rule holds
				// again, but for pages and pushed requests, which have been answered.
				_, affected := tc.want[path]
				switch {
				case affected && (restore == nil || answered[path]):
					continue
				case affected:
					restore()
				}
				if got := outcome(t, paths[path]()); got != served[path] {
					t.Errorf("%s, withdrawn from it: %t: %s, want %s", path, affected, got, served[path])
				}
				if affected {
					withdrawals[tc.withdrawal](w, app)
				}
			}
		})
	}
}

// everything counts what is stored about what was granted.
func (w *world) everything() string {
	w.t.Helper()
	sessions, err := w.stores.Sessions.UserSessions(context.Background(), tenant.DefaultID, w.user.ID, store.Page{}, w.clock.now())
	w.must(err)
	out := fmt.Sprintf("%d sessions;", len(sessions))
	for _, g := range w.grants() {
		out += fmt.Sprintf(" %s %s %v %d;", g.ClientID, g.Audience, g.Scopes, g.Version)
	}
	return out
}

// The same where the host says who is signed in, and at the address to which its login
// page sends browsers back.
func TestWithdrawnAccessOfHostUsers(t *testing.T) {
	for i, tc := range []struct{ withdrawal, code, silent, callback, arriving string }{
		{"flag off", "400 invalid_grant", "redirect unauthorized_client", "redirect unauthorized_client", "redirect unauthorized_client"},
		{"connection not a domain one", "400 invalid_grant", "redirect login_required", "redirect access_denied", "no login 200"},
		{"connection deleted", "400 invalid_grant", "redirect login_required", "redirect access_denied", "no login 200"},
		{"user blocked", "400 invalid_grant", "redirect login_required", "redirect access_denied", "host's page"},
		{"user deleted", "400 invalid_grant", "redirect login_required", "redirect access_denied", "host's page"},
		{"client blocked", "400 invalid_grant", "redirect unauthorized_client", "redirect unauthorized_client", "redirect unauthorized_client"},
		{"client deleted", "401 invalid_client", "page 400", "page 400", "page 400"},
	} {
		mount := mounts[i%len(mounts)]
		t.Run(tc.withdrawal+"/"+mount, func(t *testing.T) {
			var blocked, deleted atomic.Bool
			w, h := newHostWorld(t, mount, func(c *opkit.Config) {
				host := c.Hosts["app"]
				host.User = func(_ context.Context, _, id string) (store.User, error) {
					if deleted.Load() {
						return store.User{}, store.ErrNotFound
					}
					return store.User{Email: id + "@host.example", Blocked: blocked.Load()}, nil
				}
				c.Hosts["app"] = host
			})
			w.user.ID = "ada" // whose sessions count
			app := w.register(nil)
			b, other, arriving := newBrowser(t), newBrowser(t), newBrowser(t)
			h.signIn(b, w, "ada", w.clock.now())
			tokens := w.redeem(app, w.authorizeIn(b, app).Get("code")).json(t)
			code := w.authorizeIn(b, app).Get("code")
			away := other.get(w.authorizeURL(app))
			h.signIn(other, w, "ada", w.clock.now())
			h.signIn(arriving, w, "ada", w.clock.now())
			withdraw := withdrawals[tc.withdrawal]
			switch tc.withdrawal {
			case "user blocked":
				withdraw = func(*world, registered) func() { blocked.Store(true); return func() { blocked.Store(false) } }
			case "user deleted":
				withdraw = func(*world, registered) func() { deleted.Store(true); return func() { deleted.Store(false) } }
			}
			use := map[string]func() *response{
				"arriving": func() *response { return arriving.get(w.authorizeURL(app)) },
				"callback": func() *response { return back(t, other, away) },
				"code":     func() *response { return w.redeem(app, code) },
				"refresh": func() *response {
					return w.token(app, "grant_type", "refresh_token", "refresh_token", tokens["refresh_token"].(string))
				},
				"silent":   func() *response { return b.get(w.authorizeURL(app, "prompt", "none")) },
				"userinfo": func() *response { return w.userinfo(tokens["access_token"].(string)) },
			}
			want := map[string]string{"arriving": tc.arriving, "callback": tc.callback, "code": tc.code, "refresh": tc.code, "silent": tc.silent, "userinfo": "401 invalid_token"}
			restore := withdraw(w, app)
			before := w.everything()
			for path, answer := range want {
				if got := outcome(t, use[path]()); got != answer {
					t.Errorf("%s: %s, want %s", path, got, answer)
				}
			}
			if after := w.everything(); after != before {
				t.Errorf("something was stored: %s, before %s", after, before)
			}
			if restore == nil {
				return
			}
			restore()
			for path, answer := range map[string]string{"arriving": "minted", "callback": "minted", "code": "minted", "refresh": "minted", "silent": "minted", "userinfo": "claims"} {
				if got := outcome(t, use[path]()); got != answer {
					t.Errorf("%s, afterwards: %s, want %s", path, got, answer)
				}
			}
		})
	}
}

// An application that is known by its document is served while the tenant accepts
// documents, and is held to every other rule that others are.
func TestWithdrawnAccessOfPublishedApplications(t *testing.T) {
	dead := func(code, silent string) answers {
		return answers{"code": code, "refresh": code, "silent": silent, "push": code, "userinfo": "401 invalid_token"}
	}
	for withdrawal, want := range map[string]answers{
		"documents off":               dead("401 invalid_client", "page 400"),
		"client blocked":              dead("400 invalid_grant", "redirect unauthorized_client").with("push", "400 unauthorized_client"),
		"connection not a domain one": dead("400 invalid_grant", "redirect login_required").with("push", "pushed"),
		"user blocked":                dead("400 invalid_grant", "redirect login_required").with("push", "pushed"),
		"flag off":                    {"code": "minted", "refresh": "minted", "silent": "minted", "push": "pushed", "userinfo": "claims"},
	} {
		t.Run(withdrawal, func(t *testing.T) {
			p := newPublisher(t)
			w := documentWorld(t, p, options{})
			b := newBrowser(t)
			tokens := w.redeem(p.app, w.authorizeIn(b, p.app).Get("code")).json(t)
			code := w.authorizeIn(b, p.app).Get("code")
			if withdrawal == "documents off" {
				w.acceptDocuments(false)
			} else {
				withdrawals[withdrawal](w, p.app)
			}
			for path, use := range map[string]func() *response{
				"code": func() *response { return w.redeem(p.app, code) },
				"refresh": func() *response {
					return w.token(p.app, "grant_type", "refresh_token", "refresh_token", tokens["refresh_token"].(string))
				},
				"silent":   func() *response { return b.get(w.authorizeURL(p.app, "prompt", "none")) },
				"push":     func() *response { return w.push(p.app) },
				"userinfo": func() *response { return w.userinfo(tokens["access_token"].(string)) },
			} {
				if got := outcome(t, use()); got != want[path] {
					t.Errorf("%s: %s, want %s", path, got, want[path])
				}
			}
		})
	}
}
