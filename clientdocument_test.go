package opkit_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/opkit/opkit"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
	"github.com/opkit/opkit/tenant"
)

// publisher is a site on which an application publishes its document.
type publisher struct {
	*site
	app registered
}

func newPublisher(t testing.TB) *publisher {
	s := newSite(t)
	p := &publisher{s, registered{id: s.URL + "/client.json", redirectURI: s.URL + "/cb"}}
	p.publishes(t, nil)
	return p
}

// publishes puts the document up; metadata overrides members.
func (p *publisher) publishes(t testing.TB, metadata map[string]any) {
	t.Helper()
	document := map[string]any{
		"client_id": p.app.id, "client_name": "Published App", "redirect_uris": []string{p.app.redirectURI},
		"token_endpoint_auth_method": "none", "grant_types": []string{"authorization_code", "refresh_token"}, "response_types": []string{"code"},
	}
	for k, v := range metadata {
		document[k] = v
	}
	pages := map[string]page{"/client.json": {"application/json", string(marshal(t, document)), 0}}
	if at, ok := document["jwks_uri"].(string); ok {
		var set jose.JSONWebKeySet
		for _, alg := range []jose.SignatureAlgorithm{jose.ES256, jose.RS256} {
			key := clientKeys()[alg]
			set.Keys = append(set.Keys, key.Public())
		}
		pages[strings.TrimPrefix(at, p.URL)] = page{"application/jwk-set+json", string(marshal(t, set)), 0}
	}
	p.serve(pages)
}

// documentWorld is a world whose tenant accepts documents and that may ask p's site.
func documentWorld(t testing.TB, p *publisher, o options) *world {
	t.Helper()
	more := o.config
	o.config = func(c *opkit.Config) {
		outboundTo(p.Server, "127.0.0.0/8")(c)
		if more != nil {
			more(c)
		}
	}
	w := newWorld(t, o)
	w.acceptDocuments(true)
	return w
}

// acceptDocuments sets the tenant's flag through the management API.
func (w *world) acceptDocuments(on bool) {
	w.t.Helper()
	res := w.sendJSON(http.MethodPatch, w.endpoint.Management+"/tenants/settings", w.managementToken(),
		fmt.Sprintf(`{"flags":{"client_id_metadata_document_registration":%v}}`, on))
	if flags, _ := res.json(w.t)["flags"].(map[string]any); res.StatusCode != http.StatusOK || flags["client_id_metadata_document_registration"] != on {
		w.t.Fatalf("PATCH settings: %d %s", res.StatusCode, res.body)
	}
}

// records returns the clients that are stored, but for the one of the world itself.
func (w *world) records() []store.Client {
	w.t.Helper()
	list, err := w.stores.Clients.Clients(context.Background(), tenant.DefaultID, store.Page{})
	if err != nil {
		w.t.Fatal(err)
	}
	return slices.DeleteFunc(list, func(c store.Client) bool { return c.ID == machineID })
}

