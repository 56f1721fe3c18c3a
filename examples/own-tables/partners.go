package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"reflect"
	"time"

	"github.com/opkit/opkit/store"
)

// partners is a [store.ClientStore] over the library's partners. What the library looks
// at itself is in its columns; the rest of a client is JSON. The column revision, which
// the library's own programs increase too when they change a row, is the Version.
type partners struct{ db *sql.DB }

// CreateClient implements [store.ClientStore].
func (p partners) CreateClient(ctx context.Context, c store.Client) error {
	rest, err := encodeClient(c)
	if err != nil {
		return err
	}
	result, err := p.db.ExecContext(ctx, `INSERT INTO partners (branch, code, title, house, secret, revision, opkit)
		VALUES (?, ?, ?, ?, ?, 1, ?) ON CONFLICT DO NOTHING`,
		c.TenantID, c.ID, c.Name, c.FirstParty, secretColumn(c.SecretDigest), rest)
	return changed(result, err, store.ErrExists)
}

// Client implements [store.ClientStore].
func (p partners) Client(ctx context.Context, tenant, id string) (store.Client, error) {
	c, err := scanClient(p.db.QueryRowContext(ctx, selectPartner+"code = ?", tenant, id))
	if errors.Is(err, sql.ErrNoRows) {
		return store.Client{}, store.ErrNotFound
	}
	return c, err
}

// UpdateClient implements [store.ClientStore]. The statement that writes compares the
// revision, so that of two changes at the same time one is refused. Members that are
// fixed are kept from the row, which has that revision.
func (p partners) UpdateClient(ctx context.Context, c store.Client) error {
	old, err := p.Client(ctx, c.TenantID, c.ID)
	if err != nil {
		return err
	}
	if old.Version != c.Version {
		return store.ErrConflict
	}
	c.SecurityMode, c.Dynamic, c.CreatedAt = old.SecurityMode, old.Dynamic, old.CreatedAt
	rest, err := encodeClient(c)
	if err != nil {
		return err
	}
	result, err := p.db.ExecContext(ctx, `UPDATE partners SET title = ?, house = ?, secret = ?, revision = revision + 1, opkit = ?
		WHERE branch = ? AND code = ? AND revision = ?`,
		c.Name, c.FirstParty, secretColumn(c.SecretDigest), rest, c.TenantID, c.ID, c.Version)
	if err := changed(result, err, store.ErrConflict); !errors.Is(err, store.ErrConflict) {
		return err
	}
	// The row changed since it was read, or went.
	if _, err := p.Client(ctx, c.TenantID, c.ID); err != nil {
		return err
	}
	return store.ErrConflict
}

// DeleteClient implements [store.ClientStore].
func (p partners) DeleteClient(ctx context.Context, tenant, id string) error {
	_, err := p.db.ExecContext(ctx, `DELETE FROM partners WHERE branch = ? AND code = ?`, tenant, id)
	return err
}

// Clients implements [store.ClientStore].
func (p partners) Clients(ctx context.Context, tenant string, page store.Page) ([]store.Client, error) {
	rows, err := p.db.QueryContext(ctx, selectPartner+"code > ? ORDER BY code LIMIT ?", tenant, page.After, page.Size())
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var clients []store.Client
	for rows.Next() {
		c, err := scanClient(rows)
		if err != nil {
			return nil, err
		}
		clients = append(clients, c)
	}
	return clients, rows.Err()
}

const selectPartner = `SELECT branch, code, title, house, secret, revision, opkit FROM partners WHERE branch = ? AND `

func scanClient(row interface{ Scan(...any) error }) (store.Client, error) {
	var own store.Client
	var secret []byte
	var rest string
	if err := row.Scan(&own.TenantID, &own.ID, &own.Name, &own.FirstParty, &secret, &own.Version, &rest); err != nil {
		return store.Client{}, err
	}
	var c store.Client
	if err := json.Unmarshal([]byte(rest), &c); err != nil {
		return store.Client{}, err
	}
	c.TenantID, c.ID, c.Name, c.FirstParty, c.Version = own.TenantID, own.ID, own.Name, own.FirstParty, own.Version
	copy(c.SecretDigest[:], secret)
	return c, nil
}

// encodeClient returns what has no column. Times are kept in UTC, to the microsecond.
func encodeClient(c store.Client) (string, error) {
	c = c.Clone()
	c.TenantID, c.ID, c.Name, c.FirstParty, c.Version, c.SecretDigest = "", "", "", false, 0, store.Digest{}
	inUTC(reflect.ValueOf(&c).Elem())
	text, err := json.Marshal(c)
	return string(text), err
}

// inUTC goes by the type, so that a time that is added to a client is not forgotten.
func inUTC(v reflect.Value) {
	if t, ok := v.Interface().(time.Time); ok {
		v.Set(reflect.ValueOf(t.UTC().Truncate(time.Microsecond)))
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			inUTC(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			inUTC(v.Field(i))
		}
	}
}

// secretColumn is NULL for a client without a secret.
func secretColumn(d store.Digest) []byte {
	if d.IsZero() {
		return nil
	}
	return d[:]
}

// changed returns an error of the database, or other if no row was changed.
func changed(result sql.Result, err, other error) error {
	if err != nil {
		return err
	}
	if n, err := result.RowsAffected(); err != nil || n > 0 {
		return err
	}
	return other
}
