package opkit_test

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestSecretRotation(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount})
		app := w.register(nil)
		admin, api := w.managementToken(), w.endpoint.Management+"/clients/"
		tokens := w.redeem(app, w.authorize(app, "scope", "openid offline_access").Get("code")).json(t)
		refresh := tokens["refresh_token"].(string)
		works := func(secret string, want int) {
			t.Helper()
			res := w.token(registered{id: app.id, secret: secret}, "grant_type", "refresh_token", "refresh_token", refresh)
			if res.StatusCode != want {
				t.Errorf("refresh: %d %s, want %d", res.StatusCode, res.body, want)
			}
			if res.StatusCode == 200 {
				refresh = res.json(t)["refresh_token"].(string)
			} else if res.json(t)["error"] != "invalid_client" {
				t.Errorf("refresh: %s", res.body)
			}
		}
		rotate := func(body string) string {
			t.Helper()
			res := w.sendJSON(http.MethodPost, api+app.id+"/rotate-secret", admin, body)
			out := res.json(t)
			secret, _ := out["client_secret"].(string)
			if res.StatusCode != 200 || secret == "" || out["client_id"] != app.id || out["is_first_party"] != false || out["name"] != "My Dynamic Client" ||
				res.Header.Get("Cache-Control") != "no-store" {
				t.Fatalf("rotation: %d %s", res.StatusCode, res.body)
			}
			return secret
		}
		second := rotate(`{"overlap":3600}`)
		works(second, 200)
		works(app.secret, 200)
		w.clock.advance(time.Hour)
		works(app.secret, 401)
		works(second, 200)
		admin = w.managementToken()
		third := rotate("") // at once
		works(second, 401)
		works(third, 200)

		for _, c := range []struct {
			method, id, bearer, body string
			status                   int
			text                     string
		}{
			{"POST", app.id, "", ``, 401, ""},
			{"POST", app.id, "wrong", ``, 401, ""},
			{"GET", app.id, admin, ``, 405, ""},
			{"POST", "unknown", admin, ``, 404, "does not exist"},
			{"POST", strings.Repeat("x", 300), admin, ``, 404, "does not exist"},
			{"POST", app.id, admin, `{"overlap":-1}`, 400, "overlap must be"},
			{"POST", app.id, admin, `{"overlap":2592001}`, 400, "overlap must be"},
			{"POST", app.id, admin, `{"overlap":"1"}`, 400, "overlap must be an integer"},
			{"POST", app.id, admin, `{"client_secret":"chosen"}`, 400, "unknown member client_secret"},
			{"POST", w.register(map[string]any{"token_endpoint_auth_method": "none"}).id, admin, ``, 400, "no_client_secret"},
		} {
			res := w.sendJSON(c.method, api+c.id+"/rotate-secret", c.bearer, c.body)
			if res.StatusCode != c.status || !strings.Contains(res.body, c.text) {
				t.Errorf("%s %.20s %s: %d %s; want %d %q", c.method, c.id, c.body, res.StatusCode, res.body, c.status, c.text)
			}
		}
		works(third, 200)
	})
}
