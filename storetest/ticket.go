package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/opkit/opkit/store"
)

// RunTickets checks a [store.TicketStore].
func RunTickets(t *testing.T, newStore func(t *testing.T) store.TicketStore, opts *Options[store.TicketStore]) {
	runAll(t, ticketChecks(), newStore, opts)
}

var tickets = kind[store.TicketStore, store.Ticket]{
	noun:     "ticket",
	decisive: true,
	identify: func(t *store.Ticket, tenant, id string) {
		t.TenantID, t.Kind, t.ID = tenant, "kind", store.DigestOf(id)
		t.ConsumedAt = time.Time{} // only ConsumeTicket sets it
		if t.ExpiresAt.IsZero() {
			t.ExpiresAt = base.Add(24 * time.Hour)
		}
	},
	listed:  func(t store.Ticket) string { return t.ID.String() },
	version: func(t *store.Ticket) *int64 { return &t.Version },
	fixed:   []string{"CreatedAt", "ConsumedAt"},
	create: func(ctx context.Context, s store.TicketStore, t store.Ticket, now time.Time) error {
		return s.PutTicket(ctx, t, now)
	},
	taken: store.ErrExists,
	get: func(ctx context.Context, s store.TicketStore, tenant, id string, now time.Time) (store.Ticket, error) {
		return s.Ticket(ctx, tenant, "kind", store.DigestOf(id), now)
	},
	update: func(ctx context.Context, s store.TicketStore, t store.Ticket, now time.Time) error {
		return s.UpdateTicket(ctx, t, now)
	},
	remove: func(ctx context.Context, s store.TicketStore, tenant, id string) error {
		return s.DeleteTicket(ctx, tenant, "kind", store.DigestOf(id))
	},
	expire: func(t *store.Ticket, at time.Time) { t.ExpiresAt = at },
	collect: func(ctx context.Context, s store.TicketStore, now time.Time, limit int) (int, error) {
		return s.CollectTickets(ctx, now, limit)
	},
	spent: func(s store.TicketStore, t store.Ticket, now time.Time) []call {
		return []call{
			{"Ticket", func(ctx context.Context) error { _, err := s.Ticket(ctx, t.TenantID, t.Kind, t.ID, now); return err }},
			{"UpdateTicket", func(ctx context.Context) error { return s.UpdateTicket(ctx, t, now) }},
			{"UpdateTicket to a later expiry", func(ctx context.Context) error {
				later := t
				later.ExpiresAt = now.AddDate(1, 0, 0)
				return s.UpdateTicket(ctx, later, now)
			}},
			{"ConsumeTicket", func(ctx context.Context) error {
				_, err := s.ConsumeTicket(ctx, t.TenantID, t.Kind, t.ID, now)
				return err
			}},
		}
	},
	calls: func(s store.TicketStore, t store.Ticket) []call {
		later := base.Add(time.Hour)
		return []call{
			{"PutTicket", func(ctx context.Context) error { return s.PutTicket(ctx, t, base) }},
			{"Ticket", func(ctx context.Context) error { _, err := s.Ticket(ctx, t.TenantID, t.Kind, t.ID, base); return err }},
			{"ConsumeTicket", func(ctx context.Context) error {
				_, err := s.ConsumeTicket(ctx, t.TenantID, t.Kind, t.ID, base)
				return err
			}},
			{"UpdateTicket", func(ctx context.Context) error { return s.UpdateTicket(ctx, t, base) }},
			{"DeleteTicket", func(ctx context.Context) error { return s.DeleteTicket(ctx, t.TenantID, t.Kind, t.ID) }},
			{"CollectTickets", func(ctx context.Context) error { _, err := s.CollectTickets(ctx, later, 10); return err }},
		}
	},
}

