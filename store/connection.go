package store

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"time"
)

// Connection is a way for users to prove who they are.
type Connection struct {
	TenantID string `json:"tenant_id"`
	ID       string `json:"id"`
	// Name is unique in its tenant, compared exactly.
	Name        string `json:"name"`
	DisplayName string `json:"display_name,omitempty"`
	// Strategy names the kind: "auth0" is a database of users with passwords,
	// "host" is the embedding application's own session, "oidc" another provider.
	Strategy string `json:"strategy"`
	// Options belong to the strategy.
	Options json.RawMessage `json:"options,omitempty"`
	// IsDomainConnection opens the connection to every third-party client.
	IsDomainConnection bool `json:"is_domain_connection"`
	// EnabledClients are the identifiers of the first-party clients that may use
	// the connection.
	EnabledClients []string `json:"enabled_clients,omitempty"`
	// ShowAsButton says whether login pages have a button for a connection to another
	// provider. Nil: they have, unless the domains of email addresses lead there.
	ShowAsButton *bool `json:"show_as_button,omitempty"`
	// Realms are other names that login pages may know the connection by. Empty:
	// its own name.
	Realms    []string          `json:"realms,omitempty"`
	Metadata  map[string]string `json:"metadata,omitempty"`
	Version   int64             `json:"version"`
	CreatedAt time.Time         `json:"created_at"`
	UpdatedAt time.Time         `json:"updated_at"`
}

// Clone returns a copy that shares nothing with c.
func (c Connection) Clone() Connection {
	c.Options = slices.Clone(c.Options)
	c.EnabledClients = slices.Clone(c.EnabledClients)
	c.Realms = slices.Clone(c.Realms)
	c.Metadata = maps.Clone(c.Metadata)
	if c.ShowAsButton != nil {
		show := *c.ShowAsButton
		c.ShowAsButton = &show
	}
	return c
}

// ConnectionStore keeps connections. A tenant has few of them.
type ConnectionStore interface {
	// CreateConnection stores c. ErrExists: the ID or the name is taken.
	CreateConnection(ctx context.Context, c Connection) error
	// Connection returns the connection. ErrNotFound: there is none.
	Connection(ctx context.Context, tenant, id string) (Connection, error)
	// UpdateConnection replaces the connection by compare-and-swap. ErrExists:
	// its new name is taken.
	UpdateConnection(ctx context.Context, c Connection) error
	// DeleteConnection removes the connection. Its users stay until they are
	// deleted; they can no longer sign in.
	DeleteConnection(ctx context.Context, tenant, id string) error
	// Connections lists the tenant's connections.
	Connections(ctx context.Context, tenant string, page Page) ([]Connection, error)
}
