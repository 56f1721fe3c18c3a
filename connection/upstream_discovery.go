package connection

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/opkit/opkit/internal/httpx"
	"github.com/opkit/opkit/internal/oauth"
)

// This file implements OpenID Connect Discovery 1.0 §4 as a client: the metadata of
// upstreams, fetched and kept.

// wellKnown is where metadata is, below the issuer.
const wellKnown = "/.well-known/openid-configuration"

const (
	// How long metadata is used without asking again: as the answer's Cache-Control
	// says, within bounds.
	metadataFresh    = time.Hour
	minMetadataFresh = 5 * time.Minute
	maxMetadataFresh = 24 * time.Hour
	// maxMetadataAge is for how long metadata is used that cannot be fetched again.
	maxMetadataAge = 72 * time.Hour
	// metadataCooldown is the least time between two attempts after a failure.
	metadataCooldown = 10 * time.Second
	// maxKnownMetadata bounds how many upstreams are remembered.
	maxKnownMetadata = 1024
)

// upstreamMetadata is what an upstream says of itself.
type upstreamMetadata struct {
	Issuer                string   `json:"issuer"`
	AuthorizationEndpoint string   `json:"authorization_endpoint"`
	TokenEndpoint         string   `json:"token_endpoint"`
	UserinfoEndpoint      string   `json:"userinfo_endpoint"`
	JWKSURI               string   `json:"jwks_uri"`
	AuthMethods           []string `json:"token_endpoint_auth_methods_supported"`
	IssParameter          bool     `json:"authorization_response_iss_parameter_supported"`
}

// parseUpstreamMetadata reads a metadata document. On error the result is zero.
func parseUpstreamMetadata(raw []byte) (upstreamMetadata, error) {
	var m upstreamMetadata
	if err := httpx.DecodeJSON(raw, &m); err != nil {
		return upstreamMetadata{}, errors.New("the metadata is not a JSON object with members of the right types, each once")
	}
	if m.Issuer == "" || len(m.Issuer) > oauth.MaxURI || !isText(m.Issuer, oauth.MaxURI) {
		return upstreamMetadata{}, errors.New("the metadata has no issuer")
	}
	for _, endpoint := range []struct {
		name, value string
		required    bool
	}{
		{"authorization_endpoint", m.AuthorizationEndpoint, true},
		{"token_endpoint", m.TokenEndpoint, true},
		{"jwks_uri", m.JWKSURI, true},
		{"userinfo_endpoint", m.UserinfoEndpoint, false},
	} {
		if endpoint.value == "" && !endpoint.required {
			continue
		}
		if err := oauth.CheckURI(endpoint.value, "https"); err != nil {
			return upstreamMetadata{}, fmt.Errorf("the metadata has a member %s that %w", endpoint.name, err)
		}
		if strings.Contains(endpoint.value, "#") {
			return upstreamMetadata{}, fmt.Errorf("the metadata has a member %s with a fragment", endpoint.name)
		}
	}
	return m, nil
}

// documents keeps metadata by its address. Of one address one fetch runs at a time, for
// all who ask meanwhile. It is safe for concurrent use.
type documents struct {
	client *http.Client
	now    func() time.Time

	mu    sync.Mutex
	known map[string]*document
}

// document is what is known about an address. documents.mu guards it.
type document struct {
	metadata *upstreamMetadata // never changed; nil: none was fetched yet
	fetched  time.Time
	fresh    time.Duration
	failed   time.Time // when a fetch failed last, since the last that did not
	err      error
	used     time.Time
	running  chan struct{} // closed when the running fetch ends; nil: none runs
}

