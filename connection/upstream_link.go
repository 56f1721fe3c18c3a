package connection

import (
	"cmp"
	"context"
	"errors"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// This file joins accounts at upstreams to accounts here (options.account_linking). An
// address alone never does it: both sides have to vouch for it, and the user has to
// prove the account here with its password, and want it.

// LinkCandidate returns the user of one of databases whose account the one at an upstream
// may be joined to, and the database: both have the same verified email address, and
// nothing that still holds was decided about the account at the upstream.
// store.ErrNotFound: there is none, or more than one.
func (d *Directory) LinkCandidate(ctx context.Context, t *tenant.Tenant, c *store.Connection, identity UpstreamIdentity, databases []store.Connection) (store.User, *store.Connection, error) {
	o, err := upstreamOptionsOf(c)
	if err != nil {
		return store.User{}, nil, err
	}
	if !o.Linking || c.TenantID != t.ID() || identity.Email == "" || !identity.EmailVerified || identity.Doubtful {
		return store.User{}, nil, store.ErrNotFound
	}
	if decided, err := d.decidedAbout(ctx, t, upstreamUserID(c, identity.Subject)); decided || err != nil {
		return store.User{}, nil, cmp.Or(err, store.ErrNotFound)
	}
	var candidate store.User
	var in *store.Connection
	for i := range databases {
		if databases[i].Strategy != StrategyDatabase {
			continue
		}
		user, err := d.cfg.Stores.Users.UserByLogin(ctx, t.ID(), databases[i].ID, identity.Email)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return store.User{}, nil, err
		}
		// Whoever made an account with an address that is not theirs waits for its owner.
		if user.Email != identity.Email || !user.EmailVerified || user.Blocked || user.PasswordHash == "" {
			continue
		}
		if in != nil {
			return store.User{}, nil, store.ErrNotFound
		}
		candidate, in = user, &databases[i]
	}
	if in == nil {
		return store.User{}, nil, store.ErrNotFound
	}
	return candidate, in, nil
}

// decidedAbout reports whether somebody keeps an account at an upstream apart, or joined
// it to one that it still belongs to.
func (d *Directory) decidedAbout(ctx context.Context, t *tenant.Tenant, id string) (bool, error) {
	user, err := d.cfg.Stores.Users.User(ctx, t.ID(), id)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	if err != nil || user.LinkedTo == "" || user.Blocked {
		return true, err
	}
	return d.linkHolds(ctx, &user)
}

// Link joins an account at an upstream to the user that [Directory.LinkCandidate]
// returned and who has proved the password since. Later sign-ins there are the user's.
//
// It returns the identifier of that account. The error wraps [ErrNotAllowed] if that does
// not hold any more, or is a system error.
func (d *Directory) Link(ctx context.Context, t *tenant.Tenant, c *store.Connection, identity UpstreamIdentity, database *store.Connection, user *store.User) (id string, err error) {
	candidate, _, err := d.LinkCandidate(ctx, t, c, identity, []store.Connection{*database})
	if errors.Is(err, store.ErrNotFound) || err == nil && (candidate.ID != user.ID || !candidate.PasswordSetAt.Equal(user.PasswordSetAt)) {
		return "", notAllowed("the accounts cannot be joined (any more)")
	}
	if err != nil {
		return "", err
	}
	o, err := upstreamOptionsOf(c)
	if err != nil {
		return "", err
	}
	now, write := d.now(), d.cfg.Stores.UserAdmin.UpdateUser
	id = upstreamUserID(c, identity.Subject)
	joined, err := d.cfg.Stores.Users.User(ctx, t.ID(), id)
	if errors.Is(err, store.ErrNotFound) {
		joined = store.User{TenantID: c.TenantID, ID: id, ConnectionID: c.ID, Version: 1, CreatedAt: now}
		write, err = d.cfg.Stores.UserAdmin.CreateUser, nil
	} else if err == nil && (joined.LinkedTo == "" || joined.Blocked) {
		err = notAllowed("the account at the upstream was used meanwhile")
	}
	if err != nil {
		return "", err
	}
	// Of the user as the password was proved: one that is replaced meanwhile parts them.
	joined.LinkedTo, joined.LinkedAt, joined.LinkedPasswordSetAt = user.ID, now, user.PasswordSetAt
	joined.UpdatedAt = now
	if o.SetAttributes != attributesNever {
		identity.applyTo(&joined, o)
	}
	if err := d.keepTokens(&joined, o, identity.Tokens); err != nil {
		return "", err
	}
	err = d.writeUpstreamUser(ctx, c, &joined, write)
	if errors.Is(err, store.ErrExists) || errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrNotFound) {
		return "", notAllowed("the account at the upstream was used meanwhile")
	}
	return id, err
}

// LinkedUser returns the user whom the sign-ins of another one are for. store.ErrNotFound:
// there is none, or not the one that the accounts were joined to, or the password with
// which they were joined was replaced since.
func (d *Directory) LinkedUser(ctx context.Context, u *store.User) (store.User, error) {
	if u.LinkedTo == "" {
		return store.User{}, store.ErrNotFound
	}
	linked, err := d.cfg.Stores.Users.User(ctx, u.TenantID, u.LinkedTo)
	if err != nil {
		return store.User{}, err
	}
	at := u.LinkedAt
	if at.IsZero() {
		at = u.CreatedAt
	}
	// An identifier that was given to somebody else since leads nowhere. Neither does
	// what was joined with another password than the one of now: whoever knew that may be
	// why it was replaced.
	if linked.CreatedAt.After(at) || !linked.PasswordSetAt.Equal(u.LinkedPasswordSetAt) || linked.ID == u.ID {
		return store.User{}, store.ErrNotFound
	}
	return linked, nil
}

// linkHolds reports whether a user is joined to nobody, or to somebody to whom the
// account still belongs.
func (d *Directory) linkHolds(ctx context.Context, u *store.User) (bool, error) {
	if u.LinkedTo == "" {
		return true, nil
	}
	_, err := d.LinkedUser(ctx, u)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}
