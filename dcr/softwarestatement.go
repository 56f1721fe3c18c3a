package dcr

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	josejson "github.com/go-jose/go-jose/v4/json"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/opkit/opkit/internal/clientauth"
	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// This file implements software statements (RFC 7591 §2.3, §3.1.1).

const (
	// maxStatement bounds a statement, which is kept with the client.
	maxStatement = 16 << 10
	// statementSkew is how far the issuer's clock may be off.
	statementSkew = time.Minute
)

// SoftwareIssuer is an issuer of software statements that is trusted: what it says
// of an application counts more than what the application says of itself.
type SoftwareIssuer struct {
	// Issuer is the iss of its statements, compared exactly. Required.
	Issuer string
	// JWKS is the set of its public keys, JWKSURI where they are. One of the two is
	// required. An address is fetched when it is needed, through the guarded client.
	JWKS    json.RawMessage
	JWKSURI string
	// Algorithms are those that its statements may be signed with. Empty: ES256,
	// RS256, PS256 and EdDSA.
	Algorithms []string
	// RequiredClaims have to be in every statement. Empty: software_id. An issuer that
	// signs other tokens with the same keys, such as ID tokens, needs at least one
	// claim here that those do not have.
	RequiredClaims []string
	// SoftwareIDs are the applications that are approved, by their software_id. Empty:
	// all that the issuer has signed a statement for.
	SoftwareIDs []string
	// Tenants are the identifiers of the tenants that trust the issuer. Empty: all.
	Tenants []string
}

// check returns what is wrong with an issuer that a host configured.
func (s *SoftwareIssuer) check() error {
	switch {
	case s.Issuer == "":
		return errors.New("the Issuer is required")
	case (len(s.JWKS) > 0) == (s.JWKSURI != ""):
		return errors.New("one of JWKS and JWKSURI is required")
	case s.JWKSURI != "":
		if err := oauth.CheckURI(s.JWKSURI, https...); err != nil {
			return fmt.Errorf("JWKSURI %w", err)
		}
	default:
		keys, err := clientauth.ParseKeySet(s.JWKS)
		if err != nil {
			return fmt.Errorf("JWKS %w", err)
		}
		if !slices.ContainsFunc(keys, func(k jose.JSONWebKey) bool { return len(clientauth.SigningAlgorithmsOf(&k)) > 0 }) {
			return errors.New("the JWKS has no key that can verify a signature")
		}
	}
	for _, alg := range s.Algorithms {
		if !slices.Contains(clientauth.PublicKeyAlgorithms, alg) {
			return fmt.Errorf("one of its Algorithms: %q is not one of %s", alg, strings.Join(clientauth.PublicKeyAlgorithms, ", "))
		}
	}
	return nil
}

// softwareIssuers are the trusted issuers and the keys that they publish.
type softwareIssuers struct {
	issuers []SoftwareIssuer
	keys    *clientauth.KeySets
	now     func() time.Time
}

func newSoftwareIssuers(cfg *Config) (*softwareIssuers, error) {
	for i := range cfg.SoftwareIssuers {
		if err := cfg.SoftwareIssuers[i].check(); err != nil {
			return nil, fmt.Errorf("dcr: Config.SoftwareIssuers[%d]: %w", i, err)
		}
	}
	return &softwareIssuers{
		issuers: slices.Clone(cfg.SoftwareIssuers), now: cfg.Now,
		keys: &clientauth.KeySets{Outbound: cfg.Outbound, Now: cfg.Now, Logger: cfg.Logger},
	}, nil
}

// any reports whether the tenant trusts any issuer. If it does not, statements are
// members without a meaning, like others.
func (s *softwareIssuers) any(t *tenant.Tenant) bool {
	return slices.ContainsFunc(s.issuers, func(i SoftwareIssuer) bool { return i.trustedBy(t) })
}

func (s *SoftwareIssuer) trustedBy(t *tenant.Tenant) bool {
	return len(s.Tenants) == 0 || slices.Contains(s.Tenants, t.ID())
}

