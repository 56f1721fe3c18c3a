package redisstore

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/opkit/opkit/store"
)

// Servers remove what has expired by themselves. Collection does the same earlier, by
// the caller's time, and removes what is left of it in the indexes. Those are one for
// each tenant, on the node where the tenant is, so the tenants are listed elsewhere.

// registry knows which tenants this process has added to the list.
type registry struct {
	mu    sync.Mutex
	known map[string]struct{}
}

// maxKnown bounds the memory of a registry. It then begins anew.
const maxKnown = 10_000

// announce adds a tenant to the list before something of it is written for the first
// time, so that nothing can be missed.
func (r *registry) announce(ctx context.Context, s *Store, tenant string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r.mu.Lock()
	_, ok := r.known[tenant]
	r.mu.Unlock()
	if ok {
		return nil
	}
	return r.add(ctx, s, tenant)
}

// indexed is called after a script has added to an index. If that did not exist, the
// list may have been lost with it.
func (r *registry) indexed(ctx context.Context, s *Store, tenant string, answer []any) error {
	if answer[1] != "first" {
		return nil
	}
	// What was asked for is done. Only collection may have to wait for another write.
	if err := r.add(context.WithoutCancel(ctx), s, tenant); err != nil {
		r.mu.Lock()
		delete(r.known, tenant)
		r.mu.Unlock()
	}
	return nil
}

func (r *registry) add(ctx context.Context, s *Store, tenant string) error {
	if err := s.client.ZAdd(ctx, s.registryKey(), redis.Z{Member: tenant}).Err(); err != nil {
		return failed(ctx, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.known) >= maxKnown || r.known == nil {
		r.known = make(map[string]struct{})
	}
	r.known[tenant] = struct{}{}
	return nil
}

// tenantPage is how many tenants a collection asks about at once.
const tenantPage = 100

// collect visits the tenants until limit records are removed. index names the index of
// a tenant, remove removes some of its members.
func (s *Store) collect(
	ctx context.Context, now time.Time, limit int,
	index func(keys) string, remove func(ctx context.Context, k keys, members []string) (int, error),
) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	total, from := 0, "-"
	for total < limit {
		tenants, err := s.client.ZRangeByLex(ctx, s.registryKey(), &redis.ZRangeBy{Min: from, Max: "+", Count: tenantPage}).Result()
		if err != nil {
			return total, failed(ctx, err)
		}
		// What a replica that lags behind answers here is looked at again below.
		due := make([]*redis.StringSliceCmd, len(tenants))
		_, err = s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i, tenant := range tenants {
				due[i] = p.ZRangeByScore(ctx, index(s.keysOf(tenant)), &redis.ZRangeBy{
					Min: "-inf", Max: deadline(now), Count: int64(min(limit-total, maxCollect)),
				})
			}
			return nil
		})
		if err != nil {
			return total, failed(ctx, err)
		}
		for i, tenant := range tenants {
			members := due[i].Val()
			if members = members[:min(len(members), limit-total)]; len(members) == 0 {
				continue
			}
			n, err := remove(ctx, s.keysOf(tenant), members)
			if total += n; err != nil {
				return total, err
			}
		}
		if len(tenants) < tenantPage {
			break
		}
		from = "(" + tenants[len(tenants)-1]
	}
	return total, nil
}

// maxCollect bounds what one script removes: a server does nothing else meanwhile.
const maxCollect = 1000

// collectTickets: index of expiry, tickets; now, members. A ticket that was put again
// since has another expiry.
var collectTicketsScript = redis.NewScript(`
local n = 0
for i = 2, #KEYS do
	local member = ARGV[i + 1]
	local score = redis.call('ZSCORE', KEYS[1], member)
	if score and tonumber(score) <= tonumber(ARGV[2]) then
		redis.call('DEL', KEYS[i])
		redis.call('ZREM', KEYS[1], member)
		n = n + 1
	end
end
return {n}
`)

// CollectTickets implements [store.TicketStore]. Records that the server removed itself
// count when they leave the index.
func (s *Store) CollectTickets(ctx context.Context, now time.Time, limit int) (int, error) {
	return s.collect(ctx, now, limit, keys.ticketExpiry, func(ctx context.Context, k keys, members []string) (int, error) {
		names, args := []string{k.ticketExpiry()}, []any{deadline(now)}
		for _, member := range members {
			names, args = append(names, k.ticket(member)), append(args, member)
		}
		return counted(s.eval(ctx, collectTicketsScript, names, args...))
	})
}

// collectSessions: index of expiry, then for each session itself and the index of its
// user; now, then for each its member of the first and of the second index.
var collectSessionsScript = redis.NewScript(`
local n = 0
for i = 2, #KEYS, 2 do
	local member, id = ARGV[i + 1], ARGV[i + 2]
	local score = redis.call('ZSCORE', KEYS[1], member)
	if score and tonumber(score) <= tonumber(ARGV[2]) then
		local expires = redis.call('HGET', KEYS[i], 'e')
		if expires and tonumber(expires) <= tonumber(ARGV[2]) then redis.call('DEL', KEYS[i]) end
		redis.call('ZREM', KEYS[1], member)
		redis.call('ZREM', KEYS[i + 1], id)
		n = n + 1
	end
end
return {n}
`)

// CollectSessions implements [store.SessionStore].
func (s *Store) CollectSessions(ctx context.Context, now time.Time, limit int) (int, error) {
	return s.collect(ctx, now, limit, keys.sessionExpiry, func(ctx context.Context, k keys, members []string) (int, error) {
		names, args := []string{k.sessionExpiry()}, []any{deadline(now)}
		for _, member := range members {
			id := member[:min(len(member), 2*len(store.Digest{}))]
			names = append(names, k.session(id), k.user(member[len(id):]))
			args = append(args, member, id)
		}
		return counted(s.eval(ctx, collectSessionsScript, names, args...))
	})
}

func counted(answer []any, err error) (int, error) {
	if err != nil {
		return 0, err
	}
	n, ok := answer[0].(int64)
	if !ok {
		return 0, fmt.Errorf("redisstore: a script answered with %s", strconv.Quote(fmt.Sprint(answer[0])))
	}
	return int(n), nil
}
