package tenant_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// managementToken returns a token of the tenant's management API with scope, after
// change.
func managementToken(t testing.TB, d *tenant.Directory, scope string, change func(map[string]any)) string {
	t.Helper()
	tn := theTenant(t, d)
	claims := map[string]any{
		"iss": tn.Issuer(), "aud": tn.ManagementAudience(), "sub": "m2m@clients", "client_id": "m2m",
		"exp": time.Now().Add(time.Hour).Unix(), "scope": scope,
	}
	if change != nil {
		change(claims)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	token, err := d.Sign(context.Background(), tn, "ES256", "at+jwt", payload)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// call sends a request with a token for everything.
func call(t testing.TB, d *tenant.Directory, method, body string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, "/api/v2/tenants/settings", strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+managementToken(t, d, "read:tenant_settings update:tenant_settings", nil))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	d.SettingsHandler().ServeHTTP(w, r)
	return w
}

func object(t testing.TB, w *httptest.ResponseRecorder) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &m); err != nil {
		t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	return m
}

func TestSettingsOfANewTenant(t *testing.T) {
	d, _ := newDirectory(t, nil)
	w := call(t, d, http.MethodGet, "")
	want := map[string]any{
		"custom_login_page_on":  false,
		"session_lifetime":      168.0,
		"idle_session_lifetime": 72.0,
		"allowed_logout_urls":   []any{},
		"flags":                 map[string]any{"enable_dynamic_client_registration": false, "enable_dynamic_client_management": false, "client_id_metadata_document_registration": false},
		"dynamic_client_registration_security_mode":     "strict",
		"dynamic_client_registration_access":            "open",
		"dynamic_client_registration_allowed_addresses": []any{},
		"dynamic_client_registration_denied_addresses":  []any{},
	}
	if diff := cmp.Diff(want, object(t, w)); w.Code != http.StatusOK || diff != "" {
		t.Errorf("%d (-want +got):\n%s", w.Code, diff)
	}
	if got := w.Header().Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control %q", got)
	}
}

// The request of the reference page, byte for byte.
func TestEnablingDynamicRegistration(t *testing.T) {
	d, _ := newDirectory(t, nil)
	w := call(t, d, http.MethodPatch, `{ "flags": { "enable_dynamic_client_registration": true } }`)
	if w.Code != http.StatusOK {
		t.Fatal(w.Code, w.Body)
	}
	want := map[string]any{"enable_dynamic_client_registration": true, "enable_dynamic_client_management": false, "client_id_metadata_document_registration": false}
	if diff := cmp.Diff(want, object(t, w)["flags"]); diff != "" {
		t.Error(diff)
	}
	if !theTenant(t, d).Settings().Flags.EnableDynamicClientRegistration {
		t.Error("it is not on")
	}
}

