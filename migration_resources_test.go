package opkit_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/opkit/opkit"
	"github.com/opkit/opkit/audit"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
	"github.com/opkit/opkit/token"
)

// algorithm returns that of a JWT's header.
func algorithm(t *testing.T, jwt any) string {
	t.Helper()
	header, _, _ := strings.Cut(jwt.(string), ".")
	plain, err := base64.RawURLEncoding.DecodeString(header)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(plain), `"alg":"`)
	alg, _, _ := strings.Cut(rest, `"`)
	return alg
}

var migratedClients = map[string]func(*testing.T){
	"`name`, `callbacks`, `allowed_logout_urls`, `grant_types`, `token_endpoint_auth_method`": func(t *testing.T) {
		m := newMoved(t, nil)
		m.keeps("/clients/"+m.app.id, map[string]any{
			"name": "Renamed", "callbacks": []string{"https://app.example.com/other"}, "allowed_logout_urls": []string{afterLogout},
			"grant_types": []string{"authorization_code", "refresh_token"}, "token_endpoint_auth_method": "client_secret_basic",
		})
		if page := newBrowser(t).get(m.authorizeURL(m.app, "redirect_uri", "https://app.example.com/other")); !strings.Contains(page.body, "Renamed") {
			t.Error(text(page.body))
		}
	},
	"`app_type`, `description`, `client_metadata`, `web_origins`, `allowed_origins`": func(t *testing.T) {
		m := newMoved(t, nil)
		m.keeps("/clients/"+m.app.id, map[string]any{
			"app_type": "spa", "description": "What it is", "client_metadata": map[string]any{"plan": "gold"},
			"web_origins": []string{"https://app.example.com"}, "allowed_origins": []string{"https://app.example.com"},
		})
		if m.tokens()["access_token"] == nil {
			t.Error("it does not work as before")
		}
		for appType, want := range map[string]struct {
			method, grant string
			secret        bool
		}{
			"native":          {"none", "authorization_code", false},
			"spa":             {"none", "authorization_code", false},
			"regular_web":     {"client_secret_post", "authorization_code", true},
			"non_interactive": {"client_secret_post", "client_credentials", true},
		} {
			body := map[string]any{"name": appType, "app_type": appType}
			if appType != "non_interactive" {
				body["callbacks"] = []string{"https://app.example.com/cb"}
			}
			res := m.manage(http.MethodPost, "/clients", string(marshal(t, body)))
			if res.StatusCode != http.StatusCreated {
				t.Fatalf("%s: %d %s", appType, res.StatusCode, res.body)
			}
			got := res.json(t)
			grants := fmt.Sprint(got["grant_types"])
			if secret, _ := got["client_secret"].(string); got["app_type"] != appType || got["token_endpoint_auth_method"] != want.method || (secret != "") != want.secret ||
				!strings.Contains(grants, want.grant) || (grants == "[client_credentials]") != (appType == "non_interactive") {
				t.Errorf("%s: %s", appType, res.body)
			}
		}
	},
	"`jwt_configuration.alg`": func(t *testing.T) {
		m := newMoved(t, nil)
		for _, alg := range []string{"ES256", "RS256", "HS256"} {
			res := m.manage(http.MethodPatch, "/clients/"+m.app.id, `{"jwt_configuration":{"alg":"`+alg+`"}}`)
			if res.StatusCode != http.StatusOK {
				t.Fatalf("%d %s", res.StatusCode, res.body)
			}
			if secret, ok := res.json(t)["client_secret"].(string); ok { // one that is kept to sign with
				m.app.secret = secret
			}
			if got := algorithm(t, m.tokens()["id_token"]); got != alg {
				t.Errorf("the ID token has %s, want %s", got, alg)
			}
		}
		if res := m.manage(http.MethodPatch, "/clients/"+m.app.id, `{"jwt_configuration":{"alg":"PS256"}}`); res.StatusCode != http.StatusBadRequest {
			t.Errorf("%d %s", res.StatusCode, res.body)
		}
	},
	"`is_first_party`, `third_party_security_mode`": func(t *testing.T) {
		m := newMoved(t, nil)
		m.keeps("/clients/"+m.app.id, map[string]any{"is_first_party": true})
		m.keeps("/clients/"+m.app.id, map[string]any{"is_first_party": false})
		m.refuses("/clients/"+m.app.id, "third_party_security_mode", `"strict"`)
		if res := m.manage(http.MethodPost, "/clients", `{"name":"Partner","is_first_party":false,"third_party_security_mode":"permissive","callbacks":["https://partner.example/cb"]}`); res.StatusCode != http.StatusCreated || res.json(t)["third_party_security_mode"] != "permissive" {
			t.Errorf("%d %s", res.StatusCode, res.body)
		}
	},
	"`oidc_conformant`": func(t *testing.T) {
		m := newMoved(t, nil)
		m.keeps("/clients/"+m.app.id, map[string]any{"oidc_conformant": true})
		m.refuses("/clients/"+m.app.id, "oidc_conformant", "false")
	},
	"`client_secret` of a list or a GET": func(t *testing.T) {
		m := newMoved(t, nil)
		for _, path := range []string{"/clients", "/clients/" + m.app.id} {
			if res := m.manage(http.MethodGet, path, ""); res.StatusCode != http.StatusOK || strings.Contains(res.body, "client_secret\"") {
				t.Errorf("%s: %d %s", path, res.StatusCode, res.body)
			}
		}
		res := m.manage(http.MethodPost, "/clients/"+m.app.id+"/rotate-secret", "")
		if secret, _ := res.json(t)["client_secret"].(string); res.StatusCode != http.StatusOK || secret == "" || secret == m.app.secret {
			t.Errorf("%d %s", res.StatusCode, res.body)
		}
	},
	"`sso`, `refresh_token`, `organization_usage`, `cross_origin_authentication`": func(t *testing.T) {
		m := newMoved(t, nil)
		for member, value := range map[string]string{"sso": "true", "refresh_token": `{"rotation_type":"rotating"}`, "organization_usage": `"allow"`, "cross_origin_authentication": "true"} {
			m.refuses("/clients/"+m.app.id, member, value)
		}
	},
}

