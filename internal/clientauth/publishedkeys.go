package clientauth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// This file fetches the keys that clients publish at their jwks_uri, and keeps
// them.

const (
	// keyCooldown is the least time between two fetches of an address. A client that
	// replaces a key waits no longer for it to be seen.
	keyCooldown = 30 * time.Second

	// How long a set is used without asking again: as the answer's Cache-Control
	// says, within bounds.
	keysFresh    = 10 * time.Minute
	minKeysFresh = time.Minute
	// maxKeysAge is also for how long a set is used that cannot be fetched again.
	maxKeysAge = time.Hour

	// maxPublished bounds how many addresses are remembered.
	maxPublished = 1024
)

// address is where a client of a tenant publishes its keys.
type address struct{ tenant, uri string }

// published is what is known about an address. KeySets.mu guards it.
type published struct {
	set     *fetchedSet   // nil: none was fetched yet
	tried   time.Time     // when a fetch last began
	err     error         // of the last fetch
	running chan struct{} // closed when the running fetch ends; nil: none runs
}

// fetchedSet never changes.
type fetchedSet struct {
	keys    []jose.JSONWebKey
	fetched time.Time
	fresh   time.Duration
}

// has reports whether the set has a key of that identifier.
func (s *fetchedSet) has(kid string) bool {
	return slices.ContainsFunc(s.keys, func(k jose.JSONWebKey) bool { return k.KeyID == kid })
}

// within reports whether less than d has passed since then. A clock that was set
// back does not make it last longer.
func within(now, then time.Time, d time.Duration) bool {
	since := now.Sub(then)
	return !then.IsZero() && 0 <= since && since < d
}

// keysAt returns the keys that are published at an address. seen is a set that
// turned out not to have what is needed, nil for none: if it may not be fetched
// again yet, it is returned again.
func (k *KeySets) keysAt(ctx context.Context, at address, seen *fetchedSet) (*fetchedSet, error) {
	if k == nil || k.Outbound == nil {
		return nil, ErrKeysUnavailable
	}
	for {
		now := k.now()
		k.mu.Lock()
		p := k.published(at)
		if p.set != nil && p.set != seen && within(now, p.set.fetched, p.set.fresh) {
			k.mu.Unlock()
			return p.set, nil
		}
		running := p.running
		if running == nil {
			if within(now, p.tried, keyCooldown) {
				set, err := p.usable(now)
				k.mu.Unlock()
				return set, err
			}
			p.tried, p.running = now, make(chan struct{})
		}
		k.mu.Unlock()
		if running == nil {
			k.refresh(ctx, at, p)
			continue
		}
		select {
		case <-running:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// published returns what is known about an address. k.mu is held.
func (k *KeySets) published(at address) *published {
	if p := k.fetched[at]; p != nil {
		return p
	}
	if k.fetched == nil {
		k.fetched = make(map[address]*published)
	}
	if len(k.fetched) >= maxPublished {
		// What was asked least recently goes. To look at all costs less than the fetch
		// that follows.
		var oldest address
		var since time.Time
		for other, p := range k.fetched {
			if since.IsZero() || p.tried.Before(since) {
				oldest, since = other, p.tried
			}
		}
		delete(k.fetched, oldest)
	}
	p := &published{}
	// Not a part of a request that would stay in memory with it.
	k.fetched[address{strings.Clone(at.tenant), strings.Clone(at.uri)}] = p
	return p
}

// usable returns the set if it is not too old to be used while no newer one is to
// be had. KeySets.mu is held.
func (p *published) usable(now time.Time) (*fetchedSet, error) {
	switch {
	case p.set != nil && within(now, p.set.fetched, maxKeysAge):
		return p.set, nil
	case p.err != nil:
		return nil, p.err
	}
	return nil, ErrKeysUnavailable
}

// refresh fetches the keys for all who wait. The request that happened to come
// first may end early; the others must not suffer from that, and the time of a
// fetch is bounded anyway.
func (k *KeySets) refresh(ctx context.Context, at address, p *published) {
	set, err := (*fetchedSet)(nil), ErrKeysUnavailable
	defer func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		if p.err = err; err == nil {
			p.set = set
		}
		close(p.running)
		p.running = nil
	}()
	if set, err = k.fetch(context.WithoutCancel(ctx), at.uri); err != nil {
		k.logger().WarnContext(ctx, "a client's keys could not be fetched", "tenant", at.tenant, "jwks_uri", at.uri, "err", err)
	}
}

func (k *KeySets) fetch(ctx context.Context, uri string) (*fetchedSet, error) {
	began := k.now()
	document, err := k.Outbound.Fetch(ctx, uri, "application/jwk-set+json, application/json")
	if err != nil {
		return nil, errors.Join(ErrKeysUnavailable, err)
	}
	keys, err := ParseKeySet(document.Body)
	if err != nil {
		return nil, fmt.Errorf("%w: the document %w", ErrKeysUnavailable, err)
	}
	for i, key := range keys { // the rest, such as certificates, has no use here
		keys[i] = jose.JSONWebKey{Key: key.Key, KeyID: key.KeyID, Algorithm: key.Algorithm, Use: key.Use}
	}
	return &fetchedSet{keys, began, document.Freshness(keysFresh, minKeysFresh, maxKeysAge)}, nil
}

func (k *KeySets) now() time.Time {
	if k.Now == nil {
		return time.Now()
	}
	return k.Now()
}

func (k *KeySets) logger() *slog.Logger {
	if k.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return k.Logger
}
