package clientauth

import (
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// This file is the client secret: one, and for a while the one that it replaced.

// acceptsSecret reports whether secret is the client's, or the one before within its
// time. Both comparisons are always made.
func (a *Authenticator) acceptsSecret(client *store.Client, secret string) bool {
	current := client.SecretDigest.Matches(secret)
	if client.PreviousSecret == nil {
		return current
	}
	previous := client.PreviousSecret.Digest.Matches(secret)
	return current || previous && previousCounts(client, a.now())
}

// previousCounts reports whether the secret before the current one still counts. A
// client whose secret was taken away has no secret before it either.
func previousCounts(client *store.Client, now time.Time) bool {
	return client.PreviousSecret != nil && now.Before(client.PreviousSecret.ExpiresAt) && !client.SecretDigest.IsZero()
}

// sealedSecrets returns the secrets that may key the client's assertions.
func (a *Authenticator) sealedSecrets(t *tenant.Tenant, client *store.Client) ([]verificationKey, error) {
	sealed := []store.Sealed{client.SealedSecret}
	if previousCounts(client, a.now()) && len(client.PreviousSecret.Sealed) > 0 {
		sealed = append(sealed, client.PreviousSecret.Sealed)
	}
	keys := make([]verificationKey, len(sealed))
	for i := range sealed {
		secret, err := a.Secrets.Open(sealed[i], t.ID()+"/"+client.ID)
		if err != nil {
			return nil, fmt.Errorf("clientauth: the sealed secret of client %s: %w", client.ID, err)
		}
		keys[i] = verificationKey{material: secret, algorithms: []jose.SignatureAlgorithm{jose.HS256}}
	}
	return keys, nil
}
