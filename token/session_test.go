package token

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/opkit/opkit/store"
)

// unsignedJWT returns a compact serialization with a signature that is none.
func unsignedJWT(header, payload string) string {
	enc := base64.RawURLEncoding.EncodeToString
	return enc([]byte(header)) + "." + enc([]byte(payload)) + "." + enc([]byte("no signature"))
}

func TestHintIsAnIDTokenOfTheIssuer(t *testing.T) {
	f := newFixture(t)
	a := f.authorization(dynamicClient, "", "openid")
	a.SID = "the session"
	out, err := f.front(a, "id_token token", "")
	f.ok(err)
	want := Hint{ClientID: dynamicClient, Subject: a.UserID, SID: "the session"}
	if got, err := f.issuer.Hint(t.Context(), f.tenant, out.IDToken); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	sign := func(typ, payload string) string {
		token, err := f.issuer.tenants.Sign(t.Context(), f.tenant, algRS256, typ, []byte(payload))
		f.ok(err)
		return token
	}
	issuer := f.tenant.Issuer()
	if got, err := f.issuer.Hint(t.Context(), f.tenant, sign(typIDToken, `{"iss":"`+issuer+`","exp":1,"sub":"u","aud":"c"}`)); err != nil || got != (Hint{ClientID: "c", Subject: "u"}) {
		t.Errorf("expired long ago: %+v, %v", got, err)
	}
	for rule, token := range map[string]string{
		"empty":                               "",
		"opaque access token":                 out.AccessToken,
		"another typ":                         sign("at+jwt", `{"iss":"`+issuer+`","exp":1,"sub":"u","aud":"c"}`),
		"logout token":                        sign(typLogoutToken, `{"iss":"`+issuer+`","exp":1,"sub":"u","aud":"c"}`),
		"another issuer":                      sign(typIDToken, `{"iss":"https://other.example","exp":1,"sub":"u","aud":"c"}`),
		"no subject":                          sign(typIDToken, `{"iss":"`+issuer+`","exp":1,"aud":"c"}`),
		"no audience":                         sign(typIDToken, `{"iss":"`+issuer+`","exp":1,"sub":"u"}`),
		"several audiences":                   sign(typIDToken, `{"iss":"`+issuer+`","exp":1,"sub":"u","aud":["c","d"]}`),
		"no expiry, as an answer of userinfo": sign(typIDToken, `{"iss":"`+issuer+`","sub":"u","aud":"c"}`),
		"no claims set":                       sign(typIDToken, `[]`),
		"alg none":                            unsignedJWT(`{"alg":"none","typ":"JWT"}`, `{"iss":"`+issuer+`","exp":1,"sub":"u","aud":"`+dynamicClient+`"}`),
		"HS256 of a client that did not register it": signHS256([]byte("x"), []byte(`{"iss":"`+issuer+`","exp":1,"sub":"u","aud":"`+dynamicClient+`"}`)),
		"HS256 of nobody":       signHS256(nil, []byte(`{"iss":"`+issuer+`","exp":1,"sub":"u","aud":"nobody"}`)),
		"HS256 without claims":  signHS256(nil, []byte(`x`)),
		"HS256 that is too big": headerHS256 + "." + strings.Repeat("A", maxHint) + ".AA",
		"HS256 in four parts":   signHS256(nil, []byte(`{}`)) + ".",
		"HS256 padded":          headerHS256 + ".e30=.AA",
	} {
		if got, err := f.issuer.Hint(t.Context(), f.tenant, token); !errors.Is(err, ErrInvalidHint) || got != (Hint{}) {
			t.Errorf("%s: %+v, %v", rule, got, err)
		}
	}
}

func TestLogoutTokenClaims(t *testing.T) {
	f := newFixture(t)
	session := &store.Session{SID: "the session", UserID: "auth0|u1"}
	client := f.client(dynamicClient)
	ids := map[string]bool{}
	for range 2 {
		raw, err := f.issuer.LogoutToken(t.Context(), f.tenant, client, session)
		f.ok(err)
		payload, err := f.issuer.tenants.Verify(t.Context(), f.tenant, "logout+jwt", raw)
		f.ok(err)
		var got map[string]json.RawMessage
		f.ok(json.Unmarshal(payload, &got))
		for name, want := range map[string]string{
			"iss": `"` + f.tenant.Issuer() + `"`, "aud": `"` + dynamicClient + `"`, "sub": `"auth0|u1"`, "sid": `"the session"`,
			"events": `{"http://schemas.openid.net/event/backchannel-logout":{}}`,
		} {
			if string(got[name]) != want {
				t.Errorf("%s: %s, want %s", name, got[name], want)
			}
		}
		if len(got) != 8 || got["nonce"] != nil {
			t.Errorf("claims: %s", payload)
		}
		ids[string(got["jti"])] = true
	}
	if len(ids) != 2 {
		t.Error("Back-Channel Logout §2.4: jti is not unique")
	}
}

func TestRevokeSessionRevokesItsFamiliesOnly(t *testing.T) {
	f := newFixture(t)
	a := f.authorization(dynamicClient, "", "openid")
	mint := func(sid string) string {
		a.SID = sid
		out, err := f.front(a, "token", "")
		f.ok(err)
		return out.AccessToken
	}
	mine, others := mint("one"), mint("two")
	f.ok(f.issuer.RevokeSession(t.Context(), f.tenant, "one"))
	f.dead(mine)
	f.alive(others)
	// No session is not every session.
	f.ok(f.issuer.RevokeSession(t.Context(), f.tenant, ""))
	f.alive(others)
}

// The claims of a hint, which are read before it is known whose key to verify it with:
// an error comes without a value, and a value names this issuer, a client and a user.
func FuzzHintClaims(f *testing.F) {
	fx := newFixture(f)
	issuer := fx.tenant.Issuer()
	f.Add([]byte(`{"iss":"` + issuer + `","sub":"u","aud":"c","exp":1,"sid":"s"}`))
	f.Add([]byte(`{"iss":"` + issuer + `","sub":"u","aud":["c"],"exp":1}`))
	f.Add([]byte(`{"iss":"` + issuer + `","sub":"u","aud":"c","exp":1e400}`))
	f.Add([]byte(`{"iss":"` + issuer + `","ISS":"https://evil.example","sub":"u","aud":"c","exp":1}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		got, err := readHint(fx.tenant, payload)
		if err != nil && (got != Hint{} || !errors.Is(err, ErrInvalidHint)) {
			t.Fatalf("%+v, %v", got, err)
		}
		if err == nil && (got.ClientID == "" || got.Subject == "" || !strings.Contains(string(payload), "iss")) {
			t.Fatalf("%s: %+v", payload, got)
		}
	})
}

// Whatever is sent as a hint, an error comes without a value, and nobody makes one
// without a key.
func FuzzHint(f *testing.F) {
	fx := newFixture(f)
	issuer := fx.tenant.Issuer()
	f.Add("")
	f.Add(unsignedJWT(`{"alg":"none"}`, `{}`))
	f.Add(unsignedJWT(`{"alg":"RS256","typ":"JWT","kid":"x"}`, `{"iss":"`+issuer+`"}`))
	f.Add(signHS256(nil, []byte(`{"iss":"`+issuer+`","exp":1,"sub":"u","aud":"`+dynamicClient+`"}`)))
	f.Add(headerHS256 + "..")
	f.Fuzz(func(t *testing.T, token string) {
		got, err := fx.issuer.Hint(context.Background(), fx.tenant, token)
		if !errors.Is(err, ErrInvalidHint) || got != (Hint{}) {
			t.Fatalf("%q: %+v, %v", token, got, err)
		}
	})
}
