package connection

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"time"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// This file keeps the users of upstream connections: made at their first sign-in, and
// brought up to date at each.

// UpstreamUser returns the user of an upstream connection, made or brought up to date
// as the upstream describes them now. What administrators keep about a user stays.
//
// The error wraps [ErrNotAllowed] for a blocked user, or is a system error.
func (d *Directory) UpstreamUser(ctx context.Context, t *tenant.Tenant, c *store.Connection, identity UpstreamIdentity) (store.User, error) {
	if c.TenantID != t.ID() || !d.servesUpstreams() {
		return store.User{}, notAllowed("this process does not serve the connection")
	}
	o, err := upstreamOptionsOf(c)
	if err != nil {
		return store.User{}, err
	}
	id := upstreamUserID(c, identity.Subject)
	for attempt := 1; ; attempt++ {
		user, err := d.saveUpstreamUser(ctx, c, o, id, identity)
		// Signed in in two places at once: one makes or changes the record, the other one
		// finds it so.
		if (errors.Is(err, store.ErrExists) || errors.Is(err, store.ErrConflict)) && attempt < maxUpdates {
			continue
		}
		return user, err
	}
}

func (d *Directory) saveUpstreamUser(ctx context.Context, c *store.Connection, o *upstreamOptions, id string, identity UpstreamIdentity) (store.User, error) {
	before, err := d.cfg.Stores.Users.User(ctx, c.TenantID, id)
	if errors.Is(err, store.ErrNotFound) {
		user := store.User{TenantID: c.TenantID, ID: id, ConnectionID: c.ID, Version: 1, CreatedAt: d.now()}
		user.UpdatedAt = user.CreatedAt
		if o.SetAttributes != attributesNever {
			identity.applyTo(&user, o)
		}
		if err := d.keepTokens(&user, o, identity.Tokens); err != nil {
			return store.User{}, err
		}
		return user, d.writeUpstreamUser(ctx, c, &user, d.cfg.Stores.UserAdmin.CreateUser)
	}
	switch {
	case err != nil:
		return store.User{}, err
	case before.ConnectionID != c.ID:
		return store.User{}, notAllowed("the user does not belong to the connection")
	case before.Blocked:
		return store.User{}, notAllowed("the user is blocked")
	}
	after := before.Clone()
	// Who was asked anew keeps them apart, or nobody could be asked.
	if holds, err := d.linkHolds(ctx, &after); err != nil {
		return store.User{}, err
	} else if !holds {
		after.LinkedTo, after.LinkedAt, after.LinkedPasswordSetAt = "", time.Time{}, time.Time{}
	}
	if o.SetAttributes == "" || o.SetAttributes == attributesEachLogin {
		identity.applyTo(&after, o)
	}
	if err := d.keepTokens(&after, o, identity.Tokens); err != nil {
		return store.User{}, err
	}
	if reflect.DeepEqual(before, after) {
		return after, nil
	}
	after.UpdatedAt = d.now()
	if err := d.writeUpstreamUser(ctx, c, &after, d.cfg.Stores.UserAdmin.UpdateUser); err != nil {
		return store.User{}, err
	}
	after.Version++
	return after, nil
}

// writeUpstreamUser stores a user. An email address is unique in a connection; who has
// it keeps it, whatever the upstream says of somebody else, who gets none.
func (d *Directory) writeUpstreamUser(ctx context.Context, c *store.Connection, user *store.User, write func(context.Context, store.User) error) error {
	err := write(ctx, *user)
	if !errors.Is(err, store.ErrExists) || user.Email == "" {
		return err
	}
	holder, findErr := d.cfg.Stores.Users.UserByLogin(ctx, c.TenantID, c.ID, user.Email)
	switch {
	case findErr != nil && !errors.Is(findErr, store.ErrNotFound):
		return findErr // nothing is known of who has what
	case findErr != nil || holder.ID == user.ID:
		return err
	}
	d.cfg.Logger.WarnContext(ctx, "the upstream gives two users one email address; the second one has none here", "tenant", c.TenantID, "connection", c.ID, "user_id", user.ID, "holder", holder.ID)
	user.Email, user.EmailVerified = "", false
	return write(ctx, *user)
}

// applyTo makes a user what the upstream describes.
func (i *UpstreamIdentity) applyTo(u *store.User, o *upstreamOptions) {
	names := u.Profile
	u.Email, u.EmailVerified, u.Profile = i.Email, i.EmailVerified, i.Profile
	if o.preset.namesOnce {
		for _, name := range []struct {
			now *string
			was string
		}{{&u.Profile.Name, names.Name}, {&u.Profile.GivenName, names.GivenName}, {&u.Profile.FamilyName, names.FamilyName}} {
			if *name.now == "" {
				*name.now = name.was
			}
		}
	}
}

// checkUpstreamChange refuses to change what the upstream says: its next word would undo
// it.
func checkUpstreamChange(before, after *store.User, password string) error {
	kept := after.Clone()
	kept.Blocked, kept.AppMetadata, kept.UserMetadata = before.Blocked, before.AppMetadata, before.UserMetadata
	switch {
	case password != "" || kept.PasswordHash != before.PasswordHash:
		return invalid("password", "cannot be set: the user signs in at another provider")
	case kept.Email != before.Email || kept.EmailVerified != before.EmailVerified:
		return invalid("email", "cannot be changed: the other provider says what it is")
	case !reflect.DeepEqual(kept, *before):
		return invalid("name", "cannot be changed, nor the rest of the profile: the other provider says what it is")
	}
	return nil
}

const (
	hashedSubject   = "sha256:"
	maxPlainSubject = 150 // leaves room for what precedes it
)

// upstreamUserID returns the identifier of an upstream's user: the strategy, the
// connection and what the upstream calls the user. The connection's identifier is given
// to no other one, its name may be. A subject that does not fit is hashed, and so is
// one that looks like a hash: no two subjects have one identifier.
func upstreamUserID(c *store.Connection, subject string) string {
	if len(subject) > maxPlainSubject || !validSubject(subject) || strings.HasPrefix(subject, hashedSubject) {
		sum := sha256.Sum256([]byte(subject))
		subject = hashedSubject + hex.EncodeToString(sum[:])
	}
	return c.Strategy + "|" + c.ID + "|" + subject
}
