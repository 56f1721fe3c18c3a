package token

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/opkit/opkit/audit"
	"github.com/opkit/opkit/connection"
	"github.com/opkit/opkit/internal/clientauth"
	"github.com/opkit/opkit/internal/seal"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// Config is what an [Issuer] needs.
type Config struct {
	// Stores, Tenants, Connections and ClientAuth are required.
	Stores      store.Stores
	Tenants     *tenant.Directory
	Connections *connection.Directory
	ClientAuth  *clientauth.Authenticator
	// Secrets seal codes, refresh tokens and opaque access tokens; the first one
	// seals, all open. Each has at least 32 bytes. Required.
	Secrets [][]byte

	// Claims adds custom claims. Nil: none.
	Claims ClaimsFunc
	// DroppedClaim is called each time a custom claim was dropped because no URI
	// namespaces its name. The log reports each name once. Nil: only the log.
	DroppedClaim func(ctx context.Context, in ClaimsInput, name string)

	// MaxAccessTokenSize is how many bytes an access token for an API (a JWT) may have,
	// with its custom claims and scopes. One that would be larger is not minted, and
	// the code or refresh token can be presented again. Zero: 4096, half of what widely
	// used servers take for the headers of a request. At most 16384, beyond which the
	// provider itself reads no token.
	MaxAccessTokenSize int

	// UserClaimsInIDToken puts the claims of the scopes profile, email, address and
	// phone into every ID token. By default they are there only if no access token
	// is issued to fetch them with (OpenID Connect Core §5.4); many single-page
	// application SDKs look nowhere else.
	UserClaimsInIDToken bool

	// InsecureUnsignedIDTokens mints ID tokens without a signature for the clients
	// that registered id_token_signed_response_alg none, from the token endpoint only.
	// Nobody but the client that fetched such a token over TLS may believe it.
	InsecureUnsignedIDTokens bool

	// InsecureUserInfoTokenInQuery accepts an access token in the query of a GET request
	// to userinfo (RFC 6750 §2.3), from clients that are not strict. Addresses end up in
	// the logs of proxies, and tokens with them.
	InsecureUserInfoTokenInQuery bool

	// CodeLifetime is how long a code can be redeemed. Zero: 60 seconds. RFC 6749
	// §4.1.2 recommends ten minutes at most; more is an error.
	CodeLifetime time.Duration
	// AccessTokenLifetime applies to opaque access tokens and to those of an API
	// that sets none. Zero: one hour.
	AccessTokenLifetime time.Duration
	// IDTokenLifetime is for how long a client may accept an ID token. Zero: one
	// hour.
	IDTokenLifetime time.Duration

	// RefreshTokenIdle is how long a refresh token lives unused. Zero: 15 days.
	RefreshTokenIdle time.Duration
	// RefreshTokenAbsolute is how long a chain of refresh tokens lives, measured
	// from the code. Zero: 30 days. Negative: without limit.
	RefreshTokenAbsolute time.Duration
	// RefreshTokenLeeway is how long after its use a refresh token may be
	// presented again by a client that did not get the answer. Zero: 10 seconds.
	// Negative: never.
	RefreshTokenLeeway time.Duration

	// Now tells the time. Nil: [time.Now].
	Now func() time.Time
	// Audit receives what was used twice, see package audit, while requests wait. Nil:
	// nobody does.
	Audit audit.Sink

	// Logger receives internal errors, replays and dropped claims. Nil: nothing
	// is logged.
	Logger *slog.Logger
}

// maxCodeLifetime is the recommended maximum of RFC 6749 §4.1.2.
const maxCodeLifetime = 10 * time.Minute

// Issuer mints every token, and serves the token and userinfo endpoints. It is
// safe for concurrent use.
type Issuer struct {
	stores      store.Stores
	tenants     *tenant.Directory
	connections *connection.Directory
	clientAuth  *clientauth.Authenticator
	claims      ClaimsFunc
	dropped     droppedClaims

	maxAccessToken int // bytes

	userClaimsInIDToken, unsignedIDTokens, tokenInQuery bool

	// One box per kind: a code is no refresh token, neither is an access token.
	codes, refreshTokens, accessTokens *seal.Box
	clientSecrets                      *seal.Box

	codeLifetime, accessTokenLifetime, idTokenLifetime time.Duration
	refreshIdle, refreshAbsolute, refreshLeeway        time.Duration

	clock  func() time.Time
	logger *slog.Logger
	audit  audit.Sink
}

