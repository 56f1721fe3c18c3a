package opkit_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// skipConsent lets first-party clients have access to the world's API unasked, or not.
func (w *world) skipConsent(skip bool) {
	w.t.Helper()
	body := `{"skip_consent_for_verifiable_first_party_clients":` + map[bool]string{true: "true", false: "false"}[skip] + `}`
	res := w.sendJSON(http.MethodPatch, w.endpoint.Management+"/resource-servers/"+apiAudience, w.managementToken(), body)
	if res.StatusCode != http.StatusOK || res.json(w.t)["skip_consent_for_verifiable_first_party_clients"] != skip {
		w.t.Fatalf("%d %s", res.StatusCode, res.body)
	}
}

// own makes a client of the tenant's own that returns to redirectURI.
func (w *world) own(redirectURI string) registered {
	w.t.Helper()
	ctx := context.Background()
	applicationType := "web"
	if !strings.HasPrefix(redirectURI, "https:") {
		applicationType = "native"
	}
	c, _, err := w.provider.Clients().CreateClient(ctx, store.Client{
		TenantID: tenant.DefaultID, Name: "Own", FirstParty: true, TokenEndpointAuthMethod: "none", RedirectURIs: []string{redirectURI},
		ApplicationType: applicationType, GrantTypes: []string{"authorization_code", "refresh_token"},
	}, "")
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.provider.Connections().Update(ctx, tenant.DefaultID, w.connection.ID, func(conn *store.Connection) error {
		conn.EnabledClients = append(conn.EnabledClients, c.ID)
		return nil
	}); err != nil {
		w.t.Fatal(err)
	}
	return registered{c.ID, "", redirectURI}
}

// asks signs in with a browser and reports whether the consent page came. It does not
// press a button there.
func (w *world) asks(b *browser, app registered, params ...string) bool {
	w.t.Helper()
	res := b.get(w.authorizeURL(app, params...))
	if strings.Contains(res.body, `id="login-submit"`) {
		res = b.login(res, "ada@example.com", password)
	}
	if strings.Contains(res.body, `id="consent-allow"`) {
		return true
	}
	if got := res.location(w.t); got.Get("code") == "" {
		w.t.Errorf("neither asked nor allowed: %v", got)
	}
	return false
}

// A client of the tenant's own is asked about unless the API says that it need not be.
// What returns to the user's device may be anybody and is always asked about, but for
// the provider itself.
func TestConsentOfFirstPartyClients(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount})
		origin := strings.TrimSuffix(w.issuer, "/auth")
		for _, tc := range []struct {
			name, redirectURI string
			// Whether the user is asked: without an API, with one that allows skipping, and
			// with one that does not.
			noAPI, skips, asks bool
		}{
			{"a website", "https://own.example.com/cb", false, false, true},
			{"a website on another port", "https://own.example.com:8443/cb", false, false, true},
			{"a name that looks like loopback", "https://127.0.0.1.example.com/cb", false, false, true},
			{"a name that begins like it", "https://localhost.example.com/cb", false, false, true},
			{"loopback", "http://127.0.0.1/cb", true, true, true},
			{"loopback, version 6", "http://[::1]/cb", true, true, true},
			{"localhost", "http://localhost:3000/cb", true, true, true},
			{"localhost over https", "https://localhost/cb", true, true, true},
			{"loopback over https", "https://127.0.0.1:8443/cb", true, true, true},
			{"a private scheme", "com.example.own:/cb", true, true, true},
			{"the provider itself", origin + "/console/callback", false, false, true},
			{"another port of its host", "http://127.0.0.1:1/console/callback", true, true, true},
		} {
			app := w.own(tc.redirectURI)
			for _, use := range []struct {
				name, audience string
				skip, want     bool
			}{{"no API", "", false, tc.noAPI}, {"an API that skips", apiAudience, true, tc.skips}, {"an API that asks", apiAudience, false, tc.asks}} {
				w.skipConsent(use.skip)
				b := newBrowser(t)
				if got := w.asks(b, app, "audience", use.audience, "scope", "openid email appointments"); got != use.want {
					t.Errorf("%s, %s: asked %v, want %v", tc.name, use.name, got, use.want)
				}
			}
		}
	})
}

func TestPromptsOfFirstPartyClients(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount})
		app := w.own(appRedirectURI)
		b := newBrowser(t)
		if w.asks(b, app) {
			t.Fatal("asked without an API")
		}
		silent := func(want string, params ...string) {
			t.Helper()
			got := b.get(w.authorizeURL(app, append([]string{"prompt", "none", "audience", apiAudience}, params...)...)).location(t)
			if got.Get("error") != want || got.Has("code") != (want == "") {
				t.Errorf("%v: %v, want %q", params, got, want)
			}
		}
		grants := func() []store.Grant {
			list, err := w.stores.Grants.Grants(context.Background(), tenant.DefaultID, store.GrantFilter{UserID: w.user.ID, ClientID: app.id}, store.Page{})
			if err != nil {
				t.Fatal(err)
			}
			return list
		}
		// prompt=none: consent_required where the user would be asked, and nothing is
		// stored.
		before := len(grants())
		silent("consent_required", "scope", "openid appointments")
		if len(grants()) != before {
			t.Error("an error stored a grant")
		}
		w.skipConsent(true)
		silent("", "scope", "openid appointments")
		// prompt=consent asks whatever the API says, and refusing refuses.
		page := b.get(w.authorizeURL(app, "prompt", "consent", "audience", apiAudience, "scope", "openid appointments"))
		if got := b.decide(page, "deny").location(t); got.Get("error") != "access_denied" {
			t.Errorf("refused: %v", got)
		}
		// Once users are to be asked again, what nobody was asked for is not allowed.
		w.skipConsent(false)
		silent("consent_required", "scope", "openid appointments")
		page = b.get(w.authorizeURL(app, "audience", apiAudience, "scope", "openid appointments"))
		if strings.Contains(text(page.body), "has changed its name") {
			t.Error("the page says that the application changed, which is not why it asks")
		}
		if got := b.decide(page, "allow").location(t); got.Get("code") == "" {
			t.Fatalf("allowed: %v", got)
		}
		silent("", "scope", "openid appointments") // remembered
		// More is asked for again.
		silent("consent_required", "scope", "openid appointments contacts")
		w.skipConsent(true)
		silent("", "scope", "openid appointments contacts")
		w.skipConsent(false)
		silent("consent_required", "scope", "openid contacts")
	})
}

