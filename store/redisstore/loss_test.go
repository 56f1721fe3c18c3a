package redisstore

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/redisstore/redistest"
)

var storeTime = time.Date(2031, time.May, 6, 7, 8, 9, 0, time.UTC)

// On every write to disk, as Config.Durable demands.
var durableServer = []string{"--save", "", "--appendonly", "yes", "--appendfsync", "always"}

func open(t *testing.T, cfg Config) *Store {
	t.Helper()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func permission(id string) store.Ticket {
	return store.Ticket{
		TenantID: "t", Kind: "permission", ID: store.DigestOf(id), Data: []byte("x"),
		CreatedAt: storeTime, ExpiresAt: storeTime.Add(time.Hour),
	}
}

// marker is one of something that may have been seen since a time.
func marker(id string, since time.Time) store.Ticket {
	return store.Ticket{TenantID: "t", Kind: "marker", ID: store.DigestOf(id), CreatedAt: since, ExpiresAt: storeTime.Add(time.Hour)}
}

func session(id string) store.Session {
	return store.Session{
		TenantID: "t", ID: store.DigestOf(id), UserID: "user", Version: 1,
		CreatedAt: storeTime, ExpiresAt: storeTime.Add(time.Hour),
	}
}

// fill puts a ticket that was consumed, one that was not, a session, and a marker.
func fill(t *testing.T, s *Store) {
	t.Helper()
	ctx := t.Context()
	for _, err := range []error{
		s.PutTicket(ctx, permission("consumed"), storeTime),
		s.PutTicket(ctx, permission("open"), storeTime),
		s.PutTicket(ctx, marker("seen", storeTime), storeTime),
		s.CreateSession(ctx, session("session")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.ConsumeTicket(ctx, "t", "permission", store.DigestOf("consumed"), storeTime); err != nil {
		t.Fatal(err)
	}
}

// What one process of a server wrote is nothing to the next, even if all of it is there:
// what is missing cannot be told from what never was.
func TestRecordsEndWithTheServer(t *testing.T) {
	server := redistest.New(t, durableServer...)
	s := open(t, Config{Client: server.Client(t)})
	fill(t, s)
	server.Restart(t)
	ctx := t.Context()
	if n, err := s.client.DBSize(ctx).Result(); err != nil || n == 0 {
		t.Fatalf("the server kept %d keys (%v): this test proves nothing", n, err)
	}
	for _, id := range []string{"consumed", "open"} {
		if got, err := s.Ticket(ctx, "t", "permission", store.DigestOf(id), storeTime); !errors.Is(err, store.ErrNotFound) || got.TenantID != "" {
			t.Errorf("Ticket: %+v, %v", got, err)
		}
		if _, err := s.ConsumeTicket(ctx, "t", "permission", store.DigestOf(id), storeTime); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("ConsumeTicket: %v", err)
		}
		if err := s.UpdateTicket(ctx, permission(id), storeTime); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("UpdateTicket: %v", err)
		}
	}
	if _, err := s.Session(ctx, "t", store.DigestOf("session"), storeTime); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Session: %v", err)
	}
	if err := s.UpdateSession(ctx, session("session"), storeTime); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("UpdateSession: %v", err)
	}
	if got, err := s.UserSessions(ctx, "t", "user", store.Page{}, storeTime); err != nil || len(got) != 0 {
		t.Errorf("UserSessions: %v, %v", got, err)
	}
	// A marker that is left counts.
	if err := s.PutTicket(ctx, marker("seen", storeTime), storeTime); !errors.Is(err, store.ErrExists) {
		t.Errorf("PutTicket of a marker that is there: %v", err)
	}
	// And everything begins anew: an identifier that is taken for nobody would lock
	// somebody out.
	fresh := permission("open")
	if err := s.PutTicket(ctx, fresh, storeTime); err != nil {
		t.Errorf("PutTicket: %v", err)
	}
	if err := s.CreateSession(ctx, session("session")); err != nil {
		t.Errorf("CreateSession: %v", err)
	}
	if n, err := s.CollectTickets(ctx, storeTime.Add(2*time.Hour), 10); err != nil || n != 3 {
		t.Errorf("CollectTickets: %d, %v", n, err)
	}
	if n, err := s.CollectSessions(ctx, storeTime.Add(2*time.Hour), 10); err != nil || n != 1 {
		t.Errorf("CollectSessions: %d, %v", n, err)
	}
}

