package token

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

const introspectionURL = testIssuer + "/oauth/introspect"

func (f *fixture) introspect(values url.Values) *httptest.ResponseRecorder {
	f.Helper()
	return f.introspectBy(tokenRequest("POST", introspectionURL, formType, values.Encode()))
}

func (f *fixture) introspectBy(r *http.Request) *httptest.ResponseRecorder {
	f.Helper()
	w := httptest.NewRecorder()
	f.issuer.Introspection().ServeHTTP(w, r)
	if got := w.Header().Get("Cache-Control"); got != "no-store" {
		f.Errorf("Cache-Control = %q, want no-store", got)
	}
	return w
}

// introspected expects an answer that is active, or one that says nothing but
// that it is not.
func (f *fixture) introspected(w *httptest.ResponseRecorder, active bool) map[string]any {
	f.Helper()
	var got map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/json" {
		f.Fatalf("introspection = %d %s", w.Code, w.Body)
	}
	if got["active"] != active || !active && len(got) != 1 {
		f.Errorf("introspection = %v, want active %t", got, active)
	}
	return got
}

// issuedTokens are one of each kind that webClient obtained.
func (f *fixture) issuedTokens() map[string]string {
	f.Helper()
	opaque := f.offline(webClient, "", "openid", "profile")
	jwt := f.offline(webClient, testAudience, "openid", "contacts")
	return map[string]string{
		"opaque":            opaque.AccessToken,
		"refresh":           opaque.RefreshToken,
		"jwt":               jwt.AccessToken,
		"refresh for API":   jwt.RefreshToken,
		"client's own":      f.granted(f.post(form(webClient, "grant_type", "client_credentials"))).AccessToken,
		"client's own, jwt": f.granted(f.post(credentialsForm(webClient))).AccessToken,
	}
}

func TestIntrospectionSays(t *testing.T) {
	f := newFixture(t)
	tokens := f.issuedTokens()
	now := f.clock.Now()
	unixIn := func(d time.Duration) float64 { return float64(now.Add(d).Unix()) }
	for name, want := range map[string]map[string]any{
		"opaque": {
			"scope": "openid profile", "token_type": "Bearer", "exp": unixIn(time.Hour), "sub": "auth0|u1", "aud": testIssuer + "/userinfo",
		},
		"jwt": {
			"scope": "openid contacts", "token_type": "Bearer", "exp": unixIn(2 * time.Hour), "sub": "auth0|u1",
			"aud": []any{testAudience, testIssuer + "/userinfo"}, "jti": f.accessTokenClaims(tokens["jwt"])["jti"],
		},
		"refresh":         {"scope": "openid profile", "exp": unixIn(15 * 24 * time.Hour), "sub": "auth0|u1", "sid": "sid-1"},
		"refresh for API": {"scope": "openid contacts", "exp": unixIn(15 * 24 * time.Hour), "sub": "auth0|u1", "sid": "sid-1"},
		"client's own":    {"token_type": "Bearer", "exp": unixIn(time.Hour), "sub": "web@clients"},
		"client's own, jwt": {
			"scope": "appointments contacts", "token_type": "Bearer", "exp": unixIn(2 * time.Hour), "sub": "web@clients",
			"aud": testAudience, "jti": f.accessTokenClaims(tokens["client's own, jwt"])["jti"],
		},
	} {
		t.Run(name, func(t *testing.T) {
			want["active"], want["iss"], want["client_id"], want["iat"] = true, testIssuer, webClient, unixIn(0)
			if diff := cmp.Diff(want, f.introspected(f.introspect(form(webClient, "token", tokens[name])), true)); diff != "" {
				t.Errorf("introspection (-want +got):\n%s", diff)
			}
			for _, hint := range []string{"access_token", "refresh_token", "unknown"} {
				f.introspected(f.introspect(form(webClient, "token", tokens[name], "token_type_hint", hint)), true)
			}
		})
	}
	// By HTTP Basic and as JSON.
	r := tokenRequest("POST", introspectionURL, formType, "token="+tokens["opaque"])
	r.SetBasicAuth(webClient, testSecret)
	f.introspected(f.introspectBy(r), true)
	f.introspected(f.introspectBy(tokenRequest("POST", introspectionURL, jsonType,
		`{"client_id":"web","client_secret":"`+testSecret+`","token":"`+tokens["opaque"]+`"}`)), true)
}

