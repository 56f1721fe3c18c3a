package opkit_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/opkit/opkit"
	"github.com/opkit/opkit/connection"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// A document is the metadata of one configuration, beside the provider that it
// describes.
type document struct {
	*world
	members  map[string]any
	ada      *browser // who signs in once
	site     *site    // what applications serve
	received chan url.Values
}

// proofs compare each member of the metadata with what the endpoints do, in both
// directions: what it says is so, and what it leaves out is refused.
var proofs = map[string]func(*document){
	"issuer":                                                   (*document).proveIssuer,
	"authorization_endpoint":                                   (*document).proveAuthorizationEndpoint,
	"token_endpoint":                                           (*document).proveTokenEndpoint,
	"userinfo_endpoint":                                        (*document).proveUserInfoEndpoint,
	"jwks_uri":                                                 (*document).proveJWKS,
	"registration_endpoint":                                    (*document).proveRegistrationEndpoint,
	"revocation_endpoint":                                      (*document).proveRevocationEndpoint,
	"introspection_endpoint":                                   (*document).proveIntrospectionEndpoint,
	"pushed_authorization_request_endpoint":                    (*document).provePushedRequests,
	"device_authorization_endpoint":                            (*document).proveDeviceAuthorization,
	"end_session_endpoint":                                     (*document).proveEndSession,
	"check_session_iframe":                                     (*document).proveCheckSession,
	"scopes_supported":                                         (*document).proveScopes,
	"response_types_supported":                                 (*document).proveResponseTypes,
	"response_modes_supported":                                 (*document).proveResponseModes,
	"grant_types_supported":                                    (*document).proveGrantTypes,
	"acr_values_supported":                                     (*document).proveACRValues,
	"subject_types_supported":                                  registers("subject_type", "public", "pairwise", "ephemeral"),
	"id_token_signing_alg_values_supported":                    (*document).proveIDTokenAlgorithms,
	"id_token_encryption_alg_values_supported":                 registers("id_token_encrypted_response_alg", keyAlgorithms...),
	"id_token_encryption_enc_values_supported":                 registers("id_token_encrypted_response_enc", contentEncryptions...),
	"userinfo_signing_alg_values_supported":                    registers("userinfo_signed_response_alg", signatureAlgorithms...),
	"userinfo_encryption_alg_values_supported":                 registers("userinfo_encrypted_response_alg", keyAlgorithms...),
	"userinfo_encryption_enc_values_supported":                 registers("userinfo_encrypted_response_enc", contentEncryptions...),
	"introspection_signing_alg_values_supported":               registers("introspection_signed_response_alg", signatureAlgorithms...),
	"introspection_encryption_alg_values_supported":            registers("introspection_encrypted_response_alg", keyAlgorithms...),
	"introspection_encryption_enc_values_supported":            registers("introspection_encrypted_response_enc", contentEncryptions...),
	"request_object_encryption_alg_values_supported":           registers("request_object_encryption_alg", keyAlgorithms...),
	"request_object_encryption_enc_values_supported":           registers("request_object_encryption_enc", contentEncryptions...),
	"token_endpoint_auth_methods_supported":                    authenticates("token_endpoint"),
	"token_endpoint_auth_signing_alg_values_supported":         assertsTo("token_endpoint"),
	"revocation_endpoint_auth_methods_supported":               authenticates("revocation_endpoint"),
	"revocation_endpoint_auth_signing_alg_values_supported":    assertsTo("revocation_endpoint"),
	"introspection_endpoint_auth_methods_supported":            authenticates("introspection_endpoint"),
	"introspection_endpoint_auth_signing_alg_values_supported": assertsTo("introspection_endpoint"),
	"code_challenge_methods_supported":                         (*document).proveChallengeMethods,
	"prompt_values_supported":                                  (*document).provePrompts,
	"claims_supported":                                         (*document).proveClaims,
	"claims_parameter_supported":                               (*document).proveClaimsParameter,
	"request_object_signing_alg_values_supported":              (*document).proveRequestObjectAlgorithms,
	"request_parameter_supported":                              (*document).proveRequestParameter,
	"request_uri_parameter_supported":                          (*document).proveRequestURI,
	"require_request_uri_registration":                         (*document).proveRequestURIRegistration,
	"frontchannel_logout_supported":                            (*document).proveFrontchannelLogout,
	"frontchannel_logout_session_supported":                    (*document).proveFrontchannelLogout,
	"backchannel_logout_supported":                             (*document).proveBackchannelLogout,
	"backchannel_logout_session_supported":                     (*document).proveBackchannelLogout,
	"authorization_response_iss_parameter_supported":           (*document).proveResponseIssuer,
	"client_id_metadata_document_supported":                    (*document).proveClientDocuments,
}

// defaultPaths are where endpoints are unless they are moved or switched off.
var defaultPaths = map[string]string{
	"authorization_endpoint": "/authorize", "token_endpoint": "/oauth/token", "userinfo_endpoint": "/userinfo",
	"jwks_uri": "/.well-known/jwks.json", "registration_endpoint": "/oidc/register", "revocation_endpoint": "/oauth/revoke",
	"introspection_endpoint": "/oauth/introspect", "pushed_authorization_request_endpoint": "/oauth/par",
	"device_authorization_endpoint": "/oauth/device/code", "end_session_endpoint": "/oidc/logout",
	"check_session_iframe": "/oidc/session/check",
}

