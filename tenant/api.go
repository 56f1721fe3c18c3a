package tenant

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
)

// Bounds of an API.
const (
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
		a.SigningAlgorithm = "ES256"
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
	if err := checkAPI(t, &a); err != nil {
		return store.API{}, fmt.Errorf("tenant: the API's %w", err)
	}
	if longest := d.cfg.Keys.Grace - jwksMaxAge; a.TokenLifetime > longest {
		return store.API{}, fmt.Errorf("tenant: the API's token lifetime is longer than %v: its tokens would outlive the key that verifies them (Config.Keys.Grace)", longest)
	}
	a.Version = 1
	a.CreatedAt = d.now()
	a.UpdatedAt = a.CreatedAt
	if err := d.cfg.Stores.APIs.CreateAPI(ctx, a); err != nil {
		return store.API{}, err
	}
	return a, nil
}

func checkAPI(t *Tenant, a *store.API) error {
	if err := checkAudience(t, a.Audience); err != nil {
		return err
	}
	if err := checkText(a.Name, maxText); err != nil {
		return fmt.Errorf("name %w", err)
	}
	if len(a.Scopes) > maxAPIScopes {
		return fmt.Errorf("scopes are more than %d", maxAPIScopes)
	}
	seen := map[string]bool{}
	for _, scope := range a.Scopes {
		switch parsed, err := oauth.ParseScope(scope.Value); {
		case err != nil || len(parsed) != 1 || parsed[0] != scope.Value:
			return fmt.Errorf("scope %q is not a scope value (RFC 6749 §3.3)", scope.Value)
		case len(scope.Value) > maxText:
			return fmt.Errorf("scope %q is longer than %d bytes", scope.Value, maxText)
		case oauth.Scope(oauth.StandardScopes).Has(scope.Value):
			// Consent to "email" would mean two things.
			return fmt.Errorf("scope %q is one of OpenID Connect", scope.Value)
		case seen[scope.Value]:
			return fmt.Errorf("scope %q appears twice", scope.Value)
		}
		if err := checkText(scope.Description, maxText); err != nil {
			return fmt.Errorf("description of scope %q %w", scope.Value, err)
		}
		seen[scope.Value] = true
	}
	switch {
	case !supported(a.SigningAlgorithm):
		return fmt.Errorf("signing algorithm %q is not one of %s", a.SigningAlgorithm, strings.Join(algorithms, ", "))
	case a.TokenLifetime < time.Second || a.TokenLifetime > maxTokenLifetime || a.TokenLifetime%time.Second != 0:
		return fmt.Errorf("token lifetime %v is not a number of seconds up to %v", a.TokenLifetime, maxTokenLifetime)
	case !validPolicy(a.UserPolicy):
		return fmt.Errorf("user policy %q is unknown", a.UserPolicy)
	case !validPolicy(a.ClientPolicy):
		return fmt.Errorf("client policy %q is unknown", a.ClientPolicy)
	}
	return nil
}

// checkAudience accepts any identifier that can be the value of the parameters
// audience and resource. What the provider itself answers to is taken: a token for
// such an API would open the provider's own endpoints.
func checkAudience(t *Tenant, audience string) error {
	if audience == "" || len(audience) > maxAudience {
		return fmt.Errorf("audience must have 1 to %d bytes", maxAudience)
	}
	for i := range len(audience) {
		if c := audience[i]; c <= ' ' || c > '~' || c == '"' || c == '\\' || c == '#' { // RFC 8707 §2: no fragment
			return errors.New("audience has a character that is not allowed")
		}
	}
	bare := strings.TrimSuffix(audience, "/")
	for _, own := range []string{t.base, t.managementAudience, t.userInfoAudience} {
		if bare == strings.TrimSuffix(own, "/") {
			return fmt.Errorf("audience %q belongs to the provider", audience)
		}
	}
	return nil
}

func validPolicy(policy string) bool {
	switch policy {
	case store.PolicyRequireClientGrant, store.PolicyAllowAll, store.PolicyDenyAll:
		return true
	}
	return false
}

// newID returns an identifier that nobody has: a prefix and 130 random bits.
func newID(prefix string) string { return prefix + strings.ToLower(rand.Text()) }
