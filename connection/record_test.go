package connection

import (
	"context"
	"errors"
	"maps"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

func TestCreate(t *testing.T) {
	w := newWorld(t, nil)
	given := store.Connection{
		TenantID: tenant.DefaultID, Name: "users-2", Strategy: StrategyDatabase, DisplayName: "Users", IsDomainConnection: true,
		EnabledClients: []string{"a", "b"}, Realms: []string{"example.com"}, Metadata: map[string]string{"k": "v"},
		Options: []byte(` { "disable_signup" : true } `), Version: 7,
	}
	created, err := w.Create(context.Background(), given)
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^con_[A-Za-z0-9]{16}$`).MatchString(created.ID) {
		t.Errorf("identifier %q", created.ID)
	}
	want := given
	want.ID, want.Version, want.CreatedAt, want.UpdatedAt, want.Options = created.ID, 1, w.clock.now, w.clock.now, []byte(`{"disable_signup":true}`)
	if diff := cmp.Diff(want, created); diff != "" {
		t.Error(diff)
	}
	stored, err := w.stores.Connections.Connection(context.Background(), tenant.DefaultID, created.ID)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(created, stored); diff != "" {
		t.Errorf("stored otherwise than returned:\n%s", diff)
	}
	if _, err := w.Create(context.Background(), given); !errors.Is(err, store.ErrExists) {
		t.Errorf("the name again: %v", err)
	}
}

func TestCreateRefuses(t *testing.T) {
	w := newWorld(t, nil)
	list := func(n int) (out []string) {
		for i := range n {
			out = append(out, strconv.Itoa(i))
		}
		return out
	}
	for _, tt := range []struct {
		rule, field string
		change      func(*store.Connection)
	}{
		{"an unknown tenant", "tenant_id", func(c *store.Connection) { c.TenantID = "nobody" }},
		{"no tenant", "tenant_id", func(c *store.Connection) { c.TenantID = "" }},
		{"an identifier with a slash", "id", func(c *store.Connection) { c.ID = "con_/x" }},
		{"no name", "name", func(c *store.Connection) { c.Name = "" }},
		{"a name with a space", "name", func(c *store.Connection) { c.Name = "a b" }},
		{"a name with an underscore", "name", func(c *store.Connection) { c.Name = "a_b" }},
		{"a name that begins with a hyphen", "name", func(c *store.Connection) { c.Name = "-a" }},
		{"a name that ends with a hyphen", "name", func(c *store.Connection) { c.Name = "a-" }},
		{"a name beyond ASCII", "name", func(c *store.Connection) { c.Name = "nämä" }},
		{"an overlong name", "name", func(c *store.Connection) { c.Name = strings.Repeat("a", 129) }},
		{"no strategy", "strategy", func(c *store.Connection) { c.Strategy = "" }},
		{"an unknown strategy", "strategy", func(c *store.Connection) { c.Strategy = "oidc" }},
		{"a host that is not configured", "name", func(c *store.Connection) { c.Strategy = StrategyHost }},
		{"an overlong display name", "display_name", func(c *store.Connection) { c.DisplayName = strings.Repeat("ü", 129) }},
		{"a display name with a line break", "display_name", func(c *store.Connection) { c.DisplayName = "a\nb" }},
		{"an empty client", "enabled_clients", func(c *store.Connection) { c.EnabledClients = []string{""} }},
		{"a client twice", "enabled_clients", func(c *store.Connection) { c.EnabledClients = []string{"a", "b", "a"} }},
		{"too many clients", "enabled_clients", func(c *store.Connection) { c.EnabledClients = list(maxEnabled + 1) }},
		{"a realm with a space", "realms", func(c *store.Connection) { c.Realms = []string{"a b"} }},
		{"too much metadata", "metadata", func(c *store.Connection) {
			c.Metadata = map[string]string{}
			for _, k := range list(maxMetadata + 1) {
				c.Metadata[k] = ""
			}
		}},
		{"overlong metadata", "metadata", func(c *store.Connection) { c.Metadata = map[string]string{"k": strings.Repeat("x", 256)} }},
		{"metadata without a name", "metadata", func(c *store.Connection) { c.Metadata = map[string]string{"": "x"} }},
		{"options that are no object", "options", func(c *store.Connection) { c.Options = []byte(`[]`) }},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			c := store.Connection{TenantID: tenant.DefaultID, Name: "users", Strategy: StrategyDatabase}
			tt.change(&c)
			got, err := w.Create(context.Background(), c)
			if e, ok := errors.AsType[*InvalidError](err); !ok || e.Field != tt.field || e.Rule == "" {
				t.Errorf("error %v, want one about %s", err, tt.field)
			}
			if got.ID != "" {
				t.Errorf("an error with connection %s", got.ID)
			}
		})
	}
}

func TestEnsure(t *testing.T) {
	w := newWorld(t, nil)
	ctx := context.Background()
	c := store.Connection{TenantID: tenant.DefaultID, Name: "users", Strategy: StrategyDatabase}
	first, err := w.Ensure(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	promoted, err := w.Update(ctx, tenant.DefaultID, first.ID, func(c *store.Connection) error { c.IsDomainConnection = true; return nil })
	if err != nil {
		t.Fatal(err)
	}
	again, err := w.Ensure(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(promoted, again); diff != "" {
		t.Errorf("what an administrator set was lost:\n%s", diff)
	}
	c.Strategy = "oidc"
	if _, err := w.Ensure(ctx, c); err == nil {
		t.Error("a connection of another strategy was accepted")
	}
}

func TestEnsureOnManyNodesCreatesOne(t *testing.T) {
	w := newWorld(t, nil)
	ids := make([]string, 8)
	var group sync.WaitGroup
	for i := range ids {
		group.Go(func() {
			c, err := w.Ensure(context.Background(), store.Connection{TenantID: tenant.DefaultID, Name: "users", Strategy: StrategyDatabase})
			if err != nil {
				t.Error(err)
			}
			ids[i] = c.ID
		})
	}
	group.Wait()
	for _, id := range ids {
		if id != ids[0] || id == "" {
			t.Fatalf("identifiers %q", ids)
		}
	}
}

func TestUpdate(t *testing.T) {
	w := newWorld(t, nil)
	ctx := context.Background()
	update := func(change func(*store.Connection)) (store.Connection, error) {
		return w.Update(ctx, tenant.DefaultID, w.conn.ID, func(c *store.Connection) error { change(c); return nil })
	}
	w.clock.advance(time.Hour)
	got, err := update(func(c *store.Connection) {
		c.DisplayName = "Users"
		c.ID, c.TenantID, c.Version, c.CreatedAt = "con_x", "other", 9, time.Time{} // not its to change
	})
	if err != nil {
		t.Fatal(err)
	}
	want := w.conn
	want.DisplayName, want.Version, want.UpdatedAt = "Users", 2, w.clock.now
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for field, change := range map[string]func(*store.Connection){
		"name":         func(c *store.Connection) { c.Name = "other" },
		"strategy":     func(c *store.Connection) { c.Strategy = StrategyHost },
		"display_name": func(c *store.Connection) { c.DisplayName = "\x00" },
	} {
		if _, err := update(change); func() bool { e, ok := errors.AsType[*InvalidError](err); return !ok || e.Field != field }() {
			t.Errorf("%s: %v", field, err)
		}
	}
	if _, err := w.Update(ctx, tenant.DefaultID, "con_absent", func(*store.Connection) error { return nil }); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("an absent one: %v", err)
	}
	reason := errors.New("reason")
	if _, err := w.Update(ctx, tenant.DefaultID, w.conn.ID, func(*store.Connection) error { return reason }); err != reason {
		t.Errorf("the change's own error: %v", err)
	}
}

func TestConcurrentUpdatesAllCount(t *testing.T) {
	w := newWorld(t, nil)
	var group sync.WaitGroup
	for i := range 4 { // fewer than maxUpdates, so that each gets its turn
		group.Go(func() {
			_, err := w.Update(context.Background(), tenant.DefaultID, w.conn.ID, func(c *store.Connection) error {
				metadata := map[string]string{strconv.Itoa(i): ""}
				maps.Copy(metadata, c.Metadata)
				c.Metadata = metadata
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	c, err := w.stores.Connections.Connection(context.Background(), tenant.DefaultID, w.conn.ID)
	if err != nil || len(c.Metadata) != 4 {
		t.Errorf("metadata %v, error %v", c.Metadata, err)
	}
}
