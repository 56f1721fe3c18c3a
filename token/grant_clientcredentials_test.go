package token

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/opkit/opkit/store"
)

func credentialsForm(client string, pairs ...string) map[string][]string {
	return form(client, append([]string{"grant_type", "client_credentials", "audience", testAudience}, pairs...)...)
}

func TestClientCredentialsGiveATokenForTheClient(t *testing.T) {
	f := newFixture(t)
	got := f.granted(f.post(credentialsForm(webClient)))
	if got.RefreshToken != "" || got.IDToken != "" {
		t.Error("RFC 6749 §4.4.3: no refresh token, and there is no user for an ID token")
	}
	if got.Scope != "appointments contacts" || got.ExpiresIn != 7200 {
		t.Errorf("scope = %q, expires_in = %d", got.Scope, got.ExpiresIn)
	}
	claims := f.accessTokenClaims(got.AccessToken)
	if id, _ := claims["jti"].(string); len(id) < 26 {
		t.Errorf("jti = %q", id)
	}
	delete(claims, "jti")
	now := f.clock.Now()
	want := map[string]any{
		"iss": testIssuer, "sub": webClient + "@clients", "client_id": webClient, "aud": testAudience, "scope": "appointments contacts",
		"iat": float64(now.Unix()), "exp": float64(now.Add(2 * time.Hour).Unix()),
	}
	if diff := cmp.Diff(want, claims); diff != "" {
		t.Errorf("access token (-want +got):\n%s", diff)
	}
	f.dead(got.AccessToken) // at userinfo: there is no user
}

func TestClientCredentialsScope(t *testing.T) {
	f := newFixture(t)
	for _, tc := range []struct{ asked, got string }{
		{"contacts", "contacts"},
		{"contacts unknown openid offline_access", "contacts"},
		{"contacts appointments", "appointments contacts"},
	} {
		if got := f.granted(f.post(credentialsForm(webClient, "scope", tc.asked))); got.Scope != tc.got {
			t.Errorf("asked %q, got %q, want %q", tc.asked, got.Scope, tc.got)
		}
	}
}

func TestClientCredentialsHaveNoScopeAboutAUser(t *testing.T) {
	f := newFixture(t)
	f.changeAPI(func(a *store.API) {
		a.Scopes = append(a.Scopes, store.APIScope{Value: "openid"}, store.APIScope{Value: "offline_access"})
		a.ClientPolicy = store.PolicyAllowAll
	})
	if got := f.granted(f.post(credentialsForm(webClient))); got.Scope != "appointments contacts" {
		t.Errorf("scope = %q", got.Scope)
	}
}

func TestClientCredentialsByResource(t *testing.T) {
	f := newFixture(t)
	got := f.granted(f.post(credentialsForm(webClient, "audience", "", "resource", testAudience)))
	if aud := f.accessTokenClaims(got.AccessToken)["aud"]; aud != testAudience {
		t.Errorf("aud = %v", aud)
	}
}

func TestClientCredentialsAreRefused(t *testing.T) {
	for _, tc := range []struct {
		rule   string
		client string
		pairs  []string
		change func(*fixture)
		status int
		code   string
	}{
		{"wrong secret", webClient, []string{"client_secret", "x"}, nil, 401, "invalid_client"},
		{"unknown client", "nobody", nil, nil, 401, "invalid_client"},
		{"RFC 6749 §4.4: public clients", publicClient, nil, func(f *fixture) {
			f.changeClient(publicClient, func(c *store.Client) { c.GrantTypes = []string{"client_credentials"} })
			f.changeAPI(func(a *store.API) { a.ClientPolicy = store.PolicyAllowAll })
		}, 400, "unauthorized_client"},
		{"a client that did not register it", webClient, nil, func(f *fixture) {
			f.changeClient(webClient, func(c *store.Client) { c.GrantTypes = []string{"authorization_code"} })
		}, 400, "unauthorized_client"},
		{"a client that registered nothing", dynamicClient, nil, func(f *fixture) {
			f.changeClient(dynamicClient, func(c *store.Client) { c.GrantTypes = nil })
		}, 400, "unauthorized_client"},
		{"a strict third-party client", strictClient, nil, nil, 400, "unauthorized_client"},
		{"a dynamic client while the flag is off", dynamicClient, nil, (*fixture).switchDynamicRegistrationOff, 400, "unauthorized_client"},
		{"no client grant", webClient, nil, func(f *fixture) {
			f.ok(f.mem.DeleteClientGrant(t.Context(), "default", "cgr_web"))
		}, 400, "unauthorized_client"},
		{"the API is closed", webClient, nil, func(f *fixture) {
			f.changeAPI(func(a *store.API) { a.ClientPolicy = store.PolicyDenyAll })
		}, 400, "unauthorized_client"},
		{"unknown audience", webClient, []string{"audience", "other:api"}, nil, 400, "invalid_target"},
		{"two audiences", webClient, []string{"resource", "https://other.example"}, nil, 400, "invalid_target"},
		{"no scope left", webClient, []string{"scope", "openid unknown"}, nil, 400, "invalid_scope"},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			f := newFixture(t)
			if tc.change != nil {
				tc.change(f)
			}
			f.refused(f.post(credentialsForm(tc.client, tc.pairs...)), tc.status, tc.code)
		})
	}
}

