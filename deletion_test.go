package opkit_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/opkit/opkit/tenant"
)

// Once a client is deleted nothing that it holds is worth anything, whichever way
// it is presented.
func TestADeletedClientIsDeadEverywhere(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount})
		app, other := w.register(nil), w.register(nil)
		b := newBrowser(t)
		tokens := w.redeem(app, w.authorizeIn(b, app, "scope", "openid offline_access").Get("code")).json(t)
		code := w.authorizeIn(b, app, "scope", "openid offline_access").Get("code")
		access, refresh := tokens["access_token"].(string), tokens["refresh_token"].(string)
		theirs := w.redeem(other, w.authorizeIn(b, other, "scope", "openid").Get("code")).json(t)["access_token"].(string)
		pushed := w.as(app, w.endpoint.PushedAuthorizationRequest, "redirect_uri", app.redirectURI, "response_type", "code", "scope", "openid",
			"code_challenge", challenge(), "code_challenge_method", "S256").json(t)["request_uri"].(string)
		open := b.get(w.authorizeURL(app, "prompt", "consent")) // a consent page that is still open
		if w.userinfo(access).StatusCode != http.StatusOK || code == "" || pushed == "" {
			t.Fatal("nothing is alive to begin with")
		}

		if err := w.provider.Clients().DeleteClient(context.Background(), tenant.DefaultID, app.id); err != nil {
			t.Fatal(err)
		}
		if res := w.userinfo(access); res.StatusCode != http.StatusUnauthorized {
			t.Errorf("userinfo: %d", res.StatusCode)
		}
		for name, res := range map[string]*response{
			"refresh":       w.token(app, "grant_type", "refresh_token", "refresh_token", refresh),
			"code":          w.redeem(app, code),
			"introspection": w.as(app, w.endpoint.Introspection, "token", access),
			"push":          w.as(app, w.endpoint.PushedAuthorizationRequest, "response_type", "code"),
		} {
			if res.StatusCode != http.StatusUnauthorized || res.json(t)["error"] != "invalid_client" {
				t.Errorf("%s: %d %s", name, res.StatusCode, res.body)
			}
		}
		for name, res := range map[string]*response{
			"authorize":      b.get(w.authorizeURL(app)),
			"pushed request": b.get(w.endpoint.Authorization + "?client_id=" + app.id + "&request_uri=" + pushed),
			"consent":        b.decide(open, "allow"),
		} {
			if res.StatusCode/100 != 4 || res.Header.Get("Location") != "" || !strings.Contains(res.body, "<html") {
				t.Errorf("%s: %d, Location %q: %s", name, res.StatusCode, res.Header.Get("Location"), text(res.body))
			}
		}
		if res := w.userinfo(theirs); res.StatusCode != http.StatusOK {
			t.Errorf("another client's token: %d %s", res.StatusCode, res.body)
		}
	})
}