// An application that published a document signs a user in, and does everything that
// one which registered does.
func TestClientIDMetadataDocument(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		p := newPublisher(t)
		w := newWorld(t, options{mount: mount, config: outboundTo(p.Server, "127.0.0.0/8")})
		supported := func() any {
			return newBrowser(t).get(w.issuer + "/.well-known/openid-configuration").json(t)["client_id_metadata_document_supported"]
		}
		if got := supported(); got != nil {
			t.Errorf("before it is switched on the metadata says %v", got)
		}
		if res := newBrowser(t).get(w.authorizeURL(p.app)); !refusedByPage(res, "not enabled") || p.asked.Load() != 0 {
			t.Fatalf("before it is switched on: %d %s", res.StatusCode, text(res.body))
		}
		w.acceptDocuments(true)
		if got := supported(); got != true {
			t.Errorf("the metadata says %v", got)
		}

		b := newBrowser(t)
		login := b.get(w.authorizeURL(p.app, "scope", "openid profile email offline_access"))
		if !strings.Contains(text(login.body), "to continue to Published App of 127.0.0.1:") {
			t.Fatalf("login page: %d %s", login.StatusCode, text(login.body))
		}
		consent := b.login(login, "ada@example.com", password)
		host := strings.TrimPrefix(p.URL, "https://")
		if shown := text(consent.body); !strings.Contains(shown, "Published App of "+host+" asks for access") || strings.Contains(shown, "Registered") ||
			!strings.Contains(consent.body, `<strong class="client-host">`+host+`</strong>`) || !strings.Contains(shown, "You have not allowed it anything before.") {
			t.Errorf("consent page: %s", shown)
		}
		if got := w.records(); len(got) != 0 {
			t.Fatalf("stored before the user allowed anything: %+v", got)
		}
		code := b.decide(consent, "allow").location(t).Get("code")
		record, ok := w.client(p.app.id)
		if !ok || record.Name != "Published App" || record.Document == nil || record.ConfirmedAt.IsZero() || !record.Strict() || !record.Dynamic {
			t.Fatalf("record: %v %+v", ok, record)
		}
		res := w.redeem(p.app, code)
		tokens := res.json(t)
		if res.StatusCode != http.StatusOK {
			t.Fatalf("redeeming: %d %s", res.StatusCode, res.body)
		}
		if got := claims(t, tokens["id_token"].(string)); got["aud"] != p.app.id || got["sub"] != w.user.ID {
			t.Errorf("ID token: %v", got)
		}
		if res := w.userinfo(tokens["access_token"].(string)); res.StatusCode != http.StatusOK || res.json(t)["email"] != "ada@example.com" {
			t.Errorf("userinfo: %d %s", res.StatusCode, res.body)
		}
		res = w.token(p.app, "grant_type", "refresh_token", "refresh_token", tokens["refresh_token"].(string))
		if res.StatusCode != http.StatusOK {
			t.Fatalf("refreshing: %d %s", res.StatusCode, res.body)
		}
		// What was allowed is remembered, by query, form and pushed request.
		if got := w.authorizeIn(b, p.app, "prompt", "none"); got.Get("code") == "" {
			t.Errorf("silently: %v", got)
		}
		_, query, _ := strings.Cut(w.authorizeURL(p.app, "prompt", "none"), "?")
		form, _ := url.ParseQuery(query)
		if got := b.post(w.endpoint.Authorization, form).location(t); got.Get("code") == "" {
			t.Errorf("by form: %v", got)
		}
		if got := b.get(w.pushed(p.app, "prompt", "none")).location(t); got.Get("code") == "" {
			t.Errorf("pushed: %v", got)
		}
		if n := p.asked.Load(); n != 1 {
			t.Errorf("the document was asked for %d times", n)
		}
		refreshed := res.json(t)["refresh_token"].(string)
		if res := newBrowser(t).post(w.endpoint.Revocation, url.Values{"client_id": {p.app.id}, "token": {refreshed}}); res.StatusCode != http.StatusOK {
			t.Errorf("revoking: %d %s", res.StatusCode, res.body)
		}
		if res := w.token(p.app, "grant_type", "refresh_token", "refresh_token", refreshed); res.StatusCode != http.StatusBadRequest {
			t.Errorf("after revoking: %d %s", res.StatusCode, res.body)
		}
		if res := newBrowser(t).post(w.endpoint.Introspection, url.Values{"client_id": {p.app.id}, "token": {refreshed}}); res.StatusCode != http.StatusUnauthorized {
			t.Errorf("introspection by a public client: %d %s", res.StatusCode, res.body)
		}
	})
}

// newKey returns a key that nobody published.
func newKey(t testing.TB) jose.JSONWebKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return jose.JSONWebKey{Key: key, KeyID: "stranger"}
}

