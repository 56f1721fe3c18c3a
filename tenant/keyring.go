package tenant

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
	josejson "github.com/go-jose/go-jose/v4/json"

	"github.com/opkit/opkit/internal/httpx"
	"github.com/opkit/opkit/store"
)

const (
	defaultKeyStaleness = 5 * time.Second

	// jwksMaxAge is how long caches may keep the key set. Whoever replaces a key
	// publishes the new one for longer than this before it signs.
	jwksMaxAge = 5 * time.Minute

	// saveTimeout bounds storing a key that was expensive to make.
	saveTimeout = 10 * time.Second
)

// keyring holds the keys of one tenant.
type keyring struct {
	set atomic.Pointer[keySet]
	// busy is held while keys are read from the store or made, so that one request
	// does the work and the others wait for it, but no longer than their contexts.
	busy chan struct{}
	// forcedAt is when keys were last read because of an unknown kid. Guarded by
	// busy.
	forcedAt time.Time
}

func newKeyring() *keyring { return &keyring{busy: make(chan struct{}, 1)} }

func (k *keyring) acquire(ctx context.Context) error {
	select {
	case k.busy <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (k *keyring) release() { <-k.busy }

// keySet is what the store held when it was read. It never changes.
type keySet struct {
	readAt   time.Time
	records  []store.SigningKey
	keys     []*signingKey // that are published, by algorithm and generation
	expires  time.Time     // when the first of keys expires; zero: none does
	document *httpx.Document
}

// fresh reports whether the set may be used without asking the store: it is not
// too old, and none of its keys has expired.
func (s *keySet) fresh(now time.Time, staleness time.Duration) bool {
	if s == nil || !s.expires.IsZero() && !s.expires.After(now) {
		return false
	}
	age := now.Sub(s.readAt)
	return 0 <= age && age < staleness
}

// signing returns the key that signs with an algorithm now: the newest one that
// is active and not retired. If all are still to become active, it is the oldest,
// because then the clock of the node that made it is ahead of ours.
func (s *keySet) signing(algorithm string, now time.Time) *signingKey {
	var active, pending *signingKey
	for _, k := range s.keys {
		switch {
		case k.record.Algorithm != algorithm || k.retired(now):
		case !k.record.ActiveAt.After(now):
			active = k
		case pending == nil:
			pending = k
		}
	}
	if active != nil {
		return active
	}
	return pending
}

// byID returns the published key with that kid.
func (s *keySet) byID(kid string) *signingKey {
	for _, k := range s.keys {
		if k.record.ID == kid {
			return k
		}
	}
	return nil
}

// keysOf returns the tenant's keys, from the store if what is known is too old.
func (d *Directory) keysOf(ctx context.Context, t *Tenant) (*keySet, error) {
	if set := t.keys.set.Load(); set.fresh(d.now(), d.cfg.KeyStaleness) {
		return set, nil
	}
	if err := t.keys.acquire(ctx); err != nil {
		return nil, err
	}
	defer t.keys.release()
	if set := t.keys.set.Load(); set.fresh(d.now(), d.cfg.KeyStaleness) {
		return set, nil // somebody else has read them meanwhile
	}
	return d.readKeys(ctx, t)
}

// reread returns the tenant's keys after somebody presented a kid that is not in
// known: another node may have made the key a moment ago. The store is asked at
// most once in KeyStaleness, however many unknown kids arrive.
func (d *Directory) reread(ctx context.Context, t *Tenant, known *keySet) (*keySet, error) {
	if err := t.keys.acquire(ctx); err != nil {
		return nil, err
	}
	defer t.keys.release()
	if set := t.keys.set.Load(); set != known {
		return set, nil
	}
	now := d.now()
	if since := now.Sub(t.keys.forcedAt); 0 <= since && since < d.cfg.KeyStaleness {
		return known, nil
	}
	t.keys.forcedAt = now
	return d.readKeys(ctx, t)
}

// signingKey returns the key that signs with an algorithm, made if there is none.
func (d *Directory) signingKey(ctx context.Context, t *Tenant, algorithm string) (*signingKey, error) {
	set, err := d.keysOf(ctx, t)
	if err != nil {
		return nil, err
	}
	if k := set.signing(algorithm, d.now()); k != nil {
		return k, nil
	}
	_, k, err := d.makeKey(ctx, t, algorithm)
	return k, err
}

// allKeys returns the tenant's keys after making those that are missing.
func (d *Directory) allKeys(ctx context.Context, t *Tenant) (*keySet, error) {
	set, err := d.keysOf(ctx, t)
	for _, algorithm := range algorithms {
		if err == nil && set.signing(algorithm, d.now()) == nil {
			set, _, err = d.makeKey(ctx, t, algorithm)
		}
	}
	return set, err
}

// makeKey makes the first key of an algorithm, unless somebody else just has, and
// returns it with the keys that include it. Nodes that do so at the same time want
// the same generation, of which the store accepts one.
func (d *Directory) makeKey(ctx context.Context, t *Tenant, algorithm string) (*keySet, *signingKey, error) {
	if !supported(algorithm) {
		return nil, nil, fmt.Errorf("tenant: no signing algorithm %q", algorithm)
	}
	if err := t.keys.acquire(ctx); err != nil {
		return nil, nil, err
	}
	defer t.keys.release()
	set, err := d.readKeys(ctx, t)
	if err != nil {
		return nil, nil, err
	}
	if k := set.signing(algorithm, d.now()); k != nil {
		return set, k, nil
	}
	generation := 1
	for _, record := range set.records {
		if record.Algorithm == algorithm {
			generation = max(generation, record.Generation+1)
		}
	}
	record, err := generateKey(d.box, t.ID(), algorithm, generation, d.now())
	if err != nil {
		return nil, nil, err
	}
	// An RSA key takes a large part of a second: it is kept even if the request
	// that needed it has gone away meanwhile.
	save, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
	defer cancel()
	err = d.cfg.Stores.SigningKeys.CreateSigningKey(save, record)
	if err != nil && !errors.Is(err, store.ErrExists) {
		return nil, nil, fmt.Errorf("tenant: storing a signing key: %w", err)
	}
	if set, err = d.readKeys(save, t); err != nil {
		return nil, nil, err
	}
	k := set.signing(algorithm, d.now())
	if k == nil {
		return nil, nil, fmt.Errorf("tenant: the %s key of tenant %q was stored but cannot be read back", algorithm, t.ID())
	}
	return set, k, nil
}

// readKeys reads the tenant's keys. What did not change is taken over, with its
// opened private keys and its prepared document. The caller holds busy.
func (d *Directory) readKeys(ctx context.Context, t *Tenant) (*keySet, error) {
	now := d.now()
	records, err := d.cfg.Stores.SigningKeys.SigningKeys(ctx, t.ID())
	if err != nil {
		return nil, fmt.Errorf("tenant: reading signing keys: %w", err)
	}
	known := t.keys.set.Load()
	set := &keySet{readAt: now, records: records}
	for _, record := range records {
		k := known.parsed(&record)
		if k == nil {
			if k, err = parseKey(record); err != nil {
				// One bad record must not take the tenant down.
				d.cfg.Logger.ErrorContext(ctx, "a signing key was left out", "tenant", t.ID(), "err", err)
				continue
			}
		}
		if k.expired(now) {
			continue
		}
		if at := record.ExpiresAt; !at.IsZero() && (set.expires.IsZero() || at.Before(set.expires)) {
			set.expires = at
		}
		set.keys = append(set.keys, k)
	}
	if known != nil && slices.Equal(known.keys, set.keys) {
		set.document = known.document
	} else if set.document, err = newJWKS(set.keys); err != nil {
		return nil, err
	}
	t.keys.set.Store(set)
	return set, nil
}

// parsed returns the key of a record that is the same as last time.
func (s *keySet) parsed(record *store.SigningKey) *signingKey {
	if s == nil {
		return nil
	}
	for _, k := range s.keys {
		if k.record.ID == record.ID && k.record.Version == record.Version && k.record.CreatedAt.Equal(record.CreatedAt) {
			return k
		}
	}
	return nil
}

func newJWKS(keys []*signingKey) (*httpx.Document, error) {
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	for _, k := range keys {
		set.Keys = append(set.Keys, k.public)
	}
	body, err := josejson.Marshal(set)
	if err != nil {
		return nil, fmt.Errorf("tenant: encoding the key set: %w", err)
	}
	return httpx.NewDocument("application/json", body, jwksMaxAge), nil
}
