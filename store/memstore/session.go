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
	orders: []order[store.Session]{
		sessionsOfUser: byDigest(
			func(s *store.Session) group { return group{s.TenantID, s.UserID} },
			func(s *store.Session) *store.Digest { return &s.ID }),
		sessionsByExpiry: byExpiry(
			func(s *store.Session) time.Time { return s.ExpiresAt },
			compareSessions),
	},
}

// The indexes of the orders in sessionSchema.
const (
	sessionsOfUser = iota
	sessionsByExpiry
)

func compareSessions(a, b *store.Session) int {
	if c := bytes.Compare(a.ID[:], b.ID[:]); c != 0 {
		return c
	}
	return strings.Compare(a.TenantID, b.TenantID)
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
	// Digests and their hexadecimal forms have the same order.
	hexID := func(session *store.Session) string { return session.ID.String() }
	live := func(session *store.Session) bool { return s.sessions.live(session, now) }
	return clones(s.sessions.page(sessionsOfUser, group{tenant, user}, hexID, p, live)), nil
}

// CollectSessions implements [store.SessionStore].
func (s *Store) CollectSessions(ctx context.Context, now time.Time, limit int) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	return s.sessions.collect(now, limit), nil
}
