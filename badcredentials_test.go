package opkit_test

import (
	"crypto/rsa"
	"crypto/x509"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// answersError checks an answer of an endpoint that clients call: the JSON of RFC
// 6749 §5.2 and nothing else.
func answersError(t *testing.T, c *wrong, res *response) {
	t.Helper()
	got := res.json(t)
	if got["error"] != c.code || res.Header.Get("Cache-Control") != "no-store" || !strings.HasPrefix(res.Header.Get("Content-Type"), "application/json") {
		t.Errorf("%s, header %v, want %s", res.body, res.Header, c.code)
	}
	for name := range got {
		if name != "error" && name != "error_description" {
			t.Errorf("%s in an error", name)
		}
	}
}

// RFC 6749 §5.2: whatever is wrong with what a client presents, it gets no token,
// and what it presented stays as good as it was. A code or a refresh token that is
// in two hands takes its family along.
func TestBadTokenRequests(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		m := newMisuse(t, mount)
		var list []wrong
		add := func(rule string, status int, code string, do func() *response, writes ...string) {
			list = append(list, wrong{rule, do, status, code, strings.Join(writes, " ")})
		}
		redeem := func(rule string, status int, code string, as registered, params ...string) {
			add(rule, status, code, func() *response {
				return m.token(as, append([]string{"grant_type", "authorization_code", "code", m.code(), "redirect_uri", appRedirectURI, "code_verifier", verifier}, params...)...)
			})
		}
		redeem("code of another client", 400, "invalid_grant", m.other)
		redeem("code of another client, by a public one", 400, "invalid_grant", m.public)
		redeem("code with another redirect_uri", 400, "invalid_grant", m.app, "redirect_uri", "https://app.example.com/second?a=b")
		redeem("code without redirect_uri", 400, "invalid_grant", m.app, "redirect_uri", "")
		redeem("code without its verifier", 400, "invalid_grant", m.app, "code_verifier", "")
		redeem("code with another verifier", 400, "invalid_grant", m.app, "code_verifier", strings.Repeat("v", 43))
		redeem("code with the challenge as verifier", 400, "invalid_grant", m.app, "code_verifier", challenge())
		redeem("code for another API", 400, "invalid_target", m.app, "audience", apiAudience)
		redeem("code with a wrong secret", 401, "invalid_client", registered{id: m.app.id, secret: "wrong"})
		redeem("code with an empty secret", 401, "invalid_client", registered{id: m.app.id})
		redeem("code with the secret of another", 401, "invalid_client", registered{id: m.app.id, secret: m.other.secret})
		redeem("no code", 400, "invalid_request", m.app, "code", "")
		present := func(rule, code string, params ...string) {
			add(rule, 400, code, func() *response { return m.token(m.app, params...) })
		}
		for rule, value := range map[string]string{
			"refresh token as a code": m.refresh, "access token as a code": m.access, "ID token as a code": m.hint, "nonsense as a code": "x",
		} {
			present(rule, "invalid_grant", "grant_type", "authorization_code", "code", value, "redirect_uri", appRedirectURI, "code_verifier", verifier)
		}
		for rule, change := range map[string]func(string) string{
			"shorter": func(c string) string { return c[:len(c)-1] }, "altered": func(c string) string { return c[:20] + flipped(c[20]) + c[21:] },
			"longer": func(c string) string { return c + "A" }, "padded": func(c string) string { return c + "=" },
		} {
			add("code that is "+rule, 400, "invalid_grant", func() *response { return m.redeem(m.app, change(m.code())) })
			present("refresh token that is "+rule, "invalid_grant", "grant_type", "refresh_token", "refresh_token", change(m.refresh))
		}
		add("verifier without a challenge", 400, "invalid_grant", func() *response {
			code := m.authorizeIn(m.ada, m.app, "code_challenge", "", "code_challenge_method", "").Get("code")
			m.ledger.take()
			return m.redeem(m.app, code)
		})
		twice := func(wait time.Duration) func() *response {
			return func() *response {
				code := m.code()
				tokens := m.redeem(m.app, code).json(t)
				m.ledger.take()
				m.clock.advance(wait)
				res := m.redeem(m.app, code)
				if me := m.userinfo(tokens["access_token"].(string)); me.StatusCode != 401 {
					t.Errorf("the access token of the first redemption: %d", me.StatusCode)
				}
				return res
			}
		}
		add("code for the second time", 400, "invalid_grant", twice(0), "RevokeFamily")
		add("code for the second time, half a minute later", 400, "invalid_grant", twice(30*time.Second), "RevokeFamily")
		add("code for the second time, when it has expired", 400, "invalid_grant", twice(5*time.Minute), "RevokeFamily")
		add("code that has expired", 400, "invalid_grant", func() *response {
			code := m.code()
			m.clock.advance(61 * time.Second)
			return m.redeem(m.app, code)
		}, "RevokeFamily")

		refreshAs := func(as registered) func() *response {
			return func() *response { return m.token(as, "grant_type", "refresh_token", "refresh_token", m.refresh) }
		}
		add("refresh token of another client", 400, "invalid_grant", refreshAs(m.other))
		add("refresh token of another client, by a public one", 400, "invalid_grant", refreshAs(m.public))
		add("refresh token with a wrong secret", 401, "invalid_client", refreshAs(registered{id: m.app.id, secret: "wrong"}))
		present("no refresh token", "invalid_request", "grant_type", "refresh_token")
		present("access token as a refresh token", "invalid_grant", "grant_type", "refresh_token", "refresh_token", m.access)
		present("refresh token for another API", "invalid_target", "grant_type", "refresh_token", "refresh_token", m.refresh, "resource", "https://other.example/")
		present("refresh token for what was not granted", "invalid_scope", "grant_type", "refresh_token", "refresh_token", m.refresh, "scope", "phone address")
		add("refresh token for the second time", 400, "invalid_grant", func() *response {
			first := m.redeem(m.app, m.code()).json(t)["refresh_token"].(string)
			m.token(m.app, "grant_type", "refresh_token", "refresh_token", first)
			m.clock.advance(time.Minute)
			m.ledger.take()
			return m.token(m.app, "grant_type", "refresh_token", "refresh_token", first)
		}, "RevokeFamily")

		present("no grant_type", "invalid_request")
		present("password", "unsupported_grant_type", "grant_type", "password", "username", "ada", "password", password)
		present("token exchange", "unsupported_grant_type", "grant_type", "urn:ietf:params:oauth:grant-type:token-exchange", "subject_token", m.access)
		present("implicit", "unsupported_grant_type", "grant_type", "implicit")
		add("grant type that is not registered", 400, "unauthorized_client", func() *response { return m.token(m.other, "grant_type", "client_credentials") })
		add("API that does not know the client", 400, "invalid_target", func() *response {
			return m.token(m.app, "grant_type", "client_credentials", "audience", "https://unknown.example/")
		})
		add("unknown client", 401, "invalid_client", func() *response {
			return m.token(registered{id: "nobody", secret: "x"}, "grant_type", "client_credentials")
		})
		add("two ways of authentication", 400, "invalid_request", func() *response {
			req, _ := http.NewRequest(http.MethodPost, m.endpoint.Token, strings.NewReader(url.Values{"grant_type": {"client_credentials"}, "client_secret": {m.app.secret}, "client_id": {m.app.id}}.Encode()))
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			req.SetBasicAuth(m.app.id, m.app.secret)
			return newBrowser(t).do(req)
		})
		add("credentials in the query are none", 401, "invalid_client", func() *response {
			return newBrowser(t).post(m.endpoint.Token+"?client_id="+m.app.id+"&client_secret="+m.app.secret, url.Values{"grant_type": {"client_credentials"}})
		})
		add("parameter twice", 400, "invalid_request", func() *response {
			return newBrowser(t).post(m.endpoint.Token, url.Values{"grant_type": {"client_credentials"}, "client_id": {m.app.id}, "client_secret": {m.app.secret, m.app.secret}})
		})
		add("GET", 405, "invalid_request", func() *response {
			return newBrowser(t).get(m.endpoint.Token + "?grant_type=client_credentials&client_id=" + m.app.id + "&client_secret=" + m.app.secret)
		})
		m.each(t, list, answersError)
		if res := m.token(m.app, "grant_type", "refresh_token", "refresh_token", m.refresh); res.StatusCode != http.StatusOK {
			t.Errorf("the refresh token that was presented so often: %d %s", res.StatusCode, res.body)
		}
	})
}

