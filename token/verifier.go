package token

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	josejson "github.com/go-jose/go-jose/v4/json"
	"github.com/go-jose/go-jose/v4/jwt"
)

// This file is the API's side: it validates JWT access tokens (RFC 9068 §4).

// ErrInvalidToken says that an access token is not valid for this API: wrong
// signature, issuer, audience or type, or out of its time. The wrapping error
// says which, for the log.
var ErrInvalidToken = errors.New("token: invalid access token")

// VerifierConfig is what a [Verifier] needs.
type VerifierConfig struct {
	// Issuer is the issuer identifier, byte for byte as the provider is configured
	// with it. Required.
	Issuer string
	// Audience is the identifier of the API. Tokens for another one are refused.
	// Required.
	Audience string
	// JWKSURL is where the issuer's keys are. Empty: the jwks_uri of the issuer's
	// metadata at ISSUER/.well-known/openid-configuration.
	JWKSURL string
	// ResourceMetadata is the address of the API's metadata ([ProtectedResource]), to
	// which a refused request is pointed (RFC 9728 §5.1). It then also says which scopes
	// the resource needs if there was no token, so that clients ask for no more. Empty:
	// neither.
	ResourceMetadata string
	// Algorithms are the signature algorithms that are accepted. Empty: ES256 and
	// RS256. Only asymmetric ones are possible.
	Algorithms []string
	// Leeway is by how much the clocks of issuer and API may differ. Zero: 10
	// seconds. Negative: none.
	Leeway time.Duration
	// InsecureHTTP allows the keys to be fetched over http from a host that is not
	// a loopback address. Whoever sits between can then make up tokens.
	InsecureHTTP bool
	// HTTPClient fetches the keys. Nil: one that follows no redirects. Fetches end
	// after ten seconds in any case.
	HTTPClient *http.Client
	// Now tells the time. Nil: [time.Now].
	Now func() time.Time
	// Logger receives failures to fetch the keys. Nil: nothing is logged.
	Logger *slog.Logger
}

// Verifier validates the JWT access tokens of one issuer for one API. It fetches
// the issuer's keys when the first token arrives and keeps them; verifying itself
// needs no network. It is safe for concurrent use.
//
// Keys are refreshed in the background every ten minutes, and at once for a key
// that is not known, but not more often than every ten seconds, whatever tokens
// strangers make up. While the issuer does not answer, the keys last known are
// used for up to an hour.
type Verifier struct {
	issuer, audience string
	resourceMetadata string
	algorithms       []jose.SignatureAlgorithm
	leeway           time.Duration
	keys             *keySet
	now              func() time.Time
	logger           *slog.Logger
}

// asymmetric are the algorithms that a VerifierConfig may name. HMAC is not among
// them: with it everyone who can verify could sign.
var asymmetric = []jose.SignatureAlgorithm{
	jose.ES256, jose.ES384, jose.ES512, jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.EdDSA,
}

