package opkit

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"time"

	"github.com/opkit/opkit/audit"
	"github.com/opkit/opkit/authorize"
	"github.com/opkit/opkit/connection"
	"github.com/opkit/opkit/dcr"
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
	// browser: at least 32 random bytes, equal on all nodes and after every start. The
	// key that applications encrypt request objects to is derived from it.
	Secret []byte

	// PreviousSecrets still open what they sealed. To replace Secret, move it here, on
	// all nodes, and keep it until the longest-lived refresh token has been used or
	// expired, Run has gone over the tenants and logged that all client secrets, and all
	// secrets of upstream connections, are sealed with the current secret, and every
	// signing key has been replaced, see Keys;
	// [tenant.Directory.RotateSigningKey] hastens that.
	PreviousSecrets [][]byte

	// Keys says where signing keys live (here or in a KMS) and when they are
	// replaced. The zero value replaces them every 90 days.
	Keys tenant.KeyConfig

	// Endpoints says where endpoints are mounted. Zero: the default paths.
	Endpoints tenant.Endpoints

	// Hosts are the embedding application's own logins, by the name of their
	// connection.
	Hosts map[string]connection.Host

	// Claims adds custom claims to ID tokens, access tokens and userinfo. Nil: none.
	Claims token.ClaimsFunc

	// MaxAccessTokenSize is how many bytes an access token for an API (a JWT) may have,
	// with its custom claims and scopes; one that would be larger is not minted. Zero:
	// 4096, half of what widely used servers take for the headers of a request. At
	// most 16384.
	MaxAccessTokenSize int

	// UserClaimsInIDToken puts the claims of the scopes profile, email, address and
	// phone into every ID token, where many SDKs for single-page applications look
	// for them. By default they are there only if no access token is issued to fetch
	// them with (OpenID Connect Core §5.4).
	UserClaimsInIDToken bool

	// InsecureUnsignedIDTokens lets applications register the algorithm none for their
	// ID tokens (id_token_signed_response_alg). Only those may that receive ID tokens
	// from the token endpoint alone (OpenID Connect Core §2), and no strict ones that
	// register themselves. Whoever the application shows such a token to can have made
	// it.
	InsecureUnsignedIDTokens bool

	// Registration tunes dynamic registration.
	Registration RegistrationConfig

	// ACR says which authentication context classes (acr) logins achieve. The zero
	// value suits logins with a password.
	ACR connection.ACRConfig

	// ManagementRate is how often one client may call the management API of one tenant.
	// Zero: 20 requests a second, 200 at once, counted on each node.
	ManagementRate tenant.ManagementRate

	// MapUpstream makes the profile of a user who has just signed in at another provider,
	// or refuses the user, see [connection.Config]. Nil: the options of the connection do
	// the first.
	MapUpstream func(ctx context.Context, c connection.UpstreamClaims) (connection.UpstreamProfile, error)

	// Mailer sends links to users: to replace a forgotten password, to verify an email
	// address, to sign up. Nil: nobody can do the first, the second does not happen, and
	// whoever signs up has an account at once, under an address that nobody proved.
	Mailer authorize.Mailer

	// SharedLimits counts sign-ups and forgotten passwords by network, the mails that one
	// address gets, and the answers of other providers by network, on all nodes together:
	// by short-lived tickets in Stores.Tickets. That costs a request which is counted a
	// read and a write, and more only if nodes count one network at the same moment. By
	// default each process counts what it sees, so that several allow several times as
	// much. Registrations have a limiter of their own, see [dcr.NewSharedLimiter].
	SharedLimits bool

	// Passwords tunes how the passwords of database connections are checked.
	Passwords PasswordConfig

	// Lifetimes are those of what is minted.
	Lifetimes Lifetimes

	// RequireRegisteredAuthMethod refuses a client secret that comes by HTTP Basic
	// from a client that registered client_secret_post, or the reverse. By default
	// each stands for the other, because widespread libraries try Basic first.
	RequireRegisteredAuthMethod bool

	// InsecureTokenEndpointAudience accepts client assertions whose audience is the
	// token endpoint instead of the issuer. Another provider that a client was led
	// to use could replay such an assertion here.
	InsecureTokenEndpointAudience bool

	// InsecureUserInfoTokenInQuery accepts an access token in the query of a GET request
	// to userinfo (RFC 6750 §2.3), from applications that are not strict. passport-auth0
	// sends it there. Addresses end up in the logs of proxies, and tokens with them.
	InsecureUserInfoTokenInQuery bool

	// Pages replaces built-in pages by file name, see package authorize.
	Pages fs.FS

	// InsecureHotlinkLogos shows logos from the addresses that clients registered:
	// the client's server sees every visitor, and a logo can imitate a brand.
	InsecureHotlinkLogos bool

	// Outbound bounds the requests that the provider sends to addresses which
	// applications registered. The zero value is the safest.
	Outbound OutboundConfig

	// TrustedProxies are the addresses whose X-Forwarded-For is believed. Empty:
	// none; the peer's address counts.
	TrustedProxies []netip.Prefix

	// CacheStaleness bounds how old a tenant, connection, client, API or key may be
	// that another node has changed. Zero: 5 seconds. Negative: no cache. A write
	// on this node is seen at once. What decides security at use (grants, sessions,
	// users, tickets) is never cached.
	CacheStaleness time.Duration

	// RequestTimeout bounds how long a request may take, so that a store that does not
	// answer fails it, with 503 and Retry-After where that can be said, instead of
	// keeping it. A deadline that the request's context has already counts instead.
	// What must not stop halfway (deleting a user or a client, revoking what was used
	// twice) has a limit of its own, a minute at most. Zero: 20 seconds. Negative: no
	// limit.
	RequestTimeout time.Duration

	// Audit receives every decision, see package audit, while the request waits. [audit.Log]
	// writes events to a logger. Nil: nobody does. The log of Stores.Events gets them
	// besides.
	Audit audit.Sink

	// EventLog says how much the log keeps that administrators read
	// (/api/v2/logs), if there is Stores.Events.
	EventLog EventLogConfig

	// Now is the clock. Nil: time.Now.
	Now func() time.Time

	// Logger receives internal errors and warnings. Nil: they are discarded.
	Logger *slog.Logger
}

