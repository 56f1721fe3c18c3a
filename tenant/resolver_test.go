package tenant_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// resolved is what a resolver makes of a request that reaches it through mount.
func resolved(t *testing.T, resolver tenant.Resolver, mount func(http.Handler) http.Handler, target string) (id, path string, err error) {
	t.Helper()
	called := false
	h := http.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		called = true
		id, path, err = resolver.Resolve(r)
	}))
	if mount != nil {
		h = mount(h)
	}
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, target, nil))
	if !called {
		t.Fatalf("%s did not reach the handler", target)
	}
	return id, path, err
}

func strip(prefix string) func(http.Handler) http.Handler {
	return func(h http.Handler) http.Handler { return http.StripPrefix(prefix, h) }
}

func TestSingleFindsThePathBelowItsIssuer(t *testing.T) {
	const oauth, openid = "/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"
	for _, c := range []struct {
		issuer, target, want string
		mount                func(http.Handler) http.Handler
	}{
		{issuer: "https://a.example", target: "/authorize", want: "/authorize"},
		{issuer: "https://a.example/", target: "/authorize", want: "/authorize"},
		{issuer: "https://a.example/idp", target: "/idp/authorize", want: "/authorize"},
		{issuer: "https://a.example/idp/", target: "/idp/authorize", want: "/authorize"},
		{issuer: "https://a.example/idp", target: "/idp", want: "/"},
		{issuer: "https://a.example/idp", target: "/idp/authorize?x=/idp", want: "/authorize"},
		// Mounted bare, under a path of the host's choice.
		{issuer: "https://a.example/idp", target: "/elsewhere", want: "/elsewhere"},
		{issuer: "https://a.example/idp", target: "/idpx/authorize", want: "/idpx/authorize"},
		// Behind StripPrefix, also where the rest begins with the prefix again.
		{issuer: "https://a.example/idp", target: "/idp/authorize", mount: strip("/idp"), want: "/authorize"},
		{issuer: "https://a.example/api", target: "/api/api/v2/connections", mount: strip("/api"), want: "/api/v2/connections"},
		{issuer: "https://a.example/api", target: "/api/api/v2/connections?page=1", mount: strip("/api"), want: "/api/v2/connections"},
		{issuer: "https://a.example/api", target: "/api/api/v2/connections", want: "/api/v2/connections"},
		{issuer: "https://a.example/api", target: "/api/api/v2/connections/con_%7c", mount: strip("/api"), want: "/api/v2/connections/con_|"},
		// Both forms of the well-known paths, with the slash that clients add.
		{issuer: "https://a.example/idp", target: "/idp" + openid, want: openid},
		{issuer: "https://a.example/idp", target: oauth + "/idp", want: oauth},
		{issuer: "https://a.example/idp/", target: oauth + "/idp/", want: oauth},
		{issuer: "https://a.example/idp", target: openid + "/idp", want: openid},
	} {
		id, path, err := resolved(t, tenant.Single("acme", c.issuer), c.mount, c.target)
		if id != "acme" || path != c.want || err != nil {
			t.Errorf("%s at %s (stripped: %v): %q, %q, %v; want path %q", c.target, c.issuer, c.mount != nil, id, path, err, c.want)
		}
	}
}

func mux(pattern string) func(http.Handler) http.Handler {
	return func(h http.Handler) http.Handler {
		m := http.NewServeMux()
		m.Handle(pattern, h)
		return m
	}
}

func TestByPath(t *testing.T) {
	const oauth = "/.well-known/oauth-authorization-server"
	for _, c := range []struct {
		prefix, target, id, path string
		mount                    func(http.Handler) http.Handler
	}{
		{prefix: "/t", target: "/t/acme/authorize", id: "acme", path: "/authorize"},
		{prefix: "t/", target: "/t/acme", id: "acme", path: "/"},
		{prefix: "", target: "/acme/authorize", id: "acme", path: "/authorize"},
		{prefix: "/t", target: "/t/acme/api/v2/connections/con_%7c1", id: "acme", path: "/api/v2/connections/con_|1"},
		{prefix: "", target: "/t/acme/authorize", mount: strip("/t"), id: "acme", path: "/authorize"},
		{prefix: "/t", target: oauth + "/t/acme", id: "acme", path: oauth},
		{prefix: "/t", target: oauth + "/t/acme/", id: "acme", path: oauth},
		{prefix: "", target: oauth + "/acme", id: "acme", path: oauth},
		{prefix: "/t", target: "/t/acme/userinfo", mount: mux("/t/{tenant}/"), id: "acme", path: "/userinfo"},
		{prefix: "/x", target: "/tenants/acme/userinfo", mount: mux("/tenants/{tenant}/userinfo"), id: "acme", path: "/tenants/acme/userinfo"},

		{prefix: "/t", target: "/"},
		{prefix: "/t", target: "/t"},
		{prefix: "/t", target: "/t/"},
		{prefix: "/t", target: "/tt/acme"},
		{prefix: "/t", target: "/acme/t/acme"},
		{prefix: "/t", target: "/t/Acme/authorize"},
		{prefix: "/t", target: "/t/a%2Fb/authorize"},
		{prefix: "/t", target: "/t/%2e%2e/authorize"},
		{prefix: "/t", target: "/t/.well-known/openid-configuration"},
		{prefix: "/t", target: oauth},
		{prefix: "/t", target: oauth + "/acme"},
		{prefix: "/t", target: oauth + "/t/acme/authorize"},
		{prefix: "/t", target: "/t/a%2Fb/userinfo", mount: mux("/t/{tenant}/")},
		{prefix: "/t", target: "/t/a%20b/userinfo", mount: mux("/t/{tenant}/")},
	} {
		id, path, err := resolved(t, tenant.ByPath(c.prefix), c.mount, c.target)
		if c.id == "" {
			if !errors.Is(err, store.ErrNotFound) || id != "" || path != "" {
				t.Errorf("%s below %q: %q, %q, %v; want ErrNotFound", c.target, c.prefix, id, path, err)
			}
			continue
		}
		if id != c.id || path != c.path || err != nil {
			t.Errorf("%s below %q: %q, %q, %v; want %q, %q", c.target, c.prefix, id, path, err, c.id, c.path)
		}
	}
}

