package main

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net/netip"
	"os"

	"github.com/opkit/opkit"
	"github.com/opkit/opkit/connection"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
	"github.com/opkit/opkit/tenant"
)

func newProvider(ctx context.Context, o options, logger *slog.Logger) (*opkit.Provider, error) {
	outbound, err := outboundTo(o.suiteCert)
	if err != nil {
		return nil, err
	}
	secret := make([]byte, 32) // as short-lived as the data, which is in memory
	rand.Read(secret)
	p, err := opkit.New(opkit.Config{
		Issuer: o.issuer,
		Stores: memstore.New().Stores(),
		Secret: secret,
		Settings: store.TenantSettings{
			FriendlyName: "Conformance",
			// The suite reads and deletes what it registered.
			Flags: store.TenantFlags{EnableDynamicClientRegistration: true, EnableDynamicClientManagement: true},
			// The plans use the implicit and the hybrid flow, and confidential clients
			// without PKCE, which strict applications may not.
			DynamicClientRegistrationSecurityMode: store.ModePermissive,
		},
		Endpoints: tenant.Endpoints{CheckSession: "/oidc/session/check"},
		// A module looks for the logo that its client registered.
		InsecureHotlinkLogos: true,
		// The suite addresses assertions to the token endpoint; one module names the
		// issuer.
		InsecureTokenEndpointAudience: true,
		// A module registers it.
		InsecureUnsignedIDTokens: true,
		Outbound:                 outbound,
		Logger:                   logger,
	})
	if err != nil {
		return nil, err
	}
	conn, err := p.Connections().Ensure(ctx, store.Connection{
		TenantID: tenant.DefaultID, Name: "users", Strategy: connection.StrategyDatabase, IsDomainConnection: true,
	})
	if err != nil {
		return nil, err
	}
	_, err = p.Connections().CreateUser(ctx, everyClaim(conn, o.user), o.password)
	return p, err
}

// outboundTo lets the provider fetch what the suite serves: the addresses that its
// clients register are loopback ones, and its certificate is self-signed. Without a
// file the provider reaches nothing but the internet, as everywhere.
func outboundTo(suiteCert string) (opkit.OutboundConfig, error) {
	if suiteCert == "" {
		return opkit.OutboundConfig{}, nil
	}
	pem, err := os.ReadFile(suiteCert)
	if err != nil {
		return opkit.OutboundConfig{}, fmt.Errorf("-suite-cert: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return opkit.OutboundConfig{}, fmt.Errorf("-suite-cert %s: no PEM certificate in it", suiteCert)
	}
	return opkit.OutboundConfig{
		InsecureAllow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")},
		RootCAs:       roots,
	}, nil
}

// everyClaim is a user with every claim of OpenID Connect Core §5.1. The claims sub
// and updated_at come from the record.
func everyClaim(conn store.Connection, email string) store.User {
	return store.User{
		TenantID: conn.TenantID, ConnectionID: conn.ID,
		Email: email, EmailVerified: true,
		Profile: store.Profile{
			Name:              "Augusta Ada King",
			GivenName:         "Augusta",
			FamilyName:        "King",
			MiddleName:        "Ada",
			Nickname:          "Ada",
			PreferredUsername: "ada",
			ProfileURL:        "https://example.com/ada",
			Picture:           "https://example.com/ada.jpeg",
			Website:           "https://ada.example.com/",
			Gender:            "female",
			Birthdate:         "1985-12-10",
			Zoneinfo:          "Europe/London",
			Locale:            "en-GB",

			PhoneNumber:         "+44 20 7946 0018",
			PhoneNumberVerified: true,
			Address: &store.Address{
				Formatted:     "12 St James's Square\nLondon SW1Y 4JH\nUnited Kingdom",
				StreetAddress: "12 St James's Square",
				Locality:      "London",
				Region:        "Greater London",
				PostalCode:    "SW1Y 4JH",
				Country:       "United Kingdom",
			},
		},
	}
}
