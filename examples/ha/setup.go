package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/opkit/opkit/connection"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

const (
	userName     = "ada@example.com"
	userPassword = "three-nodes-1815"
)

// setUp makes sure that there are a connection and a user. Nodes could do it
// themselves; a provider that an administrator set up needs none of it.
func setUp(ctx context.Context, cfg nodeConfig) (err error) {
	stores, closeStores, err := openStores(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeStores()) }()
	p, err := newProvider(cfg, stores)
	if err != nil {
		return err
	}
	people, err := p.Connections().Ensure(ctx, store.Connection{
		TenantID: tenant.DefaultID, Name: "people", Strategy: connection.StrategyDatabase, IsDomainConnection: true,
	})
	if err != nil {
		return fmt.Errorf("connection: %w", err)
	}
	_, err = p.Connections().CreateUser(ctx, store.User{
		TenantID: tenant.DefaultID, ConnectionID: people.ID, Email: userName, EmailVerified: true,
	}, userPassword)
	if errors.Is(err, store.ErrExists) {
		return nil // from an earlier start
	}
	return err
}
