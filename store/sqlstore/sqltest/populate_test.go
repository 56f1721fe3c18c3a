package sqltest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/opkit/opkit/store"
)

// The time at which what populate stored is alive.
var (
	populated      = time.Date(2031, time.May, 6, 7, 8, 9, 0, time.UTC)
	populatedUntil = populated.Add(time.Hour)
)

// Of three families that populate stores two are the same user's.
func userOf(i int) string { return nameOf("user", i/2) }

// nameOf returns the identifier of a record: as random as those of opkit, so that
// neighbours are far apart in an index.
func nameOf(kind string, i int) string {
	sum := sha256.Sum256([]byte(kind + strconv.Itoa(i)))
	return hex.EncodeToString(sum[:16])
}

func digestOf(kind string, i int) store.Digest { return store.DigestOf(nameOf(kind, i)) }

// populations are the tables of which a row belongs to each client, with columns
// and a row as package sqlstore writes them.
var populations = []struct {
	table, columns string
	row            func(i int) []any
}{
	{
		"clients", "tenant_id, id, security_mode, dynamic, created_at, version, jwks, record, confirmed, idle_since",
		func(i int) []any {
			at := populated.Add(-time.Duration(i) * time.Second).UnixMicro()
			return []any{"t", nameOf("client", i), store.ModeStrict, int64(1), at, int64(1), nil,
				`{"client_name":"My application","token_endpoint_auth_method":"client_secret_post",` +
					`"redirect_uris":["https://app.example.com/auth/callback","https://app.example.com/auth/silent"]}`,
				// Ten are confirmed for each that is not.
				int64(min(i%10, 1)), at}
		},
	},
	{
		"users", "tenant_id, id, connection_id, version, app_metadata, user_metadata, record",
		func(i int) []any {
			return []any{"t", nameOf("user", i), "con", int64(1), nil, nil,
				`{"username":"` + nameOf("login", i) + `","email":"","password_hash":"$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNo"}`}
		},
	},
	{
		"user_logins", "tenant_id, connection_id, login, user_id",
		func(i int) []any { return []any{"t", "con", nameOf("login", i), nameOf("user", i)} },
	},
	{
		"sessions", "tenant_id, id, sid, user_id, connection_id, amr, acr, client_ids, version, authenticated_at, created_at, expires_at",
		func(i int) []any {
			return []any{"t", digestOf("session", i).String(), nameOf("sid", i), userOf(i), "con", `["pwd"]`, "", "null", int64(1),
				populated.UnixMicro(), populated.UnixMicro(), expiry(i)}
		},
	},
	{
		"grants", "tenant_id, id, user_id, client_id, audience, scopes, claims, connection_id, client_revision, version, created_at, updated_at",
		func(i int) []any {
			return []any{"t", nameOf("grant", i), userOf(i), nameOf("client", i), "", `["openid","offline_access"]`, "null", "con",
				int64(0), int64(1), populated.UnixMicro(), populated.UnixMicro()}
		},
	},
	{
		"families", "tenant_id, id, grant_id, user_id, client_id, sid, generation, created_at, expires_at",
		func(i int) []any {
			return []any{"t", nameOf("family", i), nameOf("grant", i), userOf(i), nameOf("client", i), nameOf("sid", i), int64(0),
				populated.UnixMicro(), expiry(i)}
		},
	},
	{
		"tickets", "tenant_id, kind, id, data, version, created_at, consumed_at, expires_at",
		func(i int) []any {
			return []any{"t", "par", digestOf("ticket", i).String(), make([]byte, 300), int64(1), populated.UnixMicro(), nil, expiry(i)}
		},
	},
	{
		"events", "tenant_id, id, type, outcome, client_id, user_id, quota, time, expires_at, record",
		func(i int) []any {
			at := populated.Add(-time.Duration(i) * time.Second)
			return []any{"t", store.EventPosition(at) + nameOf("event", i), []string{"user.sign_in", "user.consent", "client.registration"}[i%3], "allowed",
				nameOf("client", i%1000), userOf(i), []string{"", "refused"}[i%2], at.UnixMicro(), expiry(i), `{"address":"192.0.2.1"}`}
		},
	},
	{
		"apis", "tenant_id, id, audience, version, record",
		func(i int) []any {
			return []any{"t", nameOf("api", i), "https://" + nameOf("api", i), int64(1), "{}"}
		},
	},
	{
		"connections", "tenant_id, id, name, version, options, record",
		func(i int) []any {
			return []any{"t", nameOf("connection", i), nameOf("connection", i), int64(1), nil, "{}"}
		},
	},
	{
		"client_grants", "tenant_id, id, client_id, audience, subject_type, version, record",
		func(i int) []any {
			return []any{"t", nameOf("client grant", i), nameOf("client", i), "https://" + nameOf("api", i), "user", int64(1), "{}"}
		},
	},
	{
		"tenants", "id, version, record",
		func(i int) []any { return []any{nameOf("tenant", i), int64(1), "{}"} },
	},
	{
		// A tenant has a handful of them.
		"signing_keys", "tenant_id, id, algorithm, generation, version, public, private, record",
		func(i int) []any {
			return []any{nameOf("tenant", i/4), nameOf("key", i), "ES256", int64(i % 4), int64(1), []byte("{}"), []byte("{}"), "{}"}
		},
	},
}

