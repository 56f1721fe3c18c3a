package opkit_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/opkit/opkit"
	"github.com/opkit/opkit/dcr"
)

func TestSoftwareStatement(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "p1"}}})
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "p1"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	onEveryMount(t, func(t *testing.T, mount string) {
		w := newWorld(t, options{mount: mount, config: func(c *opkit.Config) {
			c.Registration.SoftwareIssuers = []dcr.SoftwareIssuer{{Issuer: "https://publisher.example", JWKS: set}}
			c.Registration.RequireSoftwareStatement = true
		}})
		register := func(claims string) *response {
			t.Helper()
			jws, err := signer.Sign([]byte(claims))
			if err != nil {
				t.Fatal(err)
			}
			statement, err := jws.CompactSerialize()
			if err != nil {
				t.Fatal(err)
			}
			return w.sendJSON(http.MethodPost, w.endpoint.Registration, "",
				`{"client_name":"Own","redirect_uris":["`+appRedirectURI+`"],"software_statement":"`+statement+`"}`)
		}
		res := register(`{"iss":"https://publisher.example","software_id":"app-1","aud":"` + w.endpoint.Registration + `","client_name":"Stated"}`)
		out := res.json(t)
		if res.StatusCode != 201 || out["client_name"] != "Stated" || out["software_statement"] == nil {
			t.Fatalf("%d %s", res.StatusCode, res.body)
		}
		// What was registered works as any other application does.
		app := registered{out["client_id"].(string), out["client_secret"].(string), appRedirectURI}
		if res := w.redeem(app, w.authorize(app).Get("code")); res.StatusCode != 200 {
			t.Errorf("redeeming: %d %s", res.StatusCode, res.body)
		}
		for claims, code := range map[string]string{
			`{"iss":"https://evil.example","software_id":"app-1"}`: "unapproved_software_statement",
			`{"iss":"https://publisher.example"}`:                  "invalid_software_statement",
		} {
			if res := register(claims); res.StatusCode != 400 || res.json(t)["error"] != code {
				t.Errorf("%s: %d %s", claims, res.StatusCode, res.body)
			}
		}
		if res := w.sendJSON(http.MethodPost, w.endpoint.Registration, "", `{"redirect_uris":["`+appRedirectURI+`"]}`); res.StatusCode != 400 || res.json(t)["error"] != "invalid_software_statement" {
			t.Errorf("without: %d %s", res.StatusCode, res.body)
		}
	})
}