// The function of ByHost is the host application's and may match too much. The
// issuer's own host anchors it.
func TestByHostServesATenantAtTheHostOfItsIssuerOnly(t *testing.T) {
	sloppy := func(_ context.Context, host string) (string, error) {
		if strings.Contains(host, "acme.example.com") || host == "acme.localhost" || host == "::1" {
			return "acme", nil
		}
		return "", store.ErrNotFound
	}
	for _, c := range []struct {
		issuer, host string
		ok           bool
	}{
		{"https://acme.example.com", "acme.example.com", true},
		{"https://acme.example.com", "ACME.example.com", true},
		{"https://acme.example.com", "acme.example.com:443", true},
		{"https://acme.example.com:8443", "acme.example.com:8443", true},
		{"http://[::1]:8080", "[::1]:8080", true},

		{"https://acme.example.com", "acme.example.com:8443", false},
		{"https://acme.example.com:8443", "acme.example.com", false},
		{"https://acme.example.com", "acme.example.com:80", false},
		{"https://acme.example.com", "acme.example.com.evil.test", false},
		{"https://acme.example.com", "evil-acme.example.com", false},
		{"https://acme.example.com", "x.acme.example.com", false},
		{"https://acme.example.com", "acme.example.com.", false},
		{"https://acme.example.com", "acme.example.com:", false},
		{"https://acme.example.com", "acme.example.com/x", false},
		{"https://acme.example.com", "acme.example.com@evil.test", false},
		{"https://acme.example.com", "", false},
		{"https://acme.example.com", "[acme.example.com", false},
		{"https://acme.example.com", "other.test", false},
	} {
		d, _ := newDirectory(t, func(cfg *tenant.Config) { cfg.Issuer, cfg.Resolver = "", tenant.ByHost(sloppy) })
		if _, err := d.CreateTenant(t.Context(), store.Tenant{ID: "acme", Issuer: c.issuer}); err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest(http.MethodGet, "/userinfo", nil)
		r.Host = c.host
		r.Header.Set("X-Forwarded-Host", "acme.example.com")
		tn, err := d.FromRequest(r)
		switch {
		case c.ok && (err != nil || tn.ID() != "acme"):
			t.Errorf("%s at %q: %v", c.issuer, c.host, err)
		case !c.ok && (tn != nil || !errors.Is(err, store.ErrNotFound)):
			t.Errorf("%s at %q: served, %v", c.issuer, c.host, err)
		}
	}
}

// What reaches the host's function may end up in a query or a file name.
func TestByHostPassesOnlyCleanHosts(t *testing.T) {
	var seen []string
	resolver := tenant.ByHost(func(_ context.Context, host string) (string, error) {
		seen = append(seen, host)
		return "acme", nil
	})
	for _, host := range []string{
		"Login.Example.com:8443", "127.0.0.1", "[::1]:80", "[2001:db8::1]",
		"a..example.com", ".example.com", "example.com.", "a b", "a/b", "a%2fb", "a'b", "a\x00b", "ä.example.com", "[::1%eth0]", "[x]", "[x]:80", "::1", "a:b:c",
		strings.Repeat("a.", 127) + "example.com", "example.com:", "user@example.com",
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Host = host
		resolver.Resolve(r)
	}
	if diff := cmp.Diff([]string{"login.example.com", "127.0.0.1", "::1", "2001:db8::1"}, seen); diff != "" {
		t.Error(diff)
	}
}

func TestByHostPassesErrorsOn(t *testing.T) {
	d, _ := newDirectory(t, func(cfg *tenant.Config) {
		cfg.Issuer = ""
		cfg.Resolver = tenant.ByHost(func(context.Context, string) (string, error) { return "", errBroken })
	})
	if _, err := d.FromRequest(httptest.NewRequest(http.MethodGet, "/", nil)); !errors.Is(err, errBroken) {
		t.Errorf("got %v", err)
	}
}

func TestTenantsAtPathsHaveTheirOwnMetadataAndKeys(t *testing.T) {
	d, _ := newDirectory(t, func(cfg *tenant.Config) { cfg.Issuer, cfg.Resolver = "", tenant.ByPath("/t") })
	for _, id := range []string{"a", "b"} {
		if _, err := d.CreateTenant(t.Context(), store.Tenant{ID: id, Issuer: "https://example.com/t/" + id}); err != nil {
			t.Fatal(err)
		}
	}
	for _, target := range []string{"/t/a/.well-known/openid-configuration", "/.well-known/oauth-authorization-server/t/a"} {
		if w := get(d.Discovery(), target); !strings.Contains(w.Body.String(), `"issuer":"https://example.com/t/a"`) {
			t.Errorf("%s: %s", target, w.Body)
		}
	}
	a, _ := d.Tenant(t.Context(), "a")
	b, _ := d.Tenant(t.Context(), "b")
	token, err := d.Sign(t.Context(), a, "ES256", "JWT", []byte(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	if payload, err := d.Verify(t.Context(), b, "JWT", token); !errors.Is(err, tenant.ErrInvalidToken) || payload != nil {
		t.Errorf("a token of one tenant holds for another: %s, %v", payload, err)
	}
}
