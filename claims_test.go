package opkit_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

const claimsByName = `{"userinfo":{"name":{"essential":true},"nickname":null,"shoe_size":{"essential":true}},"id_token":{"email":null}}`

// OpenID Connect Core §5.5: claims go where they are asked for, whichever way the
// request took, with consent and after a refresh.
func TestClaimsParameter(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount, permissive: true})
		for _, audience := range []string{"", apiAudience} {
			app := w.register(map[string]any{"jwks": publicJWKS(jose.ES256)})
			params := []string{"scope", "openid", "audience", audience}
			var members any = map[string]any{"userinfo": map[string]any{"name": map[string]any{"essential": true}, "nickname": nil}, "id_token": map[string]any{"email": nil}}
			if audience == "" {
				params = params[:2]
			}
			object := w.object(app, "scope", "openid", "claims", members)
			if audience != "" {
				object["audience"] = audience
			}
			plain := w.authorizeURL(app, append(params, "claims", claimsByName)...)
			_, query, _ := strings.Cut(plain, "?")
			form, err := url.ParseQuery(query)
			if err != nil {
				t.Fatal(err)
			}
			for name, begin := range map[string]func(b *browser) *response{
				"query":          func(b *browser) *response { return b.get(plain) },
				"form":           func(b *browser) *response { return b.post(w.endpoint.Authorization, form) },
				"pushed":         func(b *browser) *response { return b.get(w.pushed(app, append(params, "claims", claimsByName)...)) },
				"request object": func(b *browser) *response { return b.get(w.authorizeURL(app, "request", w.sign(object))) },
			} {
				b := newBrowser(t)
				tokens := w.redeem(app, b.finish(begin(b)).location(t).Get("code")).json(t)
				if tokens["error"] != nil {
					t.Fatalf("%s: %v", name, tokens)
				}
				for range 2 {
					id, info := claims(t, tokens["id_token"].(string)), w.userinfo(tokens["access_token"].(string)).json(t)
					if id["email"] != "ada@example.com" || id["name"] != nil || id["email_verified"] != nil {
						t.Errorf("%s, audience %q: ID token %v", name, audience, id)
					}
					if info["name"] != "Ada Lovelace" || info["nickname"] != "ada" || info["email"] != nil || info["given_name"] != nil || info["shoe_size"] != nil {
						t.Errorf("%s, audience %q: userinfo %v", name, audience, info)
					}
					tokens = w.token(app, "grant_type", "refresh_token", "refresh_token", tokens["refresh_token"].(string)).json(t)
				}
			}
		}
		if doc := newBrowser(t).get(w.issuer + "/.well-known/openid-configuration").json(t); doc["claims_parameter_supported"] != true {
			t.Errorf("claims_parameter_supported is %v", doc["claims_parameter_supported"])
		}
	})
}

// Without an access token there is no userinfo: what is asked for there is not
// asked of the user either, and the scope's claims are in the ID token.
func TestClaimsOfAnIDTokenAlone(t *testing.T) {
	w := newWorld(t, options{permissive: true})
	app := w.register(nil)
	b := newBrowser(t)
	page := b.login(b.get(w.authorizeURL(app, "response_type", "id_token", "scope", "openid email",
		"claims", `{"userinfo":{"nickname":null},"id_token":{"name":{"essential":true}}}`)), "ada", password)
	if !strings.Contains(page.body, "full name") || strings.Contains(page.body, "nickname") {
		t.Errorf("consent page: %s", text(page.body))
	}
	id := claims(t, b.decide(page, "allow").location(t).Get("id_token"))
	if id["name"] != "Ada Lovelace" || id["email"] != "ada@example.com" || id["nickname"] != nil || id["given_name"] != nil {
		t.Errorf("ID token: %v", id)
	}
}

