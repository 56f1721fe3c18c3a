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

// manage calls the management API with every scope.
func (w *world) manage(method, path, body string) *response {
	w.t.Helper()
	return w.sendJSON(method, w.endpoint.Management+path, w.managementToken(), body)
}

// objects decodes an array.
func objects(t *testing.T, res *response) []map[string]any {
	t.Helper()
	if res.StatusCode != http.StatusOK {
		t.Fatalf("%d %s", res.StatusCode, res.body)
	}
	var list []map[string]any
	if err := json.Unmarshal([]byte(res.body), &list); err != nil {
		t.Fatal(err)
	}
	return list
}

func TestAdministratorsSeeAndRevokeGrants(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount})
		first, second := w.register(nil), w.register(nil)
		b := newBrowser(t)
		refresh := map[string]string{}
		for _, app := range []registered{first, second} {
			tokens := w.redeem(app, w.authorizeIn(b, app).Get("code")).json(t)
			refresh[app.id] = tokens["refresh_token"].(string)
		}
		user := url.QueryEscape(w.user.ID)
		list := objects(t, w.manage(http.MethodGet, "/grants?user_id="+user, ""))
		if len(list) != 2 {
			t.Fatalf("%v", list)
		}
		list = objects(t, w.manage(http.MethodGet, "/grants?client_id="+first.id, ""))
		if len(list) != 1 || list[0]["clientID"] != first.id || list[0]["user_id"] != w.user.ID {
			t.Fatalf("%v", list)
		}
		id := list[0]["id"].(string)
		for range 2 {
			if res := w.manage(http.MethodDelete, "/grants/"+id, ""); res.StatusCode != http.StatusNoContent {
				t.Errorf("%d %s", res.StatusCode, res.body)
			}
		}
		if res := w.token(first, "grant_type", "refresh_token", "refresh_token", refresh[first.id]); res.StatusCode != http.StatusBadRequest {
			t.Errorf("revoked: %d %s", res.StatusCode, res.body)
		}
		res := w.token(second, "grant_type", "refresh_token", "refresh_token", refresh[second.id])
		if res.StatusCode != http.StatusOK {
			t.Errorf("another: %d %s", res.StatusCode, res.body)
		}
		if res := w.manage(http.MethodDelete, "/grants?user_id="+user, ""); res.StatusCode != http.StatusNoContent {
			t.Errorf("%d %s", res.StatusCode, res.body)
		}
		if list := objects(t, w.manage(http.MethodGet, "/grants", "")); len(list) != 0 {
			t.Errorf("%v", list)
		}
		for query, message := range map[string]string{
			"?user_id=": "user_id must not be empty", "?client_id=": "client_id must not be empty", "?user_id=a&user_id=b": "user_id appears more than once",
			"?user_id=a%00": "user_id must be text", "?client_id=%ff": "client_id must be text", "?audience=a%0a": "audience must be text",
			"?user_id=" + strings.Repeat("a", 1025): "user_id must be text of at most 1024 bytes",
		} {
			if res := w.manage(http.MethodGet, "/grants"+query, ""); res.StatusCode != http.StatusBadRequest || !strings.Contains(res.body, message) {
				t.Errorf("%s: %d %s", query, res.StatusCode, res.body)
			}
		}
		for _, query := range []string{"", "?user_id=", "?user_id=a&user_id=b", "?user_id=a%00", "?client_id=" + first.id} {
			if res := w.manage(http.MethodDelete, "/grants"+query, ""); res.StatusCode != http.StatusBadRequest {
				t.Errorf("DELETE %s: %d %s", query, res.StatusCode, res.body)
			}
		}
	})
}

