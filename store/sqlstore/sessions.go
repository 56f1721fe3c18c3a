package sqlstore

import (
	"context"
	"time"

	"github.com/opkit/opkit/store"
)

type sessions struct {
	create, get, versionOf, update, remove, list, collect *statement
}

func newSessions(db *database) *sessions {
	const columns = `tenant_id, id, sid, user_id, connection_id, amr, acr, client_ids,
		version, authenticated_at, created_at, expires_at`
	return &sessions{
		create: db.write("create session", `
			INSERT INTO {prefix}sessions (`+columns+`)
			VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 1, ?9, ?10, ?11)
			ON CONFLICT DO NOTHING`),
		get: db.read("read session", `
			SELECT `+columns+` FROM {prefix}sessions
			WHERE tenant_id = ?1 AND id = ?2 AND expires_at > ?3`),
		versionOf: db.read("read version of session", `
			SELECT version FROM {prefix}sessions
			WHERE tenant_id = ?1 AND id = ?2 AND expires_at > ?3`),
		update: db.write("update session", `
			UPDATE {prefix}sessions SET sid = ?5, user_id = ?6, connection_id = ?7, amr = ?8, acr = ?9, client_ids = ?10,
				version = version + 1, authenticated_at = ?11, created_at = ?12, expires_at = ?13
			WHERE tenant_id = ?1 AND id = ?2 AND expires_at > ?3 AND version = ?4`),
		remove: db.erase("delete session", `
			DELETE FROM {prefix}sessions WHERE tenant_id = ?1 AND id = ?2`),
		list: db.read("list sessions of user", `
			SELECT `+columns+` FROM {prefix}sessions
			WHERE tenant_id = ?1 AND user_id = ?2 AND id > ?3 AND expires_at > ?4 ORDER BY id LIMIT ?5`),
		collect: db.collect("collect sessions", "sessions", "tenant_id, id"),
	}
}

func scanSession(r row) (store.Session, error) {
	var s store.Session
	err := r.Scan(&s.TenantID, digestColumn{&s.ID}, &s.SID, &s.UserID, &s.ConnectionID,
		jsonColumn{&s.AMR}, &s.ACR, jsonColumn{&s.ClientIDs}, &s.Version,
		timeColumn{&s.AuthenticatedAt}, timeColumn{&s.CreatedAt}, timeColumn{&s.ExpiresAt})
	return s, err
}

func (s *sessions) CreateSession(ctx context.Context, session store.Session) error {
	amr, clients, err := encodeSession(session)
	if err != nil {
		return err
	}
	return created(s.create.exec(ctx, session.TenantID, session.ID.String(), session.SID, session.UserID,
		session.ConnectionID, amr, session.ACR, clients,
		micros(session.AuthenticatedAt), micros(session.CreatedAt), micros(session.ExpiresAt)))
}

func (s *sessions) Session(ctx context.Context, tenant string, id store.Digest, now time.Time) (store.Session, error) {
	return queryOne(ctx, s.get, scanSession, tenant, id.String(), micros(now))
}

func (s *sessions) UpdateSession(ctx context.Context, session store.Session, now time.Time) error {
	amr, clients, err := encodeSession(session)
	if err != nil {
		return err
	}
	id := session.ID.String()
	n, err := s.update.exec(ctx, session.TenantID, id, micros(now), session.Version,
		session.SID, session.UserID, session.ConnectionID, amr, session.ACR, clients,
		micros(session.AuthenticatedAt), micros(session.CreatedAt), micros(session.ExpiresAt))
	if err != nil || n > 0 {
		return err
	}
	return refused(ctx, s.versionOf, session.Version, false, session.TenantID, id, micros(now))
}

func encodeSession(session store.Session) (amr, clients string, err error) {
	if amr, err = encode(session.AMR); err == nil {
		clients, err = encode(session.ClientIDs)
	}
	return amr, clients, err
}

func (s *sessions) DeleteSession(ctx context.Context, tenant string, id store.Digest) error {
	_, err := s.remove.exec(ctx, tenant, id.String())
	return err
}

func (s *sessions) UserSessions(ctx context.Context, tenant, user string, page store.Page, now time.Time) ([]store.Session, error) {
	return queryAll(ctx, s.list, scanSession, tenant, user, s.list.after(page), micros(now), page.Size())
}

func (s *sessions) CollectSessions(ctx context.Context, now time.Time, limit int) (int, error) {
	return collect(ctx, s.collect, now, limit)
}