// flipped returns another character of base64url.
func flipped(c byte) string {
	if c == 'A' {
		return "B"
	}
	return "A"
}

// RFC 7523 §3: an assertion that is not the client's, not for this server, not now,
// or not for the first time, authenticates nobody, at no endpoint.
func TestBadAssertions(t *testing.T) {
	m := newMisuse(t, "")
	app := m.register(everyFlow("token_endpoint_auth_method", "private_key_jwt", "jwks", publicJWKS(jose.ES256, jose.RS256), "token_endpoint_auth_signing_alg", "ES256"))
	secret := m.register(map[string]any{"token_endpoint_auth_method": "client_secret_jwt"})
	key := clientKeys()[jose.ES256]
	der, err := x509.MarshalPKIXPublicKey(clientKeys()[jose.RS256].Key.(*rsa.PrivateKey).Public())
	if err != nil {
		t.Fatal(err)
	}
	now := m.clock.now()
	with := func(changes ...any) string { return m.clientAssertion(app, key, jose.ES256, "fresh", changes...) }
	claimsOf := func(app registered) []byte {
		return marshal(t, map[string]any{"iss": app.id, "sub": app.id, "aud": m.issuer, "exp": now.Add(time.Minute).Unix(), "jti": "fresh"})
	}
	endpoints := map[string]string{
		"token": m.endpoint.Token, "revocation": m.endpoint.Revocation, "introspection": m.endpoint.Introspection, "pushed": m.endpoint.PushedAuthorizationRequest,
	}
	var list []wrong
	for rule, assertion := range map[string]string{
		"unsigned":                        compact(`{"alg":"none"}`, string(claimsOf(app)), ""),
		"another algorithm":               m.clientAssertion(app, clientKeys()[jose.RS256], jose.RS256, "fresh"),
		"keyed with the public key":       signObject(t, jose.HS256, der, nil, claimsOf(app)),
		"signed instead of keyed":         signObject(t, jose.ES256, key, nil, claimsOf(secret)),
		"keyed with the secret of others": signObject(t, jose.HS256, []byte(m.other.secret+m.other.secret), nil, claimsOf(secret)),
		"key in the header":               signObject(t, jose.ES256, key, map[jose.HeaderKey]any{"jwk": key.Public()}, claimsOf(m.other)),
		"critical header":                 compact(`{"alg":"ES256","crit":["b64"],"b64":false}`, string(claimsOf(app)), "x"),
		"no signature":                    with()[:strings.LastIndexByte(with(), '.')+1],
		"sub of another":                  with("sub", m.other.id),
		"iss of another":                  with("iss", m.other.id),
		"aud elsewhere":                   with("aud", "https://other.example/"),
		"aud of the token endpoint":       with("aud", m.endpoint.Token),
		"aud here and elsewhere":          with("aud", []string{m.issuer, "https://other.example/"}),
		"no aud":                          with("aud", nil),
		"expired":                         with("exp", now.Add(-2*time.Minute).Unix()),
		"good for a day":                  with("exp", now.Add(24*time.Hour).Unix()),
		"no exp":                          with("exp", nil),
		"from the future":                 with("iat", now.Add(5*time.Minute).Unix()),
		"not yet good":                    with("nbf", now.Add(5*time.Minute).Unix()),
		"no jti":                          with("jti", nil),
		"larger than is read":             with("x", strings.Repeat("x", 9<<10)),
	} {
		for name, endpoint := range endpoints {
			list = append(list, wrong{rule + " at " + name, func() *response {
				return m.asserted(endpoint, assertion, "grant_type", "client_credentials", "token", m.access)
			}, 401, "invalid_client", ""})
		}
	}
	used := m.clientAssertion(app, key, jose.ES256, "once")
	if res := m.asserted(m.endpoint.Token, used, "grant_type", "client_credentials"); res.StatusCode != http.StatusOK {
		t.Fatalf("%d %s", res.StatusCode, res.body)
	}
	for name, endpoint := range endpoints {
		list = append(list, wrong{"second use at " + name, func() *response {
			return m.asserted(endpoint, used, "grant_type", "client_credentials", "token", m.access)
		}, 401, "invalid_client", ""})
	}
	m.each(t, list, answersError)
}

