package opkit_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/opkit/opkit"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// OpenID Connect Core §3.1.2.2: no tokens for another user than id_token_hint
// names, not even after a login that the request itself asked for.
func TestIDTokenHintHoldsTheLogin(t *testing.T) {
	for _, alg := range []string{"RS256", "HS256"} {
		w := newWorld(t, options{permissive: true})
		app := w.register(map[string]any{"id_token_signed_response_alg": alg})
		if _, err := w.provider.Connections().CreateUser(context.Background(), store.User{
			TenantID: tenant.DefaultID, ConnectionID: w.connection.ID, Email: "bob@example.com",
		}, password); err != nil {
			t.Fatal(err)
		}
		b := newBrowser(t)
		hint := w.redeem(app, w.authorizeIn(b, app).Get("code")).json(t)["id_token"].(string)
		if got := b.get(w.authorizeURL(app, "prompt", "none", "id_token_hint", hint)).location(t); !got.Has("code") {
			t.Errorf("%s: the user's own hint: %v", alg, got)
		}
		other := newBrowser(t)
		res := other.login(other.get(w.authorizeURL(app, "id_token_hint", hint)), "bob@example.com", password)
		if strings.Contains(res.body, "consent-allow") || res.location(t).Get("error") != "login_required" {
			t.Errorf("%s: bob signed in where ada was expected: %d %s", alg, res.StatusCode, text(res.body))
		}
		// A hint that was issued to another client, and one that is not ours.
		foreign := w.register(nil)
		for name, hint := range map[string]string{"foreign": hint, "made up": "e30.e30.e30", "altered": hint[:len(hint)-3] + "AAA"} {
			client := app
			if name == "foreign" {
				client = foreign
				w.authorizeIn(b, foreign)
			}
			if got := b.get(w.authorizeURL(client, "prompt", "none", "id_token_hint", hint)).location(t); got.Get("error") != "login_required" {
				t.Errorf("%s: %s hint: %v", alg, name, got)
			}
		}
	}
}

// What a consent page showed is what it grants, whatever an administrator changes
// while it is open.
func TestConsentGrantsWhatItShowed(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, options{permissive: true})
	app := w.register(nil)
	b := newBrowser(t)
	page := b.login(b.get(w.authorizeURL(app, "audience", apiAudience, "scope", "openid appointments admin:everything")), "ada", password)
	if strings.Contains(page.body, "admin:everything") {
		t.Fatal("the page shows a scope that does not exist")
	}
	api, err := w.stores.APIs.APIByAudience(ctx, tenant.DefaultID, apiAudience)
	if err != nil {
		t.Fatal(err)
	}
	api.Scopes = append(api.Scopes, store.APIScope{Value: "admin:everything"})
	if err := w.stores.APIs.UpdateAPI(ctx, api); err != nil {
		t.Fatal(err)
	}
	again := b.decide(page, "allow")
	if !strings.Contains(again.body, "admin:everything") {
		t.Fatalf("not asked again: %d %s", again.StatusCode, again.Header.Get("Location"))
	}
	if got := b.decide(again, "allow").location(t); !got.Has("code") {
		t.Errorf("after the second page: %v", got)
	}
}

// A refresh token is consented to, also where no scope says so.
func TestLastingAccessNeedsConsent(t *testing.T) {
	w := newWorld(t, options{permissive: true})
	app := w.register(map[string]any{
		"grant_types": []string{"authorization_code", "implicit", "refresh_token"}, "response_types": []string{"code", "token"},
	})
	b := newBrowser(t)
	page := b.login(b.get(w.authorizeURL(app, "response_type", "token")), "ada", password)
	if strings.Contains(page.body, "while you are away") {
		t.Error("the page for an access token speaks of lasting access")
	}
	b.decide(page, "allow")
	if got := b.get(w.authorizeURL(app, "prompt", "none")).location(t); got.Get("error") != "consent_required" {
		t.Errorf("a refresh token without consent: %v", got)
	}
	page = b.get(w.authorizeURL(app))
	if !strings.Contains(page.body, "while you are away") {
		t.Errorf("the page does not speak of lasting access: %s", text(page.body))
	}
	got := b.decide(page, "allow").location(t)
	if w.redeem(app, got.Get("code")).json(t)["refresh_token"] == nil {
		t.Error("no refresh token although the grant type is registered")
	}
}

