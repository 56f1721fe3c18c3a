package httpx

import (
	"context"
	"net/netip"
)

type requesterKey struct{}

// WithRequester notes from which address a request came that may make the provider
// send one of its own: how often it does is limited by address. The zero Addr means
// that it is not known.
func WithRequester(ctx context.Context, addr netip.Addr) context.Context {
	return context.WithValue(ctx, requesterKey{}, addr)
}

// Requester returns what [WithRequester] noted, else the zero Addr.
func Requester(ctx context.Context) netip.Addr {
	addr, _ := ctx.Value(requesterKey{}).(netip.Addr)
	return addr
}
