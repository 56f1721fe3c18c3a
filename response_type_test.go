package opkit_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// allModes are the response modes, and none.
var allModes = []string{"", "query", "fragment", "form_post", "web_message"}

// delivered returns the parameters that an answer brings to the client, in
// whichever mode, and the address that it brings them to.
func delivered(t testing.TB, res *response) (to string, params url.Values) {
	t.Helper()
	if location := res.Header.Get("Location"); location != "" {
		to, _, _ = strings.Cut(location, "?")
		to, _, _ = strings.Cut(to, "#")
		return to, res.location(t)
	}
	if strings.Contains(res.body, "<form") {
		return form(t, res)
	}
	_, message, _ := strings.Cut(res.body, `"response":`)
	var members map[string]any
	if err := json.NewDecoder(strings.NewReader(message)).Decode(&members); err != nil {
		t.Fatalf("status %d: nothing is delivered: %s", res.StatusCode, text(res.body))
	}
	params = url.Values{}
	for name, value := range members {
		if s, ok := value.(string); ok {
			params.Set(name, s)
		}
	}
	return "", params
}

// OAuth 2.0 Multiple Response Types §4: the user signs in and consents, and the
// answer says nothing but that.
func TestResponseTypeNone(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount, permissive: true})
		app := w.register(map[string]any{"response_types": []string{"code", "none"}})
		for _, mode := range allModes {
			b := newBrowser(t)
			none := func(params ...string) *response {
				return b.get(w.authorizeURL(app, append([]string{"response_type", "none", "response_mode", mode}, params...)...))
			}
			if _, got := delivered(t, none("prompt", "none")); got.Get("error") != "login_required" {
				t.Errorf("mode %q, nobody there: %v", mode, got)
			}
			page := b.login(none("prompt", "consent", "nonce", "", "code_challenge", "", "code_challenge_method", ""), "ada", password)
			res := b.decide(page, "allow")
			to, got := delivered(t, res)
			if to != app.redirectURI && mode != "web_message" || len(got) != 2 || got.Get("state") == "" || got.Get("iss") != w.issuer {
				t.Errorf("mode %q: %s %v", mode, to, got)
			}
			// The default mode is query.
			if location := res.Header.Get("Location"); (mode == "" || mode == "query") && !strings.HasPrefix(location, app.redirectURI+"?") {
				t.Errorf("mode %q: %s", mode, location)
			}
			if _, got := delivered(t, none("prompt", "none")); got.Has("error") || got.Get("state") == "" {
				t.Errorf("mode %q, again: %v", mode, got)
			}
			if _, got := delivered(t, b.decide(none("prompt", "consent"), "deny")); got.Get("error") != "access_denied" {
				t.Errorf("mode %q, refused: %v", mode, got)
			}
		}
		// The grant is there and nothing under it.
		grants, err := w.stores.Grants.Grants(context.Background(), tenant.DefaultID, store.GrantFilter{}, store.Page{})
		if err != nil || len(grants) != 1 || strings.Join(grants[0].Scopes, " ") != "openid profile email" {
			t.Errorf("grants: %+v, %v", grants, err)
		}
		n, err := w.stores.Grants.RevokeFamilies(context.Background(), tenant.DefaultID, store.FamilyFilter{ClientID: app.id}, w.clock.now(), w.clock.now())
		if err != nil || n != 0 {
			t.Errorf("%d families, %v", n, err)
		}
	})
}

// Nothing but the registration opens it.
func TestResponseTypeNoneIsRegistered(t *testing.T) {
	for _, permissive := range []bool{true, false} {
		w := newWorld(t, options{permissive: permissive})
		if got := newBrowser(t).get(w.authorizeURL(w.register(nil), "response_type", "none")).location(t); got.Get("error") != "unauthorized_client" {
			t.Errorf("permissive %v: %v", permissive, got)
		}
	}
}