func ticketChecks() []check[store.TicketStore] {
	return append(tickets.common(),
		check[store.TicketStore]{
			name: "kinds", rule: ruleMethod,
			explanation: "A ticket is not found, consumed, updated or deleted under another kind, compared exactly; " +
				"kind, tenant and identifier do not run together.",
			run: checkTicketKinds,
		},
		check[store.TicketStore]{
			name: "consume", rule: ruleOnce,
			explanation: "The first consume returns the ticket with ConsumedAt, " +
				"every later one and every read returns the same record with ErrConsumed; absent is ErrNotFound.",
			run: checkConsume,
		},
		check[store.TicketStore]{
			name: "consume-copies", rule: ruleCopies,
			explanation: "The data that came with a consumed ticket is overwritten; the store must not notice.",
			run:         checkConsumeCopies,
		},
		check[store.TicketStore]{
			name: "tombstone", rule: ruleTombs,
			explanation: "Until a consumed ticket expires it blocks Put with ErrExists and Update with ErrConsumed and survives collections; " +
				"then the identifier is free and the new ticket begins anew.",
			run: checkTicketTombstone,
		},
		check[store.TicketStore]{
			name: "delete-tombstone", rule: ruleMethod,
			explanation: "DeleteTicket removes the tombstone too: the identifier is free.",
			run: func(ctx context.Context, s store.TicketStore, e *env[store.TicketStore]) {
				t := tickets.put(ctx, e, s, tickets.record("t", "a"))
				_, err := s.ConsumeTicket(ctx, "t", t.Kind, t.ID, base)
				e.ok(err, "ConsumeTicket")
				e.ok(s.DeleteTicket(ctx, "t", t.Kind, t.ID), "DeleteTicket")
				tickets.absent(ctx, e, s, t, "t", "a")
				tickets.expect(ctx, e, s, tickets.put(ctx, e, s, t), "t", "a")
			},
		},
		check[store.TicketStore]{
			name: "update-expiry", rule: ruleMethod,
			explanation: "UpdateTicket moves the expiry, both ways, for reads and for collections.",
			run:         checkTicketExpiryMoves,
		},
		check[store.TicketStore]{
			name: "tombstone-reopen", rule: ruleTombs, needs: reopening,
			explanation: "A ticket that was consumed is so after the data was closed and opened again.",
			run: func(ctx context.Context, s store.TicketStore, e *env[store.TicketStore]) {
				t := tickets.put(ctx, e, s, tickets.record("t", "a"))
				want, err := s.ConsumeTicket(ctx, "t", t.Kind, t.ID, base)
				e.ok(err, "ConsumeTicket")
				s = e.reopen()
				got, err := s.ConsumeTicket(ctx, "t", t.Kind, t.ID, base)
				e.is(err, store.ErrConsumed, "ConsumeTicket of a ticket that was consumed before")
				e.same(want, got, "the consumed ticket")
				e.is(s.PutTicket(ctx, t, base), store.ErrExists, "PutTicket over a tombstone")
			},
		},
		check[store.TicketStore]{
			name: "put-expired-race", rule: ruleOnce,
			explanation: "Of concurrent puts over a ticket that has expired exactly one succeeds; the others get ErrExists.",
			run:         checkPutExpiredRace,
		},
		check[store.TicketStore]{
			name: "consume-race", rule: ruleOnce,
			explanation: "Of concurrent consumes exactly one succeeds; each other gets the consumed record with ErrConsumed.",
			run:         checkConsumeRace,
		},
		check[store.TicketStore]{
			name: "consume-race-second-handle", rule: ruleOnce, needs: secondHandle,
			explanation: "The same through two handles.",
			run:         checkConsumeRace,
		},
		check[store.TicketStore]{
			name: "consume-update-race", rule: ruleOnce,
			explanation: "Consumes and updates of one ticket at once: one consume succeeds, and no update makes the ticket usable again.",
			run:         checkConsumeUpdateRace,
		},
	)
}

