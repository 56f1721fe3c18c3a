package smallstore

import (
	"path/filepath"
	"testing"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/sqlstore/sqltest"
	"github.com/opkit/opkit/storetest"
)

func TestTickets(t *testing.T) {
	var path string
	open := func(t *testing.T) store.TicketStore {
		db, read, err := sqltest.OpenSQLite(path) // two pools; this store needs one
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = read.Close(); _ = db.Close() })
		if _, err := db.Exec(Schema); err != nil {
			t.Fatal(err)
		}
		return Tickets{db}
	}
	storetest.RunTickets(t, func(t *testing.T) store.TicketStore {
		path = filepath.Join(t.TempDir(), "tickets.db")
		return open(t)
	}, &storetest.Options[store.TicketStore]{
		// As another process does while this one runs.
		Second: func(t *testing.T, _ store.TicketStore) store.TicketStore { return open(t) },
		// As this process does when it was restarted.
		Reopen: func(t *testing.T, s store.TicketStore) store.TicketStore {
			if err := s.(Tickets).DB.Close(); err != nil {
				t.Fatal(err)
			}
			return open(t)
		},
	})
}
