package dcr

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// holdings gives a client users' grants with a family each, and a client grant.
func (f *fixture) holdings(tenant, client string, users int) {
	f.t.Helper()
	ctx := context.Background()
	must := func(err error) {
		f.t.Helper()
		if err != nil {
			f.t.Fatal(err)
		}
	}
	for i := range users {
		id := fmt.Sprintf("%s-%04d", client, i)
		must(f.stores.Grants.CreateGrant(ctx, store.Grant{TenantID: tenant, ID: id, UserID: fmt.Sprint("user", i), ClientID: client}))
		_, err := f.stores.Grants.StartFamily(ctx, store.Family{
			TenantID: tenant, ID: id, GrantID: id, UserID: fmt.Sprint("user", i), ClientID: client, ExpiresAt: start.Add(time.Hour),
		}, start)
		must(err)
	}
	must(f.stores.ClientGrants.CreateClientGrant(ctx, store.ClientGrant{
		TenantID: tenant, ID: "cgr_" + client, ClientID: client, Audience: "notes:api", SubjectType: store.SubjectUser,
	}))
}

// held counts what a client has: its record, living families, grants and client
// grants.
func (f *fixture) held(tenant, client string) (record bool, alive, grants, clientGrants int) {
	f.t.Helper()
	ctx := context.Background()
	_, err := f.stores.Clients.Client(ctx, tenant, client)
	record = err == nil
	for page := (store.Page{}); ; {
		list, err := f.stores.Grants.Grants(ctx, tenant, store.GrantFilter{ClientID: client}, page)
		if err != nil {
			f.t.Fatal(err)
		}
		grants += len(list)
		for i := range list {
			if _, err := f.stores.Grants.Grant(ctx, tenant, list[i].ID, list[i].ID, start); err == nil {
				alive++
			}
		}
		if len(list) < page.Size() {
			break
		}
		page.After = list[len(list)-1].ID
	}
	list, err := f.stores.ClientGrants.ClientGrants(ctx, tenant, store.Page{})
	if err != nil {
		f.t.Fatal(err)
	}
	for i := range list {
		if list[i].ClientID == client {
			clientGrants++
		}
	}
	return record, alive, grants, clientGrants
}

func TestDeleteClientTakesEverythingThatTheClientHolds(t *testing.T) {
	ctx := context.Background()
	f := newFixture(t, options{})
	_, gone := f.register(with(""))
	_, stays := f.register(with(""))
	users := store.MaxPageLimit + 3 // more than one page
	f.holdings(tenant.DefaultID, gone.ID, users)
	f.holdings(tenant.DefaultID, stays.ID, 2)
	f.holdings(tenant.DefaultID, store.DefaultForThirdParty, 1)
	// The same identifier in another tenant is another client.
	if err := f.stores.Clients.CreateClient(ctx, store.Client{TenantID: "other", ID: gone.ID}); err != nil {
		t.Fatal(err)
	}
	f.holdings("other", gone.ID, 2)

	if err := f.registrar.DeleteClient(ctx, tenant.DefaultID, gone.ID); err != nil {
		t.Fatal(err)
	}
	if record, alive, grants, clientGrants := f.held(tenant.DefaultID, gone.ID); record || alive+grants+clientGrants > 0 {
		t.Errorf("left: record %v, %d families, %d grants, %d client grants", record, alive, grants, clientGrants)
	}
	for _, other := range [][2]string{{tenant.DefaultID, stays.ID}, {"other", gone.ID}} {
		if record, alive, grants, clientGrants := f.held(other[0], other[1]); !record || alive != 2 || grants != 2 || clientGrants != 1 {
			t.Errorf("%s: record %v, %d families, %d grants, %d client grants", other, record, alive, grants, clientGrants)
		}
	}

	// What is absent, and what is no client, is deleted without harm.
	for _, id := range []string{gone.ID, "", "never was", store.DefaultForThirdParty} {
		if err := f.registrar.DeleteClient(ctx, tenant.DefaultID, id); err != nil {
			t.Errorf("deleting %q: %v", id, err)
		}
	}
	if record, alive, _, _ := f.held(tenant.DefaultID, stays.ID); !record || alive != 2 {
		t.Errorf("another client: record %v, %d families", record, alive)
	}
	if _, _, _, n := f.held(tenant.DefaultID, store.DefaultForThirdParty); n != 1 {
		t.Error("the default of third-party clients is gone")
	}
}

