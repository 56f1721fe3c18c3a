package storetest

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opkit/opkit/store"
)

// population is the number of records among which the benchmarks read.
const population = 10_000

// benchmark is a call that requests wait for. prepare fills the stores and
// returns the call; i counts the calls from 0 and never repeats.
type benchmark struct {
	name string
	// on returns whether the stores have what it measures.
	on      func(s store.Stores) bool
	prepare func(ctx context.Context, s store.Stores) (call func(i int) error, err error)
}

// Benchmark measures the calls that requests wait for, made by as many
// goroutines at once as there are processors, with 10,000 records of the kind
// stored where the call reads. newStores returns stores without any data; what is nil
// among them is not measured.
func Benchmark(b *testing.B, newStores func(b *testing.B) store.Stores) {
	for _, bench := range benchmarks {
		b.Run(bench.name, func(b *testing.B) {
			stores := newStores(b)
			if !bench.on(stores) {
				b.Skip("the stores do not have it")
			}
			call, err := bench.prepare(b.Context(), stores)
			if err != nil {
				b.Fatal(err)
			}
			// One level deeper, because this function runs once and that one until
			// enough is measured: the stores are filled only once.
			var calls atomic.Int64
			b.Run("calls", func(b *testing.B) {
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						if err := call(int(calls.Add(1) - 1)); err != nil {
							b.Error(err)
							return
						}
					}
				})
			})
		})
	}
}

func onClients(s store.Stores) bool  { return s.Clients != nil }
func onSessions(s store.Stores) bool { return s.Sessions != nil }
func onTickets(s store.Stores) bool  { return s.Tickets != nil }
func onGrants(s store.Stores) bool   { return s.Grants != nil }

var benchmarks = []benchmark{
	{"CreateClient", onClients, func(ctx context.Context, s store.Stores) (func(int) error, error) {
		return func(i int) error { return s.Clients.CreateClient(ctx, benchClient(i)) }, nil
	}},
	{"Client", onClients, func(ctx context.Context, s store.Stores) (func(int) error, error) {
		return func(i int) error {
			_, err := s.Clients.Client(ctx, "tenant", name("client", i%population))
			return err
		}, populate(func(i int) error { return s.Clients.CreateClient(ctx, benchClient(i)) })
	}},
	{"Clients", onClients, func(ctx context.Context, s store.Stores) (func(int) error, error) {
		return func(i int) error {
			_, err := s.Clients.Clients(ctx, "tenant", store.Page{After: name("client", i%population), Limit: 50})
			return err
		}, populate(func(i int) error { return s.Clients.CreateClient(ctx, benchClient(i)) })
	}},
	{"CreateSession", onSessions, func(ctx context.Context, s store.Stores) (func(int) error, error) {
		return func(i int) error { return s.Sessions.CreateSession(ctx, benchSession(i)) }, nil
	}},
	{"Session", onSessions, func(ctx context.Context, s store.Stores) (func(int) error, error) {
		return func(i int) error {
			_, err := s.Sessions.Session(ctx, "tenant", store.DigestOf(name("session", i%population)), base)
			return err
		}, populate(func(i int) error { return s.Sessions.CreateSession(ctx, benchSession(i)) })
	}},
	{"PutTicket", onTickets, func(ctx context.Context, s store.Stores) (func(int) error, error) {
		return func(i int) error { return s.Tickets.PutTicket(ctx, benchTicket(i), base) }, nil
	}},
	{"PutTicket+ConsumeTicket", onTickets, func(ctx context.Context, s store.Stores) (func(int) error, error) {
		return func(i int) error {
			t := benchTicket(i)
			if err := s.Tickets.PutTicket(ctx, t, base); err != nil {
				return err
			}
			_, err := s.Tickets.ConsumeTicket(ctx, t.TenantID, t.Kind, t.ID, base)
			return err
		}, nil
	}},
	{"FindGrant", onGrants, func(ctx context.Context, s store.Stores) (func(int) error, error) {
		return func(i int) error {
			g := benchGrant(i % population)
			_, err := s.Grants.FindGrant(ctx, g.TenantID, g.UserID, g.ClientID, g.Audience)
			return err
		}, populate(func(i int) error { return s.Grants.CreateGrant(ctx, benchGrant(i)) })
	}},
	{"StartFamily", onGrants, func(ctx context.Context, s store.Stores) (func(int) error, error) {
		return func(i int) error {
			_, err := s.Grants.StartFamily(ctx, benchFamily(i), base)
			return err
		}, populate(func(i int) error { return s.Grants.CreateGrant(ctx, benchGrant(i)) })
	}},
	{"Grant of a family", onGrants, func(ctx context.Context, s store.Stores) (func(int) error, error) {
		return func(i int) error {
			f := benchFamily(i % population)
			_, err := s.Grants.Grant(ctx, f.TenantID, f.GrantID, f.ID, base)
			return err
		}, populateFamilies(ctx, s)
	}},
	{"RotateFamily", onGrants, func(ctx context.Context, s store.Stores) (func(int) error, error) {
		generations := make([]atomic.Int64, population)
		return func(i int) error {
			f := benchFamily(i % population)
			generation := generations[i%population].Add(1) - 1
			_, err := s.Grants.RotateFamily(ctx, f.TenantID, f.ID, generation, f.ExpiresAt.Add(time.Duration(i)*time.Millisecond), base)
			return err
		}, populateFamilies(ctx, s)
	}},
}

