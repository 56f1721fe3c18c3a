package sqltest

import (
	"context"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/sqlstore/sqltest/pgtest"
	"github.com/opkit/opkit/store/sqlstore/sqltest/postgres"
	"github.com/opkit/opkit/storetest"
)

func TestConformance(t *testing.T) {
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		conformance(t, func(t *testing.T) string { return filepath.Join(t.TempDir(), "opkit.db") })
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		conformance(t, schemas(pgtest.Start(t).Database(t)))
	})
}

// Transactions that are stricter than the statements need fail and are run again.
func TestConformanceAtStricterIsolation(t *testing.T) {
	server := pgtest.Start(t)
	for _, level := range []string{"repeatable read", "serializable"} {
		t.Run(level, func(t *testing.T) {
			t.Parallel()
			name := server.NewDatabase(t)
			alter(t, server.URL(name), "ALTER DATABASE "+name+" SET default_transaction_isolation = '"+level+"'")
			newPlace := schemas(server.URL(name))
			conform(t, "Grants", newPlace, storetest.RunGrants, func(s store.Stores) store.GrantFamilyStore { return s.Grants })
			conform(t, "Users", newPlace, storetest.RunUsers, func(s store.Stores) storetest.Users { return s.UserAdmin.(storetest.Users) })
		})
	}
}

// Without prepared statements everything works as well, behind a pooler that gives
// each transaction another connection, too.
func TestConformanceWithoutPreparedStatements(t *testing.T) {
	server := pgtest.Start(t)
	name := server.NewDatabase(t)
	t.Run("simple protocol", func(t *testing.T) {
		t.Parallel()
		newPlace := schemas(server.URL(name) + "&default_query_exec_mode=simple_protocol")
		conform(t, "Tickets", newPlace, storetest.RunTickets, func(s store.Stores) store.TicketStore { return s.Tickets })
		conform(t, "Clients", newPlace, storetest.RunClients, func(s store.Stores) store.ClientStore { return s.Clients })
	})
	t.Run("PgBouncer", func(t *testing.T) {
		t.Parallel()
		newPlace := schemas(server.Bouncer(t, 4).URL(name) + "&default_query_exec_mode=exec")
		conform(t, "Grants", newPlace, storetest.RunGrants, func(s store.Stores) store.GrantFamilyStore { return s.Grants })
		conform(t, "Users", newPlace, storetest.RunUsers, func(s store.Stores) storetest.Users { return s.UserAdmin.(storetest.Users) })
		conform(t, "Sessions", newPlace, storetest.RunSessions, func(s store.Stores) store.SessionStore { return s.Sessions })
	})
}

var schemaNumber atomic.Int64

// schemas returns a function that makes a schema in a database and returns its
// place.
func schemas(url string) func(t *testing.T) string {
	return func(t *testing.T) string {
		schema := fmt.Sprint("s", schemaNumber.Add(1))
		alter(t, url, "CREATE SCHEMA "+schema)
		return url + "#" + schema
	}
}

// alter runs a statement on a connection of its own.
func alter(tb testing.TB, url, statement string) {
	tb.Helper()
	db, err := postgres.Open(url, 1)
	if err != nil {
		tb.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(context.WithoutCancel(tb.Context()), statement); err != nil {
		tb.Fatal(err)
	}
}

// conformance runs the parts of storetest.Run, side by side, the longest first:
// most of their time is spent waiting.
func conformance(t *testing.T, newPlace func(*testing.T) string) {
	conform(t, "Grants", newPlace, storetest.RunGrants, func(s store.Stores) store.GrantFamilyStore { return s.Grants })
	conform(t, "Users", newPlace, storetest.RunUsers, func(s store.Stores) storetest.Users { return s.UserAdmin.(storetest.Users) })
	conform(t, "Tickets", newPlace, storetest.RunTickets, func(s store.Stores) store.TicketStore { return s.Tickets })
	conform(t, "Tenants", newPlace, storetest.RunTenants, func(s store.Stores) store.TenantStore { return s.Tenants })
	conform(t, "Connections", newPlace, storetest.RunConnections, func(s store.Stores) store.ConnectionStore { return s.Connections })
	conform(t, "Clients", newPlace, storetest.RunClients, func(s store.Stores) store.ClientStore { return s.Clients })
	conform(t, "ClientSweeper", newPlace, storetest.RunClientSweeper, func(s store.Stores) storetest.SweptClients { return s.ClientSweeper.(storetest.SweptClients) })
	conform(t, "APIs", newPlace, storetest.RunAPIs, func(s store.Stores) store.APIStore { return s.APIs })
	conform(t, "ClientGrants", newPlace, storetest.RunClientGrants, func(s store.Stores) store.ClientGrantStore { return s.ClientGrants })
	conform(t, "SigningKeys", newPlace, storetest.RunSigningKeys, func(s store.Stores) store.SigningKeyStore { return s.SigningKeys })
	conform(t, "Sessions", newPlace, storetest.RunSessions, func(s store.Stores) store.SessionStore { return s.Sessions })
}

// conform runs one part of the kit on one store of a database.
func conform[S any](
	t *testing.T, name string, newPlace func(*testing.T) string,
	run func(*testing.T, func(*testing.T) S, *storetest.Options[S]),
	pick func(store.Stores) S,
) {
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		opened := make(map[any]*handle) // the handle of a store that the kit hands back
		open := func(t *testing.T, place string) S {
			h := open(t, place)
			s := pick(h.store.Stores())
			opened[s] = h
			return s
		}
		run(t, func(t *testing.T) S {
			return open(t, newPlace(t))
		}, &storetest.Options[S]{
			Reopen: func(t *testing.T, s S) S {
				h := opened[s]
				if err := h.close(); err != nil {
					t.Fatal(err)
				}
				return open(t, h.place)
			},
			Second: func(t *testing.T, s S) S { return open(t, opened[s].place) },
		})
	})
}

func Benchmark(b *testing.B) {
	for _, engine := range engines {
		b.Run(engine.name, func(b *testing.B) {
			storetest.Benchmark(b, func(b *testing.B) store.Stores {
				return open(b, engine.place(b)).store.Stores()
			})
		})
	}
}

func BenchmarkSweep(b *testing.B) {
	storetest.BenchmarkSweep(b, func(b *testing.B) store.Stores {
		return open(b, filepath.Join(b.TempDir(), "opkit.db")).store.Stores()
	})
}
