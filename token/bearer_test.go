package token

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestRequire(t *testing.T) {
	f := newFakeIssuer(t)
	v := f.verifier()
	api := v.Require("contacts", "appointments")(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, ok := AccessTokenFromContext(r.Context())
		if !ok {
			t.Error("no access token in the context")
			return
		}
		w.Write([]byte(token.Subject))
	}))
	good := f.sign(f.claims(nil), nil)
	narrow := f.sign(f.claims(map[string]any{"scope": "contacts"}), nil)
	for _, tc := range []struct {
		rule      string
		header    []string
		status    int
		challenge string
	}{
		{"a good token", []string{"Bearer " + good}, 200, ""},
		{"the scheme has no case", []string{"BEARER " + good}, 200, ""},
		{"RFC 6750 §3.1: no token, no error", nil, 401, `Bearer realm="appointments:api"`},
		{"another scheme", []string{"DPoP " + good}, 401, `Bearer realm="appointments:api"`},
		{"RFC 6750 §3.1: invalid_request", []string{"Bearer"}, 400,
			`Bearer realm="appointments:api", error="invalid_request", error_description="the Authorization header has no token"`},
		{"two headers", []string{"Bearer " + good, "Bearer " + good}, 400,
			`Bearer realm="appointments:api", error="invalid_request", error_description="the request has more than one Authorization header"`},
		{"RFC 6750 §3.1: invalid_token", []string{"Bearer " + good + "x"}, 401,
			`Bearer realm="appointments:api", error="invalid_token", error_description="the access token is not valid here, or has expired"`},
		{"RFC 6750 §3.1: insufficient_scope", []string{"Bearer " + narrow}, 403,
			`Bearer realm="appointments:api", error="insufficient_scope", error_description="the access token lacks scope", scope="contacts appointments"`},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/contacts?access_token="+good, nil)
			r.Header["Authorization"] = tc.header
			w := httptest.NewRecorder()
			api.ServeHTTP(w, r)
			if w.Code != tc.status || w.Header().Get("WWW-Authenticate") != tc.challenge {
				t.Errorf("%d %s, want %d %s", w.Code, w.Header().Get("WWW-Authenticate"), tc.status, tc.challenge)
			}
			if tc.status == 200 {
				if w.Body.String() != "auth0|u1" {
					t.Errorf("body = %q", w.Body)
				}
				return
			}
			if w.Header().Get("Cache-Control") != "no-store" {
				t.Error("the refusal can be cached")
			}
			if !strings.Contains(tc.challenge, "error") {
				if w.Body.Len() != 0 {
					t.Errorf("body = %q", w.Body)
				}
				return
			}
			var e struct{ Error string }
			if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || !strings.Contains(tc.challenge, `error="`+e.Error+`"`) {
				t.Errorf("body = %q", w.Body)
			}
		})
	}
}

func TestRequireWithoutKeysIsUnavailable(t *testing.T) {
	f := newFakeIssuer(t)
	f.metadata["issuer"] = "https://secret.internal.example"
	v := f.verifier()
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Authorization", "Bearer "+f.sign(f.claims(nil), nil))
	v.Require()(http.NotFoundHandler()).ServeHTTP(w, r)
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("WWW-Authenticate") != "" || w.Header().Get("Retry-After") != "1" ||
		strings.Contains(w.Body.String(), "secret") {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
}

func TestNoAccessTokenInOtherContexts(t *testing.T) {
	if got, ok := AccessTokenFromContext(t.Context()); ok || got != nil {
		t.Errorf("AccessTokenFromContext = %v, %v", got, ok)
	}
}

func TestChallengeCannotBeBroken(t *testing.T) {
	w := httptest.NewRecorder()
	writeBearerError(w, "a\"b\\c\r\nd\x00é~", errNoToken, "", "")
	if got := w.Header().Get("WWW-Authenticate"); got != `Bearer realm="abcd~"` {
		t.Errorf("WWW-Authenticate = %q", got)
	}
}
