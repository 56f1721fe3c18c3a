package opkit_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// Inputs that are kept stand for every run: in them anyClient is the client's
// identifier, anyIssuer the issuer. Both are made anew each time.
const anyClient, anyIssuer = "CLIENT", "https://issuer.example"

// kept writes an input of this run as it is kept, and used makes it one of this run.
func (w *world) kept(app registered, input string) string {
	return strings.NewReplacer(app.id, anyClient, url.QueryEscape(w.issuer), url.QueryEscape(anyIssuer)).Replace(input)
}

func (w *world) used(app registered, input string) string {
	return strings.NewReplacer(anyClient, app.id, url.QueryEscape(anyIssuer), url.QueryEscape(w.issuer)).Replace(input)
}

// Whatever the request: never a 5xx, never a redirect to an address that the
// client did not register, and what is redirected says who answers.
func FuzzAuthorization(f *testing.F) {
	w := newWorld(f, options{permissive: true})
	app := w.register(map[string]any{"redirect_uris": []string{appRedirectURI, "http://127.0.0.1/cb"}, "token_endpoint_auth_method": "none"})
	seed := func(params ...string) {
		_, query, _ := strings.Cut(w.authorizeURL(app, params...), "?")
		f.Add(w.kept(app, query))
	}
	seed()
	seed("response_type", "code id_token token", "response_mode", "form_post")
	seed("prompt", "none", "max_age", "0")
	seed("redirect_uri", "http://127.0.0.1:9999/cb", "audience", apiAudience)
	seed("redirect_uri", "https://app.example.com/callback/../x")
	seed("id_token_hint", "e30.e30.e30", "claims", "{}", "resource", "https://a.example/")
	seed("request", unsignedObject(f, map[string]any{"redirect_uri": appRedirectURI, "max_age": 1, "prompt": "none"}), "redirect_uri", "https://evil.example/")
	seed("request_uri", pushedPrefix+"x")
	seed("claims", claimsByName, "acr_values", "1 2", "display", "popup", "ui_locales", "de")
	seed("claims", `{"id_token":{"sub":{"value":"x"},"acr":{"essential":true,"values":["2"]}}}`, "response_type", "none")
	f.Add("client_id=" + anyClient + "&redirect_uri=%00&state=%ff")
	f.Add("a;b&&=&%")
	handler := w.provider.Authorization()
	f.Fuzz(func(t *testing.T, query string) {
		r := httptest.NewRequest(http.MethodGet, "/authorize", nil)
		r.URL.RawQuery = w.used(app, query)
		rec := httptest.NewRecorder()
		handler.ServeHTTP(rec, r)
		if rec.Code >= 500 {
			t.Fatalf("status %d", rec.Code)
		}
		location := rec.Header().Get("Location")
		if location == "" {
			return
		}
		u, err := url.Parse(location)
		if err != nil {
			t.Fatal(err)
		}
		loopback := u.Scheme == "http" && u.Hostname() == "127.0.0.1" && u.Path == "/cb"
		if !strings.HasPrefix(location, appRedirectURI+"?") && !strings.HasPrefix(location, appRedirectURI+"#") && !loopback {
			t.Fatalf("redirect to %q", location)
		}
		if !strings.Contains(location, "iss="+url.QueryEscape(w.issuer)) {
			t.Fatalf("no iss: %q", location)
		}
	})
}

