package sqlstore

import (
	"context"

	"github.com/opkit/opkit/store"
)

type clients struct {
	db                                           *database
	create, get, versionOf, update, remove, list *statement
	idle, countProvisional, removeVersion        *statement
}

func newClients(db *database) *clients {
	const columns = "tenant_id, id, security_mode, dynamic, created_at, version, jwks, record"
	return &clients{
		db: db,
		create: db.write("create client", `
			INSERT INTO {prefix}clients (`+columns+`, confirmed, idle_since) VALUES (?1, ?2, ?3, ?4, ?5, 1, ?6, ?7, ?8, ?9)
			ON CONFLICT DO NOTHING`),
		get: db.read("read client", `
			SELECT `+columns+` FROM {prefix}clients WHERE tenant_id = ?1 AND id = ?2`),
		versionOf: db.read("read version of client", `
			SELECT version FROM {prefix}clients WHERE tenant_id = ?1 AND id = ?2`),
		update: db.write("update client", `
			UPDATE {prefix}clients SET version = version + 1, jwks = ?4, record = ?5,
				confirmed = ?6, idle_since = COALESCE(?7, created_at)
			WHERE tenant_id = ?1 AND id = ?2 AND version = ?3`),
		remove: db.erase("delete client", `
			DELETE FROM {prefix}clients WHERE tenant_id = ?1 AND id = ?2`),
		list: db.read("list clients", `
			SELECT `+columns+` FROM {prefix}clients
			WHERE tenant_id = ?1 AND id > ?2 ORDER BY id LIMIT ?3`),
		idle: db.read("list idle clients", `
			SELECT `+columns+` FROM {prefix}clients
			WHERE tenant_id = ?1 AND dynamic = 1 AND confirmed = ?2 AND idle_since < ?3 AND (idle_since, id) > (?4, ?5)
			ORDER BY idle_since, id LIMIT ?6`),
		countProvisional: db.read("count provisional clients", `
			SELECT COUNT(*) FROM {prefix}clients WHERE tenant_id = ?1 AND dynamic = 1 AND confirmed = 0`),
		removeVersion: db.erase("remove client", `
			DELETE FROM {prefix}clients WHERE tenant_id = ?1 AND id = ?2 AND version = ?3`),
	}
}

func scanClient(r row) (store.Client, error) {
	var c, columns store.Client
	var dynamic int64
	var jwks []byte
	if err := r.Scan(&columns.TenantID, &columns.ID, &columns.SecurityMode, &dynamic,
		timeColumn{&columns.CreatedAt}, &columns.Version, &jwks, jsonColumn{&c}); err != nil {
		return store.Client{}, err
	}
	c.TenantID, c.ID, c.Version = columns.TenantID, columns.ID, columns.Version
	// What never changes is what it was when the client was created, whatever a
	// later update wrote into the record.
	c.SecurityMode, c.Dynamic, c.CreatedAt = columns.SecurityMode, dynamic != 0, columns.CreatedAt
	if c.Metadata != nil {
		c.Metadata.JWKS = jwks
	}
	return c, nil
}

func encodeClient(c store.Client) (record string, jwks []byte, err error) {
	if c.Metadata != nil {
		metadata := *c.Metadata
		jwks, metadata.JWKS = metadata.JWKS, nil
		c.Metadata = &metadata
	}
	c.CreatedAt, c.ConfirmedAt, c.LastUsedAt = precise(c.CreatedAt), precise(c.ConfirmedAt), precise(c.LastUsedAt)
	if c.PreviousSecret != nil {
		previous := *c.PreviousSecret
		previous.ExpiresAt = precise(previous.ExpiresAt)
		c.PreviousSecret = &previous
	}
	if c.Registration != nil {
		registration := *c.Registration
		registration.PreviousTokenUntil = precise(registration.PreviousTokenUntil)
		c.Registration = &registration
	}
	if c.Document != nil {
		c.Document = &store.ClientDocument{FetchedAt: precise(c.Document.FetchedAt)}
	}
	record, err = encode(c)
	return record, jwks, err
}

func (s *clients) CreateClient(ctx context.Context, c store.Client) error {
	record, jwks, err := encodeClient(c)
	if err != nil {
		return err
	}
	return created(s.create.exec(ctx, c.TenantID, c.ID, c.SecurityMode, number(c.Dynamic), micros(c.CreatedAt), jwks, record,
		number(!c.ConfirmedAt.IsZero()), micros(c.IdleSince())))
}

func (s *clients) Client(ctx context.Context, tenant, id string) (store.Client, error) {
	return queryOne(ctx, s.get, scanClient, tenant, id)
}

func (s *clients) UpdateClient(ctx context.Context, c store.Client) error {
	record, jwks, err := encodeClient(c)
	if err != nil {
		return err
	}
	var idle any // since it was created
	if !c.ConfirmedAt.IsZero() {
		idle = micros(c.LastUsedAt)
	}
	n, err := s.update.exec(ctx, c.TenantID, c.ID, c.Version, jwks, record, number(idle != nil), idle)
	if err != nil || n > 0 {
		return err
	}
	return refused(ctx, s.versionOf, c.Version, false, c.TenantID, c.ID)
}

func (s *clients) DeleteClient(ctx context.Context, tenant, id string) error {
	_, err := s.remove.exec(ctx, tenant, id)
	return err
}

func (s *clients) Clients(ctx context.Context, tenant string, page store.Page) ([]store.Client, error) {
	return queryAll(ctx, s.list, scanClient, tenant, s.list.after(page), page.Size())
}
