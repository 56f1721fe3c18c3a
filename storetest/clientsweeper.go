package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/opkit/opkit/store"
)

// SweptClients is what [RunClientSweeper] checks: clients, and what removes those
// that nobody uses.
type SweptClients interface {
	store.ClientStore
	store.ClientSweeper
}

// RunClientSweeper checks a [store.ClientSweeper] together with the
// [store.ClientStore] that it works on.
func RunClientSweeper(t *testing.T, newStore func(t *testing.T) SweptClients, opts *Options[SweptClients]) {
	runAll(t, clientSweeperChecks(), newStore, opts)
}

type sweeperEnv = env[SweptClients]

func clientSweeperChecks() []check[SweptClients] {
	twice := func(name, explanation string, run func(context.Context, SweptClients, *sweeperEnv)) []check[SweptClients] {
		return []check[SweptClients]{
			{name: name, rule: ruleVersions, explanation: explanation, run: run},
			{name: name + "-second-handle", rule: ruleVersions, needs: secondHandle, explanation: explanation + " Through two handles.", run: run},
		}
	}
	return slices.Concat([]check[SweptClients]{
		{
			name: "idle", rule: ruleMethod,
			explanation: "IdleClients lists clients that registered themselves, and nobody else's: provisional ones by CreatedAt, " +
				"confirmed ones by LastUsedAt, the longest unused first, every field as it is stored; Before itself is not selected.",
			run: checkIdle,
		},
		{
			name: "idle-follows", rule: ruleMethod,
			explanation: "A client that is confirmed, or used again, is at its new place in the lists at once, and in no other; " +
				"what an update never changes decides nothing.",
			run: checkIdleFollows,
		},
		{
			name: "idle-pages", rule: ruleLists,
			explanation: "Pages of any size give every idle client once, also where many have the same time, and while clients seen are removed.",
			run:         checkIdlePages,
		},
		{
			name: "count", rule: ruleMethod,
			explanation: "CountProvisional counts the provisional clients of one tenant, whatever happens to them.",
			run:         checkCountProvisional,
		},
		{
			name: "remove", rule: ruleVersions,
			explanation: "RemoveClients removes the clients of one tenant that have the Version given, says which, and passes over all others.",
			run:         checkRemoveClients,
		},
		{
			name: "sweeper-copies", rule: ruleCopies,
			explanation: "What a caller does to a client from IdleClients changes nothing.",
			run: func(ctx context.Context, s SweptClients, e *sweeperEnv) {
				want := putSwept(ctx, e, s, provisionalClient("t", "a", base))
				got := idleClients(ctx, e, s, "t", false, base.Add(time.Hour))
				if len(got) != 1 {
					e.fail("IdleClients has %d clients, want 1", len(got))
				}
				scribble(&got[0])
				e.same([]store.Client{want}, idleClients(ctx, e, s, "t", false, base.Add(time.Hour)), "IdleClients after its result was changed")
			},
		},
		{
			name: "sweeper-cancelled", rule: ruleContext,
			explanation: "Every method, called with a context that is cancelled, returns the context's error and removes nothing.",
			run:         checkSweeperCancelled,
		},
		{
			name: "sweeper-second-handle", rule: ruleHandles, needs: secondHandle,
			explanation: "What is created, confirmed and removed through one handle is listed, counted and absent through the other at once.",
			run:         checkSweeperSecondHandle,
		},
		{
			name: "sweeper-reopen", rule: ruleDurable, needs: reopening,
			explanation: "Idle clients are listed and removed clients are gone after the data was closed and opened again.",
			run:         checkSweeperReopen,
		},
	},
		twice("remove-race", "Of concurrent removals of one client exactly one says that it removed it.", checkRemoveRace),
		twice("remove-confirm-race", "A client is confirmed while it is swept: either the update succeeds and the client stays, "+
			"or it answers ErrNotFound and the client is gone.", checkRemoveConfirmRace),
	)
}

// provisionalClient is a client that registered itself at a time.
func provisionalClient(tenant, id string, created time.Time) store.Client {
	c := clients.record(tenant, id)
	c.Dynamic, c.CreatedAt, c.ConfirmedAt, c.LastUsedAt = true, created, time.Time{}, time.Time{}
	return c
}

// confirmedClient is one that was last used at a time.
func confirmedClient(tenant, id string, used time.Time) store.Client {
	c := provisionalClient(tenant, id, base.AddDate(-2, 0, 0))
	c.ConfirmedAt, c.LastUsedAt = base.AddDate(-1, 0, 0), used
	return c
}

