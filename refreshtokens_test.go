package opkit_test

import (
	"crypto/rand"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
	"github.com/opkit/opkit/tenant"
)

// tokensOf lists the refresh tokens of the world's user.
func (w *world) tokensOf() []map[string]any {
	w.t.Helper()
	res := w.manage(http.MethodGet, "/users/"+url.PathEscape(w.user.ID)+"/refresh-tokens", "")
	if res.StatusCode != http.StatusOK {
		w.t.Fatalf("%d %s", res.StatusCode, res.body)
	}
	var out []map[string]any
	for _, token := range res.json(w.t)["tokens"].([]any) {
		out = append(out, token.(map[string]any))
	}
	return out
}

// refresh presents a refresh token and returns the next one.
func (w *world) refresh(app registered, token string, want int) string {
	w.t.Helper()
	res := w.token(app, "grant_type", "refresh_token", "refresh_token", token)
	if res.StatusCode != want {
		w.t.Errorf("refresh: %d %s, want %d", res.StatusCode, res.body, want)
	}
	next, _ := res.json(w.t)["refresh_token"].(string)
	return next
}

func TestAdministratorsSeeAndRevokeRefreshTokens(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount})
		b := newBrowser(t)
		first, second := w.register(nil), w.register(nil)
		tokens := map[string]map[string]any{}
		for _, app := range []registered{first, second} {
			tokens[app.id] = w.redeem(app, w.authorizeIn(b, app, "scope", "openid email offline_access").Get("code")).json(t)
		}
		online := w.register(map[string]any{"redirect_uris": []string{appRedirectURI}, "grant_types": []string{"authorization_code"}})
		w.redeem(online, w.authorizeIn(b, online).Get("code"))
		w.clock.advance(time.Hour)
		refresh := w.refresh(first, tokens[first.id]["refresh_token"].(string), http.StatusOK)

		list := w.tokensOf()
		if len(list) != 2 {
			t.Fatalf("%v", list)
		}
		sessions, _ := w.manage(http.MethodGet, "/users/"+url.PathEscape(w.user.ID)+"/sessions", "").json(t)["sessions"].([]any)
		for _, one := range list {
			rotated := one["client_id"] == first.id
			if one["user_id"] != w.user.ID || one["rotating"] != true || one["session_id"] != sessions[0].(map[string]any)["id"] || rotated != (one["last_exchanged_at"] != nil) {
				t.Errorf("%v", one)
			}
			if targets, _ := one["resource_servers"].([]any); len(targets) != 1 || targets[0].(map[string]any)["scopes"] != "openid email offline_access" {
				t.Errorf("%v", one["resource_servers"])
			}
			for name, least := range map[string]time.Duration{"idle_expires_at": 14 * 24 * time.Hour, "expires_at": 29 * 24 * time.Hour} {
				if at, err := time.Parse(time.RFC3339, one[name].(string)); err != nil || at.Before(w.clock.now().Add(least)) {
					t.Errorf("%s: %v, %v", name, one[name], err)
				}
			}
			if got := w.manage(http.MethodGet, "/refresh-tokens/"+one["id"].(string), "").json(t); got["id"] != one["id"] || len(got["resource_servers"].([]any)) != 1 {
				t.Errorf("alone: %v", got)
			}
		}
		page := w.manage(http.MethodGet, "/users/"+url.PathEscape(w.user.ID)+"/refresh-tokens?take=1", "").json(t)
		rest := w.manage(http.MethodGet, "/users/"+url.PathEscape(w.user.ID)+"/refresh-tokens?take=1&from="+page["next"].(string), "")
		if more, _ := rest.json(t)["tokens"].([]any); len(more) != 1 || rest.json(t)["next"] != nil {
			t.Errorf("%v %s", page, rest.body)
		}
		for _, value := range []string{refresh, tokens[second.id]["refresh_token"].(string)} {
			for _, path := range []string{"/users/" + url.PathEscape(w.user.ID) + "/refresh-tokens", "/refresh-tokens/" + list[0]["id"].(string)} {
				if res := w.manage(http.MethodGet, path, ""); strings.Contains(res.body, value) {
					t.Errorf("%s has a token: %s", path, res.body)
				}
			}
		}

		// Its identifier is no token, and its access tokens end with it.
		of := func(app registered) string {
			for _, one := range list {
				if one["client_id"] == app.id {
					return "/refresh-tokens/" + one["id"].(string)
				}
			}
			return ""
		}
		w.refresh(first, strings.TrimPrefix(of(first), "/refresh-tokens/"), http.StatusBadRequest)
		for range 2 {
			if res := w.manage(http.MethodDelete, of(first), ""); res.StatusCode != http.StatusNoContent {
				t.Errorf("%d %s", res.StatusCode, res.body)
			}
		}
		w.refresh(first, refresh, http.StatusBadRequest)
		if res := w.manage(http.MethodGet, of(first), ""); res.StatusCode != http.StatusNotFound {
			t.Errorf("%d %s", res.StatusCode, res.body)
		}
		if left := w.tokensOf(); len(left) != 1 || left[0]["client_id"] != second.id {
			t.Errorf("%v", left)
		}
		next := w.refresh(second, tokens[second.id]["refresh_token"].(string), http.StatusOK)
		access, _ := w.token(second, "grant_type", "refresh_token", "refresh_token", next).json(t)["access_token"].(string)

		if res := w.manage(http.MethodDelete, "/users/"+url.PathEscape(w.user.ID)+"/refresh-tokens", ""); res.StatusCode != http.StatusAccepted {
			t.Errorf("%d %s", res.StatusCode, res.body)
		}
		if left := w.tokensOf(); len(left) != 0 {
			t.Errorf("%v", left)
		}
		w.refresh(second, next, http.StatusBadRequest)
		if res := w.userinfo(access); res.StatusCode != http.StatusUnauthorized {
			t.Errorf("an access token of a chain that was revoked: %d", res.StatusCode)
		}
		// What the user allowed and the session stay.
		if got := b.get(w.authorizeURL(second, "prompt", "none", "scope", "openid email")).location(t); got.Get("error") == "login_required" {
			t.Errorf("%v", got)
		}
	})
}

