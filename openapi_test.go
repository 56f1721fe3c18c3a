package opkit_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/opkit/opkit"
	"github.com/opkit/opkit/tenant"
)

type object = map[string]any

// openAPI is the description of the management API, as it is served.
func (w *world) openAPI() object {
	w.t.Helper()
	res := w.sendJSON(http.MethodGet, w.endpoint.Management+"/openapi.json", "", "")
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "application/json" {
		w.t.Fatalf("%d %s", res.StatusCode, res.body)
	}
	return res.json(w.t)
}

// documented is an operation of the document.
type documented struct {
	method, path string
	object
}

func (d documented) String() string { return d.method + " " + d.path }

func (d documented) scope() string {
	return d.object["security"].([]any)[0].(object)["token"].([]any)[0].(string)
}

func (d documented) responses() object { return d.object["responses"].(object) }

func (d documented) body() object {
	body, ok := d.object["requestBody"].(object)
	if !ok {
		return nil
	}
	return body["content"].(object)["application/json"].(object)["schema"].(object)
}

func operations(document object) []documented {
	var list []documented
	paths := document["paths"].(object)
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		item := paths[path].(object)
		for _, method := range slices.Sorted(maps.Keys(item)) {
			if op, ok := item[method].(object); ok {
				list = append(list, documented{strings.ToUpper(method), path, op})
			}
		}
	}
	return list
}

// described makes a world with a record of every kind, and says where they are.
func described(t *testing.T, o options) (*world, map[string]string) {
	t.Helper()
	w := newWorld(t, o)
	at := map[string]string{}
	for name, res := range w.resources() {
		at[name] = res.path
	}
	session := newBrowser(t)
	app := w.register(nil)
	w.redeem(app, w.authorizeIn(session, app).Get("code"))
	w.written()
	grants := objects(t, w.manage(http.MethodGet, "/grants", ""))
	logs := objects(t, w.manage(http.MethodGet, "/logs", ""))
	user := "/users/" + url.PathEscape(w.user.ID)
	first := func(path, member string) string {
		list, _ := w.manage(http.MethodGet, path, "").json(t)[member].([]any)
		if len(list) == 0 {
			t.Fatalf("%s has no %s", path, member)
		}
		return list[0].(object)["id"].(string)
	}
	live, chain := "/sessions/"+first(user+"/sessions", "sessions"), "/refresh-tokens/"+first(user+"/refresh-tokens", "tokens")
	return w, map[string]string{
		"/client-grants/{id}": at["client grant"], "/clients/{id}": at["client"], "/clients/{id}/rotate-secret": at["client"] + "/rotate-secret",
		"/connections/{id}": at["connection"], "/connections/{id}/clients": at["connection"] + "/clients", "/connections/{id}/status": at["connection"] + "/status",
		"/grants/{id}": "/grants/" + grants[0]["id"].(string), "/initial-access-tokens/{id}": at["initial access"],
		"/keys/signing/{kid}": at["signing key"], "/keys/signing/{kid}/revoke": at["signing key"] + "/revoke",
		"/logs/{id}": "/logs/" + logs[0]["_id"].(string), "/resource-servers/{id}": at["API"],
		"/users/{id}": at["user"], "/users/{id}/logs": user + "/logs", "/users/{id}/sessions": user + "/sessions",
		"/users/{id}/refresh-tokens": user + "/refresh-tokens", "/refresh-tokens/{id}": chain, "/sessions/{id}": live, "/sessions/{id}/revoke": live + "/revoke",
		"/users-by-email": "/users-by-email?email=c@example.com", "/grants": "/grants?user_id=nobody",
	}
}

// in returns the path of a record that exists.
func in(records map[string]string, path string) string {
	if at, ok := records[path]; ok {
		return at
	}
	return path
}