func putSwept(ctx context.Context, e *sweeperEnv, s SweptClients, c store.Client) store.Client {
	e.ok(s.CreateClient(ctx, c), "creating client %q", c.ID)
	c.Version = 1
	return c
}

func idleClients(ctx context.Context, e *sweeperEnv, s SweptClients, tenant string, confirmed bool, before time.Time) []store.Client {
	got, err := s.IdleClients(ctx, tenant, store.IdleFilter{Confirmed: confirmed, Before: before}, store.IdlePage{})
	e.ok(err, "IdleClients")
	return got
}

func counted(ctx context.Context, e *sweeperEnv, s SweptClients, tenant string, want int, when string) {
	got, err := s.CountProvisional(ctx, tenant)
	e.ok(err, "CountProvisional")
	if got != want {
		e.fail("CountProvisional of tenant %q %s is %d, want %d", tenant, when, got, want)
	}
}

func checkIdle(ctx context.Context, s SweptClients, e *sweeperEnv) {
	at := func(i int) time.Time { return base.Add(time.Duration(i) * time.Microsecond) }
	// Identifiers in another order than times, and a confirmed client is as old as can be.
	var provisional, confirmed []store.Client
	for i, id := range []string{"z", "b", "y", "a", "é", "%", "A"} {
		provisional = append(provisional, putSwept(ctx, e, s, provisionalClient("t", id, at(i))))
		confirmed = append(confirmed, putSwept(ctx, e, s, confirmedClient("t", "used "+id, at(i))))
	}
	never := provisionalClient("t", "confirmed, never used", base.AddDate(-3, 0, 0))
	never.ConfirmedAt = base
	confirmed = append([]store.Client{putSwept(ctx, e, s, never)}, confirmed...)
	foreign := putSwept(ctx, e, s, provisionalClient("T", "z", base.AddDate(-9, 0, 0)))
	own := provisionalClient("t", "of the tenant", base.AddDate(-9, 0, 0))
	own.Dynamic = false
	putSwept(ctx, e, s, own)
	own.ID, own.ConfirmedAt, own.LastUsedAt = "of the tenant, used", base.AddDate(-8, 0, 0), base.AddDate(-8, 0, 0)
	putSwept(ctx, e, s, own)

	for n := range len(provisional) + 1 {
		e.same(provisional[:n], idleClients(ctx, e, s, "t", false, at(n)), "provisional clients before number %d", n)
		e.same(confirmed[:n+1], idleClients(ctx, e, s, "t", true, at(n)), "confirmed clients unused before number %d", n)
	}
	e.same([]store.Client{foreign}, idleClients(ctx, e, s, "T", false, base.AddDate(50, 0, 0)), "provisional clients of another tenant")
	if got := idleClients(ctx, e, s, "nobody", true, base.AddDate(50, 0, 0)); len(got) != 0 {
		e.fail("a tenant without clients has %d idle ones", len(got))
	}
}

func checkIdleFollows(ctx context.Context, s SweptClients, e *sweeperEnv) {
	far := base.AddDate(50, 0, 0)
	first := putSwept(ctx, e, s, provisionalClient("t", "first", base))
	second := putSwept(ctx, e, s, provisionalClient("t", "second", base.Add(time.Hour)))
	update := func(c *store.Client) {
		e.ok(s.UpdateClient(ctx, *c), "UpdateClient")
		c.Version++
	}
	lists := func(when string, provisional, confirmed []store.Client) {
		e.same(provisional, idleClients(ctx, e, s, "t", false, far), "provisional clients %s", when)
		e.same(confirmed, idleClients(ctx, e, s, "t", true, far), "confirmed clients %s", when)
	}
	lists("at first", []store.Client{first, second}, nil)

	// Neither the name nor LastUsedAt is what a provisional client goes by.
	first.Name, first.LastUsedAt = "renamed", base.AddDate(1, 0, 0)
	update(&first)
	lists("after one was changed", []store.Client{first, second}, nil)

	// Dynamic and CreatedAt stay what they were.
	sent := first
	sent.Dynamic, sent.CreatedAt = false, base.AddDate(2, 0, 0)
	update(&sent)
	first.Version = sent.Version
	lists("after an update that claims to change what never changes", []store.Client{first, second}, nil)

	first.ConfirmedAt, first.LastUsedAt = base.Add(2*time.Hour), base.Add(2*time.Hour)
	update(&first)
	lists("after one was confirmed", []store.Client{second}, []store.Client{first})

	second.ConfirmedAt, second.LastUsedAt = base.Add(time.Hour), base.Add(time.Hour)
	update(&second)
	lists("after both were confirmed", nil, []store.Client{second, first})

	second.LastUsedAt = base.Add(3 * time.Hour)
	update(&second)
	lists("after one was used again", nil, []store.Client{first, second})

	e.ok(s.DeleteClient(ctx, "t", first.ID), "DeleteClient")
	lists("after one was deleted", nil, []store.Client{second})
}