func TestAdministratorsSeeAndEndSessions(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount})
		app := w.register(nil)
		laptop, phone := newBrowser(t), newBrowser(t)
		tokens := w.redeem(app, w.authorizeIn(laptop, app).Get("code")).json(t)
		w.authorizeIn(phone, app)
		path := "/users/" + url.PathEscape(w.user.ID) + "/sessions"
		list, _ := w.manage(http.MethodGet, path, "").json(t)["sessions"].([]any)
		if len(list) != 2 {
			t.Fatalf("%v", list)
		}
		one := list[0].(map[string]any)
		if one["user_id"] != w.user.ID || one["id"] == "" || len(one["clients"].([]any)) != 1 {
			t.Errorf("%v", one)
		}
		if res := w.manage(http.MethodDelete, path, ""); res.StatusCode != http.StatusAccepted {
			t.Errorf("%d %s", res.StatusCode, res.body)
		}
		if list, _ := w.manage(http.MethodGet, path, "").json(t)["sessions"].([]any); len(list) != 0 {
			t.Errorf("%v", list)
		}
		if got := laptop.get(w.authorizeURL(app, "prompt", "none")).location(t); got.Get("error") != "login_required" {
			t.Errorf("%v", got)
		}
		if res := w.token(app, "grant_type", "refresh_token", "refresh_token", tokens["refresh_token"].(string)); res.StatusCode != http.StatusBadRequest {
			t.Errorf("%d %s", res.StatusCode, res.body)
		}
		if res := w.manage(http.MethodGet, "/users/nobody/sessions", ""); res.StatusCode != http.StatusOK || !strings.Contains(res.body, `"sessions":[]`) {
			t.Errorf("%d %s", res.StatusCode, res.body)
		}
	})
}

func TestIdentifiersOfUsersAreChecked(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount})
		for _, user := range []string{"a%00", "%ff", "a%0a", strings.Repeat("a", 1025)} {
			for _, method := range []string{http.MethodGet, http.MethodDelete} {
				if res := w.manage(method, "/users/"+user+"/sessions", ""); res.StatusCode != http.StatusBadRequest || !strings.Contains(res.body, "the identifier in the path") {
					t.Errorf("%s %.20s: %d %s", method, user, res.StatusCode, res.body)
				}
			}
		}
	})
}

// Without the scope, or with what is another tenant's, nothing is seen or changed.
func TestGrantsAndSessionsNeedTheirScopes(t *testing.T) {
	w := newWorld(t, options{})
	ctx := context.Background()
	tn, err := w.provider.Tenants().Tenant(ctx, tenant.DefaultID)
	if err != nil {
		t.Fatal(err)
	}
	theirs := store.Grant{TenantID: "other", ID: "theirs", UserID: w.user.ID, ClientID: "c"}
	if err := w.stores.Grants.CreateGrant(ctx, theirs); err != nil {
		t.Fatal(err)
	}
	if res := w.manage(http.MethodDelete, "/grants/theirs", ""); res.StatusCode != http.StatusNoContent {
		t.Errorf("%d %s", res.StatusCode, res.body)
	}
	if _, err := w.stores.Grants.Grant(ctx, "other", "theirs", "", w.clock.now()); err != nil {
		t.Errorf("another tenant's grant: %v", err)
	}
	for _, c := range []struct{ method, path, scope string }{
		{http.MethodGet, "/grants", "read:grants"}, {http.MethodDelete, "/grants/x", "delete:grants"}, {http.MethodDelete, "/grants?user_id=x", "delete:grants"},
		{http.MethodGet, "/users/x/sessions", "read:sessions"}, {http.MethodDelete, "/users/x/sessions", "delete:sessions"},
	} {
		others := strings.Join(withoutValue(w.allScopes(), c.scope), " ")
		token := w.token(registered{id: machineID, secret: machineSecret}, "grant_type", "client_credentials", "audience", tn.ManagementAudience(), "scope", others).json(t)
		res := w.sendJSON(c.method, w.endpoint.Management+c.path, token["access_token"].(string), "")
		if res.StatusCode != http.StatusForbidden || !strings.Contains(res.body, c.scope) {
			t.Errorf("%s %s: %d %s", c.method, c.path, res.StatusCode, res.body)
		}
		if res := w.sendJSON(c.method, w.endpoint.Management+c.path, "", ""); res.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s %s without a token: %d", c.method, c.path, res.StatusCode)
		}
	}
}

func withoutValue(list []string, value string) []string {
	var out []string
	for _, v := range list {
		if v != value {
			out = append(out, v)
		}
	}
	return out
}