// RegistrationConfig tunes dynamic registration. The zero value suits an endpoint
// that is open to the internet.
type RegistrationConfig struct {
	// Redirects says which redirect URIs may be registered.
	Redirects dcr.RedirectPolicy
	// Policy narrows what applications may be that nobody set up.
	Policy dcr.Policy
	// Documents says which client ID metadata documents are accepted.
	Documents dcr.DocumentPolicy
	// ReusePublicClients answers an application without a secret that registers again,
	// with the same metadata, with the client that it has.
	ReusePublicClients bool
	// Limiter decides which attempts go ahead, see [dcr.NewSharedLimiter] for one that
	// holds on all nodes. Nil: one of this process, with Rate.
	Limiter dcr.Limiter
	// Rate is that of the default limiter.
	Rate dcr.Rate
	// SoftwareIssuers are the issuers of software statements that are trusted. Empty:
	// statements are ignored. RequireSoftwareStatement refuses registrations, and client
	// ID metadata documents, without one at tenants that trust an issuer.
	SoftwareIssuers          []dcr.SoftwareIssuer
	RequireSoftwareStatement bool
	// Lifecycle says how long registrations are kept that nobody uses.
	Lifecycle dcr.Lifecycle
}

// PasswordConfig tunes how passwords are checked, see [connection.Config].
type PasswordConfig struct {
	// Argon2id are the parameters of new hashes. Zero: 19 MiB, two passes, one lane.
	Argon2id connection.Argon2id
	// Concurrency bounds how many passwords are checked at once. Zero: the number
	// of processors, 8 at most.
	Concurrency int
	// Queue bounds how many checks wait. Zero: 32 for each that may run. Negative:
	// none waits.
	Queue int
	// Breached says whether a new password is known from a breach of any service. An
	// error of it is a system error. Nil: none is known.
	Breached func(ctx context.Context, password string) (bool, error)
	// Legacy checks hashes that are not argon2id, so that users keep their
	// passwords when they move here. Nil: those of bcrypt, argon2i, scrypt and PBKDF2
	// are understood, see [connection.Directory.CreateUser].
	Legacy func(ctx context.Context, hash, password string) (bool, error)
}

// Lifetimes are those of what is minted. Zero members mean the default.
type Lifetimes struct {
	// Code is how long a code can be redeemed. Zero: 60 seconds. Ten minutes at
	// most.
	Code time.Duration
	// AccessToken applies to opaque access tokens and to those of an API that sets
	// no lifetime of its own. Zero: one hour.
	AccessToken time.Duration
	// IDToken is for how long a client may accept an ID token. Zero: one hour.
	IDToken time.Duration
	// RefreshTokenIdle is how long a refresh token lives unused. Zero: 15 days.
	RefreshTokenIdle time.Duration
	// RefreshTokenAbsolute is how long a chain of refresh tokens lives. Zero: 30
	// days. Negative: without limit.
	RefreshTokenAbsolute time.Duration
	// RefreshTokenLeeway is how long a rotated refresh token may be presented again
	// by a client that missed the answer. Zero: 10 seconds. Negative: never.
	RefreshTokenLeeway time.Duration
}

// EventLogConfig says how much the log of events keeps. It has addresses of users, so
// it should not keep them for longer than somebody looks at them.
type EventLogConfig struct {
	// Retention is how long an event is kept. Zero: 30 days.
	Retention time.Duration
	// MaxEvents is how many events each tenant keeps of what administrators did, of what
	// others did, and of what was refused or failed. Zero: 50,000 of each.
	MaxEvents int
}

// OutboundConfig bounds the requests that a provider sends to addresses which
// applications registered, such as a backchannel_logout_uri. They go to https URLs
// on the internet only; redirects are not followed.
type OutboundConfig struct {
	// InsecureAllow are addresses outside of the internet, such as loopback ones,
	// that may be connected to all the same. It is meant for test suites: whoever
	// can register an application can make the provider send requests there.
	InsecureAllow []netip.Prefix

	// RootCAs are the authorities that servers' certificates are checked against.
	// Nil: those of the system.
	RootCAs *x509.CertPool
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
	if c.EventLog.Retention < 0 || c.EventLog.MaxEvents < 0 {
		errs = append(errs, errors.New("opkit: Config.EventLog: Retention and MaxEvents must not be negative"))
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
		&c.Endpoints.DeviceAuthorization, &c.Endpoints.DeviceActivation,
	} {
		*endpoint = cmp.Or(*endpoint, "-")
	}
	c.RequestTimeout = cmp.Or(c.RequestTimeout, defaultRequestTimeout)
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
