package opkit_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/opkit/opkit"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
	"github.com/opkit/opkit/token"
)

// One hook gives claims to the ID token, the access token and userinfo, and is told
// by whom, how and for what they are asked for.
func TestCustomClaims(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		const name = "https://example.com/about"
		w := newWorld(t, options{mount: mount, permissive: true, config: func(c *opkit.Config) {
			c.Claims = func(_ context.Context, in token.ClaimsInput) (token.CustomClaims, error) {
				about := []string{in.GrantType, in.Request.Method, in.Client.ID, in.Audience}
				if in.User != nil {
					about = append(about, in.User.ID, in.Connection.Name, in.Grant.UserID, in.Grant.ClientID)
				}
				claims := map[string]any{name: strings.Join(about, " "), "email": "evil@example.com"}
				return token.CustomClaims{IDToken: claims, AccessToken: claims, UserInfo: claims}, nil
			}
		}})
		app := w.register(nil)
		user := " " + w.user.ID + " " + w.connection.Name + " " + w.user.ID + " " + app.id
		check := func(what string, got map[string]any, want string) {
			t.Helper()
			if got[name] != want || got["email"] == "evil@example.com" {
				t.Errorf("%s: %v, want %q", what, got, want)
			}
		}
		answer := w.authorize(app, "audience", apiAudience, "scope", "openid email appointments", "response_type", "code id_token token")
		check("ID token of the response", claims(t, answer.Get("id_token")), "implicit POST "+app.id+" "+apiAudience+user)
		check("access token of the response", claims(t, answer.Get("access_token")), "implicit POST "+app.id+" "+apiAudience+user)
		tokens := w.redeem(app, answer.Get("code")).json(t)
		check("ID token", claims(t, tokens["id_token"].(string)), "authorization_code POST "+app.id+" "+apiAudience+user)
		check("access token", claims(t, tokens["access_token"].(string)), "authorization_code POST "+app.id+" "+apiAudience+user)
		tokens = w.token(app, "grant_type", "refresh_token", "refresh_token", tokens["refresh_token"].(string)).json(t)
		check("refreshed ID token", claims(t, tokens["id_token"].(string)), "refresh_token POST "+app.id+" "+apiAudience+user)
		check("userinfo", w.userinfo(tokens["access_token"].(string)).json(t), " GET "+app.id+" "+apiAudience+user)
		check("access token of a client", claims(t, w.managementToken()), "client_credentials POST "+machineID+" "+w.issuer+"/api/v2/")
	})
}

// An access token that gets too large is an error that says so, at the token endpoint
// and at the redirect URI. No tokens come of it, and the code is good afterwards.
func TestAccessTokensThatAreTooLarge(t *testing.T) {
	size := 0
	w := newWorld(t, options{permissive: true, config: func(c *opkit.Config) {
		c.Claims = func(context.Context, token.ClaimsInput) (token.CustomClaims, error) {
			return token.CustomClaims{AccessToken: map[string]any{"https://example.com/x": strings.Repeat("x", size)}}, nil
		}
	}})
	app := w.register(nil)
	code := w.authorize(app, "audience", apiAudience).Get("code")
	size = 4096
	got := w.redeem(app, code)
	if out := got.json(t); got.StatusCode != http.StatusInternalServerError || out["error"] != "server_error" ||
		!strings.Contains(out["error_description"].(string), "more than the 4096 that are allowed") || out["access_token"] != nil || out["id_token"] != nil {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
	front := w.authorize(app, "audience", apiAudience, "response_type", "id_token token")
	if front.Get("error") != "server_error" || !strings.Contains(front.Get("error_description"), "more than the 4096 that are allowed") || front.Has("access_token") || front.Has("id_token") {
		t.Errorf("authorization response: %v", front)
	}
	size = 0
	if got := w.redeem(app, code); got.StatusCode != http.StatusOK {
		t.Errorf("the code was used up: %d %s", got.StatusCode, got.body)
	}
}

// Scopes beyond the standard ones are the API's, with its words for them on the
// consent page. A scope of another API, or of none, is not there.
func TestConsentDescribesTheScopesOfEachAPI(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		const notes = "https://notes.example.com"
		w := newWorld(t, options{mount: mount})
		ctx := context.Background()
		if _, err := w.provider.Tenants().CreateAPI(ctx, store.API{
			TenantID: tenant.DefaultID, Audience: notes, Name: "Notes", UserPolicy: store.PolicyAllowAll,
			Scopes: []store.APIScope{{Value: "appointments", Description: "Turn notes into <appointments>"}, {Value: "write:notes", Description: "Write notes"}, {Value: "bare"}},
		}); err != nil {
			t.Fatal(err)
		}
		for api, scopes := range map[string][]string{apiAudience: {"appointments", "contacts"}, notes: {"appointments", "write:notes", "bare"}} {
			if _, err := w.provider.Tenants().CreateClientGrant(ctx, store.ClientGrant{
				TenantID: tenant.DefaultID, ClientID: store.DefaultForThirdParty, Audience: api, SubjectType: store.SubjectUser, Scopes: scopes,
			}); err != nil {
				t.Fatal(err)
			}
		}
		app := w.register(nil)
		shown := func(audience string) string {
			b := newBrowser(t)
			page := b.login(b.get(w.authorizeURL(app, "audience", audience, "scope", "openid email appointments contacts write:notes bare nonsense")), "ada@example.com", password)
			if !strings.Contains(page.body, `id="consent-allow"`) {
				t.Fatalf("no consent page: %s", text(page.body))
			}
			return text(page.body)
		}
		for audience, want := range map[string]struct{ has, lacks []string }{
			apiAudience: {
				[]string{"About you", "See your email address", "Appointments See your appointments See your contacts"},
				[]string{"Notes", "Turn notes", "bare", "nonsense"},
			},
			notes: {
				[]string{"See your email address", "Notes Turn notes into <appointments> Write notes bare"},
				[]string{"See your appointments", "See your contacts", "nonsense"},
			},
		} {
			page := shown(audience)
			for _, phrase := range want.has {
				if !strings.Contains(page, phrase) {
					t.Errorf("%s: the consent page lacks %q: %s", audience, phrase, page)
				}
			}
			for _, phrase := range want.lacks {
				if strings.Contains(page, phrase) {
					t.Errorf("%s: the consent page has %q: %s", audience, phrase, page)
				}
			}
		}
	})
}
