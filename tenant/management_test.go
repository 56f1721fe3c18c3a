package tenant_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
	"github.com/opkit/opkit/tenant"
)

// administration is a tenant whose management API is called with any scope.
type administration struct {
	t      *testing.T
	d      *tenant.Directory
	stores store.Stores
	scopes string
}

const apiScopes = "read:resource_servers create:resource_servers update:resource_servers delete:resource_servers " +
	"read:client_grants create:client_grants update:client_grants delete:client_grants"

func administer(t *testing.T) *administration {
	a := &administration{t: t, stores: memstore.New().Stores(), scopes: apiScopes}
	if err := machineClient(a.stores, tenant.DefaultID, issuer+"/api/v2/"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []store.Client{
		{ID: "first", FirstParty: true}, {ID: "strict", SecurityMode: store.ModeStrict}, {ID: "permissive", SecurityMode: store.ModePermissive},
	} {
		c.TenantID = tenant.DefaultID
		if err := a.stores.Clients.CreateClient(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	a.d = node(t, a.stores, newClock(), nil)
	return a
}

// do sends a request to whoever serves the path, and decodes the answer.
func (a *administration) do(method, path, body string) (status int, answer any) {
	a.t.Helper()
	r := httptest.NewRequest(method, "/api/v2/"+path, strings.NewReader(body))
	if a.scopes != "" {
		r.Header.Set("Authorization", "Bearer "+managementToken(a.t, a.d, a.scopes, nil))
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	h := a.d.APIsHandler()
	if strings.HasPrefix(path, "client-grants") {
		h = a.d.ClientGrantsHandler()
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Header().Get("Cache-Control") != "no-store" {
		a.t.Errorf("%s %s may be cached", method, path)
	}
	if w.Body.Len() > 0 {
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
			a.t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
		}
	}
	return w.Code, answer
}

// want is do with the expected answer, of which ID members are left out; it returns
// the id.
func (a *administration) want(status int, want any, method, path, body string) (id string) {
	a.t.Helper()
	code, got := a.do(method, path, body)
	if object, ok := got.(map[string]any); ok {
		id, _ = object["id"].(string)
		delete(object, "id")
	}
	if diff := cmp.Diff(want, got); code != status || diff != "" {
		a.t.Errorf("%s %s: %d, want %d (-want +got):\n%s", method, path, code, status, diff)
	}
	return id
}

// refused is do with an error: its status, code and text.
func (a *administration) refused(status int, code, message, method, path, body string) {
	a.t.Helper()
	got, answer := a.do(method, path, body)
	want := map[string]any{"statusCode": float64(status), "error": http.StatusText(status), "message": message}
	if code != "" {
		want["errorCode"] = code
	}
	if diff := cmp.Diff(any(want), answer); got != status || diff != "" {
		a.t.Errorf("%s %s %s: %d (-want +got):\n%s", method, path, body, got, diff)
	}
}

// records is all that the handlers could have changed.
func (a *administration) records() []any {
	a.t.Helper()
	apis, err := a.stores.APIs.APIs(a.t.Context(), tenant.DefaultID, store.Page{})
	if err != nil {
		a.t.Fatal(err)
	}
	grants, err := a.stores.ClientGrants.ClientGrants(a.t.Context(), tenant.DefaultID, store.Page{})
	if err != nil {
		a.t.Fatal(err)
	}
	return []any{apis, grants}
}

type jsonObject = map[string]any

func TestAnAPIOnTheWire(t *testing.T) {
	a := administer(t)
	want := jsonObject{
		"identifier": "appointments:api", "is_system": false, "scopes": []any{}, "signing_alg": "ES256", "token_lifetime": 3600.0,
		"allow_offline_access": false, "skip_consent_for_verifiable_first_party_clients": false,
		"subject_type_authorization": jsonObject{"user": jsonObject{"policy": "require_client_grant"}, "client": jsonObject{"policy": "require_client_grant"}},
	}
	id := a.want(201, want, "POST", "resource-servers", `{"identifier":"appointments:api"}`)
	if !strings.HasPrefix(id, "rs_") {
		t.Errorf("id %q", id)
	}
	a.want(200, want, "GET", "resource-servers/"+id, "")
	a.want(200, want, "GET", "resource-servers/appointments:api", "")
	a.refused(409, "resource_server_conflict", "A resource server with the same identifier already exists.", "POST", "resource-servers", `{"identifier":"appointments:api"}`)

	for _, step := range []struct {
		body   string
		change jsonObject
	}{
		{`{}`, nil},
		{`{"identifier":"appointments:api","name":"Appointments"}`, jsonObject{"name": "Appointments"}},
		{`{"scopes":[{"value":"read:all","description":"Read"},{"value":"write:all"}]}`, jsonObject{"scopes": []any{jsonObject{"value": "read:all", "description": "Read"}, jsonObject{"value": "write:all"}}}},
		{`{"scopes":[{"value":"write:all"}]}`, jsonObject{"scopes": []any{jsonObject{"value": "write:all"}}}},
		{`{"signing_alg":"RS256","token_lifetime":86400,"allow_offline_access":true}`, jsonObject{"signing_alg": "RS256", "token_lifetime": 86400.0, "allow_offline_access": true}},
		{`{"skip_consent_for_verifiable_first_party_clients":true}`, jsonObject{"skip_consent_for_verifiable_first_party_clients": true}},
		{`{"subject_type_authorization":{"user":{"policy":"allow_all"}}}`, jsonObject{"subject_type_authorization": jsonObject{"user": jsonObject{"policy": "allow_all"}, "client": jsonObject{"policy": "require_client_grant"}}}},
		{`{"subject_type_authorization":{"client":{"policy":"deny_all"}}}`, jsonObject{"subject_type_authorization": jsonObject{"user": jsonObject{"policy": "allow_all"}, "client": jsonObject{"policy": "deny_all"}}}},
		{`{"skip_consent_for_verifiable_first_party_clients":false}`, jsonObject{"skip_consent_for_verifiable_first_party_clients": false}},
		{`{"signing_alg":null,"token_lifetime":null,"scopes":null}`, jsonObject{"signing_alg": "ES256", "token_lifetime": 3600.0, "scopes": []any{}}},
	} {
		for member, value := range step.change {
			want[member] = value
		}
		a.want(200, want, "PATCH", "resource-servers/"+id, step.body)
		a.want(200, want, "GET", "resource-servers/"+id, "")
	}
	a.want(200, []any{}, "GET", "resource-servers?identifier=x", "")
	a.want(204, nil, "DELETE", "resource-servers/"+id, "")
	a.want(204, nil, "DELETE", "resource-servers/"+id, "")
	a.refused(404, "inexistent_resource_server", "The resource server does not exist.", "GET", "resource-servers/"+id, "")
	a.refused(404, "inexistent_resource_server", "The resource server does not exist.", "PATCH", "resource-servers/"+id, "{}")
}

func TestTheBuiltInAPICanBeReadOnly(t *testing.T) {
	a := administer(t)
	code, answer := a.do("GET", "resource-servers/rs_management", "")
	got, _ := answer.(jsonObject)
	if code != 200 || got["is_system"] != true || got["identifier"] != issuer+"/api/v2/" || got["id"] != "rs_management" {
		t.Errorf("%d %v", code, answer)
	}
	a.refused(403, "system_resource_server", "The management API cannot be changed.", "PATCH", "resource-servers/rs_management", `{"name":"x"}`)
	a.refused(403, "system_resource_server", "The management API cannot be changed.", "DELETE", "resource-servers/rs_management", "")
}

func TestDeletingAnAPIDeletesItsClientGrants(t *testing.T) {
	a := administer(t)
	id := a.want(201, jsonObject{
		"identifier": "a", "is_system": false, "scopes": []any{}, "signing_alg": "ES256", "token_lifetime": 3600.0, "allow_offline_access": false,
		"skip_consent_for_verifiable_first_party_clients": false,
		"subject_type_authorization":                      jsonObject{"user": jsonObject{"policy": "require_client_grant"}, "client": jsonObject{"policy": "require_client_grant"}},
	}, "POST", "resource-servers", `{"identifier":"a"}`)
	a.do("POST", "resource-servers", `{"identifier":"b"}`)
	for _, audience := range []string{"a", "b"} {
		a.want(201, jsonObject{"default_for": "third_party_clients", "audience": audience, "scope": []any{}, "subject_type": "user"},
			"POST", "client-grants", `{"default_for":"third_party_clients","audience":"`+audience+`"}`)
	}
	a.want(204, nil, "DELETE", "resource-servers/"+id, "")
	grants, err := a.stores.ClientGrants.ClientGrants(t.Context(), tenant.DefaultID, store.Page{})
	if err != nil || len(grants) != 2 || grants[0].Audience == "a" || grants[1].Audience == "a" { // that of the caller, that of b
		t.Errorf("%+v, %v", grants, err)
	}
}

func TestAClientGrantOnTheWire(t *testing.T) {
	a := administer(t)
	a.do("POST", "resource-servers", `{"identifier":"api","scopes":[{"value":"r"},{"value":"w"}]}`)
	machine := jsonObject{"client_id": "first", "audience": "api", "scope": []any{"r"}, "subject_type": "client"}
	id := a.want(201, machine, "POST", "client-grants", `{"client_id":"first","audience":"api","scope":["r"]}`)
	if !strings.HasPrefix(id, "cgr_") {
		t.Errorf("id %q", id)
	}
	a.want(200, machine, "GET", "client-grants/"+id, "")
	a.refused(409, "client_grant_conflict", "The client has a grant for this audience and subject type.", "POST", "client-grants", `{"client_id":"first","audience":"api"}`)
	machine["scope"] = []any{"w", "r"}
	a.want(200, machine, "PATCH", "client-grants/"+id, `{"scope":["w","r"]}`)
	a.want(200, machine, "PATCH", "client-grants/"+id, `{}`)
	// Go SDKs send what they read.
	a.want(200, machine, "PATCH", "client-grants/"+id, `{"client_id":"first","audience":"api","scope":["w","r"],"subject_type":"client"}`)
	for member, body := range map[string]string{
		"client_id": `{"client_id":"strict"}`, "audience": `{"audience":"b"}`, "subject_type": `{"subject_type":"user"}`,
		"default_for": `{"default_for":"third_party_clients"}`,
	} {
		a.refused(400, "invalid_body", member+" cannot be changed", "PATCH", "client-grants/"+id, body)
	}
	user := a.want(201, jsonObject{"client_id": "first", "audience": "api", "scope": []any{}, "subject_type": "user"},
		"POST", "client-grants", `{"client_id":"first","audience":"api","subject_type":"user"}`)
	all := a.want(201, jsonObject{"default_for": "third_party_clients", "audience": "api", "scope": []any{"r"}, "subject_type": "user"},
		"POST", "client-grants", `{"default_for":"third_party_clients","audience":"api","scope":["r"]}`)

	for query, ids := range map[string][]string{
		"client_id=first&audience=api":    {id, user},
		"subject_type=user":               {user, all},
		"default_for=third_party_clients": {all},
		"audience=api&subject_type=user":  {user, all},
		"client_id=nobody":                {},
		"audience=" + issuer + "/api":     {},
	} {
		_, answer := a.do("GET", "client-grants?take=10&"+query, "")
		got := map[string]bool{}
		for _, g := range answer.(jsonObject)["client_grants"].([]any) {
			got[g.(jsonObject)["id"].(string)] = true
		}
		want := map[string]bool{}
		for _, id := range ids {
			want[id] = true
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", query, diff)
		}
	}
	a.want(204, nil, "DELETE", "client-grants/"+id, "")
	a.want(204, nil, "DELETE", "client-grants/"+id, "")
	a.refused(404, "inexistent_client_grant", "The client grant does not exist.", "GET", "client-grants/"+id, "")
	a.refused(404, "inexistent_client_grant", "The client grant does not exist.", "PATCH", "client-grants/"+id, `{"scope":[]}`)
}

func TestTheManagementOfAPIsRefuses(t *testing.T) {
	a := administer(t)
	_, created := a.do("POST", "resource-servers", `{"identifier":"api","scopes":[{"value":"r"}]}`)
	api := "resource-servers/" + created.(jsonObject)["id"].(string)
	_, created = a.do("POST", "client-grants", `{"client_id":"first","audience":"api","scope":["r"]}`)
	grant := "client-grants/" + created.(jsonObject)["id"].(string)
	before := a.records()
	for _, c := range []struct{ method, path, body, message string }{
		{"POST", "resource-servers", `{}`, "identifier is required"},
		{"POST", "resource-servers", `[]`, "the request body must be a JSON object"},
		{"POST", "resource-servers", `{"identifier":1}`, "identifier must be a string"},
		{"POST", "resource-servers", `{"identifier":null}`, "identifier must be a string"},
		{"POST", "resource-servers", `{"identifier":""}`, "identifier must have 1 to 600 bytes"},
		{"POST", "resource-servers", `{"identifier":"a b"}`, "identifier has a character that is not allowed"},
		{"POST", "resource-servers", `{"identifier":"` + issuer + `/api/v2/"}`, "identifier belongs to the provider"},
		{"POST", "resource-servers", `{"identifier":"x","id":"y"}`, "the request body has the unknown member id"},
		{"POST", "resource-servers", `{"identifier":"x","name":"a\nb"}`, "name must not contain control characters"},
		{"POST", "resource-servers", `{"identifier":"x","scopes":{}}`, "scopes must be an array"},
		{"POST", "resource-servers", `{"identifier":"x","scopes":["r"]}`, "scopes[0] must be an object"},
		{"POST", "resource-servers", `{"identifier":"x","scopes":[{"value":"a b"}]}`, `scopes must hold scope values (RFC 6749 §3.3), which "a b" is not`},
		{"POST", "resource-servers", `{"identifier":"x","scopes":[{"value":"openid"}]}`, `scopes must not hold scopes of OpenID Connect, of which "openid" is one`},
		{"POST", "resource-servers", `{"identifier":"x","scopes":[{"value":"r"},{"value":"r"}]}`, `scopes must not hold "r" twice`},
		{"POST", "resource-servers", `{"identifier":"x","scopes":[{"value":"r","other":1}]}`, "the request body has the unknown member scopes[0].other"},
		{"POST", "resource-servers", `{"identifier":"x","signing_alg":"none"}`, "signing_alg must be one of ES256, RS256"},
		{"POST", "resource-servers", `{"identifier":"x","signing_alg":""}`, "signing_alg must be one of ES256, RS256"},
		{"POST", "resource-servers", `{"identifier":"x","token_lifetime":0}`, "token_lifetime must be a number of seconds from 1 to 2592000"},
		{"POST", "resource-servers", `{"identifier":"x","token_lifetime":-1}`, "token_lifetime must be a number of seconds from 1 to 2592000"},
		{"POST", "resource-servers", `{"identifier":"x","token_lifetime":9007199254740991}`, "token_lifetime must be a number of seconds from 1 to 2592000"},
		{"POST", "resource-servers", `{"identifier":"x","token_lifetime":1.5}`, "token_lifetime must be an integer"},
		{"POST", "resource-servers", `{"identifier":"x","allow_offline_access":"true"}`, "allow_offline_access must be a boolean"},
		{"POST", "resource-servers", `{"identifier":"x","subject_type_authorization":{"user":{"policy":"all"}}}`, "subject_type_authorization.user.policy must be one of require_client_grant, allow_all, deny_all"},
		{"PATCH", api, `{"subject_type_authorization":{"client":{"policy":""}}}`, "subject_type_authorization.client.policy must be one of require_client_grant, allow_all, deny_all"},
		{"PATCH", api, `{"identifier":"other"}`, "identifier cannot be changed"},
		{"PATCH", api, `{"tenant_id":"other"}`, "the request body has the unknown member tenant_id"},
		{"PATCH", api, `{"name":"ok","token_lifetime":0}`, "token_lifetime must be a number of seconds from 1 to 2592000"},

		{"POST", "client-grants", `{"client_id":"first"}`, "audience is required"},
		{"POST", "client-grants", `{"audience":"api"}`, "one of client_id and default_for is required"},
		{"POST", "client-grants", `{"audience":"api","client_id":"first","default_for":"third_party_clients"}`, "one of client_id and default_for is required"},
		{"POST", "client-grants", `{"audience":"api","default_for":"everybody"}`, `default_for must be "third_party_clients"`},
		{"POST", "client-grants", `{"audience":"api","client_id":"@third_party_clients"}`, "client_id must be the identifier of a client"},
		{"POST", "client-grants", `{"audience":"api","client_id":"nobody"}`, "client_id must be the identifier of a client"},
		{"POST", "client-grants", `{"audience":"nothing","client_id":"first"}`, "audience must be the identifier of a resource server"},
		{"POST", "client-grants", `{"audience":"api","client_id":"first","subject_type":"robot"}`, `subject_type must be "user" or "client"`},
		{"POST", "client-grants", `{"audience":"api","client_id":"first","scope":["r","x"],"subject_type":"user"}`, "scope must hold scopes of the resource server: element 1 is not one"},
		{"POST", "client-grants", `{"audience":"api","client_id":"first","scope":["r","r"],"subject_type":"user"}`, "scope must not hold a scope twice, as element 1 does"},
		{"POST", "client-grants", `{"audience":"api","client_id":"first","scope":"r"}`, "scope must be an array"},
		{"POST", "client-grants", `{"audience":"api","client_id":"strict"}`, "audience cannot be granted: third-party clients in strict mode act on behalf of users only"},
		{"POST", "client-grants", `{"audience":"` + issuer + `/api/v2/","client_id":"permissive"}`, "audience cannot be granted: the management API is not available to third-party clients"},
		{"POST", "client-grants", `{"audience":"` + issuer + `/api/v2/","default_for":"third_party_clients"}`, "audience cannot be granted: the management API is not available to third-party clients"},
		{"PATCH", grant, `{"scope":["x"]}`, "scope must hold scopes of the resource server: element 0 is not one"},
		{"PATCH", grant, `{"scope":null}`, "scope must be an array"},
		{"PATCH", grant, `{"id":"x"}`, "the request body has the unknown member id"},
	} {
		a.refused(400, "invalid_body", c.message, c.method, c.path, c.body)
	}
	a.refused(400, "invalid_query_string", "audience appears more than once", "GET", "client-grants?audience=a&audience=b", "")
	a.refused(400, "invalid_query_string", "identifier appears more than once", "GET", "resource-servers?identifier=a&identifier=b", "")
	a.refused(405, "", "This resource does not support the method.", "PUT", api, `{}`)
	a.refused(405, "", "This resource does not support the method.", "DELETE", "client-grants", "")
	if diff := cmp.Diff(before, a.records()); diff != "" {
		t.Errorf("a refused request changed something:\n%s", diff)
	}
}

func TestTheManagementOfAPIsWantsTheScopeOfEachMethod(t *testing.T) {
	a := administer(t)
	before := a.records()
	for _, c := range []struct{ method, path, body, scope string }{
		{"GET", "resource-servers", "", "read:resource_servers"},
		{"POST", "resource-servers", `{"identifier":"x"}`, "create:resource_servers"},
		{"GET", "resource-servers/x", "", "read:resource_servers"},
		{"PATCH", "resource-servers/x", `{}`, "update:resource_servers"},
		{"DELETE", "resource-servers/x", "", "delete:resource_servers"},
		{"GET", "client-grants", "", "read:client_grants"},
		{"POST", "client-grants", `{"client_id":"first","audience":"x"}`, "create:client_grants"},
		{"GET", "client-grants/x", "", "read:client_grants"},
		{"PATCH", "client-grants/x", `{}`, "update:client_grants"},
		{"DELETE", "client-grants/x", "", "delete:client_grants"},
	} {
		a.scopes = strings.TrimSpace(strings.ReplaceAll(" "+apiScopes+" ", " "+c.scope+" ", " "))
		a.refused(403, "insufficient_scope", "Insufficient scope, expected: "+c.scope, c.method, c.path, c.body)
		a.scopes = ""
		a.refused(401, "", "The Authorization header must carry a Bearer token.", c.method, c.path, c.body)
	}
	if diff := cmp.Diff(before, a.records()); diff != "" {
		t.Error(diff)
	}
}
