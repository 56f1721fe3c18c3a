package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/signal"
	"time"

	"github.com/opkit/opkit"
	"github.com/opkit/opkit/authorize"
	"github.com/opkit/opkit/connection"
	"github.com/opkit/opkit/examples/internal/listen"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
	"github.com/opkit/opkit/tenant"
)

// page is the tenant's login page.
//
//go:embed page.html
var page string

const (
	database     = "Username-Password-Authentication"
	userEmail    = "ada@example.com"
	userPassword = "tutorial-1815-Engine"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8443", "`address` to serve on")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, *addr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "hosted-login:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, addr string) error {
	listener, err := listen.On(addr, "-addr")
	if err != nil {
		return err
	}
	certificate, err := newCertificate(time.Now())
	if err != nil {
		return err
	}
	issuer := "https://" + listener.Addr().String() + "/"
	p, err := newProvider(ctx, issuer, page, printMail, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		return err
	}
	go p.Run(ctx) // ends with ctx, which is the only error it returns
	fmt.Printf("The provider is at %s\nIts user is %s with the password %s\nCtrl-C ends it.\n", issuer, userEmail, userPassword)
	server := &http.Server{Handler: p, ReadHeaderTimeout: 10 * time.Second, TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}}}
	served := make(chan error, 1)
	go func() { served <- server.ServeTLS(listener, "", "") }()
	select {
	case err = <-served:
	case <-ctx.Done():
		shutdown, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		err = server.Shutdown(shutdown)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// printMail stands for a mail server.
func printMail(_ context.Context, m authorize.Mail) error {
	_, err := fmt.Printf("Mail to %s (%s): %s\n", m.To, m.Kind, m.Link)
	return err
}

// newProvider returns a provider whose tenant has that login page, a connection for
// every third-party application, and a user.
func newProvider(ctx context.Context, issuer, page string, mailer authorize.Mailer, logger *slog.Logger) (*opkit.Provider, error) {
	secret := make([]byte, 32) // as short-lived as the data, which is in memory
	rand.Read(secret)
	p, err := opkit.New(opkit.Config{
		Issuer: issuer,
		Stores: memstore.New().Stores(),
		Secret: secret,
		Settings: store.TenantSettings{
			FriendlyName:                          "Hosted Login",
			LoginPage:                             store.LoginPage{HTML: page, On: true},
			Flags:                                 store.TenantFlags{EnableDynamicClientRegistration: true},
			DynamicClientRegistrationSecurityMode: store.ModePermissive,
		},
		Mailer: mailer,
		Logger: logger,
	})
	if err != nil {
		return nil, err
	}
	c, err := p.Connections().Create(ctx, store.Connection{
		TenantID: tenant.DefaultID, Name: database, Strategy: connection.StrategyDatabase, IsDomainConnection: true,
		Options: []byte(`{"disable_signup":false,"passwordPolicy":"fair"}`),
	})
	if err != nil {
		return nil, err
	}
	_, err = p.Connections().CreateUser(ctx, store.User{
		TenantID: tenant.DefaultID, ConnectionID: c.ID, Email: userEmail, EmailVerified: true, Profile: store.Profile{Name: "Ada Lovelace"},
	}, userPassword)
	return p, err
}

// newCertificate makes a self-signed certificate for loopback.
func newCertificate(now time.Time) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()),
		Subject:      pkix.Name{CommonName: "opkit hosted-login"},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.AddDate(0, 1, 0),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:     []string{"localhost"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
