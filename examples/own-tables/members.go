package main

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"

	"github.com/opkit/opkit/store"
)

// members is a [store.UserStore] over the library's members. A branch is a tenant.
type members struct {
	db *sql.DB
	// connection is the identifier of the connection that all of them belong to.
	connection string
}

const selectMember = `SELECT card, full_name, coalesce(handle, ''), coalesce(mail, ''), mail_seen, suspended, password, joined
	FROM members WHERE branch = ? AND `

// User implements [store.UserStore].
func (m *members) User(ctx context.Context, tenant, id string) (store.User, error) {
	return m.read(ctx, tenant, selectMember+"card = ?", tenant, id)
}

// UserByLogin implements [store.UserStore]. Members may type their handle or their
// address. An empty login is nobody's.
func (m *members) UserByLogin(ctx context.Context, tenant, connection, login string) (store.User, error) {
	if connection != m.connection || login == "" {
		return store.User{}, errors.Join(store.ErrNotFound, ctx.Err())
	}
	return m.read(ctx, tenant, selectMember+"(lower(handle) = ? OR lower(mail) = ?)", tenant, login, login)
}

func (m *members) read(ctx context.Context, tenant, query string, args ...any) (store.User, error) {
	u := store.User{TenantID: tenant, ConnectionID: m.connection, Version: 1}
	var joined int64
	err := m.db.QueryRowContext(ctx, query, args...).Scan(
		&u.ID, &u.Profile.Name, &u.Username, &u.Email, &u.EmailVerified, &u.Blocked, &u.PasswordHash, &joined)
	if errors.Is(err, sql.ErrNoRows) {
		return store.User{}, store.ErrNotFound
	}
	if err != nil {
		return store.User{}, err
	}
	// opkit compares logins in lower case; the library keeps them as they were typed.
	// (SQLite's lower knows ASCII only, so that a member É could not sign in.)
	u.Profile.PreferredUsername = u.Username
	u.Username, u.Email = strings.ToLower(u.Username), strings.ToLower(u.Email)
	u.CreatedAt = time.Unix(joined, 0).UTC()
	u.UpdatedAt = u.CreatedAt
	return u, nil
}
