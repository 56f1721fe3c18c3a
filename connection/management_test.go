package connection

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/opkit/opkit/store"
)

const allScopes = "read:connections create:connections update:connections delete:connections"

// bearer returns a management token with these scopes.
func (w *world) bearer(scopes string) string {
	w.t.Helper()
	claims, err := json.Marshal(map[string]any{
		"iss": issuer, "aud": w.tenant.ManagementAudience(), "sub": "mgmt@clients", "client_id": "mgmt",
		"iat": w.clock.now.Unix(), "exp": w.clock.now.Add(time.Hour).Unix(), "jti": "x", "scope": scopes,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	token, err := w.cfg.Tenants.Sign(context.Background(), w.tenant, "ES256", "at+jwt", claims)
	if err != nil {
		w.t.Fatal(err)
	}
	return "Bearer " + token
}

// answer is what the management API said.
type answer struct {
	status int
	header http.Header
	text   string
	body   any
}

// member returns a member of an object.
func (a answer) member(name string) any {
	object, _ := a.body.(map[string]any)
	return object[name]
}

// call sends a request to a handler.
func (w *world) call(h http.Handler, method, target, token, body string) answer {
	w.t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Host = "op.example"
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		r.Header.Set("Authorization", token)
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	a := answer{status: rec.Code, header: rec.Header(), text: rec.Body.String()}
	if err := json.Unmarshal(rec.Body.Bytes(), &a.body); err != nil && a.text != "" {
		w.t.Fatalf("%s %s: %d with %q", method, target, rec.Code, a.text)
	}
	return a
}

func (w *world) manage(method, path, body string) answer {
	w.t.Helper()
	return w.call(w.Management(), method, "/api/v2/connections"+path, w.bearer(allScopes), body)
}

// The reference page's request: promote a connection to a domain connection.
func TestPromoteConnection(t *testing.T) {
	w := newWorld(t, nil)
	w.change(func(c *store.Connection) { c.IsDomainConnection = false })
	a := w.call(w.Management(), http.MethodPatch, "/api/v2/connections/"+w.conn.ID, w.bearer("update:connections"), `{ "is_domain_connection": true }`)
	want := map[string]any{
		"id": w.conn.ID, "name": "Username-Password-Authentication", "strategy": "auth0", "is_domain_connection": true,
		"options": map[string]any{}, "enabled_clients": []any{}, "realms": []any{"Username-Password-Authentication"},
	}
	if diff := cmp.Diff(want, a.body); a.status != http.StatusOK || diff != "" {
		t.Errorf("%d\n%s", a.status, diff)
	}
	if names, err := w.names(thirdParty); err != nil || len(names) != 1 {
		t.Errorf("third parties may use %q, error %v", names, err)
	}
}

func TestManagementLifecycle(t *testing.T) {
	w := newWorld(t, nil)
	full := `{"name":"users-2","strategy":"auth0","display_name":"Users","options":{"disable_signup":true,"x":{"y":1}},
		"enabled_clients":["app"],"is_domain_connection":true,"realms":["example.com"],"metadata":{"k":"v"}}`
	created := w.manage(http.MethodPost, "", full)
	if created.status != http.StatusCreated {
		t.Fatalf("%d %s", created.status, created.text)
	}
	id, _ := created.member("id").(string)
	if !regexp.MustCompile(`^con_[A-Za-z0-9]{16}$`).MatchString(id) {
		t.Errorf("id %q", id)
	}
	var want map[string]any
	if err := json.Unmarshal([]byte(full), &want); err != nil {
		t.Fatal(err)
	}
	want["id"] = id
	if diff := cmp.Diff(want, created.body); diff != "" {
		t.Errorf("created:\n%s", diff)
	}
	if got := w.manage(http.MethodGet, "/"+id, ""); got.status != http.StatusOK || cmp.Diff(created.body, got.body) != "" {
		t.Errorf("read: %d %s", got.status, got.text)
	}
	if got := w.manage(http.MethodPost, "", full); got.status != http.StatusConflict || got.member("statusCode") != 409.0 {
		t.Errorf("created again: %d %s", got.status, got.text)
	}
	if got := w.manage(http.MethodDelete, "/"+id, ""); got.status != http.StatusAccepted || got.member("deleted_at") == nil {
		t.Errorf("deleted: %d %s", got.status, got.text)
	}
	if got := w.manage(http.MethodDelete, "/"+id, ""); got.status != http.StatusAccepted {
		t.Errorf("deleted again: %d %s", got.status, got.text)
	}
	for _, method := range []string{http.MethodGet, http.MethodPatch} {
		if got := w.manage(method, "/"+id, `{}`); got.status != http.StatusNotFound || got.member("errorCode") != "inexistent_connection" {
			t.Errorf("%s after the deletion: %d %s", method, got.status, got.text)
		}
	}
}

func TestPatchMerges(t *testing.T) {
	full := store.Connection{
		DisplayName: "Users", Options: []byte(`{"disable_signup":true,"x":1}`), EnabledClients: []string{"app"},
		IsDomainConnection: true, Realms: []string{"example.com"}, Metadata: map[string]string{"k": "v", "l": "w"},
	}
	for _, tt := range []struct {
		patch string
		want  func(*store.Connection)
	}{
		{`{}`, func(*store.Connection) {}},
		{`{"is_domain_connection":false}`, func(c *store.Connection) { c.IsDomainConnection = false }},
		{`{"display_name":"Others"}`, func(c *store.Connection) { c.DisplayName = "Others" }},
		{`{"display_name":null}`, func(c *store.Connection) { c.DisplayName = "" }},
		{`{"options":{"requires_username":true}}`, func(c *store.Connection) { c.Options = []byte(`{"requires_username":true}`) }},
		{`{"options":{}}`, func(c *store.Connection) { c.Options = nil }},
		{`{"options":null}`, func(c *store.Connection) { c.Options = nil }},
		{`{"enabled_clients":["b","c"]}`, func(c *store.Connection) { c.EnabledClients = []string{"b", "c"} }},
		{`{"enabled_clients":[]}`, func(c *store.Connection) { c.EnabledClients = []string{} }},
		{`{"realms":["b"]}`, func(c *store.Connection) { c.Realms = []string{"b"} }},
		{`{"realms":null}`, func(c *store.Connection) { c.Realms = nil }},
		{`{"metadata":{"l":"x"}}`, func(c *store.Connection) { c.Metadata = map[string]string{"l": "x"} }},
		{`{"metadata":null}`, func(c *store.Connection) { c.Metadata = nil }},
		{`{"name":"Username-Password-Authentication","strategy":"auth0","display_name":"X"}`, func(c *store.Connection) { c.DisplayName = "X" }},
	} {
		t.Run(tt.patch, func(t *testing.T) {
			w := newWorld(t, nil)
			w.change(func(c *store.Connection) {
				c.DisplayName, c.Options, c.EnabledClients = full.DisplayName, full.Options, full.EnabledClients
				c.IsDomainConnection, c.Realms, c.Metadata = full.IsDomainConnection, full.Realms, full.Metadata
			})
			want := w.conn.Clone()
			tt.want(&want)
			wantView, err := json.Marshal(viewOf(&want))
			if err != nil {
				t.Fatal(err)
			}
			a := w.manage(http.MethodPatch, "/"+w.conn.ID, tt.patch)
			if a.status != http.StatusOK || strings.TrimSpace(a.text) != string(wantView) {
				t.Errorf("%d\n%s\nwant\n%s", a.status, a.text, wantView)
			}
			if got := w.manage(http.MethodGet, "/"+w.conn.ID, ""); got.text != a.text {
				t.Errorf("stored otherwise than answered:\n%s\n%s", got.text, a.text)
			}
		})
	}
}

func TestManagementRefuses(t *testing.T) {
	w := newWorld(t, nil)
	one := "/" + w.conn.ID
	for _, tt := range []struct {
		rule, method, path, body string
		status                   int
		code, mentions           string
	}{
		{"not JSON", http.MethodPost, "", `name=x`, 400, "invalid_body", ""},
		{"an array", http.MethodPost, "", `[]`, 400, "invalid_body", ""},
		{"no name", http.MethodPost, "", `{"strategy":"auth0"}`, 400, "invalid_body", "name"},
		{"no strategy", http.MethodPost, "", `{"name":"x"}`, 400, "invalid_body", "strategy"},
		{"a bad name", http.MethodPost, "", `{"name":"a b","strategy":"auth0"}`, 400, "invalid_body", "name must"},
		{"an unknown strategy", http.MethodPost, "", `{"name":"x","strategy":"samlp"}`, 400, "invalid_body", "strategy must"},
		{"an unknown member", http.MethodPost, "", `{"name":"x","strategy":"auth0","colour":"red"}`, 400, "invalid_body", "unknown member"},
		{"a member in another case", http.MethodPatch, one, `{"Is_Domain_Connection":true}`, 400, "invalid_body", "unknown member"},
		{"a member twice", http.MethodPatch, one, `{"is_domain_connection":false,"is_domain_connection":true}`, 400, "invalid_body", "twice"},
		{"a string for a boolean", http.MethodPatch, one, `{"is_domain_connection":"true"}`, 400, "invalid_body", "is_domain_connection must be a boolean"},
		{"null for a boolean", http.MethodPatch, one, `{"is_domain_connection":null}`, 400, "invalid_body", "is_domain_connection"},
		{"a string for a list", http.MethodPatch, one, `{"enabled_clients":"app"}`, 400, "invalid_body", "enabled_clients must be an array"},
		{"a number in a list", http.MethodPatch, one, `{"enabled_clients":[1]}`, 400, "invalid_body", "enabled_clients[0]"},
		{"another name", http.MethodPatch, one, `{"name":"other"}`, 400, "invalid_body", "name cannot be changed"},
		{"another strategy", http.MethodPatch, one, `{"strategy":"host"}`, 400, "invalid_body", "strategy cannot be changed"},
		{"another identifier", http.MethodPatch, one, `{"id":"con_x"}`, 400, "invalid_body", "unknown member"},
		{"bad options", http.MethodPatch, one, `{"options":{"disable_signup":"yes"}}`, 400, "invalid_body", "options.disable_signup must be a boolean"},
		{"secret options", http.MethodPatch, one, `{"options":{"configuration":{"k":"s3cret"}}}`, 400, "invalid_body", "options.configuration"},
		{"options that are no object", http.MethodPatch, one, `{"options":"x"}`, 400, "invalid_body", "options"},
		{"a bad identifier", http.MethodGet, "/con_%2e%2e", ``, 404, "inexistent_connection", ""},
		{"an identifier with a slash", http.MethodGet, "/con_a%2Fb", ``, 404, "inexistent_connection", ""},
		{"an identifier with a NUL", http.MethodPatch, "/con_%00", `{}`, 404, "inexistent_connection", ""},
		{"deleting a bad identifier", http.MethodDelete, "/con_'", ``, 404, "inexistent_connection", ""},
		{"an absent one", http.MethodGet, "/con_0000000000000000", ``, 404, "inexistent_connection", ""},
		{"deleting the collection", http.MethodDelete, "", ``, 405, "", ""},
		{"creating in a connection", http.MethodPost, one, `{}`, 405, "", ""},
		{"two names", http.MethodGet, "?name=a&name=b", ``, 400, "invalid_query_string", "name"},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			a := w.manage(tt.method, tt.path, tt.body)
			message, _ := a.member("message").(string)
			code, _ := a.member("errorCode").(string)
			if a.status != tt.status || code != tt.code || a.member("statusCode") != float64(tt.status) || !strings.Contains(message, tt.mentions) {
				t.Errorf("%d %s", a.status, a.text)
			}
			if strings.Contains(a.text, "s3cret") {
				t.Errorf("a secret is repeated: %s", a.text)
			}
		})
	}
}

