package management_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/opkit/opkit/internal/httpx"
	"github.com/opkit/opkit/internal/management"
)

const token = "good.token-1"

// newGuard returns a guard that knows one token, with the given scopes.
func newGuard(log *bytes.Buffer, scopes ...string) *management.Guard {
	return &management.Guard{
		Verify: func(_ *http.Request, presented string) (management.Caller, error) {
			if len(presented) > 16<<10 || strings.ContainsAny(presented, " ,\"\x00") {
				return management.Caller{}, fmt.Errorf("what is no token reached Verify: %.40q", presented)
			}
			if presented != token {
				return management.Caller{}, management.InvalidToken(errors.New("signature mismatch in key 42"))
			}
			return management.Caller{TenantID: "t", ClientID: "c", Scopes: scopes}, nil
		},
		Logger: slog.New(slog.NewTextHandler(log, nil)),
	}
}

func members(t testing.TB, w *httptest.ResponseRecorder) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &m); err != nil {
		t.Fatalf("%d %q: %v", w.Code, w.Body, err)
	}
	return m
}

func TestTheTokenComesFromOneAuthorizationHeader(t *testing.T) {
	const missing, invalid = `Bearer realm="management"`, `Bearer realm="management", error="invalid_token"`
	const malformed = `Bearer realm="management", error="invalid_request"` // RFC 6750 §3.1
	for name, c := range map[string]struct {
		authorization []string
		target, body  string
		status        int
		challenge     string
	}{
		"good":                   {authorization: []string{"Bearer " + token}, status: 200},
		"scheme in lower case":   {authorization: []string{"bearer " + token}, status: 200},
		"more spaces":            {authorization: []string{"Bearer   " + token + " "}, status: 200},
		"nothing":                {status: 401, challenge: missing},
		"in the query":           {target: "/?access_token=" + token, status: 401, challenge: missing},
		"in the body":            {body: "access_token=" + token, status: 401, challenge: missing},
		"another scheme":         {authorization: []string{"Basic " + token}, status: 401, challenge: missing},
		"no scheme":              {authorization: []string{token}, status: 401, challenge: missing},
		"empty":                  {authorization: []string{""}, status: 401, challenge: missing},
		"no token":               {authorization: []string{"Bearer "}, status: 400, challenge: malformed},
		"unknown token":          {authorization: []string{"Bearer other"}, status: 401, challenge: invalid},
		"two headers":            {authorization: []string{"Bearer " + token, "Bearer " + token}, status: 400, challenge: malformed},
		"two tokens":             {authorization: []string{"Bearer " + token + " " + token}, status: 400, challenge: malformed},
		"list":                   {authorization: []string{"Bearer " + token + ", Bearer " + token}, status: 400, challenge: malformed},
		"character not allowed":  {authorization: []string{"Bearer " + token + "\x00"}, status: 400, challenge: malformed},
		"a quote for the header": {authorization: []string{`Bearer a"b`}, status: 400, challenge: malformed},
		"too long":               {authorization: []string{"Bearer " + strings.Repeat("a", 16<<10+1)}, status: 401, challenge: invalid},
	} {
		t.Run(name, func(t *testing.T) {
			ran := false
			h := newGuard(&bytes.Buffer{}, "read:things").Require("read:things", func(w http.ResponseWriter, r *http.Request, caller management.Caller) error {
				ran = true
				w.WriteHeader(http.StatusOK)
				return nil
			})
			r := httptest.NewRequest(http.MethodPost, "/"+c.target, strings.NewReader(c.body))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header["Authorization"] = c.authorization
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != c.status || ran != (c.status == 200) {
				t.Fatalf("status %d, handler ran: %v", w.Code, ran)
			}
			if got := w.Header().Get("Cache-Control"); got != "no-store" {
				t.Errorf("Cache-Control %q", got)
			}
			if c.status == 200 {
				return
			}
			got := w.Header().Get("WWW-Authenticate")
			if c.challenge == missing && got != missing || !strings.HasPrefix(got, c.challenge) {
				t.Errorf("challenge %q, want %q", got, c.challenge)
			}
			m := members(t, w)
			if c.status == 400 {
				if m["statusCode"] != 400.0 || m["error"] != "Bad Request" || m["errorCode"] != "invalid_request" || m["message"] == "" || len(m) != 4 {
					t.Errorf("body %v", m)
				}
			} else if m["statusCode"] != 401.0 || m["error"] != "Unauthorized" || m["message"] == "" || len(m) != 3 {
				t.Errorf("body %v", m)
			}
			if strings.Contains(w.Body.String(), "42") {
				t.Error("the reason reached the caller")
			}
		})
	}
}

