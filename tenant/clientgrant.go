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
	g = g.Clone()
	if err := d.checkClientGrant(ctx, t, &g); err != nil {
		return store.ClientGrant{}, fmt.Errorf("tenant: the client grant: %w", err)
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

// UpdateClientGrant changes the scopes of a client grant; whatever else change
// touches stays as it was. It may be called again if somebody else changes the grant
// at the same time, and an error of it ends the update. Tokens that were issued keep
// their scopes; those of the management API, and refresh tokens, lose what the grant
// lost at once.
//
// The error is what change returned, one that names the member and the rule,
// store.ErrNotFound, store.ErrConflict if the grant keeps changing, or a system error.
func (d *Directory) UpdateClientGrant(ctx context.Context, tenantID, id string, change func(*store.ClientGrant) error) (store.ClientGrant, error) {
	t, err := d.Tenant(ctx, tenantID)
	if err != nil {
		return store.ClientGrant{}, fmt.Errorf("tenant: the tenant of the client grant: %w", err)
	}
	return swap(func() (store.ClientGrant, error) { return d.cfg.Stores.ClientGrants.ClientGrant(ctx, tenantID, id) }, func(g *store.ClientGrant) error {
		changed := g.Clone()
		if err := change(&changed); err != nil {
			return err
		}
		g.Scopes = changed.Scopes
		if err := d.checkClientGrant(ctx, t, g); err != nil {
			return err
		}
		g.UpdatedAt = d.now()
		if err := d.cfg.Stores.ClientGrants.UpdateClientGrant(ctx, *g); err != nil {
			return err
		}
		g.Version++
		return nil
	})
}

// checkClientGrant returns a [memberError] for what an administrator can mend.
func (d *Directory) checkClientGrant(ctx context.Context, t *Tenant, g *store.ClientGrant) error {
	if g.SubjectType != store.SubjectUser && g.SubjectType != store.SubjectClient {
		return &memberError{"subject_type", fmt.Sprintf("must be %q or %q", store.SubjectUser, store.SubjectClient)}
	}
	api, err := d.API(ctx, t, g.Audience)
	if errors.Is(err, store.ErrNotFound) {
		return &memberError{"audience", "must be the identifier of a resource server"}
	}
	if err != nil {
		return err
	}
	client := store.Client{} // what the default is for: third party, strict
	if g.ClientID != store.DefaultForThirdParty {
		client, err = d.cfg.Stores.Clients.Client(ctx, t.ID(), g.ClientID)
		if errors.Is(err, store.ErrNotFound) {
			return &memberError{"client_id", "must be the identifier of a client"}
		}
		if err != nil {
			return err
		}
	}
	if refused, ok := errors.AsType[*oauth.Error](denied(t, &api, &client, g.SubjectType)); ok {
		return &memberError{"audience", "cannot be granted: " + refused.Description}
	}
	for i, scope := range g.Scopes {
		if !slices.ContainsFunc(api.Scopes, func(s store.APIScope) bool { return s.Value == scope }) {
			return &memberError{"scope", fmt.Sprintf("must hold scopes of the resource server: element %d is not one", i)}
		}
		if slices.Contains(g.Scopes[:i], scope) {
			return &memberError{"scope", fmt.Sprintf("must not hold a scope twice, as element %d does", i)}
		}
	}
	return nil
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
