package connection

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// Host is the embedding application's own login: its session cookie, its login
// page, its users.
//
// It belongs to the connection of strategy "host" with the same name. That
// connection is a record like any other, made once with [Directory.Ensure] when
// the program starts: whether third-party applications may use it is a decision
// for an administrator, who makes it in the record, so that it is not made by a
// login that happens to come first.
type Host struct {
	// Current says who is signed in to the application, from its own cookie on r.
	// The bool is false if nobody is. It is asked at every authorization request,
	// so what it says wins over any earlier session.
	Current func(r *http.Request) (Identity, bool, error)

	// Login returns the address of the application's login page. The page sends the
	// browser to request.ReturnTo when the user is signed in, or gave up.
	Login func(r *http.Request, request LoginRequest) (string, error)

	// User returns a user of the application by the identifier that Current gave:
	// what to put into claims, and Blocked. store.ErrNotFound says that the user is
	// gone. It is called whenever tokens are about to be issued or userinfo is
	// about to be answered, so that a user who left the application leaves here
	// too. TenantID, ID, ConnectionID and PasswordHash need not be set.
	//
	// Nil: Stores.Users is asked for a user with that ID and ConnectionID.
	User func(ctx context.Context, tenant, id string) (store.User, error)

	// InsecureSkipUser serves users that neither User nor Stores.Users know: with an
	// identifier and no other claim, and for as long as the client's grant lives,
	// even if the application deleted or blocked them since. It has no effect if
	// User is set.
	InsecureSkipUser bool
}

// Identity is who the application says is signed in.
type Identity struct {
	// UserID is the application's stable identifier of the user, the sub of tokens:
	// 1 to 255 bytes of visible ASCII, unique among all users of the tenant and
	// never given to another user.
	UserID string
	// AuthenticatedAt is when the user proved it. Zero: not known; requests that
	// limit the age of the proof (max_age) or ask for a new one (prompt=login) then
	// end in login_required, and auth_time is when opkit first heard of the login. A
	// time in the future counts as now.
	AuthenticatedAt time.Time
	// AMR are the methods that were used (RFC 8176), and ACR is the authentication
	// context class that the login achieved, which should be one of
	// [ACRConfig].Values.
	AMR []string
	ACR string
}

// LoginRequest tells the application's page what is being asked.
type LoginRequest struct {
	// ReturnTo is the address to send the browser back to.
	ReturnTo string
	// ClientID and ClientName are empty if the user came to a page of the provider's
	// own. The client chose the name itself unless it is the tenant's.
	ClientID   string
	ClientName string
	LoginHint  string
	// Reauthenticate asks for a fresh proof even if somebody is signed in.
	Reauthenticate bool
	// ACRValues are the authentication context classes that the application asks for,
	// best first. ACRRequired says that a login which satisfies none of them ends in
	// an error, also if somebody is signed in already.
	ACRValues   []string
	ACRRequired bool
}

// Host returns the login behind a connection of strategy "host", false if the
// connection is of another strategy or no login of its name is configured.
func (d *Directory) Host(conn *store.Connection) (Host, bool) {
	if conn.Strategy != StrategyHost {
		return Host{}, false
	}
	host, ok := d.hosts[conn.Name]
	return host, ok
}

// guarded returns host with its answers checked: they become records, cookies and
// claims.
func (d *Directory) guarded(name string, host Host) Host {
	current := host.Current
	host.Current = func(r *http.Request) (Identity, bool, error) {
		identity, ok, err := current(r)
		if err != nil || !ok {
			return Identity{}, false, err
		}
		if !validSubject(identity.UserID) {
			return Identity{}, false, fmt.Errorf("connection: Hosts[%q].Current returned a UserID that is empty, longer than %d bytes, or not visible ASCII", name, maxSubject)
		}
		if now := d.now(); identity.AuthenticatedAt.After(now) {
			identity.AuthenticatedAt = now
		}
		return identity, true, nil
	}
	login := host.Login
	host.Login = func(r *http.Request, request LoginRequest) (string, error) {
		location, err := login(r, request)
		if err == nil && location == "" {
			err = fmt.Errorf("connection: Hosts[%q].Login returned no address", name)
		}
		return location, err
	}
	return host
}

// hostUser returns a user of the embedding application; store.ErrNotFound if
// there is none.
func (d *Directory) hostUser(ctx context.Context, t *tenant.Tenant, conn *store.Connection, host Host, id string) (store.User, error) {
	if host.User == nil {
		user, err := d.cfg.Stores.Users.User(ctx, t.ID(), id)
		if host.InsecureSkipUser && errors.Is(err, store.ErrNotFound) {
			return store.User{TenantID: t.ID(), ID: id, ConnectionID: conn.ID}, nil
		}
		return user, err
	}
	user, err := host.User(ctx, t.ID(), id)
	if err != nil {
		return store.User{}, err
	}
	if user.ID != "" && user.ID != id {
		return store.User{}, fmt.Errorf("connection: Hosts[%q].User was asked for one user and returned another", conn.Name)
	}
	user.TenantID, user.ID, user.ConnectionID, user.PasswordHash = t.ID(), id, conn.ID, ""
	return user, nil
}

const maxSubject = 255 // OpenID Connect Core §2

// validSubject reports whether id can be a sub claim and a key in every store.
func validSubject(id string) bool {
	if id == "" || len(id) > maxSubject {
		return false
	}
	for i := range len(id) {
		if id[i] <= ' ' || id[i] > '~' {
			return false
		}
	}
	return true
}