// With keys an application proves who it is at every endpoint.
func TestClientIDMetadataDocumentWithKeys(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		p := newPublisher(t)
		w := documentWorld(t, p, options{mount: mount})
		key, stranger := clientKeys()[jose.ES256], newKey(t)
		jti := 0
		assertion := func() string {
			jti++
			return w.clientAssertion(p.app, key, jose.ES256, fmt.Sprint(jti))
		}
		for name, keys := range map[string]map[string]any{
			"by reference": {"jwks_uri": p.URL + "/keys"}, "inline": {"jwks": publicJWKS(jose.ES256), "client_name": "Inline"},
		} {
			keys["token_endpoint_auth_method"] = "private_key_jwt"
			p.publishes(t, keys)
			w.clock.advance(10 * time.Minute)
			_, query, _ := strings.Cut(w.authorizeURL(p.app), "?")
			pushed, _ := url.ParseQuery(query)
			var params []string
			for k := range pushed {
				params = append(params, k, pushed.Get(k))
			}
			res := w.asserted(w.endpoint.PushedAuthorizationRequest, assertion(), params...)
			if res.StatusCode != http.StatusCreated {
				t.Fatalf("%s: pushing: %d %s", name, res.StatusCode, res.body)
			}
			begin := w.endpoint.Authorization + "?" + url.Values{"client_id": {p.app.id}, "request_uri": {res.json(t)["request_uri"].(string)}}.Encode()
			b := newBrowser(t)
			code := b.finish(b.get(begin)).location(t).Get("code")
			redemption := []string{"grant_type", "authorization_code", "code", code, "redirect_uri", p.app.redirectURI, "code_verifier", verifier}
			if res := w.token(p.app, redemption...); res.StatusCode != http.StatusUnauthorized || res.json(t)["error"] != "invalid_client" {
				t.Errorf("%s: without proof: %d %s", name, res.StatusCode, res.body)
			}
			if res := w.asserted(w.endpoint.Token, w.clientAssertion(p.app, stranger, jose.ES256, "x"+name), redemption...); res.StatusCode != http.StatusUnauthorized {
				t.Errorf("%s: with another key: %d %s", name, res.StatusCode, res.body)
			}
			res = w.asserted(w.endpoint.Token, assertion(), redemption...)
			if res.StatusCode != http.StatusOK {
				t.Fatalf("%s: redeeming: %d %s", name, res.StatusCode, res.body)
			}
			refresh := res.json(t)["refresh_token"].(string)
			if res := w.asserted(w.endpoint.Introspection, assertion(), "token", refresh); res.json(t)["active"] != true {
				t.Errorf("%s: introspection: %d %s", name, res.StatusCode, res.body)
			}
			if res := w.asserted(w.endpoint.Revocation, assertion(), "token", refresh); res.StatusCode != http.StatusOK {
				t.Errorf("%s: revocation: %d %s", name, res.StatusCode, res.body)
			}
			if res := w.asserted(w.endpoint.Introspection, assertion(), "token", refresh); res.json(t)["active"] != false {
				t.Errorf("%s: introspection after revocation: %d %s", name, res.StatusCode, res.body)
			}
		}
	})
}

// A document that changes what users see, or where they return to, is another
// application to them.
func TestChangedDocumentAsksConsentAgain(t *testing.T) {
	p := newPublisher(t)
	w := documentWorld(t, p, options{})
	b := newBrowser(t)
	w.authorizeIn(b, p.app)
	later := func(metadata map[string]any) {
		p.publishes(t, metadata)
		w.clock.advance(10 * time.Minute)
	}
	later(map[string]any{"scope": "openid profile email"})
	if got := w.authorizeIn(b, p.app, "prompt", "none"); got.Get("code") == "" {
		t.Errorf("after a change that nobody sees: %v", got)
	}
	// What the first page shows is not what the second would.
	later(map[string]any{"client_name": "Your Bank"})
	first := b.get(w.authorizeURL(p.app))
	later(map[string]any{"client_name": "Another Bank"})
	second := b.decide(first, "allow")
	if !strings.Contains(text(first.body), "Your Bank of") || !strings.Contains(text(second.body), "Another Bank of") ||
		!strings.Contains(text(second.body), "It has changed its name or its address since you allowed it something.") {
		t.Fatalf("pages: %s\n%s", text(first.body), text(second.body))
	}
	if got := w.authorizeIn(b, p.app, "prompt", "none"); got.Get("error") != "consent_required" {
		t.Errorf("silently: %v", got)
	}
	if got := b.decide(second, "allow").location(t); got.Get("code") == "" {
		t.Errorf("after allowing: %v", got)
	}
	if got := w.authorizeIn(b, p.app, "prompt", "none"); got.Get("code") == "" {
		t.Errorf("what was allowed is not remembered: %v", got)
	}
	if c, _ := w.client(p.app.id); c.Name != "Another Bank" {
		t.Errorf("record: %+v", c)
	}
	// A redirect URI that is gone from the document is gone.
	later(map[string]any{"redirect_uris": []string{p.URL + "/elsewhere"}})
	if res := b.get(w.authorizeURL(p.app)); !refusedByPage(res, "redirect_uri is not one") {
		t.Errorf("%d %s", res.StatusCode, text(res.body))
	}
}

