package tenant

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/opkit/opkit/audit"
	"github.com/opkit/opkit/store"
)

const (
	// saveTimeout bounds storing a key that was expensive to make.
	saveTimeout = 10 * time.Second

	// maintainTimeout bounds what one tenant may take of a round.
	maintainTimeout = 30 * time.Second

	// keyAttempts bounds how often a change is tried again because of the changes
	// that others made.
	keyAttempts = 8
)

// Rotation asks for the next key of an algorithm.
type Rotation struct {
	// Algorithm is "ES256" or "RS256".
	Algorithm string
	// Immediate makes the next key sign at once. Whoever verifies with a cached JWKS
	// does not have it yet, and some refuse tokens until their cache is five minutes
	// old or older. By default the key is published now and signs when
	// KeyConfig.Prepublication has passed.
	Immediate bool
}

// RotateSigningKey replaces the key that signs with an algorithm ahead of the
// schedule, and returns the next one; ActiveAt says from when it signs. The old
// key stays in the JWKS for KeyConfig.Grace and its tokens hold: see
// [Directory.RevokeSigningKey] for a key that is no longer to be trusted.
//
// If the next key is published already, it is used instead of another one, as soon
// as r allows; asking twice changes nothing. Nodes that are asked at the same time
// agree on one key. Other nodes sign with it within Config.KeyStaleness.
//
// store.ErrNotFound: there is no such tenant. store.ErrConflict: others kept
// changing the keys.
func (d *Directory) RotateSigningKey(ctx context.Context, tenantID string, r Rotation) (store.SigningKey, error) {
	if !supported(r.Algorithm) {
		return store.SigningKey{}, fmt.Errorf("tenant: no signing algorithm %q", r.Algorithm)
	}
	t, err := d.Tenant(ctx, tenantID)
	if err != nil {
		return store.SigningKey{}, err
	}
	if err := t.keys.making.enter(ctx); err != nil {
		return store.SigningKey{}, err
	}
	defer t.keys.making.leave()
	var before *signingKey
	for attempt := range keyAttempts {
		set, err := d.currentKeys(ctx, t)
		if err != nil {
			return store.SigningKey{}, err
		}
		current := set.signing(r.Algorithm, d.now())
		if attempt == 0 {
			before = current
		} else if before != nil && current != nil && current.record.ID != before.record.ID {
			return set.statusOf(current.record.ID), nil // somebody else rotated at the same time
		}
		next, err := d.replaceKey(ctx, t, set, r)
		if err != nil && changedMeanwhile(err) {
			continue
		}
		if err != nil {
			return store.SigningKey{}, err
		}
		if set, err = d.currentKeys(ctx, t); err != nil {
			return store.SigningKey{}, err
		}
		return set.statusOf(next), nil
	}
	return store.SigningKey{}, fmt.Errorf("tenant: replacing the signing key: %w", store.ErrConflict)
}

// replaceKey makes sure that a newer key than the one that signs is there, and that
// it takes over when r says, and returns its kid. store.ErrExists,
// store.ErrConflict and store.ErrNotFound: the keys are no longer those of set. The
// caller holds making.
func (d *Directory) replaceKey(ctx context.Context, t *Tenant, set *keySet, r Rotation) (string, error) {
	now := d.now()
	if next := set.pending(r.Algorithm, now); next != nil {
		activeAt := now
		if published := next.record.CreatedAt.Add(d.cfg.Keys.Prepublication); !r.Immediate && now.Before(published) {
			activeAt = published
		}
		if !activeAt.Before(next.record.ActiveAt) {
			return next.record.ID, nil
		}
		record := next.record
		record.ActiveAt = activeAt
		if err := d.cfg.Stores.SigningKeys.UpdateSigningKey(ctx, record); err != nil {
			return "", fmt.Errorf("tenant: changing a signing key: %w", err)
		}
		return record.ID, nil
	}
	activeAt := now
	if !r.Immediate && set.signing(r.Algorithm, now) != nil {
		activeAt = now.Add(d.cfg.Keys.Prepublication)
	}
	k, err := d.generateKey(ctx, t.ID(), r.Algorithm, set.nextGeneration(r.Algorithm), activeAt)
	if err != nil {
		return "", err
	}
	return k.record.ID, d.keepKey(ctx, k)
}

