package opkit_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// conditional sends a request with a precondition.
func (w *world) conditional(method, path, body, header, value string) *response {
	w.t.Helper()
	r, err := http.NewRequest(method, w.endpoint.Management+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+w.managementToken())
	if header != "" {
		r.Header.Set(header, value)
	}
	return newBrowser(w.t).do(r)
}

// resource is one record of the management API.
type resource struct {
	path string
	// Bodies of a PATCH that each change something; empty: there is no PATCH.
	first, second string
	deleted       int // the status of a deletion; zero: there is none
}

// resources makes a record of every kind.
func (w *world) resources() map[string]resource {
	w.t.Helper()
	create := func(path, body, id string) string {
		res := w.manage(http.MethodPost, path, body)
		if res.StatusCode != http.StatusCreated {
			w.t.Fatalf("%s: %d %s", path, res.StatusCode, res.body)
		}
		if res.Header.Get("ETag") == "" && !strings.HasPrefix(path, "/keys") {
			w.t.Errorf("POST %s has no ETag", path)
		}
		return path + "/" + url.PathEscape(res.json(w.t)[id].(string))
	}
	create("/resource-servers", `{"identifier":"https://kept.example","scopes":[{"value":"a"},{"value":"b"}]}`, "id")
	return map[string]resource{
		"settings":         {"/tenants/settings", `{"friendly_name":"a"}`, `{"friendly_name":"b"}`, 0},
		"connection":       {create("/connections", `{"name":"more","strategy":"auth0"}`, "id"), `{"display_name":"a"}`, `{"display_name":"b"}`, 202},
		"client":           {create("/clients", `{"name":"Conditional","app_type":"non_interactive"}`, "client_id"), `{"name":"a"}`, `{"name":"b"}`, 204},
		"API":              {create("/resource-servers", `{"identifier":"https://conditional.example"}`, "id"), `{"name":"a"}`, `{"name":"b"}`, 204},
		"client grant":     {create("/client-grants", `{"default_for":"third_party_clients","audience":"https://kept.example","scope":[]}`, "id"), `{"scope":["a"]}`, `{"scope":["b"]}`, 204},
		"user":             {create("/users", `{"connection":"Username-Password-Authentication","email":"c@example.com","password":"correct-horse-1906"}`, "user_id"), `{"name":"a"}`, `{"name":"b"}`, 204},
		"initial access":   {create("/initial-access-tokens", `{}`, "id"), "", "", 204},
		"signing key":      {strings.Replace(create("/keys/signing/rotate", `{"alg":"ES256"}`, "kid"), "/rotate", "", 1), "", "", 0},
		"built-in API":     {"/resource-servers/rs_management", "", "", 0},
		"API by its name":  {"/resource-servers/" + url.PathEscape("https://kept.example"), "", "", 0},
		"another's client": {"/clients/" + machineID, "", "", 0},
	}
}

// Who changes or deletes what somebody else changed meanwhile, and says what they saw,
// is refused; who reads what they have already is told so.
func TestConditionalRequests(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount})
		for name, res := range w.resources() {
			t.Run(name, func(t *testing.T) {
				read := w.conditional(http.MethodGet, res.path, "", "", "")
				tag := read.Header.Get("ETag")
				if read.StatusCode != http.StatusOK || len(tag) < 4 || tag[0] != '"' || tag[len(tag)-1] != '"' {
					t.Fatalf("%d with ETag %q", read.StatusCode, tag)
				}
				for _, value := range []string{tag, `"x", W/` + tag, "*", "W/" + tag} {
					again := w.conditional(http.MethodGet, res.path, "", "If-None-Match", value)
					if again.StatusCode != http.StatusNotModified || again.body != "" || again.Header.Get("ETag") != tag {
						t.Errorf("If-None-Match %s: %d %q", value, again.StatusCode, again.body)
					}
				}
				if again := w.conditional(http.MethodGet, res.path, "", "If-None-Match", `"other"`); again.StatusCode != http.StatusOK {
					t.Errorf("another tag: %d", again.StatusCode)
				}
				if res.first != "" {
					w.patchesAreConditional(t, res, tag)
				}
				if res.deleted != 0 {
					w.deletionsAreConditional(t, res)
				}
			})
		}
	})
}