// The page warns where a document proves nothing about the program that uses it.
func TestPublishedLoopbackRedirect(t *testing.T) {
	p := newPublisher(t)
	w := documentWorld(t, p, options{})
	p.publishes(t, map[string]any{"redirect_uris": []string{"http://127.0.0.1/cb", "com.example.app:/cb", p.app.redirectURI}})
	const warning = "Any program on your device can say that it is this application of 127.0.0.1:"
	for redirect, warned := range map[string]bool{"http://127.0.0.1:49152/cb": true, "com.example.app:/cb": true, p.app.redirectURI: false} {
		b := newBrowser(t)
		page := b.login(b.get(w.authorizeURL(p.app, "redirect_uri", redirect, "prompt", "consent")), "ada@example.com", password)
		if strings.Contains(text(page.body), warning) != warned {
			t.Errorf("%s: %s", redirect, text(page.body))
		}
		if got := b.decide(page, "allow").location(t); got.Get("code") == "" {
			t.Errorf("%s: %v", redirect, got)
		}
	}
}

// While the host of the document is down, who has tokens keeps them for a day. When
// the owner takes the document away, they end.
func TestTokensWhileTheDocumentIsAway(t *testing.T) {
	for _, gone := range []bool{false, true} {
		p := newPublisher(t)
		w := documentWorld(t, p, options{})
		b := newBrowser(t)
		tokens := w.redeem(p.app, w.authorizeIn(b, p.app).Get("code")).json(t)
		status := http.StatusServiceUnavailable
		if gone {
			status = http.StatusNotFound
		}
		p.serve(map[string]page{"/client.json": {"text/html", "", status}})
		w.clock.advance(10 * time.Minute)
		res := w.token(p.app, "grant_type", "refresh_token", "refresh_token", tokens["refresh_token"].(string))
		switch {
		case gone && (res.StatusCode != http.StatusUnauthorized || res.json(t)["error"] != "invalid_client"):
			t.Errorf("gone: %d %s", res.StatusCode, res.body)
		case !gone && res.StatusCode != http.StatusOK:
			t.Errorf("down: %d %s", res.StatusCode, res.body)
		}
		if res := b.get(w.authorizeURL(p.app)); !refusedByPage(res, "cannot be fetched") {
			t.Errorf("authorization: %d %s", res.StatusCode, text(res.body))
		}
		if gone {
			continue
		}
		refresh := res.json(t)["refresh_token"].(string)
		w.clock.advance(day)
		res = w.token(p.app, "grant_type", "refresh_token", "refresh_token", refresh)
		if res.StatusCode != http.StatusServiceUnavailable || res.json(t)["error"] != "temporarily_unavailable" || res.Header.Get("Retry-After") == "" {
			t.Errorf("down for a day: %d %s", res.StatusCode, res.body)
		}
		p.publishes(t, nil)
		w.clock.advance(10 * time.Second)
		if res := w.token(p.app, "grant_type", "refresh_token", "refresh_token", refresh); res.StatusCode != http.StatusOK {
			t.Errorf("up again: %d %s", res.StatusCode, res.body)
		}
	}
}

