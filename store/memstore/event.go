package memstore

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/opkit/opkit/store"
)

// eventLogs are the logs of all tenants, each in the order of its identifiers. New
// events mostly belong at the end, and old ones go from the beginning. Its events are
// never modified.
type eventLogs struct {
	sync.RWMutex
	of map[string][]*store.Event
}

func searchEvent(log []*store.Event, id string) (int, bool) {
	return slices.BinarySearchFunc(log, id, func(e *store.Event, id string) int { return strings.Compare(e.ID, id) })
}

// between returns the part of a log whose identifiers are above after and below before.
func between(log []*store.Event, after, before string) []*store.Event {
	if before != "" {
		end, _ := searchEvent(log, before)
		log = log[:end]
	}
	if after != "" {
		start, found := searchEvent(log, after)
		if found {
			start++
		}
		log = log[start:]
	}
	return log
}

func selects(filter store.EventFilter, e *store.Event, now time.Time) bool {
	return e.ExpiresAt.After(now) &&
		(filter.Type == "" || filter.Type == e.Type) && (filter.Outcome == "" || filter.Outcome == e.Outcome) &&
		(filter.ClientID == "" || filter.ClientID == e.ClientID) && (filter.UserID == "" || filter.UserID == e.UserID)
}

// AppendEvents implements [store.EventStore].
func (s *Store) AppendEvents(ctx context.Context, events []store.Event) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	s.events.Lock()
	defer s.events.Unlock()
	if s.events.of == nil {
		s.events.of = make(map[string][]*store.Event)
	}
	stored := 0
	for _, e := range events {
		log := s.events.of[e.TenantID]
		place, taken := searchEvent(log, e.ID)
		if taken {
			continue
		}
		e = e.Clone()
		e.Time, e.ExpiresAt = utc(e.Time), utc(e.ExpiresAt)
		s.events.of[e.TenantID] = slices.Insert(log, place, &e)
		stored++
	}
	return stored, nil
}

// Event implements [store.EventStore].
func (s *Store) Event(ctx context.Context, tenant, id string, now time.Time) (store.Event, error) {
	if err := ctx.Err(); err != nil {
		return store.Event{}, err
	}
	s.events.RLock()
	defer s.events.RUnlock()
	log := s.events.of[tenant]
	if place, found := searchEvent(log, id); found && log[place].ExpiresAt.After(now) {
		return log[place].Clone(), nil
	}
	return store.Event{}, store.ErrNotFound
}

// Events implements [store.EventStore].
func (s *Store) Events(ctx context.Context, tenant string, filter store.EventFilter, page store.EventPage, now time.Time) ([]store.Event, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.events.RLock()
	defer s.events.RUnlock()
	log := between(s.events.of[tenant], page.After, page.Before)
	order := slices.All(log)
	if page.Newest {
		order = slices.Backward(log)
	}
	found := []store.Event{}
	for _, e := range order {
		if len(found) == page.Size() {
			break
		}
		if selects(filter, e, now) {
			found = append(found, e.Clone())
		}
	}
	return found, nil
}

// CountEvents implements [store.EventStore].
func (s *Store) CountEvents(ctx context.Context, tenant string, filter store.EventFilter, span store.EventSpan, now time.Time) ([]int, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.events.RLock()
	defer s.events.RUnlock()
	counts := make([]int, span.Steps)
	log := s.events.of[tenant]
	start, _ := searchEvent(log, span.Position(0))
	for step := range counts {
		end, _ := searchEvent(log, span.Position(step+1))
		for _, e := range log[start:end] {
			if selects(filter, e, now) {
				counts[step]++
			}
		}
		start = end
	}
	return counts, nil
}

// TrimEvents implements [store.EventStore].
func (s *Store) TrimEvents(ctx context.Context, tenant, quota string, keep, limit int) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	s.events.Lock()
	defer s.events.Unlock()
	surplus := -keep
	for _, e := range s.events.of[tenant] {
		if e.Quota == quota {
			surplus++
		}
	}
	return s.events.remove(tenant, min(surplus, limit), func(e *store.Event) bool { return e.Quota == quota }), nil
}

// CollectEvents implements [store.EventStore].
func (s *Store) CollectEvents(ctx context.Context, now time.Time, limit int) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	s.events.Lock()
	defer s.events.Unlock()
	removed := 0
	for tenant := range s.events.of {
		removed += s.events.remove(tenant, limit-removed, func(e *store.Event) bool { return !e.ExpiresAt.After(now) })
	}
	return removed, nil
}

// remove removes the first events of a tenant that gone reports true for, at most limit.
func (l *eventLogs) remove(tenant string, limit int, gone func(*store.Event) bool) int {
	if limit <= 0 {
		return 0
	}
	removed := 0
	log := slices.DeleteFunc(l.of[tenant], func(e *store.Event) bool {
		if removed == limit || !gone(e) {
			return false
		}
		removed++
		return true
	})
	if l.of[tenant] = log; len(log) == 0 {
		delete(l.of, tenant)
	}
	return removed
}