func checkTicketKinds(ctx context.Context, s store.TicketStore, e *env[store.TicketStore]) {
	id := store.DigestOf("a")
	keys := []struct{ tenant, kind string }{
		{"t", "par"}, {"t", "PAR"}, {"t", "par "}, {"t", "pa"}, {"t", "par%"}, {"tp", "ar"}, {"t/par", "x"}, {"t", "par/x"}, {"t:par", ""}, {"t", "par:"},
	}
	var want []store.Ticket
	for _, key := range keys {
		_, err := s.Ticket(ctx, key.tenant, key.kind, id, base)
		e.is(err, store.ErrNotFound, "Ticket of kind %q in tenant %q, which is not stored yet", key.kind, key.tenant)
		_, err = s.ConsumeTicket(ctx, key.tenant, key.kind, id, base)
		e.is(err, store.ErrNotFound, "ConsumeTicket of kind %q in tenant %q, which is not stored yet", key.kind, key.tenant)
		t := tickets.recordOf(len(want)+1, key.tenant, "a")
		t.Kind = key.kind
		t.Version = 1
		e.is(s.UpdateTicket(ctx, t, base), store.ErrNotFound, "UpdateTicket of kind %q in tenant %q, which is not stored yet", key.kind, key.tenant)
		e.ok(s.DeleteTicket(ctx, key.tenant, key.kind, id), "DeleteTicket of what is absent")
		want = append(want, tickets.put(ctx, e, s, t))
	}
	for i, key := range keys {
		if i%2 == 0 {
			_, err := s.ConsumeTicket(ctx, key.tenant, key.kind, id, base)
			e.ok(err, "ConsumeTicket of kind %q in tenant %q", key.kind, key.tenant)
		}
	}
	for i, key := range keys {
		got, err := s.Ticket(ctx, key.tenant, key.kind, id, base)
		if i%2 == 0 {
			e.is(err, store.ErrConsumed, "Ticket of kind %q in tenant %q", key.kind, key.tenant)
			continue
		}
		e.ok(err, "Ticket of kind %q in tenant %q", key.kind, key.tenant)
		e.same(want[i], got, "ticket of kind %q in tenant %q", key.kind, key.tenant)
	}
}

func checkConsume(ctx context.Context, s store.TicketStore, e *env[store.TicketStore]) {
	_, err := s.ConsumeTicket(ctx, "t", "kind", store.DigestOf("a"), base)
	e.is(err, store.ErrNotFound, "ConsumeTicket of what never was")
	want := tickets.put(ctx, e, s, tickets.record("t", "a"))
	neighbour := tickets.put(ctx, e, s, tickets.record("t", "b"))

	// The zone and the nanoseconds of now must not be kept either.
	now := base.Add(time.Minute)
	got, err := s.ConsumeTicket(ctx, "t", "kind", want.ID, now.Add(5*time.Nanosecond).In(time.FixedZone("East", 3600)))
	e.ok(err, "ConsumeTicket")
	want.ConsumedAt = now
	want.Version = got.Version // consuming may count as a change or not
	e.same(want, got, "the consumed ticket")
	if zone, offset := got.ConsumedAt.Zone(); zone != "UTC" || offset != 0 {
		e.fail("ConsumedAt is in zone %q", zone)
	}
	for _, later := range []time.Time{now, now.Add(time.Second), now.Add(-time.Second)} {
		got, err = s.ConsumeTicket(ctx, "t", "kind", want.ID, later)
		e.is(err, store.ErrConsumed, "ConsumeTicket of a consumed ticket")
		e.same(want, got, "the record that came with ErrConsumed from ConsumeTicket")
		got, err = s.Ticket(ctx, "t", "kind", want.ID, later)
		e.is(err, store.ErrConsumed, "Ticket of a consumed ticket")
		e.same(want, got, "the record that came with ErrConsumed from Ticket")
	}
	tickets.expect(ctx, e, s, neighbour, "t", "b")
}

