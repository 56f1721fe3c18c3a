package tenant

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/opkit/opkit/internal/management"
	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
)

// Scopes of the management API.
const (
	ScopeReadTenantSettings   = "read:tenant_settings"
	ScopeUpdateTenantSettings = "update:tenant_settings"
	ScopeReadConnections      = "read:connections"
	ScopeCreateConnections    = "create:connections"
	ScopeUpdateConnections    = "update:connections"
	ScopeDeleteConnections    = "delete:connections"
	ScopeReadSigningKeys      = "read:signing_keys"
	ScopeCreateSigningKeys    = "create:signing_keys"
	ScopeUpdateSigningKeys    = "update:signing_keys"

	ScopeReadInitialAccessTokens   = "read:initial_access_tokens"
	ScopeCreateInitialAccessTokens = "create:initial_access_tokens"
	ScopeDeleteInitialAccessTokens = "delete:initial_access_tokens"

	ScopeUpdateClientKeys = "update:client_keys"

	ScopeReadClients   = "read:clients"
	ScopeCreateClients = "create:clients"
	ScopeUpdateClients = "update:clients"
	ScopeDeleteClients = "delete:clients"

	ScopeReadUsers   = "read:users"
	ScopeCreateUsers = "create:users"
	ScopeUpdateUsers = "update:users"
	ScopeDeleteUsers = "delete:users"

	ScopeReadGrants   = "read:grants"
	ScopeDeleteGrants = "delete:grants"

	ScopeReadSessions   = "read:sessions"
	ScopeDeleteSessions = "delete:sessions"

	ScopeReadRefreshTokens   = "read:refresh_tokens"
	ScopeDeleteRefreshTokens = "delete:refresh_tokens"

	ScopeReadLogs = "read:logs"

	ScopeReadResourceServers   = "read:resource_servers"
	ScopeCreateResourceServers = "create:resource_servers"
	ScopeUpdateResourceServers = "update:resource_servers"
	ScopeDeleteResourceServers = "delete:resource_servers"

	ScopeReadClientGrants   = "read:client_grants"
	ScopeCreateClientGrants = "create:client_grants"
	ScopeUpdateClientGrants = "update:client_grants"
	ScopeDeleteClientGrants = "delete:client_grants"
)

// managementClaims are the claims of an access token (RFC 9068 §2.2) that the
// guard looks at.
type managementClaims struct {
	Issuer   string   `json:"iss"`
	Audience audience `json:"aud"`
	Subject  string   `json:"sub"`
	ClientID string   `json:"client_id"`
	Scope    string   `json:"scope"`
	Expires  int64    `json:"exp"`
}

// audience is a string or an array of strings (RFC 7519 §4.1.3).
type audience []string

func (a *audience) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*a = audience{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(a))
}

// verifyManagement checks the token of a request to the management API.
func (d *Directory) verifyManagement(r *http.Request, token string) (management.Caller, error) {
	t, err := d.FromRequest(r)
	if errors.Is(err, store.ErrNotFound) {
		return management.Caller{}, management.Errorf(http.StatusNotFound, "", "There is no tenant at this address.")
	}
	if err != nil {
		return management.Caller{}, err
	}
	payload, err := d.Verify(r.Context(), t, typATJWT, token)
	if errors.Is(err, ErrInvalidToken) {
		return management.Caller{}, management.InvalidToken(err)
	}
	if err != nil {
		return management.Caller{}, err
	}
	var claims managementClaims
	if err := json.Unmarshal(payload, &claims); err != nil {
		return management.Caller{}, management.InvalidToken(err)
	}
	var broken string
	switch {
	case claims.Issuer != t.Issuer():
		broken = "iss is not this tenant's issuer"
	case !slices.Contains(claims.Audience, t.ManagementAudience()):
		broken = "aud is not the management API"
	case claims.Expires <= d.now().Unix():
		broken = "it has expired"
	case claims.ClientID == "" || claims.Subject != claims.ClientID+"@clients":
		// What API answers for this audience never lets a user's token come to be.
		broken = "it was not issued to a client for itself"
	}
	if broken != "" {
		return management.Caller{}, management.InvalidToken(errors.New(broken))
	}
	scopes, err := d.stillAllowed(r.Context(), t, claims.ClientID, strings.Fields(claims.Scope))
	if err != nil {
		return management.Caller{}, err
	}
	return management.Caller{TenantID: t.ID(), ClientID: claims.ClientID, Subject: claims.Subject, Scopes: scopes}, nil
}

// stillAllowed returns which of a token's scopes its client may have now: a client
// that was deleted, or whose grant was, has lost them at once. With a warm cache
// this reads no store.
func (d *Directory) stillAllowed(ctx context.Context, t *Tenant, clientID string, scopes []string) ([]string, error) {
	client, err := d.cfg.Stores.Clients.Client(ctx, t.ID(), clientID)
	if errors.Is(err, store.ErrNotFound) {
		return nil, management.InvalidToken(errors.New("its client is gone"))
	}
	if err != nil {
		return nil, err
	}
	api, err := d.API(ctx, t, t.ManagementAudience())
	if err != nil {
		return nil, err
	}
	allowed, err := d.AllowedScopes(ctx, t, &api, &client, store.SubjectClient)
	if err != nil && !oauth.Internal(err) {
		return nil, management.InvalidToken(errors.New("its client has no grant any more"))
	}
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(scopes, func(s string) bool { return !slices.Contains(allowed, s) }), nil
}
