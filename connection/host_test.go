package connection

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// hostWorld is a world with a host connection.
func hostWorld(t testing.TB, host Host) (*world, store.Connection) {
	t.Helper()
	if host.Current == nil {
		host.Current = anyHost.Current
	}
	if host.Login == nil {
		host.Login = anyHost.Login
	}
	w := newWorld(t, func(c *Config) { c.Hosts = map[string]Host{"app": host} })
	conn, err := w.Ensure(context.Background(), store.Connection{
		TenantID: tenant.DefaultID, Name: "app", Strategy: StrategyHost, IsDomainConnection: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	return w, conn
}

func TestHostOfAConnection(t *testing.T) {
	w, conn := hostWorld(t, Host{})
	if _, ok := w.Host(&conn); !ok {
		t.Error("the host's connection has no host")
	}
	if _, ok := w.Host(&w.conn); ok {
		t.Error("a database has a host")
	}
	if _, ok := w.Host(&store.Connection{Name: "app", Strategy: StrategyDatabase}); ok {
		t.Error("a database with the host's name has a host")
	}
	if _, ok := w.Host(&store.Connection{Name: "other", Strategy: StrategyHost}); ok {
		t.Error("a connection of another name has a host")
	}
}

func TestCurrentIsChecked(t *testing.T) {
	now := newClock().now
	broken := errors.New("session store down")
	for _, tt := range []struct {
		rule     string
		identity Identity
		ok       bool
		err      error
		want     Identity
		wantOK   bool
		wantErr  bool
	}{
		{"somebody", Identity{UserID: "u-1", AuthenticatedAt: now.Add(-time.Hour), AMR: []string{"pwd"}, ACR: "1"}, true, nil, Identity{UserID: "u-1", AuthenticatedAt: now.Add(-time.Hour), AMR: []string{"pwd"}, ACR: "1"}, true, false},
		{"no time", Identity{UserID: "u-1"}, true, nil, Identity{UserID: "u-1"}, true, false},
		{"a time in the future is now", Identity{UserID: "u-1", AuthenticatedAt: now.Add(time.Hour)}, true, nil, Identity{UserID: "u-1", AuthenticatedAt: now}, true, false},
		{"nobody, whatever else it says", Identity{UserID: "u-1"}, false, nil, Identity{}, false, false},
		{"an error, whatever else it says", Identity{UserID: "u-1"}, true, broken, Identity{}, false, true},
		{"somebody without an identifier", Identity{}, true, nil, Identity{}, false, true},
		{"an identifier with a space", Identity{UserID: "u 1"}, true, nil, Identity{}, false, true},
		{"an identifier with a control character", Identity{UserID: "u\x001"}, true, nil, Identity{}, false, true},
		{"an identifier beyond ASCII", Identity{UserID: "ü"}, true, nil, Identity{}, false, true},
		{"an overlong identifier", Identity{UserID: strings.Repeat("x", maxSubject+1)}, true, nil, Identity{}, false, true},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			w, conn := hostWorld(t, Host{Current: func(*http.Request) (Identity, bool, error) { return tt.identity, tt.ok, tt.err }})
			host, _ := w.Host(&conn)
			identity, ok, err := host.Current(httptest.NewRequest(http.MethodGet, "/authorize", nil))
			if diff := cmp.Diff(tt.want, identity); diff != "" || ok != tt.wantOK || (err != nil) != tt.wantErr {
				t.Errorf("%v, error %v%s", ok, err, diff)
			}
		})
	}
}