func checkConsumeCopies(ctx context.Context, s store.TicketStore, e *env[store.TicketStore]) {
	data := tickets.record("t", "a").Data
	t := tickets.put(ctx, e, s, tickets.record("t", "a"))
	for range 3 { // the winner's copy, and twice a loser's
		got, err := s.ConsumeTicket(ctx, "t", "kind", t.ID, base)
		if err != nil && !errors.Is(err, store.ErrConsumed) {
			e.fail("ConsumeTicket: %w", err)
		}
		e.same(data, got.Data, "the data of the ticket from ConsumeTicket")
		scribble(&got)
		got, err = s.Ticket(ctx, "t", "kind", t.ID, base)
		e.is(err, store.ErrConsumed, "Ticket")
		e.same(data, got.Data, "the data of the ticket from Ticket")
		scribble(&got)
	}
}

func checkTicketTombstone(ctx context.Context, s store.TicketStore, e *env[store.TicketStore]) {
	for _, era := range eras {
		now := era.Add(-time.Hour)
		id := fmt.Sprint(era.Year())
		t := tickets.expiring(ctx, e, s, id, era)
		want, err := s.ConsumeTicket(ctx, "t", "kind", t.ID, now)
		e.ok(err, "ConsumeTicket, now %v", now)
		for _, now := range []time.Time{now, era.Add(-time.Microsecond)} {
			e.is(s.PutTicket(ctx, t, now), store.ErrExists, "PutTicket over a tombstone, now %v", now)
			again := want
			again.ExpiresAt = era.AddDate(1, 0, 0)
			e.is(s.UpdateTicket(ctx, again, now), store.ErrConsumed, "UpdateTicket of a tombstone, now %v", now)
			n, err := s.CollectTickets(ctx, now, 100)
			e.ok(err, "CollectTickets")
			if n != 0 {
				e.fail("CollectTickets removed %d records although only a tombstone is there that has not expired", n)
			}
			got, err := s.Ticket(ctx, "t", "kind", t.ID, now)
			e.is(err, store.ErrConsumed, "Ticket of a tombstone, now %v", now)
			e.same(want, got, "the tombstone")
		}
		_, err = s.Ticket(ctx, "t", "kind", t.ID, era)
		e.is(err, store.ErrNotFound, "Ticket of an expired tombstone, now %v", era)
		_, err = s.ConsumeTicket(ctx, "t", "kind", t.ID, era)
		e.is(err, store.ErrNotFound, "ConsumeTicket of an expired tombstone, now %v", era)

		next := tickets.recordOf(2, "t", id)
		next.ExpiresAt = era.Add(time.Hour)
		e.ok(s.PutTicket(ctx, next, era), "PutTicket over an expired tombstone, now %v", era)
		next.Version = 1
		got, err := s.Ticket(ctx, "t", "kind", t.ID, era)
		e.ok(err, "Ticket of the ticket that took the place of a tombstone")
		e.same(next, got, "the ticket that took the place of a tombstone")
		_, err = s.ConsumeTicket(ctx, "t", "kind", t.ID, era)
		e.ok(err, "ConsumeTicket of the ticket that took the place of a tombstone")
		n, err := s.CollectTickets(ctx, era.Add(time.Hour), 100)
		e.ok(err, "CollectTickets")
		if n != 1 {
			e.fail("CollectTickets removed %d records, want the one tombstone that expired", n)
		}
	}
}

func checkTicketExpiryMoves(ctx context.Context, s store.TicketStore, e *env[store.TicketStore]) {
	end := base.Add(time.Hour)
	longer := tickets.expiring(ctx, e, s, "longer", end)
	shorter := tickets.expiring(ctx, e, s, "shorter", end)
	longer.ExpiresAt = end.Add(time.Hour)
	e.ok(s.UpdateTicket(ctx, longer, base), "UpdateTicket")
	shorter.ExpiresAt = end.Add(-time.Minute)
	e.ok(s.UpdateTicket(ctx, shorter, base), "UpdateTicket")

	_, err := s.Ticket(ctx, "t", "kind", shorter.ID, end.Add(-time.Second))
	e.is(err, store.ErrNotFound, "Ticket after an earlier expiry")
	for _, step := range []struct {
		now  time.Time
		want int
	}{{end.Add(-time.Second), 1}, {end.Add(time.Minute), 0}, {end.Add(time.Hour), 1}} {
		n, err := s.CollectTickets(ctx, step.now, 100)
		e.ok(err, "CollectTickets")
		if n != step.want {
			e.fail("CollectTickets at %v removed %d records, want %d", step.now, n, step.want)
		}
		if step.want == 0 {
			_, err = s.Ticket(ctx, "t", "kind", longer.ID, step.now)
			e.ok(err, "Ticket before a later expiry")
		}
	}
}

