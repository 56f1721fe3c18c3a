package storetest

import (
	"context"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
)

func TestCatchesBrokenClientSweepers(t *testing.T) {
	type S = SweptClients
	catches(t, clientSweeperChecks(), func(s *memstore.Store) S { return s }, []fault[S]{
		{name: "sweeps the tenant's own clients", check: "idle", broken: func(s *memstore.Store) S { return everyClient{s} }},
		{name: "sweeps all tenants", check: "idle", broken: func(s *memstore.Store) S { return &everyTenant{SweptClients: s} }},
		{name: "takes confirmed clients for provisional ones", check: "idle", broken: func(s *memstore.Store) S { return anyState{s} }},
		{name: "includes Before", check: "idle", broken: func(s *memstore.Store) S { return inclusiveBefore{s} }},
		{name: "goes by when a client was created", check: "idle", broken: func(s *memstore.Store) S { return byCreation{s} }},
		{name: "lists by identifier", check: "idle", broken: reordered(func(a, b store.Client) int { return strings.Compare(a.ID, b.ID) })},
		{name: "lists the newest first", check: "idle", broken: reordered(func(a, b store.Client) int { return b.IdleSince().Compare(a.IdleSince()) })},
		{name: "does not see a confirmation", check: "idle-follows", broken: func(s *memstore.Store) S { return &firstIdleness{SweptClients: s} }},
		{name: "continues after a time", check: "idle-pages", broken: func(s *memstore.Store) S { return afterTime{s} }},
		{name: "continues after an identifier", check: "idle-pages", broken: func(s *memstore.Store) S { return afterID{s} }},
		{name: "has no limit", check: "idle-pages", broken: func(s *memstore.Store) S { return unlimited{s} }},
		{name: "continues by number", check: "idle-pages", broken: func(s *memstore.Store) S { return &byNumber{SweptClients: s} }},
		{name: "counts all clients", check: "count", broken: func(s *memstore.Store) S { return countsAll{s} }},
		{name: "counts once", check: "count", broken: func(s *memstore.Store) S { return &countsOnce{SweptClients: s} }},
		{name: "removes whatever the version", check: "remove", broken: func(s *memstore.Store) S { return whateverVersion{s} }},
		{name: "removes old versions too", check: "remove", broken: func(s *memstore.Store) S { return olderVersions{s} }},
		{name: "removes in the client's tenant", check: "remove", broken: func(s *memstore.Store) S { return clientsTenant{s} }},
		{name: "says that it removed what was absent", check: "remove", broken: func(s *memstore.Store) S { return boasting{s} }},
		{name: "removes all or nothing", check: "remove", broken: func(s *memstore.Store) S { return allOrNothing{s} }},
		{name: "looks, then removes", check: "remove-confirm-race", broken: func(s *memstore.Store) S { return lookThenRemove{s} }},
		{name: "two say that they removed it", check: "remove-race", broken: func(s *memstore.Store) S { return lookThenRemove{s} }},
		{name: "ignores the context", check: "sweeper-cancelled", broken: func(s *memstore.Store) S { return deafSweeper{s} }},
		{name: "returns its own slices", check: "sweeper-copies", broken: func(s *memstore.Store) S { return &sharedIdle{SweptClients: s} }},
		{
			name: "the other handle remembers", check: "sweeper-second-handle",
			broken: func(s *memstore.Store) S { return s },
			opts: &Options[S]{Second: func(_ *testing.T, s S) S {
				return &countsOnce{SweptClients: s}
			}},
		},
		{
			name: "forgets who was confirmed", check: "sweeper-reopen",
			broken: func(s *memstore.Store) S { return s },
			opts:   &Options[S]{Reopen: func(_ *testing.T, s S) S { return anyState{s} }},
		},
	})
}

// rest returns all idle clients of a tenant in one state.
func rest(ctx context.Context, s SweptClients, tenant string, confirmed bool) []store.Client {
	all, _ := s.IdleClients(ctx, tenant, store.IdleFilter{Confirmed: confirmed, Before: base.AddDate(100, 0, 0)}, store.IdlePage{})
	return all
}

type everyClient struct{ SweptClients }

func (s everyClient) CreateClient(ctx context.Context, c store.Client) error {
	c.Dynamic = true
	return s.SweptClients.CreateClient(ctx, c)
}

type everyTenant struct {
	SweptClients
	tenants []string
}

func (s *everyTenant) CreateClient(ctx context.Context, c store.Client) error {
	s.tenants = append(s.tenants, c.TenantID)
	return s.SweptClients.CreateClient(ctx, c)
}

