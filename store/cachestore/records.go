package cachestore

import (
	"context"
	"slices"

	"github.com/opkit/opkit/store"
)

// tenants and the types below decorate one store each. Every write is followed
// by forgetting, whether it succeeded or not: a call that failed may have changed
// something. Methods that need no cache are those of the embedded store.
type tenants struct {
	store.TenantStore
	byID *cache[store.Tenant]
}

func newTenants(s store.TenantStore, cfg settings) *tenants {
	return &tenants{s, newCache(cfg, "tenants", func(ctx context.Context, k key) (store.Tenant, error) {
		return s.Tenant(ctx, k.tenant)
	})}
}

func (s *tenants) Tenant(ctx context.Context, id string) (store.Tenant, error) {
	return deref(s.byID.get(ctx, key{tenant: id}))
}

func (s *tenants) CreateTenant(ctx context.Context, t store.Tenant) error {
	defer s.byID.forget(key{tenant: t.ID})
	return s.TenantStore.CreateTenant(ctx, t)
}

func (s *tenants) UpdateTenant(ctx context.Context, t store.Tenant) error {
	defer s.byID.forget(key{tenant: t.ID})
	return s.TenantStore.UpdateTenant(ctx, t)
}

// deref copies a shared value for its caller, zero with an error.
func deref[V any](v *V, err error) (V, error) {
	if err != nil {
		var none V
		return none, err
	}
	return *v, nil
}

type connections struct {
	store.ConnectionStore
	byID      *cache[store.Connection]
	firstPage *cache[[]store.Connection]
}

func newConnections(s store.ConnectionStore, cfg settings) *connections {
	return &connections{s,
		newCache(cfg, "connections", func(ctx context.Context, k key) (store.Connection, error) {
			return s.Connection(ctx, k.tenant, k.a)
		}),
		newCache(cfg, "connections", func(ctx context.Context, k key) ([]store.Connection, error) {
			list, err := s.Connections(ctx, k.tenant, store.Page{})
			return slices.Clip(list), err // so that an append by a caller copies it
		}),
	}
}

func (s *connections) Connection(ctx context.Context, tenant, id string) (store.Connection, error) {
	return deref(s.byID.get(ctx, key{tenant: tenant, a: id}))
}

func (s *connections) Connections(ctx context.Context, tenant string, page store.Page) ([]store.Connection, error) {
	if page.After != "" || page.Size() != store.MaxPageLimit {
		return s.ConnectionStore.Connections(ctx, tenant, page)
	}
	return deref(s.firstPage.get(ctx, key{tenant: tenant}))
}

func (s *connections) CreateConnection(ctx context.Context, c store.Connection) error {
	defer s.forget(c.TenantID, c.ID)
	return s.ConnectionStore.CreateConnection(ctx, c)
}

func (s *connections) UpdateConnection(ctx context.Context, c store.Connection) error {
	defer s.forget(c.TenantID, c.ID)
	return s.ConnectionStore.UpdateConnection(ctx, c)
}

func (s *connections) DeleteConnection(ctx context.Context, tenant, id string) error {
	defer s.forget(tenant, id)
	return s.ConnectionStore.DeleteConnection(ctx, tenant, id)
}

func (s *connections) forget(tenant, id string) {
	s.byID.forget(key{tenant: tenant, a: id})
	s.firstPage.forget(key{tenant: tenant})
}

type clients struct {
	store.ClientStore
	byID *cache[store.Client]
}

func newClients(s store.ClientStore, cfg settings) *clients {
	return &clients{s, newCache(cfg, "clients", func(ctx context.Context, k key) (store.Client, error) {
		return s.Client(ctx, k.tenant, k.a)
	})}
}

func (s *clients) Client(ctx context.Context, tenant, id string) (store.Client, error) {
	return deref(s.byID.get(ctx, key{tenant: tenant, a: id}))
}

func (s *clients) CreateClient(ctx context.Context, c store.Client) error {
	defer s.byID.forget(key{tenant: c.TenantID, a: c.ID})
	return s.ClientStore.CreateClient(ctx, c)
}

func (s *clients) UpdateClient(ctx context.Context, c store.Client) error {
	defer s.byID.forget(key{tenant: c.TenantID, a: c.ID})
	return s.ClientStore.UpdateClient(ctx, c)
}

func (s *clients) DeleteClient(ctx context.Context, tenant, id string) error {
	defer s.byID.forget(key{tenant: tenant, a: id})
	return s.ClientStore.DeleteClient(ctx, tenant, id)
}

// clientSweeper forgets what it removes, and clients that had another version than
// the caller thought.
type clientSweeper struct {
	store.ClientSweeper
	byID *cache[store.Client]
}

