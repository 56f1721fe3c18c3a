package oauth

import (
	"errors"
	"net/http"
	"testing"
)

func TestBearerToken(t *testing.T) {
	for _, c := range []struct {
		headers []string
		token   string
		none    bool
	}{
		{[]string{"Bearer abc"}, "abc", false},
		{[]string{"bearer  abc "}, "abc", false},
		{[]string{"BEARER aZ09-._~+/=="}, "aZ09-._~+/==", false},
		{[]string{"Bearer a b"}, "", false},
		{[]string{"Bearer a, Bearer b"}, "", false},
		{[]string{"Bearer a=b"}, "", false},
		{[]string{"Bearer =="}, "", false},
		{[]string{`Bearer "a"`}, "", false},
		{[]string{"Bearer a\x00"}, "", false},
		{[]string{"Bearer ä"}, "", false},
		{nil, "", true},
		{[]string{"Basic abc"}, "", true},
		{[]string{"Bearerabc"}, "", true},
		{[]string{""}, "", true},
		{[]string{"Bearer"}, "", false},
		{[]string{"Bearer  "}, "", false},
		{[]string{"Bearer abc", "Bearer abc"}, "", false},
	} {
		token, err := BearerToken(&http.Request{Header: http.Header{"Authorization": c.headers}})
		if token != c.token || errors.Is(err, ErrNoToken) != c.none || (err == nil) != (c.token != "") {
			t.Errorf("%q: %q, %v", c.headers, token, err)
		}
		if err != nil && !c.none && AsError(err).Code != CodeInvalidRequest {
			t.Errorf("%q: %v", c.headers, err)
		}
	}
}

func TestBearerChallenge(t *testing.T) {
	for want, c := range map[string]struct {
		err   error
		scope string
	}{
		`Bearer realm="r i"`: {ErrNoToken, "openid"},
		`Bearer realm="r i", error="invalid_token", error_description="it is bad"`:                           {Errorf(CodeInvalidToken, "it is bad"), "openid"},
		`Bearer realm="r i", error="insufficient_scope", error_description="it lacks scope", scope="openid"`: {Errorf(CodeInsufficientScope, "it lacks scope"), "openid"},
		`Bearer realm="r i", error="invalid_token"`:                                                          {&Error{Code: CodeInvalidToken}, ""},
		``: {errors.New("sql: no rows"), ""},
	} {
		realm := "r\n\" i"
		if got := BearerChallenge(realm, c.err, c.scope); got != want {
			t.Errorf("%v: %s; want %s", c.err, got, want)
		}
	}
	if got := quotable("a\"b\\c\r\nd\x00é~"); got != "abcd~" {
		t.Errorf("quotable: %q", got)
	}
}