func TestDynamicPermissiveClientMayUseClientCredentials(t *testing.T) {
	f := newFixture(t)
	f.granted(f.post(credentialsForm(dynamicClient)))
}

func TestManagementToken(t *testing.T) {
	f := newFixture(t)
	f.ok(f.mem.CreateClientGrant(t.Context(), store.ClientGrant{
		TenantID: "default", ID: "cgr_mgmt", ClientID: webClient, Audience: testIssuer + "/api/v2/",
		Scopes: []string{"update:tenant_settings"}, SubjectType: store.SubjectClient,
	}))
	got := f.granted(f.post(credentialsForm(webClient, "audience", testIssuer+"/api/v2/")))
	claims := f.accessTokenClaims(got.AccessToken)
	if claims["aud"] != testIssuer+"/api/v2/" || claims["scope"] != "update:tenant_settings" {
		t.Errorf("management token = %v", claims)
	}
}

func TestAPIAlgorithm(t *testing.T) {
	f := newFixture(t)
	f.changeAPI(func(a *store.API) { a.SigningAlgorithm = "RS256" })
	got := f.granted(f.post(credentialsForm(webClient)))
	if header, _ := jwtParts(t, got.AccessToken); header["alg"] != "RS256" {
		t.Errorf("header = %v", header)
	}
	f.accessTokenClaims(got.AccessToken)
}

func TestClientCredentialsWithoutAnAudience(t *testing.T) {
	f := newFixture(t)
	got := f.granted(f.post(form(webClient, "grant_type", "client_credentials")))
	if got.RefreshToken != "" || got.IDToken != "" || got.Scope != "" || got.ExpiresIn != 3600 || strings.Contains(got.AccessToken, ".") {
		t.Errorf("answer = %+v, want an opaque token without scope", got.response)
	}
	for _, tc := range []struct {
		rule   string
		client string
		pairs  []string
		change func(*fixture)
		status int
		code   string
	}{
		{"scopes are those of an API", webClient, []string{"scope", "appointments"}, nil, 400, "invalid_scope"},
		{"there is no user for openid", webClient, []string{"scope", "openid"}, nil, 400, "invalid_scope"},
		{"a public client", publicClient, nil, func(f *fixture) {
			f.changeClient(publicClient, func(c *store.Client) { c.GrantTypes = []string{"client_credentials"} })
		}, 400, "unauthorized_client"},
		{"a strict third-party client", strictClient, nil, nil, 400, "unauthorized_client"},
		{"a dynamic client while the flag is off", dynamicClient, nil, (*fixture).switchDynamicRegistrationOff, 400, "unauthorized_client"},
		{"the default audience is no API any more", webClient, nil, func(f *fixture) { f.defaultAudience("gone:api") }, 400, "invalid_target"},
		{"no client grant for the default audience", webClient, nil, func(f *fixture) {
			f.defaultAudience(testAudience)
			f.ok(f.mem.DeleteClientGrant(t.Context(), "default", "cgr_web"))
		}, 400, "unauthorized_client"},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			f := newFixture(t)
			if tc.change != nil {
				tc.change(f)
			}
			f.refused(f.post(form(tc.client, append([]string{"grant_type", "client_credentials"}, tc.pairs...)...)), tc.status, tc.code)
		})
	}
}

func TestClientCredentialsForTheDefaultAudience(t *testing.T) {
	f := newFixture(t)
	f.defaultAudience(testAudience)
	got := f.granted(f.post(form(webClient, "grant_type", "client_credentials", "scope", "contacts")))
	if aud := f.accessTokenClaims(got.AccessToken)["aud"]; aud != testAudience || got.Scope != "contacts" {
		t.Errorf("aud = %v, scope = %q", aud, got.Scope)
	}
}

// The opaque token of a client itself says who the client is to the client, and
// is good for nothing else.
func TestOpaqueTokenOfAClientOpensNothing(t *testing.T) {
	f := newFixture(t)
	token := f.granted(f.post(form(webClient, "grant_type", "client_credentials"))).AccessToken
	f.tap.take()
	f.dead(token) // at userinfo
	f.refused(f.post(codeForm(webClient, token)), 400, "invalid_grant")
	f.refused(f.post(refreshForm(webClient, token)), 400, "invalid_grant")
	f.introspected(f.introspect(form(dynamicClient, "token", token)), false)
	if got := f.tap.take(); got != "" {
		t.Errorf("store calls = %q, want none", got)
	}

	if got, err := newFakeIssuer(t).verifier().Verify(t.Context(), token); err == nil || got != nil {
		t.Errorf("Verify = %+v, %v", got, err)
	}
	// Neither does one pass that was sealed for a user who is called as a client.
	at := openedToken{clientID: webClient, userID: dynamicClient + clientSubject, expires: f.clock.Now().Add(time.Hour)}
	made := f.issuer.accessTokens.SealString(at.encode(), "default")
	f.introspected(f.introspect(form(webClient, "token", made)), false)
}
