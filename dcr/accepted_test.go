package dcr

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
)

// What applications of the field send, and the answer that they understand.
func TestShapesOfRealClients(t *testing.T) {
	const (
		scope  = `"scope":"openid profile email address phone offline_access"`
		issued = `"client_id_issued_at":1775044800`
		secret = `"client_secret":"<secret>"`
		never  = `"client_secret_expires_at":0`
		code   = `"grant_types":["authorization_code","refresh_token"],"response_types":["code"]`
	)
	for _, c := range []struct{ shape, body, want string }{
		{"command line tool on a loopback port",
			`{"redirect_uris":["http://127.0.0.1:33418/"],"token_endpoint_auth_method":"none","grant_types":["authorization_code","refresh_token"],"response_types":["code"],"client_name":"Tool"}`,
			`{"client_name":"Tool","client_id":"<id>","redirect_uris":["http://127.0.0.1:33418/"],` + issued + `,"token_endpoint_auth_method":"none",` + code + `,"application_type":"native",` + scope + `}`},
		{"debugger on localhost with empty members",
			`{"redirect_uris":["http://localhost:6274/oauth/callback","http://localhost:6274/oauth/callback/debug"],"token_endpoint_auth_method":"none","grant_types":["authorization_code","refresh_token"],"response_types":["code"],"client_name":"Debugger","client_uri":"https://client.example.com/debugger","logo_uri":"","scope":"","contacts":[],"tos_uri":null,"jwks":null}`,
			`{"client_name":"Debugger","client_id":"<id>","redirect_uris":["http://localhost:6274/oauth/callback","http://localhost:6274/oauth/callback/debug"],` + issued + `,"token_endpoint_auth_method":"none",` + code + `,"application_type":"native",` + scope + `,"client_uri":"https://client.example.com/debugger"}`},
		{"bridge with a software_id and its own scope",
			`{"redirect_uris":["http://localhost:3334/oauth/callback"],"token_endpoint_auth_method":"none","grant_types":["authorization_code","refresh_token"],"response_types":["code"],"client_name":"Bridge","client_uri":"https://client.example.com/bridge","software_id":"2e6dc280-f3c3-4e01-99a7-8181dbd1d23d","software_version":"0.1.18","scope":"openid email profile"}`,
			`{"client_name":"Bridge","client_id":"<id>","redirect_uris":["http://localhost:3334/oauth/callback"],` + issued + `,"token_endpoint_auth_method":"none",` + code + `,"application_type":"native","scope":"openid email profile","client_uri":"https://client.example.com/bridge","software_id":"2e6dc280-f3c3-4e01-99a7-8181dbd1d23d","software_version":"0.1.18"}`},
		{"editor with a private scheme",
			`{"client_name":"Editor","redirect_uris":["cursor://anysphere.cursor-mcp/oauth/user-retrieval/callback"],"grant_types":["authorization_code","refresh_token"],"response_types":["code"],"token_endpoint_auth_method":"none"}`,
			`{"client_name":"Editor","client_id":"<id>","redirect_uris":["cursor://anysphere.cursor-mcp/oauth/user-retrieval/callback"],` + issued + `,"token_endpoint_auth_method":"none",` + code + `,"application_type":"native",` + scope + `}`},
		{"editor that lists the device grant everywhere",
			`{"client_name":"Editor","grant_types":["authorization_code","refresh_token","urn:ietf:params:oauth:grant-type:device_code"],"response_types":["code"],"redirect_uris":["http://127.0.0.1:33418/"],"token_endpoint_auth_method":"none"}`,
			`{"client_name":"Editor","client_id":"<id>","redirect_uris":["http://127.0.0.1:33418/"],` + issued + `,"token_endpoint_auth_method":"none",` + code + `,"application_type":"native",` + scope + `}`},
		{"editor with a private scheme and a web page",
			`{"client_name":"Editor","redirect_uris":["cursor://cb/","https://editor.example.com/redirect"],"token_endpoint_auth_method":"none"}`,
			`{"client_name":"Editor","client_id":"<id>","redirect_uris":["cursor://cb/","https://editor.example.com/redirect"],` + issued + `,"token_endpoint_auth_method":"none",` + code + `,"application_type":"web",` + scope + `}`},
		{"editor that says native and has every kind",
			`{"client_name":"Editor","grant_types":["authorization_code","refresh_token"],"response_types":["code"],"redirect_uris":["https://insiders.editor.example/redirect","https://editor.example/redirect","http://127.0.0.1/","http://127.0.0.1:33418/"],"scope":"openid","token_endpoint_auth_method":"none","application_type":"native"}`,
			`{"client_name":"Editor","client_id":"<id>","redirect_uris":["https://insiders.editor.example/redirect","https://editor.example/redirect","http://127.0.0.1/","http://127.0.0.1:33418/"],` + issued + `,"token_endpoint_auth_method":"none",` + code + `,"application_type":"native","scope":"openid"}`},
		{"hosted assistant with scopes of an API and without openid",
			`{"client_name":"Assistant","redirect_uris":["https://assistant.example/api/mcp/auth_callback"],"grant_types":["authorization_code","refresh_token"],"response_types":["code"],"token_endpoint_auth_method":"client_secret_post","scope":"read:contacts appointments unknown:scope"}`,
			`{"client_name":"Assistant","client_id":"<id>",` + secret + `,"redirect_uris":["https://assistant.example/api/mcp/auth_callback"],` + never + `,` + issued + `,"token_endpoint_auth_method":"client_secret_post",` + code + `,"application_type":"web","scope":"read:contacts appointments"}`},
		{"library that sends redirect URIs only",
			`{"redirect_uris":["http://localhost:8090/callback"]}`,
			`{"client_id":"<id>",` + secret + `,"redirect_uris":["http://localhost:8090/callback"],` + never + `,` + issued + `,"token_endpoint_auth_method":"client_secret_post",` + code + `,"application_type":"native",` + scope + `}`},
		{"library that wants HTTP Basic",
			`{"client_name":"Server","redirect_uris":["https://client.example.com/cb"],"token_endpoint_auth_method":"client_secret_basic","response_types":["code"]}`,
			`{"client_name":"Server","client_id":"<id>",` + secret + `,"redirect_uris":["https://client.example.com/cb"],` + never + `,` + issued + `,"token_endpoint_auth_method":"client_secret_basic",` + code + `,"application_type":"web",` + scope + `}`},
		{"certified relying party with keys",
			`{"client_name":"RP","redirect_uris":["https://client.example.com/cb"],"token_endpoint_auth_method":"private_key_jwt","grant_types":["authorization_code"],"response_types":["code"],"contacts":["certification@client.example.com"],` + jwks(ecKey) + `}`,
			`{"client_name":"RP","client_id":"<id>","redirect_uris":["https://client.example.com/cb"],` + issued + `,"token_endpoint_auth_method":"private_key_jwt","grant_types":["authorization_code"],"response_types":["code"],"application_type":"web",` + scope + `,"contacts":["certification@client.example.com"],"jwks":{"keys":[{"kty":"EC","kid":"e","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}}`},
	} {
		t.Run(c.shape, func(t *testing.T) {
			f := newFixture(t, options{})
			w := f.post(c.body)
			got := regexp.MustCompile(`"tpc_[A-Za-z0-9]{32}"`).ReplaceAllString(w.Body.String(), `"<id>"`)
			got = regexp.MustCompile(`"[A-Za-z0-9]{64}"`).ReplaceAllString(got, `"<secret>"`)
			if diff := cmp.Diff(c.want+"\n", got); w.Code != http.StatusCreated || diff != "" {
				t.Errorf("%d (-want +got)\n%s", w.Code, diff)
			}
			if strings.Contains(got, "null") || strings.Contains(got, `""`) || strings.Contains(got, "[]") {
				t.Errorf("the answer has an empty member: %s", got)
			}
		})
	}
}

