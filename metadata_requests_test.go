package opkit_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/go-jose/go-jose/v4"
)

// The proofs of members about authorization requests, and about what clients choose
// when they register.

// Algorithms that somebody may hope for.
var (
	signatureAlgorithms = []string{
		"none", "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
	}
	keyAlgorithms = []string{
		"RSA1_5", "RSA-OAEP", "RSA-OAEP-256", "RSA-OAEP-384", "RSA-OAEP-512", "A128KW", "A192KW", "A256KW", "dir",
		"ECDH-ES", "ECDH-ES+A128KW", "ECDH-ES+A192KW", "ECDH-ES+A256KW", "A128GCMKW", "A256GCMKW", "PBES2-HS256+A128KW", "none",
	}
	contentEncryptions = []string{"A128CBC-HS256", "A192CBC-HS384", "A256CBC-HS512", "A128GCM", "A192GCM", "A256GCM", "none"}
)

// largeKeys are keys for algorithms that nobody registered a key for.
var largeKeys = sync.OnceValue(func() map[string]*ecdsa.PrivateKey {
	keys := map[string]*ecdsa.PrivateKey{}
	for alg, curve := range map[string]elliptic.Curve{"ES384": elliptic.P384(), "ES512": elliptic.P521()} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			panic(err)
		}
		keys[alg] = key
	}
	return keys
})

// signedWith signs as a client whose secret and keys those are.
func (d *document) signedWith(alg, secret string, payload []byte) string {
	d.t.Helper()
	var key any
	switch {
	case alg == "none":
		return compact(`{"alg":"none"}`, string(payload), "")
	case strings.HasPrefix(alg, "HS"):
		key = []byte(secret)
	case strings.HasPrefix(alg, "RS"), strings.HasPrefix(alg, "PS"):
		key = clientKeys()[jose.RS256]
	case alg == "ES256" || alg == "EdDSA":
		key = clientKeys()[jose.SignatureAlgorithm(alg)]
	default:
		key = largeKeys()[alg]
	}
	return signObject(d.t, jose.SignatureAlgorithm(alg), key, nil, payload)
}

// registers proves a list of what clients may register as member, among candidates.
func registers(member string, candidates ...string) func(*document) {
	list := strings.NewReplacer("signed_response_alg", "signing_alg_values_supported", "encrypted_response", "encryption", "subject_type", "subject_types_supported").Replace(member)
	if strings.Contains(member, "encr") {
		list += "_values_supported"
	}
	return func(d *document) {
		kind, _, _ := strings.Cut(member, "_")
		if about := map[string]string{"userinfo": "userinfo_endpoint", "introspection": "introspection_endpoint", "request": "jwks_uri"}[kind]; about != "" && d.text(about) == "" ||
			kind == "request" && !d.mounted("authorization") || kind == "id" && !d.mounted("authorization") && !d.mounted("token") {
			d.wantNone(list)
			return
		}
		if d.members[list] == nil {
			d.t.Errorf("%s is not there", list)
		}
		for _, candidate := range candidates {
			metadata := map[string]any{"jwks": publicJWKS(jose.RS256, jose.ES256, jose.EdDSA), member: candidate, "response_types": []string{"code"}}
			if name, ok := strings.CutSuffix(member, "_enc"); ok {
				metadata[name+"_alg"] = "ECDH-ES"
			}
			if _, ok := d.application(metadata); ok != d.says(list, candidate) {
				d.t.Errorf("%s %s: accepted %v, advertised %v", member, candidate, ok, d.members[list])
			}
		}
	}
}

func (d *document) proveIDTokenAlgorithms() {
	const member = "id_token_signing_alg_values_supported"
	registers("id_token_signed_response_alg", signatureAlgorithms...)(d)
	if !d.mounted("authorization", "token") {
		return
	}
	for _, alg := range d.members[member].([]any) {
		app := d.mustApplication(map[string]any{"id_token_signed_response_alg": alg, "response_types": []string{"code"}})
		idToken, _ := d.redeem(app, d.authorize(app).Get("code")).json(d.t)["id_token"].(string)
		header, _ := base64.RawURLEncoding.DecodeString(strings.Split(idToken, ".")[0])
		if !strings.Contains(string(header), `"alg":"`+alg.(string)+`"`) {
			d.t.Errorf("%s: the header is %s", alg, header)
		}
	}
}

