package connection

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"time"

	"github.com/opkit/opkit/audit"
	"github.com/opkit/opkit/internal/seal"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// Strategies.
const (
	// StrategyDatabase is a database of users with passwords. The management SDKs
	// know it by this name.
	StrategyDatabase = "auth0"
	// StrategyHost is the embedding application's own login.
	StrategyHost = "host"
)

var (
	// ErrInvalidCredentials says that there is no such user, that the password is
	// wrong, or that the user is blocked. It never says which.
	ErrInvalidCredentials = errors.New("connection: invalid credentials")
	// ErrLocked says that a login is locked; the error is a [*LockedError].
	ErrLocked = errors.New("connection: too many failed attempts")
	// ErrBusy says that too many passwords are being checked already. Nothing was
	// counted; trying again in a second makes sense.
	ErrBusy = errors.New("connection: busy")
	// ErrNotAllowed says that the client may not use the connection (any more), or
	// that the user is gone or blocked. What it wraps is for the log.
	ErrNotAllowed = errors.New("connection: not allowed")
)

// ErrBreachedPassword is the [*InvalidError] about a new password that
// Config.BreachedPassword knows.
var ErrBreachedPassword error = &InvalidError{Field: "password", Rule: "must not be one that is known from a breach of another service"}

// LockedError says for how long a login is locked. It is the same for a login
// that belongs to nobody.
type LockedError struct {
	RetryAfter time.Duration
}

func (e *LockedError) Error() string {
	return fmt.Sprintf("%s, retry after %s", ErrLocked, e.RetryAfter)
}

// Is makes errors.Is(err, ErrLocked) true.
func (e *LockedError) Is(target error) bool { return target == ErrLocked }

// InvalidError says which member of a connection or user breaks which rule. Its
// parts may be shown to whoever sent the value.
type InvalidError struct {
	// Field is the member's name in JSON: "name", "options.passwordPolicy".
	Field string
	// Rule continues the sentence: "must not be empty".
	Rule string
}

func (e *InvalidError) Error() string { return "connection: " + e.Field + " " + e.Rule }

func invalid(field, format string, args ...any) error {
	return &InvalidError{Field: field, Rule: fmt.Sprintf(format, args...)}
}

// Config is what a [Directory] needs. Stores and Tenants are required.
type Config struct {
	// Stores keeps connections and users, and failed logins as tickets. Connections
	// are listed on most requests, so they should come through a cache; users and
	// tickets decide security at use and must not. Without UserAdmin users are
	// read-only.
	Stores store.Stores
	// Uncached is Stores without a cache. Administrators read and change its Connections,
	// so that they see each other's changes at once. Nil members: those of Stores.
	Uncached store.Stores
	Tenants  *tenant.Directory

	// Hosts are the embedding application's own logins by connection name. Each
	// becomes usable when a connection of that name and strategy "host" exists: see
	// [Directory.Ensure].
	Hosts map[string]Host

	// Secrets seal the secrets of upstream connections: the first one seals, all open.
	// Outbound sends requests to upstreams, and Keys verifies what they sign. All three
	// are needed, and Stores.UserAdmin, for connections to other providers.
	Secrets  [][]byte
	Outbound Outbound
	Keys     PublishedKeys

	// MapUpstream makes the profile of a user who has just signed in at an upstream. An
	// error that wraps [ErrNotAllowed] refuses the user, any other is a system error.
	// What cannot be part of a profile is left out. Nil: the connection's options do.
	MapUpstream func(ctx context.Context, c UpstreamClaims) (UpstreamProfile, error)

	// ACR says which authentication context classes logins achieve.
	ACR ACRConfig

	// Argon2id are the parameters for new password hashes. Zero: 19 MiB, two
	// passes, one lane. Hashes with lower parameters are replaced when their user
	// signs in.
	Argon2id Argon2id

	// PasswordConcurrency bounds how many passwords are checked at once; each check
	// takes the memory that Argon2id says. Zero: the number of processors, 8 at
	// most. A check counts as a failed attempt until it succeeds, so more than 10
	// could lock a login that many devices use at the same instant with the right
	// password.
	PasswordConcurrency int

	// PasswordQueue bounds how many checks wait for their turn; more get [ErrBusy].
	// Zero: 32 for each that may run. Negative: none waits.
	PasswordQueue int

	// LegacyPassword checks passwords against hashes that are not argon2id, so that
	// users keep their passwords when they move here. It is called only for such
	// hashes, within the bound of PasswordConcurrency. A hash that it accepts is
	// replaced if Stores.UserAdmin is set. Until then the time of an answer can
	// tell that such a user exists. Nil: hashes of bcrypt, and of argon2i, scrypt and
	// PBKDF2 in PHC string format are understood, and replaced in the same way; users
	// with others cannot sign in.
	LegacyPassword func(ctx context.Context, hash, password string) (bool, error)

	// BreachedPassword says whether a new password is known from a breach of any
	// service. An error of it is a system error: whoever would rather go on when the
	// list cannot be asked returns false. Nil: none is known.
	BreachedPassword func(ctx context.Context, password string) (bool, error)

	// Now is the clock. Nil: time.Now.
	Now func() time.Time
	// Audit receives what administrators change, see package audit, while requests wait. Nil:
	// nobody does.
	Audit audit.Sink

	// Logger receives failures and what administrators do. Nil: discarded.
	Logger *slog.Logger
}

