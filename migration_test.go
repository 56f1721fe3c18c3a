package opkit_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/opkit/opkit"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// movedFrom is a tenant as somebody sets it up who comes from another product: the issuer
// ends with a slash.
type movedFrom struct {
	*world
	app registered // registered itself, permissive
}

func newMoved(t *testing.T, configure func(*opkit.Config)) *movedFrom {
	t.Helper()
	w := newWorld(t, options{permissive: true, config: func(c *opkit.Config) {
		c.Issuer += "/"
		if configure != nil {
			configure(c)
		}
	}})
	w.issuer += "/"
	return &movedFrom{w, w.register(nil)}
}

// at requests a path of the provider with a token for the management API.
func (m *movedFrom) at(method, path, body string) *response {
	m.t.Helper()
	return m.sendJSON(method, m.issuer+path, m.managementToken(), body)
}

// keeps sends members with a PATCH and expects that they are answered, and found again.
func (m *movedFrom) keeps(path string, members map[string]any) {
	m.t.Helper()
	want := string(marshal(m.t, members))
	patched := m.manage(http.MethodPatch, path, want)
	if patched.StatusCode != http.StatusOK {
		m.t.Fatalf("PATCH %s %s: %d %s", path, want, patched.StatusCode, patched.body)
	}
	for _, res := range []*response{patched, m.manage(http.MethodGet, path, "")} {
		got := res.json(m.t)
		for name, value := range members {
			if nested, ok := value.(map[string]any); ok {
				inner, _ := got[name].(map[string]any)
				for k, v := range nested {
					if fmt.Sprint(inner[k]) != fmt.Sprint(v) {
						m.t.Errorf("%s: %s.%s is %v, want %v", path, name, k, inner[k], v)
					}
				}
				continue
			}
			if fmt.Sprint(got[name]) != fmt.Sprint(value) {
				m.t.Errorf("%s: %s is %v, want %v", path, name, got[name], value)
			}
		}
	}
}

// refuses expects a PATCH to be 400 with the member's name.
func (m *movedFrom) refuses(path, member, value string) {
	m.t.Helper()
	res := m.manage(http.MethodPatch, path, `{"`+member+`":`+value+`}`)
	if message, _ := res.json(m.t)["message"].(string); res.StatusCode != http.StatusBadRequest || !strings.Contains(message, member) {
		m.t.Errorf("%s %s: %d %s", path, member, res.StatusCode, res.body)
	}
}

// absent expects nobody at these paths, whatever the method.
func (m *movedFrom) absent(paths ...string) {
	m.t.Helper()
	for _, path := range paths {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			if res := m.at(method, path, "{}"); res.StatusCode != http.StatusNotFound {
				m.t.Errorf("%s %s: %d %s", method, path, res.StatusCode, res.body)
			}
		}
	}
}

// tokens signs in and returns what the token endpoint answers.
func (m *movedFrom) tokens(params ...string) map[string]any {
	m.t.Helper()
	return m.redeem(m.app, m.authorize(m.app, params...).Get("code")).json(m.t)
}

// machine returns an answer for the machine client.
func (m *movedFrom) machine(params ...string) *response {
	m.t.Helper()
	return m.token(registered{id: machineID, secret: machineSecret}, params...)
}

// documentRows returns the rows of the tables of a document by their first cell.
func documentRows(t *testing.T, file string) []string {
	t.Helper()
	var rows []string
	for line := range strings.Lines(string(read(t, file))) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "|---") || strings.HasPrefix(line, "| there |") || strings.HasPrefix(line, "| setting |") {
			continue
		}
		cell, _, ok := strings.Cut(strings.ReplaceAll(strings.TrimPrefix(line, "| "), `\|`, "\x00"), " | ")
		if !ok {
			t.Fatalf("%s: not a row: %s", file, line)
		}
		rows = append(rows, strings.ReplaceAll(cell, "\x00", "|"))
	}
	return rows
}

