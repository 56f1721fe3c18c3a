package sqlstore

import (
	"context"

	"github.com/opkit/opkit/store"
)

type apis struct {
	create, get, byAudience, versionOf, update, remove, list *statement
}

func newAPIs(db *database) *apis {
	const columns = "tenant_id, id, audience, version, record"
	return &apis{
		create: db.write("create API", `
			INSERT INTO {prefix}apis (`+columns+`) VALUES (?1, ?2, ?3, 1, ?4)
			ON CONFLICT DO NOTHING`),
		get: db.read("read API", `
			SELECT `+columns+` FROM {prefix}apis WHERE tenant_id = ?1 AND id = ?2`),
		byAudience: db.read("find API", `
			SELECT `+columns+` FROM {prefix}apis WHERE tenant_id = ?1 AND audience = ?2`),
		versionOf: db.read("read version of API", `
			SELECT version FROM {prefix}apis WHERE tenant_id = ?1 AND id = ?2`),
		update: db.write("update API", `
			UPDATE {prefix}apis SET version = version + 1, record = ?4
			WHERE tenant_id = ?1 AND id = ?2 AND version = ?3`),
		remove: db.erase("delete API", `
			DELETE FROM {prefix}apis WHERE tenant_id = ?1 AND id = ?2`),
		list: db.read("list APIs", `
			SELECT `+columns+` FROM {prefix}apis
			WHERE tenant_id = ?1 AND id > ?2 ORDER BY id LIMIT ?3`),
	}
}

func scanAPI(r row) (store.API, error) {
	var a, columns store.API
	if err := r.Scan(&columns.TenantID, &columns.ID, &columns.Audience, &columns.Version, jsonColumn{&a}); err != nil {
		return store.API{}, err
	}
	a.TenantID, a.ID, a.Audience, a.Version = columns.TenantID, columns.ID, columns.Audience, columns.Version
	return a, nil
}

func encodeAPI(a store.API) (string, error) {
	a.CreatedAt, a.UpdatedAt = precise(a.CreatedAt), precise(a.UpdatedAt)
	return encode(a)
}

func (s *apis) CreateAPI(ctx context.Context, a store.API) error {
	record, err := encodeAPI(a)
	if err != nil {
		return err
	}
	return created(s.create.exec(ctx, a.TenantID, a.ID, a.Audience, record))
}

func (s *apis) API(ctx context.Context, tenant, id string) (store.API, error) {
	return queryOne(ctx, s.get, scanAPI, tenant, id)
}

func (s *apis) APIByAudience(ctx context.Context, tenant, audience string) (store.API, error) {
	return queryOne(ctx, s.byAudience, scanAPI, tenant, audience)
}

func (s *apis) UpdateAPI(ctx context.Context, a store.API) error {
	record, err := encodeAPI(a)
	if err != nil {
		return err
	}
	n, err := s.update.exec(ctx, a.TenantID, a.ID, a.Version, record)
	if err != nil || n > 0 {
		return err
	}
	return refused(ctx, s.versionOf, a.Version, false, a.TenantID, a.ID)
}

func (s *apis) DeleteAPI(ctx context.Context, tenant, id string) error {
	_, err := s.remove.exec(ctx, tenant, id)
	return err
}

func (s *apis) APIs(ctx context.Context, tenant string, page store.Page) ([]store.API, error) {
	return queryAll(ctx, s.list, scanAPI, tenant, s.list.after(page), page.Size())
}
