package clientauth

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"time"

	josejson "github.com/go-jose/go-jose/v4/json"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// This file implements RFC 7523 §3 (JWT assertions for client authentication)
// with the rules of OpenID Connect Core §9.

const (
	assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

	// ticketKind separates used assertions from everything else that is used once.
	ticketKind = "client-assertion"

	maxAssertion = 8 << 10
	maxJTI       = 256

	// clockSkew is how far the client's clock may be off.
	clockSkew = time.Minute
	// maxAssertionAge bounds how long an assertion may be valid, and with it how
	// long its identifier has to be remembered.
	maxAssertionAge = time.Hour
)

// parseAssertionParameters reads the parameters of an assertion. The client is
// the one that the assertion names: client_id may be left out, but not differ
// (RFC 7521 §4.2).
func parseAssertionParameters(clientID, assertion, kindOfAssertion string) (credentials, error) {
	switch {
	case kindOfAssertion == "":
		return credentials{}, oauth.Errorf(oauth.CodeInvalidRequest, "client_assertion_type is missing")
	case kindOfAssertion != assertionType:
		return credentials{}, oauth.Errorf(oauth.CodeInvalidRequest, "client_assertion_type must be "+assertionType)
	case assertion == "":
		return credentials{}, oauth.Errorf(oauth.CodeInvalidRequest, "client_assertion is missing")
	}
	subject, err := assertionSubject(assertion)
	if err != nil {
		return credentials{}, err
	}
	if clientID != "" && clientID != subject {
		return credentials{}, oauth.Errorf(oauth.CodeInvalidRequest, "client_id and the client that client_assertion names differ")
	}
	return credentials{kind: kindAssertion, clientID: subject, assertion: assertion}, nil
}

// claims are the claims of an assertion that matter.
type claims struct {
	Issuer    string           `json:"iss"`
	Subject   string           `json:"sub"`
	Audience  jwt.Audience     `json:"aud"`
	Expiry    *jwt.NumericDate `json:"exp"`
	NotBefore *jwt.NumericDate `json:"nbf"`
	IssuedAt  *jwt.NumericDate `json:"iat"`
	ID        string           `json:"jti"`
}

// refused is an error about an assertion. Its text helps whoever builds the
// client and says nothing that the assertion does not.
func refused(reason string) error {
	return oauth.Errorf(oauth.CodeInvalidClient, "client authentication failed: client_assertion %s", reason)
}

// assertionSubject returns the client that an assertion names, before anything
// is verified: it says whose keys to verify it with, nothing else.
func assertionSubject(assertion string) (string, error) {
	if len(assertion) > maxAssertion {
		return "", refused("is larger than 8 KiB")
	}
	parts := strings.Split(assertion, ".")
	if len(parts) != 3 || strings.ContainsAny(assertion, "\r\n") {
		return "", refused("is not a signed JWT in compact form")
	}
	payload, err := base64.RawURLEncoding.Strict().DecodeString(parts[1])
	if err != nil {
		return "", refused("is not a signed JWT in compact form")
	}
	c, err := parseClaims(payload)
	if err != nil {
		return "", err
	}
	// RFC 7523 §3, 1 and 2.B: both name the client.
	if c.Subject == "" || c.Issuer != c.Subject {
		return "", refused("must have the client identifier as iss and as sub")
	}
	return c.Subject, nil
}

// parseClaims decodes strictly: a member that appears twice could be one value
// to the check and another to the use.
func parseClaims(payload []byte) (claims, error) {
	var c claims
	if err := josejson.Unmarshal(payload, &c); err != nil {
		return claims{}, refused("has claims that are not valid JSON, of the wrong type, or repeated")
	}
	return c, nil
}

