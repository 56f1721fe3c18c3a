package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/opkit/opkit/store"
)

// RunConnections checks a [store.ConnectionStore].
func RunConnections(t *testing.T, newStore func(t *testing.T) store.ConnectionStore, opts *Options[store.ConnectionStore]) {
	runAll(t, connectionChecks(), newStore, opts)
}

func connectionChecks() []check[store.ConnectionStore] {
	return append(connections.common(), check[store.ConnectionStore]{
		name: "button-zero", rule: ruleFields,
		explanation: "A show_as_button of false is not the same as none.",
		run: func(ctx context.Context, s store.ConnectionStore, e *env[store.ConnectionStore]) {
			for id, show := range map[string]*bool{"a": new(bool), "b": nil} {
				c := connections.record("t", id)
				c.ShowAsButton = show
				connections.expect(ctx, e, s, connections.put(ctx, e, s, c), "t", id)
			}
		},
	}, check[store.ConnectionStore]{
		name: "name-exact", rule: ruleUnique,
		explanation: "Names that differ only in case, blanks or Unicode form are different names.",
		run: func(ctx context.Context, s store.ConnectionStore, e *env[store.ConnectionStore]) {
			for _, name := range lookalikes {
				c := connections.record("t", name)
				c.Name = name
				connections.expect(ctx, e, s, connections.put(ctx, e, s, c), "t", name)
			}
		},
	})
}

// lookalikes are texts that only an exact comparison tells apart.
var lookalikes = []string{"name", "Name", "NAME", "name ", " name", "na me", "näme", "na\u0308me", "n\u0430me", "name%", "nam_"}

var connections = kind[store.ConnectionStore, store.Connection]{
	noun: "connection",
	identify: func(c *store.Connection, tenant, id string) {
		c.TenantID, c.ID, c.Name = tenant, id, "connection-"+brief(id)
	},
	alter:   func(c *store.Connection) { c.Name += "-renamed" },
	listed:  func(c store.Connection) string { return c.ID },
	version: func(c *store.Connection) *int64 { return &c.Version },
	create: func(ctx context.Context, s store.ConnectionStore, c store.Connection, _ time.Time) error {
		return s.CreateConnection(ctx, c)
	},
	taken: store.ErrExists,
	get: func(ctx context.Context, s store.ConnectionStore, tenant, id string, _ time.Time) (store.Connection, error) {
		return s.Connection(ctx, tenant, id)
	},
	update: func(ctx context.Context, s store.ConnectionStore, c store.Connection, _ time.Time) error {
		return s.UpdateConnection(ctx, c)
	},
	remove: func(ctx context.Context, s store.ConnectionStore, tenant, id string) error {
		return s.DeleteConnection(ctx, tenant, id)
	},
	lists: []lister[store.ConnectionStore, store.Connection]{{
		"Connections",
		func(ctx context.Context, s store.ConnectionStore, tenant string, page store.Page, _ time.Time) ([]store.Connection, error) {
			return s.Connections(ctx, tenant, page)
		},
	}},
	uniques: []unique[store.Connection]{
		{name: "name", set: func(c *store.Connection, v string) { c.Name = v }},
	},
	calls: func(s store.ConnectionStore, c store.Connection) []call {
		return []call{
			{"CreateConnection", func(ctx context.Context) error { return s.CreateConnection(ctx, c) }},
			{"Connection", func(ctx context.Context) error { _, err := s.Connection(ctx, c.TenantID, c.ID); return err }},
			{"UpdateConnection", func(ctx context.Context) error { return s.UpdateConnection(ctx, c) }},
			{"DeleteConnection", func(ctx context.Context) error { return s.DeleteConnection(ctx, c.TenantID, c.ID) }},
			{"Connections", func(ctx context.Context) error { _, err := s.Connections(ctx, c.TenantID, store.Page{}); return err }},
		}
	},
}
