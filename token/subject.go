package token

import (
	"context"
	"fmt"

	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// This file implements OpenID Connect Core §8 (Subject Identifier Types).

// The subject types. A client that registered none has public subjects.
const (
	subjectPublic   = "public"
	subjectPairwise = "pairwise"
)

// SubjectTypes lists the subject types, for metadata.
func SubjectTypes() []string { return []string{subjectPublic, subjectPairwise} }

// pairwisePrefix is what every pairwise sub begins with and the identifier of no
// user does: whoever receives subjects of both types, as an API does, cannot take
// one user for another.
const pairwisePrefix = "pairwise|"

// Subject returns the sub by which client knows the user: the user's identifier
// or, if the client registered pairwise subjects, one that only the clients of its
// sector share (OpenID Connect Core §8.1). It goes into everything that the client
// can read. A token of the client's own has another subject.
func (i *Issuer) Subject(ctx context.Context, t *tenant.Tenant, client *store.Client, userID string) (string, error) {
	if !isPairwise(client) {
		return userID, nil
	}
	id, err := i.pairwise(ctx, t, client, "sub", userID)
	if err != nil {
		return "", err
	}
	return pairwisePrefix + id, nil
}

// SessionID returns the sid by which client knows a session, empty for an empty
// one. Clients with pairwise subjects get one of their sector's own, because
// otherwise what sub hides would be in sid: it is equal for everyone whom a browser
// signs in to. Front-Channel Logout §3 has sid be a session "at an RP".
func (i *Issuer) SessionID(ctx context.Context, t *tenant.Tenant, client *store.Client, sid string) (string, error) {
	if sid == "" || !isPairwise(client) {
		return sid, nil
	}
	return i.pairwise(ctx, t, client, "sid", sid)
}

func isPairwise(c *store.Client) bool {
	return c.Metadata != nil && c.Metadata.SubjectType == subjectPairwise
}

// pairwise computes an identifier for the client's sector. A registration made sure
// that there is one; a record that was written past it is an internal error,
// because any fallback would give the user away.
func (i *Issuer) pairwise(ctx context.Context, t *tenant.Tenant, client *store.Client, use, value string) (string, error) {
	sector, err := oauth.SectorIdentifier(client.Metadata.SectorIdentifierURI, client.RedirectURIs)
	if err != nil {
		return "", fmt.Errorf("token: client %q has pairwise subjects but no sector: %w", client.ID, err)
	}
	return i.tenants.Pairwise(ctx, t, use, sector, value)
}
