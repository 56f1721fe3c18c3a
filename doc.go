// Package opkit is an OpenID Provider that Go programs embed. Its centre is
// dynamic client registration: a tenant switches it on, promotes connections to
// domain connections, and from then on any application registers itself at
// POST /oidc/register and sends users to /authorize.
//
// # Use it whole
//
//	p, err := opkit.New(opkit.Config{
//		Issuer: "https://login.example.com",
//		Stores: memstore.New().Stores(),
//		Secret: secret, // at least 32 random bytes, the same after every start
//	})
//	if err != nil { ... }
//	go p.Run(ctx) // removes what has expired; New starts no goroutine
//	http.ListenAndServe(addr, p)
//
// # Use its parts
//
// Every endpoint is an http.Handler that can be mounted alone, under any path of
// any mux. Tell the provider where, and which are not mounted
// ([tenant.NotMounted]), so that its metadata stays true:
//
//	p, err := opkit.New(opkit.Config{
//		...
//		Endpoints: tenant.Endpoints{Token: "/auth/token", Registration: "/auth/register", ...},
//	})
//	mux.Handle("/auth/token", p.Token())
//	mux.Handle("/auth/register", p.Registration())
//
// For an issuer with a path (https://example.com/auth) mount [Provider] at that
// path, with or without http.StripPrefix, and [Provider.Metadata] also at
// /.well-known/oauth-authorization-server/auth and
// /.well-known/openid-configuration/auth, which lie outside of it (RFC 8414 §3).
//
// # Rooms
//
// This package only assembles: it turns a [Config] into one handler. The protocol
// lives in dcr (registration), authorize (what happens in the browser), token
// (what clients and APIs call with credentials), tenant (settings, keys,
// metadata, APIs) and connection (how users prove who they are). Package store
// declares what is persisted and the rules for doing so; storetest proves an
// implementation.
package opkit