func TestPatchMerges(t *testing.T) {
	d, stores := newDirectory(t, nil)
	steps := []struct {
		body   string
		change func(*store.TenantSettings)
	}{
		{`{"friendly_name":"Example","picture_url":"https://example.com/logo.png","support_email":"help@example.com",
		   "support_url":"http://example.com/help#contact","default_audience":"appointments:api","default_directory":"users",
		   "session_lifetime":24.5,"idle_session_lifetime":1,"allowed_logout_urls":["https://example.com/out"],
		   "dynamic_client_registration_security_mode":"permissive"}`, func(s *store.TenantSettings) {
			*s = store.TenantSettings{
				FriendlyName: "Example", PictureURL: "https://example.com/logo.png", SupportEmail: "help@example.com",
				SupportURL: "http://example.com/help#contact", DefaultAudience: "appointments:api", DefaultDirectory: "users",
				SessionLifetime: 24.5, IdleSessionLifetime: 1, AllowedLogoutURLs: []string{"https://example.com/out"},
				DynamicClientRegistrationSecurityMode: "permissive",
			}
		}},
		{`{"flags":{"enable_dynamic_client_registration":true}}`, func(s *store.TenantSettings) {
			s.Flags.EnableDynamicClientRegistration = true
		}},
		{`{"flags":{"enable_dynamic_client_management":true}}`, func(s *store.TenantSettings) {
			s.Flags.EnableDynamicClientManagement = true
		}},
		{`{"dynamic_client_registration_allowed_addresses":["198.51.100.0/24","2001:db8::/32"],"dynamic_client_registration_denied_addresses":["198.51.100.7"]}`, func(s *store.TenantSettings) {
			s.DynamicClientRegistrationAllowedAddresses = []string{"198.51.100.0/24", "2001:db8::/32"}
			s.DynamicClientRegistrationDeniedAddresses = []string{"198.51.100.7"}
		}},
		{`{"dynamic_client_registration_allowed_addresses":[],"dynamic_client_registration_denied_addresses":null}`, func(s *store.TenantSettings) {
			s.DynamicClientRegistrationAllowedAddresses = []string{}
			s.DynamicClientRegistrationDeniedAddresses = nil
		}},
		{`{"dynamic_client_registration_rules":{"grant_types":["authorization_code"],"redirect_hosts":["*.example.com"],"refused_names":["Acme"],"logos":"none"}}`, func(s *store.TenantSettings) {
			s.DynamicClientRegistrationRules = &store.RegistrationRules{
				GrantTypes: []string{"authorization_code"}, RedirectHosts: []string{"*.example.com"}, RefusedNames: []string{"Acme"}, Logos: store.LogosNone,
			}
		}},
		{`{"dynamic_client_registration_rules":{"scopes":["openid"]}}`, func(s *store.TenantSettings) {
			s.DynamicClientRegistrationRules = &store.RegistrationRules{Scopes: []string{"openid"}} // as a whole
		}},
		{`{"dynamic_client_registration_rules":null}`, func(s *store.TenantSettings) { s.DynamicClientRegistrationRules = nil }},
		{`{"dynamic_client_registration_rules":{}}`, func(*store.TenantSettings) {}},
		{`{"dynamic_client_registration_access":"initial_access_token"}`, func(s *store.TenantSettings) {
			s.DynamicClientRegistrationAccess = store.AccessInitialToken
		}},
		{`{"flags":{}}`, func(*store.TenantSettings) {}},
		{`{}`, func(*store.TenantSettings) {}},
		{`{"friendly_name":"Other"}`, func(s *store.TenantSettings) { s.FriendlyName = "Other" }},
		{`{"friendly_name":null,"picture_url":""}`, func(s *store.TenantSettings) { s.FriendlyName, s.PictureURL = "", "" }},
		{`{"session_lifetime":null,"allowed_logout_urls":null,"dynamic_client_registration_security_mode":null,
			"dynamic_client_registration_access":null}`, func(s *store.TenantSettings) {
			s.SessionLifetime, s.AllowedLogoutURLs, s.DynamicClientRegistrationSecurityMode = 0, nil, ""
			s.DynamicClientRegistrationAccess = ""
		}},
	}
	var want store.TenantSettings
	for _, step := range steps {
		w := call(t, d, http.MethodPatch, step.body)
		if w.Code != http.StatusOK {
			t.Fatalf("%s: %d %s", step.body, w.Code, w.Body)
		}
		step.change(&want)
		record, err := stores.Tenants.Tenant(t.Context(), tenant.DefaultID)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, record.Settings); diff != "" {
			t.Errorf("after %s (-want +got):\n%s", step.body, diff)
		}
		if diff := cmp.Diff(object(t, call(t, d, http.MethodGet, "")), object(t, w)); diff != "" {
			t.Errorf("PATCH and GET answer differently (-GET +PATCH):\n%s", diff)
		}
	}
}

func TestAPatchThatChangesNothingWritesNothing(t *testing.T) {
	d, stores := newDirectory(t, nil)
	call(t, d, http.MethodPatch, `{"friendly_name":"Example"}`)
	before, _ := stores.Tenants.Tenant(t.Context(), tenant.DefaultID)
	call(t, d, http.MethodPatch, `{"friendly_name":"Example","flags":{"enable_dynamic_client_registration":false}}`)
	if after, _ := stores.Tenants.Tenant(t.Context(), tenant.DefaultID); after.Version != before.Version {
		t.Errorf("version %d became %d", before.Version, after.Version)
	}
}

