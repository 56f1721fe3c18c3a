package tenant_test

import (
	"bytes"
	"context"
	"errors"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/cachestore"
	"github.com/opkit/opkit/tenant"
)

func pairwise(t testing.TB, d *tenant.Directory, use, sector, value string) string {
	t.Helper()
	id, err := d.Pairwise(context.Background(), theTenant(t, d), use, sector, value)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// OpenID Connect Core §8.1: the same for one sector, distinct for others, and
// nothing of what went into it comes out.
func TestPairwiseIdentifiers(t *testing.T) {
	d, _ := newDirectory(t, nil)
	seen := map[string]string{}
	for _, input := range [][3]string{
		{"sub", "app.example", "auth0|1"}, {"sub", "app.example", "auth0|2"}, {"sub", "app.test", "auth0|1"}, {"sid", "app.example", "auth0|1"},
		// No two lists of parts read alike.
		{"sub", "app.exampleauth0", "|1"}, {"sub", "", "app.exampleauth0|1"}, {"suba", "pp.example", "auth0|1"},
	} {
		id := pairwise(t, d, input[0], input[1], input[2])
		if !regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`).MatchString(id) {
			t.Errorf("%q: %q", input, id)
		}
		if other, ok := seen[id]; ok {
			t.Errorf("%q and %q have the same identifier", input, other)
		}
		seen[id] = strings.Join(input[:], " ")
		if again := pairwise(t, d, input[0], input[1], input[2]); again != id {
			t.Errorf("%q: %q, then %q", input, id, again)
		}
	}
}

// Each tenant has a salt of its own.
func TestPairwiseIdentifiersOfAnotherTenant(t *testing.T) {
	d, _ := newDirectory(t, func(cfg *tenant.Config) {
		cfg.Issuer, cfg.Resolver = "", tenant.ByPath("")
	})
	ids := map[string]bool{}
	for _, id := range []string{"one", "two"} {
		if _, err := d.CreateTenant(context.Background(), store.Tenant{ID: id, Issuer: "https://login.example.com/" + id}); err != nil {
			t.Fatal(err)
		}
		tn, err := d.Tenant(context.Background(), id)
		if err != nil {
			t.Fatal(err)
		}
		sub, err := d.Pairwise(context.Background(), tn, "sub", "app.example", "auth0|1")
		if err != nil {
			t.Fatal(err)
		}
		ids[sub] = true
	}
	if len(ids) != 2 {
		t.Errorf("identifiers %v", ids)
	}
}

// Neither a restart nor the replacement of the secret changes an identifier, and
// the former secret is not needed once the tenant was used with the new one.
func TestPairwiseIdentifiersSurviveSecrets(t *testing.T) {
	d, stores := newDirectory(t, nil)
	want := pairwise(t, d, "sub", "app.example", "auth0|1")
	newer, newest := bytes.Repeat([]byte("n"), 32), bytes.Repeat([]byte("m"), 32)
	restart := func(secrets ...[]byte) *tenant.Directory {
		t.Helper()
		d, err := tenant.New(tenant.Config{Stores: stores, Secrets: secrets, Issuer: issuer})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	if got := pairwise(t, restart(secret), "sub", "app.example", "auth0|1"); got != want {
		t.Errorf("after a restart: %q, want %q", got, want)
	}
	if got := pairwise(t, restart(newer, secret), "sub", "app.example", "auth0|1"); got != want {
		t.Errorf("with a new secret: %q, want %q", got, want)
	}
	// Any use of the tenant seals the salt anew, not only one that needs it.
	theTenant(t, restart(newest, newer))
	if got := pairwise(t, restart(newest), "sub", "app.example", "auth0|1"); got != want {
		t.Errorf("without the former secrets: %q, want %q", got, want)
	}
	// A node that was started before the secret was replaced goes on.
	if got := pairwise(t, d, "sub", "app.example", "auth0|1"); got != want {
		t.Errorf("on a node with the former secret: %q, want %q", got, want)
	}
}

// A tenant that nobody asks for keeps its salt as well.
func TestPairwiseSaltIsSealedAnewByMaintenance(t *testing.T) {
	d, stores := newDirectory(t, nil)
	want := pairwise(t, d, "sub", "app.example", "auth0|1")
	newer := bytes.Repeat([]byte("n"), 32)
	open := func(secrets ...[]byte) *tenant.Directory {
		t.Helper()
		d, err := tenant.New(tenant.Config{Stores: stores, Secrets: secrets, Issuer: issuer})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	if err := open(newer, secret).MaintainKeys(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := pairwise(t, open(newer), "sub", "app.example", "auth0|1"); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// A salt that cannot be opened is an error and stays what it is: a new one would
// make everybody somebody else.
func TestPairwiseSaltIsNeverReplaced(t *testing.T) {
	d, stores := newDirectory(t, nil)
	pairwise(t, d, "sub", "app.example", "auth0|1")
	before, err := stores.Tenants.Tenant(context.Background(), tenant.DefaultID)
	if err != nil {
		t.Fatal(err)
	}
	if len(before.PairwiseSalt) == 0 {
		t.Fatal("no salt was stored")
	}
	other, err := tenant.New(tenant.Config{Stores: stores, Secrets: [][]byte{bytes.Repeat([]byte("x"), 32)}, Issuer: issuer})
	if err != nil {
		t.Fatal(err)
	}
	if id, err := other.Pairwise(context.Background(), theTenant(t, other), "sub", "app.example", "auth0|1"); err == nil || id != "" || !strings.Contains(err.Error(), "another secret") {
		t.Errorf("%q, %v", id, err)
	}
	after, err := stores.Tenants.Tenant(context.Background(), tenant.DefaultID)
	if err != nil || !bytes.Equal(before.PairwiseSalt, after.PairwiseSalt) || after.Version != before.Version {
		t.Errorf("the record was changed: %+v, %v", after, err)
	}
	// The salt of one tenant is none for another.
	moved := after.Clone()
	moved.ID = "moved"
	if err := stores.Tenants.CreateTenant(context.Background(), moved); err != nil {
		t.Fatal(err)
	}
	tn, err := d.Tenant(context.Background(), "moved")
	if err != nil {
		t.Fatal(err)
	}
	if id, err := d.Pairwise(context.Background(), tn, "sub", "app.example", "auth0|1"); err == nil {
		t.Errorf("a salt that was moved gave %q", id)
	}
}

// Nodes that need the first identifier at the same time, each with a cache, agree.
func TestPairwiseSaltIsMadeOnce(t *testing.T) {
	first, stores := newDirectory(t, nil)
	theTenant(t, first)
	const nodes = 16
	ids := make([]string, nodes)
	var begin, done sync.WaitGroup
	begin.Add(1)
	for i := range nodes {
		d, err := tenant.New(tenant.Config{Stores: cachestore.New(stores, cachestore.Config{}), Secrets: [][]byte{secret}, Issuer: issuer})
		if err != nil {
			t.Fatal(err)
		}
		tn := theTenant(t, d) // in its cache, without a salt
		done.Go(func() {
			begin.Wait()
			var err error
			if ids[i], err = d.Pairwise(context.Background(), tn, "sub", "app.example", "auth0|1"); err != nil {
				t.Error(err)
			}
		})
	}
	begin.Done()
	done.Wait()
	for i := range ids {
		if ids[i] != ids[0] || ids[i] == "" {
			t.Errorf("node %d: %q, node 0: %q", i, ids[i], ids[0])
		}
	}
}

// Settings that change keep the salt, and the salt's making keeps settings.
func TestPairwiseSaltAndSettings(t *testing.T) {
	d, stores := newDirectory(t, nil)
	change := func(name string) {
		t.Helper()
		if _, err := d.UpdateSettings(context.Background(), tenant.DefaultID, func(s *store.TenantSettings) error { s.FriendlyName = name; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	change("before")
	want := pairwise(t, d, "sub", "app.example", "auth0|1")
	change("after")
	again, err := tenant.New(tenant.Config{Stores: stores, Secrets: [][]byte{secret}, Issuer: issuer})
	if err != nil {
		t.Fatal(err)
	}
	if got := pairwise(t, again, "sub", "app.example", "auth0|1"); got != want || theTenant(t, again).Settings().FriendlyName != "after" {
		t.Errorf("%q, want %q; settings %+v", got, want, theTenant(t, again).Settings())
	}
}

// forgetful drops what it does not know, as a host's own table may.
type forgetful struct{ store.TenantStore }

func (s forgetful) UpdateTenant(ctx context.Context, t store.Tenant) error {
	t.PairwiseSalt = nil
	return s.TenantStore.UpdateTenant(ctx, t)
}

func TestPairwiseNeedsAStoreThatKeepsTheSalt(t *testing.T) {
	d, _ := newDirectory(t, func(cfg *tenant.Config) { cfg.Stores.Tenants = forgetful{cfg.Stores.Tenants} })
	id, err := d.Pairwise(context.Background(), theTenant(t, d), "sub", "app.example", "auth0|1")
	if err == nil || id != "" || !strings.Contains(err.Error(), "does not keep the PairwiseSalt") {
		t.Errorf("%q, %v", id, err)
	}
}

type refusing struct {
	store.TenantStore
	err error
}

func (s refusing) UpdateTenant(context.Context, store.Tenant) error { return s.err }

func TestPairwiseSaltThatCannotBeStored(t *testing.T) {
	for _, failure := range []error{errors.New("disk full"), store.ErrConflict} {
		d, _ := newDirectory(t, func(cfg *tenant.Config) { cfg.Stores.Tenants = refusing{cfg.Stores.Tenants, failure} })
		if id, err := d.Pairwise(context.Background(), theTenant(t, d), "sub", "app.example", "auth0|1"); !errors.Is(err, failure) || id != "" {
			t.Errorf("%q, %v", id, err)
		}
	}
}

// What every tenant's requests cost stays the same, and an identifier costs no
// store call once the salt is known.
func TestPairwiseStoreCalls(t *testing.T) {
	var c *counting
	d, _ := newDirectory(t, func(cfg *tenant.Config) { c, cfg.Stores = count(cfg.Stores) })
	tn := theTenant(t, d)
	pairwise(t, d, "sub", "app.example", "auth0|1")
	c.calls.Store(0)
	for range 3 {
		if _, err := d.Pairwise(context.Background(), tn, "sub", "app.example", "auth0|1"); err != nil {
			t.Fatal(err)
		}
	}
	if n := c.calls.Load(); n != 0 {
		t.Errorf("%d store calls", n)
	}
}