// Each row of the document is executed, and nothing is that no row says.
func TestMigratingFromAuth0(t *testing.T) {
	tests := map[string]func(*testing.T){}
	for _, section := range []map[string]func(*testing.T){migratedEndpoints, migratedSDKs, migratedTenant, migratedClients, migratedAPIs, migratedUsers, migratedCode, notMigrated} {
		for row, test := range section {
			if tests[row] != nil {
				t.Errorf("two tests for %q", row)
			}
			tests[row] = test
		}
	}
	rows := documentRows(t, "docs/migrating-from-auth0.md")
	for i, row := range rows {
		if slices.Contains(rows[:i], row) {
			t.Errorf("the row %q is there twice", row)
		}
		test := tests[row]
		if test == nil {
			t.Errorf("no test executes the row %q", row)
			continue
		}
		t.Run(row, test)
		delete(tests, row)
	}
	for _, row := range slices.Sorted(maps.Keys(tests)) {
		t.Errorf("the document has no row %q", row)
	}
}

var migratedEndpoints = map[string]func(*testing.T){
	"`/.well-known/openid-configuration`, `/.well-known/jwks.json`": func(t *testing.T) {
		m := newMoved(t, nil)
		got := newBrowser(t).get(m.issuer + ".well-known/openid-configuration").json(t)
		if got["issuer"] != m.issuer || got["jwks_uri"] != m.issuer+".well-known/jwks.json" || got["authorization_endpoint"] != m.issuer+"authorize" || got["token_endpoint"] != m.issuer+"oauth/token" {
			t.Errorf("%v", got)
		}
		if res := newBrowser(t).get(m.issuer + ".well-known/jwks.json"); res.StatusCode != http.StatusOK || !strings.Contains(res.body, `"kty"`) {
			t.Errorf("%d %s", res.StatusCode, res.body)
		}
	},
	"`/authorize`": func(t *testing.T) {
		m := newMoved(t, nil)
		got := m.authorize(m.app, "response_type", "code id_token token", "audience", apiAudience, "scope", "openid email appointments", "connection", m.connection.Name,
			"prompt", "login", "max_age", "3600", "login_hint", "ada@example.com", "auth0Client", "eyJuYW1lIjoiYXV0aDAuanMifQ", "protocol", "oauth2")
		if got.Get("code") == "" || claims(t, got.Get("access_token"))["scope"] != "openid email appointments" || claims(t, got.Get("id_token"))["iss"] != m.issuer {
			t.Errorf("%v", got)
		}
	},
	"`/authorize` with `screen_hint=signup`": func(t *testing.T) {
		m := newMoved(t, nil)
		m.setOptions(`{"disable_signup":false}`)
		if page := newBrowser(t).get(m.authorizeURL(m.app, "screen_hint", "signup")); !strings.Contains(page.body, `id="signup-submit"`) {
			t.Error(text(page.body))
		}
	},
	"`/authorize` with `response_mode=web_message`": func(t *testing.T) {
		m, b := newMoved(t, nil), newBrowser(t)
		m.authorizeIn(b, m.app)
		page := b.get(m.authorizeURL(m.app, "response_mode", "web_message", "prompt", "none"))
		if !strings.Contains(page.body, `"authorization_response"`) || !strings.Contains(page.body, "postMessage") || !strings.Contains(page.body, `"https://app.example.com"`) {
			t.Error(page.body)
		}
	},
	"`/oauth/token`": func(t *testing.T) {
		m := newMoved(t, nil)
		form := m.tokens("scope", "openid offline_access")
		asJSON := func(members map[string]any) map[string]any {
			members["client_id"], members["client_secret"] = m.app.id, m.app.secret
			res := newBrowser(t).postJSON(m.issuer+"oauth/token", members)
			if res.StatusCode != http.StatusOK {
				t.Fatalf("%d %s", res.StatusCode, res.body)
			}
			return res.json(t)
		}
		code := m.authorize(m.app).Get("code")
		got := asJSON(map[string]any{"grant_type": "authorization_code", "code": code, "redirect_uri": m.app.redirectURI, "code_verifier": verifier})
		again := asJSON(map[string]any{"grant_type": "refresh_token", "refresh_token": got["refresh_token"]})
		if form["access_token"] == nil || form["refresh_token"] == nil || got["id_token"] == nil || again["access_token"] == nil {
			t.Errorf("%v\n%v\n%v", form, got, again)
		}
		if res := newBrowser(t).postJSON(m.issuer+"oauth/token", map[string]any{
			"grant_type": "client_credentials", "client_id": machineID, "client_secret": machineSecret, "audience": m.issuer + "api/v2/",
		}); res.StatusCode != http.StatusOK || res.json(t)["token_type"] != "Bearer" {
			t.Errorf("%d %s", res.StatusCode, res.body)
		}
	},
	"`/userinfo`": func(t *testing.T) {
		for _, inIDToken := range []bool{false, true} {
			m := newMoved(t, func(c *opkit.Config) { c.UserClaimsInIDToken = inIDToken })
			tokens := m.tokens("scope", "openid email")
			if got := m.me(tokens["access_token"].(string)).json(t); got["email"] != "ada@example.com" || got["email_verified"] != true {
				t.Errorf("%v", got)
			}
			if got := claims(t, tokens["id_token"].(string)); (got["email"] != nil) != inIDToken {
				t.Errorf("%v: %v", inIDToken, got)
			}
		}
	},
	"`/oauth/revoke`": func(t *testing.T) {
		m := newMoved(t, nil)
		first, second := m.tokens("scope", "openid offline_access"), m.tokens("scope", "openid offline_access")
		res := newBrowser(t).postJSON(m.issuer+"oauth/revoke", map[string]any{"client_id": m.app.id, "client_secret": m.app.secret, "token": first["refresh_token"]})
		if res.StatusCode != http.StatusOK {
			t.Fatalf("%d %s", res.StatusCode, res.body)
		}
		for i, tokens := range []map[string]any{first, second} {
			if got := m.me(tokens["access_token"].(string)).StatusCode; got != []int{401, 200}[i] {
				t.Errorf("tokens %d: %d", i, got)
			}
		}
	},
	"`/oauth/par`": func(t *testing.T) {
		m, b := newMoved(t, nil), newBrowser(t)
		pushed := m.push(m.app).json(t)["request_uri"].(string)
		res := b.login(b.get(m.issuer+"authorize?"+url.Values{"client_id": {m.app.id}, "request_uri": {pushed}}.Encode()), "ada", password)
		if got := b.decide(res, "allow").location(t); got.Get("code") == "" {
			t.Errorf("%v", got)
		}
	},
	"`/oidc/register`": func(t *testing.T) {
		m := newMoved(t, nil)
		m.setFlag(false)
		body := `{"client_name":"Mine","redirect_uris":["https://client.example.com/callback"]}`
		if res := m.sendJSON(http.MethodPost, m.issuer+"oidc/register", "", body); res.StatusCode != http.StatusForbidden {
			t.Errorf("%d %s", res.StatusCode, res.body)
		}
		m.setFlag(true)
		if res := m.sendJSON(http.MethodPost, m.issuer+"oidc/register", "", body); res.StatusCode != http.StatusCreated || res.json(t)["client_id"] == nil {
			t.Errorf("%d %s", res.StatusCode, res.body)
		}
	},
	"`/oidc/logout`": func(t *testing.T) {
		m, b := newMoved(t, nil), newBrowser(t)
		_, tokens := m.loggedIn(b, nil)
		v := url.Values{"id_token_hint": {tokens["id_token"].(string)}, "post_logout_redirect_uri": {afterLogout}}
		if res := b.get(m.issuer + "oidc/logout?" + v.Encode()); !strings.HasPrefix(res.Header.Get("Location"), afterLogout) || m.sessions() != 0 {
			t.Errorf("%d %s", res.StatusCode, res.Header.Get("Location"))
		}
	},
	"`/v2/logout`": func(t *testing.T) {
		m, b := newMoved(t, nil), newBrowser(t)
		app, _ := m.loggedIn(b, nil)
		if res := b.get(m.issuer + "v2/logout?federated&" + url.Values{"client_id": {app.id}, "returnTo": {afterLogout}}.Encode()); res.Header.Get("Location") != afterLogout || m.sessions() != 0 {
			t.Errorf("%d %s", res.StatusCode, res.Header.Get("Location"))
		}
	},
	"`/dbconnections/signup`, `/dbconnections/change_password`": func(t *testing.T) {
		mails := make(mailbox, 10)
		m := newMoved(t, func(c *opkit.Config) { c.Mailer = mails.send })
		m.setOptions(`{"disable_signup":false}`)
		body := map[string]any{"client_id": m.app.id, "connection": m.connection.Name, "email": "grace@example.com", "password": "a long enough one"}
		if res := newBrowser(t).postJSON(m.issuer+"dbconnections/signup", body); res.StatusCode != http.StatusOK || res.json(t)["_id"] == nil || res.json(t)["email_verified"] != false {
			t.Errorf("%d %s", res.StatusCode, res.body)
		}
		mails.next(t)
		before := m.userByEmail("grace@example.com").PasswordHash
		body["password"] = "another one as long"
		if res := newBrowser(t).postJSON(m.issuer+"dbconnections/change_password", body); res.StatusCode != http.StatusOK {
			t.Errorf("%d %s", res.StatusCode, res.body)
		}
		if mail := mails.next(t); m.userByEmail("grace@example.com").PasswordHash != before || mail.Link == "" {
			t.Errorf("%+v", mail)
		}
	},
	"`/usernamepassword/login` and what else Lock calls": func(t *testing.T) {
		m := newMoved(t, nil)
		m.keeps("/tenants/settings", map[string]any{"custom_login_page": lockPage, "custom_login_page_on": true})
		b := newBrowser(t)
		cfg := lockConfigOf(t, b.get(m.authorizeURL(m.app)))
		for path, want := range map[string]string{"info-v1.js": "Auth0.setTenant(", "client/" + m.app.id + ".js": "Auth0.setClient(", "user/ssodata": `"sso":false`} {
			if res := b.get(m.issuer + path); res.StatusCode != http.StatusOK || !strings.Contains(res.body, want) {
				t.Errorf("%s: %d %s", path, res.StatusCode, res.body)
			}
		}
		if res := b.postJSON(m.issuer+"usernamepassword/challenge", map[string]any{"state": cfg.InternalOptions["state"]}); res.json(t)["required"] != false {
			t.Errorf("%d %s", res.StatusCode, res.body)
		}
		action, fields := resultForm(t, b.post(m.issuer+"usernamepassword/login", cfg.login(m.world, "ada", password)))
		if got := b.decide(b.post(action, fields), "allow").location(t); got.Get("code") == "" || action != m.issuer+"login/callback" {
			t.Errorf("%s %v", action, got)
		}
	},
	"`/login/callback`": func(t *testing.T) {
		m := newMoved(t, nil)
		if res := newBrowser(t).get(m.issuer + "login/callback?code=x&state=y"); res.StatusCode != http.StatusBadRequest || !strings.HasPrefix(res.Header.Get("Content-Type"), "text/html") {
			t.Errorf("%d %s", res.StatusCode, res.body)
		}
	},
	"`/api/v2/`": func(t *testing.T) {
		m := newMoved(t, nil)
		for _, path := range []string{"tenants/settings", "clients", "connections", "resource-servers", "client-grants", "users", "users-by-email?email=ada@example.com", "grants?user_id=" + url.QueryEscape(m.user.ID), "keys/signing", "logs"} {
			if res := m.at(http.MethodGet, "api/v2/"+path, ""); res.StatusCode != http.StatusOK {
				t.Errorf("%s: %d %s", path, res.StatusCode, res.body)
			}
		}
		res := newBrowser(t).get(m.issuer + "api/v2/clients")
		if got := res.json(t); res.StatusCode != http.StatusUnauthorized || got["statusCode"] != 401.0 || got["error"] != "Unauthorized" {
			t.Errorf("%d %s", res.StatusCode, res.body)
		}
	},
}

