package opkit_test

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/go-jose/go-jose/v4"

	"github.com/opkit/opkit/tenant"
)

// The proofs of members about the endpoints themselves and about who may call them.

func (d *document) proveIssuer() {
	if d.text("issuer") != d.issuer {
		d.t.Errorf("%q, want %q", d.text("issuer"), d.issuer)
	}
	if d.mounted("authorization", "token") {
		app := d.mustApplication(everyFlow())
		if got := d.idTokenOf(app, d.authorize(app)); got["iss"] != d.issuer {
			d.t.Errorf("iss of an ID token: %v", got["iss"])
		}
	}
}

func (d *document) proveAuthorizationEndpoint() {
	if !d.mounted("authorization") {
		d.absent("authorization_endpoint")
		return
	}
	_, query, _ := strings.Cut(d.authorizeURL(d.mustApplication(everyFlow())), "?")
	if res := newBrowser(d.t).get(d.text("authorization_endpoint") + "?" + query); res.StatusCode != http.StatusOK || heading(res) != "Sign in" {
		d.t.Errorf("%d %s", res.StatusCode, text(res.body))
	}
}

func (d *document) proveTokenEndpoint() {
	if !d.mounted("token") {
		d.absent("token_endpoint")
		return
	}
	res := d.as(registered{id: machineID, secret: machineSecret}, d.text("token_endpoint"), "grant_type", "client_credentials")
	if res.StatusCode != http.StatusOK || res.json(d.t)["access_token"] == nil {
		d.t.Errorf("%d %s", res.StatusCode, res.body)
	}
}

func (d *document) proveUserInfoEndpoint() {
	if !d.mounted("userinfo") {
		d.absent("userinfo_endpoint")
		return
	}
	if !d.mounted("authorization") {
		if res := d.me("x"); res.StatusCode != http.StatusUnauthorized {
			d.t.Errorf("%d %s", res.StatusCode, res.body)
		}
		return
	}
	app := d.mustApplication(everyFlow())
	res := d.sendJSON(http.MethodGet, d.text("userinfo_endpoint"), d.authorize(app, "response_type", "token").Get("access_token"), "")
	if res.StatusCode != http.StatusOK || res.json(d.t)["sub"] != d.user.ID {
		d.t.Errorf("%d %s", res.StatusCode, res.body)
	}
}

func (d *document) proveJWKS() {
	uri := d.text("jwks_uri")
	if uri == "" {
		d.absent("jwks_uri")
		return
	}
	for _, alg := range []string{"RS256", "ES256"} {
		keys, _ := newBrowser(d.t).get(uri).json(d.t)["keys"].([]any)
		if !slices.ContainsFunc(keys, func(k any) bool { return k.(map[string]any)["alg"] == alg && k.(map[string]any)["d"] == nil }) {
			d.t.Errorf("no public key for %s in %v", alg, keys)
		}
	}
}

func (d *document) proveRegistrationEndpoint() {
	body := `{"redirect_uris":["` + appRedirectURI + `"]}`
	if endpoint := d.text("registration_endpoint"); endpoint != "" {
		if res := d.sendJSON(http.MethodPost, endpoint, "", body); res.StatusCode != http.StatusCreated {
			d.t.Errorf("%d %s", res.StatusCode, res.body)
		}
		return
	}
	if d.provider.Tenants().Endpoints().Registration == tenant.NotMounted {
		d.absent("registration_endpoint")
		return
	}
	// It is there, and closed.
	if res := d.sendJSON(http.MethodPost, d.endpoint.Registration, "", body); res.StatusCode != http.StatusForbidden || res.json(d.t)["error"] != "access_denied" {
		d.t.Errorf("%d %s", res.StatusCode, res.body)
	}
}

func (d *document) proveRevocationEndpoint() {
	if !d.mounted("revocation") {
		d.absent("revocation_endpoint")
		return
	}
	res := d.as(registered{id: machineID, secret: machineSecret}, d.text("revocation_endpoint"), "token", "x")
	if res.StatusCode != http.StatusOK {
		d.t.Errorf("%d %s", res.StatusCode, res.body)
	}
}

func (d *document) proveIntrospectionEndpoint() {
	if !d.mounted("introspection") {
		d.absent("introspection_endpoint")
		return
	}
	res := d.as(registered{id: machineID, secret: machineSecret}, d.text("introspection_endpoint"), "token", "x")
	if res.StatusCode != http.StatusOK || res.json(d.t)["active"] != false {
		d.t.Errorf("%d %s", res.StatusCode, res.body)
	}
}

