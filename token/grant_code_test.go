package token

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

func TestCodeGivesTokens(t *testing.T) {
	f := newFixture(t)
	a := f.authorization(webClient, "", "openid", "profile", "offline_access")
	got := f.redeem(webClient, f.code(a))
	if got.ExpiresIn != 3600 || got.Scope != "openid profile offline_access" {
		t.Errorf("expires_in = %d, scope = %q", got.ExpiresIn, got.Scope)
	}
	if got.RefreshToken == "" {
		t.Error("no refresh token although the authorization is offline")
	}
	if strings.Contains(got.AccessToken, ".") {
		t.Errorf("the access token %q is not opaque although there is no audience", got.AccessToken)
	}
	f.alive(got.AccessToken)

	now := f.clock.Now()
	want := map[string]any{
		"iss": testIssuer, "sub": "auth0|u1", "aud": webClient, "nonce": "n-0S6_WzA2Mj",
		"iat": float64(now.Unix()), "exp": float64(now.Add(time.Hour).Unix()),
		"auth_time": float64(a.AuthTime.Unix()), "acr": "urn:example:silver", "amr": []any{"pwd"}, "sid": "sid-1",
		"at_hash": halfHash(got.AccessToken),
	}
	if diff := cmp.Diff(want, f.idTokenClaims(got.IDToken)); diff != "" {
		t.Errorf("ID token (-want +got):\n%s", diff)
	}
}

