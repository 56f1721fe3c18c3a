package connection

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/opkit/opkit/store"
)

// maxUpdates bounds how often an update is tried again because somebody else
// changed the record.
const maxUpdates = 5

// UpdateUser changes a user of a database connection, or what is kept here of a user of
// an upstream connection: Blocked, AppMetadata and UserMetadata. change gets a copy, whose
// TenantID, ID and ConnectionID it must leave alone; it may be called again if somebody
// else changes the user at the same time, and an error of it ends the update. Email and
// Username are folded as in [Directory.CreateUser].
//
// A user who is Blocked loses all access at once, on every path: no token of theirs is
// honoured while they are. It comes back when they are unblocked, unless
// [Directory.EndAccess] was called.
//
// The error is what change returned, a [*InvalidError], store.ErrNotFound,
// store.ErrExists if the email or username is taken, store.ErrConflict, or a system
// error.
func (d *Directory) UpdateUser(ctx context.Context, tenant, userID string, change func(*store.User) error) (store.User, error) {
	return d.changeUser(ctx, tenant, userID, "", change)
}

// SetPassword replaces the password of a user of a database connection and lifts
// a lock of its logins; that it could not be lifted is logged. It parts accounts that
// were joined with the old one. Sessions and grants of the user stay: ending them is the
// caller's decision, see [Directory.EndAccess].
//
// The error is a [*InvalidError], store.ErrNotFound, [ErrBusy], or a system error.
func (d *Directory) SetPassword(ctx context.Context, tenant, userID, password string) error {
	if password == "" {
		return invalid("password", "is required")
	}
	_, err := d.changeUser(ctx, tenant, userID, password, func(*store.User) error { return nil })
	return err
}

// changeUser changes a user and, unless password is empty, the password, in one step.
func (d *Directory) changeUser(ctx context.Context, tenant, userID, password string, change func(*store.User) error) (store.User, error) {
	if d.cfg.Stores.UserAdmin == nil {
		return store.User{}, errNoUserAdmin
	}
	hash := ""
	for attempt := 1; ; attempt++ {
		before, err := d.cfg.Stores.Users.User(ctx, tenant, userID)
		if err != nil {
			return store.User{}, err
		}
		conn, err := d.connectionOf(ctx, tenant, before.ConnectionID)
		if err != nil {
			return store.User{}, err
		}
		options, err := userRulesOf(&conn)
		if err != nil {
			return store.User{}, err
		}
		after := before.Clone()
		if err := change(&after); err != nil {
			return store.User{}, err
		}
		if after.ConnectionID != before.ConnectionID {
			return store.User{}, invalid("connection", "cannot be changed")
		}
		after.TenantID, after.ID, after.Version, after.CreatedAt = before.TenantID, before.ID, before.Version, before.CreatedAt
		after.PasswordSetAt, after.LinkedTo, after.LinkedAt, after.LinkedPasswordSetAt = before.PasswordSetAt, before.LinkedTo, before.LinkedAt, before.LinkedPasswordSetAt
		after.Email, after.Username = foldLogin(after.Email), foldLogin(after.Username)
		if IsUpstream(&conn) {
			err = checkUpstreamChange(&before, &after, password)
		} else {
			err = d.checkUser(&after, &options)
		}
		if err != nil {
			return store.User{}, err
		}
		switch {
		case password != "":
			if hash == "" { // which takes long: once
				if hash, err = d.hashNew(ctx, password, &options, &after); err != nil {
					return store.User{}, err
				}
			}
			after.PasswordHash, after.PasswordSetAt = hash, d.now()
		case after.PasswordHash != before.PasswordHash && after.PasswordHash != "":
			if err := d.checkStoredHash(after.PasswordHash); err != nil {
				return store.User{}, err
			}
			after.PasswordSetAt = d.now()
		}
		if reflect.DeepEqual(before, after) {
			return after, nil
		}
		after.UpdatedAt = d.now()
		err = d.cfg.Stores.UserAdmin.UpdateUser(ctx, after)
		if errors.Is(err, store.ErrConflict) && attempt < maxUpdates {
			continue
		}
		if err != nil {
			return store.User{}, err
		}
		after.Version++
		if password != "" {
			// The password is another one now: whoever asked for it has to go on with what
			// depends on that. A lock that stays ends by itself.
			if err := d.unlock(ctx, &after); err != nil {
				d.cfg.Logger.ErrorContext(ctx, "a lock was not lifted after a new password", "tenant", tenant, "user", userID, "err", err)
			}
		}
		return after, nil
	}
}