func TestInvalidPatchesNameTheMember(t *testing.T) {
	for body, want := range map[string]string{
		`{"nonsense":1}`: "nonsense",
		`{"Flags":{"enable_dynamic_client_registration":true}}`:   "Flags",
		`{"flags":{"Enable_dynamic_client_registration":true}}`:   "flags.Enable_dynamic_client_registration",
		`{"flags":{"enable_client_connections":true}}`:            "flags.enable_client_connections",
		`{"flags":{"enable_dynamic_client_registration":"true"}}`: "flags.enable_dynamic_client_registration must be a boolean",
		`{"flags":{"enable_dynamic_client_registration":null}}`:   "flags.enable_dynamic_client_registration must be a boolean",
		`{"flags":{"enable_dynamic_client_registration":1}}`:      "flags.enable_dynamic_client_registration must be a boolean",
		`{"flags":null}`:      "flags must be an object",
		`{"flags":[]}`:        "flags must be an object",
		`{"flags":true}`:      "flags must be an object",
		`{"friendly_name":1}`: "friendly_name must be a string",
		`{"dynamic_client_registration_rules":[]}`:                                                         "dynamic_client_registration_rules must be an object",
		`{"dynamic_client_registration_rules":{"grants":[]}}`:                                              "dynamic_client_registration_rules.grants",
		`{"dynamic_client_registration_rules":{"scopes":"openid"}}`:                                        "dynamic_client_registration_rules.scopes must be",
		`{"dynamic_client_registration_rules":{"grant_types":["password"]}}`:                               "dynamic_client_registration_rules grant_types must have none but",
		`{"dynamic_client_registration_rules":{"redirect_hosts":["*.com"]}}`:                               "dynamic_client_registration_rules redirect_hosts must have hosts",
		`{"dynamic_client_registration_rules":{"logos":"all"}}`:                                            "dynamic_client_registration_rules logos must be",
		`{"friendly_name":["a"]}`:                                                                          "friendly_name must be a string",
		`{"friendly_name":"a\u0007"}`:                                                                      "friendly_name",
		`{"friendly_name":"` + strings.Repeat("ä", 257) + `"}`:                                             "friendly_name",
		`{"picture_url":"javascript:alert(1)"}`:                                                            "picture_url",
		`{"picture_url":"data:image/png;base64,AA"}`:                                                       "picture_url",
		`{"picture_url":"//example.com/logo.png"}`:                                                         "picture_url",
		`{"picture_url":"https://u:p@example.com/"}`:                                                       "picture_url",
		`{"picture_url":"https:///logo.png"}`:                                                              "picture_url",
		`{"support_url":"ftp://example.com"}`:                                                              "support_url",
		`{"support_email":"nobody"}`:                                                                       "support_email",
		`{"support_email":"A <a@example.com>"}`:                                                            "support_email",
		`{"support_email":"<a@example.com>"}`:                                                              "support_email",
		`{"support_email":"a@example.com, b@example.com"}`:                                                 "support_email",
		`{"session_lifetime":0}`:                                                                           "session_lifetime",
		`{"session_lifetime":-1}`:                                                                          "session_lifetime",
		`{"session_lifetime":8760.5}`:                                                                      "session_lifetime",
		`{"session_lifetime":"24"}`:                                                                        "session_lifetime must be a number",
		`{"idle_session_lifetime":1e300}`:                                                                  "idle_session_lifetime",
		`{"idle_session_lifetime":0}`:                                                                      "idle_session_lifetime",
		`{"allowed_logout_urls":"https://example.com"}`:                                                    "allowed_logout_urls must be an array",
		`{"allowed_logout_urls":["https://example.com",1]}`:                                                "allowed_logout_urls[1] must be a string",
		`{"allowed_logout_urls":["https://*.example.com"]}`:                                                "allowed_logout_urls",
		`{"allowed_logout_urls":["com.example.app:/out"]}`:                                                 "allowed_logout_urls",
		`{"allowed_logout_urls":["javascript:alert(1)"]}`:                                                  "allowed_logout_urls",
		`{"dynamic_client_registration_security_mode":"lax"}`:                                              `dynamic_client_registration_security_mode must be "strict" or "permissive"`,
		`{"dynamic_client_registration_security_mode":""}`:                                                 "dynamic_client_registration_security_mode",
		`{"dynamic_client_registration_access":"closed"}`:                                                  `dynamic_client_registration_access must be "open" or "initial_access_token"`,
		`{"dynamic_client_registration_allowed_addresses":"10.0.0.0/8"}`:                                   "dynamic_client_registration_allowed_addresses must be an array",
		`{"dynamic_client_registration_allowed_addresses":[10]}`:                                           "dynamic_client_registration_allowed_addresses[0] must be a string",
		`{"dynamic_client_registration_allowed_addresses":["10.0.0.1/8"]}`:                                 "dynamic_client_registration_allowed_addresses must hold addresses and CIDR blocks: element 0 has bits behind its length; write 10.0.0.0/8",
		`{"dynamic_client_registration_denied_addresses":["::1","localhost"]}`:                             "dynamic_client_registration_denied_addresses must hold addresses and CIDR blocks: element 1 is neither",
		`{"dynamic_client_registration_denied_addresses":["fe80::1%eth0"]}`:                                "element 0 has a zone",
		`{"dynamic_client_registration_denied_addresses":["::ffff:10.0.0.1"]}`:                             "write 10.0.0.1",
		`{"dynamic_client_registration_access":""}`:                                                        "dynamic_client_registration_access",
		`{"friendly_name":"a","friendly_name":"b"}`:                                                        "twice",
		`{"flags":{"enable_dynamic_client_registration":true,"enable_dynamic_client_registration":false}}`: "twice",
		`{"flags":{}} {}`: "not valid JSON",
		`[]`:              "must be a JSON object",
		``:                "must be a JSON object",
		`{`:               "not valid JSON",
	} {
		d, stores := newDirectory(t, nil)
		w := call(t, d, http.MethodPatch, body)
		m := object(t, w)
		if w.Code != http.StatusBadRequest || m["statusCode"] != 400.0 || m["error"] != "Bad Request" || m["errorCode"] != "invalid_body" ||
			!strings.Contains(fmt.Sprint(m["message"]), want) {
			t.Errorf("%s: %d %v; want 400 invalid_body that says %q", body, w.Code, m, want)
		}
		record, err := stores.Tenants.Tenant(t.Context(), tenant.DefaultID)
		if err != nil || record.Version != 1 {
			t.Errorf("%s: written", body)
		}
	}
}