func TestTokenAnswerOnTheWire(t *testing.T) {
	f := newFixture(t)
	a := f.authorization(webClient, "", "profile")
	r := httptest.NewRequest(http.MethodPost, testIssuer+"/oauth/token", strings.NewReader(codeForm(webClient, f.code(a)).Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	f.token.ServeHTTP(w, r)
	for name, want := range map[string]string{
		"Content-Type": "application/json", "Cache-Control": "no-store", "Pragma": "no-cache", "X-Content-Type-Options": "nosniff",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	var members map[string]json.RawMessage
	f.ok(json.Unmarshal(w.Body.Bytes(), &members))
	if got := string(members["expires_in"]); got != "3600" {
		t.Errorf("expires_in = %s, want the number 3600", got)
	}
	if got := string(members["scope"]); got != `"profile"` {
		t.Errorf("scope = %s, want a string", got)
	}
	if _, ok := members["id_token"]; ok {
		t.Error("an ID token without the scope openid")
	}
}

func TestCodeWithAudienceGivesJWT(t *testing.T) {
	f := newFixture(t)
	a := f.authorization(webClient, testAudience, "openid", "contacts")
	got := f.redeem(webClient, f.code(a))
	if got.ExpiresIn != 7200 {
		t.Errorf("expires_in = %d, want the API's lifetime 7200", got.ExpiresIn)
	}
	header, _ := jwtParts(t, got.AccessToken)
	if header["typ"] != "at+jwt" || header["alg"] != "ES256" {
		t.Errorf("header = %v", header)
	}
	claims := f.accessTokenClaims(got.AccessToken)
	id, _ := claims["jti"].(string)
	if !strings.HasPrefix(id, a.GrantID+".") || strings.Count(id, ".") != 2 {
		t.Errorf("jti = %q, want grant.family.random", id)
	}
	delete(claims, "jti")
	now := f.clock.Now()
	want := map[string]any{
		"iss": testIssuer, "sub": "auth0|u1", "client_id": webClient, "scope": "openid contacts",
		"aud": []any{testAudience, testIssuer + "/userinfo"},
		"iat": float64(now.Unix()), "exp": float64(now.Add(2 * time.Hour).Unix()),
		"auth_time": float64(a.AuthTime.Unix()), "acr": "urn:example:silver",
	}
	if diff := cmp.Diff(want, claims); diff != "" {
		t.Errorf("access token (-want +got):\n%s", diff)
	}
	f.alive(got.AccessToken)

	without := f.redeem(webClient, f.code(f.authorization(webClient, testAudience, "contacts")))
	if got := f.accessTokenClaims(without.AccessToken)["aud"]; got != testAudience {
		t.Errorf("aud = %v, want the API alone without openid", got)
	}
}

// A failed check must not use the code up: each row is followed by the honest
// redemption of the very same code.
func TestCodeIsRefusedAndNotConsumed(t *testing.T) {
	other := strings.Repeat("x", 43)
	for _, tc := range []struct {
		rule   string
		client string
		pairs  []string
		status int
		code   string
	}{
		{"RFC 6749 §4.1.3: a code is bound to its client", publicClient, nil, 400, "invalid_grant"},
		{"a confidential client authenticates first", webClient, []string{"client_secret", "wrong"}, 401, "invalid_client"},
		{"an empty secret never matches", webClient, []string{"client_secret", ""}, 401, "invalid_client"},
		{"RFC 6749 §4.1.3: redirect_uri is compared", webClient, []string{"redirect_uri", testRedirect + "2"}, 400, "invalid_grant"},
		{"redirect_uri is compared with case", webClient, []string{"redirect_uri", "https://CLIENT.example.com/callback"}, 400, "invalid_grant"},
		{"redirect_uri must not be left out", webClient, []string{"redirect_uri", ""}, 400, "invalid_grant"},
		{"RFC 7636 §4.6: a challenge demands a verifier", webClient, []string{"code_verifier", ""}, 400, "invalid_grant"},
		{"RFC 7636 §4.6: the verifier is compared", webClient, []string{"code_verifier", other}, 400, "invalid_grant"},
		{"RFC 7636 §4.6: the challenge is no verifier", webClient, []string{"code_verifier", testChallenge}, 400, "invalid_grant"},
		{"RFC 8707 §2.2: resource is the granted one", webClient, []string{"resource", "https://other.example"}, 400, "invalid_target"},
		{"audience is the granted one", webClient, []string{"audience", "other:api"}, 400, "invalid_target"},
		{"the code is needed", webClient, []string{"code", ""}, 400, "invalid_request"},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			f := newFixture(t)
			code := f.code(f.authorization(webClient, "", "openid"))
			f.refused(f.post(codeForm(tc.client, code, tc.pairs...)), tc.status, tc.code)
			f.redeem(webClient, code)
		})
	}
}

func TestPKCECannotBeStripped(t *testing.T) {
	f := newFixture(t)
	a := f.authorization(webClient, "", "openid")
	a.CodeChallenge = ""
	code := f.code(a)
	// RFC 9700 §2.1.1: a verifier without a challenge means that somebody removed
	// the challenge from the request.
	f.refused(f.post(codeForm(webClient, code)), 400, "invalid_grant")
	f.granted(f.post(codeForm(webClient, code, "code_verifier", "")))
}

func TestStrictClientNeedsPKCE(t *testing.T) {
	f := newFixture(t)
	a := f.authorization(strictClient, "", "openid")
	f.redeem(strictClient, f.code(a))
	a.CodeChallenge = ""
	f.refused(f.post(codeForm(strictClient, f.code(a), "code_verifier", "")), 400, "invalid_grant")
}

func TestRedirectURIThatWasLeftOutStaysLeftOut(t *testing.T) {
	f := newFixture(t)
	a := f.authorization(webClient, "", "openid")
	a.RedirectURI = ""
	f.refused(f.post(codeForm(webClient, f.code(a))), 400, "invalid_grant")
	f.granted(f.post(codeForm(webClient, f.code(a), "redirect_uri", "")))
}

func TestTargetMayBeRepeated(t *testing.T) {
	f := newFixture(t)
	a := f.authorization(webClient, testAudience, "contacts")
	values := codeForm(webClient, f.code(a), "audience", testAudience)
	values["resource"] = []string{testAudience, testAudience}
	f.granted(f.post(values))

	values = codeForm(webClient, f.code(a))
	values["resource"] = []string{testAudience, "https://other.example"}
	f.refused(f.post(values), 400, "invalid_target")
}

func TestCodeIsNotAnyOtherValue(t *testing.T) {
	f := newFixture(t)
	got := f.redeem(webClient, f.code(f.authorization(webClient, "", "openid")))
	for name, value := range map[string]string{
		"refresh token": got.RefreshToken, "access token": got.AccessToken, "ID token": got.IDToken, "nothing sealed": "AAAA",
	} {
		a := f.post(codeForm(webClient, value))
		if a.Error != "invalid_grant" {
			t.Errorf("a %s as code: %d %q", name, a.Status, a.Error)
		}
	}
	code := f.code(f.authorization(webClient, "", "openid"))
	for _, altered := range alterations(code) {
		f.refused(f.post(codeForm(webClient, altered)), 400, "invalid_grant")
	}
	f.redeem(webClient, code)
}

// alterations cuts and changes a sealed value everywhere.
func alterations(sealed string) []string {
	var out []string
	for n := range sealed {
		if n > 0 {
			out = append(out, sealed[:n])
		}
		c := byte('A')
		if sealed[n] == c {
			c = 'B'
		}
		out = append(out, sealed[:n]+string(c)+sealed[n+1:])
	}
	return append(out, sealed+"A", sealed+"=", "A"+sealed, sealed+sealed)
}

func TestCodeExpires(t *testing.T) {
	f := newFixture(t)
	code := f.code(f.authorization(webClient, "", "openid"))
	f.clock.advance(time.Minute - time.Microsecond)
	first := f.redeem(webClient, code)
	f.clock.advance(time.Microsecond)
	f.refused(f.post(codeForm(webClient, code)), 400, "invalid_grant")
	// An expired code that was redeemed before is a replay all the same.
	f.dead(first.AccessToken)
	f.refused(f.post(refreshForm(webClient, first.RefreshToken)), 400, "invalid_grant")
}

func TestReplayWithoutProofRevokesNothing(t *testing.T) {
	f := newFixture(t)
	code := f.code(f.authorization(publicClient, "", "openid"))
	first := f.redeem(publicClient, code)
	f.refused(f.post(codeForm(publicClient, code, "code_verifier", strings.Repeat("x", 43))), 400, "invalid_grant")
	f.refused(f.post(codeForm(webClient, code)), 400, "invalid_grant")
	f.clock.advance(time.Hour - time.Second)
	f.refused(f.post(codeForm(publicClient, code, "code_verifier", "")), 400, "invalid_grant")
	f.alive(first.AccessToken)
}

func TestSecondRedemptionRevokesTheFirst(t *testing.T) {
	for _, audience := range []string{"", testAudience} {
		t.Run("audience="+audience, func(t *testing.T) {
			f := newFixture(t)
			a := f.authorization(webClient, audience, "openid", "offline_access")
			code, another := f.code(a), f.redeem(webClient, f.code(a))
			first := f.redeem(webClient, code)
			f.alive(first.AccessToken)
			f.refused(f.post(codeForm(webClient, code)), 400, "invalid_grant")
			f.dead(first.AccessToken)
			f.refused(f.post(refreshForm(webClient, first.RefreshToken)), 400, "invalid_grant")
			// Only that family: what another code gave lives.
			f.alive(another.AccessToken)
			f.granted(f.post(refreshForm(webClient, another.RefreshToken)))
		})
	}
}

// A family must be remembered as long as its code can be presented, however short
// its tokens live.
func TestShortTokensDoNotReopenTheCode(t *testing.T) {
	short := func(c *Config) {
		c.AccessTokenLifetime, c.RefreshTokenIdle, c.RefreshTokenLeeway = time.Second, 2*time.Second, -1
	}
	t.Run("after the redemption", func(t *testing.T) {
		f := newFixture(t, short)
		code := f.code(f.authorization(webClient, "", "openid"))
		f.redeem(webClient, code)
		f.clock.advance(30 * time.Second)
		f.refused(f.post(codeForm(webClient, code)), 400, "invalid_grant")
	})
	t.Run("after a refresh", func(t *testing.T) {
		f := newFixture(t, short)
		code := f.code(f.authorization(webClient, "", "openid"))
		first := f.redeem(webClient, code)
		f.clock.advance(time.Second)
		f.granted(f.post(refreshForm(webClient, first.RefreshToken)))
		f.clock.advance(30 * time.Second)
		f.refused(f.post(codeForm(webClient, code)), 400, "invalid_grant")
	})
	t.Run("a code that another node made with a longer life", func(t *testing.T) {
		f := newFixture(t, short)
		a := f.authorization(webClient, "", "openid")
		c := code{family: newFamilyID(), expires: f.clock.Now().Add(10 * time.Minute), authorization: a}
		sealed := f.issuer.codes.SealString(c.encode(), f.tenant.ID())
		f.redeem(webClient, sealed)
		f.clock.advance(9 * time.Minute)
		f.refused(f.post(codeForm(webClient, sealed)), 400, "invalid_grant")
	})
}

func TestConcurrentRedemption(t *testing.T) {
	const rounds, racers = 250, 8
	f := newFixture(t)
	a := f.authorization(webClient, "", "openid")
	for round := range rounds {
		code := f.code(a)
		answers := race(racers, func() answer { return f.post(codeForm(webClient, code)) })
		var winners []answer
		for _, a := range answers {
			if a.Status == http.StatusOK {
				winners = append(winners, a)
			} else {
				f.refused(a, 400, "invalid_grant")
			}
		}
		if len(winners) != 1 {
			t.Fatalf("round %d: %d winners", round, len(winners))
		}
		f.dead(winners[0].AccessToken)
		f.refused(f.post(refreshForm(webClient, winners[0].RefreshToken)), 400, "invalid_grant")
	}
}

func TestRefreshTokenIsIssuedOnlyIfAllowed(t *testing.T) {
	for _, tc := range []struct {
		rule   string
		change func(*fixture, *Authorization)
	}{
		{"the authorization is not offline", func(_ *fixture, a *Authorization) { a.Offline = false }},
		{"the client may not use the grant type", func(f *fixture, _ *Authorization) {
			f.changeClient(webClient, func(c *store.Client) { c.GrantTypes = []string{"authorization_code"} })
		}},
		{"the API does not allow it", func(f *fixture, _ *Authorization) {
			f.changeAPI(func(a *store.API) { a.DisallowOfflineAccess = true })
		}},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			f := newFixture(t)
			a := f.authorization(webClient, testAudience, "contacts", "offline_access")
			tc.change(f, &a)
			if got := f.redeem(webClient, f.code(a)); got.RefreshToken != "" || got.Scope != "contacts" {
				t.Errorf("refresh token %q, scope %q", got.RefreshToken, got.Scope)
			}
		})
	}
}

