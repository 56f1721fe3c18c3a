package main

import (
	"context"
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

	"github.com/opkit/opkit/examples/internal/listen"
	"github.com/opkit/opkit/store/memstore"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "management:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("management", flag.ContinueOnError)
	flags.SetOutput(stderr)
	addr := flags.String("addr", "127.0.0.1:8093", "`address` to listen on")
	if err := flags.Parse(args); err != nil {
		return err
	}
	listener, err := listen.On(*addr, "-addr")
	if err != nil {
		return err
	}
	defer listener.Close()
	issuer := "http://" + listener.Addr().String() + "/" // SDKs want the slash
	p, secret, err := newProvider(ctx, issuer, memstore.New().Stores(), slog.New(slog.NewTextHandler(stderr, nil)))
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "issuer         %s\nclient_id      %s\nclient_secret  %s\n", issuer, machineID, secret)

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	server := &http.Server{Handler: p, ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 3)
	go func() { ended <- p.Run(ctx) }()
	go func() { ended <- server.Serve(listener) }()
	go func() {
		if err := administer(ctx, issuer, machineID, secret, stdout); err != nil {
			ended <- err
		}
	}()
	select {
	case <-ctx.Done():
	case err = <-ended:
	}
	if ctx.Err() != nil {
		err = nil
	}
	return errors.Join(err, server.Close())
}
