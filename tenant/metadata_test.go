package tenant_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

func document(t *testing.T, h http.Handler, target string) map[string]any {
	t.Helper()
	w := get(h, target)
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("%s: %d %s", target, w.Code, w.Header())
	}
	var m map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestMetadataOfEverything(t *testing.T) {
	list := func(s ...any) []any { return s }
	d, _ := newDirectory(t, func(cfg *tenant.Config) {
		cfg.Issuer = "https://login.example.com/"
		cfg.Settings.Flags.EnableDynamicClientRegistration = true
		cfg.Endpoints.CheckSession = "/oidc/session/check"
		cfg.Capabilities = tenant.Capabilities{
			ResponseTypes: []string{"code", "id_token token"}, ResponseModes: []string{"query"}, GrantTypes: []string{"authorization_code"},
			Scopes: []string{"openid"}, Claims: []string{"sub"}, Prompts: []string{"none"},
			TokenEndpointAuthMethods: []string{"none"}, TokenEndpointAuthSigningAlgs: []string{"ES256"},
			IntrospectionAuthMethods: []string{"client_secret_post"}, IntrospectionSigningAlgs: []string{"RS256"},
			IDTokenSigningAlgs: []string{"RS256"}, CodeChallengeMethods: []string{"S256"}, SubjectTypes: []string{"public"}, ACRValues: []string{"1"},
			RequestObjectSigningAlgs: []string{"RS256", "none"}, RequestObjectsByReference: true, ClaimsParameter: true,
			RequestObjectEncryptionAlgs: []string{"ECDH-ES"}, RequestObjectEncryptionEncs: []string{"A128GCM"},
			UserInfoSigningAlgs: []string{"ES256"}, EncryptionAlgs: []string{"ECDH-ES"}, EncryptionEncs: []string{"A128GCM"},
		}
	})
	want := map[string]any{
		"issuer":                                                   "https://login.example.com/",
		"authorization_endpoint":                                   "https://login.example.com/authorize",
		"token_endpoint":                                           "https://login.example.com/oauth/token",
		"userinfo_endpoint":                                        "https://login.example.com/userinfo",
		"jwks_uri":                                                 "https://login.example.com/.well-known/jwks.json",
		"registration_endpoint":                                    "https://login.example.com/oidc/register",
		"revocation_endpoint":                                      "https://login.example.com/oauth/revoke",
		"introspection_endpoint":                                   "https://login.example.com/oauth/introspect",
		"pushed_authorization_request_endpoint":                    "https://login.example.com/oauth/par",
		"device_authorization_endpoint":                            "https://login.example.com/oauth/device/code",
		"end_session_endpoint":                                     "https://login.example.com/oidc/logout",
		"check_session_iframe":                                     "https://login.example.com/oidc/session/check",
		"scopes_supported":                                         list("openid"),
		"response_types_supported":                                 list("code", "id_token token"),
		"response_modes_supported":                                 list("query"),
		"grant_types_supported":                                    list("authorization_code"),
		"acr_values_supported":                                     list("1"),
		"subject_types_supported":                                  list("public"),
		"id_token_signing_alg_values_supported":                    list("RS256"),
		"id_token_encryption_alg_values_supported":                 list("ECDH-ES"),
		"id_token_encryption_enc_values_supported":                 list("A128GCM"),
		"userinfo_encryption_alg_values_supported":                 list("ECDH-ES"),
		"userinfo_encryption_enc_values_supported":                 list("A128GCM"),
		"introspection_encryption_alg_values_supported":            list("ECDH-ES"),
		"introspection_encryption_enc_values_supported":            list("A128GCM"),
		"request_object_encryption_alg_values_supported":           list("ECDH-ES"),
		"request_object_encryption_enc_values_supported":           list("A128GCM"),
		"userinfo_signing_alg_values_supported":                    list("ES256"),
		"token_endpoint_auth_methods_supported":                    list("none"),
		"token_endpoint_auth_signing_alg_values_supported":         list("ES256"),
		"revocation_endpoint_auth_methods_supported":               list("none"),
		"introspection_endpoint_auth_methods_supported":            list("client_secret_post"),
		"revocation_endpoint_auth_signing_alg_values_supported":    list("ES256"),
		"introspection_endpoint_auth_signing_alg_values_supported": list("ES256"),
		"introspection_signing_alg_values_supported":               list("RS256"),
		"code_challenge_methods_supported":                         list("S256"),
		"prompt_values_supported":                                  list("none"),
		"claims_supported":                                         list("sub"),
		"claims_parameter_supported":                               true,
		"request_parameter_supported":                              true,
		"request_object_signing_alg_values_supported":              list("RS256", "none"),
		"request_uri_parameter_supported":                          true,
		"require_request_uri_registration":                         true,
		"authorization_response_iss_parameter_supported":           true,
	}
	if diff := cmp.Diff(want, document(t, d.Discovery(), "/.well-known/openid-configuration")); diff != "" {
		t.Errorf("metadata (-want +got):\n%s", diff)
	}
}

