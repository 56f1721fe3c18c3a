package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opkit/opkit"
	"github.com/opkit/opkit/connection"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
	"github.com/opkit/opkit/token"
)

const (
	connectionName = "Username-Password-Authentication"
	claimName      = "https://foo.com/myclaim"
)

var apiScopes = []store.APIScope{
	{Value: "appointments", Description: "See your appointments"},
	{Value: "contacts", Description: "See and change your contacts"},
	{Value: "read:contacts", Description: "See your contacts"},
}

// customClaims adds a claim to ID and access tokens. Its name is a URI in a
// namespace of ours; a bare "myclaim" would be dropped.
func customClaims(_ context.Context, in token.ClaimsInput) (token.CustomClaims, error) {
	claims := map[string]any{claimName: "added by the quickstart"}
	return token.CustomClaims{IDToken: claims, AccessToken: claims}, nil
}

// setup makes what the quickstart needs and is not there yet. Several processes may
// do so at once on the same data.
type setup struct {
	provider *opkit.Provider
	stores   store.Stores
	options  options
	secret   secret
}

func (s *setup) run(ctx context.Context) (made, error) {
	t, err := s.provider.Tenants().Tenant(ctx, tenant.DefaultID)
	if err != nil {
		return made{}, err
	}
	settings, err := s.settings(ctx, t)
	if err != nil {
		return made{}, err
	}
	conn, err := s.connection(ctx)
	if err != nil {
		return made{}, err
	}
	userID, password, err := s.user(ctx, t, conn)
	if err != nil {
		return made{}, err
	}
	secret, err := s.managementClient(ctx, t)
	if err != nil {
		return made{}, err
	}
	consoleSecret, err := s.consoleClient(ctx, t, conn)
	if err != nil {
		return made{}, err
	}
	if err := s.api(ctx, t); err != nil {
		return made{}, err
	}
	management, err := s.provider.Tenants().API(ctx, t, t.ManagementAudience())
	if err != nil {
		return made{}, err
	}
	scopes := scopeValues(apiScopes)
	return made{
		state: state{
			Issuer: t.Issuer(), MgmtClientID: s.options.mgmtClientID, MgmtClientSecret: secret,
			User: s.options.user, Password: password, ConnectionID: conn.ID, Audience: audience,
		},
		userID: userID, consoleSecret: consoleSecret, mgmtScopes: scopeValues(management.Scopes),
		Scopes:   strings.Join(scopes, ", "),
		Mode:     cmp.Or(settings.DynamicClientRegistrationSecurityMode, store.ModeStrict),
		Enabled:  settings.Flags.EnableDynamicClientRegistration,
		Promoted: conn.IsDomainConnection,
	}, nil
}

// settings returns the tenant's settings. A mode on the command line counts more
// than the record; the default one is for new tenants only.
func (s *setup) settings(ctx context.Context, t *tenant.Tenant) (store.TenantSettings, error) {
	if !s.options.given["mode"] || t.Settings().DynamicClientRegistrationSecurityMode == s.options.mode {
		return *t.Settings(), nil
	}
	record, err := s.provider.Tenants().UpdateSettings(ctx, t.ID(), func(settings *store.TenantSettings) error {
		settings.DynamicClientRegistrationSecurityMode = s.options.mode
		return nil
	})
	return record.Settings, err
}

func (s *setup) connection(ctx context.Context) (store.Connection, error) {
	return s.provider.Connections().Ensure(ctx, store.Connection{
		TenantID: tenant.DefaultID, Name: connectionName, Strategy: connection.StrategyDatabase,
		// -password takes whatever is typed.
		Options: json.RawMessage(`{"passwordPolicy":"none"}`),
	})
}

// user makes the user and returns the identifier and the password.
func (s *setup) user(ctx context.Context, t *tenant.Tenant, conn store.Connection) (id, password string, err error) {
	if password, err = s.wanted(s.options.password, "password", s.options.user); err != nil {
		return "", "", err
	}
	u := store.User{TenantID: t.ID(), ConnectionID: conn.ID, Profile: store.Profile{
		Name: "Ada Lovelace", GivenName: "Ada", FamilyName: "Lovelace", Nickname: "ada",
	}}
	if strings.Contains(s.options.user, "@") {
		u.Email, u.EmailVerified = s.options.user, true
	} else {
		u.Username = s.options.user
	}
	if u, err = s.provider.Connections().CreateUser(ctx, u, password); !errors.Is(err, store.ErrExists) {
		return u.ID, password, err
	}
	u, err = s.provider.Connections().Authenticate(ctx, t, &conn, s.options.user, password)
	if errors.Is(err, connection.ErrInvalidCredentials) {
		return "", "", fmt.Errorf("%s exists with another password; give it with -password, or choose another -db", s.options.user)
	}
	return u.ID, password, err
}