// What is accepted is stored and answered in one form.
func TestCanonicalForm(t *testing.T) {
	const (
		code, refresh, implicit = "authorization_code", "refresh_token", "implicit"
		everything              = "openid profile email address phone offline_access"
	)
	every := []string{"code", "token", "id_token", "id_token token", "code id_token", "code token", "code id_token token"}
	type answer struct {
		Method, Type, Scope string
		Grants, Responses   []string
	}
	for _, c := range []struct {
		rule, mode, members string
		want                answer
	}{
		{"strict defaults", "", "", answer{"client_secret_post", "web", everything, []string{code, refresh}, []string{"code"}}},
		{"permissive defaults", store.ModePermissive, "", answer{"client_secret_post", "web", everything, []string{code, implicit, refresh}, every}},
		{"response types restrict", store.ModePermissive, `"response_types":["code"]`,
			answer{"client_secret_post", "web", everything, []string{code, refresh}, []string{"code"}}},
		{"response types in any order and spelling", store.ModePermissive, `"response_types":["token id_token","id_token token","code"]`,
			answer{"client_secret_post", "web", everything, []string{code, implicit, refresh}, []string{"id_token token", "code"}}},
		{"hybrid", store.ModePermissive, `"grant_types":["authorization_code","implicit"],"response_types":["token id_token code"]`,
			answer{"client_secret_post", "web", everything, []string{code, implicit}, []string{"code id_token token"}}},
		{"none", store.ModePermissive, `"response_types":["none","code","none"]`,
			answer{"client_secret_post", "web", everything, []string{code, refresh}, []string{"none", "code"}}},
		{"grant types restrict", store.ModePermissive, `"grant_types":["authorization_code"]`,
			answer{"client_secret_post", "web", everything, []string{code}, []string{"code"}}},
		{"implicit without response types", store.ModePermissive, `"grant_types":["implicit"]`,
			answer{"client_secret_post", "web", everything, []string{implicit}, []string{"token", "id_token", "id_token token"}}},
		{"both without response types", store.ModePermissive, `"grant_types":["implicit","authorization_code"]`,
			answer{"client_secret_post", "web", everything, []string{implicit, code}, every}},
		{"a grant type that no response type uses is dropped", store.ModePermissive, `"grant_types":["authorization_code","implicit","refresh_token"],"response_types":["code"]`,
			answer{"client_secret_post", "web", everything, []string{code, refresh}, []string{"code"}}},
		{"repeated values", "", `"grant_types":["refresh_token","authorization_code","refresh_token"],"response_types":["code","code"]`,
			answer{"client_secret_post", "web", everything, []string{refresh, code}, []string{"code"}}},
		{"machine", store.ModePermissive, `"redirect_uris":null,"grant_types":["client_credentials"]`,
			answer{"client_secret_post", "", everything, []string{"client_credentials"}, nil}},
		{"scopes that do not exist", "", `"scope":"admin read:tenant_settings OpenID"`,
			answer{"client_secret_post", "web", everything, []string{code, refresh}, []string{"code"}}},
		{"scope is narrowed to what exists, order kept", "", `"scope":"notes nonsense openid read:contacts  openid"`,
			answer{"client_secret_post", "web", "notes openid read:contacts", []string{code, refresh}, []string{"code"}}},
		{"blank scope", "", `"scope":"  "`, answer{"client_secret_post", "web", everything, []string{code, refresh}, []string{"code"}}},
		{"escapes in names and values", "", `"sc\u006fpe":"\u006fpenid","application_type":"w\u0065b"`,
			answer{"client_secret_post", "web", "openid", []string{code, refresh}, []string{"code"}}},

		{"IPv4 loopback is native", "", redirects("http://127.0.0.1/cb"), answer{"client_secret_post", "native", everything, []string{code, refresh}, []string{"code"}}},
		{"IPv6 loopback is native", "", redirects("http://[::1]:1/cb"), answer{"client_secret_post", "native", everything, []string{code, refresh}, []string{"code"}}},
		{"dotted scheme is native", "", redirects("com.example.app:/cb"), answer{"client_secret_post", "native", everything, []string{code, refresh}, []string{"code"}}},
		{"all kinds of native", "", redirects("com.example.app:/cb", "myapp://cb", "http://localhost/cb"), answer{"client_secret_post", "native", everything, []string{code, refresh}, []string{"code"}}},
		{"dotted scheme and https is web", "", redirects("com.example.app:/cb", "https://a.example/"), answer{"client_secret_post", "web", everything, []string{code, refresh}, []string{"code"}}},
		{"public with loopback and https", "", `"token_endpoint_auth_method":"none",` + redirects("http://127.0.0.1/cb", "https://a.example/"), answer{"none", "web", everything, []string{code, refresh}, []string{"code"}}},
		{"native with https", "", `"application_type":"native"`, answer{"client_secret_post", "native", everything, []string{code, refresh}, []string{"code"}}},
		{"web with a dotted scheme", "", `"application_type":"web",` + redirects("com.example.app:/cb"), answer{"client_secret_post", "web", everything, []string{code, refresh}, []string{"code"}}},
	} {
		t.Run(c.rule, func(t *testing.T) {
			f := newFixture(t, options{mode: c.mode})
			info, stored := f.register(with(c.members))
			got := answer{info.TokenEndpointAuthMethod, info.ApplicationType, info.Scope, info.GrantTypes, info.ResponseTypes}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if stored.Scope != info.Scope && (stored.Scope != "" || info.Scope != everything) {
				t.Errorf("stored scope %q, answered %q", stored.Scope, info.Scope)
			}
			// What was answered is what the other endpoints will enforce.
			for _, g := range info.GrantTypes {
				if !stored.AllowsGrantType(g) {
					t.Errorf("%s was answered but is not allowed", g)
				}
			}
			if len(info.ResponseTypes) > 0 {
				if diff := cmp.Diff(stored.AllowedResponseTypes(), info.ResponseTypes); diff != "" {
					t.Errorf("response types (-enforced +answered)\n%s", diff)
				}
			}
			for _, uri := range info.RedirectURIs {
				if !oauth.MatchRedirectURI(stored.RedirectURIs, uri, false) {
					t.Errorf("%s was answered but does not match", uri)
				}
			}
		})
	}
}