// crashing fails every call from the nth on, as if the process had ended there.
type crashing struct{ left int }

var errCrash = errors.New("the process has ended")

func (c *crashing) step() error {
	if c.left--; c.left < 0 {
		return errCrash
	}
	return nil
}

type crashingClients struct {
	store.ClientStore
	*crashing
}

func (s crashingClients) DeleteClient(ctx context.Context, tenant, id string) error {
	if err := s.step(); err != nil {
		return err
	}
	return s.ClientStore.DeleteClient(ctx, tenant, id)
}

type crashingGrants struct {
	store.GrantFamilyStore
	*crashing
}

func (s crashingGrants) RevokeFamilies(ctx context.Context, tenant string, filter store.FamilyFilter, until, now time.Time) (int, error) {
	if err := s.step(); err != nil {
		return 0, err
	}
	return s.GrantFamilyStore.RevokeFamilies(ctx, tenant, filter, until, now)
}

func (s crashingGrants) Grants(ctx context.Context, tenant string, filter store.GrantFilter, page store.Page) ([]store.Grant, error) {
	if err := s.step(); err != nil {
		return nil, err
	}
	return s.GrantFamilyStore.Grants(ctx, tenant, filter, page)
}

func (s crashingGrants) DeleteGrant(ctx context.Context, tenant, id string) error {
	if err := s.step(); err != nil {
		return err
	}
	return s.GrantFamilyStore.DeleteGrant(ctx, tenant, id)
}

type crashingClientGrants struct {
	store.ClientGrantStore
	*crashing
}

func (s crashingClientGrants) ClientGrants(ctx context.Context, tenant string, page store.Page) ([]store.ClientGrant, error) {
	if err := s.step(); err != nil {
		return nil, err
	}
	return s.ClientGrantStore.ClientGrants(ctx, tenant, page)
}

func (s crashingClientGrants) DeleteClientGrant(ctx context.Context, tenant, id string) error {
	if err := s.step(); err != nil {
		return err
	}
	return s.ClientGrantStore.DeleteClientGrant(ctx, tenant, id)
}

// Wherever a deletion ends, it has left no token alive unless it did nothing at
// all, it can be asked for again, and then it leaves nothing.
func TestADeletionThatCrashesLeavesNoTokenAlive(t *testing.T) {
	ctx := context.Background()
	for n := 0; ; n++ {
		c := &crashing{}
		f := newFixture(t, options{stores: func(s *store.Stores) {
			s.Clients = crashingClients{s.Clients, c}
			s.Grants = crashingGrants{s.Grants, c}
			s.ClientGrants = crashingClientGrants{s.ClientGrants, c}
		}})
		c.left = 1 << 30
		_, client := f.register(with(""))
		f.holdings(tenant.DefaultID, client.ID, 3)

		c.left = n
		err := f.registrar.DeleteClient(ctx, tenant.DefaultID, client.ID)
		c.left = 1 << 30
		record, alive, grants, clientGrants := f.held(tenant.DefaultID, client.ID)
		if err == nil {
			if record || grants+clientGrants > 0 {
				t.Errorf("deleted, but: record %v, %d grants, %d client grants", record, grants, clientGrants)
			}
			if n < 8 {
				t.Errorf("the deletion took %d calls: not all of them failed in turn", n)
			}
			break
		}
		if !errors.Is(err, errCrash) {
			t.Fatal(err)
		}
		if n > 0 && alive > 0 {
			t.Errorf("after %d calls %d families are alive", n, alive)
		}
		// What gives access to the identifier goes before the identifier is free.
		if !record && clientGrants+grants > 0 {
			t.Errorf("after %d calls the record is gone and %d grants and %d client grants are not", n, grants, clientGrants)
		}
		if err := f.registrar.DeleteClient(ctx, tenant.DefaultID, client.ID); err != nil {
			t.Fatalf("again after %d calls: %v", n, err)
		}
		if record, alive, grants, clientGrants := f.held(tenant.DefaultID, client.ID); record || alive+grants+clientGrants > 0 {
			t.Errorf("again after %d calls: record %v, %d families, %d grants, %d client grants", n, record, alive, grants, clientGrants)
		}
	}
}

