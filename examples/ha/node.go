package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/opkit/opkit"
	"github.com/opkit/opkit/store"
)

// nodeConfig is all that a node needs, the same for each of them. A node keeps nothing
// between two requests that another one would miss.
type nodeConfig struct {
	Issuer   string // of the balancer
	Secret   []byte
	Postgres string // connection string
	Redis    string `json:",omitempty"` // network:address; tickets and sessions are there then
	// SingleUse answers no retries of refresh tokens, for a test that counts how often
	// one is used.
	SingleUse bool `json:",omitempty"`
}

// nodeVariable holds the configuration of a node. A process that has it is one.
const nodeVariable = "OPKIT_HA_NODE"

// How a node stops: it says that it is about to, serves on until the balancer has
// noticed, and then waits for what it was sent before.
const (
	healthInterval = 100 * time.Millisecond
	leaveTime      = 5 * healthInterval
	finishTime     = 30 * time.Second // more than a request may take
)

func nodeMain(config string) error {
	var cfg nodeConfig
	if err := json.Unmarshal([]byte(config), &cfg); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	return serveNode(ctx, cfg, os.Stdout)
}

// serveNode serves until ctx ends. It writes its address, and "stopping" when no more
// requests should be sent to it.
func serveNode(ctx context.Context, cfg nodeConfig, out io.Writer) (err error) {
	stores, closeStores, err := openStores(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeStores()) }()
	p, err := newProvider(cfg, stores)
	if err != nil {
		return err
	}
	if err := p.Check(ctx); err != nil { // a wrong secret, most of all
		return err
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	collected := make(chan error, 1)
	go func() { collected <- p.Run(running) }() // on every node: they share the work
	defer func() { cancel(); <-collected }()    // before the stores are closed

	var stopping atomic.Bool
	mux := http.NewServeMux()
	mux.Handle("/", p)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if stopping.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(out, listener.Addr()); err != nil {
		return err
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	stopping.Store(true)
	select {
	case err := <-served:
		return err
	case <-time.After(leaveTime):
	}
	shutdown, cancelShutdown := context.WithTimeout(running, finishTime)
	defer cancelShutdown()
	return server.Shutdown(shutdown)
}

func newProvider(cfg nodeConfig, stores store.Stores) (*opkit.Provider, error) {
	config := opkit.Config{
		Issuer: cfg.Issuer, Stores: stores, Secret: cfg.Secret,
		Settings: store.TenantSettings{
			FriendlyName: "Three nodes",
			Flags:        store.TenantFlags{EnableDynamicClientRegistration: true},
		},
		// The balancer says where a request comes from.
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		Logger:         slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	if cfg.SingleUse {
		config.Lifetimes.RefreshTokenLeeway = -1
	}
	return opkit.New(config)
}
