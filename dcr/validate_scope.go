package dcr

import (
	"context"
	"slices"
	"strings"

	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// standardScope is what every client may ask for without naming an API.
var standardScope = strings.Join(oauth.StandardScopes, " ")

// checkScope narrows scope to the values that exist: the standard ones and those
// of the tenant's APIs. A client that registers none is not limited.
//
// A strict client that registered itself with one scope of an API may ask for the
// others that it is allowed, too (RFC 7591 §3.2.1): clients name what they need first,
// and step up to more when a resource asks for it. What they get is decided by client
// grants and by the user, not by what they said of themselves. What an administrator says
// is meant as a limit.
func (r *Registrar) checkScope(ctx context.Context, m *metadata) error {
	if m.client.Scope == "" {
		return nil
	}
	requested, err := oauth.ParseScope(m.client.Scope)
	if err != nil {
		return invalid("scope", "%s", oauth.AsError(err).Description)
	}
	var unknown oauth.Scope
	for _, value := range requested {
		if !slices.Contains(oauth.StandardScopes, value) {
			unknown = append(unknown, value)
		}
	}
	var named []store.API
	if len(unknown) > 0 {
		if unknown, named, err = r.withoutScopesOfAPIs(ctx, m.client.TenantID, unknown); err != nil {
			return err
		}
	}
	narrowed := slices.DeleteFunc(requested, unknown.Has)
	// A stranger's client that guessed, or read a resource's metadata, is registered
	// as if it had named none; whoever sets a client up by hand wants to know.
	if len(narrowed) == 0 && len(unknown) > 0 && !m.stranger {
		return invalid("scope", "scope has no value that exists here; leave it out, or use some of %s and the scopes of an API", standardScope)
	}
	if m.stranger && m.restricted() {
		if narrowed, err = r.withAllowed(ctx, &m.client, narrowed, named); err != nil {
			return err
		}
	}
	if len(unknown) > 0 {
		m.narrow("scope: %s does not exist here", quote(unknown.String()))
	}
	m.client.Scope = narrowed.String()
	return nil
}

// withAllowed adds to scope what a client may ask for of the APIs.
func (r *Registrar) withAllowed(ctx context.Context, c *store.Client, scope oauth.Scope, apis []store.API) (oauth.Scope, error) {
	if len(apis) == 0 {
		return scope, nil
	}
	t, err := r.cfg.Tenants.Tenant(ctx, c.TenantID)
	if err != nil {
		return nil, err
	}
	for i := range apis {
		allowed, err := r.cfg.Tenants.AllowedScopes(ctx, t, &apis[i], c, store.SubjectUser)
		if err != nil && oauth.Internal(err) {
			return nil, err
		}
		if err == nil {
			scope = scope.Union(allowed)
		}
	}
	return scope, nil
}

// scopeOf returns what the response says of the client's scope: what was stored
// or, since a client that registered none is not limited, all that it may ask for
// now.
func (r *Registrar) scopeOf(ctx context.Context, t *tenant.Tenant, c *store.Client) (string, error) {
	if c.Scope != "" {
		return c.Scope, nil
	}
	scope := oauth.Scope(oauth.StandardScopes)
	page := store.Page{Limit: store.MaxPageLimit}
	for {
		apis, err := r.cfg.Stores.APIs.APIs(ctx, t.ID(), page)
		if err != nil {
			return "", err
		}
		for i := range apis {
			if apis[i].Audience == t.ManagementAudience() {
				continue // nobody may ask for it on behalf of users
			}
			allowed, err := r.cfg.Tenants.AllowedScopes(ctx, t, &apis[i], c, store.SubjectUser)
			if err != nil && oauth.Internal(err) {
				return "", err
			}
			if err == nil {
				scope = scope.Union(allowed)
			}
		}
		if len(apis) < page.Size() {
			return scope.String(), nil
		}
		page.After = apis[len(apis)-1].ID
	}
}

// withoutScopesOfAPIs returns the values that no API of the tenant has, and the APIs
// that have some of them.
func (r *Registrar) withoutScopesOfAPIs(ctx context.Context, tenant string, values oauth.Scope) (unknown oauth.Scope, named []store.API, err error) {
	page := store.Page{Limit: store.MaxPageLimit}
	for {
		list, err := r.cfg.Stores.APIs.APIs(ctx, tenant, page)
		if err != nil {
			return nil, nil, err
		}
		for i := range list {
			before := len(named)
			for _, scope := range list[i].Scopes {
				if values.Has(scope.Value) && len(named) == before {
					named = append(named, list[i])
				}
			}
		}
		if len(list) < page.Size() {
			break
		}
		page.After = list[len(list)-1].ID
	}
	unknown = slices.DeleteFunc(slices.Clone(values), func(value string) bool {
		return slices.ContainsFunc(named, func(a store.API) bool {
			return slices.ContainsFunc(a.Scopes, func(s store.APIScope) bool { return s.Value == value })
		})
	})
	return unknown, named, nil
}
