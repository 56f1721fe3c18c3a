package tenant

import (
	"fmt"
	"time"

	"github.com/opkit/opkit/store"
)

// KeyConfig says where signing keys live and when they are replaced. See Signing
// keys in the package documentation for what happens when.
type KeyConfig struct {
	// Source makes and opens keys, for instance in a KMS. Nil: keys are made here
	// and kept in the store, sealed under Config.Secrets. Keys that were made before
	// Source was set go on signing until they are replaced.
	Source KeySource

	// SigningPeriod is how long a key signs before the next one takes over. Zero: 90
	// days. Negative: until [Directory.RotateSigningKey] is called. At least
	// Prepublication.
	SigningPeriod time.Duration

	// SigningPeriods has the signing period of algorithms for which it is another
	// one.
	SigningPeriods map[string]time.Duration

	// Prepublication is for how long a key is in the JWKS before it signs, so that
	// whoever verifies has it when the first token comes. Zero: one day. At least
	// the five minutes for which caches may keep the JWKS, plus Config.KeyStaleness,
	// plus a minute by which clocks may differ.
	Prepublication time.Duration

	// Grace is for how long a key stays in the JWKS after it stopped signing. Zero:
	// 31 days, which is more than any access token lives. Whoever sets less cannot
	// create an API whose tokens live longer. ID tokens that come back as
	// id_token_hint are recognized no longer than this after their key stopped
	// signing.
	Grace time.Duration
}

const (
	defaultSigningPeriod  = 90 * 24 * time.Hour
	defaultPrepublication = 24 * time.Hour
	defaultGrace          = 31 * 24 * time.Hour

	// clockSkew is by how much the clocks of nodes may differ.
	clockSkew = time.Minute
)

// resolved checks c and fills in the defaults. longest is the longest lifetime of
// tokens whose lifetime is not an API's own.
func (c KeyConfig) resolved(staleness, longest time.Duration) (KeyConfig, error) {
	least := jwksMaxAge + max(staleness, 0) + clockSkew
	switch {
	case c.Prepublication == 0:
		c.Prepublication = max(defaultPrepublication, least)
	case c.Prepublication < least:
		return KeyConfig{}, fmt.Errorf("tenant: Config.Keys.Prepublication is less than %v, for which caches may lack a new key", least)
	}
	if c.SigningPeriod == 0 {
		c.SigningPeriod = max(defaultSigningPeriod, c.Prepublication)
	}
	periods := map[string]time.Duration{}
	for algorithm, period := range c.SigningPeriods {
		if !supported(algorithm) {
			return KeyConfig{}, fmt.Errorf("tenant: Config.Keys.SigningPeriods: no signing algorithm %q", algorithm)
		}
		periods[algorithm] = period
	}
	for _, algorithm := range algorithms {
		if periods[algorithm] == 0 {
			periods[algorithm] = c.SigningPeriod
		}
		if period := periods[algorithm]; 0 < period && period < c.Prepublication {
			return KeyConfig{}, fmt.Errorf("tenant: Config.Keys: the signing period %v of %s is shorter than Prepublication, %v", period, algorithm, c.Prepublication)
		}
	}
	c.SigningPeriods = periods
	least = longest + jwksMaxAge
	switch {
	case c.Grace == 0:
		c.Grace = max(defaultGrace, least)
	case c.Grace < least:
		return KeyConfig{}, fmt.Errorf("tenant: Config.Keys.Grace is less than %v: tokens would outlive the key that verifies them", least)
	}
	return c, nil
}

// timedKey is a key with the times of its life that depend on the other keys of
// its algorithm.
type timedKey struct {
	*signingKey
	until time.Time // when it stops signing; zero: not decided
	gone  time.Time // when it is no longer published; zero: not decided
}

// timeline decides when keys, which are ordered by algorithm and generation, stop
// signing and cease to be published. It derives that from the records, so that
// every node comes to the same answer, and replacing a key is one write: the next
// key's record, with the time at which it takes over.
func timeline(keys []*signingKey, grace time.Duration) []timedKey {
	timed := make([]timedKey, len(keys))
	var algorithm string
	var next time.Time // when the first of the newer keys takes over
	for i := len(keys) - 1; i >= 0; i-- {
		r := &keys[i].record
		if r.Algorithm != algorithm {
			algorithm, next = r.Algorithm, time.Time{}
		}
		stopped := earliest(r.RetiredAt, r.RevokedAt)
		k := timedKey{signingKey: keys[i], until: earliest(stopped, next), gone: r.ExpiresAt}
		if k.gone.IsZero() && !k.until.IsZero() {
			k.gone = k.until.Add(grace)
		}
		k.gone = earliest(k.gone, r.RevokedAt)
		timed[i] = k
		// A key that was revoked before its time never replaced another.
		if stopped.IsZero() || r.ActiveAt.Before(stopped) {
			next = earliest(next, r.ActiveAt)
		}
	}
	return timed
}

// earliest returns the earlier of two times, of which the zero time is never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// reached reports whether a time that may be never has come.
func reached(at, now time.Time) bool { return !at.IsZero() && !at.After(now) }

// status returns the record as a host may see it: with the times that are decided,
// without the private half.
func (k *timedKey) status() store.SigningKey {
	record := k.record.Clone()
	record.Private = nil
	record.RetiredAt, record.ExpiresAt = k.until, k.gone
	return record
}

// due reports whether the next key of an algorithm has to be made now, and when it
// takes over.
func (s *keySet) due(algorithm string, now time.Time, cfg *KeyConfig) (activeAt time.Time, ok bool) {
	period := cfg.SigningPeriods[algorithm]
	current := s.signing(algorithm, now)
	if period < 0 || current == nil || s.pending(algorithm, now) != nil {
		return time.Time{}, false
	}
	activeAt = current.record.ActiveAt.Add(period)
	if now.Before(activeAt.Add(-cfg.Prepublication)) {
		return time.Time{}, false
	}
	if soonest := now.Add(cfg.Prepublication); activeAt.Before(soonest) {
		activeAt = soonest // nobody made it in time
	}
	return activeAt, true
}

// obsolete returns the keys whose records nobody needs any more. Revoked ones stay
// for the grace period, for whoever looks what happened.
func (s *keySet) obsolete(now time.Time, grace time.Duration) []*timedKey {
	var list []*timedKey
	for i := range s.past {
		k := &s.past[i]
		if at := k.record.RevokedAt; at.IsZero() || reached(at.Add(grace), now) {
			list = append(list, k)
		}
	}
	return list
}