// RFC 6750 §3.1: what is no access token for userinfo opens nothing.
func TestBadAccessTokens(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		m := newMisuse(t, mount)
		machine := m.token(registered{id: machineID, secret: machineSecret}, "grant_type", "client_credentials").json(t)["access_token"].(string)
		code := m.code()
		var list []wrong
		for rule, token := range map[string]string{
			"nonsense": "x", "ID token": m.hint, "refresh token": m.refresh, "code": code, "shorter": m.access[:len(m.access)-1],
			"altered": m.access[:20] + flipped(m.access[20]) + m.access[21:], "unsigned JWT": compact(`{"alg":"none","typ":"at+jwt"}`, decode(t, strings.Split(m.hint, ".")[1]), ""),
		} {
			list = append(list, wrong{rule, func() *response { return m.me(token) }, 401, "invalid_token", ""})
		}
		list = append(list,
			wrong{"token of a machine", func() *response { return m.me(machine) }, 401, "invalid_token", ""},
			wrong{"token in the query", func() *response { return newBrowser(t).get(m.endpoint.UserInfo + "?access_token=" + m.access) }, 401, "", ""},
			wrong{"no token", func() *response { return newBrowser(t).get(m.endpoint.UserInfo) }, 401, "", ""},
		)
		m.each(t, list, func(t *testing.T, c *wrong, res *response) {
			challenge := res.Header.Get("WWW-Authenticate")
			if !strings.HasPrefix(challenge, "Bearer") || strings.Contains(challenge, `error="`) != (c.code != "") || c.code != "" && !strings.Contains(challenge, `error="`+c.code+`"`) {
				t.Errorf("challenge %q, want %q", challenge, c.code)
			}
			if strings.Contains(res.body, "ada@example.com") || strings.Contains(res.body, m.user.ID) {
				t.Errorf("the answer says who the user is: %s", res.body)
			}
		})
	})
}

