package connection

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// Clients of the tests. They need not be stored: who they are was decided before.
var (
	thirdParty = &store.Client{TenantID: tenant.DefaultID, ID: "third", Dynamic: true}
	vouchedFor = &store.Client{TenantID: tenant.DefaultID, ID: "vouched"} // third party, created by an administrator
	firstParty = &store.Client{TenantID: tenant.DefaultID, ID: "first", FirstParty: true}
	dynamicOwn = &store.Client{TenantID: tenant.DefaultID, ID: "own", FirstParty: true, Dynamic: true}
	foreign    = &store.Client{TenantID: "other", ID: "first", FirstParty: true}
)

// anyHost is a host login that a test does not use.
var anyHost = Host{
	Current: func(*http.Request) (Identity, bool, error) { return Identity{}, false, nil },
	Login:   func(*http.Request, LoginRequest) (string, error) { return "/login", nil },
}

func (w *world) names(client *store.Client) ([]string, error) {
	usable, err := w.Usable(context.Background(), w.tenant, client)
	names := []string{}
	for _, c := range usable {
		names = append(names, c.Name)
	}
	slices.Sort(names)
	return names, err
}

func TestUsable(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Hosts = map[string]Host{"host-domain": anyHost} })
	for _, c := range []store.Connection{
		{Name: "domain", Strategy: StrategyDatabase, IsDomainConnection: true},
		{Name: "listed", Strategy: StrategyDatabase, EnabledClients: []string{"first", "own", "third"}},
		{Name: "both", Strategy: StrategyDatabase, IsDomainConnection: true, EnabledClients: []string{"first"}},
		{Name: "closed", Strategy: StrategyDatabase},
		{Name: "host-domain", Strategy: StrategyHost, IsDomainConnection: true},
	} {
		c.TenantID = tenant.DefaultID
		if _, err := w.Create(context.Background(), c); err != nil {
			t.Fatal(err)
		}
	}
	// What this process cannot serve: written by another program.
	for _, c := range []store.Connection{
		{Name: "unknown-host", Strategy: StrategyHost},
		{Name: "upstream", Strategy: "oidc"},
	} {
		c.TenantID, c.ID, c.IsDomainConnection, c.EnabledClients = tenant.DefaultID, "con_"+c.Name, true, []string{"first"}
		if err := w.stores.Connections.CreateConnection(context.Background(), c); err != nil {
			t.Fatal(err)
		}
	}
	database := w.conn.Name // a domain connection as well
	for _, tt := range []struct {
		rule   string
		client *store.Client
		want   []string
	}{
		{"a client that registered itself: domain connections", thirdParty, []string{database, "both", "domain", "host-domain"}},
		{"any third party: domain connections", vouchedFor, []string{database, "both", "domain", "host-domain"}},
		{"a first party: those that list it", firstParty, []string{"both", "listed"}},
		{"a first party that registered itself: domain connections and those that list it", dynamicOwn, []string{database, "both", "domain", "host-domain", "listed"}},
	} {
		got, err := w.names(tt.client)
		if err != nil {
			t.Errorf("%s: %v", tt.rule, err)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.rule, diff)
		}
	}
	if _, err := w.names(foreign); !errors.Is(err, ErrNotAllowed) {
		t.Errorf("a client of another tenant: %v", err)
	}
	w.switchRegistration(false)
	for client, allowed := range map[*store.Client]bool{thirdParty: false, dynamicOwn: false, vouchedFor: true, firstParty: true} {
		got, err := w.names(client)
		if errors.Is(err, ErrNotAllowed) == allowed || allowed && err != nil || !allowed && len(got) > 0 {
			t.Errorf("client %s with the flag off: %q, %v", client.ID, got, err)
		}
	}
}

func TestNoDomainConnectionIsAnEmptyList(t *testing.T) {
	w := newWorld(t, nil)
	w.change(func(c *store.Connection) { c.IsDomainConnection = false })
	if names, err := w.names(thirdParty); err != nil || len(names) != 0 {
		t.Errorf("%q, %v", names, err)
	}
}