// makeKey makes the first key of an algorithm, unless somebody else just has, and
// returns it with the keys that include it. Nodes that do so at the same time want
// the same generation, of which the store accepts one.
func (d *Directory) makeKey(ctx context.Context, t *Tenant, algorithm string) (*keySet, *signingKey, error) {
	if !supported(algorithm) {
		return nil, nil, fmt.Errorf("tenant: no signing algorithm %q", algorithm)
	}
	if err := t.keys.making.enter(ctx); err != nil {
		return nil, nil, err
	}
	defer t.keys.making.leave()
	set, err := d.currentKeys(ctx, t)
	if err != nil {
		return nil, nil, err
	}
	if k := set.signing(algorithm, d.now()); k != nil {
		return set, k, nil
	}
	made, err := d.generateKey(ctx, t.ID(), algorithm, set.nextGeneration(algorithm), d.now())
	if err != nil {
		return nil, nil, err
	}
	if err := d.keepKey(ctx, made); err != nil && !errors.Is(err, store.ErrExists) {
		return nil, nil, err
	}
	if set, err = d.currentKeys(ctx, t); err != nil {
		return nil, nil, err
	}
	k := set.signing(algorithm, d.now())
	if k == nil {
		return nil, nil, fmt.Errorf("tenant: the %s key of tenant %q was stored but cannot be read back", algorithm, t.ID())
	}
	return set, k, nil
}

// keepKey stores a key that was just made. store.ErrExists: another node's is used
// instead.
func (d *Directory) keepKey(ctx context.Context, k *signingKey) error {
	// An RSA key takes a large part of a second: it is kept even if the request that
	// needed it has gone away meanwhile.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
	defer cancel()
	record := &k.record
	err := d.cfg.Stores.SigningKeys.CreateSigningKey(ctx, *record)
	switch {
	case err == nil:
		d.cfg.Logger.InfoContext(ctx, "signing key published", "tenant", record.TenantID, "kid", record.ID,
			"alg", record.Algorithm, "active_at", record.ActiveAt)
		d.emitKey(ctx, audit.KeyRotation, record)
		return nil
	case !errors.Is(err, store.ErrExists):
		return fmt.Errorf("tenant: storing a signing key: %w", err)
	}
	// A source that returned a key for the second time must not lose it.
	records, listErr := d.cfg.Stores.SigningKeys.SigningKeys(ctx, record.TenantID)
	for i := range records {
		if records[i].ID == record.ID {
			return fmt.Errorf("tenant: the key source returned the key %q, which is in use", record.ID)
		}
	}
	if listErr == nil {
		listErr = d.destroyKey(ctx, record)
	}
	if listErr != nil {
		d.cfg.Logger.ErrorContext(ctx, "a signing key that is not needed was not destroyed", "tenant", record.TenantID, "kid", record.ID, "err", listErr)
	}
	return err
}

// RevokeSigningKey takes a key out of use: it leaves the JWKS, and tokens that it
// signed are no longer accepted, here at once and by other nodes within
// Config.KeyStaleness. APIs that verify tokens themselves accept them until they
// fetch the JWKS again. If the key is the one that signs, another takes its place
// first, as in an immediate rotation; if that fails, nothing is revoked.
//
// Revoking a key twice is no error. store.ErrNotFound: there is no such key or
// tenant. store.ErrConflict: others kept changing the keys.
func (d *Directory) RevokeSigningKey(ctx context.Context, tenantID, kid string) (store.SigningKey, error) {
	return d.revokeKeyIf(ctx, tenantID, kid, func(*keySet, *timedKey) error { return nil })
}

// revokeKeyIf revokes the key unless check objects.
func (d *Directory) revokeKeyIf(ctx context.Context, tenantID, kid string, check func(*keySet, *timedKey) error) (store.SigningKey, error) {
	t, err := d.Tenant(ctx, tenantID)
	if err != nil {
		return store.SigningKey{}, err
	}
	if err := t.keys.making.enter(ctx); err != nil {
		return store.SigningKey{}, err
	}
	defer t.keys.making.leave()
	for range keyAttempts {
		set, err := d.currentKeys(ctx, t)
		if err != nil {
			return store.SigningKey{}, err
		}
		k := set.find(kid)
		if k == nil {
			return store.SigningKey{}, store.ErrNotFound
		}
		if err := check(set, k); err != nil {
			return store.SigningKey{}, err
		}
		if !k.record.RevokedAt.IsZero() {
			return k.status(), nil
		}
		if set.signing(k.record.Algorithm, d.now()) == k.signingKey {
			_, err = d.replaceKey(ctx, t, set, Rotation{Algorithm: k.record.Algorithm, Immediate: true})
		} else if err = d.revokeKey(ctx, k); err == nil {
			if set, err = d.currentKeys(ctx, t); err != nil {
				return store.SigningKey{}, err
			}
			return set.statusOf(kid), nil
		}
		if err != nil && !changedMeanwhile(err) {
			return store.SigningKey{}, err
		}
	}
	return store.SigningKey{}, fmt.Errorf("tenant: revoking the signing key: %w", store.ErrConflict)
}

func (d *Directory) revokeKey(ctx context.Context, k *timedKey) error {
	record := k.record
	record.RevokedAt = d.now()
	if err := d.cfg.Stores.SigningKeys.UpdateSigningKey(ctx, record); err != nil {
		return fmt.Errorf("tenant: changing a signing key: %w", err)
	}
	d.cfg.Logger.WarnContext(ctx, "signing key revoked", "tenant", record.TenantID, "kid", record.ID, "alg", record.Algorithm)
	d.emitKey(ctx, audit.KeyRevocation, &record)
	return nil
}

