package opkit_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/opkit/opkit"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
	"github.com/opkit/opkit/tenant"
)

// manageable lets whoever registers an application manage it.
func (w *world) manageable(on bool) {
	w.t.Helper()
	res := w.sendJSON(http.MethodPatch, w.endpoint.Management+"/tenants/settings", w.managementToken(),
		fmt.Sprintf(`{"flags":{"enable_dynamic_client_management":%v}}`, on))
	if res.StatusCode != http.StatusOK {
		w.t.Fatalf("settings: %d %s", res.StatusCode, res.body)
	}
}

// managed registers an application that can be managed.
func (w *world) managed() (app registered, uri, token string) {
	w.t.Helper()
	res := w.sendJSON(http.MethodPost, w.endpoint.Registration, "", `{"client_name":"A","redirect_uris":["`+appRedirectURI+`"]}`)
	out := res.json(w.t)
	uri, _ = out["registration_client_uri"].(string)
	token, _ = out["registration_access_token"].(string)
	if res.StatusCode != http.StatusCreated || uri == "" || token == "" {
		w.t.Fatalf("registration: %d %s", res.StatusCode, res.body)
	}
	return registered{out["client_id"].(string), out["client_secret"].(string), appRedirectURI}, uri, token
}

func TestClientConfiguration(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount})
		before := newBrowser(t).get(w.issuer + "/.well-known/openid-configuration").body
		w.manageable(true)
		if after := newBrowser(t).get(w.issuer + "/.well-known/openid-configuration").body; before != after {
			t.Errorf("the metadata changed (-before +after)\n%s", cmp.Diff(before, after))
		}
		app, uri, token := w.managed()
		if uri != w.endpoint.Registration+"/"+app.id {
			t.Errorf("registration_client_uri %q", uri)
		}
		if res := w.sendJSON(http.MethodOptions, uri, "", ""); res.StatusCode != 204 || res.Header.Get("Access-Control-Allow-Methods") != "GET, PUT, DELETE, OPTIONS" {
			t.Errorf("preflight: %d %v", res.StatusCode, res.Header)
		}
		read := w.sendJSON(http.MethodGet, uri, token, "")
		if out := read.json(t); read.StatusCode != 200 || out["client_id"] != app.id || out["client_name"] != "A" || out["registration_access_token"] != token ||
			read.Header.Get("Access-Control-Allow-Origin") != "*" || read.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("GET: %d %s %v", read.StatusCode, read.body, read.Header)
		}

		// A user allows it something, then it takes another name and another address.
		b := newBrowser(t)
		tokens := w.redeem(app, w.authorizeIn(b, app, "scope", "openid offline_access").Get("code")).json(t)
		moved := app
		moved.redirectURI = "https://other.example.com/callback"
		put := w.sendJSON(http.MethodPut, uri, token, `{"client_id":"`+app.id+`","client_name":"Your Bank","redirect_uris":["`+moved.redirectURI+`"]}`)
		out := put.json(t)
		next, _ := out["registration_access_token"].(string)
		if put.StatusCode != 200 || next == "" || next == token || out["client_secret"] != nil {
			t.Fatalf("PUT: %d %s", put.StatusCode, put.body)
		}
		if res := b.get(w.authorizeURL(app)); res.StatusCode != 400 || res.Header.Get("Location") != "" {
			t.Errorf("the former redirect URI: %d %q", res.StatusCode, res.Header.Get("Location"))
		}
		if got := w.authorizeIn(b, moved, "prompt", "none", "scope", "openid offline_access"); got.Get("error") != "consent_required" || got.Get("code") != "" {
			t.Errorf("silently, after the change: %v", got)
		}
		page := b.get(w.authorizeURL(moved, "scope", "openid offline_access"))
		if !strings.Contains(text(page.body), "Your Bank asks for access") {
			t.Errorf("after the change: %d %s", page.StatusCode, text(page.body))
		}
		if code := b.decide(page, "allow").location(t).Get("code"); code == "" {
			t.Error("no code after consent")
		}

		// It goes, and everything with it.
		res := w.sendJSON(http.MethodDelete, uri, next, "")
		if res.StatusCode != 204 || res.body != "" {
			t.Fatalf("DELETE: %d %s", res.StatusCode, res.body)
		}
		if res := w.userinfo(tokens["access_token"].(string)); res.StatusCode != 401 {
			t.Errorf("userinfo: %d", res.StatusCode)
		}
		if res := w.token(app, "grant_type", "refresh_token", "refresh_token", tokens["refresh_token"].(string)); res.StatusCode != 401 {
			t.Errorf("refresh: %d %s", res.StatusCode, res.body)
		}
		for _, method := range []string{"GET", "PUT", "DELETE"} {
			if res := w.sendJSON(method, uri, next, `{}`); res.StatusCode != 401 || !strings.Contains(res.Header.Get("WWW-Authenticate"), `error="invalid_token"`) {
				t.Errorf("%s after DELETE: %d %q", method, res.StatusCode, res.Header.Get("WWW-Authenticate"))
			}
		}

		// Switched off, it is off for everyone.
		_, uri, token = w.managed()
		w.manageable(false)
		for _, method := range []string{"GET", "PUT", "DELETE"} {
			for _, bearer := range []string{token, "wrong", ""} {
				if res := w.sendJSON(method, uri, bearer, `{}`); res.StatusCode != 403 || res.json(t)["error"] != "access_denied" {
					t.Errorf("%s, switched off: %d %s", method, res.StatusCode, res.body)
				}
			}
		}
		res = w.sendJSON(http.MethodPost, w.endpoint.Registration, "", `{"redirect_uris":["`+appRedirectURI+`"]}`)
		if out := res.json(t); out["registration_access_token"] != nil || out["registration_client_uri"] != nil {
			t.Errorf("registration, switched off: %s", res.body)
		}
	})
}

