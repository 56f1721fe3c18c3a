package tenant

import (
	"strings"
	"sync"

	"github.com/opkit/opkit/internal/httpx"
	"github.com/opkit/opkit/store"
)

// Tenant is a snapshot of a tenant: its record and what derives from it. It is
// shared between requests and never changes; a changed record makes another
// snapshot. Only a [Directory] makes one.
type Tenant struct {
	Record store.Tenant

	keys               *keyring
	base               string // the issuer without its trailing slash
	managementAudience string
	userInfoAudience   string
	host, port         string // of the issuer, lower case
	addresses          registrationAddresses
	metadata           func() *httpx.Document
}

func newTenant(record store.Tenant, keys *keyring, cfg *Config) *Tenant {
	t := &Tenant{Record: record, keys: keys, base: strings.TrimSuffix(record.Issuer, "/")}
	t.managementAudience = t.base + "/api/v2/"
	t.userInfoAudience = t.base + "/userinfo"
	t.host, t.port = issuerHost(record.Issuer)
	t.addresses = newRegistrationAddresses(&record.Settings)
	t.metadata = sync.OnceValue(func() *httpx.Document { return newMetadata(t, &cfg.Endpoints, &cfg.Capabilities) })
	return t
}

// of reports whether t is the snapshot of record.
func (t *Tenant) of(record *store.Tenant) bool {
	return t.Record.Version == record.Version && t.Record.Issuer == record.Issuer &&
		t.Record.CreatedAt.Equal(record.CreatedAt) && t.Record.UpdatedAt.Equal(record.UpdatedAt)
}

// ID returns the tenant's identifier.
func (t *Tenant) ID() string { return t.Record.ID }

// Issuer returns the issuer identifier, byte for byte as it was configured.
func (t *Tenant) Issuer() string { return t.Record.Issuer }

// Settings returns the tenant's settings, which must not be modified.
func (t *Tenant) Settings() *store.TenantSettings { return &t.Record.Settings }

// URL returns the absolute URL of an endpoint: the issuer without its trailing
// slash followed by the path, or the endpoint itself if it is an absolute URL. It
// is empty for [NotMounted].
func (t *Tenant) URL(endpoint string) string {
	switch {
	case strings.HasPrefix(endpoint, "/"):
		return t.base + endpoint
	case endpoint == NotMounted:
		return ""
	}
	return endpoint
}

// ManagementAudience returns the audience of the management API, ISSUER/api/v2/.
// It is an identifier: it stays the same wherever the API is mounted.
func (t *Tenant) ManagementAudience() string { return t.managementAudience }

// UserInfoAudience returns the audience that opens the userinfo endpoint,
// ISSUER/userinfo.
func (t *Tenant) UserInfoAudience() string { return t.userInfoAudience }

// servedAt reports whether a Host header names the issuer's host: the whole name,
// and its port unless both leave out the scheme's own.
func (t *Tenant) servedAt(hostHeader string) bool {
	host, port, ok := splitHost(hostHeader)
	if !ok || host != t.host {
		return false
	}
	return port == t.port || port == "" && t.port == defaultPort(t.Record.Issuer)
}
