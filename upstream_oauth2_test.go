package opkit_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// plainOAuth makes the connection one to a server without ID tokens.
func (u *fakeWorld) plainOAuth(t *testing.T, changes map[string]any) {
	t.Helper()
	options := changed(map[string]any{
		"client_id": "here", "client_secret": "upstream secret", "authorizationURL": u.fake.URL + "/authorize?tenant=a", "tokenURL": u.fake.URL + "/token",
		"userinfo_endpoint": u.fake.URL + "/me", "scope": "read:me email",
	}, changes)
	u.upstream = u.connect("plain", "oauth2", options)
}

// A provider without ID tokens says at its userinfo endpoint who the user is, in its own
// words.
func TestUpstreamOAuth2(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		u := newFakeWorld(t, options{mount: mount})
		u.plainOAuth(t, map[string]any{"attribute_map": map[string]any{"mapping_mode": "use_map", "attributes": map[string]any{
			"sub": "account.id", "email": "${context.userinfo.mail}", "name": "display_name", "nickname": "login",
		}}, "upstream_params": map[string]any{"audience": map[string]any{"value": "https://api.example"}, "lang": map[string]any{"alias": "ui_locales"}}})
		u.fake.set(func() {
			u.fake.info = map[string]any{"sub": nil, "account": map[string]any{"id": 4711}, "mail": "Grace@Example.org", "display_name": "Grace", "login": "gh", "email_verified": true, "given_name": "not mapped"}
		})
		b := newBrowser(t)
		sent := u.sent(b, "ui_locales", "de")
		for name, want := range map[string]string{"tenant": "a", "scope": "read:me email", "audience": "https://api.example", "lang": "de", "nonce": "", "code_challenge_method": "S256"} {
			if sent.Get(name) != want {
				t.Errorf("%s %q, want %q", name, sent.Get(name), want)
			}
		}
		code := b.decide(b.get(u.answered(sent, "iss", "")), "allow").location(t).Get("code")
		tokens := u.redeem(u.app, code).json(t)
		if sub := claims(t, tokens["id_token"].(string))["sub"]; sub != "oauth2|"+u.upstream.ID+"|4711" {
			t.Errorf("sub %v", sub)
		}
		users := u.users()
		if len(users) != 1 || users[0].Email != "grace@example.org" || users[0].EmailVerified || users[0].Profile != (store.Profile{Name: "Grace", Nickname: "gh"}) {
			t.Errorf("%+v", users)
		}
		// It cannot say when the user signed in.
		for _, params := range [][]string{{"prompt", "login"}, {"max_age", "60"}} {
			if got := b.get(u.authorizeURL(u.app, append(params, "connection", "plain")...)).location(t); got.Get("error") != "login_required" {
				t.Errorf("%v: %v", params, got)
			}
		}
	})
}

func TestUpstreamOAuth2IsRefused(t *testing.T) {
	u := newFakeWorld(t, options{})
	u.plainOAuth(t, nil)
	for rule, info := range map[string]map[string]any{
		"nobody": {"sub": nil}, "an empty subject": {"sub": ""}, "a subject that is an object": {"sub": map[string]any{"a": 1}},
		"a subject that is true": {"sub": true}, "a subject with a fraction": {"sub": 1.5}, "a subject without end": {"sub": strings.Repeat("x", 600)},
	} {
		b := newBrowser(t)
		u.fake.set(func() { u.fake.info = info })
		if res := b.get(u.answered(u.sent(b), "iss", "")); res.StatusCode != http.StatusBadGateway {
			t.Errorf("%s: %d %s", rule, res.StatusCode, res.Header.Get("Location"))
		}
		u.nothingHappened(t, b)
	}
	u.fake.set(func() { u.fake.info = nil })
	for _, failing := range []string{"/token", "/me"} {
		b := newBrowser(t)
		u.fake.set(func() { u.fake.fail = map[string]int{failing: 500} })
		if res := b.get(u.answered(u.sent(b), "iss", "")); res.StatusCode != http.StatusBadGateway {
			t.Errorf("%s fails: %d", failing, res.StatusCode)
		}
		u.nothingHappened(t, b)
	}
}