func TestAMissingScopeIsNamed(t *testing.T) {
	for _, scopes := range [][]string{nil, {""}, {"read:thing"}, {"read:things:all"}, {"READ:THINGS"}, {"update:things"}} {
		h := newGuard(&bytes.Buffer{}, scopes...).Require("read:things", func(http.ResponseWriter, *http.Request, management.Caller) error {
			t.Errorf("the handler ran with %q", scopes)
			return nil
		})
		w := serve(h, "")
		want := map[string]any{
			"statusCode": 403.0, "error": "Forbidden", "errorCode": "insufficient_scope", "message": "Insufficient scope, expected: read:things",
		}
		if diff := cmp.Diff(want, members(t, w)); w.Code != http.StatusForbidden || diff != "" {
			t.Errorf("%d\n%s", w.Code, diff)
		}
		if got := w.Header().Get("WWW-Authenticate"); got != `Bearer realm="management", error="insufficient_scope", scope="read:things"` {
			t.Errorf("challenge %q", got)
		}
	}
}

func serve(h http.Handler, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPatch, "/", strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestErrorsOfHandlers(t *testing.T) {
	internal := errors.New("pq: relation \"tenants\" does not exist at store.go:17")
	for name, c := range map[string]struct {
		err    error
		want   map[string]any
		logged bool
	}{
		"for the caller": {
			err:  management.Errorf(http.StatusConflict, "", "The name is taken."),
			want: map[string]any{"statusCode": 409.0, "error": "Conflict", "message": "The name is taken."},
		},
		"with a code": {
			err:  management.Errorf(http.StatusNotFound, "inexistent_thing", "There is no such thing."),
			want: map[string]any{"statusCode": 404.0, "error": "Not Found", "message": "There is no such thing.", "errorCode": "inexistent_thing"},
		},
		"wrapped": {
			err:  fmt.Errorf("while reading: %w", management.InvalidBody("name must be a string")),
			want: map[string]any{"statusCode": 400.0, "error": "Bad Request", "message": "name must be a string", "errorCode": "invalid_body"},
		},
		"query": {
			err:  management.InvalidQuery("page must be a number"),
			want: map[string]any{"statusCode": 400.0, "error": "Bad Request", "message": "page must be a number", "errorCode": "invalid_query_string"},
		},
		"internal": {
			err:    internal,
			want:   map[string]any{"statusCode": 500.0, "error": "Internal Server Error", "message": "An internal error occurred."},
			logged: true,
		},
		"the context ended": {
			err:    fmt.Errorf("query: %w", context.DeadlineExceeded),
			want:   map[string]any{"statusCode": 503.0, "error": "Service Unavailable", "message": "The service is busy, try again later."},
			logged: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			w := serve(newGuard(&log, "s").Require("s", func(http.ResponseWriter, *http.Request, management.Caller) error { return c.err }), "")
			if diff := cmp.Diff(c.want, members(t, w)); diff != "" || float64(w.Code) != c.want["statusCode"] {
				t.Errorf("%d (-want +got):\n%s", w.Code, diff)
			}
			if w.Header().Get("Content-Type") != "application/json" || w.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("headers %v", w.Header())
			}
			if got := log.Len() > 0; got != c.logged {
				t.Errorf("logged: %q", log.String())
			}
			if c.logged && !strings.Contains(log.String(), strings.Split(c.err.Error(), `"`)[0]) {
				t.Errorf("the log lacks the cause: %s", log.String())
			}
		})
	}
}

