package store

import (
	"context"
	"slices"
	"time"
)

// Grant is what a user allowed a client: the remembered consent, and the root of
// every token that the client holds for that user.
type Grant struct {
	TenantID string `json:"tenant_id"`
	// ID is random. A grant that is given again after it was revoked has another
	// one, so that tokens of the first stay dead.
	ID       string `json:"id"`
	UserID   string `json:"user_id"`
	ClientID string `json:"client_id"`
	// Audience is the API, empty for none. User, client and audience together are
	// unique in the tenant.
	Audience string   `json:"audience,omitempty"`
	Scopes   []string `json:"scopes,omitempty"`
	// Claims are those that the client asked for by name (OpenID Connect Core §5.5),
	// beyond what Scopes cover.
	Claims       []string `json:"claims,omitempty"`
	ConnectionID string   `json:"connection_id,omitempty"`
	// ClientRevision is the [Client]'s Revision that the user saw. The consent is
	// remembered for that one alone. [NotAsked]: there is none to remember.
	ClientRevision int64     `json:"client_revision,omitempty"`
	Version        int64     `json:"version"`
	CreatedAt      time.Time `json:"created_at"`
	// UpdatedAt is when the user last allowed something or signed in with the client,
	// up to a day late.
	UpdatedAt time.Time `json:"updated_at"`
}

// NotAsked as a [Grant]'s ClientRevision says that the user was not asked for some of
// it, because the client was first party.
const NotAsked = -1

// Clone returns a copy that shares nothing with g.
func (g Grant) Clone() Grant {
	g.Scopes = slices.Clone(g.Scopes)
	g.Claims = slices.Clone(g.Claims)
	return g
}

// GrantFilter selects grants; an empty member does not restrict.
type GrantFilter struct {
	UserID   string
	ClientID string
}

// GrantStore keeps grants.
type GrantStore interface {
	// CreateGrant stores g. ErrExists: the ID is taken, or there is one for the
	// same user, client and audience.
	CreateGrant(ctx context.Context, g Grant) error
	// Grant returns the grant. If family is not empty, that family has to be one
	// of the grant's and neither revoked nor expired. Otherwise ErrNotFound. This
	// is the one read that decides whether a token is alive.
	Grant(ctx context.Context, tenant, id, family string, now time.Time) (Grant, error)
	// FindGrant returns the grant of that user, client and audience.
	FindGrant(ctx context.Context, tenant, user, client, audience string) (Grant, error)
	// UpdateGrant replaces the grant by compare-and-swap. UserID, ClientID and
	// Audience never change: the stored ones are kept.
	UpdateGrant(ctx context.Context, g Grant) error
	// DeleteGrant revokes the grant: it and all its families go in one atomic
	// step. Afterwards StartFamily and RotateFamily under it answer ErrNotFound.
	DeleteGrant(ctx context.Context, tenant, id string) error
	// Grants lists grants.
	Grants(ctx context.Context, tenant string, filter GrantFilter, page Page) ([]Grant, error)
}

// Family is what one authorization gave under a grant: the access tokens minted
// for one code or one front-channel response, and the chain of refresh tokens
// that follows. It exists as long as any of them may be used.
type Family struct {
	TenantID string `json:"tenant_id"`
	ID       string `json:"id"`
	GrantID  string `json:"grant_id"`
	UserID   string `json:"user_id"`
	ClientID string `json:"client_id"`
	// SID is the public identifier of the session that asked for it.
	SID string `json:"sid,omitempty"`
	// Offline says that the code gave a refresh token. It never changes.
	Offline bool `json:"offline,omitempty"`
	// Generation is the number of the refresh token that is valid now, from 0.
	Generation int64     `json:"generation"`
	CreatedAt  time.Time `json:"created_at"`
	// RotatedAt is when Generation last changed. Zero: never.
	RotatedAt time.Time `json:"rotated_at,omitzero"`
	// RevokedAt is zero while the family is alive.
	RevokedAt time.Time `json:"revoked_at,omitzero"`
	ExpiresAt time.Time `json:"expires_at"`
}

// FamilyFilter selects families; an empty member does not restrict, and an empty
// filter selects nothing.
type FamilyFilter struct {
	SID      string
	UserID   string
	ClientID string
}

// FamilyStore keeps families.
type FamilyStore interface {
	// StartFamily stores f with Generation 0. ErrNotFound: its grant is absent. If
	// a family with that ID exists and has not expired, revoked or not, the call
	// returns it with ErrConsumed: the code that the ID stands for was redeemed
	// before.
	StartFamily(ctx context.Context, f Family, now time.Time) (Family, error)
	// Family returns the family. ErrNotFound: it is absent or has expired. A
	// revoked family is returned with ErrConsumed.
	Family(ctx context.Context, tenant, id string, now time.Time) (Family, error)
	// RotateFamily adds one to Generation if it equals generation, sets RotatedAt
	// to now and ExpiresAt to expiresAt, and returns the new record. Exactly one
	// of several concurrent calls with one generation succeeds. ErrConsumed, with
	// the record unchanged: Generation differs, or the family is revoked.
	// ErrNotFound: it is absent or has expired, or its grant is gone.
	RotateFamily(ctx context.Context, tenant, id string, generation int64, expiresAt, now time.Time) (Family, error)
	// RevokeFamily sets RevokedAt to now unless it is set, and ExpiresAt to until
	// if that is later: the tombstone outlives every token of the family.
	RevokeFamily(ctx context.Context, tenant, id string, until, now time.Time) error
	// RevokeFamilies does the same for every live family that matches, in one
	// atomic step, and returns how many it revoked.
	RevokeFamilies(ctx context.Context, tenant string, filter FamilyFilter, until, now time.Time) (int, error)
	// CollectFamilies removes at most limit expired families and returns how many.
	CollectFamilies(ctx context.Context, now time.Time, limit int) (int, error)
}

// FamilyLister lists families of a [FamilyStore]. Nothing that decides security needs
// it: it is for people who look at what there is.
type FamilyLister interface {
	// UserFamilies lists a user's families that are neither revoked nor expired.
	UserFamilies(ctx context.Context, tenant, user string, page Page, now time.Time) ([]Family, error)
}

// GrantFamilyStore keeps grants and families together, because StartFamily,
// RotateFamily and DeleteGrant are atomic over both.
type GrantFamilyStore interface {
	GrantStore
	FamilyStore
}