// A flow that a client may not use is out of reach in every spelling, order and
// encoding, and whichever way the request takes.
func TestForbiddenFlowsInEverySpelling(t *testing.T) {
	strict := newWorld(t, options{})
	permissive := newWorld(t, options{permissive: true})
	for name, world := range map[string]struct {
		w   *world
		app registered
	}{
		"strict":    {strict, strict.register(nil)},
		"code only": {permissive, permissive.register(map[string]any{"grant_types": []string{"authorization_code"}, "response_types": []string{"code"}})},
	} {
		w, app := world.w, world.app
		b := newBrowser(t)
		w.authorizeIn(b, app) // signed in and consented: nothing stands between
		refused := func(what string, res *response) {
			t.Helper()
			if strings.Contains(res.body, "login-submit") || strings.Contains(res.body, "consent-allow") {
				t.Errorf("%s, %s: not refused", name, what)
				return
			}
			if strings.Contains(res.body, "Authorization error") {
				return
			}
			if to, got := delivered(t, res); got.Get("error") == "" || got.Has("code") || got.Has("access_token") || got.Has("id_token") || to != app.redirectURI && to != "" {
				t.Errorf("%s, %s: %s %v", name, what, to, got)
			}
		}
		// As they are written in the query.
		for _, raw := range []string{
			"token", "id_token", "none", "id_token%20token", "token+id_token", "code+token", "token%20code", "code%20id_token%20token", "id_token+token+code",
			"code+code", "code+", "+code", "code++token", "code%09token", "code%0Atoken", "code%C2%A0token", "code%2Ctoken", "code%2Btoken", "code%2520token",
			"CODE", "Token", "ID_TOKEN", "code+Token", "c%6Fde+t%6Fken", "%74oken", "token%00", "code%00", "code;token", "none+code", "code+none", "code%20%20", "%EF%BC%8Ccode", "id%5Ftoken",
		} {
			for _, mode := range allModes {
				base := w.authorizeURL(app, "response_type", "", "response_mode", mode)
				refused(raw+" in mode "+mode, b.get(base+"&response_type="+raw))
				refused(raw+" twice in mode "+mode, b.get(base+"&response_type=code&response_type="+raw))
				refused(raw+" under another name", b.get(base+"&response%5Ftype="+raw))
				_, query, _ := strings.Cut(base+"&response_type="+raw, "?")
				req, err := http.NewRequest(http.MethodPost, w.endpoint.Authorization+"?response_type=code", strings.NewReader(query))
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				refused(raw+" posted in mode "+mode, b.do(req))
			}
			value, err := url.QueryUnescape(raw)
			if err != nil {
				continue
			}
			if res := w.push(app, "response_type", value); res.StatusCode != http.StatusBadRequest {
				t.Errorf("%s, %s pushed: %d %s", name, raw, res.StatusCode, res.body)
			}
		}
		// In a request object, where values have types. What is outside does not help.
		for _, member := range []any{"token", "id_token token", "token code", "CODE", "code ", []string{"token"}, []string{"code", "token"}, map[string]any{"a": "token"}, 1, true} {
			for _, outside := range []string{"code", "token", ""} {
				object := unsignedObject(t, map[string]any{"response_type": member, "redirect_uri": app.redirectURI, "nonce": "n", "code_challenge": challenge(), "code_challenge_method": "S256"})
				refused("in an object", b.get(w.authorizeURL(app, "request", object, "response_type", outside)))
			}
		}
	}
}

// Every response mode obeys the same redirect check, with and without a valid
// response type, and as an error of any kind.
func TestEveryResponseModeChecksTheRedirect(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount, permissive: true})
		app := w.register(nil)
		b := newBrowser(t)
		w.authorizeIn(b, app)
		for _, mode := range append(allModes, "nonsense", "FORM_POST", "form_post ", "query.jwt") {
			for _, responseType := range []string{"code", "token", "id_token token", "none", "", "nonsense"} {
				for _, redirect := range []string{"", "https://evil.example/callback", "https://app.example.com/callback/", "https://app.example.com/callback?a=b", "https://app.example.com/callback#", "//app.example.com/callback", "javascript:alert(1)"} {
					res := b.get(w.authorizeURL(app, "response_mode", mode, "response_type", responseType, "redirect_uri", redirect))
					if !refusedByPage(res, "invalid_request") || strings.Contains(res.body, "evil.example") {
						t.Errorf("mode %q, type %q, redirect_uri %q: %d %s %s", mode, responseType, redirect, res.StatusCode, res.Header.Get("Location"), text(res.body))
					}
				}
			}
			// A mode that is sent twice is no mode.
			if res := b.get(w.authorizeURL(app, "response_mode", mode) + "&response_mode=query&response_mode=fragment"); !refusedByPage(res, "invalid_request") {
				t.Errorf("mode %q and others: %d %s", mode, res.StatusCode, res.Header.Get("Location"))
			}
		}
		// OAuth 2.0 Multiple Response Types §3: tokens never travel in a query.
		for _, responseType := range []string{"token", "id_token", "code id_token", "code token", "id_token token", "code id_token token"} {
			res := b.get(w.authorizeURL(app, "response_mode", "query", "response_type", responseType))
			if location := res.Header.Get("Location"); !strings.HasPrefix(location, app.redirectURI+"#error=invalid_request") {
				t.Errorf("%s in a query: %d %s", responseType, res.StatusCode, location)
			}
		}
	})
}

