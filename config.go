package opkit

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"time"

	"github.com/opkit/opkit/connection"
	"github.com/opkit/opkit/internal/seal"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
	"github.com/opkit/opkit/token"
)

// Config is what a [Provider] is made of. Issuer (or Resolver), Stores and Secret
// are required; the zero value of everything else is the safest choice.
type Config struct {
	// Issuer is the issuer identifier of a provider with one tenant: an https URL
	// (http is accepted for a loopback host), kept byte for byte; a trailing slash
	// counts. The tenant's record is created at first use.
	Issuer string

	// Resolver finds the tenant of each request where there are several, see
	// [tenant.ByHost] and [tenant.ByPath]. Issuer must then be empty.
	Resolver tenant.Resolver

	// Settings are given to the single tenant when its record is created. Later the
	// record counts, which the management API changes.
	Settings store.TenantSettings

	// Stores keeps everything that has to survive a request.
	Stores store.Stores

	// Secret seals private keys at rest, opaque tokens and what travels through the
	// browser: at least 32 random bytes, equal on all nodes and after every start.
	Secret []byte

	// PreviousSecrets still open what they sealed. To replace Secret, move it here
	// and keep it until the longest-lived refresh token has been used or expired.
	PreviousSecrets [][]byte

	// Endpoints says where endpoints are mounted. Zero: the default paths.
	Endpoints tenant.Endpoints

	// Hosts are the embedding application's own logins, by the name of their
	// connection.
	Hosts map[string]connection.Host

	// Claims adds custom claims to tokens. Nil: none.
	Claims token.ClaimsFunc

	// Pages replaces built-in pages by file name, see package authorize.
	Pages fs.FS

	// InsecureHotlinkLogos shows logos from the addresses that clients registered:
	// the client's server sees every visitor, and a logo can imitate a brand.
	InsecureHotlinkLogos bool

	// TrustedProxies are the addresses whose X-Forwarded-For is believed. Empty:
	// none; the peer's address counts.
	TrustedProxies []netip.Prefix

	// CacheStaleness bounds how old a tenant, connection, client, API or key may be
	// that another node has changed. Zero: 5 seconds. Negative: no cache. A write
	// on this node is seen at once. What decides security at use (grants, sessions,
	// users, tickets) is never cached.
	CacheStaleness time.Duration

	// Now is the clock. Nil: time.Now.
	Now func() time.Time

	// Logger receives internal errors and warnings. Nil: they are discarded.
	Logger *slog.Logger
}

// resolved checks c and fills in the defaults.
func (c Config) resolved() (Config, error) {
	var errs []error
	switch {
	case c.Issuer == "" && c.Resolver == nil:
		errs = append(errs, errors.New("opkit: Config.Issuer or Config.Resolver is required"))
	case c.Issuer != "" && c.Resolver != nil:
		errs = append(errs, errors.New("opkit: Config.Issuer and Config.Resolver exclude each other"))
	}
	if err := c.Stores.Validate(); err != nil {
		errs = append(errs, err)
	}
	for i, secret := range c.secrets() {
		if len(secret) < seal.MinSecret {
			name := "Secret"
			if i > 0 {
				name = fmt.Sprintf("PreviousSecrets[%d]", i-1)
			}
			errs = append(errs, fmt.Errorf("opkit: Config.%s has %d bytes, at least %d are required", name, len(secret), seal.MinSecret))
		}
	}
	// What this version does not serve itself is advertised only if the host mounts
	// something there.
	for _, endpoint := range []*string{
		&c.Endpoints.Revocation, &c.Endpoints.Introspection, &c.Endpoints.PushedAuthorizationRequest,
		&c.Endpoints.DeviceAuthorization, &c.Endpoints.DeviceActivation, &c.Endpoints.EndSession,
	} {
		*endpoint = cmp.Or(*endpoint, "-")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, errors.Join(errs...)
}

// secrets returns the secret that seals, followed by those that only open.
func (c Config) secrets() [][]byte {
	return append([][]byte{c.Secret}, c.PreviousSecrets...)
}
