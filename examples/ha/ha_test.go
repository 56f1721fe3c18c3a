package main

import (
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/redisstore/redistest"
	"github.com/opkit/opkit/store/sqlstore/sqltest/flowtest"
	"github.com/opkit/opkit/store/sqlstore/sqltest/pgtest"
	"github.com/opkit/opkit/tenant"
)

var rounds = flag.Int("rounds", 40, "for how many codes and refresh tokens nodes race")

const (
	testNodes      = 3
	operatorID     = "operator"
	operatorSecret = "the secret of a client that uses the management API"
	testPassword   = "correct horse battery staple"
)

func TestMain(m *testing.M) {
	if config := os.Getenv(nodeVariable); config != "" {
		if err := nodeMain(config); err != nil {
			fmt.Fprintln(os.Stderr, "node:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(pgtest.Main(m))
}

// testCluster is nodes behind a balancer, and people who use them.
type testCluster struct {
	*cluster
	drivers []*flowtest.Driver
}

// newCluster starts nodes for so many people.
func newCluster(t *testing.T, people int, cfg nodeConfig) *testCluster {
	t.Helper()
	cfg.Postgres = pgtest.Start(t).Database(t)
	cfg.Secret = make([]byte, 32)
	c := &testCluster{cluster: &cluster{balancer: newBalancer(), errors: t.Output()}}
	front := httptest.NewServer(c.balancer)
	t.Cleanup(front.Close)
	cfg.Issuer = front.URL
	c.config = cfg
	c.setUp(t, people)
	t.Cleanup(func() {
		if err := c.stop(); err != nil {
			t.Error(err)
		}
	})
	if err := c.start(testNodes); err != nil {
		t.Fatal(err)
	}
	go c.balancer.watch(t.Context())
	return c
}

// setUp adds to what the example has a client that may do what the tests do, and a
// user for each driver.
func (c *testCluster) setUp(t *testing.T, people int) {
	t.Helper()
	ctx := t.Context()
	if err := setUp(ctx, c.config); err != nil {
		t.Fatal(err)
	}
	stores, closeStores, err := openStores(ctx, c.config)
	if err != nil {
		t.Fatal(err)
	}
	defer closeStores()
	p, err := newProvider(c.config, stores)
	if err != nil {
		t.Fatal(err)
	}
	tn, err := p.Tenants().Tenant(ctx, tenant.DefaultID)
	if err != nil {
		t.Fatal(err)
	}
	if err := stores.Clients.CreateClient(ctx, store.Client{
		TenantID: tn.ID(), ID: operatorID, Name: "Operator", FirstParty: true, TokenEndpointAuthMethod: "client_secret_post",
		SecretDigest: store.DigestOf(operatorSecret), GrantTypes: []string{"client_credentials"}, CreatedAt: time.Now(),
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Tenants().CreateClientGrant(ctx, store.ClientGrant{
		TenantID: tn.ID(), ClientID: operatorID, Audience: tn.ManagementAudience(), SubjectType: store.SubjectClient,
		Scopes: []string{"delete:clients", "read:signing_keys", "create:signing_keys"},
	}); err != nil {
		t.Fatal(err)
	}
	connections, err := stores.Connections.Connections(ctx, tn.ID(), store.Page{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range people {
		name := fmt.Sprintf("user%d@example.com", i)
		if _, err := p.Connections().CreateUser(ctx, store.User{TenantID: tn.ID(), ConnectionID: connections[0].ID, Email: name}, testPassword); err != nil {
			t.Fatal(err)
		}
		c.drivers = append(c.drivers, flowtest.New(flowtest.Config{
			Issuer: c.config.Issuer, Transport: &http.Transport{}, Username: name, Password: testPassword,
			ClientID: operatorID, ClientSecret: operatorSecret, Leeway: !c.config.SingleUse,
		}))
	}
}

// load lets every driver take steps until done is closed. A request without an answer
// is sent again if that is allowed, as its sender would.
func (c *testCluster) load(t *testing.T, done <-chan struct{}, mayLose bool) (answers, lost *atomic.Int64, wait func()) {
	answers, lost = &atomic.Int64{}, &atomic.Int64{}
	var running sync.WaitGroup
	for _, d := range c.drivers {
		running.Go(func() {
			next := d.Step
			for {
				select {
				case <-done:
					if err := errors.Join(d.Resume(t.Context()), d.Check(t.Context())); err != nil {
						t.Error(err)
					}
					return
				default:
				}
				switch err := next(t.Context()); {
				case err == nil:
					answers.Add(1)
					next = d.Step
				case mayLose && errors.Is(err, flowtest.ErrNoAnswer):
					lost.Add(1)
					next = d.Resume
				default:
					t.Error(err)
					return
				}
			}
		})
	}
	return answers, lost, running.Wait
}

// await returns when n answers were given.
func await(t *testing.T, answers *atomic.Int64, n int64) {
	t.Helper()
	for until := answers.Load() + n; answers.Load() < until && !t.Failed(); {
		select {
		case <-time.After(time.Millisecond):
		case <-t.Context().Done():
			return
		}
	}
}

// Every request goes to another node than the one before, so that a login begins on
// one and ends on another, and so do codes, tokens and logouts.
func TestWhatOneNodeBeginsAnotherEnds(t *testing.T) {
	for _, name := range []string{"PostgreSQL", "PostgreSQL and Redis"} {
		t.Run(name, func(t *testing.T) {
			cfg := nodeConfig{SingleUse: true}
			if name != "PostgreSQL" {
				options := redistest.New(t).Options()
				cfg.Redis = options.Network + ":" + options.Addr
			}
			c := newCluster(t, 1, cfg)
			d := c.drivers[0]
			for range 150 {
				if err := d.Step(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if err := d.Check(t.Context()); err != nil {
				t.Error(err)
			}
			if d.Logins != 1 || d.Refreshes == 0 {
				t.Errorf("%d logins and %d refreshes", d.Logins, d.Refreshes)
			}
		})
	}
}

// Nodes are replaced under load: no request gets lost, no registration, no grant, no
// session.
func TestARollingRestartLosesNothing(t *testing.T) {
	c := newCluster(t, 4, nodeConfig{})
	done := make(chan struct{})
	answers, _, wait := c.load(t, done, false)
	await(t, answers, 100)
	for range 2 {
		if err := c.restart(); err != nil {
			t.Error(err)
		}
		await(t, answers, 50)
	}
	close(done)
	wait()
	t.Logf("%d answers", answers.Load())
}

// A node is killed under load: what it had answered stays, and what it had not is sent
// again and answered by the others.
func TestAKilledNodeLosesNothing(t *testing.T) {
	c := newCluster(t, 4, nodeConfig{})
	done := make(chan struct{})
	answers, lost, wait := c.load(t, done, true)
	for range testNodes - 1 {
		await(t, answers, 100)
		if err := c.nodes[0].command.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = c.nodes[0].command.Wait() // killed
		c.nodes = c.nodes[1:]
	}
	await(t, answers, 100)
	close(done)
	wait()
	t.Logf("%d answers, %d requests were sent again", answers.Load(), lost.Load())
}
