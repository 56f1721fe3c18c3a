package token

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/opkit/opkit/internal/oauth"
)

func TestNamespacedClaimNames(t *testing.T) {
	for name, want := range map[string]bool{
		"https://example.com/roles": true, "http://example.com/roles": true, "https://example.com": true, "https://foo.com/myclaim": true,
		"roles": false, "sub": false, "iss": false, "": false, "https://": false, "https:///roles": false, "https:roles": false,
		"//example.com/roles": false, "urn:example:roles": false, "ftp://example.com/roles": false, "https://:443/x": false,
		"https://exa mple.com/x": false, "HTTPS://example.com/x": false, "https://%zz/": false,
	} {
		if got := namespaced(name); got != want {
			t.Errorf("namespaced(%q) = %v, want %v", name, got, want)
		}
	}
}

func TestCustomClaims(t *testing.T) {
	var seen []ClaimsInput
	var dropped []string
	f := newFixture(t, func(c *Config) {
		c.Claims = func(_ context.Context, in ClaimsInput) (CustomClaims, error) {
			seen = append(seen, in)
			return CustomClaims{
				IDToken:     map[string]any{"https://example.com/id": "id", "sub": "evil", "email": "evil@example.com", "aud": 1},
				AccessToken: map[string]any{"https://example.com/at": []string{"a"}, "scope": "everything", "https://example.com/html": "<&>"},
				UserInfo:    map[string]any{"https://example.com/ui": map[string]int{"n": 1}, "email_verified": true},
			}, nil
		}
		c.DroppedClaim = func(_ context.Context, _ ClaimsInput, name string) { dropped = append(dropped, name) }
	})
	a := f.authorization(webClient, testAudience, "openid", "email", "contacts")
	got := f.redeem(webClient, f.code(a))
	id, at := f.idTokenClaims(got.IDToken), f.accessTokenClaims(got.AccessToken)
	if id["https://example.com/id"] != "id" || id["sub"] != "auth0|u1" || id["aud"] != webClient || id["email"] != nil {
		t.Errorf("ID token = %v", id)
	}
	if diff := cmp.Diff([]any{"a"}, at["https://example.com/at"]); diff != "" || at["scope"] != "openid email contacts" || at["https://example.com/html"] != "<&>" {
		t.Errorf("access token = %v", at)
	}
	for claims, others := range map[string]map[string]any{"https://example.com/at": id, "https://example.com/id": at, "https://example.com/ui": at} {
		if _, ok := others[claims]; ok {
			t.Errorf("%s is where it does not belong", claims)
		}
	}
	info := f.info(got.AccessToken).Claims
	if diff := cmp.Diff(map[string]any{
		"sub": "auth0|u1", "email": "alice@example.com", "email_verified": false, "https://example.com/ui": map[string]any{"n": float64(1)},
	}, info); diff != "" {
		t.Errorf("userinfo (-want +got):\n%s", diff)
	}

	if len(seen) != 2 {
		t.Fatalf("the hook ran %d times for two answers", len(seen))
	}
	for _, in := range seen {
		if in.Connection.ID != "con_1" || in.Grant.ID != a.GrantID || in.Grant.UserID != in.User.ID || in.Request == nil {
			t.Errorf("input = %+v", in)
		}
		if in.TenantID != "default" || in.Client.ID != webClient || in.User.ID != "auth0|u1" || in.Audience != testAudience ||
			strings.Join(in.Scope, " ") != "openid email contacts" {
			t.Errorf("input = %+v", in)
		}
	}
	if len(dropped) != 5 {
		t.Errorf("dropped = %q", dropped)
	}
	for _, name := range []string{"sub", "email", "aud", "scope", "email_verified"} {
		if n := strings.Count(f.logs.String(), "claim="+name+"\n"); n != 1 {
			t.Errorf("the log reports %s %d times", name, n)
		}
	}
	f.redeem(webClient, f.code(a))
	if n := strings.Count(f.logs.String(), "claim=sub\n"); n != 1 {
		t.Errorf("the log reports sub %d times after a second answer, want once", n)
	}
	if len(dropped) != 9 {
		t.Errorf("the hook was told %d times, want each time: 9", len(dropped))
	}
}

func TestCustomClaimsOfAClient(t *testing.T) {
	f := newFixture(t, func(c *Config) {
		c.Claims = func(_ context.Context, in ClaimsInput) (CustomClaims, error) {
			if in.User != nil || in.Connection != nil || in.Grant != nil {
				t.Error("client_credentials has a user")
			}
			return CustomClaims{AccessToken: map[string]any{"https://example.com/tier": 3}}, nil
		}
	})
	got := f.granted(f.post(credentialsForm(webClient)))
	if claims := f.accessTokenClaims(got.AccessToken); claims["https://example.com/tier"] != float64(3) {
		t.Errorf("access token = %v", claims)
	}
}

