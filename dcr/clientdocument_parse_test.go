package dcr

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// A URL that breaks a rule is refused before anything is sent.
func TestDocumentURLs(t *testing.T) {
	for _, c := range []struct{ url, want string }{
		{"https://", "has no path"},
		{"https:///client.json", "has no host"},
		{"https://app.example.com", "has no path"},
		{"https://app.example.com/", "has no path"},
		{"https://app.example.com?x=/y", "has no path"},
		{"https://app.example.com/?x=1", "has no path"},
		{"https://app.example.com/client.json#", "has a fragment"},
		{"https://app.example.com/client.json#x", "has a fragment"},
		{"https://user@app.example.com/client.json", "has user information"},
		{"https://user:secret@app.example.com/client.json", "has user information"},
		{"https://@app.example.com/client.json", "has user information"},
		{"https://app.example.com@evil.example/client.json", "has user information"},
		{"https://app.example.com/./client.json", "has a path with dot segments"},
		{"https://app.example.com/../client.json", "has a path with dot segments"},
		{"https://app.example.com/a/..", "has a path with dot segments"},
		{"https://app.example.com/%2e%2e/client.json", "has a path with dot segments"},
		{"https://app.example.com/%2E/client.json", "has a path with dot segments"},
		{"https://app.example.com/a%2f..%2fclient.json", "has a path with dot segments"},
		{"https://app.example.com:443/client.json", "names the port"},
		{"https://app.example.com:/client.json", "has an empty port"},
		{"https://app.example.com:0/client.json", "has a port"},
		{"https://app.example.com:0443/client.json", "has a port"},
		{"https://app.example.com:65536/client.json", "has a port"},
		{"https://app.example.com:x/client.json", "is not a valid URI"},
		{"https://App.example.com/client.json", "capital letters"},
		{"https://app.example.com./client.json", "has a host"},
		{"https://app..example.com/client.json", "has a host"},
		{"https://2130706433/client.json", "has a host"},
		{"https://0x7f.1/client.json", "has a host"},
		{"https://127.1/client.json", "has a host"},
		{"https://[::1%25eth0]/client.json", "has a host"},
		{"https://[::ffff:127.0.0.1/client.json", "is not a valid URI"},
		{"https://b\u00fccher.example/client.json", "RFC 3986 does not allow"},
		{"https://app.example.com/client\u200b.json", "RFC 3986 does not allow"},
		{"https://app.example.com/client json", "RFC 3986 does not allow"},
		{"https://app.example.com/client\r\nHost: x", "is not a valid URI"},
		{"https://app.example.com/client\x00", "is not a valid URI"},
		{"https://app.example.com\\@evil.example/client.json", "is not a valid URI"},
		{"https://app.example.com/\\evil", "RFC 3986 does not allow"},
		{"https://app.example.com/client%", "is not a valid URI"},
		{"https://app.example.com/client%zz", "is not a valid URI"},
		{"https://app.example.com/*", "has a wildcard"},
		{"https://*.example.com/client.json", "has a wildcard"},
		{"https://app.example.com/" + strings.Repeat("x", maxDocumentURL), "is longer than 512 bytes"},
		{"https://" + strings.Repeat("x", 1<<20), "is longer than 512 bytes"},
	} {
		f, w := published(t, options{})
		name := c.url[:min(len(c.url), 60)]
		_, err := f.resolve(c.url)
		f.unusable(name, err, c.want)
		if w.times() != 0 {
			t.Errorf("%q was fetched", name)
		}
	}
	for _, url := range []string{
		"https://app.example.com/c", "https://app.example.com:8443/client.json", "https://app.example.com/client.json?v=1", "https://app.example.com/a//b/",
		"https://192.0.2.1/client.json", "https://[2001:db8::1]/client.json", "https://localhost/client.json", "https://app.example.com/...", "https://app.example.com/%20",
		"https://app.example.com/" + strings.Repeat("x", maxDocumentURL-len("https://app.example.com/")),
	} {
		f, w := published(t, options{})
		redirect := strings.SplitAfterN(url, "/", 4)
		w.put(url, webPage{body: documentAt(url, redirects(strings.Join(redirect[:3], "")+"cb"))})
		if c, err := f.resolve(url); err != nil || c.ID != url {
			t.Errorf("%q: %v", url, err)
		}
	}
}