// What OpenID Connect Core §5.4 puts where, for each response type, by the scope
// alone.
func TestScopeClaimsAreWhereTheyBelong(t *testing.T) {
	w := newWorld(t, options{permissive: true})
	app := w.register(nil)
	for _, rt := range []string{"code", "id_token", "id_token token", "code id_token", "code token", "code id_token token"} {
		for _, scope := range []string{"openid", "openid email", "openid profile email"} {
			got := w.authorize(app, "response_type", rt, "scope", scope)
			idToken, access := got.Get("id_token"), got.Get("access_token")
			if got.Has("code") {
				tokens := w.redeem(app, got.Get("code")).json(t)
				if idToken == "" {
					idToken = tokens["id_token"].(string)
				}
				if access == "" {
					access = tokens["access_token"].(string)
				}
			}
			id := claims(t, idToken)
			alone := access == ""
			if (id["email"] != nil) != (alone && strings.Contains(scope, "email")) || (id["name"] != nil) != (alone && strings.Contains(scope, "profile")) {
				t.Errorf("%s, %s: ID token %v", rt, scope, id)
			}
			if alone {
				continue
			}
			info := w.userinfo(access).json(t)
			if (info["email"] != nil) != strings.Contains(scope, "email") || (info["name"] != nil) != strings.Contains(scope, "profile") || info["sub"] != id["sub"] {
				t.Errorf("%s, %s: userinfo %v", rt, scope, info)
			}
		}
	}
}

// Claims beyond the scope are consented to, each of them, and remembered.
func TestClaimsNeedConsent(t *testing.T) {
	for _, permissive := range []bool{true, false} {
		w := newWorld(t, options{permissive: permissive})
		app := w.register(nil)
		b := newBrowser(t)
		w.authorizeIn(b, app, "scope", "openid")
		silent := func(scope, claims string) string {
			return b.get(w.authorizeURL(app, "scope", scope, "claims", claims, "prompt", "none")).location(t).Get("error")
		}
		for _, claims := range []string{`{"userinfo":{"email":null}}`, `{"id_token":{"email":null}}`, claimsByName} {
			if got := silent("openid", claims); got != "consent_required" {
				t.Errorf("%s without consent: %q", claims, got)
			}
		}
		page := b.get(w.authorizeURL(app, "scope", "openid", "claims", `{"userinfo":{"email":null,"shoe_size":null}}`))
		if body := text(page.body); !strings.Contains(body, "See your email address") || strings.Contains(body, "shoe_size") {
			t.Errorf("consent page: %s", body)
		}
		if got := b.decide(page, "deny").location(t); got.Get("error") != "access_denied" || got.Has("code") {
			t.Errorf("refused: %v", got)
		}
		if got := silent("openid", `{"userinfo":{"email":null}}`); got != "consent_required" {
			t.Errorf("after a refusal: %q", got)
		}
		page = b.get(w.authorizeURL(app, "scope", "openid", "claims", `{"userinfo":{"email":null}}`))
		b.decide(page, "allow").location(t)
		// Remembered, wherever the claim goes; nothing else came with it.
		for claims, want := range map[string]string{
			`{"userinfo":{"email":null}}`: "", `{"id_token":{"email":{"essential":true}}}`: "", `{"userinfo":{"unknown":null}}`: "", "": "",
			`{"userinfo":{"email":null,"name":null}}`: "consent_required", `{"userinfo":{"email_verified":null}}`: "consent_required",
		} {
			if got := silent("openid", claims); got != want {
				t.Errorf("%s: %q, want %q", claims, got, want)
			}
		}
		if got := silent("openid email", ""); got != "consent_required" {
			t.Errorf("the scope of a claim: %q", got)
		}
		// A scope covers its claims.
		b.decide(b.get(w.authorizeURL(app, "scope", "openid profile")), "allow").location(t)
		if got := silent("openid", `{"userinfo":{"name":null,"email":null},"id_token":{"birthdate":null}}`); got != "" {
			t.Errorf("claims of a scope that was consented to: %q", got)
		}
	}
}