// The hook is told what is answered: how, and to which request.
func TestClaimsHookSeesTheRequest(t *testing.T) {
	var seen []string
	f := newFixture(t, func(c *Config) {
		c.Claims = func(_ context.Context, in ClaimsInput) (CustomClaims, error) {
			seen = append(seen, strings.TrimSpace(in.GrantType+" "+in.Request.Method+" "+in.Request.URL.Path))
			return CustomClaims{}, nil
		}
	})
	a := f.authorization(webClient, testAudience, "openid", "contacts")
	got := f.redeem(webClient, f.code(a))
	f.granted(f.post(refreshForm(webClient, got.RefreshToken)))
	f.granted(f.post(credentialsForm(webClient)))
	_, err := f.front(a, "id_token token", "")
	f.ok(err)
	f.alive(got.AccessToken)
	if diff := cmp.Diff([]string{
		"authorization_code POST /oauth/token", "refresh_token POST /oauth/token", "client_credentials POST /oauth/token",
		"implicit POST /consent", "GET /userinfo",
	}, seen); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Each claim of the protocol, wherever it is put, is dropped and the token has its
// own.
func TestProtocolClaimsCannotBeReplaced(t *testing.T) {
	names := append(StandardClaims(), "iss", "sub", "aud", "exp", "iat", "nbf", "jti", "auth_time", "nonce", "acr", "amr", "azp", "at_hash", "c_hash",
		"sid", "client_id", "scope", "userinfo_claims", "cnf", "act", "roles", "permissions", "org_id", "urn:example:roles", "")
	var evil bool
	f := newFixture(t, func(c *Config) {
		c.Claims = func(context.Context, ClaimsInput) (CustomClaims, error) {
			if !evil {
				return CustomClaims{}, nil
			}
			claims := map[string]any{"https://example.com/kept": true}
			for _, name := range names {
				claims[name] = "evil"
			}
			return CustomClaims{IDToken: claims, AccessToken: claims, UserInfo: claims}, nil
		}
	})
	a := f.authorization(webClient, testAudience, "openid", "profile", "email", "contacts")
	for _, target := range []struct {
		name   string
		claims func() map[string]any
	}{
		{"ID token", func() map[string]any { return f.idTokenClaims(f.redeem(webClient, f.code(a)).IDToken) }},
		{"access token", func() map[string]any { return f.accessTokenClaims(f.redeem(webClient, f.code(a)).AccessToken) }},
		{"access token of a client", func() map[string]any {
			return f.accessTokenClaims(f.granted(f.post(credentialsForm(webClient))).AccessToken)
		}},
		{"userinfo", func() map[string]any { return f.info(f.redeem(webClient, f.code(a)).AccessToken).Claims }},
	} {
		evil = false
		want := target.claims()
		evil = true
		got := target.claims()
		if got["https://example.com/kept"] != true {
			t.Errorf("%s lacks the namespaced claim: %v", target.name, got)
		}
		delete(got, "https://example.com/kept")
		for _, random := range []string{"jti", "at_hash"} { // of each token its own
			if _, ok := want[random]; ok && got[random] != "evil" {
				got[random] = want[random]
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-without +with the hook):\n%s", target.name, diff)
		}
	}
	for _, name := range names {
		if n := strings.Count(f.logs.String(), "custom claim dropped: its name is not namespaced by a URI\" tenant=default client_id=web claim="+name+"\n"); name != "" && n != 1 {
			t.Errorf("the log reports %q %d times, want once", name, n)
		}
	}
}

func TestNoCustomClaimsLeaveTokensAlone(t *testing.T) {
	f := newFixture(t, func(c *Config) {
		c.Claims = func(context.Context, ClaimsInput) (CustomClaims, error) {
			return CustomClaims{IDToken: map[string]any{}, AccessToken: map[string]any{"bad": 1}}, nil
		}
	})
	got := f.redeem(webClient, f.code(f.authorization(webClient, testAudience, "openid", "contacts")))
	f.idTokenClaims(got.IDToken)
	if _, ok := f.accessTokenClaims(got.AccessToken)["bad"]; ok {
		t.Error("a name without namespace was minted")
	}
	f.alive(got.AccessToken)
}

// A failing hook fails the request, burns nothing, and its text stays inside.
func TestFailingClaimsHook(t *testing.T) {
	for name, result := range map[string]func() (CustomClaims, error){
		"error": func() (CustomClaims, error) { return CustomClaims{}, errors.New("ldap: secret_base_dn") },
		"protocol error": func() (CustomClaims, error) {
			return CustomClaims{}, oauth.Errorf(oauth.CodeInvalidGrant, "ldap: secret_base_dn")
		},
		"panic":             func() (CustomClaims, error) { panic("ldap: secret_base_dn") },
		"panic of an error": func() (CustomClaims, error) { panic(oauth.Errorf(oauth.CodeInvalidGrant, "ldap: secret_base_dn")) },
		"value that is not JSON": func() (CustomClaims, error) {
			bad := map[string]any{"https://example.com/f": func() { panic("secret_base_dn") }}
			return CustomClaims{IDToken: bad, AccessToken: bad, UserInfo: bad}, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			failing := false
			f := newFixture(t, func(c *Config) {
				c.Claims = func(context.Context, ClaimsInput) (CustomClaims, error) {
					if failing {
						return result()
					}
					return CustomClaims{}, nil
				}
			})
			a := f.authorization(webClient, testAudience, "openid", "contacts")
			before, code := f.redeem(webClient, f.code(a)), f.code(a)
			failing = true
			for _, got := range []answer{
				f.post(codeForm(webClient, code)), f.post(refreshForm(webClient, before.RefreshToken)), f.post(credentialsForm(webClient)),
			} {
				f.refused(got, 500, "server_error")
				if got.Description != "" {
					t.Errorf("description = %q", got.Description)
				}
			}
			if got := f.info(before.AccessToken); got.Status != 500 || strings.Contains(fmt.Sprint(got), "secret_base_dn") {
				t.Errorf("userinfo = %+v", got)
			}
			if out, err := f.front(a, "id_token token", ""); err == nil || out != (FrontChannel{}) || oauth.AsError(err).Code != "server_error" {
				t.Errorf("FrontChannel = %+v, %v", out, err)
			}
			if name != "value that is not JSON" && !strings.Contains(f.logs.String(), "secret_base_dn") {
				t.Error("the log does not have the cause")
			}
			failing = false
			f.redeem(webClient, code)
			f.granted(f.post(refreshForm(webClient, before.RefreshToken)))
		})
	}
}

