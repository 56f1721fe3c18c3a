package opkit_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

func TestInitialAccessTokens(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount})
		admin, api := w.managementToken(), w.endpoint.Management+"/initial-access-tokens"
		if res := w.sendJSON(http.MethodPatch, w.endpoint.Management+"/tenants/settings", admin, `{"dynamic_client_registration_access":"initial_access_token"}`); res.StatusCode != 200 {
			t.Fatalf("settings: %d %s", res.StatusCode, res.body)
		}
		// The endpoint is where it was, and says what it needs.
		if m := newBrowser(t).get(w.issuer + "/.well-known/openid-configuration").json(t); m["registration_endpoint"] != w.endpoint.Registration {
			t.Errorf("registration_endpoint %v", m["registration_endpoint"])
		}
		const body = `{"client_name":"Own","redirect_uris":["` + appRedirectURI + `"]}`
		if res := w.sendJSON(http.MethodPost, w.endpoint.Registration, "", body); res.StatusCode != 401 || !strings.HasPrefix(res.Header.Get("WWW-Authenticate"), "Bearer realm=") ||
			res.Header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("without a token: %d %v", res.StatusCode, res.Header)
		}

		made := w.sendJSON(http.MethodPost, api, admin, `{"uses":2,"expires_in":3600,"policy":{"first_party":true,"redirect_hosts":["app.example.com"]}}`)
		out := made.json(t)
		token, _ := out["token"].(string)
		id, _ := out["id"].(string)
		if made.StatusCode != 201 || len(token) != 64 || id != store.DigestOf(token).String() || out["uses"] != 2.0 {
			t.Fatalf("POST: %d %s", made.StatusCode, made.body)
		}
		res := w.sendJSON(http.MethodPost, w.endpoint.Registration, token, body)
		info := res.json(t)
		if res.StatusCode != 201 {
			t.Fatalf("registration: %d %s", res.StatusCode, res.body)
		}
		read := w.sendJSON(http.MethodGet, api+"/"+id, admin, "")
		if out := read.json(t); read.StatusCode != 200 || out["uses"] != 1.0 || out["token"] != nil || out["policy"].(map[string]any)["first_party"] != true {
			t.Errorf("GET: %d %s", read.StatusCode, read.body)
		}

		// A first-party application signs users in through a domain connection, and asks
		// them for nothing.
		app := registered{info["client_id"].(string), info["client_secret"].(string), appRedirectURI}
		b := newBrowser(t)
		if code := b.login(b.get(w.authorizeURL(app)), "ada@example.com", password).location(t).Get("code"); code == "" {
			t.Error("no code after signing in")
		} else if res := w.redeem(app, code); res.StatusCode != 200 {
			t.Errorf("redeeming: %d %s", res.StatusCode, res.body)
		}

		if res := w.sendJSON(http.MethodDelete, api+"/"+id, admin, ""); res.StatusCode != 204 || res.body != "" {
			t.Errorf("DELETE: %d %s", res.StatusCode, res.body)
		}
		if res := w.sendJSON(http.MethodPost, w.endpoint.Registration, token, body); res.StatusCode != 401 || res.json(t)["error"] != "invalid_token" {
			t.Errorf("with a deleted token: %d %s", res.StatusCode, res.body)
		}
	})
}

func TestInitialAccessTokensAPIRefuses(t *testing.T) {
	w := newWorld(t, options{})
	admin, api := w.managementToken(), w.endpoint.Management+"/initial-access-tokens"
	id := w.sendJSON(http.MethodPost, api, admin, `{}`).json(t)["id"].(string)
	for _, c := range []struct {
		method, path, bearer, body string
		status                     int
		text                       string
	}{
		{"POST", "", "", `{}`, 401, "Bearer token"},
		{"GET", "/" + id, "wrong", ``, 401, ""},
		{"GET", "", admin, ``, 405, ""},
		{"PATCH", "/" + id, admin, `{}`, 405, ""},
		{"POST", "/" + id, admin, `{}`, 405, ""},
		{"GET", "/" + strings.Repeat("0", 64), admin, ``, 404, "does not exist"},
		{"GET", "/nonsense", admin, ``, 404, "does not exist"},
		{"DELETE", "/nonsense", admin, ``, 404, "does not exist"},
		{"DELETE", "/" + strings.Repeat("0", 64), admin, ``, 204, ""},
		{"POST", "", admin, `{"uses":0}`, 400, "uses must not be 0"},
		{"POST", "", admin, `{"uses":-2}`, 400, "uses must be"},
		{"POST", "", admin, `{"uses":"1"}`, 400, "uses must be an integer"},
		{"POST", "", admin, `{"expires_in":0}`, 400, "expires_in must be"},
		{"POST", "", admin, `{"expires_in":99999999999}`, 400, "expires_in must be"},
		{"POST", "", admin, `{"policy":{"first_party":1}}`, 400, "policy.first_party must be a boolean"},
		{"POST", "", admin, `{"policy":{"redirect_hosts":["*"]}}`, 400, "redirect_hosts must have hosts"},
		{"POST", "", admin, `{"policy":{"everything":true}}`, 400, "unknown member policy.everything"},
		{"POST", "", admin, `{"token":"chosen"}`, 400, "unknown member token"},
	} {
		res := w.sendJSON(c.method, api+c.path, c.bearer, c.body)
		if res.StatusCode != c.status || !strings.Contains(res.body, c.text) {
			t.Errorf("%s %s %s: %d %s; want %d %q", c.method, c.path, c.body, res.StatusCode, res.body, c.status, c.text)
		}
	}
	// Each method needs its own scope.
	const all = "read:initial_access_tokens create:initial_access_tokens delete:initial_access_tokens"
	tn, err := w.provider.Tenants().Tenant(t.Context(), tenant.DefaultID)
	if err != nil {
		t.Fatal(err)
	}
	for scope, call := range map[string][2]string{
		"read:initial_access_tokens": {"GET", "/" + id}, "create:initial_access_tokens": {"POST", ""}, "delete:initial_access_tokens": {"DELETE", "/" + id},
	} {
		without := w.token(registered{id: machineID, secret: machineSecret}, "grant_type", "client_credentials", "audience", tn.ManagementAudience(),
			"scope", strings.Replace(all, scope, "", 1)).json(t)["access_token"].(string)
		if res := w.sendJSON(call[0], api+call[1], without, `{}`); res.StatusCode != 403 || !strings.Contains(res.body, "expected: "+scope) {
			t.Errorf("without %s: %d %s", scope, res.StatusCode, res.body)
		}
	}
	if out := w.sendJSON(http.MethodGet, api+"/"+id, admin, "").json(t); out["uses"] != 1.0 {
		t.Errorf("it became %v", out)
	}
}