// Who learns about a token: the client that it was issued to, and for one of an
// API a client that holds a client grant for that API.
func TestIntrospectionIsForThoseConcerned(t *testing.T) {
	const other, otherAPI = "other", "other:api"
	ctx := context.Background()
	all := []string{"opaque", "refresh", "jwt", "refresh for API", "client's own", "client's own, jwt"}
	jwts := []string{"jwt", "client's own, jwt"}
	grant := func(client, audience, subject string) func(*fixture) {
		return func(f *fixture) {
			f.ok(f.mem.CreateClientGrant(ctx, store.ClientGrant{
				TenantID: tenant.DefaultID, ID: "cgr_test", ClientID: client, Audience: audience, SubjectType: subject,
			}))
		}
	}
	for _, tc := range []struct {
		rule   string
		caller string
		change func(*fixture)
		learns []string
	}{
		{"the client itself", webClient, nil, all},
		{"another client", other, nil, nil},
		{"a client grant for the API", other, grant(other, testAudience, store.SubjectClient), jwts},
		{"a client grant for the API on behalf of users", other, grant(other, testAudience, store.SubjectUser), nil},
		{"a client grant for another API", other, grant(other, otherAPI, store.SubjectClient), nil},
		{"a client grant for userinfo", other, grant(other, testIssuer+"/userinfo", store.SubjectClient), nil},
		{"the default client grant of third parties", other, grant(store.DefaultForThirdParty, testAudience, store.SubjectClient), nil},
		{"an API that lets in every client", other, func(f *fixture) { f.changeAPI(func(a *store.API) { a.ClientPolicy = store.PolicyAllowAll }) }, nil},
		{"a client grant for an API that is closed", other, func(f *fixture) {
			grant(other, testAudience, store.SubjectClient)(f)
			f.changeAPI(func(a *store.API) { a.ClientPolicy = store.PolicyDenyAll })
		}, nil},
		{"a client grant for an API that is gone", other, func(f *fixture) {
			grant(other, testAudience, store.SubjectClient)(f)
			f.ok(f.mem.DeleteAPI(ctx, tenant.DefaultID, "api_1"))
		}, nil},
		{"a strict third party, whatever is stored", strictClient, nil, nil},
		{"a permissive third party with a client grant", dynamicClient, nil, jwts},
		{"a dynamic client while the flag is off", dynamicClient, (*fixture).switchDynamicRegistrationOff, nil},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			f := newFixture(t)
			f.ok(f.mem.CreateClient(ctx, store.Client{
				TenantID: tenant.DefaultID, ID: other, FirstParty: true, TokenEndpointAuthMethod: "client_secret_post", SecretDigest: store.DigestOf(testSecret),
			}))
			f.ok(f.mem.CreateAPI(ctx, store.API{TenantID: tenant.DefaultID, ID: "api_2", Audience: otherAPI}))
			tokens := f.issuedTokens()
			if tc.change != nil {
				tc.change(f)
			}
			for name, token := range tokens {
				t.Log(name)
				f.introspected(f.introspect(form(tc.caller, "token", token)), slices.Contains(tc.learns, name))
			}
		})
	}
}

