package sqlstore

import (
	"context"
	"database/sql"

	"github.com/opkit/opkit/store"
)

type users struct {
	db                                     *database
	create, get, versionOf, update, remove *statement
	byLogin, addLogin, removeLogins        *statement
	listTenant, listConnection             *statement
}

func newUsers(db *database) *users {
	const columns = "tenant_id, id, connection_id, version, app_metadata, user_metadata, record"
	return &users{
		db: db,
		create: db.write("create user", `
			INSERT INTO {prefix}users (`+columns+`) VALUES (?1, ?2, ?3, 1, ?4, ?5, ?6)
			ON CONFLICT DO NOTHING`),
		get: db.read("read user", `
			SELECT `+columns+` FROM {prefix}users WHERE tenant_id = ?1 AND id = ?2`),
		versionOf: db.read("read version of user", `
			SELECT version FROM {prefix}users WHERE tenant_id = ?1 AND id = ?2`),
		update: db.write("update user", `
			UPDATE {prefix}users SET connection_id = ?4, version = version + 1,
				app_metadata = ?5, user_metadata = ?6, record = ?7
			WHERE tenant_id = ?1 AND id = ?2 AND version = ?3`),
		remove: db.erase("delete user", `
			DELETE FROM {prefix}users WHERE tenant_id = ?1 AND id = ?2`),
		byLogin: db.read("find user", `
			SELECT u.tenant_id, u.id, u.connection_id, u.version, u.app_metadata, u.user_metadata, u.record
			FROM {prefix}user_logins AS l
			JOIN {prefix}users AS u ON u.tenant_id = l.tenant_id AND u.id = l.user_id
			WHERE l.tenant_id = ?1 AND l.connection_id = ?2 AND l.login = ?3`),
		addLogin: db.write("add login of user", `
			INSERT INTO {prefix}user_logins (tenant_id, connection_id, login, user_id) VALUES (?1, ?2, ?3, ?4)
			ON CONFLICT DO NOTHING`),
		removeLogins: db.erase("remove logins of user", `
			DELETE FROM {prefix}user_logins WHERE tenant_id = ?1 AND user_id = ?2`),
		listTenant: db.read("list users", `
			SELECT `+columns+` FROM {prefix}users
			WHERE tenant_id = ?1 AND id > ?2 ORDER BY id LIMIT ?3`),
		listConnection: db.read("list users of connection", `
			SELECT `+columns+` FROM {prefix}users
			WHERE tenant_id = ?1 AND connection_id = ?2 AND id > ?3 ORDER BY id LIMIT ?4`),
	}
}

func scanUser(r row) (store.User, error) {
	var u, columns store.User
	if err := r.Scan(&columns.TenantID, &columns.ID, &columns.ConnectionID, &columns.Version,
		(*[]byte)(&columns.AppMetadata), (*[]byte)(&columns.UserMetadata), jsonColumn{&u}); err != nil {
		return store.User{}, err
	}
	u.TenantID, u.ID, u.ConnectionID, u.Version = columns.TenantID, columns.ID, columns.ConnectionID, columns.Version
	u.AppMetadata, u.UserMetadata = columns.AppMetadata, columns.UserMetadata
	return u, nil
}

func encodeUser(u store.User) (string, error) {
	u.AppMetadata, u.UserMetadata = nil, nil
	u.CreatedAt, u.UpdatedAt = precise(u.CreatedAt), precise(u.UpdatedAt)
	u.PasswordSetAt, u.LinkedAt, u.LinkedPasswordSetAt = precise(u.PasswordSetAt), precise(u.LinkedAt), precise(u.LinkedPasswordSetAt)
	return encode(u)
}

func (s *users) User(ctx context.Context, tenant, id string) (store.User, error) {
	return queryOne(ctx, s.get, scanUser, tenant, id)
}

func (s *users) UserByLogin(ctx context.Context, tenant, connection, login string) (store.User, error) {
	return queryOne(ctx, s.byLogin, scanUser, tenant, connection, login)
}

func (s *users) CreateUser(ctx context.Context, u store.User) error {
	record, err := encodeUser(u)
	if err != nil {
		return err
	}
	return s.db.atomically(ctx, s.create.name, func(tx *sql.Tx) error {
		if err := created(s.create.execIn(ctx, tx, u.TenantID, u.ID, u.ConnectionID,
			[]byte(u.AppMetadata), []byte(u.UserMetadata), record)); err != nil {
			return err
		}
		return s.addLogins(ctx, tx, u)
	})
}

func (s *users) UpdateUser(ctx context.Context, u store.User) error {
	record, err := encodeUser(u)
	if err != nil {
		return err
	}
	var replaced bool
	err = s.db.atomically(ctx, s.update.name, func(tx *sql.Tx) error {
		replaced = false
		n, err := s.update.execIn(ctx, tx, u.TenantID, u.ID, u.Version, u.ConnectionID,
			[]byte(u.AppMetadata), []byte(u.UserMetadata), record)
		if err != nil || n == 0 {
			return err
		}
		replaced = true
		if _, err := s.removeLogins.execIn(ctx, tx, u.TenantID, u.ID); err != nil {
			return err
		}
		return s.addLogins(ctx, tx, u)
	})
	if err != nil || replaced {
		return err
	}
	return refused(ctx, s.versionOf, u.Version, false, u.TenantID, u.ID)
}

// addLogins takes the names that u signs in with. ErrExists: another user has one.
func (s *users) addLogins(ctx context.Context, tx *sql.Tx, u store.User) error {
	// In order, so that two users with the same names do not wait for each other.
	logins := []string{min(u.Username, u.Email), max(u.Username, u.Email)}
	if u.Email == u.Username {
		logins = logins[:1]
	}
	for _, login := range logins {
		if login == "" {
			continue
		}
		if err := created(s.addLogin.execIn(ctx, tx, u.TenantID, u.ConnectionID, login, u.ID)); err != nil {
			return err
		}
	}
	return nil
}

func (s *users) DeleteUser(ctx context.Context, tenant, id string) error {
	return s.db.atomically(ctx, s.remove.name, func(tx *sql.Tx) error {
		// The user first, as in UpdateUser: who holds the user's row is alone with
		// its logins.
		if _, err := s.remove.execIn(ctx, tx, tenant, id); err != nil {
			return err
		}
		_, err := s.removeLogins.execIn(ctx, tx, tenant, id)
		return err
	})
}

func (s *users) Users(ctx context.Context, tenant, connection string, page store.Page) ([]store.User, error) {
	if connection == "" {
		return queryAll(ctx, s.listTenant, scanUser, tenant, s.listTenant.after(page), page.Size())
	}
	return queryAll(ctx, s.listConnection, scanUser, tenant, connection, s.listConnection.after(page), page.Size())
}