// The document is public, the same on every mount, and says where the API is.
func TestTheDescriptionOfTheManagementAPI(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount})
		res := w.sendJSON(http.MethodGet, w.endpoint.Management+"/openapi.json", "", "")
		document := res.json(t)
		server := document["servers"].([]any)[0].(object)["url"].(string)
		base, err := url.Parse(w.endpoint.Management + "/openapi.json")
		if err != nil {
			t.Fatal(err)
		}
		if at, err := base.Parse(server); err != nil || at.String() != w.endpoint.Management || document["openapi"] != "3.1.1" {
			t.Errorf("the API is at %v, %v", at, err)
		}
		r, _ := http.NewRequest(http.MethodGet, base.String(), nil)
		r.Header.Set("If-None-Match", res.Header.Get("ETag"))
		if again := newBrowser(t).do(r); again.StatusCode != http.StatusNotModified || again.Header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%d %v", again.StatusCode, again.Header)
		}
		if posted := w.sendJSON(http.MethodPost, base.String(), w.managementToken(), "{}"); posted.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("POST: %d", posted.StatusCode)
		}
	})
}

// Every method of every path that is described is served, and no other.
func TestEveryDescribedOperationIsServed(t *testing.T) {
	w, records := described(t, options{})
	is := map[string]bool{}
	ids := map[string]bool{}
	for _, op := range operations(w.openAPI()) {
		is[op.String()] = true
		if id := op.object["operationId"].(string); ids[id] {
			t.Errorf("%s has the operationId of another", op)
		} else {
			ids[id] = true
		}
	}
	for path := range w.openAPI()["paths"].(object) {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
			res := w.sendJSON(method, w.endpoint.Management+in(records, path), "", "") // without a token nothing happens
			want := http.StatusMethodNotAllowed
			if is[method+" "+path] {
				want = http.StatusUnauthorized
			}
			if res.StatusCode != want {
				t.Errorf("%s %s: %d, want %d", method, path, res.StatusCode, want)
			}
		}
	}
}

// The scope that is described is the one that is needed, and it is enough.
func TestEveryDescribedScopeIsNeeded(t *testing.T) {
	w, records := described(t, options{})
	tn, err := w.provider.Tenants().Tenant(t.Context(), tenant.DefaultID)
	if err != nil {
		t.Fatal(err)
	}
	token := func(scope string) string {
		res := w.token(registered{id: machineID, secret: machineSecret}, "grant_type", "client_credentials", "audience", tn.ManagementAudience(), "scope", scope)
		return res.json(t)["access_token"].(string)
	}
	all := w.allScopes()
	used := map[string]bool{}
	for _, op := range operations(w.openAPI()) {
		used[op.scope()] = true
		path := w.endpoint.Management + in(records, op.path)
		without := w.sendJSON(op.method, path, token(strings.Join(withoutValue(all, op.scope()), " ")), "[]")
		if message, _ := without.json(t)["message"].(string); without.StatusCode != http.StatusForbidden || !strings.HasSuffix(message, " "+op.scope()) {
			t.Errorf("%s without %s: %d %s", op, op.scope(), without.StatusCode, without.body)
		}
		if op.method == http.MethodDelete {
			continue // the record is needed
		}
		if with := w.sendJSON(op.method, path, token(op.scope()), "[]"); with.StatusCode == http.StatusForbidden || with.StatusCode == http.StatusUnauthorized {
			t.Errorf("%s with %s: %d %s", op, op.scope(), with.StatusCode, with.body)
		}
	}
	if diff := withoutAll(all, used); len(diff) > 0 {
		t.Errorf("no operation needs %q", diff)
	}
}

func withoutAll(list []string, gone map[string]bool) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return gone[s] })
}

// types returns the type of a schema, and whether null is one.
func types(s object) (string, bool) {
	if list, ok := s["type"].([]any); ok {
		return list[0].(string), len(list) == 2 && list[1] == "null"
	}
	name, _ := s["type"].(string)
	return name, false
}