func (d *document) proveScopes() {
	if !d.mounted("authorization") {
		return
	}
	app := d.mustApplication(everyFlow())
	for _, scope := range []string{"openid", "profile", "email", "address", "phone", "offline_access", "groups", "roles", "admin", "appointments"} {
		got := d.authorize(app, "response_type", "code token", "scope", "openid "+scope)
		granted := slices.Contains(strings.Fields(got.Get("scope")), scope)
		if !got.Has("access_token") || granted != d.says("scopes_supported", scope) {
			d.t.Errorf("%s: granted %v (%s), advertised %v", scope, granted, got.Get("error"), d.members["scopes_supported"])
		}
	}
}

func (d *document) proveResponseTypes() {
	const member = "response_types_supported"
	if !d.mounted("authorization") {
		d.wantNone(member)
		return
	}
	parameters := map[string]string{"code": "code", "token": "access_token", "id_token": "id_token"}
	app := d.mustApplication(everyFlow())
	// Each order of each set is the same type, of which the metadata has one.
	for _, spellings := range [][]string{
		{"code"}, {"token"}, {"id_token"}, {"none"}, {"id_token token", "token id_token"}, {"code token", "token code"}, {"code id_token", "id_token code"},
		{"code id_token token", "token code id_token"}, {"code none"}, {"none token"}, {"id_token none"}, {"code id_token token none"}, {"device"}, {"code code"},
	} {
		advertised := slices.ContainsFunc(spellings, func(s string) bool { return d.says(member, s) })
		for _, spelling := range spellings {
			got := d.authorize(app, "response_type", spelling)
			if !advertised {
				if got.Get("error") != "unsupported_response_type" {
					d.t.Errorf("%s is not advertised: %v", spelling, got)
				}
				if _, ok := d.application(map[string]any{"response_types": []string{spelling}, "grant_types": []string{"authorization_code", "implicit"}}); ok {
					d.t.Errorf("%s is not advertised and can be registered", spelling)
				}
				continue
			}
			for value, parameter := range parameters {
				if got.Get("error") != "" || got.Has(parameter) != slices.Contains(strings.Fields(spelling), value) {
					d.t.Errorf("%s: %v", spelling, got)
				}
			}
		}
	}
}

func (d *document) proveResponseModes() {
	const member = "response_modes_supported"
	if !d.mounted("authorization") {
		d.wantNone(member)
		return
	}
	app := d.mustApplication(everyFlow())
	for _, mode := range []string{"query", "fragment", "form_post", "web_message", "jwt", "query.jwt", "fragment.jwt", "form_post.jwt", "cookie"} {
		got := d.authorize(app, "response_mode", mode)
		if got.Has("code") != d.says(member, mode) || !got.Has("code") && got.Get("error") != "invalid_request" {
			d.t.Errorf("%s: %v, advertised %v", mode, got, d.members[member])
		}
	}
}

func (d *document) proveGrantTypes() {
	const member = "grant_types_supported"
	for _, grant := range []string{
		"authorization_code", "refresh_token", "client_credentials", "implicit", "password", "urn:openid:params:grant-type:ciba",
		"urn:ietf:params:oauth:grant-type:device_code", "urn:ietf:params:oauth:grant-type:token-exchange", "urn:ietf:params:oauth:grant-type:jwt-bearer",
	} {
		var ok bool
		switch grant {
		case "authorization_code", "refresh_token":
			if !d.mounted("authorization", "token") {
				break
			}
			app := d.mustApplication(everyFlow())
			tokens := d.redeem(app, d.authorize(app, "scope", "openid offline_access").Get("code")).json(d.t)
			if ok = tokens["access_token"] != nil; grant == "refresh_token" {
				ok = d.token(app, "grant_type", grant, "refresh_token", tokens["refresh_token"].(string)).StatusCode == http.StatusOK
			}
		case "implicit":
			ok = d.mounted("authorization") && d.authorize(d.mustApplication(everyFlow()), "response_type", "token").Has("access_token")
		case "client_credentials":
			ok = d.mounted("token") && d.token(registered{id: machineID, secret: machineSecret}, "grant_type", grant).StatusCode == http.StatusOK
		default:
			if !d.mounted("token") {
				break
			}
			res := d.token(registered{id: machineID, secret: machineSecret}, "grant_type", grant)
			ok = res.StatusCode != http.StatusBadRequest || res.json(d.t)["error"] != "unsupported_grant_type"
		}
		if ok != d.says(member, grant) {
			d.t.Errorf("%s: accepted %v, advertised %v", grant, ok, d.members[member])
		}
	}
}