// A token is active exactly as long as it would be served.
func TestIntrospectionIsAboutNow(t *testing.T) {
	ctx := context.Background()
	ofUsers := []string{"opaque", "refresh", "jwt", "refresh for API"}
	for _, tc := range []struct {
		rule   string
		change func(*fixture)
		dead   []string
	}{
		{"nothing happened", func(*fixture) {}, nil},
		{"the user is blocked", func(f *fixture) { f.changeUser(func(u *store.User) { u.Blocked = true }) }, ofUsers},
		{"the user was deleted", func(f *fixture) { f.ok(f.mem.DeleteUser(ctx, tenant.DefaultID, "auth0|u1")) }, ofUsers},
		{"the connection no longer lists the client", func(f *fixture) {
			f.changeConnection(func(c *store.Connection) { c.EnabledClients = nil })
		}, ofUsers},
		{"the grants were revoked", func(f *fixture) {
			f.ok(f.mem.DeleteGrant(ctx, tenant.DefaultID, "grant-web-"))
			f.ok(f.mem.DeleteGrant(ctx, tenant.DefaultID, "grant-web-"+testAudience))
		}, ofUsers},
		{"the session's families were revoked", func(f *fixture) {
			now := f.clock.Now()
			_, err := f.mem.RevokeFamilies(ctx, tenant.DefaultID, store.FamilyFilter{SID: "sid-1"}, now.Add(time.Hour), now)
			f.ok(err)
		}, ofUsers},
		{"the API was deleted", func(f *fixture) { f.ok(f.mem.DeleteAPI(ctx, tenant.DefaultID, "api_1")) }, []string{"refresh for API"}},
		{"the API no longer allows offline access", func(f *fixture) {
			f.changeAPI(func(a *store.API) { a.DisallowOfflineAccess = true })
		}, []string{"refresh for API"}},
		{"the API is closed to users", func(f *fixture) {
			f.changeAPI(func(a *store.API) { a.UserPolicy = store.PolicyDenyAll })
		}, []string{"refresh for API"}},
		{"the client may not refresh any more", func(f *fixture) {
			f.changeClient(webClient, func(c *store.Client) { c.GrantTypes = []string{"authorization_code"} })
		}, []string{"refresh", "refresh for API"}},
		{"an hour has passed", func(f *fixture) { f.clock.advance(time.Hour) }, []string{"opaque", "client's own"}},
		{"two hours have passed", func(f *fixture) { f.clock.advance(2 * time.Hour) },
			[]string{"opaque", "jwt", "client's own", "client's own, jwt"}},
		{"fifteen days have passed", func(f *fixture) { f.clock.advance(15 * 24 * time.Hour) },
			append(ofUsers, "client's own", "client's own, jwt")},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			f := newFixture(t)
			tokens := f.issuedTokens()
			tc.change(f)
			for name, token := range tokens {
				t.Log(name)
				f.introspected(f.introspect(form(webClient, "token", token)), !slices.Contains(tc.dead, name))
			}
		})
	}
}

func TestIntrospectionOfARotatedRefreshToken(t *testing.T) {
	f := newFixture(t)
	first := f.offline(webClient, "", "openid")
	second := f.granted(f.post(refreshForm(webClient, first.RefreshToken)))
	f.introspected(f.introspect(form(webClient, "token", first.RefreshToken)), false)
	f.introspected(f.introspect(form(webClient, "token", second.RefreshToken)), true)
	f.introspected(f.introspect(form(webClient, "token", first.AccessToken)), true)
	// Asking about it is not using it.
	f.granted(f.post(refreshForm(webClient, second.RefreshToken)))
}

// A family can outlive its refresh token, for the sake of the access tokens.
func TestIntrospectionOfAnIdleRefreshToken(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.RefreshTokenIdle = time.Minute })
	got := f.offline(webClient, "", "openid")
	f.clock.advance(time.Minute - time.Microsecond)
	f.introspected(f.introspect(form(webClient, "token", got.RefreshToken)), true)
	f.clock.advance(time.Microsecond)
	f.introspected(f.introspect(form(webClient, "token", got.RefreshToken)), false)
	f.introspected(f.introspect(form(webClient, "token", got.AccessToken)), true)
}