// NewVerifier returns the verifier that cfg describes, or an error that names
// what is wrong with it. It does not use the network.
func NewVerifier(cfg VerifierConfig) (*Verifier, error) {
	v := &Verifier{issuer: cfg.Issuer, audience: cfg.Audience, resourceMetadata: cfg.ResourceMetadata, leeway: cfg.Leeway, now: cfg.Now, logger: cfg.Logger}
	if v.issuer == "" || v.audience == "" {
		return nil, errors.New("token: VerifierConfig.Issuer and Audience are required")
	}
	if err := checkFetchURL(cfg.Issuer, cfg.InsecureHTTP); err != nil {
		return nil, fmt.Errorf("token: VerifierConfig.Issuer: %w", err)
	}
	if cfg.JWKSURL != "" {
		if err := checkFetchURL(cfg.JWKSURL, cfg.InsecureHTTP); err != nil {
			return nil, fmt.Errorf("token: VerifierConfig.JWKSURL: %w", err)
		}
	}
	if cfg.ResourceMetadata != "" {
		if err := checkFetchURL(cfg.ResourceMetadata, cfg.InsecureHTTP); err != nil {
			return nil, fmt.Errorf("token: VerifierConfig.ResourceMetadata: %w", err)
		}
	}
	v.algorithms = []jose.SignatureAlgorithm{jose.ES256, jose.RS256}
	if len(cfg.Algorithms) > 0 {
		v.algorithms = nil
		for _, name := range cfg.Algorithms {
			alg := jose.SignatureAlgorithm(name)
			if !slices.Contains(asymmetric, alg) {
				return nil, fmt.Errorf("token: VerifierConfig.Algorithms: %q is not a supported asymmetric algorithm", name)
			}
			v.algorithms = append(v.algorithms, alg)
		}
	}
	switch {
	case v.leeway == 0:
		v.leeway = 10 * time.Second
	case v.leeway < 0:
		v.leeway = 0
	}
	if v.now == nil {
		v.now = time.Now
	}
	if v.logger == nil {
		v.logger = slog.New(slog.DiscardHandler)
	}
	client := cfg.HTTPClient
	if client == nil {
		client = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	v.keys = &keySet{
		issuer: cfg.Issuer, url: cfg.JWKSURL, insecureHTTP: cfg.InsecureHTTP,
		client: client, now: v.now, logger: v.logger,
	}
	return v, nil
}

// checkFetchURL refuses URLs from which keys cannot be fetched safely.
func checkFetchURL(raw string, insecureHTTP bool) error {
	u, err := url.Parse(raw)
	if err != nil || u.Hostname() == "" || u.User != nil || u.Fragment != "" {
		return errors.New("not an absolute http or https URL")
	}
	switch u.Scheme {
	case "https":
		return nil
	case "http":
		addr, err := netip.ParseAddr(u.Hostname())
		if insecureHTTP || u.Hostname() == "localhost" || err == nil && addr.IsLoopback() {
			return nil
		}
		return errors.New("http on a host that is not a loopback host")
	}
	return errors.New("not an absolute http or https URL")
}

// AccessToken is a verified access token.
type AccessToken struct {
	Issuer string
	// Subject is the user or, for a token of the client itself, the client's
	// identifier followed by "@clients".
	Subject   string
	Audience  []string
	ClientID  string
	ID        string // jti
	Scopes    []string
	IssuedAt  time.Time
	ExpiresAt time.Time
	// AuthTime and ACR say when and how the user proved who they are. Zero: not
	// said.
	AuthTime time.Time
	ACR      string

	payload []byte
}

// HasScope reports whether the token has the scope.
func (t *AccessToken) HasScope(scope string) bool { return slices.Contains(t.Scopes, scope) }

// Claim decodes the claim of that name, such as a custom one, into v as
// encoding/json does. The bool is false if the token has no such claim.
func (t *AccessToken) Claim(name string, v any) (bool, error) {
	var claims map[string]josejson.RawMessage
	if err := josejson.Unmarshal(t.payload, &claims); err != nil {
		return false, err
	}
	raw, ok := claims[name]
	if !ok {
		return false, nil
	}
	return true, josejson.Unmarshal(raw, v)
}

// Verify validates a JWT access token. The error is [ErrInvalidToken], the
// context's, or says that the issuer's keys could not be fetched.
func (v *Verifier) Verify(ctx context.Context, raw string) (*AccessToken, error) {
	invalid := func(reason string) (*AccessToken, error) {
		return nil, fmt.Errorf("%w: %s", ErrInvalidToken, reason)
	}
	if len(raw) > maxToken {
		return invalid("it is too long")
	}
	// RFC 8725 §3.1: the algorithms are ours, not the token's. This refuses none.
	jws, err := jose.ParseSignedCompact(raw, v.algorithms)
	if err != nil {
		return invalid("it is not a JWS with an accepted algorithm")
	}
	header := jws.Signatures[0].Protected
	// RFC 9068 §4: typ tells access tokens from ID tokens.
	if typ, _ := header.ExtraHeaders[jose.HeaderType].(string); !isAccessTokenType(typ) {
		return invalid("its typ is not at+jwt")
	}
	// RFC 7515 §4.1.11: no extension is understood here.
	if _, ok := header.ExtraHeaders["crit"]; ok {
		return invalid("it has critical header parameters")
	}
	// The key comes from the issuer's set alone: jwk, jku, x5c and x5u of the
	// header are the sender's word.
	if header.KeyID == "" {
		return invalid("it names no key")
	}
	key, err := v.keys.key(ctx, header.KeyID)
	if errors.Is(err, errUnknownKey) {
		return invalid("its key is not one of the issuer's")
	}
	if err != nil {
		return nil, err
	}
	// RFC 8725 §3.1: a key is used with the algorithm that it was published for.
	if key.Algorithm != "" && key.Algorithm != header.Algorithm {
		return invalid("its algorithm is not the one of its key")
	}
	payload, err := jws.Verify(key.Key)
	if err != nil {
		return invalid("its signature does not verify")
	}

	var claims struct {
		Issuer    string           `json:"iss"`
		Subject   string           `json:"sub"`
		Audience  jwt.Audience     `json:"aud"`
		Expiry    *jwt.NumericDate `json:"exp"`
		NotBefore *jwt.NumericDate `json:"nbf"`
		IssuedAt  *jwt.NumericDate `json:"iat"`
		AuthTime  *jwt.NumericDate `json:"auth_time"`
		ACR       string           `json:"acr"`
		ClientID  string           `json:"client_id"`
		ID        string           `json:"jti"`
		Scope     string           `json:"scope"`
	}
	if err := josejson.Unmarshal(payload, &claims); err != nil {
		return invalid("its payload is not a claims set")
	}
	now := v.now()
	switch {
	case claims.Issuer != v.issuer:
		return invalid("its issuer is another one")
	case !claims.Audience.Contains(v.audience):
		return invalid("it is meant for another audience")
	case claims.Expiry == nil || !now.Before(claims.Expiry.Time().Add(v.leeway)):
		return invalid("it has expired")
	case claims.NotBefore != nil && now.Add(v.leeway).Before(claims.NotBefore.Time()):
		return invalid("it is not valid yet")
	case claims.Subject == "":
		return invalid("it has no subject")
	}
	return &AccessToken{
		Issuer:    claims.Issuer,
		Subject:   claims.Subject,
		Audience:  claims.Audience,
		ClientID:  claims.ClientID,
		ID:        claims.ID,
		Scopes:    strings.Fields(claims.Scope),
		IssuedAt:  claims.IssuedAt.Time(),
		ExpiresAt: claims.Expiry.Time(),
		AuthTime:  claims.AuthTime.Time(),
		ACR:       claims.ACR,
		payload:   payload,
	}, nil
}

// isAccessTokenType compares a header typ with at+jwt as RFC 7515 §4.1.9 asks:
// a media type whose prefix "application/" may be left out.
func isAccessTokenType(typ string) bool {
	const prefix = "application/"
	if len(typ) > len(prefix) && strings.EqualFold(typ[:len(prefix)], prefix) {
		typ = typ[len(prefix):]
	}
	return strings.EqualFold(typ, typAccessToken)
}
