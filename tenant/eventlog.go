package tenant

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/opkit/opkit/audit"
	"github.com/opkit/opkit/store"
)

// EventLogConfig is what an [EventLog] needs. Events is required.
type EventLogConfig struct {
	Events store.EventStore
	// Retention is how long an event is kept. Zero or less: 30 days.
	Retention time.Duration
	// MaxEvents is how many events a tenant keeps of what administrators did, of what
	// others did, and of what was refused or failed: whoever tries passwords, or signs in
	// and out all day, pushes out nothing else. Zero or less: 50,000 of each.
	MaxEvents int
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
	// Logger receives failures. Nil: they are discarded.
	Logger *slog.Logger
}

// EventLog is an [audit.Sink] that keeps events in a store, where administrators of the
// tenant read them, on whatever node they happened. No request waits for it: Record
// hands the event to [EventLog.Run], and drops and counts it if there are too many.
type EventLog struct {
	cfg     EventLogConfig
	queue   chan *store.Event
	dropped atomic.Int64
	node    string // tells events of this process apart from those of others
	serial  atomic.Uint32
}

const (
	eventQueue = 1024
	// How long it may be when what strangers cause joins it, and what users do.
	refusedQueue, usersQueue = eventQueue / 2, eventQueue * 3 / 4
	eventBatch               = 100
	appendLimit              = 20 * time.Second // for one batch
	appendRetry              = time.Second
	appendRounds             = 60              // then a batch is given up
	flushLimit               = 5 * time.Second // for one batch when the program ends
)

// Bounds of what is kept of an event. Identifiers are indexed.
const (
	maxEventText  = 1 << 10
	maxEventNotes = 32
)

// Quotas, each of which is bounded by itself.
const (
	quotaUsers          = ""
	quotaRefused        = "refused" // or failed
	quotaAdministration = "administration"
)

// administration are the events that nobody causes who is no administrator, but for
// joining accounts, which is rare and worth remembering.
var administration = []audit.Type{
	audit.Management, audit.KeyRotation, audit.KeyRevocation, audit.ClientCreation, audit.InitialAccessTokenCreation,
	audit.InitialAccessTokenDeletion, audit.AccountsLinked,
}

// NewEventLog checks cfg. It calls nothing and starts no goroutine.
func NewEventLog(cfg EventLogConfig) (*EventLog, error) {
	if cfg.Events == nil {
		return nil, errors.New("tenant: EventLogConfig.Events is required")
	}
	cfg.Retention = cmp.Or(max(cfg.Retention, 0), 30*24*time.Hour)
	cfg.MaxEvents = cmp.Or(max(cfg.MaxEvents, 0), 50_000)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	var node [4]byte
	rand.Read(node[:]) // never fails
	return &EventLog{cfg: cfg, queue: make(chan *store.Event, eventQueue), node: hex.EncodeToString(node[:])}, nil
}

// Record implements [audit.Sink].
func (l *EventLog) Record(_ context.Context, e audit.Event) {
	kept := l.event(&e)
	room := true // for what administrators do, always
	switch kept.Quota {
	case quotaRefused:
		room = len(l.queue) < refusedQueue
	case quotaUsers:
		room = len(l.queue) < usersQueue
	}
	if !room {
		l.dropped.Add(1)
		return
	}
	select {
	case l.queue <- kept:
	default:
		l.dropped.Add(1)
	}
}

// event returns what is kept of e.
func (l *EventLog) event(e *audit.Event) *store.Event {
	kept := &store.Event{
		TenantID: e.TenantID, Time: e.Time, Type: text(string(e.Type)), Outcome: text(string(e.Outcome)),
		ClientID: text(e.ClientID), UserID: text(e.UserID), Subject: text(e.Subject), Actor: text(e.Actor), Code: text(e.Code),
		ExpiresAt: e.Time.Add(l.cfg.Retention),
	}
	// Those of one node and one microsecond keep their order.
	kept.ID = fmt.Sprintf("%s%08x%s", store.EventPosition(e.Time), l.serial.Add(1), l.node)
	switch e.Outcome {
	case audit.Refused, audit.Limited, audit.Failed:
		kept.Quota = quotaRefused
	default:
		if slices.Contains(administration, e.Type) {
			kept.Quota = quotaAdministration
		}
	}
	if e.Address.IsValid() {
		kept.Address = e.Address.Unmap().WithZone("").String()
	}
	for _, reason := range e.Reasons[:min(len(e.Reasons), maxEventNotes)] {
		kept.Reasons = append(kept.Reasons, text(reason))
	}
	for name, note := range e.Notes {
		if len(kept.Notes) == maxEventNotes {
			break
		}
		if kept.Notes == nil {
			kept.Notes = make(map[string]string, min(len(e.Notes), maxEventNotes))
		}
		kept.Notes[text(name)] = text(note)
	}
	return kept
}