// The flag counts at use, on every path, and apart from that of registration.
func TestDocumentsSwitchedOff(t *testing.T) {
	p := newPublisher(t)
	w := documentWorld(t, p, options{})
	dynamic := w.register(nil)
	b := newBrowser(t)
	tokens := w.redeem(p.app, w.authorizeIn(b, p.app).Get("code")).json(t)
	code := w.authorizeIn(b, p.app).Get("code")
	login := newBrowser(t)
	page := login.get(w.authorizeURL(p.app))

	w.setFlag(false) // of registration: another thing
	if res := w.userinfo(tokens["access_token"].(string)); res.StatusCode != http.StatusOK {
		t.Errorf("without registration: %d %s", res.StatusCode, res.body)
	}
	if got := w.authorizeIn(b, p.app); got.Get("code") == "" {
		t.Errorf("without registration: %v", got)
	}
	w.setFlag(true)
	w.acceptDocuments(false)
	if res := w.userinfo(tokens["access_token"].(string)); res.StatusCode != http.StatusUnauthorized {
		t.Errorf("userinfo: %d %s", res.StatusCode, res.body)
	}
	for name, res := range map[string]*response{
		"refresh": w.token(p.app, "grant_type", "refresh_token", "refresh_token", tokens["refresh_token"].(string)),
		"code":    w.redeem(p.app, code),
		"push":    w.push(p.app),
	} {
		if res.StatusCode != http.StatusUnauthorized || res.json(t)["error"] != "invalid_client" {
			t.Errorf("%s: %d %s", name, res.StatusCode, res.body)
		}
	}
	if res := login.login(page, "ada@example.com", password); !refusedByPage(res, "not enabled") {
		t.Errorf("login: %d %s", res.StatusCode, text(res.body))
	}
	if res := b.get(w.authorizeURL(p.app)); !refusedByPage(res, "not enabled") {
		t.Errorf("authorization: %d %s", res.StatusCode, text(res.body))
	}
	if got := w.authorizeIn(b, dynamic); got.Get("code") == "" {
		t.Errorf("a client that registered: %v", got)
	}
}

// Deleted means that every token is dead. The document can be used afresh.
func TestDeletedDocumentClient(t *testing.T) {
	p := newPublisher(t)
	w := documentWorld(t, p, options{})
	b := newBrowser(t)
	tokens := w.redeem(p.app, w.authorizeIn(b, p.app).Get("code")).json(t)
	if err := w.provider.Clients().DeleteClient(context.Background(), tenant.DefaultID, p.app.id); err != nil {
		t.Fatal(err)
	}
	if res := w.userinfo(tokens["access_token"].(string)); res.StatusCode != http.StatusUnauthorized {
		t.Errorf("userinfo: %d %s", res.StatusCode, res.body)
	}
	if res := w.token(p.app, "grant_type", "refresh_token", "refresh_token", tokens["refresh_token"].(string)); res.StatusCode != http.StatusBadRequest || res.json(t)["error"] != "invalid_grant" {
		t.Errorf("refresh: %d %s", res.StatusCode, res.body)
	}
	if got := w.authorizeIn(b, p.app, "prompt", "none"); got.Get("error") != "login_required" {
		t.Errorf("silently: %v", got)
	}
	if len(w.records()) != 0 {
		t.Errorf("records: %+v", w.records())
	}
	if got := w.authorizeIn(b, p.app); got.Get("code") == "" {
		t.Errorf("afresh: %v", got)
	}
}

// Logging out works by the record: nothing is fetched for whoever asks.
func TestLogoutOfADocumentClient(t *testing.T) {
	p := newPublisher(t)
	w := documentWorld(t, p, options{})
	p.publishes(t, map[string]any{"post_logout_redirect_uris": []string{p.URL + "/bye"}})
	b := newBrowser(t)
	idToken := w.redeem(p.app, w.authorizeIn(b, p.app).Get("code")).json(t)["id_token"].(string)
	w.clock.advance(day)
	asked := p.asked.Load()
	if res := newBrowser(t).get(w.endSession("client_id", p.URL+"/nobody.json")); res.StatusCode != http.StatusBadRequest {
		t.Errorf("an unknown client: %d %s", res.StatusCode, text(res.body))
	}
	res := b.get(w.endSession("id_token_hint", idToken, "client_id", p.app.id, "post_logout_redirect_uri", p.URL+"/bye"))
	if res.StatusCode == http.StatusOK {
		res = b.confirm(res)
	}
	if got := res.Header.Get("Location"); got != p.URL+"/bye" {
		t.Errorf("%d, Location %q: %s", res.StatusCode, got, text(res.body))
	}
	if n := p.asked.Load(); n != asked {
		t.Errorf("asked %d times", n-asked)
	}
}

