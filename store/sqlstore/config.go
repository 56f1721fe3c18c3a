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

	// Schema is the schema of PostgreSQL that the tables are in, spelled as
	// TablePrefix is. It has to exist; Migrate does not create it. Empty: the first
	// one of the connection's search_path, which behind PgBouncer is that of the
	// role. SQLite has no schemas.
	Schema string

	// InsecureSynchronousNormal accepts SQLite's synchronous=NORMAL and
	// PostgreSQL's synchronous_commit=off. Then a machine that loses power (with
	// PostgreSQL also a server that crashes) can forget the last moments before: a
	// revoked grant comes back, a redeemed code can be redeemed again. An opkit
	// process that crashes or is killed forgets nothing either way.
	InsecureSynchronousNormal bool
}

// identifier is what needs no quoting, except that it may be a word of SQL.
var identifier = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,31}$`)

// Store keeps every record of [store.Stores] in one database. It is safe for
// concurrent use.
type Store struct {
	db     *database
	stores store.Stores
}

// New returns a store. It does not touch the database: call [Store.Migrate]
// before the first use.
func New(cfg Config) (*Store, error) {
	db, err := cfg.resolve()
	if err != nil {
		return nil, err
	}
	if cfg.Write == nil {
		return nil, errors.New("sqlstore: Config.Write is required")
	}
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
		FamilyLister:  grants,
		Events:        newEvents(db),
	}}, nil
}

// resolve checks what decides the statements' text.
func (cfg Config) resolve() (*database, error) {
	dialect, err := cfg.Dialect.resolve()
	if err != nil {
		return nil, err
	}
	if cfg.TablePrefix == "" {
		cfg.TablePrefix = "opkit_"
	}
	const rule = "want lower-case letters, digits and underscores, not beginning with a digit, at most 32"
	switch {
	case !identifier.MatchString(cfg.TablePrefix):
		return nil, fmt.Errorf("sqlstore: Config.TablePrefix %q: "+rule, cfg.TablePrefix)
	case cfg.Schema != "" && !dialect.schemas:
		return nil, fmt.Errorf("sqlstore: Config.Schema is not for %s", cfg.Dialect)
	case cfg.Schema != "" && !identifier.MatchString(cfg.Schema):
		return nil, fmt.Errorf("sqlstore: Config.Schema %q: "+rule, cfg.Schema)
	}
	return &database{cfg: cfg, dialect: dialect}, nil
}

// Stores returns all stores of the database, UserAdmin included.
func (s *Store) Stores() store.Stores { return s.stores }

// Close releases the prepared statements. The pools belong to the caller, who
// closes them afterwards.
func (s *Store) Close() error { return s.db.close() }