// documentRefusals are documents that make no client, and what is said about them.
func documentRefusals() []struct{ name, body, want string } {
	private := strings.Replace(ecKey, `"kty"`, `"d":"0","kty"`, 1)
	return []struct{ name, body, want string }{
		{"nothing", ``, "not valid JSON"},
		{"a page", `<!doctype html>`, "not valid JSON"},
		{"a list", `[]`, "must be a JSON object"},
		{"null", `null`, "must be a JSON object"},
		{"two objects", document("") + document(""), "not valid JSON"},
		{"half an object", `{"client_id":"` + documentURL, "not valid JSON"},
		{"no UTF-8", document("\"client_name\":\"\xff\""), "not valid UTF-8"},
		{"too deep", document(`"x":` + strings.Repeat("[", 40) + strings.Repeat("]", 40)), "nested too deeply"},
		{"too many members", document(manyMembers(200)), "more than 128 members"},
		{"a member twice", document(`"client_name":"a","client_name":"b"`), "client_name more than once"},
		{"client_id twice", `{"client_id":"` + documentURL + `","client\u005fid":"` + documentURL + `","redirect_uris":["https://app.example.com/cb"]}`, "client_id more than once"},

		{"no client_id", `{"redirect_uris":["https://app.example.com/cb"]}`, "client_id must be there"},
		{"client_id null", document(`"client_id":null`), "client_id must be there"},
		{"client_id in capitals", document(`"client_id":"x","CLIENT_ID":"` + documentURL + `"`), "client_id must be there"},
		{"client_id a list", document(`"client_id":["` + documentURL + `"]`), "client_id must be a string"},
		{"another client_id", document(`"client_id":"https://app.example.com/other"`), "client_id must be there"},
		{"client_id of another host", document(`"client_id":"https://evil.example/client.json"`), "client_id must be there"},
		{"client_id with a slash more", document(`"client_id":"` + documentURL + `/"`), "client_id must be there"},
		{"client_id with the port", document(`"client_id":"https://app.example.com:443/client.json"`), "client_id must be there"},
		{"client_id with another spelling", document(`"client_id":"https://app.example.com/client%2Ejson"`), "client_id must be there"},
		{"client_id with a space", document(`"client_id":"` + documentURL + ` "`), "client_id must be there"},

		{"a secret", document(`"client_secret":"s3cret"`), "client_secret must not be"},
		{"a secret that is no string", document(`"client_secret":{}`), "client_secret must not be"},
		{"the expiry of a secret", document(`"client_secret_expires_at":0`), "client_secret_expires_at must not be"},
		{"client_secret_basic", document(`"token_endpoint_auth_method":"client_secret_basic"`), "token_endpoint_auth_method"},
		{"client_secret_post", document(`"token_endpoint_auth_method":"client_secret_post"`), "token_endpoint_auth_method"},
		{"client_secret_jwt", document(`"token_endpoint_auth_method":"client_secret_jwt"`), "token_endpoint_auth_method"},
		{"an unknown method", document(`"token_endpoint_auth_method":"tls_client_auth"`), "token_endpoint_auth_method"},
		{"a method that is no string", document(`"token_endpoint_auth_method":["none"]`), "token_endpoint_auth_method must be a string"},
		{"private_key_jwt without keys", document(`"token_endpoint_auth_method":"private_key_jwt"`), "jwks or jwks_uri is required"},
		{"HS256", document(`"id_token_signed_response_alg":"HS256"`), "HS256 needs an application with a client secret"},
		{"no signature", document(`"id_token_signed_response_alg":"none"`), "id_token_signed_response_alg"},
		{"a private key", document(`"jwks":{"keys":[` + private + `]}`), "jwks"},
		{"two sets of keys", document(`"jwks_uri":"https://app.example.com/jwks",` + jwks(ecKey)), "exclude each other"},
		{"keys behind http", document(`"token_endpoint_auth_method":"private_key_jwt","jwks_uri":"http://app.example.com/jwks"`), "jwks_uri"},
		{"keys in a file", document(`"token_endpoint_auth_method":"private_key_jwt","jwks_uri":"file:///etc/passwd"`), "jwks_uri"},

		{"no redirect URI", document(`"redirect_uris":[]`), "redirect_uris is required"},
		{"redirect URIs null", document(`"redirect_uris":null`), "redirect_uris is required"},
		{"a redirect URI that is no list", document(`"redirect_uris":"https://app.example.com/cb"`), "redirect_uris must be an array"},
		{"no redirect URI for another grant", document(`"redirect_uris":[],"grant_types":["client_credentials"]`), "redirect_uris is required"},
		{"javascript", document(redirects("javascript:alert(1)")), "redirect_uris"},
		{"data", document(redirects("data:text/html,x")), "redirect_uris"},
		{"http", document(redirects("http://app.example.com/cb")), "uses http"},
		{"a fragment", document(redirects("https://app.example.com/cb#x")), "redirect_uris"},
		{"user information", document(redirects("https://app.example.com@evil.example/cb")), "user information"},
		{"a wildcard", document(redirects("https://app.example.com/*")), "wildcard"},
		{"another host", document(redirects("https://evil.example/cb")), "scheme, host and port of the client_id"},
		{"a host below", document(redirects("https://x.app.example.com/cb")), "scheme, host and port of the client_id"},
		{"a host above", document(redirects("https://example.com/cb")), "scheme, host and port of the client_id"},
		{"a host that begins so", document(redirects("https://app.example.com.evil.example/cb")), "scheme, host and port of the client_id"},
		{"another port", document(redirects("https://app.example.com:8443/cb")), "scheme, host and port of the client_id"},
		{"another host beside one's own", document(redirects("https://app.example.com/cb", "https://evil.example/cb")), "scheme, host and port of the client_id"},
		{"a logout to another host", document(`"post_logout_redirect_uris":["https://evil.example/"]`), "post_logout_redirect_uris"},
		{"a sector elsewhere", document(`"subject_type":"pairwise","sector_identifier_uri":"https://victim.example/uris.json"`), "sector_identifier_uri"},
		{"a sector that is not there", document(`"subject_type":"pairwise","sector_identifier_uri":"https://app.example.com/uris.json"`), "cannot be fetched"},
		{"web and loopback", document(`"application_type":"web","redirect_uris":["http://127.0.0.1/cb"]`), "loopback"},

		{"no code", document(`"grant_types":["implicit"]`), "grant_types must have authorization_code"},
		{"refresh tokens alone", document(`"grant_types":["refresh_token"]`), "grant_types must have authorization_code"},
		{"grants that are no list", document(`"grant_types":"authorization_code"`), "grant_types must be an array"},
		{"tokens alone", document(`"response_types":["token","id_token"]`), "response_types must have code"},
		{"a name that is long", document(`"client_name":"` + strings.Repeat("x", 300) + `"`), "client_name is longer"},
		{"a name with two directions", document(`"client_name":"\u202egro.live"`), "client_name"},
		{"a name with two lines", document(`"client_name":"a\nb"`), "client_name"},
		{"a script as policy", document(`"policy_uri":"javascript:alert(1)"`), "policy_uri"},
		{"a logo in a file", document(`"logo_uri":"file:///etc/passwd"`), "logo_uri"},
		{"a scope that is none", document(`"scope":"a\"b"`), "scope"},
	}
}

