package sqlstore

import (
	"context"
	"database/sql"

	"github.com/opkit/opkit/store"
)

func (s *clients) IdleClients(ctx context.Context, tenant string, filter store.IdleFilter, page store.IdlePage) ([]store.Client, error) {
	return queryAll(ctx, s.idle, scanClient, tenant, number(filter.Confirmed), micros(filter.Before),
		micros(page.AfterTime), page.AfterID, page.Size())
}

func (s *clients) CountProvisional(ctx context.Context, tenant string) (int, error) {
	n, err := queryOne(ctx, s.countProvisional, scanInt, tenant)
	return int(n), err
}

// RemoveClients removes all in one transaction: a commit costs more than most of
// what it commits.
func (s *clients) RemoveClients(ctx context.Context, tenant string, clients []store.Client) ([]string, error) {
	if len(clients) == 0 {
		return nil, ctx.Err()
	}
	var removed []string
	err := s.db.atomically(ctx, s.removeVersion.name, func(tx *sql.Tx) error {
		removed = nil
		for i := range clients {
			n, err := s.removeVersion.execIn(ctx, tx, tenant, clients[i].ID, clients[i].Version)
			if err != nil {
				return err
			}
			if n > 0 {
				removed = append(removed, clients[i].ID)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return removed, nil
}
