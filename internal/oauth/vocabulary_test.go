package oauth

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseScope(t *testing.T) {
	for in, want := range map[string]Scope{
		"":                            nil,
		"   ":                         nil,
		"openid":                      {"openid"},
		"openid profile":              {"openid", "profile"},
		"  profile   openid ":         {"profile", "openid"},
		"openid profile openid":       {"openid", "profile"},
		"OpenID openid":               {"OpenID", "openid"},
		"read:contacts https://a/b#c": {"read:contacts", "https://a/b#c"},
		"!#[]~":                       {"!#[]~"},
	} {
		got, err := ParseScope(in)
		if err != nil {
			t.Errorf("%q: %v", in, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got)\n%s", in, diff)
		}
	}
	for _, in := range []string{`a"b`, `a\b`, "a\tb", "a\nb", "a\x00b", "a\x7fb", "ü", "a,\u00a0b", "a\xffb"} {
		if got, err := ParseScope(in); got != nil || AsError(err).Code != CodeInvalidScope {
			t.Errorf("RFC 6749 §3.3: %q: %v, %v", in, got, err)
		}
	}
	var values []string
	for i := range maxScopes + 1 {
		values = append(values, fmt.Sprint("s", i))
	}
	if got, err := ParseScope(strings.Join(values[:maxScopes], " ")); err != nil || len(got) != maxScopes {
		t.Errorf("%d values: %v", maxScopes, err)
	}
	if got, err := ParseScope(strings.Join(values, " ")); got != nil || AsError(err).Code != CodeInvalidScope {
		t.Errorf("too many values: %v, %v", got, err)
	}
}

func TestScopeSets(t *testing.T) {
	s := Scope{"a", "b"}
	if !s.Has("a") || s.Has("c") || s.Has("") || s.Has("A") {
		t.Error("Has")
	}
	if !s.HasAll(nil) || !s.HasAll(Scope{"b", "a", "a"}) || s.HasAll(Scope{"a", "c"}) || Scope(nil).HasAll(s) {
		t.Error("HasAll")
	}
	if diff := cmp.Diff(Scope{"a", "b", "c"}, s.Union(Scope{"b", "c", "a"})); diff != "" {
		t.Errorf("Union\n%s", diff)
	}
	full := make(Scope, 1, 4)
	full[0] = "a"
	_ = full.Union(Scope{"x"})
	if got := full.Union(Scope{"y"}); got.String() != "a y" || full.String() != "a" {
		t.Errorf("Union shares memory: %q, %q", got, full)
	}
}

func FuzzParseScope(f *testing.F) {
	f.Add("openid profile")
	f.Add("a  a b\x00")
	f.Fuzz(func(t *testing.T, in string) {
		s, err := ParseScope(in)
		if err != nil {
			if s != nil {
				t.Fatalf("%q: an error came with %v", in, s)
			}
			return
		}
		again, err := ParseScope(s.String())
		if err != nil || !slices.Equal(s, again) {
			t.Fatalf("%q: %v does not survive String: %v, %v", in, s, again, err)
		}
		for i, v := range s {
			if v == "" || slices.Contains(s[:i], v) {
				t.Fatalf("%q: %v", in, s)
			}
		}
	})
}