func TestScopeIsCheckedAgainAtRedemption(t *testing.T) {
	f := newFixture(t)
	code := f.code(f.authorization(webClient, testAudience, "openid", "appointments", "contacts"))
	f.changeAPI(func(a *store.API) { a.Scopes = []store.APIScope{{Value: "contacts"}} })
	got := f.redeem(webClient, code)
	if got.Scope != "openid contacts" {
		t.Errorf("scope = %q, want what the API still has", got.Scope)
	}
	if got := f.accessTokenClaims(got.AccessToken)["scope"]; got != "openid contacts" {
		t.Errorf("scope of the token = %v", got)
	}
}

func TestRedemptionConfirmsTheClient(t *testing.T) {
	f := newFixture(t)
	a := f.authorization(dynamicClient, "", "openid")
	if c := f.client(dynamicClient); !c.ConfirmedAt.IsZero() {
		t.Fatal("the client is confirmed before it was used")
	}
	f.redeem(dynamicClient, f.code(a))
	first := f.clock.Now()
	c := f.client(dynamicClient)
	if !c.ConfirmedAt.Equal(first) || !c.LastUsedAt.Equal(first) {
		t.Errorf("ConfirmedAt = %v, LastUsedAt = %v, want %v", c.ConfirmedAt, c.LastUsedAt, first)
	}
	f.tap.take()
	f.clock.advance(time.Hour - time.Second)
	f.redeem(dynamicClient, f.code(a))
	if got := f.tap.take(); got != "StartFamily User" {
		t.Errorf("store calls within the hour: %s", got)
	}
	f.clock.advance(time.Second)
	f.redeem(dynamicClient, f.code(a))
	c = f.client(dynamicClient)
	if !c.ConfirmedAt.Equal(first) || !c.LastUsedAt.Equal(f.clock.Now()) {
		t.Errorf("after an hour ConfirmedAt = %v, LastUsedAt = %v", c.ConfirmedAt, c.LastUsedAt)
	}
}