// A website that registers itself does not learn from a hidden frame who is
// signed in.
func TestSilentRequestsOfStrangersTellNothing(t *testing.T) {
	w := newWorld(t, options{permissive: true})
	app, stranger := w.register(nil), w.register(nil)
	b := newBrowser(t)
	w.authorizeIn(b, app)
	for name, agent := range map[string]*browser{"signed in": b, "signed out": newBrowser(t)} {
		for _, params := range [][]string{{}, {"max_age", "0"}, {"max_age", "10000"}, {"response_mode", "web_message"}} {
			res := agent.get(w.authorizeURL(stranger, append([]string{"prompt", "none"}, params...)...))
			if !strings.Contains(res.Header.Get("Location")+res.body, "login_required") {
				t.Errorf("%s %v: %s %s", name, params, res.Header.Get("Location"), res.body)
			}
		}
	}
}

// The page's session is not enough where the embedding application has signed the
// user out, or another one in.
func TestConsentFollowsTheHost(t *testing.T) {
	for _, now := range []string{"", "eve"} {
		w, h := newHostWorld(t, "root")
		app := w.register(nil)
		b := newBrowser(t)
		h.signIn(b, w, "ada", w.clock.now())
		page := b.get(w.authorizeURL(app))
		h.signIn(b, w, now, w.clock.now())
		if res := b.decide(page, "allow"); strings.Contains(res.Header.Get("Location"), "code=") {
			t.Errorf("consent of ada counted while %q is signed in", now)
		}
	}
}

// A host that does not say when the user signed in cannot meet a limit on it.
func TestUnknownLoginTimeMeetsNoMaxAge(t *testing.T) {
	w, h := newHostWorld(t, "root")
	app := w.register(nil)
	b := newBrowser(t)
	h.signIn(b, w, "ada", time.Time{})
	if res := b.get(w.authorizeURL(app, "max_age", "100")); !strings.HasPrefix(res.Header.Get("Location"), "https://host.example/") {
		t.Errorf("max_age was met: %d %s", res.StatusCode, text(res.body))
	}
}

// Pages and forms cannot reach an application on the device: nothing is minted
// for a mode that could not deliver it.
func TestModesThatCannotReachADevice(t *testing.T) {
	w := newWorld(t, options{permissive: true})
	app := w.register(map[string]any{"redirect_uris": []string{"com.example.app:/cb"}, "token_endpoint_auth_method": "none"})
	b := newBrowser(t)
	w.authorizeIn(b, app)
	for _, mode := range []string{"form_post", "web_message"} {
		if got := b.get(w.authorizeURL(app, "response_mode", mode)).location(t); got.Get("error") != "invalid_request" || got.Has("code") {
			t.Errorf("%s: %v", mode, got)
		}
	}
}

// An error takes the mode that was asked for, also where the response type is
// what is wrong.
func TestErrorsTakeTheModeThatWasAskedFor(t *testing.T) {
	w := newWorld(t, options{permissive: true})
	app := w.register(nil)
	for _, responseType := range []string{"", "nonsense"} {
		res := newBrowser(t).get(w.authorizeURL(app, "response_type", responseType, "response_mode", "form_post"))
		if action, fields := form(t, res); action != app.redirectURI || fields.Get("error") == "" || fields.Get("state") == "" {
			t.Errorf("response_type %q: %s %v", responseType, action, fields)
		}
	}
}

// A default API that is unknown, or closed to the client, fails nothing.
func TestDefaultAudienceFailsNothing(t *testing.T) {
	for _, audience := range []string{"https://unknown.example", apiAudience} {
		w := newWorld(t, options{config: func(c *opkit.Config) { c.Settings.DefaultAudience = audience }})
		if got := w.authorize(w.register(nil)); !got.Has("code") {
			t.Errorf("default audience %s: %v", audience, got)
		}
	}
	w := newWorld(t, options{permissive: true, config: func(c *opkit.Config) { c.Settings.DefaultAudience = apiAudience }})
	app := w.register(nil)
	access := w.redeem(app, w.authorize(app, "scope", "openid appointments").Get("code")).json(t)["access_token"].(string)
	if c := claims(t, access); c["scope"] != "openid appointments" {
		t.Errorf("the default API is not used: %v", c)
	}
}