func TestDocumentsThatAreRefused(t *testing.T) {
	for _, c := range documentRefusals() {
		f, w := published(t, options{})
		w.put(documentURL, webPage{body: c.body})
		client, err := f.resolve(documentURL)
		f.unusable(c.name, err, c.want)
		if client.ID != "" {
			t.Errorf("%s: %+v came with the error", c.name, client)
		}
		// Whoever proves who they are fares no better.
		if _, err := f.registrar.Clients().Client(t.Context(), tenant.DefaultID, documentURL); err == nil {
			t.Errorf("%s: accepted after it was refused", c.name)
		}
	}
}

// A document is written once for all servers: what is not served here is left out.
func TestDocumentIsAdapted(t *testing.T) {
	f, w := published(t, options{mode: store.ModePermissive})
	for _, c := range []struct {
		name, members string
		check         func(c *store.Client) bool
	}{
		{"no method", ``, func(c *store.Client) bool { return c.TokenEndpointAuthMethod == "none" }},
		{"null", `"token_endpoint_auth_method":null,"client_secret":null,"scope":null`, func(c *store.Client) bool { return c.TokenEndpointAuthMethod == "none" }},
		{"private_key_jwt", `"token_endpoint_auth_method":"private_key_jwt","jwks_uri":"https://keys.example/jwks"`, func(c *store.Client) bool {
			return c.TokenEndpointAuthMethod == "private_key_jwt" && c.Extra().JWKSURI == "https://keys.example/jwks" && c.SecretDigest.IsZero()
		}},
		{"keys", `"token_endpoint_auth_method":"private_key_jwt",` + jwks(ecKey), func(c *store.Client) bool { return len(c.Extra().JWKS) > 0 }},
		{"more grants", `"grant_types":["client_credentials","authorization_code","implicit","urn:ietf:params:oauth:grant-type:device_code","refresh_token"]`, func(c *store.Client) bool {
			return slices.Equal(c.GrantTypes, []string{"authorization_code", "refresh_token"})
		}},
		{"more response types", `"response_types":["code","id_token token"]`, func(c *store.Client) bool { return slices.Equal(c.ResponseTypes, []string{"code"}) }},
		{"scopes of others", `"scope":"openid mcp:tools"`, func(c *store.Client) bool { return c.Scope == "openid" }},
		{"a native application", redirects("http://127.0.0.1:33418/", "http://localhost/", "https://app.example.com/cb", "com.example.app:/cb"), func(c *store.Client) bool { return len(c.RedirectURIs) == 4 }},
		{"on this machine alone", redirects("http://127.0.0.1/cb"), func(c *store.Client) bool { return c.ApplicationType == "native" }},
		{"always strict", ``, func(c *store.Client) bool {
			return c.Strict() && c.SecurityMode == store.ModeStrict && c.Dynamic && !c.FirstParty
		}},
		{"members of a registration", `"registration_access_token":"x","registration_client_uri":"https://evil.example/","client_id_issued_at":1,"software_statement":"x"`, func(c *store.Client) bool {
			return c.Registration == nil && c.Metadata == nil
		}},
	} {
		w.put(documentURL, webPage{body: document(c.members)})
		f.now = f.now.Add(documentFresh)
		client, err := f.resolve(documentURL)
		if err != nil || !c.check(&client) {
			t.Errorf("%s: %+v, %v", c.name, client, err)
		}
	}
}

