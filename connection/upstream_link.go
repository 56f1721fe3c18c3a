package connection

import (
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
// nothing was decided about the account at the upstream before. store.ErrNotFound: there
// is none, or more than one.
func (d *Directory) LinkCandidate(ctx context.Context, t *tenant.Tenant, c *store.Connection, identity UpstreamIdentity, databases []store.Connection) (store.User, *store.Connection, error) {
	o, err := upstreamOptionsOf(c)
	if err != nil {
		return store.User{}, nil, err
	}
	if !o.Linking || c.TenantID != t.ID() || identity.Email == "" || !identity.EmailVerified || identity.Doubtful {
		return store.User{}, nil, store.ErrNotFound
	}
	if _, err := d.cfg.Stores.Users.User(ctx, t.ID(), upstreamUserID(c, identity.Subject)); !errors.Is(err, store.ErrNotFound) {
		if err == nil {
			err = store.ErrNotFound
		}
		return store.User{}, nil, err
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

// Link joins an account at an upstream to the user that [Directory.LinkCandidate]
// returned and who has proved the password since. Later sign-ins there are the user's.
//
// It returns the identifier of that account. The error wraps [ErrNotAllowed] if that does
// not hold any more, or is a system error.
func (d *Directory) Link(ctx context.Context, t *tenant.Tenant, c *store.Connection, identity UpstreamIdentity, database *store.Connection, user *store.User) (id string, err error) {
	candidate, _, err := d.LinkCandidate(ctx, t, c, identity, []store.Connection{*database})
	if errors.Is(err, store.ErrNotFound) || err == nil && candidate.ID != user.ID {
		return "", notAllowed("the accounts cannot be joined (any more)")
	}
	if err != nil {
		return "", err
	}
	o, err := upstreamOptionsOf(c)
	if err != nil {
		return "", err
	}
	joined := store.User{TenantID: c.TenantID, ID: upstreamUserID(c, identity.Subject), ConnectionID: c.ID, LinkedTo: user.ID, Version: 1, CreatedAt: d.now()}
	joined.UpdatedAt = joined.CreatedAt
	if o.SetAttributes != attributesNever {
		identity.applyTo(&joined, o)
	}
	if err := d.keepTokens(&joined, o, identity.Tokens); err != nil {
		return "", err
	}
	err = d.writeUpstreamUser(ctx, c, &joined, d.cfg.Stores.UserAdmin.CreateUser)
	if errors.Is(err, store.ErrExists) {
		return "", notAllowed("the account at the upstream was used meanwhile")
	}
	return joined.ID, err
}

// LinkedUser returns the user whom the sign-ins of another one are for. store.ErrNotFound:
// there is none, or not the one that the accounts were joined to.
func (d *Directory) LinkedUser(ctx context.Context, u *store.User) (store.User, error) {
	if u.LinkedTo == "" {
		return store.User{}, store.ErrNotFound
	}
	linked, err := d.cfg.Stores.Users.User(ctx, u.TenantID, u.LinkedTo)
	// An identifier that was given to somebody else since leads nowhere.
	if err == nil && (linked.CreatedAt.After(u.CreatedAt) || linked.ID == u.ID) {
		return store.User{}, store.ErrNotFound
	}
	return linked, err
}
