package redisstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/redis/go-redis/v9"

	"github.com/opkit/opkit/store"
)

// A session is a hash: r is the run in which it was written, v the version, e the time
// of expiry, u the user, d everything else.

// sessionData is what scripts do not look at. The names are short because each session
// has them.
type sessionData struct {
	SID             string   `json:"s,omitempty"`
	ConnectionID    string   `json:"c,omitempty"`
	AMR             []string `json:"m,omitempty"`
	ACR             string   `json:"a,omitempty"`
	ClientIDs       []string `json:"i,omitempty"`
	AuthenticatedAt string   `json:"t,omitempty"`
	CreatedAt       string   `json:"n,omitempty"`
}

func encodeSession(s store.Session) ([]byte, error) {
	for _, text := range append([]string{s.SID, s.ConnectionID, s.ACR}, append(s.AMR, s.ClientIDs...)...) {
		if !utf8.ValidString(text) {
			return nil, errors.New("redisstore: a member of the session is not UTF-8")
		}
	}
	return json.Marshal(sessionData{
		s.SID, s.ConnectionID, s.AMR, s.ACR, s.ClientIDs, micros(s.AuthenticatedAt), micros(s.CreatedAt),
	})
}

func parseSession(answer []any, tenant string, id store.Digest) (store.Session, error) {
	if answer == nil {
		return store.Session{}, store.ErrNotFound
	}
	fields, err := texts(answer)
	if err == nil && len(fields) < 5 {
		err = errors.New("redisstore: fields are missing")
	}
	if err != nil {
		return store.Session{}, err
	}
	var data sessionData
	err = json.Unmarshal([]byte(fields[4]), &data)
	s := store.Session{
		TenantID: tenant, ID: id, SID: data.SID, UserID: fields[3], ConnectionID: data.ConnectionID,
		AMR: data.AMR, ACR: data.ACR, ClientIDs: data.ClientIDs,
	}
	if err == nil {
		s.Version, err = strconv.ParseInt(fields[1], 10, 64)
	}
	for _, at := range []struct {
		to   *time.Time
		from string
	}{{&s.ExpiresAt, fields[2]}, {&s.AuthenticatedAt, data.AuthenticatedAt}, {&s.CreatedAt, data.CreatedAt}} {
		if err == nil {
			*at.to, err = parseTime(at.from)
		}
	}
	if err != nil {
		return store.Session{}, fmt.Errorf("redisstore: session %s: %w", id, err)
	}
	return s, nil
}

// maxSession is how long a session is kept of which the server cannot tell how long it
// lives, because it says nothing reasonable of when it was created.
const maxSession = 10 * 365 * 24 * time.Hour

// createSession: index of expiry, session, index of user; expiry, user, data,
// milliseconds to keep, identifier.
var createSessionScript = redis.NewScript(prelude + indexing + `
local expires, user, ttl, id = ARGV[2], ARGV[3], ARGV[5], ARGV[6]
if redis.call('HGET', KEYS[2], 'r') == run then return {'exists'} end
redis.call('DEL', KEYS[2])
redis.call('HSET', KEYS[2], 'r', run, 'v', 1, 'e', expires, 'u', user, 'd', ARGV[4])
redis.call('PEXPIRE', KEYS[2], ttl)
add(KEYS[3], 0, id, ttl)
return {'created', add(KEYS[1], expires, id .. user, ttl) and 'first' or ''}
`)

// CreateSession implements [store.SessionStore]. The server keeps the session for as
// long as lies between CreatedAt and ExpiresAt.
func (s *Store) CreateSession(ctx context.Context, session store.Session) error {
	if err := s.tenants.announce(ctx, s, session.TenantID); err != nil {
		return err
	}
	data, err := encodeSession(session)
	if err != nil {
		return err
	}
	keep := lifetime(session.ExpiresAt, session.CreatedAt)
	if session.CreatedAt.IsZero() || !session.ExpiresAt.After(session.CreatedAt) {
		keep = maxSession.Milliseconds()
	}
	k, id := s.keysOf(session.TenantID), session.ID.String()
	answer, err := s.eval(ctx, createSessionScript, []string{k.sessionExpiry(), k.session(id), k.user(session.UserID)},
		deadline(session.ExpiresAt), session.UserID, data, keep, id)
	if err != nil {
		return err
	}
	if answer[0] == "exists" {
		return store.ErrExists
	}
	return s.tenants.indexed(ctx, s, session.TenantID, answer)
}

// sessionFields begins scripts on a session that has to be alive.
const sessionFields = prelude + `
local function live(key, now)
	local t = redis.call('HMGET', key, 'r', 'v', 'e', 'u', 'd')
	if t[1] == run and tonumber(t[3]) > tonumber(now) then return t end
	return nil
end
`

// getSessions: sessions; now. The answer has an element for each.
var getSessionsScript = redis.NewScript(sessionFields + `
local out = {}
for i, key in ipairs(KEYS) do out[i] = live(key, ARGV[2]) or false end
return out
`)

// Session implements [store.SessionStore].
func (s *Store) Session(ctx context.Context, tenant string, id store.Digest, now time.Time) (store.Session, error) {
	if err := ctx.Err(); err != nil {
		return store.Session{}, err
	}
	answer, err := s.eval(ctx, getSessionsScript, []string{s.keysOf(tenant).session(id.String())}, deadline(now))
	if err != nil {
		return store.Session{}, err
	}
	found, _ := answer[0].([]any)
	return parseSession(found, tenant, id)
}

