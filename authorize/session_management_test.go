package authorize

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/opkit/opkit/internal/seal"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
	"github.com/opkit/opkit/tenant"
)

// RFC 6454 §6.2, as browsers write what a page's script sees.
func TestWebOrigin(t *testing.T) {
	for uri, want := range map[string]string{
		"https://app.example/cb?x=y":      "https://app.example",
		"https://APP.Example/cb":          "https://app.example",
		"https://app.example:443/cb":      "https://app.example",
		"https://app.example:8443/cb":     "https://app.example:8443",
		"http://127.0.0.1:80/cb":          "http://127.0.0.1",
		"http://127.0.0.1:443/cb":         "http://127.0.0.1:443",
		"http://localhost:3000":           "http://localhost:3000",
		"http://[::1]:3000/cb":            "http://[::1]:3000",
		"https://[2001:DB8:0::1]/cb":      "https://[2001:db8::1]",
		"com.example.app:/cb":             "",
		"com.example.app://host/cb":       "",
		"https://a b/cb":                  "",
		"HTTPS://app.example/cb":          "https://app.example",
		"https://xn--bcher-kva.example/x": "https://xn--bcher-kva.example",
	} {
		if got := webOrigin(uri); got != want {
			t.Errorf("%s: %q, want %q", uri, got, want)
		}
	}
}

// The one value that scripts can read, over https: for embedded pages too, and
// bound to the host.
func TestBrowserState(t *testing.T) {
	states, err := seal.New("browser-state", bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	a := &Authorizer{states: states}
	d, err := tenant.New(tenant.Config{Stores: memstore.New().Stores(), Secrets: [][]byte{bytes.Repeat([]byte{7}, 32)}, Resolver: tenant.ByPath("")})
	if err != nil {
		t.Fatal(err)
	}
	tenants := map[string]*tenant.Tenant{}
	for _, id := range []string{"one", "two"} {
		if _, err := d.CreateTenant(t.Context(), store.Tenant{ID: id, Issuer: "https://login.example.com/" + id}); err != nil {
			t.Fatal(err)
		}
		if tenants[id], err = d.Tenant(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	one, session := tenants["one"], &store.Session{SID: "the-sid"}
	keep := func(t *tenant.Tenant, current string, s *store.Session) (string, *http.Cookie) {
		w := httptest.NewRecorder()
		state := a.keepBrowserState(w, t, current, s)
		if cookies := w.Result().Cookies(); len(cookies) > 0 {
			return state, cookies[0]
		}
		return state, nil
	}

	in, c := keep(one, "", session)
	if c == nil || c.Name != "__Host-opkit_state_one" || c.Value != in || c.HttpOnly || !c.Secure || c.SameSite != http.SameSiteNoneMode || c.Path != "/" || c.Domain != "" {
		t.Fatalf("cookie %v", c)
	}
	if again, _ := keep(one, "", session); again != in {
		t.Error("responses that cross undo each other")
	}
	if same, c := keep(one, in, session); same != in || c != nil {
		t.Errorf("the same session: %q, cookie %v", same, c)
	}
	if other, c := keep(one, in, &store.Session{SID: "another"}); other == in || c == nil {
		t.Error("another session is not noticed")
	}
	if theirs, c := keep(tenants["two"], in, session); theirs == in || c == nil || c.Name != "__Host-opkit_state_two" {
		t.Errorf("the state of another tenant: %q, cookie %v", theirs, c)
	}
	out, c := keep(one, in, nil)
	if out == in || c == nil || out == "" {
		t.Errorf("signed out: %q, cookie %v", out, c)
	}
	if same, c := keep(one, out, nil); same != out || c != nil {
		t.Errorf("still signed out: %q, cookie %v", same, c)
	}
	if another, _ := keep(one, in, nil); another == out {
		t.Error("what a browser has that is signed out can be guessed")
	}
	if none, c := keep(one, "", nil); none != "" || c != nil {
		t.Errorf("never signed in: %q, cookie %v", none, c)
	}
	if strings.Contains(in+out, "the-sid") {
		t.Error("the state tells the sid")
	}
}
