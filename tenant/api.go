package tenant

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
)

// Bounds of an API.
const (
	defaultAPIAlgorithm  = "ES256"
	defaultTokenLifetime = time.Hour
	maxTokenLifetime     = 30 * 24 * time.Hour
	maxAPIScopes         = 1000
)

// managementAPIID is the identifier of the built-in API, which has no record.
const managementAPIID = "rs_management"

// managementScopes are what the built-in API knows.
var managementScopes = []store.APIScope{
	{Value: ScopeReadTenantSettings, Description: "Read the tenant's settings"},
	{Value: ScopeUpdateTenantSettings, Description: "Change the tenant's settings"},
	{Value: ScopeReadConnections, Description: "Read connections"},
	{Value: ScopeCreateConnections, Description: "Create connections"},
	{Value: ScopeUpdateConnections, Description: "Change connections"},
	{Value: ScopeDeleteConnections, Description: "Delete connections"},
	{Value: ScopeReadSigningKeys, Description: "Read signing keys"},
	{Value: ScopeCreateSigningKeys, Description: "Rotate signing keys"},
	{Value: ScopeUpdateSigningKeys, Description: "Revoke signing keys"},
	{Value: ScopeReadInitialAccessTokens, Description: "Read initial access tokens, by their identifier"},
	{Value: ScopeCreateInitialAccessTokens, Description: "Create initial access tokens"},
	{Value: ScopeDeleteInitialAccessTokens, Description: "Delete initial access tokens"},
	{Value: ScopeUpdateClientKeys, Description: "Replace client secrets"},
	{Value: ScopeReadClients, Description: "Read clients"},
	{Value: ScopeCreateClients, Description: "Create clients"},
	{Value: ScopeUpdateClients, Description: "Change clients"},
	{Value: ScopeDeleteClients, Description: "Delete clients"},
	{Value: ScopeReadUsers, Description: "Read users"},
	{Value: ScopeCreateUsers, Description: "Create users"},
	{Value: ScopeUpdateUsers, Description: "Change users, block them, set their passwords"},
	{Value: ScopeDeleteUsers, Description: "Delete users"},
	{Value: ScopeReadGrants, Description: "Read what users allowed to clients"},
	{Value: ScopeDeleteGrants, Description: "Revoke what users allowed to clients"},
	{Value: ScopeReadSessions, Description: "Read the sessions of users"},
	{Value: ScopeDeleteSessions, Description: "End the sessions of users"},
	{Value: ScopeReadRefreshTokens, Description: "Read which refresh tokens users' applications have"},
	{Value: ScopeDeleteRefreshTokens, Description: "Revoke refresh tokens"},
	{Value: ScopeReadLogs, Description: "Read the log of events"},
	{Value: ScopeReadResourceServers, Description: "Read APIs"},
	{Value: ScopeCreateResourceServers, Description: "Create APIs"},
	{Value: ScopeUpdateResourceServers, Description: "Change APIs"},
	{Value: ScopeDeleteResourceServers, Description: "Delete APIs"},
	{Value: ScopeReadClientGrants, Description: "Read client grants"},
	{Value: ScopeCreateClientGrants, Description: "Create client grants"},
	{Value: ScopeUpdateClientGrants, Description: "Change client grants"},
	{Value: ScopeDeleteClientGrants, Description: "Delete client grants"},
}

// API returns the API with that audience: the built-in management API or a stored
// one. An origin is found with its slash and without. store.ErrNotFound: there is
// none. The value's slices must not be modified.
func (d *Directory) API(ctx context.Context, t *Tenant, audience string) (store.API, error) {
	if audience == t.managementAudience {
		return store.API{
			TenantID: t.ID(), ID: managementAPIID, Audience: audience, Name: "Management API", Scopes: managementScopes,
			SigningAlgorithm: "ES256", TokenLifetime: defaultTokenLifetime,
			UserPolicy: store.PolicyDenyAll, ClientPolicy: store.PolicyRequireClientGrant, DisallowOfflineAccess: true,
		}, nil
	}
	api, err := d.cfg.Stores.APIs.APIByAudience(ctx, t.ID(), audience)
	if other, ok := oauth.OtherSpelling(audience); ok && errors.Is(err, store.ErrNotFound) {
		return d.cfg.Stores.APIs.APIByAudience(ctx, t.ID(), other)
	}
	return api, err
}

