package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/opkit/opkit/store"
)

// A ticket is a hash: r is the run in which it was written, v the version, e, c and n
// the times of expiry, consumption and creation, d the data.

// errForgotten refuses a marker of which nobody knows whether it was there before.
var errForgotten = fmt.Errorf("redisstore: the server was restarted or replaced since this value may first have been seen: %w", store.ErrForgotten)

// putTicket: index of expiry, ticket, run; now, expiry, creation, data, milliseconds to
// keep, member.
//
// A ticket without data is a marker: that it is there is all it says. One that is left
// from another run counts, and one that the loss of a run may have swallowed is not
// put: see errForgotten. Since when markers are complete is kept for each tenant. What
// a process started with it may have lost, but nothing later; a replica that became the
// primary does not say when it did, so it counts from the first marker that finds it so.
var putTicketScript = redis.NewScript(prelude + indexing + `
local now, expires, created, data, ttl, member = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local old = redis.call('HMGET', KEYS[2], 'r', 'e', 'd')
if old[2] and tonumber(old[2]) > tonumber(now) and (old[1] == run or (old[3] == '' and data == '')) then
	return {'exists'}
end
if server and data == '' and created ~= '' then
	local known = redis.call('HMGET', KEYS[3], 'run', 'since')
	local since = known[2]
	if known[1] ~= run then
		since = now
		if not known[1] and string.match(redis.call('INFO', 'replication'), 'master_replid2:0+%s') then
			local uptime = string.match(server, 'uptime_in_seconds:(%d+)')
			since = string.format('%.0f', tonumber(now) - (tonumber(uptime) + 1) * 1000000)
		end
		redis.call('HSET', KEYS[3], 'run', run, 'since', since)
	end
	if tonumber(created) < tonumber(since) then return {'forgotten'} end
end
redis.call('DEL', KEYS[2])
redis.call('HSET', KEYS[2], 'r', run, 'v', 1, 'e', expires, 'c', '', 'n', created, 'd', data)
redis.call('PEXPIRE', KEYS[2], ttl)
return {'put', add(KEYS[1], expires, member, ttl) and 'first' or ''}
`)

// PutTicket implements [store.TicketStore]. It ignores ConsumedAt: only ConsumeTicket
// consumes.
func (s *Store) PutTicket(ctx context.Context, t store.Ticket, now time.Time) error {
	if err := s.tenants.announce(ctx, s, t.TenantID); err != nil {
		return err
	}
	k, member := s.keysOf(t.TenantID), ticketMember(t.Kind, t.ID)
	answer, err := s.eval(ctx, putTicketScript, []string{k.ticketExpiry(), k.ticket(member), k.run()},
		deadline(now), deadline(t.ExpiresAt), micros(t.CreatedAt), t.Data, lifetime(t.ExpiresAt, now), member)
	if err != nil {
		return err
	}
	switch answer[0] {
	case "exists":
		return store.ErrExists
	case "forgotten":
		return errForgotten
	}
	return s.tenants.indexed(ctx, s, t.TenantID, answer)
}

// ticketFields begins scripts on a ticket that has to be alive.
const ticketFields = prelude + `
local function live(key, now)
	local t = redis.call('HMGET', key, 'r', 'v', 'e', 'c', 'n', 'd')
	if t[1] == run and tonumber(t[3]) > tonumber(now) then return t end
	return nil
end
`

// getTicket: ticket; now.
var getTicketScript = redis.NewScript(ticketFields + `return live(KEYS[1], ARGV[2]) or false`)

// Ticket implements [store.TicketStore].
func (s *Store) Ticket(ctx context.Context, tenant, kind string, id store.Digest, now time.Time) (store.Ticket, error) {
	if err := ctx.Err(); err != nil {
		return store.Ticket{}, err
	}
	key := s.keysOf(tenant).ticket(ticketMember(kind, id))
	answer, err := s.eval(ctx, getTicketScript, []string{key}, deadline(now))
	if err != nil {
		return store.Ticket{}, err
	}
	t, err := parseTicket(answer, tenant, kind, id)
	if err == nil && !t.ConsumedAt.IsZero() {
		err = store.ErrConsumed
	}
	return t, err
}

