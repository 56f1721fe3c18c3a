package audit_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/opkit/opkit/audit"
)

type kept struct{ clients []string }

func (k *kept) Record(_ context.Context, e audit.Event) { k.clients = append(k.clients, e.ClientID) }

func TestAQueueNeverWaits(t *testing.T) {
	var got kept
	q := audit.NewQueue(2, &got)
	for i := range 5 { // nobody takes any yet
		q.Record(context.Background(), audit.Event{ClientID: fmt.Sprint(i)})
	}
	if n := q.Dropped(); n != 3 {
		t.Errorf("%d events dropped, want 3", n)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := q.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if !slices.Equal(got.clients, []string{"0", "1"}) {
		t.Errorf("what was left when the context ended: %v", got.clients)
	}
}
