package dcr

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/opkit/opkit/audit"
	"github.com/opkit/opkit/store"
)

// MaxSecretOverlap bounds for how long a client secret is accepted after it was
// replaced.
const MaxSecretOverlap = 30 * 24 * time.Hour

// ErrNoSecret says that a client authenticates without a client secret, so that
// there is none to replace.
var ErrNoSecret = errors.New("dcr: the client has no client secret")

// RotateSecret replaces the secret of a client and returns the record and the new
// secret, which is not kept. For the time of overlap, at most [MaxSecretOverlap],
// the client may still authenticate with the secret that it had; zero, which is
// what a leaked secret needs, ends it at once. A secret before that one is ended in
// any case.
//
// ID tokens that are signed with the secret (HS256) are signed with the new one at
// once. Nodes whose cache has the record learn of the change as their cache's
// staleness allows.
//
// store.ErrNotFound: there is no such client. [ErrNoSecret]. store.ErrConflict:
// somebody else replaced it at the same time.
func (r *Registrar) RotateSecret(ctx context.Context, tenant, id string, overlap time.Duration) (store.Client, string, error) {
	return r.rotateSecret(ctx, requester{}, tenant, id, overlap)
}

func (r *Registrar) rotateSecret(ctx context.Context, by requester, tenant, id string, overlap time.Duration) (store.Client, string, error) {
	if overlap < 0 || overlap > MaxSecretOverlap {
		return store.Client{}, "", fmt.Errorf("dcr: the overlap of client secrets must be from 0 to %v", MaxSecretOverlap)
	}
	var began store.Digest
	for attempt := range replacements {
		c, err := r.uncached.Client(ctx, tenant, id)
		if err != nil {
			return store.Client{}, "", err
		}
		if c.SecretDigest.IsZero() {
			return store.Client{}, "", ErrNoSecret
		}
		if attempt == 0 {
			began = c.SecretDigest
		} else if c.SecretDigest != began {
			break // or whoever did that would have been given a secret that is no good
		}
		next, secret := r.rotated(&c, overlap)
		switch err := r.cfg.Stores.Clients.UpdateClient(ctx, next); {
		case errors.Is(err, store.ErrConflict): // perhaps it was only noted as used
			continue
		case err != nil:
			return store.Client{}, "", err
		}
		r.cfg.Logger.InfoContext(ctx, "client secret replaced", "tenant", tenant, "client_id", id, "overlap", overlap)
		r.emit(ctx, by, audit.Event{TenantID: tenant, Type: audit.ClientSecretRotation, Outcome: audit.Allowed, ClientID: id})
		next.Version++
		return next, secret, nil
	}
	return store.Client{}, "", fmt.Errorf("dcr: replacing the secret of client %s: %w", id, store.ErrConflict)
}

// rotated returns the record with a new secret.
func (r *Registrar) rotated(c *store.Client, overlap time.Duration) (store.Client, string) {
	next := c.Clone()
	next.PreviousSecret = nil
	if overlap > 0 {
		next.PreviousSecret = &store.PreviousSecret{Digest: next.SecretDigest, Sealed: next.SealedSecret, ExpiresAt: r.now().Add(overlap)}
	}
	secret := alphanumeric(secretLength)
	next.SecretDigest, next.SealedSecret = store.DigestOf(secret), nil
	if len(c.SealedSecret) > 0 {
		next.SealedSecret = r.secrets.Seal([]byte(secret), next.TenantID+"/"+next.ID)
	}
	return next, secret
}