// RFC 8414 §2, OpenID Connect Discovery §3: whatever is configured, the metadata is
// what the endpoints do.
func TestMetadataTellsTheTruth(t *testing.T) {
	without := func(endpoint func(*tenant.Endpoints) *string) options {
		return options{config: func(c *opkit.Config) { *endpoint(&c.Endpoints) = tenant.NotMounted }}
	}
	seen := map[string]bool{}
	configurations := map[string]options{
		"at the root":               {},
		"below a prefix":            {mount: "prefix"},
		"as single handlers":        {mount: "handlers"},
		"with session management":   {mount: "handlers", config: managed},
		"with unsigned ID tokens":   {config: insecureUnsigned},
		"with two classes of login": {config: func(c *opkit.Config) { c.ACR = connection.ACRConfig{Values: []string{"1", "2"}, Password: "2"} }},
		"with claims in ID tokens":  {config: func(c *opkit.Config) { c.UserClaimsInIDToken = true }},
		"with devices elsewhere":    {config: func(c *opkit.Config) { c.Endpoints.DeviceAuthorization = "https://devices.example.com/code" }},
		"with registration off":     {},
		"with client documents":     {},
		"without authorization":     without(func(e *tenant.Endpoints) *string { return &e.Authorization }),
		"without tokens":            without(func(e *tenant.Endpoints) *string { return &e.Token }),
		"without userinfo":          without(func(e *tenant.Endpoints) *string { return &e.UserInfo }),
		"without keys":              without(func(e *tenant.Endpoints) *string { return &e.JWKS }),
		"without registration":      without(func(e *tenant.Endpoints) *string { return &e.Registration }),
		"without revocation":        without(func(e *tenant.Endpoints) *string { return &e.Revocation }),
		"without introspection":     without(func(e *tenant.Endpoints) *string { return &e.Introspection }),
		"without pushed requests":   without(func(e *tenant.Endpoints) *string { return &e.PushedAuthorizationRequest }),
		"without logout":            without(func(e *tenant.Endpoints) *string { return &e.EndSession }),
	}
	ran := 0
	for name, o := range configurations {
		t.Run(name, func(t *testing.T) {
			ran++
			d := newDocument(t, o)
			switch name {
			case "with registration off":
				d.setFlag(false)
			case "with client documents":
				d.acceptDocuments(true)
			}
			d.read("/.well-known/openid-configuration")
			asOpenID := d.members
			d.read("/.well-known/oauth-authorization-server")
			for member := range d.members {
				seen[member] = true
				if proofs[member] == nil {
					t.Errorf("nothing proves %s: add it to proofs", member)
				}
			}
			if diff := cmp.Diff(asOpenID, d.members); diff != "" {
				t.Errorf("(-OpenID Connect Discovery +RFC 8414)\n%s", diff)
			}
			for member, prove := range proofs {
				t.Run(member, func(t *testing.T) {
					w := *d.world
					w.t = t
					ada := *d.ada
					ada.t = t
					prove(&document{&w, d.members, &ada, d.site, d.received})
				})
			}
		})
	}
	for member := range proofs {
		if ran == len(configurations) && !seen[member] {
			t.Errorf("no configuration has %s", member)
		}
	}
	// Members that none of these configurations has need a proof, too.
	source, err := os.ReadFile("tenant/metadata.go")
	if err != nil {
		t.Fatal(err)
	}
	known := regexp.MustCompile("`json:\"([a-z_]+)[,\"]").FindAllSubmatch(source, -1)
	if len(known) < len(proofs) {
		t.Errorf("%d members found in the source, %d proofs", len(known), len(proofs))
	}
	for _, m := range known {
		if proofs[string(m[1])] == nil {
			t.Errorf("nothing proves %s: add it to proofs, and a configuration that has it", m[1])
		}
	}
}

func newDocument(t *testing.T, o options) *document {
	t.Helper()
	d := &document{ada: newBrowser(t), site: newSite(t), received: make(chan url.Values, 10)}
	d.site.Config.Handler = recordLogout(d.site.Config.Handler, d.received)
	config := o.config
	o.permissive = true
	o.config = func(c *opkit.Config) {
		outboundTo(d.site.Server, "127.0.0.0/8")(c)
		if config != nil {
			config(c)
		}
	}
	d.world = newWorld(t, o)
	if _, err := d.provider.Connections().CreateUser(t.Context(), everyClaim(d.connection), password); err != nil {
		t.Fatal(err)
	}
	return d
}

// recordLogout passes logout tokens on and has the rest served.
func recordLogout(next http.Handler, received chan url.Values) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/backchannel" {
			next.ServeHTTP(rw, r)
			return
		}
		if r.ParseForm() == nil {
			received <- r.PostForm
		}
	})
}

