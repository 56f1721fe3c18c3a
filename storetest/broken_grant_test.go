package storetest

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
)

func TestCatchesBrokenGrantStores(t *testing.T) {
	catches(t, grantFamilyChecks(), func(s *memstore.Store) store.GrantFamilyStore { return s }, []fault[store.GrantFamilyStore]{
		{name: "the key of a grant may repeat", check: "unique-key-race", broken: func(s *memstore.Store) store.GrantFamilyStore { return &lateKey{GrantFamilyStore: s} }},
		{name: "joins the key of a grant", check: "key-exact", broken: func(s *memstore.Store) store.GrantFamilyStore { return joinedGrants{s} }},
		{name: "ignores the family", check: "grant-of-family", broken: func(s *memstore.Store) store.GrantFamilyStore { return anyFamily{s} }},
		{name: "takes the family of another grant", check: "grant-of-family", broken: func(s *memstore.Store) store.GrantFamilyStore { return anyGrant{s} }},
		{name: "an expired family keeps a token alive", check: "family-expired", broken: func(s *memstore.Store) store.GrantFamilyStore { return timelessGrant{s} }},
		{name: "deleting a grant leaves its families", check: "delete-grant", broken: func(s *memstore.Store) store.GrantFamilyStore { return newPieces(s).leavingFamilies() }},
		{name: "deletes the families, then the grant", check: "delete-grant-race", broken: func(s *memstore.Store) store.GrantFamilyStore { return newPieces(s) }},
		{name: "is stopped between families and grant", check: "delete-grant-interrupted", broken: func(s *memstore.Store) store.GrantFamilyStore { return stoppable{newPieces(s)} }},
		{name: "is stopped between two families", check: "revoke-families-interrupted", broken: func(s *memstore.Store) store.GrantFamilyStore { return stoppable{newPieces(s)} }},
		{name: "is stopped in a rotation", check: "rotate-interrupted", broken: func(s *memstore.Store) store.GrantFamilyStore { return stoppable{newPieces(s)} }},
		{name: "starts without a grant", check: "start", broken: func(s *memstore.Store) store.GrantFamilyStore { return orphans{s} }},
		{name: "starts with the caller's generation", check: "start", broken: func(s *memstore.Store) store.GrantFamilyStore { return callersGeneration{s} }},
		{name: "looks, then starts", check: "start-race", broken: func(s *memstore.Store) store.GrantFamilyStore { return lookThenStart{s} }},
		{name: "takes an expired family's place twice", check: "start-expired-race", broken: func(s *memstore.Store) store.GrantFamilyStore { return lookThenStart{s} }},
		{name: "looks, then rotates", check: "rotate-race", broken: func(s *memstore.Store) store.GrantFamilyStore { return lookThenRotate{s} }},
		{name: "loser of a rotation gets no record", check: "rotate", broken: func(s *memstore.Store) store.GrantFamilyStore { return noFamily{s} }},
		{name: "accepts a generation from the past", check: "rotate", broken: func(s *memstore.Store) store.GrantFamilyStore { return lenientRotation{s} }},
		{name: "a rotation never shortens the expiry", check: "rotate", broken: func(s *memstore.Store) store.GrantFamilyStore { return growingExpiry{s} }},
		{name: "a rotation does not say when", check: "rotate", broken: func(s *memstore.Store) store.GrantFamilyStore { return neverRotatedAt{s} }},
		{name: "revoking removes", check: "revoke", broken: func(s *memstore.Store) store.GrantFamilyStore { return &removing{GrantFamilyStore: s} }},
		{name: "a tombstone lives no longer than the family", check: "family-tombstone", broken: func(s *memstore.Store) store.GrantFamilyStore { return shortTombstone{s} }},
		{name: "revoking again changes the time", check: "revoke", broken: func(s *memstore.Store) store.GrantFamilyStore { return &lastRevocation{GrantFamilyStore: s} }},
		{name: "revoking prolongs what has expired", check: "revoke-absent", broken: func(s *memstore.Store) store.GrantFamilyStore { return revivingRevocation{s} }},
		{name: "revoking what is absent is an error", check: "revoke-absent", broken: func(s *memstore.Store) store.GrantFamilyStore { return strictRevocation{s} }},
		{name: "revokes one family after the other", check: "revoke-families-race", broken: func(s *memstore.Store) store.GrantFamilyStore { return newPieces(s) }},
		{name: "an empty filter matches all", check: "revoke-families", broken: func(s *memstore.Store) store.GrantFamilyStore { return newPieces(s) }},
		{name: "counts what was revoked before", check: "revoke-families", broken: func(s *memstore.Store) store.GrantFamilyStore { return countingAll{s} }},
		{name: "filters by one member only", check: "revoke-families", broken: func(s *memstore.Store) store.GrantFamilyStore { return firstMember{s} }},
		{name: "a rotation undoes a revocation", check: "revoke-rotate-race", broken: func(s *memstore.Store) store.GrantFamilyStore { return newWriteBack(s) }},
		{
			name: "forgets that a family was revoked", check: "family-state-reopen",
			broken: func(s *memstore.Store) store.GrantFamilyStore { return s },
			opts: &Options[store.GrantFamilyStore]{Reopen: func(t *testing.T, s store.GrantFamilyStore) store.GrantFamilyStore {
				fresh := memstore.New()
				_ = families.create(t.Context(), fresh, families.record("t", "revoked"), base)
				_ = families.create(t.Context(), fresh, families.record("t", "rotated"), base)
				return fresh
			}},
		},
		{
			name: "a deleted grant comes back", check: "delete-grant-reopen",
			broken: func(s *memstore.Store) store.GrantFamilyStore { return s },
			opts: &Options[store.GrantFamilyStore]{Reopen: func(t *testing.T, s store.GrantFamilyStore) store.GrantFamilyStore {
				_ = families.create(t.Context(), s, families.record("t", "f"), base)
				return s
			}},
		},
		{
			name: "the other handle has a copy", check: "family-state-second-handle",
			broken: func(s *memstore.Store) store.GrantFamilyStore { return s },
			opts: &Options[store.GrantFamilyStore]{Second: func(t *testing.T, s store.GrantFamilyStore) store.GrantFamilyStore {
				return &remembering{GrantFamilyStore: s}
			}},
		},
		{
			name: "the other handle remembers grants", check: "delete-grant-second-handle",
			broken: func(s *memstore.Store) store.GrantFamilyStore { return s },
			opts: &Options[store.GrantFamilyStore]{Second: func(t *testing.T, s store.GrantFamilyStore) store.GrantFamilyStore {
				return &remembering{GrantFamilyStore: s}
			}},
		},
	})
}

