package main

import (
	"net/http"
	"testing"

	"github.com/opkit/opkit/examples/internal/browser"
)

// The steps of the MCP Inspector's debugger, not its pages: it registers two redirect
// URIs and all scopes, asks for all of them at once, and names no application type though
// it redirects to localhost.
func TestInspectorsSteps(t *testing.T) {
	w := mounted(t, nil)
	const origin = "http://localhost:6274"
	person := browser.New(http.DefaultTransport, origin+"/oauth/callback/debug")
	said := node(t, "inspector.mjs", []string{w.base + mcpPath, origin}, func(message map[string]any) string {
		address, ok := message["open"].(string)
		if !ok {
			return ""
		}
		at, err := w.allow(person, address)
		if err != nil {
			t.Error(err)
			return origin
		}
		return at
	})
	registered, authorizations := w.to("/auth/oidc/register"), w.to("/auth/authorize")
	if len(registered) != 1 || registered[0].status != http.StatusCreated || len(authorizations) == 0 || len(said) != 2 {
		t.Fatalf("registrations %+v, authorization requests %+v, it said %v", registered, authorizations, said)
	}
	if got := authorizations[0].query; got.Get("scope") != "notes:read notes:write" || got.Get("resource") != w.base+mcpPath {
		t.Errorf("authorization request %v", got)
	}
	if said[1]["scope"] != "notes:read notes:write" || said[1]["refresh"] != true {
		t.Errorf("tokens %v", said[1])
	}
	accessToken, _ := said[1]["accessToken"].(string)
	if status, challenge := w.callWith(accessToken); status == http.StatusUnauthorized || status == http.StatusForbidden {
		t.Errorf("its token: %d %s", status, challenge)
	}
}