// consumeTicket: ticket; now. The last element is what it was consumed at before.
var consumeTicketScript = redis.NewScript(ticketFields + `
local t = live(KEYS[1], ARGV[2])
if not t then return false end
t[7] = t[4]
if t[4] == '' then
	t[4] = ARGV[2]
	redis.call('HSET', KEYS[1], 'c', ARGV[2])
end
return t
`)

// ConsumeTicket implements [store.TicketStore].
func (s *Store) ConsumeTicket(ctx context.Context, tenant, kind string, id store.Digest, now time.Time) (store.Ticket, error) {
	if err := ctx.Err(); err != nil {
		return store.Ticket{}, err
	}
	key := s.keysOf(tenant).ticket(ticketMember(kind, id))
	answer, err := s.eval(ctx, consumeTicketScript, []string{key}, deadline(now))
	if err != nil {
		return store.Ticket{}, err
	}
	t, err := parseTicket(answer, tenant, kind, id)
	if err == nil && answer[len(answer)-1] != "" {
		err = store.ErrConsumed
	}
	return t, err
}

func parseTicket(answer []any, tenant, kind string, id store.Digest) (store.Ticket, error) {
	if answer == nil {
		return store.Ticket{}, store.ErrNotFound
	}
	fields, err := texts(answer)
	if err == nil && len(fields) < 6 {
		err = errors.New("redisstore: fields are missing")
	}
	if err != nil {
		return store.Ticket{}, err
	}
	t := store.Ticket{TenantID: tenant, Kind: kind, ID: id, Data: []byte(fields[5])}
	if t.Version, err = strconv.ParseInt(fields[1], 10, 64); err == nil {
		if t.ExpiresAt, err = parseTime(fields[2]); err == nil {
			if t.ConsumedAt, err = parseTime(fields[3]); err == nil {
				t.CreatedAt, err = parseTime(fields[4])
			}
		}
	}
	if err != nil {
		return store.Ticket{}, fmt.Errorf("redisstore: ticket %s: %w", id, err)
	}
	return t, nil
}

// updateTicket: index of expiry, ticket; now, version, next version, expiry, data,
// milliseconds to keep, member.
var updateTicketScript = redis.NewScript(ticketFields + indexing + `
local expires, ttl = ARGV[5], ARGV[7]
local t = live(KEYS[2], ARGV[2])
if not t then return {'not found'} end
if t[4] ~= '' then return {'consumed'} end
if t[2] ~= ARGV[3] then return {'conflict'} end
redis.call('HSET', KEYS[2], 'v', ARGV[4], 'e', expires, 'd', ARGV[6])
redis.call('PEXPIRE', KEYS[2], ttl)
return {'updated', add(KEYS[1], expires, ARGV[8], ttl) and 'first' or ''}
`)

// UpdateTicket implements [store.TicketStore].
func (s *Store) UpdateTicket(ctx context.Context, t store.Ticket, now time.Time) error {
	if err := s.tenants.announce(ctx, s, t.TenantID); err != nil {
		return err
	}
	k, member := s.keysOf(t.TenantID), ticketMember(t.Kind, t.ID)
	answer, err := s.eval(ctx, updateTicketScript, []string{k.ticketExpiry(), k.ticket(member)},
		deadline(now), t.Version, t.Version+1, deadline(t.ExpiresAt), t.Data, lifetime(t.ExpiresAt, now), member)
	if err != nil {
		return err
	}
	switch answer[0] {
	case "not found":
		return store.ErrNotFound
	case "consumed":
		return store.ErrConsumed
	case "conflict":
		return store.ErrConflict
	}
	return s.tenants.indexed(ctx, s, t.TenantID, answer)
}

// deleteTicket: index of expiry, ticket; member.
var deleteTicketScript = redis.NewScript(`
redis.call('DEL', KEYS[2])
redis.call('ZREM', KEYS[1], ARGV[2])
return {'deleted'}
`)

// DeleteTicket implements [store.TicketStore].
func (s *Store) DeleteTicket(ctx context.Context, tenant, kind string, id store.Digest) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	k, member := s.keysOf(tenant), ticketMember(kind, id)
	_, err := s.eval(ctx, deleteTicketScript, []string{k.ticketExpiry(), k.ticket(member)}, member)
	return err
}