func (s *everyTenant) IdleClients(ctx context.Context, _ string, filter store.IdleFilter, page store.IdlePage) ([]store.Client, error) {
	var all []store.Client
	slices.Sort(s.tenants)
	for _, tenant := range slices.Compact(slices.Clone(s.tenants)) {
		got, err := s.SweptClients.IdleClients(ctx, tenant, filter, page)
		if err != nil {
			return nil, err
		}
		all = append(all, got...)
	}
	return all, nil
}

type anyState struct{ SweptClients }

func (s anyState) IdleClients(ctx context.Context, tenant string, filter store.IdleFilter, page store.IdlePage) ([]store.Client, error) {
	one, err := s.SweptClients.IdleClients(ctx, tenant, filter, page)
	filter.Confirmed = !filter.Confirmed
	other, _ := s.SweptClients.IdleClients(ctx, tenant, filter, page)
	return append(one, other...), err
}

type inclusiveBefore struct{ SweptClients }

func (s inclusiveBefore) IdleClients(ctx context.Context, tenant string, filter store.IdleFilter, page store.IdlePage) ([]store.Client, error) {
	filter.Before = filter.Before.Add(time.Microsecond)
	return s.SweptClients.IdleClients(ctx, tenant, filter, page)
}

type byCreation struct{ SweptClients }

func (s byCreation) IdleClients(ctx context.Context, tenant string, filter store.IdleFilter, page store.IdlePage) ([]store.Client, error) {
	var got []store.Client
	for _, c := range rest(ctx, s.SweptClients, tenant, filter.Confirmed) {
		if c.CreatedAt.Before(filter.Before) {
			got = append(got, c)
		}
	}
	return got, ctx.Err()
}

// reordered returns clients that are listed in another order.
func reordered(compare func(a, b store.Client) int) func(*memstore.Store) SweptClients {
	return func(s *memstore.Store) SweptClients { return otherOrder{s, compare} }
}

type otherOrder struct {
	SweptClients
	compare func(a, b store.Client) int
}

func (s otherOrder) IdleClients(ctx context.Context, tenant string, filter store.IdleFilter, page store.IdlePage) ([]store.Client, error) {
	got, err := s.SweptClients.IdleClients(ctx, tenant, filter, page)
	slices.SortStableFunc(got, s.compare)
	return got, err
}

// firstIdleness lists by what clients were when they were created.
type firstIdleness struct {
	SweptClients
	created []store.Client
}

func (s *firstIdleness) CreateClient(ctx context.Context, c store.Client) error {
	s.created = append(s.created, c.Clone())
	return s.SweptClients.CreateClient(ctx, c)
}

func (s *firstIdleness) IdleClients(ctx context.Context, tenant string, filter store.IdleFilter, page store.IdlePage) ([]store.Client, error) {
	var got []store.Client
	for _, c := range s.created {
		now, err := s.Client(ctx, tenant, c.ID)
		if err == nil && c.Provisional() == !filter.Confirmed && c.IdleSince().Before(filter.Before) {
			got = append(got, now)
		}
	}
	return got, ctx.Err()
}

type afterTime struct{ SweptClients }

func (s afterTime) IdleClients(ctx context.Context, tenant string, filter store.IdleFilter, page store.IdlePage) ([]store.Client, error) {
	if page.AfterID != "" {
		page.AfterID = "\xff"
	}
	return s.SweptClients.IdleClients(ctx, tenant, filter, page)
}

type afterID struct{ SweptClients }

func (s afterID) IdleClients(ctx context.Context, tenant string, filter store.IdleFilter, page store.IdlePage) ([]store.Client, error) {
	var got []store.Client
	for _, c := range rest(ctx, s.SweptClients, tenant, filter.Confirmed) {
		if c.ID > page.AfterID && c.IdleSince().Before(filter.Before) && len(got) < page.Size() {
			got = append(got, c)
		}
	}
	return got, ctx.Err()
}

type unlimited struct{ SweptClients }

func (s unlimited) IdleClients(ctx context.Context, tenant string, filter store.IdleFilter, page store.IdlePage) ([]store.Client, error) {
	page.Limit = 0
	return s.SweptClients.IdleClients(ctx, tenant, filter, page)
}

// byNumber continues where it ended, and skips what took the place of clients that
// were removed.
type byNumber struct {
	SweptClients
	seen int
}