func TestManagementScopes(t *testing.T) {
	w := newWorld(t, nil)
	one := "/api/v2/connections/" + w.conn.ID
	for _, tt := range []struct{ scope, method, target, body string }{
		{"read:connections", http.MethodGet, "/api/v2/connections", ""},
		{"create:connections", http.MethodPost, "/api/v2/connections", `{"name":"x","strategy":"auth0"}`},
		{"read:connections", http.MethodGet, one, ""},
		{"update:connections", http.MethodPatch, one, `{}`},
		{"delete:connections", http.MethodDelete, one, ""},
	} {
		others := strings.Join(strings.Fields(strings.ReplaceAll(allScopes, tt.scope, "read:tenant_settings")), " ")
		if a := w.call(w.Management(), tt.method, tt.target, w.bearer(others), tt.body); a.status != http.StatusForbidden || a.member("errorCode") != "insufficient_scope" {
			t.Errorf("%s %s without %s: %d %s", tt.method, tt.target, tt.scope, a.status, a.text)
		}
		if a := w.call(w.Management(), tt.method, tt.target, "", tt.body); a.status != http.StatusUnauthorized || a.header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s %s without a token: %d %s", tt.method, tt.target, a.status, a.text)
		}
		if a := w.call(w.Management(), tt.method, tt.target, w.bearer(tt.scope), tt.body); a.status >= 300 {
			t.Errorf("%s %s with %s: %d %s", tt.method, tt.target, tt.scope, a.status, a.text)
		}
	}
}