// nothingHappens demands that a client_id is refused by page and by JSON, and that
// nothing is stored.
func (w *world) nothingHappens(id string) {
	w.t.Helper()
	app := registered{id: id, redirectURI: "https://app.example.com/cb"}
	if res := newBrowser(w.t).get(w.authorizeURL(app)); !refusedByPage(res, "invalid_client") {
		w.t.Errorf("%s: authorization: %d, Location %q: %s", id, res.StatusCode, res.Header.Get("Location"), text(res.body))
	}
	for name, res := range map[string]*response{
		"token": w.token(app, "grant_type", "authorization_code", "code", "x", "redirect_uri", app.redirectURI, "code_verifier", verifier),
		"push":  w.push(app),
	} {
		if res.StatusCode != http.StatusUnauthorized || res.json(w.t)["error"] != "invalid_client" {
			w.t.Errorf("%s: %s: %d %s", id, name, res.StatusCode, res.body)
		}
	}
	if got := w.records(); len(got) != 0 {
		w.t.Errorf("%s: stored %+v", id, got)
	}
}

// Without the exemption nothing inside is asked, whatever leads there.
func TestDocumentsStayOutside(t *testing.T) {
	p := newPublisher(t)
	w := newWorld(t, options{config: outboundTo(p.Server)})
	w.acceptDocuments(true)
	port := p.URL[strings.LastIndex(p.URL, ":"):]
	for _, host := range []string{
		"127.0.0.1" + port, "localhost" + port, "[::1]" + port, "[::ffff:127.0.0.1]" + port, "[::ffff:7f00:1]" + port, "127.0.0.2" + port, "0.0.0.0" + port,
		"[::]" + port, "10.0.0.1", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "[fe80::1]", "[fd00:ec2::254]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]",
		"nowhere.invalid",
	} {
		w.nothingHappens("https://" + host + "/client.json")
	}
	if n := p.asked.Load(); n != 0 {
		t.Errorf("asked %d times", n)
	}
}

// What a hostile site answers makes no client.
func TestHostileDocuments(t *testing.T) {
	p := newPublisher(t)
	w := documentWorld(t, p, options{})
	good := (*p.pages.Load())["/client.json"].body
	leadsTo := func(status int) *httptest.Server {
		s := httptest.NewUnstartedServer(http.RedirectHandler(p.app.id, status))
		s.TLS = p.TLS.Clone() // the same certificate
		s.StartTLS()
		t.Cleanup(s.Close)
		return s
	}
	for _, answer := range map[string]page{
		"a status that is no error": {"application/json", good, http.StatusAccepted},
		"an error with a document":  {"application/json", good, http.StatusNotFound},
		"a page":                    {"text/html", good, 0},
		"too large":                 {"application/json", good + strings.Repeat(" ", 64<<10), 0},
		"another client_id":         {"application/json", strings.Replace(good, p.app.id, p.URL+"/other.json", 1), 0},
		"a secret":                  {"application/json", strings.Replace(good, `"client_name"`, `"client_secret":"x","client_name"`, 1), 0},
		"half a document":           {"application/json", good[:len(good)/2], 0},
	} {
		p.serve(map[string]page{"/client.json": answer})
		w.clock.advance(time.Minute)
		w.nothingHappens(p.app.id)
	}
	for _, status := range []int{301, 302, 303, 307, 308} {
		asked := p.asked.Load()
		w.nothingHappens(leadsTo(status).URL + "/client.json")
		if p.asked.Load() != asked {
			t.Errorf("%d was followed", status)
		}
	}
}

