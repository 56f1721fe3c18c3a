package dcr

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
)

const (
	metadataCode = oauth.CodeInvalidClientMetadata
	redirectCode = oauth.CodeInvalidRedirectURI

	rsaKey     = `{"kty":"RSA","kid":"r","n":"` + rsaModulus + `","e":"AQAB"}`
	rsaModulus = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
	ecKey      = `{"kty":"EC","kid":"e","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}`
	edKey      = `{"kty":"OKP","kid":"o","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`
)

func jwks(keys ...string) string { return `"jwks":{"keys":[` + strings.Join(keys, ",") + `]}` }

func redirects(uris ...string) string {
	list, _ := json.Marshal(uris)
	return `"redirect_uris":` + string(list)
}

// A refusal is a registration that must fail, and how.
type refusal struct {
	rule string
	body string
	code string
	text string // how the description begins
	mode string // strict if empty
}

func refusals() []refusal {
	var all []refusal
	add := func(rule, body, code, text string) {
		all = append(all, refusal{rule: rule, body: body, code: code, text: text})
	}
	member := func(rule, members, text string) { add(rule, with(members), metadataCode, text) }
	permissive := func(rule, members, text string) {
		all = append(all, refusal{rule, with(members), metadataCode, text, store.ModePermissive})
	}
	redirect := func(rule, uri, text string) {
		add("redirect URI: "+rule, with(redirects(uri)), redirectCode, "redirect_uris: "+quote(uri)+" "+text)
	}

	// The body.
	for _, c := range []struct{ rule, body, text string }{
		{"empty body", "", "the request body is not valid JSON"},
		{"white space", " \n", "the request body is not valid JSON"},
		{"not JSON", "redirect_uris=https://client.example.com/cb", "the request body is not valid JSON"},
		{"null", "null", "the request body must be a JSON object"},
		{"array", "[" + with("") + "]", "the request body must be a JSON object"},
		{"string", `"{}"`, "the request body must be a JSON object"},
		{"number", "1", "the request body must be a JSON object"},
		{"cut off", strings.TrimSuffix(with(""), "}"), "the request body is not valid JSON"},
		{"trailing data", with("") + with(""), "the request body is not valid JSON"},
		{"trailing comma", `{"client_name":"x",}`, "the request body is not valid JSON"},
		{"comment", `{/**/}`, "the request body is not valid JSON"},
		{"single quotes", `{'client_name':'x'}`, "the request body is not valid JSON"},
		{"NaN", with(`"default_max_age":NaN`), "the request body is not valid JSON"},
		{"line break in a string", with("\"client_name\":\"a\nb\""), "the request body is not valid JSON"},
		{"byte order mark", "\ufeff" + with(""), "the request body is not valid JSON"},
		{"UTF-16", "\x7b\x00\x7d\x00", "the request body is not valid JSON"},
		{"Latin-1", with("\"client_name\":\"\xfcber\""), "the request body is not valid UTF-8"},
		{"overlong encoding", with("\"client_name\":\"\xc0\xaf\""), "the request body is not valid UTF-8"},
		{"encoded surrogate", with("\"client_name\":\"\xed\xa0\x80\""), "the request body is not valid UTF-8"},
		{"deep array", with(`"x":` + strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth)), "the request body is nested too deeply"},
		{"deep object", with(`"x":` + strings.Repeat(`{"a":`, maxDepth) + "1" + strings.Repeat("}", maxDepth)), "the request body is nested too deeply"},
		{"very deep array", with(`"x":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000)), "the request body is not valid JSON"},
		{"deep value of a known member", with(`"contacts":` + strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth)), "the request body is nested too deeply"},
		{"too many members", "{" + manyMembers(maxMembers+1) + "}", "the request body has more than 128 members"},
		{"member twice", `{"redirect_uris":["https://a.example/"],"redirect_uris":["https://b.example/"]}`, "the request body has the member redirect_uris more than once"},
		{"member twice, first null", with(`"scope":null,"scope":"openid"`), "the request body has the member scope more than once"},
		{"member twice, other spelling", with(`"scope":"openid","sc\u006fpe":"email"`), "the request body has the member scope more than once"},
		{"unknown member twice is not named", with(`"evil<script>":1,"evil<script>":2`), "the request body has a member more than once"},
		{"member that looks like a prefix is not named", with(`"scopes":1,"scopes":2`), "the request body has a member more than once"},
	} {
		add(c.rule, c.body, metadataCode, c.text)
	}

	// Types.
	for name, value := range map[string]string{
		"client_name": "5", "scope": `["openid"]`, "token_endpoint_auth_method": "true", "application_type": `{"x":1}`,
		"client_uri": "[]", "logo_uri": "false", "jwks_uri": "1.5", "subject_type": "[null]", "software_id": "{}",
		"id_token_signed_response_alg": `["RS256"]`, "initiate_login_uri": "0",
	} {
		member("type of "+name, fmt.Sprintf("%q:%s", name, value), name+" must be a string")
	}
	for name, value := range map[string]string{
		"grant_types": `"authorization_code"`, "response_types": `"code"`, "contacts": `{"0":"x"}`, "request_uris": "1",
		"post_logout_redirect_uris": `"https://a.example/"`, "default_acr_values": "true",
	} {
		member("type of "+name, fmt.Sprintf("%q:%s", name, value), name+" must be an array of strings")
		member("type of an element of "+name, fmt.Sprintf("%q:[1]", name), name+" must be an array of strings")
		member("null in "+name, fmt.Sprintf("%q:[null]", name), name+" must be an array of strings")
		member("nested list in "+name, fmt.Sprintf(`%q:[["x"]]`, name), name+" must be an array of strings")
		member("empty value in "+name, fmt.Sprintf(`%q:[""]`, name), name+" has an empty value")
	}
	for _, value := range []string{`"https://client.example.com/cb"`, `{"0":"https://client.example.com/cb"}`, "1", "true", `[1]`, `[null]`, `["https://a.example/",{}]`} {
		add("type of redirect_uris: "+value, with(`"redirect_uris":`+value), redirectCode, "redirect_uris must be an array of strings")
	}
	for _, value := range []string{`"true"`, "1", "[]", "{}"} {
		member("type of require_auth_time: "+value, `"require_auth_time":`+value, "require_auth_time must be true or false")
		member("type of backchannel_logout_session_required: "+value, `"backchannel_logout_session_required":`+value, "backchannel_logout_session_required must be true or false")
	}
	for _, value := range []string{`"3600"`, "-1", "1.5", "2147483648", "1e3", "9223372036854775808", "true", "[]"} {
		member("default_max_age: "+value, `"default_max_age":`+value, "default_max_age must be a whole number of seconds")
	}
	for _, value := range []string{`"{}"`, "[]", "1", "true"} {
		member("type of jwks: "+value, `"jwks":`+value, "jwks must be a JSON object")
	}

	// Text.
	long := strings.Repeat("x", maxText+1)
	member("name too long", `"client_name":"`+long+`"`, "client_name is longer than 256 bytes")
	member("contact too long", `"contacts":["`+long+`"]`, "contacts is longer than 256 bytes")
	member("software_id too long", `"software_id":"`+long+`"`, "software_id is longer than 256 bytes")
	member("acr value too long", `"default_acr_values":["`+long+`"]`, "default_acr_values is longer than 256 bytes")
	member("too many contacts", `"contacts":[`+strings.TrimSuffix(strings.Repeat(`"a",`, 11), ",")+`]`, "contacts has more than 10 values")
	member("blank name", `"client_name":" \u00a0"`, "client_name is blank")
	for rule, escape := range map[string]string{
		"NUL": `\u0000`, "line feed": `\n`, "carriage return": `\r`, "tab": `\t`, "escape": `\u001b[31m`, "DEL": `\u007f`, "C1 control": `\u0085`,
		"right-to-left override": `\u202e`, "left-to-right override": `\u202d`, "right-to-left isolate": `\u2067`, "pop isolate": `\u2069`,
		"right-to-left mark": `\u200f`, "Arabic letter mark": `\u061c`, "zero-width space": `\u200b`, "word joiner": `\u2060`, "byte order mark": `\ufeff`,
		"soft hyphen": `\u00ad`, "line separator": `\u2028`, "paragraph separator": `\u2029`, "private use": `\ue000`, "tag character": `\udb40\udc41`,
		"half of a surrogate pair": `\ud83d`, "replacement character": `\ufffd`,
	} {
		member(rule+" in the name", `"client_name":"Good`+escape+`App"`, "client_name has a control character")
	}
	member("control character in a contact", `"contacts":["a@b.example","x\u0000"]`, "contacts has a control character")
	member("control character in software_version", `"software_version":"1\u202e"`, "software_version has a control character")

	// Authentication.
	for _, method := range []string{"tls_client_auth", "self_signed_tls_client_auth", "client_secret", "NONE", "none ", "private_key", `client_secret_post\u0000`} {
		member("method "+method, `"token_endpoint_auth_method":"`+method+`"`, "token_endpoint_auth_method: '")
	}
	member("private_key_jwt without keys", `"token_endpoint_auth_method":"private_key_jwt"`, "jwks or jwks_uri is required")
	member("private_key_jwt with another algorithm's key", `"token_endpoint_auth_method":"private_key_jwt","token_endpoint_auth_signing_alg":"RS256",`+jwks(ecKey), "jwks has no key for the token_endpoint_auth_signing_alg 'RS256'")
	member("private_key_jwt with a key for encryption", `"token_endpoint_auth_method":"private_key_jwt",`+jwks(strings.Replace(ecKey, `"kid"`, `"use":"enc","kid"`, 1)), "jwks has no key that can sign")
	member("assertion algorithm none", `"token_endpoint_auth_method":"private_key_jwt","token_endpoint_auth_signing_alg":"none",`+jwks(ecKey), "token_endpoint_auth_signing_alg: 'none' is not one of")
	member("HMAC for private_key_jwt", `"token_endpoint_auth_method":"private_key_jwt","token_endpoint_auth_signing_alg":"HS256",`+jwks(ecKey), "token_endpoint_auth_signing_alg: 'HS256' is not one of")
	member("RSA for client_secret_jwt", `"token_endpoint_auth_method":"client_secret_jwt","token_endpoint_auth_signing_alg":"RS256"`, "token_endpoint_auth_signing_alg: 'RS256' is not one of HS256")

	// Grant types and response types.
	for _, g := range []string{"implicit", "client_credentials", "password", "urn:ietf:params:oauth:grant-type:jwt-bearer", "Authorization_Code", "authorization_code ", "<script>"} {
		member("strict: grant type "+g, `"grant_types":["authorization_code","`+g+`"]`, "grant_types: "+quote(g)+" is not one of")
	}
	member("strict: the device grant alone", `"grant_types":["`+grantDevice+`"]`, "grant_types: "+quote(grantDevice)+" is not one of")
	permissive("permissive: the device grant alone", `"grant_types":["`+grantDevice+`"]`, "grant_types: "+quote(grantDevice)+" is not one of")
	for _, g := range []string{"password", "urn:ietf:params:oauth:grant-type:token-exchange", "IMPLICIT", "hybrid"} {
		permissive("permissive: grant type "+g, `"grant_types":["`+g+`"]`, "grant_types: "+quote(g)+" is not one of")
	}
	for _, s := range []string{"token", "id_token", "token id_token", "code token", "id_token code", "token code id_token"} {
		member("strict: response type "+s, `"response_types":["code","`+s+`"]`, "response_types: "+quote(s)+" returns tokens through the browser")
	}
	member("strict: response type none", `"response_types":["code","none"]`, "response_types: 'none' is not one that this application may use")
	permissive("none without authorization_code", `"grant_types":["implicit"],"response_types":["none"]`, "response_types: 'none' needs authorization_code")
	for _, s := range []string{"none code", "None", "Code", "code code", "code,token", " code", "code  id_token", "code\u00a0token"} {
		permissive("response type "+s, `"response_types":["`+s+`"]`, "response_types: "+quoted(s)+" is not supported")
	}
	permissive("code without its grant type", `"grant_types":["implicit"],"response_types":["code"]`, "response_types: 'code' needs authorization_code in grant_types")
	permissive("token without its grant type", `"grant_types":["authorization_code"],"response_types":["token"]`, "response_types: 'token' needs implicit in grant_types")
	permissive("id_token without its grant type", `"grant_types":["authorization_code","refresh_token"],"response_types":["code","id_token"]`, "response_types: 'id_token' needs implicit")
	permissive("hybrid without implicit", `"grant_types":["authorization_code"],"response_types":["token code"]`, "response_types: 'token code' needs implicit")
	permissive("hybrid without authorization_code", `"grant_types":["implicit"],"response_types":["code id_token"]`, "response_types: 'code id_token' needs authorization_code")
	permissive("response type for a machine", `"grant_types":["client_credentials"],"response_types":["code"]`, "response_types: 'code' needs authorization_code")
	permissive("client_credentials of a public client", `"grant_types":["client_credentials"],"token_endpoint_auth_method":"none"`, "grant_types: client_credentials needs an application that authenticates")
	member("refresh_token alone", `"grant_types":["refresh_token"]`, "grant_types: refresh_token needs a grant type")
	member("too many grant types", `"grant_types":[`+strings.TrimSuffix(strings.Repeat(`"authorization_code",`, 21), ",")+`]`, "grant_types has more than 20 values")

	// Redirect URIs.
	required := "redirect_uris is required"
	add("no redirect URIs", `{"client_name":"x"}`, redirectCode, required)
	add("no members", `{}`, redirectCode, required)
	add("redirect_uris null", with(`"redirect_uris":null`), redirectCode, required)
	add("redirect_uris empty", with(`"redirect_uris":[]`), redirectCode, required)
	add("redirect_uris an empty string", with(`"redirect_uris":""`), redirectCode, required)
	add("redirect_uris in another case", `{"Redirect_URIs":["https://client.example.com/cb"]}`, redirectCode, required)
	add("redirect_uris left out with the grant type", `{"grant_types":["authorization_code"]}`, redirectCode, required)
	all = append(all, refusal{"redirect_uris left out with implicit", `{"grant_types":["client_credentials","implicit"]}`, redirectCode, required, store.ModePermissive})
	add("empty redirect URI", with(`"redirect_uris":["https://a.example/",""]`), redirectCode, "redirect_uris has an empty value")
	add("21 redirect URIs", with(redirects(strings.Split(strings.TrimSuffix(strings.Repeat("https://a.example/ ", 21), " "), " ")...)), redirectCode, "redirect_uris has more than 20 values")
	add("one bad URI among good ones is named", with(redirects("https://a.example/", "http://b.example/", "https://c.example/")), redirectCode, "redirect_uris: 'http://b.example/' uses http")
	longURI := "https://client.example.com/" + strings.Repeat("x", oauth.MaxURI)
	redirect("longer than 2 KiB", longURI, "is longer than 2048 bytes")
	redirect("http", "http://client.example.com/cb", "uses http, which only a loopback host may")
	redirect("http on a name that begins with 127", "http://127.evil.example/cb", "uses http")
	redirect("http on a name that begins with 127.0.0.1", "http://127.0.0.1.evil.example/cb", "uses http")
	redirect("http on localhost's namesake", "http://localhost.evil.example/cb", "uses http")
	redirect("http on a private address", "http://192.168.0.1/cb", "uses http")
	redirect("http on the unspecified address", "http://0.0.0.0/cb", "uses http")
	redirect("fragment", "https://client.example.com/cb#x", "has a fragment")
	redirect("empty fragment", "https://client.example.com/cb#", "has a fragment")
	redirect("user information", "https://u:p@client.example.com/cb", "has user information")
	redirect("wildcard", "https://*.example.com/cb", "has a wildcard")
	redirect("opaque https", "https:foo", "has no host")
	redirect("relative", "/cb", "is not absolute")
	redirect("no scheme", "client.example.com/cb", "is not absolute")
	redirect("dot segments", "https://client.example.com/a/../cb", "has a path with dot segments")
	redirect("javascript", "javascript:alert(1)", "has a scheme that is not allowed")
	redirect("javascript with an authority", "javascript://client.example.com/%0aalert(1)", "has a scheme that is not allowed")
	redirect("data", "data:text/html,x", "has a scheme that is not allowed")
	redirect("file", "file:///etc/passwd", "has a scheme that is not allowed")
	redirect("https look-alike", "httpss://client.example.com/cb", "has a scheme that is not allowed")
	redirect("out of band", "urn:ietf:wg:oauth:2.0:oob", "has a scheme that is not allowed")
	redirect("port too large", "https://client.example.com:70000/cb", "has a port that is not")
	redirect("decimal address", "http://2130706433/cb", "has a host that is not")
	add("redirect URI: unicode", with(redirects("https://clïent.example.com/cb")), redirectCode, "redirect_uris: 'https://cl?ent.example.com/cb' has a character that RFC 3986")
	add("redirect URI: line break", with(`"redirect_uris":["https://client.example.com/\r\nSet-Cookie:x"]`), redirectCode, "redirect_uris: 'https://client.example.com/??Set-Cookie:x' has a character")
	add("redirect URI: quote", with(`"redirect_uris":["https://client.example.com/\"x\\"]`), redirectCode, "redirect_uris: 'https://client.example.com/'x?' has a character")
	add("redirect URI: NUL", with(`"redirect_uris":["https://client.example.com/\u0000"]`), redirectCode, "redirect_uris: 'https://client.example.com/?' has a character")

	needsNative := "is a loopback URI, which needs application_type native"
	add("web: loopback", with(`"application_type":"web",`+redirects("http://127.0.0.1:1/cb")), redirectCode, "redirect_uris: 'http://127.0.0.1:1/cb' "+needsNative)
	add("web: localhost of a public client", with(`"application_type":"web","token_endpoint_auth_method":"none",`+redirects("http://localhost:1/cb")), redirectCode, "redirect_uris: 'http://localhost:1/cb' "+needsNative)
	add("mixed without a type is web: loopback", with(redirects("https://a.example/", "http://[::1]/cb")), redirectCode, "redirect_uris: 'http://[::1]/cb' "+needsNative)
	add("mixed without a type is web: undotted scheme", with(redirects("https://a.example/", "cursor://cb/")), redirectCode, "redirect_uris: 'cursor://cb/' has a private-use scheme without a dot, which needs application_type native")
	add("web: undotted scheme", with(`"application_type":"web",`+redirects("cursor://cb")), redirectCode, "redirect_uris: 'cursor://cb' has a private-use scheme without a dot")
	for _, v := range []string{"browser", "Web", "native ", "mobile"} {
		member("application_type "+v, `"application_type":"`+v+`"`, "application_type: "+quote(v)+" is not one of native, web")
	}

	// Other URIs.
	for _, name := range []string{"client_uri", "logo_uri", "policy_uri", "tos_uri"} {
		for _, uri := range []string{"javascript:alert(1)", "data:image/svg+xml,x", "file:///x", "ftp://a.example/", "com.example.app:/x"} {
			member(name+" "+uri, fmt.Sprintf("%q:%q", name, uri), name+": "+quote(uri)+" does not have the scheme https or http")
		}
		member(name+" relative", fmt.Sprintf(`%q:"/logo.png"`, name), name+": '/logo.png' is not absolute")
		member(name+" with user information", fmt.Sprintf(`%q:"https://u:p@a.example/"`, name), name+": 'https://u:p@a.example/' has user information")
		member(name+" opaque", fmt.Sprintf(`%q:"https:a.example"`, name), name+": 'https:a.example' has no host")
	}
	for _, name := range []string{"jwks_uri", "sector_identifier_uri", "initiate_login_uri", "backchannel_logout_uri"} {
		for _, uri := range []string{"http://a.example/x", "http://127.0.0.1/x", "javascript:alert(1)", "file:///etc/passwd", "gopher://a.example/"} {
			member(name+" "+uri, fmt.Sprintf("%q:%q", name, uri), name+": "+quote(uri)+" does not have the scheme https")
		}
		member(name+" too long", fmt.Sprintf("%q:%q", name, longURI), name+": "+quote(longURI)+" is longer than 2048 bytes")
	}
	member("backchannel_logout_uri with a fragment", `"backchannel_logout_uri":"https://a.example/x#y"`, "backchannel_logout_uri: 'https://a.example/x#y' has a fragment")
	member("request_uris http", `"request_uris":["https://a.example/","http://a.example/"]`, "request_uris: 'http://a.example/' does not have the scheme https")
	member("request_uris that is no URI", `"request_uris":["requests/%zz"]`, "request_uris: 'requests/%zz' has a percent sign without two hexadecimal digits")
	member("21 request_uris", `"request_uris":[`+strings.TrimSuffix(strings.Repeat(`"https://a.example/",`, 21), ",")+`]`, "request_uris has more than 20 values")
	member("post_logout_redirect_uris http", `"post_logout_redirect_uris":["http://a.example/"]`, "post_logout_redirect_uris: 'http://a.example/' uses http")
	member("post_logout_redirect_uris javascript", `"post_logout_redirect_uris":["javascript:alert(1)"]`, "post_logout_redirect_uris: 'javascript:alert(1)' has a scheme")
	member("post_logout_redirect_uris with a fragment", `"post_logout_redirect_uris":["https://a.example/#x"]`, "post_logout_redirect_uris: 'https://a.example/#x' has a fragment")
	member("post_logout_redirect_uris loopback of a web application", `"post_logout_redirect_uris":["http://localhost/bye"]`, "post_logout_redirect_uris: 'http://localhost/bye' "+needsNative)
	member("frontchannel_logout_uri elsewhere", `"frontchannel_logout_uri":"https://evil.example/x"`, "frontchannel_logout_uri: 'https://evil.example/x' does not have scheme, host and port")
	member("frontchannel_logout_uri on another port", `"frontchannel_logout_uri":"https://client.example.com:8443/x"`, "frontchannel_logout_uri: 'https://client.example.com:8443/x' does not have scheme, host and port")
	member("frontchannel_logout_uri http", `"frontchannel_logout_uri":"http://client.example.com/x"`, "frontchannel_logout_uri: 'http://client.example.com/x' does not have the scheme https")
	member("frontchannel_logout_uri javascript", `"frontchannel_logout_uri":"javascript:alert(1)"`, "frontchannel_logout_uri: 'javascript:alert(1)' has a scheme")

	// Keys.
	member("jwks without keys", `"jwks":{}`, "jwks has no public key")
	member("jwks with an empty list", `"jwks":{"keys":[]}`, "jwks has no public key")
	member("jwks whose keys are no list", `"jwks":{"keys":{}}`, "jwks is not a JSON Web Key Set")
	member("jwks with a member twice", `"jwks":{"keys":[],"keys":[]}`, "jwks is not a JSON Web Key Set")
	member("jwks with text for a key", jwks(`"x"`), "jwks has a key that is not a JSON Web Key")
	member("jwks with null for a key", jwks(`null`), "jwks has a key that is not valid")
	member("jwks with a key that has a member twice", jwks(`{"kty":"oct","kty":"EC"}`), "jwks has a key that is not a JSON Web Key")
	member("jwks with a key without a type", jwks(`{"kid":"x"}`), "jwks has a key that is not valid")
	member("jwks with a symmetric key", jwks(`{"kty":"oct","k":"AAAA"}`), "jwks has private or symmetric key material")
	member("jwks with a symmetric key without material", jwks(`{"kty":"oct"}`), "jwks has private or symmetric key material")
	for _, name := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"} {
		member("jwks with the private member "+name, jwks(ecKey, strings.Replace(ecKey, `"kty"`, `"`+name+`":"AAAA","kty"`, 1)), "jwks has private or symmetric key material")
	}
	member("jwks with a private key of an unknown type", jwks(ecKey, `{"kty":"XYZ","d":"AAAA"}`), "jwks has private or symmetric key material")
	member("jwks with unknown types only", jwks(`{"kty":"XYZ"}`), "jwks has no public key of a supported type")
	member("jwks with a short RSA key", jwks(`{"kty":"RSA","n":"`+rsaModulus[:171]+`","e":"AQAB"}`), "jwks has an RSA key of less than 2048 or more than 4096 bits")
	member("jwks with a huge RSA key", jwks(`{"kty":"RSA","n":"`+strings.Repeat(rsaModulus, 3)+`","e":"AQAB"}`), "jwks has")
	// Each verification with such a key costs the server many times that of a usual
	// one.
	member("jwks with a large RSA exponent", jwks(`{"kty":"RSA","n":"`+rsaModulus+`","e":"f____w"}`), "jwks has an RSA key whose exponent is neither 3 nor 65537")
	member("jwks with a point that is not on the curve", jwks(strings.Replace(ecKey, "MKBC", "AAAA", 1)), "jwks has a key that is not valid")
	member("jwks with an unknown curve", jwks(strings.Replace(ecKey, "P-256", "P-192", 1)), "jwks has a key that is not valid")
	member("jwks with a control character in kid", jwks(strings.Replace(ecKey, `"e"`, `"\u0000"`, 1)), "jwks has a kid, alg or use")
	member("jwks with too many keys", jwks(strings.Split(strings.TrimSuffix(strings.Repeat(edKey+";", 21), ";"), ";")...), "jwks has more than 20 keys")
	member("jwks too large", `"jwks":{"keys":[],"x":"`+strings.Repeat("x", maxJWKS)+`"}`, "jwks is larger than 16 KiB")
	member("jwks and jwks_uri", `"jwks_uri":"https://client.example.com/jwks",`+jwks(ecKey), "jwks and jwks_uri exclude each other")

	// Algorithms.
	for _, alg := range []string{"none", "None", "HS512", "RS512", "PS256", "EdDSA", "rs256", "RS256 "} {
		member("id_token_signed_response_alg "+alg, `"id_token_signed_response_alg":"`+alg+`"`, "id_token_signed_response_alg: "+quote(alg)+" is not one of RS256, ES256, HS256")
	}
	member("HS256 of a public client", `"token_endpoint_auth_method":"none","id_token_signed_response_alg":"HS256"`, "id_token_signed_response_alg: HS256 needs an application with a client secret")
	member("HS256 of a client with keys", `"token_endpoint_auth_method":"private_key_jwt","id_token_signed_response_alg":"HS256",`+jwks(ecKey), "id_token_signed_response_alg: HS256 needs an application with a client secret")
	for _, alg := range []string{"none", "HS512", "PS256", "rs256"} {
		member("userinfo_signed_response_alg "+alg, `"userinfo_signed_response_alg":"`+alg+`"`, "userinfo_signed_response_alg: "+quote(alg)+" is not one of RS256, ES256, HS256")
		member("introspection_signed_response_alg "+alg, `"introspection_signed_response_alg":"`+alg+`"`, "introspection_signed_response_alg: "+quote(alg)+" is not one of RS256, ES256")
	}
	member("userinfo by HS256 of a public client", `"token_endpoint_auth_method":"none","userinfo_signed_response_alg":"HS256"`, "userinfo_signed_response_alg: HS256 needs an application with a client secret")
	for _, name := range []string{"id_token_encrypted_response", "userinfo_encrypted_response", "introspection_encrypted_response"} {
		for _, alg := range []string{"none", "RS256", "RSA1_5", "A256GCM", "dir", "A128KW", "A128GCMKW", "PBES2-HS256+A128KW", "rsa-oaep", "ECDH-1PU"} {
			member(name+"_alg "+alg, fmt.Sprintf(`"%s_alg":%q,`, name, alg)+jwks(rsaKey, ecKey), name+"_alg: "+quote(alg)+" is not one of RSA-OAEP-256, RSA-OAEP, ECDH-ES, ")
		}
		for _, enc := range []string{"none", "A128CBC", "A128KW", "a128gcm"} {
			member(name+"_enc "+enc, fmt.Sprintf(`"%s_alg":"ECDH-ES","%s_enc":%q,`, name, name, enc)+jwks(rsaKey, ecKey), name+"_enc: "+quote(enc)+" is not one of A128CBC-HS256, A256CBC-HS512, A128GCM, A256GCM")
		}
		member(name+"_enc alone", fmt.Sprintf(`"%s_enc":"A128GCM",`, name)+jwks(ecKey), name+"_enc needs "+name+"_alg")
		member(name+" without keys", fmt.Sprintf(`"%s_alg":"ECDH-ES"`, name), "jwks has no key for the "+name+"_alg 'ECDH-ES'")
		member(name+" with a key of another type", fmt.Sprintf(`"%s_alg":"RSA-OAEP-256",`, name)+jwks(ecKey, edKey), "jwks has no key for the "+name+"_alg 'RSA-OAEP-256'")
		member(name+" with a key for signatures", fmt.Sprintf(`"%s_alg":"ECDH-ES",`, name)+jwks(strings.Replace(ecKey, `"kid"`, `"use":"sig","kid"`, 1)), "jwks has no key for the "+name+"_alg 'ECDH-ES'")
		member(name+" with a key for another algorithm", fmt.Sprintf(`"%s_alg":"ECDH-ES",`, name)+jwks(strings.Replace(ecKey, `"kid"`, `"alg":"ECDH-ES+A128KW","kid"`, 1)), "jwks has no key for the "+name+"_alg 'ECDH-ES'")
	}
	for _, alg := range []string{"none", "RSA1_5", "RSA-OAEP", "RSA-OAEP-256", "dir", "A256KW", "A256GCM", "PBES2-HS256+A128KW"} {
		member("request_object_encryption_alg "+alg, fmt.Sprintf(`"request_object_encryption_alg":%q`, alg), "request_object_encryption_alg: "+quote(alg)+" is not one of ECDH-ES, ECDH-ES+A128KW, ECDH-ES+A256KW")
		if alg != "A256GCM" {
			member("request_object_encryption_enc "+alg, fmt.Sprintf(`"request_object_encryption_alg":"ECDH-ES","request_object_encryption_enc":%q`, alg), "request_object_encryption_enc: "+quote(alg)+" is not one of A128CBC-HS256, ")
		}
	}
	member("request_object_encryption_enc alone", `"request_object_encryption_enc":"A128GCM"`, "request_object_encryption_enc needs request_object_encryption_alg")
	for _, v := range []string{"Pairwise", "Public", "ephemeral"} {
		member("subject_type "+v, `"subject_type":"`+v+`"`, "subject_type: "+quote(v)+" is not one of public, pairwise")
	}

	// Sectors.
	pairwise := func(rule, text string, uris ...string) {
		member("pairwise with "+rule, `"subject_type":"pairwise",`+redirects(uris...), "sector_identifier_uri is required for subject_type pairwise: "+text)
	}
	pairwise("two hosts", "the redirect URIs have more than one host", "https://client.example.com/cb", "https://client.example.org/cb")
	pairwise("a subdomain", "the redirect URIs have more than one host", "https://client.example.com/cb", "https://www.client.example.com/cb")
	pairwise("a loopback redirect", "not every redirect URI is an https URI", "http://127.0.0.1/cb")
	pairwise("a private-use scheme", "not every redirect URI is an https URI", "com.example.app:/cb")
	pairwise("one URI on the device", "not every redirect URI is an https URI", "https://client.example.com/cb", "com.example.app:/cb")
	member("a sector that cannot be fetched", `"sector_identifier_uri":"https://absent.example/s.json"`, "sector_identifier_uri: 'https://absent.example/s.json' cannot be fetched")
	member("a pairwise sector that cannot be fetched", `"subject_type":"pairwise","sector_identifier_uri":"https://absent.example/p.json"`, "sector_identifier_uri: 'https://absent.example/p.json' cannot be fetched")
	for _, alg := range []string{"HS256", "None", "RS512", "RSA1_5"} {
		member("request_object_signing_alg "+alg, `"request_object_signing_alg":"`+alg+`",`+jwks(ecKey), "request_object_signing_alg: "+quote(alg)+" is not one of ES256, RS256, PS256, EdDSA, none")
	}
	member("request_object_signing_alg without keys", `"request_object_signing_alg":"ES256"`, "jwks has no key for the request_object_signing_alg 'ES256'")
	member("request_object_signing_alg of another key", `"request_object_signing_alg":"RS256",`+jwks(ecKey), "jwks has no key for the request_object_signing_alg 'RS256'")
	member("signed requests without keys", `"require_signed_request_object":true`, "jwks has no key that can sign, which require_signed_request_object needs")
	member("signed requests with the algorithm none", `"require_signed_request_object":true,"request_object_signing_alg":"none",`+jwks(ecKey), "require_signed_request_object and request_object_signing_alg none exclude each other")

	// Scope.
	member("scope with a line break", `"scope":"openid\nemail"`, "scope has a character that RFC 6749 ")
	member("scope with quotes", `"scope":"open\"id"`, "scope has a character that RFC 6749 ")
	member("scope that is not ASCII", `"scope":"öpenid"`, "scope has a character that RFC 6749 ")
	member("too many scopes", `"scope":"`+strings.Join(numbered(257), " ")+`"`, "scope has more than 256 values")
	return all
}

// quoted is what quote becomes in a description.
func quoted(s string) string {
	return oauth.AsError(oauth.Errorf("", "%s", quote(s))).Description
}

func numbered(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprint("s", i)
	}
	return out
}

func manyMembers(n int) string {
	var list []string
	for _, name := range numbered(n) {
		list = append(list, fmt.Sprintf("%q:1", name))
	}
	return strings.Join(list, ",")
}

// Every refusal has the code and the text that name the member and the rule, and
// nothing is stored.
func TestRefusals(t *testing.T) {
	strict, permissive := newFixture(t, options{}), newFixture(t, options{mode: store.ModePermissive})
	list := refusals()
	if len(list) < 150 {
		t.Fatalf("%d refusals", len(list))
	}
	seen := map[string]bool{}
	for _, c := range list {
		if seen[c.rule] {
			t.Errorf("%q is there twice", c.rule)
		}
		seen[c.rule] = true
		t.Run(c.rule, func(t *testing.T) {
			f := strict
			if c.mode == store.ModePermissive {
				f = permissive
			}
			w := f.post(c.body)
			info := f.decode(w)
			if w.Code != http.StatusBadRequest || info.Error != c.code || !strings.HasPrefix(info.ErrorDescription, c.text) {
				t.Errorf("%.300s\ngot  %d %s: %s\nwant 400 %s: %s", c.body, w.Code, info.Error, info.ErrorDescription, c.code, c.text)
			}
			for i := range len(info.ErrorDescription) { // RFC 6749 §5.2
				if b := info.ErrorDescription[i]; b < ' ' || b > '~' || b == '"' || b == '\\' {
					t.Errorf("the description has the byte %q", b)
				}
			}
			if len(info.ErrorDescription) > 512 {
				t.Errorf("the description has %d bytes", len(info.ErrorDescription))
			}
			if len(info.raw) != 2 {
				t.Errorf("the answer has the members %v", info.raw)
			}
			if w.Header().Get("Content-Type") != "application/json" || w.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("header %v", w.Header())
			}
		})
	}
	for _, f := range []*fixture{strict, permissive} {
		if stored := f.clients(); len(stored) > 0 {
			t.Errorf("%d clients were stored, the first is %+v", len(stored), stored[0])
		}
	}
}

func TestBodySize(t *testing.T) {
	f := newFixture(t, options{})
	pad := func(size int) string {
		body := with(`"x":"`)
		body = strings.TrimSuffix(body, "}")
		return body + strings.Repeat("x", size-len(body)-2) + `"}`
	}
	if w := f.post(pad(64 << 10)); w.Code != http.StatusCreated {
		t.Errorf("64 KiB: %d %s", w.Code, w.Body)
	}
	for _, size := range []int{64<<10 + 1, 1 << 20} {
		w := f.post(pad(size))
		if info := f.decode(w); w.Code != http.StatusRequestEntityTooLarge || info.Error != "invalid_request" || info.ErrorDescription != "the request body is larger than 64 KiB" {
			t.Errorf("%d bytes: %d %s", size, w.Code, w.Body)
		}
	}
	if n := len(f.clients()); n != 1 {
		t.Errorf("%d clients", n)
	}
}
