package token

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

func (f *fixture) front(a Authorization, responseType, code string) (FrontChannel, error) {
	f.Helper()
	rt, err := oauth.ParseResponseType(responseType)
	f.ok(err)
	user, err := f.mem.User(context.Background(), tenant.DefaultID, "auth0|u1")
	f.ok(err)
	return f.issuer.FrontChannel(httptest.NewRequest(http.MethodPost, testIssuer+"/consent", nil), f.tenant, f.client(a.ClientID), &user, a, rt, code)
}

func TestFrontChannelMintsWhatIsAsked(t *testing.T) {
	f := newFixture(t)
	a := f.authorization(dynamicClient, testAudience, "openid", "email", "contacts")
	for _, tc := range []struct {
		responseType             string
		code                     string
		token, idToken           bool
		atHash, cHash, hasClaims bool
	}{
		{responseType: "code", code: "the code"},
		{responseType: "token", token: true},
		{responseType: "id_token", idToken: true, hasClaims: true},
		{responseType: "id_token token", token: true, idToken: true, atHash: true},
		{responseType: "token id_token", token: true, idToken: true, atHash: true},
		{responseType: "code id_token", code: "the code", idToken: true, cHash: true},
		{responseType: "code token", code: "the code", token: true},
		{responseType: "code id_token token", code: "the code", token: true, idToken: true, atHash: true, cHash: true},
	} {
		t.Run(tc.responseType, func(t *testing.T) {
			got, err := f.front(a, tc.responseType, tc.code)
			f.ok(err)
			if (got.AccessToken != "") != tc.token || (got.IDToken != "") != tc.idToken {
				t.Fatalf("got %+v", got)
			}
			if tc.token {
				if got.ExpiresIn != 7200 || got.Scope != "openid email contacts" {
					t.Errorf("expires_in = %d, scope = %q", got.ExpiresIn, got.Scope)
				}
				f.alive(got.AccessToken)
			} else if got.ExpiresIn != 0 || got.Scope != "" {
				t.Errorf("got %+v without an access token", got)
			}
			if !tc.idToken {
				return
			}
			claims := f.idTokenClaims(got.IDToken)
			if claims["nonce"] != a.Nonce || claims["aud"] != dynamicClient {
				t.Errorf("claims = %v", claims)
			}
			if want := halfHash(got.AccessToken); tc.atHash && claims["at_hash"] != want || !tc.atHash && claims["at_hash"] != nil {
				t.Errorf("at_hash = %v", claims["at_hash"])
			}
			if want := halfHash(tc.code); tc.cHash && claims["c_hash"] != want || !tc.cHash && claims["c_hash"] != nil {
				t.Errorf("c_hash = %v", claims["c_hash"])
			}
			// OpenID Connect Core §5.4.
			if (claims["email"] != nil) != tc.hasClaims {
				t.Errorf("email = %v", claims["email"])
			}
			if tc.hasClaims && claims["email_verified"] != false {
				t.Errorf("email_verified = %v, want the boolean false", claims["email_verified"])
			}
		})
	}
}

// The reference page's application asks for an ID token without the scope openid.
func TestFrontChannelIDTokenWithoutOpenID(t *testing.T) {
	f := newFixture(t)
	got, err := f.front(f.authorization(dynamicClient, testAudience, "appointments", "contacts"), "id_token token", "")
	f.ok(err)
	f.idTokenClaims(got.IDToken)
	if aud := f.accessTokenClaims(got.AccessToken)["aud"]; aud != testAudience {
		t.Errorf("aud = %v", aud)
	}
}

func TestFrontChannelTokenLivesUnderItsGrant(t *testing.T) {
	f := newFixture(t)
	a := f.authorization(dynamicClient, "", "openid")
	first, err := f.front(a, "token", "")
	f.ok(err)
	second, err := f.front(a, "token", "")
	f.ok(err)
	f.alive(first.AccessToken)
	f.ok(f.mem.DeleteGrant(context.Background(), tenant.DefaultID, a.GrantID))
	f.dead(first.AccessToken)
	f.dead(second.AccessToken)
	got, err := f.front(a, "id_token token", "")
	if e, ok := errors.AsType[*oauth.Error](err); !ok || e.Code != oauth.CodeAccessDenied || got != (FrontChannel{}) {
		t.Errorf("without its grant: %+v, %v", got, err)
	}
}

func TestFrontChannelRevocationBySession(t *testing.T) {
	f := newFixture(t)
	got, err := f.front(f.authorization(dynamicClient, "", "openid"), "token", "")
	f.ok(err)
	n, err := f.mem.RevokeFamilies(context.Background(), tenant.DefaultID, store.FamilyFilter{SID: "sid-1"}, f.clock.Now(), f.clock.Now())
	if err != nil || n != 1 {
		t.Fatalf("RevokeFamilies = %d, %v", n, err)
	}
	f.dead(got.AccessToken)
}

func TestFrontChannelConfirmsTheClient(t *testing.T) {
	f := newFixture(t)
	_, err := f.front(f.authorization(dynamicClient, "", "openid"), "token", "")
	f.ok(err)
	if c := f.client(dynamicClient); c.ConfirmedAt.IsZero() || c.LastUsedAt.IsZero() {
		t.Errorf("ConfirmedAt = %v, LastUsedAt = %v", c.ConfirmedAt, c.LastUsedAt)
	}
}

func TestFrontChannelNeedsACompleteAuthorization(t *testing.T) {
	f := newFixture(t)
	a := f.authorization(dynamicClient, "", "openid")
	a.GrantID = ""
	if got, err := f.front(a, "token", ""); err == nil || got != (FrontChannel{}) {
		t.Errorf("FrontChannel = %+v, %v", got, err)
	}
}
