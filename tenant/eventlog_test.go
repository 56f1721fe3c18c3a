package tenant_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/opkit/opkit/audit"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
	"github.com/opkit/opkit/storetest"
	"github.com/opkit/opkit/tenant"
)

func eventLog(t *testing.T, cfg tenant.EventLogConfig) *tenant.EventLog {
	t.Helper()
	l, err := tenant.NewEventLog(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// ended runs l as a host does that ends: what waits is written.
func ended(t *testing.T, l *tenant.EventLog) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Run: %v", err)
	}
}

func TestAnEventLogNeedsAStore(t *testing.T) {
	if l, err := tenant.NewEventLog(tenant.EventLogConfig{}); l != nil || err == nil {
		t.Errorf("%v, %v", l, err)
	}
}

func TestAnEventIsKeptWhole(t *testing.T) {
	s := memstore.New()
	l := eventLog(t, tenant.EventLogConfig{Events: s})
	at := time.Date(2031, time.May, 6, 7, 8, 9, 0, time.UTC)
	long := strings.Repeat("a", 2000)
	l.Record(t.Context(), audit.Event{
		Time: at, TenantID: "t", Type: audit.ClientRegistration, Outcome: audit.Refused, ClientID: "c\x00d", UserID: long, Subject: "s", Actor: "a\xff",
		Address: netip.MustParseAddr("::ffff:192.0.2.1"), Code: "invalid_request", Reasons: slices.Repeat([]string{"r"}, 40), Notes: map[string]string{"n\x00": "v"},
	})
	l.Record(t.Context(), audit.Event{Time: at, TenantID: "t", Type: audit.SignIn, Outcome: audit.Allowed, Address: netip.MustParseAddr("fe80::1%eth0")})
	ended(t, l)
	got, err := s.Events(t.Context(), "t", store.EventFilter{}, store.EventPage{}, at)
	if err != nil || len(got) != 2 || len(got[0].ID) != 32 || got[0].ID >= got[1].ID {
		t.Fatalf("%v, %v", got, err)
	}
	want := []store.Event{{
		TenantID: "t", ID: got[0].ID, Time: at, Type: "client.registration", Outcome: "refused", ClientID: "c\uFFFDd", UserID: long[:1024], Quota: "refused",
		Subject: "s", Actor: "a\uFFFD", Address: "192.0.2.1", Code: "invalid_request", Reasons: slices.Repeat([]string{"r"}, 32),
		Notes: map[string]string{"n\uFFFD": "v"}, ExpiresAt: at.Add(30 * 24 * time.Hour),
	}, {
		TenantID: "t", ID: got[1].ID, Time: at, Type: "user.sign_in", Outcome: "allowed", Address: "fe80::1", ExpiresAt: at.Add(30 * 24 * time.Hour),
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAnEventLogDropsWhatIsTooMuchAndSaysSo(t *testing.T) {
	s := memstore.New()
	var out bytes.Buffer
	l := eventLog(t, tenant.EventLogConfig{Events: s, Logger: slog.New(slog.NewTextHandler(&out, nil))})
	at := time.Now()
	for range 1500 { // nobody takes any yet
		l.Record(t.Context(), audit.Event{Time: at, TenantID: "t", Type: audit.Management})
	}
	ended(t, l)
	got, err := s.CountEvents(t.Context(), "t", store.EventFilter{}, store.EventSpan{From: at.Add(-time.Minute), Step: time.Hour, Steps: 1}, at)
	if err != nil || got[0] != 1024 || !strings.Contains(out.String(), "events=476") {
		t.Errorf("%v events, %v: %s", got, err, &out)
	}
}

// While the store fails events wait, and a batch whose fate is not known is not there
// twice.
func TestAnEventLogOutlastsItsStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memstore.New()
		var calls atomic.Int64
		failing := storetest.Inject(store.Stores{Events: s}, storetest.Faults{
			Before: func(context.Context, string) error {
				if calls.Add(1) <= 3 {
					return errors.New("down")
				}
				return nil
			},
			After: func(context.Context, string) error {
				if calls.Load() == 4 {
					return errors.New("the connection was lost")
				}
				return nil
			},
		})
		l := eventLog(t, tenant.EventLogConfig{Events: failing.Events})
		for range 5 {
			l.Record(t.Context(), audit.Event{Time: time.Now(), TenantID: "t"})
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- l.Run(ctx) }()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got, err := s.Events(t.Context(), "t", store.EventFilter{}, store.EventPage{}, time.Now()); err != nil || len(got) != 5 || calls.Load() != 5 {
			t.Errorf("%d events after %d calls, %v", len(got), calls.Load(), err)
		}
		cancel()
		<-done
	})
}

// A batch that no store takes does not stop those behind it for ever.
func TestAnEventLogGivesUpInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failing := storetest.Inject(store.Stores{Events: memstore.New()}, storetest.Faults{
			Before: func(context.Context, string) error { return errors.New("down") },
		})
		var out bytes.Buffer
		l := eventLog(t, tenant.EventLogConfig{Events: failing.Events, Logger: slog.New(slog.NewTextHandler(&out, nil))})
		l.Record(t.Context(), audit.Event{Time: time.Now(), TenantID: "t"})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- l.Run(ctx) }()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if !strings.Contains(out.String(), "events are missing in the log") || strings.Count(out.String(), "\n") != 2 {
			t.Errorf("%s", &out)
		}
		cancel()
		<-done
	})
}

// Whoever makes requests that are refused does not push out of the log what others do.
func TestAFloodOfRefusalsLeavesRoomInTheQueue(t *testing.T) {
	s := memstore.New()
	l := eventLog(t, tenant.EventLogConfig{Events: s})
	at := time.Date(2031, time.May, 6, 7, 8, 9, 0, time.UTC)
	for _, flood := range []audit.Event{{Type: audit.SignIn, Outcome: audit.Refused}, {Type: audit.Consent, Outcome: audit.Allowed}} {
		flood.Time, flood.TenantID = at, "strangers"
		for range 5000 {
			l.Record(t.Context(), flood)
		}
	}
	for range 100 {
		l.Record(t.Context(), audit.Event{Time: at, TenantID: "t", Type: audit.Management, Outcome: audit.Allowed})
	}
	ended(t, l)
	kept, err := s.Events(t.Context(), "t", store.EventFilter{}, store.EventPage{Limit: 200}, at)
	if err != nil || len(kept) != 100 {
		t.Errorf("%d of 100 are kept: %v", len(kept), err)
	}
	// The three kinds are bounded apart in the store.
	quotas := map[string]int{}
	for _, tenant := range []string{"t", "strangers"} {
		list, err := s.Events(t.Context(), tenant, store.EventFilter{}, store.EventPage{Limit: store.MaxPageLimit}, at)
		if err != nil {
			t.Fatal(err)
		}
		for i := range list {
			quotas[list[i].Quota]++
		}
	}
	if len(quotas) != 3 {
		t.Errorf("%v", quotas)
	}
}