// get returns the metadata at an address. The error wraps ErrUpstreamFailed or is that
// of ctx.
func (d *documents) get(ctx context.Context, address string) (*upstreamMetadata, error) {
	for {
		now := d.now()
		d.mu.Lock()
		doc := d.document(address)
		doc.used = now
		if doc.metadata != nil && within(now, doc.fetched, doc.fresh) {
			d.mu.Unlock()
			return doc.metadata, nil
		}
		running := doc.running
		if running == nil {
			if within(now, doc.failed, metadataCooldown) {
				metadata, err := doc.metadata, doc.err
				if metadata != nil && within(now, doc.fetched, maxMetadataAge) {
					err = nil
				} else {
					metadata = nil
				}
				d.mu.Unlock()
				return metadata, err
			}
			doc.running = make(chan struct{})
		}
		d.mu.Unlock()
		if running == nil {
			d.refresh(ctx, address, doc)
			continue
		}
		select {
		case <-running:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// document returns what is known about an address. d.mu is held.
func (d *documents) document(address string) *document {
	if doc := d.known[address]; doc != nil {
		return doc
	}
	if len(d.known) >= maxKnownMetadata {
		oldest := ""
		for other, doc := range d.known {
			if oldest == "" || doc.used.Before(d.known[oldest].used) {
				oldest = other
			}
		}
		delete(d.known, oldest)
	}
	doc := &document{}
	d.known[address] = doc
	return doc
}

// refresh fetches for all who wait. The request that happened to come first may end
// early; the others must not suffer from that, and the time of a fetch is bounded.
func (d *documents) refresh(ctx context.Context, address string, doc *document) {
	metadata, fresh, err := d.fetch(context.WithoutCancel(ctx), address)
	now := d.now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil {
		doc.metadata, doc.fetched, doc.fresh, doc.failed, doc.err = metadata, now, fresh, time.Time{}, nil
	} else {
		doc.failed, doc.err = now, err
	}
	close(doc.running)
	doc.running = nil
}

func (d *documents) fetch(ctx context.Context, address string) (*upstreamMetadata, time.Duration, error) {
	fetched, err := fetchJSON(ctx, d.client, address, "")
	if err != nil {
		return nil, 0, err
	}
	m, err := parseUpstreamMetadata(fetched.Body)
	if err != nil {
		return nil, 0, upstreamFailed("%s: %w", address, err)
	}
	return &m, fetched.Freshness(metadataFresh, minMetadataFresh, maxMetadataFresh), nil
}

// fetchJSON gets a document, with an access token unless it is empty. The client bounds
// its length.
func fetchJSON(ctx context.Context, client *http.Client, address, accessToken string) (httpx.Fetched, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return httpx.Fetched{}, upstreamFailed("%w", err)
	}
	req.Header.Set("Accept", "application/json")
	if accessToken != "" {
		req.Header.Set("Authorization", "Bearer "+accessToken)
	}
	res, err := client.Do(req)
	if err != nil {
		return httpx.Fetched{}, upstreamFailed("%w", err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return httpx.Fetched{}, upstreamFailed("%s: %w", address, err)
	}
	if res.StatusCode != http.StatusOK {
		return httpx.Fetched{}, upstreamFailed("%s answers with the status %d", address, res.StatusCode)
	}
	return httpx.Fetched{Header: res.Header, Body: body}, nil
}

// within reports whether less than d has passed since then. A clock that was set back
// does not make it last longer.
func within(now, then time.Time, d time.Duration) bool {
	since := now.Sub(then)
	return !then.IsZero() && 0 <= since && since < d
}

// upstreamServer is where an upstream is, as its metadata and the options say.
type upstreamServer struct {
	upstreamMetadata
	// discovered says that the upstream itself said what it supports.
	discovered bool
}

// server finds out where an upstream is. What the options name wins, except for the
// issuer: that has to be what the options say.
func (u *upstreams) server(ctx context.Context, o *upstreamOptions) (*upstreamServer, error) {
	s := &upstreamServer{}
	if o.discovered() {
		address := o.metadataAddress()
		m, err := u.known.get(ctx, address)
		if err != nil {
			return nil, err
		}
		// OpenID Connect Discovery §4.3: otherwise whoever controls the document could
		// speak for another issuer.
		if !o.accepts(m.Issuer) {
			return nil, upstreamFailed("%s is the metadata of another issuer: %q", address, m.Issuer)
		}
		s.upstreamMetadata, s.discovered = *m, true
	}
	for _, endpoint := range []struct {
		to   *string
		from string
	}{
		{&s.Issuer, o.Issuer}, {&s.AuthorizationEndpoint, o.AuthorizationEndpoint}, {&s.TokenEndpoint, o.TokenEndpoint},
		{&s.UserinfoEndpoint, o.UserinfoEndpoint}, {&s.JWKSURI, o.JWKSURI},
	} {
		if endpoint.from != "" {
			*endpoint.to = endpoint.from
		}
	}
	return s, nil
}

// metadataAddress says where the metadata is.
func (o *upstreamOptions) metadataAddress() string {
	if o.DiscoveryURL != "" {
		return o.DiscoveryURL
	}
	return strings.TrimSuffix(o.Issuer, "/") + wellKnown
}
