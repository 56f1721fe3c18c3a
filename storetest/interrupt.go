package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/opkit/opkit/store"
)

// stopping is a context that ends in the middle of a call: when it was looked at a
// number of times. A store that works in several steps looks at it before each, as it
// should, and is stopped between two of them, as by a crash or a user who goes away.
type stopping struct {
	context.Context
	cancel context.CancelFunc
	left   atomic.Int64
}

func stopAfter(ctx context.Context, looks int) *stopping {
	c := &stopping{}
	c.Context, c.cancel = context.WithCancel(ctx)
	c.left.Store(int64(looks))
	return c
}

func (c *stopping) Done() <-chan struct{} {
	c.look()
	return c.Context.Done()
}

func (c *stopping) Err() error {
	c.look()
	return c.Context.Err()
}

func (c *stopping) look() {
	if c.left.Add(-1) < 0 {
		c.cancel()
	}
}

// stopped reports whether it ended.
func (c *stopping) stopped() bool { return c.left.Load() < 0 }

// maxLooks bounds how often a call is interrupted.
const maxLooks = 60

// interrupted makes a call again and again, and stops it one look later each time, until
// it is not stopped any more. settled looks at what the call left; done says that it
// returned without an error, so that it has to have happened.
func interrupted[S any](ctx context.Context, e *env[S], call func(ctx context.Context, attempt int) error, settled func(attempt int, done bool)) {
	for attempt := range maxLooks {
		stop := stopAfter(ctx, attempt)
		err := call(stop, attempt)
		stopped := stop.stopped()
		stop.cancel()
		if err != nil && !stopped {
			e.fail("a call that was not interrupted: %w", err)
		}
		e.settle(func() { settled(attempt, err == nil) })
		if !stopped {
			return
		}
	}
}

