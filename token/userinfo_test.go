package token

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

func infoRequest(method, target, authorization, contentType, body string) *http.Request {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	return r
}

const infoURL = testIssuer + "/userinfo"

func TestUserInfoClaimsFollowScope(t *testing.T) {
	f := newFixture(t)
	updated := f.clock.Now()
	profile := map[string]any{
		"name": "Alice Adams", "given_name": "Alice", "family_name": "Adams", "middle_name": "B.", "nickname": "al",
		"preferred_username": "alice", "profile": "https://example.com/alice", "picture": "https://example.com/alice.png",
		"website": "https://alice.example", "gender": "female", "birthdate": "1990-01-02", "zoneinfo": "Europe/Berlin", "locale": "de-DE",
		"updated_at": float64(updated.Unix()),
	}
	if len(profile) != 14 {
		t.Fatalf("the scope profile has %d claims, want 14", len(profile))
	}
	for scope, want := range map[string]map[string]any{
		"openid":         {},
		"openid profile": profile,
		"openid email":   {"email": "alice@example.com", "email_verified": false},
		"openid phone":   {"phone_number": "+49 30 123456", "phone_number_verified": true},
		"openid address": {"address": map[string]any{
			"formatted": "Street 1\n12345 Berlin", "street_address": "Street 1", "locality": "Berlin", "postal_code": "12345", "country": "DE",
		}},
	} {
		for _, audience := range []string{"", testAudience} {
			t.Run(scope+" "+audience, func(t *testing.T) {
				got := f.redeem(webClient, f.code(f.authorization(webClient, audience, scopes(scope)...)))
				want["sub"] = "auth0|u1"
				answer := f.info(got.AccessToken)
				if diff := cmp.Diff(want, answer.Claims); answer.Status != http.StatusOK || diff != "" {
					t.Errorf("%d (-want +got):\n%s", answer.Status, diff)
				}
			})
		}
	}
}

func TestUserInfoLeavesOutWhatIsNotSet(t *testing.T) {
	f := newFixture(t)
	f.changeUser(func(u *store.User) {
		u.Email, u.EmailVerified, u.Profile, u.UpdatedAt = "", true, store.Profile{Address: &store.Address{}}, time.Time{}
	})
	got := f.redeem(webClient, f.code(f.authorization(webClient, "", "openid", "profile", "email", "phone", "address")))
	if diff := cmp.Diff(map[string]any{"sub": "auth0|u1"}, f.info(got.AccessToken).Claims); diff != "" {
		t.Errorf("claims (-want +got):\n%s", diff)
	}
}

func TestUserInfoTokenArrives(t *testing.T) {
	f := newFixture(t)
	token := f.redeem(webClient, f.code(f.authorization(webClient, "", "openid"))).AccessToken
	body := url.Values{"access_token": {token}}.Encode()
	for _, tc := range []struct {
		rule      string
		r         *http.Request
		status    int
		challenge string // part of it, or all of it after "="
	}{
		{"GET with the header", infoRequest("GET", infoURL, "Bearer "+token, "", ""), 200, "="},
		{"RFC 9110 §11.1: the scheme has no case", infoRequest("GET", infoURL, "bearer "+token, "", ""), 200, "="},
		{"POST with the header", infoRequest("POST", infoURL, "Bearer "+token, "", ""), 200, "="},
		{"POST with the header and an empty form", infoRequest("POST", infoURL, "Bearer "+token, formType, ""), 200, "="},
		{"RFC 6750 §2.2: POST with the body", infoRequest("POST", infoURL, "", formType, body), 200, "="},
		{"no token", infoRequest("GET", infoURL, "", "", ""), 401, `=Bearer realm="https://issuer.example"`},
		{"another scheme", infoRequest("GET", infoURL, "Basic YTpi", "", ""), 401, `=Bearer realm="https://issuer.example"`},
		{"POST without a token", infoRequest("POST", infoURL, "", formType, "a=b"), 401, `=Bearer realm="https://issuer.example"`},
		{"RFC 9700 §4.3.2: a token in the query is ignored", infoRequest("GET", infoURL+"?"+body, "", "", ""), 401, `=Bearer realm="https://issuer.example"`},
		{"RFC 6750 §2.2: GET with the body", infoRequest("GET", infoURL, "", formType, body), 401, `=Bearer realm="https://issuer.example"`},
		{"RFC 6750 §2: two ways at once", infoRequest("POST", infoURL, "Bearer "+token, formType, body), 400, `error="invalid_request"`},
		{"the token twice", infoRequest("POST", infoURL, "", formType, body+"&"+body), 400, `error="invalid_request"`},
		{"the scheme alone", infoRequest("GET", infoURL, "Bearer", "", ""), 400, `error="invalid_request"`},
		{"an empty token", infoRequest("GET", infoURL, "Bearer  ", "", ""), 400, `error="invalid_request"`},
		{"garbage", infoRequest("GET", infoURL, "Bearer garbage", "", ""), 401, `error="invalid_token"`},
		{"garbage with dots", infoRequest("GET", infoURL, "Bearer a.b.c", "", ""), 401, `error="invalid_token"`},
		{"two words", infoRequest("GET", infoURL, "Bearer "+token+" x", "", ""), 400, `error="invalid_request"`},
		{"far too long", infoRequest("GET", infoURL, "Bearer "+strings.Repeat("a.", 40<<10), "", ""), 401, `error="invalid_token"`},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			got := f.serveInfo(tc.r)
			if want, whole := strings.CutPrefix(tc.challenge, "="); got.Status != tc.status ||
				whole && got.Challenge != want || !strings.Contains(got.Challenge, want) {
				t.Errorf("userinfo = %+v, want %d %s", got, tc.status, tc.challenge)
			}
			if strings.Contains(tc.challenge, "realm") && got.Claims != nil {
				t.Errorf("RFC 6750 §3.1: a request without a token learns %v", got.Claims)
			}
			if strings.Contains(tc.challenge, "error") && !strings.HasPrefix(got.Challenge, `Bearer realm="`) {
				t.Errorf("challenge = %q", got.Challenge)
			}
		})
	}

	r := infoRequest("GET", infoURL, "Bearer "+token, "", "")
	r.Header.Add("Authorization", "Bearer "+token)
	if got := f.serveInfo(r); got.Status != 400 {
		t.Errorf("two Authorization headers: %+v", got)
	}
	w := httptest.NewRecorder()
	f.userinfo.ServeHTTP(w, infoRequest("DELETE", infoURL, "Bearer "+token, "", ""))
	if w.Code != 405 || w.Header().Get("Allow") != "GET, POST" {
		t.Errorf("DELETE: %d, Allow %q", w.Code, w.Header().Get("Allow"))
	}
}

