package store

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Event is an entry of a tenant's log: a decision of the provider. It never changes.
type Event struct {
	TenantID string `json:"tenant_id"`
	// ID begins with [EventPosition] of Time, so that a list by identifier is one by
	// time.
	ID   string    `json:"id"`
	Time time.Time `json:"time"`
	// Type and Outcome are those of package audit, as are the members below Quota.
	Type     string `json:"type"`
	Outcome  string `json:"outcome"`
	ClientID string `json:"client_id,omitempty"`
	UserID   string `json:"user_id,omitempty"`
	// Quota names what the event is counted with when a log is too long, see
	// [EventStore].TrimEvents. It may be empty.
	Quota     string            `json:"quota,omitempty"`
	Subject   string            `json:"subject,omitempty"`
	Actor     string            `json:"actor,omitempty"`
	Address   string            `json:"address,omitempty"`
	Code      string            `json:"code,omitempty"`
	Reasons   []string          `json:"reasons,omitempty"`
	Notes     map[string]string `json:"notes,omitempty"`
	ExpiresAt time.Time         `json:"expires_at"`
}

// Clone returns a copy that shares nothing with e.
func (e Event) Clone() Event {
	e.Reasons = slices.Clone(e.Reasons)
	e.Notes = maps.Clone(e.Notes)
	return e
}

// EventPosition returns what the identifiers of events at t begin with. It sorts behind
// those of all earlier events.
func EventPosition(t time.Time) string { return fmt.Sprintf("%016x", max(t.UnixMicro(), 0)) }

// EventFilter selects events; an empty member does not restrict.
type EventFilter struct {
	Type     string
	Outcome  string
	ClientID string
	UserID   string
}

// EventPage selects a part of a log.
type EventPage struct {
	// After and Before are identifiers, which need not exist: only events between them
	// are returned. Empty: there is no bound. They come from outside and are compared,
	// never interpreted.
	After, Before string
	// Newest lists from the end: by identifier, descending.
	Newest bool
	// Limit is that of [Page].
	Limit int
}

// Size returns the number of events to return at most.
func (p EventPage) Size() int { return Page{Limit: p.Limit}.Size() }

// EventSpan is a row of equal periods.
type EventSpan struct {
	From  time.Time
	Step  time.Duration
	Steps int
}

// Position returns that of the beginning of the period with a number, which is the end
// of the one before.
func (s EventSpan) Position(step int) string {
	return EventPosition(s.From.Add(time.Duration(step) * s.Step))
}

// EventStore keeps the log of every tenant. It grows with every decision, also those
// about strangers, so it has two bounds: ExpiresAt, and the number of events that
// TrimEvents leaves.
type EventStore interface {
	// AppendEvents stores events and returns how many. One whose identifier is taken in
	// its tenant is passed over, so that a batch whose fate is not known can be sent
	// again. After an error any part of the batch may be stored.
	AppendEvents(ctx context.Context, events []Event) (int, error)
	// Event returns the event. ErrNotFound: there is none, or it has expired.
	Event(ctx context.Context, tenant, id string, now time.Time) (Event, error)
	// Events lists events that have not expired.
	Events(ctx context.Context, tenant string, filter EventFilter, page EventPage, now time.Time) ([]Event, error)
	// CountEvents returns how many events that have not expired happened in each period
	// of span: those whose identifiers are at or behind the position at which the period
	// begins, and before that at which it ends. A span has at most [MaxEventSteps]
	// periods.
	CountEvents(ctx context.Context, tenant string, filter EventFilter, span EventSpan, now time.Time) ([]int, error)
	// TrimEvents removes what is older, by identifier, than the newest keep events with
	// this Quota, expired or not: at most limit of them, the oldest first. It returns
	// how many.
	TrimEvents(ctx context.Context, tenant, quota string, keep, limit int) (int, error)
	// CollectEvents removes at most limit expired events and returns how many.
	CollectEvents(ctx context.Context, now time.Time, limit int) (int, error)
}

// MaxEventSteps bounds the periods of an [EventSpan].
const MaxEventSteps = 200
