package storetest

import (
	"context"

	"github.com/opkit/opkit/store"
)

// handleChecks prove what other handles on the same data see.
func (k kind[S, R]) handleChecks() []check[S] {
	return []check[S]{
		{
			name: "second-handle", rule: ruleHandles, needs: secondHandle,
			explanation: "What one handle creates, updates and deletes is seen at once through the other, in every way to read it.",
			run:         k.checkSecondHandle,
		},
		{
			name: "reopen", rule: ruleDurable, needs: reopening,
			explanation: "What was created, updated and deleted is so after the data was closed and opened again.",
			run:         k.checkReopen,
		},
	}
}

func (k kind[S, R]) checkSecondHandle(ctx context.Context, _ S, e *env[S]) {
	for i, id := range []string{"a", "b"} { // each handle writes once
		writer, reader := e.handles[i], e.handles[1-i]
		want := k.versioned(k.record("t", id), 1)
		k.absent(ctx, e, reader, want, "t", id)
		k.put(ctx, e, writer, want)
		k.expect(ctx, e, reader, want, "t", id)
		e.is(k.create(ctx, reader, want, base), k.taken, "creating the same %s through the other handle", k.noun)
		if k.update != nil {
			changed := k.changed("t", id)
			e.ok(k.update(ctx, writer, k.versioned(changed, 1), base), "updating %s", k.noun)
			k.expect(ctx, e, reader, k.updated(want, changed, 2), "t", id)
			e.is(k.update(ctx, reader, k.versioned(want, 1), base), store.ErrConflict, "updating an old version through the other handle")
			e.ok(k.update(ctx, reader, k.versioned(want, 2), base), "updating %s through the other handle", k.noun)
			k.expect(ctx, e, writer, k.versioned(want, 3), "t", id)
		}
		if k.remove != nil {
			e.ok(k.remove(ctx, writer, "t", id), "deleting %s", k.noun)
			k.absent(ctx, e, reader, want, "t", id)
		}
	}
}

func (k kind[S, R]) checkReopen(ctx context.Context, s S, e *env[S]) {
	created := k.put(ctx, e, s, k.record("t", "created"))
	var updated, deleted R
	if k.update != nil {
		old, changed := k.put(ctx, e, s, k.record("t", "updated")), k.changed("t", "updated")
		e.ok(k.update(ctx, s, k.versioned(changed, 1), base), "updating %s", k.noun)
		updated = k.updated(old, changed, 2)
	}
	if k.remove != nil {
		deleted = k.put(ctx, e, s, k.record("t", "deleted"))
		e.ok(k.remove(ctx, s, "t", "deleted"), "deleting %s", k.noun)
	}
	s = e.reopen()
	k.expect(ctx, e, s, created, "t", "created")
	if k.update != nil {
		k.expect(ctx, e, s, updated, "t", "updated")
	}
	if k.remove != nil {
		k.absent(ctx, e, s, deleted, "t", "deleted")
	}
	e.is(k.create(ctx, s, created, base), k.taken, "creating the same %s again", k.noun)
}