func TestOtherMethodsAreNotAllowed(t *testing.T) {
	d, _ := newDirectory(t, nil)
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions} {
		w := call(t, d, method, `{}`)
		if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, PATCH" {
			t.Errorf("%s: %d, Allow %q", method, w.Code, w.Header().Get("Allow"))
		}
	}
}

// conflicting lets somebody else change the record before each of the first
// updates.
type conflicting struct {
	store.TenantStore
	times int
}

func (c *conflicting) UpdateTenant(ctx context.Context, t store.Tenant) error {
	if c.times > 0 {
		c.times--
		other, err := c.Tenant(ctx, t.ID)
		if err != nil {
			return err
		}
		other.Settings.SupportEmail = fmt.Sprintf("help%d@example.com", c.times)
		if err := c.TenantStore.UpdateTenant(ctx, other); err != nil {
			return err
		}
	}
	return c.TenantStore.UpdateTenant(ctx, t)
}

func TestChangesThatCollideAreRetriedAndNotLost(t *testing.T) {
	c := &conflicting{times: 3}
	d, stores := newDirectory(t, func(cfg *tenant.Config) {
		c.TenantStore = cfg.Stores.Tenants
		cfg.Stores.Tenants = c
	})
	if w := call(t, d, http.MethodPatch, `{"friendly_name":"Example"}`); w.Code != http.StatusOK {
		t.Fatal(w.Code, w.Body)
	}
	record, err := stores.Tenants.Tenant(t.Context(), tenant.DefaultID)
	want := store.TenantSettings{FriendlyName: "Example", SupportEmail: "help0@example.com"}
	if diff := cmp.Diff(want, record.Settings); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}

	c.times = 1000
	if w := call(t, d, http.MethodPatch, `{"friendly_name":"Other"}`); w.Code != http.StatusConflict {
		t.Errorf("without end: %d %s", w.Code, w.Body)
	}
}

func TestConcurrentChangesAllCount(t *testing.T) {
	a, stores := newDirectory(t, nil)
	b, _ := newDirectory(t, func(cfg *tenant.Config) { cfg.Stores = stores })
	theTenant(t, a)
	var wait sync.WaitGroup
	for i, d := range []*tenant.Directory{a, b, a, b} {
		wait.Go(func() {
			for {
				_, err := d.UpdateSettings(context.Background(), tenant.DefaultID, func(s *store.TenantSettings) error {
					s.AllowedLogoutURLs = append(s.AllowedLogoutURLs, fmt.Sprintf("https://example.com/%d", i))
					return nil
				})
				if !errors.Is(err, store.ErrConflict) {
					if err != nil {
						t.Error(err)
					}
					return
				}
			}
		})
	}
	wait.Wait()
	if got := len(theTenant(t, a).Settings().AllowedLogoutURLs); got != 4 {
		t.Errorf("%d of 4 changes are there", got)
	}
}

