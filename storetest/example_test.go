package storetest_test

import (
	"testing"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
	"github.com/opkit/opkit/storetest"
)

var t *testing.T // the parameter of the test that this is the body of

// Run checks all stores. Here the second handle is the first one, because a
// memstore has no handles, and there is no Reopen, because it keeps nothing.
func ExampleRun() {
	storetest.Run(t,
		func(t *testing.T) store.Stores { return memstore.New().Stores() },
		&storetest.Options[store.Stores]{
			Second: func(t *testing.T, s store.Stores) store.Stores { return s },
		})
}

// A host that has a table for clients and nothing else runs the checks of
// clients and nothing else.
func ExampleRunClients() {
	storetest.RunClients(t, func(t *testing.T) store.ClientStore { return memstore.New() }, nil)
}

// A host whose users are its own fills its table as it always does.
func ExampleRunUserStore() {
	storetest.RunUserStore(t, func(t *testing.T, users []store.User) store.UserStore {
		table := memstore.New() // in truth the host's own
		for _, u := range users {
			if err := table.CreateUser(t.Context(), u); err != nil {
				t.Fatal(err)
			}
		}
		return table
	})
}