// Whoever names documents that are not there is told to wait; others are not.
func TestDocumentFetchesAreLimited(t *testing.T) {
	p := newPublisher(t)
	w := documentWorld(t, p, options{config: func(c *opkit.Config) { c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} }})
	ask := func(address, id string, token bool) *response {
		t.Helper()
		req, err := http.NewRequest(http.MethodGet, w.authorizeURL(registered{id: id, redirectURI: p.app.redirectURI}), nil)
		if token {
			form := url.Values{"client_id": {id}, "grant_type": {"authorization_code"}, "code": {"x"}, "redirect_uri": {p.app.redirectURI}}
			req, err = http.NewRequest(http.MethodPost, w.endpoint.Token, strings.NewReader(form.Encode()))
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Forwarded-For", address)
		return newBrowser(t).do(req)
	}
	limited := 0
	for i := range 60 {
		res := ask("203.0.113.7", fmt.Sprintf("https://10.0.%d.1/c", i), i%2 == 0)
		if res.StatusCode != http.StatusTooManyRequests {
			continue
		}
		if limited++; res.Header.Get("Retry-After") == "" || res.Header.Get("Location") != "" {
			t.Errorf("%v %s", res.Header, text(res.body))
		}
	}
	if limited < 20 {
		t.Errorf("%d of 60 requests were limited", limited)
	}
	if res := ask("203.0.113.8", p.app.id, false); res.StatusCode != http.StatusOK {
		t.Errorf("another network: %d %s", res.StatusCode, text(res.body))
	}
	if res := ask("203.0.113.7", p.app.id, false); res.StatusCode != http.StatusOK {
		t.Errorf("what is known already: %d %s", res.StatusCode, text(res.body))
	}
}