// wanted returns the secret of the command line or, if there is none, the one that
// derives from the provider's secret.
func (s *setup) wanted(given, kind, name string) (string, error) {
	if given != "" {
		return given, nil
	}
	return s.secret.derive(kind, name)
}

// managementClient makes the client that may use all of the management API, and
// returns its secret.
func (s *setup) managementClient(ctx context.Context, t *tenant.Tenant) (string, error) {
	id := s.options.mgmtClientID
	secret, err := s.wanted(s.options.mgmtClientSecret, "client secret", id)
	if err != nil {
		return "", err
	}
	client, err := ensure(func() (store.Client, error) {
		return s.stores.Clients.Client(ctx, t.ID(), id)
	}, func() (store.Client, error) {
		c, _, err := s.provider.Clients().CreateClient(ctx, store.Client{
			TenantID: t.ID(), ID: id, Name: "Quickstart management", FirstParty: true,
			TokenEndpointAuthMethod: "client_secret_post", GrantTypes: []string{"client_credentials"},
		}, secret)
		return c, err
	})
	if err != nil {
		return "", err
	}
	if client.SecretDigest != store.DigestOf(secret) {
		return "", fmt.Errorf("the client %s exists with another secret; give it with -mgmt-client-secret, or choose another -db", id)
	}
	management, err := s.provider.Tenants().API(ctx, t, t.ManagementAudience())
	if err != nil {
		return "", err
	}
	wanted := store.ClientGrant{TenantID: t.ID(), ClientID: id, Audience: management.Audience, SubjectType: store.SubjectClient}
	wanted.Scopes = scopeValues(management.Scopes)
	grant, err := s.clientGrant(ctx, wanted)
	if err != nil || !slices.ContainsFunc(wanted.Scopes, func(scope string) bool { return !slices.Contains(grant.Scopes, scope) }) {
		return secret, err
	}
	// The data is of a version whose management API knew fewer.
	_, err = s.provider.Tenants().UpdateClientGrant(ctx, t.ID(), grant.ID, func(g *store.ClientGrant) error {
		g.Scopes = wanted.Scopes
		return nil
	})
	return secret, err
}

func scopeValues(scopes []store.APIScope) []string {
	values := make([]string, len(scopes))
	for i, scope := range scopes {
		values[i] = scope.Value
	}
	return values
}

// api makes the API. A permissive application may ask for all of it, as the page
// describes; a strict one needs the grant, which is given to every third party.
func (s *setup) api(ctx context.Context, t *tenant.Tenant) error {
	_, err := ensure(func() (store.API, error) {
		return s.provider.Tenants().API(ctx, t, audience)
	}, func() (store.API, error) {
		return s.provider.Tenants().CreateAPI(ctx, store.API{
			TenantID: t.ID(), Audience: audience, Name: "Appointments", Scopes: apiScopes, UserPolicy: store.PolicyAllowAll,
		})
	})
	if err != nil {
		return err
	}
	grant := store.ClientGrant{
		TenantID: t.ID(), ClientID: store.DefaultForThirdParty, Audience: audience, SubjectType: store.SubjectUser,
	}
	grant.Scopes = scopeValues(apiScopes)
	_, err = s.clientGrant(ctx, grant)
	return err
}

func (s *setup) clientGrant(ctx context.Context, g store.ClientGrant) (store.ClientGrant, error) {
	return ensure(func() (store.ClientGrant, error) {
		return s.stores.ClientGrants.FindClientGrant(ctx, g.TenantID, g.ClientID, g.Audience, g.SubjectType)
	}, func() (store.ClientGrant, error) {
		return s.provider.Tenants().CreateClientGrant(ctx, g)
	})
}

// ensure finds a record or creates it; if another process creates it first, it is
// found after all.
func ensure[T any](find, create func() (T, error)) (T, error) {
	v, err := find()
	if errors.Is(err, store.ErrNotFound) {
		if v, err = create(); errors.Is(err, store.ErrExists) {
			v, err = find()
		}
	}
	return v, err
}