// lateKey looks for the key before it creates, and makes keys different for the
// store below.
type lateKey struct {
	store.GrantFamilyStore
	keys sync.Map
}

func (s *lateKey) CreateGrant(ctx context.Context, g store.Grant) error {
	key := g.TenantID + g.UserID + g.ClientID + g.Audience
	if _, ok := s.keys.Load(key); ok {
		return store.ErrExists
	}
	runtime.Gosched()
	s.keys.Store(key, true)
	g.Audience += g.ID
	return s.GrantFamilyStore.CreateGrant(ctx, g)
}

type joinedGrants struct{ store.GrantFamilyStore }

func (s joinedGrants) FindGrant(ctx context.Context, tenant, user, client, audience string) (store.Grant, error) {
	gs, err := s.Grants(ctx, tenant, store.GrantFilter{}, store.Page{})
	for _, g := range gs {
		if g.UserID+"/"+g.ClientID+"/"+g.Audience == user+"/"+client+"/"+audience {
			return g, nil
		}
	}
	if err == nil {
		err = store.ErrNotFound
	}
	return store.Grant{}, err
}

type anyFamily struct{ store.GrantFamilyStore }

func (s anyFamily) Grant(ctx context.Context, tenant, id, _ string, now time.Time) (store.Grant, error) {
	return s.GrantFamilyStore.Grant(ctx, tenant, id, "", now)
}

type anyGrant struct{ store.GrantFamilyStore }

func (s anyGrant) Grant(ctx context.Context, tenant, id, family string, now time.Time) (store.Grant, error) {
	if family != "" {
		if _, err := s.Family(ctx, tenant, family, now); err != nil {
			return store.Grant{}, store.ErrNotFound
		}
	}
	return s.GrantFamilyStore.Grant(ctx, tenant, id, "", now)
}

type timelessGrant struct{ store.GrantFamilyStore }

func (s timelessGrant) Grant(ctx context.Context, tenant, id, family string, _ time.Time) (store.Grant, error) {
	return s.GrantFamilyStore.Grant(ctx, tenant, id, family, time.Time{})
}

// stoppable does in several steps what has to be one, and looks at its context before
// each.
type stoppable struct{ *pieces }

