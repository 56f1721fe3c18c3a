package dcr

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

const clientScopes = "read:clients create:clients update:clients delete:clients"

// managementToken returns a token of a client that was granted every scope.
func (f *fixture) managementToken(scopes string) string {
	f.t.Helper()
	ctx := context.Background()
	directory := f.registrar.cfg.Tenants
	t, err := directory.Tenant(ctx, tenant.DefaultID)
	if err != nil {
		f.t.Fatal(err)
	}
	if _, err := f.stores.Clients.Client(ctx, t.ID(), "mgmt"); err != nil {
		if err := f.stores.Clients.CreateClient(ctx, store.Client{TenantID: t.ID(), ID: "mgmt", FirstParty: true}); err != nil {
			f.t.Fatal(err)
		}
		if _, err := directory.CreateClientGrant(ctx, store.ClientGrant{
			TenantID: t.ID(), ClientID: "mgmt", Audience: t.ManagementAudience(), SubjectType: store.SubjectClient, Scopes: strings.Fields(clientScopes),
		}); err != nil {
			f.t.Fatal(err)
		}
	}
	claims, err := json.Marshal(map[string]any{
		"iss": t.Issuer(), "aud": t.ManagementAudience(), "sub": "mgmt@clients", "client_id": "mgmt",
		"iat": f.now.Unix(), "exp": f.now.Add(time.Hour).Unix(), "jti": "x", "scope": scopes,
	})
	if err != nil {
		f.t.Fatal(err)
	}
	token, err := directory.Sign(ctx, t, "ES256", "at+jwt", claims)
	if err != nil {
		f.t.Fatal(err)
	}
	return token
}

// manage sends a request to the management of clients.
func (f *fixture) manage(scopes, method, path, body string) (status int, answer map[string]any) {
	f.t.Helper()
	r := httptest.NewRequest(method, "https://login.example.com/api/v2/clients"+path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if scopes != "" {
		r.Header.Set("Authorization", "Bearer "+f.managementToken(scopes))
	}
	w := httptest.NewRecorder()
	f.registrar.Management().ServeHTTP(w, r)
	if w.Header().Get("Cache-Control") != "no-store" {
		f.t.Errorf("%s %s may be cached", method, path)
	}
	if w.Body.Len() > 0 {
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
			f.t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
		}
	}
	return w.Code, answer
}

// refuses sends a request that has to fail in exactly that way.
func (f *fixture) refuses(status int, code, message, method, path, body string) {
	f.t.Helper()
	got, answer := f.manage(clientScopes, method, path, body)
	want := map[string]any{"statusCode": float64(status), "error": http.StatusText(status), "message": message, "errorCode": code}
	if code == "" {
		delete(want, "errorCode")
	}
	if diff := cmp.Diff(want, answer); got != status || diff != "" {
		f.t.Errorf("%s %s %s: %d (-want +got):\n%s", method, path, body, got, diff)
	}
}

// without returns an answer without what is made for each client.
func without(answer map[string]any, members ...string) map[string]any {
	for _, member := range members {
		delete(answer, member)
	}
	return answer
}