// Every member of a body that is described is known, with that type; no other is.
func TestEveryDescribedMemberIsKnown(t *testing.T) {
	w, records := described(t, options{})
	for _, op := range operations(w.openAPI()) {
		body := op.body()
		if body == nil {
			continue
		}
		send := func(text string) (int, string) {
			res := w.manage(op.method, in(records, op.path), text)
			if res.body == "" {
				return res.StatusCode, ""
			}
			message, _ := res.json(t)["message"].(string)
			return res.StatusCode, message
		}
		// What a body needs comes with every member, so that it is the member that counts.
		needed := map[string]string{"/connections": `"name":"n","strategy":"auth0"`, "/users": `"connection":"Username-Password-Authentication","password":"correct-horse-1906"`}[op.path]
		wrap := func(member string) string {
			if name, _, _ := strings.Cut(member, ":"); needed != "" && member != "{}" && !strings.Contains(needed, strings.Trim(name, "{")+":") {
				return "{" + needed + "," + strings.TrimPrefix(member, "{")
			}
			return member
		}
		if kind, _ := types(body); kind == "array" {
			body = body["items"].(object)
			wrap = func(member string) string { return "[" + member + "]" }
		}
		var check func(prefix string, s object, wrap func(string) string)
		check = func(prefix string, s object, wrap func(string) string) {
			properties, _ := s["properties"].(object)
			if s["additionalProperties"] != false || len(properties) == 0 {
				t.Errorf("%s: %s is open", op, prefix)
			}
			if status, message := send(wrap(`{"no_such_member":1}`)); status != http.StatusBadRequest || !strings.Contains(message, "unknown member") {
				t.Errorf("%s: a member of %q that is none: %d %s", op, prefix, status, message)
			}
			for _, name := range slices.Sorted(maps.Keys(properties)) {
				member := properties[name].(object)
				kind, nullable := types(member)
				wrong := map[string]string{"string": "7", "boolean": "7", "array": "7", "object": "7", "number": `"x"`, "integer": `1.5`}[kind]
				status, message := send(wrap(`{"` + name + `":` + wrong + `}`))
				if status != http.StatusBadRequest || !strings.Contains(message, name) || strings.Contains(message, "unknown") {
					t.Errorf("%s: %s%s as %s: %d %s", op, prefix, name, wrong, status, message)
				}
				if !nullable {
					if status, message := send(wrap(`{"` + name + `":null}`)); status != http.StatusBadRequest || !strings.Contains(message, name) || strings.Contains(message, "unknown") {
						t.Errorf("%s: %s%s as null: %d %s", op, prefix, name, status, message)
					}
				}
				if _, nested := member["properties"]; nested {
					check(prefix+name+".", member, func(inner string) string { return wrap(`{"` + name + `":` + inner + `}`) })
				}
			}
			required, _ := s["required"].([]any)
			for _, name := range required {
				if status, message := send(wrap(`{}`)); status != http.StatusBadRequest || !strings.Contains(message, "is required") {
					t.Errorf("%s: without %s: %d %s", op, name, status, message)
				}
			}
		}
		check("", body, wrap)
	}
}

