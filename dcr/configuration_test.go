package dcr

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/opkit/opkit/internal/seal"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

func manageable(s *store.TenantSettings) { s.Flags.EnableDynamicClientManagement = true }

// configure sends a request to the client configuration endpoint.
func (f *fixture) configure(method, id, token, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "https://login.example.com/oidc/register/"+id, strings.NewReader(body))
	r.SetPathValue("id", id)
	r.Header.Set("Content-Type", "application/json")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	f.registrar.ClientConfiguration().ServeHTTP(w, r)
	return w
}

// managed registers an application and returns the answer.
func (f *fixture) managed(body string) information {
	f.t.Helper()
	info, _ := f.register(body)
	if info.RegistrationAccessToken == "" {
		f.t.Fatal("no registration access token")
	}
	return info
}

// put replaces a registration, which has to succeed. members are beside client_id.
func (f *fixture) put(id, token, members string) (information, store.Client) {
	f.t.Helper()
	w := f.configure("PUT", id, token, f.replacement(id, members))
	if w.Code != http.StatusOK {
		f.t.Fatalf("PUT %s: %d %s", members, w.Code, w.Body)
	}
	return f.decode(w), f.client(id)
}

func (f *fixture) replacement(id, members string) string {
	return strings.TrimSuffix(with(members), "}") + `,"client_id":"` + id + `"}`
}

func TestRegistrationAnswersHaveTokenAndURIOrNeither(t *testing.T) {
	for name, c := range map[string]struct {
		settings  func(*store.TenantSettings)
		endpoints tenant.Endpoints
		uri       string
	}{
		"off":             {nil, tenant.Endpoints{}, ""},
		"on":              {manageable, tenant.Endpoints{}, "https://login.example.com/oidc/register/"},
		"moved":           {manageable, tenant.Endpoints{Registration: "/apps"}, "https://login.example.com/apps/"},
		"moved apart":     {manageable, tenant.Endpoints{ClientConfiguration: "/app"}, "https://login.example.com/app/"},
		"on another host": {manageable, tenant.Endpoints{ClientConfiguration: "https://apps.example.com/v1"}, "https://apps.example.com/v1/"},
		"not mounted":     {manageable, tenant.Endpoints{ClientConfiguration: tenant.NotMounted}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, options{settings: c.settings, endpoints: c.endpoints})
			info, stored := f.register(with(""))
			if c.uri == "" {
				if info.RegistrationAccessToken != "" || info.RegistrationClientURI != "" || stored.Registration != nil {
					t.Errorf("answer %v, stored %+v", info.raw, stored.Registration)
				}
				return
			}
			if len(info.RegistrationAccessToken) != 64 || info.RegistrationClientURI != c.uri+info.ClientID {
				t.Errorf("token %q, URI %q", info.RegistrationAccessToken, info.RegistrationClientURI)
			}
			want := &store.ClientRegistration{TokenDigest: store.DigestOf(info.RegistrationAccessToken)}
			if diff := cmp.Diff(want, stored.Registration); diff != "" {
				t.Errorf("stored (-want +got)\n%s", diff)
			}
		})
	}
}

func TestReadingARegistration(t *testing.T) {
	f := newFixture(t, options{settings: manageable, mode: store.ModePermissive})
	registered := f.managed(with(`"client_name":"A","logo_uri":"https://client.example.com/logo.png","id_token_signed_response_alg":"HS256"`))
	w := f.configure("GET", registered.ClientID, registered.RegistrationAccessToken, "")
	// RFC 7592 §3: as at registration. The secret is not kept in a form that can be
	// shown, or not for showing.
	delete(registered.raw, "client_secret")
	delete(registered.raw, "client_secret_expires_at")
	if diff := cmp.Diff(registered.raw, f.decode(w).raw); w.Code != http.StatusOK || diff != "" {
		t.Errorf("%d (-registered +read)\n%s", w.Code, diff)
	}
	if w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("header %v", w.Header())
	}
	if v := f.client(registered.ClientID).Version; v != 1 {
		t.Errorf("reading made version %d", v)
	}
}