// invalidStatement is invalid_software_statement with the rule that is broken.
func invalidStatement(format string, args ...any) error {
	return oauth.Errorf(oauth.CodeInvalidSoftwareStatement, "software_statement "+format, args...)
}

// statementClaims are the claims of a statement that are no metadata.
type statementClaims struct {
	Issuer     string           `json:"iss"`
	Audience   jwt.Audience     `json:"aud"`
	Expiry     *jwt.NumericDate `json:"exp"`
	NotBefore  *jwt.NumericDate `json:"nbf"`
	IssuedAt   *jwt.NumericDate `json:"iat"`
	SoftwareID string           `json:"software_id"`
}

// verify returns the claims of a statement that an issuer signed whom the tenant
// trusts. Everything but the name of the issuer is believed only after that.
func (s *softwareIssuers) verify(ctx context.Context, t *tenant.Tenant, statement, endpoint string) ([]byte, error) {
	if len(statement) > maxStatement {
		return nil, invalidStatement("is larger than 16 KiB")
	}
	parts := strings.Split(statement, ".")
	if len(parts) != 3 || strings.ContainsAny(statement, "\r\n") {
		return nil, invalidStatement("is not a signed JWT in compact form")
	}
	unverified, err := base64.RawURLEncoding.Strict().DecodeString(parts[1])
	if err != nil {
		return nil, invalidStatement("is not a signed JWT in compact form")
	}
	var claims statementClaims
	if josejson.Unmarshal(unverified, &claims) != nil || claims.Issuer == "" {
		return nil, invalidStatement("has no iss, or claims that are not valid JSON, of the wrong type, or repeated")
	}
	i := slices.IndexFunc(s.issuers, func(i SoftwareIssuer) bool { return i.Issuer == claims.Issuer && i.trustedBy(t) })
	if i < 0 {
		return nil, oauth.Errorf(oauth.CodeUnapprovedSoftwareStatement, "software_statement is from an issuer that is not trusted here")
	}
	issuer := &s.issuers[i]
	payload, err := s.verifySignature(ctx, t, issuer, statement)
	if err != nil {
		return nil, err
	}
	claims = statementClaims{}
	if err := josejson.Unmarshal(payload, &claims); err != nil {
		return nil, invalidStatement("has claims that are not valid JSON, of the wrong type, or repeated")
	}
	if err := s.checkClaims(issuer, t, &claims, payload, endpoint); err != nil {
		return nil, err
	}
	if len(issuer.SoftwareIDs) > 0 && !slices.Contains(issuer.SoftwareIDs, claims.SoftwareID) {
		return nil, oauth.Errorf(oauth.CodeUnapprovedSoftwareStatement, "software_statement is for an application that is not approved here")
	}
	return payload, nil
}

// verifySignature returns the payload of a statement of issuer.
func (s *softwareIssuers) verifySignature(ctx context.Context, t *tenant.Tenant, issuer *SoftwareIssuer, statement string) ([]byte, error) {
	algorithms := issuer.Algorithms
	if len(algorithms) == 0 {
		algorithms = clientauth.PublicKeyAlgorithms
	}
	// As if the issuer were a client: the same rules for keys, fetched ones included.
	keys := &store.Client{
		TenantID: t.ID(), ID: issuer.Issuer, Metadata: &store.ClientMetadata{JWKS: issuer.JWKS, JWKSURI: issuer.JWKSURI},
	}
	var err error
	for _, alg := range algorithms { // the statement has one of them
		var payload []byte
		if payload, err = s.keys.Verify(ctx, keys, statement, alg); err == nil {
			return payload, nil
		}
		if !errors.Is(err, clientauth.ErrAlgorithm) {
			break
		}
	}
	switch {
	case errors.Is(err, clientauth.ErrAlgorithm):
		return nil, invalidStatement("is not a JWT signed with an algorithm that is accepted of its issuer")
	case errors.Is(err, clientauth.ErrCritical):
		return nil, invalidStatement("has critical header parameters, and none is supported")
	case errors.Is(err, clientauth.ErrKeysUnavailable):
		return nil, oauth.Unavailable(err, 30*time.Second) // it may be a good one
	case errors.Is(err, clientauth.ErrSignature), errors.Is(err, clientauth.ErrNoKeys):
		return nil, invalidStatement("has a signature that no key of its issuer verifies")
	}
	return nil, err
}

