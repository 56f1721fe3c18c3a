package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"time"

	"github.com/opkit/opkit/examples/internal/listen"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8445", "`address` of the provider")
	partner := flag.String("partner", "127.0.0.1:8446", "`address` of the partner")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, *addr, *partner)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "upstream:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, addr, partnerAddr string) error {
	certificate, err := newCertificate(time.Now())
	if err != nil {
		return err
	}
	trusted := x509.NewCertPool()
	trusted.AddCert(certificate.Leaf)
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))

	listener, err := listen.On(addr, "-addr")
	if err != nil {
		return err
	}
	partnerListener, err := listen.On(partnerAddr, "-partner")
	if err != nil {
		return err
	}
	issuer, partnerIssuer := "https://"+listener.Addr().String(), "https://"+partnerListener.Addr().String()
	partner, secret, err := newPartner(ctx, partnerIssuer, issuer+"/login/callback", logger)
	if err != nil {
		return err
	}
	provider, err := newProvider(ctx, issuer, trusted, logger)
	if err != nil {
		return err
	}
	if err := connect(ctx, provider, "partner", "Partner", options{
		ClientID: partnerClientID, ClientSecret: secret, Issuer: partnerIssuer, DomainAliases: []string{"partner.example"},
	}); err != nil {
		return err
	}
	fmt.Printf("Open %s/account/applications and continue with Partner.\nThere the user is %s with the password %s\nCtrl-C ends it.\n", issuer, partnerEmail, partnerPassword)
	served := make(chan error, 2)
	for _, s := range []struct {
		listener net.Listener
		handler  http.Handler
	}{{listener, provider}, {partnerListener, partner}} {
		server := &http.Server{Handler: s.handler, ReadHeaderTimeout: 10 * time.Second, TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}}}
		go func() { served <- server.ServeTLS(s.listener, "", "") }()
		context.AfterFunc(ctx, func() { server.Close() })
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
