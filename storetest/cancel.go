package storetest

import (
	"context"
	"errors"
	"time"
)

func (k kind[S, R]) cancellationChecks() []check[S] {
	return []check[S]{{
		name: "cancelled", rule: ruleContext,
		explanation: "Every method, called with a context that is cancelled or past its deadline, " +
			"returns the context's error and changes nothing.",
		run: k.checkCancelled,
	}}
}

func (k kind[S, R]) checkCancelled(ctx context.Context, s S, e *env[S]) {
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	late, cancel := context.WithDeadline(ctx, time.Now().Add(-time.Hour))
	defer cancel()

	have := k.put(ctx, e, s, k.record("t", "have"))
	missing := k.record("t", "missing")
	if k.expire != nil {
		expired := k.record("t", "expired")
		k.expire(&expired, base.Add(time.Minute))
		e.ok(k.create(ctx, s, expired, base), "creating %s", k.noun)
	}
	for _, done := range []context.Context{late, cancelled} {
		if err := k.create(done, s, missing, base); !errors.Is(err, done.Err()) {
			e.fail("creating %s: error is %v, want %v", k.noun, err, done.Err())
		}
		for _, c := range k.calls(s, have) {
			if err := c.do(done); !errors.Is(err, done.Err()) {
				e.fail("%s: error is %v, want %v", c.method, err, done.Err())
			}
		}
		k.absent(ctx, e, s, missing, "t", "missing")
		k.expect(ctx, e, s, have, "t", "have")
	}
	if k.expire != nil {
		// k.calls collects too, at a time at which one record has expired.
		n, err := k.collect(ctx, s, base.Add(time.Hour), 10)
		e.ok(err, "collecting")
		if n != 1 {
			e.fail("%d records were left to collect, want 1: a cancelled collection removed it", n)
		}
	}
	// Nothing was taken.
	k.expect(ctx, e, s, k.put(ctx, e, s, missing), "t", "missing")
}
