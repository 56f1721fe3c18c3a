package tenant_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/opkit/opkit/internal/management"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// admitted reports what the guard answers to a token, and the caller it saw.
func admitted(d *tenant.Directory, authorization string) (*httptest.ResponseRecorder, management.Caller) {
	var seen management.Caller
	h := d.Guard().Require("read:connections", func(w http.ResponseWriter, r *http.Request, c management.Caller) error {
		seen = c
		return nil
	})
	r := httptest.NewRequest(http.MethodGet, "/api/v2/connections", nil)
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w, seen
}

func TestTheGuardAdmitsAClientsOwnToken(t *testing.T) {
	d, _ := newDirectory(t, nil)
	for name, change := range map[string]func(map[string]any){
		"audience":             nil,
		"audience in a list":   func(c map[string]any) { c["aud"] = []string{"other", issuer + "/api/v2/"} },
		"other members around": func(c map[string]any) { c["jti"], c["https://example.com/x"] = "1", 2 },
	} {
		w, caller := admitted(d, "Bearer "+managementToken(t, d, "read:connections update:connections", change))
		if w.Code != http.StatusOK || caller.TenantID != tenant.DefaultID || caller.ClientID != "m2m" || caller.Subject != "m2m@clients" ||
			len(caller.Scopes) != 2 {
			t.Errorf("%s: %d %+v", name, w.Code, caller)
		}
	}
}

func TestTheGuardRefusesOtherTokens(t *testing.T) {
	d, _ := newDirectory(t, nil)
	foreign, _ := newDirectory(t, nil) // the same issuer, other keys
	elsewhere, _ := newDirectory(t, func(cfg *tenant.Config) { cfg.Issuer = "https://other.example.com" })
	const scope = "read:connections"
	set := func(name string, v any) func(map[string]any) {
		return func(c map[string]any) { c[name] = v }
	}
	idToken, err := d.Sign(t.Context(), theTenant(t, d), "ES256", "JWT", mustJSON(t, map[string]any{
		"iss": issuer, "aud": issuer + "/api/v2/", "sub": "m2m@clients", "client_id": "m2m", "exp": time.Now().Add(time.Hour).Unix(), "scope": scope,
	}))
	if err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string]string{
		"garbage":                 "garbage",
		"other keys":              managementToken(t, foreign, scope, nil),
		"another issuer":          managementToken(t, elsewhere, scope, nil),
		"issuer of another":       managementToken(t, d, scope, set("iss", "https://other.example.com")),
		"issuer with a slash":     managementToken(t, d, scope, set("iss", issuer+"/")),
		"no issuer":               managementToken(t, d, scope, set("iss", nil)),
		"audience of an API":      managementToken(t, d, scope, set("aud", "appointments:api")),
		"audience without slash":  managementToken(t, d, scope, set("aud", issuer+"/api/v2")),
		"audience of userinfo":    managementToken(t, d, scope, set("aud", []string{issuer + "/userinfo"})),
		"audience of another":     managementToken(t, d, scope, set("aud", "https://other.example.com/api/v2/")),
		"no audience":             managementToken(t, d, scope, set("aud", nil)),
		"audience of a bad type":  managementToken(t, d, scope, set("aud", 1)),
		"expired":                 managementToken(t, d, scope, set("exp", time.Now().Add(-time.Second).Unix())),
		"expires now":             managementToken(t, d, scope, set("exp", time.Now().Unix())),
		"no expiry":               managementToken(t, d, scope, set("exp", nil)),
		"a user's":                managementToken(t, d, scope, set("sub", "auth0|alice")),
		"a user named as clients": managementToken(t, d, scope, set("sub", "alice@clients")),
		"no client":               managementToken(t, d, scope, func(c map[string]any) { c["client_id"], c["sub"] = "", "@clients" }),
		"an ID token":             idToken,
	} {
		w, caller := admitted(d, "Bearer "+token)
		var m map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &m); err != nil {
			t.Fatalf("%s: %d %s", name, w.Code, w.Body)
		}
		if w.Code != http.StatusUnauthorized || m["statusCode"] != 401.0 || m["error"] != "Unauthorized" || m["message"] == "" ||
			!strings.Contains(w.Header().Get("WWW-Authenticate"), `Bearer `) || !strings.Contains(w.Header().Get("WWW-Authenticate"), `error="invalid_token"`) {
			t.Errorf("%s: %d %v %v", name, w.Code, m, w.Header())
		}
		if caller.ClientID != "" {
			t.Errorf("%s: the handler ran for %+v", name, caller)
		}
	}
}

