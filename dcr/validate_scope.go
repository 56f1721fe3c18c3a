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
func (m *metadata) checkScope(ctx context.Context, apis store.APIStore, tenant string) error {
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
	if len(unknown) > 0 {
		if unknown, err = withoutScopesOfAPIs(ctx, apis, tenant, unknown); err != nil {
			return err
		}
	}
	narrowed := slices.DeleteFunc(requested, unknown.Has)
	// A stranger's client that guessed, or read a resource's metadata, is registered
	// as if it had named none; whoever sets a client up by hand wants to know.
	if len(narrowed) == 0 && len(unknown) > 0 && !m.client.Dynamic {
		return invalid("scope", "scope has no value that exists here; leave it out, or use some of %s and the scopes of an API", standardScope)
	}
	m.client.Scope = narrowed.String()
	return nil
}

// scopeOf returns what the response says of the client's scope: what was stored
// or, since a client that registered none is not limited, all that it may ask for
// now.
func (r *Registrar) scopeOf(ctx context.Context, t *tenant.Tenant, c *store.Client) (string, error) {
	if c.Scope != "" {
		return c.Scope, nil
	}
	apis, err := r.cfg.Stores.APIs.APIs(ctx, t.ID(), store.Page{})
	if err != nil {
		return "", err
	}
	scope := oauth.Scope(oauth.StandardScopes)
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
	return scope.String(), nil
}

// withoutScopesOfAPIs returns the values that no API of the tenant has.
func withoutScopesOfAPIs(ctx context.Context, apis store.APIStore, tenant string, values oauth.Scope) (oauth.Scope, error) {
	page := store.Page{Limit: store.MaxPageLimit}
	for len(values) > 0 {
		list, err := apis.APIs(ctx, tenant, page)
		if err != nil {
			return nil, err
		}
		for i := range list {
			for _, scope := range list[i].Scopes {
				values = slices.DeleteFunc(values, func(v string) bool { return v == scope.Value })
			}
		}
		if len(list) < page.Size() {
			break
		}
		page.After = list[len(list)-1].ID
	}
	return values, nil
}