// OpenID Connect Core §3.1.2.1: what only changes how things look, and what is not
// known, is accepted and changes nothing, also where its value makes no sense.
func TestParametersThatAreIgnored(t *testing.T) {
	w := newWorld(t, options{})
	app := w.register(nil)
	for _, params := range [][]string{
		{"display", "page"}, {"display", "popup"}, {"display", "touch"}, {"display", "wap"}, {"display", "hologram"},
		{"ui_locales", "se"}, {"ui_locales", "fr-CA fr en"}, {"ui_locales", "not a language!"},
		{"claims_locales", "se"}, {"claims_locales", "fr-CA fr en"}, {"extra", "foobar"}, {"auth0Client", "eyJ9"},
		{"display", "popup", "ui_locales", "de", "claims_locales", "de", "login_hint", "ada@example.com"},
	} {
		id := w.idTokenOf(app, w.authorize(app, params...))
		if id["sub"] != w.user.ID {
			t.Errorf("%v: %v", params, id)
		}
		if res := w.push(app, params...); res.StatusCode != http.StatusCreated {
			t.Errorf("%v, pushed: %d %s", params, res.StatusCode, res.body)
		}
	}
	// Once each, as every parameter.
	for _, name := range []string{"display", "ui_locales", "claims_locales", "acr_values", "claims"} {
		res := newBrowser(t).get(w.authorizeURL(app) + "&" + name + "=a&" + name + "=b")
		if !refusedByPage(res, "invalid_request") || !strings.Contains(res.body, name) {
			t.Errorf("%s twice: %d %s", name, res.StatusCode, text(res.body))
		}
	}
}

// max_age and prompt=login ask for a login that is newer, and auth_time says so; a
// session that is new enough is used as it is.
func TestAuthTime(t *testing.T) {
	w := newWorld(t, options{permissive: true})
	app := w.register(nil)
	b := newBrowser(t)
	first := w.idTokenOf(app, w.authorizeIn(b, app))
	w.clock.advance(5e9)
	for name, params := range map[string][]string{
		"max_age": {"max_age", "10000"}, "claim": {"claims", `{"id_token":{"auth_time":{"essential":true}}}`}, "neither": {},
	} {
		again := w.idTokenOf(app, b.get(w.authorizeURL(app, append(params, "prompt", "none")...)).location(t))
		if again["auth_time"] != first["auth_time"] || again["sub"] != first["sub"] {
			t.Errorf("%s: %v, before %v", name, again, first)
		}
	}
	if got := b.get(w.authorizeURL(app, "max_age", "1", "prompt", "none")).location(t); got.Get("error") != "login_required" {
		t.Errorf("an old session for max_age=1: %v", got)
	}
	last := first["auth_time"].(float64)
	for _, params := range [][]string{{"max_age", "1"}, {"prompt", "login"}} {
		w.clock.advance(5e9)
		page := b.get(w.authorizeURL(app, params...))
		if !strings.Contains(page.body, "login-submit") {
			t.Fatalf("%v: no login page: %d", params, page.StatusCode)
		}
		id := w.idTokenOf(app, b.finish(page).location(t))
		if at := id["auth_time"].(float64); at <= last || id["sub"] != first["sub"] {
			t.Errorf("%v: %v, before %v", params, id, last)
		} else {
			last = at
		}
	}
	// require_auth_time and default_max_age of the registration.
	app = w.register(map[string]any{"require_auth_time": true, "default_max_age": 3})
	if id := w.idTokenOf(app, w.authorizeIn(b, app)); id["auth_time"] == nil {
		t.Errorf("require_auth_time: %v", id)
	}
	w.clock.advance(5e9)
	if got := b.get(w.authorizeURL(app, "prompt", "none")).location(t); got.Get("error") != "login_required" {
		t.Errorf("default_max_age: %v", got)
	}
}