func TestAdmit(t *testing.T) {
	for _, tt := range []struct {
		rule    string
		client  *store.Client
		before  func(w *world)
		allowed bool
	}{
		{"a domain connection and a third party", thirdParty, nil, true},
		{"dynamic registration was switched off", thirdParty, func(w *world) { w.switchRegistration(false) }, false},
		{"that does not concern clients of administrators", vouchedFor, func(w *world) { w.switchRegistration(false) }, true},
		{"the connection was demoted", thirdParty, func(w *world) { w.change(func(c *store.Connection) { c.IsDomainConnection = false }) }, false},
		{"the connection was deleted", thirdParty, func(w *world) {
			if err := w.stores.Connections.DeleteConnection(context.Background(), tenant.DefaultID, w.conn.ID); err != nil {
				w.t.Fatal(err)
			}
		}, false},
		{"the user was blocked", thirdParty, func(w *world) { w.changeUser(func(u *store.User) { u.Blocked = true }) }, false},
		{"the user was deleted", thirdParty, func(w *world) {
			if err := w.stores.UserAdmin.DeleteUser(context.Background(), tenant.DefaultID, w.user.ID); err != nil {
				w.t.Fatal(err)
			}
		}, false},
		{"the user moved to another connection", thirdParty, func(w *world) { w.changeUser(func(u *store.User) { u.ConnectionID = "con_other" }) }, false},
		{"a first party that is not listed", firstParty, nil, false},
		{"a first party that is listed", firstParty, func(w *world) { w.change(func(c *store.Connection) { c.EnabledClients = []string{"first"} }) }, true},
		{"a first party that is no longer listed", firstParty, func(w *world) {
			w.change(func(c *store.Connection) { c.EnabledClients = []string{"first"} })
			w.change(func(c *store.Connection) { c.EnabledClients = []string{"another"} })
		}, false},
		{"a client of another tenant", foreign, nil, false},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			w := newWorld(t, nil)
			if tt.before != nil {
				tt.before(w)
			}
			user, err := w.Admit(context.Background(), w.tenant, tt.client, w.conn.ID, w.user.ID)
			if tt.allowed {
				if err != nil || user.ID != w.user.ID || user.Email != "ada@example.com" {
					t.Errorf("user %+v, error %v", user, err)
				}
				return
			}
			if !errors.Is(err, ErrNotAllowed) || user.ID != "" {
				t.Errorf("user %q, error %v", user.ID, err)
			}
			if err != nil && err.Error() == ErrNotAllowed.Error() {
				t.Error("the log learns no reason")
			}
		})
	}
}

func TestAdmitReadsWhatDecides(t *testing.T) {
	w := newWorld(t, nil)
	c := countCalls(w)
	if _, err := w.Admit(context.Background(), w.tenant, thirdParty, w.conn.ID, w.user.ID); err != nil {
		t.Fatal(err)
	}
	// The first is answered by a cache, the second by none.
	if diff := cmp.Diff([]string{"Connections", "User"}, c.reset()); diff != "" {
		t.Error(diff)
	}
}

func TestAdmitReportsSystemErrors(t *testing.T) {
	w := newWorld(t, nil)
	broken := errors.New("connection refused")
	countCalls(w).failUsers = broken
	if _, err := w.Admit(context.Background(), w.tenant, thirdParty, w.conn.ID, w.user.ID); !errors.Is(err, broken) || errors.Is(err, ErrNotAllowed) {
		t.Errorf("error %v", err)
	}
}

// manyConnections lists more connections than fit a page.
type manyConnections struct {
	store.ConnectionStore
	all []store.Connection
}

func (m manyConnections) Connections(_ context.Context, _ string, page store.Page) ([]store.Connection, error) {
	i, _ := slices.BinarySearchFunc(m.all, page.After, func(c store.Connection, after string) int {
		if c.ID <= after {
			return -1
		}
		return 1
	})
	return m.all[i:min(i+page.Size(), len(m.all))], nil
}

func TestEveryPageOfConnectionsCounts(t *testing.T) {
	w := newWorld(t, nil)
	var many manyConnections
	for i := range 2*store.MaxPageLimit + 1 {
		many.all = append(many.all, store.Connection{TenantID: tenant.DefaultID, ID: fmt.Sprintf("con_%05d", i), Strategy: StrategyDatabase, IsDomainConnection: true})
	}
	w.cfg.Stores.Connections = many
	usable, err := w.Usable(context.Background(), w.tenant, thirdParty)
	if err != nil || len(usable) != len(many.all) {
		t.Errorf("%d of %d connections, error %v", len(usable), len(many.all), err)
	}
}

func BenchmarkAdmit(b *testing.B) {
	w := newWorld(b, nil)
	for b.Loop() {
		if _, err := w.Admit(context.Background(), w.tenant, thirdParty, w.conn.ID, w.user.ID); err != nil {
			b.Fatal(err)
		}
	}
}
