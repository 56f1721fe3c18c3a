package token

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

func (f *fixture) revoke(values url.Values) *httptest.ResponseRecorder {
	f.Helper()
	return f.revokeBy(tokenRequest("POST", testIssuer+"/oauth/revoke", formType, values.Encode()))
}

func (f *fixture) revokeBy(r *http.Request) *httptest.ResponseRecorder {
	f.Helper()
	w := httptest.NewRecorder()
	f.issuer.Revocation().ServeHTTP(w, r)
	if got := w.Header().Get("Cache-Control"); got != "no-store" {
		f.Errorf("Cache-Control = %q, want no-store", got)
	}
	return w
}

// revoked expects the answer of RFC 7009 §2.2.
func (f *fixture) revoked(w *httptest.ResponseRecorder) {
	f.Helper()
	if w.Code != http.StatusOK || w.Body.Len() != 0 || w.Header().Get("Content-Type") != "" {
		f.Errorf("revocation = %d %q %q, want 200 and nothing", w.Code, w.Header().Get("Content-Type"), w.Body)
	}
}

// notRevoked expects an error.
func (f *fixture) notRevoked(w *httptest.ResponseRecorder, status int, code string) {
	f.Helper()
	if w.Code != status || !strings.HasPrefix(w.Body.String(), `{"error":"`+code+`"`) {
		f.Errorf("revocation = %d %s, want %d %s", w.Code, w.Body, status, code)
	}
}

// Whichever token of an authorization is revoked, all of them are; the tokens of
// another authorization and what the user allowed stay.
func TestRevocationEndsTheFamily(t *testing.T) {
	for _, client := range []string{webClient, publicClient, dynamicClient, strictClient} {
		for _, audience := range []string{"", testAudience} {
			for name, pick := range map[string]func(answer) string{
				"refresh token": func(a answer) string { return a.RefreshToken },
				"access token":  func(a answer) string { return a.AccessToken },
			} {
				t.Run(client+" "+audience+" "+name, func(t *testing.T) {
					f := newFixture(t)
					a := f.authorization(client, audience, "openid", "contacts", "offline_access")
					first, other := f.redeem(client, f.code(a)), f.redeem(client, f.code(a))
					second := f.granted(f.post(refreshForm(client, first.RefreshToken)))
					f.alive(first.AccessToken)

					f.revoked(f.revoke(form(client, "token", pick(second))))
					for _, token := range []answer{first, second} {
						f.dead(token.AccessToken)
						f.refused(f.post(refreshForm(client, token.RefreshToken)), 400, "invalid_grant")
					}
					f.alive(other.AccessToken)
					if _, err := f.mem.Grant(context.Background(), tenant.DefaultID, a.GrantID, "", f.clock.Now()); err != nil {
						t.Errorf("what the user allowed is gone: %v", err)
					}
					f.revoked(f.revoke(form(client, "token", pick(second)))) // again
					f.granted(f.post(refreshForm(client, other.RefreshToken)))
				})
			}
		}
	}
}

// RFC 7009 §2.1: the hint is a hint, also a wrong or an unknown one.
func TestRevocationHint(t *testing.T) {
	for _, hint := range []string{"", "access_token", "refresh_token", "id_token", "\x01"} {
		f := newFixture(t)
		got := f.offline(webClient, "", "openid")
		f.revoked(f.revoke(form(webClient, "token", got.RefreshToken, "token_type_hint", hint)))
		f.dead(got.AccessToken)
		got = f.offline(webClient, "", "openid")
		f.revoked(f.revoke(form(webClient, "token", got.AccessToken, "token_type_hint", hint)))
		f.dead(got.AccessToken)
	}
}

func TestRevocationByJSON(t *testing.T) {
	f := newFixture(t)
	got := f.offline(webClient, "", "openid")
	f.revoked(f.revokeBy(tokenRequest("POST", testIssuer+"/oauth/revoke", jsonType,
		`{"client_id":"web","client_secret":"`+testSecret+`","token":"`+got.RefreshToken+`","token_type_hint":5}`)))
	f.dead(got.AccessToken)
}

// A token that was used before, or that is too old to be used, still names its
// family, in which access tokens may be alive.
func TestRevocationByAnOldRefreshToken(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.RefreshTokenIdle = time.Minute })
	first := f.offline(webClient, "", "openid")
	second := f.granted(f.post(refreshForm(webClient, first.RefreshToken)))
	f.clock.advance(2 * time.Minute)
	f.refused(f.post(refreshForm(webClient, second.RefreshToken)), 400, "invalid_grant") // expired
	f.alive(second.AccessToken)
	f.revoked(f.revoke(form(webClient, "token", first.RefreshToken)))
	f.dead(second.AccessToken)
}

