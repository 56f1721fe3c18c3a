package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/opkit/opkit/examples/internal/listen"
	"github.com/opkit/opkit/store/sqlstore/sqltest/pgtest"
)

func main() {
	if config := os.Getenv(nodeVariable); config != "" {
		if err := nodeMain(config); err != nil {
			fmt.Fprintln(os.Stderr, "ha, node:", err)
			os.Exit(1)
		}
		return
	}
	addr := flag.String("addr", "127.0.0.1:8095", "`address` of the balancer")
	nodes := flag.Int("nodes", 3, "how many nodes there are")
	var cfg nodeConfig
	flag.StringVar(&cfg.Postgres, "postgres", "", "connection `string` of the database (default: PostgreSQL is started in a temporary directory)")
	server := flag.String("redis", "", "`address` of a Redis for tickets and sessions (default: in PostgreSQL)")
	flag.Parse()
	if *server != "" {
		cfg.Redis = "tcp:" + *server
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *addr, *nodes, cfg)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "ha:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, addr string, nodes int, cfg nodeConfig) (err error) {
	if cfg.Secret, err = hex.DecodeString(os.Getenv("OPKIT_SECRET")); err != nil {
		return errors.New("OPKIT_SECRET must be hexadecimal digits")
	}
	if len(cfg.Secret) == 0 {
		if cfg.Postgres != "" {
			return errors.New("OPKIT_SECRET is not set; a database that stays needs the same one at every start")
		}
		cfg.Secret = make([]byte, 32) // for data that goes with the temporary directory
		rand.Read(cfg.Secret)
	}
	if cfg.Postgres == "" {
		server, err := pgtest.Launch()
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, server.Stop()) }()
		cfg.Postgres = server.URL("postgres")
	}
	listener, err := listen.On(addr, "-addr")
	if err != nil {
		return err
	}
	cfg.Issuer = "http://" + listener.Addr().String()
	if err := setUp(ctx, cfg); err != nil {
		return errors.Join(err, listener.Close())
	}
	c := &cluster{balancer: newBalancer(), config: cfg, errors: os.Stderr}
	defer func() { err = errors.Join(err, c.stop()) }()
	if err := c.start(nodes); err != nil {
		return errors.Join(err, listener.Close())
	}
	go c.balancer.watch(ctx)
	fmt.Printf(`%d nodes serve %s
A user: %s with the password %s
Applications register at %[2]s/oidc/register
kill -HUP %[5]d restarts the nodes one after the other, Ctrl-C stops them.
`, nodes, cfg.Issuer, userName, userPassword, os.Getpid())
	again := make(chan os.Signal, 1)
	signal.Notify(again, syscall.SIGHUP)
	server := &http.Server{Handler: c.balancer, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	for {
		select {
		case err := <-served:
			return err
		case <-again:
			if err := c.restart(); err != nil {
				return errors.Join(err, server.Close())
			}
			fmt.Println("All nodes were restarted.")
		case <-ctx.Done():
			shutdown, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTime)
			defer cancel()
			return server.Shutdown(shutdown)
		}
	}
}