func TestAClientOnTheWire(t *testing.T) {
	f := newFixture(t, options{})
	status, created := f.manage(clientScopes, "POST", "", `{"name":"Shop","callbacks":["https://shop.example/cb"],"allowed_logout_urls":["https://shop.example/bye"],
		"app_type":"regular_web","oidc_conformant":true,"jwt_configuration":{"alg":"RS256"},"client_metadata":{"team":"web"},"description":"The shop",
		"grant_types":["authorization_code","refresh_token"],"token_endpoint_auth_method":"client_secret_basic","logo_uri":"https://shop.example/logo.png",
		"web_origins":["https://shop.example"]}`)
	if status != 201 {
		t.Fatal(status, created)
	}
	id, _ := created["client_id"].(string)
	secret, _ := created["client_secret"].(string)
	if len(id) != idLength || len(secret) != secretLength || !f.client(id).SecretDigest.Matches(secret) {
		t.Errorf("identifier %q, secret %q", id, secret)
	}
	want := map[string]any{
		"name": "Shop", "description": "The shop", "app_type": "regular_web", "is_first_party": true, "oidc_conformant": true, "dynamic": false, "custom_login_page_on": false,
		"callbacks": []any{"https://shop.example/cb"}, "allowed_logout_urls": []any{"https://shop.example/bye"}, "web_origins": []any{"https://shop.example"},
		"grant_types": []any{"authorization_code", "refresh_token"}, "response_types": []any{"code"}, "application_type": "web",
		"token_endpoint_auth_method": "client_secret_basic", "jwt_configuration": map[string]any{"alg": "RS256"}, "client_metadata": map[string]any{"team": "web"},
		"logo_uri": "https://shop.example/logo.png", "id_token_signed_response_alg": "RS256", "created_at": "2026-04-01T12:00:00Z",
	}
	if diff := cmp.Diff(want, without(created, "client_id", "client_secret")); diff != "" {
		t.Errorf("created (-want +got):\n%s", diff)
	}
	for _, step := range []struct {
		body   string
		change map[string]any
	}{
		{`{}`, nil},
		{`{"client_id":"` + id + `","name":"Shop 2"}`, map[string]any{"name": "Shop 2"}},
		{`{"callbacks":["https://shop.example/cb","com.example.shop:/cb"]}`, map[string]any{"callbacks": []any{"https://shop.example/cb", "com.example.shop:/cb"}}},
		{`{"client_metadata":{"team":null,"tier":"gold"}}`, map[string]any{"client_metadata": map[string]any{"tier": "gold"}}},
		{`{"client_metadata":null,"web_origins":[],"logo_uri":""}`, map[string]any{"client_metadata": nil, "web_origins": nil, "logo_uri": nil}},
		{`{"jwt_configuration":{"alg":"ES256"},"policy_uri":"https://shop.example/p"}`, map[string]any{
			"jwt_configuration": map[string]any{"alg": "ES256"}, "id_token_signed_response_alg": "ES256", "policy_uri": "https://shop.example/p"}},
		{`{"jwt_configuration":null}`, map[string]any{"jwt_configuration": map[string]any{"alg": "RS256"}, "id_token_signed_response_alg": nil}},
		{`{"allowed_logout_urls":null,"description":null}`, map[string]any{"allowed_logout_urls": []any{}, "description": nil}},
		{`{"blocked":true}`, map[string]any{"blocked": true}},
		{`{"blocked":false}`, map[string]any{"blocked": nil}},
		{`{"app_type":"spa","token_endpoint_auth_method":"none"}`, map[string]any{"app_type": "spa", "token_endpoint_auth_method": "none"}},
	} {
		for member, value := range step.change {
			if want[member] = value; value == nil {
				delete(want, member)
			}
		}
		status, got := f.manage(clientScopes, "PATCH", "/"+id, step.body)
		if diff := cmp.Diff(want, without(got, "client_id")); status != 200 || diff != "" {
			t.Errorf("%s: %d (-want +got):\n%s", step.body, status, diff)
		}
		status, got = f.manage(clientScopes, "GET", "/"+id, "")
		if diff := cmp.Diff(want, without(got, "client_id")); status != 200 || diff != "" {
			t.Errorf("%s, read: %d (-want +got):\n%s", step.body, status, diff)
		}
	}
	if c := f.client(id); !c.SecretDigest.IsZero() {
		t.Error("a public client keeps its secret")
	}
	// A way to authenticate that needs a secret gives one, once.
	status, got := f.manage(clientScopes, "PATCH", "/"+id, `{"token_endpoint_auth_method":"client_secret_post"}`)
	fresh, _ := got["client_secret"].(string)
	if status != 200 || fresh == "" || fresh == secret || !f.client(id).SecretDigest.Matches(fresh) {
		t.Errorf("%d %v", status, got)
	}
	if status, got := f.manage(clientScopes, "PATCH", "/"+id, `{"name":"Shop 3"}`); status != 200 || got["client_secret"] != nil || !f.client(id).SecretDigest.Matches(fresh) {
		t.Errorf("%d %v", status, got)
	}
	if strings.Contains(f.log.String(), fresh) || strings.Contains(f.log.String(), secret) {
		t.Error("a secret was logged")
	}

	for range 2 {
		if status, _ := f.manage(clientScopes, "DELETE", "/"+id, ""); status != 204 {
			t.Error(status)
		}
	}
	f.refuses(404, "inexistent_client", "The client does not exist.", "GET", "/"+id, "")
	f.refuses(404, "inexistent_client", "The client does not exist.", "PATCH", "/"+id, `{}`)
}