// CreateAPI stores an API. TenantID and Audience are required. The identifier is
// made if there is none; defaults are ES256, one hour, and access only through a
// [store.ClientGrant]. store.ErrExists: the identifier or the audience is taken.
func (d *Directory) CreateAPI(ctx context.Context, a store.API) (store.API, error) {
	t, err := d.Tenant(ctx, a.TenantID)
	if err != nil {
		return store.API{}, fmt.Errorf("tenant: the tenant of the API: %w", err)
	}
	a = a.Clone()
	if a.ID == "" {
		a.ID = newID("rs_")
	}
	if a.SigningAlgorithm == "" {
		a.SigningAlgorithm = defaultAPIAlgorithm
	}
	if a.TokenLifetime == 0 {
		a.TokenLifetime = defaultTokenLifetime
	}
	if a.UserPolicy == "" {
		a.UserPolicy = store.PolicyRequireClientGrant
	}
	if a.ClientPolicy == "" {
		a.ClientPolicy = store.PolicyRequireClientGrant
	}
	if err := d.checkAPI(t, &a); err != nil {
		return store.API{}, fmt.Errorf("tenant: the API: %w", err)
	}
	a.Version = 1
	a.CreatedAt = d.now()
	a.UpdatedAt = a.CreatedAt
	if err := d.cfg.Stores.APIs.CreateAPI(ctx, a); err != nil {
		return store.API{}, err
	}
	return a, nil
}

// UpdateAPI changes an API. change gets a copy, whose TenantID, ID and Audience it
// must leave alone; it may be called again if somebody else changes the API at the
// same time, and an error of it ends the update. Tokens that were issued keep the
// scopes and the lifetime that they have.
//
// The error is what change returned, one that names the member and the rule,
// store.ErrNotFound, store.ErrConflict if the API keeps changing, or a system error.
func (d *Directory) UpdateAPI(ctx context.Context, tenantID, id string, change func(*store.API) error) (store.API, error) {
	t, err := d.Tenant(ctx, tenantID)
	if err != nil {
		return store.API{}, fmt.Errorf("tenant: the tenant of the API: %w", err)
	}
	return swap(func() (store.API, error) { return d.cfg.Uncached.APIs.API(ctx, tenantID, id) }, func(a *store.API) error {
		before := a.Clone()
		*a = a.Clone()
		if err := change(a); err != nil {
			return err
		}
		if a.Audience != before.Audience {
			return &memberError{"identifier", "cannot be changed"}
		}
		a.TenantID, a.ID, a.Version, a.CreatedAt = before.TenantID, before.ID, before.Version, before.CreatedAt
		if err := d.checkAPI(t, a); err != nil {
			return err
		}
		a.UpdatedAt = d.now()
		if err := d.cfg.Stores.APIs.UpdateAPI(ctx, *a); err != nil {
			return err
		}
		a.Version++
		return nil
	})
}

// DeleteAPI removes an API and the client grants for it. Nothing gets a token for it
// any more, new or by a refresh token; tokens that are out stay valid until they
// expire, because its servers verify them by themselves. What users allowed is
// remembered, and counts again if an API with the same audience is created.
func (d *Directory) DeleteAPI(ctx context.Context, tenantID, id string) error {
	api, err := d.cfg.Stores.APIs.API(ctx, tenantID, id)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	// The grants first: if the process dies in between, the API is closed, and the
	// next call goes on.
	page := store.Page{}
	for {
		grants, err := d.cfg.Stores.ClientGrants.ClientGrants(ctx, tenantID, page)
		if err != nil {
			return err
		}
		for i := range grants {
			if grants[i].Audience != api.Audience {
				continue
			}
			if err := d.cfg.Stores.ClientGrants.DeleteClientGrant(ctx, tenantID, grants[i].ID); err != nil {
				return err
			}
		}
		if len(grants) < page.Size() {
			return d.cfg.Stores.APIs.DeleteAPI(ctx, tenantID, id)
		}
		page.After = grants[len(grants)-1].ID
	}
}

