package sqlstore

import (
	"context"

	"github.com/opkit/opkit/store"
)

type clientGrants struct {
	create, get, find, versionOf, update, remove, list *statement
}

func newClientGrants(db *database) *clientGrants {
	const columns = "tenant_id, id, client_id, audience, subject_type, version, record"
	return &clientGrants{
		create: db.write("create client grant", `
			INSERT INTO {prefix}client_grants (`+columns+`) VALUES (?1, ?2, ?3, ?4, ?5, 1, ?6)
			ON CONFLICT DO NOTHING`),
		get: db.read("read client grant", `
			SELECT `+columns+` FROM {prefix}client_grants WHERE tenant_id = ?1 AND id = ?2`),
		find: db.read("find client grant", `
			SELECT `+columns+` FROM {prefix}client_grants
			WHERE tenant_id = ?1 AND client_id = ?2 AND audience = ?3 AND subject_type = ?4`),
		versionOf: db.read("read version of client grant", `
			SELECT version FROM {prefix}client_grants WHERE tenant_id = ?1 AND id = ?2`),
		update: db.write("update client grant", `
			UPDATE {prefix}client_grants SET version = version + 1, record = ?4
			WHERE tenant_id = ?1 AND id = ?2 AND version = ?3`),
		remove: db.erase("delete client grant", `
			DELETE FROM {prefix}client_grants WHERE tenant_id = ?1 AND id = ?2`),
		list: db.read("list client grants", `
			SELECT `+columns+` FROM {prefix}client_grants
			WHERE tenant_id = ?1 AND id > ?2 ORDER BY id LIMIT ?3`),
	}
}

func scanClientGrant(r row) (store.ClientGrant, error) {
	var g, columns store.ClientGrant
	if err := r.Scan(&columns.TenantID, &columns.ID, &columns.ClientID, &columns.Audience, &columns.SubjectType,
		&columns.Version, jsonColumn{&g}); err != nil {
		return store.ClientGrant{}, err
	}
	g.TenantID, g.ID, g.Version = columns.TenantID, columns.ID, columns.Version
	g.ClientID, g.Audience, g.SubjectType = columns.ClientID, columns.Audience, columns.SubjectType
	return g, nil
}

func encodeClientGrant(g store.ClientGrant) (string, error) {
	g.CreatedAt, g.UpdatedAt = precise(g.CreatedAt), precise(g.UpdatedAt)
	return encode(g)
}

func (s *clientGrants) CreateClientGrant(ctx context.Context, g store.ClientGrant) error {
	record, err := encodeClientGrant(g)
	if err != nil {
		return err
	}
	return created(s.create.exec(ctx, g.TenantID, g.ID, g.ClientID, g.Audience, g.SubjectType, record))
}

func (s *clientGrants) ClientGrant(ctx context.Context, tenant, id string) (store.ClientGrant, error) {
	return queryOne(ctx, s.get, scanClientGrant, tenant, id)
}

func (s *clientGrants) FindClientGrant(ctx context.Context, tenant, client, audience, subjectType string) (store.ClientGrant, error) {
	return queryOne(ctx, s.find, scanClientGrant, tenant, client, audience, subjectType)
}

func (s *clientGrants) UpdateClientGrant(ctx context.Context, g store.ClientGrant) error {
	record, err := encodeClientGrant(g)
	if err != nil {
		return err
	}
	n, err := s.update.exec(ctx, g.TenantID, g.ID, g.Version, record)
	if err != nil || n > 0 {
		return err
	}
	return refused(ctx, s.versionOf, g.Version, false, g.TenantID, g.ID)
}

func (s *clientGrants) DeleteClientGrant(ctx context.Context, tenant, id string) error {
	_, err := s.remove.exec(ctx, tenant, id)
	return err
}

func (s *clientGrants) ClientGrants(ctx context.Context, tenant string, page store.Page) ([]store.ClientGrant, error) {
	return queryAll(ctx, s.list, scanClientGrant, tenant, s.list.after(page), page.Size())
}