func (d *document) provePushedRequests() {
	if !d.mounted("pushed_authorization_request") {
		d.absent("pushed_authorization_request_endpoint")
		if d.mounted("authorization") {
			app := d.mustApplication(everyFlow())
			if res := newBrowser(d.t).get(d.authorizeURL(app, "request_uri", pushedPrefix+"x")); !refusedByPage(res, "invalid_request_uri") {
				d.t.Errorf("a request_uri that nobody can push: %d %s", res.StatusCode, text(res.body))
			}
		}
		return
	}
	app := d.mustApplication(everyFlow())
	_, query, _ := strings.Cut(d.authorizeURL(app), "?")
	form, _ := url.ParseQuery(query)
	form.Set("client_secret", app.secret)
	res := newBrowser(d.t).post(d.text("pushed_authorization_request_endpoint"), form)
	if res.StatusCode != http.StatusCreated || !strings.HasPrefix(res.json(d.t)["request_uri"].(string), pushedPrefix) {
		d.t.Errorf("%d %s", res.StatusCode, res.body)
	}
}

// What the host serves elsewhere is advertised as the host says.
func (d *document) proveDeviceAuthorization() {
	if configured := d.provider.Tenants().Endpoints().DeviceAuthorization; configured != tenant.NotMounted && d.text("device_authorization_endpoint") != configured {
		d.t.Errorf("%q, want %q", d.text("device_authorization_endpoint"), configured)
	} else if configured == tenant.NotMounted {
		d.absent("device_authorization_endpoint")
	}
}

func (d *document) proveEndSession() {
	if !d.mounted("end_session") {
		d.absent("end_session_endpoint")
		return
	}
	wantHeading(d.t, newBrowser(d.t).get(d.text("end_session_endpoint")), http.StatusOK, "You are logged out")
}

func (d *document) proveCheckSession() {
	iframe := d.text("check_session_iframe")
	if iframe == "" {
		d.absent("check_session_iframe")
	} else if res := newBrowser(d.t).get(iframe); res.StatusCode != http.StatusOK || !strings.Contains(res.body, "<script") {
		d.t.Errorf("%d %s", res.StatusCode, res.body)
	}
	if d.mounted("authorization") {
		got := d.authorize(d.mustApplication(everyFlow()))
		if got.Has("session_state") != (iframe != "") {
			d.t.Errorf("session_state: %v", got)
		}
	}
}

// Logout is told by both ways, with iss and sid, if there is a logout at all.
func (d *document) proveFrontchannelLogout() {
	if page := d.logOutWith(map[string]any{"frontchannel_logout_uri": "https://app.example.com/front"}, "frontchannel_logout"); page != nil &&
		(!strings.Contains(page.body, "https://app.example.com/front?iss=") || !strings.Contains(page.body, "sid=")) {
		d.t.Errorf("no frame: %s", page.body)
	}
}

func (d *document) proveBackchannelLogout() {
	if d.logOutWith(map[string]any{"backchannel_logout_uri": d.site.URL + "/backchannel"}, "backchannel_logout") != nil {
		if token := claims(d.t, (<-d.received).Get("logout_token")); token["iss"] != d.issuer || token["sid"] == nil {
			d.t.Errorf("logout token: %v", token)
		}
	}
}

// logOutWith logs out of an application with that metadata; nil if the metadata says
// that nobody is told.
func (d *document) logOutWith(metadata map[string]any, kind string) *response {
	d.t.Helper()
	on := d.says(kind+"_supported", true)
	if on != d.says(kind+"_session_supported", true) || on != d.mounted("end_session") {
		d.t.Errorf("%s is %v, with sid %v", kind, d.members[kind+"_supported"], d.members[kind+"_session_supported"])
	}
	if !on || !d.mounted("authorization") {
		return nil
	}
	app := d.mustApplication(everyFlow("post_logout_redirect_uris", []string{afterLogout}, kind+"_uri", metadata[kind+"_uri"]))
	b := newBrowser(d.t)
	hint := d.authorizeIn(b, app, "response_type", "id_token").Get("id_token")
	return b.get(d.endSession("id_token_hint", hint, "post_logout_redirect_uri", afterLogout))
}

