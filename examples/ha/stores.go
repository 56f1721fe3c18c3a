package main

import (
	"context"
	"errors"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/redisstore"
	"github.com/opkit/opkit/store/sqlstore"
	"github.com/opkit/opkit/store/sqlstore/sqltest/postgres"
)

// connections is how many each node has to PostgreSQL.
const connections = 8

// openStores returns the stores of a node: everything in PostgreSQL, or tickets and
// sessions in Redis and the rest in PostgreSQL. Every node migrates; one of them does
// the work.
func openStores(ctx context.Context, cfg nodeConfig) (stores store.Stores, closeAll func() error, err error) {
	pool, err := postgres.Open(cfg.Postgres, connections)
	if err != nil {
		return store.Stores{}, nil, err
	}
	closers := []func() error{pool.Close}
	closeAll = func() error {
		var errs []error
		for i := len(closers) - 1; i >= 0; i-- {
			errs = append(errs, closers[i]())
		}
		return errors.Join(errs...)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, closeAll())
		}
	}()
	database, err := sqlstore.New(sqlstore.Config{Dialect: sqlstore.PostgreSQL, Write: pool})
	if err != nil {
		return store.Stores{}, nil, err
	}
	closers = append(closers, database.Close)
	if err := database.Migrate(ctx); err != nil {
		return store.Stores{}, nil, err
	}
	stores = database.Stores()
	if cfg.Redis == "" {
		return stores, closeAll, nil
	}
	network, address, _ := strings.Cut(cfg.Redis, ":")
	client := redis.NewClient(&redis.Options{Network: network, Addr: address, ContextTimeoutEnabled: true, MaxRetries: -1})
	closers = append(closers, client.Close)
	short, err := redisstore.New(redisstore.Config{Client: client})
	if err != nil {
		return store.Stores{}, nil, err
	}
	if err := short.Check(ctx); err != nil {
		return store.Stores{}, nil, err
	}
	stores.Tickets, stores.Sessions = short, short
	return stores, closeAll, nil
}
