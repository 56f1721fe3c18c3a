package dcr

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
)

// sink remembers the last client and keeps none.
type sink struct {
	store.ClientStore
	last *store.Client
}

func (s *sink) CreateClient(_ context.Context, c store.Client) error {
	c = c.Clone()
	s.last = &c
	return nil
}

// Whatever is sent, the endpoint answers 201 or an error of the client, never 5xx;
// what it stores keeps every rule that the other endpoints build on.
func FuzzRegistration(f *testing.F) {
	for _, c := range refusals() {
		f.Add([]byte(c.body), c.mode == store.ModePermissive)
	}
	for _, body := range []string{
		with(""), with(redirects("http://127.0.0.1:1/cb", "myapp://cb", "com.example:/cb")), with(jwks(rsaKey, ecKey, edKey)),
		with(`"grant_types":["implicit","authorization_code"],"response_types":["code id_token"],"scope":"openid notes"`),
		with(`"id_token_signed_response_alg":"HS256","contacts":["a"],"default_max_age":3600,"client_name":"\ud83d\ude00"`),
		with(`"frontchannel_logout_uri":"https://client.example.com/x","post_logout_redirect_uris":["https://a.example/"]`),
	} {
		f.Add([]byte(body), true)
		f.Add([]byte(body), false)
	}
	clients := &sink{}
	replace := func(s *store.Stores) { clients.ClientStore, s.Clients = s.Clients, clients }
	strict := newFixture(f, options{stores: replace})
	permissive := newFixture(f, options{stores: replace, mode: store.ModePermissive})
	f.Fuzz(func(t *testing.T, body []byte, loose bool) {
		target := strict
		if loose {
			target = permissive
		}
		clients.last = nil
		target.log.Reset()
		r := httptest.NewRequest("POST", "https://login.example.com/oidc/register", bytes.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		w := target.serve(r)
		var info information
		if err := json.Unmarshal(w.Body.Bytes(), &info); err != nil {
			t.Fatalf("answer %q: %v", w.Body, err)
		}
		if w.Code != http.StatusCreated {
			if w.Code != http.StatusBadRequest && w.Code != http.StatusRequestEntityTooLarge || info.Error == "" || info.ErrorDescription == "" {
				t.Fatalf("answer %d %s", w.Code, w.Body)
			}
			for i := range len(info.ErrorDescription) {
				if b := info.ErrorDescription[i]; b < ' ' || b > '~' || b == '"' || b == '\\' {
					t.Fatalf("description %q", info.ErrorDescription)
				}
			}
			if clients.last != nil {
				t.Fatalf("refused with %s, but stored", w.Body)
			}
			return
		}
		c := clients.last
		if c == nil || c.ID != info.ClientID || c.TokenEndpointAuthMethod != info.TokenEndpointAuthMethod {
			t.Fatalf("answer %s, stored %+v", w.Body, c)
		}
		if diff := cmp.Diff(c.RedirectURIs, info.RedirectURIs); diff != "" {
			t.Fatal(diff)
		}
		for _, uri := range append(slices.Clone(c.RedirectURIs), c.Extra().PostLogoutRedirectURIs...) {
			kind, err := oauth.ClassifyRedirectURI(uri)
			if err != nil || kind == oauth.RedirectInsecure {
				t.Fatalf("stored %q: %v, %v", uri, kind, err)
			}
			if kind == oauth.RedirectLoopback && c.ApplicationType != typeNative && (c.TokenEndpointAuthMethod != "none" || bytes.Contains(body, []byte(`"web"`))) {
				t.Fatalf("stored %q for a %s application with %s", uri, c.ApplicationType, c.TokenEndpointAuthMethod)
			}
		}
		for _, uri := range c.RedirectURIs {
			if !oauth.MatchRedirectURI(c.RedirectURIs, uri, false) {
				t.Fatalf("stored %q, which will be refused", uri)
			}
		}
		if len(c.RedirectURIs) == 0 && usesBrowser(c) {
			t.Fatal("stored without redirect URIs")
		}
		if c.SecretDigest.IsZero() != (info.ClientSecret == "") || info.ClientSecret != "" && !c.SecretDigest.Matches(info.ClientSecret) {
			t.Fatalf("secret %q, digest %v", info.ClientSecret, c.SecretDigest)
		}
		if c.Strict() == loose || strings.HasPrefix(c.ID, strictPrefix) == loose {
			t.Fatalf("mode %q, ID %q", c.SecurityMode, c.ID)
		}
		for _, g := range c.AllowedGrantTypes() {
			if c.Strict() && !slices.Contains(strictGrantTypes, g) {
				t.Fatalf("strict client with %q", g)
			}
		}
		for _, s := range c.AllowedResponseTypes() {
			if rt, err := oauth.ParseResponseType(s); err != nil || c.Strict() && rt.FrontChannel() {
				t.Fatalf("response type %q: %v", s, err)
			}
		}
		if !visibleText(c.Name) {
			t.Fatalf("name %q", c.Name)
		}
	})
}

func visibleText(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return !oauth.VisibleRune(r) })
}

// The members found by hand are those that encoding/json finds.
func FuzzMembers(f *testing.F) {
	for _, seed := range []string{
		`{}`, ` { "a" : 1 , "b" : [ 1 , {"c":"]"} ] } `, `{"a":"\"}","a\u0062":null,"":true}`, `{"a":[[],{}],"b":-1.5e+3}`, `{"\\":"\\"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var want map[string]json.RawMessage
		if !utf8.Valid(body) || json.Unmarshal(body, &want) != nil || want == nil {
			return
		}
		got := map[string]json.RawMessage{}
		c := cursor{data: body}
		if c.peek() != '{' {
			t.Fatalf("%q is not an object", body)
		}
		if err := c.object(func(name, value []byte) error {
			got[string(name)] = value
			return nil
		}); err != nil {
			return // too deep
		}
		for name, value := range want {
			if !bytes.Equal(bytes.TrimSpace(value), got[name]) {
				t.Fatalf("%q: member %q is %q, want %q", body, name, got[name], value)
			}
			var s string
			if decoded, ok := decodeString(bytes.TrimSpace(value)); ok != (json.Unmarshal(value, &s) == nil && value[0] == '"') {
				t.Fatalf("%q: %v", value, ok)
			} else if ok && decoded != s {
				t.Fatalf("%q: %q, want %q", value, decoded, s)
			}
		}
	})
}

// A key set that is accepted has public keys only, and stays as it is when it is
// registered again.
func FuzzKeySet(f *testing.F) {
	for _, c := range refusals() {
		if _, keys, ok := strings.Cut(c.body, `"jwks":`); ok {
			f.Add([]byte(strings.TrimSuffix(keys, "}")))
		}
	}
	f.Add([]byte(`{"keys":[` + rsaKey + `,` + ecKey + `,` + edKey + `]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		set, _, err := publicKeys(raw)
		if err != nil {
			if set != nil || oauth.AsError(err).Code != oauth.CodeInvalidClientMetadata {
				t.Fatalf("%s, %v", set, err)
			}
			return
		}
		again, _, err := publicKeys(set)
		if err != nil || !bytes.Equal(set, again) {
			t.Fatalf("%s became %s, %v", set, again, err)
		}
	})
}