// With the setting off nothing is looked up, whoever asks for whatever.
func TestConfigurationIsOffByDefault(t *testing.T) {
	for name, settings := range map[string]func(*store.TenantSettings){
		"management off": nil,
		"registration off": func(s *store.TenantSettings) {
			manageable(s)
			s.Flags.EnableDynamicClientRegistration = false
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, options{settings: settings})
			reads := &unreadable{ClientStore: f.stores.Clients, t: t}
			f.registrar.uncached = reads
			id := "tpc_" + strings.Repeat("a", 32)
			if err := f.stores.Clients.CreateClient(context.Background(), store.Client{
				TenantID: tenant.DefaultID, ID: id, Registration: &store.ClientRegistration{TokenDigest: store.DigestOf("token")},
			}); err != nil {
				t.Fatal(err)
			}
			for _, method := range []string{"GET", "PUT", "DELETE"} {
				for _, who := range [][2]string{{id, "token"}, {id, "wrong"}, {id, ""}, {"unknown", "token"}, {"unknown", ""}, {"", ""}} {
					w := f.configure(method, who[0], who[1], f.replacement(id, ""))
					want := `{"error":"access_denied","error_description":"applications of this tenant cannot be managed by those who registered them"}` + "\n"
					if w.Code != http.StatusForbidden || w.Body.String() != want || w.Header().Get("WWW-Authenticate") != "" {
						t.Errorf("%s %s: %d %s", method, who, w.Code, w.Body)
					}
				}
			}
			if c := f.client(id); c.Version != 1 {
				t.Errorf("changed: %+v", c)
			}
		})
	}
}

type unreadable struct {
	store.ClientStore
	t *testing.T
}

func (s *unreadable) Client(context.Context, string, string) (store.Client, error) {
	s.t.Error("a client was looked up")
	return store.Client{}, store.ErrNotFound
}

// Who has not the token of this very client cannot tell whether the client exists.
func TestWrongTokensAreAllTheSame(t *testing.T) {
	f := newFixture(t, options{settings: manageable})
	mine, theirs := f.managed(with("")), f.managed(with(""))
	without := store.Client{TenantID: tenant.DefaultID, ID: "without", RedirectURIs: []string{"https://a.example/"}}
	elsewhere := store.Client{TenantID: "other", ID: "elsewhere", Registration: &store.ClientRegistration{TokenDigest: store.DigestOf(mine.RegistrationAccessToken)}}
	for _, c := range []store.Client{without, elsewhere} {
		if err := f.stores.Clients.CreateClient(context.Background(), c); err != nil {
			t.Fatal(err)
		}
	}
	deleted := f.managed(with(""))
	if w := f.configure("DELETE", deleted.ClientID, deleted.RegistrationAccessToken, ""); w.Code != http.StatusNoContent || w.Body.Len() != 0 {
		t.Fatalf("DELETE: %d %s", w.Code, w.Body)
	}
	const realm = `Bearer realm="https://login.example.com"`
	for _, method := range []string{"GET", "PUT", "DELETE"} {
		for name, who := range map[string][2]string{
			"another client's token":   {mine.ClientID, theirs.RegistrationAccessToken},
			"the client secret":        {mine.ClientID, mine.ClientSecret},
			"the digest of the token":  {mine.ClientID, store.DigestOf(mine.RegistrationAccessToken).String()},
			"a token cut off":          {mine.ClientID, mine.RegistrationAccessToken[:63]},
			"a longer token":           {mine.ClientID, mine.RegistrationAccessToken + "x"},
			"a very long token":        {mine.ClientID, strings.Repeat("x", 64<<10)},
			"unknown client":           {"tpc_" + strings.Repeat("a", 32), mine.RegistrationAccessToken},
			"client without a token":   {without.ID, mine.RegistrationAccessToken},
			"client of another tenant": {elsewhere.ID, mine.RegistrationAccessToken},
			"deleted client":           {deleted.ClientID, deleted.RegistrationAccessToken},
			"no client":                {".", mine.RegistrationAccessToken},
			"odd identifier":           {"a%00b", mine.RegistrationAccessToken},
			"long identifier":          {strings.Repeat("a", 2048), mine.RegistrationAccessToken},
		} {
			w := f.configure(method, who[0], who[1], f.replacement(who[0], ""))
			if info := f.decode(w); w.Code != http.StatusUnauthorized || info.Error != "invalid_token" ||
				info.ErrorDescription != "the registration access token is not that of this application, or was replaced" ||
				!strings.HasPrefix(w.Header().Get("WWW-Authenticate"), realm+`, error="invalid_token", error_description="`) {
				t.Errorf("%s, %s: %d %s %q", method, name, w.Code, w.Body, w.Header().Get("WWW-Authenticate"))
			}
		}
		// RFC 6750 §3.1: without a token there is no error code in the challenge.
		for _, id := range []string{mine.ClientID, "unknown"} {
			if w := f.configure(method, id, "", ""); w.Code != http.StatusUnauthorized || w.Header().Get("WWW-Authenticate") != realm {
				t.Errorf("%s without a token: %d %q", method, w.Code, w.Header().Get("WWW-Authenticate"))
			}
		}
	}
	for _, id := range []string{mine.ClientID, theirs.ClientID, without.ID} {
		if c := f.client(id); c.Version != 1 {
			t.Errorf("%s was changed: %+v", id, c)
		}
	}
}

