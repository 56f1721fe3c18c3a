package tenant_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
	"github.com/opkit/opkit/tenant"
)

// A provider with one issuer, mounted under a path of the host's mux.
func Example() {
	d, err := tenant.New(tenant.Config{
		Stores:  memstore.New().Stores(),
		Secrets: [][]byte{[]byte("at least 32 random bytes, kept secret")},
		Issuer:  "https://example.com/auth",
		Capabilities: tenant.Capabilities{
			ResponseTypes: []string{"code"}, SubjectTypes: []string{"public"}, IDTokenSigningAlgs: []string{"RS256"},
		},
		Endpoints: tenant.Endpoints{Introspection: tenant.NotMounted},
	})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	for _, path := range []string{
		"/auth/.well-known/openid-configuration",
		"/.well-known/oauth-authorization-server/auth", // RFC 8414 §3: inserted before the path
	} {
		mux.Handle(path, d.Discovery())
	}
	mux.Handle("/auth/.well-known/jwks.json", d.JWKS())

	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/.well-known/oauth-authorization-server/auth", nil))
	fmt.Println(w.Code, w.Header().Get("Cache-Control"))
	// Output: 200 public, max-age=60
}

// Several tenants below one host. Nothing is created by a request: the operator
// creates tenants.
func ExampleByPath() {
	ctx := context.Background()
	d, err := tenant.New(tenant.Config{
		Stores:   memstore.New().Stores(),
		Secrets:  [][]byte{[]byte("at least 32 random bytes, kept secret")},
		Resolver: tenant.ByPath("/t"),
	})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := d.CreateTenant(ctx, store.Tenant{ID: "acme", Issuer: "https://login.example.com/t/acme"}); err != nil {
		log.Fatal(err)
	}
	for _, path := range []string{"/t/acme/authorize", "/t/other/authorize"} {
		t, err := d.FromRequest(httptest.NewRequest(http.MethodGet, path, nil))
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(t.URL(d.Endpoints().Token))
	}
	// Output:
	// https://login.example.com/t/acme/oauth/token
	// store: not found
}

// An API, and what every third-party application may ask of it.
func ExampleDirectory_CreateClientGrant() {
	ctx := context.Background()
	d, err := tenant.New(tenant.Config{
		Stores:  memstore.New().Stores(),
		Secrets: [][]byte{[]byte("at least 32 random bytes, kept secret")},
		Issuer:  "https://login.example.com",
	})
	if err != nil {
		log.Fatal(err)
	}
	api, err := d.CreateAPI(ctx, store.API{
		TenantID: tenant.DefaultID,
		Audience: "appointments:api",
		Scopes:   []store.APIScope{{Value: "appointments"}, {Value: "contacts"}},
	})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := d.CreateClientGrant(ctx, store.ClientGrant{
		TenantID: tenant.DefaultID, ClientID: store.DefaultForThirdParty,
		Audience: api.Audience, SubjectType: store.SubjectUser, Scopes: []string{"appointments"},
	}); err != nil {
		log.Fatal(err)
	}
	t, err := d.Tenant(ctx, tenant.DefaultID)
	if err != nil {
		log.Fatal(err)
	}
	stranger := &store.Client{TenantID: t.ID(), ID: "tpc_stranger"}
	fmt.Println(d.AllowedScopes(ctx, t, &api, stranger, store.SubjectUser))
	_, err = d.AllowedScopes(ctx, t, &api, stranger, store.SubjectClient)
	fmt.Println(err)
	// Output:
	// [appointments] <nil>
	// unauthorized_client: third-party clients in strict mode act on behalf of users only
}

// service stands for a KMS: it makes keys, and signs with them by their names.
type service struct{ keys map[string]*ecdsa.PrivateKey }

func (s *service) GenerateKey(_ context.Context, tenantID, algorithm string) (crypto.PublicKey, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	name := fmt.Sprintf("%s/%s/%d", tenantID, algorithm, len(s.keys))
	s.keys[name] = key
	return &key.PublicKey, []byte(name), nil
}

func (s *service) OpenKey(_ context.Context, _, _ string, name []byte) (tenant.Signer, error) {
	return remoteKey{s, string(name)}, nil
}

type remoteKey struct {
	service *service
	name    string
}

func (k remoteKey) Sign(_ context.Context, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return k.service.keys[k.name].Sign(rand.Reader, digest, opts)
}

// Signing keys that live in a KMS: the source makes them there, and the store has
// no more than their names.
func ExampleKeySource() {
	ctx := context.Background()
	kms := &service{keys: map[string]*ecdsa.PrivateKey{}}
	d, err := tenant.New(tenant.Config{
		Stores:  memstore.New().Stores(),
		Secrets: [][]byte{[]byte("at least 32 random bytes, kept secret")},
		Issuer:  "https://example.com",
		Keys:    tenant.KeyConfig{Source: kms},
	})
	if err != nil {
		log.Fatal(err)
	}
	t, err := d.Tenant(ctx, tenant.DefaultID)
	if err != nil {
		log.Fatal(err)
	}
	token, err := d.Sign(ctx, t, "ES256", "at+jwt", []byte(`{"sub":"alice"}`))
	if err != nil {
		log.Fatal(err)
	}
	payload, err := d.Verify(ctx, t, "at+jwt", token)
	fmt.Println(string(payload), err, len(kms.keys))
	// Output: {"sub":"alice"} <nil> 1
}
