package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/auth0/go-auth0"
	"github.com/auth0/go-auth0/management"
	"golang.org/x/oauth2"
)

// dial returns the Go SDK, version 1, with a token that it fetched itself.
func (s *site) dial(t *testing.T) *management.Management {
	t.Helper()
	options := []management.Option{management.WithClient(s.server.Client()), management.WithNoRetries()}
	if strings.HasPrefix(s.issuer, "http:") {
		options = append(options, management.WithInsecure()) // also sets a token, which the next one replaces
	}
	api, err := management.New(s.domain(), append(options, management.WithClientCredentials(s.context(t), machineID, s.secret))...)
	if err != nil {
		t.Fatal(err)
	}
	return api
}

// context has the HTTP client that tokens are fetched with.
func (s *site) context(t *testing.T) context.Context {
	return context.WithValue(t.Context(), oauth2.HTTPClient, s.server.Client())
}

// refused checks what an error of the SDK says.
func refused(t *testing.T, what string, err error, status int, text string) {
	t.Helper()
	e, ok := errors.AsType[management.Error](err)
	if !ok || e.Status() != status || !strings.Contains(e.Error(), text) {
		t.Errorf("%s: %v, want %d with %q", what, err, status, text)
	}
}

func must(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func same[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

func TestGoAuth0Settings(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		ctx, api := t.Context(), s.dial(t)
		before, err := api.Tenant.Read(ctx)
		must(t, "reading", err)
		same(t, "the flag", before.GetFlags().GetEnableDynamicClientRegistration(), false)
		must(t, "switching registration on", api.Tenant.Update(ctx, &management.Tenant{
			Flags: &management.TenantFlags{EnableDynamicClientRegistration: auth0.Bool(true)}, FriendlyName: auth0.String("Ada's"),
			DynamicClientRegistrationSecurityMode: auth0.String("permissive"),
		}))
		after, err := api.Tenant.Read(ctx)
		must(t, "reading again", err)
		same(t, "the flag", after.GetFlags().GetEnableDynamicClientRegistration(), true)
		same(t, "the name", after.GetFriendlyName(), "Ada's")
		same(t, "the mode", after.GetDynamicClientRegistrationSecurityMode(), "permissive")
		// The SDK sends lifetimes below one hour in minutes.
		must(t, "a short session", api.Tenant.Update(ctx, &management.Tenant{SessionLifetime: auth0.Float64(0.5), IdleSessionLifetime: auth0.Float64(0.25)}))
		after, err = api.Tenant.Read(ctx)
		must(t, "reading the lifetimes", err)
		same(t, "the lifetime", after.GetSessionLifetime(), 0.5)
		same(t, "the idle lifetime", after.GetIdleSessionLifetime(), 0.25)
		must(t, "writing back what was read", api.Tenant.Update(ctx, after))
		refused(t, "a mode that is none", api.Tenant.Update(ctx, &management.Tenant{DynamicClientRegistrationSecurityMode: auth0.String("lax")}), 400, "dynamic_client_registration_security_mode")
	})
}

