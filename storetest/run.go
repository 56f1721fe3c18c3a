package storetest

import (
	"testing"

	"github.com/opkit/opkit/store"
)

// Run checks every store of a [store.Stores]. newStores returns stores without
// any data each time it is called; it uses t.Cleanup to close them.
//
// Users are checked only if UserAdmin is set, because otherwise the kit cannot
// create any: see [RunUserStore]. ClientSweeper, FamilyLister and Events are checked
// only if they are set.
func Run(t *testing.T, newStores func(t *testing.T) store.Stores, opts *Options[store.Stores]) {
	t.Run("Stores", func(t *testing.T) {
		if err := newStores(t).Validate(); err != nil {
			t.Fatal(err)
		}
	})
	runPart(t, "Tenants", newStores, opts, RunTenants, func(s store.Stores) store.TenantStore { return s.Tenants })
	runPart(t, "Connections", newStores, opts, RunConnections, func(s store.Stores) store.ConnectionStore { return s.Connections })
	runPart(t, "Clients", newStores, opts, RunClients, func(s store.Stores) store.ClientStore { return s.Clients })
	runPart(t, "ClientSweeper", newStores, opts, RunClientSweeper, func(s store.Stores) SweptClients {
		return struct {
			store.ClientStore
			store.ClientSweeper
		}{s.Clients, s.ClientSweeper}
	})
	runPart(t, "APIs", newStores, opts, RunAPIs, func(s store.Stores) store.APIStore { return s.APIs })
	runPart(t, "ClientGrants", newStores, opts, RunClientGrants, func(s store.Stores) store.ClientGrantStore { return s.ClientGrants })
	runPart(t, "SigningKeys", newStores, opts, RunSigningKeys, func(s store.Stores) store.SigningKeyStore { return s.SigningKeys })
	runPart(t, "Users", newStores, opts, RunUsers, func(s store.Stores) Users {
		return struct {
			store.UserStore
			store.UserAdmin
		}{s.Users, s.UserAdmin}
	})
	runPart(t, "Sessions", newStores, opts, RunSessions, func(s store.Stores) store.SessionStore { return s.Sessions })
	runPart(t, "Grants", newStores, opts, RunGrants, func(s store.Stores) store.GrantFamilyStore { return s.Grants })
	runPart(t, "FamilyLister", newStores, opts, RunFamilyLister, func(s store.Stores) ListedFamilies {
		return struct {
			store.GrantFamilyStore
			store.FamilyLister
		}{s.Grants, s.FamilyLister}
	})
	runPart(t, "Events", newStores, opts, RunEvents, func(s store.Stores) store.EventStore { return s.Events })
	runPart(t, "Tickets", newStores, opts, RunTickets, func(s store.Stores) store.TicketStore { return s.Tickets })
}

// runPart runs the checks of one interface on a part of the stores.
func runPart[S any](t *testing.T, name string, newStores func(t *testing.T) store.Stores, opts *Options[store.Stores],
	run func(*testing.T, func(t *testing.T) S, *Options[S]), part func(store.Stores) S,
) {
	// Checks run one after the other, so there is one whole at a time.
	var whole store.Stores
	newPart := func(t *testing.T) S {
		whole = newStores(t)
		switch {
		case name == "Users" && whole.UserAdmin == nil:
			t.Skip("Stores.UserAdmin is nil: use RunUserStore")
		case name == "ClientSweeper" && whole.ClientSweeper == nil:
			t.Skip("Stores.ClientSweeper is nil")
		case name == "FamilyLister" && whole.FamilyLister == nil:
			t.Skip("Stores.FamilyLister is nil")
		case name == "Events" && whole.Events == nil:
			t.Skip("Stores.Events is nil")
		}
		return part(whole)
	}
	var partial Options[S]
	if opts != nil && opts.Reopen != nil {
		partial.Reopen = func(t *testing.T, _ S) S {
			whole = opts.Reopen(t, whole)
			return part(whole)
		}
	}
	if opts != nil && opts.Second != nil {
		partial.Second = func(t *testing.T, _ S) S { return part(opts.Second(t, whole)) }
	}
	t.Run(name, func(t *testing.T) { run(t, newPart, &partial) })
}
