package token

import (
	"context"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// The bits of a set, the names and what is sent are three lists of the same claims.
func TestClaimSetNamesWhatIsSent(t *testing.T) {
	var sent []string
	claims := reflect.TypeFor[standardClaims]()
	for i := range claims.NumField() {
		name, _, _ := strings.Cut(claims.Field(i).Tag.Get("json"), ",")
		sent = append(sent, name)
	}
	if diff := cmp.Diff(sent, claimNames[:]); diff != "" {
		t.Errorf("sent and named (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(claimNames[:], allClaims.Names()); diff != "" {
		t.Errorf("names of all (-want +got):\n%s", diff)
	}
	for _, name := range claimNames {
		if got := ClaimsOf(name).Names(); !slices.Equal(got, []string{name}) {
			t.Errorf("%s is %v", name, got)
		}
	}
	if got := ClaimsOf("sub", "Name", "name#de", "", "https://example.com/roles", "iss"); got != 0 {
		t.Errorf("unknown names are %v", got.Names())
	}
	if got := ClaimsOfScope(oauth.StandardScopes); got != allClaims {
		t.Errorf("every scope asks for %v", got.Names())
	}
	if got := ClaimsOfScope(scopes("openid offline_access read")); got != 0 {
		t.Errorf("openid asks for %v", got.Names())
	}
}

// Each claim is disclosed when it is asked for, and no other with it.
func TestEachClaimAlone(t *testing.T) {
	f := newFixture(t)
	user := testUser(f.clock.Now())
	for i, name := range claimNames {
		raw, err := json.Marshal(claimsFor(&user, 1<<i))
		f.ok(err)
		var got map[string]any
		f.ok(json.Unmarshal(raw, &got))
		if names := slices.Collect(maps.Keys(got)); !slices.Equal(names, []string{name}) {
			t.Errorf("%s: %s", name, raw)
		}
	}
}

// OpenID Connect Core §5.5: claims go where they are asked for, with an opaque
// token and with a JWT, and also after a refresh.
func TestClaimsByName(t *testing.T) {
	for _, audience := range []string{"", testAudience} {
		t.Run("audience="+audience, func(t *testing.T) {
			f := newFixture(t)
			a := f.authorization(webClient, audience, "openid", "phone")
			a.UserInfoClaims, a.IDTokenClaims = ClaimsOf("name", "email_verified"), ClaimsOf("email", "phone_number")
			check := func(got answer) {
				t.Helper()
				id, info := f.idTokenClaims(got.IDToken), f.info(got.AccessToken).Claims
				for name, want := range map[string]struct{ id, info any }{
					"name":                  {nil, "Alice Adams"},
					"email_verified":        {nil, false},
					"email":                 {"alice@example.com", nil},
					"phone_number":          {"+49 30 123456", "+49 30 123456"}, // by its scope at userinfo
					"phone_number_verified": {nil, true},
					"given_name":            {nil, nil},
				} {
					if id[name] != want.id || info[name] != want.info {
						t.Errorf("%s: ID token %v, userinfo %v, want %v", name, id[name], info[name], want)
					}
				}
			}
			first := f.redeem(webClient, f.code(a))
			check(first)
			f.clock.advance(time.Minute)
			second := f.granted(f.post(refreshForm(webClient, first.RefreshToken)))
			check(second)
			// OpenID Connect Core §12.2.
			before, after := f.idTokenClaims(first.IDToken), f.idTokenClaims(second.IDToken)
			for _, name := range []string{"iss", "sub", "aud", "auth_time", "acr", "sid"} {
				if before[name] == nil || before[name] != after[name] {
					t.Errorf("%s is %v, after a refresh %v", name, before[name], after[name])
				}
			}
			if after["nonce"] != nil {
				t.Errorf("a refreshed ID token has the nonce %v", after["nonce"])
			}
			if after["iat"].(float64) <= before["iat"].(float64) {
				t.Errorf("iat is %v, after a refresh %v", before["iat"], after["iat"])
			}
		})
	}
}

// The front channel delivers claims in the ID token whether or not an access token
// comes with it.
func TestClaimsByNameInTheFrontChannel(t *testing.T) {
	f := newFixture(t)
	a := f.authorization(dynamicClient, "", "openid", "email")
	a.UserInfoClaims, a.IDTokenClaims = ClaimsOf("nickname"), ClaimsOf("name")
	for responseType, withScope := range map[string]bool{"id_token": true, "id_token token": false, "code id_token": false, "code id_token token": false} {
		got, err := f.front(a, responseType, "code")
		f.ok(err)
		id := f.idTokenClaims(got.IDToken)
		if id["name"] != "Alice Adams" || (id["email"] != nil) != withScope || id["nickname"] != nil {
			t.Errorf("%s: %v", responseType, id)
		}
		if got.AccessToken == "" {
			continue
		}
		if info := f.info(got.AccessToken).Claims; info["nickname"] != "al" || info["email"] == nil || info["name"] != nil {
			t.Errorf("%s: userinfo %v", responseType, info)
		}
	}
}

// A token for an API that does not open userinfo has nothing to say about it.
func TestAccessTokensWithoutOpenIDNameNoClaims(t *testing.T) {
	f := newFixture(t)
	a := f.authorization(webClient, testAudience, "contacts")
	a.UserInfoClaims = ClaimsOf("email")
	if got := f.accessTokenClaims(f.redeem(webClient, f.code(a)).AccessToken); got["userinfo_claims"] != nil {
		t.Errorf("access token: %v", got)
	}
	a = f.authorization(webClient, testAudience, "openid")
	if got := f.accessTokenClaims(f.redeem(webClient, f.code(a)).AccessToken); got["userinfo_claims"] != nil {
		t.Errorf("access token: %v", got)
	}
}

// A custom claim cannot pretend that a claim was asked for.
func TestCustomClaimsCannotAskForClaims(t *testing.T) {
	f := newFixture(t, func(c *Config) {
		c.Claims = func(context.Context, ClaimsInput) (CustomClaims, error) {
			return CustomClaims{AccessToken: map[string]any{"userinfo_claims": []string{"email"}}}, nil
		}
	})
	got := f.redeem(webClient, f.code(f.authorization(webClient, testAudience, "openid")))
	if info := f.info(got.AccessToken).Claims; info["email"] != nil {
		t.Errorf("userinfo: %v", info)
	}
}

// What userinfo answers costs no more store calls for claims that were asked for.
func TestStoreCallsOfClaimsByName(t *testing.T) {
	for _, audience := range []string{"", testAudience} {
		f := newFixture(t)
		a := f.authorization(webClient, audience, "openid")
		a.UserInfoClaims = ClaimsOf("email")
		token := f.redeem(webClient, f.code(a)).AccessToken
		f.tap.take()
		f.alive(token)
		if got := f.tap.take(); got != "Grant User" {
			t.Errorf("audience %q: %s", audience, got)
		}
	}
}

// A grant that is revoked takes the claims with it.
func TestClaimsByNameDieWithTheGrant(t *testing.T) {
	f := newFixture(t)
	a := f.authorization(webClient, "", "openid")
	a.UserInfoClaims = allClaims
	got := f.redeem(webClient, f.code(a))
	f.changeUser(func(u *store.User) { u.Email = "" })
	if info := f.info(got.AccessToken).Claims; info["email"] != nil || info["email_verified"] != nil || info["name"] == nil {
		t.Errorf("userinfo: %v", info)
	}
	f.ok(f.mem.DeleteGrant(t.Context(), tenant.DefaultID, a.GrantID))
	f.dead(got.AccessToken)
}
