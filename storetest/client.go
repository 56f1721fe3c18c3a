package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/opkit/opkit/store"
)

// RunClients checks a [store.ClientStore].
func RunClients(t *testing.T, newStore func(t *testing.T) store.ClientStore, opts *Options[store.ClientStore]) {
	runAll(t, clientChecks(), newStore, opts)
}

func clientChecks() []check[store.ClientStore] {
	return append(clients.common(),
		check[store.ClientStore]{
			name: "secrets", rule: ruleSecrets,
			explanation: "Digests and sealed bytes are kept bit by bit: all zeros, all ones, every byte.",
			run:         checkClientSecrets,
		},
		check[store.ClientStore]{
			name: "metadata-zero", rule: ruleFields,
			explanation: "A default_max_age of 0 is not the same as none.",
			run: func(ctx context.Context, s store.ClientStore, e *env[store.ClientStore]) {
				c := clients.record("t", "a")
				c.Metadata = &store.ClientMetadata{DefaultMaxAge: new(int64)}
				clients.expect(ctx, e, s, clients.put(ctx, e, s, c), "t", "a")
			},
		},
	)
}

var clients = kind[store.ClientStore, store.Client]{
	noun: "client",
	identify: func(c *store.Client, tenant, id string) {
		c.TenantID, c.ID, c.SecurityMode = tenant, id, store.ModePermissive
	},
	alter:   func(c *store.Client) { c.SecurityMode = store.ModeStrict },
	listed:  func(c store.Client) string { return c.ID },
	version: func(c *store.Client) *int64 { return &c.Version },
	fixed:   []string{"SecurityMode", "Dynamic", "CreatedAt"},
	create: func(ctx context.Context, s store.ClientStore, c store.Client, _ time.Time) error {
		return s.CreateClient(ctx, c)
	},
	taken: store.ErrExists,
	get: func(ctx context.Context, s store.ClientStore, tenant, id string, _ time.Time) (store.Client, error) {
		return s.Client(ctx, tenant, id)
	},
	update: func(ctx context.Context, s store.ClientStore, c store.Client, _ time.Time) error {
		return s.UpdateClient(ctx, c)
	},
	remove: func(ctx context.Context, s store.ClientStore, tenant, id string) error {
		return s.DeleteClient(ctx, tenant, id)
	},
	lists: []lister[store.ClientStore, store.Client]{{
		"Clients",
		func(ctx context.Context, s store.ClientStore, tenant string, page store.Page, _ time.Time) ([]store.Client, error) {
			return s.Clients(ctx, tenant, page)
		},
	}},
	calls: func(s store.ClientStore, c store.Client) []call {
		return []call{
			{"CreateClient", func(ctx context.Context) error { return s.CreateClient(ctx, c) }},
			{"Client", func(ctx context.Context) error { _, err := s.Client(ctx, c.TenantID, c.ID); return err }},
			{"UpdateClient", func(ctx context.Context) error { return s.UpdateClient(ctx, c) }},
			{"DeleteClient", func(ctx context.Context) error { return s.DeleteClient(ctx, c.TenantID, c.ID) }},
			{"Clients", func(ctx context.Context) error { _, err := s.Clients(ctx, c.TenantID, store.Page{}); return err }},
		}
	},
}

func checkClientSecrets(ctx context.Context, s store.ClientStore, e *env[store.ClientStore]) {
	var ones, every store.Digest
	bytes := make(store.Sealed, 256)
	for i := range bytes {
		bytes[i] = byte(i)
	}
	for i := range ones {
		ones[i] = 0xff
	}
	copy(every[:], bytes)
	for _, secret := range []struct {
		id     string
		digest store.Digest
		sealed store.Sealed
	}{
		{"none", store.Digest{}, nil},
		{"ones", ones, store.Sealed(ones[:])},
		{"zeros", store.Digest{31: 1}, make(store.Sealed, 64)},
		{"every byte", every, bytes},
		{"text", store.DigestOf("secret"), store.Sealed("'text' % \\ \"")},
	} {
		c := clients.record("t", secret.id)
		c.SecretDigest, c.SealedSecret = secret.digest, secret.sealed
		clients.expect(ctx, e, s, clients.put(ctx, e, s, c), "t", secret.id)
	}
}
