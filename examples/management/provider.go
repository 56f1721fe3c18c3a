package main

import (
	"context"
	"crypto/rand"
	"log/slog"

	"github.com/opkit/opkit"
	"github.com/opkit/opkit/connection"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

const (
	database  = "Username-Password-Authentication"
	machineID = "management-script"
)

// newProvider returns a provider with one database connection and one client, which
// may do everything, and that client's secret.
func newProvider(ctx context.Context, issuer string, stores store.Stores, logger *slog.Logger) (*opkit.Provider, string, error) {
	secret := make([]byte, 32) // as short-lived as the data, which is in memory
	rand.Read(secret)
	p, err := opkit.New(opkit.Config{Issuer: issuer, Stores: stores, Secret: secret, Logger: logger})
	if err != nil {
		return nil, "", err
	}
	if _, err := p.Connections().Create(ctx, store.Connection{
		TenantID: tenant.DefaultID, Name: database, Strategy: connection.StrategyDatabase,
	}); err != nil {
		return nil, "", err
	}
	clientSecret, err := firstClient(ctx, p)
	return p, clientSecret, err
}

// firstClient creates the client that administers the tenant. The API itself cannot
// make the first one that may call it.
func firstClient(ctx context.Context, p *opkit.Provider) (secret string, err error) {
	c, secret, err := p.Clients().CreateClient(ctx, store.Client{
		TenantID: tenant.DefaultID, ID: machineID, Name: "Management script", FirstParty: true,
		TokenEndpointAuthMethod: "client_secret_post", GrantTypes: []string{"client_credentials"},
	}, "")
	if err != nil {
		return "", err
	}
	t, err := p.Tenants().Tenant(ctx, tenant.DefaultID)
	if err != nil {
		return "", err
	}
	api, err := p.Tenants().API(ctx, t, t.ManagementAudience())
	if err != nil {
		return "", err
	}
	grant := store.ClientGrant{TenantID: t.ID(), ClientID: c.ID, Audience: api.Audience, SubjectType: store.SubjectClient}
	for _, scope := range api.Scopes { // a script that needs less gets less
		grant.Scopes = append(grant.Scopes, scope.Value)
	}
	_, err = p.Tenants().CreateClientGrant(ctx, grant)
	return secret, err
}