// What one node replaces or deletes, another knows at once, whatever it has in its
// cache.
func TestRegistrationAccessTokensOnTwoNodes(t *testing.T) {
	stores := memstore.New().Stores()
	c := &clock{}
	node := func() *opkit.Provider {
		p, err := opkit.New(opkit.Config{
			Issuer: "https://login.example.com", Stores: stores, Secret: make([]byte, 32), Now: c.now, CacheStaleness: time.Hour,
			Settings: store.TenantSettings{Flags: store.TenantFlags{EnableDynamicClientRegistration: true, EnableDynamicClientManagement: true}},
		})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	a, b := node(), node()
	info := serve(t, a.Registration(), "POST", "https://login.example.com/oidc/register", "", `{"redirect_uris":["https://a.example/cb"]}`, 201)
	id, uri, first := info["client_id"].(string), info["registration_client_uri"].(string), info["registration_access_token"].(string)
	body := `{"client_id":"` + id + `","redirect_uris":["https://a.example/cb"],"client_name":"`
	if _, err := b.Tenants().Tenant(context.Background(), tenant.DefaultID); err != nil {
		t.Fatal(err)
	}
	serve(t, b, "GET", uri, first, "", 200)
	second := serve(t, a, "PUT", uri, first, body+`B"}`, 200)["registration_access_token"].(string)
	if got := serve(t, b, "GET", uri, second, "", 200); got["client_name"] != "B" {
		t.Errorf("the other node has the name %v", got["client_name"])
	}
	third := serve(t, b, "PUT", uri, second, body+`C"}`, 200)["registration_access_token"].(string)
	serve(t, a, "GET", uri, first, "", 401)
	c.advance(time.Minute)
	serve(t, a, "GET", uri, second, "", 401)
	serve(t, a, "DELETE", uri, third, "", 204)
	serve(t, b, "GET", uri, third, "", 401)
	serve(t, b, "PUT", uri, third, body+`D"}`, 401)
}

// serve expects a status and returns the answer.
func serve(t *testing.T, h http.Handler, method, uri, bearer, body string, status int) map[string]any {
	t.Helper()
	w := do(h, method, uri, bearer, body)
	if w.Code != status {
		t.Fatalf("%s: %d %s, want %d", method, w.Code, w.Body, status)
	}
	if w.Body.Len() == 0 {
		return nil
	}
	var out map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func do(h http.Handler, method, uri, bearer, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, uri, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}