func TestRepeatedURIsAreStoredOnce(t *testing.T) {
	f := newFixture(t, options{})
	info, stored := f.register(`{"redirect_uris":["https://b.example/","https://a.example/","https://b.example/","https://a.example/","https://c.example/"],
		"request_uris":["https://a.example/r","https://a.example/r"],"post_logout_redirect_uris":["https://a.example/","https://a.example/"]}`)
	want := []string{"https://b.example/", "https://a.example/", "https://c.example/"}
	if diff := cmp.Diff(want, info.RedirectURIs); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want, stored.RedirectURIs); diff != "" {
		t.Error(diff)
	}
	if x := stored.Extra(); len(x.RequestURIs) != 1 || len(x.PostLogoutRedirectURIs) != 1 {
		t.Errorf("stored %q and %q", x.RequestURIs, x.PostLogoutRedirectURIs)
	}
}

// RFC 7591 §2: a server may leave out what a client cannot have. Libraries send these
// with every registration, and need neither.
func TestUnusableMembersAreLeftOut(t *testing.T) {
	for _, c := range []struct {
		rule, members string
		want          store.ClientMetadata
	}{
		{"request_uris without a host", `"request_uris":["requests/8f3a","/requests/1","https://a.example/r","//b.example/r"]`,
			store.ClientMetadata{RequestURIs: []string{"https://a.example/r"}}},
		{"nothing but such request_uris", `"request_uris":["requests/8f3a"]`, store.ClientMetadata{}},
		{"the default algorithm of assertions, for a method without", `"token_endpoint_auth_method":"client_secret_basic","token_endpoint_auth_signing_alg":"RS256"`, store.ClientMetadata{}},
		{"any algorithm of assertions, for a public client", `"token_endpoint_auth_method":"none","token_endpoint_auth_signing_alg":"x"`, store.ClientMetadata{}},
	} {
		t.Run(c.rule, func(t *testing.T) {
			f := newFixture(t, options{})
			w := f.post(with(c.members))
			info := f.decode(w)
			if w.Code != http.StatusCreated {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
			stored := f.client(info.ClientID)
			got := stored.Extra()
			if len(got.RequestURIs) == 0 {
				got.RequestURIs = nil
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("stored (-want +got)\n%s", diff)
			}
			for _, member := range []string{"token_endpoint_auth_signing_alg", "requests/"} {
				if strings.Contains(w.Body.String(), member) {
					t.Errorf("answered %s", w.Body)
				}
			}
		})
	}
}

func TestRedirectPolicy(t *testing.T) {
	const needsNative = "needs application_type native"
	for _, c := range []struct {
		rule    string
		policy  RedirectPolicy
		members string
		text    string // empty: accepted
	}{
		{"localhost by default", RedirectPolicy{}, redirects("http://localhost/cb"), ""},
		{"localhost refused", RedirectPolicy{RefuseLocalhost: true}, redirects("http://localhost:1/cb"), "has the host localhost"},
		{"localhost refused in capitals", RedirectPolicy{RefuseLocalhost: true}, redirects("http://LocalHost/cb"), "has the host localhost"},
		{"addresses remain", RedirectPolicy{RefuseLocalhost: true}, redirects("http://127.0.0.1/localhost", "http://[::1]/cb"), ""},
		{"undotted schemes by default", RedirectPolicy{}, redirects("myapp://cb"), ""},
		{"undotted schemes refused", RedirectPolicy{RefuseUndottedSchemes: true}, redirects("myapp://com.example/cb"), "has a scheme without a dot"},
		{"dotted schemes remain", RedirectPolicy{RefuseUndottedSchemes: true}, redirects("com.example:/cb"), ""},
		{"loopback of a web application by default", RedirectPolicy{}, `"application_type":"web",` + redirects("http://localhost/cb"), needsNative},
		{"loopback of a web application", RedirectPolicy{InsecureWebLoopback: true}, `"application_type":"web",` + redirects("http://localhost/cb"), ""},
		{"loopback beside https", RedirectPolicy{InsecureWebLoopback: true}, redirects("https://a.example/", "http://127.0.0.1/cb"), ""},
		{"the policy opens no other http", RedirectPolicy{InsecureWebLoopback: true}, redirects("http://127.0.0.1.evil.example/cb"), "uses http"},
		{"the policy opens no undotted scheme", RedirectPolicy{InsecureWebLoopback: true}, `"application_type":"web",` + redirects("myapp://cb"), needsNative},
	} {
		t.Run(c.rule, func(t *testing.T) {
			f := newFixture(t, options{config: func(cfg *Config) { cfg.Redirects = c.policy }})
			w := f.post(with(c.members))
			info := f.decode(w)
			if c.text == "" && w.Code != http.StatusCreated || c.text != "" && (w.Code != 400 || info.Error != "invalid_redirect_uri" || !strings.Contains(info.ErrorDescription, c.text)) {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		})
	}
}

func TestFrontchannelLogoutURI(t *testing.T) {
	f := newFixture(t, options{})
	for redirect, uri := range map[string]string{
		"https://client.example.com/cb":      "https://CLIENT.example.com/logout",
		"https://client.example.com:8443/cb": "https://client.example.com:8443/logout?a=b",
		"http://127.0.0.1:3000/cb":           "http://127.0.0.1:3000/logout",
	} {
		if _, stored := f.register(`{` + redirects(redirect) + `,"frontchannel_logout_uri":"` + uri + `"}`); stored.Extra().FrontchannelLogoutURI != uri {
			t.Errorf("stored %+v", stored.Metadata)
		}
	}
}

// A registered key set is kept as what was understood of it.
func TestKeySet(t *testing.T) {
	f := newFixture(t, options{})
	x5u := strings.Replace(rsaKey, `"kty"`, `"x5u":"http://169.254.169.254/","evil":"<script>","key_ops":["verify"],"kty"`, 1)
	_, stored := f.register(with(`"token_endpoint_auth_method":"private_key_jwt","token_endpoint_auth_signing_alg":"EdDSA",` +
		`"jwks":{"evil":"<script>","keys":[` + x5u + `,` + ecKey + `,` + edKey + `,{"kty":"XYZ","crv":"?"}]}`))
	if !stored.SecretDigest.IsZero() || stored.SealedSecret != nil {
		t.Error("private_key_jwt came with a secret")
	}
	want := `{"keys":[{"kty":"RSA","kid":"r","n":"` + rsaModulus + `","e":"AQAB"},` +
		`{"kty":"EC","kid":"e","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"},` +
		`{"kty":"OKP","kid":"o","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`
	var got, wanted any
	json.Unmarshal(stored.Extra().JWKS, &got)
	json.Unmarshal([]byte(want), &wanted)
	if diff := cmp.Diff(wanted, got); diff != "" {
		t.Errorf("stored (-want +got)\n%s", diff)
	}

	for _, alg := range []string{"RS256", "PS256", "ES256", "EdDSA"} {
		f.register(with(`"token_endpoint_auth_method":"private_key_jwt","token_endpoint_auth_signing_alg":"` + alg + `",` + jwks(rsaKey, ecKey, edKey)))
	}
	restricted := strings.Replace(rsaKey, `"kty"`, `"alg":"PS256","use":"sig","kty"`, 1)
	w := f.post(with(`"token_endpoint_auth_method":"private_key_jwt","token_endpoint_auth_signing_alg":"RS256",` + jwks(restricted)))
	if w.Code != 400 || !strings.Contains(w.Body.String(), "jwks has no key for") {
		t.Errorf("a key restricted to PS256: %d %s", w.Code, w.Body)
	}
	// Keys are welcome from clients that authenticate otherwise.
	f.register(with(`"token_endpoint_auth_method":"none",` + jwks(restricted)))
}

// What a registration says about request objects is kept, and fits its keys.
func TestRequestObjectsAreRegisteredWithTheirKeys(t *testing.T) {
	f := newFixture(t, options{})
	for _, alg := range []string{"ES256", "RS256", "PS256", "EdDSA"} {
		w := f.post(with(`"token_endpoint_auth_method":"none","require_signed_request_object":true,"request_object_signing_alg":"` + alg + `",` + jwks(rsaKey, ecKey, edKey)))
		body := w.Body.String()
		if w.Code != http.StatusCreated || !strings.Contains(body, `"request_object_signing_alg":"`+alg+`"`) || !strings.Contains(body, `"require_signed_request_object":true`) {
			t.Errorf("%s: %d %s", alg, w.Code, body)
			continue
		}
		stored := f.client(f.decode(w).ClientID)
		if extra := stored.Extra(); extra.RequestObjectSigningAlg != alg || !extra.RequireSignedRequestObject {
			t.Errorf("%s: stored %+v", alg, extra)
		}
	}
	// Without an algorithm any key that can sign will do.
	f.register(with(`"require_signed_request_object":true,` + jwks(ecKey)))
}

// Without a signature an ID token is good from the token endpoint only, and only if
// the host wants it at all.
func TestUnsignedIDTokensAreRegisteredBySetting(t *testing.T) {
	const none = `"id_token_signed_response_alg":"none"`
	on := func(mode string) options {
		return options{mode: mode, config: func(c *Config) { c.InsecureUnsignedIDTokens = true }}
	}
	permissive := newFixture(t, on(store.ModePermissive))
	for _, members := range []string{`"response_types":["code"]`, `"response_types":["code","token"],"grant_types":["authorization_code","implicit"]`, `"grant_types":["authorization_code"]`} {
		if info, stored := permissive.register(with(members + "," + none)); info.raw["id_token_signed_response_alg"] != "none" || stored.Extra().IDTokenSignedResponseAlg != "none" {
			t.Errorf("%s: %v", members, info.raw)
		}
	}
	refused := func(f *fixture, rule, members, text string) {
		t.Helper()
		if w := f.post(with(members)); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), text) || f.decode(w).Error != "invalid_client_metadata" {
			t.Errorf("%s: %d %s", rule, w.Code, w.Body)
		}
	}
	const where = "id_token_signed_response_alg: none needs response_types"
	for _, types := range []string{`"id_token"`, `"id_token token"`, `"code id_token"`, `"code","token id_token code"`} {
		refused(permissive, types, none+`,"response_types":[`+types+`],"grant_types":["authorization_code","implicit"]`, where)
	}
	refused(permissive, "every response type by default", none, where)
	refused(newFixture(t, on("")), "strict", none, "is not one of RS256, ES256, HS256")
	refused(newFixture(t, options{mode: store.ModePermissive}), "not wanted", none+`,"response_types":["code"]`, "is not one of RS256, ES256, HS256")
}

// Keys by reference are good for all that keys in the registration are.
func TestKeysByReferenceAreRegistered(t *testing.T) {
	const uri = "https://client.example.com/jwks"
	f := newFixture(t, options{})
	for _, members := range []string{
		`"token_endpoint_auth_method":"private_key_jwt"`,
		`"token_endpoint_auth_method":"private_key_jwt","token_endpoint_auth_signing_alg":"PS256"`,
		`"request_object_signing_alg":"ES256","require_signed_request_object":true`,
	} {
		info, stored := f.register(with(members + `,"jwks_uri":"` + uri + `"`))
		if info.raw["jwks_uri"] != uri || stored.Extra().JWKSURI != uri || stored.Extra().JWKS != nil {
			t.Errorf("%s: %v, stored %+v", members, info.raw, stored.Extra())
		}
	}
}