func expiry(i int) int64 { return populatedUntil.Add(time.Duration(i) * time.Millisecond).UnixMicro() }

// populate writes n rows into each of the tables. It goes around the store, which
// would take an hour for a million. PostgreSQL counts them afterwards, as autovacuum
// would; SQLite does not need to, and docs/stores.md says why it should not.
func populate(tb testing.TB, h *handle, n int, tables ...string) {
	tb.Helper()
	ctx := tb.Context()
	for _, p := range populations {
		if len(tables) > 0 && !strings.Contains(" "+strings.Join(tables, " ")+" ", " "+p.table+" ") {
			continue
		}
		columns := strings.Split(p.columns, ", ")
		write := fillSQLite
		if isPostgres(h.place) {
			write = fillPostgres
		}
		if err := write(ctx, h, "opkit_"+p.table, columns, n, p.row); err != nil {
			tb.Fatalf("%s: %v", p.table, err)
		}
	}
	if isPostgres(h.place) {
		if _, err := h.write.ExecContext(ctx, "VACUUM ANALYZE"); err != nil {
			tb.Fatal(err)
		}
	}
}

func fillPostgres(ctx context.Context, h *handle, table string, columns []string, n int, row func(i int) []any) error {
	conn, err := h.write.Conn(ctx)
	if err != nil {
		return err
	}
	return errors.Join(conn.Raw(func(driver any) error {
		i := -1
		_, err := driver.(*stdlib.Conn).Conn().CopyFrom(ctx, pgx.Identifier{table}, columns, pgx.CopyFromFunc(func() ([]any, error) {
			if i++; i == n {
				return nil, nil
			}
			return row(i), nil
		}))
		return err
	}), conn.Close())
}

func fillSQLite(ctx context.Context, h *handle, table string, columns []string, n int, row func(i int) []any) error {
	// Rows come in no order of any index, which have to be in memory for that.
	var cache int
	if err := h.write.QueryRowContext(ctx, "PRAGMA cache_size").Scan(&cache); err != nil {
		return err
	}
	if _, err := h.write.ExecContext(ctx, "PRAGMA cache_size = -2000000"); err != nil {
		return err
	}
	defer h.write.ExecContext(ctx, fmt.Sprint("PRAGMA cache_size = ", cache))
	tx, err := h.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	insert, err := tx.PrepareContext(ctx, fmt.Sprintf("INSERT INTO %s (%s) VALUES (?%s)",
		table, strings.Join(columns, ", "), strings.Repeat(", ?", len(columns)-1)))
	if err != nil {
		return err
	}
	for i := range n {
		if _, err := insert.ExecContext(ctx, row(i)...); err != nil {
			return err
		}
	}
	return tx.Commit()
}