// Two nodes on one store behave as one, also in the moment in which the record comes
// to be.
func TestDocumentsOnTwoNodes(t *testing.T) {
	p := newPublisher(t)
	stores := memstore.New().Stores()
	w := documentWorld(t, p, options{stores: stores})
	cfg := opkit.Config{
		Issuer: w.issuer, Stores: stores, Secret: []byte(strings.Repeat("\x07", 32)), Now: w.clock.now, CacheStaleness: time.Hour,
	}
	outboundTo(p.Server, "127.0.0.0/8")(&cfg)
	other, err := opkit.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	second := func(req *http.Request) *httptest.ResponseRecorder {
		rec := httptest.NewRecorder()
		other.ServeHTTP(rec, req)
		return rec
	}
	b := newBrowser(t)
	// The second node learns that there is no record, and is told the same revision.
	if rec := second(httptest.NewRequest(http.MethodGet, w.authorizeURL(p.app), nil)); rec.Code != http.StatusOK {
		t.Fatalf("%d %s", rec.Code, text(rec.Body.String()))
	}
	code := w.authorizeIn(b, p.app).Get("code")
	form := url.Values{"client_id": {p.app.id}, "grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {p.app.redirectURI}, "code_verifier": {verifier}}
	req := httptest.NewRequest(http.MethodPost, w.endpoint.Token, strings.NewReader(form.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	rec := second(req)
	tokens := (&response{body: rec.Body.String()}).json
	if rec.Code != http.StatusOK {
		t.Fatalf("redeeming: %d %s", rec.Code, rec.Body)
	}
	req = httptest.NewRequest(http.MethodGet, w.endpoint.UserInfo, nil)
	req.Header.Set("Authorization", "Bearer "+tokens(t)["access_token"].(string))
	if rec := second(req); rec.Code != http.StatusOK {
		t.Errorf("userinfo: %d %s", rec.Code, rec.Body)
	}
	if n := len(w.records()); n != 1 {
		t.Errorf("%d records", n)
	}
}

// An application with a document costs one store call more than one that registered,
// in each request that names it.
func TestStoreCallsOfADocumentClient(t *testing.T) {
	p := newPublisher(t)
	c := &counted{}
	w := documentWorld(t, p, options{stores: c.stores(), config: func(cfg *opkit.Config) { cfg.CacheStaleness = time.Hour }})
	b := newBrowser(t)
	tokens := w.redeem(p.app, w.authorizeIn(b, p.app).Get("code")).json(t)
	w.userinfo(tokens["access_token"].(string)) // warms the cache up
	measured := map[string]int64{}
	measure := func(name string, operation func()) {
		before := c.n.Load()
		operation()
		measured[name] = c.n.Load() - before
	}
	measure("code flow with a session", func() { w.redeem(p.app, w.authorizeIn(b, p.app).Get("code")) })
	measure("refresh", func() {
		w.token(p.app, "grant_type", "refresh_token", "refresh_token", tokens["refresh_token"].(string))
	})
	measure("userinfo", func() { w.userinfo(tokens["access_token"].(string)) })
	measure("a request of nobody", func() { newBrowser(t).get(w.authorizeURL(p.app)) })
	want := map[string]int64{"code flow with a session": 8, "refresh": 3, "userinfo": 2, "a request of nobody": 1}
	for name, most := range want {
		if measured[name] > most {
			t.Errorf("%s: %d store calls, want at most %d", name, measured[name], most)
		}
	}
	if diff := cmp.Diff(1, int(p.asked.Load())); diff != "" {
		t.Errorf("fetched (-want +got)\n%s", diff)
	}
}

// An administrator reaches such a client over HTTP, although its identifier has
// slashes: to block it, to vouch for it, to delete it, and not to change what its
// document says.
func TestAdministratorsReachDocumentClients(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		p := newPublisher(t)
		w := documentWorld(t, p, options{mount: mount})
		b := newBrowser(t)
		tokens := w.redeem(p.app, w.authorizeIn(b, p.app).Get("code")).json(t)
		refresh := func() *response {
			return w.token(p.app, "grant_type", "refresh_token", "refresh_token", tokens["refresh_token"].(string))
		}
		at := w.endpoint.Management + "/clients/" + url.PathEscape(p.app.id)
		manage := func(method, body string, status int) map[string]any {
			t.Helper()
			res := w.sendJSON(method, at, w.managementToken(), body)
			if res.StatusCode != status {
				t.Fatalf("%s %s: %d %s", method, body, res.StatusCode, res.body)
			}
			if res.body == "" {
				return nil
			}
			return res.json(t)
		}
		if got := manage(http.MethodGet, "", http.StatusOK); got["client_id"] != p.app.id || got["is_first_party"] != false || got["dynamic"] != true {
			t.Errorf("client: %v", got)
		}
		before, _ := w.client(p.app.id)
		for _, body := range []string{`{"callbacks":["https://evil.example/cb"]}`, `{"name":"Another"}`, `{"token_endpoint_auth_method":"client_secret_post"}`, `{"grant_types":["client_credentials"]}`} {
			manage(http.MethodPatch, body, http.StatusBadRequest)
		}
		if res := w.sendJSON(http.MethodPost, at+"/rotate-secret", w.managementToken(), ""); res.StatusCode != http.StatusBadRequest {
			t.Errorf("a secret: %d %s", res.StatusCode, res.body)
		}
		if after, _ := w.client(p.app.id); !cmp.Equal(before, after) {
			t.Errorf("the record (-want +got)\n%s", cmp.Diff(before, after))
		}

		manage(http.MethodPatch, `{"blocked":true}`, http.StatusOK)
		if res := refresh(); res.StatusCode < 400 {
			t.Errorf("blocked: refreshing: %d %s", res.StatusCode, res.body)
		}
		if res := w.userinfo(tokens["access_token"].(string)); res.StatusCode != http.StatusUnauthorized {
			t.Errorf("blocked: userinfo: %d %s", res.StatusCode, res.body)
		}
		// Nor does it help to publish the document anew.
		p.publishes(t, map[string]any{"client_name": "Fresh"})
		w.clock.advance(10 * time.Minute)
		if res := newBrowser(t).get(w.authorizeURL(p.app)); strings.Contains(res.body, `name="password"`) {
			t.Errorf("blocked: authorization: %d %s", res.StatusCode, text(res.body))
		}
		manage(http.MethodPatch, `{"blocked":false}`, http.StatusOK)
		p.publishes(t, nil)
		w.clock.advance(10 * time.Minute)
		if res := refresh(); res.StatusCode != http.StatusOK {
			t.Errorf("put back: %d %s", res.StatusCode, res.body)
		}

		manage(http.MethodDelete, "", http.StatusNoContent)
		if got := w.records(); len(got) != 0 {
			t.Errorf("records: %+v", got)
		}
		if res := refresh(); res.StatusCode < 400 {
			t.Errorf("deleted: refreshing: %d %s", res.StatusCode, res.body)
		}
		manage(http.MethodGet, "", http.StatusNotFound)
	})
}
