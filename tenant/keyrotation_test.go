package tenant_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/opkit/opkit/internal/seal"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
	"github.com/opkit/opkit/tenant"
)

const day = 24 * time.Hour

// A node is a directory that shares a store and a clock with others.
func node(t testing.TB, stores store.Stores, c *clock, change func(*tenant.Config)) *tenant.Directory {
	t.Helper()
	d, _ := newDirectory(t, func(cfg *tenant.Config) {
		cfg.Stores, cfg.Now = stores, c.Now
		if change != nil {
			change(cfg)
		}
	})
	return d
}

func maintain(t testing.TB, d *tenant.Directory) {
	t.Helper()
	if err := d.MaintainKeys(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func rotate(t testing.TB, d *tenant.Directory, algorithm string, immediate bool) store.SigningKey {
	t.Helper()
	k, err := d.RotateSigningKey(t.Context(), tenant.DefaultID, tenant.Rotation{Algorithm: algorithm, Immediate: immediate})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func published(t testing.TB, d *tenant.Directory, kid string) bool {
	t.Helper()
	return strings.Contains(get(d.JWKS(), "/").Body.String(), `"`+kid+`"`)
}

// keysOf returns the records of an algorithm, without what nobody wants to read in
// a failure.
func keysOf(t testing.TB, stores store.Stores, algorithm string) []store.SigningKey {
	t.Helper()
	list := slices.DeleteFunc(records(t, stores), func(k store.SigningKey) bool { return k.Algorithm != algorithm })
	for i := range list {
		list[i].Public, list[i].Private = nil, nil
	}
	return list
}

// The whole life of a key: made, published, signing, retired, removed.
func TestScheduledRotation(t *testing.T) {
	c, stores := newClock(), memstore.New().Stores()
	d := node(t, stores, c, nil)
	first := sign(t, d, "ES256")
	maintain(t, d)
	if n := len(records(t, stores)); n != 1 {
		t.Fatalf("%d keys after the first round, want 1: an algorithm that nobody uses needs none", n)
	}

	c.advance(89*day - time.Microsecond)
	maintain(t, d)
	if n := len(keysOf(t, stores, "ES256")); n != 1 {
		t.Fatalf("%d keys before it is time", n)
	}
	c.advance(time.Microsecond)
	maintain(t, d)
	list := keysOf(t, stores, "ES256")
	if len(list) != 2 || list[1].Generation != 2 || !list[1].ActiveAt.Equal(list[0].ActiveAt.Add(90*day)) {
		t.Fatalf("a day before it is time: %+v", list)
	}
	next := list[1].ID
	c.advance(time.Minute) // other rounds change nothing
	maintain(t, d)
	if n := len(keysOf(t, stores, "ES256")); n != 2 {
		t.Fatalf("%d keys, want 2", n)
	}
	if kid(t, sign(t, d, "ES256")) == next || !published(t, d, next) {
		t.Error("the next key is not published, or signs before its time")
	}
	c.advance(day - time.Minute - time.Microsecond)
	last := sign(t, d, "ES256")
	if kid(t, last) == next {
		t.Error("the next key signs before its time")
	}

	c.advance(time.Microsecond) // nobody has to do anything now
	if kid(t, sign(t, d, "ES256")) != next {
		t.Error("the next key does not sign at its time")
	}
	c.advance(31*day - time.Microsecond)
	for _, token := range []string{first, last} {
		if err := verify(t, d, token); err != nil {
			t.Errorf("within the grace period: %v", err)
		}
	}
	c.advance(time.Microsecond)
	for _, token := range []string{first, last} {
		if err := verify(t, d, token); !errors.Is(err, tenant.ErrInvalidToken) {
			t.Errorf("after the grace period: %v", err)
		}
	}
	if published(t, d, kid(t, first)) {
		t.Error("published after the grace period")
	}
	if n := len(keysOf(t, stores, "ES256")); n != 2 {
		t.Fatalf("%d records, want 2: nothing was collected yet", n)
	}
	maintain(t, d)
	if list := keysOf(t, stores, "ES256"); len(list) != 1 || list[0].ID != next {
		t.Errorf("after collection: %+v", list)
	}
}

// Every moment of a year: somebody signs, and what was signed in the last 30 days
// holds, on a node that runs the schedule and on one that does not.
func TestKeysAreAlwaysThere(t *testing.T) {
	c, stores := newClock(), memstore.New().Stores()
	working, serving := node(t, stores, c, nil), node(t, stores, c, nil)
	var tokens []string
	kids := map[string]bool{}
	for range 3 * 365 {
		maintain(t, working)
		token := sign(t, serving, "ES256")
		kids[kid(t, token)] = true
		tokens = append(tokens, token)
		tokens = tokens[max(0, len(tokens)-3*30):]
		for _, token := range []string{token, tokens[0]} {
			for _, d := range []*tenant.Directory{working, serving} {
				if err := verify(t, d, token); err != nil {
					t.Fatalf("%v: %v", c.Now(), err)
				}
			}
		}
		c.advance(8 * time.Hour)
	}
	if len(kids) != 5 { // 365 days / 90, and the first one
		t.Errorf("%d keys signed", len(kids))
	}
	if n := len(keysOf(t, stores, "ES256")); n > 2 {
		t.Errorf("%d keys were not collected", n)
	}
}

// The next key is known to all before it signs, whatever they keep and for however
// long.
func TestPublicationComesBeforeSigning(t *testing.T) {
	c, stores := newClock(), memstore.New().Stores()
	stale := node(t, stores, c, func(cfg *tenant.Config) { cfg.KeyStaleness = 20 * time.Minute })
	d := node(t, stores, c, func(cfg *tenant.Config) {
		cfg.KeyStaleness = 20 * time.Minute
		cfg.Keys = tenant.KeyConfig{SigningPeriod: time.Hour, Prepublication: 26 * time.Minute}
	})
	sign(t, d, "ES256")
	c.advance(34 * time.Minute)
	cached := jwks(t, stale) // a cache may keep it for five minutes
	maintain(t, d)
	next := keysOf(t, stores, "ES256")[1]
	c.advance(20*time.Minute + 5*time.Minute)
	if slices.Contains(kids(cached), next.ID) {
		t.Fatal("published too early: the test proves nothing")
	}
	if kid(t, sign(t, d, "ES256")) == next.ID {
		t.Error("the next key signs while it may be in nobody's cache")
	}
	if !published(t, stale, next.ID) {
		t.Error("the other node does not publish the next key")
	}
	c.advance(time.Minute)
	if kid(t, sign(t, d, "ES256")) != next.ID || kid(t, sign(t, stale, "ES256")) != next.ID {
		t.Error("the next key does not sign at its time on all nodes")
	}
}

// Whoever runs late publishes all the same before the key signs.
func TestALateRoundStillPublishesFirst(t *testing.T) {
	c, stores := newClock(), memstore.New().Stores()
	d := node(t, stores, c, nil)
	first := kid(t, sign(t, d, "ES256"))
	c.advance(400 * day)
	if kid(t, sign(t, d, "ES256")) != first {
		t.Error("without rounds the key stopped signing")
	}
	maintain(t, d)
	if got := keysOf(t, stores, "ES256")[1].ActiveAt; !got.Equal(c.Now().Add(day)) {
		t.Errorf("the next key signs at %v", got)
	}
}

func TestPeriodsOfAlgorithms(t *testing.T) {
	c, stores := newClock(), memstore.New().Stores()
	d := node(t, stores, c, func(cfg *tenant.Config) {
		cfg.Keys = tenant.KeyConfig{SigningPeriod: -1, SigningPeriods: map[string]time.Duration{"ES256": 10 * day}}
	})
	jwks(t, d)
	c.advance(1000 * day)
	maintain(t, d)
	got := map[string]int{}
	for _, k := range records(t, stores) {
		got[k.Algorithm]++
	}
	if diff := cmp.Diff(map[string]int{"ES256": 2, "RS256": 1}, got); diff != "" {
		t.Error(diff)
	}
}

func TestKeyConfigIsChecked(t *testing.T) {
	for want, change := range map[string]func(*tenant.Config){
		"Prepublication is less than 6m5s":  func(cfg *tenant.Config) { cfg.Keys.Prepublication = 6 * time.Minute },
		"Prepublication is less than 26m0s": func(cfg *tenant.Config) { cfg.Keys.Prepublication, cfg.KeyStaleness = time.Minute, 20*time.Minute },
		"Prepublication is less than 6m0s":  func(cfg *tenant.Config) { cfg.Keys.Prepublication, cfg.KeyStaleness = -1, -1 },
		"shorter than Prepublication":       func(cfg *tenant.Config) { cfg.Keys.SigningPeriod = time.Hour },
		"of RS256 is shorter":               func(cfg *tenant.Config) { cfg.Keys.SigningPeriods = map[string]time.Duration{"RS256": time.Hour} },
		`no signing algorithm "HS256"`:      func(cfg *tenant.Config) { cfg.Keys.SigningPeriods = map[string]time.Duration{"HS256": day} },
		"Grace is less than 1h5m0s":         func(cfg *tenant.Config) { cfg.Keys.Grace = time.Hour },
		"Grace is less than 24h5m0s":        func(cfg *tenant.Config) { cfg.Keys.Grace, cfg.TokenLifetime = day, day },
		"Keys.Grace is less than":           func(cfg *tenant.Config) { cfg.Keys.Grace = -1 },
	} {
		cfg := tenant.Config{Stores: memstore.New().Stores(), Secrets: [][]byte{secret}, Issuer: issuer}
		change(&cfg)
		if d, err := tenant.New(cfg); err == nil || d != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", want, err)
		}
	}
	// What waits longer than the default waits for the rest too.
	if _, err := tenant.New(tenant.Config{
		Stores: memstore.New().Stores(), Secrets: [][]byte{secret}, Issuer: issuer, KeyStaleness: 1000 * day, TokenLifetime: 1000 * day,
	}); err != nil {
		t.Error(err)
	}
}

func TestAnAPICannotOutliveItsKey(t *testing.T) {
	d, _ := newDirectory(t, func(cfg *tenant.Config) { cfg.Keys.Grace = 2 * time.Hour })
	for lifetime, ok := range map[time.Duration]bool{0: true, 115 * time.Minute: true, 115*time.Minute + time.Second: false} {
		_, err := d.CreateAPI(t.Context(), store.API{TenantID: tenant.DefaultID, Audience: "urn:" + lifetime.String(), TokenLifetime: lifetime})
		if (err == nil) != ok {
			t.Errorf("%v: %v", lifetime, err)
		}
	}
}

// Two nodes find at the same moment that it is time: there is one next key.
func TestNodesThatRotateAtOnceAgree(t *testing.T) {
	for round := range 50 {
		c, stores := newClock(), memstore.New().Stores()
		nodes := []*tenant.Directory{node(t, stores, c, nil), node(t, stores, c, nil)}
		first := sign(t, nodes[0], "ES256")
		c.advance(89 * day)
		atOnce(nodes, func(d *tenant.Directory) { maintain(t, d) })
		list := keysOf(t, stores, "ES256")
		if len(list) != 2 || list[1].Generation != 2 {
			t.Fatalf("round %d: %+v", round, list)
		}
		c.advance(day)
		for _, d := range nodes {
			if token := sign(t, d, "ES256"); kid(t, token) != list[1].ID {
				t.Fatalf("round %d: a node signs with another key", round)
			}
			if err := verify(t, d, first); err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
		}
	}
}

func atOnce(nodes []*tenant.Directory, do func(*tenant.Directory)) {
	var ready, done sync.WaitGroup
	ready.Add(len(nodes))
	for _, d := range nodes {
		done.Go(func() {
			ready.Done()
			ready.Wait()
			do(d)
		})
	}
	done.Wait()
}

func TestForcedRotationsAtOnceAgree(t *testing.T) {
	for round := range 50 {
		c, stores := newClock(), memstore.New().Stores()
		nodes := []*tenant.Directory{node(t, stores, c, nil), node(t, stores, c, nil)}
		sign(t, nodes[0], "ES256")
		var mu sync.Mutex
		got := map[string]bool{}
		atOnce(nodes, func(d *tenant.Directory) {
			k := rotate(t, d, "ES256", false)
			mu.Lock()
			defer mu.Unlock()
			got[k.ID] = true
		})
		if len(got) != 1 || len(keysOf(t, stores, "ES256")) != 2 {
			t.Fatalf("round %d: %d answers, %d keys", round, len(got), len(keysOf(t, stores, "ES256")))
		}
	}
}

// The default: published now, signing when everybody had the time to notice.
func TestForcedRotationPublishesFirst(t *testing.T) {
	c, stores := newClock(), memstore.New().Stores()
	d := node(t, stores, c, nil)
	old := sign(t, d, "RS256")
	next := rotate(t, d, "RS256", false)
	if !next.ActiveAt.Equal(c.Now().Add(day)) || next.Private != nil || next.Generation != 2 {
		t.Errorf("the answer: %+v", next)
	}
	if !published(t, d, next.ID) || !published(t, d, kid(t, old)) {
		t.Error("the JWKS does not have both keys at once")
	}
	if again := rotate(t, d, "RS256", false); again.ID != next.ID || len(keysOf(t, stores, "RS256")) != 2 {
		t.Errorf("asked again, another key is made: %s", again.ID)
	}
	if kid(t, sign(t, d, "RS256")) != kid(t, old) {
		t.Error("the next key signs at once")
	}
	c.advance(day)
	if kid(t, sign(t, d, "RS256")) != next.ID {
		t.Error("the next key does not sign")
	}
	if err := verify(t, d, old); err != nil {
		t.Error(err)
	}
}

func TestForcedRotationAtOnce(t *testing.T) {
	c, stores := newClock(), memstore.New().Stores()
	d, other := node(t, stores, c, nil), node(t, stores, c, nil)
	old := sign(t, d, "ES256")
	jwks(t, other)
	next := rotate(t, d, "ES256", true)
	if !next.ActiveAt.Equal(c.Now()) || !published(t, d, next.ID) || !published(t, d, kid(t, old)) {
		t.Errorf("the answer: %s since %v", next.ID, next.ActiveAt)
	}
	token := sign(t, d, "ES256")
	if kid(t, token) != next.ID {
		t.Error("the next key does not sign at once")
	}
	// The other node looks for a kid that it does not know, and signs with the key
	// within the bound.
	if err := verify(t, other, token); err != nil {
		t.Error(err)
	}
	c.advance(5 * time.Second)
	if kid(t, sign(t, other, "ES256")) != next.ID || verify(t, other, old) != nil {
		t.Error("the other node did not notice")
	}
	if third := rotate(t, d, "ES256", true); third.ID == next.ID || third.Generation != 3 {
		t.Errorf("rotated twice: generation %d", third.Generation)
	}
}

// The key that is published already is known to more people than a new one.
func TestImmediateRotationUsesTheNextKey(t *testing.T) {
	c, stores := newClock(), memstore.New().Stores()
	d := node(t, stores, c, nil)
	sign(t, d, "ES256")
	next := rotate(t, d, "ES256", false)
	c.advance(time.Hour)
	if now := rotate(t, d, "ES256", true); now.ID != next.ID || !now.ActiveAt.Equal(c.Now()) {
		t.Errorf("%s since %v", now.ID, now.ActiveAt)
	}
	if kid(t, sign(t, d, "ES256")) != next.ID || len(keysOf(t, stores, "ES256")) != 2 {
		t.Error("the next key was not used")
	}
	// The schedule counts from there.
	c.advance(89 * day)
	maintain(t, d)
	if list := keysOf(t, stores, "ES256"); !list[len(list)-1].ActiveAt.Equal(next.CreatedAt.Add(time.Hour + 90*day)) {
		t.Errorf("%+v", list)
	}
}

// A key of the schedule that was published for long enough may sign now.
func TestForcedRotationMayHastenTheSchedule(t *testing.T) {
	c, stores := newClock(), memstore.New().Stores()
	d := node(t, stores, c, func(cfg *tenant.Config) { cfg.Keys.SigningPeriod = 90 * day })
	sign(t, d, "ES256")
	early := keysOf(t, stores, "ES256")[0] // as if another configuration had published it a week ahead
	scratch, others := newDirectory(t, nil)
	sign(t, scratch, "ES256")
	next := records(t, others)[0]
	next.Generation, next.CreatedAt, next.ActiveAt = 2, early.CreatedAt, early.ActiveAt.Add(7*day)
	if err := stores.SigningKeys.CreateSigningKey(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	c.advance(time.Hour)
	if got := rotate(t, d, "ES256", false); got.ID != next.ID || !got.ActiveAt.Equal(next.CreatedAt.Add(day)) {
		t.Errorf("%+v", got)
	}
	c.advance(2 * day)
	if kid(t, sign(t, d, "ES256")) != next.ID {
		t.Error("not hastened")
	}
}

func TestRotationMakesTheFirstKey(t *testing.T) {
	c, stores := newClock(), memstore.New().Stores()
	d := node(t, stores, c, nil)
	first := rotate(t, d, "ES256", false)
	if first.Generation != 1 || !first.ActiveAt.Equal(c.Now()) || kid(t, sign(t, d, "ES256")) != first.ID {
		t.Errorf("%+v", first)
	}
}

func TestRotationRefuses(t *testing.T) {
	d, stores := newDirectory(t, nil)
	for name, call := range map[string]func() (store.SigningKey, error){
		"an unknown algorithm": func() (store.SigningKey, error) {
			return d.RotateSigningKey(t.Context(), tenant.DefaultID, tenant.Rotation{Algorithm: "HS256"})
		},
		"no algorithm": func() (store.SigningKey, error) {
			return d.RotateSigningKey(t.Context(), tenant.DefaultID, tenant.Rotation{})
		},
		"an unknown tenant": func() (store.SigningKey, error) {
			return d.RotateSigningKey(t.Context(), "other", tenant.Rotation{Algorithm: "ES256"})
		},
		"an unknown key":   func() (store.SigningKey, error) { return d.RevokeSigningKey(t.Context(), tenant.DefaultID, "x") },
		"a key of nowhere": func() (store.SigningKey, error) { return d.RevokeSigningKey(t.Context(), "other", "x") },
	} {
		if k, err := call(); err == nil || k.ID != "" {
			t.Errorf("%s: %+v", name, k)
		}
	}
	if n := len(records(t, stores)); n != 0 {
		t.Errorf("%d keys were made", n)
	}
}

// busyKeys lets somebody else change a key before each update.
type busyKeys struct {
	store.SigningKeyStore
	left int
}

func (s *busyKeys) UpdateSigningKey(ctx context.Context, k store.SigningKey) error {
	if s.left > 0 {
		s.left--
		theirs := k
		theirs.ActiveAt, theirs.RevokedAt = theirs.ActiveAt.Add(time.Second), time.Time{}
		if err := s.SigningKeyStore.UpdateSigningKey(ctx, theirs); err != nil {
			return err
		}
	}
	return s.SigningKeyStore.UpdateSigningKey(ctx, k)
}

func TestChangesOfOthersAreNotOverwritten(t *testing.T) {
	for left, ok := range map[int]bool{1: true, 7: true, 100: false} {
		c, stores := newClock(), memstore.New().Stores()
		busy := &busyKeys{SigningKeyStore: stores.SigningKeys}
		stores.SigningKeys = busy
		d := node(t, stores, c, nil)
		sign(t, d, "ES256")
		next := rotate(t, d, "ES256", false)
		busy.left = left
		if _, err := d.RevokeSigningKey(t.Context(), tenant.DefaultID, next.ID); (err == nil) != ok || err != nil && !errors.Is(err, store.ErrConflict) {
			t.Errorf("%d changes: %v", left, err)
		}
	}
}

func TestRevocation(t *testing.T) {
	c, stores := newClock(), memstore.New().Stores()
	d, other := node(t, stores, c, nil), node(t, stores, c, nil)
	old := sign(t, d, "ES256")
	if err := verify(t, other, old); err != nil {
		t.Fatal(err)
	}
	next := rotate(t, d, "ES256", true)
	revoked, err := d.RevokeSigningKey(t.Context(), tenant.DefaultID, kid(t, old))
	if err != nil || !revoked.RevokedAt.Equal(c.Now()) || !revoked.ExpiresAt.Equal(c.Now()) || revoked.Private != nil {
		t.Fatalf("%+v, %v", revoked, err)
	}
	if published(t, d, kid(t, old)) {
		t.Error("still published")
	}
	if err := verify(t, d, old); !errors.Is(err, tenant.ErrInvalidToken) {
		t.Errorf("its tokens: %v", err)
	}
	c.advance(5 * time.Second)
	if err := verify(t, other, old); !errors.Is(err, tenant.ErrInvalidToken) || published(t, other, kid(t, old)) {
		t.Errorf("on another node: %v", err)
	}
	if kid(t, sign(t, d, "ES256")) != next.ID || kid(t, sign(t, other, "ES256")) != next.ID {
		t.Error("another key signs")
	}
	again, err := d.RevokeSigningKey(t.Context(), tenant.DefaultID, kid(t, old))
	if err != nil || !again.RevokedAt.Equal(revoked.RevokedAt) {
		t.Errorf("revoked twice: %+v, %v", again, err)
	}

	// It stays on record for a while, and then goes.
	c.advance(30 * day)
	maintain(t, d)
	if n := len(keysOf(t, stores, "ES256")); n != 2 {
		t.Errorf("%d keys, want 2", n)
	}
	c.advance(day)
	maintain(t, d)
	if list := keysOf(t, stores, "ES256"); len(list) != 1 || list[0].ID != next.ID {
		t.Errorf("not collected: %+v", list)
	}
}

// Signing never stops: another key takes the place of the one that is revoked.
func TestRevocationOfTheKeyThatSigns(t *testing.T) {
	for name, prepare := range map[string]func(*tenant.Directory){
		"no other key":         func(*tenant.Directory) {},
		"a next key":           func(d *tenant.Directory) { rotate(t, d, "ES256", false) },
		"only a former key":    func(d *tenant.Directory) { rotate(t, d, "ES256", true) },
		"a former and another": func(d *tenant.Directory) { rotate(t, d, "ES256", true); rotate(t, d, "ES256", false) },
	} {
		t.Run(name, func(t *testing.T) {
			c, stores := newClock(), memstore.New().Stores()
			d := node(t, stores, c, nil)
			former := kid(t, sign(t, d, "ES256"))
			prepare(d)
			c.advance(time.Hour)
			token := sign(t, d, "ES256")
			if _, err := d.RevokeSigningKey(t.Context(), tenant.DefaultID, kid(t, token)); err != nil {
				t.Fatal(err)
			}
			if err := verify(t, d, token); !errors.Is(err, tenant.ErrInvalidToken) || published(t, d, kid(t, token)) {
				t.Errorf("the revoked key: %v", err)
			}
			fresh := sign(t, d, "ES256")
			if kid(t, fresh) == kid(t, token) || kid(t, fresh) == former {
				t.Error("a key signs that had been replaced or revoked")
			}
			if err := verify(t, d, fresh); err != nil {
				t.Error(err)
			}
		})
	}
}

// A next key that is revoked never replaced anything.
func TestRevocationOfTheNextKey(t *testing.T) {
	c, stores := newClock(), memstore.New().Stores()
	d := node(t, stores, c, nil)
	current := kid(t, sign(t, d, "ES256"))
	next := rotate(t, d, "ES256", false)
	c.advance(time.Hour)
	if _, err := d.RevokeSigningKey(t.Context(), tenant.DefaultID, next.ID); err != nil {
		t.Fatal(err)
	}
	c.advance(60 * day) // well after its time, and the grace period of what it would have replaced
	if kid(t, sign(t, d, "ES256")) != current || published(t, d, next.ID) {
		t.Error("the revoked next key has an effect")
	}
	c.advance(30 * day)
	maintain(t, d)
	if list := keysOf(t, stores, "ES256"); len(list) != 2 || list[0].ID != current || list[1].ID == next.ID {
		t.Errorf("the schedule did not go on: %+v", list)
	}
}

func TestRevocationsAtOnceAgree(t *testing.T) {
	for round := range 50 {
		c, stores := newClock(), memstore.New().Stores()
		nodes := []*tenant.Directory{node(t, stores, c, nil), node(t, stores, c, nil)}
		old := kid(t, sign(t, nodes[0], "ES256"))
		atOnce(nodes, func(d *tenant.Directory) {
			if _, err := d.RevokeSigningKey(t.Context(), tenant.DefaultID, old); err != nil {
				t.Error(err)
			}
		})
		if list := keysOf(t, stores, "ES256"); len(list) != 2 || list[0].RevokedAt.IsZero() || !list[1].RevokedAt.IsZero() {
			t.Fatalf("round %d: %+v", round, list)
		}
	}
}

// failingTenants and failingKeys fail where a round needs them.
type failingTenants struct {
	store.TenantStore
	err error
}

func (s failingTenants) Tenants(context.Context, store.Page) ([]store.Tenant, error) {
	return nil, s.err
}

type failingKeys struct {
	store.SigningKeyStore
	tenant string
}

func (s failingKeys) SigningKeys(ctx context.Context, id string) ([]store.SigningKey, error) {
	if id == s.tenant {
		return nil, errors.New("the store is down")
	}
	return s.SigningKeyStore.SigningKeys(ctx, id)
}

func TestARoundGoesOnAfterAFailure(t *testing.T) {
	c, stores := newClock(), memstore.New().Stores()
	keys := stores.SigningKeys
	byPath := func(cfg *tenant.Config) { cfg.Issuer, cfg.Resolver = "", tenant.ByPath("/t") }
	d := node(t, stores, c, byPath)
	const tenants = store.MaxPageLimit + 2 // more than a page
	for i := range tenants {
		id := "t" + strings.Repeat("x", i%50) + string(rune('a'+i/50))
		tn, err := d.CreateTenant(t.Context(), store.Tenant{ID: id, Issuer: "https://example.com/t/" + id})
		if err != nil {
			t.Fatal(err)
		}
		if err := keys.CreateSigningKey(t.Context(), keyOf(t, tn.ID, c)); err != nil {
			t.Fatal(err)
		}
	}
	c.advance(90 * day)
	stores.SigningKeys = failingKeys{keys, "txb"}
	maintain(t, node(t, stores, c, byPath))
	list, err := stores.Tenants.Tenants(t.Context(), store.Page{Limit: store.MaxPageLimit})
	if err != nil {
		t.Fatal(err)
	}
	for _, tn := range list {
		want := 2
		if tn.ID == "txb" {
			want = 1
		}
		if got, err := keys.SigningKeys(t.Context(), tn.ID); err != nil || len(got) != want {
			t.Errorf("tenant %s has %d keys, want %d, %v", tn.ID, len(got), want, err)
		}
	}

	broken := errors.New("broken")
	stores.Tenants = failingTenants{stores.Tenants, broken}
	if err := node(t, stores, c, byPath).MaintainKeys(t.Context()); !errors.Is(err, broken) {
		t.Errorf("a list that fails: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.MaintainKeys(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a round that is cancelled: %v", err)
	}
}

var madeOnce = sync.OnceValue(func() store.SigningKey {
	stores := memstore.New().Stores()
	d, err := tenant.New(tenant.Config{Stores: stores, Secrets: [][]byte{secret}, Issuer: issuer})
	if err == nil {
		_, err = d.RotateSigningKey(context.Background(), tenant.DefaultID, tenant.Rotation{Algorithm: "ES256"})
	}
	if err != nil {
		panic(err)
	}
	list, _ := stores.SigningKeys.SigningKeys(context.Background(), tenant.DefaultID)
	return list[0]
})

// keyOf returns a key record of a tenant, active from now on.
func keyOf(t testing.TB, id string, c *clock) store.SigningKey {
	t.Helper()
	box, err := seal.New("signing-key", secret)
	if err != nil {
		t.Fatal(err)
	}
	k := madeOnce().Clone()
	private, err := box.Open(k.Private, k.TenantID+"/"+k.ID)
	if err != nil {
		t.Fatal(err)
	}
	k.TenantID, k.CreatedAt, k.ActiveAt = id, c.Now(), c.Now()
	k.Private = box.Seal(private, id+"/"+k.ID)
	return k
}

// What a key's record says beats what the schedule would decide.
func TestDecidedTimesCount(t *testing.T) {
	c, stores := newClock(), memstore.New().Stores()
	d := node(t, stores, c, nil)
	token := sign(t, d, "ES256")
	record := records(t, stores)[0]
	record.ExpiresAt = c.Now().Add(100 * day)
	if err := stores.SigningKeys.UpdateSigningKey(t.Context(), record); err != nil {
		t.Fatal(err)
	}
	rotate(t, d, "ES256", true)
	c.advance(99 * day)
	if err := verify(t, d, token); err != nil {
		t.Error(err)
	}
}

func TestSigningKeysAreListed(t *testing.T) {
	c, stores := newClock(), memstore.New().Stores()
	d := node(t, stores, c, nil)
	if list, err := d.SigningKeys(t.Context(), tenant.DefaultID); err != nil || len(list) != 0 {
		t.Fatalf("of a tenant without keys: %+v, %v", list, err)
	}
	get(d.JWKS(), "/")
	rotate(t, d, "ES256", false)
	list, err := d.SigningKeys(t.Context(), tenant.DefaultID)
	if err != nil {
		t.Fatal(err)
	}
	type row struct {
		Algorithm        string
		Generation       int
		Active, Retired  time.Duration
		Expires, Private bool
	}
	var got []row
	for _, k := range list {
		r := row{Algorithm: k.Algorithm, Generation: k.Generation, Active: k.ActiveAt.Sub(c.Now()), Private: k.Private != nil}
		if !k.RetiredAt.IsZero() {
			r.Retired = k.RetiredAt.Sub(c.Now())
			r.Expires = k.ExpiresAt.Equal(k.RetiredAt.Add(31 * day))
		}
		got = append(got, r)
	}
	want := []row{{"ES256", 1, 0, day, true, false}, {"ES256", 2, day, 0, false, false}, {"RS256", 1, 0, 0, false, false}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := d.SigningKeys(t.Context(), "other"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("of another tenant: %v", err)
	}
}

// Publishing the next key changes nothing of what requests cost.
func TestSigningReadsNoStore(t *testing.T) {
	c := newClock()
	counts, stores := count(memstore.New().Stores())
	d := node(t, stores, c, nil)
	jwks(t, d)
	rotate(t, d, "ES256", false)
	tn := theTenant(t, d)
	before := counts.calls.Load()
	for range 100 {
		if _, err := d.Sign(t.Context(), tn, "ES256", "JWT", []byte(`{}`)); err != nil {
			t.Fatal(err)
		}
	}
	if got := counts.calls.Load() - before; got != 0 {
		t.Errorf("%d store calls", got)
	}
	if w := get(d.JWKS(), "/"); w.Code != http.StatusOK {
		t.Error(w.Code)
	}
}
