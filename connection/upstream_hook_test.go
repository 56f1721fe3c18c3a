package connection

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/oauth2"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// Tokens of upstreams are kept where a connection says so, sealed, and gone when it no
// longer does.
func TestUpstreamTokensAreKept(t *testing.T) {
	o := newOnline(t)
	o.net.provider("op.example", map[string]any{"issuer": "https://op.example"})
	options := func(keep string) string {
		return `{"client_id":"id1","client_secret":"x","issuer":"https://op.example","keep_tokens":` + keep + `}`
	}
	c := o.connect(StrategyOIDC, options("true"))
	signIn := func(refresh string) store.User {
		t.Helper()
		o.net.idToken = o.claims("https://op.example", nil)
		identity, err := o.finish(c, UpstreamAnswer{})
		if err != nil {
			t.Fatal(err)
		}
		identity.Tokens = &oauth2.Token{AccessToken: "an access token of the upstream", RefreshToken: refresh, TokenType: "Bearer"}
		user, err := o.UpstreamUser(t.Context(), o.tenant, &c, identity)
		if err != nil {
			t.Fatal(err)
		}
		stored, err := o.stores.Users.User(t.Context(), tenant.DefaultID, user.ID)
		if err != nil || bytes.Contains(stored.UpstreamTokens, []byte("token")) {
			t.Fatalf("%q, %v", stored.UpstreamTokens, err)
		}
		return stored
	}
	user := signIn("a refresh token of the upstream")
	for range 2 { // it gives out a refresh token once
		got, err := o.UpstreamTokens(t.Context(), tenant.DefaultID, user.ID)
		if err != nil || got.AccessToken != "an access token of the upstream" || got.RefreshToken != "a refresh token of the upstream" || !got.Expiry.IsZero() {
			t.Errorf("%+v, %v", got, err)
		}
		user = signIn("")
	}
	// Those of one user are no good for another.
	thief := user
	thief.ID = "oidc|" + c.ID + "|thief"
	if err := o.stores.UserAdmin.CreateUser(t.Context(), store.User{TenantID: thief.TenantID, ID: thief.ID, ConnectionID: c.ID, UpstreamTokens: user.UpstreamTokens}); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{thief.ID, o.user.ID} {
		if got, err := o.UpstreamTokens(t.Context(), tenant.DefaultID, id); !errors.Is(err, ErrNoUpstreamTokens) {
			t.Errorf("%s: %+v, %v", id, got, err)
		}
	}
	changed, err := o.Update(t.Context(), tenant.DefaultID, c.ID, func(c *store.Connection) error {
		c.Options = []byte(options("false"))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	c = changed
	if user = signIn("x"); len(user.UpstreamTokens) != 0 {
		t.Errorf("still kept: %q", user.UpstreamTokens)
	}
}

// The host makes the profile, or refuses the user; what cannot be part of a profile is
// left out.
func TestHostMapsUpstreams(t *testing.T) {
	refuse := false
	o := newOnline(t)
	o.cfg.MapUpstream = func(_ context.Context, c UpstreamClaims) (UpstreamProfile, error) {
		if refuse {
			return UpstreamProfile{}, fmt.Errorf("%w: not one of us", ErrNotAllowed)
		}
		if c.Subject != "s1" || string(c.Claims["department"]) != `"navy"` || c.Connection.Strategy != StrategyOIDC || c.Connection.Options != nil || c.Profile.Profile.Name != "Grace" {
			t.Errorf("%+v", c)
		}
		delete(c.Claims, "sub") // which changes nothing
		c.Profile.Email, c.Profile.EmailVerified = "Grace@Navy.example", true
		c.Profile.Profile.Nickname, c.Profile.Profile.Picture, c.Profile.Profile.Zoneinfo = "amazing", "javascript:alert(1)", strings.Repeat("z", 2000)
		return c.Profile, nil
	}
	o.net.provider("op.example", map[string]any{"issuer": "https://op.example"})
	c := o.connect(StrategyOIDC, `{"client_id":"id1","client_secret":"x","issuer":"https://op.example"}`)
	o.net.idToken = o.claims("https://op.example", map[string]any{"name": "Grace", "department": "navy"})
	got, err := o.finish(c, UpstreamAnswer{})
	if err != nil || got.Subject != "s1" || got.Email != "grace@navy.example" || !got.EmailVerified || got.Profile != (store.Profile{Name: "Grace", Nickname: "amazing"}) {
		t.Errorf("%+v, %v", got, err)
	}
	refuse = true
	if got, err := o.finish(c, UpstreamAnswer{}); !errors.Is(err, ErrNotAllowed) || got.Subject != "" {
		t.Errorf("refused: %+v, %v", got, err)
	}
}