// A set has one value however it is spelled, so that no rule about a flow can be
// sidestepped by another order.
func TestParseResponseTypeInAnyOrder(t *testing.T) {
	for canonical, spellings := range map[string][]string{
		"code":                {"code"},
		"token":               {"token"},
		"id_token":            {"id_token"},
		"none":                {"none"},
		"id_token token":      {"id_token token", "token id_token"},
		"code id_token":       {"code id_token", "id_token code"},
		"code token":          {"code token", "token code"},
		"code id_token token": {"code id_token token", "code token id_token", "id_token code token", "id_token token code", "token code id_token", "token id_token code"},
	} {
		want, err := ParseResponseType(canonical)
		if err != nil || want == 0 {
			t.Fatalf("%q: %v, %v", canonical, want, err)
		}
		for _, s := range spellings {
			if got, err := ParseResponseType(s); err != nil || got != want || got.String() != canonical {
				t.Errorf("%q: %v, %v", s, got, err)
			}
		}
		front := strings.Contains(canonical, "token")
		if want.FrontChannel() != front || want.Has(ResponseCode) != strings.Contains(canonical, "code") {
			t.Errorf("%q: FrontChannel %v, code %v", canonical, want.FrontChannel(), want.Has(ResponseCode))
		}
	}
	for _, s := range []string{
		"None", "none none", "none code", "none id_token token", "Code", "code ", " code", "code  token", "code code", "token token", "code,token", "code+token", "code\ttoken",
		"code none", "id_token\u00a0token", "code token id_token code", "cod", "tokens",
	} {
		if got, err := ParseResponseType(s); got != 0 || AsError(err).Code != CodeUnsupportedResponseType {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
	if got, err := ParseResponseType(""); got != 0 || AsError(err).Code != CodeInvalidRequest {
		t.Errorf("RFC 6749 §3.1.1: missing: %v, %v", got, err)
	}
}

func FuzzParseResponseType(f *testing.F) {
	f.Add("code id_token token")
	f.Add("token  token")
	f.Add("none code")
	f.Fuzz(func(t *testing.T, in string) {
		rt, err := ParseResponseType(in)
		if err != nil {
			if rt != 0 {
				t.Fatalf("%q: an error came with %v", in, rt)
			}
			return
		}
		if again, err := ParseResponseType(rt.String()); err != nil || again != rt || len(rt.String()) != len(in) {
			t.Fatalf("%q: %v, %v, %v", in, rt, again, err)
		}
	})
}

// RFC 7636 appendix B.
const (
	verifier  = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
)

func TestCheckChallenge(t *testing.T) {
	if got, err := CheckChallenge(challenge, "S256"); got != challenge || err != nil {
		t.Errorf("the vector of RFC 7636 appendix B: %q, %v", got, err)
	}
	if got, err := CheckChallenge("", ""); got != "" || err != nil {
		t.Errorf("no PKCE: %q, %v", got, err)
	}
	for _, c := range []struct{ rule, challenge, method string }{
		{"plain", verifier, "plain"},
		{"RFC 7636 §4.3: an absent method is plain", challenge, ""},
		{"unknown method", challenge, "S512"},
		{"method in another case", challenge, "s256"},
		{"method without challenge", "", "S256"},
		{"too short", challenge[:42], "S256"},
		{"too long", challenge + "A", "S256"},
		{"padded", challenge + "=", "S256"},
		{"standard alphabet", strings.ReplaceAll(challenge, "-", "+"), "S256"},
		{"trailing bits", challenge[:42] + "N", "S256"},
		{"line break", challenge[:42] + "\n", "S256"},
		{"a hash in hexadecimal", fmt.Sprintf("%x", sha256.Sum256([]byte(verifier))), "S256"},
	} {
		if got, err := CheckChallenge(c.challenge, c.method); got != "" || AsError(err).Code != CodeInvalidRequest {
			t.Errorf("%s: %q, %v", c.rule, got, err)
		}
	}
}

func TestCheckVerifier(t *testing.T) {
	hash := func(v string) string {
		sum := sha256.Sum256([]byte(v))
		return base64.RawURLEncoding.EncodeToString(sum[:])
	}
	longest, shortest := strings.Repeat("a", 128), strings.Repeat("a", 43)
	for _, c := range []struct{ rule, challenge, verifier string }{
		{"the vector of RFC 7636 appendix B", challenge, verifier},
		{"no PKCE", "", ""},
		{"longest verifier", hash(longest), longest},
		{"shortest verifier", hash(shortest), shortest},
	} {
		if err := CheckVerifier(c.challenge, c.verifier); err != nil {
			t.Errorf("%s: %v", c.rule, err)
		}
	}
	for _, c := range []struct{ rule, challenge, verifier string }{
		{"RFC 9700 §2.1.1: verifier without challenge", "", verifier},
		{"challenge without verifier", challenge, ""},
		{"another verifier", challenge, strings.Repeat("b", 43)},
		{"the challenge itself", challenge, challenge},
		{"RFC 7636 §4.1: 42 characters", hash(shortest[1:]), shortest[1:]},
		{"RFC 7636 §4.1: 129 characters", hash(longest + "a"), longest + "a"},
		{"a prefix of the verifier", challenge, verifier[:42]},
	} {
		if err := CheckVerifier(c.challenge, c.verifier); AsError(err).Code != CodeInvalidGrant {
			t.Errorf("%s: %v", c.rule, err)
		}
	}
}

func FuzzCheckChallenge(f *testing.F) {
	f.Add(challenge, "S256")
	f.Add(verifier, "plain")
	f.Fuzz(func(t *testing.T, in, method string) {
		got, err := CheckChallenge(in, method)
		switch {
		case err != nil && got != "":
			t.Fatalf("%q, %q: an error came with %q", in, method, got)
		case err == nil && got != in:
			t.Fatalf("%q, %q: %q", in, method, got)
		case err == nil && got != "":
			raw, err := base64.RawURLEncoding.DecodeString(got)
			if err != nil || base64.RawURLEncoding.EncodeToString(raw) != got || len(raw) != sha256.Size {
				t.Fatalf("%q is not the one spelling of a hash: %v", got, errors.Unwrap(err))
			}
		}
	})
}
