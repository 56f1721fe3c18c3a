package tenant

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
)

// CreateClientGrant stores a client grant. TenantID, ClientID (of an existing
// client, or [store.DefaultForThirdParty]), Audience (of an existing API or of
// the management API) and SubjectType are required, and the API must have every
// scope. store.ErrExists: the client has one for that audience and subject type.
//
// Refused is what [Directory.AllowedScopes] would never honour: machine access
// for strict third-party clients or for all third-party clients at once, and the
// management API for anything but a first-party client itself.
func (d *Directory) CreateClientGrant(ctx context.Context, g store.ClientGrant) (store.ClientGrant, error) {
	t, err := d.Tenant(ctx, g.TenantID)
	if err != nil {
		return store.ClientGrant{}, fmt.Errorf("tenant: the tenant of the client grant: %w", err)
	}
	if g.SubjectType != store.SubjectUser && g.SubjectType != store.SubjectClient {
		return store.ClientGrant{}, fmt.Errorf("tenant: the client grant's subject type %q is neither %q nor %q", g.SubjectType, store.SubjectUser, store.SubjectClient)
	}
	api, err := d.API(ctx, t, g.Audience)
	if err != nil {
		return store.ClientGrant{}, fmt.Errorf("tenant: the client grant's API %q: %w", g.Audience, err)
	}
	client := store.Client{} // what the default is for: third party, strict
	if g.ClientID != store.DefaultForThirdParty {
		if client, err = d.cfg.Stores.Clients.Client(ctx, t.ID(), g.ClientID); err != nil {
			return store.ClientGrant{}, fmt.Errorf("tenant: the client grant's client %q: %w", g.ClientID, err)
		}
	}
	if err := denied(t, &api, &client, g.SubjectType); err != nil {
		return store.ClientGrant{}, fmt.Errorf("tenant: the client grant: %w", err)
	}
	g = g.Clone()
	for i, scope := range g.Scopes {
		if !slices.ContainsFunc(api.Scopes, func(s store.APIScope) bool { return s.Value == scope }) {
			return store.ClientGrant{}, fmt.Errorf("tenant: the client grant's scope %q is not one of the API %q", scope, api.Audience)
		}
		if slices.Contains(g.Scopes[:i], scope) {
			return store.ClientGrant{}, fmt.Errorf("tenant: the client grant's scope %q appears twice", scope)
		}
	}
	if g.ID == "" {
		g.ID = newID("cgr_")
	}
	g.Version = 1
	g.CreatedAt = d.now()
	g.UpdatedAt = g.CreatedAt
	if err := d.cfg.Stores.ClientGrants.CreateClientGrant(ctx, g); err != nil {
		return store.ClientGrant{}, err
	}
	return g, nil
}

// AllowedScopes returns which of an API's scopes a client may ask for, on behalf
// of a user (store.SubjectUser) or for itself (store.SubjectClient).
//
//   - The management API is for first-party clients themselves, through a grant.
//   - A strict third-party client needs a grant, its own or the default for third
//     parties, and acts for users only.
//   - For every other client the API's policy counts. Where it asks for a grant,
//     the default serves permissive third-party clients as well.
//
// A client's own grant replaces the default, so that it can be narrower. Scopes
// that the API no longer has are left out. The error is unauthorized_client if
// the client may not use the API at all, or a system error.
func (d *Directory) AllowedScopes(ctx context.Context, t *Tenant, api *store.API, client *store.Client, subjectType string) ([]string, error) {
	if err := denied(t, api, client, subjectType); err != nil {
		return nil, err
	}
	policy := api.UserPolicy
	if subjectType == store.SubjectClient {
		policy = api.ClientPolicy
	}
	if client.Strict() && policy != store.PolicyDenyAll {
		policy = store.PolicyRequireClientGrant
	}
	switch policy {
	case store.PolicyAllowAll:
		scopes := make([]string, len(api.Scopes))
		for i, scope := range api.Scopes {
			scopes[i] = scope.Value
		}
		return scopes, nil
	case store.PolicyRequireClientGrant, "":
	default: // also a policy that this version does not know
		return nil, oauth.Errorf(oauth.CodeUnauthorizedClient, "the API %s is closed to clients of this kind", api.Audience)
	}
	grant, err := d.findGrant(ctx, client, t.ID(), api.Audience, subjectType)
	if errors.Is(err, store.ErrNotFound) {
		return nil, oauth.Errorf(oauth.CodeUnauthorizedClient, "the client has no client grant for the API %s", api.Audience)
	}
	if err != nil {
		return nil, err
	}
	scopes := make([]string, 0, len(grant.Scopes))
	for _, scope := range api.Scopes {
		if slices.Contains(grant.Scopes, scope.Value) {
			scopes = append(scopes, scope.Value)
		}
	}
	return scopes, nil
}

// denied returns unauthorized_client where no grant and no policy could help.
func denied(t *Tenant, api *store.API, client *store.Client, subjectType string) error {
	management := api.Audience == t.managementAudience
	switch {
	case subjectType != store.SubjectUser && subjectType != store.SubjectClient:
		return fmt.Errorf("tenant: no subject type %q", subjectType)
	case management && !client.FirstParty:
		return oauth.Errorf(oauth.CodeUnauthorizedClient, "the management API is not available to third-party clients")
	case management && subjectType != store.SubjectClient:
		return oauth.Errorf(oauth.CodeUnauthorizedClient, "the management API is not available on behalf of users")
	case client.Strict() && subjectType == store.SubjectClient:
		return oauth.Errorf(oauth.CodeUnauthorizedClient, "third-party clients in strict mode act on behalf of users only")
	}
	return nil
}

// findGrant returns the client's own grant or, for a third-party client that acts
// for a user, the default.
func (d *Directory) findGrant(ctx context.Context, client *store.Client, tenant, audience, subjectType string) (store.ClientGrant, error) {
	grant, err := d.cfg.Stores.ClientGrants.FindClientGrant(ctx, tenant, client.ID, audience, subjectType)
	if errors.Is(err, store.ErrNotFound) && !client.FirstParty && subjectType == store.SubjectUser {
		return d.cfg.Stores.ClientGrants.FindClientGrant(ctx, tenant, store.DefaultForThirdParty, audience, subjectType)
	}
	return grant, err
}
