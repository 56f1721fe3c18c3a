package storetest

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
)

// fault is a store that breaks a rule, and the check that has to notice.
type fault[S any] struct {
	name  string
	check string
	// broken returns the store over one that works.
	broken func(*memstore.Store) S
	// opts are for checks that open the data again.
	opts *Options[S]
	// long says that the check sees the fault only in what -short leaves out.
	long bool
}

// catches runs, for each fault, the check that is named on the broken store and
// on a working one.
func catches[S any](t *testing.T, checks []check[S], working func(*memstore.Store) S, faults []fault[S]) {
	t.Helper()
	byName := make(map[string]check[S])
	for _, c := range checks {
		if _, twice := byName[c.name]; twice {
			t.Errorf("two checks are named %q", c.name)
		}
		byName[c.name] = c
	}
	for _, f := range faults {
		t.Run(strings.ReplaceAll(f.name, " ", "-"), func(t *testing.T) {
			if f.long && testing.Short() {
				t.Skip("needs more records than -short creates")
			}
			c, ok := byName[f.check]
			if !ok {
				t.Fatalf("there is no check %q", f.check)
			}
			same := &Options[S]{
				Second: func(_ *testing.T, s S) S { return s },
				Reopen: func(_ *testing.T, s S) S { return s },
			}
			if err := attempt(t, c, working(memstore.New()), same); err != nil {
				t.Fatalf("a working store fails: %v", c.report(err))
			}
			opts := f.opts
			if opts == nil {
				opts = same
			}
			err := attempt(t, c, f.broken(memstore.New()), opts)
			if err == nil {
				t.Fatalf("check %q did not notice", f.check)
			}
			report := c.report(err)
			if !strings.Contains(report, c.rule.text) || !strings.Contains(report, c.explanation) || !strings.Contains(report, err.Error()) {
				t.Errorf("the report lacks the rule, the check or the finding:\n%s", report)
			}
			t.Logf("%v", err)
		})
	}
}

// TestChecksAreNamedAndExplained proves that every check says what it proves,
// and that between them the checks of an interface prove each rule that applies
// to it.
func TestChecksAreNamedAndExplained(t *testing.T) {
	all := []int{1, 2, 4, 5, 7, 8, 9, 10, 11, 12} // 3 is kept by the types, 6 by every check of errors
	records := []int{1, 2, 6, 9, 10, 11, 12}
	describe(t, "Tenants", tenantChecks(), 1, 2, 6, 9, 10, 12) // tenants are never deleted
	describe(t, "Connections", connectionChecks(), records...)
	describe(t, "Users", userChecks(), records...)
	describe(t, "UserStore", userStoreChecks(), 1, 2, 6, 9, 10)
	describe(t, "Clients", clientChecks(), append(records, 3)...)
	describe(t, "ClientSweeper", clientSweeperChecks(), 1, 9, 12)
	describe(t, "APIs", apiChecks(), records...)
	describe(t, "ClientGrants", clientGrantChecks(), records...)
	describe(t, "SigningKeys", signingKeyChecks(), records...)
	describe(t, "Sessions", sessionChecks(), append(records, 4, 5)...)
	describe(t, "Grants", grantFamilyChecks(), all...)
	describe(t, "Tickets", ticketChecks(), all...)
	describe(t, "FamilyLister", familyListerChecks(), 1, 2, 5, 9, 12)
	describe(t, "Events", eventChecks(), 1, 2, 4, 5, 6, 9, 10, 12) // none is ever deleted by name
}

func describe[S any](t *testing.T, name string, checks []check[S], rules ...int) {
	names := make(map[string]bool)
	proved := make(map[int]bool)
	for _, c := range checks {
		if c.name == "" || c.explanation == "" || c.rule.text == "" || c.run == nil {
			t.Errorf("%s: check %q is incomplete", name, c.name)
		}
		if names[c.name] {
			t.Errorf("%s: two checks are named %q", name, c.name)
		}
		names[c.name] = true
		proved[c.rule.number] = true
	}
	for _, number := range rules {
		if !proved[number] {
			t.Errorf("%s: no check proves rule %d", name, number)
		}
	}
}

// TestCancellationCoversEveryMethod proves that a method added to an interface
// cannot be forgotten where the kit calls all of them.
func TestCancellationCoversEveryMethod(t *testing.T) {
	s := memstore.New()
	covered[store.TenantStore](t, tenants.calls(s, store.Tenant{}))
	covered[store.ConnectionStore](t, connections.calls(s, store.Connection{}))
	covered[Users](t, users.calls(s, store.User{}))
	covered[store.ClientStore](t, clients.calls(s, store.Client{}))
	covered[store.ClientSweeper](t, sweeperCalls(s, store.Client{}))
	covered[store.APIStore](t, apis.calls(s, store.API{}))
	covered[store.ClientGrantStore](t, clientGrants.calls(s, store.ClientGrant{}))
	covered[store.SigningKeyStore](t, signingKeys.calls(s, store.SigningKey{}))
	covered[store.SessionStore](t, sessions.calls(s, store.Session{}))
	covered[store.GrantFamilyStore](t, append(grants.calls(s, store.Grant{}), families.calls(s, store.Family{})...))
	covered[store.TicketStore](t, tickets.calls(s, store.Ticket{}))
	covered[store.FamilyLister](t, familyListerCalls(s, store.Family{}))
	covered[store.EventStore](t, events.calls(s, store.Event{}))
}

func covered[S any](t *testing.T, calls []call) {
	called := make(map[string]bool)
	for _, c := range calls {
		called[c.method] = true
	}
	of := reflect.TypeFor[S]()
	for i := range of.NumMethod() {
		if name := of.Method(i).Name; !called[name] {
			t.Errorf("%s.%s is not called with a cancelled context", of, name)
		}
	}
}

func TestRunSkipsUsersWithoutAdmin(t *testing.T) {
	opened := 0
	runPart(t, "Users", func(t *testing.T) store.Stores {
		opened++
		stores := memstore.New().Stores()
		stores.UserAdmin = nil
		return stores
	}, nil, RunUsers, func(s store.Stores) Users {
		t.Error("a check of users ran without a UserAdmin")
		return nil
	})
	if opened == 0 {
		t.Error("no store was opened")
	}
}

// A panic in a store is the store's, with its own stack.
func TestPanicsAreNotSwallowed(t *testing.T) {
	defer func() {
		if r := recover(); r != "boom" {
			t.Errorf("recovered %v, want the store's panic", r)
		}
	}()
	c := check[int]{run: func(context.Context, int, *env[int]) { panic("boom") }}
	_ = c.try(t.Context(), 0, &env[int]{})
}

func TestSentinel(t *testing.T) {
	wrapped := errors.Join(errors.New("reading"), store.ErrNotFound)
	both := errors.Join(store.ErrNotFound, store.ErrExists)
	for _, c := range []struct{ err, want error }{
		{nil, nil}, {errors.New("store: not found"), nil}, {wrapped, store.ErrNotFound}, {both, nil}, {store.ErrConflict, store.ErrConflict},
	} {
		if got := sentinel(c.err); got != c.want {
			t.Errorf("sentinel(%v) is %v, want %v", c.err, got, c.want)
		}
	}
}