func (d *document) proveACRValues() {
	const member = "acr_values_supported"
	if !d.mounted("authorization") {
		d.wantNone(member)
		return
	}
	app := d.mustApplication(everyFlow())
	advertised, _ := d.members[member].([]any)
	if len(advertised) == 0 {
		d.t.Error("no class is advertised")
	}
	for _, acr := range append(slices.Clone(advertised), "0", "1", "2", "3", "urn:mace:incommon:iap:silver") {
		got := d.authorize(app, "response_type", "id_token", "claims", essentialACR(d.t, acr.(string)))
		if !d.says(member, acr) {
			if got.Get("error") != "unmet_authentication_requirements" {
				d.t.Errorf("%s is not advertised: %v", acr, got)
			}
		} else if got := claims(d.t, got.Get("id_token"))["acr"]; got != acr {
			d.t.Errorf("acr %v, want %s", got, acr)
		}
	}
}

func (d *document) proveChallengeMethods() {
	const member = "code_challenge_methods_supported"
	if !d.mounted("authorization") {
		d.wantNone(member)
		return
	}
	app := d.mustApplication(everyFlow())
	for _, method := range []string{"S256", "plain", "S512", "s256"} {
		got := d.authorize(app, "code_challenge_method", method)
		if got.Has("code") != d.says(member, method) || !got.Has("code") && got.Get("error") != "invalid_request" {
			d.t.Errorf("%s: %v, advertised %v", method, got, d.members[member])
		}
	}
}

func (d *document) provePrompts() {
	const member = "prompt_values_supported"
	if !d.mounted("authorization") {
		d.wantNone(member)
		return
	}
	app := d.mustApplication(everyFlow())
	for _, value := range []string{"none", "login", "consent", "select_account", "create", "Login", "sso"} {
		res := newBrowser(d.t).get(d.authorizeURL(app, "prompt", value))
		ok := res.StatusCode == http.StatusOK || res.location(d.t).Get("error") != "invalid_request"
		if ok != d.says(member, value) {
			d.t.Errorf("%s: accepted %v, advertised %v", value, ok, d.members[member])
		}
	}
}

// Each claim that is advertised is delivered, and no other.
func (d *document) proveClaims() {
	if !d.mounted("authorization") {
		return
	}
	app := d.mustApplication(everyFlow("require_auth_time", true))
	scope := "openid profile email address phone"
	b := newBrowser(d.t)
	res := b.login(b.get(d.authorizeURL(app, "response_type", "id_token", "scope", scope)), "bob", password)
	delivered := claims(d.t, b.finish(res).location(d.t).Get("id_token"))
	if d.mounted("userinfo") {
		for name := range d.me(d.answer(b, app, "response_type", "token", "scope", scope).Get("access_token")).json(d.t) {
			delivered[name] = true
		}
	}
	for name := range delivered {
		if !d.says("claims_supported", name) {
			d.t.Errorf("%s is delivered and not advertised", name)
		}
	}
	for _, name := range d.members["claims_supported"].([]any) {
		if delivered[name.(string)] == nil {
			d.t.Errorf("%s is advertised and not delivered: %v", name, delivered)
		}
	}
}

func (d *document) proveClaimsParameter() {
	if !d.mounted("authorization") {
		d.wantFalse("claims_parameter_supported")
		return
	}
	app := d.mustApplication(everyFlow())
	got := claims(d.t, d.authorize(app, "response_type", "id_token", "scope", "openid", "claims", `{"id_token":{"given_name":null}}`).Get("id_token"))
	if (got["given_name"] != nil) != d.says("claims_parameter_supported", true) {
		d.t.Errorf("%v, advertised %v", got, d.members["claims_parameter_supported"])
	}
}

func (d *document) wantFalse(member string) {
	d.t.Helper()
	if v, ok := d.members[member].(bool); !ok || v {
		d.t.Errorf("%s is %v, want false in so many words", member, d.members[member])
	}
}

// usesObject reports whether a request object, or the address of one, counts.
func (d *document) usesObject(app registered, params ...string) (ok bool, code string) {
	d.t.Helper()
	got := d.authorize(app, append(params, "state", "outside")...)
	return got.Get("state") == "inside" && got.Has("code"), got.Get("error")
}