func TestConfigurationRefusesOtherMethodsAndHeaders(t *testing.T) {
	f := newFixture(t, options{settings: manageable})
	info := f.managed(with(""))
	for _, method := range []string{"HEAD", "POST", "PATCH", "OPTIONS"} {
		if w := f.configure(method, info.ClientID, info.RegistrationAccessToken, "{}"); w.Code != 405 || w.Header().Get("Allow") != "GET, PUT, DELETE" {
			t.Errorf("%s: %d, Allow %q", method, w.Code, w.Header().Get("Allow"))
		}
	}
	r := httptest.NewRequest("DELETE", "https://login.example.com/oidc/register/"+info.ClientID, nil)
	r.Header["Authorization"] = []string{"Bearer " + info.RegistrationAccessToken, "Bearer " + info.RegistrationAccessToken}
	w := httptest.NewRecorder()
	f.registrar.ClientConfiguration().ServeHTTP(w, r)
	if w.Code != 400 || f.decode(w).Error != "invalid_request" {
		t.Errorf("two headers: %d %s", w.Code, w.Body)
	}
	f.client(info.ClientID) // is still there
	// Mounted without a wildcard the last segment counts.
	r.Header["Authorization"] = r.Header["Authorization"][:1]
	w = httptest.NewRecorder()
	if f.registrar.ClientConfiguration().ServeHTTP(w, r); w.Code != http.StatusNoContent {
		t.Errorf("without a wildcard: %d %s", w.Code, w.Body)
	}
}

// What a registration must not say a replacement must not say either, and what is
// refused changes nothing.
func TestRefusedReplacements(t *testing.T) {
	strict, permissive := newFixture(t, options{settings: manageable}), newFixture(t, options{settings: manageable, mode: store.ModePermissive})
	type target struct {
		*fixture
		information
	}
	targets := map[string]target{
		"":                   {strict, strict.managed(with(""))},
		store.ModePermissive: {permissive, permissive.managed(with(""))},
	}
	list := refusals()
	for _, c := range []struct{ rule, body, text string }{
		{"no client_id", with(""), "client_id must be that of the application"},
		{"an empty client_id", with(`"client_id":""`), "client_id must be that of the application"},
		{"another client_id", with(`"client_id":"other"`), "client_id must be that of the application"},
		{"client_id is no string", with(`"client_id":7`), "client_id must be a string"},
		{"client_id twice", with(`"client_id":"a","client_id":"a"`), "the request body has the member client_id more than once"},
		{"another secret", with(`"client_id":"ID","client_secret":"chosen"`), "client_secret is not that of the application"},
		{"public", with(`"client_id":"ID","token_endpoint_auth_method":"none"`), "token_endpoint_auth_method: an application that authenticates cannot become one that does not"},
		{"public with the right secret", with(`"client_id":"ID","client_secret":"SECRET","token_endpoint_auth_method":"none"`), "token_endpoint_auth_method: an application that authenticates"},
	} {
		list = append(list, refusal{rule: "PUT: " + c.rule, body: c.body, code: metadataCode, text: c.text})
	}
	for _, c := range list {
		if c.rule == "a pairwise sector that cannot be fetched" {
			c.text = "subject_type and the sector" // which is known before anything is fetched
		}
		f := targets[c.mode]
		body := strings.NewReplacer(`"client_id":"ID"`, `"client_id":"`+f.ClientID+`"`, "SECRET", f.ClientSecret).Replace(c.body)
		if !strings.Contains(body, `"client_id"`) && strings.HasPrefix(body, "{") && json.Valid([]byte(body)) && c.rule != "PUT: no client_id" {
			body = `{"client_id":"` + f.ClientID + `"` + strings.Replace(","+body[1:], ",}", "}", 1)
		}
		w := f.configure("PUT", f.ClientID, f.RegistrationAccessToken, body)
		// A body may have one member less than there may be.
		if info := f.decode(w); w.Code != 400 || info.Error != c.code || !strings.HasPrefix(info.ErrorDescription, c.text) {
			t.Errorf("%s: %.300s\ngot  %d %s: %s\nwant 400 %s: %s", c.rule, body, w.Code, info.Error, info.ErrorDescription, c.code, c.text)
		}
	}
	for _, f := range targets {
		if w := f.configure("PUT", f.ClientID, f.RegistrationAccessToken, f.replacement(f.ClientID, `"x":"`+strings.Repeat("x", 64<<10)+`"`)); w.Code != 413 {
			t.Errorf("large: %d %s", w.Code, w.Body)
		}
		if c := f.client(f.ClientID); c.Version != 1 {
			t.Errorf("changed: %+v", c)
		}
	}
}

