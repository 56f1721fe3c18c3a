package dcr

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/opkit/opkit/internal/httpx"
	"github.com/opkit/opkit/internal/oauth"
)

// This file implements sector_identifier_uri (OpenID Connect Dynamic Client
// Registration §5).

const subjectPairwise = "pairwise"

const (
	// maxSectorFetches bounds how many documents are fetched at once: registrations
	// come from strangers, and each may hold a connection for five seconds.
	maxSectorFetches = 64
	// sectorCooldown is for how long a document that could not be fetched is not
	// asked for again, and maxFailedSectors how many of them are remembered.
	sectorCooldown   = 10 * time.Second
	maxFailedSectors = 1024
	// maxSectorURIs bounds what is looked at of a document.
	maxSectorURIs = 1000
)

// checkSector makes sure that a client with pairwise subjects belongs to a sector.
func (m *metadata) checkSector() error {
	if m.extra.SubjectType != subjectPairwise {
		return nil
	}
	if _, err := oauth.SectorIdentifier(m.extra.SectorIdentifierURI, m.client.RedirectURIs); err != nil {
		return invalid("sector_identifier_uri", "sector_identifier_uri is required for subject_type pairwise: %w", err)
	}
	return nil
}

// checkSectorDocument fetches sector_identifier_uri and makes sure that every
// redirect URI is in it: otherwise anybody could join the sector of another
// application and learn by which sub it knows a user. It is the one request that a
// registration sends, and comes after every other check.
func (r *Registrar) checkSectorDocument(ctx context.Context, m *metadata) error {
	const member = "sector_identifier_uri"
	uri := m.extra.SectorIdentifierURI
	if uri == "" {
		return nil
	}
	document, err := r.sectors.fetch(ctx, uri)
	if err != nil && oauth.Internal(err) {
		return err
	}
	if err != nil {
		// Not why: a stranger would learn what the provider can reach.
		r.cfg.Logger.DebugContext(ctx, "sector_identifier_uri could not be fetched", "tenant", m.client.TenantID, "err", err)
		return invalid(member, "%s: %s cannot be fetched", member, quote(uri))
	}
	listed, ok := decodeSector(document)
	if !ok {
		return invalid(member, "%s: %s is not a JSON array of at most %d strings", member, quote(uri), maxSectorURIs)
	}
	for _, redirect := range m.client.RedirectURIs {
		if !slices.Contains(listed, redirect) {
			return invalid(member, "%s: %s does not list the redirect URI %s", member, quote(uri), quote(redirect))
		}
	}
	return nil
}

// decodeSector reads a document. It is a JSON array of strings.
func decodeSector(document []byte) ([]string, bool) {
	if !utf8.Valid(document) || !json.Valid(document) {
		return nil, false
	}
	c := cursor{data: document}
	if c.peek() != '[' {
		return nil, false
	}
	var listed []string
	err := c.array(func(element []byte) error {
		s, ok := decodeString(element)
		if !ok || len(listed) == maxSectorURIs {
			return errNotASector
		}
		listed = append(listed, s)
		return nil
	})
	if err != nil {
		return nil, false
	}
	return listed, true
}

var errNotASector = errors.New("dcr: not an array of strings")

// sectorFetcher fetches documents for strangers, not many at once and not one that
// just failed.
type sectorFetcher struct {
	outbound fetcher
	now      func() time.Time
	slots    chan struct{}

	mu     sync.Mutex
	failed map[string]time.Time // until when
}

// fetcher is [httpx.Outbound].
type fetcher interface {
	Fetch(ctx context.Context, rawURL, accept string) (httpx.Fetched, error)
}

func newSectorFetcher(outbound fetcher, now func() time.Time) *sectorFetcher {
	return &sectorFetcher{outbound: outbound, now: now, slots: make(chan struct{}, maxSectorFetches), failed: map[string]time.Time{}}
}

var errJustFailed = oauth.Errorf(oauth.CodeInvalidClientMetadata, "it failed a moment ago")

// fetch returns the document. The error is internal if the provider is busy or the
// request ended.
func (f *sectorFetcher) fetch(ctx context.Context, uri string) ([]byte, error) {
	if f.cooling(uri) {
		return nil, errJustFailed
	}
	select {
	case f.slots <- struct{}{}:
		defer func() { <-f.slots }()
	default:
		return nil, oauth.Unavailable(nil, time.Second)
	}
	fetched, err := f.outbound.Fetch(ctx, uri, "application/json")
	switch {
	case err == nil:
		return fetched.Body, nil
	case ctx.Err() != nil: // whoever asked has gone: that says nothing about the document
		return nil, ctx.Err()
	}
	f.cool(uri)
	return nil, oauth.WithCause(err, oauth.CodeInvalidClientMetadata, "it cannot be fetched")
}

func (f *sectorFetcher) cooling(uri string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now().Before(f.failed[uri])
}

func (f *sectorFetcher) cool(uri string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.failed) >= maxFailedSectors {
		clear(f.failed) // forgetting is in the client's favour
	}
	f.failed[uri] = f.now().Add(sectorCooldown)
}
