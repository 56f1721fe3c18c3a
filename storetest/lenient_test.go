package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
)

// TestLenient proves that a store may wrap its errors, round times, return empty
// for nil and count a consumption as a change: the kit has no false positives.
func TestLenient(t *testing.T) {
	RunClients(t, func(t *testing.T) store.ClientStore { return lenientClients{memstore.New()} }, nil)
	RunTickets(t, func(t *testing.T) store.TicketStore { return lenientTickets{memstore.New()} }, nil)
}

// lenientTickets does all that a correct store may do otherwise than memstore.
type lenientTickets struct{ store.TicketStore }

func wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("tickets: %w", err)
}

func (s lenientTickets) PutTicket(ctx context.Context, t store.Ticket, now time.Time) error {
	for _, p := range timesOf(&t) {
		if !p.IsZero() {
			*p = p.Round(time.Microsecond)
		}
	}
	return wrap(s.TicketStore.PutTicket(ctx, t, now))
}

func (s lenientTickets) Ticket(ctx context.Context, tenant, kind string, id store.Digest, now time.Time) (store.Ticket, error) {
	t, err := s.TicketStore.Ticket(ctx, tenant, kind, id, now)
	return s.lenient(t), wrap(err)
}

func (s lenientTickets) ConsumeTicket(ctx context.Context, tenant, kind string, id store.Digest, now time.Time) (store.Ticket, error) {
	t, err := s.TicketStore.ConsumeTicket(ctx, tenant, kind, id, now)
	return s.lenient(t), wrap(err)
}

func (s lenientTickets) UpdateTicket(ctx context.Context, t store.Ticket, now time.Time) error {
	return wrap(s.TicketStore.UpdateTicket(ctx, t, now))
}

func (lenientTickets) lenient(t store.Ticket) store.Ticket {
	if t.Data == nil {
		t.Data = []byte{}
	}
	if !t.ConsumedAt.IsZero() {
		t.Version++
	}
	return t
}

// lenientClients does all that a correct store may do otherwise than memstore.
type lenientClients struct{ store.ClientStore }

func (s lenientClients) CreateClient(ctx context.Context, c store.Client) error {
	if strings.ContainsRune(c.TenantID+c.ID, 0) {
		return errors.New("a text must not contain a zero")
	}
	return wrap(s.ClientStore.CreateClient(ctx, c))
}

func (s lenientClients) UpdateClient(ctx context.Context, c store.Client) error {
	return wrap(s.ClientStore.UpdateClient(ctx, c))
}

func (s lenientClients) Client(ctx context.Context, tenant, id string) (store.Client, error) {
	c, err := s.ClientStore.Client(ctx, tenant, id)
	if c.Metadata != nil && c.Metadata.JWKS != nil {
		c.Metadata.JWKS = json.RawMessage(" " + string(c.Metadata.JWKS) + "\n")
	}
	if c.GrantTypes == nil {
		c.GrantTypes = []string{}
	}
	return c, wrap(err)
}