// Whatever comes as a request object, in clear or encrypted to the provider: never a
// 5xx, and only what the client signed leads anywhere but back to it.
func FuzzRequestObject(f *testing.F) {
	w := newWorld(f, options{})
	app := w.register(map[string]any{
		"jwks": publicJWKS(jose.ES256), "require_signed_request_object": true,
		"request_object_encryption_alg": "ECDH-ES", "request_object_encryption_enc": "A128GCM",
	})
	signed := w.sign(w.object(app))
	f.Add(signed[:len(signed)-2]+"AA", true)
	f.Add(unsignedObject(f, w.object(app)), true)
	f.Add(w.encrypt(signed[:len(signed)-2]+"AA", "ECDH-ES", "A128GCM"), false)
	f.Add(w.encrypt("x", "ECDH-ES", "A128GCM"), true)
	f.Add(compact(`{"alg":"ES256","crit":["b64"],"b64":false}`, "{}", "x"), false)
	f.Add("....", false)
	handler := w.provider.Authorization()
	encrypter, err := jose.NewEncrypter(jose.A128GCM, jose.Recipient{Algorithm: jose.ECDH_ES, Key: w.encryptionKey().Key}, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, object string, encrypt bool) {
		if encrypt {
			jwe, err := encrypter.Encrypt([]byte(object))
			if err != nil {
				t.Fatal(err)
			}
			if object, err = jwe.CompactSerialize(); err != nil {
				t.Fatal(err)
			}
		}
		_, query, _ := strings.Cut(w.authorizeURL(app, "request", object), "?")
		r := httptest.NewRequest(http.MethodGet, "/authorize", nil)
		r.URL.RawQuery = w.used(app, query)
		rec := httptest.NewRecorder()
		handler.ServeHTTP(rec, r)
		switch location := rec.Header().Get("Location"); {
		case rec.Code == http.StatusBadRequest && location == "": // too large
		case rec.Code != http.StatusFound || !strings.HasPrefix(location, appRedirectURI+"?error="):
			t.Fatalf("status %d, Location %q", rec.Code, location)
		}
	})
}

// Whatever the request to log out: a page, or the way back to an address that the
// client registered; and whoever proves nothing logs nobody out.
func FuzzLogout(f *testing.F) {
	w := newWorld(f, options{permissive: true})
	app := w.register(map[string]any{"post_logout_redirect_uris": []string{afterLogout}})
	seed := func(params ...string) {
		_, query, _ := strings.Cut(w.endSession(params...), "?")
		f.Add(w.kept(app, query))
	}
	seed()
	seed("client_id", app.id, "post_logout_redirect_uri", afterLogout, "state", "s")
	seed("id_token_hint", "e30.e30.e30", "post_logout_redirect_uri", afterLogout)
	seed("id_token_hint", compact(`{"alg":"none"}`, `{"iss":"`+w.issuer+`","sub":"x","aud":"`+app.id+`","exp":1}`, ""), "post_logout_redirect_uri", afterLogout)
	seed("client_id", app.id, "post_logout_redirect_uri", "https://evil.example/", "ui_locales", "de", "logout_hint", "ada")
	seed("state", `"><script>alert(1)</script>`)
	f.Add("post_logout_redirect_uri=" + afterLogout + "&post_logout_redirect_uri=https://evil.example/")
	f.Add("a;b&&=&%")
	handler := w.provider.EndSession()
	f.Fuzz(func(t *testing.T, query string) {
		r := httptest.NewRequest(http.MethodGet, "/oidc/logout", nil)
		r.URL.RawQuery = w.used(app, query)
		rec := httptest.NewRecorder()
		handler.ServeHTTP(rec, r)
		location := rec.Header().Get("Location")
		switch {
		case rec.Code == http.StatusOK || rec.Code == http.StatusBadRequest:
			if location != "" || strings.Contains(rec.Body.String(), "<script>alert") {
				t.Fatalf("status %d, Location %q, %s", rec.Code, location, rec.Body)
			}
		case rec.Code != http.StatusFound || location != afterLogout && !strings.HasPrefix(location, afterLogout+"?state="):
			t.Fatalf("status %d, Location %q", rec.Code, location)
		}
	})
}

// A page's form cannot be made to do anything by what it carries.
func FuzzTransaction(f *testing.F) {
	w := newWorld(f, options{})
	app := w.register(nil)
	b := newBrowser(f)
	_, fields := form(f, b.get(w.authorizeURL(app)))
	f.Add(fields.Get("transaction")+"x", "opkit_browser=x")
	f.Add("", "")
	handler := w.provider.Consent()
	f.Fuzz(func(t *testing.T, transaction, cookie string) {
		r := httptest.NewRequest(http.MethodPost, "/consent", strings.NewReader(url.Values{"transaction": {transaction}, "decision": {"allow"}}.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Cookie", cookie)
		rec := httptest.NewRecorder()
		handler.ServeHTTP(rec, r)
		if rec.Code != http.StatusBadRequest || rec.Header().Get("Location") != "" {
			t.Fatalf("status %d, Location %q", rec.Code, rec.Header().Get("Location"))
		}
	})
}
