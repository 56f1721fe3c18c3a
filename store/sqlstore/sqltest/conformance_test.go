package sqltest

import (
	"path/filepath"
	"testing"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/storetest"
)

// The parts of storetest.Run, side by side, the longest first: most of their time
// is spent waiting for the disk.
func TestConformance(t *testing.T) {
	conform(t, "Grants", storetest.RunGrants, func(s store.Stores) store.GrantFamilyStore { return s.Grants })
	conform(t, "Users", storetest.RunUsers, func(s store.Stores) storetest.Users { return s.UserAdmin.(storetest.Users) })
	conform(t, "Tickets", storetest.RunTickets, func(s store.Stores) store.TicketStore { return s.Tickets })
	conform(t, "Tenants", storetest.RunTenants, func(s store.Stores) store.TenantStore { return s.Tenants })
	conform(t, "Connections", storetest.RunConnections, func(s store.Stores) store.ConnectionStore { return s.Connections })
	conform(t, "Clients", storetest.RunClients, func(s store.Stores) store.ClientStore { return s.Clients })
	conform(t, "ClientSweeper", storetest.RunClientSweeper, func(s store.Stores) storetest.SweptClients { return s.ClientSweeper.(storetest.SweptClients) })
	conform(t, "APIs", storetest.RunAPIs, func(s store.Stores) store.APIStore { return s.APIs })
	conform(t, "ClientGrants", storetest.RunClientGrants, func(s store.Stores) store.ClientGrantStore { return s.ClientGrants })
	conform(t, "SigningKeys", storetest.RunSigningKeys, func(s store.Stores) store.SigningKeyStore { return s.SigningKeys })
	conform(t, "Sessions", storetest.RunSessions, func(s store.Stores) store.SessionStore { return s.Sessions })
}

// conform runs one part of the kit on one store of a file.
func conform[S any](
	t *testing.T, name string,
	run func(*testing.T, func(*testing.T) S, *storetest.Options[S]),
	pick func(store.Stores) S,
) {
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		opened := make(map[any]*handle) // the handle of a store that the kit hands back
		open := func(t *testing.T, path string) S {
			h := open(t, path)
			s := pick(h.store.Stores())
			opened[s] = h
			return s
		}
		run(t, func(t *testing.T) S {
			return open(t, filepath.Join(t.TempDir(), "opkit.db"))
		}, &storetest.Options[S]{
			Reopen: func(t *testing.T, s S) S {
				h := opened[s]
				if err := h.close(); err != nil {
					t.Fatal(err)
				}
				return open(t, h.path)
			},
			Second: func(t *testing.T, s S) S { return open(t, opened[s].path) },
		})
	})
}

func Benchmark(b *testing.B) {
	storetest.Benchmark(b, func(b *testing.B) store.Stores {
		return open(b, filepath.Join(b.TempDir(), "opkit.db")).store.Stores()
	})
}