var migratedSDKs = map[string]func(*testing.T){
	"`domain`": func(t *testing.T) {
		m := newMoved(t, nil)
		domain := strings.TrimPrefix(m.server.URL, "http://")
		if m.issuer != "http://"+domain+"/" || claims(t, m.tokens()["id_token"].(string))["iss"] != "http://"+domain+"/" {
			t.Errorf("issuer %s, domain %s", m.issuer, domain)
		}
	},
	"`clientId`, `clientSecret`": func(t *testing.T) {
		m := newMoved(t, nil)
		const id, secret = "AaIWCp9w0LgQ5bBgd5EYC0mAHPHsjvWM", "q2cG1qk9J2qZy0nF6Y3mUqWb3lqLx8mW2mPZ7uVw9JkQb6rT1dXcYhNs4EoAfKiL"
		c, _, err := m.provider.Clients().CreateClient(t.Context(), store.Client{
			TenantID: tenant.DefaultID, ID: id, Name: "As it was", FirstParty: true, TokenEndpointAuthMethod: "client_secret_post",
			RedirectURIs: []string{appRedirectURI}, GrantTypes: []string{"authorization_code", "refresh_token"},
		}, secret)
		if err != nil || c.ID != id {
			t.Fatalf("%+v, %v", c, err)
		}
		m.keeps("/connections/"+m.connection.ID, map[string]any{"enabled_clients": []string{id}})
		app := registered{id, secret, appRedirectURI}
		if res := m.redeem(app, m.authorize(app).Get("code")); res.StatusCode != http.StatusOK {
			t.Errorf("%d %s", res.StatusCode, res.body)
		}
	},
	"`audience`": func(t *testing.T) {
		m := newMoved(t, nil)
		if got := claims(t, m.tokens("audience", apiAudience, "scope", "appointments")["access_token"].(string)); got["aud"] != apiAudience {
			t.Errorf("%v", got)
		}
		if opaque := m.tokens()["access_token"].(string); strings.Contains(opaque, ".") {
			t.Errorf("not opaque: %s", opaque)
		}
	},
	"`scope` with `offline_access`, `useRefreshTokens`": func(t *testing.T) {
		m := newMoved(t, nil)
		before := m.tokens("scope", "openid offline_access")["refresh_token"].(string)
		after := m.token(m.app, "grant_type", "refresh_token", "refresh_token", before).json(t)["refresh_token"]
		if before == "" || after == nil || after == before {
			t.Errorf("%s, %v", before, after)
		}
	},
	"`redirect_uri`": func(t *testing.T) {
		m := newMoved(t, nil)
		m.refuses("/clients/"+m.app.id, "callbacks", `["https://*.example.com/callback"]`)
		if res := newBrowser(t).get(m.authorizeURL(m.app, "redirect_uri", appRedirectURI+"/")); res.StatusCode != http.StatusBadRequest || res.Header.Get("Location") != "" {
			t.Errorf("%d %s", res.StatusCode, res.Header.Get("Location"))
		}
	},
	"`audience` of a management SDK": func(t *testing.T) {
		m := newMoved(t, nil)
		res := m.machine("grant_type", "client_credentials", "audience", m.issuer+"api/v2/")
		if got := claims(t, res.json(t)["access_token"].(string)); got["aud"] != m.issuer+"api/v2/" || !strings.Contains(got["scope"].(string), "read:clients") {
			t.Errorf("%v", got)
		}
		other := m.manage(http.MethodPost, "/clients", `{"name":"Other","grant_types":["client_credentials"]}`).json(t)
		if res := m.token(registered{id: other["client_id"].(string), secret: other["client_secret"].(string)}, "grant_type", "client_credentials", "audience", m.issuer+"api/v2/"); res.StatusCode != http.StatusBadRequest {
			t.Errorf("without a grant: %d %s", res.StatusCode, res.body)
		}
	},
}

