package smallstore

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/opkit/opkit/store"
)

// Schema makes the table. The key has the tenant and the kind in it, so that neither can
// be forgotten, and the times are numbers, so that no time zone can come in.
const Schema = `
CREATE TABLE IF NOT EXISTS tickets (
	tenant   TEXT    NOT NULL,
	kind     TEXT    NOT NULL,
	id       BLOB    NOT NULL,
	data     BLOB,
	version  INTEGER NOT NULL,
	created  INTEGER NOT NULL,
	consumed INTEGER,
	expires  INTEGER NOT NULL,
	PRIMARY KEY (tenant, kind, id)
);
CREATE INDEX IF NOT EXISTS tickets_expires ON tickets (expires);`

// Tickets is a store.TicketStore.
type Tickets struct{ DB *sql.DB }

var _ store.TicketStore = Tickets{}

func micros(t time.Time) int64 { return t.UnixMicro() }

func fromMicros(n int64) time.Time { return time.UnixMicro(n).UTC() }

// Ticket implements store.TicketStore.
func (s Tickets) Ticket(ctx context.Context, tenant, kind string, id store.Digest, now time.Time) (store.Ticket, error) {
	t, err := scan(s.DB.QueryRowContext(ctx, `
		SELECT data, version, created, consumed, expires FROM tickets
		WHERE tenant = ? AND kind = ? AND id = ? AND expires > ?`,
		tenant, kind, id[:], micros(now)))
	if err != nil {
		return store.Ticket{}, err
	}
	t.TenantID, t.Kind, t.ID = tenant, kind, id
	if !t.ConsumedAt.IsZero() {
		return t, store.ErrConsumed
	}
	return t, nil
}

func scan(row *sql.Row) (store.Ticket, error) {
	var t store.Ticket
	var created, expires int64
	var consumed sql.NullInt64
	err := row.Scan(&t.Data, &t.Version, &created, &consumed, &expires)
	if errors.Is(err, sql.ErrNoRows) {
		return store.Ticket{}, store.ErrNotFound
	}
	if err != nil {
		return store.Ticket{}, err
	}
	t.CreatedAt, t.ExpiresAt = fromMicros(created), fromMicros(expires)
	if consumed.Valid {
		t.ConsumedAt = fromMicros(consumed.Int64)
	}
	return t, nil
}

// PutTicket implements store.TicketStore.
func (s Tickets) PutTicket(ctx context.Context, t store.Ticket, now time.Time) error {
	result, err := s.DB.ExecContext(ctx, `
		INSERT INTO tickets AS old (tenant, kind, id, data, version, created, consumed, expires)
		VALUES (?, ?, ?, ?, 1, ?, NULL, ?)
		ON CONFLICT (tenant, kind, id) DO UPDATE
		SET data = excluded.data, version = 1, created = excluded.created, consumed = NULL, expires = excluded.expires
		WHERE old.expires <= ?`,
		t.TenantID, t.Kind, t.ID[:], t.Data, micros(t.CreatedAt), micros(t.ExpiresAt), micros(now))
	return changed(result, err, store.ErrExists)
}

// changed returns an error of the database, or otherwise if nothing was changed.
func changed(result sql.Result, err, otherwise error) error {
	if err != nil {
		return err
	}
	if n, err := result.RowsAffected(); err != nil || n > 0 {
		return err
	}
	return otherwise
}

// ConsumeTicket implements store.TicketStore.
func (s Tickets) ConsumeTicket(ctx context.Context, tenant, kind string, id store.Digest, now time.Time) (store.Ticket, error) {
	t, err := scan(s.DB.QueryRowContext(ctx, `
		UPDATE tickets SET consumed = ?
		WHERE tenant = ? AND kind = ? AND id = ? AND expires > ? AND consumed IS NULL
		RETURNING data, version, created, consumed, expires`,
		micros(now), tenant, kind, id[:], micros(now)))
	if err == nil {
		t.TenantID, t.Kind, t.ID = tenant, kind, id
		return t, nil // this call is the one that won
	}
	if !errors.Is(err, store.ErrNotFound) {
		return store.Ticket{}, err
	}
	// It lost, whatever is read now: a ticket that is open was put again since, and
	// belongs to somebody else.
	t, err = s.Ticket(ctx, tenant, kind, id, now)
	if err == nil {
		return store.Ticket{}, store.ErrNotFound
	}
	return t, err
}

// UpdateTicket implements store.TicketStore.
func (s Tickets) UpdateTicket(ctx context.Context, t store.Ticket, now time.Time) error {
	result, err := s.DB.ExecContext(ctx, `
		UPDATE tickets SET data = ?, expires = ?, version = version + 1
		WHERE tenant = ? AND kind = ? AND id = ? AND expires > ? AND consumed IS NULL AND version = ?`,
		t.Data, micros(t.ExpiresAt), t.TenantID, t.Kind, t.ID[:], micros(now), t.Version)
	if err := changed(result, err, store.ErrConflict); !errors.Is(err, store.ErrConflict) {
		return err
	}
	// Nothing was changed. Why, the ticket itself tells.
	if _, err := s.Ticket(ctx, t.TenantID, t.Kind, t.ID, now); err != nil {
		return err
	}
	return store.ErrConflict
}

// DeleteTicket implements store.TicketStore.
func (s Tickets) DeleteTicket(ctx context.Context, tenant, kind string, id store.Digest) error {
	_, err := s.DB.ExecContext(ctx, `DELETE FROM tickets WHERE tenant = ? AND kind = ? AND id = ?`, tenant, kind, id[:])
	return err
}

// CollectTickets implements store.TicketStore.
func (s Tickets) CollectTickets(ctx context.Context, now time.Time, limit int) (int, error) {
	result, err := s.DB.ExecContext(ctx, `
		DELETE FROM tickets WHERE (tenant, kind, id) IN
			(SELECT tenant, kind, id FROM tickets WHERE expires <= ? ORDER BY expires LIMIT ?)`,
		micros(now), max(limit, 0)) // to SQLite a negative limit is none
	if err != nil {
		return 0, err
	}
	n, err := result.RowsAffected()
	return int(n), err
}