// The tenant's own applications are not asked about, and get what they ask for.
func TestClaimsOfFirstPartyClients(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, options{})
	c, _, err := w.provider.Clients().CreateClient(ctx, store.Client{
		TenantID: tenant.DefaultID, FirstParty: true, TokenEndpointAuthMethod: "none", RedirectURIs: []string{appRedirectURI},
	}, "")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := w.stores.Connections.Connection(ctx, tenant.DefaultID, w.connection.ID)
	if err != nil {
		t.Fatal(err)
	}
	conn.EnabledClients = []string{c.ID}
	if err := w.stores.Connections.UpdateConnection(ctx, conn); err != nil {
		t.Fatal(err)
	}
	app := registered{id: c.ID, redirectURI: appRedirectURI}
	b := newBrowser(t)
	got := b.login(b.get(w.authorizeURL(app, "scope", "openid", "claims", claimsByName)), "ada", password).location(t)
	tokens := w.redeem(app, got.Get("code")).json(t)
	if info := w.userinfo(tokens["access_token"].(string)).json(t); info["name"] != "Ada Lovelace" {
		t.Errorf("userinfo %v", info)
	}
}

// A registration that names scopes names the claims too: asking by name does not
// get around it.
func TestClaimsStayWithinTheRegisteredScope(t *testing.T) {
	w := newWorld(t, options{permissive: true})
	app := w.register(map[string]any{"scope": "openid profile"})
	b := newBrowser(t)
	page := b.login(b.get(w.authorizeURL(app, "scope", "openid", "claims", `{"userinfo":{"email":null,"name":null},"id_token":{"phone_number":null}}`)), "ada", password)
	if body := text(page.body); strings.Contains(body, "email address") || strings.Contains(body, "phone") || !strings.Contains(body, "See your full name") {
		t.Errorf("consent page: %s", body)
	}
	tokens := w.redeem(app, b.decide(page, "allow").location(t).Get("code")).json(t)
	if info := w.userinfo(tokens["access_token"].(string)).json(t); info["email"] != nil || info["name"] == nil {
		t.Errorf("userinfo %v", info)
	}
}

// OpenID Connect Core §5.5.1, §3.1.2.2: no tokens for another user than the claim
// sub names, also after a login that the request led to.
func TestClaimsNameTheUser(t *testing.T) {
	w := newWorld(t, options{permissive: true})
	if _, err := w.provider.Connections().CreateUser(context.Background(), store.User{
		TenantID: tenant.DefaultID, ConnectionID: w.connection.ID, Email: "bob@example.com",
	}, password); err != nil {
		t.Fatal(err)
	}
	app := w.register(nil)
	b := newBrowser(t)
	hint := w.redeem(app, w.authorizeIn(b, app).Get("code")).json(t)["id_token"].(string)
	ada := claims(t, hint)["sub"].(string)
	silent := func(params ...string) string {
		got := b.get(w.authorizeURL(app, append([]string{"prompt", "none"}, params...)...)).location(t)
		if got.Has("code") == got.Has("error") {
			t.Errorf("%v: %v", params, got)
		}
		return got.Get("error")
	}
	for claims, want := range map[string]string{
		`{"id_token":{"sub":{"value":"` + ada + `"}}}`:                                         "",
		`{"userinfo":{"sub":{"values":["x","` + ada + `"]}}}`:                                  "",
		`{"id_token":{"sub":{"essential":true}}}`:                                              "",
		`{"id_token":{"sub":{"value":"x"}}}`:                                                   "login_required",
		`{"id_token":{"sub":{"value":""}}}`:                                                    "login_required",
		`{"userinfo":{"sub":{"value":"x"}}}`:                                                   "login_required",
		`{"userinfo":{"sub":{"value":"x"}},"id_token":{"sub":{"value":"` + ada + `"}}}`:        "login_required",
		`{"id_token":{"sub":{"value":"` + strings.ToUpper(ada) + `"}}}`:                        "login_required",
		`{"id_token":{"sub":{"values":["` + ada + ` "]}}}`:                                     "login_required",
		`{"userinfo":{"sub":{"value":"` + ada + `"}},"id_token":{"sub":{"values":["a","b"]}}}`: "login_required",
	} {
		if got := silent("claims", claims); got != want {
			t.Errorf("%s: %q, want %q", claims, got, want)
		}
		// Whom the hint names is one more condition.
		if got := silent("claims", claims, "id_token_hint", hint); got != want {
			t.Errorf("%s with a hint: %q, want %q", claims, got, want)
		}
	}
	other := newBrowser(t)
	page := other.get(w.authorizeURL(app, "claims", `{"id_token":{"sub":{"value":"`+ada+`"}}}`))
	res := other.login(page, "bob@example.com", password)
	if strings.Contains(res.body, "consent-allow") || res.location(t).Get("error") != "login_required" || res.location(t).Has("code") {
		t.Errorf("bob signed in where ada was expected: %d %s", res.StatusCode, text(res.body))
	}
	if got := other.finish(other.get(w.authorizeURL(app, "prompt", "login", "claims", `{"id_token":{"sub":{"value":"`+ada+`"}}}`))).location(t); !got.Has("code") {
		t.Errorf("ada signed in: %v", got)
	}
}