func TestDurableRecordsOutliveTheServer(t *testing.T) {
	for name, cfg := range map[string]Config{"Durable": {Durable: true}, "InsecureKeepUnsynced": {InsecureKeepUnsynced: true}} {
		t.Run(name, func(t *testing.T) {
			server := redistest.New(t, durableServer...)
			cfg.Client = server.Client(t)
			s := open(t, cfg)
			fill(t, s)
			server.Kill(t)
			server.Restart(t)
			ctx := t.Context()
			if got, err := s.ConsumeTicket(ctx, "t", "permission", store.DigestOf("consumed"), storeTime); !errors.Is(err, store.ErrConsumed) || got.ConsumedAt != storeTime {
				t.Errorf("ConsumeTicket of a consumed ticket: %+v, %v", got, err)
			}
			if _, err := s.ConsumeTicket(ctx, "t", "permission", store.DigestOf("open"), storeTime); err != nil {
				t.Errorf("ConsumeTicket: %v", err)
			}
			if _, err := s.Session(ctx, "t", store.DigestOf("session"), storeTime); err != nil {
				t.Errorf("Session: %v", err)
			}
			if err := s.PutTicket(ctx, marker("seen", storeTime), storeTime); !errors.Is(err, store.ErrExists) {
				t.Errorf("PutTicket of a marker that is there: %v", err)
			}
			if err := s.PutTicket(ctx, marker("another", storeTime.Add(-time.Hour)), storeTime); err != nil {
				t.Errorf("PutTicket of another marker: %v", err)
			}
		})
	}
}

// Markers that were lost with the server do not come back as unseen.
func TestLostMarkersAreNotUnseen(t *testing.T) {
	server := redistest.New(t, "--save", "")
	s := open(t, Config{Client: server.Client(t)})
	put := func(m store.Ticket, now time.Time) error { return s.PutTicket(t.Context(), m, now) }
	if err := put(marker("seen", storeTime), storeTime); err != nil {
		t.Fatal(err)
	}
	server.Restart(t)
	if n, err := s.client.DBSize(t.Context()).Result(); err != nil || n != 0 {
		t.Fatalf("the server kept %d keys (%v): this test proves nothing", n, err)
	}
	// As if the server had been started a moment ago: it has been running for seconds.
	later := storeTime.Add(time.Minute)
	for what, m := range map[string]store.Ticket{
		"the same marker": marker("seen", storeTime),
		"one as old":      marker("other", storeTime),
	} {
		for range 2 { // a refusal is not a marker
			err := put(m, later)
			if !errors.Is(err, store.ErrForgotten) || errors.Is(err, store.ErrExists) || errors.Is(err, store.ErrConflict) {
				t.Errorf("%s: %v, want store.ErrForgotten", what, err)
			}
			if _, err := s.Ticket(t.Context(), "t", "marker", m.ID, later); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("%s was stored: %v", what, err)
			}
		}
	}
	if err := put(marker("new", later), later); err != nil {
		t.Errorf("one that cannot have been seen before: %v", err)
	}
	if err := put(marker("new", later), later); !errors.Is(err, store.ErrExists) {
		t.Errorf("the same again: %v", err)
	}
	// Other tickets say how old they are and no more.
	if err := put(permission("old"), later); err != nil {
		t.Errorf("a ticket with data: %v", err)
	}
	if err := put(store.Ticket{TenantID: "t", Kind: "k", ExpiresAt: storeTime.Add(time.Hour)}, later); err != nil {
		t.Errorf("a ticket that does not say when it was created: %v", err)
	}
}

