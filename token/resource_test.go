package token

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestProtectedResourceMetadata(t *testing.T) {
	p := ProtectedResource{
		Resource: "https://notes.example.com/mcp", AuthorizationServers: []string{"https://login.example.com/"},
		Scopes: []string{"notes:read", "notes:write"}, Name: "Notes", Documentation: "https://notes.example.com/docs",
	}
	h, err := p.Handler()
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, p.MetadataPath(), nil))
	var got map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"resource": "https://notes.example.com/mcp", "authorization_servers": []any{"https://login.example.com/"},
		"scopes_supported": []any{"notes:read", "notes:write"}, "bearer_methods_supported": []any{"header"},
		"resource_name": "Notes", "resource_documentation": "https://notes.example.com/docs",
	}
	if diff := cmp.Diff(want, got); w.Code != http.StatusOK || diff != "" {
		t.Errorf("%d (-want +got):\n%s", w.Code, diff)
	}
	for name, value := range map[string]string{"Content-Type": "application/json", "Access-Control-Allow-Origin": "*", "Cache-Control": "public, max-age=600"} {
		if got := w.Header().Get(name); got != value {
			t.Errorf("%s: %q", name, got)
		}
	}
	w = httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, p.MetadataPath(), nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", w.Code)
	}
}

// RFC 9728 §3.1: the well-known path goes between host and path or query. Only a slash
// that follows the host goes.
func TestWhereProtectedResourceMetadataIs(t *testing.T) {
	for resource, want := range map[string]string{
		"https://api.example.com":           "https://api.example.com/.well-known/oauth-protected-resource",
		"https://api.example.com/":          "https://api.example.com/.well-known/oauth-protected-resource",
		"https://api.example.com/mcp":       "https://api.example.com/.well-known/oauth-protected-resource/mcp",
		"https://api.example.com/a/b/":      "https://api.example.com/.well-known/oauth-protected-resource/a/b/",
		"https://api.example.com/a?b=c":     "https://api.example.com/.well-known/oauth-protected-resource/a?b=c",
		"https://api.example.com/?b=c":      "https://api.example.com/.well-known/oauth-protected-resource?b=c",
		"http://127.0.0.1:8080/mcp":         "http://127.0.0.1:8080/.well-known/oauth-protected-resource/mcp",
		"https://api.example.com:8443/a%2F": "https://api.example.com:8443/.well-known/oauth-protected-resource/a%2F",
	} {
		if got := (ProtectedResource{Resource: resource}).MetadataURL(); got != want {
			t.Errorf("%s: %s, want %s", resource, got, want)
		}
	}
}

func TestProtectedResourceNamesWhatIsWrong(t *testing.T) {
	complete := ProtectedResource{Resource: "https://api.example.com/mcp", AuthorizationServers: []string{"https://login.example.com"}}
	for member, change := range map[string]func(*ProtectedResource){
		"Resource":               func(p *ProtectedResource) { p.Resource = "" },
		"Resource ":              func(p *ProtectedResource) { p.Resource = "notes:api" },
		"Resource  ":             func(p *ProtectedResource) { p.Resource = "https://api.example.com/#x" },
		"Resource:":              func(p *ProtectedResource) { p.Resource = "http://api.example.com/" },
		"AuthorizationServers":   func(p *ProtectedResource) { p.AuthorizationServers = nil },
		"AuthorizationServers: ": func(p *ProtectedResource) { p.AuthorizationServers = []string{"login.example.com"} },
		"Scopes":                 func(p *ProtectedResource) { p.Scopes = []string{"a b"} },
	} {
		p := complete
		change(&p)
		if h, err := p.Handler(); err == nil || h != nil || !strings.Contains(err.Error(), "ProtectedResource."+strings.TrimSpace(member)) {
			t.Errorf("%s: %v", member, err)
		}
	}
}

// RFC 9728 §5.1: who is refused learns where the metadata is.
func TestRequirePointsToTheMetadata(t *testing.T) {
	const at = "https://api.example.com/.well-known/oauth-protected-resource/mcp"
	f := newFakeIssuer(t)
	v := f.verifier()
	v.resourceMetadata = at
	api := v.Require("contacts", "appointments")(http.NotFoundHandler())
	for authorization, want := range map[string]string{
		"": `Bearer realm="appointments:api", scope="contacts appointments", resource_metadata="` + at + `"`,
		"Bearer " + f.sign(f.claims(nil), nil) + "x":                           `Bearer realm="appointments:api", error="invalid_token", error_description="the access token is not valid here, or has expired", resource_metadata="` + at + `"`,
		"Bearer " + f.sign(f.claims(map[string]any{"scope": "contacts"}), nil): `Bearer realm="appointments:api", error="insufficient_scope", error_description="the access token lacks scope", scope="contacts appointments", resource_metadata="` + at + `"`,
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
		w := httptest.NewRecorder()
		api.ServeHTTP(w, r)
		if got := w.Header().Get("WWW-Authenticate"); got != want {
			t.Errorf("%d\n%s, want\n%s", w.Code, got, want)
		}
	}
	if v, err := NewVerifier(VerifierConfig{Issuer: "https://login.example.com", Audience: "a", ResourceMetadata: `/path"`}); err == nil || v != nil || !strings.Contains(err.Error(), "ResourceMetadata") {
		t.Error(err)
	}
}