func TestAdministratorsEndOneSession(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount})
		app := w.register(nil)
		laptop, phone := newBrowser(t), newBrowser(t)
		tokens := map[*browser]string{}
		for _, b := range []*browser{laptop, phone} {
			tokens[b], _ = w.redeem(app, w.authorizeIn(b, app, "scope", "openid offline_access").Get("code")).json(t)["refresh_token"].(string)
		}
		ids := func() []string {
			var all []string
			for _, s := range w.manage(http.MethodGet, "/users/"+url.PathEscape(w.user.ID)+"/sessions", "").json(t)["sessions"].([]any) {
				all = append(all, s.(map[string]any)["id"].(string))
			}
			return all
		}
		if len(ids()) != 2 {
			t.Fatal(ids())
		}
		for _, id := range ids() {
			one := w.manage(http.MethodGet, "/sessions/"+id, "").json(t)
			if one["id"] != id || one["user_id"] != w.user.ID || !strings.HasSuffix(id, "."+one["sid"].(string)) {
				t.Errorf("%v", one)
			}
		}
		// It keeps its name when the user signs in again.
		before := ids()
		laptop.login(laptop.get(w.authorizeURL(app, "prompt", "login", "scope", "openid")), "ada", password)
		if after := ids(); len(after) != 2 || (after[0] != before[0] && after[0] != before[1]) {
			t.Errorf("%v, before %v", after, before)
		}
		for i, id := range before {
			method, path := http.MethodDelete, "/sessions/"+id
			if i == 1 {
				method, path = http.MethodPost, path+"/revoke"
			}
			if res := w.manage(method, path, ""); res.StatusCode != http.StatusAccepted {
				t.Errorf("%s %s: %d %s", method, path, res.StatusCode, res.body)
			}
			if left := ids(); len(left) != 1-i {
				t.Errorf("%v", left)
			}
			if res := w.manage(method, path, ""); res.StatusCode != http.StatusNotFound {
				t.Errorf("again: %d", res.StatusCode)
			}
			if res := w.manage(http.MethodGet, "/sessions/"+id, ""); res.StatusCode != http.StatusNotFound {
				t.Errorf("ended: %d", res.StatusCode)
			}
		}
		for b, token := range tokens {
			w.refresh(app, token, http.StatusBadRequest)
			if got := b.get(w.authorizeURL(app, "prompt", "none")).location(t); got.Get("error") != "login_required" {
				t.Errorf("%v", got)
			}
		}
	})
}

