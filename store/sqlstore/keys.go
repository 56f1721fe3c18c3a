package sqlstore

import (
	"context"

	"github.com/opkit/opkit/store"
)

type signingKeys struct {
	create, versionOf, update, remove, list *statement
}

func newSigningKeys(db *database) *signingKeys {
	const columns = "tenant_id, id, algorithm, generation, version, public, private, record"
	return &signingKeys{
		create: db.write("create signing key", `
			INSERT INTO {prefix}signing_keys (`+columns+`) VALUES (?1, ?2, ?3, ?4, 1, ?5, ?6, ?7)
			ON CONFLICT DO NOTHING`),
		versionOf: db.read("read version of signing key", `
			SELECT version FROM {prefix}signing_keys WHERE tenant_id = ?1 AND id = ?2`),
		update: db.write("update signing key", `
			UPDATE {prefix}signing_keys SET algorithm = ?4, generation = ?5, version = version + 1,
				public = ?6, private = ?7, record = ?8
			WHERE tenant_id = ?1 AND id = ?2 AND version = ?3 AND NOT EXISTS (
				SELECT 1 FROM {prefix}signing_keys AS o
				WHERE o.tenant_id = ?1 AND o.algorithm = ?4 AND o.generation = ?5 AND o.id <> ?2)`),
		remove: db.erase("delete signing key", `
			DELETE FROM {prefix}signing_keys WHERE tenant_id = ?1 AND id = ?2`),
		list: db.read("list signing keys", `
			SELECT `+columns+` FROM {prefix}signing_keys
			WHERE tenant_id = ?1 ORDER BY algorithm, generation`),
	}
}

func scanSigningKey(r row) (store.SigningKey, error) {
	var k, columns store.SigningKey
	if err := r.Scan(&columns.TenantID, &columns.ID, &columns.Algorithm, &columns.Generation, &columns.Version,
		(*[]byte)(&columns.Public), (*[]byte)(&columns.Private), jsonColumn{&k}); err != nil {
		return store.SigningKey{}, err
	}
	k.TenantID, k.ID, k.Version = columns.TenantID, columns.ID, columns.Version
	k.Algorithm, k.Generation = columns.Algorithm, columns.Generation
	k.Public, k.Private = columns.Public, columns.Private
	return k, nil
}

func encodeSigningKey(k store.SigningKey) (string, error) {
	k.Public, k.Private = nil, nil
	k.CreatedAt, k.ActiveAt = precise(k.CreatedAt), precise(k.ActiveAt)
	k.RetiredAt, k.ExpiresAt = precise(k.RetiredAt), precise(k.ExpiresAt)
	k.RevokedAt = precise(k.RevokedAt)
	return encode(k)
}

func (s *signingKeys) CreateSigningKey(ctx context.Context, k store.SigningKey) error {
	record, err := encodeSigningKey(k)
	if err != nil {
		return err
	}
	return created(s.create.exec(ctx, k.TenantID, k.ID, k.Algorithm, k.Generation, []byte(k.Public), []byte(k.Private), record))
}

func (s *signingKeys) SigningKeys(ctx context.Context, tenant string) ([]store.SigningKey, error) {
	return queryAll(ctx, s.list, scanSigningKey, tenant)
}

func (s *signingKeys) UpdateSigningKey(ctx context.Context, k store.SigningKey) error {
	record, err := encodeSigningKey(k)
	if err != nil {
		return err
	}
	n, err := s.update.exec(ctx, k.TenantID, k.ID, k.Version, k.Algorithm, k.Generation,
		[]byte(k.Public), []byte(k.Private), record)
	if err != nil || n > 0 {
		return err
	}
	return refused(ctx, s.versionOf, k.Version, true, k.TenantID, k.ID)
}

func (s *signingKeys) DeleteSigningKey(ctx context.Context, tenant, id string) error {
	_, err := s.remove.exec(ctx, tenant, id)
	return err
}
