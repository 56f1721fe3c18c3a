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
)
