package storetest

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"
)

// racers is the number of goroutines in a race.
const racers = 8

// outcome is what one racer's call returned.
type outcome[T any] struct {
	value T
	err   error
}

// contest is a call that several callers make at the same moment.
type contest[S, T any] struct {
	// rounds and limit end the race, whichever comes first. Where security hangs
	// on the winner they are 2,000 and two seconds: in a store that reads, decides
	// and then writes only a few rounds in a thousand go wrong.
	rounds int
	limit  time.Duration
	// prepare sets a round up.
	prepare func(ctx context.Context, round int)
	// call is what each racer does.
	call func(ctx context.Context, s S, round, racer int) (T, error)
	// judge looks at what the racers got.
	judge func(ctx context.Context, round int, got []outcome[T])
}

// race runs round after round. In each, the racers wait for each other, then
// call at once, spread over the handles of e.
func race[S, T any](ctx context.Context, e *env[S], c contest[S, T]) {
	if testing.Short() {
		c.rounds, c.limit = c.rounds/10, c.limit/10
	}
	end := time.Now().Add(c.limit)
	for round := range c.rounds {
		if time.Now().After(end) {
			return
		}
		if c.prepare != nil {
			c.prepare(ctx, round)
		}
		got := make([]outcome[T], racers)
		gate := make(chan struct{})
		var running sync.WaitGroup
		for racer := range racers {
			s := e.handles[racer%len(e.handles)]
			running.Go(func() {
				<-gate
				got[racer].value, got[racer].err = c.call(yielding{ctx}, s, round, racer)
			})
		}
		close(gate)
		running.Wait()
		c.judge(ctx, round, got)
	}
}

// yielding is a context that now and then lets others run when it is looked at.
// A store that looks at its context before each of several steps, as it should,
// is interrupted between them far more often than by chance.
type yielding struct{ context.Context }

func (c yielding) Done() <-chan struct{} {
	c.yield()
	return c.Context.Done()
}

func (c yielding) Err() error {
	c.yield()
	return c.Context.Err()
}

func (yielding) yield() {
	if rand.IntN(2) == 0 {
		runtime.Gosched()
	}
}

// winner demands that exactly one racer succeeded and that all others were
// answered with lost. It returns the winner's number.
func winner[S, T any](e *env[S], round int, got []outcome[T], lost error) int {
	winner := -1
	for racer, o := range got {
		switch {
		case o.err != nil:
			if !errors.Is(sentinel(o.err), lost) {
				e.fail("round %d: a loser's error is %v, want %v", round, o.err, lost)
			}
		case winner >= 0:
			e.fail("round %d: two of %d concurrent calls succeeded", round, len(got))
		default:
			winner = racer
		}
	}
	if winner < 0 {
		e.fail("round %d: none of %d concurrent calls succeeded; the first error is %v", round, len(got), got[0].err)
	}
	return winner
}