// The tombstone is there for as long as any access token of the family is in
// time, also one of an API with a longer lifetime than the default.
func TestRevocationLastsAsLongAsTheTokens(t *testing.T) {
	f := newFixture(t)
	f.changeAPI(func(a *store.API) { a.TokenLifetime = 20 * 24 * time.Hour })
	got := f.offline(webClient, testAudience, "openid", "contacts")
	f.alive(got.AccessToken)
	f.revoked(f.revoke(form(webClient, "token", got.RefreshToken)))
	for range 20 {
		f.clock.advance(24*time.Hour - time.Second)
		_, err := f.mem.CollectFamilies(t.Context(), f.clock.Now(), 100)
		f.ok(err)
		f.dead(got.AccessToken)
	}
}

// 200 and no effect: there is nothing that the client could do better.
func TestRevocationOfWhatIsNoTokenOfTheClient(t *testing.T) {
	f := newFixture(t)
	web := f.offline(webClient, testAudience, "openid", "contacts")
	opaque := f.offline(webClient, "", "openid")
	code := f.code(f.authorization(webClient, "", "openid"))
	parts := strings.Split(web.AccessToken, ".")
	at := openedToken{clientID: webClient, userID: "auth0|u1", grantID: "grant-web-", family: "x", expires: f.clock.Now().Add(time.Hour)}
	rt := refreshToken{family: "x", authorization: Authorization{ClientID: webClient}}
	for _, tc := range []struct{ rule, client, token string }{
		{"garbage", webClient, "garbage"},
		{"garbage with periods", webClient, "a.b.c"},
		{"too long", webClient, strings.Repeat("a", 17<<10)},
		{"an ID token", webClient, web.IDToken},
		{"a code", webClient, code},
		{"a truncated opaque token", webClient, opaque.AccessToken[:len(opaque.AccessToken)-1]},
		{"a truncated refresh token", webClient, opaque.RefreshToken[1:]},
		{"a JWT without its signature", webClient, parts[0] + "." + parts[1] + "."},
		{"a JWT with another payload", webClient, parts[0] + "." + strings.Split(web.IDToken, ".")[1] + "." + parts[2]},
		{"alg none", webClient, "eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0." + parts[1] + "."},
		{"an access token of another tenant", webClient, f.issuer.accessTokens.SealString(at.encode(), "other")},
		{"a refresh token of another tenant", webClient, f.issuer.refreshTokens.SealDeterministicString(rt.encode(), "other")},
		{"a refresh token of another client", dynamicClient, web.RefreshToken},
		{"a JWT of another client", dynamicClient, web.AccessToken},
		{"an opaque token of another client", dynamicClient, opaque.AccessToken},
		{"a refresh token of another client, by a public client", publicClient, opaque.RefreshToken},
		{"an access token of another client, by a public client", publicClient, opaque.AccessToken},
		{"a token that another client obtained for itself", dynamicClient, f.granted(f.post(credentialsForm(webClient))).AccessToken},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			f.revoked(f.revoke(form(tc.client, "token", tc.token)))
			f.alive(web.AccessToken)
			f.alive(opaque.AccessToken)
		})
	}
	f.clock.advance(time.Hour)
	f.revoked(f.revoke(form(webClient, "token", opaque.AccessToken))) // expired
	f.granted(f.post(refreshForm(webClient, opaque.RefreshToken)))
	f.redeem(webClient, f.code(f.authorization(webClient, "", "openid")))
}

