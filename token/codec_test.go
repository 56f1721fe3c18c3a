package token

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/opkit/opkit/store"
)

func testCode() code {
	return code{
		family: "FAMILY", expires: time.Date(2026, 5, 1, 12, 1, 0, 123000, time.UTC),
		authorization: Authorization{
			ClientID: "client", UserID: "user", ConnectionID: "con_1", GrantID: "grant", SID: "sid", Scope: scopes("openid profile"),
			Audience: "api", UserInfoClaims: allClaims, IDTokenClaims: claimEmail, Nonce: "nonce", AuthTime: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC), RequireAuthTime: true,
			ACR: "acr", AMR: []string{"pwd", "otp"}, RedirectURI: testRedirect, CodeChallenge: testChallenge, Offline: true, Session: store.DigestOf("session"),
		},
	}
}

func testRefreshToken() refreshToken {
	rt := refreshToken{family: "FAMILY", generation: 1 << 40, issued: time.UnixMicro(1).UTC(), expires: time.UnixMicro(-1).UTC(), authorization: testCode().authorization}
	a := &rt.authorization
	a.Nonce, a.RequireAuthTime, a.RedirectURI, a.CodeChallenge, a.Offline, a.Session = "", false, "", "", false, store.Digest{}
	return rt
}

func testOpenedToken() openedToken {
	return openedToken{
		clientID: "client", userID: "user", grantID: "grant", family: "FAMILY", scope: scopes("openid"), claims: claimName | claimPhoneNumber,
		issued: time.UnixMicro(1000).UTC(), expires: time.UnixMicro(2000).UTC(),
	}
}

var unexported = cmp.AllowUnexported(code{}, refreshToken{}, openedToken{})

func TestCodecRoundTrip(t *testing.T) {
	c := testCode()
	for _, want := range []code{c, {}} {
		got, err := decodeCode(want.encode())
		if diff := cmp.Diff(want, got, unexported); err != nil || diff != "" {
			t.Errorf("code: %v (-want +got):\n%s", err, diff)
		}
	}
	rt := testRefreshToken()
	for _, want := range []refreshToken{rt, {}} {
		got, err := decodeRefreshToken(want.encode())
		if diff := cmp.Diff(want, got, unexported); err != nil || diff != "" {
			t.Errorf("refresh token: %v (-want +got):\n%s", err, diff)
		}
	}
	at := testOpenedToken()
	for _, want := range []openedToken{at, {}} {
		got, err := decodeOpenedToken(want.encode())
		if diff := cmp.Diff(want, got, unexported); err != nil || diff != "" {
			t.Errorf("access token: %v (-want +got):\n%s", err, diff)
		}
	}
}

// A field that is added to Authorization must not be lost on the way.
func TestCodeCarriesEveryField(t *testing.T) {
	v := reflect.ValueOf(testCode().authorization)
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			t.Errorf("the round trip does not cover %s", v.Type().Field(i).Name)
		}
	}
}

func TestCodecRefuses(t *testing.T) {
	c := testCode()
	raw := c.encode()
	for name, bad := range map[string][]byte{
		"nothing":        nil,
		"another layout": append([]byte{layout + 1}, raw[1:]...),
		"bytes left":     append(bytes.Clone(raw), 0),
		"a huge length":  {layout, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01},
		"65 bits":        {layout, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02},
		"endless":        append([]byte{layout}, bytes.Repeat([]byte{0x80}, 20)...),
		"a long zero":    {layout, 0x80, 0x00},
	} {
		if got, err := decodeCode(bad); err == nil || got.family != "" || got.authorization.ClientID != "" {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	for n := range raw {
		if got, err := decodeCode(raw[:n]); err == nil || !got.expires.IsZero() {
			t.Errorf("cut to %d: %+v, %v", n, got, err)
		}
	}
}

// FuzzCodec: an error gives the zero value, and what decodes has this encoding
// and no other.
func FuzzCodec(f *testing.F) {
	c, rt, at := testCode(), testRefreshToken(), testOpenedToken()
	f.Add(c.encode())
	f.Add(rt.encode())
	f.Add(at.encode())
	f.Add([]byte{layout, 0x80, 0x80, 0x80})
	f.Fuzz(func(t *testing.T, raw []byte) {
		if got, err := decodeCode(raw); err != nil {
			if !reflect.DeepEqual(got, code{}) {
				t.Errorf("an error came with %+v", got)
			}
		} else if !bytes.Equal(got.encode(), raw) {
			t.Errorf("%x decodes and encodes to %x", raw, got.encode())
		}
		if got, err := decodeRefreshToken(raw); err != nil {
			if !reflect.DeepEqual(got, refreshToken{}) {
				t.Errorf("an error came with %+v", got)
			}
		} else if !bytes.Equal(got.encode(), raw) {
			t.Errorf("%x decodes and encodes to %x", raw, got.encode())
		}
		if got, err := decodeOpenedToken(raw); err != nil {
			if !reflect.DeepEqual(got, openedToken{}) {
				t.Errorf("an error came with %+v", got)
			}
		} else if !bytes.Equal(got.encode(), raw) {
			t.Errorf("%x decodes and encodes to %x", raw, got.encode())
		}
	})
}

// FuzzOpen: nothing but what was sealed opens.
func FuzzOpen(f *testing.F) {
	fix := newFixture(f)
	code := fix.code(fix.authorization(webClient, "", "openid"))
	f.Add(code[:50])
	f.Add("AAAA")
	f.Add("")
	f.Fuzz(func(t *testing.T, sealed string) {
		if sealed == code {
			return
		}
		if got, err := fix.issuer.openCode(fix.tenant, sealed); err == nil || got.family != "" {
			t.Errorf("a code: %+v", got)
		}
		if got, err := fix.issuer.openRefreshToken(fix.tenant, sealed); err == nil || got.family != "" {
			t.Errorf("a refresh token: %+v", got)
		}
		if got, err := fix.issuer.openOpaque(fix.tenant, sealed); err == nil || got.family != "" {
			t.Errorf("an access token: %+v", got)
		}
	})
}

func BenchmarkCodec(b *testing.B) {
	c := testCode()
	b.Run("binary", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := decodeCode(c.encode()); err != nil {
				b.Fatal(err)
			}
		}
	})
	// What the layout saves.
	b.Run("json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			raw, err := json.Marshal(&c.authorization)
			if err != nil {
				b.Fatal(err)
			}
			var out Authorization
			if err := json.Unmarshal(raw, &out); err != nil {
				b.Fatal(err)
			}
		}
	})
}
