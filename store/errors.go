package store

import "errors"

// The errors that a store answers with. Compare with errors.Is; a store may
// wrap them to add context. Any other error is a system error.
var (
	// ErrNotFound says that no such record exists in that tenant, or that it has
	// expired.
	ErrNotFound = errors.New("store: not found")

	// ErrExists says that the identifier, or another value that has to be unique,
	// is taken.
	ErrExists = errors.New("store: already exists")

	// ErrConsumed says that a single-use value was used before. The record comes
	// with it.
	ErrConsumed = errors.New("store: already consumed")

	// ErrConflict says that the record changed since it was read.
	ErrConflict = errors.New("store: version conflict")

	// ErrForgotten says that a marker was not put because the store may have lost one
	// since the CreatedAt of this one, so that nobody knows whether the same was seen
	// before. A later CreatedAt helps. Only PutTicket answers with it, and only of a
	// store that can lose something; see [Ticket].
	ErrForgotten = errors.New("store: what was seen may have been forgotten")
)
