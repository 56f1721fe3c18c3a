package sqlstore

import (
	"context"
	"errors"
	"time"

	"github.com/opkit/opkit/store"
)

type tickets struct {
	put, get, consume, update, remove, collect *statement
}

func newTickets(db *database) *tickets {
	const columns = "tenant_id, kind, id, data, version, created_at, consumed_at, expires_at"
	return &tickets{
		put: db.write("put ticket", `
			INSERT INTO {prefix}tickets AS t (`+columns+`) VALUES (?1, ?2, ?3, ?4, 1, ?5, NULL, ?6)
			ON CONFLICT (tenant_id, kind, id) DO UPDATE SET data = excluded.data, version = 1,
				created_at = excluded.created_at, consumed_at = NULL, expires_at = excluded.expires_at
			WHERE t.expires_at <= ?7`),
		get: db.read("read ticket", `
			SELECT `+columns+` FROM {prefix}tickets
			WHERE tenant_id = ?1 AND kind = ?2 AND id = ?3 AND expires_at > ?4`),
		consume: db.write("consume ticket", `
			UPDATE {prefix}tickets SET consumed_at = ?4
			WHERE tenant_id = ?1 AND kind = ?2 AND id = ?3 AND expires_at > ?4 AND consumed_at IS NULL
			RETURNING `+columns),
		update: db.write("update ticket", `
			UPDATE {prefix}tickets SET data = ?6, version = version + 1, expires_at = ?7
			WHERE tenant_id = ?1 AND kind = ?2 AND id = ?3 AND expires_at > ?4 AND consumed_at IS NULL AND version = ?5`),
		remove: db.erase("delete ticket", `
			DELETE FROM {prefix}tickets WHERE tenant_id = ?1 AND kind = ?2 AND id = ?3`),
		collect: db.collect("collect tickets", "tickets", "tenant_id, kind, id"),
	}
}

func scanTicket(r row) (store.Ticket, error) {
	var t store.Ticket
	err := r.Scan(&t.TenantID, &t.Kind, digestColumn{&t.ID}, &t.Data, &t.Version,
		timeColumn{&t.CreatedAt}, timeColumn{&t.ConsumedAt}, timeColumn{&t.ExpiresAt})
	return t, err
}

func (s *tickets) PutTicket(ctx context.Context, t store.Ticket, now time.Time) error {
	return created(s.put.exec(ctx, t.TenantID, t.Kind, t.ID.String(), t.Data,
		micros(t.CreatedAt), micros(t.ExpiresAt), micros(now)))
}

func (s *tickets) Ticket(ctx context.Context, tenant, kind string, id store.Digest, now time.Time) (store.Ticket, error) {
	t, err := queryOne(ctx, s.get, scanTicket, tenant, kind, id.String(), micros(now))
	if err == nil && !t.ConsumedAt.IsZero() {
		err = store.ErrConsumed
	}
	return t, err
}

func (s *tickets) ConsumeTicket(ctx context.Context, tenant, kind string, id store.Digest, now time.Time) (store.Ticket, error) {
	t, err := queryOne(ctx, s.consume, scanTicket, tenant, kind, id.String(), micros(now))
	if !errors.Is(err, store.ErrNotFound) {
		return t, err
	}
	// Not the winner, whatever is found now: a ticket that was put again in the
	// meantime is somebody else's.
	t, err = s.Ticket(ctx, tenant, kind, id, now)
	if err == nil {
		return store.Ticket{}, store.ErrNotFound
	}
	return t, err
}

func (s *tickets) UpdateTicket(ctx context.Context, t store.Ticket, now time.Time) error {
	n, err := s.update.exec(ctx, t.TenantID, t.Kind, t.ID.String(), micros(now), t.Version, t.Data, micros(t.ExpiresAt))
	if err != nil || n > 0 {
		return err
	}
	if _, err := s.Ticket(ctx, t.TenantID, t.Kind, t.ID, now); err != nil {
		return err
	}
	return store.ErrConflict
}

func (s *tickets) DeleteTicket(ctx context.Context, tenant, kind string, id store.Digest) error {
	_, err := s.remove.exec(ctx, tenant, kind, id.String())
	return err
}

func (s *tickets) CollectTickets(ctx context.Context, now time.Time, limit int) (int, error) {
	return collect(ctx, s.collect, now, limit)
}

// collect runs a statement that removes at most limit records that expired.
func collect(ctx context.Context, s *statement, now time.Time, limit int) (int, error) {
	// To SQLite a negative limit means none.
	n, err := s.exec(ctx, micros(now), max(limit, 0))
	return int(n), err
}
