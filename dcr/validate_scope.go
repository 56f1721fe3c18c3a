package dcr

import (
	"context"
	"slices"
	"strings"

	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
)

// defaultScope is what a client that registered no scope may ask for without
// naming an API.
var defaultScope = strings.Join(oauth.StandardScopes, " ")

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
	if len(narrowed) == 0 && len(unknown) > 0 {
		return invalid("scope", "scope has no value that exists here; leave it out, or use some of %s and the scopes of an API", defaultScope)
	}
	m.client.Scope = narrowed.String()
	return nil
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