func TestGoAuth0Connections(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		ctx, api := t.Context(), s.dial(t)
		c := &management.Connection{
			Name: auth0.String("Staff"), Strategy: auth0.String("auth0"), DisplayName: auth0.String("Staff only"),
			Options: &management.ConnectionOptions{PasswordPolicy: auth0.String("good"), DisableSignup: auth0.Bool(true)},
		}
		must(t, "creating", api.Connection.Create(ctx, c))
		if !strings.HasPrefix(c.GetID(), "con_") {
			t.Errorf("the id is %q", c.GetID())
		}
		must(t, "promoting", api.Connection.Update(ctx, c.GetID(), &management.Connection{IsDomainConnection: auth0.Bool(true)}))
		read, err := api.Connection.ReadByName(ctx, "Staff")
		must(t, "reading by name", err)
		same(t, "is_domain_connection", read.GetIsDomainConnection(), true)
		options, ok := read.Options.(*management.ConnectionOptions)
		if !ok || options.GetPasswordPolicy() != "good" || !options.GetDisableSignup() {
			t.Errorf("the options are %+v", read.Options)
		}
		read, err = api.Connection.Read(ctx, c.GetID())
		must(t, "reading", err)
		same(t, "the realm", (*read.Realms)[0], "Staff")

		enabled := []management.ConnectionEnabledClient{{ClientID: auth0.String("first"), Status: auth0.Bool(true)}, {ClientID: auth0.String("second"), Status: auth0.Bool(true)}}
		must(t, "enabling clients", api.Connection.UpdateEnabledClients(ctx, c.GetID(), enabled))
		enabled[0].Status = auth0.Bool(false)
		must(t, "disabling one", api.Connection.UpdateEnabledClients(ctx, c.GetID(), enabled[:1]))
		clients, err := api.Connection.ReadEnabledClients(ctx, c.GetID())
		must(t, "reading the clients", err)
		if got := clients.GetClients(); len(got) != 1 || got[0].GetClientID() != "second" {
			t.Errorf("the clients are %v", got)
		}
		refused(t, "the same name again", api.Connection.Create(ctx, &management.Connection{Name: auth0.String("Staff"), Strategy: auth0.String("auth0")}), 409, "already exists")
		refused(t, "a strategy that is none", api.Connection.Create(ctx, &management.Connection{Name: auth0.String("Other"), Strategy: auth0.String("ldap")}), 400, "strategy")

		for i := range 5 {
			must(t, "creating more", api.Connection.Create(ctx, &management.Connection{Name: auth0.String(fmt.Sprintf("More-%d", i)), Strategy: auth0.String("auth0")}))
		}
		names := map[string]bool{}
		for page := 0; ; page++ {
			list, err := api.Connection.List(ctx, management.Page(page), management.PerPage(2))
			must(t, "a page", err)
			same(t, "the total", list.Total, 7)
			for _, c := range list.Connections {
				names[c.GetName()] = true
			}
			if !list.HasNext() {
				break
			}
		}
		same(t, "the number of connections by page", len(names), 7)
		names, from := map[string]bool{}, []management.RequestOption{management.Take(3)}
		for {
			list, err := api.Connection.List(ctx, from...)
			must(t, "a checkpoint", err)
			for _, c := range list.Connections {
				names[c.GetName()] = true
			}
			if !list.HasNext() {
				break
			}
			from = []management.RequestOption{management.Take(3), management.From(list.Next)}
		}
		same(t, "the number of connections by checkpoint", len(names), 7)

		must(t, "deleting", api.Connection.Delete(ctx, c.GetID()))
		_, err = api.Connection.Read(ctx, c.GetID())
		refused(t, "reading what is gone", err, 404, "does not exist")
	})
}

func TestGoAuth0Clients(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		ctx, api := t.Context(), s.dial(t)
		c := &management.Client{
			Name: auth0.String("Shop"), AppType: auth0.String("regular_web"), Description: auth0.String("sells"),
			Callbacks: &[]string{"https://shop.example.com/callback"}, AllowedLogoutURLs: &[]string{"https://shop.example.com/"},
			ClientMetadata: &map[string]any{"team": "web"}, OIDCConformant: auth0.Bool(true),
			JWTConfiguration: &management.ClientJWTConfiguration{Algorithm: auth0.String("RS256")},
		}
		must(t, "creating", api.Client.Create(ctx, c))
		if c.GetClientID() == "" || c.GetClientSecret() == "" || !c.GetIsFirstParty() {
			t.Errorf("%+v", c)
		}
		secret := c.GetClientSecret()
		read, err := api.Client.Read(ctx, c.GetClientID())
		must(t, "reading", err)
		same(t, "the name", read.GetName(), "Shop")
		same(t, "the callback", (*read.Callbacks)[0], "https://shop.example.com/callback")
		must(t, "changing", api.Client.Update(ctx, c.GetClientID(), &management.Client{
			Name: auth0.String("Shop 2"), Callbacks: &[]string{"https://shop.example.com/cb"}, ClientMetadata: &map[string]any{"team": nil, "tier": "1"},
		}))
		read, err = api.Client.Read(ctx, c.GetClientID())
		must(t, "reading again", err)
		same(t, "the new name", read.GetName(), "Shop 2")
		same(t, "the metadata", fmt.Sprint(*read.ClientMetadata), "map[tier:1]")
		read.CleanForPatch() // what the SDK says not to send
		must(t, "writing back what was read", api.Client.Update(ctx, c.GetClientID(), read))

		rotated, err := api.Client.RotateSecret(ctx, c.GetClientID())
		must(t, "a new secret", err)
		if rotated.GetClientSecret() == "" || rotated.GetClientSecret() == secret {
			t.Errorf("the new secret is %q", rotated.GetClientSecret())
		}

		third := &management.Client{
			Name: auth0.String("Partner"), IsFirstParty: auth0.Bool(false), ThirdPartySecurityMode: auth0.String("strict"),
			Callbacks: &[]string{"https://partner.example.net/cb"},
		}
		must(t, "a third party", api.Client.Create(ctx, third))
		same(t, "its mode", third.GetThirdPartySecurityMode(), "strict")
		if !strings.HasPrefix(third.GetClientID(), "tpc_") {
			t.Errorf("a strict client is %q", third.GetClientID())
		}
		refused(t, "another mode", api.Client.Update(ctx, third.GetClientID(), &management.Client{ThirdPartySecurityMode: auth0.String("permissive")}), 400, "third_party_security_mode")
		refused(t, "a callback that is none", api.Client.Update(ctx, third.GetClientID(), &management.Client{Callbacks: &[]string{"https://a.example/#x"}}), 400, "callbacks")
		must(t, "making it first party", api.Client.Update(ctx, third.GetClientID(), &management.Client{IsFirstParty: auth0.Bool(true)}))

		list, err := api.Client.List(ctx, management.Parameter("is_first_party", "true"), management.PerPage(1))
		must(t, "listing", err)
		same(t, "the total", list.Total, 3)
		same(t, "the length", list.Length, 1)
		all := 0
		from := []management.RequestOption{management.Take(2)}
		for {
			list, err := api.Client.ListWithCheckpointPagination(ctx, from...)
			must(t, "a checkpoint", err)
			all += len(list.Clients)
			if list.Next == "" {
				break
			}
			from = []management.RequestOption{management.Take(2), management.From(list.Next)}
		}
		same(t, "all clients", all, 3)
		must(t, "deleting", api.Client.Delete(ctx, c.GetClientID()))
		_, err = api.Client.Read(ctx, c.GetClientID())
		refused(t, "reading what is gone", err, 404, "does not exist")
	})
}