func (d *Directory) emitKey(ctx context.Context, what audit.Type, k *store.SigningKey) {
	audit.Emit(ctx, d.cfg.Audit, audit.Event{
		Time: d.now(), TenantID: k.TenantID, Type: what, Outcome: audit.Allowed, Subject: k.ID, Reasons: []string{"algorithm " + k.Algorithm},
	})
}

// changedMeanwhile reports whether a change was refused because the keys are not
// those that it was decided on.
func changedMeanwhile(err error) bool {
	return errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrExists) || errors.Is(err, store.ErrNotFound)
}

// SigningKeys returns the tenant's keys by algorithm and generation, as the store
// has them now: also those that do not sign yet, that no longer do, and that were
// revoked. RetiredAt and ExpiresAt are filled in where they are decided; Private is
// nil. None is made. store.ErrNotFound: there is no such tenant.
func (d *Directory) SigningKeys(ctx context.Context, tenantID string) ([]store.SigningKey, error) {
	set, err := d.keysNow(ctx, tenantID)
	if err != nil {
		return nil, err
	}
	list := make([]store.SigningKey, 0, len(set.records))
	for i := range set.records { // which have the order
		if k := set.find(set.records[i].ID); k != nil {
			list = append(list, k.status())
		}
	}
	return list, nil
}

func (d *Directory) keysNow(ctx context.Context, tenantID string) (*keySet, error) {
	t, err := d.Tenant(ctx, tenantID)
	if err != nil {
		return nil, err
	}
	return d.currentKeys(ctx, t)
}

// find returns the key with that kid, published or not.
func (s *keySet) find(kid string) *timedKey {
	for _, list := range [][]timedKey{s.keys, s.past} {
		for i := range list {
			if list[i].record.ID == kid {
				return &list[i]
			}
		}
	}
	return nil
}

// statusOf returns what a host may see of a key; the zero value if it is gone.
func (s *keySet) statusOf(kid string) store.SigningKey {
	if k := s.find(kid); k != nil {
		return k.status()
	}
	return store.SigningKey{}
}

// MaintainKeys makes the next keys of all tenants where it is time to, deletes
// those that nobody needs any more, and seals the salts of pairwise subjects anew
// that a former secret sealed. opkit's Provider.Run calls it every ten
// minutes; a host without Run may call it whenever it likes, on any number of nodes
// at once. Failures of one tenant are logged; the error is that of listing the
// tenants, or the context's.
//
// Nothing stops where it is never called: keys are then replaced by
// [Directory.RotateSigningKey] only, and records of old keys stay.
func (d *Directory) MaintainKeys(ctx context.Context) error {
	page := store.Page{Limit: store.MaxPageLimit}
	for {
		tenants, err := d.cfg.Stores.Tenants.Tenants(ctx, page)
		if err != nil {
			return err
		}
		for i := range tenants {
			d.resealSalt(ctx, nil, &tenants[i])
			if err := d.maintainKeys(ctx, tenants[i].ID); err != nil {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				d.cfg.Logger.ErrorContext(ctx, "signing keys were not maintained", "tenant", tenants[i].ID, "err", err)
			}
		}
		if len(tenants) < page.Size() {
			return nil
		}
		page.After = tenants[len(tenants)-1].ID
	}
}

// maintainKeys works on what the store has, not on what this process keeps: most
// tenants may never be asked for here.
func (d *Directory) maintainKeys(ctx context.Context, tenantID string) error {
	ctx, cancel := context.WithTimeout(ctx, maintainTimeout)
	defer cancel()
	set, err := d.loadKeys(ctx, tenantID, nil)
	if err != nil {
		return err
	}
	var errs []error
	for _, algorithm := range algorithms {
		activeAt, ok := set.due(algorithm, d.now(), &d.cfg.Keys)
		if !ok {
			continue
		}
		// A node with a wrong secret must not make the key that all are to sign with next.
		if _, _, err := d.unsealed(&set.signing(algorithm, d.now()).record); err != nil {
			errs = append(errs, err)
			continue
		}
		k, err := d.generateKey(ctx, tenantID, algorithm, set.nextGeneration(algorithm), activeAt)
		if err == nil {
			err = d.keepKey(ctx, k)
		}
		if err != nil && !errors.Is(err, store.ErrExists) {
			errs = append(errs, err)
		}
	}
	for _, k := range set.obsolete(d.now(), d.cfg.Keys.Grace) {
		// In this order: a key that could not be destroyed is found again.
		err := d.destroyKey(ctx, &k.record)
		if err == nil {
			err = d.cfg.Stores.SigningKeys.DeleteSigningKey(ctx, tenantID, k.record.ID)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		d.cfg.Logger.InfoContext(ctx, "signing key removed", "tenant", tenantID, "kid", k.record.ID, "alg", k.record.Algorithm)
	}
	return errors.Join(errs...)
}
