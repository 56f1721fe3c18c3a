package store

import (
	"errors"
	"fmt"
	"strings"
)

// Stores names the store for each concern. Required fields must not be nil; an
// optional field that is nil switches its feature off.
type Stores struct {
	// Configuration: few records, read on most requests, cacheable.
	Tenants      TenantStore
	Connections  ConnectionStore
	Clients      ClientStore
	APIs         APIStore
	ClientGrants ClientGrantStore
	SigningKeys  SigningKeyStore

	// State that decides security at use: never cached.
	Users    UserStore
	Sessions SessionStore
	Grants   GrantFamilyStore
	Tickets  TicketStore

	// ClientSweeper is optional: without it clients that registered themselves stay
	// until they are deleted, and their number has no ceiling.
	ClientSweeper ClientSweeper

	// UserAdmin is optional: without it opkit never changes users.
	UserAdmin UserAdmin

	// FamilyLister is optional, and lists the families of Grants: without it
	// administrators can revoke the refresh tokens of a user, and not see them.
	FamilyLister FamilyLister

	// Events is optional: without it there is no log that administrators can read.
	Events EventStore
}

// Validate returns an error of one line that names every required field that is nil.
func (s Stores) Validate() error {
	var missing []string
	required := 0
	require := func(name string, isNil bool) {
		if required++; isNil {
			missing = append(missing, "Stores."+name)
		}
	}
	require("Tenants", s.Tenants == nil)
	require("Connections", s.Connections == nil)
	require("Clients", s.Clients == nil)
	require("APIs", s.APIs == nil)
	require("ClientGrants", s.ClientGrants == nil)
	require("SigningKeys", s.SigningKeys == nil)
	require("Users", s.Users == nil)
	require("Sessions", s.Sessions == nil)
	require("Grants", s.Grants == nil)
	require("Tickets", s.Tickets == nil)
	switch len(missing) {
	case 0:
		return nil
	case 1:
		return fmt.Errorf("store: %s is required", missing[0])
	case required:
		return errors.New("store: Stores is empty: give it those of memstore.New().Stores(), of package sqlstore, or your own")
	}
	return fmt.Errorf("store: %s are required", strings.Join(missing, ", "))
}