func TestUserInfoNeedsOpenID(t *testing.T) {
	f := newFixture(t)
	for _, audience := range []string{"", testAudience} {
		got := f.info(f.redeem(webClient, f.code(f.authorization(webClient, audience, "profile", "contacts"))).AccessToken)
		if got.Status != 403 || !strings.Contains(got.Challenge, `error="insufficient_scope"`) || !strings.Contains(got.Challenge, `scope="openid"`) {
			t.Errorf("audience %q: %+v", audience, got)
		}
	}
}

func TestUserInfoTakesNoOtherToken(t *testing.T) {
	f := newFixture(t)
	code := f.code(f.authorization(webClient, "", "openid"))
	got := f.redeem(webClient, f.code(f.authorization(webClient, "", "openid")))
	for name, token := range map[string]string{"code": code, "refresh token": got.RefreshToken, "ID token": got.IDToken} {
		if got := f.info(token); got.Status != 401 {
			t.Errorf("a %s opened userinfo: %+v", name, got)
		}
	}
	for _, altered := range alterations(got.AccessToken) {
		f.dead(altered)
	}
	f.alive(got.AccessToken)

	jwt := f.redeem(webClient, f.code(f.authorization(webClient, testAudience, "openid"))).AccessToken
	for _, altered := range alterations(jwt) {
		if got := f.info(altered); got.Status == http.StatusOK {
			t.Fatalf("an altered JWT opened userinfo: %s", altered)
		}
	}
	f.alive(jwt)
}

