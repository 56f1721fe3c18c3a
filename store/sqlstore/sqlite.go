package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// checkSQLite reads the settings that decide whether an acknowledged write
// survives and whether processes can share the file. They belong to a
// connection, so they have to come from the data source name; one connection of
// each pool stands for all.
func checkSQLite(ctx context.Context, cfg Config) error {
	if err := checkSQLiteSharing(ctx, "Config.Write", cfg.Write); err != nil {
		return err
	}
	if cfg.Read != nil {
		if err := checkSQLiteSharing(ctx, "Config.Read", cfg.Read); err != nil {
			return err
		}
	}
	// A pool that only reads commits nothing.
	synchronous, err := pragma(ctx, cfg.Write, "synchronous")
	if err != nil {
		return err
	}
	switch {
	case synchronous == "2", synchronous == "3": // FULL, EXTRA
	case synchronous == "1" && cfg.InsecureSynchronousNormal:
	case synchronous == "1":
		return errors.New("sqlstore: Config.Write has synchronous=NORMAL, want FULL (or Config.InsecureSynchronousNormal)")
	default:
		return fmt.Errorf("sqlstore: Config.Write has synchronous=%s, want FULL", synchronous)
	}
	return nil
}

func checkSQLiteSharing(ctx context.Context, name string, pool *sql.DB) error {
	mode, err := pragma(ctx, pool, "journal_mode")
	if err != nil {
		return err
	}
	if !strings.EqualFold(mode, "wal") {
		return fmt.Errorf("sqlstore: %s has journal_mode=%s, want WAL", name, mode)
	}
	timeout, err := pragma(ctx, pool, "busy_timeout")
	if err != nil {
		return err
	}
	if ms, err := strconv.Atoi(timeout); err != nil || ms <= 0 {
		return fmt.Errorf("sqlstore: %s has busy_timeout=%s, want some seconds (5000)", name, timeout)
	}
	return nil
}

func pragma(ctx context.Context, pool *sql.DB, name string) (string, error) {
	var value string
	if err := pool.QueryRowContext(ctx, "PRAGMA "+name).Scan(&value); err != nil {
		return "", failed(ctx, "read "+name, err)
	}
	return value, nil
}