// everyClaim is the user bob, who has a value for every claim.
func everyClaim(conn store.Connection) store.User {
	return store.User{
		TenantID: tenant.DefaultID, ConnectionID: conn.ID, Email: "bob@example.com", EmailVerified: true, Username: "bob",
		Profile: store.Profile{
			Name: "Bob B. Burden", GivenName: "Bob", FamilyName: "Burden", MiddleName: "B.", Nickname: "bob", PreferredUsername: "bob",
			ProfileURL: "https://example.com/bob", Picture: "https://example.com/bob.png", Website: "https://bob.example.com/",
			Gender: "male", Birthdate: "1970-01-01", Zoneinfo: "Europe/Berlin", Locale: "de-DE",
			PhoneNumber: "+4930123456", PhoneNumberVerified: true, Address: &store.Address{Formatted: "Berlin"},
		},
	}
}

func (d *document) read(wellKnown string) {
	d.t.Helper()
	res := newBrowser(d.t).get(d.issuer + wellKnown)
	if res.StatusCode != http.StatusOK {
		d.t.Fatalf("%s: %d %s", wellKnown, res.StatusCode, res.body)
	}
	d.members = res.json(d.t)
}

func (d *document) text(name string) string {
	s, _ := d.members[name].(string)
	return s
}

// says reports whether a list of the metadata has value, or a member is that value.
func (d *document) says(name string, value any) bool {
	if list, ok := d.members[name].([]any); ok {
		return slices.Contains(list, value)
	}
	return d.members[name] == value
}

// mounted reports whether all of these endpoints are there.
func (d *document) mounted(names ...string) bool {
	return !slices.ContainsFunc(names, func(name string) bool { return d.text(name+"_endpoint") == "" })
}

// absent checks that an endpoint which is not advertised is not there either.
func (d *document) absent(name string) {
	d.t.Helper()
	at := d.issuer + defaultPaths[name]
	for _, res := range []*response{newBrowser(d.t).get(at), newBrowser(d.t).post(at, url.Values{"client_id": {"x"}})} {
		if res.StatusCode != http.StatusNotFound {
			d.t.Errorf("%s is not advertised, and %s answers %d %s", name, at, res.StatusCode, res.body)
		}
	}
}

// application returns one with that metadata: one that registered itself, or, where
// that is impossible, one that the tenant created by the same rules.
func (d *document) application(metadata map[string]any) (app registered, ok bool) {
	d.t.Helper()
	request := map[string]any{"client_name": "Application", "redirect_uris": []string{appRedirectURI}}
	for name, value := range metadata {
		request[name] = value
	}
	body := marshal(d.t, request)
	app.redirectURI = appRedirectURI
	if endpoint := d.text("registration_endpoint"); endpoint != "" {
		res := d.sendJSON(http.MethodPost, endpoint, "", string(body))
		out := res.json(d.t)
		if res.StatusCode != http.StatusCreated {
			if res.StatusCode != http.StatusBadRequest || out["error"] != "invalid_client_metadata" {
				d.t.Errorf("registration: %d %s", res.StatusCode, res.body)
			}
			return app, false
		}
		app.id, _ = out["client_id"].(string)
		app.secret, _ = out["client_secret"].(string)
		return app, true
	}
	client := store.Client{TenantID: tenant.DefaultID, SecurityMode: store.ModePermissive, Metadata: &store.ClientMetadata{}}
	for _, target := range []any{&client, client.Metadata} {
		if err := json.Unmarshal(body, target); err != nil {
			d.t.Fatal(err)
		}
	}
	created, secret, err := d.provider.Clients().CreateClient(context.Background(), client, "")
	app.id, app.secret = created.ID, secret
	return app, err == nil
}

// mustApplication is application for metadata that has to be accepted.
func (d *document) mustApplication(metadata map[string]any) registered {
	d.t.Helper()
	app, ok := d.application(metadata)
	if !ok {
		d.t.Fatalf("refused: %v", metadata)
	}
	return app
}

// everyFlow is the metadata of an application that may use each of them.
func everyFlow(more ...any) map[string]any {
	m := map[string]any{
		"grant_types": []string{"authorization_code", "implicit", "refresh_token", "client_credentials"},
		"response_types": []string{
			"code", "token", "id_token", "id_token token", "code id_token", "code token", "code id_token token", "none",
		},
	}
	for pair := range slices.Chunk(more, 2) {
		m[pair[0].(string)] = pair[1]
	}
	return m
}

// authorize lets ada, who is signed in, allow what the application asks for.
func (d *document) authorize(app registered, params ...string) url.Values {
	d.t.Helper()
	return d.answer(d.ada, app, params...)
}

// answer goes through the pages and returns what the application gets, whatever the
// response mode.
func (d *document) answer(b *browser, app registered, params ...string) url.Values {
	d.t.Helper()
	res := b.finish(b.get(d.authorizeURL(app, params...)))
	if res.StatusCode == http.StatusOK && strings.Contains(res.body, `action="`+app.redirectURI+`"`) {
		_, fields := form(d.t, res)
		return fields
	}
	if strings.Contains(res.body, `"authorization_response"`) {
		return url.Values{"code": {"in a message"}}
	}
	return res.location(d.t)
}