// A resource is the same with and without the slash after an origin, from the
// first request to the last.
func TestResourceSpellings(t *testing.T) {
	for _, identifier := range []string{"https://mcp.example", "https://mcp.example/"} {
		w := newWorld(t, options{permissive: true})
		if _, err := w.provider.Tenants().CreateAPI(context.Background(), store.API{
			TenantID: tenant.DefaultID, Audience: identifier, UserPolicy: store.PolicyAllowAll, Scopes: []store.APIScope{{Value: "tools"}},
		}); err != nil {
			t.Fatal(err)
		}
		app := w.register(map[string]any{"scope": "tools"})
		for _, sent := range []string{"https://mcp.example", "https://mcp.example/"} {
			code := w.authorize(app, "resource", sent, "scope", "tools").Get("code")
			res := w.token(app, "grant_type", "authorization_code", "code", code, "redirect_uri", app.redirectURI, "code_verifier", verifier, "resource", sent)
			out := res.json(t)
			if res.StatusCode != 200 || claims(t, out["access_token"].(string))["aud"] != identifier {
				t.Fatalf("API %s, resource %s: %d %s", identifier, sent, res.StatusCode, res.body)
			}
			if res := w.token(app, "grant_type", "refresh_token", "refresh_token", out["refresh_token"].(string), "resource", sent); res.StatusCode != 200 {
				t.Errorf("refresh, API %s, resource %s: %d %s", identifier, sent, res.StatusCode, res.body)
			}
		}
	}
}

// RFC 9700 §2.1.1: public clients use PKCE.
func TestOwnPublicClientsNeedPKCE(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, options{})
	c, _, err := w.provider.Clients().CreateClient(ctx, store.Client{
		TenantID: tenant.DefaultID, FirstParty: true, TokenEndpointAuthMethod: "none", RedirectURIs: []string{appRedirectURI},
	}, "")
	if err != nil {
		t.Fatal(err)
	}
	app := registered{id: c.ID, redirectURI: appRedirectURI}
	if got := newBrowser(t).get(w.authorizeURL(app, "code_challenge", "", "code_challenge_method", "")).location(t); got.Get("error") != "invalid_request" {
		t.Errorf("without PKCE: %v", got)
	}
}

// A management token dies with its client and with its client grant.
func TestManagementTokenDiesWithItsClient(t *testing.T) {
	ctx := context.Background()
	for name, withdraw := range map[string]func(w *world) error{
		"client": func(w *world) error { return w.stores.Clients.DeleteClient(ctx, tenant.DefaultID, machineID) },
		"client grant": func(w *world) error {
			grants, err := w.stores.ClientGrants.ClientGrants(ctx, tenant.DefaultID, store.Page{})
			if err != nil {
				return err
			}
			return w.stores.ClientGrants.DeleteClientGrant(ctx, tenant.DefaultID, grants[0].ID)
		},
	} {
		w := newWorld(t, options{})
		bearer := w.managementToken()
		if err := withdraw(w); err != nil {
			t.Fatal(err)
		}
		if res := w.sendJSON("GET", w.endpoint.Management+"/tenants/settings", bearer, ""); res.StatusCode != 401 {
			t.Errorf("%s deleted: %d %s", name, res.StatusCode, res.body)
		}
	}
}

// SDKs for single-page applications read the user from the ID token.
func TestUserClaimsInIDToken(t *testing.T) {
	w := newWorld(t, options{config: func(c *opkit.Config) { c.UserClaimsInIDToken = true }})
	app := w.register(nil)
	id := claims(t, w.redeem(app, w.authorize(app).Get("code")).json(t)["id_token"].(string))
	if id["email"] != "ada@example.com" || id["email_verified"] != true || id["name"] != "Ada Lovelace" {
		t.Errorf("ID token: %v", id)
	}
}
