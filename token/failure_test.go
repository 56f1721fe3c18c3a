package token

import (
	"context"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/opkit/opkit/tenant"
)

// leak finds what comes from inside: stores, source, panics.
var leak = regexp.MustCompile(`pq:|secret_table|\.go:|panic|goroutine|store:|seal:|token:|tenant:|connection:`)

// A store that fails in the middle mints nothing, tells nothing, and what was
// presented can be presented again unless the store had consumed it.
func TestFailingStores(t *testing.T) {
	type path struct {
		name  string
		body  func(f *fixture) string
		fails []string
	}
	for _, p := range []path{
		{"code", func(f *fixture) string {
			return codeForm(webClient, f.code(f.authorization(webClient, testAudience, "openid", "contacts"))).Encode()
		}, []string{"Client", "APIByAudience", "User", "StartFamily"}},
		{"refresh", func(f *fixture) string {
			return refreshForm(webClient, f.offline(webClient, testAudience, "openid", "contacts").RefreshToken).Encode()
		}, []string{"Client", "APIByAudience", "User", "RotateFamily"}},
		{"client credentials", func(*fixture) string {
			return form(webClient, "grant_type", "client_credentials", "audience", testAudience).Encode()
		}, []string{"Client", "APIByAudience"}},
	} {
		for _, method := range p.fails {
			t.Run(p.name+" "+method, func(t *testing.T) {
				f := newFixture(t)
				body := p.body(f)
				restore := f.tap.failing(method)
				w := httptest.NewRecorder()
				f.token.ServeHTTP(w, tokenRequest("POST", endpoint, formType, body))
				if got := strings.TrimSpace(w.Body.String()); w.Code != 500 || got != `{"error":"server_error"}` {
					t.Errorf("answer = %d %s", w.Code, got)
				}
				if !strings.Contains(f.logs.String(), "secret_table") {
					t.Error("the log does not have the cause")
				}
				restore()
				f.granted(f.serve(tokenRequest("POST", endpoint, formType, body)))
			})
		}
	}
}

// Keys that cannot be read: no tokens, and nothing is used up.
func TestFailingKeysUseNothingUp(t *testing.T) {
	f := newFixture(t)
	code := f.code(f.authorization(webClient, "", "openid"))
	restore := f.tap.failing("SigningKeys")
	f.refused(f.post(codeForm(webClient, code)), 500, "server_error")
	restore()
	tokens := f.granted(f.post(codeForm(webClient, code)))
	f.refused(f.post(codeForm(webClient, code)), 400, "invalid_grant")
	f.dead(tokens.AccessToken) // once is once

	f = newFixture(t)
	f.tap.take()
	restore = f.tap.failing("SigningKeys")
	got, err := f.front(f.authorization(dynamicClient, "", "openid"), "id_token token", "")
	restore()
	if err == nil || got != (FrontChannel{}) || strings.Contains(f.tap.take(), "StartFamily") {
		t.Errorf("in the front channel: %+v, %v", got, err)
	}
}

// Tokens that could not be revoked must not be reported as revoked.
func TestFailingRevocationIsAnError(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.RefreshTokenLeeway = -1 })
	a := f.authorization(webClient, "", "openid")
	code := f.code(a)
	first := f.redeem(webClient, code)
	rotated := f.offline(webClient, "", "openid")
	f.granted(f.post(refreshForm(webClient, rotated.RefreshToken)))

	restore := f.tap.failing("RevokeFamily")
	f.refused(f.post(codeForm(webClient, code)), 500, "server_error")
	f.refused(f.post(refreshForm(webClient, rotated.RefreshToken)), 500, "server_error")
	restore()
	f.alive(first.AccessToken)
	f.refused(f.post(codeForm(webClient, code)), 400, "invalid_grant")
	f.refused(f.post(refreshForm(webClient, rotated.RefreshToken)), 400, "invalid_grant")
	f.dead(first.AccessToken)
	f.dead(rotated.AccessToken)
}

func TestFailingStoresAtUserInfo(t *testing.T) {
	f := newFixture(t)
	token := f.redeem(webClient, f.code(f.authorization(webClient, "", "openid"))).AccessToken
	for _, method := range []string{"Client", "Grant", "User"} {
		restore := f.tap.failing(method)
		got := f.info(token)
		if got.Status != 500 || got.Challenge != "" || len(got.Claims) != 1 || got.Claims["error"] != "server_error" {
			t.Errorf("%s fails: %+v", method, got)
		}
		restore()
	}
	f.alive(token)
}

// Bookkeeping must not fail a request.
func TestFailingBookkeepingIsNoError(t *testing.T) {
	f := newFixture(t)
	defer f.tap.failing("UpdateClient")()
	f.redeem(webClient, f.code(f.authorization(webClient, "", "openid")))
	if !strings.Contains(f.logs.String(), "client could not be marked as used") {
		t.Error("the failure was not logged")
	}
}

func TestFrontChannelWithFailingStore(t *testing.T) {
	f := newFixture(t)
	a := f.authorization(dynamicClient, "", "openid")
	defer f.tap.failing("StartFamily")()
	if got, err := f.front(a, "id_token token", ""); err == nil || got != (FrontChannel{}) {
		t.Errorf("FrontChannel = %+v, %v", got, err)
	}
}

// No error body has anything from inside.
func TestErrorsLeakNothing(t *testing.T) {
	f := newFixture(t)
	got := f.redeem(webClient, f.code(f.authorization(webClient, testAudience, "openid", "contacts")))
	f.ok(f.mem.DeleteGrant(context.Background(), tenant.DefaultID, "grant-web-"+testAudience))
	bodies := map[string]*http.Request{
		"code":         tokenRequest("POST", endpoint, formType, codeForm(webClient, "AAAA").Encode()),
		"refresh":      tokenRequest("POST", endpoint, formType, refreshForm(webClient, got.RefreshToken).Encode()),
		"refresh junk": tokenRequest("POST", endpoint, formType, refreshForm(webClient, got.AccessToken).Encode()),
		"audience":     tokenRequest("POST", endpoint, formType, form(webClient, "grant_type", "client_credentials", "audience", "x").Encode()),
		"json":         tokenRequest("POST", endpoint, jsonType, `{"grant_type":`),
		"secret":       tokenRequest("POST", endpoint, formType, form(webClient, "grant_type", "client_credentials", "client_secret", "x").Encode()),
	}
	for name, r := range bodies {
		w := httptest.NewRecorder()
		f.token.ServeHTTP(w, r)
		if w.Code < 400 || w.Code >= 500 || leak.MatchString(w.Body.String()) {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	w := httptest.NewRecorder()
	f.userinfo.ServeHTTP(w, infoRequest("GET", infoURL, "Bearer "+got.AccessToken, "", ""))
	if w.Code != 401 || leak.MatchString(w.Body.String()+w.Header().Get("WWW-Authenticate")) {
		t.Errorf("userinfo: %d %s", w.Code, w.Body)
	}
	// Nor does the log have a secret.
	for name, secret := range map[string]string{"client secret": testSecret, "access token": got.AccessToken, "refresh token": got.RefreshToken} {
		if strings.Contains(f.logs.String(), secret) {
			t.Errorf("the log has the %s", name)
		}
	}
}
