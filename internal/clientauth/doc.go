// Package clientauth authenticates clients, in one function for every endpoint
// that needs it.
package clientauth
