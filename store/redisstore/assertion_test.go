package redisstore

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/opkit/opkit/internal/clientauth"
	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
	"github.com/opkit/opkit/store/redisstore/redistest"
	"github.com/opkit/opkit/tenant"
)

// A client that authenticates while a server that forgot everything is young is told to
// come again, and succeeds then. What it sent before proves nothing, sent once or twice.
func TestAssertionsAfterARestart(t *testing.T) {
	server := redistest.New(t, "--save", "")
	s := open(t, Config{Client: server.Client(t)})
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k"}}})
	if err != nil {
		t.Fatal(err)
	}
	const issuer = "https://op.example"
	now := storeTime
	clock := func() time.Time { return now }
	records := memstore.New()
	tenants, err := tenant.New(tenant.Config{Stores: records.Stores(), Secrets: [][]byte{make([]byte, 32)}, Issuer: issuer, Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	tn, err := tenants.Tenant(t.Context(), tenant.DefaultID)
	if err != nil {
		t.Fatal(err)
	}
	if err := records.CreateClient(t.Context(), store.Client{
		TenantID: tn.ID(), ID: "app", TokenEndpointAuthMethod: clientauth.MethodPrivateKeyJWT, Metadata: &store.ClientMetadata{JWKS: keys},
	}); err != nil {
		t.Fatal(err)
	}
	a := &clientauth.Authenticator{Clients: records, Tickets: s, Tenants: tenants, Now: clock}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "k"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	made := 0
	assertion := func() string {
		made++
		payload, err := json.Marshal(map[string]any{
			"iss": "app", "sub": "app", "aud": issuer, "jti": strconv.Itoa(made), "iat": now.Unix(), "exp": now.Unix() + 300,
		})
		if err != nil {
			t.Fatal(err)
		}
		signed, err := signer.Sign(payload)
		if err != nil {
			t.Fatal(err)
		}
		compact, err := signed.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		return compact
	}
	// send answers as the endpoints do.
	send := func(assertion string) *httptest.ResponseRecorder {
		form, err := oauth.ParseQuery(url.Values{
			"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {assertion},
		}.Encode())
		if err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		if _, err := a.Authenticate(w, httptest.NewRequest(http.MethodPost, "/oauth/token", nil), tn, form); err != nil {
			oauth.WriteError(w, err)
		}
		return w
	}
	// What a server that never kept a marker may have forgotten is not known either.
	if w := send(assertion()); w.Code != http.StatusServiceUnavailable {
		t.Errorf("a young server: %d %s", w.Code, w.Body)
	}
	now = now.Add(time.Minute)
	seen, kept := assertion(), assertion()
	if w := send(seen); w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	server.Restart(t)
	now = now.Add(10 * time.Second)
	for what, sent := range map[string]string{"seen": seen, "seen again": seen, "made before": kept, "made now": assertion()} {
		if w := send(sent); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "60" {
			t.Errorf("%s: %d %v %s", what, w.Code, w.Header(), w.Body)
		}
	}
	now = now.Add(time.Minute)
	fresh := assertion()
	if w := send(fresh); w.Code != http.StatusOK {
		t.Errorf("after Retry-After: %d %s", w.Code, w.Body)
	}
	if w := send(fresh); w.Code != http.StatusUnauthorized {
		t.Errorf("the same again: %d %s", w.Code, w.Body)
	}
	if w := send(seen); w.Code != http.StatusServiceUnavailable {
		t.Errorf("seen, later: %d %s", w.Code, w.Body)
	}
}
