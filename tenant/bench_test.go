package tenant_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/opkit/opkit/store/cachestore"
	"github.com/opkit/opkit/tenant"
)

const benchPayload = `{"iss":"https://login.example.com/","sub":"auth0|0123456789abcdef","aud":"appointments:api","exp":1790000000,` +
	`"iat":1789996400,"client_id":"8SXWY6j3afl2CP5ntwEOpMdPxxy49Gt2","jti":"gr_abc.fam_def.0123456789","scope":"openid profile appointments contacts"}`

// warm returns a directory as a provider runs it: tenants behind a cache, keys made.
func warm(b *testing.B) *tenant.Directory {
	d, _ := newDirectory(b, func(cfg *tenant.Config) {
		keys := cfg.Stores.SigningKeys
		cfg.Stores = cachestore.New(cfg.Stores, cachestore.Config{})
		cfg.Stores.SigningKeys = keys
	})
	if w := get(d.JWKS(), "/"); w.Code != http.StatusOK {
		b.Fatal(w.Code)
	}
	return d
}

func benchmarkHandler(b *testing.B, h http.Handler, path string) {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	b.ReportAllocs()
	for b.Loop() {
		w := &discard{header: make(http.Header, 8)}
		h.ServeHTTP(w, r)
	}
}

func BenchmarkDiscovery(b *testing.B) {
	benchmarkHandler(b, warm(b).Discovery(), "/.well-known/openid-configuration")
}

func BenchmarkJWKS(b *testing.B) {
	benchmarkHandler(b, warm(b).JWKS(), "/.well-known/jwks.json")
}

func BenchmarkTenant(b *testing.B) {
	d := warm(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Tenant(b.Context(), tenant.DefaultID); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSign(b *testing.B) {
	for _, alg := range []string{"ES256", "RS256"} {
		b.Run(alg, func(b *testing.B) {
			d := warm(b)
			tn := theTenant(b, d)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := d.Sign(b.Context(), tn, alg, "at+jwt", []byte(benchPayload)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkVerify(b *testing.B) {
	for _, alg := range []string{"ES256", "RS256"} {
		b.Run(alg, func(b *testing.B) {
			d := warm(b)
			tn := theTenant(b, d)
			token, err := d.Sign(b.Context(), tn, alg, "at+jwt", []byte(benchPayload))
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := d.Verify(b.Context(), tn, "at+jwt", token); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// What strangers can make the provider do.
func BenchmarkVerifyUnknownKid(b *testing.B) {
	d := warm(b)
	tn := theTenant(b, d)
	token := unknownKid("x")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Verify(b.Context(), tn, "JWT", token); err == nil {
			b.Fatal("accepted")
		}
	}
}
