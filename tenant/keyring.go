package tenant

import (
	"context"
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
)

// gate lets one in at a time; the others wait no longer than their contexts.
type gate chan struct{}

func newGate() gate { return make(gate, 1) }

func (g gate) enter(ctx context.Context) error {
	select {
	case g <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g gate) leave() { <-g }

// keyring holds the keys of one tenant.
type keyring struct {
	set atomic.Pointer[keySet]
	// reading is held while keys are read from the store, so that one request does
	// the work.
	reading gate
	// making is held while a key is made, which takes long: whoever needs only keys
	// that exist does not wait for it. It is entered before reading.
	making gate
	// forcedAt is when keys were last read because of an unknown kid. Guarded by
	// reading.
	forcedAt time.Time
	// encryption are the keys that clients encrypt to, once somebody needed them.
	encryption atomic.Pointer[[]encryptionKey]
}

func newKeyring() *keyring { return &keyring{reading: newGate(), making: newGate()} }

// keySet is what the store held when it was read. It never changes.
type keySet struct {
	readAt   time.Time
	records  []store.SigningKey
	keys     []timedKey // that are published, by algorithm and generation
	past     []timedKey // that are not any more
	expires  time.Time  // when the first of keys ceases to be published; zero: none does
	document *httpx.Document
}

// fresh reports whether the set may be used without asking the store: it is not
// too old, and none of its keys has expired.
func (s *keySet) fresh(now time.Time, staleness time.Duration) bool {
	if s == nil || reached(s.expires, now) {
		return false
	}
	age := now.Sub(s.readAt)
	return 0 <= age && age < staleness
}

// signing returns the key that signs with an algorithm now: the newest one that
// is active and has not stopped. If all are still to become active, it is the
// oldest, because then the clock of the node that made it is ahead of ours.
func (s *keySet) signing(algorithm string, now time.Time) *signingKey {
	var active, pending *signingKey
	for i := range s.keys {
		k := &s.keys[i]
		switch {
		case k.record.Algorithm != algorithm || reached(k.until, now):
		case !k.record.ActiveAt.After(now):
			active = k.signingKey
		case pending == nil:
			pending = k.signingKey
		}
	}
	if active != nil {
		return active
	}
	return pending
}

// pending returns the key that takes over from the one that signs.
func (s *keySet) pending(algorithm string, now time.Time) *signingKey {
	current := s.signing(algorithm, now)
	for i := range s.keys {
		k := &s.keys[i]
		if k.record.Algorithm == algorithm && k.record.ActiveAt.After(now) && !reached(k.until, now) && k.signingKey != current {
			return k.signingKey
		}
	}
	return nil
}

// byID returns the published key with that kid.
func (s *keySet) byID(kid string) *signingKey {
	for i := range s.keys {
		if s.keys[i].record.ID == kid {
			return s.keys[i].signingKey
		}
	}
	return nil
}

// nextGeneration returns the generation of the next key of an algorithm.
func (s *keySet) nextGeneration(algorithm string) int {
	generation := 1
	for i := range s.records {
		if r := &s.records[i]; r.Algorithm == algorithm {
			generation = max(generation, r.Generation+1)
		}
	}
	return generation
}

// keysOf returns the tenant's keys, from the store if what is known is too old.
func (d *Directory) keysOf(ctx context.Context, t *Tenant) (*keySet, error) {
	if set := t.keys.set.Load(); set.fresh(d.now(), d.cfg.KeyStaleness) {
		return set, nil
	}
	if err := t.keys.reading.enter(ctx); err != nil {
		return nil, err
	}
	defer t.keys.reading.leave()
	if set := t.keys.set.Load(); set.fresh(d.now(), d.cfg.KeyStaleness) {
		return set, nil // somebody else has read them meanwhile
	}
	return d.readKeys(ctx, t)
}

// reread returns the tenant's keys after somebody presented a kid that is not in
// known: another node may have made the key a moment ago. The store is asked at
// most once in KeyStaleness, however many unknown kids arrive.
func (d *Directory) reread(ctx context.Context, t *Tenant, known *keySet) (*keySet, error) {
	if err := t.keys.reading.enter(ctx); err != nil {
		return nil, err
	}
	defer t.keys.reading.leave()
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

// currentKeys returns the tenant's keys as the store has them now.
func (d *Directory) currentKeys(ctx context.Context, t *Tenant) (*keySet, error) {
	if err := t.keys.reading.enter(ctx); err != nil {
		return nil, err
	}
	defer t.keys.reading.leave()
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

// readKeys reads the tenant's keys and keeps them. The caller holds reading.
func (d *Directory) readKeys(ctx context.Context, t *Tenant) (*keySet, error) {
	known := t.keys.set.Load()
	set, err := d.loadKeys(ctx, t.ID(), known)
	if err != nil {
		return nil, err
	}
	if known != nil && slices.EqualFunc(known.keys, set.keys, func(a, b timedKey) bool { return a.signingKey == b.signingKey }) {
		set.document = known.document
	} else if set.document, err = d.newJWKS(t, set.keys); err != nil {
		return nil, err
	}
	t.keys.set.Store(set)
	return set, nil
}

// loadKeys reads a tenant's keys, without preparing the document. What did not
// change is taken over from known, with its opened private half.
func (d *Directory) loadKeys(ctx context.Context, tenantID string, known *keySet) (*keySet, error) {
	now := d.now()
	records, err := d.cfg.Stores.SigningKeys.SigningKeys(ctx, tenantID)
	if err != nil {
		return nil, fmt.Errorf("tenant: reading signing keys: %w", err)
	}
	set := &keySet{readAt: now, records: records}
	keys := make([]*signingKey, 0, len(records))
	for i := range records {
		k := known.parsed(&records[i])
		if k == nil {
			if k, err = parseKey(records[i]); err != nil {
				// One bad record must not take the tenant down.
				d.cfg.Logger.ErrorContext(ctx, "a signing key was left out", "tenant", tenantID, "err", err)
				continue
			}
		}
		keys = append(keys, k)
	}
	for _, k := range timeline(keys, d.cfg.Keys.Grace) {
		if reached(k.gone, now) {
			set.past = append(set.past, k)
			continue
		}
		set.expires = earliest(set.expires, k.gone)
		set.keys = append(set.keys, k)
	}
	return set, nil
}

// parsed returns the key of a record that is the same as last time.
func (s *keySet) parsed(record *store.SigningKey) *signingKey {
	if s == nil {
		return nil
	}
	for _, list := range [][]timedKey{s.keys, s.past} {
		for i := range list {
			if k := list[i].signingKey; k.record.ID == record.ID && k.record.Version == record.Version && k.record.CreatedAt.Equal(record.CreatedAt) {
				return k
			}
		}
	}
	return nil
}

// newJWKS prepares the document: the keys that sign, or did, and the one that clients
// encrypt to.
func (d *Directory) newJWKS(t *Tenant, keys []timedKey) (*httpx.Document, error) {
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	for i := range keys {
		set.Keys = append(set.Keys, keys[i].public)
	}
	encryption, err := d.encryptionKeys(t)
	if err != nil {
		return nil, err
	}
	set.Keys = append(set.Keys, encryption[0].public)
	body, err := josejson.Marshal(set)
	if err != nil {
		return nil, fmt.Errorf("tenant: encoding the key set: %w", err)
	}
	return httpx.NewDocument("application/json", body, jwksMaxAge), nil
}