func checkIdlePages(ctx context.Context, s SweptClients, e *sweeperEnv) {
	const count = 23
	var want []store.Client
	for i := range count {
		// Seven clients a time, and the identifiers of later ones are smaller.
		c := provisionalClient("t", fmt.Sprintf("%d%02d", 9-i/7, i), base.Add(time.Duration(i/7)*time.Hour))
		want = append(want, putSwept(ctx, e, s, c))
		putSwept(ctx, e, s, confirmedClient("t", "used "+c.ID, base))
	}
	filter := store.IdleFilter{Before: base.AddDate(1, 0, 0)}
	for _, limit := range []int{1, 2, 5, 7, count, count + 1, 0, -1, store.MaxPageLimit + 1} {
		var got []store.Client
		for page := (store.IdlePage{Limit: limit}); ; {
			clients, err := s.IdleClients(ctx, "t", filter, page)
			e.ok(err, "IdleClients")
			if len(clients) > page.Size() {
				e.fail("IdleClients with limit %d returns %d clients", limit, len(clients))
			}
			got = append(got, clients...)
			if len(clients) < page.Size() || len(got) > count {
				break
			}
			last := clients[len(clients)-1]
			page.AfterTime, page.AfterID = last.IdleSince(), last.ID
		}
		e.same(want, got, "all pages of at most %d", limit)
	}
	// A sweep removes what it has seen.
	swept := 0
	for page := (store.IdlePage{Limit: 4}); ; {
		clients, err := s.IdleClients(ctx, "t", filter, page)
		e.ok(err, "IdleClients")
		if len(clients) == 0 {
			break
		}
		removed, err := s.RemoveClients(ctx, "t", clients)
		e.ok(err, "RemoveClients")
		swept += len(removed)
		last := clients[len(clients)-1]
		page.AfterTime, page.AfterID = last.IdleSince(), last.ID
	}
	if swept != count {
		e.fail("a sweep by pages removed %d clients, want %d", swept, count)
	}
}

func checkCountProvisional(ctx context.Context, s SweptClients, e *sweeperEnv) {
	counted(ctx, e, s, "t", 0, "without clients")
	var all []store.Client
	for i := range 9 {
		all = append(all, putSwept(ctx, e, s, provisionalClient("t", fmt.Sprint(i), base.Add(time.Duration(i)*time.Hour))))
		putSwept(ctx, e, s, provisionalClient("other", fmt.Sprint(i), base))
		putSwept(ctx, e, s, confirmedClient("t", fmt.Sprint("used ", i), base))
		own := provisionalClient("t", fmt.Sprint("own ", i), base)
		own.Dynamic = false
		putSwept(ctx, e, s, own)
	}
	counted(ctx, e, s, "t", 9, "after nine were created")
	all[0].ConfirmedAt = base
	e.ok(s.UpdateClient(ctx, all[0]), "UpdateClient")
	counted(ctx, e, s, "t", 8, "after one was confirmed")
	e.ok(s.DeleteClient(ctx, "t", all[1].ID), "DeleteClient")
	counted(ctx, e, s, "t", 7, "after one was deleted")
	_, err := s.RemoveClients(ctx, "t", all) // of which two are gone or changed
	e.ok(err, "RemoveClients")
	counted(ctx, e, s, "t", 0, "after all were removed")
	counted(ctx, e, s, "other", 9, "after those of another were removed")
}

