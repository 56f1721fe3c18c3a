package sqlstore

import (
	"context"
	"database/sql"
	"time"

	"github.com/opkit/opkit/store"
)

// grants keeps grants and, through families, the families under them.
type grants struct {
	families
	db                                          *database
	create, get, alive, find, versionOf, update *statement
	remove, removeFamilies                      *statement
	list                                        filter
}

func newGrants(db *database) *grants {
	const columns = `tenant_id, id, user_id, client_id, audience, scopes, claims, connection_id, client_revision,
		version, created_at, updated_at`
	return &grants{
		families: newFamilies(db),
		db:       db,
		create: db.write("create grant", `
			INSERT INTO {prefix}grants (`+columns+`) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 1, ?10, ?11)
			ON CONFLICT DO NOTHING`),
		get: db.read("read grant", `
			SELECT `+columns+` FROM {prefix}grants WHERE tenant_id = ?1 AND id = ?2`),
		alive: db.read("read grant of family", `
			SELECT `+columns+` FROM {prefix}grants
			WHERE tenant_id = ?1 AND id = ?2 AND EXISTS (
				SELECT 1 FROM {prefix}families AS f
				WHERE f.tenant_id = ?1 AND f.id = ?3 AND f.grant_id = ?2
					AND f.revoked_at IS NULL AND f.expires_at > ?4)`),
		find: db.read("find grant", `
			SELECT `+columns+` FROM {prefix}grants
			WHERE tenant_id = ?1 AND user_id = ?2 AND client_id = ?3 AND audience = ?4`),
		versionOf: db.read("read version of grant", `
			SELECT version FROM {prefix}grants WHERE tenant_id = ?1 AND id = ?2`),
		update: db.write("update grant", `
			UPDATE {prefix}grants SET scopes = ?4, claims = ?5, connection_id = ?6, client_revision = ?7, version = version + 1,
				created_at = ?8, updated_at = ?9
			WHERE tenant_id = ?1 AND id = ?2 AND version = ?3`),
		remove: db.erase("delete grant", `
			DELETE FROM {prefix}grants WHERE tenant_id = ?1 AND id = ?2`),
		removeFamilies: db.erase("delete families of grant", `
			DELETE FROM {prefix}families WHERE tenant_id = ?1 AND grant_id = ?2`),
		list: newFilter(3, []string{"user_id", "client_id"}, func(conditions string) *statement {
			return db.read("list grants", `
				SELECT `+columns+` FROM {prefix}grants
				WHERE tenant_id = ?1 AND id > ?2`+conditions+` ORDER BY id LIMIT ?3`)
		}),
	}
}

func scanGrant(r row) (store.Grant, error) {
	var g store.Grant
	err := r.Scan(&g.TenantID, &g.ID, &g.UserID, &g.ClientID, &g.Audience, jsonColumn{&g.Scopes}, jsonColumn{&g.Claims}, &g.ConnectionID,
		&g.ClientRevision, &g.Version, timeColumn{&g.CreatedAt}, timeColumn{&g.UpdatedAt})
	return g, err
}

func (s *grants) CreateGrant(ctx context.Context, g store.Grant) error {
	scopes, err := encode(g.Scopes)
	if err != nil {
		return err
	}
	claims, err := encode(g.Claims)
	if err != nil {
		return err
	}
	return created(s.create.exec(ctx, g.TenantID, g.ID, g.UserID, g.ClientID, g.Audience, scopes, claims, g.ConnectionID, g.ClientRevision,
		micros(g.CreatedAt), micros(g.UpdatedAt)))
}

func (s *grants) Grant(ctx context.Context, tenant, id, family string, now time.Time) (store.Grant, error) {
	if family == "" {
		return queryOne(ctx, s.get, scanGrant, tenant, id)
	}
	return queryOne(ctx, s.alive, scanGrant, tenant, id, family, micros(now))
}

func (s *grants) FindGrant(ctx context.Context, tenant, user, client, audience string) (store.Grant, error) {
	return queryOne(ctx, s.find, scanGrant, tenant, user, client, audience)
}

func (s *grants) UpdateGrant(ctx context.Context, g store.Grant) error {
	scopes, err := encode(g.Scopes)
	if err != nil {
		return err
	}
	claims, err := encode(g.Claims)
	if err != nil {
		return err
	}
	n, err := s.update.exec(ctx, g.TenantID, g.ID, g.Version, scopes, claims, g.ConnectionID, g.ClientRevision,
		micros(g.CreatedAt), micros(g.UpdatedAt))
	if err != nil || n > 0 {
		return err
	}
	return refused(ctx, s.versionOf, g.Version, false, g.TenantID, g.ID)
}

func (s *grants) DeleteGrant(ctx context.Context, tenant, id string) error {
	return s.db.atomically(ctx, s.remove.name, func(tx *sql.Tx) error {
		// The grant first: StartFamily locks it, so that whatever it started is
		// there for the second statement to see.
		if _, err := s.remove.execIn(ctx, tx, tenant, id); err != nil {
			return err
		}
		_, err := s.removeFamilies.execIn(ctx, tx, tenant, id)
		return err
	})
}

func (s *grants) Grants(ctx context.Context, tenant string, filter store.GrantFilter, page store.Page) ([]store.Grant, error) {
	list, args := s.list.with([]string{filter.UserID, filter.ClientID}, tenant, s.db.after(page), page.Size())
	return queryAll(ctx, list, scanGrant, args...)
}
