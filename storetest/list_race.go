package storetest

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/opkit/opkit/store"
)

// checkPagesRace pages through records that stay while others come and go.
func (k kind[S, R]) checkPagesRace(ctx context.Context, s S, e *env[S], l lister[S, R]) {
	const lasting, writers, limit = 40, 2, 7
	var want []string
	for i := range lasting {
		var r R
		k.identify(&r, "t", fmt.Sprintf("%03d", i))
		e.ok(k.create(ctx, s, r, base), "creating %s", k.noun)
		want = append(want, k.listed(r))
	}
	slices.Sort(want)

	ctx, stop := context.WithCancel(ctx)
	defer stop()
	errs := make([]error, writers)
	var running sync.WaitGroup
	for writer := range writers {
		running.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				// Between the lasting ones, wherever these are in the order.
				id := fmt.Sprintf("%03d.%d.%d", i%lasting, writer, i)
				var r R
				k.identify(&r, "t", id)
				err := k.create(ctx, s, r, base)
				switch {
				case err != nil:
				case k.remove != nil:
					runtime.Gosched()
					err = k.remove(ctx, s, "t", id)
				case i > 4*lasting: // what never goes must not fill the list
					return
				}
				if err != nil && ctx.Err() == nil {
					errs[writer] = err
					return
				}
			}
		})
	}
	finish := func() {
		stop()
		running.Wait()
		for _, err := range errs {
			e.ok(err, "creating and deleting %s while others list", k.noun)
		}
	}
	defer running.Wait()

	rounds, end := 100, time.Now().Add(time.Second)
	if testing.Short() {
		rounds, end = rounds/10, time.Now().Add(100*time.Millisecond)
	}
	for round := 0; round < rounds && (round == 0 || time.Now().Before(end)); round++ {
		var got []string
		page := store.Page{Limit: limit}
		for {
			records, err := l.list(ctx, s, "t", page, base)
			if err != nil {
				stop()
			}
			e.ok(err, "%s while others create and delete", l.name)
			for _, id := range k.ids(records) {
				if id <= page.After {
					stop()
					e.fail("%s while others create and delete: %.20q comes after %.20q", l.name, id, page.After)
				}
				page.After = id
				if _, lasts := slices.BinarySearch(want, id); lasts {
					got = append(got, id)
				}
			}
			if len(records) == 0 {
				break
			}
		}
		if !slices.Equal(want, got) {
			stop()
			e.fail("%s while others create and delete returned %d of %d records that were there all the time", l.name, len(got), len(want))
		}
	}
	finish()
}