// An answer may come as a form, which another site sends; the browser still has to be
// the one that was sent there.
func TestUpstreamFormPost(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		u := newFakeWorld(t, options{mount: mount})
		b, victim := newBrowser(t), newBrowser(t)
		u.sent(victim)
		back := mustParse(t, u.answered(u.sent(b)))
		post := func(b *browser) *response {
			req, err := http.NewRequest(http.MethodPost, u.endpoint.LoginCallback, strings.NewReader(back.RawQuery))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			req.Header.Set("Origin", u.fake.URL)
			req.Header.Set("Sec-Fetch-Site", "cross-site")
			return b.do(req)
		}
		if res := post(victim); res.StatusCode != http.StatusBadRequest {
			t.Errorf("another browser: %d", res.StatusCode)
		}
		u.nothingHappened(t, victim)
		if res := post(b); !strings.Contains(res.body, "consent-allow") {
			t.Errorf("%d %s", res.StatusCode, text(res.body))
		}
		// What comes with it does not make it one of Lock's forms.
		back.RawQuery += "&wresult=x&wa=wsignin1.0"
		if res := post(b); res.StatusCode != http.StatusForbidden {
			t.Errorf("a form of Lock from another site: %d", res.StatusCode)
		}
	})
}

// Who comes to a page of the provider's own signs in elsewhere, too.
func TestUpstreamForTheAccountPage(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		u := newFakeWorld(t, options{mount: mount})
		b := newBrowser(t)
		page := b.get(u.endpoint.Applications)
		var fields url.Values
		action := ""
		for _, m := range formTag.FindAllStringSubmatch(page.body, -1) {
			if strings.Contains(m[2], `value="fake"`) {
				one := *page
				one.body = m[0]
				action, fields = form(t, &one)
			}
		}
		sent := mustParse(t, b.post(action, fields).Header.Get("Location")).Query()
		if res := b.get(u.answered(sent)); res.Header.Get("Location") != u.endpoint.Applications {
			t.Fatalf("%d %s %s", res.StatusCode, res.Header.Get("Location"), text(res.body))
		}
		if res := b.get(u.endpoint.Applications); res.StatusCode != http.StatusOK || strings.Contains(res.body, "Continue with") {
			t.Errorf("%d %s", res.StatusCode, text(res.body))
		}
	})
}