// What a trusted issuer says of an application counts in a document too, and never
// more than what its place says.
func TestSoftwareStatementsInDocuments(t *testing.T) {
	key := newIssuerKey(t)
	for _, required := range []bool{false, true} {
		f, w := published(t, options{config: func(c *Config) {
			trusting(SoftwareIssuer{Issuer: publisher, JWKS: key.jwks(t)})(c)
			c.RequireSoftwareStatement = required
		}})
		ask := func(members string) (store.Client, error) {
			w.put(documentURL, webPage{body: document(members)})
			f.now = f.now.Add(documentFresh)
			return f.resolve(documentURL)
		}
		stated := func(claims map[string]any) string {
			return `"client_name":"Own","software_statement":"` + key.statement(t, claims) + `"`
		}
		c, err := ask(stated(map[string]any{
			"client_name": "Stated", "client_id": "https://app.example.com/other", "client_secret": "x", "registration_access_token": "x",
		}))
		if err != nil || c.Name != "Stated" || c.ID != documentURL || c.Extra().SoftwareStatement == "" || !c.SecretDigest.IsZero() {
			t.Errorf("required %v: %+v, %v", required, c, err)
		}
		for members, want := range map[string]string{
			`"software_statement":"` + newIssuerKey(t).statement(t, nil) + `"`: "signature",
			`"software_statement":"x"`:                  "not a signed JWT",
			`"software_statement":1`:                    "software_statement must be a string",
			stated(map[string]any{"exp": start.Unix()}): "expired",
			stated(map[string]any{"redirect_uris": []string{"https://evil.example/cb"}}):                                "scheme, host and port of the client_id",
			stated(map[string]any{"token_endpoint_auth_method": "client_secret_basic"}):                                 "token_endpoint_auth_method",
			stated(map[string]any{"grant_types": []string{"client_credentials"}}):                                       "grant_types must have authorization_code",
			`"client_id":"x","software_statement":"` + key.statement(t, map[string]any{"client_id": documentURL}) + `"`: "client_id must be there",
		} {
			_, err := ask(members)
			f.unusable(members, err, want)
		}
		if _, err := ask(""); required {
			f.unusable("without a statement", err, "software_statement is required")
		} else if err != nil {
			t.Error(err)
		}
	}
}

func TestForeignRedirectsByPolicy(t *testing.T) {
	f, w := published(t, options{config: func(c *Config) { c.Documents.InsecureForeignRedirects = true }})
	w.put(documentURL, webPage{body: document(redirects("https://elsewhere.example/cb"))})
	if c, err := f.resolve(documentURL); err != nil || c.RedirectURIs[0] != "https://elsewhere.example/cb" {
		t.Errorf("%+v, %v", c, err)
	}
}