// settle tries until look finds nothing wrong: what was interrupted may still go on for
// a moment in a database on another machine.
func (e *env[S]) settle(look func()) {
	const patience = 100
	for try := range patience {
		found := e.caught(look)
		if found == nil {
			return
		}
		if try == patience-1 {
			panic(finding{found})
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// caught returns what look finds wrong.
func (e *env[S]) caught(look func()) (err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case finding:
			err = r.error
		default:
			panic(r)
		}
	}()
	look()
	return nil
}

// interruptionChecks prove that a call that is interrupted happens or does not.
func (k kind[S, R]) interruptionChecks() []check[S] {
	return []check[S]{{
		name: "interrupted", rule: ruleDurable,
		explanation: "A create, an update and a delete are each interrupted after their context was looked at once, twice, and so on: " +
			"the record is there whole, as it was or as it should become, or not at all.",
		run: k.checkInterrupted,
	}}
}

func (k kind[S, R]) checkInterrupted(ctx context.Context, s S, e *env[S]) {
	// A tenant for each attempt, because some records are only read by listing all.
	name := func(what string, attempt int) string { return fmt.Sprint(what, " ", attempt) }
	present := func(tenant string) bool {
		_, err := k.get(ctx, s, tenant, tenant, base)
		if err != nil {
			e.is(err, store.ErrNotFound, "reading %s after a call that was interrupted", k.noun)
		}
		return err == nil
	}

	interrupted(ctx, e, func(ctx context.Context, attempt int) error {
		tenant := name("create", attempt)
		return k.create(ctx, s, k.record(tenant, tenant), base)
	}, func(attempt int, done bool) {
		tenant := name("create", attempt)
		want := k.versioned(k.record(tenant, tenant), 1)
		if done || present(tenant) {
			k.expect(ctx, e, s, want, tenant, tenant)
			return
		}
		k.absent(ctx, e, s, want, tenant, tenant)
		// Nothing was taken, unless it has happened after all.
		if err := k.create(ctx, s, want, base); err != nil {
			e.is(err, k.taken, "creating %s after a create that was interrupted", k.noun)
		}
		k.expect(ctx, e, s, want, tenant, tenant)
	})

	if k.update != nil {
		interrupted(ctx, e, func(ctx context.Context, attempt int) error {
			tenant := name("update", attempt)
			k.put(context.WithoutCancel(ctx), e, s, k.record(tenant, tenant))
			return k.update(ctx, s, k.versioned(k.changed(tenant, tenant), 1), base)
		}, func(attempt int, done bool) {
			tenant := name("update", attempt)
			old := k.versioned(k.record(tenant, tenant), 1)
			next := k.updated(old, k.changed(tenant, tenant), 2)
			if !done && e.caught(func() { k.expect(ctx, e, s, old, tenant, tenant) }) == nil {
				return
			}
			k.expect(ctx, e, s, next, tenant, tenant)
		})
	}

	if k.remove != nil {
		interrupted(ctx, e, func(ctx context.Context, attempt int) error {
			tenant := name("delete", attempt)
			k.put(context.WithoutCancel(ctx), e, s, k.record(tenant, tenant))
			return k.remove(ctx, s, tenant, tenant)
		}, func(attempt int, done bool) {
			tenant := name("delete", attempt)
			want := k.versioned(k.record(tenant, tenant), 1)
			if !done && present(tenant) {
				k.expect(ctx, e, s, want, tenant, tenant)
				return
			}
			k.absent(ctx, e, s, want, tenant, tenant)
		})
	}
}

// familyInterruptionChecks are for the calls that are atomic over several records.
func familyInterruptionChecks() []check[store.GrantFamilyStore] {
	return []check[store.GrantFamilyStore]{
		{
			name: "delete-grant-interrupted", rule: ruleMethod,
			explanation: "DeleteGrant is interrupted after its context was looked at once, twice, and so on: " +
				"the grant and all its families are alive, or all of them are dead.",
			run: checkDeleteGrantInterrupted,
		},
		{
			name: "revoke-families-interrupted", rule: ruleMethod,
			explanation: "RevokeFamilies is interrupted in the same way: it revoked all families that match, or none.",
			run:         checkRevokeFamiliesInterrupted,
		},
		{
			name: "rotate-interrupted", rule: ruleOnce,
			explanation: "RotateFamily is interrupted in the same way: the family has the generation before or the next one, and one of the two rotates.",
			run:         checkRotateInterrupted,
		},
	}
}

// threeFamilies makes a grant in a tenant of its own, with families of one session.
func threeFamilies(ctx context.Context, s store.GrantFamilyStore, e *env[store.GrantFamilyStore], tenant string) []store.Family {
	var made []store.Family
	for i := range 3 {
		f := families.record(tenant, fmt.Sprint("family ", i))
		f.SID = "session"
		made = append(made, families.put(ctx, e, s, f))
	}
	return made
}

func alive(ctx context.Context, s store.GrantFamilyStore, e *env[store.GrantFamilyStore], made []store.Family) {
	for _, f := range made {
		_, err := s.Family(ctx, f.TenantID, f.ID, base)
		e.ok(err, "Family")
		_, err = s.Grant(ctx, f.TenantID, f.GrantID, f.ID, base)
		e.ok(err, "Grant")
	}
}

func checkDeleteGrantInterrupted(ctx context.Context, s store.GrantFamilyStore, e *env[store.GrantFamilyStore]) {
	made := map[int][]store.Family{}
	interrupted(ctx, e, func(stop context.Context, attempt int) error {
		made[attempt] = threeFamilies(ctx, s, e, fmt.Sprint("tenant ", attempt))
		return s.DeleteGrant(stop, made[attempt][0].TenantID, made[attempt][0].GrantID)
	}, func(attempt int, done bool) {
		f := made[attempt][0]
		if _, err := s.Grant(ctx, f.TenantID, f.GrantID, "", base); err == nil && !done {
			alive(ctx, s, e, made[attempt])
			return
		}
		for _, f := range made[attempt] {
			dead(ctx, e, s, f)
		}
	})
}

func checkRevokeFamiliesInterrupted(ctx context.Context, s store.GrantFamilyStore, e *env[store.GrantFamilyStore]) {
	made := map[int][]store.Family{}
	interrupted(ctx, e, func(stop context.Context, attempt int) error {
		made[attempt] = threeFamilies(ctx, s, e, fmt.Sprint("tenant ", attempt))
		_, err := s.RevokeFamilies(stop, made[attempt][0].TenantID, store.FamilyFilter{SID: "session"}, base.Add(time.Hour), base)
		return err
	}, func(attempt int, done bool) {
		revoked := 0
		for _, f := range made[attempt] {
			_, err := s.Family(ctx, f.TenantID, f.ID, base)
			if err != nil {
				e.is(err, store.ErrConsumed, "Family")
				revoked++
			}
		}
		if all := len(made[attempt]); revoked != all && (done || revoked != 0) {
			e.fail("%d of %d families are revoked", revoked, all)
		}
	})
}

func checkRotateInterrupted(ctx context.Context, s store.GrantFamilyStore, e *env[store.GrantFamilyStore]) {
	made := map[int]store.Family{}
	interrupted(ctx, e, func(stop context.Context, attempt int) error {
		made[attempt] = families.put(ctx, e, s, families.record(fmt.Sprint("tenant ", attempt), "family"))
		_, err := s.RotateFamily(stop, made[attempt].TenantID, "family", 0, base.AddDate(1, 0, 0), base.Add(time.Minute))
		return err
	}, func(attempt int, done bool) {
		old := made[attempt]
		next := old
		next.Generation, next.RotatedAt, next.ExpiresAt = 1, base.Add(time.Minute), base.AddDate(1, 0, 0)
		got, err := s.Family(ctx, old.TenantID, "family", base)
		e.ok(err, "Family")
		if got.Generation == 0 && !done {
			e.same(old, got, "the family before its rotation")
			return
		}
		e.same(next, got, "the family after its rotation")
		_, err = s.RotateFamily(ctx, old.TenantID, "family", 0, base.AddDate(1, 0, 0), base)
		if !errors.Is(err, store.ErrConsumed) {
			e.fail("RotateFamily with a generation from the past: %w", err)
		}
	})
}