// checkClaims checks what a statement says of itself.
func (s *softwareIssuers) checkClaims(issuer *SoftwareIssuer, t *tenant.Tenant, c *statementClaims, payload []byte, endpoint string) error {
	now := s.now()
	switch {
	case c.Issuer != issuer.Issuer:
		return invalidStatement("has no iss")
	case len(c.Audience) > 0 && !c.Audience.Contains(t.Issuer()) && !c.Audience.Contains(endpoint):
		// RFC 7519 §4.1.3.
		return invalidStatement("is meant for another server: aud must be left out, or have the issuer identifier")
	case c.Expiry != nil && !c.Expiry.Time().Add(statementSkew).After(now):
		return invalidStatement("has expired")
	case c.NotBefore != nil && c.NotBefore.Time().After(now.Add(statementSkew)):
		return invalidStatement("is not valid yet")
	case c.IssuedAt != nil && c.IssuedAt.Time().After(now.Add(statementSkew)):
		return invalidStatement("was issued in the future")
	}
	var claims map[string]json.RawMessage
	if err := json.Unmarshal(payload, &claims); err != nil {
		return invalidStatement("has claims that are not an object")
	}
	required := issuer.RequiredClaims
	if len(required) == 0 {
		required = []string{"software_id"}
	}
	for _, name := range required {
		if value := string(claims[name]); value == "" || value == "null" || value == `""` {
			return invalidStatement("lacks the claim %s", name)
		}
	}
	return nil
}

// applyStatement puts what a trusted issuer says into m, in the place of what the
// application says of itself (RFC 7591 §2.3). The statement is kept as it came.
func (r *Registrar) applyStatement(ctx context.Context, t *tenant.Tenant, m *metadata) error {
	if m.statement == nil {
		return nil
	}
	if *m.statement == "" {
		if r.cfg.RequireSoftwareStatement || m.wasStated {
			return oauth.Errorf(oauth.CodeInvalidSoftwareStatement, "software_statement is required")
		}
		return nil
	}
	statement := *m.statement
	payload, err := r.software.verify(ctx, t, statement, t.URL(r.cfg.Tenants.Endpoints().Registration))
	if err != nil {
		return err
	}
	// A statement cannot say what only the provider issues, nor have one inside.
	issued, document := m.issued, m.document
	m.issued, m.document, m.statement = nil, nil, nil
	defer func() { m.issued, m.document = issued, document }()
	if err := m.beginStatement(payload); err != nil {
		return err
	}
	if err := decode(payload, m); err != nil {
		return invalidStatement("has claims that cannot be registered: %s", oauth.AsError(err).Description)
	}
	m.extra.SoftwareStatement, m.rare = statement, true
	return nil
}

// beginStatement notes who a statement is from, and removes the keys that the
// application named if the statement names any: jwks and jwks_uri exclude each other.
func (m *metadata) beginStatement(payload []byte) error {
	var claims struct {
		Issuer  string          `json:"iss"`
		JWKS    json.RawMessage `json:"jwks"`
		JWKSURI json.RawMessage `json:"jwks_uri"`
	}
	if err := josejson.Unmarshal(payload, &claims); err != nil {
		return invalidStatement("has claims that are not valid JSON, or repeated")
	}
	m.caller.SoftwareIssuer = claims.Issuer
	if claims.JWKS != nil || claims.JWKSURI != nil {
		m.extra.JWKS, m.extra.JWKSURI = nil, ""
	}
	return nil
}