func TestDroppedClaimReportsAreBounded(t *testing.T) {
	n := 0
	f := newFixture(t, func(c *Config) {
		c.Claims = func(context.Context, ClaimsInput) (CustomClaims, error) {
			n++
			claims := map[string]any{}
			for m := range 100 {
				claims[fmt.Sprint("made-up-", n, "-", m)] = 1
			}
			return CustomClaims{AccessToken: claims}, nil
		}
	})
	for range 10 {
		f.granted(f.post(credentialsForm(webClient)))
	}
	if got := strings.Count(f.logs.String(), "custom claim dropped"); got != maxReported || len(f.issuer.dropped.seen) != maxReported {
		t.Errorf("%d reports, %d names kept, want %d", got, len(f.issuer.dropped.seen), maxReported)
	}
}

// When the request ends while the hook runs, nothing is minted whatever it returns.
func TestClaimsHookOfARequestThatEnded(t *testing.T) {
	for name, result := range map[string]func(context.Context) error{
		"it notices":     func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		"its own error":  func(ctx context.Context) error { <-ctx.Done(); return errors.New("query failed") },
		"it went on":     func(ctx context.Context) error { <-ctx.Done(); return nil },
		"it fell over":   func(ctx context.Context) error { <-ctx.Done(); panic("closed") },
		"wrapped by it":  func(ctx context.Context) error { <-ctx.Done(); return fmt.Errorf("ldap: %w", ctx.Err()) },
		"before it runs": func(context.Context) error { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			var end func()
			f := newFixture(t, func(c *Config) {
				c.Claims = func(ctx context.Context, _ ClaimsInput) (CustomClaims, error) {
					if end == nil {
						return CustomClaims{}, nil
					}
					end()
					return CustomClaims{AccessToken: map[string]any{"https://example.com/a": 1}}, result(ctx)
				}
			})
			a := f.authorization(webClient, testAudience, "openid", "contacts")
			before, code := f.redeem(webClient, f.code(a)), f.code(a)
			f.tap.take()
			for _, form := range []url.Values{codeForm(webClient, code), refreshForm(webClient, before.RefreshToken), credentialsForm(webClient)} {
				ctx, cancel := context.WithCancel(context.Background())
				end = cancel
				r := tokenRequest("POST", endpoint, formType, form.Encode()).WithContext(ctx)
				got := f.serve(r)
				f.refused(got, 503, "temporarily_unavailable")
				if got.Header.Get("Retry-After") == "" {
					t.Error("no Retry-After")
				}
			}
			if calls := f.tap.take(); strings.Contains(calls, "Family") {
				t.Errorf("store calls = %q", calls)
			}
			end = nil
			f.redeem(webClient, code)
			f.granted(f.post(refreshForm(webClient, before.RefreshToken)))
		})
	}
}

