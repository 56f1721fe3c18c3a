package main

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"

	"github.com/opkit/opkit"
	"github.com/opkit/opkit/connection"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
	"github.com/opkit/opkit/tenant"
	"github.com/opkit/opkit/token"
)

// This file is what opkit adds to the shop.

const (
	customers   = "customers" // the name of the connection
	ordersAPI   = "https://shop.example/orders"
	ordersScope = "read:orders"
)

// endpoints are under a path that the shop had free. There is no management API:
// the shop sets everything from Go.
var endpoints = tenant.Endpoints{
	Authorization: "/connect/authorize",
	Login:         "/connect/login",
	LoginCallback: "/connect/resume",
	Consent:       "/connect/consent",
	Applications:  "/connect/applications",
	Token:         "/connect/token",
	UserInfo:      "/connect/userinfo",
	JWKS:          "/connect/keys",
	Registration:  "/connect/register",
	Revocation:    "/connect/revoke",

	PushedAuthorizationRequest: "/connect/par",
	EndSession:                 "/connect/logout",

	Introspection: tenant.NotMounted,
	LegacyLogout:  tenant.NotMounted,
	Management:    tenant.NotMounted,
}

func newProvider(ctx context.Context, s *shop, secret []byte, logger *slog.Logger) (*opkit.Provider, error) {
	p, err := opkit.New(opkit.Config{
		Issuer:    s.base,
		Stores:    memstore.New().Stores(),
		Secret:    secret,
		Endpoints: endpoints,
		Settings: store.TenantSettings{
			FriendlyName: "The Gear Shop",
			Flags:        store.TenantFlags{EnableDynamicClientRegistration: true},
		},
		Hosts:  map[string]connection.Host{customers: s.host()},
		Logger: logger,
	})
	if err != nil {
		return nil, err
	}
	// Third-party applications may sign customers in,
	if _, err := p.Connections().Ensure(ctx, store.Connection{
		TenantID: tenant.DefaultID, Name: customers, Strategy: connection.StrategyHost, IsDomainConnection: true,
	}); err != nil {
		return nil, err
	}
	// and read their orders if the customer agrees, and nothing else.
	if _, err := p.Tenants().CreateAPI(ctx, store.API{
		TenantID: tenant.DefaultID, Audience: ordersAPI, Name: "Your orders",
		Scopes: []store.APIScope{{Value: ordersScope, Description: "See your orders"}, {Value: "write:orders", Description: "Place orders"}},
	}); err != nil {
		return nil, err
	}
	_, err = p.Tenants().CreateClientGrant(ctx, store.ClientGrant{
		TenantID: tenant.DefaultID, ClientID: store.DefaultForThirdParty, Audience: ordersAPI,
		SubjectType: store.SubjectUser, Scopes: []string{ordersScope},
	})
	return p, err
}

// mount puts each endpoint where endpoints says it is.
func mount(mux *http.ServeMux, p *opkit.Provider) {
	mux.Handle("/.well-known/openid-configuration", p.Metadata())
	mux.Handle("/.well-known/oauth-authorization-server", p.Metadata())
	mux.Handle(endpoints.JWKS, p.JWKS())
	mux.Handle(endpoints.Registration, p.Registration())
	mux.Handle(endpoints.Authorization, p.Authorization())
	mux.Handle(endpoints.Login, p.Login())
	mux.Handle(endpoints.LoginCallback, p.LoginCallback())
	mux.Handle(endpoints.Consent, p.Consent())
	mux.Handle(endpoints.Applications, p.Applications())
	mux.Handle(endpoints.Token, p.Token())
	mux.Handle(endpoints.UserInfo, p.UserInfo())
	mux.Handle(endpoints.Revocation, p.Revocation())
	mux.Handle(endpoints.PushedAuthorizationRequest, p.PushedAuthorization())
	mux.Handle(endpoints.EndSession, p.EndSession())
}

// host lends the shop's login to opkit: who is signed in, where the login page is,
// and what is known about a customer.
func (s *shop) host() connection.Host {
	return connection.Host{
		Current: func(r *http.Request) (connection.Identity, bool, error) {
			row, since, ok := s.signedIn(r)
			return connection.Identity{UserID: row.id, AuthenticatedAt: since, AMR: []string{"pwd"}}, ok, nil
		},
		Login: func(_ *http.Request, request connection.LoginRequest) (string, error) {
			query := url.Values{"next": {request.ReturnTo}, "for": {request.ClientName}}
			if request.LoginHint != "" {
				query.Set("email", request.LoginHint)
			}
			if request.Reauthenticate {
				query.Set("again", "")
			}
			return loginPath + "?" + query.Encode(), nil
		},
		User: func(_ context.Context, _, id string) (store.User, error) {
			row, ok := s.users.byID(id)
			if !ok {
				return store.User{}, store.ErrNotFound
			}
			return store.User{Email: row.email, EmailVerified: true, Profile: store.Profile{Name: row.name}}, nil
		},
	}
}

// orders is the shop's API: it answers whoever brings a customer's access token.
func (s *shop) orders(v *token.Verifier) http.Handler {
	return v.Require(ordersScope)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		accessToken, ok := token.AccessTokenFromContext(r.Context())
		if !ok {
			http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
			return
		}
		row, ok := s.users.byID(accessToken.Subject)
		if !ok {
			http.NotFound(w, r)
			return
		}
		writeJSON(w, map[string]any{"customer": row.name, "orders": row.orders})
	}))
}