func TestRevocationRequestsThatAreRefused(t *testing.T) {
	const target = testIssuer + "/oauth/revoke"
	f := newFixture(t)
	got := f.offline(webClient, "", "openid")
	public := f.offline(publicClient, "", "openid")
	good := form(webClient, "token", got.RefreshToken).Encode()
	for _, tc := range []struct {
		rule   string
		r      *http.Request
		status int
		code   string
	}{
		{"GET", tokenRequest("GET", target+"?"+good, "", ""), 405, "invalid_request"},
		{"parameters in the query", tokenRequest("POST", target+"?"+good, formType, ""), 401, "invalid_client"},
		{"another content type", tokenRequest("POST", target, "text/plain", good), 415, "invalid_request"},
		{"no token", tokenRequest("POST", target, formType, credentials(webClient).Encode()), 400, "invalid_request"},
		{"token twice", tokenRequest("POST", target, formType, good+"&token=x"), 400, "invalid_request"},
		{"too large", tokenRequest("POST", target, formType, good+"&x="+strings.Repeat("a", 64<<10)), 413, "invalid_request"},
		{"no client", tokenRequest("POST", target, formType, "token="+got.RefreshToken), 401, "invalid_client"},
		{"unknown client", tokenRequest("POST", target, formType, "client_id=x&token="+got.RefreshToken), 401, "invalid_client"},
		{"a confidential client without its secret", tokenRequest("POST", target, formType, "client_id=web&token="+got.RefreshToken), 401, "invalid_client"},
		{"a wrong secret", tokenRequest("POST", target, formType, form(webClient, "client_secret", "x", "token", got.RefreshToken).Encode()), 401, "invalid_client"},
		{"a public client with a secret", tokenRequest("POST", target, formType, form(publicClient, "client_secret", "x", "token", public.RefreshToken).Encode()), 401, "invalid_client"},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			f.notRevoked(f.revokeBy(tc.r), tc.status, tc.code)
			f.alive(got.AccessToken)
			f.alive(public.AccessToken)
		})
	}
	other := httptest.NewRequest("POST", "https://elsewhere.example/oauth/revoke", strings.NewReader(good))
	other.Header.Set("Content-Type", formType)
	f.revoked(f.revokeBy(other)) // one tenant answers at any host
}

// RFC 7009 §2.2.1: the tokens that cannot be revoked are those that a client
// obtained for itself, and only their owner is told.
func TestRevocationOfAClientsOwnToken(t *testing.T) {
	f := newFixture(t)
	jwt := f.granted(f.post(credentialsForm(webClient))).AccessToken
	opaque := f.granted(f.post(form(webClient, "grant_type", "client_credentials"))).AccessToken
	for _, token := range []string{jwt, opaque} {
		f.notRevoked(f.revoke(form(webClient, "token", token)), 400, "unsupported_token_type")
		f.revoked(f.revoke(form(dynamicClient, "token", token)))
		f.introspected(f.introspect(form(webClient, "token", token)), true)
	}
	f.clock.advance(2 * time.Hour)
	f.revoked(f.revoke(form(webClient, "token", jwt)))
	f.revoked(f.revoke(form(webClient, "token", opaque)))
}

// A client that may do nothing any more may still give back what it has.
func TestRevocationWhileTheTenantsFlagIsOff(t *testing.T) {
	f := newFixture(t)
	got := f.offline(dynamicClient, "", "openid")
	f.switchDynamicRegistrationOff()
	f.revoked(f.revoke(form(dynamicClient, "token", got.RefreshToken)))
	f.dead(got.AccessToken)
}

// A store that fails is not success: 503, which RFC 7009 §2.2.1 defines as "the
// token still exists".
func TestRevocationWithAFailingStore(t *testing.T) {
	f := newFixture(t)
	got := f.offline(webClient, testAudience, "openid", "contacts")
	for method, token := range map[string]string{"RevokeFamily": got.RefreshToken, "Client": got.RefreshToken, "RevokeFamily ": got.AccessToken} {
		restore := f.tap.failing(strings.TrimSpace(method))
		w := f.revoke(form(webClient, "token", token))
		f.notRevoked(w, 503, "temporarily_unavailable")
		if w.Header().Get("Retry-After") == "" || leak.MatchString(w.Body.String()) {
			t.Errorf("%s: Retry-After %q, %s", method, w.Header().Get("Retry-After"), w.Body)
		}
		restore()
		f.alive(got.AccessToken)
	}
	if !strings.Contains(f.logs.String(), "secret_table") {
		t.Error("the log does not have the cause")
	}
	f.revoked(f.revoke(form(webClient, "token", got.RefreshToken)))
	f.dead(got.AccessToken)
}

// Whatever is sent: never a 5xx, and what is not the token revokes nothing.
func FuzzRevocation(f *testing.F) {
	fx := newFixture(f)
	got, opaque := fx.offline(webClient, testAudience, "openid", "contacts"), fx.offline(webClient, "", "openid")
	valid := map[string]bool{got.AccessToken: true, got.RefreshToken: true, opaque.AccessToken: true, opaque.RefreshToken: true}
	for token := range valid {
		f.Add(token[:len(token)-1], "refresh_token")
		f.Add(token+"A", "access_token")
	}
	f.Add("", "")
	f.Add("a.b.c", "\xff")
	f.Fuzz(func(t *testing.T, token, hint string) {
		if valid[token] {
			return
		}
		f := *fx
		f.TB = t
		w := f.revoke(form(webClient, "token", token, "token_type_hint", hint))
		if w.Code != 200 && w.Code != 400 && w.Code != 413 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		f.alive(got.AccessToken)
		f.alive(opaque.AccessToken)
	})
}
