package connection

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// Authenticate returns the user of a database connection whose username or email
// is login and whose password it is. It does not say whether a client may use the
// connection: see [Directory.Usable] and [Directory.Admit].
//
// ErrInvalidCredentials: no such user, another password, or a blocked user.
// [*LockedError]: too many failures; even the right password is not accepted.
// ErrBusy: too many passwords are being checked. Any other error is a
// system error.
//
// Whatever the answer, one password hash is computed before it is given, except for
// a password that nobody can have: an empty one, or one over 1024 bytes. Counting
// the attempt runs beside that computation, so that the time of an answer does
// not tell a user, for whom the store is written, from a stranger, for whom it is
// not.
func (d *Directory) Authenticate(ctx context.Context, t *tenant.Tenant, conn *store.Connection, login, password string) (store.User, error) {
	if conn.Strategy != StrategyDatabase || conn.TenantID != t.ID() {
		return store.User{}, fmt.Errorf("connection: Authenticate needs a database connection of the tenant, not %s", conn.ID)
	}
	options, err := parseDatabaseOptions(conn.Options)
	if err != nil {
		return store.User{}, fmt.Errorf("connection: options of %s: %w", conn.ID, err)
	}
	if password == "" || len(password) > maxPassword {
		return store.User{}, ErrInvalidCredentials
	}
	login = foldLogin(login)
	user, known, err := d.find(ctx, conn, login)
	if err != nil {
		return store.User{}, err
	}
	leave, err := d.passwords.enter(ctx)
	if err != nil {
		return store.User{}, err
	}
	defer leave()

	id := attemptID(conn, login)
	counted := make(chan error, 1)
	go func() {
		switch {
		case !options.bruteForceProtection():
			counted <- nil
		case known:
			// Not cut short by the sender: whether counting failed would tell that the
			// user exists, and the attempt would not count.
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), countTimeout)
			defer cancel()
			counted <- d.countAttempt(ctx, t.ID(), id)
		default:
			counted <- d.strangers.countAttempt(id, d.now())
		}
	}()
	ok, outdated, checkErr := d.passwords.check(ctx, user.PasswordHash, password)
	// Until the attempt is counted, nothing of its outcome may be said.
	if err := <-counted; err != nil {
		return store.User{}, err
	}
	if checkErr != nil {
		// To the sender this is a wrong password: another answer would tell that
		// the user exists.
		d.cfg.Logger.ErrorContext(ctx, "the password could not be checked", "tenant", t.ID(), "user_id", user.ID, "err", checkErr)
		return store.User{}, ErrInvalidCredentials
	}
	if !ok || !known || user.Blocked {
		return store.User{}, ErrInvalidCredentials
	}
	if options.bruteForceProtection() {
		if err := d.forgetAttempts(ctx, t.ID(), id); err != nil {
			// The user proved the password. What stays is a count that is too high.
			d.cfg.Logger.WarnContext(ctx, "failed logins were not reset", "tenant", t.ID(), "user_id", user.ID, "err", err)
		}
	}
	if outdated {
		d.rehash(ctx, &user, password)
	}
	return user, nil
}

// countTimeout bounds the counting of an attempt, which goes on when the request
// ends.
const countTimeout = 5 * time.Second

// find returns the user with a folded login. Nobody is not an error.
func (d *Directory) find(ctx context.Context, conn *store.Connection, login string) (user store.User, known bool, err error) {
	if !findable(login) {
		return store.User{}, false, nil
	}
	user, err = d.cfg.Stores.Users.UserByLogin(ctx, conn.TenantID, conn.ID, login)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return store.User{}, false, nil
	case err != nil:
		return store.User{}, false, err
	case user.Username != login && user.Email != login:
		// A store that compares more loosely would give one user several spellings,
		// each with failures of its own to spend.
		d.cfg.Logger.WarnContext(ctx, "UserByLogin returned a user with another login", "tenant", conn.TenantID, "user_id", user.ID)
		return store.User{}, false, nil
	case user.ConnectionID != conn.ID:
		return store.User{}, false, fmt.Errorf("connection: UserByLogin returned a user of another connection than %s", conn.ID)
	}
	return user, true, nil
}

// rehash replaces a hash that is cheaper to guess than it could be. It may fail:
// the user signed in all the same, and the next login tries again.
func (d *Directory) rehash(ctx context.Context, user *store.User, password string) {
	if d.cfg.Stores.UserAdmin == nil {
		return
	}
	updated := *user
	updated.PasswordHash = d.passwords.hash(password)
	switch err := d.cfg.Stores.UserAdmin.UpdateUser(ctx, updated); {
	case err == nil:
		updated.Version++
		*user = updated
	case errors.Is(err, store.ErrConflict), errors.Is(err, store.ErrNotFound):
		// Somebody else changed the user, perhaps the password.
	default:
		d.cfg.Logger.WarnContext(ctx, "a password hash was not replaced", "tenant", user.TenantID, "user_id", user.ID, "err", err)
	}
}
