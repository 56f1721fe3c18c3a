package token

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

func TestKeysAreFetchedOnce(t *testing.T) {
	f := newFakeIssuer(t)
	v := f.verifier()
	token := f.sign(f.claims(nil), nil)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if _, err := v.Verify(context.Background(), token); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if d, n := f.discoveries.Load(), f.fetches.Load(); d != 1 || n != 1 {
		t.Errorf("%d discoveries, %d fetches, want one of each", d, n)
	}
}

func TestUnknownKeysDoNotFetchWithoutLimit(t *testing.T) {
	f := newFakeIssuer(t)
	v := f.verifier()
	for n := range 100 {
		if _, err := v.Verify(t.Context(), f.sign(f.claims(nil), map[string]any{"kid": fmt.Sprint("made-up-", n)})); !errors.Is(err, ErrInvalidToken) {
			t.Fatal(err)
		}
	}
	if n := f.fetches.Load(); n != 1 {
		t.Errorf("%d fetches for 100 unknown keys, want 1", n)
	}
	// A new key is picked up after the cooldown, which is shorter than a minute.
	f.set(func() { f.keys[0].KeyID = "new" })
	token := f.sign(f.claims(nil), map[string]any{"kid": "new"})
	f.clock.advance(keyCooldown - time.Second)
	if _, err := v.Verify(t.Context(), token); !errors.Is(err, ErrInvalidToken) {
		t.Errorf("within the cooldown: %v", err)
	}
	f.clock.advance(time.Second)
	if _, err := v.Verify(t.Context(), token); err != nil {
		t.Errorf("after the cooldown: %v", err)
	}
	if keyCooldown >= time.Minute {
		t.Error("the cooldown is too long")
	}
	// The old one is gone from the set.
	if _, err := v.Verify(t.Context(), f.sign(f.claims(nil), nil)); !errors.Is(err, ErrInvalidToken) {
		t.Errorf("a withdrawn key: %v", err)
	}
}

// waitFetch ends when no fetch runs.
func waitFetch(v *Verifier) {
	v.keys.mu.Lock()
	running := v.keys.running
	v.keys.mu.Unlock()
	if running != nil {
		<-running
	}
}

func TestKeysAreRefreshedInTheBackground(t *testing.T) {
	f := newFakeIssuer(t)
	v := f.verifier()
	token := func() string { return f.sign(f.claims(nil), nil) }
	verify := func() error {
		_, err := v.Verify(t.Context(), token())
		return err
	}
	if err := verify(); err != nil {
		t.Fatal(err)
	}
	// The issuer withdraws the key. It is honoured until the refresh has run, which
	// the first request after the keys are ten minutes old starts.
	f.set(func() { f.keys = f.keys[1:] })
	f.clock.advance(keysFresh)
	if err := verify(); err != nil {
		t.Errorf("the request that starts the refresh waited for it: %v", err)
	}
	waitFetch(v)
	if err := verify(); !errors.Is(err, ErrInvalidToken) {
		t.Errorf("after the refresh: %v", err)
	}
}

func TestKeysSurviveAnOutage(t *testing.T) {
	f := newFakeIssuer(t)
	v := f.verifier()
	verify := func() error {
		_, err := v.Verify(t.Context(), f.sign(f.claims(nil), nil))
		return err
	}
	if err := verify(); err != nil {
		t.Fatal(err)
	}
	f.set(func() {
		f.jwks = func(w http.ResponseWriter, _ *http.Request) bool {
			http.Error(w, "down", http.StatusBadGateway)
			return true
		}
	})
	f.clock.advance(keysStale - time.Second)
	if err := verify(); err != nil {
		t.Errorf("during the outage: %v", err)
	}
	waitFetch(v)
	f.clock.advance(2 * time.Second)
	if err := verify(); err == nil || errors.Is(err, ErrInvalidToken) {
		t.Errorf("keys older than an hour: %v, want an error about the issuer", err)
	}
	// Repeated failures do not hammer the issuer.
	before := f.fetches.Load()
	for range 20 {
		if err := verify(); err == nil {
			t.Fatal("verified without keys")
		}
	}
	if n := f.fetches.Load() - before; n != 0 {
		t.Errorf("%d fetches right after a failure", n)
	}
	f.set(func() { f.jwks = nil })
	f.clock.advance(retryFetch)
	if err := verify(); err != nil {
		t.Errorf("after the outage: %v", err)
	}
}

