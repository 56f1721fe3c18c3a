package dcr

import (
	"context"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/opkit/opkit/audit"
	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
)

// CreateClient stores a client that the tenant sets up itself: one of its own
// applications (FirstParty), a machine client, a partner. It bypasses the
// tenant's flag, the limiter and the limits of third-party grant types, which
// guard against strangers; everything else is validated as in a registration, and
// an error names the member.
//
// An empty ID is generated as in a registration. An empty secret is generated too unless the
// authentication method needs none; one that is given has to carry at least 128
// bits of entropy, because only its digest is kept. The secret is returned here
// and never again. A third-party client without a SecurityMode is strict.
//
// store.ErrNotFound: there is no such tenant. store.ErrExists: the identifier is
// taken.
func (r *Registrar) CreateClient(ctx context.Context, c store.Client, secret string) (store.Client, string, error) {
	c, secret, err := r.createClient(ctx, requester{}, c, secret)
	if err != nil {
		return store.Client{}, "", fmt.Errorf("dcr: %w", plain(err))
	}
	return c, secret, nil
}

// createClient returns an [oauth.Error] for what the caller can mend.
func (r *Registrar) createClient(ctx context.Context, by requester, c store.Client, secret string) (store.Client, string, error) {
	if _, err := r.cfg.Tenants.Tenant(ctx, c.TenantID); err != nil {
		return store.Client{}, "", fmt.Errorf("tenant of the client: %w", err)
	}
	if c.ID == store.DefaultForThirdParty || !utf8.ValidString(c.ID) || len(c.ID) > maxText {
		return store.Client{}, "", errors.New("the client's ID cannot be used")
	}
	m := metadataOf(&c)
	m.client.Dynamic, m.client.Registration = false, nil
	m.client.SecretDigest, m.client.SealedSecret, m.client.PreviousSecret = store.Digest{}, nil, nil
	if !m.client.FirstParty && m.client.SecurityMode == "" {
		m.client.SecurityMode = store.ModeStrict
	}
	if err := checkLoginPage(&m.client); err != nil {
		return store.Client{}, "", err
	}
	if err := r.validate(ctx, m); err != nil {
		return store.Client{}, "", err
	}
	if secret != "" && !m.hasSecret() {
		return store.Client{}, "", fmt.Errorf("token_endpoint_auth_method %s has no secret", m.client.TokenEndpointAuthMethod)
	}
	if err := r.checkSectorDocument(ctx, m); err != nil {
		return store.Client{}, "", err
	}
	if c.ID != "" {
		if err := r.clear(ctx, c.TenantID, c.ID); err != nil {
			return store.Client{}, "", err
		}
	}
	secret, err := r.create(ctx, m, secret)
	if err != nil {
		return store.Client{}, "", err
	}
	r.emit(ctx, by, audit.Event{TenantID: m.client.TenantID, Type: audit.ClientCreation, Outcome: audit.Allowed, ClientID: m.client.ID})
	m.client.Version = 1 // what Create stores (package store)
	return m.client.Clone(), secret, nil
}

// metadataOf returns what a record says of a client, in the form of a registration.
func metadataOf(c *store.Client) *metadata {
	m := &metadata{client: *c}
	if c.Metadata != nil {
		m.extra, m.rare = *c.Metadata, true
	}
	return m
}

// plain turns an error for a client into one for the host: its words alone.
func plain(err error) error {
	if !oauth.Internal(err) {
		return errors.New(oauth.AsError(err).Description)
	}
	return err
}

// clear makes sure that a client whose identifier is chosen inherits nothing from
// one that had it before: a deletion that was not finished, or a user who consented
// on a node that did not know of it yet.
func (r *Registrar) clear(ctx context.Context, tenant, id string) error {
	_, err := r.cfg.Stores.Clients.Client(ctx, tenant, id)
	switch {
	case err == nil:
		return store.ErrExists
	case !errors.Is(err, store.ErrNotFound):
		return err
	}
	return r.revokeAll(ctx, tenant, id)
}
