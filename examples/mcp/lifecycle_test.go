package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/opkit/opkit"
	"github.com/opkit/opkit/examples/internal/browser"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// mounted starts the example with its provider below /auth, as docs/mcp.md says.
func mounted(t *testing.T, change func(*opkit.Config)) *world {
	t.Helper()
	return serve(t, change, func(w *world, cfg opkit.Config) (http.Handler, error) {
		cfg.Issuer = w.base + "/auth"
		p, err := newProvider(t.Context(), cfg, w.base+mcpPath)
		if err != nil {
			return nil, err
		}
		if err := addUser(t.Context(), p, user, password); err != nil {
			return nil, err
		}
		protected, metadata, err := protect(newServer(), w.base+mcpPath, cfg.Issuer)
		if err != nil {
			return nil, err
		}
		w.provider = p
		mux := http.NewServeMux()
		mux.Handle(mcpPath, protected)
		mux.Handle("/.well-known/oauth-protected-resource"+mcpPath, metadata)
		mux.Handle("/.well-known/oauth-authorization-server/auth", p.Metadata())
		mux.Handle("/.well-known/openid-configuration/auth", p.Metadata())
		mux.Handle("/auth/", http.StripPrefix("/auth", p))
		return mux, nil
	})
}

func TestProviderBelowAPath(t *testing.T) {
	w := mounted(t, nil)
	for _, path := range []string{
		"/.well-known/oauth-authorization-server/auth", "/.well-known/openid-configuration/auth",
		"/auth/.well-known/openid-configuration", "/auth/.well-known/oauth-authorization-server",
	} {
		res, err := http.Get(w.base + path)
		if err != nil {
			t.Fatal(err)
		}
		var document struct {
			Issuer string `json:"issuer"`
		}
		err = json.NewDecoder(res.Body).Decode(&document)
		res.Body.Close()
		if err != nil || res.StatusCode != http.StatusOK || document.Issuer != w.base+"/auth" {
			t.Errorf("%s: %d %q %v", path, res.StatusCode, document.Issuer, err)
		}
	}
	c := w.connect(nil)
	if got := c.call(t, "add_note", map[string]any{"text": "below a path"}); cmp.Diff([]string{"below a path"}, got) != "" {
		t.Errorf("notes %q", got)
	}
	// This SDK registers for every authorization, here at the start and to step up.
	registered, redeemed := w.to("/auth/oidc/register"), w.to("/auth/oauth/token")
	if len(registered) != 2 || registered[0].status != http.StatusCreated || len(redeemed) != 2 || redeemed[1].status != http.StatusOK {
		t.Errorf("registrations %+v, token requests %+v", registered, redeemed)
	}

	person := browser.New(http.DefaultTransport, redirectURL)
	said := node(t, "client.mjs", []string{w.base + mcpPath, redirectURL}, func(message map[string]any) string {
		if client, ok := message["forget"].(string); ok {
			if err := w.provider.Clients().DeleteClient(t.Context(), tenant.DefaultID, client); err != nil {
				t.Error(err)
			}
			return "forgotten"
		}
		address, ok := message["open"].(string)
		if !ok {
			return ""
		}
		at, err := w.allow(person, address)
		if err != nil {
			t.Error(err)
			return redirectURL
		}
		return at
	})
	if !slices.ContainsFunc(said, func(m map[string]any) bool {
		return cmp.Equal(map[string]any{"after": map[string]any{"notes": []any{"below a path", "from TypeScript"}}}, m)
	}) {
		t.Errorf("the TypeScript client said %v", said)
	}
}

// tokens are what a client got.
type tokens struct{ client, accessToken, refreshToken string }

// redeem sends a token request that has to succeed.
func (w *world) redeem(form url.Values) tokens {
	w.t.Helper()
	res, err := http.PostForm(w.base+"/auth/oauth/token", form)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	answer := map[string]any{}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		w.t.Fatal(err)
	}
	got := tokens{client: form.Get("client_id")}
	got.accessToken, _ = answer["access_token"].(string)
	got.refreshToken, _ = answer["refresh_token"].(string)
	if res.StatusCode != http.StatusOK || got.accessToken == "" || got.refreshToken == "" {
		w.t.Fatalf("%d %v", res.StatusCode, answer)
	}
	return got
}

