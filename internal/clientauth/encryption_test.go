package clientauth

import (
	"errors"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/opkit/opkit/internal/httpx"
	"github.com/opkit/opkit/store"
)

func TestEncryptionKeyIsChosen(t *testing.T) {
	k := keys()
	key := func(id, use, alg string, of jose.JSONWebKey) jose.JSONWebKey {
		of.KeyID, of.Use, of.Algorithm = id, use, alg
		return of
	}
	rsaKey, ecKey, edKey, small := public("", k.rsa), public("", k.ec), public("", k.ed), public("", k.small)
	for _, tt := range []struct {
		rule string
		keys []jose.JSONWebKey
		alg  string
		want string
	}{
		{"by type", []jose.JSONWebKey{key("e", "", "", ecKey), key("r", "", "", rsaKey)}, "RSA-OAEP-256", "r"},
		{"by type, EC", []jose.JSONWebKey{key("r", "", "", rsaKey), key("e", "", "", ecKey)}, "ECDH-ES+A128KW", "e"},
		{"one for encryption first", []jose.JSONWebKey{key("any", "", "", rsaKey), key("enc", "enc", "", rsaKey), key("enc2", "enc", "", rsaKey)}, "RSA-OAEP", "enc"},
		{"the first of several", []jose.JSONWebKey{key("1", "", "", ecKey), key("2", "", "", ecKey)}, "ECDH-ES", "1"},
		{"not one for signatures", []jose.JSONWebKey{key("s", "sig", "", rsaKey)}, "RSA-OAEP", ""},
		{"not one for another algorithm", []jose.JSONWebKey{key("o", "enc", "RSA-OAEP", rsaKey)}, "RSA-OAEP-256", ""},
		{"one for the algorithm", []jose.JSONWebKey{key("o", "enc", "RSA-OAEP", rsaKey), key("p", "", "RSA-OAEP-256", rsaKey)}, "RSA-OAEP-256", "p"},
		{"no short RSA key", []jose.JSONWebKey{key("x", "enc", "", small)}, "RSA-OAEP", ""},
		{"no Ed25519 key", []jose.JSONWebKey{key("x", "enc", "", edKey)}, "ECDH-ES", ""},
		{"no unknown algorithm", []jose.JSONWebKey{key("x", "enc", "", rsaKey)}, "RSA1_5", ""},
		{"nothing of nothing", nil, "ECDH-ES", ""},
	} {
		got := EncryptionKey(tt.keys, tt.alg)
		if got == nil != (tt.want == "") || got != nil && got.KeyID != tt.want {
			t.Errorf("%s: %+v", tt.rule, got)
		}
	}
}

func TestRecipientIsRefused(t *testing.T) {
	k := keys()
	var none *KeySets
	registered := &store.Client{ID: "app", Metadata: &store.ClientMetadata{JWKS: jwks(t, public("1", k.ec))}}
	for rule, tt := range map[string]struct {
		client   *store.Client
		alg, enc string
		want     error
	}{
		"RSA1_5":                   {registered, "RSA1_5", "A128GCM", ErrAlgorithm},
		"symmetric":                {registered, "dir", "A128GCM", ErrAlgorithm},
		"no alg":                   {registered, "", "A128GCM", ErrAlgorithm},
		"unknown enc":              {registered, "ECDH-ES", "A128CBC", ErrAlgorithm},
		"no key of the type":       {registered, "RSA-OAEP", "A128GCM", ErrNoKeys},
		"a client without keys":    {&store.Client{ID: "app"}, "ECDH-ES", "", ErrNoKeys},
		"a key set that is broken": {&store.Client{ID: "app", Metadata: &store.ClientMetadata{JWKS: []byte(`{"keys":{}}`)}}, "ECDH-ES", "", ErrNoKeys},
		"keys by reference":        {publishes("app", "https://app.example/jwks"), "ECDH-ES", "", ErrKeysUnavailable},
	} {
		if r, err := none.Recipient(t.Context(), tt.client, tt.alg, tt.enc); r != nil || !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, %v", rule, r, err)
		}
	}
	k2, _ := keySets(t, httpx.NewOutbound(httpx.OutboundConfig{}))
	if _, err := k2.Recipient(t.Context(), publishes("app", "https://127.0.0.1/jwks"), "ECDH-ES", ""); !errors.Is(err, ErrKeysUnavailable) {
		t.Errorf("an address inside: %v", err)
	}
}

// A private or symmetric key that got into a record is not encrypted with.
func TestRecipientHasAPublicKey(t *testing.T) {
	k := keys()
	client := &store.Client{ID: "app", Metadata: &store.ClientMetadata{JWKS: jwks(t,
		jose.JSONWebKey{KeyID: "private", Key: k.ec}, jose.JSONWebKey{KeyID: "oct", Key: []byte(secret)})}}
	if r, err := (&KeySets{}).Recipient(t.Context(), client, "ECDH-ES", ""); !errors.Is(err, ErrNoKeys) {
		t.Errorf("%v, %v", r, err)
	}
}