func (s clientSweeper) RemoveClients(ctx context.Context, tenant string, clients []store.Client) ([]string, error) {
	defer func() {
		for i := range clients {
			s.byID.forget(key{tenant: tenant, a: clients[i].ID})
		}
	}()
	return s.ClientSweeper.RemoveClients(ctx, tenant, clients)
}

// apis forgets a whole tenant with every write: which audience an identifier
// belongs to is not known here, and APIs change rarely.
type apis struct {
	store.APIStore
	byID, byAudience *cache[store.API]
}

func newAPIs(s store.APIStore, cfg settings) *apis {
	return &apis{s,
		newCache(cfg, "APIs", func(ctx context.Context, k key) (store.API, error) {
			return s.API(ctx, k.tenant, k.a)
		}),
		newCache(cfg, "APIs", func(ctx context.Context, k key) (store.API, error) {
			return s.APIByAudience(ctx, k.tenant, k.a)
		}),
	}
}

func (s *apis) API(ctx context.Context, tenant, id string) (store.API, error) {
	return deref(s.byID.get(ctx, key{tenant: tenant, a: id}))
}

func (s *apis) APIByAudience(ctx context.Context, tenant, audience string) (store.API, error) {
	return deref(s.byAudience.get(ctx, key{tenant: tenant, a: audience}))
}

func (s *apis) CreateAPI(ctx context.Context, a store.API) error {
	defer s.forget(a.TenantID)
	return s.APIStore.CreateAPI(ctx, a)
}

func (s *apis) UpdateAPI(ctx context.Context, a store.API) error {
	defer s.forget(a.TenantID)
	return s.APIStore.UpdateAPI(ctx, a)
}

func (s *apis) DeleteAPI(ctx context.Context, tenant, id string) error {
	defer s.forget(tenant)
	return s.APIStore.DeleteAPI(ctx, tenant, id)
}

func (s *apis) forget(tenant string) {
	s.byID.forgetTenant(tenant)
	s.byAudience.forgetTenant(tenant)
}

// clientGrants forgets a whole tenant with every write, for the reason that apis
// has.
type clientGrants struct {
	store.ClientGrantStore
	bySubject *cache[store.ClientGrant]
}

func newClientGrants(s store.ClientGrantStore, cfg settings) *clientGrants {
	return &clientGrants{s, newCache(cfg, "client grants", func(ctx context.Context, k key) (store.ClientGrant, error) {
		return s.FindClientGrant(ctx, k.tenant, k.a, k.b, k.c)
	})}
}

func (s *clientGrants) FindClientGrant(ctx context.Context, tenant, client, audience, subjectType string) (store.ClientGrant, error) {
	return deref(s.bySubject.get(ctx, key{tenant, client, audience, subjectType}))
}

func (s *clientGrants) CreateClientGrant(ctx context.Context, g store.ClientGrant) error {
	defer s.bySubject.forgetTenant(g.TenantID)
	return s.ClientGrantStore.CreateClientGrant(ctx, g)
}

func (s *clientGrants) UpdateClientGrant(ctx context.Context, g store.ClientGrant) error {
	defer s.bySubject.forgetTenant(g.TenantID)
	return s.ClientGrantStore.UpdateClientGrant(ctx, g)
}

func (s *clientGrants) DeleteClientGrant(ctx context.Context, tenant, id string) error {
	defer s.bySubject.forgetTenant(tenant)
	return s.ClientGrantStore.DeleteClientGrant(ctx, tenant, id)
}

type signingKeys struct {
	store.SigningKeyStore
	ofTenant *cache[[]store.SigningKey]
}

func newSigningKeys(s store.SigningKeyStore, cfg settings) *signingKeys {
	return &signingKeys{s, newCache(cfg, "signing keys", func(ctx context.Context, k key) ([]store.SigningKey, error) {
		list, err := s.SigningKeys(ctx, k.tenant)
		return slices.Clip(list), err // so that an append by a caller copies it
	})}
}

func (s *signingKeys) SigningKeys(ctx context.Context, tenant string) ([]store.SigningKey, error) {
	return deref(s.ofTenant.get(ctx, key{tenant: tenant}))
}

func (s *signingKeys) CreateSigningKey(ctx context.Context, k store.SigningKey) error {
	defer s.ofTenant.forget(key{tenant: k.TenantID})
	return s.SigningKeyStore.CreateSigningKey(ctx, k)
}

func (s *signingKeys) UpdateSigningKey(ctx context.Context, k store.SigningKey) error {
	defer s.ofTenant.forget(key{tenant: k.TenantID})
	return s.SigningKeyStore.UpdateSigningKey(ctx, k)
}

func (s *signingKeys) DeleteSigningKey(ctx context.Context, tenant, id string) error {
	defer s.ofTenant.forget(key{tenant: tenant})
	return s.SigningKeyStore.DeleteSigningKey(ctx, tenant, id)
}