func checkPutExpiredRace(ctx context.Context, s store.TicketStore, e *env[store.TicketStore]) {
	var next store.Ticket
	race(ctx, e, contest[store.TicketStore, struct{}]{
		rounds: 2000, limit: 2 * time.Second,
		prepare: func(ctx context.Context, round int) {
			next = tickets.record("t", fmt.Sprint(round))
			old := next
			old.ExpiresAt = base
			e.ok(s.PutTicket(ctx, old, base.Add(-time.Hour)), "PutTicket")
		},
		call: func(ctx context.Context, s store.TicketStore, round, racer int) (struct{}, error) {
			return struct{}{}, s.PutTicket(ctx, next, base)
		},
		judge: func(ctx context.Context, round int, got []outcome[struct{}]) {
			winner(e, round, got, store.ErrExists)
		},
	})
}

func checkConsumeRace(ctx context.Context, s store.TicketStore, e *env[store.TicketStore]) {
	var next store.Ticket
	race(ctx, e, contest[store.TicketStore, store.Ticket]{
		rounds: 2000, limit: 2 * time.Second,
		prepare: func(ctx context.Context, round int) {
			next = tickets.put(ctx, e, s, tickets.record("t", fmt.Sprint(round)))
		},
		call: func(ctx context.Context, s store.TicketStore, round, racer int) (store.Ticket, error) {
			return s.ConsumeTicket(ctx, "t", "kind", next.ID, base.Add(time.Duration(racer)*time.Minute))
		},
		judge: func(ctx context.Context, round int, got []outcome[store.Ticket]) {
			won := winner(e, round, got, store.ErrConsumed)
			want := next
			want.ConsumedAt = base.Add(time.Duration(won) * time.Minute)
			want.Version = got[won].value.Version // consuming may count as a change or not
			for _, o := range got {
				e.same(want, o.value, "round %d: the record that came with %v", round, o.err)
			}
		},
	})
}

func checkConsumeUpdateRace(ctx context.Context, s store.TicketStore, e *env[store.TicketStore]) {
	const consumers = racers / 2
	var next store.Ticket
	race(ctx, e, contest[store.TicketStore, struct{}]{
		rounds: 2000, limit: 2 * time.Second,
		prepare: func(ctx context.Context, round int) {
			next = tickets.put(ctx, e, s, tickets.record("t", fmt.Sprint(round)))
		},
		call: func(ctx context.Context, s store.TicketStore, round, racer int) (struct{}, error) {
			if racer < consumers {
				_, err := s.ConsumeTicket(ctx, "t", "kind", next.ID, base)
				return struct{}{}, err
			}
			return struct{}{}, s.UpdateTicket(ctx, next, base)
		},
		judge: func(ctx context.Context, round int, got []outcome[struct{}]) {
			winner(e, round, got[:consumers], store.ErrConsumed)
			for _, o := range got[consumers:] {
				if err := sentinel(o.err); o.err != nil && !errors.Is(err, store.ErrConsumed) && !errors.Is(err, store.ErrConflict) {
					e.fail("round %d: UpdateTicket: %w", round, o.err)
				}
			}
			_, err := tickets.get(ctx, s, "t", fmt.Sprint(round), base)
			e.is(err, store.ErrConsumed, "round %d: Ticket after it was consumed", round)
		},
	})
}
