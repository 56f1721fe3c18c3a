package connection

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/opkit/opkit/store"
)

// What an upstream publishes: an error comes with nothing, and what is accepted names
// https addresses.
func FuzzUpstreamMetadata(f *testing.F) {
	f.Add([]byte(`{"issuer":"https://op.example","authorization_endpoint":"https://op.example/a","token_endpoint":"https://op.example/t","jwks_uri":"https://op.example/k"}`))
	f.Add([]byte(`{"issuer":"https://op.example","issuer":"x"}`))
	f.Add([]byte(`{"ISSUER":"https://op.example"}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := parseUpstreamMetadata(raw)
		if err != nil {
			if !reflect.DeepEqual(m, upstreamMetadata{}) {
				t.Errorf("an error with %+v", m)
			}
			return
		}
		for _, address := range []string{m.AuthorizationEndpoint, m.TokenEndpoint, m.JWKSURI} {
			if !strings.HasPrefix(strings.ToLower(address), "https://") {
				t.Errorf("accepted %q", address)
			}
		}
	})
}

// The claims of an ID token, whose signature proves who wrote them and no more.
func FuzzIDTokenClaims(f *testing.F) {
	f.Add([]byte(`{"iss":"https://op.example","sub":"1","aud":"here","exp":2000000000,"iat":1999999999,"nonce":"n","amr":["pwd"]}`))
	f.Add([]byte(`{"iss":"https://op.example","sub":"1","aud":["here","there"],"azp":"here","exp":2e9,"iat":1.5,"auth_time":0}`))
	f.Add([]byte(`{"iss":"a","sub":"1","sub":"2","aud":"here","exp":1e400,"iat":-1}`))
	f.Add([]byte(`{"aud":null,"exp":"1"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		token, err := parseIDToken(raw)
		if err != nil {
			if !reflect.DeepEqual(token, idToken{}) {
				t.Errorf("an error with %+v", token)
			}
			return
		}
		if token.ExpiresAt.IsZero() || token.IssuedAt.IsZero() || token.Claims == nil || len(token.AMR) > maxAMR {
			t.Errorf("accepted %+v", token)
		}
		profile := (&upstreamOptions{preset: presets[StrategyOIDC]}).profileOf(token.Claims)
		checkProfile(t, profile)
	})
}

// What userinfo says, and whom it makes of it.
func FuzzUserinfo(f *testing.F) {
	f.Add([]byte(`{"sub":"1","email":"Ada@Example.com","email_verified":"true","picture":"https://a.example/p"}`), "sub")
	f.Add([]byte(`{"data":{"user":{"id":17}},"email":"a@b@c","website":"javascript:x"}`), "data.user.id")
	f.Add([]byte(`{"sub":1e3,"name":"\u0000"}`), "${context.userinfo.sub}")
	f.Fuzz(func(t *testing.T, raw []byte, mapping string) {
		claims, err := parseUserinfo(raw)
		if err != nil {
			if claims != nil {
				t.Errorf("an error with %v", claims)
			}
			return
		}
		o := &upstreamOptions{preset: presets[StrategyOAuth2]}
		if _, ok := claimPath(mapping); ok {
			o.AttributeMap.Attributes = map[string]string{"sub": mapping, "email": mapping, "name": mapping}
		}
		checkProfile(t, o.profileOf(claims))
		if subject := o.subjectOf(claims); subject != "" {
			id := upstreamUserID(&store.Connection{ID: "con_0123456789ABCDEF", Strategy: StrategyOAuth2}, subject)
			if !validSubject(id) {
				t.Errorf("user %q", id)
			}
		}
	})
}

func checkProfile(t *testing.T, u UpstreamProfile) {
	t.Helper()
	if u.Email != "" && (checkEmail(u.Email) != nil || foldLogin(u.Email) != u.Email) || u.Email == "" && u.EmailVerified {
		t.Errorf("email %q, %v", u.Email, u.EmailVerified)
	}
	raw, err := json.Marshal(u)
	if err != nil || !utf8.Valid(raw) {
		t.Errorf("%v", err)
	}
	for _, link := range []string{u.Profile.Picture, u.Profile.ProfileURL, u.Profile.Website} {
		if l := strings.ToLower(link); link != "" && !strings.HasPrefix(l, "https://") && !strings.HasPrefix(l, "http://") {
			t.Errorf("link %q", link)
		}
	}
}

// No two subjects have one user.
func TestUpstreamUserIDsAreUnique(t *testing.T) {
	c := &store.Connection{ID: "con_0123456789ABCDEF", Strategy: StrategyOIDC}
	long := strings.Repeat("x", 300)
	hashed := strings.TrimPrefix(upstreamUserID(c, long), "oidc|"+c.ID+"|")
	seen := map[string]string{}
	for _, subject := range []string{"1", "auth0|1", "a b", "é", "e\u0301", long, long + "x", hashed, "sha256:", "A", "a"} {
		id := upstreamUserID(c, subject)
		if other, ok := seen[id]; ok {
			t.Errorf("%q and %q are both %s", subject, other, id)
		}
		seen[id] = subject
		if !validSubject(id) {
			t.Errorf("%q: %q", subject, id)
		}
	}
	if got := upstreamUserID(c, "auth0|1"); got != "oidc|con_0123456789ABCDEF|auth0|1" {
		t.Errorf("got %s", got)
	}
}
