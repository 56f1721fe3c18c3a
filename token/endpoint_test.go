package token

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
)

func tokenRequest(method, target, contentType, body string) *http.Request {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	return r
}

const (
	formType = "application/x-www-form-urlencoded"
	jsonType = "application/json"
	endpoint = testIssuer + "/oauth/token"
)

func TestTokenRequestsThatAreRefused(t *testing.T) {
	good := credentials(webClient).Encode()
	for _, tc := range []struct {
		rule   string
		r      *http.Request
		status int
		code   string
	}{
		{"RFC 6749 §3.2: GET", tokenRequest("GET", endpoint+"?"+good+"&grant_type=client_credentials", "", ""), 405, "invalid_request"},
		{"PUT", tokenRequest("PUT", endpoint, formType, good), 405, "invalid_request"},
		{"no content type", tokenRequest("POST", endpoint, "", good), 415, "invalid_request"},
		{"another content type", tokenRequest("POST", endpoint, "text/plain", good), 415, "invalid_request"},
		{"multipart", tokenRequest("POST", endpoint, "multipart/form-data; boundary=x", good), 415, "invalid_request"},
		{"no grant_type", tokenRequest("POST", endpoint, formType, good), 400, "invalid_request"},
		{"unknown grant_type", tokenRequest("POST", endpoint, formType, good+"&grant_type=password"), 400, "unsupported_grant_type"},
		{"grant_type is compared with case", tokenRequest("POST", endpoint, formType, good+"&grant_type=Authorization_Code"), 400, "unsupported_grant_type"},
		{"RFC 6749 §3.2: a parameter twice", tokenRequest("POST", endpoint, formType, good+"&grant_type=refresh_token&grant_type=refresh_token"), 400, "invalid_request"},
		{"client_id twice", tokenRequest("POST", endpoint, formType, good+"&client_id=web&grant_type=refresh_token"), 400, "invalid_request"},
		{"RFC 6749 §2.3.1: parameters in the query", tokenRequest("POST", endpoint+"?grant_type=client_credentials&"+good, formType, ""), 400, "invalid_request"},
		{"bad percent encoding", tokenRequest("POST", endpoint, formType, good+"&grant_type=%zz"), 400, "invalid_request"},
		{"bad UTF-8", tokenRequest("POST", endpoint, formType, good+"&grant_type=%ff"), 400, "invalid_request"},
		{"too large", tokenRequest("POST", endpoint, formType, good+"&x="+strings.Repeat("a", 64<<10)), 413, "invalid_request"},
		{"JSON too large", tokenRequest("POST", endpoint, jsonType, `{"x":"`+strings.Repeat("a", 64<<10)+`"}`), 413, "invalid_request"},
		{"JSON member twice", tokenRequest("POST", endpoint, jsonType, `{"grant_type":"refresh_token","grant_type":"client_credentials"}`), 400, "invalid_request"},
		{"JSON member of another type", tokenRequest("POST", endpoint, jsonType, `{"grant_type":["client_credentials"]}`), 400, "invalid_request"},
		{"JSON member names are compared with case", tokenRequest("POST", endpoint, jsonType, `{"Grant_Type":"client_credentials"}`), 400, "invalid_request"},
		{"JSON array", tokenRequest("POST", endpoint, jsonType, `["grant_type"]`), 400, "invalid_request"},
		{"JSON with an unknown grant_type", tokenRequest("POST", endpoint, jsonType, `{"grant_type":"password"}`), 400, "unsupported_grant_type"},
		{"no client", tokenRequest("POST", endpoint, formType, "grant_type=client_credentials"), 401, "invalid_client"},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			f := newFixture(t)
			got := f.serve(tc.r)
			f.refused(got, tc.status, tc.code)
			if tc.status == http.StatusMethodNotAllowed && got.Header.Get("Allow") != "POST" {
				t.Errorf("Allow = %q", got.Header.Get("Allow"))
			}
		})
	}
}

func TestGrantTypeMustBeRegistered(t *testing.T) {
	f := newFixture(t)
	code := f.code(f.authorization(webClient, "", "openid"))
	first := f.offline(webClient, "", "openid")
	f.changeClient(webClient, func(c *store.Client) { c.GrantTypes = []string{"client_credentials"} })
	f.refused(f.post(codeForm(webClient, code)), 400, "unauthorized_client")
	f.refused(f.post(refreshForm(webClient, first.RefreshToken)), 400, "unauthorized_client")
	f.changeClient(webClient, func(c *store.Client) { c.GrantTypes = []string{"authorization_code"} })
	f.refused(f.post(refreshForm(webClient, first.RefreshToken)), 400, "unauthorized_client")
	f.redeem(webClient, code)
}

func TestInvalidClientChallengesBasicOnly(t *testing.T) {
	f := newFixture(t)
	body := "grant_type=client_credentials&audience=" + url.QueryEscape(testAudience)
	r := tokenRequest("POST", endpoint, formType, body)
	r.SetBasicAuth(webClient, "wrong")
	got := f.serve(r)
	f.refused(got, 401, "invalid_client")
	if !strings.HasPrefix(got.Header.Get("WWW-Authenticate"), "Basic ") {
		t.Errorf("WWW-Authenticate = %q after Basic", got.Header.Get("WWW-Authenticate"))
	}
	r = tokenRequest("POST", endpoint, formType, body)
	r.SetBasicAuth(webClient, testSecret)
	f.granted(f.serve(r))
}

