package sqltest

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/opkit/opkit/store/sqlstore/sqltest/pgtest"
	"github.com/opkit/opkit/store/sqlstore/sqltest/postgres"
)

// BenchmarkDriver compares one read and one write through database/sql with the
// same through pgx alone, by as many clients at once. What the difference is to a
// request is seen when it is held against BenchmarkFlows.
func BenchmarkDriver(b *testing.B) {
	const (
		read  = "SELECT tenant_id, id, user_id, client_id, scopes, version, created_at, updated_at FROM opkit_grants WHERE tenant_id = $1 AND id = $2"
		write = "UPDATE opkit_families SET generation = generation + 1, rotated_at = $3 WHERE tenant_id = $1 AND id = $2 RETURNING generation"
		most  = 10_000
	)
	url := pgtest.Start(b).Database(b)
	populate(b, open(b, url), most, "grants", "families")
	pool, err := postgres.Open(url, flowClients)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { pool.Close() })
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		b.Fatal(err)
	}
	config.MaxConns = flowClients
	native, err := pgxpool.NewWithConfig(b.Context(), config)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(native.Close)

	type scanner interface{ Scan(dest ...any) error }
	scanGrant := func(row scanner) error {
		var tenant, id, user, client, scopes string
		var version, created, updated int64
		return row.Scan(&tenant, &id, &user, &client, &scopes, &version, &created, &updated)
	}
	scanGeneration := func(row scanner) error {
		var generation int64
		return row.Scan(&generation)
	}
	for _, c := range []struct {
		name string
		call func(ctx context.Context, i int) error
	}{
		{"read/sql", func(ctx context.Context, i int) error {
			rows, err := pool.QueryContext(ctx, read, "t", nameOf("grant", i))
			if err != nil {
				return err
			}
			defer rows.Close()
			for rows.Next() {
				if err := scanGrant(rows); err != nil {
					return err
				}
			}
			return rows.Err()
		}},
		{"read/pgx", func(ctx context.Context, i int) error {
			rows, err := native.Query(ctx, read, "t", nameOf("grant", i))
			if err != nil {
				return err
			}
			return each(rows, func(rows pgx.Rows) error { return scanGrant(rows) })
		}},
		{"write/sql", func(ctx context.Context, i int) error {
			rows, err := pool.QueryContext(ctx, write, "t", nameOf("family", i), int64(i))
			if err != nil {
				return err
			}
			defer rows.Close()
			for rows.Next() {
				if err := scanGeneration(rows); err != nil {
					return err
				}
			}
			return rows.Err()
		}},
		{"write/pgx", func(ctx context.Context, i int) error {
			rows, err := native.Query(ctx, write, "t", nameOf("family", i), int64(i))
			if err != nil {
				return err
			}
			return each(rows, func(rows pgx.Rows) error { return scanGeneration(rows) })
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			var number atomic.Int64
			b.ReportAllocs()
			b.SetParallelism(flowClients / 2)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := c.call(b.Context(), int(number.Add(1))%most); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

func each(rows pgx.Rows, do func(pgx.Rows) error) error {
	defer rows.Close()
	for rows.Next() {
		if err := do(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}
