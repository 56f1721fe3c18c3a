package opkit_test

import (
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/opkit/opkit"
	"github.com/opkit/opkit/store"
)

func insecureUnsigned(c *opkit.Config) { c.InsecureUnsignedIDTokens = true }

// OpenID Connect Core §2, §3.1.3.7: an ID token without a signature comes from the
// token endpoint, and proves nothing to anybody else.
func TestUnsignedIDToken(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount, permissive: true, config: insecureUnsigned})
		app := w.register(map[string]any{
			"id_token_signed_response_alg": "none", "response_types": []string{"code"},
			"post_logout_redirect_uris": []string{afterLogout},
		})
		b := newBrowser(t)
		tokens := w.redeem(app, w.authorizeIn(b, app, "scope", "openid offline_access").Get("code")).json(t)
		refreshed := w.token(app, "grant_type", "refresh_token", "refresh_token", tokens["refresh_token"].(string)).json(t)
		for from, raw := range map[string]any{"code": tokens["id_token"], "refresh token": refreshed["id_token"]} {
			idToken, _ := raw.(string)
			parts := strings.Split(idToken, ".")
			if len(parts) != 3 || parts[2] != "" || !strings.Contains(decode(t, parts[0]), `"alg":"none"`) || strings.Contains(decode(t, parts[0]), "kid") {
				t.Fatalf("%s: %q", from, idToken)
			}
			got := claims(t, idToken)
			if got["iss"] != w.issuer || got["aud"] != app.id || got["sub"] != w.user.ID || got["exp"] == nil || got["at_hash"] != nil {
				t.Errorf("%s: %v", from, got)
			}
			// Anybody could have made it.
			res := b.get(w.endSession("id_token_hint", idToken, "post_logout_redirect_uri", afterLogout))
			wantHeading(t, res, http.StatusBadRequest, "Logout error")
			if !w.signedIn(b, app) {
				t.Fatalf("%s: the hint logged the user out", from)
			}
			if got := b.get(w.authorizeURL(app, "prompt", "none", "id_token_hint", idToken)).location(t); got.Get("error") != "login_required" {
				t.Errorf("%s: as a hint about the user: %v", from, got)
			}
		}
	})
}

// A record that was written past the registration leads to no unsigned token in a
// browser, and without the setting to none at all.
func TestUnsignedIDTokenHasNoOtherWay(t *testing.T) {
	for _, on := range []bool{true, false} {
		w := newWorld(t, options{permissive: true, config: func(c *opkit.Config) { c.InsecureUnsignedIDTokens = on }})
		app := w.register(nil)
		code := w.authorize(app).Get("code") // which confirms the client
		stored, err := w.stores.Clients.Client(t.Context(), "default", app.id)
		if err != nil {
			t.Fatal(err)
		}
		stored.Metadata = &store.ClientMetadata{IDTokenSignedResponseAlg: "none"}
		if err := w.stores.Clients.UpdateClient(t.Context(), stored); err != nil {
			t.Fatal(err)
		}
		b := newBrowser(t)
		for _, responseType := range []string{"id_token", "id_token token", "code id_token", "code id_token token"} {
			if got := w.authorizeIn(b, app, "response_type", responseType); got.Get("error") != "server_error" || got.Has("id_token") || got.Has("access_token") || got.Has("code") {
				t.Errorf("%v, %s: %v", on, responseType, got)
			}
		}
		res := w.redeem(app, code)
		if on != (res.StatusCode == http.StatusOK) || !on && res.json(t)["error"] != "server_error" {
			t.Errorf("%v: %d %s", on, res.StatusCode, res.body)
		}
		advertised := newBrowser(t).get(w.issuer + "/.well-known/openid-configuration").json(t)["id_token_signing_alg_values_supported"].([]any)
		if slices.Contains(advertised, any("none")) != on {
			t.Errorf("%v: the metadata has %v", on, advertised)
		}
	}
}

// decode decodes a part of a JWT.
func decode(t testing.TB, part string) string {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
