package storetest

import (
	"testing"

	"github.com/opkit/opkit/store"
)

// Run checks every store of a [store.Stores]. newStores returns stores without
// any data each time it is called; it uses t.Cleanup to close them.
//
// Users are checked only if UserAdmin is set, because otherwise the kit cannot
// create any: see [RunUserStore].
func Run(t *testing.T, newStores func(t *testing.T) store.Stores, opts *Options[store.Stores]) {}

// RunTenants checks a [store.TenantStore].
func RunTenants(t *testing.T, newStore func(t *testing.T) store.TenantStore, opts *Options[store.TenantStore]) {
}

// RunConnections checks a [store.ConnectionStore].
func RunConnections(t *testing.T, newStore func(t *testing.T) store.ConnectionStore, opts *Options[store.ConnectionStore]) {
}

// Users is what [RunUsers] checks: both sides of a user directory.
type Users interface {
	store.UserStore
	store.UserAdmin
}

// RunUsers checks a [store.UserStore] together with its [store.UserAdmin].
func RunUsers(t *testing.T, newStore func(t *testing.T) Users, opts *Options[Users]) {}

// RunUserStore checks a [store.UserStore] over a host's own users.
func RunUserStore(t *testing.T, newStore func(t *testing.T, users []store.User) store.UserStore) {}

// RunClients checks a [store.ClientStore].
func RunClients(t *testing.T, newStore func(t *testing.T) store.ClientStore, opts *Options[store.ClientStore]) {
}

// RunAPIs checks a [store.APIStore].
func RunAPIs(t *testing.T, newStore func(t *testing.T) store.APIStore, opts *Options[store.APIStore]) {
}

// RunClientGrants checks a [store.ClientGrantStore].
func RunClientGrants(t *testing.T, newStore func(t *testing.T) store.ClientGrantStore, opts *Options[store.ClientGrantStore]) {
}

// RunSigningKeys checks a [store.SigningKeyStore].
func RunSigningKeys(t *testing.T, newStore func(t *testing.T) store.SigningKeyStore, opts *Options[store.SigningKeyStore]) {
}

// RunSessions checks a [store.SessionStore].
func RunSessions(t *testing.T, newStore func(t *testing.T) store.SessionStore, opts *Options[store.SessionStore]) {
}

// RunGrants checks a [store.GrantFamilyStore].
func RunGrants(t *testing.T, newStore func(t *testing.T) store.GrantFamilyStore, opts *Options[store.GrantFamilyStore]) {
}

// RunTickets checks a [store.TicketStore].
func RunTickets(t *testing.T, newStore func(t *testing.T) store.TicketStore, opts *Options[store.TicketStore]) {
}

// Benchmark measures the calls that requests wait for.
func Benchmark(b *testing.B, newStores func(b *testing.B) store.Stores) {}