func TestTheGuardWantsTheScope(t *testing.T) {
	d, _ := newDirectory(t, nil)
	for _, scope := range []string{"", "read:connection", "read:connectionsx", "update:connections", "READ:CONNECTIONS"} {
		w, caller := admitted(d, "Bearer "+managementToken(t, d, scope, nil))
		if w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), `"errorCode":"insufficient_scope"`) || caller.ClientID != "" {
			t.Errorf("scope %q: %d %s", scope, w.Code, w.Body)
		}
	}
}

func TestTokensOfOneTenantDoNotManageAnother(t *testing.T) {
	d, stores := newDirectory(t, func(cfg *tenant.Config) { cfg.Issuer, cfg.Resolver = "", tenant.ByPath("/t") })
	tokens := map[string]string{}
	for _, id := range []string{"a", "b"} {
		if _, err := d.CreateTenant(t.Context(), store.Tenant{ID: id, Issuer: "https://example.com/t/" + id}); err != nil {
			t.Fatal(err)
		}
		tn, err := d.Tenant(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if err := machineClient(stores, id, tn.ManagementAudience()); err != nil {
			t.Fatal(err)
		}
		if tokens[id], err = d.Sign(t.Context(), tn, "ES256", "at+jwt", mustJSON(t, map[string]any{
			"iss": tn.Issuer(), "aud": tn.ManagementAudience(), "sub": "m2m@clients", "client_id": "m2m",
			"exp": time.Now().Add(time.Hour).Unix(), "scope": "read:tenant_settings",
		})); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		target, token string
		want          int
	}{{"a", "a", 200}, {"b", "b", 200}, {"a", "b", 401}, {"b", "a", 401}, {"nobody", "a", 404}} {
		r := httptest.NewRequest(http.MethodGet, "/t/"+c.target+"/api/v2/tenants/settings", nil)
		r.Header.Set("Authorization", "Bearer "+tokens[c.token])
		w := httptest.NewRecorder()
		if d.SettingsHandler().ServeHTTP(w, r); w.Code != c.want {
			t.Errorf("a token of %s at %s: %d, want %d", c.token, c.target, w.Code, c.want)
		}
	}
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What was withdrawn from the client is withdrawn from the tokens that it has.
func TestTheGuardAsksWhatTheClientMayDoNow(t *testing.T) {
	for name, tt := range map[string]struct {
		withdraw func(s store.Stores) error
		want     int
	}{
		"client deleted": {func(s store.Stores) error { return s.Clients.DeleteClient(t.Context(), tenant.DefaultID, "m2m") }, 401},
		"grant deleted": {func(s store.Stores) error {
			return s.ClientGrants.DeleteClientGrant(t.Context(), tenant.DefaultID, "m2m")
		}, 401},
		"grant narrowed": {func(s store.Stores) error {
			g, err := s.ClientGrants.FindClientGrant(t.Context(), tenant.DefaultID, "m2m", issuer+"/api/v2/", store.SubjectClient)
			if err != nil {
				return err
			}
			g.Scopes = []string{tenant.ScopeUpdateConnections}
			return s.ClientGrants.UpdateClientGrant(t.Context(), g)
		}, 403},
		"third party now": {func(s store.Stores) error {
			c, err := s.Clients.Client(t.Context(), tenant.DefaultID, "m2m")
			if err != nil {
				return err
			}
			c.FirstParty = false
			return s.Clients.UpdateClient(t.Context(), c)
		}, 401},
	} {
		d, stores := newDirectory(t, nil)
		token := managementToken(t, d, "read:connections", nil)
		if w, _ := admitted(d, "Bearer "+token); w.Code != http.StatusOK {
			t.Fatalf("%s: before: %d", name, w.Code)
		}
		if err := tt.withdraw(stores); err != nil {
			t.Fatal(err)
		}
		if w, _ := admitted(d, "Bearer "+token); w.Code != tt.want {
			t.Errorf("%s: %d, want %d", name, w.Code, tt.want)
		}
	}
}