func TestKeysThatAreRefused(t *testing.T) {
	for rule, change := range map[string]func(*fakeIssuer){
		"metadata of another issuer": func(f *fakeIssuer) { f.metadata["issuer"] = f.URL + "/" },
		"no jwks_uri":                func(f *fakeIssuer) { delete(f.metadata, "jwks_uri") },
		"jwks_uri over http":         func(f *fakeIssuer) { f.metadata["jwks_uri"] = "http://issuer.example/keys" },
		"a redirect": func(f *fakeIssuer) {
			f.jwks = func(w http.ResponseWriter, r *http.Request) bool {
				http.Redirect(w, r, "/.well-known/openid-configuration", http.StatusFound)
				return true
			}
		},
		"a document without end": func(f *fakeIssuer) {
			f.jwks = func(w http.ResponseWriter, r *http.Request) bool {
				fmt.Fprintf(w, `{"keys":[],"x":"%s"}`, strings.Repeat("a", maxDocument))
				return true
			}
		},
		"not JSON": func(f *fakeIssuer) {
			f.jwks = func(w http.ResponseWriter, r *http.Request) bool {
				fmt.Fprint(w, "<html>")
				return true
			}
		},
		"too many keys": func(f *fakeIssuer) {
			for range maxKeys {
				f.keys = append(f.keys, f.keys[0])
			}
		},
		"no keys": func(f *fakeIssuer) { f.keys = []jose.JSONWebKey{} },
		"only keys that are not for verifying": func(f *fakeIssuer) {
			f.keys = []jose.JSONWebKey{
				{Key: testECKey().Public(), KeyID: "ec", Use: "enc"},
				{Key: testECKey().Public()},
				{Key: []byte("symmetric"), KeyID: "ec"},
				{Key: testECKey(), KeyID: "ec"},
			}
		},
	} {
		t.Run(rule, func(t *testing.T) {
			f := newFakeIssuer(t)
			change(f)
			got, err := f.verifier().Verify(t.Context(), f.sign(f.claims(nil), nil))
			if err == nil || errors.Is(err, ErrInvalidToken) || got != nil {
				t.Errorf("Verify = %+v, %v, want an error about the issuer", got, err)
			}
		})
	}
}

func TestKeysFromAURL(t *testing.T) {
	f := newFakeIssuer(t)
	v := f.verifier(func(c *VerifierConfig) { c.JWKSURL = f.URL + "/keys" })
	if _, err := v.Verify(t.Context(), f.sign(f.claims(nil), nil)); err != nil {
		t.Error(err)
	}
	if f.discoveries.Load() != 0 {
		t.Error("the metadata was fetched although the keys' URL is configured")
	}
}

// One request that goes away takes neither the fetch nor the others with it.
func TestWaitingForKeysEndsWithTheRequest(t *testing.T) {
	f := newFakeIssuer(t)
	reached, release := make(chan struct{}), make(chan struct{})
	f.jwks = func(http.ResponseWriter, *http.Request) bool {
		close(reached)
		<-release
		return false
	}
	v := f.verifier()
	token := f.sign(f.claims(nil), nil)
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error)
	go func() {
		_, err := v.Verify(ctx, token)
		gone <- err
	}()
	<-reached
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("Verify = %v", err)
	}
	close(release)
	if _, err := v.Verify(t.Context(), token); err != nil {
		t.Error(err)
	}
}