// What the management API takes, keeps and shows of an upstream connection.
func TestUpstreamConnectionsAreManaged(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		u := newFakeWorld(t, options{mount: mount})
		connections := u.endpoint.Management + "/connections"
		manage := func(method, path, body string) *response {
			return u.sendJSON(method, connections+path, u.managementToken(), body)
		}
		one := "/" + u.upstream.ID
		// The secret is shown nowhere, and stored sealed.
		for _, res := range []*response{manage(http.MethodGet, one, ""), manage(http.MethodGet, "", ""), manage(http.MethodPatch, one, `{"display_name":"The fake"}`)} {
			if res.StatusCode != http.StatusOK || strings.Contains(res.body, "secret") || strings.Contains(res.body, "sealed") {
				t.Errorf("%d %s", res.StatusCode, res.body)
			}
		}
		stored := func() string {
			t.Helper()
			c, err := u.stores.Connections.Connection(t.Context(), tenant.DefaultID, u.upstream.ID)
			if err != nil {
				t.Fatal(err)
			}
			return string(c.Options)
		}
		if strings.Contains(stored(), "upstream secret") || !strings.Contains(stored(), `"client_secret":{"sealed":`) {
			t.Errorf("stored options: %s", stored())
		}
		// Options written back as they were read keep it: a sign-in still works.
		options := manage(http.MethodGet, one, "").json(t)["options"].(map[string]any)
		options["icon_url"] = "https://cdn.example/icon.png"
		body, _ := json.Marshal(map[string]any{"options": options})
		if res := manage(http.MethodPatch, one, string(body)); res.StatusCode != http.StatusOK || !strings.Contains(res.body, "icon.png") {
			t.Fatalf("%d %s", res.StatusCode, res.body)
		}
		if res := u.signIn(newBrowser(t)); !strings.Contains(res.body, "consent-allow") {
			t.Errorf("%d %s", res.StatusCode, text(res.body))
		}
		if page := newBrowser(t).get(u.authorizeURL(u.app)); !strings.Contains(page.body, `src="https://cdn.example/icon.png"`) || !strings.Contains(page.body, "Continue with The fake") {
			t.Errorf("%s", page.body)
		}
		was := stored()
		for _, tt := range []struct{ rule, options, mentions string }{
			{"the secret does not follow to another server", `{"client_id":"here","issuer":"` + u.fake.URL + `","token_endpoint":"https://evil.example/token"}`, "options.client_secret has to be sent again"},
			{"users of one issuer are not those of another", `{"client_id":"here","client_secret":"x","issuer":"https://evil.example"}`, "options.issuer cannot name another server"},
			{"keys from elsewhere speak for anybody", `{"client_id":"here","client_secret":"x","issuer":"` + u.fake.URL + `","token_endpoint":"https://evil.example/token","jwks_uri":"https://evil.example/jwks"}`, "options.jwks_uri cannot name another server"},
			{"so does metadata", `{"client_id":"here","client_secret":"x","issuer":"` + u.fake.URL + `","discovery_url":"https://evil.example/.well-known/openid-configuration"}`, "options.discovery_url cannot name another server"},
			{"a sealed secret is not taken from outside", `{"client_id":"here","issuer":"` + u.fake.URL + `","client_secret":{"sealed":"AAAA"}}`, "options.client_secret must be a string"},
		} {
			if res := manage(http.MethodPatch, one, `{"options":`+tt.options+`}`); res.StatusCode != http.StatusBadRequest || !strings.Contains(res.body, tt.mentions) || stored() != was {
				t.Errorf("%s: %d %s", tt.rule, res.StatusCode, res.body)
			}
		}
		for mentions, options := range map[string]string{
			"options.client_id is required":          `{"issuer":"https://op.example"}`,
			"options.issuer is required":             `{"client_id":"a"}`,
			"options.issuer must be an https URL":    `{"client_id":"a","issuer":"http://op.example"}`,
			"options.issuer must have no query":      `{"client_id":"a","issuer":"https://op.example?a"}`,
			"options.discovery_url must end in":      `{"client_id":"a","discovery_url":"https://op.example/"}`,
			"options.client_id must be a string":     `{"client_id":1,"issuer":"https://op.example"}`,
			"options.jwks_uri must be an https URL":  `{"client_id":"a","issuer":"https://op.example","jwks_uri":"https://u:p@op.example/"}`,
			"options.type must be back_channel":      `{"client_id":"a","issuer":"https://op.example","type":"front_channel"}`,
			"options.connection_settings must be":    `{"client_id":"a","issuer":"https://op.example","connection_settings":{"pkce":"plain"}}`,
			"options.token_endpoint_auth_method":     `{"client_id":"a","issuer":"https://op.example","token_endpoint_auth_method":"private_key_jwt"}`,
			"options.scope must":                     `{"client_id":"a","issuer":"https://op.example","scope":"a\"b"}`,
			"options.id_token_signed_response_algs":  `{"client_id":"a","issuer":"https://op.example","id_token_signed_response_algs":["none"]}`,
			"options.domain_aliases must be":         `{"client_id":"a","issuer":"https://op.example","domain_aliases":["Example.com"]}`,
			"options.attribute_map has an attribute": `{"client_id":"a","issuer":"https://op.example","attribute_map":{"attributes":{"user_id":"x"}}}`,
			"options.upstream_params has":            `{"client_id":"a","issuer":"https://op.example","upstream_params":{"redirect_uri":{"value":"https://evil.example"}}}`,
			"options.icon_url must be":               `{"client_id":"a","issuer":"https://op.example","icon_url":"javascript:alert(1)"}`,
			"options.client_secret must be":          `{"client_id":"a","issuer":"https://op.example","client_secret":1}`,
			"options.customScripts is not supported": `{"client_id":"a","issuer":"https://op.example","customScripts":{"a":"b"}}`,
			"options.scripts must be empty":          `{"client_id":"a","issuer":"https://op.example","scripts":{"fetchUserProfile":"x"}}`,
		} {
			res := manage(http.MethodPost, "", `{"name":"bad","strategy":"oidc","options":`+options+`}`)
			if res.StatusCode != http.StatusBadRequest || !strings.Contains(res.json(t)["message"].(string), mentions) {
				t.Errorf("%s: %d %s", mentions, res.StatusCode, res.body)
			}
		}
		for mentions, options := range map[string]string{
			"options.authorizationURL is required":  `{"client_id":"a"}`,
			"options.tokenURL is required":          `{"client_id":"a","authorizationURL":"https://op.example/a"}`,
			"options.userinfo_endpoint is required": `{"client_id":"a","authorizationURL":"https://op.example/a","tokenURL":"https://op.example/t"}`,
		} {
			res := manage(http.MethodPost, "", `{"name":"bad","strategy":"oauth2","options":`+options+`}`)
			if res.StatusCode != http.StatusBadRequest || !strings.Contains(res.json(t)["message"].(string), mentions) {
				t.Errorf("%s: %d %s", mentions, res.StatusCode, res.body)
			}
		}
	})
}

