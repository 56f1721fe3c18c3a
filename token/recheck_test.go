package token

import (
	"context"
	"testing"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// What held when the user signed in is checked again on each path: redemption,
// refresh, userinfo with an opaque token and with a JWT.
func TestEverythingIsCheckedAgainAtUse(t *testing.T) {
	ctx := context.Background()
	for _, tc := range []struct {
		rule   string
		client string
		change func(*fixture)
		// The error of the token endpoint.
		status int
		code   string
		// jwtOnly: the rule is about the API.
		jwtOnly bool
		// userinfoLives: a JWT that was issued is not affected.
		userinfoLives bool
	}{
		{rule: "the user is blocked", client: webClient, status: 400, code: "invalid_grant",
			change: func(f *fixture) { f.changeUser(func(u *store.User) { u.Blocked = true }) }},
		{rule: "the user was deleted", client: webClient, status: 400, code: "invalid_grant",
			change: func(f *fixture) { f.ok(f.mem.DeleteUser(ctx, tenant.DefaultID, "auth0|u1")) }},
		{rule: "the user moved to another connection", client: webClient, status: 400, code: "invalid_grant",
			change: func(f *fixture) { f.changeUser(func(u *store.User) { u.ConnectionID = "con_2" }) }},
		{rule: "the connection was deleted", client: webClient, status: 400, code: "invalid_grant",
			change: func(f *fixture) { f.ok(f.mem.DeleteConnection(ctx, tenant.DefaultID, "con_1")) }},
		{rule: "the connection no longer lists the client", client: webClient, status: 400, code: "invalid_grant",
			change: func(f *fixture) { f.changeConnection(func(c *store.Connection) { c.EnabledClients = nil }) }},
		{rule: "the domain connection was demoted", client: dynamicClient, status: 400, code: "invalid_grant",
			change: func(f *fixture) { f.changeConnection(func(c *store.Connection) { c.IsDomainConnection = false }) }},
		{rule: "the domain connection was demoted (strict)", client: strictClient, status: 400, code: "invalid_grant",
			change: func(f *fixture) { f.changeConnection(func(c *store.Connection) { c.IsDomainConnection = false }) }},
		{rule: "the tenant's flag is off", client: dynamicClient, status: 400, code: "invalid_grant",
			change: (*fixture).switchDynamicRegistrationOff},
		{rule: "the client was deleted", client: dynamicClient, status: 401, code: "invalid_client",
			change: func(f *fixture) { f.ok(f.mem.DeleteClient(ctx, tenant.DefaultID, dynamicClient)) }},
		{rule: "the grant was revoked", client: webClient, status: 400, code: "invalid_grant",
			change: func(f *fixture) {
				f.ok(f.mem.DeleteGrant(ctx, tenant.DefaultID, "grant-web-"))
				f.ok(f.mem.DeleteGrant(ctx, tenant.DefaultID, "grant-web-"+testAudience))
			}},
		{rule: "the API was deleted", client: webClient, status: 400, code: "invalid_grant", jwtOnly: true, userinfoLives: true,
			change: func(f *fixture) { f.ok(f.mem.DeleteAPI(ctx, tenant.DefaultID, "api_1")) }},
		{rule: "the API closed", client: webClient, status: 400, code: "unauthorized_client", jwtOnly: true, userinfoLives: true,
			change: func(f *fixture) { f.changeAPI(func(a *store.API) { a.UserPolicy = store.PolicyDenyAll }) }},
		{rule: "the default client grant was deleted", client: strictClient, status: 400, code: "unauthorized_client", jwtOnly: true, userinfoLives: true,
			change: func(f *fixture) { f.ok(f.mem.DeleteClientGrant(ctx, tenant.DefaultID, "cgr_third")) }},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			f := newFixture(t)
			for _, audience := range []string{"", testAudience} {
				if audience == "" && tc.jwtOnly {
					continue
				}
				a := f.authorization(tc.client, audience, "openid", "contacts", "offline_access")
				t.Log("audience", audience)
				before, code := f.redeem(tc.client, f.code(a)), f.code(a)
				f.alive(before.AccessToken)
				defer func() {
					f.refused(f.post(codeForm(tc.client, code)), tc.status, tc.code)
					f.refused(f.post(refreshForm(tc.client, before.RefreshToken)), tc.status, tc.code)
					if tc.userinfoLives {
						f.alive(before.AccessToken)
					} else {
						f.dead(before.AccessToken)
					}
				}()
			}
			tc.change(f)
		})
	}
}

// A refusal that can pass (a user is unblocked) leaves code and refresh token
// usable.
func TestRefusalAtUseBurnsNothing(t *testing.T) {
	f := newFixture(t)
	a := f.authorization(webClient, "", "openid")
	before, code := f.redeem(webClient, f.code(a)), f.code(a)
	f.changeUser(func(u *store.User) { u.Blocked = true })
	f.refused(f.post(codeForm(webClient, code)), 400, "invalid_grant")
	f.refused(f.post(refreshForm(webClient, before.RefreshToken)), 400, "invalid_grant")
	f.changeUser(func(u *store.User) { u.Blocked = false })
	f.redeem(webClient, code)
	f.granted(f.post(refreshForm(webClient, before.RefreshToken)))
	f.alive(before.AccessToken)
}