func (w *world) patchesAreConditional(t *testing.T, res resource, tag string) {
	for _, value := range []string{`"other"`, "W/" + tag, `"", "x"`} {
		refused := w.conditional(http.MethodPatch, res.path, res.first, "If-Match", value)
		got := refused.json(t)
		if refused.StatusCode != http.StatusPreconditionFailed || got["errorCode"] != "precondition_failed" || got["statusCode"] != 412.0 {
			t.Errorf("If-Match %s: %d %s", value, refused.StatusCode, refused.body)
		}
	}
	if refused := w.conditional(http.MethodPatch, res.path, res.first, "If-None-Match", "*"); refused.StatusCode != http.StatusPreconditionFailed {
		t.Errorf("If-None-Match *: %d", refused.StatusCode)
	}
	for _, value := range []string{"x", `"`, `"a" "b"`, "", ",", `*, "a"`} {
		refused := w.conditional(http.MethodPatch, res.path, res.first, "If-Match", value)
		if refused.StatusCode != http.StatusBadRequest || refused.json(t)["errorCode"] != "invalid_header" {
			t.Errorf("If-Match %q: %d %s", value, refused.StatusCode, refused.body)
		}
	}
	if now := w.conditional(http.MethodGet, res.path, "", "", "").Header.Get("ETag"); now != tag {
		t.Errorf("a refused request changed the record: %s, was %s", now, tag)
	}
	changed := w.conditional(http.MethodPatch, res.path, res.first, "If-Match", `"x", `+tag)
	next := changed.Header.Get("ETag")
	if changed.StatusCode != http.StatusOK || next == "" || next == tag {
		t.Fatalf("with the tag: %d %s, ETag %s after %s", changed.StatusCode, changed.body, next, tag)
	}
	if now := w.conditional(http.MethodGet, res.path, "", "", "").Header.Get("ETag"); now != next {
		t.Errorf("the tag is %s, the PATCH said %s", now, next)
	}
	if refused := w.conditional(http.MethodPatch, res.path, res.second, "If-Match", tag); refused.StatusCode != http.StatusPreconditionFailed {
		t.Errorf("with the former tag: %d", refused.StatusCode)
	}
	if plain := w.conditional(http.MethodPatch, res.path, res.second, "", ""); plain.StatusCode != http.StatusOK {
		t.Errorf("without a condition: %d", plain.StatusCode)
	}
	if any := w.conditional(http.MethodPatch, res.path, res.first, "If-Match", "*"); any.StatusCode != http.StatusOK {
		t.Errorf("If-Match *: %d", any.StatusCode)
	}
}

func (w *world) deletionsAreConditional(t *testing.T, res resource) {
	tag := w.conditional(http.MethodGet, res.path, "", "", "").Header.Get("ETag")
	if refused := w.conditional(http.MethodDelete, res.path, "", "If-Match", `"other"`); refused.StatusCode != http.StatusPreconditionFailed {
		t.Errorf("another tag: %d", refused.StatusCode)
	}
	if now := w.conditional(http.MethodGet, res.path, "", "", ""); now.StatusCode != http.StatusOK || now.Header.Get("ETag") != tag {
		t.Errorf("after a refused deletion: %d", now.StatusCode)
	}
	if gone := w.conditional(http.MethodDelete, res.path, "", "If-Match", tag); gone.StatusCode != res.deleted {
		t.Errorf("with the tag: %d %s", gone.StatusCode, gone.body)
	}
	if now := w.conditional(http.MethodGet, res.path, "", "", ""); now.StatusCode != http.StatusNotFound {
		t.Errorf("after the deletion: %d", now.StatusCode)
	}
	for _, value := range []string{tag, "*"} {
		if refused := w.conditional(http.MethodDelete, res.path, "", "If-Match", value); refused.StatusCode != http.StatusPreconditionFailed {
			t.Errorf("once more, If-Match %s: %d", value, refused.StatusCode)
		}
	}
	if again := w.conditional(http.MethodDelete, res.path, "", "", ""); again.StatusCode != res.deleted {
		t.Errorf("once more: %d", again.StatusCode)
	}
}

// Of those who saw the same, one wins, whatever they do with it.
func TestOneOfManyConditionalRequestsWins(t *testing.T) {
	w := newWorld(t, options{})
	token := w.managementToken()
	for name, res := range w.resources() {
		if res.first == "" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			member := "name"
			body := func(i int) string { return strings.Replace(res.first, `"a"`, fmt.Sprintf(`"n%d"`, i), 1) }
			if name == "client grant" {
				member, body = "scope", func(i int) string { return []string{res.first, res.second}[i%2] }
			}
			for round := range 5 {
				tag := w.conditional(http.MethodGet, res.path, "", "", "").Header.Get("ETag")
				var won, lost atomic.Int64
				var running sync.WaitGroup
				for i := range 8 {
					running.Go(func() {
						method, sent := http.MethodPatch, body(8*round+i)
						if round == 4 && i%2 == 1 && res.deleted != 0 {
							method, sent = http.MethodDelete, ""
						}
						r, err := http.NewRequest(method, w.endpoint.Management+res.path, strings.NewReader(sent))
						if err != nil {
							t.Error(err)
							return
						}
						r.Header.Set("Content-Type", "application/json")
						r.Header.Set("Authorization", "Bearer "+token)
						r.Header.Set("If-Match", tag)
						switch res := newBrowser(t).do(r); {
						case res.StatusCode < 300:
							won.Add(1)
						case res.StatusCode == http.StatusPreconditionFailed, res.StatusCode == http.StatusNotFound:
							lost.Add(1)
						default:
							t.Errorf("%d %s", res.StatusCode, res.body)
						}
					})
				}
				running.Wait()
				if won.Load() != 1 || lost.Load() != 7 {
					t.Errorf("%s: %d won, %d lost", member, won.Load(), lost.Load())
				}
			}
		})
	}
}