var migratedTenant = map[string]func(*testing.T){
	"`friendly_name`, `picture_url`, `support_email`, `support_url`": func(t *testing.T) {
		m := newMoved(t, nil)
		m.keeps("/tenants/settings", map[string]any{
			"friendly_name": "Marlow", "picture_url": "https://marlow.example/logo.png", "support_email": "help@marlow.example", "support_url": "https://marlow.example/help",
		})
		if page := newBrowser(t).get(m.authorizeURL(m.app)); !strings.Contains(page.body, "Marlow") || !strings.Contains(page.body, "https://marlow.example/logo.png") || !strings.Contains(page.body, "help@marlow.example") {
			t.Error(text(page.body))
		}
	},
	"`default_audience`, `default_directory`": func(t *testing.T) {
		m := newMoved(t, nil)
		m.keeps("/tenants/settings", map[string]any{"default_audience": apiAudience, "default_directory": m.connection.Name})
		if got := claims(t, m.tokens("scope", "appointments")["access_token"].(string)); got["aud"] != apiAudience {
			t.Errorf("%v", got)
		}
		if info := newBrowser(t).get(m.endpoint.LockTenantInfo); !strings.Contains(info.body, `"defaultDirectory":"`+m.connection.Name+`"`) {
			t.Error(info.body)
		}
	},
	"`allowed_logout_urls`": func(t *testing.T) {
		m, b := newMoved(t, nil), newBrowser(t)
		m.keeps("/tenants/settings", map[string]any{"allowed_logout_urls": []string{"https://tenant.example/bye"}})
		m.authorizeIn(b, m.app)
		if res := b.get(m.issuer + "v2/logout?" + url.Values{"client_id": {m.app.id}, "returnTo": {"https://tenant.example/bye"}}.Encode()); res.Header.Get("Location") != "https://tenant.example/bye" {
			t.Errorf("%d %s", res.StatusCode, res.Header.Get("Location"))
		}
	},
	"`session_lifetime`, `idle_session_lifetime`": func(t *testing.T) {
		newMoved(t, nil).keeps("/tenants/settings", map[string]any{"session_lifetime": 168, "idle_session_lifetime": 72})
	},
	"`flags.enable_dynamic_client_registration`, `dynamic_client_registration_security_mode`": func(t *testing.T) {
		m := newMoved(t, nil)
		m.keeps("/tenants/settings", map[string]any{"flags": map[string]any{"enable_dynamic_client_registration": true}, "dynamic_client_registration_security_mode": "strict"})
		if id := m.register(nil).id; !strings.HasPrefix(id, "tpc_") {
			t.Errorf("client_id %s", id)
		}
	},
	"the hosted login page": func(t *testing.T) {
		m := newMoved(t, nil)
		m.keeps("/tenants/settings", map[string]any{"custom_login_page": lockPage, "custom_login_page_on": true})
		lockConfigOf(t, newBrowser(t).get(m.authorizeURL(m.app)))
		m.keeps("/clients/"+m.app.id, map[string]any{"custom_login_page": lockPage + "<!-- mine -->", "custom_login_page_on": true})
		if page := newBrowser(t).get(m.authorizeURL(m.app)); !strings.Contains(page.body, "<!-- mine -->") {
			t.Error(page.body)
		}
	},
	"other settings and flags": func(t *testing.T) {
		m := newMoved(t, nil)
		for member, value := range map[string]string{"enabled_locales": `["en"]`, "sandbox_version": `"22"`, "universal_login": `{}`, "device_flow": `{}`} {
			m.refuses("/tenants/settings", member, value)
		}
		if res := m.manage(http.MethodPatch, "/tenants/settings", `{"flags":{"enable_client_connections":true}}`); res.StatusCode != http.StatusBadRequest || !strings.Contains(res.body, "enable_client_connections") {
			t.Errorf("%d %s", res.StatusCode, res.body)
		}
	},
}
