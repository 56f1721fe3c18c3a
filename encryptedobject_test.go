package opkit_test

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/opkit/opkit"
)

// encryptionKey returns the key that the provider publishes to be encrypted to.
func (w *world) encryptionKey() jose.JSONWebKey {
	w.t.Helper()
	for _, key := range w.jwks().Keys {
		if key.Use == "enc" {
			return key
		}
	}
	w.t.Fatal("no key to encrypt to is published")
	return jose.JSONWebKey{}
}

// encrypt encrypts to the provider.
func (w *world) encrypt(content, alg, enc string) string {
	w.t.Helper()
	key := w.encryptionKey()
	options := (&jose.EncrypterOptions{}).WithContentType("JWT")
	encrypter, err := jose.NewEncrypter(jose.ContentEncryption(enc), jose.Recipient{Algorithm: jose.KeyAlgorithm(alg), Key: key.Key, KeyID: key.KeyID}, options)
	if err != nil {
		w.t.Fatal(err)
	}
	jwe, err := encrypter.Encrypt([]byte(content))
	if err != nil {
		w.t.Fatal(err)
	}
	compact, err := jwe.CompactSerialize()
	if err != nil {
		w.t.Fatal(err)
	}
	return compact
}

// An encrypted object counts as the one inside: by value, by reference and pushed,
// with every algorithm that is advertised.
func TestEncryptedRequestObject(t *testing.T) {
	onEveryMount(t, func(t *testing.T, mount string) {
		s := newSite(t)
		w := newWorld(t, options{mount: mount, config: outboundTo(s.Server, "127.0.0.0/8")})
		metadata := newBrowser(t).get(w.issuer + "/.well-known/openid-configuration").json(t)
		for _, alg := range metadata["request_object_encryption_alg_values_supported"].([]any) {
			for _, enc := range metadata["request_object_encryption_enc_values_supported"].([]any) {
				app := w.register(map[string]any{
					"jwks": publicJWKS(jose.ES256), "require_signed_request_object": true, "request_uris": []string{s.URL + "/object"},
					"request_object_encryption_alg": alg, "request_object_encryption_enc": enc,
				})
				object := w.encrypt(w.sign(w.object(app)), alg.(string), enc.(string))
				s.serve(map[string]page{"/object": {objectType, object, 0}})
				for name, request := range map[string]string{
					"by value": w.authorizeURL(app, "request", object), "by reference": w.authorizeURL(app, "request_uri", s.URL+"/object"),
					"pushed": w.pushed(app, "request", object),
				} {
					b := newBrowser(t)
					if got := b.finish(b.get(request)).location(t); got.Get("code") == "" || got.Get("state") != "inside" {
						t.Errorf("%s, %s, %s: %v", alg, enc, name, got)
					}
				}
			}
		}
		// The default of enc, and a client that encrypts sometimes.
		app := w.register(map[string]any{"request_object_encryption_alg": "ECDH-ES"})
		for name, object := range map[string]string{
			"encrypted": w.encrypt(unsignedObject(t, w.object(app)), "ECDH-ES", "A128CBC-HS256"), "not encrypted": unsignedObject(t, w.object(app)),
		} {
			b := newBrowser(t)
			if got := b.finish(b.get(w.authorizeURL(app, "request", object))).location(t); got.Get("code") == "" {
				t.Errorf("%s: %v", name, got)
			}
		}
	})
}

// Anybody can encrypt: what is inside has to prove itself as if it were not.
func TestRefusedEncryptedRequestObjects(t *testing.T) {
	w := newWorld(t, options{})
	app := w.register(map[string]any{
		"jwks": publicJWKS(jose.ES256), "request_object_signing_alg": "ES256",
		"request_object_encryption_alg": "ECDH-ES+A128KW", "request_object_encryption_enc": "A128GCM",
	})
	other := w.register(map[string]any{"jwks": publicJWKS(jose.ES256), "request_object_encryption_alg": "ECDH-ES+A128KW"})
	encrypt := func(content string) string { return w.encrypt(content, "ECDH-ES+A128KW", "A128GCM") }
	valid := w.sign(w.object(app))
	good := encrypt(valid)
	elsewhere := newWorld(t, options{config: anotherSecret})
	for name, object := range map[string]string{
		"unsigned inside":           encrypt(unsignedObject(t, w.object(app))),
		"another client's inside":   encrypt(w.sign(w.object(other))),
		"not a JWT inside":          encrypt(string(marshal(t, w.object(app)))),
		"nothing inside":            encrypt(""),
		"encrypted twice":           encrypt(good),
		"a broken signature inside": encrypt(valid[:len(valid)-4] + "AAAA"),
		"HMAC inside":               encrypt(signObject(t, jose.HS256, []byte(app.secret), nil, marshal(t, w.object(app)))),
		"another alg":               w.encrypt(valid, "ECDH-ES", "A128GCM"),
		"another enc":               w.encrypt(valid, "ECDH-ES+A128KW", "A256GCM"),
		"to another provider":       elsewhere.encrypt(valid, "ECDH-ES+A128KW", "A128GCM"),
		"altered":                   good[:len(good)-2] + "AA",
		"cut":                       good[:strings.LastIndexByte(good, '.')+1],
		"not encrypted, broken":     valid[:len(valid)-4] + "AAAA",
		"five empty parts":          "....",
	} {
		res := newBrowser(t).get(w.authorizeURL(app, "request", object, "state", "outside"))
		if got := res.location(t); got.Get("error") != "invalid_request_object" || got.Get("state") != "outside" {
			t.Errorf("%s: %v", name, got)
		}
		if res := w.push(app, "request", object); res.StatusCode != http.StatusBadRequest || res.json(t)["error"] != "invalid_request_object" {
			t.Errorf("%s, pushed: %d %s", name, res.StatusCode, res.body)
		}
	}
	if got := newBrowser(t).get(w.authorizeURL(app, "request", good)); got.StatusCode != http.StatusOK {
		t.Errorf("the good one: %d", got.StatusCode)
	}
}

func anotherSecret(c *opkit.Config) { c.Secret = bytes.Repeat([]byte{9}, 32) }