func TestMetadataDoesNotMentionWhatIsNotMounted(t *testing.T) {
	const no = tenant.NotMounted
	d, _ := newDirectory(t, func(cfg *tenant.Config) {
		cfg.Endpoints = tenant.Endpoints{
			Authorization: no, Login: no, Consent: no, LoginCallback: no, Token: no, UserInfo: no, JWKS: no, Registration: no,
			Revocation: no, Introspection: no, PushedAuthorizationRequest: no, DeviceAuthorization: no, DeviceActivation: no,
			EndSession: no, CheckSession: no, Management: no,
		}
		cfg.Settings.Flags.EnableDynamicClientRegistration = true
		cfg.Capabilities.TokenEndpointAuthMethods = []string{"none"}
		cfg.Capabilities.CodeChallengeMethods = []string{"S256"}
	})
	for name := range document(t, d.Discovery(), "/") {
		switch name {
		case "issuer", "subject_types_supported", "id_token_signing_alg_values_supported",
			"claims_parameter_supported", "request_parameter_supported", "request_uri_parameter_supported":
		default:
			t.Errorf("%s is there although nothing is mounted", name)
		}
	}
}

func TestMetadataFollowsWhereEndpointsAre(t *testing.T) {
	d, _ := newDirectory(t, func(cfg *tenant.Config) {
		cfg.Endpoints = tenant.Endpoints{Token: "/auth/token", UserInfo: "https://api.example.com/me"}
	})
	m := document(t, d.Discovery(), "/")
	if got, want := m["token_endpoint"], issuer+"/auth/token"; got != want {
		t.Errorf("token_endpoint %v, want %v", got, want)
	}
	if got, want := m["userinfo_endpoint"], "https://api.example.com/me"; got != want {
		t.Errorf("userinfo_endpoint %v, want %v", got, want)
	}
	if e := d.Endpoints(); e.Token != "/auth/token" || e.Authorization != "/authorize" || e.ClientConfiguration != "/oidc/register" {
		t.Errorf("endpoints %+v", e)
	}
}

func TestRegistrationIsAdvertisedOnlyWhileItIsOn(t *testing.T) {
	d, _ := newDirectory(t, nil)
	set := func(on bool) {
		t.Helper()
		if _, err := d.UpdateSettings(t.Context(), tenant.DefaultID, func(s *store.TenantSettings) error {
			s.Flags.EnableDynamicClientRegistration = on
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	advertised := func() bool {
		_, ok := document(t, d.Discovery(), "/")["registration_endpoint"]
		return ok
	}
	if advertised() {
		t.Error("advertised for a new tenant")
	}
	if set(true); !advertised() {
		t.Error("not advertised after it was switched on")
	}
	if set(false); advertised() {
		t.Error("advertised after it was switched off")
	}
}

func TestBothWellKnownFormsAreTheSameBytes(t *testing.T) {
	d, _ := newDirectory(t, func(cfg *tenant.Config) { cfg.Issuer = "https://example.com/idp" })
	want := get(d.Discovery(), "/idp/.well-known/openid-configuration").Body.String()
	for _, target := range []string{
		"/.well-known/openid-configuration", "/.well-known/oauth-authorization-server/idp",
		"/.well-known/openid-configuration/idp", "/idp/.well-known/oauth-authorization-server/",
	} {
		if got := get(d.Discovery(), target).Body.String(); got != want {
			t.Errorf("%s differs: %s", target, got)
		}
	}
}

func TestDocumentsCanBeCachedAndRevalidated(t *testing.T) {
	d, _ := newDirectory(t, nil)
	for name, h := range map[string]http.Handler{"metadata": d.Discovery(), "JWKS": d.JWKS()} {
		first := get(h, "/")
		etag := first.Header().Get("ETag")
		if etag == "" || !strings.HasPrefix(first.Header().Get("Cache-Control"), "public, max-age=") {
			t.Errorf("%s: headers %v", name, first.Header())
		}
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("If-None-Match", etag)
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code != http.StatusNotModified || w.Body.Len() != 0 {
			t.Errorf("%s: revalidation answers %d with %d bytes", name, w.Code, w.Body.Len())
		}
		w = httptest.NewRecorder()
		if h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", nil)); w.Code != http.StatusMethodNotAllowed {
			t.Errorf("%s: POST answers %d", name, w.Code)
		}
	}
	before := get(d.Discovery(), "/").Header().Get("ETag")
	if _, err := d.UpdateSettings(t.Context(), tenant.DefaultID, enableRegistration); err != nil {
		t.Fatal(err)
	}
	if after := get(d.Discovery(), "/").Header().Get("ETag"); after == before {
		t.Error("the ETag stayed although the document changed")
	}
}

// Clients that probe several addresses go on after a 404 and stop at anything
// else.
func TestNoTenantIsA404InJSON(t *testing.T) {
	d, _ := newDirectory(t, func(cfg *tenant.Config) { cfg.Issuer, cfg.Resolver = "", tenant.ByPath("/t") })
	for _, h := range []http.Handler{d.Discovery(), d.JWKS()} {
		w := get(h, "/t/nobody/.well-known/openid-configuration")
		if w.Code != http.StatusNotFound || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
		}
	}
}