// A URL that is accepted has one reading: what is compared, shown, and asked for.
func FuzzDocumentURL(f *testing.F) {
	for _, id := range []string{
		documentURL, "https://app.example.com:8443/a/b?x=1", "https://[2001:db8::1]/c", "https://192.0.2.1/c", "https://xn--bcher-kva.example/c",
		"https://app.example.com//c", "https://app.example.com/%41", "https://app.example.com/c?", "https://app.example.com/c?#",
		"https://app.example.com/a/../c", "https://app.example.com/%2e%2E/c", "https://u@app.example.com/c", "https://app.example.com:443/c",
		"https://APP.example.com/c", "https://127.1/c", "https://app.example.com\\@evil.example/c", "https://app.example.com/c#x", "https://[::1%25a]/c",
	} {
		f.Add(id)
	}
	f.Fuzz(func(t *testing.T, id string) {
		if err := checkDocumentURL(id); err != nil {
			if e, ok := errors.AsType[*oauth.Error](err); !ok || e.Code != oauth.CodeInvalidClient || e.Description == "" || !errors.Is(err, store.ErrNotFound) {
				t.Fatalf("%q: %v", id, err)
			}
			return
		}
		u, err := url.Parse(id)
		if err != nil || !oauth.NamesDocument(id) || len(id) > maxDocumentURL {
			t.Fatalf("%q was accepted: %v", id, err)
		}
		// What goes over the wire, put together again, is the identifier.
		asked := "https://" + u.Host + u.RequestURI()
		if asked != id || u.User != nil || u.Fragment != "" || u.Host != strings.ToLower(u.Host) || u.Port() == "443" {
			t.Fatalf("%q was accepted, asked is %q", id, asked)
		}
		for segment := range strings.SplitSeq(u.Path, "/") {
			if u.Path == "/" || segment == "." || segment == ".." {
				t.Fatalf("%q was accepted with the path %q", id, u.Path)
			}
		}
		if u.Hostname() == "" || hostOfDocument(id) == "" {
			t.Fatalf("%q was accepted without a host", id)
		}
	})
}

// Whatever a document holds, it is refused with words for its author, or makes a
// client that keeps every rule the endpoints build on.
func FuzzDocument(f *testing.F) {
	for _, c := range documentRefusals() {
		f.Add([]byte(c.body))
	}
	f.Add([]byte(document("")))
	f.Add([]byte(document(`"token_endpoint_auth_method":"private_key_jwt",` + jwks(rsaKey, ecKey, edKey))))
	f.Add([]byte(document(redirects("http://127.0.0.1:1/cb", "myapp://cb", "com.example:/cb"))))
	fix, _ := published(f, options{})
	f.Fuzz(func(t *testing.T, body []byte) {
		fix.log.Reset()
		c, err := fix.registrar.parseDocument(context.Background(), documentKey{tenant.DefaultID, documentURL}, body)
		if err != nil {
			if c != nil || oauth.Internal(err) || oauth.AsError(err).Description == "" {
				t.Fatalf("%+v, %v", c, err)
			}
			return
		}
		var said struct {
			ClientID string `json:"client_id"`
		}
		if json.Unmarshal(body, &said) != nil {
			t.Fatalf("%q was accepted", body)
		}
		if c.ID != documentURL || c.TenantID != tenant.DefaultID || !c.Dynamic || !c.Strict() || c.FirstParty || c.Registration != nil {
			t.Fatalf("%+v", c)
		}
		if !c.SecretDigest.IsZero() || c.SealedSecret != nil || c.TokenEndpointAuthMethod != "none" && c.TokenEndpointAuthMethod != "private_key_jwt" {
			t.Fatalf("%+v", c)
		}
		if c.Extra().IDTokenSignedResponseAlg == "HS256" || c.Extra().UserInfoSignedResponseAlg == "HS256" {
			t.Fatalf("%+v", c.Metadata)
		}
		for _, g := range c.AllowedGrantTypes() {
			if !slices.Contains(strictGrantTypes, g) {
				t.Fatalf("grant type %q", g)
			}
		}
		if !slices.Equal(c.AllowedResponseTypes(), []string{"code"}) || len(c.RedirectURIs) == 0 || !visibleText(c.Name) {
			t.Fatalf("%+v", c)
		}
		for _, uri := range append(slices.Clone(c.RedirectURIs), c.Extra().PostLogoutRedirectURIs...) {
			kind, err := oauth.ClassifyRedirectURI(uri)
			if err != nil || kind == oauth.RedirectInsecure || kind == oauth.RedirectWeb && !strings.HasPrefix(strings.ToLower(uri), "https://app.example.com") {
				t.Fatalf("%q: %v, %v", uri, kind, err)
			}
		}
		if c.Revision < 0 {
			t.Fatalf("revision %d", c.Revision)
		}
	})
}