// RFC 7009 §2.1, RFC 7662 §2.2: whose token it is not learns nothing about it and
// does nothing to it.
func TestTokensOfOthers(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		m := newMisuse(t, mount)
		var list []wrong
		for kind, token := range map[string]string{"access token": m.access, "refresh token": m.refresh, "ID token": m.hint, "nonsense": "x"} {
			for name, as := range map[string]registered{"another client": m.other, "a public client": m.public} {
				list = append(list, wrong{"revocation of the " + kind + " by " + name, func() *response { return m.as(as, m.endpoint.Revocation, "token", token) }, 200, "", ""})
			}
			list = append(list, wrong{"introspection of the " + kind, func() *response { return m.as(m.other, m.endpoint.Introspection, "token", token) }, 200, `{"active":false}`, ""})
		}
		m.each(t, list, func(t *testing.T, c *wrong, res *response) {
			if strings.TrimSpace(res.body) != c.code {
				t.Errorf("%q, want %q", res.body, c.code)
			}
		})
		m.each(t, []wrong{
			{"introspection by a public client", func() *response { return m.as(m.public, m.endpoint.Introspection, "token", m.access) }, 401, "invalid_client", ""},
			{"introspection by nobody", func() *response { return newBrowser(t).post(m.endpoint.Introspection, url.Values{"token": {m.access}}) }, 401, "invalid_client", ""},
			{"revocation by nobody", func() *response { return newBrowser(t).post(m.endpoint.Revocation, url.Values{"token": {m.access}}) }, 401, "invalid_client", ""},
			{"revocation with a wrong secret", func() *response {
				return m.as(registered{id: m.app.id, secret: "wrong"}, m.endpoint.Revocation, "token", m.access)
			}, 401, "invalid_client", ""},
			{"revocation of nothing", func() *response { return m.as(m.app, m.endpoint.Revocation) }, 400, "invalid_request", ""},
			{"introspection of nothing", func() *response { return m.as(m.app, m.endpoint.Introspection) }, 400, "invalid_request", ""},
			{"revocation by GET", func() *response { return newBrowser(t).get(m.endpoint.Revocation + "?token=" + m.access) }, 405, "invalid_request", ""},
		}, answersError)
		if res := m.me(m.access); res.StatusCode != http.StatusOK || !m.active(m.app, m.refresh) {
			t.Errorf("the tokens that others presented: %d", res.StatusCode)
		}
	})
}

