// Package dcr is dynamic client registration: RFC 7591 and OpenID Connect
// Dynamic Client Registration 1.0.
package dcr