// swap runs an update by compare-and-swap: it reads, changes and writes again while
// others are faster. write gets the record that read returned.
func swap[T any](read func() (T, error), write func(*T) error) (T, error) {
	const attempts = 8
	var zero T
	for attempt := 1; ; attempt++ {
		record, err := read()
		if err != nil {
			return zero, err
		}
		err = write(&record)
		if err == nil {
			return record, nil
		}
		if !errors.Is(err, store.ErrConflict) || attempt == attempts {
			return zero, err
		}
	}
}

// checkAPI returns a [memberError], whose members are those of the management API.
func (d *Directory) checkAPI(t *Tenant, a *store.API) error {
	invalid := func(member, format string, args ...any) error {
		return &memberError{member, fmt.Sprintf(format, args...)}
	}
	if err := checkAudience(t, a.Audience); err != nil {
		return err
	}
	if err := checkText(a.Name, maxText); err != nil {
		return invalid("name", "%v", err)
	}
	if err := checkScopes(a.Scopes); err != nil {
		return err
	}
	longest := min(maxTokenLifetime, d.cfg.Keys.Grace-jwksMaxAge)
	if err := checkAlgorithm(a.SigningAlgorithm); err != nil {
		return err
	}
	if a.TokenLifetime < time.Second || a.TokenLifetime > longest || a.TokenLifetime%time.Second != 0 {
		// Longer than Config.Keys.Grace they would outlive the key that verifies them.
		return invalid("token_lifetime", "must be a number of seconds from 1 to %d", int64(longest/time.Second))
	}
	return checkPolicies(a)
}

func checkAlgorithm(algorithm string) error {
	if !supported(algorithm) {
		return &memberError{"signing_alg", "must be one of " + strings.Join(algorithms, ", ")}
	}
	return nil
}

func checkPolicies(a *store.API) error {
	policies := []string{store.PolicyRequireClientGrant, store.PolicyAllowAll, store.PolicyDenyAll}
	for _, policy := range []struct{ subject, value string }{{"user", a.UserPolicy}, {"client", a.ClientPolicy}} {
		if !slices.Contains(policies, policy.value) {
			return &memberError{"subject_type_authorization." + policy.subject + ".policy", "must be one of " + strings.Join(policies, ", ")}
		}
	}
	return nil
}

func checkScopes(scopes []store.APIScope) error {
	invalid := func(format string, args ...any) error {
		return &memberError{"scopes", fmt.Sprintf(format, args...)}
	}
	if len(scopes) > maxAPIScopes {
		return invalid("must have at most %d elements", maxAPIScopes)
	}
	seen := map[string]bool{}
	for _, scope := range scopes {
		switch parsed, err := oauth.ParseScope(scope.Value); {
		case err != nil || len(parsed) != 1 || parsed[0] != scope.Value:
			return invalid("must hold scope values (RFC 6749 §3.3), which %q is not", scope.Value)
		case len(scope.Value) > maxText:
			return invalid("must hold values of at most %d bytes", maxText)
		case oauth.Scope(oauth.StandardScopes).Has(scope.Value):
			// Consent to "email" would mean two things.
			return invalid("must not hold scopes of OpenID Connect, of which %q is one", scope.Value)
		case seen[scope.Value]:
			return invalid("must not hold %q twice", scope.Value)
		}
		if err := checkText(scope.Description, maxText); err != nil {
			return invalid("description of %q %v", scope.Value, err)
		}
		seen[scope.Value] = true
	}
	return nil
}

// checkAudience accepts any identifier that can be the value of the parameters
// audience and resource. What the provider itself answers to is taken: a token for
// such an API would open the provider's own endpoints.
func checkAudience(t *Tenant, audience string) error {
	if audience == "" || len(audience) > maxAudience {
		return &memberError{"identifier", fmt.Sprintf("must have 1 to %d bytes", maxAudience)}
	}
	for i := range len(audience) {
		if c := audience[i]; c <= ' ' || c > '~' || c == '"' || c == '\\' || c == '#' { // RFC 8707 §2: no fragment
			return &memberError{"identifier", "has a character that is not allowed"}
		}
	}
	bare := strings.TrimSuffix(audience, "/")
	for _, own := range []string{t.base, t.managementAudience, t.userInfoAudience} {
		if bare == strings.TrimSuffix(own, "/") {
			return &memberError{"identifier", "belongs to the provider"}
		}
	}
	return nil
}

// newID returns an identifier that nobody has: a prefix and 130 random bits.
func newID(prefix string) string { return prefix + strings.ToLower(rand.Text()) }
