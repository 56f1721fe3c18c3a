package connection

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/opkit/opkit/store"
)

// enabled calls the resource of a connection's clients with the scopes that it needs.
func (w *world) enabled(method, query, body string) answer {
	w.t.Helper()
	return w.call(w.EnabledClientsManagement(), method, "/api/v2/connections/"+w.conn.ID+"/clients"+query, w.bearer(allScopes), body)
}

func (w *world) enabledIDs() []string {
	w.t.Helper()
	c, err := w.cfg.Stores.Connections.Connection(w.t.Context(), w.conn.TenantID, w.conn.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	return c.EnabledClients
}

func TestClientsAreEnabledOneByOne(t *testing.T) {
	w := newWorld(t, nil)
	w.change(func(c *store.Connection) { c.EnabledClients = []string{"z", "kept"} })
	a := w.enabled(http.MethodPatch, "", `[{"client_id":"b","status":true},{"client_id":"z","status":false},{"client_id":"absent","status":false},{"client_id":"kept","status":true}]`)
	if diff := cmp.Diff([]string{"b", "kept"}, w.enabledIDs()); a.status != http.StatusNoContent || a.text != "" || diff != "" {
		t.Errorf("%d %s\n%s", a.status, a.text, diff)
	}
	object := func(ids ...string) []any {
		list := []any{}
		for _, id := range ids {
			list = append(list, map[string]any{"client_id": id})
		}
		return list
	}
	if a := w.enabled(http.MethodGet, "", ""); a.status != http.StatusOK || cmp.Diff(map[string]any{"clients": object("b", "kept")}, a.body) != "" {
		t.Errorf("%d %s", a.status, a.text)
	}
	first := w.enabled(http.MethodGet, "?take=1", "")
	next, _ := first.member("next").(string)
	if diff := cmp.Diff(object("b"), first.member("clients")); next == "" || diff != "" {
		t.Errorf("%s\n%s", first.text, diff)
	}
	if a := w.enabled(http.MethodGet, "?take=1&from="+next, ""); cmp.Diff(map[string]any{"clients": object("kept")}, a.body) != "" {
		t.Errorf("%d %s", a.status, a.text)
	}
}

func TestEnablingClientsRefuses(t *testing.T) {
	w := newWorld(t, nil)
	w.change(func(c *store.Connection) { c.EnabledClients = []string{"kept"} })
	many := make([]string, 51)
	for i := range many {
		many[i] = fmt.Sprintf(`{"client_id":"c%d","status":true}`, i)
	}
	for _, tt := range []struct {
		rule, method, query, body string
		status                    int
		code, mentions            string
	}{
		{"no array", http.MethodPatch, "", `{}`, 400, "invalid_body", "must be a JSON array"},
		{"two arrays", http.MethodPatch, "", `[],[]`, 400, "invalid_body", "must be a JSON array"},
		{"an array and more", http.MethodPatch, "", `[],"a":[]`, 400, "invalid_body", "must be a JSON array"},
		{"not JSON", http.MethodPatch, "", `[`, 400, "invalid_body", "must be a JSON array"},
		{"nothing to do", http.MethodPatch, "", `[]`, 400, "invalid_body", "1 to 50 elements"},
		{"too much to do", http.MethodPatch, "", "[" + strings.Join(many, ",") + "]", 400, "invalid_body", "1 to 50 elements"},
		{"no status", http.MethodPatch, "", `[{"client_id":"a"}]`, 400, "invalid_body", "[0] must have client_id and status"},
		{"no client", http.MethodPatch, "", `[{"status":true}]`, 400, "invalid_body", "[0] must have client_id and status"},
		{"a string", http.MethodPatch, "", `["a"]`, 400, "invalid_body", "[0] must be an object"},
		{"a wrong type", http.MethodPatch, "", `[{"client_id":"a","status":"true"}]`, 400, "invalid_body", "[0].status must be a boolean"},
		{"an unknown member", http.MethodPatch, "", `[{"client_id":"a","status":true,"x":1}]`, 400, "invalid_body", "unknown member [0].x"},
		{"a member twice", http.MethodPatch, "", `[{"client_id":"a","status":true,"status":false}]`, 400, "invalid_body", "twice"},
		{"a client twice", http.MethodPatch, "", `[{"client_id":"a","status":true},{"client_id":"a","status":false}]`, 400, "invalid_body", "[1].client_id is there twice"},
		{"an identifier that is none", http.MethodPatch, "", `[{"client_id":"a b","status":true}]`, 400, "invalid_body", "enabled_clients"},
		{"a page by number", http.MethodGet, "?page=1", ``, 400, "invalid_query_string", "take and from"},
		{"another method", http.MethodPost, "", `[]`, 405, "", ""},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			a := w.enabled(tt.method, tt.query, tt.body)
			message, _ := a.member("message").(string)
			code, _ := a.member("errorCode").(string)
			if a.status != tt.status || code != tt.code || !strings.Contains(message, tt.mentions) {
				t.Errorf("%d %s", a.status, a.text)
			}
			if diff := cmp.Diff([]string{"kept"}, w.enabledIDs()); diff != "" {
				t.Errorf("something changed:\n%s", diff)
			}
		})
	}
}

func TestAConnectionsStatusSaysWhetherItWorks(t *testing.T) {
	w, host := hostWorld(t, Host{})
	status := func(id, scopes string) answer {
		return w.call(w.StatusManagement(), http.MethodGet, "/api/v2/connections/"+id+"/status", w.bearer(scopes), "")
	}
	for _, id := range []string{w.conn.ID, host.ID} {
		if a := status(id, "read:connections"); a.status != http.StatusOK || a.member("online") != true {
			t.Errorf("%d %s", a.status, a.text)
		}
	}
	delete(w.hosts, host.Name) // as if another node had it
	if a := status(host.ID, "read:connections"); a.status != http.StatusNotFound || a.member("errorCode") != "connection_offline" {
		t.Errorf("%d %s", a.status, a.text)
	}
	for _, id := range []string{"con_none", "..", "%00"} {
		if a := status(id, "read:connections"); a.status != http.StatusNotFound || a.member("errorCode") != "inexistent_connection" {
			t.Errorf("%s: %d %s", id, a.status, a.text)
		}
	}
	if a := status(w.conn.ID, "update:connections"); a.status != http.StatusForbidden {
		t.Errorf("%d %s", a.status, a.text)
	}
	one := "/api/v2/connections/" + w.conn.ID + "/clients"
	for method, scope := range map[string]string{http.MethodGet: "update:connections", http.MethodPatch: "read:connections"} {
		if a := w.call(w.EnabledClientsManagement(), method, one, w.bearer(scope), `[{"client_id":"a","status":true}]`); a.status != http.StatusForbidden {
			t.Errorf("%s with %s: %d %s", method, scope, a.status, a.text)
		}
	}
	for _, id := range []string{"con_none", "a%20b"} {
		for method, body := range map[string]string{http.MethodGet: "", http.MethodPatch: `[{"client_id":"a","status":true}]`} {
			if a := w.call(w.EnabledClientsManagement(), method, "/api/v2/connections/"+id+"/clients", w.bearer(allScopes), body); a.status != http.StatusNotFound {
				t.Errorf("%s %s: %d %s", method, id, a.status, a.text)
			}
		}
	}
}
