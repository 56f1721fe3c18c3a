package dcr

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/opkit/opkit/store"
)

const pageRequest = `{"client_name":"My Dynamic Client","redirect_uris": ["https://client.example.com/callback", "https://client.example.com/callback2"]}`

// BenchmarkRegistration measures the request of the reference page against a
// handler that does nothing but parse, draw random values and write JSON.
func BenchmarkRegistration(b *testing.B) {
	quiet := func(c *Config) { c.Logger = nil }
	b.Run("opkit", func(b *testing.B) {
		benchmark(b, newFixture(b, options{config: quiet, stores: func(s *store.Stores) { s.Clients = &sink{} }}).handler)
	})
	b.Run("opkit-memstore", func(b *testing.B) {
		benchmark(b, newFixture(b, options{config: quiet}).handler)
	})
	b.Run("bare", func(b *testing.B) { benchmark(b, http.HandlerFunc(bare)) })
}

// bare is the floor.
func bare(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<10))
	if err != nil {
		return
	}
	var m struct {
		ClientName   string   `json:"client_name"`
		RedirectURIs []string `json:"redirect_uris"`
	}
	if err := json.Unmarshal(body, &m); err != nil {
		return
	}
	var random [72]byte
	rand.Read(random[:])
	secret := base64.RawURLEncoding.EncodeToString(random[24:])
	_ = sha256.Sum256([]byte(secret))
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusCreated)
	json.NewEncoder(w).Encode(struct {
		ClientName            string   `json:"client_name"`
		ClientID              string   `json:"client_id"`
		ClientSecret          string   `json:"client_secret"`
		RedirectURIs          []string `json:"redirect_uris"`
		ClientSecretExpiresAt int64    `json:"client_secret_expires_at"`
	}{m.ClientName, base64.RawURLEncoding.EncodeToString(random[:24]), secret, m.RedirectURIs, 0})
}

func benchmark(b *testing.B, h http.Handler) {
	b.Helper()
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequest("POST", "https://login.example.com/oidc/register", strings.NewReader(pageRequest))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusCreated {
			b.Fatalf("%d %s", w.Code, w.Body)
		}
	}
}
