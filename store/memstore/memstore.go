package memstore

import (
	"time"

	"github.com/opkit/opkit/store"
)

// Store implements every interface of package store. It is safe for concurrent
// use. Create it with [New].
type Store struct {
	tenants      table[string, store.Tenant]
	connections  table[key, store.Connection]
	users        table[key, store.User]
	clients      table[key, store.Client]
	apis         table[key, store.API]
	clientGrants table[key, store.ClientGrant]
	signingKeys  table[key, store.SigningKey]
	sessions     table[sessionKey, store.Session]
	tickets      table[ticketKey, store.Ticket]
	grants       table[key, grantRow]
	families     table[key, familyRow]
	events       eventLogs
}

// key identifies most records.
type key struct{ tenant, id string }

// New returns an empty Store.
func New() *Store {
	s := new(Store)
	s.tenants.init(tenantSchema)
	s.connections.init(connectionSchema)
	s.users.init(userSchema)
	s.clients.init(clientSchema)
	s.apis.init(apiSchema)
	s.clientGrants.init(clientGrantSchema)
	s.signingKeys.init(signingKeySchema)
	s.sessions.init(sessionSchema)
	s.tickets.init(ticketSchema)
	s.grants.init(grantSchema)
	s.families.init(familySchema)
	return s
}

// Stores returns s in every field.
func (s *Store) Stores() store.Stores {
	return store.Stores{
		Tenants:       s,
		Connections:   s,
		Clients:       s,
		APIs:          s,
		ClientGrants:  s,
		SigningKeys:   s,
		Users:         s,
		Sessions:      s,
		Grants:        s,
		Tickets:       s,
		ClientSweeper: s,
		UserAdmin:     s,
		FamilyLister:  s,
		Events:        s,
	}
}

// utc returns t as rule 10 of package store keeps it.
func utc(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC().Truncate(time.Microsecond)
}
