package token

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// How a keySet deals with time and size.
const (
	keysFresh    = 10 * time.Minute // refreshed in the background after
	keysStale    = time.Hour        // used at most, if refreshing fails
	keyCooldown  = 10 * time.Second // between two fetches for unknown keys
	retryFetch   = time.Second      // between two fetches if the last one failed
	fetchTimeout = 10 * time.Second
	maxDocument  = 256 << 10
	maxKeys      = 100
)

// errUnknownKey says that the issuer's set has no key of that identifier.
var errUnknownKey = errors.New("token: no such key")

// keySet keeps the public keys of an issuer.
type keySet struct {
	issuer, url  string
	insecureHTTP bool
	client       *http.Client
	now          func() time.Time
	logger       *slog.Logger

	mu      sync.Mutex
	keys    map[string]jose.JSONWebKey
	fetched time.Time     // when keys were last fetched
	tried   time.Time     // when a fetch last began
	err     error         // of the last fetch
	running chan struct{} // closed when the running fetch ends; nil: none runs
}

// key returns the issuer's key. It fetches the set if that may help and is
// allowed; callers that need the outcome wait for one and the same fetch.
func (s *keySet) key(ctx context.Context, id string) (jose.JSONWebKey, error) {
	s.mu.Lock()
	key, ok := s.usable(id)
	wait := keyCooldown
	switch {
	case s.err != nil:
		wait = retryFetch
	case ok:
		wait = keysFresh
	}
	if s.running == nil && (s.tried.IsZero() || s.now().Sub(s.tried) >= wait) {
		s.start(ctx)
	}
	running := s.running
	s.mu.Unlock()
	if ok {
		return key, nil
	}
	if running != nil {
		select {
		case <-running:
		case <-ctx.Done():
			return jose.JSONWebKey{}, ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if key, ok := s.usable(id); ok {
		return key, nil
	}
	if s.err != nil {
		return jose.JSONWebKey{}, s.err
	}
	return jose.JSONWebKey{}, errUnknownKey
}

// usable returns a key of the set unless the set is too old. s.mu is held.
func (s *keySet) usable(id string) (jose.JSONWebKey, bool) {
	if s.now().Sub(s.fetched) >= keysStale {
		return jose.JSONWebKey{}, false
	}
	key, ok := s.keys[id]
	return key, ok
}

// start fetches the set in the background. The request that caused it may end
// early, those that wait must not suffer from that. s.mu is held.
func (s *keySet) start(ctx context.Context) {
	ctx = context.WithoutCancel(ctx)
	s.tried = s.now()
	running := make(chan struct{})
	s.running = running
	go func() {
		defer close(running)
		ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
		defer cancel()
		keys, err := s.fetch(ctx)
		if err != nil {
			s.logger.ErrorContext(ctx, "the issuer's keys could not be fetched", "issuer", s.issuer, "err", err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.running = nil
		if s.err = err; err == nil {
			s.keys, s.fetched = keys, s.now()
		}
	}()
}

// fetch gets the set, by way of the issuer's metadata if no URL is configured.
func (s *keySet) fetch(ctx context.Context) (map[string]jose.JSONWebKey, error) {
	jwks := s.url
	if jwks == "" {
		var metadata struct {
			Issuer  string `json:"issuer"`
			JWKSURI string `json:"jwks_uri"`
		}
		// OpenID Connect Discovery §4.1: a terminating slash is removed first.
		if err := s.get(ctx, strings.TrimSuffix(s.issuer, "/")+"/.well-known/openid-configuration", &metadata); err != nil {
			return nil, err
		}
		// OpenID Connect Discovery §4.3.
		if metadata.Issuer != s.issuer {
			return nil, fmt.Errorf("token: the metadata is of the issuer %q", metadata.Issuer)
		}
		if err := checkFetchURL(metadata.JWKSURI, s.insecureHTTP); err != nil {
			return nil, fmt.Errorf("token: jwks_uri of the metadata: %w", err)
		}
		jwks = metadata.JWKSURI
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := s.get(ctx, jwks, &set); err != nil {
		return nil, err
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("token: %s has more than %d keys", jwks, maxKeys)
	}
	keys := make(map[string]jose.JSONWebKey, len(set.Keys))
	for _, raw := range set.Keys {
		var key jose.JSONWebKey
		// RFC 7517 §5: keys that are not understood are ignored.
		if err := json.Unmarshal(raw, &key); err != nil || key.KeyID == "" || (key.Use != "" && key.Use != "sig") {
			continue
		}
		// A public set has no business with a private or symmetric key.
		if !key.Valid() || !key.IsPublic() {
			continue
		}
		keys[key.KeyID] = key
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("token: %s has no usable key", jwks)
	}
	return keys, nil
}

// get decodes the JSON document at url.
func (s *keySet) get(ctx context.Context, url string, v any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/json")
	resp, err := s.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("token: %s answered %s", url, resp.Status)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument+1))
	if err != nil {
		return err
	}
	if len(body) > maxDocument {
		return fmt.Errorf("token: %s is larger than %d bytes", url, maxDocument)
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("token: %s: %w", url, err)
	}
	return nil
}