// What the user takes back while a code is out gives the hook nothing to see.
func TestClaimsHookIsNotAskedAboutWithdrawnAccess(t *testing.T) {
	asked := 0
	f := newFixture(t, func(c *Config) {
		c.Claims = func(context.Context, ClaimsInput) (CustomClaims, error) { asked++; return CustomClaims{}, nil }
	})
	a := f.authorization(webClient, testAudience, "openid", "contacts")
	before, code := f.redeem(webClient, f.code(a)), f.code(a)
	f.ok(f.mem.DeleteGrant(context.Background(), "default", a.GrantID))
	asked = 0
	f.refused(f.post(codeForm(webClient, code)), 400, "invalid_grant")
	f.refused(f.post(refreshForm(webClient, before.RefreshToken)), 400, "invalid_grant")
	f.dead(before.AccessToken)
	if _, err := f.front(a, "id_token", ""); oauth.AsError(err).Code != "access_denied" {
		t.Errorf("FrontChannel: %v", err)
	}
	if asked != 0 {
		t.Errorf("the hook ran %d times", asked)
	}
}

// An access token that is larger than allowed is not minted, nothing is stored, and
// what was presented can be presented again.
func TestAccessTokenSize(t *testing.T) {
	size, limit := 0, 0
	f := newFixture(t, func(c *Config) {
		c.Claims = func(context.Context, ClaimsInput) (CustomClaims, error) {
			return CustomClaims{AccessToken: map[string]any{"https://example.com/x": strings.Repeat("x", size)}}, nil
		}
	})
	a := f.authorization(dynamicClient, testAudience, "openid", "contacts")
	before, code := f.redeem(dynamicClient, f.code(a)), f.code(a)
	if f.issuer.maxAccessToken != 4096 {
		t.Fatalf("the limit is %d by default", f.issuer.maxAccessToken)
	}
	requests := []url.Values{codeForm(dynamicClient, code), refreshForm(dynamicClient, before.RefreshToken), credentialsForm(dynamicClient)}
	refused := func(code string, status int, description string) {
		t.Helper()
		f.tap.take()
		for _, form := range requests {
			got := f.post(form)
			f.refused(got, status, code)
			if !strings.Contains(got.Description, description) || !strings.Contains(got.Description, fmt.Sprint(limit)) {
				t.Errorf("description = %q", got.Description)
			}
		}
		out, err := f.front(a, "id_token token", "")
		if e := oauth.AsError(err); out != (FrontChannel{}) || e.Code != code || !strings.Contains(e.Description, description) {
			t.Errorf("FrontChannel = %+v, %v", out, err)
		}
		if calls := f.tap.take(); strings.Contains(calls, "Family") || strings.Contains(calls, "UpdateClient") {
			t.Errorf("store calls = %q", calls)
		}
	}
	size, limit = 4000, 4096
	refused("server_error", 500, "custom claims")
	// Without custom claims it is the client that asked for too much.
	size, limit = 0, 64
	f.issuer.maxAccessToken = limit
	refused("invalid_scope", 400, "scope has to be shorter")

	// ID tokens, userinfo and opaque tokens have no such limit, and just enough is
	// enough.
	f.issuer.maxAccessToken = 4096
	got := f.granted(f.post(requests[0]))
	f.issuer.maxAccessToken = len(got.AccessToken)
	f.granted(f.post(requests[1]))
	f.alive(got.AccessToken)
	f.issuer.maxAccessToken = 64
	f.redeem(webClient, f.code(f.authorization(webClient, "", "openid")))
}

func TestMaxAccessTokenSize(t *testing.T) {
	for size, ok := range map[int]bool{0: true, 1: true, 16384: true, 16385: false, -1: false} {
		f := newFixture(t)
		_, err := New(Config{
			Stores: f.mem.Stores(), Tenants: f.tenants, Connections: f.connections, ClientAuth: f.issuer.clientAuth, Secrets: testSecrets, MaxAccessTokenSize: size,
		})
		if (err == nil) != ok || err != nil && !strings.Contains(err.Error(), "Config.MaxAccessTokenSize must be") {
			t.Errorf("%d: %v", size, err)
		}
	}
}