// RFC 9126 §2.1, §2.3, RFC 7591 §3.2.2: what cannot be authorized is not pushed, and
// what cannot be an application is not registered.
func TestBadPushesAndRegistrations(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		m := newMisuse(t, mount)
		list := []wrong{
			{"pushed by GET", func() *response { return newBrowser(t).get(m.endpoint.PushedAuthorizationRequest) }, 405, "invalid_request", ""},
			{"pushed by nobody", func() *response { return m.push(registered{id: m.app.id, redirectURI: appRedirectURI}) }, 401, "invalid_client", ""},
		}
		for rule, c := range map[string]struct {
			code   string
			params []string
		}{
			"request_uri in it":         {"invalid_request", []string{"request_uri", pushedPrefix + "x"}},
			"unregistered redirect_uri": {"invalid_request", []string{"redirect_uri", "https://evil.example/"}},
			"no redirect_uri":           {"invalid_request", []string{"redirect_uri", ""}},
			"no response_type":          {"invalid_request", []string{"response_type", ""}},
			"unknown response_type":     {"unsupported_response_type", []string{"response_type", "x"}},
			"plain challenge":           {"invalid_request", []string{"code_challenge_method", "plain"}},
			"object that is no JWT":     {"invalid_request_object", []string{"request", "x"}},
			"unknown API":               {"invalid_target", []string{"resource", "https://unknown.example/"}},
		} {
			list = append(list, wrong{"pushed: " + rule, func() *response { return m.push(m.app, c.params...) }, 400, c.code, ""})
		}
		for rule, c := range map[string]struct{ code, body string }{
			"fragment":                 {"invalid_redirect_uri", `{"redirect_uris":["https://a.example/#x"]}`},
			"user information":         {"invalid_redirect_uri", `{"redirect_uris":["https://u@a.example/"]}`},
			"script":                   {"invalid_redirect_uri", `{"redirect_uris":["javascript:alert(1)"]}`},
			"wildcard":                 {"invalid_redirect_uri", `{"redirect_uris":["https://*.a.example/"]}`},
			"opaque":                   {"invalid_redirect_uri", `{"redirect_uris":["https:a.example"]}`},
			"no redirect_uris":         {"invalid_redirect_uri", `{"client_name":"x"}`},
			"initiate_login_uri, http": {"invalid_client_metadata", `{"redirect_uris":["https://a.example/"],"initiate_login_uri":"http://a.example/"}`},
			"sector out of reach":      {"invalid_client_metadata", `{"redirect_uris":["https://a.example/"],"subject_type":"pairwise","sector_identifier_uri":"https://127.0.0.1:1/"}`},
			"logo by script":           {"invalid_client_metadata", `{"redirect_uris":["https://a.example/"],"logo_uri":"javascript:alert(1)"}`},
			"private keys":             {"invalid_client_metadata", `{"redirect_uris":["https://a.example/"],"jwks":{"keys":[{"kty":"oct","k":"AAAA"}]}}`},
			"member twice":             {"invalid_client_metadata", `{"redirect_uris":["https://a.example/"],"redirect_uris":["https://b.example/"]}`},
			"no JSON":                  {"invalid_client_metadata", `redirect_uris=https://a.example/`},
		} {
			list = append(list, wrong{"registered: " + rule, func() *response { return m.sendJSON("POST", m.endpoint.Registration, "", c.body) }, 400, c.code, ""})
		}
		list = append(list,
			wrong{"registered: larger than is read", func() *response {
				return m.sendJSON("POST", m.endpoint.Registration, "", `{"redirect_uris":["https://a.example/"],"x":"`+strings.Repeat("x", 65<<10)+`"}`)
			}, 413, "invalid_request", ""},
			wrong{"registered: token that is none", func() *response {
				return m.sendJSON("POST", m.endpoint.Registration, "x", `{"redirect_uris":["https://a.example/"]}`)
			}, 401, "invalid_token", ""},
			wrong{"registered: switched off", func() *response {
				m.setFlag(false)
				m.ledger.take()
				return m.sendJSON("POST", m.endpoint.Registration, "", `{"redirect_uris":["https://a.example/"]}`)
			}, 403, "access_denied", ""},
		)
		m.each(t, list, answersError)
	})
}
