package opkit_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const objectType = "application/oauth-authz-req+jwt"

// Objects at a registered address count as those in the request do.
func TestRequestObjectByReference(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		s := newSite(t)
		w := newWorld(t, options{mount: mount, config: outboundTo(s.Server, "127.0.0.0/8")})
		for _, tt := range []struct {
			name, alg, contentType, fragment string
		}{
			{"unsigned", "none", objectType, ""},
			{"signed with RS256", "RS256", objectType, "#a-hash-that-does-not-match"},
			{"signed with ES256, older media type", "ES256", "application/jwt; charset=utf-8", ""},
			{"any algorithm", "", "Application/JWT", "#x"},
		} {
			uri := s.URL + "/object?a=b" + tt.fragment
			app := w.register(map[string]any{
				"jwks": publicJWKS(jose.RS256, jose.ES256), "request_object_signing_alg": tt.alg, "request_uris": []string{s.URL + "/other", uri},
			})
			object := unsignedObject(t, w.object(app))
			switch tt.alg {
			case "RS256":
				object = signObject(t, jose.RS256, clientKeys()[jose.RS256], nil, marshal(t, w.object(app)))
			case "ES256", "":
				object = w.sign(w.object(app))
			}
			s.serve(map[string]page{"/object?a=b": {tt.contentType, object + "\n", 0}})
			for name, request := range map[string]string{
				"OpenID Connect Core": w.authorizeURL(app, "request_uri", uri, "redirect_uri", "https://evil.example/", "state", "outside"),
				"RFC 9101":            w.endpoint.Authorization + "?" + query("client_id", app.id, "request_uri", uri),
			} {
				b := newBrowser(t)
				res := b.finish(b.get(request))
				got := res.location(t)
				if !strings.HasPrefix(res.Header.Get("Location"), app.redirectURI+"?") || got.Get("state") != "inside" || got.Get("code") == "" {
					t.Errorf("%s, %s: %d %s", tt.name, name, res.StatusCode, res.Header.Get("Location"))
					continue
				}
				if tokens := w.redeem(app, got.Get("code")); tokens.StatusCode != http.StatusOK {
					t.Errorf("%s, %s: %d %s", tt.name, name, tokens.StatusCode, tokens.body)
				}
			}
		}
	})
}

// Nobody makes the provider ask for an address that the application did not
// register, and nothing that is fetched is believed before it is verified.
func TestRefusedRequestURIs(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		s := newSite(t)
		w := newWorld(t, options{mount: mount, config: outboundTo(s.Server, "127.0.0.0/8")})
		app := w.register(map[string]any{
			"jwks": publicJWKS(jose.ES256), "request_object_signing_alg": "ES256",
			"request_uris": []string{s.URL + "/ok", s.URL + "/hashed#abc", s.URL + "/bad", "https://10.0.0.1/object", "https://nowhere.invalid/object"},
		})
		other := w.register(map[string]any{"request_uris": []string{s.URL + "/other"}})
		good := w.sign(w.object(app))
		pages := map[string]page{"/ok": {objectType, good, 0}, "/hashed": {objectType, good, 0}, "/other": {objectType, good, 0}, "/ok/": {objectType, good, 0}}
		for _, row := range []struct {
			name, uri string
			bad       *page // at /bad
			code      string
			asks      int32
		}{
			{"not registered", "https://evil.example/object", nil, "invalid_request_uri", 0},
			{"of another application", s.URL + "/other", nil, "invalid_request_uri", 0},
			{"with a fragment more", s.URL + "/ok#abc", nil, "invalid_request_uri", 0},
			{"without its fragment", s.URL + "/hashed", nil, "invalid_request_uri", 0},
			{"with another fragment", s.URL + "/hashed#abd", nil, "invalid_request_uri", 0},
			{"with a slash more", s.URL + "/ok/", nil, "invalid_request_uri", 0},
			{"with a query more", s.URL + "/ok?", nil, "invalid_request_uri", 0},
			{"in capitals", strings.Replace(s.URL, "https", "HTTPS", 1) + "/ok", nil, "invalid_request_uri", 0},
			{"http", strings.Replace(s.URL, "https", "http", 1) + "/ok", nil, "invalid_request_uri", 0},
			{"file", "file:///etc/passwd", nil, "invalid_request_uri", 0},
			{"data", "data:application/jwt," + good, nil, "invalid_request_uri", 0},
			{"another urn", "urn:ietf:params:oauth:request_ur", nil, "invalid_request_uri", 0},
			{"an address inside", "https://10.0.0.1/object", nil, "invalid_request_uri", 0},
			{"a host that does not exist", "https://nowhere.invalid/object", nil, "invalid_request_uri", 0},
			{"404", s.URL + "/bad", nil, "invalid_request_uri", 1},
			{"500", s.URL + "/bad", &page{objectType, good, 500}, "invalid_request_uri", 1},
			{"a redirect", s.URL + "/bad", &page{objectType, good, 302}, "invalid_request_uri", 1},
			{"a page", s.URL + "/bad", &page{"text/html", good, 0}, "invalid_request_uri", 1},
			{"an access token's type", s.URL + "/bad", &page{"application/at+jwt", good, 0}, "invalid_request_uri", 1},
			{"no type", s.URL + "/bad", &page{"", good, 0}, "invalid_request_uri", 1},
			{"more than 16 KiB", s.URL + "/bad", &page{objectType, good + strings.Repeat("A", 16<<10), 0}, "invalid_request_uri", 1},
			{"more than 64 KiB", s.URL + "/bad", &page{objectType, strings.Repeat(" ", 65<<10) + good, 0}, "invalid_request_uri", 1},
			{"empty", s.URL + "/bad", &page{objectType, "", 0}, "invalid_request_object", 1},
			{"unsigned", s.URL + "/bad", &page{objectType, unsignedObject(t, w.object(app)), 0}, "invalid_request_object", 1},
			{"of another client", s.URL + "/bad", &page{objectType, w.sign(w.object(other)), 0}, "invalid_request_object", 1},
			{"an object inside", s.URL + "/bad", &page{objectType, w.sign(w.object(app, "request_uri", s.URL+"/ok")), 0}, "invalid_request_object", 1},
			{"broken", s.URL + "/bad", &page{objectType, good[:len(good)-8], 0}, "invalid_request_object", 1},
		} {
			w.clock.advance(5 * time.Second) // a failure is remembered for as long
			delete(pages, "/bad")
			if row.bad != nil {
				pages["/bad"] = *row.bad
			}
			s.serve(pages)
			before := s.asked.Load()
			res := newBrowser(t).get(w.authorizeURL(app, "request_uri", row.uri, "state", "outside"))
			if got := res.location(t); !strings.HasPrefix(res.Header.Get("Location"), app.redirectURI+"?") || got.Get("error") != row.code || got.Get("state") != "outside" || got.Get("iss") != w.issuer {
				t.Errorf("%s: %s", row.name, res.Header.Get("Location"))
			}
			if n := s.asked.Load() - before; n != row.asks {
				t.Errorf("%s: asked %d times, want %d", row.name, n, row.asks)
			}
			// Where the redirect URI is not proven nobody is sent anywhere.
			w.clock.advance(5 * time.Second)
			if res := newBrowser(t).get(w.authorizeURL(app, "request_uri", row.uri, "redirect_uri", "https://evil.example/")); !refusedByPage(res, row.code) {
				t.Errorf("%s, unproven: %d %s", row.name, res.StatusCode, res.Header.Get("Location"))
			}
		}
		before := s.asked.Load()
		b := newBrowser(t)
		if got := b.get(w.authorizeURL(app, "request", good, "request_uri", s.URL+"/ok")).location(t); got.Get("error") != "invalid_request" {
			t.Errorf("request and request_uri: %v", got)
		}
		if res := b.get(w.authorizeURL(app, "client_id", "unknown", "request_uri", s.URL+"/ok")); !refusedByPage(res, "invalid_client") {
			t.Errorf("unknown client: %d", res.StatusCode)
		}
		if res := w.push(app, "request_uri", s.URL+"/ok"); res.StatusCode != http.StatusBadRequest || res.json(t)["error"] != "invalid_request" {
			t.Errorf("pushed: %d %s", res.StatusCode, res.body)
		}
		if n := s.asked.Load() - before; n != 0 {
			t.Errorf("asked %d times for requests that are refused anyway", n)
		}
	})
}

