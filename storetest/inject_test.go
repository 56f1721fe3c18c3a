package storetest

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
)

// Stores without faults are what they were.
func TestInjectedStoresKeepTheRules(t *testing.T) {
	inject := func(s *memstore.Store) store.Stores { return Inject(s.Stores(), Faults{}) }
	for _, name := range []string{"round-trip", "exists", "delete", "cancelled", "version"} {
		for _, c := range clientChecks() {
			if c.name == name {
				if err := attempt(t, c, inject(memstore.New()).Clients, &Options[store.ClientStore]{}); err != nil {
					t.Error(c.report(err))
				}
			}
		}
	}
	for _, name := range []string{"kinds", "consume", "tombstone", "collect"} {
		for _, c := range ticketChecks() {
			if c.name == name {
				if err := attempt(t, c, inject(memstore.New()).Tickets, &Options[store.TicketStore]{}); err != nil {
					t.Error(c.report(err))
				}
			}
		}
	}
}

// Every method of every store can fail, and is called what it is called.
func TestFaultsReachEveryMethod(t *testing.T) {
	down := errors.New("down")
	var before []string
	s := Inject(memstore.New().Stores(), Faults{Before: func(_ context.Context, call string) error {
		before = append(before, call)
		return down
	}})
	v := reflect.ValueOf(s)
	for i := range v.NumField() {
		in := v.Field(i)
		for j := range in.NumMethod() {
			method := v.Type().Field(i).Type.Method(j)
			args := []reflect.Value{reflect.ValueOf(t.Context())}
			for k := 1; k < method.Type.NumIn(); k++ {
				args = append(args, reflect.Zero(method.Type.In(k)))
			}
			before = nil
			out := v.Field(i).Elem().MethodByName(method.Name).Call(args)
			err, _ := out[len(out)-1].Interface().(error)
			if !errors.Is(err, down) || len(before) != 1 || before[0] != method.Name {
				t.Errorf("%s.%s: %v, intercepted as %q", v.Type().Field(i).Name, method.Name, err, before)
			}
			for _, value := range out[:len(out)-1] {
				if !value.IsZero() {
					t.Errorf("%s.%s returns %v with an error", v.Type().Field(i).Name, method.Name, value)
				}
			}
		}
	}
	if none := Inject(store.Stores{}, Faults{}); none != (store.Stores{}) {
		t.Error("a store that was nil is there")
	}
}

// A call whose answer is lost has happened; one that failed by itself keeps its error.
func TestLostAnswers(t *testing.T) {
	lost := errors.New("lost")
	under := memstore.New()
	s := Inject(under.Stores(), Faults{After: func(context.Context, string) error { return lost }}).Tickets
	ticket := tickets.record("t", "a")
	if err := s.PutTicket(t.Context(), ticket, base); !errors.Is(err, lost) {
		t.Errorf("PutTicket: %v", err)
	}
	if got, err := s.ConsumeTicket(t.Context(), "t", ticket.Kind, ticket.ID, base); !errors.Is(err, lost) || got.TenantID != "" {
		t.Errorf("ConsumeTicket: %+v, %v", got, err)
	}
	if got, err := s.ConsumeTicket(t.Context(), "t", ticket.Kind, ticket.ID, base); !errors.Is(err, store.ErrConsumed) || got.TenantID != "t" {
		t.Errorf("ConsumeTicket of a ticket that was consumed: %+v, %v", got, err)
	}
	slow := Inject(under.Stores(), Faults{Before: func(ctx context.Context, _ string) error { <-ctx.Done(); return ctx.Err() }}).Tickets
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := slow.DeleteTicket(ctx, "t", ticket.Kind, ticket.ID); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("DeleteTicket of a store that is slow: %v", err)
	}
}
