package connection

import (
	"context"
	"fmt"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// Database is what the options of a database connection mean to a login page.
type Database struct {
	// Signup says that anybody may create an account. It takes the option
	// disable_signup with the value false: one that is left out opens nothing.
	Signup bool
	// Reset says that whoever forgot a password may get a link by mail.
	Reset            bool
	RequiresUsername bool
	// PasswordPolicy is none, low, fair, good or excellent, the one that demands no
	// more than what new passwords need, and MinPassword how many characters they
	// need at least.
	PasswordPolicy string
	MinPassword    int
	// MinUsername and MaxUsername bound the length of usernames.
	MinUsername, MaxUsername int
}

// Database reads the options of a database connection.
func (d *Directory) Database(c *store.Connection) (Database, error) {
	options, err := databaseOptionsOf(c)
	if err != nil {
		return Database{}, err
	}
	out := Database{
		Signup: options.signup() && d.cfg.Stores.UserAdmin != nil,
		Reset:  options.reset() && d.cfg.Stores.UserAdmin != nil, RequiresUsername: options.RequiresUsername,
		PasswordPolicy: options.PasswordPolicy, MinPassword: options.policy().minLength,
	}
	if out.PasswordPolicy == "" {
		out.PasswordPolicy = "low" // demands no kinds of characters, like the default
	}
	out.MinUsername, out.MaxUsername = options.usernameLength()
	return out, nil
}

// databaseOptionsOf reads the options of a connection that has to be a database.
func databaseOptionsOf(c *store.Connection) (databaseOptions, error) {
	if c.Strategy != StrategyDatabase {
		return databaseOptions{}, fmt.Errorf("connection: %s is not a database", c.ID)
	}
	options, err := parseDatabaseOptions(c.Options)
	if err != nil {
		return databaseOptions{}, fmt.Errorf("connection: options of %s: %w", c.ID, err)
	}
	return options, nil
}

// DomainConnections lists the tenant's domain connections, which every third-party
// client may use, ordered by identifier. The records are shared and must not be
// modified; the slice is the caller's.
func (d *Directory) DomainConnections(ctx context.Context, t *tenant.Tenant) ([]store.Connection, error) {
	all, err := d.all(ctx, t.ID())
	if err != nil {
		return nil, err
	}
	anyThirdParty := &store.Client{TenantID: t.ID()}
	var open []store.Connection
	for i := range all {
		if d.check(&all[i], anyThirdParty) == nil {
			open = append(open, all[i])
		}
	}
	return open, nil
}
