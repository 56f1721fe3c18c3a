package opkit_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/opkit/opkit"
)

// RFC 6750 §2.3, where the host wants it: with GET, at userinfo alone, and for
// applications that are not strict.
func TestUserInfoTokenInQuery(t *testing.T) {
	for _, tt := range []struct {
		name             string
		insecure, strict bool
		want             string
	}{
		{"off", false, false, "401"},
		{"on", true, false, "200"},
		{"on, a strict application", true, true, "400 invalid_request"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onEveryMount(t, func(t *testing.T, mount string) {
				w := newWorld(t, options{mount: mount, permissive: !tt.strict, config: func(c *opkit.Config) { c.InsecureUserInfoTokenInQuery = tt.insecure }})
				app := w.register(nil)
				token := w.redeem(app, w.authorizeIn(newBrowser(t), app).Get("code")).json(t)["access_token"].(string)
				query := "?" + url.Values{"access_token": {token}}.Encode()
				outcome := func(res *response) string {
					switch {
					case res.StatusCode == http.StatusUnauthorized && res.body == "":
						return "401"
					case res.StatusCode == http.StatusOK && res.json(t)["sub"] == w.user.ID:
						return "200"
					case res.StatusCode == http.StatusBadRequest:
						return "400 " + res.json(t)["error"].(string)
					}
					return res.body
				}
				b := newBrowser(t)
				if got := outcome(b.get(w.endpoint.UserInfo + query)); got != tt.want {
					t.Errorf("GET: %s, want %s", got, tt.want)
				}
				if res := b.post(w.endpoint.UserInfo+query, nil); res.StatusCode == http.StatusOK {
					t.Errorf("POST: %s", res.body)
				}
				for _, query := range []string{"?access_token=", "?access_token=x&access_token=y", "?access_token=%zz", "?access_token=x"} {
					if res := b.get(w.endpoint.UserInfo + query); res.StatusCode != http.StatusUnauthorized && res.StatusCode != http.StatusBadRequest {
						t.Errorf("%s: %d %s", query, res.StatusCode, res.body)
					}
				}
				if res := b.get(w.endpoint.Introspection + query); res.StatusCode == http.StatusOK {
					t.Errorf("introspection: %s", res.body)
				}
				if res := w.userinfo(token); res.StatusCode != http.StatusOK {
					t.Errorf("in the header: %d %s", res.StatusCode, res.body)
				}
			})
		})
	}
}
