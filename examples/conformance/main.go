package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/opkit/opkit/examples/internal/listen"
)

// The default flags. config.json names them too.
const (
	defaultAddr     = "127.0.0.1:9443"
	defaultUser     = "conformance@example.com"
	defaultPassword = "every-standard-claim"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(1)
	}
}

type options struct {
	addr, issuer, user, password, suiteCert string
}

func parseOptions(args []string, output io.Writer) (options, error) {
	var o options
	fs := flag.NewFlagSet("conformance", flag.ContinueOnError)
	fs.SetOutput(output)
	fs.StringVar(&o.addr, "addr", defaultAddr, "loopback `address`; port 0 takes a free one")
	fs.StringVar(&o.issuer, "issuer", "", "issuer `URL`, kept byte for byte (default: https://localhost with the port)")
	fs.StringVar(&o.user, "user", defaultUser, "email address of the `user`")
	fs.StringVar(&o.password, "password", defaultPassword, "the user's `password`")
	fs.StringVar(&o.suiteCert, "suite-cert", "", "PEM `file` with the suite's certificate: what applications registered is then\nalso fetched from loopback, if the server has that certificate")
	if err := fs.Parse(args); err != nil {
		return options{}, err
	}
	if fs.NArg() > 0 {
		return options{}, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	return o, nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parseOptions(args, stderr)
	if err != nil {
		return err
	}
	listener, err := listenLoopback(o.addr)
	if err != nil {
		return err
	}
	defer listener.Close()
	if o.issuer == "" {
		o.issuer = fmt.Sprintf("https://localhost:%d", listener.Addr().(*net.TCPAddr).Port)
	}
	u, err := url.Parse(o.issuer)
	if err != nil {
		return fmt.Errorf("-issuer: %w", err)
	}
	cert, err := newCertificate(u.Hostname(), time.Now())
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(stderr, nil))
	p, err := newProvider(ctx, o, logger)
	if err != nil {
		return err
	}

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go p.Run(ctx) // ends with ctx, which is the only error it returns
	server := &http.Server{
		Handler:           withRotation(p),
		TLSConfig:         tlsConfig(cert),
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}
	served := make(chan error, 1)
	go func() { served <- server.ServeTLS(listener, "", "") }()
	fmt.Fprintf(stdout, "issuer    %s\nlistening %s\nuser      %s\npassword  %s\nnew keys  curl -kX POST https://%s%s\n",
		o.issuer, listener.Addr(), o.user, o.password, listener.Addr(), rotatePath)
	select {
	case err = <-served:
		return err
	case <-ctx.Done():
		shutdown, stop := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer stop()
		return server.Shutdown(shutdown)
	}
}

// listenLoopback refuses other addresses: who knows the password of this provider
// is written in its source.
func listenLoopback(addr string) (net.Listener, error) {
	tcp, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("-addr: %w", err)
	}
	if !tcp.IP.IsLoopback() {
		return nil, fmt.Errorf("-addr %s: not a loopback address", addr)
	}
	return listen.On(tcp.String(), "-addr")
}

// tlsConfig offers what BCP 195 (RFC 9325 §4.2) recommends: TLS 1.3, and for 1.2
// only AEAD suites with forward secrecy. The certificate's key is ECDSA, so the
// ECDHE_RSA suites could never be chosen.
func tlsConfig(cert tls.Certificate) *tls.Config {
	return &tls.Config{
		Certificates: []tls.Certificate{cert},
		MinVersion:   tls.VersionTLS12,
		CipherSuites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
		},
	}
}