func TestCodeNeedsACompleteAuthorization(t *testing.T) {
	f := newFixture(t)
	for name, change := range map[string]func(*Authorization){
		"client":     func(a *Authorization) { a.ClientID = "" },
		"user":       func(a *Authorization) { a.UserID = "" },
		"connection": func(a *Authorization) { a.ConnectionID = "" },
		"grant":      func(a *Authorization) { a.GrantID = "" },
		"its own kind of identifier (RFC 9068 §5)": func(a *Authorization) { a.UserID = "web@clients" },
		"its own kind of identifier, pairwise":     func(a *Authorization) { a.UserID = "pairwise|x" },
		"auth_time":                                func(a *Authorization) { a.RequireAuthTime, a.AuthTime = true, time.Time{} },
	} {
		a := f.authorization(webClient, "", "openid")
		change(&a)
		if code, err := f.issuer.Code(f.tenant, a); err == nil || code != "" {
			t.Errorf("without %s: Code = %q, %v", name, code, err)
		}
	}
}

func TestCodeOfAnotherTenantIsRefused(t *testing.T) {
	f := newFixture(t)
	other, err := f.tenants.CreateTenant(context.Background(), store.Tenant{ID: "other", Issuer: "https://other.example"})
	f.ok(err)
	ot, err := f.tenants.Tenant(context.Background(), other.ID)
	f.ok(err)
	code, err := f.issuer.Code(ot, f.authorization(webClient, "", "openid"))
	f.ok(err)
	f.refused(f.post(codeForm(webClient, code)), 400, "invalid_grant")
	if tenant.DefaultID == other.ID {
		t.Fatal("the tenants are the same")
	}
}