var migratedAPIs = map[string]func(*testing.T){
	"`identifier`, `name`, `scopes`, `token_lifetime`, `allow_offline_access`": func(t *testing.T) {
		m := newMoved(t, nil)
		res := m.manage(http.MethodPost, "/resource-servers", `{"identifier":"https://notes.example.com","name":"Notes"}`)
		if res.StatusCode != http.StatusCreated {
			t.Fatalf("%d %s", res.StatusCode, res.body)
		}
		m.keeps("/resource-servers/"+res.json(t)["id"].(string), map[string]any{
			"identifier": "https://notes.example.com", "name": "Notes and more", "token_lifetime": 7200, "allow_offline_access": true,
			"scopes": []any{map[string]any{"value": "read:notes", "description": "Read your notes"}},
		})
	},
	"`signing_alg`": func(t *testing.T) {
		m := newMoved(t, nil)
		for _, alg := range []string{"RS256", "ES256"} {
			m.keeps("/resource-servers/"+apiAudience, map[string]any{"signing_alg": alg})
			if got := algorithm(t, m.tokens("audience", apiAudience)["access_token"]); got != alg {
				t.Errorf("the access token has %s, want %s", got, alg)
			}
		}
		m.refuses("/resource-servers/"+apiAudience, "signing_alg", `"HS256"`)
	},
	"`skip_consent_for_verifiable_first_party_clients`": func(t *testing.T) {
		m := newMoved(t, nil)
		app, device := m.own(appRedirectURI), m.own("http://127.0.0.1/callback")
		if !m.asks(newBrowser(t), app, "audience", apiAudience) {
			t.Error("not asked, where nobody said that it may be skipped")
		}
		m.keeps("/resource-servers/"+apiAudience, map[string]any{"skip_consent_for_verifiable_first_party_clients": true})
		if m.asks(newBrowser(t), app, "audience", apiAudience) || !m.asks(newBrowser(t), device, "audience", apiAudience) {
			t.Error("asked about the website, or not about the device")
		}
	},
	"`enforce_policies`, `token_dialect`": func(t *testing.T) {
		m := newMoved(t, nil)
		m.refuses("/resource-servers/"+apiAudience, "enforce_policies", "true")
		m.refuses("/resource-servers/"+apiAudience, "token_dialect", `"access_token_authz"`)
	},
	"a client grant": func(t *testing.T) {
		m := newMoved(t, nil)
		res := m.manage(http.MethodPost, "/client-grants", `{"client_id":"`+machineID+`","audience":"`+apiAudience+`","scope":["contacts"]}`)
		if res.StatusCode != http.StatusCreated {
			t.Fatalf("%d %s", res.StatusCode, res.body)
		}
		if got := claims(t, m.machine("grant_type", "client_credentials", "audience", apiAudience).json(t)["access_token"].(string)); got["scope"] != "contacts" {
			t.Errorf("%v", got)
		}
		if res := m.manage(http.MethodPost, "/client-grants", `{"default_for":"third_party_clients","subject_type":"user","audience":"`+apiAudience+`","scope":["appointments"]}`); res.StatusCode != http.StatusCreated || res.json(t)["default_for"] != "third_party_clients" {
			t.Errorf("%d %s", res.StatusCode, res.body)
		}
	},
}

