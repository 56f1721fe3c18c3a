package connection

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/opkit/opkit/store"
)

// errNoUserAdmin says that users belong to somebody else.
var errNoUserAdmin = errors.New("connection: Config.Stores.UserAdmin is nil: users cannot be changed here")

// CreateUser creates a user of the database connection u.ConnectionID in the
// tenant u.TenantID. Email or Username is required; both are folded: trimmed and
// in lower case. ID is made unless it is set. password is hashed; if it is empty,
// PasswordHash has to be one of argon2id in PHC string format; of bcrypt, or of argon2i,
// scrypt or PBKDF2 in that format, which is replaced when the user signs in; or one that
// Config.LegacyPassword understands.
//
// The error is a [*InvalidError], store.ErrExists if the ID, email or username is
// taken, [ErrBusy], or a system error.
func (d *Directory) CreateUser(ctx context.Context, u store.User, password string) (store.User, error) {
	if d.cfg.Stores.UserAdmin == nil {
		return store.User{}, errNoUserAdmin
	}
	options, err := d.databaseOf(ctx, u.TenantID, u.ConnectionID)
	if err != nil {
		return store.User{}, err
	}
	u.Email, u.Username = foldLogin(u.Email), foldLogin(u.Username)
	if err := d.checkUser(&u, &options); err != nil {
		return store.User{}, err
	}
	if password == "" {
		err = d.checkStoredHash(u.PasswordHash)
	} else {
		u.PasswordHash, err = d.hashNew(ctx, password, &options, &u)
	}
	if err != nil {
		return store.User{}, err
	}
	if u.ID == "" {
		u.ID = newUserID()
	}
	u.Version, u.CreatedAt = 1, d.now()
	u.UpdatedAt = u.CreatedAt
	if err := d.cfg.Stores.UserAdmin.CreateUser(ctx, u); err != nil {
		return store.User{}, err
	}
	return u, nil
}

// databaseOf returns the options of a database connection.
func (d *Directory) databaseOf(ctx context.Context, tenant, connection string) (databaseOptions, error) {
	conn, err := d.connectionOf(ctx, tenant, connection)
	switch {
	case err != nil:
		return databaseOptions{}, err
	case conn.Strategy != StrategyDatabase:
		return databaseOptions{}, invalid("connection", "must be a database connection")
	}
	return userRulesOf(&conn)
}

// connectionOf returns the connection that a user names.
func (d *Directory) connectionOf(ctx context.Context, tenant, id string) (store.Connection, error) {
	conn, err := d.cfg.Stores.Connections.Connection(ctx, tenant, id)
	if errors.Is(err, store.ErrNotFound) {
		return store.Connection{}, invalid("connection", "must be the identifier of a connection of the tenant")
	}
	return conn, err
}

// userRulesOf returns what a connection demands of the users that are kept here: nothing
// if it is an upstream one.
func userRulesOf(conn *store.Connection) (databaseOptions, error) {
	switch {
	case IsUpstream(conn):
		return databaseOptions{}, nil
	case conn.Strategy != StrategyDatabase:
		return databaseOptions{}, invalid("connection", "must be a database or upstream connection")
	}
	options, err := parseDatabaseOptions(conn.Options)
	if err != nil {
		return databaseOptions{}, fmt.Errorf("connection: options of %s: %w", conn.ID, err)
	}
	return options, nil
}

// checkUser validates what identifies a user.
func (d *Directory) checkUser(u *store.User, o *databaseOptions) error {
	if u.ID != "" && !validSubject(u.ID) {
		return invalid("user_id", "must have 1 to %d visible ASCII characters", maxSubject)
	}
	if u.Email == "" && u.Username == "" {
		return invalid("email", "is required unless there is a username")
	}
	if o.RequiresUsername && u.Username == "" {
		return invalid("username", "is required by the connection")
	}
	if u.Email != "" {
		if err := checkEmail(u.Email); err != nil {
			return err
		}
	}
	if u.Username != "" {
		low, high := o.usernameLength()
		return checkUsername(u.Username, low, high)
	}
	return nil
}

// checkStoredHash validates a hash that comes instead of a password.
func (d *Directory) checkStoredHash(hash string) error {
	switch {
	case hash == "":
		return invalid("password", "is required")
	case !strings.HasPrefix(hash, argon2idPrefix) && d.cfg.LegacyPassword != nil:
		return nil
	}
	var err error
	if strings.HasPrefix(hash, argon2idPrefix) {
		_, err = parseArgon2id(hash)
	} else {
		_, err = parseImported(hash)
	}
	if err != nil {
		return invalid("password_hash", "%s", err)
	}
	return nil
}

// hashNew validates a new password and returns its hash.
func (d *Directory) hashNew(ctx context.Context, password string, o *databaseOptions, u *store.User) (string, error) {
	if err := d.checkNew(ctx, password, o, u); err != nil {
		return "", err
	}
	return d.hashChecked(ctx, password)
}

// hashChecked returns the hash of a new password that was validated.
func (d *Directory) hashChecked(ctx context.Context, password string) (string, error) {
	leave, err := d.passwords.enter(ctx)
	if err != nil {
		return "", err
	}
	defer leave()
	return d.passwords.hash(password), nil
}

// checkNew validates a new password.
func (d *Directory) checkNew(ctx context.Context, password string, o *databaseOptions, u *store.User) error {
	if err := checkPassword(password, o, u); err != nil {
		return err
	}
	if d.cfg.BreachedPassword == nil {
		return nil
	}
	breached, err := d.cfg.BreachedPassword(ctx, password)
	if err != nil {
		return fmt.Errorf("connection: Config.BreachedPassword: %w", err)
	}
	if breached {
		return ErrBreachedPassword
	}
	return nil
}

// newUserID returns the identifier of a new user: the strategy, a bar, and 24
// hexadecimal digits.
func newUserID() string {
	var id [12]byte
	rand.Read(id[:]) // never fails: crypto/rand ends the process instead
	return StrategyDatabase + "|" + hex.EncodeToString(id[:])
}