func TestManagingRefreshTokensAndSessionsRefuses(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount})
		ctx := t.Context()
		app := w.register(map[string]any{"redirect_uris": []string{appRedirectURI}, "grant_types": []string{"authorization_code"}})
		access, _ := w.redeem(app, w.authorizeIn(newBrowser(t), app).Get("code")).json(t)["access_token"].(string)
		online, err := w.stores.FamilyLister.UserFamilies(ctx, tenant.DefaultID, w.user.ID, store.Page{}, w.clock.now())
		if err != nil || len(online) != 1 {
			t.Fatalf("%v, %v", online, err)
		}
		theirs := store.Family{
			TenantID: "other", ID: "theirs", GrantID: "g", UserID: w.user.ID, ClientID: "c", SID: "their-sid", Offline: true, ExpiresAt: w.clock.now().Add(time.Hour),
		}
		w.must(w.stores.Grants.CreateGrant(ctx, store.Grant{TenantID: "other", ID: "g", UserID: w.user.ID, ClientID: "c"}))
		if _, err := w.stores.Grants.StartFamily(ctx, theirs, w.clock.now()); err != nil {
			t.Fatal(err)
		}
		w.must(w.stores.Sessions.CreateSession(ctx, store.Session{
			TenantID: "other", ID: store.DigestOf("x"), SID: "their-sid", UserID: w.user.ID, ExpiresAt: w.clock.now().Add(time.Hour),
		}))
		theirSession := strings.Split(w.manage(http.MethodGet, "/users/"+url.PathEscape(w.user.ID)+"/sessions", "").json(t)["sessions"].([]any)[0].(map[string]any)["id"].(string), ".")[0] + ".their-sid"
		for _, c := range []struct {
			rule, method, path string
			status             int
			says               string
		}{
			{"another tenant's token", "GET", "/refresh-tokens/theirs", 404, "does not exist"},
			{"another tenant's token, to revoke", "DELETE", "/refresh-tokens/theirs", 204, ""},
			{"what has no refresh token", "GET", "/refresh-tokens/" + online[0].ID, 404, "does not exist"},
			{"what has no refresh token, to revoke", "DELETE", "/refresh-tokens/" + online[0].ID, 204, ""},
			{"no token", "GET", "/refresh-tokens/x", 404, "does not exist"},
			{"a NUL in a token's identifier", "GET", "/refresh-tokens/a%00", 404, "does not exist"},
			{"a NUL in the user", "GET", "/users/a%00/refresh-tokens", 400, "the identifier in the path"},
			{"a NUL in the user, to revoke", "DELETE", "/users/a%00/refresh-tokens", 400, "the identifier in the path"},
			{"pages by number", "GET", "/users/x/refresh-tokens?page=1", 400, "take and from"},
			{"too many at a time", "GET", "/users/x/refresh-tokens?take=101", 400, "take must be"},
			{"a place that is none", "GET", "/users/x/refresh-tokens?from=!", 400, "from must be"},
			{"nobody", "GET", "/users/nobody/refresh-tokens", 200, `"tokens":[]`},
			{"nobody, to revoke", "DELETE", "/users/nobody/refresh-tokens", 202, ""},
			{"writing a token", "POST", "/refresh-tokens/x", 405, ""},
			{"changing a token", "PATCH", "/refresh-tokens/x", 405, ""},
			{"writing tokens", "POST", "/users/x/refresh-tokens", 405, ""},
			{"another tenant's session", "GET", "/sessions/" + theirSession, 404, "does not exist"},
			{"another tenant's session, to end", "DELETE", "/sessions/" + theirSession, 404, "does not exist"},
			{"no session", "GET", "/sessions/x", 404, "does not exist"},
			{"a session of nobody", "GET", "/sessions/bm9ib2R5.x", 404, "does not exist"},
			{"a user that is no text", "GET", "/sessions/AAA.x", 404, "does not exist"},
			{"a long identifier", "DELETE", "/sessions/" + strings.Repeat("a", 5000), 404, "does not exist"},
			{"a NUL in a session", "GET", "/sessions/bm9ib2R5.%00", 404, "does not exist"},
			{"changing a session", "PATCH", "/sessions/x", 405, ""},
			{"looking at a revocation", "GET", "/sessions/x/revoke", 405, ""},
		} {
			if res := w.manage(c.method, c.path, ""); res.StatusCode != c.status || !strings.Contains(res.body, c.says) {
				t.Errorf("%s: %d %s", c.rule, res.StatusCode, res.body)
			}
		}
		if _, err := w.stores.Grants.Family(ctx, "other", "theirs", w.clock.now()); err != nil {
			t.Errorf("another tenant's token: %v", err)
		}
		if _, err := w.stores.Sessions.Session(ctx, "other", store.DigestOf("x"), w.clock.now()); err != nil {
			t.Errorf("another tenant's session: %v", err)
		}
		if res := w.userinfo(access); res.StatusCode != http.StatusOK || w.sessions() != 1 {
			t.Errorf("something was revoked: %d, %d sessions", res.StatusCode, w.sessions())
		}

		tn, err := w.provider.Tenants().Tenant(ctx, tenant.DefaultID)
		w.must(err)
		for _, c := range []struct{ method, path, scope string }{
			{"GET", "/refresh-tokens/x", "read:refresh_tokens"}, {"DELETE", "/refresh-tokens/x", "delete:refresh_tokens"},
			{"GET", "/users/x/refresh-tokens", "read:refresh_tokens"}, {"DELETE", "/users/x/refresh-tokens", "delete:refresh_tokens"},
			{"GET", "/sessions/x", "read:sessions"}, {"DELETE", "/sessions/x", "delete:sessions"}, {"POST", "/sessions/x/revoke", "delete:sessions"},
		} {
			others := strings.Join(withoutValue(w.allScopes(), c.scope), " ")
			token := w.token(registered{id: machineID, secret: machineSecret}, "grant_type", "client_credentials", "audience", tn.ManagementAudience(), "scope", others).json(t)
			if res := w.sendJSON(c.method, w.endpoint.Management+c.path, token["access_token"].(string), ""); res.StatusCode != http.StatusForbidden || !strings.Contains(res.body, c.scope) {
				t.Errorf("%s %s: %d %s", c.method, c.path, res.StatusCode, res.body)
			}
			if res := w.sendJSON(c.method, w.endpoint.Management+c.path, "", ""); res.StatusCode != http.StatusUnauthorized {
				t.Errorf("%s %s without a token: %d", c.method, c.path, res.StatusCode)
			}
		}
	})
}