// A failure of Verify is not a bad token: callers throw those away.
func TestAFailureToVerifyIsNotABadToken(t *testing.T) {
	g := &management.Guard{Verify: func(*http.Request, string) (management.Caller, error) {
		return management.Caller{}, errors.New("the key store is down")
	}}
	w := serve(g.Require("s", nil), "")
	if w.Code != http.StatusInternalServerError || w.Header().Get("WWW-Authenticate") != "" || strings.Contains(w.Body.String(), "key store") {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
}

func TestOtherMethodsGet405(t *testing.T) {
	ok := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { httpx.WriteJSON(w, 200, r.Method) })
	m := management.Methods{http.MethodPatch: ok, http.MethodGet: ok}
	for method, want := range map[string]int{"GET": 200, "PATCH": 200, "POST": 405, "DELETE": 405, "get": 405, "HEAD": 405} {
		w := httptest.NewRecorder()
		m.ServeHTTP(w, httptest.NewRequest(method, "/", nil))
		if w.Code != want {
			t.Errorf("%s: %d, want %d", method, w.Code, want)
		}
		if want == 405 && (w.Header().Get("Allow") != "GET, PATCH" || members(t, w)["statusCode"] != 405.0) {
			t.Errorf("%s: %v %s", method, w.Header(), w.Body)
		}
	}
}

// A caller is counted once its token holds, and is told what it has.
func TestCallersAreLimited(t *testing.T) {
	now := time.Date(2026, 4, 1, 12, 0, 0, 1, time.UTC)
	allowance := management.Allowance{Limit: 10, Remaining: 9, Reset: now.Add(1500 * time.Millisecond)}
	var counted []management.Caller
	var failure error
	ran := 0
	guard := newGuard(&bytes.Buffer{}, "read:things")
	guard.Now = func() time.Time { return now }
	guard.Limit = func(_ context.Context, c management.Caller) (management.Allowance, error) {
		counted = append(counted, c)
		return allowance, failure
	}
	h := guard.Require("read:things", func(w http.ResponseWriter, r *http.Request, _ management.Caller) error {
		ran++
		return management.InvalidBody("no")
	})
	limits := func(w *httptest.ResponseRecorder) [3]string {
		return [3]string{w.Header().Get("X-RateLimit-Limit"), w.Header().Get("X-RateLimit-Remaining"), w.Header().Get("X-RateLimit-Reset")}
	}
	// Rounded up: who comes back then is in time.
	if w := serve(h, ""); w.Code != 400 || limits(w) != [3]string{"10", "9", "1775044802"} || w.Header().Get("Retry-After") != "" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	// So are those that lack a scope.
	w := serve(guard.Require("update:things", nil), "")
	if w.Code != 403 || limits(w)[1] != "9" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	allowance.Remaining, allowance.Wait = 0, 2100*time.Millisecond
	w = serve(h, "")
	want := map[string]any{"statusCode": 429.0, "error": "Too Many Requests", "errorCode": "too_many_requests", "message": "Too many requests, try again later."}
	if diff := cmp.Diff(want, members(t, w)); w.Code != 429 || w.Header().Get("Retry-After") != "3" || limits(w) != [3]string{"10", "0", "1775044803"} || diff != "" {
		t.Errorf("%d %v\n%s", w.Code, w.Header(), diff)
	}
	if w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("WWW-Authenticate") != "" {
		t.Errorf("%v", w.Header())
	}
	failure = errors.New("connection refused")
	if w := serve(h, ""); w.Code != 500 || strings.Contains(w.Body.String(), "refused") || limits(w)[0] != "" {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	if ran != 1 || len(counted) != 4 || counted[0].ClientID != "c" || counted[0].TenantID != "t" {
		t.Errorf("%d calls of the handler, counted %v", ran, counted)
	}
	for _, authorization := range []string{"", "Bearer other", "Bearer a b"} { // strangers
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Authorization", authorization)
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); len(counted) != 4 || limits(w)[0] != "" {
			t.Errorf("%q: counted %v, %v", authorization, counted, w.Header())
		}
	}
}
