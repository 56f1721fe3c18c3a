package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/opkit/opkit/store"
)

// checkTimeout ends a check of a store that honours its context but hangs.
const checkTimeout = 2 * time.Minute

// check is one thing that a store of type S has to get right.
type check[S any] struct {
	// name is the subtest's.
	name string
	// rule is the one that is broken if the check fails.
	rule rule
	// explanation says what the check does.
	explanation string
	needs       need
	run         func(ctx context.Context, s S, e *env[S])
}

// need is what a check cannot do without.
type need int

const (
	nothing need = iota
	secondHandle
	reopening
)

// env is what a check has beside the store. Its methods end the check at the
// first thing they find wrong.
type env[S any] struct {
	// handles are the store and, if the check needs it, a second handle on the
	// same data.
	handles []S
	// reopen closes the store and opens its data again.
	reopen func() S
}

// finding ends a check. It never leaves this package.
type finding struct{ error }

// try runs the check and returns what it found wrong.
func (c check[S]) try(ctx context.Context, s S, e *env[S]) (err error) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	defer func() {
		switch r := recover().(type) {
		case nil:
		case finding:
			err = r.error
		default:
			panic(r)
		}
	}()
	c.run(ctx, s, e)
	return nil
}

// report words what a check found for the author of the store.
func (c check[S]) report(err error) string {
	source := "package store"
	if c.rule.number != 0 {
		source = fmt.Sprintf("package store, rule %d", c.rule.number)
	}
	return fmt.Sprintf("%s: %s\ncheck: %s\nfound: %v", source, c.rule.text, c.explanation, err)
}

// runAll runs the checks one after the other, each on a store without data.
func runAll[S any](t *testing.T, checks []check[S], newStore func(t *testing.T) S, opts *Options[S]) {
	t.Helper()
	if opts == nil {
		opts = new(Options[S])
	}
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) {
			switch {
			case c.needs == secondHandle && opts.Second == nil:
				t.Skip("Options.Second is nil")
			case c.needs == reopening && opts.Reopen == nil:
				t.Skip("Options.Reopen is nil")
			}
			if err := attempt(t, c, newStore(t), opts); err != nil {
				t.Error(c.report(err))
			}
		})
	}
}

// attempt runs one check on s.
func attempt[S any](t *testing.T, c check[S], s S, opts *Options[S]) error {
	e := &env[S]{handles: []S{s}}
	switch c.needs {
	case secondHandle:
		e.handles = append(e.handles, opts.Second(t, s))
	case reopening:
		e.reopen = func() S { return opts.Reopen(t, s) }
	}
	return c.try(t.Context(), s, e)
}

// fail ends the check.
func (e *env[S]) fail(format string, args ...any) {
	panic(finding{fmt.Errorf(format, args...)})
}

// ok demands that a call succeeded.
func (e *env[S]) ok(err error, call string, args ...any) {
	if err != nil {
		e.fail("%s: %w", fmt.Sprintf(call, args...), err)
	}
}

// is demands that a call answered with a sentinel error of package store, and
// with no other.
func (e *env[S]) is(err, want error, call string, args ...any) {
	if got := sentinel(err); !errors.Is(got, want) {
		e.fail("%s: error is %q, want errors.Is(err, %q)", fmt.Sprintf(call, args...), fmt.Sprint(err), want)
	}
}

// same demands that two values are equal in the eyes of the contract.
func (e *env[S]) same(want, got any, what string, args ...any) {
	if d := diff(want, got); d != "" {
		e.fail("%s differs (-want +got):\n%s", fmt.Sprintf(what, args...), d)
	}
}

// sentinel returns the one error of package store that err is, nil if it is none
// of them or several.
func sentinel(err error) error {
	var found error
	for _, s := range []error{store.ErrNotFound, store.ErrExists, store.ErrConsumed, store.ErrConflict} {
		if errors.Is(err, s) {
			if found != nil {
				return nil
			}
			found = s
		}
	}
	return found
}