// verifyAssertion checks the signature and the claims of an assertion and, last,
// that it was not used before.
func (a *Authenticator) verifyAssertion(ctx context.Context, t *tenant.Tenant, client *store.Client, assertion string) error {
	payload, err := a.verifiedPayload(ctx, t, client, assertion)
	switch {
	case errors.Is(err, ErrAlgorithm):
		return refused("is not a JWT signed with an algorithm that the client registered")
	case errors.Is(err, ErrCritical):
		return refused("has critical header parameters, and none is supported")
	case errors.Is(err, ErrSignature):
		return unproven("no key of the client verifies the assertion")
	case errors.Is(err, ErrNoKeys):
		return oauth.Errorf(oauth.CodeInvalidClient, "client authentication failed: the client registered no key that can verify an assertion")
	case errors.Is(err, ErrKeysUnavailable):
		return oauth.WithCause(err, oauth.CodeInvalidClient, "client authentication failed: the client's jwks_uri gives no usable key set at the moment")
	case err != nil:
		return err
	}
	c, err := parseClaims(payload)
	if err != nil {
		return err
	}
	expiry, err := a.checkClaims(t, client, &c)
	if err != nil {
		return err
	}
	now := a.now().UTC().Truncate(time.Microsecond)
	err = a.Tickets.PutTicket(ctx, store.Ticket{
		TenantID: t.ID(), Kind: ticketKind,
		// The client is part of it: identifiers of two clients may be equal.
		ID:        store.DigestOf(client.ID + "\x00" + c.ID),
		CreatedAt: c.earliest(expiry).UTC(),
		// Nothing is forgotten while the assertion could still be presented.
		ExpiresAt: expiry.UTC().Add(clockSkew),
	}, now)
	switch {
	case errors.Is(err, store.ErrExists):
		return refused("was used before: its jti must be new in every request")
	case errors.Is(err, store.ErrForgotten):
		return forgotten(err)
	}
	return err
}

// forgotten is the answer to an assertion of which nobody knows whether it was used. One
// that is made when the client's clock has gone on by the skew cannot have been.
func forgotten(cause error) error {
	e := *oauth.AsError(oauth.Unavailable(cause, clockSkew))
	e.Description = "client authentication failed: it is not known any more whether the client assertion was used before; send a new one, with iat, a little later"
	return &e
}

// checkClaims applies RFC 7523 §3 and returns the expiry.
func (a *Authenticator) checkClaims(t *tenant.Tenant, client *store.Client, c *claims) (time.Time, error) {
	now := a.now()
	if c.Issuer != client.ID || c.Subject != client.ID {
		return time.Time{}, refused("must have the client identifier as iss and as sub")
	}
	if !a.acceptsAudience(t, c.Audience) {
		return time.Time{}, refused("must have the issuer identifier of this server as its only aud")
	}
	if c.Expiry == nil {
		return time.Time{}, refused("has no exp")
	}
	expiry := c.Expiry.Time()
	switch {
	case !expiry.Add(clockSkew).After(now):
		return time.Time{}, refused("has expired")
	case expiry.After(now.Add(maxAssertionAge + clockSkew)):
		return time.Time{}, refused("has an exp more than one hour ahead")
	case c.NotBefore != nil && c.NotBefore.Time().After(now.Add(clockSkew)):
		return time.Time{}, refused("is not valid yet")
	case c.IssuedAt != nil && c.IssuedAt.Time().After(now.Add(clockSkew)):
		return time.Time{}, refused("was issued in the future")
	case c.ID == "":
		return time.Time{}, refused("has no jti")
	case len(c.ID) > maxJTI:
		return time.Time{}, refused("has a jti longer than 256 bytes")
	}
	return expiry, nil
}

// earliest is the first moment at which an assertion can have been accepted. A store
// that lost its records goes by it, see [store.Ticket].
func (c *claims) earliest(expiry time.Time) time.Time {
	first := expiry.Add(-maxAssertionAge - clockSkew)
	for _, claim := range []*jwt.NumericDate{c.IssuedAt, c.NotBefore} {
		if claim == nil {
			continue
		}
		if t := claim.Time().Add(-clockSkew); t.After(first) {
			first = t
		}
	}
	return first
}

// acceptsAudience reports whether an assertion is meant for this server alone. An
// assertion with a further audience could be presented here by that audience.
func (a *Authenticator) acceptsAudience(t *tenant.Tenant, audience jwt.Audience) bool {
	if len(audience) != 1 {
		return false
	}
	if audience[0] == t.Issuer() || !a.InsecureTokenEndpointAudience {
		return audience[0] == t.Issuer()
	}
	endpoint := t.URL(a.Tenants.Endpoints().Token)
	return endpoint != "" && audience[0] == endpoint
}
