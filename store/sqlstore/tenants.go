package sqlstore

import (
	"context"

	"github.com/opkit/opkit/store"
)

type tenants struct {
	create, get, versionOf, update, list *statement
}

func newTenants(db *database) *tenants {
	return &tenants{
		create: db.write("create tenant", `
			INSERT INTO {prefix}tenants (id, version, record) VALUES (?1, 1, ?2)
			ON CONFLICT DO NOTHING`),
		get: db.read("read tenant", `
			SELECT id, version, record FROM {prefix}tenants WHERE id = ?1`),
		versionOf: db.read("read version of tenant", `
			SELECT version FROM {prefix}tenants WHERE id = ?1`),
		update: db.write("update tenant", `
			UPDATE {prefix}tenants SET version = version + 1, record = ?3
			WHERE id = ?1 AND version = ?2`),
		list: db.read("list tenants", `
			SELECT id, version, record FROM {prefix}tenants
			WHERE id > ?1 ORDER BY id LIMIT ?2`),
	}
}

func scanTenant(r row) (store.Tenant, error) {
	var t store.Tenant
	var id string
	var version int64
	if err := r.Scan(&id, &version, jsonColumn{&t}); err != nil {
		return store.Tenant{}, err
	}
	t.ID, t.Version = id, version
	return t, nil
}

func encodeTenant(t store.Tenant) (string, error) {
	t.CreatedAt, t.UpdatedAt = precise(t.CreatedAt), precise(t.UpdatedAt)
	return encode(t)
}

func (s *tenants) CreateTenant(ctx context.Context, t store.Tenant) error {
	record, err := encodeTenant(t)
	if err != nil {
		return err
	}
	return created(s.create.exec(ctx, t.ID, record))
}

func (s *tenants) Tenant(ctx context.Context, id string) (store.Tenant, error) {
	return queryOne(ctx, s.get, scanTenant, id)
}

func (s *tenants) UpdateTenant(ctx context.Context, t store.Tenant) error {
	record, err := encodeTenant(t)
	if err != nil {
		return err
	}
	n, err := s.update.exec(ctx, t.ID, t.Version, record)
	if err != nil || n > 0 {
		return err
	}
	return refused(ctx, s.versionOf, t.Version, false, t.ID)
}

func (s *tenants) Tenants(ctx context.Context, page store.Page) ([]store.Tenant, error) {
	return queryAll(ctx, s.list, scanTenant, s.list.after(page), page.Size())
}
