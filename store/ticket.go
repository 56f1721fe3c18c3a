package store

import (
	"context"
	"slices"
	"time"
)

// Ticket is one record kind for everything that is short-lived and decides
// security: replay markers, pushed authorization requests, device
// authorizations, initial access tokens, failed logins. Kinds never mix: a
// ticket of one kind is not found under another.
type Ticket struct {
	TenantID string `json:"tenant_id"`
	Kind     string `json:"kind"`
	// ID is the digest of the value that the bearer presents, or of what the
	// ticket is about.
	ID      Digest `json:"id"`
	Data    []byte `json:"data,omitempty"`
	Version int64  `json:"version"`
	// CreatedAt is set by the caller. A ticket without Data is a marker, which only
	// says that something was seen: its CreatedAt is the earliest time at which the
	// same may have been seen before. A store that may have lost markers since then
	// refuses it with ErrForgotten.
	//
	// ConsumedAt is set by ConsumeTicket.
	CreatedAt  time.Time `json:"created_at"`
	ConsumedAt time.Time `json:"consumed_at,omitzero"`
	ExpiresAt  time.Time `json:"expires_at"`
}

// Clone returns a copy that shares nothing with t.
func (t Ticket) Clone() Ticket {
	t.Data = slices.Clone(t.Data)
	return t
}

// TicketStore keeps tickets.
type TicketStore interface {
	// PutTicket stores t. ErrExists: a ticket of that tenant, kind and ID exists
	// and has not expired, consumed or not. That is replay detection: of
	// concurrent calls exactly one succeeds. An expired one is replaced. ErrForgotten:
	// see [Ticket].
	PutTicket(ctx context.Context, t Ticket, now time.Time) error
	// Ticket returns the ticket. ErrNotFound: absent or expired. A consumed
	// ticket is returned with ErrConsumed.
	Ticket(ctx context.Context, tenant, kind string, id Digest, now time.Time) (Ticket, error)
	// ConsumeTicket sets ConsumedAt to now and returns the ticket. Exactly one of
	// several concurrent calls succeeds, every other returns the record with
	// ErrConsumed. ErrNotFound: absent or expired.
	ConsumeTicket(ctx context.Context, tenant, kind string, id Digest, now time.Time) (Ticket, error)
	// UpdateTicket replaces Data and ExpiresAt by compare-and-swap. ErrConsumed:
	// the ticket was consumed. ErrNotFound: absent or expired.
	UpdateTicket(ctx context.Context, t Ticket, now time.Time) error
	// DeleteTicket removes the ticket and its tombstone.
	DeleteTicket(ctx context.Context, tenant, kind string, id Digest) error
	// CollectTickets removes at most limit expired tickets and returns how many.
	CollectTickets(ctx context.Context, now time.Time, limit int) (int, error)
}