func TestAReplacementReplacesEverything(t *testing.T) {
	f := newFixture(t, options{settings: manageable})
	info := f.managed(with(`"client_name":"A","scope":"openid","application_type":"web","contacts":["a@example.com"],` +
		`"policy_uri":"https://client.example.com/policy","software_id":"x","grant_types":["authorization_code"]`))
	before := f.client(info.ClientID)
	f.now = start.Add(time.Hour)
	got, stored := f.put(info.ClientID, info.RegistrationAccessToken,
		`"redirect_uris":["https://client.example.com/cb2"],"tos_uri":"https://client.example.com/tos","client_secret":"`+info.ClientSecret+`",
		"registration_access_token":"chosen","registration_client_uri":"https://evil.example/","client_secret_expires_at":1,"client_id_issued_at":1,
		"third_party_security_mode":"permissive","first_party":true,"dynamic":false,"tenant_id":"other","revision":-1,"version":9`)
	want := store.Client{
		TenantID: tenant.DefaultID, ID: info.ClientID, Name: "x", Dynamic: true, SecurityMode: store.ModeStrict, ApplicationType: "web",
		TokenEndpointAuthMethod: "client_secret_post", SecretDigest: before.SecretDigest, RegisteredFrom: "192.0.2.0/24",
		RedirectURIs: []string{"https://client.example.com/cb2"}, Metadata: &store.ClientMetadata{TOSURI: "https://client.example.com/tos"},
		Registration: &store.ClientRegistration{
			TokenDigest:         store.DigestOf(got.RegistrationAccessToken),
			PreviousTokenDigest: store.DigestOf(info.RegistrationAccessToken), PreviousTokenUntil: f.now.Add(time.Minute),
		},
		Revision: 1, Version: 2, CreatedAt: start,
	}
	if diff := cmp.Diff(want, stored); diff != "" {
		t.Errorf("stored (-want +got)\n%s", diff)
	}
	if got.ClientSecret != "" || got.RegistrationAccessToken == info.RegistrationAccessToken || got.RegistrationClientURI != info.RegistrationClientURI ||
		got.raw["client_id_issued_at"] != info.raw["client_id_issued_at"] || got.raw["contacts"] != nil || got.raw["software_id"] != nil {
		t.Errorf("answer %v", got.raw)
	}
	read := f.configure("GET", info.ClientID, got.RegistrationAccessToken, "")
	if diff := cmp.Diff(got.raw, f.decode(read).raw); diff != "" {
		t.Errorf("(-answered +read)\n%s", diff)
	}
}

