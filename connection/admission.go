package connection

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// Usable lists the connections that client may use now, ordered by identifier:
// domain connections for a third-party client, those that list it for a
// first-party one, and both for a first-party one that registered itself. The list
// may be empty. ErrNotAllowed: client registered itself and the tenant has switched
// dynamic registration off.
//
// The records are shared and must not be modified; the slice is the caller's.
func (d *Directory) Usable(ctx context.Context, t *tenant.Tenant, client *store.Client) ([]store.Connection, error) {
	if err := checkClient(t, client); err != nil {
		return nil, err
	}
	all, err := d.all(ctx, t.ID())
	if err != nil {
		return nil, err
	}
	var usable []store.Connection
	for i := range all {
		if d.check(&all[i], client) == nil {
			usable = append(usable, all[i])
		}
	}
	return usable, nil
}

// Admit is the check at use, on every path that is about to serve a user: login,
// resume, code redemption, refresh, userinfo. client may use the connection now,
// and the user exists, belongs to the connection and is not blocked. It returns
// the user, ErrNotAllowed wrapped with the reason for the log, or a system error.
//
// It reads the tenant's connections, which a cache answers, and the user, which
// none may: one store call. What user of a host connection is asked is said at
// [Host].
func (d *Directory) Admit(ctx context.Context, t *tenant.Tenant, client *store.Client, connectionID, userID string) (store.User, error) {
	conn, err := d.permitted(ctx, t, client, connectionID)
	if err != nil {
		return store.User{}, err
	}
	return d.admit(ctx, t, conn, userID)
}

// Offered lists the connections with which users sign in to pages of the provider's
// own, where no client asks: those that some client may use, ordered by identifier.
//
// The records are shared and must not be modified; the slice is the caller's.
func (d *Directory) Offered(ctx context.Context, t *tenant.Tenant) ([]store.Connection, error) {
	all, err := d.all(ctx, t.ID())
	if err != nil {
		return nil, err
	}
	var offered []store.Connection
	for i := range all {
		if d.checkOffered(&all[i]) == nil {
			offered = append(offered, all[i])
		}
	}
	return offered, nil
}

// AdmitUser is [Directory.Admit] for pages of the provider's own: the connection is
// one of [Directory.Offered].
func (d *Directory) AdmitUser(ctx context.Context, t *tenant.Tenant, connectionID, userID string) (store.User, error) {
	conn, err := d.byID(ctx, t, connectionID)
	if err == nil {
		err = d.checkOffered(conn)
	}
	if err != nil {
		return store.User{}, err
	}
	return d.admit(ctx, t, conn, userID)
}

// Connection returns a connection by its identifier, from where the checks have theirs.
// ErrNotAllowed: there is none (any more). The record is shared and must not be
// modified.
func (d *Directory) Connection(ctx context.Context, t *tenant.Tenant, id string) (store.Connection, error) {
	conn, err := d.byID(ctx, t, id)
	if err != nil {
		return store.Connection{}, err
	}
	return *conn, nil
}

// admit returns the user of the connection, if they may be served.
func (d *Directory) admit(ctx context.Context, t *tenant.Tenant, conn *store.Connection, userID string) (user store.User, err error) {
	if host, ok := d.Host(conn); ok {
		user, err = d.hostUser(ctx, t, conn, host, userID)
	} else {
		user, err = d.cfg.Stores.Users.User(ctx, t.ID(), userID)
	}
	switch {
	case errors.Is(err, store.ErrNotFound):
		return store.User{}, notAllowed("the user does not exist (any more)")
	case err != nil:
		return store.User{}, err
	case user.ID != userID || user.ConnectionID != conn.ID:
		return store.User{}, notAllowed("the user does not belong to the connection")
	case user.Blocked:
		return store.User{}, notAllowed("the user is blocked")
	}
	return user, nil
}

// permitted returns the connection if client may use it now.
func (d *Directory) permitted(ctx context.Context, t *tenant.Tenant, client *store.Client, connectionID string) (*store.Connection, error) {
	if err := checkClient(t, client); err != nil {
		return nil, err
	}
	conn, err := d.byID(ctx, t, connectionID)
	if err != nil {
		return nil, err
	}
	if err := d.check(conn, client); err != nil {
		return nil, err
	}
	return conn, nil
}

// byID returns the connection, ErrNotAllowed if there is none.
func (d *Directory) byID(ctx context.Context, t *tenant.Tenant, id string) (*store.Connection, error) {
	all, err := d.all(ctx, t.ID())
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(all, func(c store.Connection) bool { return c.ID == id })
	if i < 0 {
		return nil, notAllowed("the connection does not exist (any more)")
	}
	return &all[i], nil
}

func notAllowed(reason string) error { return fmt.Errorf("%w: %s", ErrNotAllowed, reason) }

// checkClient applies the rules that hold whatever the connection.
func checkClient(t *tenant.Tenant, client *store.Client) error {
	switch {
	case client.TenantID != t.ID():
		return notAllowed("the client belongs to another tenant")
	case !t.Settings().Flags.Serves(client):
		return notAllowed("the client is blocked, or the way in which it became known is switched off")
	}
	return nil
}

// check says whether client may use the connection.
func (d *Directory) check(c *store.Connection, client *store.Client) error {
	switch {
	case client.FirstParty && slices.Contains(c.EnabledClients, client.ID):
	case client.FirstParty && !client.Dynamic:
		return notAllowed("the connection does not list the client")
	case !c.IsDomainConnection:
		return notAllowed("the connection is not a domain connection")
	}
	return d.checkServed(c)
}

// checkOffered says whether users can sign in with the connection at all.
func (d *Directory) checkOffered(c *store.Connection) error {
	if !c.IsDomainConnection && len(c.EnabledClients) == 0 {
		return notAllowed("the connection is enabled for no client")
	}
	return d.checkServed(c)
}

func (d *Directory) checkServed(c *store.Connection) error {
	if c.Strategy == StrategyDatabase {
		return nil
	}
	if _, ok := d.Host(c); ok {
		return nil
	}
	if IsUpstream(c) && d.servesUpstreams() {
		return nil
	}
	return notAllowed("this process does not serve the connection")
}

// all lists the tenant's connections. A tenant has few: more than one page is
// rare.
func (d *Directory) all(ctx context.Context, tenant string) ([]store.Connection, error) {
	page := store.Page{}
	all, err := d.cfg.Stores.Connections.Connections(ctx, tenant, page)
	for last := all; err == nil && len(last) == store.MaxPageLimit; {
		page.After = last[len(last)-1].ID
		last, err = d.cfg.Stores.Connections.Connections(ctx, tenant, page)
		all = append(all[:len(all):len(all)], last...)
	}
	if err != nil {
		return nil, err
	}
	return all, nil
}
