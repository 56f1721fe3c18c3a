package connection_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/opkit/opkit/connection"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
	"github.com/opkit/opkit/tenant"
)

func Example() {
	ctx := context.Background()
	stores := memstore.New().Stores()
	tenants, err := tenant.New(tenant.Config{
		Issuer: "https://login.example.com", Stores: stores, Secrets: [][]byte{[]byte("a secret of at least 32 random bytes")},
	})
	if err != nil {
		log.Fatal(err)
	}
	connections, err := connection.New(connection.Config{Stores: stores, Tenants: tenants})
	if err != nil {
		log.Fatal(err)
	}

	// A database that third-party applications may use, with a user.
	database, err := connections.Ensure(ctx, store.Connection{
		TenantID: tenant.DefaultID, Name: "customers", Strategy: connection.StrategyDatabase, IsDomainConnection: true,
	})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := connections.CreateUser(ctx, store.User{
		TenantID: tenant.DefaultID, ConnectionID: database.ID, Email: "Ada@Example.com",
	}, "correct horse battery"); err != nil {
		log.Fatal(err)
	}

	t, err := tenants.Tenant(ctx, tenant.DefaultID)
	if err != nil {
		log.Fatal(err)
	}
	user, err := connections.Authenticate(ctx, t, &database, "ada@example.com", "correct horse battery")
	fmt.Println(user.Email, err)
	_, err = connections.Authenticate(ctx, t, &database, "ada@example.com", "a guess")
	fmt.Println(errors.Is(err, connection.ErrInvalidCredentials))
	// Output:
	// ada@example.com <nil>
	// true
}