func populate(create func(i int) error) error {
	for i := range population {
		if err := create(i); err != nil {
			return err
		}
	}
	return nil
}

func populateFamilies(ctx context.Context, s store.Stores) error {
	return populate(func(i int) error {
		if err := s.Grants.CreateGrant(ctx, benchGrant(i)); err != nil {
			return err
		}
		_, err := s.Grants.StartFamily(ctx, benchFamily(i), base)
		return err
	})
}

// name returns an identifier of the usual length.
func name(kind string, i int) string { return fmt.Sprintf("%s_%024d", kind, i) }

func benchClient(i int) store.Client {
	return store.Client{
		TenantID: "tenant", ID: name("client", i), Name: "My application",
		Dynamic: true, SecurityMode: store.ModePermissive, TokenEndpointAuthMethod: "client_secret_post",
		SecretDigest: store.Digest{1},
		RedirectURIs: []string{"https://app.example.com/auth/callback", "https://app.example.com/auth/silent"},
		CreatedAt:    base,
	}
}

func benchSession(i int) store.Session {
	return store.Session{
		TenantID: "tenant", ID: store.DigestOf(name("session", i)), SID: name("sid", i), UserID: name("user", i/3),
		ConnectionID: "connection", AMR: []string{"pwd"}, AuthenticatedAt: base, CreatedAt: base, ExpiresAt: base.Add(time.Hour),
	}
}

func benchTicket(i int) store.Ticket {
	return store.Ticket{
		TenantID: "tenant", Kind: "par", ID: store.DigestOf(name("ticket", i)), Data: make([]byte, 500),
		CreatedAt: base, ExpiresAt: base.Add(time.Minute + time.Duration(i)*time.Microsecond),
	}
}

func benchGrant(i int) store.Grant {
	return store.Grant{
		TenantID: "tenant", ID: name("grant", i), UserID: name("user", i/3), ClientID: name("client", i), Audience: "https://api.example.com/",
		Scopes: []string{"openid", "read"}, ConnectionID: "connection", CreatedAt: base, UpdatedAt: base,
	}
}

func benchFamily(i int) store.Family {
	g := benchGrant(i % population)
	return store.Family{
		TenantID: "tenant", ID: name("family", i), GrantID: g.ID, UserID: g.UserID, ClientID: g.ClientID, SID: name("sid", i),
		CreatedAt: base, ExpiresAt: base.Add(time.Hour + time.Duration(i)*time.Microsecond),
	}
}