func (s stoppable) DeleteGrant(ctx context.Context, tenant, id string) error {
	for _, f := range s.started {
		if f.TenantID != tenant || f.GrantID != id {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		s.gone["family "+tenant+f.ID] = true
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	s.gone["grant "+tenant+id] = true
	return nil
}

func (s stoppable) RevokeFamilies(ctx context.Context, tenant string, filter store.FamilyFilter, until, now time.Time) (int, error) {
	n := 0
	for _, f := range s.started {
		if f.TenantID == tenant && f.SID == filter.SID {
			if err := s.RevokeFamily(ctx, tenant, f.ID, until, now); err != nil {
				return n, err
			}
			n++
		}
	}
	return n, nil
}

// RotateFamily says after the rotation that it did not happen, and takes it back.
func (s stoppable) RotateFamily(ctx context.Context, tenant, id string, generation int64, expiresAt, now time.Time) (store.Family, error) {
	f, err := s.pieces.RotateFamily(ctx, tenant, id, generation, expiresAt, now)
	if err == nil && ctx.Err() != nil {
		_, err = s.pieces.RotateFamily(context.WithoutCancel(ctx), tenant, id, generation+1, expiresAt, now)
	}
	return f, err
}

// pieces does in several steps what has to be one. It keeps grants and families
// below for ever and notes which of them are gone.
type pieces struct {
	store.GrantFamilyStore
	mu           sync.Mutex
	started      []store.Family
	gone         map[string]bool
	keepFamilies bool
}

func newPieces(s *memstore.Store) *pieces {
	return &pieces{GrantFamilyStore: s, gone: make(map[string]bool)}
}

func (s *pieces) leavingFamilies() *pieces {
	s.keepFamilies = true
	return s
}

func (s *pieces) is(gone string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gone[gone]
}

func (s *pieces) DeleteGrant(ctx context.Context, tenant, id string) error {
	s.mu.Lock()
	for _, f := range s.started {
		if f.TenantID == tenant && f.GrantID == id && !s.keepFamilies {
			s.gone["family "+tenant+f.ID] = true
		}
	}
	s.mu.Unlock()
	runtime.Gosched()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone["grant "+tenant+id] = true
	return ctx.Err()
}

func (s *pieces) Grant(ctx context.Context, tenant, id, family string, now time.Time) (store.Grant, error) {
	if s.is("grant "+tenant+id) || s.is("family "+tenant+family) {
		return store.Grant{}, store.ErrNotFound
	}
	return s.GrantFamilyStore.Grant(ctx, tenant, id, family, now)
}

func (s *pieces) StartFamily(ctx context.Context, f store.Family, now time.Time) (store.Family, error) {
	if s.is("grant " + f.TenantID + f.GrantID) {
		return store.Family{}, store.ErrNotFound
	}
	runtime.Gosched()
	started, err := s.GrantFamilyStore.StartFamily(ctx, f, now)
	if err == nil {
		s.mu.Lock()
		s.started = append(s.started, started)
		s.mu.Unlock()
	}
	return started, err
}

func (s *pieces) Family(ctx context.Context, tenant, id string, now time.Time) (store.Family, error) {
	if s.is("family " + tenant + id) {
		return store.Family{}, store.ErrNotFound
	}
	return s.GrantFamilyStore.Family(ctx, tenant, id, now)
}

func (s *pieces) RotateFamily(ctx context.Context, tenant, id string, generation int64, expiresAt, now time.Time) (store.Family, error) {
	if s.is("family " + tenant + id) {
		return store.Family{}, store.ErrNotFound
	}
	return s.GrantFamilyStore.RotateFamily(ctx, tenant, id, generation, expiresAt, now)
}

func (s *pieces) RevokeFamilies(ctx context.Context, tenant string, filter store.FamilyFilter, until, now time.Time) (int, error) {
	s.mu.Lock()
	started := s.started
	s.mu.Unlock()
	revoked := 0
	for _, f := range started {
		if f.TenantID == tenant && (filter.SID == "" || filter.SID == f.SID) {
			if err := s.RevokeFamily(ctx, tenant, f.ID, until, now); err != nil {
				return revoked, err
			}
			revoked++
			runtime.Gosched()
		}
	}
	return revoked, nil
}

type orphans struct{ store.GrantFamilyStore }

func (s orphans) StartFamily(ctx context.Context, f store.Family, now time.Time) (store.Family, error) {
	_ = s.CreateGrant(ctx, store.Grant{TenantID: f.TenantID, ID: f.GrantID})
	return s.GrantFamilyStore.StartFamily(ctx, f, now)
}

type callersGeneration struct{ store.GrantFamilyStore }

func (s callersGeneration) StartFamily(ctx context.Context, f store.Family, now time.Time) (store.Family, error) {
	started, err := s.GrantFamilyStore.StartFamily(ctx, f, now)
	if err == nil {
		started.Generation = f.Generation
	}
	return started, err
}

type lookThenStart struct{ store.GrantFamilyStore }

func (s lookThenStart) StartFamily(ctx context.Context, f store.Family, now time.Time) (store.Family, error) {
	if old, err := s.Family(ctx, f.TenantID, f.ID, now); !errors.Is(err, store.ErrNotFound) {
		return old, store.ErrConsumed
	}
	runtime.Gosched()
	started, err := s.GrantFamilyStore.StartFamily(ctx, f, now)
	if errors.Is(err, store.ErrConsumed) {
		err = nil
	}
	return started, err
}

type lookThenRotate struct{ store.GrantFamilyStore }

func (s lookThenRotate) RotateFamily(ctx context.Context, tenant, id string, generation int64, expiresAt, now time.Time) (store.Family, error) {
	f, err := s.Family(ctx, tenant, id, now)
	if err != nil {
		return f, err
	}
	if f.Generation != generation {
		return f, store.ErrConsumed
	}
	runtime.Gosched()
	f, err = s.GrantFamilyStore.RotateFamily(ctx, tenant, id, generation, expiresAt, now)
	if errors.Is(err, store.ErrConsumed) {
		err = nil
	}
	return f, err
}

type noFamily struct{ store.GrantFamilyStore }

func (s noFamily) RotateFamily(ctx context.Context, tenant, id string, generation int64, expiresAt, now time.Time) (store.Family, error) {
	f, err := s.GrantFamilyStore.RotateFamily(ctx, tenant, id, generation, expiresAt, now)
	if err != nil {
		return store.Family{}, err
	}
	return f, nil
}

type lenientRotation struct{ store.GrantFamilyStore }

func (s lenientRotation) RotateFamily(ctx context.Context, tenant, id string, generation int64, expiresAt, now time.Time) (store.Family, error) {
	if f, err := s.Family(ctx, tenant, id, now); err == nil && generation < f.Generation {
		generation = f.Generation
	}
	return s.GrantFamilyStore.RotateFamily(ctx, tenant, id, generation, expiresAt, now)
}

type growingExpiry struct{ store.GrantFamilyStore }

func (s growingExpiry) RotateFamily(ctx context.Context, tenant, id string, generation int64, expiresAt, now time.Time) (store.Family, error) {
	if f, err := s.Family(ctx, tenant, id, now); err == nil && f.ExpiresAt.After(expiresAt) {
		expiresAt = f.ExpiresAt
	}
	return s.GrantFamilyStore.RotateFamily(ctx, tenant, id, generation, expiresAt, now)
}

type neverRotatedAt struct{ store.GrantFamilyStore }

func (s neverRotatedAt) RotateFamily(ctx context.Context, tenant, id string, generation int64, expiresAt, now time.Time) (store.Family, error) {
	f, err := s.GrantFamilyStore.RotateFamily(ctx, tenant, id, generation, expiresAt, now)
	f.RotatedAt = time.Time{}
	return f, err
}

type removing struct {
	store.GrantFamilyStore
	gone sync.Map
}

func (s *removing) RevokeFamily(ctx context.Context, tenant, id string, until, now time.Time) error {
	s.gone.Store(tenant+id, true)
	return s.GrantFamilyStore.RevokeFamily(ctx, tenant, id, until, now)
}

func (s *removing) Family(ctx context.Context, tenant, id string, now time.Time) (store.Family, error) {
	if _, ok := s.gone.Load(tenant + id); ok {
		return store.Family{}, store.ErrNotFound
	}
	return s.GrantFamilyStore.Family(ctx, tenant, id, now)
}

type shortTombstone struct{ store.GrantFamilyStore }

func (s shortTombstone) RevokeFamily(ctx context.Context, tenant, id string, _, now time.Time) error {
	return s.GrantFamilyStore.RevokeFamily(ctx, tenant, id, now, now)
}

type lastRevocation struct {
	store.GrantFamilyStore
	at time.Time
}

func (s *lastRevocation) RevokeFamily(ctx context.Context, tenant, id string, until, now time.Time) error {
	s.at = now
	return s.GrantFamilyStore.RevokeFamily(ctx, tenant, id, until, now)
}

func (s *lastRevocation) Family(ctx context.Context, tenant, id string, now time.Time) (store.Family, error) {
	f, err := s.GrantFamilyStore.Family(ctx, tenant, id, now)
	if errors.Is(err, store.ErrConsumed) {
		f.RevokedAt = s.at
	}
	return f, err
}

type revivingRevocation struct{ store.GrantFamilyStore }

func (s revivingRevocation) RevokeFamily(ctx context.Context, tenant, id string, until, _ time.Time) error {
	return s.GrantFamilyStore.RevokeFamily(ctx, tenant, id, until, time.Time{})
}

type strictRevocation struct{ store.GrantFamilyStore }

func (s strictRevocation) RevokeFamily(ctx context.Context, tenant, id string, until, now time.Time) error {
	if _, err := s.Family(ctx, tenant, id, now); errors.Is(err, store.ErrNotFound) {
		return err
	}
	return s.GrantFamilyStore.RevokeFamily(ctx, tenant, id, until, now)
}

type countingAll struct{ store.GrantFamilyStore }

func (s countingAll) RevokeFamilies(ctx context.Context, tenant string, filter store.FamilyFilter, until, now time.Time) (int, error) {
	n, err := s.GrantFamilyStore.RevokeFamilies(ctx, tenant, filter, until, now)
	if n != 0 {
		n++
	}
	return n, err
}

type firstMember struct{ store.GrantFamilyStore }

func (s firstMember) RevokeFamilies(ctx context.Context, tenant string, filter store.FamilyFilter, until, now time.Time) (int, error) {
	if filter.SID != "" {
		filter.UserID, filter.ClientID = "", ""
	}
	return s.GrantFamilyStore.RevokeFamilies(ctx, tenant, filter, until, now)
}

// writeBack keeps families in a map of its own and rotates by writing the whole
// record that it read before.
type writeBack struct {
	store.GrantFamilyStore
	mu       sync.Mutex
	families map[string]store.Family
}

func newWriteBack(s *memstore.Store) *writeBack {
	return &writeBack{GrantFamilyStore: s, families: make(map[string]store.Family)}
}

func (s *writeBack) load(id string) store.Family {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.families[id]
}

func (s *writeBack) save(f store.Family) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.families[f.ID] = f
}

func (s *writeBack) StartFamily(_ context.Context, f store.Family, _ time.Time) (store.Family, error) {
	s.save(f)
	return f, nil
}

func (s *writeBack) Family(_ context.Context, _, id string, _ time.Time) (store.Family, error) {
	f := s.load(id)
	if !f.RevokedAt.IsZero() {
		return f, store.ErrConsumed
	}
	return f, nil
}

func (s *writeBack) RotateFamily(_ context.Context, _, id string, generation int64, expiresAt, now time.Time) (store.Family, error) {
	f := s.load(id)
	if f.Generation != generation || !f.RevokedAt.IsZero() {
		return f, store.ErrConsumed
	}
	runtime.Gosched()
	f.Generation, f.ExpiresAt, f.RotatedAt = f.Generation+1, expiresAt, now
	s.save(f)
	return f, nil
}

func (s *writeBack) RevokeFamily(_ context.Context, _, id string, until, now time.Time) error {
	f := s.load(id)
	f.RevokedAt, f.ExpiresAt = now, until
	s.save(f)
	return nil
}

// remembering answers from what it read before.
type remembering struct {
	store.GrantFamilyStore
	grants, families sync.Map
}

func (s *remembering) Grant(ctx context.Context, tenant, id, family string, now time.Time) (store.Grant, error) {
	if g, ok := s.grants.Load(tenant + id); ok {
		return g.(store.Grant), nil
	}
	g, err := s.GrantFamilyStore.Grant(ctx, tenant, id, family, now)
	if err == nil {
		s.grants.Store(tenant+id, g)
	}
	return g, err
}

func (s *remembering) Family(ctx context.Context, tenant, id string, now time.Time) (store.Family, error) {
	if f, ok := s.families.Load(tenant + id); ok {
		return f.(store.Family), nil
	}
	f, err := s.GrantFamilyStore.Family(ctx, tenant, id, now)
	if err == nil {
		s.families.Store(tenant+id, f)
	}
	return f, err
}
