package sqltest

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opkit/opkit"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/sqlstore/sqltest/flowtest"
	"github.com/opkit/opkit/store/sqlstore/sqltest/pgtest"
	"github.com/opkit/opkit/tenant"
)

const (
	providerIssuer = "http://127.0.0.1:8099" // whatever the port is
	removerID      = "remover"
	removerSecret  = "the secret of a client that deletes clients, long enough"
)

func newProvider(stores store.Stores) (*opkit.Provider, error) {
	return opkit.New(opkit.Config{
		Issuer: providerIssuer, Stores: stores, Secret: bytes.Repeat([]byte{7}, 32),
		Settings: store.TenantSettings{
			DynamicClientRegistrationSecurityMode: store.ModePermissive,
			Flags:                                 store.TenantFlags{EnableDynamicClientRegistration: true},
		},
		// A refresh token is used once and that is that.
		Lifetimes: opkit.Lifetimes{RefreshTokenLeeway: -1},
		Logger:    slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
	})
}

// provideRole serves a provider until it is killed, and writes its address.
func provideRole(ctx context.Context, h *handle, _ *bufio.Scanner, out io.Writer) error {
	p, err := newProvider(h.store.Stores())
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(out, listener.Addr()); err != nil {
		return err
	}
	go p.Run(ctx) // which collects at once
	return http.Serve(listener, p)
}

// providerWorld is what the lives of a provider share.
type providerWorld struct {
	place   string
	address atomic.Pointer[string] // of the life that is being led
	drivers []*flowtest.Driver
}

// newProviderWorld makes a connection with a user for each driver.
func newProviderWorld(t *testing.T, place string, drivers int) *providerWorld {
	t.Helper()
	h := open(t, place)
	p, err := newProvider(h.store.Stores())
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	tn, err := p.Tenants().Tenant(ctx, tenant.DefaultID)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := p.Connections().Create(ctx, store.Connection{
		TenantID: tn.ID(), Name: "people", Strategy: "auth0", IsDomainConnection: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.store.Stores().Clients.CreateClient(ctx, store.Client{
		TenantID: tn.ID(), ID: removerID, Name: "Remover", FirstParty: true, TokenEndpointAuthMethod: "client_secret_post",
		SecretDigest: store.DigestOf(removerSecret), GrantTypes: []string{"client_credentials"}, CreatedAt: time.Now(),
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Tenants().CreateClientGrant(ctx, store.ClientGrant{
		TenantID: tn.ID(), ClientID: removerID, Audience: tn.ManagementAudience(), SubjectType: store.SubjectClient,
		Scopes: []string{"delete:clients"},
	}); err != nil {
		t.Fatal(err)
	}
	w := &providerWorld{place: place}
	for i := range drivers {
		name, password := fmt.Sprint("user", i), "correct horse battery staple"
		if _, err := p.Connections().CreateUser(ctx, store.User{TenantID: tn.ID(), ConnectionID: conn.ID, Username: name}, password); err != nil {
			t.Fatal(err)
		}
		w.drivers = append(w.drivers, flowtest.New(flowtest.Config{
			Issuer: providerIssuer, Transport: w.transport(), Username: name, Password: password,
			ClientID: removerID, ClientSecret: removerSecret,
		}))
	}
	if err := h.close(); err != nil {
		t.Fatal(err)
	}
	return w
}

// All that a provider does works in a schema of its own behind PgBouncer, which gives
// each transaction another connection.
func TestAProviderBehindPgBouncer(t *testing.T) {
	server := pgtest.Start(t)
	url := server.Bouncer(t, 4).URL(server.NewDatabase(t)) + "&default_query_exec_mode=exec"
	place := schemas(url)(t)
	w := newProviderWorld(t, place, 3)
	p, err := newProvider(open(t, place).store.Stores())
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(p)
	defer front.Close()
	address := front.Listener.Addr().String()
	w.address.Store(&address)
	var running sync.WaitGroup
	for _, d := range w.drivers {
		running.Go(func() {
			for range 100 {
				if err := d.Step(t.Context()); err != nil {
					t.Error(err)
					return
				}
			}
			if err := d.Check(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	running.Wait()
}

// transport takes every request to the life that is being led.
func (w *providerWorld) transport() http.RoundTripper {
	return &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, *w.address.Load())
	}}
}
