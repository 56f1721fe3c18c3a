package memstore

import (
	"bytes"
	"context"
	"strings"
	"time"

	"github.com/opkit/opkit/store"
)

type sessionKey struct {
	tenant string
	id     store.Digest
}

var sessionSchema = schema[sessionKey, store.Session]{
	key:     func(s *store.Session) sessionKey { return sessionKey{s.TenantID, s.ID} },
	version: func(s *store.Session) *int64 { return &s.Version },
	expires: func(s *store.Session) time.Time { return s.ExpiresAt },
	orders:  []func(a, b *store.Session) int{compareSessions, compareSessionExpiry},
}

// compareSessions orders by user and identifier. Bytes and their hexadecimal
// form have the same order.
func compareSessions(a, b *store.Session) int {
	if c := strings.Compare(a.TenantID, b.TenantID); c != 0 {
		return c
	}
	if c := strings.Compare(a.UserID, b.UserID); c != 0 {
		return c
	}
	return bytes.Compare(a.ID[:], b.ID[:])
}

func compareSessionExpiry(a, b *store.Session) int {
	if c := a.ExpiresAt.Compare(b.ExpiresAt); c != 0 {
		return c
	}
	return compareSessions(a, b)
}

func storedSession(s store.Session) *store.Session {
	s = s.Clone()
	s.AuthenticatedAt = utc(s.AuthenticatedAt)
	s.CreatedAt = utc(s.CreatedAt)
	s.ExpiresAt = utc(s.ExpiresAt)
	return &s
}

// CreateSession implements [store.SessionStore].
func (s *Store) CreateSession(ctx context.Context, session store.Session) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.sessions.create(storedSession(session))
}

// Session implements [store.SessionStore].
func (s *Store) Session(ctx context.Context, tenant string, id store.Digest, now time.Time) (store.Session, error) {
	if err := ctx.Err(); err != nil {
		return store.Session{}, err
	}
	session := s.sessions.get(sessionKey{tenant, id})
	if !s.sessions.live(session, now) {
		return store.Session{}, store.ErrNotFound
	}
	return session.Clone(), nil
}

// UpdateSession implements [store.SessionStore].
func (s *Store) UpdateSession(ctx context.Context, session store.Session, now time.Time) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.sessions.update(storedSession(session), now)
}

// DeleteSession implements [store.SessionStore].
func (s *Store) DeleteSession(ctx context.Context, tenant string, id store.Digest) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.sessions.remove(sessionKey{tenant, id})
	return nil
}

// UserSessions implements [store.SessionStore].
func (s *Store) UserSessions(ctx context.Context, tenant, user string, p store.Page, now time.Time) ([]store.Session, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	after := place{tenant, user, p.After}
	return clones(s.sessions.list(0,
		func(s *store.Session) bool {
			return place{s.TenantID, s.UserID, s.ID.String()}.compare(after) > 0
		},
		func(s *store.Session) bool { return s.TenantID == tenant && s.UserID == user },
		func(session *store.Session) bool { return s.sessions.live(session, now) },
		p.Size())), nil
}

// CollectSessions implements [store.SessionStore].
func (s *Store) CollectSessions(ctx context.Context, now time.Time, limit int) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	return s.sessions.collect(now, limit), nil
}
