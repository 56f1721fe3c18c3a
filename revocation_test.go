package opkit_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/opkit/opkit"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
	"github.com/opkit/opkit/tenant"
)

// as posts to an endpoint as a client.
func (w *world) as(app registered, endpoint string, params ...string) *response {
	w.t.Helper()
	v := url.Values{"client_id": {app.id}}
	if app.secret != "" {
		v.Set("client_secret", app.secret)
	}
	for pair := range slices.Chunk(params, 2) {
		v.Set(pair[0], pair[1])
	}
	return newBrowser(w.t).post(endpoint, v)
}

// revoke expects the answer of RFC 7009 §2.2.
func (w *world) revoke(app registered, token string) {
	w.t.Helper()
	res := w.as(app, w.endpoint.Revocation, "token", token)
	if res.StatusCode != http.StatusOK || res.body != "" || res.Header.Get("Content-Type") != "" {
		w.t.Errorf("revocation = %d %q %q, want 200 and nothing", res.StatusCode, res.Header.Get("Content-Type"), res.body)
	}
	if res.Header.Get("Access-Control-Allow-Origin") != "*" || res.Header.Get("Cache-Control") != "no-store" {
		w.t.Errorf("headers of the revocation: %v", res.Header)
	}
}

// active introspects a token and expects {"active":false} if it is not.
func (w *world) active(app registered, token string) bool {
	w.t.Helper()
	res := w.as(app, w.endpoint.Introspection, "token", token)
	got := res.json(w.t)
	active, ok := got["active"].(bool)
	if res.StatusCode != http.StatusOK || !ok || !active && len(got) != 1 {
		w.t.Fatalf("introspection = %d %s", res.StatusCode, res.body)
	}
	if res.Header.Get("Access-Control-Allow-Origin") != "" {
		w.t.Error("scripts of any origin may introspect")
	}
	return active
}

func TestRevocationAndIntrospection(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount})
		m := newBrowser(t).get(w.issuer + "/.well-known/openid-configuration").json(t)
		if m["revocation_endpoint"] != w.endpoint.Revocation || m["introspection_endpoint"] != w.endpoint.Introspection {
			t.Fatalf("metadata: %v, %v", m["revocation_endpoint"], m["introspection_endpoint"])
		}
		app := w.register(map[string]any{"grant_types": []string{"authorization_code", "refresh_token"}})
		public := w.register(map[string]any{"redirect_uris": []string{"http://127.0.0.1/cb"}, "token_endpoint_auth_method": "none"})
		type issued struct{ access, refresh string }
		b := newBrowser(t)
		tokens := func(app registered) issued {
			t.Helper()
			got := w.redeem(app, w.authorizeIn(b, app, "scope", "openid offline_access").Get("code")).json(t)
			access, _ := got["access_token"].(string)
			refresh, _ := got["refresh_token"].(string)
			if access == "" || refresh == "" {
				t.Fatalf("tokens: %v", got)
			}
			return issued{access, refresh}
		}
		alive := func(access string, want int) {
			t.Helper()
			if res := w.userinfo(access); res.StatusCode != want {
				t.Errorf("userinfo: %d %s, want %d", res.StatusCode, res.body, want)
			}
		}

		mine, theirs := tokens(app), tokens(public)
		for _, token := range []string{mine.access, mine.refresh} {
			if !w.active(app, token) {
				t.Error("a token is not active for its own client")
			}
			w.revoke(public, token) // has no effect
		}
		for _, token := range []string{theirs.access, theirs.refresh, "garbage", "a.b.c"} {
			if w.active(app, token) {
				t.Error("a token is active for another client")
			}
			w.revoke(app, token) // has no effect
		}
		alive(mine.access, http.StatusOK)
		alive(theirs.access, http.StatusOK)

		w.revoke(app, mine.refresh)
		w.revoke(public, theirs.access)
		for _, token := range []string{mine.access, mine.refresh} {
			if w.active(app, token) {
				t.Error("a revoked token is active")
			}
		}
		alive(mine.access, http.StatusUnauthorized)
		alive(theirs.access, http.StatusUnauthorized)
		for _, refused := range []*response{
			w.token(app, "grant_type", "refresh_token", "refresh_token", mine.refresh),
			w.token(public, "grant_type", "refresh_token", "refresh_token", theirs.refresh),
		} {
			if refused.StatusCode != 400 || refused.json(t)["error"] != "invalid_grant" {
				t.Errorf("refresh after revocation: %d %s", refused.StatusCode, refused.body)
			}
		}

		// What the user allowed is still allowed: no page, a code at once.
		if got := b.get(w.authorizeURL(app, "scope", "openid")).location(t); got.Get("code") == "" {
			t.Errorf("authorization after revocation: %v", got)
		}
		again := tokens(app)
		alive(again.access, http.StatusOK)
	})
}