// A user may consent on another node while the client is being deleted.
func TestDeleteClientFindsWhatWasGrantedMeanwhile(t *testing.T) {
	ctx := context.Background()
	late := &lateGrant{}
	f := newFixture(t, options{stores: func(s *store.Stores) {
		late.ClientStore, late.grants = s.Clients, s.Grants
		s.Clients = late
	}})
	_, client := f.register(with(""))
	if err := f.registrar.DeleteClient(ctx, tenant.DefaultID, client.ID); err != nil {
		t.Fatal(err)
	}
	if record, _, grants, _ := f.held(tenant.DefaultID, client.ID); record || grants > 0 {
		t.Errorf("record %v, %d grants", record, grants)
	}
}

type lateGrant struct {
	store.ClientStore
	grants store.GrantFamilyStore
}

func (s *lateGrant) DeleteClient(ctx context.Context, tenant, id string) error {
	err := s.grants.CreateGrant(ctx, store.Grant{TenantID: tenant, ID: "late", UserID: "user", ClientID: id})
	return errors.Join(err, s.ClientStore.DeleteClient(ctx, tenant, id))
}

func TestADeletionGoesOnWhenItsRequestEnds(t *testing.T) {
	f := newFixture(t, options{stores: func(s *store.Stores) { s.Grants = &hangingUp{GrantFamilyStore: s.Grants} }})
	_, client := f.register(with(""))
	f.holdings(tenant.DefaultID, client.ID, 3)
	ctx, cancel := context.WithCancel(context.Background())
	f.stores.Grants.(*hangingUp).cancel = cancel
	if err := f.registrar.DeleteClient(ctx, tenant.DefaultID, client.ID); err != nil {
		t.Fatal(err)
	}
	if record, _, grants, _ := f.held(tenant.DefaultID, client.ID); record || grants > 0 {
		t.Errorf("record %v, %d grants", record, grants)
	}
	if err := f.registrar.DeleteClient(ctx, tenant.DefaultID, client.ID); !errors.Is(err, context.Canceled) {
		t.Errorf("begun for nobody: %v", err)
	}
}

type hangingUp struct {
	store.GrantFamilyStore
	cancel context.CancelFunc
}

func (s *hangingUp) RevokeFamilies(ctx context.Context, tenant string, filter store.FamilyFilter, until, now time.Time) (int, error) {
	s.cancel()
	return s.GrantFamilyStore.RevokeFamilies(ctx, tenant, filter, until, now)
}

func TestAChosenIdentifierInheritsNothing(t *testing.T) {
	ctx := context.Background()
	f := newFixture(t, options{})
	f.holdings(tenant.DefaultID, "partner", 2) // of one that had the identifier before
	c := store.Client{TenantID: tenant.DefaultID, ID: "partner", RedirectURIs: []string{"https://a.example/cb"}}
	if _, _, err := f.registrar.CreateClient(ctx, c, ""); err != nil {
		t.Fatal(err)
	}
	if record, alive, grants, clientGrants := f.held(tenant.DefaultID, "partner"); !record || alive+grants+clientGrants > 0 {
		t.Errorf("record %v; inherited %d families, %d grants, %d client grants", record, alive, grants, clientGrants)
	}
	// One that is taken takes nothing from whoever has it.
	f.holdings(tenant.DefaultID, "partner", 2)
	if _, _, err := f.registrar.CreateClient(ctx, c, ""); !errors.Is(err, store.ErrExists) {
		t.Error(err)
	}
	if _, alive, _, clientGrants := f.held(tenant.DefaultID, "partner"); alive != 2 || clientGrants != 1 {
		t.Errorf("%d families, %d client grants are left", alive, clientGrants)
	}
}
