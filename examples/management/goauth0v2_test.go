package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/auth0/go-auth0/v2/management"
	"github.com/auth0/go-auth0/v2/management/client"
	"github.com/auth0/go-auth0/v2/management/core"
	"github.com/auth0/go-auth0/v2/management/option"
)

// dial2 returns the Go SDK, version 2, with a token that it fetched itself.
func (s *site) dial2(t *testing.T) *client.Management {
	t.Helper()
	options := []option.RequestOption{option.WithHTTPClient(s.server.Client()), option.WithMaxAttempts(1)}
	if strings.HasPrefix(s.issuer, "http:") {
		options = append(options, option.WithInsecure())
	}
	api, err := client.New(s.domain(), append(options, option.WithClientCredentials(s.context(t), machineID, s.secret))...)
	if err != nil {
		t.Fatal(err)
	}
	return api
}

// refused2 checks the status of an error, and the members of its body.
func refused2(t *testing.T, what string, err error, status int, code, text string) {
	t.Helper()
	e, ok := errors.AsType[*core.APIError](err)
	if !ok || e.StatusCode != status || !strings.Contains(err.Error(), code) || !strings.Contains(err.Error(), text) {
		t.Errorf("%s: %v, want %d %s with %q", what, err, status, code, text)
	}
}

func TestGoAuth0Version2(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		ctx, api := t.Context(), s.dial2(t)
		mode := management.TenantSettingsDynamicClientRegistrationSecurityModePermissive
		settings, err := api.Tenants.Settings.Update(ctx, &management.UpdateTenantSettingsRequestContent{
			Flags: &management.TenantSettingsFlags{EnableDynamicClientRegistration: new(true)}, DynamicClientRegistrationSecurityMode: &mode,
		})
		must(t, "settings", err)
		flags := settings.GetFlags()
		same(t, "the flag", flags.GetEnableDynamicClientRegistration(), true)
		read, err := api.Tenants.Settings.Get(ctx, &management.GetTenantSettingsRequestParameters{})
		must(t, "reading settings", err)
		same(t, "the mode", read.GetDynamicClientRegistrationSecurityMode(), mode)

		conn, err := api.Connections.Create(ctx, &management.CreateConnectionRequestContent{Name: "Staff", Strategy: management.ConnectionIdentityProviderEnumAuth0})
		must(t, "a connection", err)
		changed, err := api.Connections.Update(ctx, conn.GetID(), &management.UpdateConnectionRequestContent{IsDomainConnection: new(true)})
		must(t, "promoting it", err)
		same(t, "is_domain_connection", changed.GetIsDomainConnection(), true)
		must(t, "the status", api.Connections.CheckStatus(ctx, conn.GetID()))
		refused2(t, "the status of none", api.Connections.CheckStatus(ctx, "con_none"), 404, "inexistent_connection", "does not exist")
		must(t, "enabling clients", api.Connections.Clients.Update(ctx, conn.GetID(), []*management.UpdateEnabledClientConnectionsRequestContentItem{
			{ClientID: "first", Status: true}, {ClientID: "second", Status: true}, {ClientID: "third", Status: true},
		}))
		enabled, err := api.Connections.Clients.Get(ctx, conn.GetID(), &management.GetConnectionEnabledClientsRequestParameters{Take: new(2)})
		must(t, "the clients", err)
		same(t, "a part of them", len(enabled.Results), 2)
		rest, err := enabled.GetNextPage(ctx)
		must(t, "the rest", err)
		same(t, "the rest", rest.Results[0].GetClientID(), "third")
		connections, err := api.Connections.List(ctx, &management.ListConnectionsQueryParameters{Take: new(1)})
		must(t, "listing connections", err)
		names := []string{}
		for i := connections.Iterator(); i.Next(ctx); {
			names = append(names, i.Current().GetName())
		}
		same(t, "the number of connections", len(names), 2)
		_, err = api.Connections.Create(ctx, &management.CreateConnectionRequestContent{Name: "Staff", Strategy: management.ConnectionIdentityProviderEnumAuth0})
		refused2(t, "the same name again", err, 409, "connection_conflict", "already exists")
		must(t, "deleting the connection", api.Connections.Delete(ctx, conn.GetID()))

		app, err := api.Clients.Create(ctx, &management.CreateClientRequestContent{Name: "Shop", Callbacks: []string{"https://shop.example.com/cb"}})
		must(t, "a client", err)
		rotated, err := api.Clients.RotateSecret(ctx, app.GetClientID())
		must(t, "a new secret", err)
		if rotated.GetClientSecret() == "" || rotated.GetClientSecret() == app.GetClientSecret() {
			t.Error("the secret is the same")
		}
		updated, err := api.Clients.Update(ctx, app.GetClientID(), &management.UpdateClientRequestContent{Name: new("Shop 2")})
		must(t, "another name", err)
		same(t, "the name", updated.GetName(), "Shop 2")
		clients, err := api.Clients.List(ctx, &management.ListClientsRequestParameters{PerPage: new(1), IncludeTotals: new(true)})
		must(t, "listing clients", err)
		seen := 0
		for i := clients.Iterator(); i.Next(ctx); {
			seen++
		}
		same(t, "the number of clients", seen, 2)

		rs, err := api.ResourceServers.Create(ctx, &management.CreateResourceServerRequestContent{
			Identifier: "https://orders.example.com", Scopes: []*management.ResourceServerScope{{Value: "read:orders"}},
		})
		must(t, "an API", err)
		third, user := management.ClientGrantDefaultForEnumThirdPartyClients, management.ClientGrantSubjectTypeEnumUser
		grant, err := api.ClientGrants.Create(ctx, &management.CreateClientGrantRequestContent{
			DefaultFor: &third, SubjectType: &user, Audience: rs.GetIdentifier(), Scope: []string{"read:orders"},
		})
		must(t, "the default of third parties", err)
		_, err = api.ClientGrants.Update(ctx, grant.GetID(), &management.UpdateClientGrantRequestContent{Scope: []string{}})
		must(t, "taking it back", err)
		grants, err := api.ClientGrants.List(ctx, &management.ListClientGrantsRequestParameters{DefaultFor: &third})
		must(t, "listing grants", err)
		same(t, "the defaults", len(grants.Results), 1)
		must(t, "deleting the grant", api.ClientGrants.Delete(ctx, grant.GetID()))
		must(t, "deleting the API", api.ResourceServers.Delete(ctx, rs.GetID()))

		for i := range 3 {
			_, err = api.Users.Create(ctx, &management.CreateUserRequestContent{
				Connection: database, Email: new(fmt.Sprintf("u%d@example.com", i)), Password: new("correct-horse-1906"), VerifyEmail: new(false),
			})
			must(t, "a user", err)
		}
		found, err := api.Users.ListUsersByEmail(ctx, &management.ListUsersByEmailRequestParameters{Email: "u1@example.com"})
		must(t, "finding by address", err)
		id := found[0].GetUserID()
		blocked, err := api.Users.Update(ctx, id, &management.UpdateUserRequestContent{Blocked: new(true)})
		must(t, "blocking", err)
		same(t, "blocked", blocked.GetBlocked(), true)
		users, err := api.Users.List(ctx, &management.ListUsersRequestParameters{PerPage: new(2), IncludeTotals: new(true)})
		must(t, "listing users", err)
		seen = 0
		for i := users.Iterator(); i.Next(ctx); {
			seen++
		}
		same(t, "the number of users", seen, 3)
		s.allow(t, id, machineID)
		allowed, err := api.UserGrants.List(ctx, &management.ListUserGrantsRequestParameters{UserID: &id, PerPage: new(10), IncludeTotals: new(true)})
		must(t, "listing what users allowed", err)
		same(t, "who was allowed", allowed.Results[0].GetClientID(), machineID)
		must(t, "revoking all", api.UserGrants.DeleteByUserID(ctx, &management.DeleteUserGrantByUserIDRequestParameters{UserID: id}))
		sessions, err := api.Users.Sessions.List(ctx, id, &management.ListUserSessionsRequestParameters{})
		must(t, "listing sessions", err)
		same(t, "the sessions", len(sessions.Results), 0)
		must(t, "ending sessions", api.Users.Sessions.Delete(ctx, id))
		must(t, "deleting", api.Users.Delete(ctx, id))

		const seeded = "auth0|seeded"
		s.signIn(t, seeded, "another-client")
		log, err := api.Logs.List(ctx, &management.ListLogsRequestParameters{PerPage: new(2), Search: new("user_id:\"auth0|seeded\"")})
		must(t, "reading the log", err)
		var entries []*management.Log
		for i := log.Iterator(); i.Next(ctx); {
			entries = append(entries, i.Current())
		}
		same(t, "the entries", len(entries), 3)
		entry, err := api.Logs.Get(ctx, entries[2].GetLogID())
		must(t, "reading an entry", err)
		same(t, "its type", entry.GetType(), "f")
		theirs, err := api.Users.Logs.List(ctx, seeded, &management.ListUserLogsRequestParameters{})
		must(t, "reading what the log has of a user", err)
		same(t, "the newest", theirs.Results[0].GetType(), "user.consent")
		tokens, err := api.Users.RefreshToken.List(ctx, seeded, &management.ListRefreshTokensRequestParameters{Take: new(1)})
		must(t, "listing refresh tokens", err)
		token, err := api.RefreshTokens.Get(ctx, tokens.Results[0].GetID())
		must(t, "reading a refresh token", err)
		same(t, "its client", token.GetClientID(), "another-client")
		session, err := api.Sessions.Get(ctx, *token.GetSessionID())
		must(t, "reading its session", err)
		same(t, "whose it is", session.GetUserID(), seeded)
		must(t, "revoking it", api.RefreshTokens.Delete(ctx, token.GetID()))
		must(t, "revoking all", api.Users.RefreshToken.Delete(ctx, seeded))
		must(t, "ending the session", api.Sessions.Delete(ctx, session.GetID()))

		_, err = api.Users.Get(ctx, id, &management.GetUserRequestParameters{})
		refused2(t, "reading who is gone", err, 404, "inexistent_user", "does not exist")

		key, err := api.Keys.Signing.Rotate(ctx)
		must(t, "rotating", err)
		_, err = api.Keys.Signing.Revoke(ctx, key.GetKid())
		must(t, "revoking", err)
		keys, err := api.Keys.Signing.List(ctx)
		must(t, "listing keys", err)
		if len(keys) == 0 {
			t.Error("there are no keys")
		}
	})
}
