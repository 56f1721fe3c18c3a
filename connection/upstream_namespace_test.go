package connection

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// Whoever may change a connection cannot sign in as its users: what says who they are
// stays what it is.
func TestWhatIdentifiesUsersCannotChange(t *testing.T) {
	o := newOnline(t)
	for _, tt := range []struct{ strategy, before, after, mentions string }{
		{StrategyOIDC, `"issuer":"https://op.example"`, `"issuer":"https://op.example/"`, ""},
		{StrategyOIDC, `"issuer":"https://op.example"`, `"discovery_url":"https://op.example/.well-known/openid-configuration"`, ""},
		{StrategyOIDC, `"issuer":"https://op.example"`, `"issuer":"https://op.example","token_endpoint":"https://op.example/token2"`, ""},
		{StrategyOIDC, `"issuer":"https://op.example"`, `"issuer":"https://evil.example"`, "options.issuer"},
		{StrategyOIDC, `"issuer":"https://op.example"`, `"issuer":"https://op.example","jwks_uri":"https://evil.example/keys"`, "options.jwks_uri"},
		{StrategyOIDC, `"issuer":"https://op.example"`, `"issuer":"https://op.example","discovery_url":"https://evil.example/.well-known/openid-configuration"`, "options.discovery_url"},
		{StrategyOIDC, `"issuer":"https://op.example","jwks_uri":"https://op.example/keys"`, `"issuer":"https://op.example"`, "options.discovery_url"},
		{StrategyGoogle, ``, `"jwks_uri":"https://evil.example/keys"`, "options.jwks_uri"},
		{StrategyGoogle, ``, `"discovery_url":"https://evil.example/.well-known/openid-configuration"`, "options.discovery_url"},
		{StrategyEntra, `"tenant_domain":"contoso.example"`, `"tenant_domain":"fabrikam.example"`, "options.tenant_domain"},
		{StrategyGitHub, ``, `"userinfo_endpoint":"https://api.github.com/orgs/evil"`, "options.userinfo_endpoint"},
		{StrategyGitHub, ``, `"attribute_map":{"attributes":{"sub":"login"}}`, "options.attribute_map"},
		{StrategyGitHub, ``, `"attribute_map":{"attributes":{"sub":"${context.userinfo.id}","name":"login"}}`, ""},
	} {
		options := func(more string) json.RawMessage {
			if more != "" {
				more = "," + more
			}
			return json.RawMessage(`{"client_id":"id1","client_secret":"x"` + more + `}`)
		}
		c := o.connect(tt.strategy, string(options(tt.before)))
		_, err := o.Update(t.Context(), tenant.DefaultID, c.ID, func(c *store.Connection) error {
			c.Options = options(tt.after)
			return nil
		})
		if tt.mentions == "" && err != nil || tt.mentions != "" && (err == nil || !strings.Contains(err.Error(), tt.mentions)) {
			t.Errorf("%s: %s to %s: %v", tt.strategy, tt.before, tt.after, err)
		}
	}
}

type failingLogins struct{ store.UserStore }

var errLogins = errors.New("sql: connection refused")

func (failingLogins) UserByLogin(context.Context, string, string, string) (store.User, error) {
	return store.User{}, errLogins
}

// A store that fails is not taken for a user who exists.
func TestAFailureWhileAnAddressIsLookedUp(t *testing.T) {
	o := newOnline(t)
	c := o.connect(StrategyOIDC, `{"client_id":"id1","client_secret":"x","issuer":"https://op.example"}`)
	identity := UpstreamIdentity{Subject: "first", UpstreamProfile: UpstreamProfile{Email: "ada@example.org"}}
	if _, err := o.UpstreamUser(t.Context(), o.tenant, &c, identity); err != nil {
		t.Fatal(err)
	}
	users := o.cfg.Stores.Users
	o.cfg.Stores.Users = failingLogins{users}
	identity.Subject = "second"
	if _, err := o.UpstreamUser(t.Context(), o.tenant, &c, identity); !errors.Is(err, errLogins) {
		t.Errorf("%v", err)
	}
	o.cfg.Stores.Users = users
	if user, err := o.UpstreamUser(t.Context(), o.tenant, &c, identity); err != nil || user.Email != "" {
		t.Errorf("%+v %v", user, err)
	}
}
