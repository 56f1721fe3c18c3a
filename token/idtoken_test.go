package token

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/opkit/opkit/store"
)

func TestIDTokenAlgorithms(t *testing.T) {
	for _, tc := range []struct{ registered, alg string }{{"", "RS256"}, {"RS256", "RS256"}, {"ES256", "ES256"}} {
		t.Run("registered "+tc.registered, func(t *testing.T) {
			f := newFixture(t)
			f.changeClient(webClient, func(c *store.Client) {
				c.Metadata = &store.ClientMetadata{IDTokenSignedResponseAlg: tc.registered}
				if tc.registered == "" {
					c.Metadata = nil
				}
			})
			got := f.redeem(webClient, f.code(f.authorization(webClient, "", "openid")))
			header, _ := jwtParts(t, got.IDToken)
			if header["alg"] != tc.alg || header["typ"] != "JWT" || header["kid"] == nil {
				t.Errorf("header = %v", header)
			}
			f.idTokenClaims(got.IDToken)
		})
	}
}

func TestEveryAdvertisedAlgorithmHasAKey(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.InsecureUnsignedIDTokens = true })
	for _, alg := range IDTokenSigningAlgs(true) {
		c := f.client(webClient)
		c.Metadata = &store.ClientMetadata{IDTokenSignedResponseAlg: alg}
		c.SealedSecret = f.sealedSecret(webClient, testSecret)
		if key, err := f.issuer.idTokenKeys(t.Context(), f.tenant, c); err != nil || key.alg != alg {
			t.Errorf("%s: %v", alg, err)
		}
	}
}

func TestIDTokenByHS256(t *testing.T) {
	f := newFixture(t)
	f.changeClient(webClient, func(c *store.Client) {
		c.Metadata = &store.ClientMetadata{IDTokenSignedResponseAlg: "HS256"}
		c.SealedSecret = f.sealedSecret(webClient, testSecret)
	})
	got := f.redeem(webClient, f.code(f.authorization(webClient, "", "openid")))
	jws, err := jose.ParseSignedCompact(got.IDToken, []jose.SignatureAlgorithm{jose.HS256})
	f.ok(err)
	if _, err := jws.Verify([]byte(testSecret)); err != nil {
		t.Errorf("the client's secret does not verify the ID token: %v", err)
	}
	header, claims := jwtParts(t, got.IDToken)
	if len(header) != 2 || header["typ"] != "JWT" {
		t.Errorf("header = %v", header)
	}
	if claims["at_hash"] != halfHash(got.AccessToken) || claims["sub"] != "auth0|u1" {
		t.Errorf("claims = %v", claims)
	}
}

// A client whose algorithm has no key gets no tokens, and its code stays good.
func TestIDTokenWithoutAKeyIsNotMinted(t *testing.T) {
	for _, tc := range []struct {
		rule string
		alg  string
		seal func(*fixture) store.Sealed
	}{
		{"HS256 without a sealed secret", "HS256", func(*fixture) store.Sealed { return nil }},
		{"HS256 with an empty secret", "HS256", func(f *fixture) store.Sealed { return f.sealedSecret(webClient, "") }},
		{"HS256 with the secret of another client", "HS256", func(f *fixture) store.Sealed { return f.sealedSecret(publicClient, testSecret) }},
		{"none", "none", func(*fixture) store.Sealed { return nil }},
		{"an unknown algorithm", "XS256", func(*fixture) store.Sealed { return nil }},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			f := newFixture(t)
			code := f.code(f.authorization(webClient, "", "openid"))
			f.changeClient(webClient, func(c *store.Client) {
				c.Metadata = &store.ClientMetadata{IDTokenSignedResponseAlg: tc.alg}
				c.SealedSecret = tc.seal(f)
			})
			got := f.post(codeForm(webClient, code))
			f.refused(got, 500, "server_error")
			if got.Description != "" {
				t.Errorf("description = %q", got.Description)
			}
			f.changeClient(webClient, func(c *store.Client) { c.Metadata = &store.ClientMetadata{IDTokenSignedResponseAlg: "ES256"} })
			f.redeem(webClient, code)
		})
	}
}

func TestHalfHash(t *testing.T) {
	// OpenID Connect Core appendix A.3 and A.4: at_hash and c_hash of its examples.
	if got := halfHash("jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y"); got != "77QmUPtjPfzWtF2AnpK9RQ" {
		t.Errorf("at_hash = %s", got)
	}
	if got := halfHash("Qcb0Orv1zh30vL1MPRsbm-diHiMwcLyZvn1arpZv-Jxf_11jnpEX3Tgfvk"); got != "LDktKdoQak3Pk0cnXxCltA" {
		t.Errorf("c_hash = %s", got)
	}
	sum := sha256.Sum256([]byte("x"))
	if got := halfHash("x"); got != base64.RawURLEncoding.EncodeToString(sum[:16]) || len(got) != 22 {
		t.Errorf("halfHash = %s", got)
	}
}

func TestScopeClaimsAreNotInTheIDTokenOfACode(t *testing.T) {
	f := newFixture(t)
	got := f.redeem(webClient, f.code(f.authorization(webClient, "", "openid", "profile", "email", "phone", "address")))
	claims := f.idTokenClaims(got.IDToken)
	for _, name := range []string{"name", "email", "email_verified", "phone_number", "address", "updated_at"} {
		if _, ok := claims[name]; ok {
			t.Errorf("the ID token has %s although an access token came with it", name)
		}
	}
}

func TestTokensCarryNoWhitespaceOrPadding(t *testing.T) {
	f := newFixture(t)
	got := f.redeem(webClient, f.code(f.authorization(webClient, "", "openid")))
	for _, token := range []string{got.AccessToken, got.IDToken, got.RefreshToken} {
		if strings.ContainsAny(token, "= \n+/") {
			t.Errorf("%q needs escaping", token)
		}
	}
}