// A store that cannot list families revokes them all the same.
func TestRefreshTokensWithoutALister(t *testing.T) {
	stores := memstore.New().Stores()
	stores.FamilyLister = nil
	w := newWorld(t, options{stores: stores})
	app := w.register(nil)
	token, _ := w.redeem(app, w.authorizeIn(newBrowser(t), app).Get("code")).json(t)["refresh_token"].(string)
	path := "/users/" + url.PathEscape(w.user.ID) + "/refresh-tokens"
	if res := w.manage(http.MethodGet, path, ""); res.StatusCode != http.StatusNotImplemented {
		t.Errorf("%d %s", res.StatusCode, res.body)
	}
	if res := w.manage(http.MethodDelete, path, ""); res.StatusCode != http.StatusAccepted {
		t.Errorf("%d %s", res.StatusCode, res.body)
	}
	w.refresh(app, token, http.StatusBadRequest)
}

// A code that was got before a session was ended is worth nothing afterwards: otherwise
// whoever holds one would outlive what ended the session.
func TestACodeDiesWithItsSession(t *testing.T) {
	for name, end := range map[string]func(w *world){
		"ended by an administrator": func(w *world) {
			w.manage(http.MethodDelete, "/users/"+url.PathEscape(w.user.ID)+"/sessions", "")
		},
		"a new password": func(w *world) {
			w.manage(http.MethodPatch, "/users/"+url.PathEscape(w.user.ID), `{"password":"another good passphrase"}`)
		},
		"signed out everywhere": func(w *world) {
			if err := w.provider.Connections().EndAccess(w.t.Context(), tenant.DefaultID, w.user.ID); err != nil {
				w.t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			onEveryMount(t, func(t *testing.T, mount string) {
				w := newWorld(t, options{mount: mount})
				app, b := w.register(nil), newBrowser(t)
				w.redeem(app, w.authorizeIn(b, app).Get("code"))
				code := w.authorizeIn(b, app, "scope", "openid offline_access").Get("code")
				spare := w.authorizeIn(b, app).Get("code")
				if res := w.redeem(app, spare); res.StatusCode != http.StatusOK {
					t.Fatalf("%d %s", res.StatusCode, res.body)
				}
				end(w)
				if res := w.redeem(app, code); res.StatusCode != http.StatusBadRequest || res.json(t)["error"] != "invalid_grant" {
					t.Errorf("%d %s", res.StatusCode, res.body)
				}
			})
		})
	}
}

// Signing in once more, in another tab, does not take the code of the first tab along.
func TestACodeOutlivesAnotherSignInOfItsUser(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount})
		app, b := w.register(nil), newBrowser(t)
		w.redeem(app, w.authorizeIn(b, app).Get("code"))
		code := w.authorizeIn(b, app).Get("code")
		again := w.authorizeIn(b, app, "prompt", "login").Get("code")
		for _, code := range []string{code, again} {
			if res := w.redeem(app, code); res.StatusCode != http.StatusOK {
				t.Errorf("%d %s", res.StatusCode, res.body)
			}
		}
		// Of more sessions than a page has.
		code = w.authorizeIn(b, app).Get("code")
		for range store.MaxPageLimit {
			if err := w.stores.Sessions.CreateSession(t.Context(), store.Session{
				TenantID: tenant.DefaultID, ID: store.DigestOf(rand.Text()), SID: rand.Text(), UserID: w.user.ID, ConnectionID: w.user.ConnectionID,
				Version: 1, CreatedAt: w.clock.now(), AuthenticatedAt: w.clock.now(), ExpiresAt: w.clock.now().Add(time.Hour),
			}); err != nil {
				t.Fatal(err)
			}
		}
		w.authorizeIn(b, app, "prompt", "login")
		if res := w.redeem(app, code); res.StatusCode != http.StatusOK {
			t.Errorf("%d %s", res.StatusCode, res.body)
		}
	})
}
