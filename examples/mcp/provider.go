package main

import (
	"context"
	"errors"

	"github.com/opkit/opkit"
	"github.com/opkit/opkit/connection"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
	"github.com/opkit/opkit/tenant"
)

// newProvider returns a provider with which any MCP client may register, and the MCP
// server as an API that third-party applications may ask for.
func newProvider(ctx context.Context, cfg opkit.Config, resource string) (*opkit.Provider, error) {
	cfg.Stores = memstore.New().Stores() // sqlstore keeps registrations over a restart
	cfg.Settings = store.TenantSettings{
		FriendlyName: "Notes",
		Flags: store.TenantFlags{
			EnableDynamicClientRegistration:      true, // clients register themselves,
			ClientIDMetadataDocumentRegistration: true, // or publish what they are
		},
		DefaultAudience: resource, // clients that name no resource mean this one
	}
	p, err := opkit.New(cfg)
	if err != nil {
		return nil, err
	}
	if _, err := p.Tenants().CreateAPI(ctx, store.API{
		TenantID: tenant.DefaultID, Audience: resource, Name: "Notes",
		Scopes: []store.APIScope{
			{Value: scopeRead, Description: "Read your notes"},
			{Value: scopeWrite, Description: "Add notes"},
		},
	}); err != nil && !errors.Is(err, store.ErrExists) {
		return nil, err
	}
	// Strict applications get at an API only through a client grant: this one is for all
	// of them.
	if _, err := p.Tenants().CreateClientGrant(ctx, store.ClientGrant{
		TenantID: tenant.DefaultID, ClientID: store.DefaultForThirdParty, Audience: resource,
		SubjectType: store.SubjectUser, Scopes: []string{scopeRead, scopeWrite},
	}); err != nil && !errors.Is(err, store.ErrExists) {
		return nil, err
	}
	return p, nil
}

// addUser makes somebody who can sign in.
func addUser(ctx context.Context, p *opkit.Provider, email, password string) error {
	users, err := p.Connections().Ensure(ctx, store.Connection{
		TenantID: tenant.DefaultID, Name: "users", Strategy: connection.StrategyDatabase, IsDomainConnection: true,
	})
	if err != nil {
		return err
	}
	_, err = p.Connections().CreateUser(ctx, store.User{
		TenantID: tenant.DefaultID, ConnectionID: users.ID, Email: email, EmailVerified: true,
	}, password)
	return err
}