func TestManagementListFilters(t *testing.T) {
	w, _ := hostWorld(t, Host{})
	names := func(query string) []string {
		t.Helper()
		a := w.manage(http.MethodGet, query, "")
		if a.status != http.StatusOK {
			t.Fatalf("%s: %d %s", query, a.status, a.text)
		}
		list, ok := a.body.([]any)
		if !ok {
			list, _ = a.member("connections").([]any)
		}
		out := []string{}
		for _, c := range list {
			out = append(out, fmt.Sprint(c.(map[string]any)["name"]))
		}
		return out
	}
	for query, want := range map[string]int{
		"":                                       2,
		"?strategy=auth0":                        1,
		"?strategy=host":                         1,
		"?strategy=host&strategy=auth0":          2,
		"?strategy=oidc":                         0,
		"?name=app":                              1,
		"?name=APP":                              0,
		"?name=app&strategy=auth0":               0,
		"?include_totals=true&name=app":          1,
		"?take=50&strategy=host":                 1,
		"?per_page=1":                            1,
		"?per_page=1&page=2":                     0,
		"?per_page=1&page=1&fields=id,name":      1,
		"?include_totals=true&per_page=1":        1,
		"?take=1&fields=id&strategy=auth0":       1,
		"?name=Username-Password-Authentication": 1,
	} {
		if got := names(query); len(got) != want {
			t.Errorf("%q: %q, want %d", query, got, want)
		}
	}
	a := w.manage(http.MethodGet, "?include_totals=true&per_page=1&page=1", "")
	if a.member("total") != 2.0 || a.member("start") != 1.0 || a.member("length") != 1.0 {
		t.Errorf("totals: %s", a.text)
	}
}