// A replica that takes over may lack the last writes, however long it has been running.
func TestPromotedReplicaForgotTheLastMarkers(t *testing.T) {
	port := freePort(t)
	primary := redistest.New(t, "--save", "", "--bind", "127.0.0.1", "--port", port)
	replica := redistest.New(t, "--save", "", "--replicaof", "127.0.0.1 "+port)
	follower := replica.Client(t)
	ctx := t.Context()
	await(t, func() bool {
		return infoField(follower.Info(ctx, "replication").Val(), "master_link_status") == "up"
	})
	before := open(t, Config{Client: primary.Client(t)})
	fill(t, before)
	if n, err := before.client.Do(ctx, "WAIT", 1, 10_000).Int(); err != nil || n != 1 {
		t.Fatalf("WAIT: %d, %v", n, err)
	}
	primary.Kill(t)
	if err := follower.ReplicaOf(ctx, "NO", "ONE").Err(); err != nil {
		t.Fatal(err)
	}
	after := open(t, Config{Client: follower})
	if _, err := after.Ticket(ctx, "t", "permission", store.DigestOf("open"), storeTime); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Ticket: %v", err)
	}
	if _, err := after.Session(ctx, "t", store.DigestOf("session"), storeTime); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Session: %v", err)
	}
	later := storeTime.Add(time.Second)
	if err := after.PutTicket(ctx, marker("seen", storeTime), later); !errors.Is(err, store.ErrExists) {
		t.Errorf("a marker that came in time: %v", err)
	}
	for _, tenant := range []string{"t", "a tenant without markers"} {
		lost := marker("lost", storeTime.Add(time.Millisecond))
		lost.TenantID = tenant
		if err := after.PutTicket(ctx, lost, later); !errors.Is(err, errForgotten) {
			t.Errorf("a marker that may not have come in time: %v", err)
		}
		fresh := marker("fresh", later)
		fresh.TenantID = tenant
		if err := after.PutTicket(ctx, fresh, later); err != nil {
			t.Errorf("a marker of later: %v", err)
		}
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

func await(t *testing.T, done func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited in vain")
		}
	}
}

// Nothing stays for ever on a server that nobody collects from, but the list of tenants.
func TestEveryKeyHasALifetime(t *testing.T) {
	server := redistest.New(t, "--save", "")
	s := open(t, Config{Client: server.Client(t), Prefix: "own"})
	fill(t, s)
	ctx := t.Context()
	moved := session("session")
	moved.UserID, moved.ExpiresAt = "another", storeTime.Add(48*time.Hour)
	if err := s.UpdateSession(ctx, moved, storeTime); err != nil {
		t.Fatal(err)
	}
	longest := int64(48*time.Hour/time.Millisecond) + grace.Milliseconds()
	for _, key := range s.client.Keys(ctx, "*").Val() {
		if !strings.HasPrefix(key, "own:") && !strings.HasPrefix(key, "{own:") {
			t.Errorf("key %q is outside of the prefix", key)
		}
		left := s.client.PTTL(ctx, key).Val()
		if kept := left > 0 && left.Milliseconds() <= longest; kept == (key == s.registryKey() || key == "{own:t}:run") {
			t.Errorf("key %q is kept for %v", key, left)
		}
	}
	// What the server removed by itself leaves the indexes in the next collection.
	for _, key := range s.client.Keys(ctx, "*").Val() {
		if strings.Contains(key, "ticket:") || strings.Contains(key, "session:") {
			s.client.Del(ctx, key)
		}
	}
	late := storeTime.Add(72 * time.Hour)
	if n, err := s.CollectTickets(ctx, late, 100); err != nil || n != 3 {
		t.Errorf("CollectTickets: %d, %v", n, err)
	}
	if n, err := s.CollectSessions(ctx, late, 100); err != nil || n != 1 {
		t.Errorf("CollectSessions: %d, %v", n, err)
	}
	if keys := s.client.Keys(ctx, "*").Val(); len(keys) != 2 {
		t.Errorf("after everything was collected there are %q", keys)
	}
}

// A server that lost the list of tenants is collected from all the same.
func TestLostListOfTenantsIsMadeAgain(t *testing.T) {
	s := open(t, Config{Client: redistest.New(t, "--save", "").Client(t)})
	fill(t, s)
	if err := s.client.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	fill(t, s)
	if n, err := s.CollectTickets(t.Context(), storeTime.Add(time.Hour), 100); err != nil || n != 3 {
		t.Errorf("CollectTickets: %d, %v", n, err)
	}
	if n, err := s.CollectSessions(t.Context(), storeTime.Add(time.Hour), 100); err != nil || n != 1 {
		t.Errorf("CollectSessions: %d, %v", n, err)
	}
}