var migratedUsers = map[string]func(*testing.T){
	"strategy `auth0`": func(t *testing.T) {
		m := newMoved(t, nil)
		if res := m.manage(http.MethodPost, "/connections", `{"name":"customers","strategy":"auth0"}`); res.StatusCode != http.StatusCreated || res.json(t)["strategy"] != "auth0" {
			t.Errorf("%d %s", res.StatusCode, res.body)
		}
	},
	"`is_domain_connection`, `enabled_clients`, `realms`": func(t *testing.T) {
		m := newMoved(t, nil)
		m.keeps("/connections/"+m.connection.ID, map[string]any{"is_domain_connection": true, "enabled_clients": []string{machineID}, "realms": []string{m.connection.Name}})
	},
	"`options.passwordPolicy`, `requires_username`, `disable_signup`": func(t *testing.T) {
		m := newMoved(t, nil)
		sign := func(fields ...string) *response {
			v := url.Values{"client_id": {m.app.id}, "connection": {m.connection.Name}, "email": {"grace@example.com"}, "password": {"all lower case"}}
			for i := 0; i < len(fields); i += 2 {
				v.Set(fields[i], fields[i+1])
			}
			return newBrowser(t).post(m.endpoint.DatabaseSignup, v)
		}
		for _, tc := range []struct {
			options map[string]any
			status  int
			fields  []string
		}{
			{map[string]any{"passwordPolicy": "low"}, 400, nil}, // disable_signup is left out
			{map[string]any{"disable_signup": true}, 400, nil},
			{map[string]any{"disable_signup": false, "passwordPolicy": "good"}, 400, nil},
			{map[string]any{"disable_signup": false, "requires_username": true}, 400, nil},
			{map[string]any{"disable_signup": false, "requires_username": true}, 200, []string{"username", "grace"}},
			{map[string]any{"disable_signup": false, "passwordPolicy": "good"}, 200, []string{"email", "joan@example.com", "password", "Good-enough-4-all"}},
		} {
			m.keeps("/connections/"+m.connection.ID, map[string]any{"options": tc.options})
			if res := sign(tc.fields...); res.StatusCode != tc.status {
				t.Errorf("%v %v: %d %s", tc.options, tc.fields, res.StatusCode, res.body)
			}
		}
	},
	"`user_id`, such as `auth0|5f7c…`": func(t *testing.T) {
		m := newMoved(t, nil)
		const id = "auth0|5f7c8ec7c33c6c004bbafe82"
		if _, err := m.provider.Connections().CreateUser(t.Context(), store.User{TenantID: tenant.DefaultID, ID: id, ConnectionID: m.connection.ID, Email: "grace@example.com"}, "a long enough one"); err != nil {
			t.Fatal(err)
		}
		b := newBrowser(t)
		page := b.login(b.get(m.authorizeURL(m.app)), "grace@example.com", "a long enough one")
		tokens := m.redeem(m.app, b.decide(page, "allow").location(t).Get("code")).json(t)
		if got := claims(t, tokens["id_token"].(string)); got["sub"] != id {
			t.Errorf("%v", got)
		}
	},
	"password hashes (bcrypt)": func(t *testing.T) {
		m := newMoved(t, nil)
		hash, err := bcrypt.GenerateFromPassword([]byte("as it always was"), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.provider.Connections().CreateUser(t.Context(), store.User{
			TenantID: tenant.DefaultID, ConnectionID: m.connection.ID, Email: "grace@example.com", PasswordHash: string(hash),
		}, ""); err != nil {
			t.Fatal(err)
		}
		b := newBrowser(t)
		if page := b.login(b.get(m.authorizeURL(m.app)), "grace@example.com", "as it always was"); !strings.Contains(page.body, "consent-allow") {
			t.Errorf("%d %s", page.StatusCode, text(page.body))
		}
		if got := m.userByEmail("grace@example.com").PasswordHash; !strings.HasPrefix(got, "$argon2id$") {
			t.Errorf("the hash is %s", got)
		}
	},
	"a custom database's login script": func(t *testing.T) {
		m := newMoved(t, func(c *opkit.Config) {
			c.Passwords.Legacy = func(_ context.Context, hash, password string) (bool, error) { return hash == "ours:"+password, nil }
		})
		if _, err := m.provider.Connections().CreateUser(t.Context(), store.User{
			TenantID: tenant.DefaultID, ConnectionID: m.connection.ID, Email: "grace@example.com", PasswordHash: "ours:as it always was",
		}, ""); err != nil {
			t.Fatal(err)
		}
		b := newBrowser(t)
		if page := b.login(b.get(m.authorizeURL(m.app)), "grace@example.com", "as it always was"); !strings.Contains(page.body, "consent-allow") {
			t.Errorf("%d %s", page.StatusCode, text(page.body))
		}
	},
	"`user_metadata`, `app_metadata`, `blocked`": func(t *testing.T) {
		m := newMoved(t, nil)
		m.keeps("/users/"+url.PathEscape(m.user.ID), map[string]any{"user_metadata": map[string]any{"theme": "dark"}, "app_metadata": map[string]any{"plan": "gold"}, "blocked": true})
		b := newBrowser(t)
		if page := b.login(b.get(m.authorizeURL(m.app)), "ada@example.com", password); page.StatusCode != http.StatusUnauthorized {
			t.Errorf("blocked: %d %s", page.StatusCode, text(page.body))
		}
	},
	"search with `q`": func(t *testing.T) {
		m := newMoved(t, nil)
		for q, want := range map[string]int{`email:"ada@example.com"`: 200, `username:"ada"`: 200, `user_id:"` + m.user.ID + `"`: 200, `name:"Ada*"`: 400, `email:*@example.com`: 400} {
			res := m.manage(http.MethodGet, "/users?q="+url.QueryEscape(q), "")
			if res.StatusCode != want || want == 200 && !strings.Contains(res.body, "ada@example.com") {
				t.Errorf("%s: %d %s", q, res.StatusCode, res.body)
			}
		}
	},
	"`show_as_button`": func(t *testing.T) {
		m := newMoved(t, nil)
		res := m.manage(http.MethodPost, "/connections", `{"name":"partner","strategy":"github","is_domain_connection":true,"options":{"client_id":"x","client_secret":"y"}}`)
		page := func() string { return newBrowser(t).get(m.authorizeURL(m.app)).body }
		if !strings.Contains(page(), "Continue with GitHub") {
			t.Error("left out: there is no button")
		}
		m.keeps("/connections/"+res.json(t)["id"].(string), map[string]any{"show_as_button": false})
		if strings.Contains(page(), "Continue with GitHub") {
			t.Error("false: there is a button")
		}
	},
	"strategies `oidc`, `oauth2`, `google-oauth2`, `waad`, `github`": func(t *testing.T) {
		m := newMoved(t, nil)
		for strategy, options := range map[string]string{
			"oidc":          `{"client_id":"x","client_secret":"y","issuer":"https://login.partner.example"}`,
			"google-oauth2": `{"client_id":"x","client_secret":"y"}`,
			"waad":          `{"client_id":"x","client_secret":"y","tenant_domain":"contoso.example"}`,
			"github":        `{"client_id":"x","client_secret":"y"}`,
			"oauth2":        `{"client_id":"x","client_secret":"y","authorizationURL":"https://a.example/authorize","tokenURL":"https://a.example/token","userinfo_endpoint":"https://a.example/me"}`,
		} {
			res := m.manage(http.MethodPost, "/connections", `{"name":"`+strategy+`","strategy":"`+strategy+`","is_domain_connection":true,"options":`+options+`}`)
			if res.StatusCode != http.StatusCreated {
				t.Errorf("%s: %d %s", strategy, res.StatusCode, res.body)
			}
		}
		if page := newBrowser(t).get(m.authorizeURL(m.app)); strings.Count(page.body, "Continue with") != 5 {
			t.Error(text(page.body))
		}
	},
	"strategies `samlp`, `ad`, `adfs`, `email`, `sms`": func(t *testing.T) {
		m := newMoved(t, nil)
		for _, strategy := range []string{"samlp", "ad", "adfs", "email", "sms"} {
			if res := m.manage(http.MethodPost, "/connections", `{"name":"x","strategy":"`+strategy+`"}`); res.StatusCode != http.StatusBadRequest || !strings.Contains(res.body, "strategy") {
				t.Errorf("%s: %d %s", strategy, res.StatusCode, res.body)
			}
		}
	},
}

// recorded is what a host may do with events: here it keeps their types.
type recorded struct {
	mu    *sync.Mutex
	types *[]audit.Type
}

func (r recorded) Record(_ context.Context, e audit.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	*r.types = append(*r.types, e.Type)
}

var migratedCode = map[string]func(*testing.T){
	"an Action that adds claims (`api.idToken.setCustomClaim`, `api.accessToken.setCustomClaim`)": func(t *testing.T) {
		const role = "https://marlow.example/role"
		m := newMoved(t, func(c *opkit.Config) {
			c.Claims = func(_ context.Context, in token.ClaimsInput) (token.CustomClaims, error) {
				if in.User == nil || in.Connection == nil || in.Grant == nil || in.Client == nil || in.Request == nil {
					return token.CustomClaims{}, fmt.Errorf("something is missing: %+v", in)
				}
				claims := map[string]any{role: "admin", "role": "admin"}
				return token.CustomClaims{IDToken: claims, AccessToken: claims}, nil
			}
		})
		tokens := m.tokens("audience", apiAudience, "scope", "openid appointments")
		for _, name := range []string{"id_token", "access_token"} {
			if got := claims(t, tokens[name].(string)); got[role] != "admin" || got["role"] != nil {
				t.Errorf("%s: %v", name, got)
			}
		}
	},
	"an Action for machine-to-machine tokens": func(t *testing.T) {
		const tier = "https://marlow.example/tier"
		m := newMoved(t, func(c *opkit.Config) {
			c.Claims = func(_ context.Context, in token.ClaimsInput) (token.CustomClaims, error) {
				if in.GrantType != "client_credentials" || in.User != nil {
					return token.CustomClaims{}, nil
				}
				return token.CustomClaims{AccessToken: map[string]any{tier: 3}}, nil
			}
		})
		if got := claims(t, m.managementToken()); got[tier] != 3.0 {
			t.Errorf("%v", got)
		}
	},
	"an Action that denies access": func(t *testing.T) {
		m := newMoved(t, nil)
		own := m.own(appRedirectURI)
		m.keeps("/clients/"+m.app.id, map[string]any{"blocked": true})
		m.keeps("/connections/"+m.connection.ID, map[string]any{"enabled_clients": []string{}})
		for _, app := range []registered{m.app, own} {
			b := newBrowser(t)
			if page := b.get(m.authorizeURL(app)); strings.Contains(page.body, "login-submit") {
				t.Errorf("%s may sign in: %s", app.id, text(page.body))
			}
		}
	},
	"a hook that refuses weak or leaked passwords": func(t *testing.T) {
		m := newMoved(t, func(c *opkit.Config) {
			c.Passwords.Breached = func(_ context.Context, password string) (bool, error) { return password == "known everywhere", nil }
		})
		for _, password := range []string{"short", "known everywhere"} {
			body := `{"connection":"` + m.connection.Name + `","email":"grace@example.com","password":"` + password + `"}`
			if res := m.manage(http.MethodPost, "/users", body); res.StatusCode != http.StatusBadRequest || !strings.Contains(res.body, "password") {
				t.Errorf("%s: %d %s", password, res.StatusCode, res.body)
			}
		}
	},
	"an email provider and its templates": func(t *testing.T) {
		mails := make(mailbox, 10)
		m := newMoved(t, func(c *opkit.Config) { c.Mailer = mails.send })
		newBrowser(t).postJSON(m.issuer+"dbconnections/change_password", map[string]any{"client_id": m.app.id, "connection": m.connection.Name, "email": "ada@example.com"})
		if mail := mails.next(t); mail.Kind == "" || mail.To != "ada@example.com" || !strings.HasPrefix(mail.Link, m.issuer) {
			t.Errorf("%+v", mail)
		}
	},
	"logs and log streams": func(t *testing.T) {
		var mu sync.Mutex
		var types []audit.Type
		m := newMoved(t, func(c *opkit.Config) {
			c.Audit = recorded{&mu, &types}
		})
		m.tokens()
		mu.Lock()
		seen := fmt.Sprint(types)
		mu.Unlock()
		if !strings.Contains(seen, string(audit.SignIn)) || !strings.Contains(seen, string(audit.ClientRegistration)) {
			t.Error(seen)
		}
		if res := m.manage(http.MethodGet, "/logs", ""); res.StatusCode != http.StatusOK {
			t.Errorf("%d %s", res.StatusCode, res.body)
		}
	},
}

// notMigrated are the rows about what there is not.
var notMigrated = map[string]func(*testing.T){
	"Organizations": func(t *testing.T) {
		m := newMoved(t, nil)
		tokens := m.redeem(m.app, m.authorize(m.app, "organization", "org_123", "audience", apiAudience, "scope", "openid appointments").Get("code")).json(t)
		for _, name := range []string{"id_token", "access_token"} {
			if got := claims(t, tokens[name].(string)); got["org_id"] != nil {
				t.Errorf("%s: %v", name, got)
			}
		}
		m.absent("api/v2/organizations")
	},
	"roles and permissions (RBAC)": func(t *testing.T) {
		m := newMoved(t, nil)
		m.absent("api/v2/roles")
		if got := claims(t, m.tokens("audience", apiAudience, "scope", "appointments")["access_token"].(string)); got["permissions"] != nil {
			t.Errorf("%v", got)
		}
	},
	"multi-factor authentication": func(t *testing.T) {
		newMoved(t, nil).absent("mfa/challenge", "mfa/associate", "api/v2/guardian/factors")
	},
	"passwordless": func(t *testing.T) { newMoved(t, nil).absent("passwordless/start", "passwordless/verify") },
	"cross-origin authentication": func(t *testing.T) {
		m := newMoved(t, nil)
		m.absent("co/authenticate", "co/verify")
		for _, path := range []string{"signup", "change_password"} {
			req, err := http.NewRequest(http.MethodPost, m.issuer+"dbconnections/"+path, strings.NewReader(`{"client_id":"`+m.app.id+`","connection":"users","email":"eve@example.com","password":"a good passphrase"}`))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("Origin", "https://app.example")
			res := newBrowser(t).do(req)
			if res.StatusCode != http.StatusForbidden || res.Header.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("%s: %d %s %v", path, res.StatusCode, res.body, res.Header)
			}
		}
	},
	"SAML and WS-Federation for applications": func(t *testing.T) {
		m := newMoved(t, nil)
		m.absent("samlp/"+m.app.id, "samlp/metadata/"+m.app.id, "wsfed", "wsfed/"+m.app.id)
	},
	"the password grant": func(t *testing.T) {
		m := newMoved(t, nil)
		for _, grantType := range []string{"password", "http://auth0.com/oauth/grant-type/password-realm"} {
			if res := m.token(m.app, "grant_type", grantType, "username", "ada", "password", password, "realm", m.connection.Name); res.StatusCode != http.StatusBadRequest || res.json(t)["error"] != "unsupported_grant_type" {
				t.Errorf("%s: %d %s", grantType, res.StatusCode, res.body)
			}
		}
	},
	"the device flow": func(t *testing.T) {
		m := newMoved(t, nil)
		got := newBrowser(t).get(m.issuer + ".well-known/openid-configuration")
		if got.json(t)["device_authorization_endpoint"] != nil || strings.Contains(got.body, "device_code") {
			t.Error(got.body)
		}
		m.absent("oauth/device/code")
	},
	"token exchange": func(t *testing.T) {
		m := newMoved(t, nil)
		if res := m.token(m.app, "grant_type", "urn:ietf:params:oauth:grant-type:token-exchange", "subject_token", "x"); res.StatusCode != http.StatusBadRequest || res.json(t)["error"] != "unsupported_grant_type" {
			t.Errorf("%d %s", res.StatusCode, res.body)
		}
	},
	"Actions, Rules, Hooks": func(t *testing.T) {
		newMoved(t, nil).absent("api/v2/actions/actions", "api/v2/rules", "api/v2/hooks")
	},
	"jobs": func(t *testing.T) {
		newMoved(t, nil).absent("api/v2/jobs", "api/v2/jobs/users-imports", "api/v2/jobs/verification-email")
	},
	"account linking over the API": func(t *testing.T) {
		m := newMoved(t, nil)
		m.absent("api/v2/users/" + url.PathEscape(m.user.ID) + "/identities")
	},
	"branding, prompts, email templates": func(t *testing.T) {
		newMoved(t, nil).absent("api/v2/branding", "api/v2/prompts", "api/v2/email-templates")
	},
	"attack protection settings": func(t *testing.T) {
		m := newMoved(t, nil)
		m.absent("api/v2/attack-protection/brute-force-protection")
		b := newBrowser(t)
		page := b.get(m.authorizeURL(m.app))
		for range 10 {
			b.login(page, "ada", "not "+password)
		}
		if res := b.login(page, "ada", password); res.StatusCode != http.StatusTooManyRequests {
			t.Errorf("after ten failures: %d", res.StatusCode)
		}
	},
	"custom domains": func(t *testing.T) { newMoved(t, nil).absent("api/v2/custom-domains") },
}