// native registers a native application without any SDK, and returns how a person
// signs in to it for a resource.
func (w *world) native() func(resource string) tokens {
	w.t.Helper()
	res, err := http.Post(w.base+"/auth/oidc/register", "application/json", strings.NewReader(`{"client_name":"Native","redirect_uris":["`+redirectURL+
		`"],"token_endpoint_auth_method":"none","grant_types":["authorization_code","refresh_token"],"application_type":"native"}`))
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	var registered struct {
		ClientID string `json:"client_id"`
	}
	if err := json.NewDecoder(res.Body).Decode(&registered); err != nil || res.StatusCode != http.StatusCreated {
		w.t.Fatalf("%d %v", res.StatusCode, err)
	}
	const ephemeral = "http://127.0.0.1:51234/callback" // RFC 8252 §7.3: any port
	const verifier = "a-verifier-that-is-as-long-as-it-has-to-be-for-PKCE"
	challenge := sha256.Sum256([]byte(verifier))
	person := browser.New(http.DefaultTransport, ephemeral)
	return func(resource string) tokens {
		w.t.Helper()
		at, err := w.allow(person, w.base+"/auth/authorize?"+url.Values{
			"client_id": {registered.ClientID}, "redirect_uri": {ephemeral}, "response_type": {"code"}, "state": {"s"},
			"scope": {scopeRead}, "resource": {resource}, "code_challenge_method": {"S256"},
			"code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])},
		}.Encode())
		if err != nil {
			w.t.Fatal(err)
		}
		u, err := url.Parse(at)
		if err != nil {
			w.t.Fatal(err)
		}
		return w.redeem(url.Values{
			"grant_type": {"authorization_code"}, "client_id": {registered.ClientID}, "redirect_uri": {ephemeral},
			"code": {u.Query().Get("code")}, "code_verifier": {verifier}, "resource": {resource},
		})
	}
}

// callWith calls a tool with an access token and returns the status and the challenge.
func (w *world) callWith(accessToken string) (int, string) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.base+mcpPath,
		strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"list_notes"}}`))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	req.Header.Set("Authorization", "Bearer "+accessToken)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	io.Copy(io.Discard, res.Body)
	return res.StatusCode, res.Header.Get("WWW-Authenticate")
}

func (w *world) refused(what, accessToken string) {
	w.t.Helper()
	status, challenge := w.callWith(accessToken)
	pointer := `resource_metadata="` + w.base + `/.well-known/oauth-protected-resource/mcp"`
	if status != http.StatusUnauthorized || !strings.Contains(challenge, `error="invalid_token"`) || !strings.Contains(challenge, pointer) {
		w.t.Errorf("%s: %d %s", what, status, challenge)
	}
}

func TestTokensThatAreForAnotherAPI(t *testing.T) {
	w := mounted(t, nil)
	const other = "https://other.example.com/mcp"
	ctx := t.Context()
	if _, err := w.provider.Tenants().CreateAPI(ctx, store.API{
		TenantID: tenant.DefaultID, Audience: other, Name: "Other", Scopes: []store.APIScope{{Value: scopeRead}},
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.provider.Tenants().CreateClientGrant(ctx, store.ClientGrant{
		TenantID: tenant.DefaultID, ClientID: store.DefaultForThirdParty, Audience: other,
		SubjectType: store.SubjectUser, Scopes: []string{scopeRead},
	}); err != nil {
		t.Fatal(err)
	}
	signIn := w.native()
	if status, challenge := w.callWith(signIn(w.base + mcpPath).accessToken); status == http.StatusUnauthorized || status == http.StatusForbidden {
		t.Fatalf("a token for this API: %d %s", status, challenge)
	}
	w.refused("a token of the same user and scope for another API", signIn(other).accessToken)
}

func TestExpiredTokens(t *testing.T) {
	var offset atomic.Int64 // of the provider's clock; the API's own is right
	w := mounted(t, func(cfg *opkit.Config) {
		cfg.Now = func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
	})
	tokens := w.native()(w.base + mcpPath)
	refresh := func() {
		t.Helper()
		tokens = w.redeem(url.Values{"grant_type": {"refresh_token"}, "client_id": {tokens.client}, "refresh_token": {tokens.refreshToken}})
	}
	// Two hours ago, the same request got a token that was good for one hour.
	offset.Store(int64(-2 * time.Hour))
	refresh()
	w.refused("an expired token", tokens.accessToken)
	offset.Store(0)
	refresh()
	if status, challenge := w.callWith(tokens.accessToken); status == http.StatusUnauthorized || status == http.StatusForbidden {
		t.Errorf("a token that was refreshed: %d %s", status, challenge)
	}
}
