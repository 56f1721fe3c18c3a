package audit

import (
	"context"
	"sync/atomic"
)

// Queue is a sink that never waits: it holds events for another sink, which
// [Queue.Run] gives them to. When it is full it drops events, and counts them.
type Queue struct {
	next    Sink
	events  chan Event
	dropped atomic.Int64
}

// NewQueue returns a queue of at most size events for next.
func NewQueue(size int, next Sink) *Queue {
	return &Queue{next: next, events: make(chan Event, max(size, 1))}
}

// Record implements [Sink].
func (q *Queue) Record(_ context.Context, e Event) {
	select {
	case q.events <- e:
	default:
		q.dropped.Add(1)
	}
}

// Dropped returns how many events found the queue full.
func (q *Queue) Dropped() int64 { return q.dropped.Load() }

// Run hands events on until ctx ends, and then those that are left. It returns the
// error of ctx.
func (q *Queue) Run(ctx context.Context) error {
	for {
		select {
		case e := <-q.events:
			q.next.Record(ctx, e)
			continue
		case <-ctx.Done():
		}
		for {
			select {
			case e := <-q.events:
				q.next.Record(context.WithoutCancel(ctx), e)
			default:
				return ctx.Err()
			}
		}
	}
}