// authenticatedAt reports whether an endpoint takes the parameters for those of a
// client that proved who it is.
func (d *document) authenticatedAt(endpoint string, form url.Values, basic ...string) bool {
	d.t.Helper()
	form.Set("token", "x")
	form.Set("grant_type", "refresh_token")
	form.Set("refresh_token", "x")
	req, err := http.NewRequest(http.MethodPost, d.text(endpoint), strings.NewReader(form.Encode()))
	if err != nil {
		d.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if len(basic) == 2 {
		req.SetBasicAuth(basic[0], basic[1])
	}
	res := newBrowser(d.t).do(req)
	switch {
	case res.StatusCode == http.StatusUnauthorized && res.json(d.t)["error"] == "invalid_client":
		return false
	case res.StatusCode == http.StatusOK, res.StatusCode == http.StatusBadRequest && res.json(d.t)["error"] == "invalid_grant":
		return true
	}
	d.t.Errorf("%s: %d %s", endpoint, res.StatusCode, res.body)
	return false
}

// assertions counts the assertions of a run, of which each has its own jti.
var assertions atomic.Int64

// asserts returns the parameters of an assertion.
func (d *document) asserts(app registered, alg string) url.Values {
	d.t.Helper()
	now := d.clock.now().Unix()
	payload := marshal(d.t, map[string]any{
		"iss": app.id, "sub": app.id, "aud": d.issuer, "iat": now, "exp": now + 60, "jti": strconv.FormatInt(assertions.Add(1), 10),
	})
	return url.Values{
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		"client_assertion":      {d.signedWith(alg, app.secret, payload)},
	}
}

// authenticates proves the methods by which clients authenticate at an endpoint:
// those that are registered anywhere, and at this endpoint.
func authenticates(endpoint string) func(*document) {
	return func(d *document) {
		member := endpoint + "_auth_methods_supported"
		if d.text(endpoint) == "" {
			d.wantNone(member)
			return
		}
		for _, method := range []string{
			"none", "client_secret_basic", "client_secret_post", "client_secret_jwt", "private_key_jwt",
			"tls_client_auth", "self_signed_tls_client_auth", "attest_jwt_client_auth",
		} {
			app, ok := d.application(map[string]any{"token_endpoint_auth_method": method, "jwks": publicJWKS(jose.ES256)})
			if ok {
				form, basic := url.Values{}, []string(nil)
				switch method {
				case "none":
					form.Set("client_id", app.id)
				case "client_secret_basic":
					basic = []string{app.id, app.secret}
				case "client_secret_post":
					form.Set("client_id", app.id)
					form.Set("client_secret", app.secret)
				case "client_secret_jwt":
					form = d.asserts(app, "HS256")
				case "private_key_jwt":
					form = d.asserts(app, "ES256")
				default:
					d.t.Errorf("%s can be registered: prove it here", method)
				}
				ok = d.authenticatedAt(endpoint, form, basic...)
			}
			if ok != d.says(member, method) {
				d.t.Errorf("%s: accepted %v, advertised %v", method, ok, d.members[member])
			}
		}
	}
}

// assertsTo proves the algorithms of assertions at an endpoint, registered and not.
func assertsTo(endpoint string) func(*document) {
	return func(d *document) {
		member := endpoint + "_auth_signing_alg_values_supported"
		if d.text(endpoint) == "" {
			d.wantNone(member)
			return
		}
		for _, alg := range signatureAlgorithms {
			metadata := map[string]any{"token_endpoint_auth_method": "private_key_jwt", "jwks": publicJWKS(jose.RS256, jose.ES256, jose.EdDSA)}
			if strings.HasPrefix(alg, "HS") {
				metadata = map[string]any{"token_endpoint_auth_method": "client_secret_jwt"}
			}
			any := d.mustApplication(metadata)
			if ok := d.authenticatedAt(endpoint, d.asserts(any, alg)); ok != d.says(member, alg) {
				d.t.Errorf("%s: accepted %v, advertised %v", alg, ok, d.members[member])
			}
			metadata["token_endpoint_auth_signing_alg"] = alg
			app, ok := d.application(metadata)
			if ok != d.says(member, alg) || ok && !d.authenticatedAt(endpoint, d.asserts(app, alg)) {
				d.t.Errorf("%s: registered %v, advertised %v", alg, ok, d.members[member])
			}
		}
	}
}

func (d *document) wantNone(member string) {
	d.t.Helper()
	if d.members[member] != nil {
		d.t.Errorf("%s is %v, and what it is about is not there", member, d.members[member])
	}
}
