package cachestore_test

import (
	"context"
	"testing"
	"time"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/cachestore"
	"github.com/opkit/opkit/store/memstore"
	"github.com/opkit/opkit/storetest"
)

// TestConformance runs the kit in the way that finds most here: the clock stands
// still, so that nothing that is kept is ever too old, and a write that forgets
// to discard something is seen by the next read.
//
// Rule 9 is the one that this package has an exception from: a record that was
// read is shared. The kit writes to records on purpose, so it gets copies. What
// is passed in is copied by the underlying store.
//
// There is no Second: a change made elsewhere is seen when the bound is reached,
// which other tests show.
func TestConformance(t *testing.T) {
	began := time.Now()
	storetest.Run(t, func(*testing.T) store.Stores {
		return copied(cachestore.New(memstore.New().Stores(), cachestore.Config{
			Now: func() time.Time { return began },
		}))
	}, nil)
}

// copied returns stores that clone the records of cached stores.
func copied(s store.Stores) store.Stores {
	s.Tenants = copiedTenants{s.Tenants}
	s.Connections = copiedConnections{s.Connections}
	s.Clients = copiedClients{s.Clients}
	s.APIs = copiedAPIs{s.APIs}
	s.ClientGrants = copiedClientGrants{s.ClientGrants}
	s.SigningKeys = copiedSigningKeys{s.SigningKeys}
	return s
}

func clone[R interface{ Clone() R }](r R, err error) (R, error) { return r.Clone(), err }

func cloneAll[R interface{ Clone() R }](list []R, err error) ([]R, error) {
	var all []R
	for _, r := range list {
		all = append(all, r.Clone())
	}
	return all, err
}

type copiedTenants struct{ store.TenantStore }

func (s copiedTenants) Tenant(ctx context.Context, id string) (store.Tenant, error) {
	return clone(s.TenantStore.Tenant(ctx, id))
}

type copiedConnections struct{ store.ConnectionStore }

func (s copiedConnections) Connection(ctx context.Context, tenant, id string) (store.Connection, error) {
	return clone(s.ConnectionStore.Connection(ctx, tenant, id))
}

func (s copiedConnections) Connections(ctx context.Context, tenant string, page store.Page) ([]store.Connection, error) {
	return cloneAll(s.ConnectionStore.Connections(ctx, tenant, page))
}

type copiedClients struct{ store.ClientStore }

func (s copiedClients) Client(ctx context.Context, tenant, id string) (store.Client, error) {
	return clone(s.ClientStore.Client(ctx, tenant, id))
}

type copiedAPIs struct{ store.APIStore }

func (s copiedAPIs) API(ctx context.Context, tenant, id string) (store.API, error) {
	return clone(s.APIStore.API(ctx, tenant, id))
}

func (s copiedAPIs) APIByAudience(ctx context.Context, tenant, audience string) (store.API, error) {
	return clone(s.APIStore.APIByAudience(ctx, tenant, audience))
}

type copiedClientGrants struct{ store.ClientGrantStore }

func (s copiedClientGrants) ClientGrant(ctx context.Context, tenant, id string) (store.ClientGrant, error) {
	return clone(s.ClientGrantStore.ClientGrant(ctx, tenant, id))
}

func (s copiedClientGrants) FindClientGrant(ctx context.Context, tenant, client, audience, subjectType string) (store.ClientGrant, error) {
	return clone(s.ClientGrantStore.FindClientGrant(ctx, tenant, client, audience, subjectType))
}

type copiedSigningKeys struct{ store.SigningKeyStore }

func (s copiedSigningKeys) SigningKeys(ctx context.Context, tenant string) ([]store.SigningKey, error) {
	return cloneAll(s.SigningKeyStore.SigningKeys(ctx, tenant))
}
