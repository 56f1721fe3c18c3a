package memstore

import (
	"context"
	"strings"
	"sync/atomic"
	"time"

	"github.com/opkit/opkit/store"
)

// familyRow is a family and the flag that it shares with its grant.
type familyRow struct {
	store.Family
	ended *atomic.Bool // see grantRow
}

func familyID(f *familyRow) string { return f.ID }

func familyGrant(f *familyRow) group { return group{f.TenantID, f.GrantID} }

func familySession(f *familyRow) group { return group{f.TenantID, f.SID} }

func familyUser(f *familyRow) group { return group{f.TenantID, f.UserID} }

func familyClient(f *familyRow) group { return group{f.TenantID, f.ClientID} }

func familyExpiry(f *familyRow) time.Time { return f.ExpiresAt }

// The indexes of the orders in familySchema.
const (
	familiesOfGrant = iota
	familiesOfSession
	familiesOfUser
	familiesOfClient
	familiesByExpiry
)

var familySchema = schema[key, familyRow]{
	key:     func(f *familyRow) key { return key{f.TenantID, f.ID} },
	expires: familyExpiry,
	orders: []order[familyRow]{
		familiesOfGrant:   byID(familyGrant, familyID),
		familiesOfSession: byID(familySession, familyID),
		familiesOfUser:    byID(familyUser, familyID),
		familiesOfClient:  byID(familyClient, familyID),
		familiesByExpiry:  byExpiry(familyExpiry, compareFamilies),
	},
}

func compareFamilies(a, b *familyRow) int {
	if c := strings.Compare(a.ID, b.ID); c != 0 {
		return c
	}
	return strings.Compare(a.TenantID, b.TenantID)
}

// familyLive reports whether the family exists, revoked or not.
func (s *Store) familyLive(f *familyRow, now time.Time) bool {
	return s.families.live(f, now) && !f.ended.Load()
}

// revokeFamily returns what f becomes when it is revoked.
func revokeFamily(f *familyRow, until, now time.Time) *familyRow {
	next := *f
	if next.RevokedAt.IsZero() {
		next.RevokedAt = utc(now)
	}
	if until = utc(until); until.After(next.ExpiresAt) {
		next.ExpiresAt = until
	}
	return &next
}

// StartFamily implements [store.FamilyStore].
func (s *Store) StartFamily(ctx context.Context, f store.Family, now time.Time) (store.Family, error) {
	if err := ctx.Err(); err != nil {
		return store.Family{}, err
	}
	g := s.grants.get(key{f.TenantID, f.GrantID})
	if g == nil {
		return store.Family{}, store.ErrNotFound
	}
	next := &familyRow{Family: f, ended: g.ended}
	next.Generation = 0
	next.RotatedAt = time.Time{}
	next.RevokedAt = time.Time{}
	next.CreatedAt = utc(f.CreatedAt)
	next.ExpiresAt = utc(f.ExpiresAt)

	var seen *familyRow
	err := s.families.change(s.families.key(next), func(old *familyRow) (*familyRow, error) {
		if s.familyLive(old, now) {
			seen = old
			return nil, store.ErrConsumed
		}
		// Decided here, under the lock that sweepFamilies takes after the flag was
		// set: either this call sees the flag, or the sweep sees this family.
		if next.ended.Load() {
			return nil, store.ErrNotFound
		}
		seen = next
		return next, nil
	})
	if seen == nil {
		return store.Family{}, err
	}
	return seen.Family, err
}

// Family implements [store.FamilyStore].
func (s *Store) Family(ctx context.Context, tenant, id string, now time.Time) (store.Family, error) {
	if err := ctx.Err(); err != nil {
		return store.Family{}, err
	}
	f := s.families.get(key{tenant, id})
	switch {
	case !s.familyLive(f, now):
		return store.Family{}, store.ErrNotFound
	case !f.RevokedAt.IsZero():
		return f.Family, store.ErrConsumed
	}
	return f.Family, nil
}

// RotateFamily implements [store.FamilyStore].
func (s *Store) RotateFamily(ctx context.Context, tenant, id string, generation int64, expiresAt, now time.Time) (store.Family, error) {
	if err := ctx.Err(); err != nil {
		return store.Family{}, err
	}
	var seen *familyRow
	err := s.families.change(key{tenant, id}, func(old *familyRow) (*familyRow, error) {
		if !s.familyLive(old, now) {
			return nil, store.ErrNotFound
		}
		seen = old
		if !old.RevokedAt.IsZero() || old.Generation != generation {
			return nil, store.ErrConsumed
		}
		next := *old
		next.Generation++
		next.RotatedAt = utc(now)
		next.ExpiresAt = utc(expiresAt)
		seen = &next
		return seen, nil
	})
	if seen == nil {
		return store.Family{}, err
	}
	return seen.Family, err
}

// RevokeFamily implements [store.FamilyStore].
func (s *Store) RevokeFamily(ctx context.Context, tenant, id string, until, now time.Time) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.families.change(key{tenant, id}, func(old *familyRow) (*familyRow, error) {
		if !s.familyLive(old, now) {
			return old, nil // rule 5: it must not live again until then
		}
		return revokeFamily(old, until, now), nil
	})
}

// RevokeFamilies implements [store.FamilyStore].
func (s *Store) RevokeFamilies(ctx context.Context, tenant string, filter store.FamilyFilter, until, now time.Time) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	// The group that has the fewest families to look at.
	var order int
	var g group
	switch {
	case filter.SID != "":
		order, g = familiesOfSession, group{tenant, filter.SID}
	case filter.UserID != "":
		order, g = familiesOfUser, group{tenant, filter.UserID}
	case filter.ClientID != "":
		order, g = familiesOfClient, group{tenant, filter.ClientID}
	default:
		return 0, nil
	}
	return s.families.changeAll(order, g, func(f *familyRow) *familyRow {
		switch {
		case filter.SID != "" && f.SID != filter.SID,
			filter.UserID != "" && f.UserID != filter.UserID,
			filter.ClientID != "" && f.ClientID != filter.ClientID,
			!f.RevokedAt.IsZero(), !s.familyLive(f, now):
			return f
		}
		return revokeFamily(f, until, now)
	}), nil
}

// UserFamilies implements [store.FamilyLister].
func (s *Store) UserFamilies(ctx context.Context, tenant, user string, p store.Page, now time.Time) ([]store.Family, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	wanted := func(f *familyRow) bool { return f.RevokedAt.IsZero() && s.familyLive(f, now) }
	rows := s.families.page(familiesOfUser, group{tenant, user}, familyID, p, wanted)
	found := make([]store.Family, len(rows))
	for i, row := range rows {
		found[i] = row.Family
	}
	return found, nil
}

// CollectFamilies implements [store.FamilyStore].
func (s *Store) CollectFamilies(ctx context.Context, now time.Time, limit int) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	return s.families.collect(now, limit), nil
}

// sweepFamilies removes the families of a deleted grant, which are absent
// already.
func (s *Store) sweepFamilies(tenant, grant string) {
	s.families.changeAll(familiesOfGrant, group{tenant, grant}, func(f *familyRow) *familyRow {
		if f.ended.Load() {
			return nil
		}
		return f // of another grant that took the identifier meanwhile
	})
}
