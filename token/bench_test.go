package token

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/opkit/opkit/store"
)

// benchServe sends requests without the cost of a client.
func benchServe(b *testing.B, h http.Handler, next func() *http.Request) {
	b.Helper()
	b.ReportAllocs()
	for b.Loop() {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, next())
		if w.Code != http.StatusOK {
			b.Fatalf("%d %s", w.Code, w.Body)
		}
	}
}

func benchPost(values url.Values) *http.Request {
	r, _ := http.NewRequest(http.MethodPost, endpoint, strings.NewReader(values.Encode()))
	r.Header.Set("Content-Type", formType)
	return r
}

// BenchmarkToken measures the token endpoint by grant and by what it signs:
// nothing (opaque), an access token (ES256), or an ID token (ES256, RS256).
func BenchmarkToken(b *testing.B) {
	for _, bc := range []struct {
		name, audience, alg string
		scope               []string
	}{
		{"opaque", "", "ES256", []string{"profile"}},
		{"jwt", testAudience, "ES256", []string{"contacts"}},
		{"idtoken-es256", "", "ES256", []string{"openid"}},
		{"idtoken-rs256", "", "RS256", []string{"openid"}},
	} {
		setup := func(b *testing.B) (*fixture, Authorization) {
			f := newFixture(b)
			f.changeClient(webClient, func(c *store.Client) {
				c.Metadata = &store.ClientMetadata{IDTokenSignedResponseAlg: bc.alg}
				c.ConfirmedAt, c.LastUsedAt = f.clock.Now(), f.clock.Now()
			})
			return f, f.authorization(webClient, bc.audience, bc.scope...)
		}
		b.Run("code/"+bc.name, func(b *testing.B) {
			f, a := setup(b)
			benchServe(b, f.token, func() *http.Request { return benchPost(codeForm(webClient, f.code(a))) })
		})
		b.Run("refresh/"+bc.name, func(b *testing.B) {
			f, a := setup(b)
			token := f.redeem(webClient, f.code(a)).RefreshToken
			// Each request is a retry within the leeway, which costs the same.
			benchServe(b, f.token, func() *http.Request { return benchPost(refreshForm(webClient, token)) })
		})
	}
	b.Run("client_credentials/jwt", func(b *testing.B) {
		f := newFixture(b)
		f.changeClient(webClient, func(c *store.Client) { c.LastUsedAt = f.clock.Now() })
		benchServe(b, f.token, func() *http.Request { return benchPost(credentialsForm(webClient)) })
	})
}

func BenchmarkUserInfo(b *testing.B) {
	for _, audience := range []string{"", testAudience} {
		name := "opaque"
		if audience != "" {
			name = "jwt"
		}
		b.Run(name, func(b *testing.B) {
			f := newFixture(b)
			token := f.redeem(webClient, f.code(f.authorization(webClient, audience, "openid", "profile", "email"))).AccessToken
			benchServe(b, f.userinfo, func() *http.Request {
				r, _ := http.NewRequest(http.MethodGet, infoURL, nil)
				r.Header.Set("Authorization", "Bearer "+token)
				return r
			})
		})
	}
}

// BenchmarkMint measures what the endpoint adds to a signature, without HTTP.
func BenchmarkMint(b *testing.B) {
	f := newFixture(b)
	a := f.authorization(webClient, "", "openid", "profile")
	b.Run("code", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := f.issuer.Code(f.tenant, a); err != nil {
				b.Fatal(err)
			}
		}
	})
	code := f.code(a)
	b.Run("open", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := f.issuer.openCode(f.tenant, code); err != nil {
				b.Fatal(err)
			}
		}
	})
}