// The tenant's default API counts as asked for.
func TestTheDefaultAPIDecidesOverConsent(t *testing.T) {
	w := newWorld(t, options{})
	app := w.own(appRedirectURI)
	if _, err := w.provider.Tenants().UpdateSettings(context.Background(), tenant.DefaultID, func(s *store.TenantSettings) error {
		s.DefaultAudience = apiAudience
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if !w.asks(newBrowser(t), app) {
		t.Error("not asked")
	}
	w.skipConsent(true)
	if w.asks(newBrowser(t), app) {
		t.Error("asked")
	}
}

// A refresh token gives nothing that was not granted, whether the user was asked or
// not.
func TestARefreshOfFirstPartyClientsAddsNothing(t *testing.T) {
	w := newWorld(t, options{})
	w.skipConsent(true)
	app := w.own(appRedirectURI)
	tokens := w.redeem(app, w.authorize(app, "audience", apiAudience, "scope", "openid appointments offline_access").Get("code")).json(t)
	refresh := func(scope string) *response {
		t.Helper()
		return w.token(app, "grant_type", "refresh_token", "refresh_token", tokens["refresh_token"].(string), "scope", scope)
	}
	if res := refresh("contacts"); res.StatusCode != http.StatusBadRequest || res.json(t)["error"] != "invalid_scope" {
		t.Errorf("another scope: %d %s", res.StatusCode, res.body)
	}
	res := refresh("openid appointments contacts")
	if got := claims(t, res.json(t)["access_token"].(string)); got["scope"] != "openid appointments" {
		t.Errorf("more scope: %v", got)
	}
}

// The whole story of an application that registers itself and is adopted: users are
// asked, then not, then asked again, also for what it got while they were not.
func TestARegisteredApplicationIsMadeFirstPartyAndBack(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		for _, by := range []string{"management API", "console"} {
			w := newWorld(t, options{mount: mount, permissive: true})
			w.skipConsent(true)
			app := w.register(nil)
			s := newConsole(w)
			vouch := func(firstParty bool) {
				t.Helper()
				if by == "console" {
					action := map[bool]string{true: "first-party", false: "third-party"}[firstParty]
					s.saved(s.send("/applications/one", "id", app.id, "action", action), "is "+strings.ReplaceAll(action, "-", " ")+" now")
					return
				}
				res := w.sendJSON(http.MethodPatch, w.endpoint.Management+"/clients/"+app.id, w.managementToken(),
					`{"is_first_party":`+map[bool]string{true: "true", false: "false"}[firstParty]+`}`)
				if res.StatusCode != http.StatusOK || res.json(t)["is_first_party"] != firstParty {
					t.Fatalf("%d %s", res.StatusCode, res.body)
				}
			}
			b := newBrowser(t)
			scope := func(scope string) []string { return []string{"audience", apiAudience, "scope", scope} }

			// Registered: the user is asked, and the answer is remembered.
			if !w.asks(b, app, scope("openid appointments")...) {
				t.Fatal("a third party was not asked about")
			}
			w.authorizeIn(b, app, scope("openid appointments")...)
			if w.asks(b, app, scope("openid appointments")...) {
				t.Error("asked twice")
			}
			// First party: more is there without a question.
			vouch(true)
			if w.asks(b, app, scope("openid appointments contacts")...) {
				t.Error("a first party was asked about")
			}
			if newcomer := newBrowser(t); w.asks(newcomer, app, scope("openid email appointments")...) {
				t.Error("a first party was asked about")
			}
			// Third party again: nobody was asked for the contacts, so that they are not
			// allowed; what is asked for is asked for anew.
			vouch(false)
			if !w.asks(b, app, scope("openid contacts")...) {
				t.Errorf("%s: what it got as a first party counts as allowed", by)
			}
			got := b.get(w.authorizeURL(app, append(scope("openid contacts"), "prompt", "none")...)).location(t)
			if got.Get("error") != "consent_required" {
				t.Errorf("prompt=none: %v", got)
			}
			w.authorizeIn(b, app, scope("openid appointments")...)
			if w.asks(b, app, scope("openid appointments")...) || !w.asks(b, app, scope("openid contacts")...) {
				t.Error("what was allowed then is not what is remembered")
			}
		}
	})
}
