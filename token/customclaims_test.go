package token

import (
	"context"
	"errors"
	"fmt"
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
			if in.User != nil {
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
