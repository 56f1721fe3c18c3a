package storetest

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
)

func TestCatchesBrokenFamilyListers(t *testing.T) {
	type S = ListedFamilies
	catches(t, familyListerChecks(), func(s *memstore.Store) S { return s }, []fault[S]{
		{name: "forgets that there are refresh tokens", check: "user", broken: func(s *memstore.Store) S { return forgetsOffline{s} }},
		{name: "compares users without case", check: "user", broken: func(s *memstore.Store) S { return foldsUsers{s} }},
		{name: "lists what was revoked", check: "dead", broken: func(s *memstore.Store) S { return &listsStarted{ListedFamilies: s} }},
		{name: "lists what has expired", check: "dead", broken: func(s *memstore.Store) S { return listsExpired{s} }},
		{name: "lists all tenants", check: "tenants", broken: func(s *memstore.Store) S { return &listsStarted{ListedFamilies: s} }},
		{name: "has no pages", check: "lister-pages", broken: func(s *memstore.Store) S { return onePage{s} }},
		{name: "lists in another order", check: "lister-pages", broken: func(s *memstore.Store) S { return &listsStarted{ListedFamilies: s} }},
		{name: "ignores the context", check: "lister-cancelled", broken: func(s *memstore.Store) S { return deafLister{s} }},
		{name: "returns its own slice", check: "lister-copies", broken: func(s *memstore.Store) S { return &sharedFamilies{ListedFamilies: s} }},
		{
			name: "the other handle remembers", check: "lister-second-handle",
			broken: func(s *memstore.Store) S { return s },
			opts:   &Options[S]{Second: func(_ *testing.T, s S) S { return &sharedFamilies{ListedFamilies: s} }},
		},
	})
}

type forgetsOffline struct{ ListedFamilies }

func (s forgetsOffline) StartFamily(ctx context.Context, f store.Family, now time.Time) (store.Family, error) {
	f.Offline = false
	return s.ListedFamilies.StartFamily(ctx, f, now)
}

type foldsUsers struct{ ListedFamilies }

func (s foldsUsers) StartFamily(ctx context.Context, f store.Family, now time.Time) (store.Family, error) {
	f.UserID = strings.ToLower(f.UserID)
	return s.ListedFamilies.StartFamily(ctx, f, now)
}

func (s foldsUsers) UserFamilies(ctx context.Context, tenant, user string, page store.Page, now time.Time) ([]store.Family, error) {
	return s.ListedFamilies.UserFamilies(ctx, tenant, strings.ToLower(user), page, now)
}

// listsStarted lists all that were ever started, as they came.
type listsStarted struct {
	ListedFamilies
	started []store.Family
}

func (s *listsStarted) StartFamily(ctx context.Context, f store.Family, now time.Time) (store.Family, error) {
	f, err := s.ListedFamilies.StartFamily(ctx, f, now)
	if err == nil {
		s.started = append(s.started, f)
	}
	return f, err
}

func (s *listsStarted) UserFamilies(ctx context.Context, _, user string, _ store.Page, _ time.Time) ([]store.Family, error) {
	return slices.DeleteFunc(slices.Clone(s.started), func(f store.Family) bool { return f.UserID != user }), ctx.Err()
}

type listsExpired struct{ ListedFamilies }

func (s listsExpired) UserFamilies(ctx context.Context, tenant, user string, page store.Page, _ time.Time) ([]store.Family, error) {
	return s.ListedFamilies.UserFamilies(ctx, tenant, user, page, base.AddDate(-1, 0, 0))
}

type onePage struct{ ListedFamilies }

func (s onePage) UserFamilies(ctx context.Context, tenant, user string, _ store.Page, now time.Time) ([]store.Family, error) {
	return s.ListedFamilies.UserFamilies(ctx, tenant, user, store.Page{}, now)
}

type deafLister struct{ ListedFamilies }

func (s deafLister) UserFamilies(ctx context.Context, tenant, user string, page store.Page, now time.Time) ([]store.Family, error) {
	return s.ListedFamilies.UserFamilies(context.WithoutCancel(ctx), tenant, user, page, now)
}

// sharedFamilies remembers the first answer.
type sharedFamilies struct {
	ListedFamilies
	first []store.Family
}

func (s *sharedFamilies) UserFamilies(ctx context.Context, tenant, user string, page store.Page, now time.Time) ([]store.Family, error) {
	if s.first == nil {
		s.first, _ = s.ListedFamilies.UserFamilies(ctx, tenant, user, page, now)
	}
	return s.first, ctx.Err()
}
