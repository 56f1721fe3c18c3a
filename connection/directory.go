package connection

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// Strategies.
const (
	StrategyDatabase = "auth0"
	StrategyHost     = "host"
)

var (
	// ErrInvalidCredentials: wrong login or password, or no such user; never says which.
	ErrInvalidCredentials = errors.New("connection: invalid credentials")
	// ErrLocked: too many failures. See LockedError for when to retry.
	ErrLocked = errors.New("connection: too many failed attempts")
	// ErrBusy: too many password checks run already.
	ErrBusy = errors.New("connection: busy")
	// ErrNotAllowed: the client may not use the connection (any more), the tenant
	// switched dynamic registration off, or the user is gone or blocked.
	ErrNotAllowed = errors.New("connection: not allowed")
)

// Config is what a Directory needs.
type Config struct {
	Stores  store.Stores
	Tenants *tenant.Directory
	// Hosts are the embedding application's own logins by connection name.
	Hosts map[string]Host
	// PasswordConcurrency bounds how many argon2id computations run at once.
	PasswordConcurrency int
	Now                 func() time.Time
	Logger              *slog.Logger
}

// Identity is who the host application says is signed in.
type Identity struct {
	// UserID is the host's stable identifier, the sub of tokens.
	UserID string
	// AuthenticatedAt is when the user proved it; zero: now, at the resume.
	AuthenticatedAt time.Time
	AMR             []string
	ACR             string
}

// Host is the embedding application's own login.
type Host struct {
	// Current says who is signed in to the host application, from its own cookie
	// on r. The bool is false if nobody is.
	Current func(r *http.Request) (Identity, bool, error)
	// Login returns the URL of the host's login page. The page sends the browser
	// back to request.ReturnTo when the user is signed in.
	Login func(r *http.Request, request LoginRequest) (string, error)
}

// LoginRequest tells the host's page what is being asked.
type LoginRequest struct {
	ReturnTo   string
	ClientID   string
	ClientName string
	LoginHint  string
	// Reauthenticate asks for a fresh proof even if somebody is signed in.
	Reauthenticate bool
}

// Directory knows the connections of the tenants.
type Directory struct{ cfg Config }

func New(cfg Config) (*Directory, error) { panic("not built") }

// Usable lists the connections that client may use now: domain connections for
// third-party clients, those that list it for first-party ones. ErrNotAllowed if
// client is dynamic and the tenant's flag is off.
func (d *Directory) Usable(ctx context.Context, t *tenant.Tenant, client *store.Client) ([]store.Connection, error) {
	panic("not built")
}

// Admit is the check at use, on every path (login, resume, code redemption,
// refresh, ...): client may use the connection now (rules of Usable), the user
// exists, belongs to it and is not blocked. It returns the user, or ErrNotAllowed
// (wrapped with the reason for the log), or a system error. One store call
// (User) with a warm cache. For a host connection without a stored user, see the
// implementation.
func (d *Directory) Admit(ctx context.Context, t *tenant.Tenant, client *store.Client, connectionID, userID string) (store.User, error) {
	panic("not built")
}

// Authenticate checks a login and password against a database connection.
func (d *Directory) Authenticate(ctx context.Context, t *tenant.Tenant, conn *store.Connection, login, password string) (store.User, error) {
	panic("not built")
}

// Host returns the host login behind a connection of strategy "host".
func (d *Directory) Host(conn *store.Connection) (Host, bool) { panic("not built") }

// Go methods for setting up.
func (d *Directory) Create(ctx context.Context, c store.Connection) (store.Connection, error) {
	panic("not built")
}
func (d *Directory) CreateUser(ctx context.Context, u store.User, password string) (store.User, error) {
	panic("not built")
}

// Management serves /api/v2/connections and /api/v2/connections/{id}.
func (d *Directory) Management() http.Handler { panic("not built") }
