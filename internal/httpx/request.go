package httpx

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Allow reports whether the request has one of the methods and otherwise answers
// 405 with Allow.
func Allow(w http.ResponseWriter, r *http.Request, methods ...string) bool {
	if slices.Contains(methods, r.Method) {
		return true
	}
	w.Header().Set("Allow", strings.Join(methods, ", "))
	http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
	return false
}

// CORS lets scripts of any origin call next, without credentials: what is sent
// there is authenticated by the request itself, never by a cookie. It answers
// preflights. Errors carry the headers too. Pages must never be wrapped.
func CORS(next http.Handler, methods ...string) http.Handler {
	allowMethods := []string{strings.Join(append(slices.Clone(methods), http.MethodOptions), ", ")}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h["Access-Control-Allow-Origin"] = anyOrigin
		h["Access-Control-Expose-Headers"] = exposedHeaders
		if r.Method != http.MethodOptions {
			next.ServeHTTP(w, r)
			return
		}
		h["Access-Control-Allow-Methods"] = allowMethods
		h["Access-Control-Allow-Headers"] = allowedHeaders
		h["Access-Control-Max-Age"] = maxAge
		w.WriteHeader(http.StatusNoContent)
	})
}

var (
	anyOrigin      = []string{"*"}
	exposedHeaders = []string{"WWW-Authenticate, DPoP-Nonce, Retry-After, ETag, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset"}
	// The asterisk is for what SDKs and tracing add on their own: without credentials it
	// means every header but Authorization. The others are named for browsers that do
	// not know it.
	allowedHeaders = []string{"Authorization, Content-Type, Accept, Auth0-Client, MCP-Protocol-Version, DPoP, Cache-Control, X-Requested-With, If-Match, If-None-Match, *"}
	maxAge         = []string{"86400"}
)

// ClientAddress returns the address of the client. X-Forwarded-For counts only
// as far as it was written by proxies inside trusted: the rightmost address that
// is not one of them is the client, because everything left of it may be made up.
// The zero Addr means that it is not known.
func ClientAddress(r *http.Request, trusted []netip.Prefix) netip.Addr {
	addr := parseAddr(r.RemoteAddr)
	if !contains(trusted, addr) {
		return addr
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		next := parseAddr(strings.TrimSpace(hop))
		if !next.IsValid() {
			return addr
		}
		addr = next
		if !contains(trusted, addr) {
			return addr
		}
	}
	return addr
}

func parseAddr(s string) netip.Addr {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap().WithZone("")
	}
	a, err := netip.ParseAddr(strings.Trim(s, "[]"))
	if err != nil {
		return netip.Addr{}
	}
	return a.Unmap().WithZone("")
}

func contains(prefixes []netip.Prefix, a netip.Addr) bool {
	return a.IsValid() && slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
}