// Each of these differs from a good token in one claim.
func TestUserInfoChecksEachClaimOfAJWT(t *testing.T) {
	f := newFixture(t)
	a := f.authorization(webClient, testAudience, "openid")
	id, _ := f.accessTokenClaims(f.redeem(webClient, f.code(a)).AccessToken)["jti"].(string)
	sign := func(change func(*accessTokenPayload)) string {
		t.Helper()
		p := accessTokenPayload{
			Subject: "auth0|u1", Audience: []string{testAudience, f.tenant.UserInfoAudience()}, ClientID: webClient, ID: id, Scope: "openid",
		}
		change(&p)
		token, err := f.issuer.signAccessToken(t.Context(), f.tenant, &store.API{}, p, time.Hour, f.clock.Now(), nil)
		f.ok(err)
		return token
	}
	f.alive(sign(func(*accessTokenPayload) {}))
	other := testUser(f.clock.Now())
	other.ID, other.Username, other.Email = "auth0|u2", "bob", "bob@example.com"
	f.ok(f.mem.CreateUser(t.Context(), other))
	foreign, err := f.tenants.Sign(t.Context(), f.tenant, "ES256", "at+jwt", fmt.Appendf(nil,
		`{"iss":"https://other.example","sub":"auth0|u1","aud":[%q],"client_id":"web","jti":%q,"scope":"openid","exp":%d}`,
		f.tenant.UserInfoAudience(), id, f.clock.Now().Unix()+60))
	f.ok(err)
	f.dead(foreign)
	for name, change := range map[string]func(*accessTokenPayload){
		"aud":         func(p *accessTokenPayload) { p.Audience = testAudience },
		"other aud":   func(p *accessTokenPayload) { p.Audience = []string{testAudience, "https://other.example/userinfo"} },
		"sub":         func(p *accessTokenPayload) { p.Subject = "auth0|u2" },
		"client_id":   func(p *accessTokenPayload) { p.ClientID = publicClient },
		"no jti":      func(p *accessTokenPayload) { p.ID = "" },
		"jti":         func(p *accessTokenPayload) { p.ID = "x" },
		"short jti":   func(p *accessTokenPayload) { p.ID = "x.y" },
		"family":      func(p *accessTokenPayload) { p.ID = a.GrantID + ".nofamily.x" },
		"no family":   func(p *accessTokenPayload) { p.ID = a.GrantID + "..x" },
		"other grant": func(p *accessTokenPayload) { p.ID = "no" + id },
	} {
		t.Run(name, func(t *testing.T) {
			inner := *f
			inner.TB = t
			inner.dead(sign(change))
		})
	}
}

// The grant decides whose token it is: a token cannot borrow one of another user
// or client.
func TestUserInfoComparesTheGrant(t *testing.T) {
	f := newFixture(t)
	a := f.authorization(webClient, "", "openid")
	own := f.authorization(publicClient, "", "openid")
	f.redeem(webClient, f.code(a))
	a.GrantID = own.GrantID
	f.dead(f.redeem(webClient, f.code(a)).AccessToken)
}

func TestAccessTokensExpire(t *testing.T) {
	f := newFixture(t)
	opaque := f.redeem(webClient, f.code(f.authorization(webClient, "", "openid"))).AccessToken
	jwt := f.redeem(webClient, f.code(f.authorization(webClient, testAudience, "openid"))).AccessToken
	f.clock.advance(time.Hour - time.Microsecond)
	f.alive(opaque)
	f.clock.advance(time.Microsecond)
	f.dead(opaque)
	f.clock.advance(time.Hour - time.Second)
	f.alive(jwt)
	f.clock.advance(time.Second)
	f.dead(jwt)
}

func TestUserInfoOfAnotherTenant(t *testing.T) {
	f := newFixture(t)
	ctx := context.Background()
	_, err := f.tenants.CreateTenant(ctx, store.Tenant{ID: "other", Issuer: "https://other.example"})
	f.ok(err)
	other, err := f.tenants.Tenant(ctx, "other")
	f.ok(err)
	if other.ID() == tenant.DefaultID {
		t.Fatal("the tenants are the same")
	}
	opaque := f.redeem(webClient, f.code(f.authorization(webClient, "", "openid"))).AccessToken
	jwt := f.redeem(webClient, f.code(f.authorization(webClient, testAudience, "openid"))).AccessToken
	for _, token := range []string{opaque, jwt} {
		if got, err := f.issuer.openAccessToken(ctx, other, token, f.clock.Now()); err == nil || got.userID != "" {
			t.Errorf("openAccessToken = %+v, %v", got, err)
		}
	}
}

func FuzzUserInfo(f *testing.F) {
	fix := newFixture(f)
	got := fix.redeem(webClient, fix.code(fix.authorization(webClient, testAudience, "openid")))
	f.Add("GET", "Bearer "+got.AccessToken[:60], "", "")
	f.Add("POST", "", formType, "access_token=AAAA")
	f.Add("POST", "Bearer a.b.c", jsonType, "{}")
	f.Fuzz(func(t *testing.T, method, authorization, contentType, body string) {
		if method != "POST" {
			method = "GET"
		}
		r := httptest.NewRequest(method, infoURL, strings.NewReader(body))
		r.Header["Authorization"] = []string{authorization}
		r.Header["Content-Type"] = []string{contentType}
		w := httptest.NewRecorder()
		fix.userinfo.ServeHTTP(w, r)
		if w.Code >= 500 || w.Code == http.StatusOK && !strings.Contains(authorization+body, got.AccessToken) {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		if w.Code == http.StatusUnauthorized && !strings.HasPrefix(w.Header().Get("WWW-Authenticate"), "Bearer ") {
			t.Fatalf("challenge = %q", w.Header().Get("WWW-Authenticate"))
		}
	})
}