func TestGoAuth0ResourceServersAndClientGrants(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		ctx, api := t.Context(), s.dial(t)
		rs := &management.ResourceServer{
			Name: auth0.String("Orders"), Identifier: auth0.String("https://orders.example.com"), SigningAlgorithm: auth0.String("RS256"), TokenLifetime: auth0.Int(600),
			AllowOfflineAccess: auth0.Bool(true), Scopes: &[]management.ResourceServerScope{{Value: auth0.String("read:orders"), Description: auth0.String("See orders")}},
		}
		must(t, "creating", api.ResourceServer.Create(ctx, rs))
		read, err := api.ResourceServer.Read(ctx, rs.GetID())
		must(t, "reading", err)
		same(t, "the lifetime", read.GetTokenLifetime(), 600)
		must(t, "changing", api.ResourceServer.Update(ctx, rs.GetID(), &management.ResourceServer{
			Scopes: &[]management.ResourceServerScope{{Value: auth0.String("read:orders")}, {Value: auth0.String("write:orders")}},
			SubjectTypeAuthorization: &management.ResourceServerSubjectTypeAuthorization{
				User: &management.ResourceServerSubjectTypeAuthorizationUser{Policy: auth0.String("require_client_grant")},
			},
		}))
		list, err := api.ResourceServer.List(ctx)
		must(t, "listing", err)
		same(t, "the total", list.Total, 1)
		same(t, "the scopes", len(*list.ResourceServers[0].Scopes), 2)

		c := &management.Client{Name: auth0.String("Robot"), AppType: auth0.String("non_interactive")}
		must(t, "a client", api.Client.Create(ctx, c))
		grant := &management.ClientGrant{ClientID: c.ClientID, Audience: rs.Identifier, Scope: &[]string{"read:orders"}}
		must(t, "granting", api.ClientGrant.Create(ctx, grant))
		same(t, "the subject type", grant.GetSubjectType(), "client")
		must(t, "granting more", api.ClientGrant.Update(ctx, grant.GetID(), &management.ClientGrant{Scope: &[]string{"read:orders", "write:orders"}}))
		refused(t, "a scope that the API does not have", api.ClientGrant.Update(ctx, grant.GetID(), &management.ClientGrant{Scope: &[]string{"fly"}}), 400, "scope")
		refused(t, "the same grant again", api.ClientGrant.Create(ctx, &management.ClientGrant{ClientID: c.ClientID, Audience: rs.Identifier, Scope: &[]string{}}), 409, "grant")
		byDefault := &management.ClientGrant{
			DefaultFor: auth0.String("third_party_clients"), Audience: rs.Identifier, Scope: &[]string{"read:orders"}, SubjectType: auth0.String("user"),
		}
		must(t, "the default of third parties", api.ClientGrant.Create(ctx, byDefault))
		grants, err := api.ClientGrant.List(ctx, management.Parameter("audience", rs.GetIdentifier()))
		must(t, "listing grants", err)
		same(t, "the grants of the API", grants.Total, 2)
		grants, err = api.ClientGrant.List(ctx, management.Parameter("default_for", "third_party_clients"))
		must(t, "listing defaults", err)
		same(t, "the default", grants.ClientGrants[0].GetID(), byDefault.GetID())
		must(t, "deleting the grant", api.ClientGrant.Delete(ctx, grant.GetID()))
		must(t, "deleting the API", api.ResourceServer.Delete(ctx, rs.GetID()))
		grants, err = api.ClientGrant.List(ctx, management.Parameter("audience", rs.GetIdentifier()))
		must(t, "listing what went with it", err)
		same(t, "the grants of no API", grants.Total, 0)
	})
}