// unlock lifts a lock of a user's logins.
func (d *Directory) unlock(ctx context.Context, u *store.User) error {
	var err error
	conn := store.Connection{TenantID: u.TenantID, ID: u.ConnectionID}
	for _, login := range []string{u.Email, u.Username} {
		if login != "" {
			err = errors.Join(err, d.forgetAttempts(ctx, u.TenantID, attemptID(&conn, login)))
		}
	}
	return err
}

// deletionTimeout bounds a deletion, which goes on when its request ends.
const deletionTimeout = time.Minute

// DeleteUser removes a user with their sessions, what they allowed to clients, and
// every token under that. The identifier is not given to anybody else, unless the host
// chooses it again.
//
// It takes several store calls; tokens die in the first, the record goes last.
// Calling it again continues where it failed. A user who does not exist is no error.
func (d *Directory) DeleteUser(ctx context.Context, tenant, userID string) error {
	if d.cfg.Stores.UserAdmin == nil {
		return errNoUserAdmin
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	// Whoever hangs up does not stop it halfway.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), deletionTimeout)
	defer cancel()
	if err := d.EndAccess(ctx, tenant, userID); err != nil {
		return fmt.Errorf("connection: deleting user: %w", err)
	}
	if err := d.endLinked(ctx, tenant, userID); err != nil {
		return fmt.Errorf("connection: deleting user: %w", err)
	}
	page := store.Page{}
	for d.cfg.Stores.Grants != nil {
		grants, err := d.cfg.Stores.Grants.Grants(ctx, tenant, store.GrantFilter{UserID: userID}, page)
		if err != nil {
			return fmt.Errorf("connection: deleting user: %w", err)
		}
		for i := range grants {
			if err := d.cfg.Stores.Grants.DeleteGrant(ctx, tenant, grants[i].ID); err != nil {
				return fmt.Errorf("connection: deleting user: %w", err)
			}
		}
		if len(grants) < page.Size() {
			break
		}
		page.After = grants[len(grants)-1].ID
	}
	return d.cfg.Stores.UserAdmin.DeleteUser(ctx, tenant, userID)
}

// EndAccess signs a user out everywhere: it ends their sessions and revokes their
// refresh tokens and the opaque access tokens beside them. What they allowed to clients
// is remembered. Signed access tokens that an API verifies by itself live until they
// expire.
func (d *Directory) EndAccess(ctx context.Context, tenant, userID string) error {
	if userID == "" {
		return nil // an empty filter would select more than one user's
	}
	if err := d.revokeFamilies(ctx, tenant, userID); err != nil {
		return err
	}
	sessions := d.cfg.Stores.Sessions
	if sessions == nil {
		return nil
	}
	// Those that were read are gone: always the first page.
	for ended := false; ; ended = true {
		list, err := sessions.UserSessions(ctx, tenant, userID, store.Page{}, d.now())
		if err != nil {
			return err
		}
		if len(list) == 0 {
			if !ended {
				return nil
			}
			return d.revokeFamilies(ctx, tenant, userID) // those of a session that was not yet ended
		}
		for i := range list {
			if err := sessions.DeleteSession(ctx, tenant, list[i].ID); err != nil {
				return err
			}
		}
	}
}

// endLinked signs out the user whom the sign-ins of another one are for: by which of
// the two ways a session began is not known any more.
func (d *Directory) endLinked(ctx context.Context, tenant, userID string) error {
	user, err := d.cfg.Stores.Users.User(ctx, tenant, userID)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil || user.LinkedTo == "" {
		return err
	}
	return d.EndAccess(ctx, tenant, user.LinkedTo)
}

// revokeFamilies revokes what was given to clients on behalf of a user. A family lives
// as long as the tokens in it, which revoking never shortens.
func (d *Directory) revokeFamilies(ctx context.Context, tenant, userID string) error {
	grants := d.cfg.Stores.Grants
	if grants == nil {
		return nil
	}
	now := d.now()
	_, err := grants.RevokeFamilies(ctx, tenant, store.FamilyFilter{UserID: userID}, now, now)
	return err
}
