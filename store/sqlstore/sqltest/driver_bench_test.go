package sqltest

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

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
	inSQL := func(ctx context.Context, scan func(scanner) error, query string, args ...any) error {
		rows, err := pool.QueryContext(ctx, query, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			if err := scan(rows); err != nil {
				return err
			}
		}
		return rows.Err()
	}
	inPgx := func(ctx context.Context, scan func(scanner) error, query string, args ...any) error {
		rows, err := native.Query(ctx, query, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			if err := scan(rows); err != nil {
				return err
			}
		}
		return rows.Err()
	}
	for _, c := range []struct {
		name     string
		sql, pgx func(ctx context.Context, i int) error
	}{
		{
			"read",
			func(ctx context.Context, i int) error { return inSQL(ctx, scanGrant, read, "t", nameOf("grant", i)) },
			func(ctx context.Context, i int) error { return inPgx(ctx, scanGrant, read, "t", nameOf("grant", i)) },
		},
		{
			"write",
			func(ctx context.Context, i int) error {
				return inSQL(ctx, scanGeneration, write, "t", nameOf("family", i), int64(i))
			},
			func(ctx context.Context, i int) error {
				return inPgx(ctx, scanGeneration, write, "t", nameOf("family", i), int64(i))
			},
		},
	} {
		b.Run(c.name, func(b *testing.B) {
			number := 0
			// measure returns what a call takes when as many are made at once as the
			// pool has connections.
			measure := func(call func(ctx context.Context, i int) error) time.Duration {
				const calls = 50 // of each client
				started := time.Now()
				var running sync.WaitGroup
				for client := range flowClients {
					first := number + client*calls
					running.Go(func() {
						for i := range calls {
							if err := call(b.Context(), (first+i)%most); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				running.Wait()
				number += flowClients * calls
				return time.Since(started) / (flowClients * calls)
			}
			measure(c.sql) // prepares the statement
			measure(c.pgx)
			var throughSQL, throughPgx []time.Duration
			for b.Loop() { // in turns, so that both meet the same disturbances
				throughSQL = append(throughSQL, measure(c.sql))
				throughPgx = append(throughPgx, measure(c.pgx))
			}
			slices.Sort(throughSQL)
			slices.Sort(throughPgx)
			s, p := throughSQL[len(throughSQL)/2], throughPgx[len(throughPgx)/2]
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(s.Nanoseconds())/1e3, "sql-µs")
			b.ReportMetric(float64(p.Nanoseconds())/1e3, "pgx-µs")
			b.ReportMetric(float64(s)/float64(p), "×pgx")
		})
	}
}