func TestAChangeThatFailsDoesNotReachTheSnapshot(t *testing.T) {
	d, _ := newDirectory(t, func(cfg *tenant.Config) {
		cfg.Settings.AllowedLogoutURLs = []string{"https://example.com/out"}
	})
	tn := theTenant(t, d)
	d.UpdateSettings(t.Context(), tenant.DefaultID, func(s *store.TenantSettings) error {
		s.AllowedLogoutURLs[0] = "https://evil.test/"
		return errors.New("no")
	})
	if got := tn.Settings().AllowedLogoutURLs[0]; got != "https://example.com/out" {
		t.Errorf("the snapshot says %q", got)
	}
}

func TestUpdateSettingsReturnsTheErrorOfTheChange(t *testing.T) {
	d, _ := newDirectory(t, nil)
	mine := errors.New("mine")
	got, err := d.UpdateSettings(t.Context(), tenant.DefaultID, func(s *store.TenantSettings) error {
		s.FriendlyName = "changed"
		return mine
	})
	if err != mine || got.ID != "" || theTenant(t, d).Settings().FriendlyName != "" {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []float64{math.NaN(), math.Inf(1), -1} {
		if _, err := d.UpdateSettings(t.Context(), tenant.DefaultID, func(s *store.TenantSettings) error {
			s.SessionLifetime = bad
			return nil
		}); err == nil {
			t.Errorf("session lifetime %v was accepted", bad)
		}
	}
}

// FuzzSettings sends arbitrary bodies: whatever is refused must change nothing, and
// whatever is accepted must be valid when it is read back.
func FuzzSettings(f *testing.F) {
	for _, body := range []string{
		`{"flags":{"enable_dynamic_client_registration":true}}`, `{"friendly_name":null}`, `{"session_lifetime":1e3}`,
		`{"allowed_logout_urls":["https://example.com"]}`, `{"picture_url":"https://example.com/\u0000"}`, `{"a":{"a":{"a":1}}}`, `{`, `[]`,
	} {
		f.Add([]byte(body))
	}
	d, stores := newDirectory(f, func(c *tenant.Config) { c.ManagementRate = tenant.ManagementRate{PerSecond: 1e9, Burst: 1e9} })
	token := managementToken(f, d, "update:tenant_settings", nil)
	h := d.SettingsHandler()
	f.Fuzz(func(t *testing.T, body []byte) {
		before, err := stores.Tenants.Tenant(t.Context(), tenant.DefaultID)
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest(http.MethodPatch, "/", bytes.NewReader(body))
		r.Header.Set("Authorization", "Bearer "+token)
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		after, err := stores.Tenants.Tenant(t.Context(), tenant.DefaultID)
		if err != nil {
			t.Fatal(err)
		}
		switch w.Code {
		case http.StatusOK:
			if _, err := d.UpdateSettings(t.Context(), tenant.DefaultID, func(*store.TenantSettings) error { return nil }); err != nil {
				t.Errorf("accepted, but %v", err)
			}
		case http.StatusBadRequest, http.StatusRequestEntityTooLarge:
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("refused, but changed:\n%s", diff)
			}
		default:
			t.Errorf("status %d: %s", w.Code, w.Body)
		}
	})
}

// SDKs send lifetimes below an hour in minutes.
func TestLifetimesInMinutes(t *testing.T) {
	d, _ := newDirectory(t, nil)
	w := call(t, d, http.MethodPatch, `{"session_lifetime_in_minutes":90,"idle_session_lifetime_in_minutes":15}`)
	got := object(t, w)
	if w.Code != http.StatusOK || got["session_lifetime"] != 1.5 || got["idle_session_lifetime"] != 0.25 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	for body, message := range map[string]string{
		`{"session_lifetime":1,"session_lifetime_in_minutes":60}`: "session_lifetime and session_lifetime_in_minutes exclude each other",
		`{"session_lifetime_in_minutes":0}`:                       "session_lifetime must",
		`{"session_lifetime_in_minutes":-1}`:                      "session_lifetime must",
		`{"idle_session_lifetime_in_minutes":"15"}`:               "idle_session_lifetime_in_minutes must be a number",
	} {
		if w := call(t, d, http.MethodPatch, body); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), message) {
			t.Errorf("%s: %d %s", body, w.Code, w.Body)
		}
	}
	if got := object(t, call(t, d, http.MethodGet, "")); got["session_lifetime"] != 1.5 || got["idle_session_lifetime"] != 0.25 {
		t.Errorf("a refused request changed %v", got)
	}
	if got := object(t, call(t, d, http.MethodPatch, `{"session_lifetime_in_minutes":null}`)); got["session_lifetime"] != 168.0 {
		t.Errorf("after null: %v", got)
	}
}