// An API asks about the tokens that it is sent as a client with a client grant.
func TestIntrospectionByAnAPI(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount, permissive: true})
		app, machine := w.register(nil), registered{id: machineID, secret: machineSecret}
		access := w.redeem(app, w.authorize(app, "audience", apiAudience, "scope", "openid contacts").Get("code")).json(t)["access_token"].(string)
		if !w.active(app, access) || w.active(machine, access) {
			t.Fatal("before the client grant: the application learns, the machine does not")
		}
		_, err := w.provider.Tenants().CreateClientGrant(t.Context(), store.ClientGrant{
			TenantID: tenant.DefaultID, ClientID: machineID, Audience: apiAudience, SubjectType: store.SubjectClient,
		})
		if err != nil {
			t.Fatal(err)
		}
		if !w.active(machine, access) {
			t.Fatal("the API does not learn about a token for it")
		}

		req, _ := http.NewRequest(http.MethodPost, w.endpoint.Introspection, strings.NewReader("token="+access))
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Accept", "application/token-introspection+jwt")
		req.SetBasicAuth(machineID, machineSecret)
		res := newBrowser(t).do(req)
		got := claims(t, res.body)
		inner, _ := got["token_introspection"].(map[string]any)
		if res.Header.Get("Content-Type") != "application/token-introspection+jwt" || got["iss"] != w.issuer || got["aud"] != machineID ||
			inner["active"] != true || inner["client_id"] != app.id || inner["sub"] != w.user.ID {
			t.Errorf("signed introspection: %d %v", res.StatusCode, got)
		}

		w.revoke(app, access)
		if w.active(machine, access) {
			t.Error("a revoked token is active")
		}
	})
}

// The metadata names the methods that the endpoints accept, and no other.
func TestRevocationAndIntrospectionAcceptWhatIsAdvertised(t *testing.T) {
	w := newWorld(t, options{})
	public := w.register(map[string]any{"redirect_uris": []string{"http://127.0.0.1/cb"}, "token_endpoint_auth_method": "none"})
	machine := registered{id: machineID, secret: machineSecret}
	m := newBrowser(t).get(w.issuer + "/.well-known/openid-configuration").json(t)
	for endpoint, u := range map[string]string{"revocation": w.endpoint.Revocation, "introspection": w.endpoint.Introspection} {
		methods, _ := m[endpoint+"_endpoint_auth_methods_supported"].([]any)
		if len(methods) == 0 || m[endpoint+"_endpoint_auth_signing_alg_values_supported"] == nil {
			t.Fatalf("%s: methods %v, algorithms %v", endpoint, methods, m[endpoint+"_endpoint_auth_signing_alg_values_supported"])
		}
		basic, _ := http.NewRequest(http.MethodPost, u, strings.NewReader("token=x"))
		basic.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		basic.SetBasicAuth(machineID, machineSecret)
		for method, res := range map[string]*response{
			"none":                w.as(public, u, "token", "x"),
			"client_secret_post":  w.as(machine, u, "token", "x"),
			"client_secret_basic": newBrowser(t).do(basic),
		} {
			want := http.StatusUnauthorized
			if slices.Contains(methods, any(method)) {
				want = http.StatusOK
			}
			if res.StatusCode != want {
				t.Errorf("%s with %s: %d %s, want %d", endpoint, method, res.StatusCode, res.body, want)
			}
		}
	}
	if got, _ := m["introspection_signing_alg_values_supported"].([]any); !slices.Contains(got, any("RS256")) {
		t.Errorf("RFC 9701 §7: %v", got)
	}

	signer := w.register(map[string]any{"token_endpoint_auth_method": "client_secret_jwt"})
	for i, u := range []string{w.endpoint.Revocation, w.endpoint.Introspection} {
		res := newBrowser(t).post(u, url.Values{
			"token": {"x"}, "client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
			"client_assertion": {w.assertion(signer, strconv.Itoa(i))},
		})
		if res.StatusCode != http.StatusOK {
			t.Errorf("%s with client_secret_jwt: %d %s", u, res.StatusCode, res.body)
		}
	}

	preflight, _ := http.NewRequest(http.MethodOptions, w.endpoint.Revocation, nil)
	preflight.Header.Set("Origin", "https://spa.example")
	preflight.Header.Set("Access-Control-Request-Method", "POST")
	if res := newBrowser(t).do(preflight); res.StatusCode != http.StatusNoContent || res.Header.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("preflight: %d %v", res.StatusCode, res.Header)
	}

	off := newWorld(t, options{mount: "root", config: func(c *opkit.Config) {
		c.Endpoints.Revocation, c.Endpoints.Introspection = tenant.NotMounted, tenant.NotMounted
	}})
	m = newBrowser(t).get(off.issuer + "/.well-known/openid-configuration").json(t)
	for name := range m {
		if strings.HasPrefix(name, "revocation_") || strings.HasPrefix(name, "introspection_") {
			t.Errorf("%s is advertised although nothing is mounted", name)
		}
	}
	if res := newBrowser(t).post(off.issuer+"/oauth/revoke", url.Values{"token": {"x"}}); res.StatusCode != http.StatusNotFound {
		t.Errorf("an endpoint that is switched off answers %d", res.StatusCode)
	}
}