func TestGoAuth0Users(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		ctx, api := t.Context(), s.dial(t)
		u := &management.User{
			Connection: auth0.String(database), Email: auth0.String("Grace@Example.com"), Password: auth0.String("correct-horse-1906"), Name: auth0.String("Grace"),
			EmailVerified: auth0.Bool(true), VerifyEmail: auth0.Bool(false), UserMetadata: &map[string]any{"plan": "gold"}, AppMetadata: &map[string]any{"rank": 1},
		}
		must(t, "creating", api.User.Create(ctx, u))
		read, err := api.User.Read(ctx, u.GetID())
		must(t, "reading", err)
		same(t, "the address", read.GetEmail(), "grace@example.com")
		same(t, "email_verified", read.GetEmailVerified(), true)
		same(t, "the connection", read.Identities[0].GetConnection(), database)
		found, err := api.User.ListByEmail(ctx, "grace@example.com")
		must(t, "finding by address", err)
		same(t, "the number found", len(found), 1)
		list, err := api.User.Search(ctx, management.Query(`email:"grace@example.com"`))
		must(t, "searching", err)
		same(t, "the number of hits", list.Total, 1)
		must(t, "blocking", api.User.Update(ctx, u.GetID(), &management.User{Blocked: auth0.Bool(true), UserMetadata: &map[string]any{"plan": nil, "seat": "3a"}}))
		read, err = api.User.Read(ctx, u.GetID())
		must(t, "reading again", err)
		same(t, "blocked", read.GetBlocked(), true)
		same(t, "the metadata", fmt.Sprint(*read.UserMetadata), "map[seat:3a]")
		must(t, "another password", api.User.Update(ctx, u.GetID(), &management.User{Password: auth0.String("another-horse-1992"), Connection: auth0.String(database)}))
		refused(t, "the address again", api.User.Create(ctx, &management.User{Connection: auth0.String(database), Email: auth0.String("grace@example.com"), Password: auth0.String("correct-horse-1906")}), 409, "already exists")
		refused(t, "a password that is too weak", api.User.Create(ctx, &management.User{Connection: auth0.String(database), Email: auth0.String("x@example.com"), Password: auth0.String("a")}), 400, "password")
		for i := range 4 {
			must(t, "creating more", api.User.Create(ctx, &management.User{Connection: auth0.String(database), Email: auth0.String(fmt.Sprintf("u%d@example.com", i)), Password: auth0.String("correct-horse-1906")}))
		}
		seen := 0
		for page := 0; ; page++ {
			list, err := api.User.List(ctx, management.Page(page), management.PerPage(2))
			must(t, "a page", err)
			seen += len(list.Users)
			if !list.HasNext() {
				break
			}
		}
		same(t, "all users", seen, 5)

		s.allow(t, u.GetID(), machineID)
		grants, err := api.Grant.List(ctx, management.Parameter("user_id", u.GetID()))
		must(t, "listing grants", err)
		same(t, "the client of the grant", grants.Grants[0].GetClientID(), machineID)
		must(t, "revoking", api.Grant.Delete(ctx, grants.Grants[0].GetID()))
		sessions, err := api.User.ListUserSessions(ctx, u.GetID())
		must(t, "listing sessions", err)
		same(t, "the sessions", len(sessions.Sessions), 0)
		must(t, "ending sessions", api.User.DeleteUserSessions(ctx, u.GetID()))
		must(t, "deleting", api.User.Delete(ctx, u.GetID()))
		_, err = api.User.Read(ctx, u.GetID())
		refused(t, "reading who is gone", err, 404, "does not exist")
	})
}

