package redisstore

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Config says where the records are.
type Config struct {
	// Client of one server (*redis.Client, also one that follows a primary through
	// Sentinel) or of a cluster (*redis.ClusterClient). Required. Its option
	// ContextTimeoutEnabled has to be set: without it calls outlive their requests. The
	// store never closes it.
	Client redis.UniversalClient

	// Prefix begins every key, so that they can live beside the host's own. Letters,
	// digits, dots, hyphens and underscores, at most 32. Empty means "opkit".
	Prefix string

	// Durable says that the server loses nothing that it acknowledged: appendonly is
	// yes, appendfsync is always, and no replica that may lag behind ever takes its
	// place. [Store.Check] verifies the first two. Then records outlive the server's
	// process. Default: they do not, see the package documentation.
	Durable bool

	// InsecureKeepUnsynced treats a server that may lose its last writes (appendfsync
	// everysec, snapshots, a replica that takes over) like one that does not. After it
	// did, sessions that had ended and initial access tokens that were used up can come
	// back, and a client assertion that was seen can be used once more.
	InsecureKeepUnsynced bool
}

var prefixPattern = regexp.MustCompile(`^[A-Za-z0-9._-]{1,32}$`)

// Store keeps tickets and sessions. It implements [store.TicketStore] and
// [store.SessionStore] and is safe for concurrent use.
type Store struct {
	client redis.UniversalClient
	prefix string
	// run stands for the server's process in every record. Empty: scripts ask.
	run     string
	durable bool
	tenants registry
}

// keptRun is the run of records that outlive a process.
const keptRun = "kept"

// New returns a store. It does not talk to the server: call [Store.Check] at the
// start of the program.
func New(cfg Config) (*Store, error) {
	var options struct{ contextTimeout bool }
	switch c := cfg.Client.(type) {
	case nil:
		return nil, errors.New("redisstore: Config.Client is required")
	case *redis.Client:
		options.contextTimeout = c.Options().ContextTimeoutEnabled
	case *redis.ClusterClient:
		options.contextTimeout = c.Options().ContextTimeoutEnabled
	default:
		return nil, fmt.Errorf("redisstore: Config.Client is a %T, want *redis.Client or *redis.ClusterClient", c)
	}
	if !options.contextTimeout {
		return nil, errors.New("redisstore: the client's option ContextTimeoutEnabled is off: calls would not end with their requests")
	}
	s := &Store{client: cfg.Client, prefix: cfg.Prefix, durable: cfg.Durable && !cfg.InsecureKeepUnsynced}
	if s.prefix == "" {
		s.prefix = "opkit"
	}
	if !prefixPattern.MatchString(s.prefix) {
		return nil, errors.New("redisstore: Config.Prefix has 1 to 32 letters, digits, dots, hyphens and underscores")
	}
	if cfg.Durable || cfg.InsecureKeepUnsynced {
		s.run = keptRun
	}
	return s, nil
}

// Check returns an error if a server does not answer, cannot run the scripts, evicts
// records when its memory is full, or is not as durable as Config.Durable says, as far
// as can be seen: many providers do not let CONFIG be read.
func (s *Store) Check(ctx context.Context) error {
	if cluster, ok := s.client.(*redis.ClusterClient); ok {
		return cluster.ForEachMaster(ctx, s.checkServer)
	}
	return s.checkServer(ctx, s.client.(*redis.Client))
}

func (s *Store) checkServer(ctx context.Context, server *redis.Client) error {
	if _, err := runScript.Run(ctx, server, nil, "").Text(); err != nil {
		return fmt.Errorf("redisstore: the server cannot run the scripts: %w", err)
	}
	memory, err := server.Info(ctx, "memory").Result()
	if err != nil {
		return fmt.Errorf("redisstore: INFO: %w", err)
	}
	if policy := infoField(memory, "maxmemory_policy"); policy != "noeviction" {
		return fmt.Errorf("redisstore: maxmemory-policy is %q: a value that was seen would be forgotten when memory is full; want noeviction", policy)
	}
	if !s.durable {
		return nil
	}
	persistence, err := server.Info(ctx, "persistence").Result()
	if err != nil {
		return fmt.Errorf("redisstore: INFO: %w", err)
	}
	if infoField(persistence, "aof_enabled") != "1" {
		return errors.New("redisstore: Config.Durable is set, but the server's appendonly is not yes")
	}
	fsync, err := server.ConfigGet(ctx, "appendfsync").Result()
	if value := fsync["appendfsync"]; err == nil && value != "always" {
		return fmt.Errorf("redisstore: Config.Durable is set, but the server's appendfsync is %q, not always", value)
	}
	return ctx.Err()
}

// infoField returns a field of an answer to INFO.
func infoField(info, name string) string {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
