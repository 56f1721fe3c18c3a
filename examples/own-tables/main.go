package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/crypto/bcrypt"

	"github.com/opkit/opkit"
	"github.com/opkit/opkit/connection"
	"github.com/opkit/opkit/examples/internal/listen"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8091", "`address` to serve on")
	var at places
	flag.StringVar(&at.dir, "dir", "", "`directory` of the databases (default: a temporary one)")
	flag.StringVar(&at.postgres, "postgres", "", "connection `string` of opkit's own database (default: SQLite)")
	server := flag.String("redis", "", "`address` of a Redis for tickets and sessions (default: in opkit's own database)")
	flag.Parse()
	if *server != "" {
		at.redis = &redis.Options{Addr: *server, ContextTimeoutEnabled: true, MaxRetries: -1}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, *addr, at)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "own-tables:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, addr string, at places) (err error) {
	secret, err := hex.DecodeString(os.Getenv("OPKIT_SECRET"))
	switch {
	case err != nil || len(secret) < 32 && len(secret) > 0:
		return errors.New("OPKIT_SECRET must be at least 64 hexadecimal digits")
	case len(secret) == 0 && (at.dir != "" || at.postgres != "" || at.redis != nil):
		return errors.New("OPKIT_SECRET is not set; what is kept needs the same one at every start")
	case len(secret) == 0:
		secret = make([]byte, 32) // for data that goes with the temporary directory
		rand.Read(secret)
	}
	if at.dir == "" {
		if at.dir, err = os.MkdirTemp("", "own-tables-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(at.dir)) }()
	}
	stores, library, closeAll, err := openStores(ctx, at)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAll()) }()
	if err := enrol(ctx, library); err != nil {
		return err
	}
	listener, err := listen.On(addr, "-addr")
	if err != nil {
		return err
	}
	issuer := "http://" + listener.Addr().String()
	p, err := newProvider(ctx, issuer, stores, secret, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	fmt.Printf(`The library serves %s
A member: ada@example.com with the password lending-1815.
Applications register at %[1]s/oidc/register and become rows of the table partners.
Ctrl-C closes the library.
`, issuer)
	running, cancel := context.WithCancel(ctx)
	collected := make(chan error, 1)
	go func() { collected <- p.Run(running) }()
	defer func() { cancel(); <-collected }() // before the stores are closed
	httpServer := &http.Server{Handler: p, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- httpServer.Serve(listener) }()
	select {
	case err = <-served:
	case <-ctx.Done():
		shutdown, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		err = httpServer.Shutdown(shutdown)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// enrol makes sure that there is a member.
func enrol(ctx context.Context, library *sql.DB) error {
	var count int
	if err := library.QueryRowContext(ctx, "SELECT count(*) FROM members").Scan(&count); err != nil || count > 0 {
		return err
	}
	hash, err := bcrypt.GenerateFromPassword([]byte("lending-1815"), bcrypt.DefaultCost)
	if err != nil {
		return err
	}
	return addMember(ctx, library, tenant.DefaultID, ada(time.Now()), string(hash))
}

func newProvider(ctx context.Context, issuer string, stores store.Stores, secret []byte, logger *slog.Logger) (*opkit.Provider, error) {
	p, err := opkit.New(opkit.Config{
		Issuer: issuer, Stores: stores, Secret: secret, Logger: logger,
		Settings: store.TenantSettings{
			FriendlyName: "The Lending Library",
			Flags:        store.TenantFlags{EnableDynamicClientRegistration: true},
		},
		Passwords: opkit.PasswordConfig{Legacy: bcryptPassword},
	})
	if err != nil {
		return nil, err
	}
	if err := p.Check(ctx); err != nil { // a wrong secret, most of all
		return nil, err
	}
	_, err = p.Connections().Ensure(ctx, store.Connection{
		TenantID: tenant.DefaultID, ID: membersConnection, Name: "members",
		Strategy: connection.StrategyDatabase, IsDomainConnection: true,
	})
	return p, err
}