func TestManagementStaysInItsTenant(t *testing.T) {
	w := newWorld(t, nil)
	ctx := context.Background()
	if err := w.stores.Connections.CreateConnection(ctx, store.Connection{TenantID: "other", ID: "con_other", Name: "other", Strategy: StrategyDatabase}); err != nil {
		t.Fatal(err)
	}
	if a := w.manage(http.MethodGet, "/con_other", ""); a.status != http.StatusNotFound {
		t.Errorf("read: %d %s", a.status, a.text)
	}
	if a := w.manage(http.MethodPatch, "/con_other", `{"is_domain_connection":true}`); a.status != http.StatusNotFound {
		t.Errorf("updated: %d %s", a.status, a.text)
	}
	w.manage(http.MethodDelete, "/con_other", "")
	if _, err := w.stores.Connections.Connection(ctx, "other", "con_other"); err != nil {
		t.Errorf("deleted: %v", err)
	}
	if a := w.manage(http.MethodGet, "", ""); strings.Contains(a.text, "con_other") {
		t.Errorf("listed: %s", a.text)
	}
}

func TestManagementMountedAnywhere(t *testing.T) {
	w := newWorld(t, nil)
	bare := w.Management()
	patterns := http.NewServeMux()
	patterns.Handle("/admin/places", bare)
	patterns.Handle("/admin/places/{id}", bare)
	for _, tt := range []struct {
		rule             string
		handler          http.Handler
		collection, item string
	}{
		{"bare", bare, "/api/v2/connections", "/api/v2/connections/"},
		{"with a final slash", bare, "/api/v2/connections/", "/api/v2/connections/"},
		{"a mux with a wildcard", patterns, "", "/admin/places/"},
		{"a stripped prefix", http.StripPrefix("/x/y", bare), "/x/y/connections", "/x/y/connections/"},
		{"everything stripped", http.StripPrefix("/x/connections", bare), "/x/connections", "/x/connections/"},
	} {
		if tt.collection != "" {
			if a := w.call(tt.handler, http.MethodGet, tt.collection, w.bearer(allScopes), ""); a.status != http.StatusOK || !strings.HasPrefix(a.text, "[") {
				t.Errorf("%s: %d %s", tt.rule, a.status, a.text)
			}
		}
		if a := w.call(tt.handler, http.MethodGet, tt.item+w.conn.ID, w.bearer(allScopes), ""); a.status != http.StatusOK || a.member("id") != w.conn.ID {
			t.Errorf("%s: %d %s", tt.rule, a.status, a.text)
		}
	}
}