// However often a link is followed, a failing address is left alone for a while,
// and a working one is asked once for all who wait.
func TestRequestURIFlood(t *testing.T) {
	s := newSite(t)
	w := newWorld(t, options{config: outboundTo(s.Server, "127.0.0.0/8")})
	app := w.register(map[string]any{"request_uris": []string{s.URL + "/object"}})
	request := w.authorizeURL(app, "request_uri", s.URL+"/object")
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			if got := newBrowser(t).get(request).location(t); got.Get("error") != "invalid_request_uri" {
				t.Errorf("%v", got)
			}
		})
	}
	group.Wait()
	if n := s.asked.Load(); n != 1 {
		t.Errorf("asked %d times within five seconds", n)
	}
	s.serve(map[string]page{"/object": {objectType, unsignedObject(t, w.object(app)), 0}})
	w.clock.advance(5 * time.Second)
	b := newBrowser(t)
	if got := b.finish(b.get(request)).location(t); got.Get("code") == "" {
		t.Errorf("%v", got)
	}
}

// What a client registered about how its requests arrive holds for references.
func TestRequestURIAndRequirements(t *testing.T) {
	s := newSite(t)
	w := newWorld(t, options{config: outboundTo(s.Server, "127.0.0.0/8")})
	signing := w.register(map[string]any{"jwks": publicJWKS(jose.ES256), "require_signed_request_object": true, "request_uris": []string{s.URL + "/object"}})
	b := newBrowser(t)
	s.serve(map[string]page{"/object": {objectType, w.sign(w.object(signing)), 0}})
	if got := b.finish(b.get(w.authorizeURL(signing, "request_uri", s.URL+"/object"))).location(t); got.Get("code") == "" {
		t.Errorf("signed: %v", got)
	}
	s.serve(map[string]page{"/object": {objectType, unsignedObject(t, w.object(signing)), 0}})
	if got := b.get(w.authorizeURL(signing, "request_uri", s.URL+"/object")).location(t); got.Get("error") != "invalid_request_object" {
		t.Errorf("unsigned: %v", got)
	}
	pushing := w.register(map[string]any{"require_pushed_authorization_requests": true, "request_uris": []string{s.URL + "/object"}})
	s.serve(map[string]page{"/object": {objectType, unsignedObject(t, w.object(pushing)), 0}})
	if got := b.get(w.authorizeURL(pushing, "request_uri", s.URL+"/object")).location(t); got.Get("error") != "invalid_request" {
		t.Errorf("not pushed: %v", got)
	}
}

// query encodes name, value pairs.
func query(pairs ...string) string {
	v := url.Values{}
	for pair := range slices.Chunk(pairs, 2) {
		v.Set(pair[0], pair[1])
	}
	return v.Encode()
}
