// Package tenant is the tenant: who it is (issuer, resolver), how it is set
// (settings, flags and their management API), what it signs with (keys, JWKS),
// what it says about itself (metadata) and which APIs it issues tokens for.
package tenant