// A call ends with its request, also on a server that does not answer.
func TestStalledServer(t *testing.T) {
	s := open(t, Config{Client: redistest.New(t, "--save", "").Client(t)})
	fill(t, s)
	if err := s.client.Do(t.Context(), "CLIENT", "PAUSE", 60_000, "ALL").Err(); err != nil {
		t.Fatal(err)
	}
	for name, call := range map[string]func(ctx context.Context) error{
		"PutTicket": func(ctx context.Context) error { return s.PutTicket(ctx, permission("another"), storeTime) },
		"Session": func(ctx context.Context) error {
			_, err := s.Session(ctx, "t", store.DigestOf("session"), storeTime)
			return err
		},
		"CollectTickets": func(ctx context.Context) error { _, err := s.CollectTickets(ctx, storeTime, 1); return err },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		start := time.Now()
		err := call(ctx)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 10*time.Second {
			t.Errorf("%s: %v after %v", name, err, time.Since(start))
		}
	}
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		name     string
		settings []string
		cfg      Config
		want     string // empty: no error
	}{
		{"the default", []string{"--save", ""}, Config{}, ""},
		{"durable", durableServer, Config{Durable: true}, ""},
		{"evicts", []string{"--maxmemory-policy", "allkeys-lru"}, Config{}, "maxmemory-policy"},
		{"evicts what has a lifetime", []string{"--maxmemory-policy", "volatile-ttl"}, Config{InsecureKeepUnsynced: true}, "maxmemory-policy"},
		{"durable without a file", []string{"--save", ""}, Config{Durable: true}, "appendonly"},
		{"durable every second", []string{"--appendonly", "yes", "--appendfsync", "everysec"}, Config{Durable: true}, "appendfsync"},
		{"every second, and it is known", []string{"--appendonly", "yes", "--appendfsync", "everysec"}, Config{InsecureKeepUnsynced: true}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.cfg.Client = redistest.New(t, c.settings...).Client(t)
			err := open(t, c.cfg).Check(t.Context())
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want %q", err, c.want)
			}
		})
	}
	t.Run("no server", func(t *testing.T) {
		client := redis.NewClient(&redis.Options{Network: "unix", Addr: t.TempDir() + "/none", ContextTimeoutEnabled: true, MaxRetries: -1})
		defer client.Close()
		if err := open(t, Config{Client: client}).Check(t.Context()); err == nil {
			t.Error("no error")
		}
	})
}

func TestNew(t *testing.T) {
	good := redis.NewClient(&redis.Options{ContextTimeoutEnabled: true})
	defer good.Close()
	bad := redis.NewClient(&redis.Options{})
	defer bad.Close()
	cluster := redis.NewClusterClient(&redis.ClusterOptions{})
	defer cluster.Close()
	ring := redis.NewRing(&redis.RingOptions{})
	defer ring.Close()
	for want, cfg := range map[string]Config{
		"Client is required":       {},
		"ContextTimeoutEnabled is": {Client: bad},
		"ContextTimeoutEnabled":    {Client: cluster},
		"*redis.Ring":              {Client: ring},
		"Config.Prefix":            {Client: good, Prefix: "a{b}"},
		"32":                       {Client: good, Prefix: strings.Repeat("a", 33)},
	} {
		if s, err := New(cfg); s != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", cfg, err, want)
		}
	}
}

// Tenants are asked page by page; a limit ends a collection between two of them.
func TestCollectionVisitsEveryTenant(t *testing.T) {
	const tenants = 2*tenantPage + 50
	for name, connect := range map[string]func(t *testing.T) redis.UniversalClient{
		"server":  func(t *testing.T) redis.UniversalClient { return redistest.Start(t).Client(t) },
		"cluster": func(t *testing.T) redis.UniversalClient { return redistest.NewCluster(t, 3).Client(t) },
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, Config{Client: connect(t), Prefix: "every-tenant"})
			for i := range tenants {
				ticket := permission("a")
				ticket.TenantID = strconv.Itoa(i)
				login := session("a")
				login.TenantID = ticket.TenantID
				if err := errors.Join(s.PutTicket(t.Context(), ticket, storeTime), s.CreateSession(t.Context(), login)); err != nil {
					t.Fatal(err)
				}
			}
			for what, collect := range map[string]func(context.Context, time.Time, int) (int, error){
				"tickets": s.CollectTickets, "sessions": s.CollectSessions,
			} {
				for _, step := range []struct{ limit, want int }{{tenants - 10, tenants - 10}, {100, 10}, {100, 0}} {
					if n, err := collect(t.Context(), storeTime.Add(time.Hour), step.limit); n != step.want || err != nil {
						t.Errorf("collecting %s with limit %d: %d, %v, want %d", what, step.limit, n, err, step.want)
					}
				}
			}
		})
	}
}