// What users are shown, and where they are sent, is what consent hangs on.
func TestWhatMakesConsentBeAskedAgain(t *testing.T) {
	const base = `"client_name":"A","redirect_uris":["https://client.example.com/cb","https://client.example.com/cb2"],"application_type":"web","logo_uri":"https://client.example.com/l"`
	for _, c := range []struct {
		name, members string
		again         bool
	}{
		{"nothing", base, false},
		{"the order of redirect URIs", strings.Replace(base, `"https://client.example.com/cb","https://client.example.com/cb2"`, `"https://client.example.com/cb2","https://client.example.com/cb"`, 1), false},
		{"a redirect URI less", strings.Replace(base, `,"https://client.example.com/cb2"`, "", 1), false},
		{"a redirect URI more", strings.Replace(base, `cb2"`, `cb2","https://evil.example/cb"`, 1), true},
		{"another path", strings.Replace(base, `cb2`, `cb3`, 1), true},
		{"the name", strings.Replace(base, `"A"`, `"B"`, 1), true},
		{"no name", strings.Replace(base, `"A"`, `""`, 1), true},
		{"the logo", strings.Replace(base, `/l"`, `/m"`, 1), true},
		{"no logo", strings.Replace(base, `"https://client.example.com/l"`, `null`, 1), true},
		{"the home page", base + `,"client_uri":"https://client.example.com/"`, true},
		{"the policy", base + `,"policy_uri":"https://client.example.com/p"`, true},
		{"the terms", base + `,"tos_uri":"https://client.example.com/t"`, true},
		{"the kind of application", strings.Replace(base, `"web"`, `"native"`, 1), true},
		{"keys", base + `,` + jwks(ecKey), false},
		{"contacts", base + `,"contacts":["a@example.com"]`, false},
		{"scope", base + `,"scope":"openid email"`, false},
		{"the way to authenticate", base + `,"token_endpoint_auth_method":"client_secret_basic"`, false},
	} {
		f := newFixture(t, options{settings: manageable})
		info := f.managed("{" + base + "}")
		w := f.configure("PUT", info.ClientID, info.RegistrationAccessToken, `{"client_id":"`+info.ClientID+`",`+c.members+"}")
		if w.Code != 200 {
			t.Fatalf("%s: %d %s", c.name, w.Code, w.Body)
		}
		stored := f.client(info.ClientID)
		if again := stored.Revision == 1; again != c.again || stored.Revision > 1 {
			t.Errorf("%s: revision %d, want again %v", c.name, stored.Revision, c.again)
		}
	}
}

// Users are known to a client by the same sub for as long as it exists.
func TestSubjectsNeverChange(t *testing.T) {
	const pairwise = `"subject_type":"pairwise"`
	sector := func(uri string) string { return pairwise + `,"sector_identifier_uri":"` + uri + `"` }
	for _, c := range []struct {
		name, before, after string
		want                int
	}{
		{"the same sector", pairwise, pairwise + `,"client_name":"B"`, 200},
		{"another path", pairwise, pairwise + `,"redirect_uris":["https://client.example.com/other"]`, 200},
		{"public, spelled out", ``, `"subject_type":"public"`, 200},
		{"the sector of somebody else", pairwise, pairwise + `,"redirect_uris":["https://victim.example/cb"]`, 400},
		{"pairwise to public", pairwise, ``, 400},
		{"public to pairwise", ``, pairwise, 400},
		{"a sector document of the same host", pairwise, sector("https://client.example.com/sector.json"), 200},
		{"a sector document of another host", pairwise, sector("https://victim.example/sector.json"), 400},
		{"a sector document that lacks the redirect URI", sector("https://client.example.com/sector.json"),
			sector("https://client.example.com/sector.json") + `,"redirect_uris":["https://elsewhere.example/cb"]`, 400},
	} {
		f := newFixture(t, options{settings: manageable})
		f.documents.byURL["https://client.example.com/sector.json"] = `["https://client.example.com/cb"]`
		f.documents.byURL["https://victim.example/sector.json"] = `["https://client.example.com/cb"]`
		info := f.managed(with(c.before))
		w := f.configure("PUT", info.ClientID, info.RegistrationAccessToken, f.replacement(info.ClientID, c.after))
		if w.Code != c.want {
			t.Errorf("%s: %d %s", c.name, w.Code, w.Body)
		}
		if c.want == 400 && (f.decode(w).Error != "invalid_client_metadata" || f.client(info.ClientID).Version != 1) {
			t.Errorf("%s: %s, version %d", c.name, w.Body, f.client(info.ClientID).Version)
		}
	}
}

