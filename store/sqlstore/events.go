package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/opkit/opkit/store"
)

type events struct {
	db                    *database
	add, get, drop        *statement
	surplus, last, trim   *statement
	oldest, newest, count filter
}

// beyond sorts behind every identifier that is text.
const beyond = "\U0010ffff"

func newEvents(db *database) *events {
	const columns = "tenant_id, id, type, outcome, client_id, user_id, quota, time, expires_at, record"
	// From the most selective column to the least. An outcome is not worth an index.
	columnsOf := []string{"user_id", "client_id", "type"}
	list := func(name, order string) filter {
		return newFilter(7, columnsOf, func(conditions string) *statement {
			return db.read(name, `
				SELECT `+columns+` FROM {prefix}events
				WHERE tenant_id = ?1 AND id > ?2 AND id < ?3 AND expires_at > ?4 AND (?6 = 0 OR outcome = ?7)`+conditions+`
				ORDER BY id `+order+` LIMIT ?5`)
		})
	}
	return &events{
		db: db,
		add: db.write("append event", `
			INSERT INTO {prefix}events (`+columns+`) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
			ON CONFLICT DO NOTHING`),
		get: db.read("read event", `
			SELECT `+columns+` FROM {prefix}events WHERE tenant_id = ?1 AND id = ?2 AND expires_at > ?3`),
		oldest: list("list events", "ASC"),
		newest: list("list newest events", "DESC"),
		count: newFilter(6, columnsOf, func(conditions string) *statement {
			return db.read("count events", `
				SELECT COUNT(*) FROM {prefix}events
				WHERE tenant_id = ?1 AND id >= ?2 AND id < ?3 AND expires_at > ?4 AND (?5 = 0 OR outcome = ?6)`+conditions)
		}),
		surplus: db.read("read surplus event", `
			SELECT id FROM {prefix}events WHERE tenant_id = ?1 AND quota = ?2 ORDER BY id DESC LIMIT 1 OFFSET ?3`),
		last: db.read("read last event to trim", `
			SELECT id FROM {prefix}events WHERE tenant_id = ?1 AND quota = ?2 AND id < ?3 ORDER BY id LIMIT 1 OFFSET ?4`),
		// The lower bound, which is none, keeps PostgreSQL from expecting a third of the
		// table, for which it would rather read all of it.
		trim: db.erase("trim events", `
			DELETE FROM {prefix}events WHERE tenant_id = ?1 AND quota = ?2 AND id >= ?4 AND id <= ?3`),
		drop: db.collect("collect events", "events", "tenant_id, id"),
	}
}

func scanEvent(r row) (store.Event, error) {
	var e, columns store.Event
	if err := r.Scan(&columns.TenantID, &columns.ID, &columns.Type, &columns.Outcome, &columns.ClientID, &columns.UserID,
		&columns.Quota, timeColumn{&columns.Time}, timeColumn{&columns.ExpiresAt}, jsonColumn{&e}); err != nil {
		return store.Event{}, err
	}
	e.TenantID, e.ID, e.Type, e.Outcome = columns.TenantID, columns.ID, columns.Type, columns.Outcome
	e.ClientID, e.UserID, e.Quota = columns.ClientID, columns.UserID, columns.Quota
	e.Time, e.ExpiresAt = columns.Time, columns.ExpiresAt
	return e, nil
}

// AppendEvents stores a batch in one transaction: a commit costs more than most of what
// it commits.
func (s *events) AppendEvents(ctx context.Context, events []store.Event) (int, error) {
	if len(events) == 0 {
		return 0, ctx.Err()
	}
	records := make([]string, len(events))
	for i := range events {
		record, err := encode(events[i])
		if err != nil {
			return 0, err
		}
		records[i] = record
	}
	stored := 0
	err := s.db.atomically(ctx, s.add.name, func(tx *sql.Tx) error {
		stored = 0
		for i := range events {
			e := &events[i]
			n, err := s.add.execIn(ctx, tx, e.TenantID, e.ID, e.Type, e.Outcome, e.ClientID, e.UserID, e.Quota,
				micros(e.Time), micros(e.ExpiresAt), records[i])
			if err != nil {
				return err
			}
			stored += int(n)
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return stored, nil
}

func (s *events) Event(ctx context.Context, tenant, id string, now time.Time) (store.Event, error) {
	return queryOne(ctx, s.get, scanEvent, tenant, id, micros(now))
}

func (s *events) Events(ctx context.Context, tenant string, filter store.EventFilter, page store.EventPage, now time.Time) ([]store.Event, error) {
	list := s.oldest
	if page.Newest {
		list = s.newest
	}
	before := beyond
	if page.Before != "" {
		before = s.db.after(store.Page{After: page.Before})
	}
	statement, args := list.with(eventColumns(filter), tenant, s.db.after(store.Page{After: page.After}), before, micros(now), page.Size(),
		number(filter.Outcome != ""), filter.Outcome)
	return queryAll(ctx, statement, scanEvent, args...)
}

// eventColumns returns the values for the columns of the filters.
func eventColumns(filter store.EventFilter) []string {
	return []string{filter.UserID, filter.ClientID, filter.Type}
}

// CountEvents runs one statement for each period: the index gives each of them its rows,
// and none would group them.
func (s *events) CountEvents(ctx context.Context, tenant string, filter store.EventFilter, span store.EventSpan, now time.Time) ([]int, error) {
	counts := make([]int, span.Steps)
	for step := range counts {
		statement, args := s.count.with(eventColumns(filter), tenant, span.Position(step), span.Position(step+1), micros(now),
			number(filter.Outcome != ""), filter.Outcome)
		n, err := queryOne(ctx, statement, scanInt, args...)
		if err != nil {
			return nil, err
		}
		counts[step] = int(n)
	}
	return counts, nil
}

// TrimEvents looks for the newest event to remove and removes what is not newer. Events
// that come or go meanwhile are newer than that, or gone already.
func (s *events) TrimEvents(ctx context.Context, tenant, quota string, keep, limit int) (int, error) {
	if limit <= 0 {
		return 0, ctx.Err()
	}
	newest, err := queryOne(ctx, s.surplus, scanText, tenant, quota, max(keep, 0))
	if errors.Is(err, store.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	switch last, err := queryOne(ctx, s.last, scanText, tenant, quota, newest, limit-1); {
	case err == nil:
		newest = last
	case !errors.Is(err, store.ErrNotFound): // there are fewer
		return 0, err
	}
	n, err := s.trim.exec(ctx, tenant, quota, newest, "")
	return int(n), err
}

func scanText(r row) (string, error) {
	var text string
	err := r.Scan(&text)
	return text, err
}

func (s *events) CollectEvents(ctx context.Context, now time.Time, limit int) (int, error) {
	return collect(ctx, s.drop, now, limit)
}
