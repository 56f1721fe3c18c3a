package main

import (
	"database/sql"
	"path/filepath"
	"testing"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/storetest"
)

// These two are what it takes to prove stores over tables of one's own.

func TestPartnersKeepTheRules(t *testing.T) {
	storetest.RunClients(t, func(t *testing.T) store.ClientStore { return partners{newLibrary(t)} }, nil)
}

func TestMembersKeepTheRules(t *testing.T) {
	storetest.RunUserStore(t, func(t *testing.T, users []store.User) store.UserStore {
		db := newLibrary(t)
		for _, u := range users {
			if err := addMember(t.Context(), db, u.TenantID, u, "a hash"); err != nil {
				t.Fatal(err)
			}
		}
		return &members{db: db, connection: "connection"}
	})
}

func newLibrary(t *testing.T) *sql.DB {
	db, err := openLibrary(filepath.Join(t.TempDir(), "library.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}