// text returns what every database can keep of s: some of it comes from the host, and
// one event that cannot be kept would stop those with it.
func text(s string) string {
	if len(s) > maxEventText {
		s = s[:maxEventText]
	}
	if utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 {
		return s
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// Run writes events to the store until ctx ends, and then those that are left. It
// returns the error of ctx.
func (l *EventLog) Run(ctx context.Context) error {
	for {
		select {
		case e := <-l.queue:
			l.write(ctx, l.batch(e))
			continue
		case <-ctx.Done():
		}
		for len(l.queue) > 0 {
			if !l.write(ctx, l.batch(<-l.queue)) {
				l.cfg.Logger.ErrorContext(ctx, "events are missing in the log: the store failed while the program ended", "events", len(l.queue))
				break
			}
		}
		return ctx.Err()
	}
}

// batch returns what waits, at most eventBatch events, beginning with e.
func (l *EventLog) batch(e *store.Event) []store.Event {
	batch := []store.Event{*e}
	for len(batch) < eventBatch {
		select {
		case e := <-l.queue:
			batch = append(batch, *e)
		default:
			return batch
		}
	}
	return batch
}

// write stores a batch and reports whether it could. While the store does not take it the
// queue fills, and a batch that no store takes is given up in the end: at once when ctx
// is done.
func (l *EventLog) write(ctx context.Context, batch []store.Event) bool {
	if n := l.dropped.Swap(0); n > 0 {
		l.cfg.Logger.WarnContext(ctx, "events are missing in the log: there were too many at once", "events", n)
	}
	for round := 1; ; round++ {
		err := l.append(ctx, batch)
		switch {
		case err == nil:
			return true
		case round == appendRounds || ctx.Err() != nil:
			l.cfg.Logger.ErrorContext(ctx, "events are missing in the log: they could not be stored", "events", len(batch), "err", err)
			return false
		case round == 1:
			l.cfg.Logger.ErrorContext(ctx, "events wait for their store", "err", err)
		}
		retry := time.NewTimer(appendRetry)
		select {
		case <-retry.C:
		case <-ctx.Done(): // one last attempt
		}
		retry.Stop()
	}
}

// append is not ended by ctx: of a batch that was interrupted nobody knows whether it is
// stored.
func (l *EventLog) append(ctx context.Context, batch []store.Event) error {
	limit := appendLimit
	if ctx.Err() != nil {
		limit = flushLimit
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	_, err := l.cfg.Events.AppendEvents(ctx, batch)
	return err
}

// Bounds of one round of trimming a tenant's log.
const (
	trimBatch   = 500
	trimBatches = 200
)

// TrimEvents shortens the logs that are too long, see EventLogConfig.MaxEvents. It does a
// bounded part of the work for each tenant.
func (d *Directory) TrimEvents(ctx context.Context, l *EventLog) error {
	var errs []error
	for page := (store.Page{}); ; {
		tenants, err := d.cfg.Stores.Tenants.Tenants(ctx, page)
		if err != nil {
			return errors.Join(append(errs, err)...)
		}
		for i := range tenants {
			if err := l.trim(ctx, tenants[i].ID); err != nil {
				errs = append(errs, fmt.Errorf("tenant %s: %w", tenants[i].ID, err))
			}
		}
		if len(tenants) < page.Size() {
			return errors.Join(errs...)
		}
		page.After = tenants[len(tenants)-1].ID
	}
}

func (l *EventLog) trim(ctx context.Context, tenant string) error {
	for _, quota := range []string{quotaUsers, quotaRefused, quotaAdministration} {
		for range trimBatches {
			n, err := l.cfg.Events.TrimEvents(ctx, tenant, quota, l.cfg.MaxEvents, trimBatch)
			if err != nil {
				return err
			}
			if n < trimBatch {
				break
			}
		}
	}
	return nil
}