func TestParametersAsJSON(t *testing.T) {
	f := newFixture(t)
	for name, body := range map[string]string{
		"code": fmt.Sprintf(`{"grant_type":"authorization_code","client_id":%q,"client_secret":%q,"code":%q,"redirect_uri":%q,"code_verifier":%q,"scope":null,"x":{"y":[1]}}`,
			webClient, testSecret, f.code(f.authorization(webClient, "", "openid")), testRedirect, testVerifier),
		"refresh token": fmt.Sprintf(`{"grant_type":"refresh_token","client_id":%q,"client_secret":%q,"refresh_token":%q}`,
			webClient, testSecret, f.offline(webClient, "", "openid").RefreshToken),
		"audience": fmt.Sprintf(`{"grant_type":"client_credentials","client_id":%q,"client_secret":%q,"audience":%q}`, webClient, testSecret, testAudience),
		"resource": fmt.Sprintf(`{"grant_type":"client_credentials","client_id":%q,"client_secret":%q,"resource":%q}`, webClient, testSecret, testAudience),
		"resources": fmt.Sprintf(`{"grant_type":"client_credentials","client_id":%q,"client_secret":%q,"resource":[%q]}`,
			webClient, testSecret, testAudience),
	} {
		t.Run(name, func(t *testing.T) {
			f.granted(f.serve(tokenRequest("POST", endpoint, jsonType+"; charset=utf-8", body)))
		})
	}
	for name, resource := range map[string]string{"number": "1", "array of numbers": "[1]", "object": "{}"} {
		body := fmt.Sprintf(`{"grant_type":"client_credentials","client_id":%q,"client_secret":%q,"resource":%s}`, webClient, testSecret, resource)
		t.Run("resource as "+name, func(t *testing.T) {
			f.refused(f.serve(tokenRequest("POST", endpoint, jsonType, body)), 400, "invalid_request")
		})
	}
}

func TestUnknownParametersAreIgnored(t *testing.T) {
	f := newFixture(t)
	f.granted(f.post(codeForm(webClient, f.code(f.authorization(webClient, "", "openid")), "auth0Client", "eyJ", "state", "x")))
}

func TestNamesOfUnknownParametersAreNotReflected(t *testing.T) {
	f := newFixture(t)
	r := tokenRequest("POST", endpoint, formType, "evil<script>=1&evil<script>=2")
	got := f.serve(r)
	f.refused(got, 400, "invalid_request")
	if strings.Contains(got.Description, "evil") {
		t.Errorf("description = %q", got.Description)
	}
}

func TestResponseMembers(t *testing.T) {
	raw, err := json.Marshal(response{AccessToken: "a", TokenType: "Bearer", ExpiresIn: 1})
	if err != nil || string(raw) != `{"access_token":"a","token_type":"Bearer","expires_in":1,"scope":""}` {
		t.Errorf("response = %s, %v", raw, err)
	}
}

func TestGrantTypesAreServed(t *testing.T) {
	f := newFixture(t)
	for _, grantType := range GrantTypes() {
		if grant, err := f.issuer.grant(grantType); err != nil || grant == nil {
			t.Errorf("grant(%q) = %v", grantType, err)
		}
	}
}

// FuzzToken: whatever arrives, the answer is 4xx, and no tokens come with it.
func FuzzToken(f *testing.F) {
	fix := newFixture(f)
	code := fix.code(fix.authorization(webClient, "", "openid"))
	for _, values := range []url.Values{
		codeForm(webClient, code, "code_verifier", ""), refreshForm(webClient, code), credentialsForm(webClient, "scope", "x"),
	} {
		f.Add(formType, values.Encode())
	}
	f.Add(jsonType, `{"grant_type":"client_credentials","resource":["a","b"]}`)
	f.Add(jsonType, `{"grant_type":"refresh_token","refresh_token":"AAAA"}`)
	f.Fuzz(func(t *testing.T, contentType, body string) {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodPost, endpoint, strings.NewReader(body))
		r.Header["Content-Type"] = []string{contentType}
		fix.token.ServeHTTP(w, r)
		if w.Code >= 500 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		if w.Code == http.StatusOK && !strings.Contains(body, testSecret) {
			t.Fatalf("tokens without the secret: %s", w.Body)
		}
		var e struct {
			Error string `json:"error"`
		}
		if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || (w.Code != http.StatusOK) != (e.Error != "") {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	})
}

// FuzzTokenGrant fuzzes the values behind an authenticated client.
func FuzzTokenGrant(f *testing.F) {
	fix := newFixture(f)
	got := fix.offline(webClient, testAudience, "openid", "contacts")
	f.Add(grantRefreshToken, got.RefreshToken[:40], "openid", testAudience)
	f.Add(grantAuthorizationCode, "AAAA", "", "")
	f.Add(grantClientCredentials, "", "contacts \"", testAudience)
	f.Fuzz(func(t *testing.T, grantType, value, scope, audience string) {
		w := httptest.NewRecorder()
		body := form(webClient, "grant_type", grantType, "code", value, "refresh_token", value, "scope", scope, "audience", audience).Encode()
		fix.token.ServeHTTP(w, tokenRequest("POST", endpoint, formType, body))
		if w.Code >= 500 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		if w.Code == http.StatusOK && grantType != grantClientCredentials && value != got.RefreshToken {
			t.Fatalf("tokens for %s %q", grantType, value)
		}
	})
}

func FuzzNarrow(f *testing.F) {
	f.Add("openid contacts", "contacts other")
	f.Fuzz(func(t *testing.T, granted, parameter string) {
		g, err := oauth.ParseScope(granted)
		if err != nil {
			return
		}
		out, err := narrow(g, parameter)
		if err != nil && out != nil {
			t.Fatalf("an error came with %v", out)
		}
		if !g.HasAll(out) {
			t.Fatalf("%q widened to %q by %q", g, out, parameter)
		}
	})
}