// A client with pairwise subjects names the user as it knows them.
func TestClaimsNameAPairwiseSubject(t *testing.T) {
	w := newWorld(t, options{permissive: true})
	app := w.register(map[string]any{"subject_type": "pairwise"})
	b := newBrowser(t)
	sub := claims(t, w.redeem(app, w.authorizeIn(b, app).Get("code")).json(t)["id_token"].(string))["sub"].(string)
	for value, want := range map[string]string{sub: "", w.user.ID: "login_required"} {
		got := b.get(w.authorizeURL(app, "prompt", "none", "claims", `{"id_token":{"sub":{"value":"`+value+`"}}}`)).location(t)
		if got.Get("error") != want || got.Has("code") != (want == "") {
			t.Errorf("sub %s: %v, want %q", value, got, want)
		}
	}
}

// A parameter that is malformed is refused before anybody is asked anything, and
// nothing is stored.
func TestMalformedClaimsAreRefused(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount})
		app := w.register(nil)
		for name, claims := range map[string]string{
			"not JSON": "{", "a list": "[]", "a claim twice": `{"userinfo":{"name":null,"name":null}}`, "sub as a number": `{"id_token":{"sub":{"value":1}}}`,
			"too deep": strings.Repeat(`{"x":`, 9) + "1" + strings.Repeat("}", 9), "too large": `{"x":"` + strings.Repeat("x", 9<<10) + `"}`,
		} {
			b := newBrowser(t)
			res := b.get(w.authorizeURL(app, "claims", claims))
			got := res.location(t)
			if got.Get("error") != "invalid_request" || !strings.HasPrefix(got.Get("error_description"), "claims ") || got.Get("state") == "" || got.Has("code") {
				t.Errorf("%s: %v", name, got)
			}
			if res := w.push(app, "claims", claims); res.StatusCode != http.StatusBadRequest || res.json(t)["error"] != "invalid_request" {
				t.Errorf("%s, pushed: %d %s", name, res.StatusCode, res.body)
			}
			// Also where the client is not proven: a page, not a redirect.
			if res := b.get(w.authorizeURL(app, "claims", claims, "redirect_uri", "https://evil.example/")); !refusedByPage(res, "invalid_request") {
				t.Errorf("%s, unproven: %d %s", name, res.StatusCode, res.Header.Get("Location"))
			}
		}
		grants, err := w.stores.Grants.Grants(context.Background(), tenant.DefaultID, store.GrantFilter{}, store.Page{})
		if err != nil || len(grants) != 0 {
			t.Errorf("grants: %v, %v", grants, err)
		}
	})
}