func checkRemoveClients(ctx context.Context, s SweptClients, e *sweeperEnv) {
	removed, err := s.RemoveClients(ctx, "t", nil)
	e.ok(err, "RemoveClients of none")
	e.same([]string(nil), removed, "what RemoveClients of none removed")

	gone := putSwept(ctx, e, s, confirmedClient("t", "gone", base))
	changed := putSwept(ctx, e, s, provisionalClient("t", "changed", base))
	e.ok(s.UpdateClient(ctx, changed), "UpdateClient")
	now := changed
	now.Version = 2
	same := putSwept(ctx, e, s, provisionalClient("t", "stays", base))
	foreign := putSwept(ctx, e, s, provisionalClient("other", "gone", base))
	wrong := func(c store.Client, version int64) store.Client { c.Version = version; return c }
	absent := provisionalClient("t", "absent", base)
	absent.Version = 1
	call := []store.Client{
		changed, absent, gone, wrong(now, 0), wrong(now, 3), wrong(now, -1), wrong(now, 1<<40),
		// The tenant is the call's.
		wrong(foreign, 7),
	}
	removed, err = s.RemoveClients(ctx, "t", call)
	e.ok(err, "RemoveClients")
	e.same([]string{"gone"}, removed, "what RemoveClients removed")
	_, err = s.Client(ctx, "t", "gone")
	e.is(err, store.ErrNotFound, "reading a client that was removed")
	for _, c := range []store.Client{now, same, foreign} {
		got, err := s.Client(ctx, c.TenantID, c.ID)
		e.ok(err, "reading client %q that was not removed", c.ID)
		e.same(c, got, "client %q after others were removed", c.ID)
	}
	removed, err = s.RemoveClients(ctx, "t", call)
	e.ok(err, "RemoveClients again")
	e.same([]string(nil), removed, "what RemoveClients removed the second time")

	// Once it is removed its identifier is free, and an old version means nothing.
	putSwept(ctx, e, s, gone)
	removed, err = s.RemoveClients(ctx, "t", []store.Client{same, wrong(gone, 2), now})
	e.ok(err, "RemoveClients")
	e.same([]string{"stays", "changed"}, removed, "what RemoveClients removed, in the order of the call")
}

func checkSweeperCancelled(ctx context.Context, s SweptClients, e *sweeperEnv) {
	c := putSwept(ctx, e, s, provisionalClient("t", "a", base))
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	for _, call := range sweeperCalls(s, c) {
		if err := call.do(cancelled); !errors.Is(err, context.Canceled) {
			e.fail("%s: error is %v, want %v", call.method, err, cancelled.Err())
		}
	}
	got, err := s.Client(ctx, "t", "a")
	e.ok(err, "reading a client after a cancelled removal")
	e.same(c, got, "the client after a cancelled removal")
}

func sweeperCalls(s SweptClients, c store.Client) []call {
	return []call{
		{"IdleClients", func(ctx context.Context) error {
			_, err := s.IdleClients(ctx, c.TenantID, store.IdleFilter{Before: base.AddDate(1, 0, 0)}, store.IdlePage{})
			return err
		}},
		{"CountProvisional", func(ctx context.Context) error { _, err := s.CountProvisional(ctx, c.TenantID); return err }},
		{"RemoveClients", func(ctx context.Context) error {
			_, err := s.RemoveClients(ctx, c.TenantID, []store.Client{c})
			return err
		}},
		{"RemoveClients of none", func(ctx context.Context) error { _, err := s.RemoveClients(ctx, c.TenantID, nil); return err }},
	}
}

func checkSweeperSecondHandle(ctx context.Context, _ SweptClients, e *sweeperEnv) {
	far := base.AddDate(50, 0, 0)
	for i, id := range []string{"a", "b"} {
		writer, reader := e.handles[i], e.handles[1-i]
		c := putSwept(ctx, e, writer, provisionalClient("t", id, base))
		counted(ctx, e, reader, "t", 1, "after one was created through the other handle")
		e.same([]store.Client{c}, idleClients(ctx, e, reader, "t", false, far), "provisional clients through the other handle")
		c.ConfirmedAt, c.LastUsedAt = base, base
		e.ok(writer.UpdateClient(ctx, c), "UpdateClient")
		removed, err := reader.RemoveClients(ctx, "t", []store.Client{c}) // by the version before
		e.ok(err, "RemoveClients")
		e.same([]string(nil), removed, "what was removed of a client that was confirmed through the other handle")
		c.Version = 2
		e.same([]store.Client{c}, idleClients(ctx, e, reader, "t", true, far), "confirmed clients through the other handle")
		removed, err = reader.RemoveClients(ctx, "t", []store.Client{c})
		e.ok(err, "RemoveClients")
		e.same([]string{id}, removed, "what was removed")
		e.is(writer.UpdateClient(ctx, c), store.ErrNotFound, "updating a client that was removed through the other handle")
		counted(ctx, e, writer, "t", 0, "after the other handle removed it")
	}
}

