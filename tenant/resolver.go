package tenant

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/opkit/opkit/store"
)

// Resolver finds the tenant that a request is for.
type Resolver interface {
	// Resolve returns the tenant's identifier and the path below its issuer, which
	// for the inserted form of a well-known path (RFC 8414 §3) is the appended
	// form. store.ErrNotFound: the request is for no tenant. Whether the tenant
	// exists is not the resolver's business.
	Resolve(r *http.Request) (id, path string, err error)
}

// Single returns the resolver for one tenant. Its issuer may have a path; the
// handlers may be mounted there with or without http.StripPrefix.
func Single(id, issuer string) Resolver {
	s := single{id: id}
	if u, err := url.Parse(issuer); err == nil {
		s.prefix = strings.TrimSuffix(u.Path, "/")
	}
	return s
}

type single struct{ id, prefix string }

func (s single) Resolve(r *http.Request) (string, string, error) {
	return s.id, below(r, s.prefix), nil
}

// ByHost returns the resolver for one tenant per host. tenantOf gets the host of
// the request in lower case without its port and returns the tenant's identifier,
// or store.ErrNotFound. Forwarding headers are not looked at: a proxy in front
// has to pass Host on.
//
// A tenant is served only at the host of its own issuer, whatever tenantOf says.
// Issuers have no path.
func ByHost(tenantOf func(ctx context.Context, host string) (string, error)) Resolver {
	return byHost{tenantOf}
}

type byHost struct {
	tenantOf func(ctx context.Context, host string) (string, error)
}

func (b byHost) Resolve(r *http.Request) (string, string, error) {
	host, _, ok := splitHost(r.Host)
	if !ok {
		return "", "", store.ErrNotFound
	}
	id, err := b.tenantOf(r.Context(), host)
	if err != nil {
		return "", "", err
	}
	if !validID(id) {
		return "", "", store.ErrNotFound
	}
	return id, r.URL.Path, nil
}

// ByPath returns the resolver for issuers https://host/prefix/{tenant}. The prefix
// is what the handler sees: empty behind http.StripPrefix. A handler that is
// mounted bare under a pattern with the wildcard {tenant} takes that.
func ByPath(prefix string) Resolver {
	prefix = strings.Trim(prefix, "/")
	if prefix != "" {
		prefix = "/" + prefix
	}
	return byPath{prefix + "/"}
}

type byPath struct{ prefix string } // with its final slash

func (b byPath) Resolve(r *http.Request) (string, string, error) {
	if id := r.PathValue("tenant"); id != "" {
		// Routers differ in how they unescape a wildcard; the alphabet settles it.
		if !validID(id) {
			return "", "", store.ErrNotFound
		}
		return id, below(r, b.prefix+id), nil
	}
	path := r.URL.Path
	if document, rest := wellKnown(path); document != "" && rest != "" {
		id, ok := strings.CutPrefix(strings.TrimSuffix(rest, "/"), b.prefix)
		if !ok || !validID(id) {
			return "", "", store.ErrNotFound
		}
		return id, document, nil
	}
	rest, ok := strings.CutPrefix(path, b.prefix)
	if !ok {
		return "", "", store.ErrNotFound
	}
	id, _, _ := strings.Cut(rest, "/")
	if !validID(id) || escaped(r.URL, b.prefix+id) {
		return "", "", store.ErrNotFound
	}
	if path = rest[len(id):]; path == "" {
		path = "/"
	}
	return id, path, nil
}

// escaped reports whether the path reaches prefix only after unescaping: the
// slash after a tenant in /t/a%2Fb is not one.
func escaped(u *url.URL, prefix string) bool {
	if u.RawPath == "" {
		return false
	}
	_, ok := cutSegments(u.RawPath, prefix)
	return !ok
}

// below returns the path of a request below an issuer whose path is prefix.
func below(r *http.Request, prefix string) string {
	path := r.URL.Path
	if prefix == "" {
		return path
	}
	if document, rest := wellKnown(path); document != "" && strings.TrimSuffix(rest, "/") == prefix {
		return document
	}
	if stripped(r, prefix) {
		return path
	}
	if rest, ok := cutSegments(path, prefix); ok {
		return rest
	}
	return path
}

// stripped reports whether somebody has removed prefix from the request's path
// already. Without looking, an issuer at /api would lose the first segment of its
// own /api/v2.
func stripped(r *http.Request, prefix string) bool {
	original, _, _ := strings.Cut(r.RequestURI, "?")
	rest, ok := strings.CutPrefix(original, prefix)
	return ok && rest == r.URL.EscapedPath()
}

// cutSegments removes whole segments from the beginning of path.
func cutSegments(path, prefix string) (string, bool) {
	rest, ok := strings.CutPrefix(path, prefix)
	switch {
	case !ok:
		return "", false
	case rest == "":
		return "/", true
	case rest[0] != '/':
		return "", false
	}
	return rest, true
}

// The well-known paths of RFC 8414 and OpenID Connect Discovery.
var wellKnownPaths = [...]string{"/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"}

// wellKnown splits the path of a metadata document into its well-known path and
// what was inserted after it.
func wellKnown(path string) (document, rest string) {
	for _, document := range wellKnownPaths {
		if rest, ok := strings.CutPrefix(path, document); ok && (rest == "" || rest[0] == '/') {
			return document, rest
		}
	}
	return "", ""
}
