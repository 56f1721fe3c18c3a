package storetest

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
)

func TestCatchesBrokenEventStores(t *testing.T) {
	type S = store.EventStore
	catches(t, eventChecks(), func(s *memstore.Store) S { return s }, []fault[S]{
		{name: "replaces what is there", check: "exists", broken: func(s *memstore.Store) S { return replacing{s} }},
		{name: "stops at what is there", check: "AppendEvents-batch", broken: func(s *memstore.Store) S { return stopsShort{s} }},
		{name: "says that all were new", check: "AppendEvents-batch", broken: func(s *memstore.Store) S { return allNew{s} }},
		{name: "forgets the outcome", check: "Events-filter", broken: func(s *memstore.Store) S { return anyOutcome{s} }},
		{name: "takes any of the conditions", check: "Events-filter", broken: func(s *memstore.Store) S { return oneCondition{s} }},
		{name: "counts without the filter", check: "Events-filter", broken: func(s *memstore.Store) S { return countsEverything{s} }},
		{name: "lists the oldest always", check: "Events-newest", broken: func(s *memstore.Store) S { return oldestFirst{s} }},
		{name: "turns the first page around", check: "Events-newest", broken: func(s *memstore.Store) S { return turned{s} }},
		{name: "includes Before", check: "Events-newest", broken: func(s *memstore.Store) S { return includingBefore{s} }},
		{name: "counts what is over", check: "CountEvents", broken: func(s *memstore.Store) S { return countsExpired{s} }},
		{name: "begins a period late", check: "CountEvents", broken: func(s *memstore.Store) S { return lateCount{s} }},
		{name: "trims whatever the quota", check: "TrimEvents", broken: func(s *memstore.Store) S { return anyQuota{s} }},
		{name: "trims the newest", check: "TrimEvents", broken: func(s *memstore.Store) S { return &trimsAll{EventStore: s} }},
		{name: "has no limit", check: "TrimEvents", broken: func(s *memstore.Store) S { return trimsAtOnce{s} }},
	})
}

type replacing struct{ *memstore.Store }

func (s replacing) AppendEvents(ctx context.Context, events []store.Event) (int, error) {
	for _, e := range events {
		if _, err := s.Event(ctx, e.TenantID, e.ID, base); err == nil {
			_, _ = s.TrimEvents(ctx, e.TenantID, e.Quota, 0, 1)
		}
	}
	return s.Store.AppendEvents(ctx, events)
}

type stopsShort struct{ store.EventStore }

func (s stopsShort) AppendEvents(ctx context.Context, events []store.Event) (int, error) {
	for i := range events {
		if n, err := s.EventStore.AppendEvents(ctx, events[i:i+1]); err != nil || n == 0 {
			return i, err
		}
	}
	return len(events), ctx.Err()
}

type allNew struct{ store.EventStore }

func (s allNew) AppendEvents(ctx context.Context, events []store.Event) (int, error) {
	_, err := s.EventStore.AppendEvents(ctx, events)
	return len(events), err
}

type anyOutcome struct{ store.EventStore }

func (s anyOutcome) Events(ctx context.Context, tenant string, filter store.EventFilter, page store.EventPage, now time.Time) ([]store.Event, error) {
	filter.Outcome = ""
	return s.EventStore.Events(ctx, tenant, filter, page, now)
}

type oneCondition struct{ store.EventStore }

func (s oneCondition) Events(ctx context.Context, tenant string, filter store.EventFilter, page store.EventPage, now time.Time) ([]store.Event, error) {
	if filter.UserID != "" {
		filter = store.EventFilter{UserID: filter.UserID}
	}
	return s.EventStore.Events(ctx, tenant, filter, page, now)
}

type countsEverything struct{ store.EventStore }

func (s countsEverything) CountEvents(ctx context.Context, tenant string, _ store.EventFilter, span store.EventSpan, now time.Time) ([]int, error) {
	return s.EventStore.CountEvents(ctx, tenant, store.EventFilter{}, span, now)
}

type oldestFirst struct{ store.EventStore }

func (s oldestFirst) Events(ctx context.Context, tenant string, filter store.EventFilter, page store.EventPage, now time.Time) ([]store.Event, error) {
	page.Newest = false
	return s.EventStore.Events(ctx, tenant, filter, page, now)
}

type turned struct{ store.EventStore }

func (s turned) Events(ctx context.Context, tenant string, filter store.EventFilter, page store.EventPage, now time.Time) ([]store.Event, error) {
	newest := page.Newest
	page.Newest = false
	list, err := s.EventStore.Events(ctx, tenant, filter, page, now)
	if newest {
		slices.Reverse(list)
	}
	return list, err
}

type includingBefore struct{ store.EventStore }

func (s includingBefore) Events(ctx context.Context, tenant string, filter store.EventFilter, page store.EventPage, now time.Time) ([]store.Event, error) {
	if page.Before != "" {
		page.Before += "\x00"
	}
	return s.EventStore.Events(ctx, tenant, filter, page, now)
}

type countsExpired struct{ store.EventStore }

func (s countsExpired) CountEvents(ctx context.Context, tenant string, filter store.EventFilter, span store.EventSpan, now time.Time) ([]int, error) {
	return s.EventStore.CountEvents(ctx, tenant, filter, span, now.AddDate(-1, 0, 0))
}

type lateCount struct{ store.EventStore }

func (s lateCount) CountEvents(ctx context.Context, tenant string, filter store.EventFilter, span store.EventSpan, now time.Time) ([]int, error) {
	span.From = span.From.Add(time.Microsecond)
	return s.EventStore.CountEvents(ctx, tenant, filter, span, now)
}

type anyQuota struct{ store.EventStore }

func (s anyQuota) TrimEvents(ctx context.Context, tenant, quota string, keep, limit int) (int, error) {
	_, _ = s.EventStore.TrimEvents(ctx, tenant, "Q", keep, limit)
	return s.EventStore.TrimEvents(ctx, tenant, quota, keep, limit)
}

type trimsAll struct {
	store.EventStore
	log []store.Event
}

func (s *trimsAll) AppendEvents(ctx context.Context, events []store.Event) (int, error) {
	s.log = append(s.log, events...)
	return s.EventStore.AppendEvents(ctx, events)
}

func (s *trimsAll) TrimEvents(ctx context.Context, tenant, quota string, keep, limit int) (int, error) {
	n, err := s.EventStore.TrimEvents(ctx, tenant, quota, keep, limit)
	if n > 0 { // what was the oldest is put back, as if the newest had gone
		_, _ = s.EventStore.TrimEvents(ctx, tenant, quota, 0, 100)
		_, _ = s.EventStore.AppendEvents(ctx, s.log[:keep])
	}
	return n, err
}

type trimsAtOnce struct{ store.EventStore }

func (s trimsAtOnce) TrimEvents(ctx context.Context, tenant, quota string, keep, _ int) (int, error) {
	return s.EventStore.TrimEvents(ctx, tenant, quota, keep, 1000)
}