// The client of a token can go while another one asks about the token.
func TestIntrospectionOfATokenWhoseClientIsGone(t *testing.T) {
	for rule, change := range map[string]func(*fixture){
		"deleted":             func(f *fixture) { f.ok(f.mem.DeleteClient(t.Context(), tenant.DefaultID, dynamicClient)) },
		"the flag is off now": (*fixture).switchDynamicRegistrationOff,
	} {
		t.Run(rule, func(t *testing.T) {
			f := newFixture(t)
			tokens := []string{
				f.granted(f.post(credentialsForm(dynamicClient))).AccessToken,
				f.redeem(dynamicClient, f.code(f.authorization(dynamicClient, testAudience, "contacts"))).AccessToken,
			}
			for _, token := range tokens {
				f.introspected(f.introspect(form(webClient, "token", token)), true)
			}
			change(f)
			for _, token := range tokens {
				f.introspected(f.introspect(form(webClient, "token", token)), false)
			}
		})
	}
}

func TestIntrospectionOfWhatIsNoToken(t *testing.T) {
	f := newFixture(t)
	jwt, opaque := f.offline(webClient, testAudience, "openid", "contacts"), f.offline(webClient, "", "openid")
	parts := strings.Split(jwt.AccessToken, ".")
	at := openedToken{clientID: webClient, userID: "web@clients", expires: f.clock.Now().Add(time.Hour)}
	altered := "B"
	if strings.HasPrefix(opaque.AccessToken, altered) {
		altered = "C"
	}
	signed := func(typ, payload string) string {
		token, err := f.tenants.Sign(t.Context(), f.tenant, "ES256", typ, []byte(payload))
		f.ok(err)
		return token
	}
	f.introspected(f.introspect(form(webClient, "token", f.issuer.accessTokens.SealString(at.encode(), tenant.DefaultID))), true)
	for rule, token := range map[string]string{
		"garbage":                           "garbage",
		"periods":                           "..",
		"too long":                          strings.Repeat("a", 17<<10),
		"an ID token":                       jwt.IDToken,
		"a code":                            f.code(f.authorization(webClient, "", "openid")),
		"a truncated opaque token":          opaque.AccessToken[:len(opaque.AccessToken)-1],
		"an altered opaque token":           altered + opaque.AccessToken[1:],
		"a truncated refresh token":         opaque.RefreshToken[:len(opaque.RefreshToken)-1],
		"a JWT without its signature":       parts[0] + "." + parts[1] + ".",
		"a JWT with the payload of another": parts[0] + "." + strings.Split(jwt.IDToken, ".")[1] + "." + parts[2],
		"alg none":                          "eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0." + parts[1] + ".",
		"a token of another tenant":         f.issuer.accessTokens.SealString(at.encode(), "other"),
		"an access token sealed as refresh": f.issuer.refreshTokens.SealDeterministicString(at.encode(), tenant.DefaultID),
		"a user called like a client":       f.issuer.accessTokens.SealString((&openedToken{clientID: webClient, userID: "x@clients", expires: at.expires}).encode(), tenant.DefaultID),
		"a grant without a family":          f.issuer.accessTokens.SealString((&openedToken{clientID: webClient, userID: "auth0|u1", grantID: "grant-web-", expires: at.expires}).encode(), tenant.DefaultID),
		"a JWT of another issuer":           signed("at+jwt", `{"iss":"https://other.example","sub":"web@clients","client_id":"web","aud":"x","exp":9999999999,"jti":"x"}`),
		"an introspection response":         signed(typIntrospection, `{"iss":"`+testIssuer+`","sub":"web@clients","client_id":"web","aud":"x","exp":9999999999,"jti":"x"}`),
	} {
		t.Run(rule, func(t *testing.T) {
			f.introspected(f.introspect(form(webClient, "token", token)), false)
		})
	}
}

