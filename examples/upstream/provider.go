package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"time"

	"github.com/opkit/opkit"
	"github.com/opkit/opkit/connection"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
	"github.com/opkit/opkit/tenant"
)

const (
	partnerClientID = "our-provider"
	partnerEmail    = "grace@partner.example"
	partnerPassword = "tutorial-1952-Compiler"
)

func newSecret() []byte {
	secret := make([]byte, 32) // as short-lived as the data, which is in memory
	rand.Read(secret)
	return secret
}

// newPartner returns the other provider, which knows ours as one of its clients, and has
// a user. It also returns the client's secret.
func newPartner(ctx context.Context, issuer, callback string, logger *slog.Logger) (*opkit.Provider, string, error) {
	p, err := opkit.New(opkit.Config{
		Issuer: issuer, Stores: memstore.New().Stores(), Secret: newSecret(), Logger: logger,
		Settings: store.TenantSettings{FriendlyName: "Partner"},
	})
	if err != nil {
		return nil, "", err
	}
	_, secret, err := p.Clients().CreateClient(ctx, store.Client{
		TenantID: tenant.DefaultID, ID: partnerClientID, Name: "Our provider", FirstParty: true, TokenEndpointAuthMethod: "client_secret_post",
		RedirectURIs: []string{callback}, GrantTypes: []string{"authorization_code"}, ResponseTypes: []string{"code"},
	}, "")
	if err != nil {
		return nil, "", err
	}
	users, err := p.Connections().Create(ctx, store.Connection{
		TenantID: tenant.DefaultID, Name: "staff", Strategy: connection.StrategyDatabase, EnabledClients: []string{partnerClientID},
	})
	if err != nil {
		return nil, "", err
	}
	_, err = p.Connections().CreateUser(ctx, store.User{
		TenantID: tenant.DefaultID, ConnectionID: users.ID, Email: partnerEmail, EmailVerified: true, Profile: store.Profile{Name: "Grace Hopper"},
	}, partnerPassword)
	return p, secret, err
}

// newProvider returns our provider, where any application may register. The partner is on
// this machine, which takes the exemption in Outbound; its certificate is one of trusted.
func newProvider(ctx context.Context, issuer string, trusted *x509.CertPool, logger *slog.Logger) (*opkit.Provider, error) {
	return opkit.New(opkit.Config{
		Issuer: issuer, Stores: memstore.New().Stores(), Secret: newSecret(), Logger: logger,
		Settings: store.TenantSettings{FriendlyName: "Our provider", Flags: store.TenantFlags{EnableDynamicClientRegistration: true}},
		Outbound: opkit.OutboundConfig{InsecureAllow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, RootCAs: trusted},
	})
}

// options are those of the connection, as the management API takes them too.
type options struct {
	ClientID      string   `json:"client_id"`
	ClientSecret  string   `json:"client_secret"`
	Issuer        string   `json:"issuer"`
	DomainAliases []string `json:"domain_aliases,omitempty"`
}

// connect makes an upstream a domain connection, which every application may use.
func connect(ctx context.Context, p *opkit.Provider, name, label string, o options) error {
	raw, err := json.Marshal(o)
	if err != nil {
		return err
	}
	_, err = p.Connections().Create(ctx, store.Connection{
		TenantID: tenant.DefaultID, Name: name, DisplayName: label, Strategy: connection.StrategyOIDC, IsDomainConnection: true, Options: raw,
	})
	return err
}

// newCertificate makes a self-signed certificate for loopback.
func newCertificate(now time.Time) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "opkit upstream"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(0, 1, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, err
}
