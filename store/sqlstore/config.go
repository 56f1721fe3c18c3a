package sqlstore

import (
	"database/sql"
	"errors"
	"fmt"
	"regexp"

	"github.com/opkit/opkit/store"
)

// Config says where the records are.
type Config struct {
	// Dialect of the database. Required.
	Dialect Dialect

	// Write is the pool that changes data. Required. The store never closes it.
	// On SQLite it should have one connection: see the package documentation.
	Write *sql.DB

	// Read is a second pool on the same database for everything that changes
	// nothing. Nil: Write serves reads as well. It must see what Write has
	// committed at once, so a replica that lags behind does not do.
	Read *sql.DB

	// TablePrefix begins the name of every table and index, so that they can live
	// beside the host's own. Lower-case letters, digits and underscores, not
	// beginning with a digit, at most 32. Empty means "opkit_".
	TablePrefix string

	// InsecureSynchronousNormal accepts SQLite's synchronous=NORMAL. Then a
	// machine that loses power can forget the last moments before: a revoked grant
	// comes back, a redeemed code can be redeemed again. A process that crashes or
	// is killed forgets nothing either way.
	InsecureSynchronousNormal bool
}

var tablePrefix = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,31}$`)

// Store keeps every record of [store.Stores] in one database. It is safe for
// concurrent use.
type Store struct {
	db     *database
	stores store.Stores
}

// New returns a store. It does not touch the database: call [Store.Migrate]
// before the first use.
func New(cfg Config) (*Store, error) {
	dialect, err := cfg.Dialect.resolve()
	if err != nil {
		return nil, err
	}
	if cfg.Write == nil {
		return nil, errors.New("sqlstore: Config.Write is required")
	}
	if cfg.TablePrefix == "" {
		cfg.TablePrefix = "opkit_"
	}
	if !tablePrefix.MatchString(cfg.TablePrefix) {
		return nil, fmt.Errorf("sqlstore: Config.TablePrefix %q: want lower-case letters, digits and underscores, not beginning with a digit, at most 32", cfg.TablePrefix)
	}
	db := &database{cfg: cfg, dialect: dialect}
	clients, users, grants := newClients(db), newUsers(db), newGrants(db)
	return &Store{db: db, stores: store.Stores{
		Tenants:       newTenants(db),
		Connections:   newConnections(db),
		Clients:       clients,
		ClientSweeper: clients,
		APIs:          newAPIs(db),
		ClientGrants:  newClientGrants(db),
		SigningKeys:   newSigningKeys(db),
		Users:         users,
		UserAdmin:     users,
		Sessions:      newSessions(db),
		Grants:        grants,
		Tickets:       newTickets(db),
	}}, nil
}

// Stores returns all stores of the database, UserAdmin included.
func (s *Store) Stores() store.Stores { return s.stores }

// Close releases the prepared statements. The pools belong to the caller, who
// closes them afterwards.
func (s *Store) Close() error { return s.db.close() }