// updateSession: index of expiry, session, index of the user that it has, index of the
// one that it gets; now, version, next version, the user that it has, expiry, the user
// that it gets, data, milliseconds to keep, identifier.
var updateSessionScript = redis.NewScript(sessionFields + indexing + `
local had, expires, user, ttl, id = ARGV[5], ARGV[6], ARGV[7], ARGV[9], ARGV[10]
local t = live(KEYS[2], ARGV[2])
if not t then return {'not found'} end
if t[2] ~= ARGV[3] then return {'conflict'} end
if t[4] ~= had then return {'of', t[4]} end
redis.call('HSET', KEYS[2], 'v', ARGV[4], 'e', expires, 'u', user, 'd', ARGV[8])
redis.call('PEXPIRE', KEYS[2], ttl)
if had ~= user then
	redis.call('ZREM', KEYS[1], id .. had)
	redis.call('ZREM', KEYS[3], id)
end
add(KEYS[4], 0, id, ttl)
return {'updated', add(KEYS[1], expires, id .. user, ttl) and 'first' or ''}
`)

// UpdateSession implements [store.SessionStore].
func (s *Store) UpdateSession(ctx context.Context, session store.Session, now time.Time) error {
	if err := s.tenants.announce(ctx, s, session.TenantID); err != nil {
		return err
	}
	data, err := encodeSession(session)
	if err != nil {
		return err
	}
	k, id := s.keysOf(session.TenantID), session.ID.String()
	had := session.UserID // as a rule; the script tells if not
	for {
		answer, err := s.eval(ctx, updateSessionScript,
			[]string{k.sessionExpiry(), k.session(id), k.user(had), k.user(session.UserID)},
			deadline(now), session.Version, session.Version+1, had, deadline(session.ExpiresAt), session.UserID, data,
			lifetime(session.ExpiresAt, now), id)
		if err != nil {
			return err
		}
		switch answer[0] {
		case "not found":
			return store.ErrNotFound
		case "conflict":
			return store.ErrConflict
		case "of": // a version has one user, so this happens once
			had, _ = answer[1].(string)
			continue
		}
		return s.tenants.indexed(ctx, s, session.TenantID, answer)
	}
}

// deleteSession: index of expiry, session, index of the user; user, identifier.
var deleteSessionScript = redis.NewScript(`
local user = redis.call('HGET', KEYS[2], 'u')
if user and user ~= ARGV[2] then return {'of', user} end
redis.call('DEL', KEYS[2])
redis.call('ZREM', KEYS[1], ARGV[3] .. ARGV[2])
redis.call('ZREM', KEYS[3], ARGV[3])
return {'deleted'}
`)

// ownerOf: session.
var ownerScript = redis.NewScript(`
local user = redis.call('HGET', KEYS[1], 'u')
return user and {user}
`)

// DeleteSession implements [store.SessionStore].
func (s *Store) DeleteSession(ctx context.Context, tenant string, id store.Digest) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	k, hex := s.keysOf(tenant), id.String()
	answer, err := s.eval(ctx, ownerScript, []string{k.session(hex)})
	for err == nil && answer != nil {
		user, _ := answer[len(answer)-1].(string)
		answer, err = s.eval(ctx, deleteSessionScript, []string{k.sessionExpiry(), k.session(hex), k.user(user)}, user, hex)
		if err == nil && answer[0] != "of" {
			return nil
		}
	}
	return err
}

// userSessions: index of the user; after, limit.
var userSessionsScript = redis.NewScript(`return redis.call('ZRANGEBYLEX', KEYS[1], ARGV[2], '+', 'LIMIT', 0, ARGV[3])`)

// UserSessions implements [store.SessionStore].
func (s *Store) UserSessions(ctx context.Context, tenant, user string, page store.Page, now time.Time) ([]store.Session, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	k, size := s.keysOf(tenant), page.Size()
	from := "-"
	if page.After != "" {
		from = "(" + page.After
	}
	var sessions []store.Session
	for len(sessions) < size {
		listed, err := userSessionsScript.Run(ctx, s.client, []string{k.user(user)}, s.run, from, size).StringSlice()
		if err != nil {
			return nil, failed(ctx, err)
		}
		if len(listed) == 0 {
			break
		}
		names := make([]string, len(listed))
		for i, id := range listed {
			names[i] = k.session(id)
		}
		answer, err := s.eval(ctx, getSessionsScript, names, deadline(now))
		if err != nil {
			return nil, err
		}
		for i, id := range listed {
			found, ok := answer[i].([]any)
			if !ok { // expired, or deleted in this moment
				continue
			}
			var digest store.Digest
			if err := digest.UnmarshalText([]byte(id)); err != nil {
				return nil, fmt.Errorf("redisstore: index of a user's sessions: %w", err)
			}
			session, err := parseSession(found, tenant, digest)
			if err != nil {
				return nil, err
			}
			if session.UserID == user && len(sessions) < size {
				sessions = append(sessions, session)
			}
		}
		if len(listed) < size {
			break
		}
		from = "(" + listed[len(listed)-1]
	}
	return sessions, nil
}