func TestNewClientsAreWhatTheirAppTypeSays(t *testing.T) {
	f := newFixture(t, options{})
	for body, want := range map[string]string{
		`"app_type":"native","callbacks":["com.example.app:/cb"]`:                                                 "native none authorization_code refresh_token",
		`"app_type":"spa","callbacks":["https://a.example/cb"]`:                                                   "web none authorization_code refresh_token",
		`"app_type":"spa","token_endpoint_auth_method":"client_secret_post","callbacks":["https://a.example/cb"]`: "web client_secret_post authorization_code refresh_token",
		`"app_type":"regular_web","callbacks":["https://a.example/cb"]`:                                           "web client_secret_post authorization_code refresh_token",
		`"callbacks":["https://a.example/cb"]`:                                                                    "web client_secret_post authorization_code refresh_token",
		`"app_type":"non_interactive"`:                                                                            " client_secret_post client_credentials",
	} {
		status, got := f.manage(clientScopes, "POST", "", `{"name":"x",`+body+`}`)
		if status != 201 {
			t.Errorf("%s: %d %v", body, status, got)
			continue
		}
		c := f.client(got["client_id"].(string))
		if is := strings.Join(append([]string{c.ApplicationType, c.TokenEndpointAuthMethod}, c.AllowedGrantTypes()...), " "); is != want || !c.FirstParty || c.Dynamic {
			t.Errorf("%s: %s, %+v", body, is, c)
		}
	}
}