func TestGoAuth0LogsTokensAndSessions(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		ctx, api := t.Context(), s.dial(t)
		const user = "auth0|seeded"
		s.signIn(t, user, machineID)
		log, err := api.Log.List(ctx, management.PerPage(10))
		must(t, "reading the log", err)
		same(t, "the entries", len(log), 3)
		one, err := api.Log.Read(ctx, log[1].GetLogID())
		must(t, "reading an entry", err)
		same(t, "the type", one.TypeName(), "Success Login")
		same(t, "the address", one.GetIP(), "192.0.2.1")
		same(t, "the description", one.GetDescription(), "because")
		failed, err := api.Log.Search(ctx, management.Query(`type:"f" AND user_id:"auth0|seeded"`))
		must(t, "searching", err)
		same(t, "what was found", len(failed), 1)
		seen := 0
		for from := ""; ; seen++ {
			part, err := api.Log.List(ctx, management.From(from), management.Take(1))
			must(t, "copying the log", err)
			if len(part) == 0 {
				break
			}
			from = part[0].GetLogID()
		}
		same(t, "the entries copied", seen, 3)
		_, err = api.Log.Read(ctx, "none")
		refused(t, "an entry that is none", err, 404, "does not exist")

		tokens, err := api.User.ListRefreshTokens(ctx, user)
		must(t, "listing refresh tokens", err)
		same(t, "the refresh tokens", len(tokens.Tokens), 1)
		token, err := api.RefreshToken.Read(ctx, tokens.Tokens[0].GetID())
		must(t, "reading a refresh token", err)
		same(t, "its client", token.GetClientID(), machineID)
		same(t, "its scopes", token.ResourceServer[0].GetScopes(), "openid")
		session, err := api.Session.Read(ctx, token.GetSessionID())
		must(t, "reading its session", err)
		same(t, "whose it is", session.GetUserID(), user)
		must(t, "revoking the refresh token", api.RefreshToken.Delete(ctx, token.GetID()))
		_, err = api.RefreshToken.Read(ctx, token.GetID())
		refused(t, "a refresh token that was revoked", err, 404, "does not exist")
		must(t, "revoking all", api.User.DeleteRefreshTokens(ctx, user))
		must(t, "ending the session", api.Session.Revoke(ctx, session.GetID()))
		refused(t, "ending it again", api.Session.Delete(ctx, session.GetID()), 404, "does not exist")
	})
}

func TestGoAuth0SigningKeys(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		ctx, api := t.Context(), s.dial(t)
		first, err := api.SigningKey.Rotate(ctx) // there was none for this algorithm
		must(t, "a first key", err)
		same(t, "current", first.GetCurrent(), true)
		next, err := api.SigningKey.Rotate(ctx)
		must(t, "rotating", err)
		key, err := api.SigningKey.Read(ctx, next.GetKID())
		must(t, "reading", err)
		same(t, "next", key.GetNext(), true)
		revoked, err := api.SigningKey.Revoke(ctx, next.GetKID())
		must(t, "revoking", err)
		same(t, "revoked", revoked.GetRevoked(), true)
		keys, err := api.SigningKey.List(ctx)
		must(t, "listing", err)
		if len(keys) == 0 {
			t.Error("there are no keys")
		}
		_, err = api.SigningKey.Read(ctx, "none")
		refused(t, "a key that is none", err, 404, "does not exist")
	})
}

// Tokens are what makes a caller: without one, or with one that may not do it,
// nothing happens.
func TestGoAuth0Refusals(t *testing.T) {
	s := newSite(t, true)
	for name, option := range map[string]management.Option{
		"401 Unauthorized": management.WithStaticToken("garbage"),
		"invalid_client":   management.WithClientCredentials(s.context(t), machineID, "wrong"),
	} {
		api, err := management.New(s.domain(), management.WithClient(s.server.Client()), management.WithNoRetries(), option)
		must(t, name, err)
		if _, err := api.Tenant.Read(t.Context()); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v, want %s", err, name)
		}
	}
}