// broken fails every call with a text that nobody may read.
type broken struct{ store.ConnectionStore }

var errDatabase = errors.New("sql: connection refused at db.go:12")

func (broken) Connection(context.Context, string, string) (store.Connection, error) {
	return store.Connection{}, errDatabase
}
func (broken) Connections(context.Context, string, store.Page) ([]store.Connection, error) {
	return nil, errDatabase
}
func (broken) CreateConnection(context.Context, store.Connection) error { return errDatabase }
func (broken) DeleteConnection(context.Context, string, string) error   { return errDatabase }

func TestManagementLeaksNoStoreError(t *testing.T) {
	w := newWorld(t, nil)
	w.cfg.Stores.Connections = broken{}
	for _, tt := range []struct{ method, path, body string }{
		{http.MethodGet, "", ""},
		{http.MethodPost, "", `{"name":"x","strategy":"auth0"}`},
		{http.MethodGet, "/" + w.conn.ID, ""},
		{http.MethodPatch, "/" + w.conn.ID, `{}`},
		{http.MethodDelete, "/" + w.conn.ID, ""},
	} {
		if a := w.manage(tt.method, tt.path, tt.body); a.status != http.StatusInternalServerError || strings.Contains(a.text, "sql") {
			t.Errorf("%s %s: %d %s", tt.method, tt.path, a.status, a.text)
		}
	}
}

// contended answers every update with a conflict.
type contended struct{ store.ConnectionStore }

func (contended) UpdateConnection(context.Context, store.Connection) error { return store.ErrConflict }

func TestManagementReportsLastingConflict(t *testing.T) {
	w := newWorld(t, nil)
	w.cfg.Stores.Connections = contended{w.cfg.Stores.Connections}
	if a := w.manage(http.MethodPatch, "/"+w.conn.ID, `{"display_name":"x"}`); a.status != http.StatusConflict {
		t.Errorf("%d %s", a.status, a.text)
	}
}