func TestADynamicClientBecomesFirstParty(t *testing.T) {
	f := newFixture(t, options{mode: store.ModePermissive})
	info, registered := f.register(with(""))
	status, got := f.manage(clientScopes, "GET", "/"+info.ClientID, "")
	if status != 200 || got["dynamic"] != true || got["is_first_party"] != false || got["third_party_security_mode"] != "permissive" || got["confirmed_at"] != nil {
		t.Errorf("%d %v", status, got)
	}
	for _, mode := range []string{"strict", "loose", ""} {
		f.refuses(400, "invalid_body", "third_party_security_mode cannot be changed", "PATCH", "/"+info.ClientID, `{"third_party_security_mode":"`+mode+`"}`)
	}
	status, got = f.manage(clientScopes, "PATCH", "/"+info.ClientID, `{"is_first_party":true,"third_party_security_mode":"permissive"}`)
	if status != 200 || got["is_first_party"] != true || got["third_party_security_mode"] != nil {
		t.Errorf("%d %v", status, got)
	}
	// It goes on to sign users in as it did.
	if want := []any{"authorization_code", "implicit", "refresh_token"}; cmp.Diff(any(want), got["grant_types"]) != "" || len(got["response_types"].([]any)) != 7 {
		t.Errorf("%v, %v", got["grant_types"], got["response_types"])
	}
	want := registered.Clone()
	want.FirstParty = true
	want.Version = registered.Version + 1
	if diff := cmp.Diff(want, f.client(info.ClientID)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// And back, with the mode that it registered with.
	status, got = f.manage(clientScopes, "PATCH", "/"+info.ClientID, `{"is_first_party":false}`)
	if status != 200 || got["third_party_security_mode"] != "permissive" {
		t.Errorf("%d %v", status, got)
	}
}

func TestUsersAreAskedAgainWhenAnAdministratorChangesWhatTheySee(t *testing.T) {
	f := newFixture(t, options{})
	info, _ := f.register(with(`"client_name":"Shop"`))
	for body, revision := range map[string]int64{`{"description":"x"}`: 0, `{"name":"Bank"}`: 1} {
		before := f.client(info.ClientID).Revision
		f.manage(clientScopes, "PATCH", "/"+info.ClientID, body)
		if got := f.client(info.ClientID).Revision - before; got != revision {
			t.Errorf("%s: %d revisions", body, got)
		}
	}
}

// What a rule took away, or an administrator, does not come back with the next change.
func TestAnAdministratorsChangeDoesNotWidenTheScope(t *testing.T) {
	f := newFixture(t, options{config: func(c *Config) { c.Policy.Rules.Scopes = []string{"openid", "appointments"} }})
	if _, err := f.registrar.cfg.Tenants.CreateClientGrant(t.Context(), store.ClientGrant{
		TenantID: tenant.DefaultID, ClientID: store.DefaultForThirdParty, Audience: "appointments:api", SubjectType: store.SubjectUser,
		Scopes: []string{"appointments", "read:contacts"},
	}); err != nil {
		t.Fatal(err)
	}
	info, registered := f.register(with(`"scope":"appointments"`))
	if registered.Scope != "appointments" {
		t.Fatalf("registered with %q", registered.Scope)
	}
	set := func(change func(*store.Client)) error {
		_, _, err := f.registrar.UpdateClient(t.Context(), tenant.DefaultID, info.ClientID, func(c *store.Client) error { change(c); return nil })
		return err
	}
	for _, step := range []struct {
		name   string
		change func(*store.Client)
		want   string
	}{
		{"another member", func(c *store.Client) { c.Name = "Shop" }, "appointments"},
		{"one of two scopes", func(c *store.Client) { c.Scope = "read:contacts" }, "read:contacts"},
		{"after the API was deleted", func(c *store.Client) { c.Blocked = true }, "read:contacts"},
	} {
		if step.name == "after the API was deleted" {
			if err := f.registrar.cfg.Tenants.DeleteAPI(t.Context(), tenant.DefaultID, "a1"); err != nil {
				t.Fatal(err)
			}
		}
		if err := set(step.change); err != nil || f.client(info.ClientID).Scope != step.want {
			t.Errorf("%s: %q, %v", step.name, f.client(info.ClientID).Scope, err)
		}
	}
	if err := set(func(c *store.Client) { c.Scope = "appointments" }); err == nil || f.client(info.ClientID).Scope != "read:contacts" {
		t.Errorf("a scope that does not exist: %q, %v", f.client(info.ClientID).Scope, err)
	}
}

func TestListsOfClientsAreFiltered(t *testing.T) {
	f := newFixture(t, options{})
	f.manage(clientScopes, "POST", "", `{"name":"a","app_type":"non_interactive"}`)
	f.manage(clientScopes, "POST", "", `{"name":"b","callbacks":["https://b.example/cb"]}`)
	f.register(with(`"client_name":"c"`))
	for query, want := range map[string]string{
		"": "a b c", "&dynamic=true": "c", "&dynamic=false": "a b", "&is_first_party=true": "a b", "&is_first_party=false": "c",
		"&app_type=non_interactive": "a", "&app_type=regular_web": "b c", "&app_type=spa": "",
	} {
		_, answer := f.manage(clientScopes, "GET", "?take=100"+query, "")
		names := map[string]bool{}
		for _, c := range answer["clients"].([]any) {
			client := c.(map[string]any)
			if name, ok := client["name"].(string); ok { // not the caller itself
				names[name] = true
			}
			if client["client_secret"] != nil {
				t.Errorf("%v has a secret", client)
			}
		}
		expected := map[string]bool{}
		for _, name := range strings.Fields(want) {
			expected[name] = true
		}
		if diff := cmp.Diff(expected, names); diff != "" {
			t.Errorf("%s (-want +got):\n%s", query, diff)
		}
	}
	for query, message := range map[string]string{
		"dynamic=1":                 "dynamic must be one of true, false",
		"is_first_party=":           "is_first_party must be one of true, false",
		"app_type=x":                "app_type must be one of native, spa, regular_web, non_interactive",
		"dynamic=true&dynamic=true": "dynamic appears more than once",
	} {
		f.refuses(400, "invalid_query_string", message, "GET", "?"+query, "")
	}
}

func TestTheManagementOfClientsRefuses(t *testing.T) {
	f := newFixture(t, options{})
	info, _ := f.register(with(`"client_name":"c"`))
	f.managementToken(clientScopes) // which creates its own client
	before := f.clients()
	one := "/" + info.ClientID
	for _, c := range []struct{ method, path, body, message string }{
		{"POST", "", `{}`, "name is required"},
		{"POST", "", `[]`, "the request body must be a JSON object"},
		{"POST", "", `{"name":"x","name":"y"}`, "the request body is not valid JSON, or has a member twice"},
		{"POST", "", `{"name":1}`, "name must be a string"},
		{"POST", "", `{"name":"x"}`, "callbacks is required: an array of the URIs to which users may return"},
		{"POST", "", `{"name":"x","callbacks":"https://a.example/cb"}`, "callbacks must be an array of strings"},
		{"POST", "", `{"name":"x","callbacks":["http://a.example/cb"]}`, "callbacks: 'http://a.example/cb' uses http, which only a loopback host may; use https"},
		{"POST", "", `{"name":"x","callbacks":["https://a.example/cb"],"allowed_logout_urls":["javascript:1"]}`, "allowed_logout_urls: 'javascript:1' has a scheme that is not allowed"},
		{"POST", "", `{"name":"x","callbacks":["https://a.example/cb"],"redirect_uris":[]}`, "the request body has the unknown member redirect_uris"},
		{"POST", "", `{"name":"x","callbacks":["https://a.example/cb"],"client_secret":"s"}`, "the request body has the unknown member client_secret"},
		{"POST", "", `{"name":"x","callbacks":["https://a.example/cb"],"client_id":"chosen"}`, "client_id cannot be chosen"},
		{"POST", "", `{"name":"x","callbacks":["https://a.example/cb"],"tenant":"other"}`, "the request body has the unknown member tenant"},
		{"POST", "", `{"name":"x","callbacks":["https://a.example/cb"],"dynamic":true}`, "the request body has the unknown member dynamic"},
		{"POST", "", `{"name":"x","callbacks":["https://a.example/cb"],"is_first_party":"true"}`, "is_first_party must be true or false"},
		{"POST", "", `{"name":"x","callbacks":["https://a.example/cb"],"is_first_party":null}`, "is_first_party must be true or false"},
		{"POST", "", `{"name":"x","callbacks":["https://a.example/cb"],"third_party_security_mode":"strict"}`, "third_party_security_mode is for clients with is_first_party false"},
		{"POST", "", `{"name":"x","callbacks":["https://a.example/cb"],"is_first_party":false,"third_party_security_mode":"loose"}`, `third_party_security_mode must be "strict" or "permissive"`},
		{"POST", "", `{"name":"x","callbacks":["https://a.example/cb"],"oidc_conformant":false}`, "oidc_conformant must be true"},
		{"POST", "", `{"name":"x","callbacks":["https://a.example/cb"],"app_type":"toaster"}`, "app_type must be one of native, spa, regular_web, non_interactive"},
		{"POST", "", `{"name":"x","callbacks":["https://a.example/cb"],"app_type":1}`, "app_type must be a string"},
		{"POST", "", `{"name":"x","callbacks":["https://a.example/cb"],"jwt_configuration":{"lifetime_in_seconds":1}}`, "the request body has the unknown member jwt_configuration.lifetime_in_seconds"},
		{"POST", "", `{"name":"x","callbacks":["https://a.example/cb"],"jwt_configuration":{"alg":"none"}}`, ""},
		{"POST", "", `{"name":"x","callbacks":["https://a.example/cb"],"token_endpoint_auth_method":"tls"}`, ""},
		{"POST", "", `{"name":"x","callbacks":["https://a.example/cb"],"grant_types":["password"]}`, ""},
		{"POST", "", `{"name":"x","callbacks":["https://a.example/cb"],"client_metadata":{"a":1}}`, "client_metadata must be an object of strings"},
		{"POST", "", `{"name":"x","callbacks":["https://a.example/cb"],"client_metadata":[]}`, "client_metadata must be an object of strings"},
		{"POST", "", `{"name":"x","callbacks":["https://a.example/cb"],"web_origins":["javascript:1"]}`, "web_origins must hold origins: element 0 does not have the scheme https or http"},
		{"POST", "", `{"name":"x","callbacks":["https://a.example/cb"],"description":"a\u202eb"}`, "description has a control character, an invisible one, or one that changes the direction of text"},
		{"PATCH", one, `{"client_id":"other"}`, "client_id cannot be chosen"},
		{"PATCH", one, `{"callbacks":[]}`, "callbacks is required: an array of the URIs to which users may return"},
		{"PATCH", one, `{"name":"ok","logo_uri":"data:x"}`, ""},
		{"PATCH", one, `{"grant_types":["implicit"]}`, ""}, // it registered itself, and is strict
		{"PATCH", one, `{"registration":{}}`, "the request body has the unknown member registration"},
		{"PATCH", one, `{"created_at":"2020-01-01T00:00:00Z"}`, "the request body has the unknown member created_at"},
	} {
		if c.message != "" {
			f.refuses(400, "invalid_body", c.message, c.method, c.path, c.body)
		} else if status, answer := f.manage(clientScopes, c.method, c.path, c.body); status != 400 || answer["errorCode"] != "invalid_body" {
			t.Errorf("%s: %d %v", c.body, status, answer)
		}
	}
	f.refuses(404, "inexistent_client", "The client does not exist.", "GET", "/nobody", "")
	f.refuses(404, "inexistent_client", "The client does not exist.", "PATCH", "/"+strings.Repeat("a", 300), `{}`)
	f.refuses(405, "", "This resource does not support the method.", "PUT", one, `{}`)
	if diff := cmp.Diff(before, f.clients()); diff != "" {
		t.Errorf("a refused request changed something:\n%s", diff)
	}
}

func TestTheManagementOfClientsWantsTheScopeOfEachMethod(t *testing.T) {
	f := newFixture(t, options{})
	f.managementToken(clientScopes)
	before := f.clients()
	for _, c := range []struct{ method, path, body, scope string }{
		{"GET", "", "", "read:clients"},
		{"POST", "", `{"name":"x","callbacks":["https://a.example/cb"]}`, "create:clients"},
		{"GET", "/mgmt", "", "read:clients"},
		{"PATCH", "/mgmt", `{"name":"x"}`, "update:clients"},
		{"DELETE", "/mgmt", "", "delete:clients"},
	} {
		others := strings.ReplaceAll(clientScopes, c.scope, "")
		if status, answer := f.manage(others, c.method, c.path, c.body); status != 403 || answer["errorCode"] != "insufficient_scope" {
			t.Errorf("%s without %s: %d %v", c.method, c.scope, status, answer)
		}
		if status, _ := f.manage("", c.method, c.path, c.body); status != 401 {
			t.Errorf("%s without a token: %d", c.method, status)
		}
	}
	if diff := cmp.Diff(before, f.clients()); diff != "" {
		t.Error(diff)
	}
}

func TestAClientOfAnotherTenantIsNotThere(t *testing.T) {
	f := newFixture(t, options{})
	c := store.Client{TenantID: "other", ID: "theirs", Name: "theirs", RedirectURIs: []string{"https://a.example/cb"}}
	if err := f.stores.Clients.CreateClient(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	f.refuses(404, "inexistent_client", "The client does not exist.", "GET", "/theirs", "")
	f.refuses(404, "inexistent_client", "The client does not exist.", "PATCH", "/theirs", `{"name":"mine"}`)
	if status, _ := f.manage(clientScopes, "DELETE", "/theirs", ""); status != 204 {
		t.Error(status)
	}
	got, err := f.stores.Clients.Client(context.Background(), "other", "theirs")
	if err != nil || got.Name != "theirs" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestUpdateClientGoesOnWhenTheClientIsUsedMeanwhile(t *testing.T) {
	f := newFixture(t, options{})
	_, c := f.register(with(""))
	calls := 0
	got, _, err := f.registrar.UpdateClient(t.Context(), tenant.DefaultID, c.ID, func(changed *store.Client) error {
		if calls++; calls == 1 {
			used := c.Clone()
			used.LastUsedAt = start.Add(time.Hour)
			if err := f.stores.Clients.UpdateClient(context.Background(), used); err != nil {
				t.Fatal(err)
			}
		}
		changed.Name = "Shop"
		return nil
	})
	if stored := f.client(c.ID); err != nil || calls != 2 || stored.Name != "Shop" || !stored.LastUsedAt.Equal(start.Add(time.Hour)) || cmp.Diff(stored, got) != "" {
		t.Errorf("%d calls, %v\n%s", calls, err, cmp.Diff(stored, got))
	}
}
