package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/opkit/opkit"
	"github.com/opkit/opkit/examples/internal/listen"
)

const (
	mcpPath = "/mcp"
	user    = "ada@example.com"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "mcp:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("mcp", flag.ContinueOnError)
	flags.SetOutput(stderr)
	addr := flags.String("addr", "127.0.0.1:8092", "`address` to listen on")
	if err := flags.Parse(args); err != nil {
		return err
	}
	listener, err := listen.On(*addr, "-addr")
	if err != nil {
		return err
	}
	defer listener.Close()
	secret := make([]byte, 32)
	rand.Read(secret)
	password := rand.Text()
	base := "http://" + listener.Addr().String()
	handler, p, err := newHandler(ctx, opkit.Config{Issuer: base, Secret: secret, Logger: slog.New(slog.NewTextHandler(stderr, nil))}, password)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "MCP server  %s%s\nuser        %s\npassword    %s\n", base, mcpPath, user, password)

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 2)
	go func() { ended <- p.Run(ctx) }()
	go func() { ended <- server.Serve(listener) }()
	select {
	case <-ctx.Done():
	case err = <-ended:
	}
	if ctx.Err() != nil {
		err = nil
	}
	return errors.Join(err, server.Close())
}

// newHandler returns all that the process serves, and the provider within.
func newHandler(ctx context.Context, cfg opkit.Config, password string) (http.Handler, *opkit.Provider, error) {
	resource := cfg.Issuer + mcpPath
	p, err := newProvider(ctx, cfg, resource)
	if err != nil {
		return nil, nil, err
	}
	if err := addUser(ctx, p, user, password); err != nil {
		return nil, nil, err
	}
	protected, metadata, err := protect(newServer(), resource, cfg.Issuer)
	if err != nil {
		return nil, nil, err
	}
	mux := http.NewServeMux()
	mux.Handle(mcpPath, protected)
	mux.Handle("/.well-known/oauth-protected-resource"+mcpPath, metadata)
	mux.Handle("/", p)
	return mux, p, nil
}