func TestSecretsAcrossReplacements(t *testing.T) {
	const hs256 = `"id_token_signed_response_alg":"HS256"`
	for _, c := range []struct {
		name, before, after    string
		sendsSecret            bool
		issued, sealed, secret bool // the answer has a secret; it is kept sealed; there is one
	}{
		{"it stays", ``, `"client_name":"B"`, false, false, false, true},
		{"it stays if it is sent", ``, `"client_name":"B"`, true, false, false, true},
		{"public to public", `"token_endpoint_auth_method":"none"`, `"token_endpoint_auth_method":"none"`, false, false, false, false},
		{"public to confidential", `"token_endpoint_auth_method":"none"`, ``, false, true, false, true},
		{"public to confidential, sealed", `"token_endpoint_auth_method":"none"`, hs256, false, true, true, true},
		{"a key instead", ``, `"token_endpoint_auth_method":"private_key_jwt",` + jwks(ecKey), false, false, false, false},
		{"instead of a key", `"token_endpoint_auth_method":"private_key_jwt",` + jwks(ecKey), ``, false, true, false, true},
		{"it is needed and not known", ``, hs256, false, true, true, true},
		{"it is needed and sent", ``, hs256, true, false, true, true},
		{"it is needed and kept", hs256, hs256, false, false, true, true},
		{"it is needed, kept and sent", hs256, hs256, true, false, true, true},
		{"it is needed no more", hs256, ``, false, false, false, true},
		{"for assertions", ``, `"token_endpoint_auth_method":"client_secret_jwt"`, false, true, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t, options{settings: manageable})
			info := f.managed(with(c.before))
			before, secret := f.client(info.ClientID), info.ClientSecret
			if c.sendsSecret {
				c.after += `,"client_secret":"` + secret + `"`
			}
			got, stored := f.put(info.ClientID, info.RegistrationAccessToken, strings.TrimPrefix(c.after, ","))
			if (got.ClientSecret != "") != c.issued || (got.raw["client_secret_expires_at"] != nil) != c.issued || stored.Registration.IssuedSecret != c.issued {
				t.Errorf("answer %v, stored %+v", got.raw, stored.Registration)
			}
			if c.issued {
				secret = got.ClientSecret
			} else if c.secret && stored.SecretDigest != before.SecretDigest {
				t.Error("the secret changed")
			}
			if stored.SecretDigest.IsZero() == c.secret || c.secret && !stored.SecretDigest.Matches(secret) {
				t.Errorf("digest %v", stored.SecretDigest)
			}
			if (len(stored.SealedSecret) > 0) != c.sealed {
				t.Fatalf("sealed %q", stored.SealedSecret)
			}
			if c.sealed {
				box, _ := seal.New("client-secret", f.secrets...)
				if opened, err := box.Open(stored.SealedSecret, tenant.DefaultID+"/"+stored.ID); err != nil || string(opened) != secret {
					t.Errorf("sealed %q, %v", opened, err)
				}
			}
		})
	}
}

func TestRegistrationAccessTokensRotate(t *testing.T) {
	f := newFixture(t, options{settings: manageable})
	info := f.managed(with(`"token_endpoint_auth_method":"none"`))
	id, first := info.ClientID, info.RegistrationAccessToken
	good := func(what, token string, want bool) {
		t.Helper()
		if w := f.configure("GET", id, token, ""); (w.Code == 200) != want || w.Code != 200 && w.Code != 401 {
			t.Errorf("%s: %d", what, w.Code)
		} else if want && f.decode(w).RegistrationAccessToken != token {
			t.Errorf("%s: the answer has another token", what)
		}
	}
	answer, _ := f.put(id, first, "") // confidential now, with a secret
	second := answer.RegistrationAccessToken
	good("the new token", second, true)
	good("the token before, for a lost answer", first, true)

	// The answer was lost: the same request again gives what the first gave.
	f.now = start.Add(30 * time.Second)
	again, stored := f.put(id, first, "")
	third := again.RegistrationAccessToken
	if again.ClientSecret == "" || again.ClientSecret == answer.ClientSecret || !stored.SecretDigest.Matches(again.ClientSecret) {
		t.Errorf("again: secret %q", again.ClientSecret)
	}
	good("the token of the lost answer", second, false)
	good("the token of the second answer", third, true)
	good("the token before it", first, true)

	// Trying again does not prolong the life of the token before.
	f.now = start.Add(time.Minute)
	good("the token before, a minute later", first, false)
	good("the token of the second answer", third, true)

	// The next change ends what was before the token that made it.
	last, _ := f.put(id, third, `"client_name":"B"`)
	if last.ClientSecret != "" {
		t.Error("a secret was issued that nobody needs")
	}
	good("the last token", last.RegistrationAccessToken, true)
	good("the token before it", third, true)
	for _, old := range []string{first, second} {
		good("an older token", old, false)
	}
	f.now = f.now.Add(time.Minute)
	good("the token before it, a minute later", third, false)
}