func (d *document) proveRequestParameter() {
	if !d.mounted("authorization") {
		d.wantFalse("request_parameter_supported")
		return
	}
	app := d.mustApplication(everyFlow("jwks", publicJWKS(jose.ES256)))
	if ok, code := d.usesObject(app, "request", d.sign(d.object(app))); ok != d.says("request_parameter_supported", true) {
		d.t.Errorf("accepted %v (%s), advertised %v", ok, code, d.members["request_parameter_supported"])
	}
}

func (d *document) proveRequestObjectAlgorithms() {
	const member = "request_object_signing_alg_values_supported"
	if !d.mounted("authorization") {
		d.wantNone(member)
		return
	}
	for _, alg := range signatureAlgorithms {
		app := d.mustApplication(everyFlow("jwks", publicJWKS(jose.RS256, jose.ES256, jose.EdDSA)))
		ok, code := d.usesObject(app, "request", d.signedWith(alg, app.secret, marshal(d.t, d.object(app))))
		if ok != d.says(member, alg) || !ok && code != "invalid_request_object" {
			d.t.Errorf("%s: accepted %v (%s), advertised %v", alg, ok, code, d.members[member])
		}
		app, ok = d.application(everyFlow("jwks", publicJWKS(jose.RS256, jose.ES256, jose.EdDSA), "request_object_signing_alg", alg))
		if ok {
			ok, _ = d.usesObject(app, "request", d.signedWith(alg, app.secret, marshal(d.t, d.object(app))))
		}
		if ok != d.says(member, alg) {
			d.t.Errorf("%s: registered and accepted %v, advertised %v", alg, ok, d.members[member])
		}
	}
}

func (d *document) proveRequestURI() { d.proveRequestURIOf(true, "request_uri_parameter_supported") }

// Addresses that nobody registered are accepted if registration is not required.
func (d *document) proveRequestURIRegistration() {
	d.proveRequestURIOf(false, "require_request_uri_registration")
}

func (d *document) proveRequestURIOf(registered bool, member string) {
	d.t.Helper()
	if !d.mounted("authorization") {
		if d.wantFalse("request_uri_parameter_supported"); !registered {
			d.wantNone(member)
		}
		return
	}
	uri := d.site.URL + "/object"
	metadata := everyFlow("jwks", publicJWKS(jose.ES256))
	if registered {
		metadata["request_uris"] = []string{uri}
	}
	app := d.mustApplication(metadata)
	d.site.serve(map[string]page{"/object": {objectType, d.sign(d.object(app)), 0}})
	ok, code := d.usesObject(app, "request_uri", uri)
	if ok != registered == d.says(member, true) || !registered && code != "invalid_request_uri" {
		d.t.Errorf("accepted %v (%s), advertised %v", ok, code, d.members[member])
	}
}

func (d *document) proveClientDocuments() {
	const member = "client_id_metadata_document_supported"
	if !d.mounted("authorization") {
		d.wantNone(member)
		return
	}
	app := registered{id: d.site.URL + "/client.json", redirectURI: d.site.URL + "/cb"}
	d.site.serve(map[string]page{"/client.json": {"application/json", string(marshal(d.t, map[string]any{
		"client_id": app.id, "redirect_uris": []string{app.redirectURI},
	})), 0}})
	res := newBrowser(d.t).get(d.authorizeURL(app))
	if refused := refusedByPage(res, "client ID metadata documents are not enabled here"); !refused != d.says(member, true) ||
		!refused && !strings.Contains(res.body, `name="password"`) {
		d.t.Errorf("%d %s, advertised %v", res.StatusCode, text(res.body), d.members[member])
	}
}

func (d *document) proveResponseIssuer() {
	const member = "authorization_response_iss_parameter_supported"
	if !d.mounted("authorization") {
		d.wantNone(member)
		return
	}
	app := d.mustApplication(everyFlow())
	for name, got := range map[string]string{
		"code": d.authorize(app).Get("iss"), "none": d.authorize(app, "response_type", "none").Get("iss"),
		"error": d.authorize(app, "prompt", "none").Get("iss"), "refused": d.authorize(app, "max_age", "x").Get("iss"),
	} {
		if (got == d.issuer) != d.says(member, true) {
			d.t.Errorf("%s: iss %q, advertised %v", name, got, d.members[member])
		}
	}
}
