// Package oauth holds the vocabulary that every protocol room shares: errors and
// how they are written, request parameters, redirect URI rules, scopes, response
// types and PKCE. It knows no store, no tenant and no client.
package oauth
