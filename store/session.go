package store

import (
	"context"
	"slices"
	"time"
)

// Session is a user's signed-in browser. Its cookie carries a random value of
// which the store knows the digest.
type Session struct {
	TenantID string `json:"tenant_id"`
	ID       Digest `json:"id"`
	// SID is the public identifier that tokens carry as sid.
	SID          string   `json:"sid"`
	UserID       string   `json:"user_id"`
	ConnectionID string   `json:"connection_id"`
	AMR          []string `json:"amr,omitempty"`
	ACR          string   `json:"acr,omitempty"`
	// ClientIDs are the clients that obtained something in this session.
	ClientIDs []string `json:"client_ids,omitempty"`
	Version   int64    `json:"version"`
	// AuthenticatedAt is the time of the last proof (auth_time).
	AuthenticatedAt time.Time `json:"authenticated_at"`
	CreatedAt       time.Time `json:"created_at"`
	ExpiresAt       time.Time `json:"expires_at"`
}

// Clone returns a copy that shares nothing with s.
func (s Session) Clone() Session {
	s.AMR = slices.Clone(s.AMR)
	s.ClientIDs = slices.Clone(s.ClientIDs)
	return s
}

// SessionStore keeps sessions.
type SessionStore interface {
	// CreateSession stores s. ErrExists: the ID is taken.
	CreateSession(ctx context.Context, s Session) error
	// Session returns the session. ErrNotFound: there is none, or it has expired.
	Session(ctx context.Context, tenant string, id Digest, now time.Time) (Session, error)
	// UpdateSession replaces the session by compare-and-swap.
	UpdateSession(ctx context.Context, s Session, now time.Time) error
	// DeleteSession ends the session.
	DeleteSession(ctx context.Context, tenant string, id Digest) error
	// UserSessions lists a user's live sessions. Page.After is a session's ID in
	// hexadecimal.
	UserSessions(ctx context.Context, tenant, user string, page Page, now time.Time) ([]Session, error)
	// CollectSessions removes at most limit expired sessions and returns how many.
	CollectSessions(ctx context.Context, now time.Time, limit int) (int, error)
}
