package sqltest

import (
	"context"
	"database/sql/driver"
	"sync"
)

// recorder is a connector that knows which statements were prepared on its
// connections, and how often.
type recorder struct {
	driver.Connector

	mu       sync.Mutex
	prepared map[string]int
}

// driverConn is what database/sql looks for in a connection of SQLite.
type driverConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.SessionResetter
	driver.Validator
}

type recordedConn struct {
	driverConn
	recorder *recorder
}

func (r *recorder) Connect(ctx context.Context) (driver.Conn, error) {
	c, err := r.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return recordedConn{c.(driverConn), r}, nil
}

func (c recordedConn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	c.recorder.mu.Lock()
	if c.recorder.prepared == nil {
		c.recorder.prepared = make(map[string]int)
	}
	c.recorder.prepared[query]++
	c.recorder.mu.Unlock()
	return c.driverConn.PrepareContext(ctx, query)
}

// statements returns how often each statement was prepared so far.
func (r *recorder) statements() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make(map[string]int, len(r.prepared))
	for query, n := range r.prepared {
		all[query] = n
	}
	return all
}