// assertion signs a client assertion with the client's secret.
func (w *world) assertion(app registered, id string) string {
	w.t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: []byte(app.secret)}, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	payload, err := json.Marshal(map[string]any{
		"iss": app.id, "sub": app.id, "aud": w.issuer, "jti": id, "exp": w.clock.now().Add(time.Minute).Unix(),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		w.t.Fatal(err)
	}
	out, err := signed.CompactSerialize()
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

// The opaque token of a machine opens neither userinfo nor the management API.
func TestMachineTokenWithoutAudienceOpensNothing(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount})
		machine := registered{id: machineID, secret: machineSecret}
		res := w.token(machine, "grant_type", "client_credentials")
		token, _ := res.json(t)["access_token"].(string)
		if res.StatusCode != http.StatusOK || token == "" || res.json(t)["scope"] != "" {
			t.Fatalf("client_credentials: %d %s", res.StatusCode, res.body)
		}
		if !w.active(machine, token) || w.active(w.register(nil), token) {
			t.Error("only the machine itself learns about its token")
		}
		if res := w.userinfo(token); res.StatusCode != http.StatusUnauthorized {
			t.Errorf("userinfo: %d %s", res.StatusCode, res.body)
		}
		if res := w.sendJSON(http.MethodGet, w.endpoint.Management+"/tenants/settings", token, ""); res.StatusCode != http.StatusUnauthorized {
			t.Errorf("management API: %d %s", res.StatusCode, res.body)
		}
		if res := w.as(machine, w.endpoint.Revocation, "token", token); res.StatusCode != 400 || res.json(t)["error"] != "unsupported_token_type" {
			t.Errorf("revocation: %d %s", res.StatusCode, res.body)
		}
	})
}

type failingRevocation struct {
	store.GrantFamilyStore
	*failing
}

func (s failingRevocation) RevokeFamily(ctx context.Context, tenant, id string, until, now time.Time) error {
	if err := s.err(); err != nil {
		return err
	}
	return s.GrantFamilyStore.RevokeFamily(ctx, tenant, id, until, now)
}

// A store error during revocation is not success.
func TestRevocationThatFailsIsNoSuccess(t *testing.T) {
	f := &failing{}
	stores := memstore.New().Stores()
	stores.Grants = failingRevocation{stores.Grants, f}
	w := newWorld(t, options{stores: stores})
	app := w.register(nil)
	access := w.redeem(app, w.authorize(app).Get("code")).json(t)["access_token"].(string)
	f.armed.Store(true)
	res := w.as(app, w.endpoint.Revocation, "token", access)
	if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" || internals.MatchString(res.body) {
		t.Errorf("revocation: %d %v %s", res.StatusCode, res.Header, res.body)
	}
	f.armed.Store(false)
	if !w.active(app, access) {
		t.Error("the token was revoked although the answer was an error")
	}
	w.revoke(app, access)
	if w.active(app, access) {
		t.Error("the second attempt revoked nothing")
	}
}
