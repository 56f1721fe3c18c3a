package sqlstore

import (
	"context"
	"errors"
	"time"

	"github.com/opkit/opkit/store"
)

type families struct {
	start, get, rotate, getGranted, revoke, collect *statement
	ofUser                                          *statement
	revokeAll                                       filter
}

func newFamilies(db *database) families {
	const columns = `tenant_id, id, grant_id, user_id, client_id, sid, generation,
		created_at, rotated_at, revoked_at, expires_at, offline`
	return families{
		// The grant's existence and the code's single use are decided in one
		// statement: there is nothing between the two to race with. The grant stays
		// locked until the family is there, so that DeleteGrant finds it.
		start: db.write("start family", `
			INSERT INTO {prefix}families AS f (`+columns+`)
			SELECT g.tenant_id, ?2, g.id, ?4, ?5, ?6, 0, ?7, NULL, NULL, ?8, ?10
			FROM {prefix}grants AS g WHERE g.tenant_id = ?1 AND g.id = ?3 {lock}
			ON CONFLICT (tenant_id, id) DO UPDATE SET grant_id = excluded.grant_id, user_id = excluded.user_id,
				client_id = excluded.client_id, sid = excluded.sid, generation = 0, created_at = excluded.created_at,
				rotated_at = NULL, revoked_at = NULL, expires_at = excluded.expires_at, offline = excluded.offline
			WHERE f.expires_at <= ?9`),
		get: db.read("read family", `
			SELECT `+columns+` FROM {prefix}families
			WHERE tenant_id = ?1 AND id = ?2 AND expires_at > ?3`),
		rotate: db.write("rotate family", `
			UPDATE {prefix}families AS f SET generation = generation + 1, rotated_at = ?4, expires_at = ?5
			WHERE tenant_id = ?1 AND id = ?2 AND generation = ?3 AND revoked_at IS NULL AND expires_at > ?4
				AND EXISTS (SELECT 1 FROM {prefix}grants AS g WHERE g.tenant_id = ?1 AND g.id = f.grant_id)
			RETURNING `+columns),
		getGranted: db.read("read family with grant", `
			SELECT `+columns+` FROM {prefix}families AS f
			WHERE tenant_id = ?1 AND id = ?2 AND expires_at > ?3
				AND EXISTS (SELECT 1 FROM {prefix}grants AS g WHERE g.tenant_id = ?1 AND g.id = f.grant_id)`),
		revoke: db.erase("revoke family", `
			UPDATE {prefix}families SET revoked_at = COALESCE(revoked_at, ?4),
				expires_at = CASE WHEN expires_at < ?3 THEN ?3 ELSE expires_at END
			WHERE tenant_id = ?1 AND id = ?2 AND expires_at > ?4`),
		collect: db.collect("collect families", "families", "tenant_id, id"),
		ofUser: db.read("list families of user", `
			SELECT `+columns+` FROM {prefix}families
			WHERE tenant_id = ?1 AND user_id = ?2 AND id > ?3 AND revoked_at IS NULL AND expires_at > ?4 ORDER BY id LIMIT ?5`),
		revokeAll: newFilter(3, []string{"sid", "user_id", "client_id"}, func(conditions string) *statement {
			if conditions == "" {
				return nil // an empty filter selects nothing
			}
			return db.erase("revoke families", `
				UPDATE {prefix}families SET revoked_at = ?3,
					expires_at = CASE WHEN expires_at < ?2 THEN ?2 ELSE expires_at END
				WHERE tenant_id = ?1 AND revoked_at IS NULL AND expires_at > ?3`+conditions)
		}),
	}
}

func scanFamily(r row) (store.Family, error) {
	var f store.Family
	var offline int64
	err := r.Scan(&f.TenantID, &f.ID, &f.GrantID, &f.UserID, &f.ClientID, &f.SID, &f.Generation,
		timeColumn{&f.CreatedAt}, timeColumn{&f.RotatedAt}, timeColumn{&f.RevokedAt}, timeColumn{&f.ExpiresAt}, &offline)
	f.Offline = offline != 0
	return f, err
}

func (s *families) StartFamily(ctx context.Context, f store.Family, now time.Time) (store.Family, error) {
	n, err := s.start.exec(ctx, f.TenantID, f.ID, f.GrantID, f.UserID, f.ClientID, f.SID,
		micros(f.CreatedAt), micros(f.ExpiresAt), micros(now), number(f.Offline))
	if err != nil {
		return store.Family{}, err
	}
	if n == 0 {
		// Redeemed before, or the grant is gone, or both. Not the winner in any
		// case.
		f, err := s.Family(ctx, f.TenantID, f.ID, now)
		if err == nil {
			err = store.ErrConsumed
		}
		return f, err
	}
	f.Generation, f.RotatedAt, f.RevokedAt = 0, time.Time{}, time.Time{}
	f.CreatedAt, f.ExpiresAt = precise(f.CreatedAt), precise(f.ExpiresAt)
	return f, nil
}

func (s *families) Family(ctx context.Context, tenant, id string, now time.Time) (store.Family, error) {
	f, err := queryOne(ctx, s.get, scanFamily, tenant, id, micros(now))
	if err == nil && !f.RevokedAt.IsZero() {
		err = store.ErrConsumed
	}
	return f, err
}

func (s *families) RotateFamily(ctx context.Context, tenant, id string, generation int64, expiresAt, now time.Time) (store.Family, error) {
	f, err := queryOne(ctx, s.rotate, scanFamily, tenant, id, generation, micros(now), micros(expiresAt))
	if !errors.Is(err, store.ErrNotFound) {
		return f, err
	}
	f, err = queryOne(ctx, s.getGranted, scanFamily, tenant, id, micros(now))
	if err == nil {
		err = store.ErrConsumed
	}
	return f, err
}

func (s *families) RevokeFamily(ctx context.Context, tenant, id string, until, now time.Time) error {
	_, err := s.revoke.exec(ctx, tenant, id, micros(until), micros(now))
	return err
}

func (s *families) RevokeFamilies(ctx context.Context, tenant string, filter store.FamilyFilter, until, now time.Time) (int, error) {
	if filter == (store.FamilyFilter{}) {
		return 0, ctx.Err()
	}
	revoke, args := s.revokeAll.with([]string{filter.SID, filter.UserID, filter.ClientID}, tenant, micros(until), micros(now))
	n, err := revoke.exec(ctx, args...)
	return int(n), err
}

func (s *families) UserFamilies(ctx context.Context, tenant, user string, page store.Page, now time.Time) ([]store.Family, error) {
	return queryAll(ctx, s.ofUser, scanFamily, tenant, user, s.ofUser.after(page), micros(now), page.Size())
}

func (s *families) CollectFamilies(ctx context.Context, now time.Time, limit int) (int, error) {
	return collect(ctx, s.collect, now, limit)
}
