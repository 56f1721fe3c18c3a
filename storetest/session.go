package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/opkit/opkit/store"
)

// RunSessions checks a [store.SessionStore].
func RunSessions(t *testing.T, newStore func(t *testing.T) store.SessionStore, opts *Options[store.SessionStore]) {
	runAll(t, sessionChecks(), newStore, opts)
}

func sessionChecks() []check[store.SessionStore] {
	return append(sessions.common(), check[store.SessionStore]{
		name: "UserSessions-user", rule: ruleMethod,
		explanation: "UserSessions returns the sessions of one user, compared exactly, and follows an update that changes the user.",
		run:         checkUserSessions,
	})
}

var sessions = kind[store.SessionStore, store.Session]{
	noun: "session",
	identify: func(s *store.Session, tenant, id string) {
		s.TenantID, s.ID, s.UserID = tenant, store.DigestOf(id), "user"
		if s.ExpiresAt.IsZero() {
			s.ExpiresAt = base.Add(24 * time.Hour)
		}
	},
	listed:  func(s store.Session) string { return s.ID.String() },
	version: func(s *store.Session) *int64 { return &s.Version },
	create: func(ctx context.Context, s store.SessionStore, r store.Session, _ time.Time) error {
		return s.CreateSession(ctx, r)
	},
	taken: store.ErrExists,
	get: func(ctx context.Context, s store.SessionStore, tenant, id string, now time.Time) (store.Session, error) {
		return s.Session(ctx, tenant, store.DigestOf(id), now)
	},
	update: func(ctx context.Context, s store.SessionStore, r store.Session, now time.Time) error {
		return s.UpdateSession(ctx, r, now)
	},
	remove: func(ctx context.Context, s store.SessionStore, tenant, id string) error {
		return s.DeleteSession(ctx, tenant, store.DigestOf(id))
	},
	lists: []lister[store.SessionStore, store.Session]{{
		"UserSessions",
		func(ctx context.Context, s store.SessionStore, tenant string, page store.Page, now time.Time) ([]store.Session, error) {
			return s.UserSessions(ctx, tenant, "user", page, now)
		},
	}},
	expire: func(s *store.Session, at time.Time) { s.ExpiresAt = at },
	collect: func(ctx context.Context, s store.SessionStore, now time.Time, limit int) (int, error) {
		return s.CollectSessions(ctx, now, limit)
	},
	spent: func(s store.SessionStore, r store.Session, now time.Time) []call {
		return []call{
			{"Session", func(ctx context.Context) error { _, err := s.Session(ctx, r.TenantID, r.ID, now); return err }},
			{"UpdateSession", func(ctx context.Context) error { return s.UpdateSession(ctx, r, now) }},
			{"UpdateSession to a later expiry", func(ctx context.Context) error {
				later := r
				later.ExpiresAt = now.AddDate(1, 0, 0)
				return s.UpdateSession(ctx, later, now)
			}},
		}
	},
	calls: func(s store.SessionStore, r store.Session) []call {
		later := base.Add(time.Hour)
		return []call{
			{"CreateSession", func(ctx context.Context) error { return s.CreateSession(ctx, r) }},
			{"Session", func(ctx context.Context) error { _, err := s.Session(ctx, r.TenantID, r.ID, base); return err }},
			{"UpdateSession", func(ctx context.Context) error { return s.UpdateSession(ctx, r, base) }},
			{"DeleteSession", func(ctx context.Context) error { return s.DeleteSession(ctx, r.TenantID, r.ID) }},
			{"UserSessions", func(ctx context.Context) error {
				_, err := s.UserSessions(ctx, r.TenantID, r.UserID, store.Page{}, base)
				return err
			}},
			{"CollectSessions", func(ctx context.Context) error { _, err := s.CollectSessions(ctx, later, 10); return err }},
		}
	},
}

func checkUserSessions(ctx context.Context, s store.SessionStore, e *env[store.SessionStore]) {
	want := make(map[string]store.Session)
	for _, user := range lookalikes {
		r := sessions.record("t", user)
		r.UserID = user
		want[user] = sessions.put(ctx, e, s, r)
	}
	for _, user := range lookalikes {
		got, err := s.UserSessions(ctx, "t", user, store.Page{}, base)
		e.ok(err, "UserSessions of %q", user)
		e.same([]store.Session{want[user]}, got, "UserSessions of %q", user)
	}
	for _, user := range []string{"", "nobody", "%", "nam"} {
		got, err := s.UserSessions(ctx, "t", user, store.Page{}, base)
		e.ok(err, "UserSessions of %q", user)
		e.same([]store.Session(nil), got, "UserSessions of %q", user)
	}
	moved := want["name"]
	moved.UserID = "another"
	e.ok(s.UpdateSession(ctx, moved, base), "UpdateSession")
	moved.Version = 2
	for user, want := range map[string][]store.Session{"name": nil, "another": {moved}} {
		got, err := s.UserSessions(ctx, "t", user, store.Page{}, base)
		e.ok(err, "UserSessions of %q", user)
		e.same(want, got, "UserSessions of %q", user)
	}
}