const (
	maxDefaultConcurrency = 8
	queuePerCheck         = 32
)

// Directory knows the connections of the tenants and their users. It is safe for
// concurrent use.
type Directory struct {
	cfg       Config
	hosts     map[string]Host
	passwords *passwords
	strangers *strangers
	upstreams *upstreams // nil: there are none
	resealing resealing
}

// New checks cfg. It reads and writes no store and starts no goroutine.
func New(cfg Config) (*Directory, error) {
	switch {
	case cfg.Stores.Connections == nil, cfg.Stores.Users == nil, cfg.Stores.Tickets == nil:
		return nil, errors.New("connection: Config.Stores needs Connections, Users and Tickets")
	case cfg.Tenants == nil:
		return nil, errors.New("connection: Config.Tenants is required")
	case cfg.PasswordConcurrency < 0:
		return nil, errors.New("connection: Config.PasswordConcurrency must not be negative")
	}
	cfg.ACR = cfg.ACR.resolved()
	if err := cfg.ACR.check(); err != nil {
		return nil, fmt.Errorf("connection: Config.ACR %w", err)
	}
	if cfg.Argon2id == (Argon2id{}) {
		cfg.Argon2id = defaultArgon2id
	}
	if err := cfg.Argon2id.check(); err != nil {
		return nil, fmt.Errorf("connection: Config.Argon2id %w", err)
	}
	if cfg.PasswordConcurrency == 0 {
		cfg.PasswordConcurrency = min(runtime.GOMAXPROCS(0), maxDefaultConcurrency)
	}
	switch {
	case cfg.PasswordQueue == 0:
		cfg.PasswordQueue = queuePerCheck * cfg.PasswordConcurrency
	case cfg.PasswordQueue < 0:
		cfg.PasswordQueue = 0
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	d := &Directory{
		cfg:       cfg,
		hosts:     make(map[string]Host, len(cfg.Hosts)),
		passwords: newPasswords(cfg),
		strangers: newStrangers(maxStrangers),
	}
	if len(cfg.Secrets) > 0 && cfg.Outbound != nil && cfg.Keys != nil {
		box, err := seal.New("upstream-secret", cfg.Secrets...)
		if err != nil {
			return nil, fmt.Errorf("connection: Config.Secrets: %w", err)
		}
		tokens, err := seal.New("upstream-tokens", cfg.Secrets...)
		if err != nil {
			return nil, fmt.Errorf("connection: Config.Secrets: %w", err)
		}
		client := cfg.Outbound.Client()
		d.upstreams = &upstreams{client: client, keys: cfg.Keys, secrets: box, tokens: tokens, known: &documents{client: client, now: cfg.Now, known: map[string]*document{}}}
	}
	for name, host := range cfg.Hosts {
		if err := checkName(name); err != nil {
			return nil, fmt.Errorf("connection: Config.Hosts: %w", err)
		}
		if host.Current == nil || host.Login == nil {
			return nil, fmt.Errorf("connection: Config.Hosts[%q] needs Current and Login", name)
		}
		d.hosts[name] = d.guarded(name, host)
	}
	return d, nil
}

// now returns the time as records keep it.
func (d *Directory) now() time.Time { return d.cfg.Now().UTC().Truncate(time.Microsecond) }