func TestIntrospectionRequestsThatAreRefused(t *testing.T) {
	f := newFixture(t)
	token := f.offline(webClient, "", "openid").AccessToken
	ofPublic := f.offline(publicClient, "", "openid").AccessToken
	good := form(webClient, "token", token).Encode()
	bearer := tokenRequest("POST", introspectionURL, formType, "token="+token)
	bearer.Header.Set("Authorization", "Bearer "+token)
	for _, tc := range []struct {
		rule   string
		r      *http.Request
		status int
		code   string
	}{
		{"GET", tokenRequest("GET", introspectionURL+"?"+good, "", ""), 405, "invalid_request"},
		{"parameters in the query", tokenRequest("POST", introspectionURL+"?"+good, formType, ""), 401, "invalid_client"},
		{"another content type", tokenRequest("POST", introspectionURL, "text/plain", good), 415, "invalid_request"},
		{"no token", tokenRequest("POST", introspectionURL, formType, credentials(webClient).Encode()), 400, "invalid_request"},
		{"token twice", tokenRequest("POST", introspectionURL, formType, good+"&token=x"), 400, "invalid_request"},
		{"no client", tokenRequest("POST", introspectionURL, formType, "token="+token), 401, "invalid_client"},
		{"a bearer token instead of a client", bearer, 401, "invalid_client"},
		{"a client without its secret", tokenRequest("POST", introspectionURL, formType, "client_id=web&token="+token), 401, "invalid_client"},
		{"a wrong secret", tokenRequest("POST", introspectionURL, formType, form(webClient, "client_secret", "x", "token", token).Encode()), 401, "invalid_client"},
		{"a public client, even about its own token", tokenRequest("POST", introspectionURL, formType, form(publicClient, "token", ofPublic).Encode()), 401, "invalid_client"},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			w := f.introspectBy(tc.r)
			if w.Code != tc.status || !strings.HasPrefix(w.Body.String(), `{"error":"`+tc.code+`"`) || strings.Contains(w.Body.String(), "active") {
				t.Errorf("introspection = %d %s, want %d %s", w.Code, w.Body, tc.status, tc.code)
			}
		})
	}
}

// A store that fails makes no token inactive, and nothing of it shows.
func TestIntrospectionWithAFailingStore(t *testing.T) {
	f := newFixture(t)
	tokens := f.issuedTokens()
	for method, name := range map[string]string{
		"Client": "client's own", "Grant": "opaque", "User": "jwt", "Family": "refresh", "User ": "refresh", "APIByAudience": "refresh for API",
	} {
		restore := f.tap.failing(strings.TrimSpace(method))
		if w := f.introspect(form(webClient, "token", tokens[name])); w.Code != 500 || strings.TrimSpace(w.Body.String()) != `{"error":"server_error"}` {
			t.Errorf("%s fails: %d %s", method, w.Code, w.Body)
		}
		restore()
	}
	restore := f.tap.failing("APIByAudience")
	defer restore()
	if w := f.introspect(form(dynamicClient, "token", tokens["jwt"])); w.Code != 500 {
		t.Errorf("who is concerned cannot be told: %d %s", w.Code, w.Body)
	}
}