func checkSweeperReopen(ctx context.Context, s SweptClients, e *sweeperEnv) {
	gone := putSwept(ctx, e, s, provisionalClient("t", "gone", base))
	stays := putSwept(ctx, e, s, provisionalClient("t", "stays", base))
	used := putSwept(ctx, e, s, provisionalClient("t", "used", base))
	used.ConfirmedAt, used.LastUsedAt = base, base
	e.ok(s.UpdateClient(ctx, used), "UpdateClient")
	used.Version = 2
	_, err := s.RemoveClients(ctx, "t", []store.Client{gone})
	e.ok(err, "RemoveClients")
	s = e.reopen()
	_, err = s.Client(ctx, "t", "gone")
	e.is(err, store.ErrNotFound, "reading a client that was removed")
	far := base.AddDate(1, 0, 0)
	e.same([]store.Client{stays}, idleClients(ctx, e, s, "t", false, far), "provisional clients")
	e.same([]store.Client{used}, idleClients(ctx, e, s, "t", true, far), "confirmed clients")
}

func checkRemoveRace(ctx context.Context, _ SweptClients, e *sweeperEnv) {
	var want [2]store.Client
	race(ctx, e, contest[SweptClients, []string]{
		rounds: 2000, limit: 2 * time.Second,
		prepare: func(ctx context.Context, round int) {
			for i := range want {
				want[i] = putSwept(ctx, e, e.handles[0], provisionalClient("t", fmt.Sprintf("%d/%d", round, i), base))
			}
		},
		call: func(ctx context.Context, s SweptClients, round, racer int) ([]string, error) {
			return s.RemoveClients(ctx, "t", want[:])
		},
		judge: func(ctx context.Context, round int, got []outcome[[]string]) {
			claimed := make(map[string]int)
			for _, o := range got {
				e.ok(o.err, "round %d: RemoveClients", round)
				for _, id := range o.value {
					claimed[id]++
				}
			}
			for _, c := range want {
				if claimed[c.ID] != 1 {
					e.fail("round %d: %d of %d concurrent calls say that they removed client %q", round, claimed[c.ID], racers, c.ID)
				}
			}
		},
	})
}

func checkRemoveConfirmRace(ctx context.Context, s SweptClients, e *sweeperEnv) {
	far := base.AddDate(1, 0, 0)
	race(ctx, e, contest[SweptClients, []string]{
		rounds: 2000, limit: 2 * time.Second,
		prepare: func(ctx context.Context, round int) {
			putSwept(ctx, e, s, provisionalClient("t", fmt.Sprint(round), base))
		},
		call: func(ctx context.Context, s SweptClients, round, racer int) ([]string, error) {
			if racer == round%racers {
				c := provisionalClient("t", fmt.Sprint(round), base)
				c.Version, c.ConfirmedAt, c.LastUsedAt = 1, base, far
				return nil, s.UpdateClient(ctx, c)
			}
			idle, err := s.IdleClients(ctx, "t", store.IdleFilter{Before: far}, store.IdlePage{Limit: 3})
			if err != nil {
				return nil, err
			}
			return s.RemoveClients(ctx, "t", idle)
		},
		judge: func(ctx context.Context, round int, got []outcome[[]string]) {
			confirmed, removed := false, 0
			for racer, o := range got {
				if racer == round%racers {
					if confirmed = o.err == nil; !confirmed {
						e.is(o.err, store.ErrNotFound, "round %d: confirming a client while it is swept", round)
					}
					continue
				}
				e.ok(o.err, "round %d: sweeping while a client is confirmed", round)
				removed += len(o.value)
			}
			_, err := s.Client(ctx, "t", fmt.Sprint(round))
			switch {
			case confirmed && (err != nil || removed > 0):
				e.fail("round %d: the client was confirmed and then removed (%v, %d removals)", round, err, removed)
			case !confirmed && removed != 1:
				e.fail("round %d: the update says ErrNotFound and %d removals succeeded, want 1", round, removed)
			case !confirmed:
				e.is(err, store.ErrNotFound, "round %d: reading a client that was removed", round)
			}
		},
	})
}
