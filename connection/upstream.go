package connection

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/go-jose/go-jose/v4"

	"github.com/opkit/opkit/internal/seal"
	"github.com/opkit/opkit/store"
)

// This file is about connections to other providers, called upstream: what they are
// made of and who may use them.

// Strategies of upstream connections. The management SDKs know most of them by these
// names.
const (
	// StrategyOIDC is any OpenID Provider.
	StrategyOIDC = "oidc"
	// StrategyOAuth2 is any OAuth 2.0 authorization server with an address at which it
	// says who the user is.
	StrategyOAuth2 = "oauth2"
)

var (
	// ErrUpstreamDenied says that the upstream let the user go without signing in: the
	// user refused, or it did.
	ErrUpstreamDenied = errors.New("connection: the upstream denied the sign-in")
	// ErrUpstreamFailed says that the upstream cannot be asked, or that what it said is
	// not to be believed. What it wraps is for the log.
	ErrUpstreamFailed = errors.New("connection: the upstream failed")
	// ErrUpstreamStale says that the upstream does not prove when the user signed in
	// there, or that it was too long ago for what was asked.
	ErrUpstreamStale = errors.New("connection: the sign-in at the upstream is not fresh enough")
)

func upstreamFailed(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrUpstreamFailed, fmt.Errorf(format, args...))
}

// PublishedKeys verifies what others sign, with the keys that they publish.
type PublishedKeys interface {
	// VerifyPublished returns the payload of a compact JWS that one of the keys at uri
	// signed, with one of algorithms.
	VerifyPublished(ctx context.Context, tenant, uri, compact string, algorithms []jose.SignatureAlgorithm) ([]byte, error)
}

// Outbound gives the client for requests to upstreams. It decides which addresses may
// be asked, and bounds time and size.
type Outbound interface{ Client() *http.Client }

// upstreams are what upstream connections need; nil if there can be none.
type upstreams struct {
	client  *http.Client
	keys    PublishedKeys
	secrets *seal.Box // of connections
	tokens  *seal.Box // of users
	known   *documents
}

// IsUpstream reports whether a connection leads to another provider.
func IsUpstream(c *store.Connection) bool { return isUpstreamStrategy(c.Strategy) }

func isUpstreamStrategy(strategy string) bool {
	_, ok := presets[strategy]
	return ok
}

// upstreamStrategies lists the strategies, for errors.
func upstreamStrategies() []string {
	var names []string
	for name := range presets {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// servesUpstreams reports whether upstream connections can be used in this process:
// their secrets can be opened, their providers asked and their users kept.
func (d *Directory) servesUpstreams() bool {
	return d.upstreams != nil && d.cfg.Stores.UserAdmin != nil
}

// UpstreamInfo is what a login page shows of an upstream connection.
type UpstreamInfo struct {
	// Label is what the button says, without a verb: "Google".
	Label string
	// IconURL is an https address, or empty.
	IconURL string
	// Button says whether there is to be a button at all.
	Button bool
	// Domains are those of the email addresses whose users sign in there, in lower case.
	Domains []string
}

// Upstream reads the options of an upstream connection as far as a login page needs
// them.
func (d *Directory) Upstream(c *store.Connection) (UpstreamInfo, error) {
	o, err := upstreamOptionsOf(c)
	if err != nil {
		return UpstreamInfo{}, err
	}
	info := UpstreamInfo{Label: c.DisplayName, IconURL: o.IconURL, Button: len(o.DomainAliases) == 0, Domains: o.DomainAliases}
	if c.ShowAsButton != nil {
		info.Button = *c.ShowAsButton
	}
	if info.Label == "" {
		info.Label = o.preset.label
	}
	if info.Label == "" {
		info.Label = c.Name
	}
	return info, nil
}