// Of concurrent changes with one token the last one counts as a whole: its answer
// has the token that is good.
func TestConcurrentReplacements(t *testing.T) {
	f := newFixture(t, options{settings: manageable})
	info := f.managed(with(""))
	var mu sync.Mutex
	var wait sync.WaitGroup
	answers := map[string]information{}
	for i := range 8 {
		wait.Go(func() {
			w := f.configure("PUT", info.ClientID, info.RegistrationAccessToken, f.replacement(info.ClientID, fmt.Sprintf(`"client_name":"%d"`, i)))
			mu.Lock()
			defer mu.Unlock()
			switch w.Code {
			case 200:
				answer := f.decode(w)
				answers[answer.RegistrationAccessToken] = answer
			case 503: // the others kept changing it
			default:
				t.Errorf("%d %s", w.Code, w.Body)
			}
		})
	}
	wait.Wait()
	stored := f.client(info.ClientID)
	good := 0
	for token, answer := range answers {
		if w := f.configure("GET", info.ClientID, token, ""); w.Code == 200 {
			good++
			if answer.ClientName != stored.Name {
				t.Errorf("the token of %q is good, stored is %q", answer.ClientName, stored.Name)
			}
		}
	}
	if good != 1 || int(stored.Version) != len(answers)+1 {
		t.Errorf("%d of %d tokens are good, version %d", good, len(answers), stored.Version)
	}
}

// interfering does something before an update.
type interfering struct {
	store.ClientStore
	before []func()
}

func (s *interfering) UpdateClient(ctx context.Context, c store.Client) error {
	if len(s.before) > 0 {
		do := s.before[0]
		s.before = s.before[1:]
		do()
	}
	return s.ClientStore.UpdateClient(ctx, c)
}

func TestAReplacementThatIsInterferedWith(t *testing.T) {
	s := &interfering{}
	f := newFixture(t, options{settings: manageable, stores: func(stores *store.Stores) {
		s.ClientStore = stores.Clients
		stores.Clients = s
	}})
	info := f.managed(with(""))
	used := func() {
		c := f.client(info.ClientID)
		c.LastUsedAt, c.ConfirmedAt = start, start
		if err := s.ClientStore.UpdateClient(context.Background(), c); err != nil {
			t.Fatal(err)
		}
	}
	// Somebody notes that the client is in use: both changes count.
	s.before = []func(){used}
	answer, stored := f.put(info.ClientID, info.RegistrationAccessToken, `"client_name":"B"`)
	if stored.Name != "B" || stored.LastUsedAt.IsZero() || stored.ConfirmedAt.IsZero() {
		t.Errorf("%+v", stored)
	}
	// Without end.
	s.before = []func(){used, used, used, used, used, used}
	if w := f.configure("PUT", info.ClientID, answer.RegistrationAccessToken, f.replacement(info.ClientID, "")); w.Code != 503 || w.Header().Get("Retry-After") == "" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	// It is deleted at that moment, and stays deleted.
	s.before = []func(){func() {
		if err := f.registrar.DeleteClient(context.Background(), tenant.DefaultID, info.ClientID); err != nil {
			t.Fatal(err)
		}
	}}
	if w := f.configure("PUT", info.ClientID, answer.RegistrationAccessToken, f.replacement(info.ClientID, "")); w.Code != 401 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if n := len(f.clients()); n != 0 {
		t.Errorf("%d clients", n)
	}
}

// failing answers every call with an error that nobody outside may read.
type failing struct{ store.ClientStore }

var errFailing = errors.New("sql: connection refused to db.internal:5432")

func (failing) Client(context.Context, string, string) (store.Client, error) {
	return store.Client{}, errFailing
}

func (failing) UpdateClient(context.Context, store.Client) error { return errFailing }

func (failing) DeleteClient(context.Context, string, string) error { return errFailing }

func TestConfigurationKeepsStoreErrorsInside(t *testing.T) {
	f := newFixture(t, options{settings: manageable})
	info := f.managed(with(""))
	clients := f.stores.Clients
	for name, broken := range map[string]func(){
		"reads":  func() { f.registrar.uncached = failing{clients} },
		"writes": func() { f.registrar.uncached, f.registrar.cfg.Stores.Clients = clients, failing{clients} },
	} {
		broken()
		for _, method := range []string{"GET", "PUT", "DELETE"} {
			if name == "writes" && method == "GET" {
				continue
			}
			w := f.configure(method, info.ClientID, info.RegistrationAccessToken, f.replacement(info.ClientID, ""))
			if w.Code != 500 || w.Body.String() != `{"error":"server_error"}`+"\n" || w.Header().Get("WWW-Authenticate") != "" {
				t.Errorf("%s, %s: %d %s", name, method, w.Code, w.Body)
			}
		}
	}
	if !strings.Contains(f.log.String(), errFailing.Error()) {
		t.Error("the cause is not in the log")
	}
	// A deletion that failed can be asked for again.
	f.registrar.uncached, f.registrar.cfg.Stores.Clients = clients, clients
	if w := f.configure("DELETE", info.ClientID, info.RegistrationAccessToken, ""); w.Code != 204 {
		t.Errorf("again: %d %s", w.Code, w.Body)
	}
}