func TestLoginNeedsAnAddress(t *testing.T) {
	var got LoginRequest
	location := ""
	w, conn := hostWorld(t, Host{Login: func(_ *http.Request, q LoginRequest) (string, error) { got = q; return location, nil }})
	host, _ := w.Host(&conn)
	r := httptest.NewRequest(http.MethodGet, "/authorize", nil)
	if _, err := host.Login(r, LoginRequest{}); err == nil {
		t.Error("no address was accepted")
	}
	location = "/sign-in"
	want := LoginRequest{ReturnTo: "https://op.example/login/callback", ClientID: "c", LoginHint: "ada", Reauthenticate: true}
	if to, err := host.Login(r, want); to != location || err != nil {
		t.Errorf("%q, %v", to, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAdmitAsksTheHost(t *testing.T) {
	broken := errors.New("users table locked")
	stored := store.User{TenantID: tenant.DefaultID, ID: "u-stored", Email: "stored@example.com"}
	userFunc := func(u store.User, err error) func(context.Context, string, string) (store.User, error) {
		return func(_ context.Context, tn, id string) (store.User, error) {
			if tn != tenant.DefaultID {
				return store.User{}, errors.New("asked for tenant " + tn)
			}
			return u, err
		}
	}
	for _, tt := range []struct {
		rule string
		host Host
		id   string
		want store.User
		err  error
	}{
		{"User says who it is", Host{User: userFunc(store.User{Email: "grace@example.com", PasswordHash: "x", ConnectionID: "y"}, nil)}, "u-1", store.User{ID: "u-1", Email: "grace@example.com"}, nil},
		{"User says that the user is gone", Host{User: userFunc(store.User{}, store.ErrNotFound)}, "u-1", store.User{}, ErrNotAllowed},
		{"even if a lookup may be skipped", Host{User: userFunc(store.User{}, store.ErrNotFound), InsecureSkipUser: true}, "u-1", store.User{}, ErrNotAllowed},
		{"User says that the user is blocked", Host{User: userFunc(store.User{Blocked: true}, nil)}, "u-1", store.User{}, ErrNotAllowed},
		{"User fails", Host{User: userFunc(store.User{}, broken)}, "u-1", store.User{}, broken},
		{"without User the store decides", Host{}, "u-stored", store.User{ID: "u-stored", Email: "stored@example.com"}, nil},
		{"without User an unknown user is refused", Host{}, "u-1", store.User{}, ErrNotAllowed},
		{"unless the lookup may be skipped", Host{InsecureSkipUser: true}, "u-1", store.User{ID: "u-1"}, nil},
		{"a stored user still counts", Host{InsecureSkipUser: true}, "u-stored", store.User{ID: "u-stored", Email: "stored@example.com"}, nil},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			w, conn := hostWorld(t, tt.host)
			record := stored
			record.ConnectionID = conn.ID
			if err := w.stores.UserAdmin.CreateUser(context.Background(), record); err != nil {
				t.Fatal(err)
			}
			user, err := w.Admit(context.Background(), w.tenant, thirdParty, conn.ID, tt.id)
			if tt.err != nil {
				if !errors.Is(err, tt.err) || user.ID != "" {
					t.Errorf("user %q, error %v", user.ID, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			user.Version = 0
			tt.want.TenantID, tt.want.ConnectionID = tenant.DefaultID, conn.ID
			if diff := cmp.Diff(tt.want, user); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestHostMayNotAnswerForAnotherUser(t *testing.T) {
	w, conn := hostWorld(t, Host{User: func(context.Context, string, string) (store.User, error) { return store.User{ID: "u-2"}, nil }})
	if user, err := w.Admit(context.Background(), w.tenant, thirdParty, conn.ID, "u-1"); err == nil || errors.Is(err, ErrNotAllowed) || user.ID != "" {
		t.Errorf("user %q, error %v", user.ID, err)
	}
}

func TestDatabaseUserDoesNotComeInThroughTheHost(t *testing.T) {
	for _, skip := range []bool{false, true} {
		w, conn := hostWorld(t, Host{InsecureSkipUser: skip})
		if _, err := w.Admit(context.Background(), w.tenant, thirdParty, conn.ID, w.user.ID); !errors.Is(err, ErrNotAllowed) {
			t.Errorf("skip %v: %v", skip, err)
		}
	}
}

func TestHostConnectionIsClosedLikeAnyOther(t *testing.T) {
	w, conn := hostWorld(t, Host{InsecureSkipUser: true})
	_, err := w.Update(context.Background(), tenant.DefaultID, conn.ID, func(c *store.Connection) error {
		c.IsDomainConnection = false
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Admit(context.Background(), w.tenant, thirdParty, conn.ID, "u-1"); !errors.Is(err, ErrNotAllowed) {
		t.Errorf("error %v", err)
	}
}
