package memstore

import (
	"context"
	"time"

	"github.com/opkit/opkit/store"
)

func userID(u *store.User) string { return u.ID }

func userTenant(u *store.User) group { return group{tenant: u.TenantID} }

func userConnection(u *store.User) group { return group{u.TenantID, u.ConnectionID} }

// The indexes of the orders in userSchema.
const (
	usersOfTenant = iota
	usersOfConnection
)

var userSchema = schema[key, store.User]{
	key:     func(u *store.User) key { return key{u.TenantID, u.ID} },
	version: func(u *store.User) *int64 { return &u.Version },
	unique:  userLogins,
	orders: []order[store.User]{
		usersOfTenant:     byID(userTenant, userID),
		usersOfConnection: byID(userConnection, userID),
	},
}

func login(tenant, connection, login string) claim {
	return claim{tenant: tenant, a: connection, b: login}
}

// userLogins makes no difference between usernames and emails, so that one
// user's username never equals another's email.
func userLogins(u *store.User) []claim {
	var logins []claim
	if u.Username != "" {
		logins = append(logins, login(u.TenantID, u.ConnectionID, u.Username))
	}
	if u.Email != "" && u.Email != u.Username {
		logins = append(logins, login(u.TenantID, u.ConnectionID, u.Email))
	}
	return logins
}

func storedUser(u store.User) *store.User {
	u = u.Clone()
	u.CreatedAt = utc(u.CreatedAt)
	u.UpdatedAt = utc(u.UpdatedAt)
	u.PasswordSetAt, u.LinkedAt, u.LinkedPasswordSetAt = utc(u.PasswordSetAt), utc(u.LinkedAt), utc(u.LinkedPasswordSetAt)
	return &u
}

// User implements [store.UserStore].
func (s *Store) User(ctx context.Context, tenant, id string) (store.User, error) {
	if err := ctx.Err(); err != nil {
		return store.User{}, err
	}
	u := s.users.get(key{tenant, id})
	if u == nil {
		return store.User{}, store.ErrNotFound
	}
	return u.Clone(), nil
}

// UserByLogin implements [store.UserStore].
func (s *Store) UserByLogin(ctx context.Context, tenant, connection, name string) (store.User, error) {
	if err := ctx.Err(); err != nil {
		return store.User{}, err
	}
	u := s.users.find(login(tenant, connection, name))
	if u == nil {
		return store.User{}, store.ErrNotFound
	}
	return u.Clone(), nil
}

// CreateUser implements [store.UserAdmin].
func (s *Store) CreateUser(ctx context.Context, u store.User) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.users.create(storedUser(u))
}

// UpdateUser implements [store.UserAdmin].
func (s *Store) UpdateUser(ctx context.Context, u store.User) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.users.update(storedUser(u), time.Time{})
}

// DeleteUser implements [store.UserAdmin].
func (s *Store) DeleteUser(ctx context.Context, tenant, id string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.users.remove(key{tenant, id})
	return nil
}

// Users implements [store.UserAdmin].
func (s *Store) Users(ctx context.Context, tenant, connection string, p store.Page) ([]store.User, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if connection == "" {
		return clones(s.users.page(usersOfTenant, group{tenant: tenant}, userID, p, nil)), nil
	}
	return clones(s.users.page(usersOfConnection, group{tenant, connection}, userID, p, nil)), nil
}