func (s *byNumber) IdleClients(ctx context.Context, tenant string, filter store.IdleFilter, page store.IdlePage) ([]store.Client, error) {
	if page.AfterID == "" {
		s.seen = 0
	}
	all, err := s.SweptClients.IdleClients(ctx, tenant, filter, store.IdlePage{})
	all = all[min(s.seen, len(all)):]
	all = all[:min(page.Size(), len(all))]
	s.seen += len(all)
	return all, err
}

type countsAll struct{ SweptClients }

func (s countsAll) CountProvisional(ctx context.Context, tenant string) (int, error) {
	all, err := s.Clients(ctx, tenant, store.Page{})
	return len(all), err
}

type countsOnce struct {
	SweptClients
	n *int
}

func (s *countsOnce) CountProvisional(ctx context.Context, tenant string) (int, error) {
	n, err := s.SweptClients.CountProvisional(ctx, tenant)
	if s.n == nil && n > 0 {
		s.n = &n
	}
	if s.n != nil {
		n = *s.n
	}
	return n, err
}

// current gives clients the versions that they have, if they may be removed.
func current(ctx context.Context, s SweptClients, tenant string, clients []store.Client, may func(given, stored store.Client) bool) []store.Client {
	var out []store.Client
	for _, c := range clients {
		if stored, err := s.Client(ctx, tenant, c.ID); err == nil && may(c, stored) {
			out = append(out, stored)
		}
	}
	return out
}

type whateverVersion struct{ SweptClients }

func (s whateverVersion) RemoveClients(ctx context.Context, tenant string, clients []store.Client) ([]string, error) {
	all := current(ctx, s, tenant, clients, func(store.Client, store.Client) bool { return true })
	return s.SweptClients.RemoveClients(ctx, tenant, all)
}

type olderVersions struct{ SweptClients }

func (s olderVersions) RemoveClients(ctx context.Context, tenant string, clients []store.Client) ([]string, error) {
	all := current(ctx, s, tenant, clients, func(given, stored store.Client) bool { return given.Version >= stored.Version })
	return s.SweptClients.RemoveClients(ctx, tenant, all)
}

type clientsTenant struct{ SweptClients }

func (s clientsTenant) RemoveClients(ctx context.Context, tenant string, clients []store.Client) ([]string, error) {
	removed, err := s.SweptClients.RemoveClients(ctx, tenant, clients)
	for _, c := range clients {
		if c.TenantID != tenant {
			err = s.DeleteClient(ctx, c.TenantID, c.ID)
		}
	}
	return removed, err
}

type boasting struct{ SweptClients }

func (s boasting) RemoveClients(ctx context.Context, tenant string, clients []store.Client) ([]string, error) {
	if _, err := s.SweptClients.RemoveClients(ctx, tenant, clients); err != nil || len(clients) == 0 {
		return nil, err
	}
	var all []string
	for _, c := range clients {
		all = append(all, c.ID)
	}
	return all, nil
}

type allOrNothing struct{ SweptClients }

func (s allOrNothing) RemoveClients(ctx context.Context, tenant string, clients []store.Client) ([]string, error) {
	same := current(ctx, s, tenant, clients, func(given, stored store.Client) bool { return given.Version == stored.Version })
	if len(same) < len(clients) {
		return nil, ctx.Err()
	}
	return s.SweptClients.RemoveClients(ctx, tenant, clients)
}

type lookThenRemove struct{ SweptClients }

func (s lookThenRemove) RemoveClients(ctx context.Context, tenant string, clients []store.Client) ([]string, error) {
	same := current(ctx, s, tenant, clients, func(given, stored store.Client) bool { return given.Version == stored.Version })
	runtime.Gosched()
	var removed []string
	for _, c := range same {
		if err := s.DeleteClient(ctx, tenant, c.ID); err != nil {
			return nil, err
		}
		removed = append(removed, c.ID)
	}
	return removed, nil
}

type deafSweeper struct{ SweptClients }

func (s deafSweeper) RemoveClients(ctx context.Context, tenant string, clients []store.Client) ([]string, error) {
	return s.SweptClients.RemoveClients(context.WithoutCancel(ctx), tenant, clients)
}

// sharedIdle hands out what it keeps.
type sharedIdle struct {
	SweptClients
	kept []store.Client
}

func (s *sharedIdle) IdleClients(ctx context.Context, tenant string, filter store.IdleFilter, page store.IdlePage) ([]store.Client, error) {
	if s.kept == nil {
		got, err := s.SweptClients.IdleClients(ctx, tenant, filter, page)
		if err != nil {
			return nil, err
		}
		s.kept = got
	}
	return slices.Clone(s.kept), ctx.Err()
}