// New returns the issuer that cfg describes, or an error that names what is
// wrong with it.
func New(cfg Config) (*Issuer, error) {
	errs := []error{cfg.Stores.Validate()}
	require := func(name string, isNil bool) {
		if isNil {
			errs = append(errs, fmt.Errorf("token: Config.%s is required", name))
		}
	}
	require("Tenants", cfg.Tenants == nil)
	require("Connections", cfg.Connections == nil)
	require("ClientAuth", cfg.ClientAuth == nil)

	i := &Issuer{
		stores: cfg.Stores, tenants: cfg.Tenants, connections: cfg.Connections, clientAuth: cfg.ClientAuth,
		claims: cfg.Claims, userClaimsInIDToken: cfg.UserClaimsInIDToken, unsignedIDTokens: cfg.InsecureUnsignedIDTokens, tokenInQuery: cfg.InsecureUserInfoTokenInQuery,
		clock:  cfg.Now,
		logger: cfg.Logger, audit: cfg.Audit,
	}
	if i.clock == nil {
		i.clock = time.Now
	}
	if i.logger == nil {
		i.logger = slog.New(slog.DiscardHandler)
	}
	i.dropped = droppedClaims{hook: cfg.DroppedClaim, logger: i.logger}

	i.maxAccessToken = cmp.Or(cfg.MaxAccessTokenSize, defaultMaxAccessToken)
	if i.maxAccessToken < 0 || i.maxAccessToken > maxToken {
		errs = append(errs, fmt.Errorf("token: Config.MaxAccessTokenSize must be from 1 to %d bytes, or 0 for %d", maxToken, defaultMaxAccessToken))
	}

	positive := func(name string, value, byDefault time.Duration) time.Duration {
		if value < 0 {
			errs = append(errs, fmt.Errorf("token: Config.%s is negative", name))
		}
		if value == 0 {
			return byDefault
		}
		return value
	}
	i.codeLifetime = positive("CodeLifetime", cfg.CodeLifetime, time.Minute)
	if i.codeLifetime > maxCodeLifetime {
		errs = append(errs, fmt.Errorf("token: Config.CodeLifetime is longer than %v", maxCodeLifetime))
	}
	i.accessTokenLifetime = positive("AccessTokenLifetime", cfg.AccessTokenLifetime, time.Hour)
	i.idTokenLifetime = positive("IDTokenLifetime", cfg.IDTokenLifetime, time.Hour)
	i.refreshIdle = positive("RefreshTokenIdle", cfg.RefreshTokenIdle, 15*24*time.Hour)
	i.refreshAbsolute = cfg.RefreshTokenAbsolute
	if i.refreshAbsolute == 0 {
		i.refreshAbsolute = 30 * 24 * time.Hour
	}
	i.refreshLeeway = cfg.RefreshTokenLeeway
	if i.refreshLeeway == 0 {
		i.refreshLeeway = 10 * time.Second
	}

	for purpose, box := range map[string]**seal.Box{
		"authorization-code": &i.codes,
		"refresh-token":      &i.refreshTokens,
		"access-token":       &i.accessTokens,
		"client-secret":      &i.clientSecrets,
	} {
		var err error
		if *box, err = seal.New(purpose, cfg.Secrets...); err != nil {
			errs = append(errs, fmt.Errorf("token: Config.Secrets: %w", err))
			break // the others fail alike
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return i, nil
}

// now returns the time in the form that stores keep.
func (i *Issuer) now() time.Time { return i.clock().UTC().Truncate(time.Microsecond) }

// familyExpiry returns until when a family has to be remembered: as long as
// anything that belongs to it may be presented. refreshUntil is zero if no
// refresh token is issued.
func (i *Issuer) familyExpiry(now time.Time, accessTokenLifetime time.Duration, refreshUntil time.Time) time.Time {
	// A retry within the leeway mints an access token without a write.
	until := now.Add(accessTokenLifetime + max(i.refreshLeeway, 0))
	// A family that were forgotten before its code expired would make the code
	// good for a second redemption.
	until = later(until, now.Add(i.codeLifetime))
	return later(until, refreshUntil)
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