// Every status that is described occurs.
func TestEveryDescribedStatusIsReal(t *testing.T) {
	w, records := described(t, options{})
	token := w.managementToken()
	send := func(method, path, header, value, body string) int {
		r, err := http.NewRequest(method, w.endpoint.Management+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		r.Header.Set("Content-Type", "application/json")
		if header != "" {
			r.Header.Set(header, value)
		}
		return newBrowser(t).do(r).StatusCode
	}
	duplicates := map[string]string{
		"/connections": `{"name":"more","strategy":"auth0"}`, "/resource-servers": `{"identifier":"https://kept.example"}`,
		"/client-grants": `{"default_for":"third_party_clients","audience":"https://kept.example"}`,
		"/users":         `{"connection":"Username-Password-Authentication","email":"c@example.com","password":"correct-horse-1906"}`,
	}
	for _, op := range operations(w.openAPI()) {
		at := in(records, op.path)
		for status := range op.responses() {
			var got int
			switch status {
			case "304":
				got = send(op.method, at, "If-None-Match", "*", "")
			case "400":
				got = send(op.method, at, "Authorization", "Bearer a b", "")
			case "401":
				got = send(op.method, at, "Authorization", "Bearer a", "")
			case "404":
				if op.path == "/logs" || op.path == "/users/{id}/logs" || op.path == "/stats/hourly" {
					continue // see TestDescribedStatusesOfAProviderWithLess
				}
				at := strings.NewReplacer("{id}", "con_0", "{kid}", "none").Replace(op.path)
				if got = send(op.method, at, "", "", "{}"); op.path == "/connections/{id}/clients" && op.method == http.MethodPatch {
					got = send(op.method, at, "", "", `[{"client_id":"a","status":true}]`)
				} else if op.method == http.MethodDelete {
					got = send(op.method, strings.Replace(op.path, "{id}", "~", 1), "", "", "")
				}
			case "409":
				if op.method == http.MethodPatch || strings.HasSuffix(op.path, "/rotate-secret") {
					continue // see TestDescribedConflicts
				}
				got = send(op.method, at, "", "", duplicates[op.path])
			case "412":
				body := "{}"
				if op.path == "/connections/{id}/clients" {
					body = `[{"client_id":"a","status":true}]`
				}
				got = send(op.method, at, "If-Match", `"x"`, body)
			case "413":
				got = send(op.method, at, "", "", `"`+strings.Repeat("x", 65<<10)+`"`)
			case "415":
				got = send(op.method, at, "Content-Type", "text/plain", "{}")
			default:
				continue // 403 and 429 have tests, so has success
			}
			if fmt.Sprint(got) != status {
				t.Errorf("%s: %d instead of %s", op, got, status)
			}
		}
	}
}

// What a provider without a log, and without users of its own, answers is described too.
func TestDescribedStatusesOfAProviderWithLess(t *testing.T) {
	whole, records := described(t, options{})
	document := whole.openAPI()
	stores := whole.stores
	stores.Events, stores.UserAdmin, stores.FamilyLister = nil, nil, nil
	less, err := opkit.New(opkit.Config{Issuer: whole.issuer, Stores: stores, Secret: []byte(strings.Repeat("\x07", 32))})
	if err != nil {
		t.Fatal(err)
	}
	token := whole.managementToken()
	whole.provider = less
	occurs := map[string]int{"/logs": 404, "/logs/{id}": 404, "/users/{id}/logs": 404, "/stats/hourly": 404, "/users": 501, "/users/{id}": 501, "/users-by-email": 501, "/users/{id}/refresh-tokens": 501}
	for _, op := range operations(document) {
		want, ok := occurs[op.path]
		if op.String() == "DELETE /users/{id}/refresh-tokens" {
			ok = false // needs no list
		}
		if !ok {
			if _, described := op.responses()["501"]; described {
				t.Errorf("%s says 501", op)
			}
			continue
		}
		if _, ok := op.responses()[fmt.Sprint(want)]; !ok {
			t.Errorf("%s does not say %d", op, want)
		}
		body := `{"connection":"Username-Password-Authentication","email":"n@example.com","password":"correct-horse-1906"}`
		if op.method == http.MethodPatch {
			body = "{}"
		}
		if res := whole.sendJSON(op.method, whole.endpoint.Management+in(records, op.path), token, body); res.StatusCode != want {
			t.Errorf("%s: %d %s, want %d", op, res.StatusCode, res.body, want)
		}
	}
}

// docs/management.md has a row for each operation, and none for others.
func TestTheListOfOperationsIsComplete(t *testing.T) {
	w, _ := described(t, options{})
	text, err := os.ReadFile("docs/management.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("(?m)^\\| `([A-Z]+ /[^`]*)` \\| `([^`]*)` \\| (.*) \\|$")
	var listed, want []string
	for _, m := range row.FindAllStringSubmatch(string(text), -1) {
		listed = append(listed, m[1]+" "+m[2]+" "+m[3])
	}
	for _, op := range operations(w.openAPI()) {
		want = append(want, fmt.Sprint(op, " ", op.scope(), " ", op.object["summary"]))
	}
	slices.Sort(listed)
	slices.Sort(want)
	if diff := cmp.Diff(want, listed); diff != "" {
		t.Errorf("(-described +listed)\n%s", diff)
	}
}
