package token

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/opkit/opkit/audit"
	"github.com/opkit/opkit/internal/httpx"
	"github.com/opkit/opkit/internal/management"
	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// RefreshTokensManagement serves one chain of refresh tokens to administrators:
//
//	GET    /api/v2/refresh-tokens/{id}   read:refresh_tokens    200
//	DELETE /api/v2/refresh-tokens/{id}   delete:refresh_tokens  204  also if there is none
//
// A chain begins when a code is redeemed and is one record however often the token is
// rotated; its identifier says nothing about the token. When it is revoked the opaque
// access tokens of the chain go with it; JWTs that an API verifies by itself live until
// they expire.
//
// The handler may be mounted under any path that ends in the wildcard {id} or, without
// wildcards, where the last segment is the identifier.
func (i *Issuer) RefreshTokensManagement() http.Handler {
	guard := i.tenants.Guard()
	return management.Methods{
		http.MethodGet: guard.Require(tenant.ScopeReadRefreshTokens, i.getRefreshToken).Describe(management.Doc{
			Summary: "Read a chain of refresh tokens",
			Answer:  management.Object("RefreshToken", refreshTokenView{}), Errors: []int{404},
		}),
		http.MethodDelete: guard.Require(tenant.ScopeDeleteRefreshTokens, i.deleteRefreshToken).Describe(management.Doc{
			Summary: "Revoke a chain of refresh tokens", Status: http.StatusNoContent,
		}),
	}
}

// UserRefreshTokensManagement serves those of a user:
//
//	GET    /api/v2/users/{id}/refresh-tokens   read:refresh_tokens    200
//	DELETE /api/v2/users/{id}/refresh-tokens   delete:refresh_tokens  202  and their access tokens
//
// The list needs store.Stores.FamilyLister; without it the answer is 501.
//
// The handler may be mounted under any path with the wildcard {id} or, without
// wildcards, where the identifier is the last segment but one.
func (i *Issuer) UserRefreshTokensManagement() http.Handler {
	guard := i.tenants.Guard()
	return management.Methods{
		http.MethodGet: guard.Require(tenant.ScopeReadRefreshTokens, i.listRefreshTokens).Describe(management.Doc{
			Summary: "List the refresh tokens of a user",
			Answer:  management.ByCheckpoint("tokens", "RefreshToken", refreshTokenView{}), Errors: []int{501},
		}),
		http.MethodDelete: guard.Require(tenant.ScopeDeleteRefreshTokens, i.deleteRefreshTokens).Describe(management.Doc{
			Summary: "Revoke the refresh tokens of a user", Status: http.StatusAccepted,
		}),
	}
}

const refreshTokenCollection = "refresh-tokens"

// refreshTokenView is a chain of refresh tokens on the wire. The token itself is not in
// it, and cannot be made of it.
type refreshTokenView struct {
	ID        string    `json:"id"`
	UserID    string    `json:"user_id"`
	ClientID  string    `json:"client_id"`
	CreatedAt time.Time `json:"created_at"`
	// IdleExpiresAt is when the chain ends unless it is used, ExpiresAt when it ends in
	// any case, as lifetimes are now.
	IdleExpiresAt   time.Time            `json:"idle_expires_at"`
	ExpiresAt       time.Time            `json:"expires_at,omitzero"`
	LastExchangedAt time.Time            `json:"last_exchanged_at,omitzero"`
	SessionID       string               `json:"session_id,omitempty"`
	Rotating        bool                 `json:"rotating"`
	ResourceServers []refreshTokenTarget `json:"resource_servers"`
}

// refreshTokenTarget is what a chain is good for: what the user allowed, at most.
type refreshTokenTarget struct {
	Audience string `json:"audience"`
	Scopes   string `json:"scopes"`
}

// refreshing reports whether a family has refresh tokens. Of one from before Offline was
// kept it is known once the first was used.
func refreshing(f *store.Family) bool { return f.Offline || f.Generation > 0 }

func (i *Issuer) viewRefreshToken(f *store.Family, grant *store.Grant) refreshTokenView {
	v := refreshTokenView{
		ID: f.ID, UserID: f.UserID, ClientID: f.ClientID, CreatedAt: f.CreatedAt, IdleExpiresAt: f.ExpiresAt, LastExchangedAt: f.RotatedAt,
		Rotating: true, ResourceServers: []refreshTokenTarget{},
	}
	if f.SID != "" {
		v.SessionID = management.SessionID(f.UserID, f.SID)
	}
	if i.refreshAbsolute > 0 {
		v.ExpiresAt = f.CreatedAt.Add(i.refreshAbsolute)
	}
	if grant != nil {
		v.ResourceServers = append(v.ResourceServers, refreshTokenTarget{grant.Audience, oauth.Scope(grant.Scopes).String()})
	}
	return v
}

