package redisstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// grace is how long a server keeps what has expired in the eyes of the node that wrote
// it: another node's clock may be behind by as much.
const grace = 10 * time.Minute

// prelude begins every script. The first argument is always the run: the server's
// process, or a constant if records outlive it.
const prelude = `
local run = ARGV[1]
local server
if run == '' then
	server = redis.call('INFO', 'server')
	run = string.match(server, 'run_id:(%x+)') or error('INFO has no run_id')
end
`

// indexing adds a member to an index, which lives as long as the longest-lived of them,
// and tells whether it is the first.
const indexing = `
local function add(index, score, member, ttl)
	redis.call('ZADD', index, score, member)
	local left = redis.call('PTTL', index)
	if left < tonumber(ttl) then redis.call('PEXPIRE', index, ttl) end
	return left == -1
end
`

var runScript = redis.NewScript(prelude + `return run`)

// eval runs a script, which has to answer with a list. The answer false is nil.
func (s *Store) eval(ctx context.Context, script *redis.Script, keys []string, args ...any) ([]any, error) {
	answer, err := script.Run(ctx, s.client, keys, append([]any{s.run}, args...)...).Slice()
	switch {
	case errors.Is(err, redis.Nil):
		return nil, nil
	case err != nil:
		return nil, failed(ctx, err)
	case len(answer) == 0:
		return nil, errors.New("redisstore: a script gave no answer")
	}
	return answer, nil
}

// failed is the error of a call that did not reach the server or not come back. One
// that was cancelled on its way says so.
func failed(ctx context.Context, err error) error {
	done := ctx.Err()
	// The connection has the context's deadline too, and may notice it first.
	if _, bounded := ctx.Deadline(); done == nil && bounded && errors.Is(err, os.ErrDeadlineExceeded) {
		done = context.DeadlineExceeded
	}
	if done != nil && !errors.Is(err, done) {
		err = errors.Join(done, err)
	}
	return fmt.Errorf("redisstore: %w", err)
}

// micros is how a time is kept: in microseconds, empty for the zero time.
func micros(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return strconv.FormatInt(t.UnixMicro(), 10)
}

// deadline is micros for times that scripts compare. The zero time is long ago.
func deadline(t time.Time) string { return strconv.FormatInt(t.UnixMicro(), 10) }

func parseTime(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return time.Time{}, err
	}
	if t := time.UnixMicro(n).UTC(); !t.IsZero() {
		return t, nil
	}
	return time.Time{}, nil
}

// lifetime is how many milliseconds the server keeps what expires at a time, for a
// caller whose time is now.
func lifetime(expires, now time.Time) int64 {
	return max(expires.Sub(now), 0).Milliseconds() + grace.Milliseconds()
}

// texts returns the elements of a script's answer as texts; a nil is empty.
func texts(answer []any) ([]string, error) {
	out := make([]string, len(answer))
	for i, v := range answer {
		switch v := v.(type) {
		case nil:
		case string:
			out[i] = v
		case int64:
			out[i] = strconv.FormatInt(v, 10)
		default:
			return nil, fmt.Errorf("redisstore: a script answered with a %T", v)
		}
	}
	return out, nil
}