func TestReplacementsAreLimited(t *testing.T) {
	f := newFixture(t, options{settings: manageable, config: func(c *Config) { c.Rate = Rate{PerSecond: 0.001, Burst: 1} }})
	info := f.managed(with(""))
	for i, want := range []int{200, 429} {
		r := httptest.NewRequest("PUT", "https://login.example.com/oidc/register/"+info.ClientID, strings.NewReader(f.replacement(info.ClientID, "")))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer "+info.RegistrationAccessToken)
		r.RemoteAddr = "198.51.100.7:1234"
		w := httptest.NewRecorder()
		if f.registrar.ClientConfiguration().ServeHTTP(w, r); w.Code != want {
			t.Errorf("%d: %d %s", i, w.Code, w.Body)
		}
	}
}

// Neither log nor store ever has the token.
func TestRegistrationAccessTokensAreNotKept(t *testing.T) {
	f := newFixture(t, options{settings: manageable})
	info := f.managed(with(`"id_token_signed_response_alg":"HS256"`))
	answer, stored := f.put(info.ClientID, info.RegistrationAccessToken, `"client_name":"B"`)
	f.configure("GET", info.ClientID, "a-wrong-token-that-was-sent", "")
	record, err := json.Marshal(stored)
	if err != nil {
		t.Fatal(err)
	}
	f.configure("DELETE", info.ClientID, answer.RegistrationAccessToken, "")
	for _, secret := range []string{info.RegistrationAccessToken, answer.RegistrationAccessToken, info.ClientSecret, "a-wrong-token-that-was-sent"} {
		if strings.Contains(f.log.String(), secret) {
			t.Error("the log has a secret")
		}
		if strings.Contains(string(record), secret) {
			t.Error("the record has a secret")
		}
	}
	for _, event := range []string{"client registered", "client changed by its registrant", "client deleted"} {
		if !strings.Contains(f.log.String(), event) {
			t.Errorf("the log lacks %q", event)
		}
	}
}

// Whatever is sent, a replacement is refused and changes nothing, or what is stored
// is what a registration could have stored and can be sent again.
func FuzzReplacement(f *testing.F) {
	for _, c := range refusals() {
		f.Add([]byte(c.body), false)
	}
	f.Add([]byte(`{"client_id":"ID","redirect_uris":["https://a.example/"],"token_endpoint_auth_method":"none"}`), true)
	f.Add([]byte(`{"client_id":"ID","client_secret":"x","redirect_uris":["https://a.example/"],"jwks":{"keys":[`+ecKey+`]}}`), true)
	x := newFixture(f, options{settings: manageable})
	f.Fuzz(func(t *testing.T, body []byte, public bool) {
		defer x.log.Reset()
		x.t = t
		members := ""
		if public {
			members = `"token_endpoint_auth_method":"none"`
		}
		info := x.managed(with(members))
		defer x.stores.Clients.DeleteClient(context.Background(), tenant.DefaultID, info.ClientID)
		before := x.client(info.ClientID)
		w := x.configure("PUT", info.ClientID, info.RegistrationAccessToken, strings.ReplaceAll(string(body), `"ID"`, `"`+info.ClientID+`"`))
		after := x.client(info.ClientID)
		if w.Code != 200 {
			if w.Code != 400 && w.Code != 413 {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
			if diff := cmp.Diff(before, after); diff != "" {
				t.Fatalf("refused, but changed:\n%s", diff)
			}
			return
		}
		answer := x.decode(w)
		if after.ID != before.ID || after.SecurityMode != before.SecurityMode || !after.Dynamic || after.FirstParty || !after.CreatedAt.Equal(before.CreatedAt) {
			t.Fatalf("became %+v", after)
		}
		if !public && after.TokenEndpointAuthMethod == "none" {
			t.Fatal("it stopped authenticating")
		}
		again := answer.raw
		delete(again, "client_secret")
		repeated, _ := json.Marshal(again)
		w = x.configure("PUT", info.ClientID, answer.RegistrationAccessToken, string(repeated))
		if w.Code != 200 {
			t.Fatalf("what was answered is refused: %d %s\n%s", w.Code, w.Body, repeated)
		}
		if twice := x.client(info.ClientID); twice.Revision != after.Revision {
			t.Fatalf("repeating it made revision %d of %d", twice.Revision, after.Revision)
		}
	})
}