var (
	errNoRefreshToken = management.Errorf(http.StatusNotFound, "", "The refresh token does not exist, or is over.")
	errNoFamilyLister = management.Errorf(http.StatusNotImplemented, "", "Refresh tokens cannot be listed here.")
)

// liveRefreshToken returns the family with refresh tokens that a request names.
func (i *Issuer) liveRefreshToken(r *http.Request, caller management.Caller) (store.Family, error) {
	f, err := i.stores.Grants.Family(r.Context(), caller.TenantID, management.PathID(r, refreshTokenCollection), i.now())
	switch {
	case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrConsumed), err == nil && !refreshing(&f):
		return store.Family{}, errNoRefreshToken
	}
	return f, err
}

func (i *Issuer) getRefreshToken(w http.ResponseWriter, r *http.Request, caller management.Caller) error {
	f, err := i.liveRefreshToken(r, caller)
	if err != nil {
		return err
	}
	grant, err := i.stores.Grants.Grant(r.Context(), caller.TenantID, f.GrantID, f.ID, i.now())
	switch {
	case errors.Is(err, store.ErrNotFound): // revoked a moment ago
		return errNoRefreshToken
	case err != nil:
		return err
	}
	httpx.WriteJSON(w, http.StatusOK, i.viewRefreshToken(&f, &grant))
	return nil
}

func (i *Issuer) deleteRefreshToken(w http.ResponseWriter, r *http.Request, caller management.Caller) error {
	f, err := i.liveRefreshToken(r, caller)
	switch {
	case err == errNoRefreshToken:
		w.WriteHeader(http.StatusNoContent)
		return nil
	case err != nil:
		return err
	}
	now := i.now()
	if err := i.stores.Grants.RevokeFamily(r.Context(), caller.TenantID, f.ID, i.familyExpiry(now, i.accessTokenLifetime, time.Time{}), now); err != nil {
		return err
	}
	i.auditRevocation(r, caller, "refresh token revoked", audit.Event{UserID: f.UserID, ClientID: f.ClientID, Subject: f.ID})
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (i *Issuer) listRefreshTokens(w http.ResponseWriter, r *http.Request, caller management.Caller) error {
	if i.stores.FamilyLister == nil {
		return errNoFamilyLister
	}
	user, err := management.OwnerID(r)
	if err != nil {
		return err
	}
	now := i.now()
	grants, err := i.grantsOf(r.Context(), caller.TenantID, user)
	if err != nil {
		return err
	}
	return management.List[store.Family]{
		Name: "tokens", CheckpointOnly: true,
		Fetch: func(ctx context.Context, page store.Page) ([]store.Family, error) {
			return i.stores.FamilyLister.UserFamilies(ctx, caller.TenantID, user, page, now)
		},
		ID:    func(f *store.Family) string { return f.ID },
		Match: refreshing,
		View:  func(f *store.Family) any { return i.viewRefreshToken(f, grants[f.GrantID]) },
	}.Serve(w, r)
}

// grantsOf returns what a user allowed, by identifier.
func (i *Issuer) grantsOf(ctx context.Context, tenant, user string) (map[string]*store.Grant, error) {
	grants := map[string]*store.Grant{}
	for page := (store.Page{}); ; {
		list, err := i.stores.Grants.Grants(ctx, tenant, store.GrantFilter{UserID: user}, page)
		if err != nil {
			return nil, err
		}
		for n := range list {
			grants[list[n].ID] = &list[n]
		}
		if len(list) < page.Size() {
			return grants, nil
		}
		page.After = list[len(list)-1].ID
	}
}

func (i *Issuer) deleteRefreshTokens(w http.ResponseWriter, r *http.Request, caller management.Caller) error {
	user, err := management.OwnerID(r)
	if err != nil {
		return err
	}
	now := i.now()
	if _, err := i.stores.Grants.RevokeFamilies(r.Context(), caller.TenantID, store.FamilyFilter{UserID: user}, i.familyExpiry(now, i.accessTokenLifetime, time.Time{}), now); err != nil {
		return err
	}
	i.auditRevocation(r, caller, "refresh tokens of a user revoked", audit.Event{UserID: user})
	w.WriteHeader(http.StatusAccepted)
	return nil
}

// auditRevocation records what an administrator did to what e names.
func (i *Issuer) auditRevocation(r *http.Request, caller management.Caller, what string, e audit.Event) {
	i.logger.InfoContext(r.Context(), what+" by an administrator", "tenant", caller.TenantID, "client_id", caller.ClientID, "user", e.UserID, "id", e.Subject)
	e.Time, e.TenantID, e.Type, e.Outcome = i.now(), caller.TenantID, audit.Management, audit.Allowed
	e.Actor, e.Reasons = caller.ClientID, []string{what}
	audit.Emit(r.Context(), i.audit, e)
}