// Users who sign in elsewhere are seen, blocked and deleted here; what the other provider
// says of them is not changed here.
func TestUpstreamUsersAreManaged(t *testing.T) {
	u := newFakeWorld(t, options{})
	b := newBrowser(t)
	tokens := u.redeem(u.app, b.decide(u.signIn(b), "allow").location(t).Get("code")).json(t)
	id := u.users()[0].ID
	manage := func(method, path, body string) *response {
		return u.sendJSON(method, u.endpoint.Management+path, u.managementToken(), body)
	}
	one := "/users/" + url.PathEscape(id)
	got := manage(http.MethodGet, one, "").json(t)
	identity := got["identities"].([]any)[0].(map[string]any)
	if got["email"] != "grace@example.org" || identity["provider"] != "oidc" || identity["connection"] != "fake" || identity["user_id"] != strings.TrimPrefix(id, "oidc|") {
		t.Errorf("%v", got)
	}
	if res := manage(http.MethodGet, "/users-by-email?email=grace@example.org", ""); !strings.Contains(res.body, id) {
		t.Errorf("%d %s", res.StatusCode, res.body)
	}
	for _, body := range []string{`{"email":"other@example.org"}`, `{"email_verified":false}`, `{"password":"a password of this user"}`, `{"name":"Other"}`, `{"username":"other"}`} {
		if res := manage(http.MethodPatch, one, body); res.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %d %s", body, res.StatusCode, res.body)
		}
	}
	if res := manage(http.MethodPost, "/users", `{"connection":"fake","email":"x@example.org","password":"a password of this user"}`); res.StatusCode != http.StatusBadRequest {
		t.Errorf("created: %d %s", res.StatusCode, res.body)
	}
	if user := u.users()[0]; user.Version != 1 {
		t.Errorf("changed: %+v", user)
	}
	if res := manage(http.MethodPatch, one, `{"blocked":true,"app_metadata":{"why":"abuse"}}`); res.StatusCode != http.StatusOK {
		t.Fatalf("%d %s", res.StatusCode, res.body)
	}
	if res := u.userinfo(tokens["access_token"].(string)); res.StatusCode != http.StatusUnauthorized {
		t.Errorf("userinfo of a blocked user: %d", res.StatusCode)
	}
	if res := manage(http.MethodDelete, one, ""); res.StatusCode != http.StatusNoContent || len(u.users()) != 0 {
		t.Errorf("%d %s", res.StatusCode, res.body)
	}
	// Nothing of the password's ways leads to such a user.
	for _, path := range []string{u.endpoint.DatabaseSignup, u.endpoint.DatabaseChangePassword} {
		if res := u.sendJSON(http.MethodPost, path, "", `{"client_id":"`+u.app.id+`","connection":"fake","email":"grace@example.org","password":"a password of this user"}`); res.StatusCode/100 != 4 {
			t.Errorf("%s: %d %s", path, res.StatusCode, res.body)
		}
	}
}
