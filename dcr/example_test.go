package dcr_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/opkit/opkit/dcr"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/store/memstore"
	"github.com/opkit/opkit/tenant"
)

// An application registers itself at a provider that mounts this one handler on
// the mux it has.
func Example() {
	stores := memstore.New().Stores()
	secrets := [][]byte{[]byte("use 32 random bytes in real life")}
	tenants, err := tenant.New(tenant.Config{
		Stores: stores, Secrets: secrets, Issuer: "https://login.example.com",
		Settings: store.TenantSettings{Flags: store.TenantFlags{EnableDynamicClientRegistration: true}},
	})
	if err != nil {
		panic(err)
	}
	registrar, err := dcr.New(dcr.Config{Stores: stores, Tenants: tenants, Secrets: secrets})
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/oidc/register", registrar.Registration())
	server := httptest.NewServer(mux)
	defer server.Close()

	response, err := http.Post(server.URL+"/oidc/register", "application/json",
		strings.NewReader(`{"client_name":"My Dynamic Client","redirect_uris":["https://client.example.com/callback"]}`))
	if err != nil {
		panic(err)
	}
	defer response.Body.Close()
	var client struct {
		ID         string   `json:"client_id"`
		Secret     string   `json:"client_secret"`
		GrantTypes []string `json:"grant_types"`
	}
	if err := json.NewDecoder(response.Body).Decode(&client); err != nil {
		panic(err)
	}
	fmt.Println(response.Status, len(client.ID), len(client.Secret), client.GrantTypes)
	// Output: 201 Created 36 64 [authorization_code refresh_token]
}