func TestIntrospectionAsJWT(t *testing.T) {
	f := newFixture(t)
	token := f.offline(webClient, testAudience, "openid", "contacts").AccessToken
	ask := func(caller, token string) string {
		t.Helper()
		r := tokenRequest("POST", introspectionURL, formType, form(caller, "token", token).Encode())
		r.Header.Set("Accept", mediaTypeIntrospection)
		w := f.introspectBy(r)
		if w.Code != 200 || w.Header().Get("Content-Type") != mediaTypeIntrospection {
			t.Fatalf("%d %s %s", w.Code, w.Header(), w.Body)
		}
		if _, err := f.tenants.Verify(t.Context(), f.tenant, typIntrospection, w.Body.String()); err != nil {
			t.Fatal(err)
		}
		return w.Body.String()
	}
	header, got := jwtParts(t, ask(dynamicClient, token))
	if header["alg"] != "RS256" || header["typ"] != "token-introspection+jwt" {
		t.Errorf("header = %v", header)
	}
	want := map[string]any{
		"iss": testIssuer, "aud": dynamicClient, "iat": float64(f.clock.Now().Unix()),
		"token_introspection": f.introspected(f.introspect(form(dynamicClient, "token", token)), true),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("RFC 9701 §5 (-want +got):\n%s", diff)
	}

	f.changeClient(webClient, func(c *store.Client) {
		c.Metadata = &store.ClientMetadata{IntrospectionSignedResponseAlg: "ES256"}
	})
	answer := ask(webClient, "garbage")
	header, got = jwtParts(t, answer)
	if diff := cmp.Diff(map[string]any{"active": false}, got["token_introspection"]); diff != "" || header["alg"] != "ES256" {
		t.Errorf("alg %v (-want +got):\n%s", header["alg"], diff)
	}
	// It is no token of any kind.
	f.dead(answer)
	f.introspected(f.introspect(form(webClient, "token", answer)), false)

	// Errors are JSON, and an algorithm that is not supported is the provider's fault.
	f.changeClient(webClient, func(c *store.Client) {
		c.Metadata = &store.ClientMetadata{IntrospectionSignedResponseAlg: "none"}
	})
	r := tokenRequest("POST", introspectionURL, formType, form(webClient, "token", token).Encode())
	r.Header.Set("Accept", mediaTypeIntrospection)
	if w := f.introspectBy(r); w.Code != 500 || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("%d %s %s", w.Code, w.Header(), w.Body)
	}
}

func TestIntrospectionAccept(t *testing.T) {
	for accept, want := range map[string]bool{
		"":                                    false,
		"*/*":                                 false,
		"application/json":                    false,
		"application/*":                       false,
		"application/jwt":                     false,
		"application/token-introspection+jwt": true,
		"Application/Token-Introspection+JWT": true,
		"application/token-introspection+jwt, application/json":             true,
		"application/json, application/token-introspection+jwt;q=0.9":       false,
		"application/json;q=0.5,application/token-introspection+jwt; q=0.9": true,
		"application/token-introspection+jwt;q=0":                           false,
		"application/token-introspection+jwt;q=NaN":                         false,
		"application/token-introspection+jwt;q=2":                           false,
		"application/token-introspection+jwt;q=x, */*":                      false,
		"text/html, application/token-introspection+jwt":                    true,
	} {
		if got := acceptsIntrospectionJWT([]string{accept}); got != want {
			t.Errorf("Accept %q: %t", accept, got)
		}
	}
	if !acceptsIntrospectionJWT([]string{"*/*", mediaTypeIntrospection}) {
		t.Error("several Accept headers are one list")
	}
}

// Whatever is sent: never a 5xx, and nothing but a token is active.
func FuzzIntrospection(f *testing.F) {
	fx := newFixture(f)
	valid := map[string]bool{}
	for _, token := range fx.issuedTokens() {
		valid[token] = true
		f.Add(token[:len(token)-1], "*/*")
		f.Add(token+"A", mediaTypeIntrospection)
	}
	f.Add("", "application/json;q=x,,")
	f.Add("a.b.c", ";q=")
	f.Fuzz(func(t *testing.T, token, accept string) {
		if valid[token] {
			return
		}
		f := *fx
		f.TB = t
		r := tokenRequest("POST", introspectionURL, formType, form(webClient, "token", token).Encode())
		r.Header.Set("Accept", accept)
		w := f.introspectBy(r)
		body := w.Body.String()
		if w.Header().Get("Content-Type") == mediaTypeIntrospection {
			_, claims := jwtParts(t, body)
			raw, _ := json.Marshal(claims["token_introspection"])
			body = string(raw)
		}
		switch {
		case w.Code == 200 && strings.TrimSpace(body) == `{"active":false}`:
		case w.Code == 400 || w.Code == 413:
		default:
			t.Fatalf("%d %s", w.Code, body)
		}
	})
}
