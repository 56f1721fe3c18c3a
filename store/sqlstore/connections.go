package sqlstore

import (
	"context"

	"github.com/opkit/opkit/store"
)

type connections struct {
	create, get, versionOf, update, remove, list *statement
}

func newConnections(db *database) *connections {
	const columns = "tenant_id, id, name, version, options, record"
	return &connections{
		create: db.write("create connection", `
			INSERT INTO {prefix}connections (`+columns+`) VALUES (?1, ?2, ?3, 1, ?4, ?5)
			ON CONFLICT DO NOTHING`),
		get: db.read("read connection", `
			SELECT `+columns+` FROM {prefix}connections WHERE tenant_id = ?1 AND id = ?2`),
		versionOf: db.read("read version of connection", `
			SELECT version FROM {prefix}connections WHERE tenant_id = ?1 AND id = ?2`),
		update: db.write("update connection", `
			UPDATE {prefix}connections SET name = ?4, version = version + 1, options = ?5, record = ?6
			WHERE tenant_id = ?1 AND id = ?2 AND version = ?3 AND NOT EXISTS (
				SELECT 1 FROM {prefix}connections AS o
				WHERE o.tenant_id = ?1 AND o.name = ?4 AND o.id <> ?2)`),
		remove: db.erase("delete connection", `
			DELETE FROM {prefix}connections WHERE tenant_id = ?1 AND id = ?2`),
		list: db.read("list connections", `
			SELECT `+columns+` FROM {prefix}connections
			WHERE tenant_id = ?1 AND id > ?2 ORDER BY id LIMIT ?3`),
	}
}

func scanConnection(r row) (store.Connection, error) {
	var c, columns store.Connection
	if err := r.Scan(&columns.TenantID, &columns.ID, &columns.Name, &columns.Version,
		(*[]byte)(&columns.Options), jsonColumn{&c}); err != nil {
		return store.Connection{}, err
	}
	c.TenantID, c.ID, c.Name = columns.TenantID, columns.ID, columns.Name
	c.Version, c.Options = columns.Version, columns.Options
	return c, nil
}

func encodeConnection(c store.Connection) (string, error) {
	c.Options = nil
	c.CreatedAt, c.UpdatedAt = precise(c.CreatedAt), precise(c.UpdatedAt)
	return encode(c)
}

func (s *connections) CreateConnection(ctx context.Context, c store.Connection) error {
	record, err := encodeConnection(c)
	if err != nil {
		return err
	}
	return created(s.create.exec(ctx, c.TenantID, c.ID, c.Name, []byte(c.Options), record))
}

func (s *connections) Connection(ctx context.Context, tenant, id string) (store.Connection, error) {
	return queryOne(ctx, s.get, scanConnection, tenant, id)
}

func (s *connections) UpdateConnection(ctx context.Context, c store.Connection) error {
	record, err := encodeConnection(c)
	if err != nil {
		return err
	}
	n, err := s.update.exec(ctx, c.TenantID, c.ID, c.Version, c.Name, []byte(c.Options), record)
	if err != nil || n > 0 {
		return err
	}
	return refused(ctx, s.versionOf, c.Version, true, c.TenantID, c.ID)
}

func (s *connections) DeleteConnection(ctx context.Context, tenant, id string) error {
	_, err := s.remove.exec(ctx, tenant, id)
	return err
}

func (s *connections) Connections(ctx context.Context, tenant string, page store.Page) ([]store.Connection, error) {
	return queryAll(ctx, s.list, scanConnection, tenant, s.list.after(page), page.Size())
}
