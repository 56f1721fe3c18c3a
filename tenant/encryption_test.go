package tenant_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// publishedEncryption returns the key that clients encrypt to.
func publishedEncryption(t *testing.T, d *tenant.Directory) jose.JSONWebKey {
	t.Helper()
	var found []jose.JSONWebKey
	for _, k := range jwks(t, d).Keys {
		if k.Use == "enc" {
			found = append(found, k)
		}
	}
	if len(found) != 1 || !found[0].IsPublic() || found[0].Algorithm != "" {
		t.Fatalf("%+v", found)
	}
	return found[0]
}

func encrypt(t testing.TB, alg jose.KeyAlgorithm, enc jose.ContentEncryption, key any, kid string, options *jose.EncrypterOptions, content string) string {
	t.Helper()
	encrypter, err := jose.NewEncrypter(enc, jose.Recipient{Algorithm: alg, Key: key, KeyID: kid, PBES2Count: 1000}, options)
	if err != nil {
		t.Fatal(err)
	}
	jwe, err := encrypter.Encrypt([]byte(content))
	if err != nil {
		t.Fatal(err)
	}
	compact, err := jwe.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return compact
}

func TestDecrypt(t *testing.T) {
	d, _ := newDirectory(t, nil)
	key := publishedEncryption(t, d)
	for _, alg := range tenant.DecryptionAlgorithms {
		for _, enc := range tenant.ContentEncryptions {
			for _, kid := range []string{key.KeyID, ""} {
				compact := encrypt(t, jose.KeyAlgorithm(alg), jose.ContentEncryption(enc), key.Key, kid, (&jose.EncrypterOptions{}).WithContentType("JWT").WithType("JWT"), "content")
				if got, err := d.Decrypt(theTenant(t, d), alg, enc, compact); err != nil || string(got) != "content" {
					t.Errorf("%s, %s, kid %q: %q, %v", alg, enc, kid, got, err)
				}
			}
		}
	}
}

// The key follows the secret: equal on every node and after every restart, another
// one for each tenant, and good while the secret is among the previous ones.
func TestEncryptionKeyIsDerivedFromTheSecret(t *testing.T) {
	older, newer := bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)
	directory := func(secrets ...[]byte) *tenant.Directory {
		d, stores := newDirectory(t, func(c *tenant.Config) {
			c.Secrets, c.Issuer = secrets, ""
			c.Resolver = tenant.ByPath("/t")
		})
		for _, id := range []string{tenant.DefaultID, "other"} {
			if err := stores.Tenants.CreateTenant(t.Context(), store.Tenant{ID: id, Issuer: "https://login.example.com/t/" + id, Version: 1}); err != nil {
				t.Fatal(err)
			}
		}
		return d
	}
	key := func(d *tenant.Directory, id string) jose.JSONWebKey {
		var set jose.JSONWebKeySet
		if err := json.Unmarshal(get(d.JWKS(), "https://login.example.com/t/"+id+"/keys").Body.Bytes(), &set); err != nil {
			t.Fatal(err)
		}
		return set.Keys[len(set.Keys)-1]
	}
	first := directory(older)
	before := key(first, tenant.DefaultID)
	if again := key(directory(older), tenant.DefaultID); again.KeyID != before.KeyID {
		t.Error("another node has another key")
	}
	if key(first, "other").KeyID == before.KeyID {
		t.Error("two tenants have one key")
	}
	replaced := directory(newer, older)
	if key(replaced, tenant.DefaultID).KeyID == before.KeyID {
		t.Error("the old secret's key is still published")
	}
	compact := encrypt(t, jose.ECDH_ES, jose.A128GCM, before.Key, before.KeyID, nil, "content")
	decrypt := func(d *tenant.Directory, id string) error {
		tn, err := d.Tenant(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		_, err = d.Decrypt(tn, "ECDH-ES", "A128GCM", compact)
		return err
	}
	if err := decrypt(replaced, tenant.DefaultID); err != nil {
		t.Errorf("with the previous secret: %v", err)
	}
	for rule, err := range map[string]error{
		"another tenant": decrypt(first, "other"), "without the previous secret": decrypt(directory(newer), tenant.DefaultID),
	} {
		if !errors.Is(err, tenant.ErrInvalidToken) {
			t.Errorf("%s: %v", rule, err)
		}
	}
}

// altered returns compact with members of its header changed; nil removes.
func altered(t testing.TB, compact string, changes map[string]any) string {
	t.Helper()
	encoded, rest, _ := strings.Cut(compact, ".")
	raw, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil {
		t.Fatal(err)
	}
	var header map[string]any
	if err := json.Unmarshal(raw, &header); err != nil {
		t.Fatal(err)
	}
	maps.Copy(header, changes)
	maps.DeleteFunc(header, func(_ string, v any) bool { return v == nil })
	if raw, err = json.Marshal(header); err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(raw) + "." + rest
}

func TestDecryptRefuses(t *testing.T) {
	d, _ := newDirectory(t, nil)
	key := publishedEncryption(t, d)
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	large, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	secret := bytes.Repeat([]byte{3}, 16)
	good := encrypt(t, jose.ECDH_ES, jose.A128GCM, key.Key, key.KeyID, nil, "content")
	parts := strings.Split(good, ".")
	with := func(i int, value string) string {
		changed := append([]string{}, parts...)
		changed[i] = value
		return strings.Join(changed, ".")
	}
	header := func(changes map[string]any) string { return altered(t, good, changes) }
	deflate := &jose.EncrypterOptions{Compression: jose.DEFLATE}
	for rule, compact := range map[string]string{
		"empty":                     "",
		"dots":                      "....",
		"a JWS":                     parts[0] + "." + parts[1] + "." + parts[2],
		"six parts":                 good + ".x",
		"a line break":              good[:9] + "\n" + good[9:],
		"padding":                   with(4, parts[4]+"=="),
		"too long":                  good + strings.Repeat("A", 16<<10),
		"compressed":                encrypt(t, jose.ECDH_ES, jose.A128GCM, key.Key, key.KeyID, deflate, strings.Repeat("A", 1<<20)),
		"for somebody else":         encrypt(t, jose.ECDH_ES, jose.A128GCM, stranger.Public(), "", nil, "content"),
		"with our kid":              encrypt(t, jose.ECDH_ES, jose.A128GCM, stranger.Public(), key.KeyID, nil, "content"),
		"another kid":               encrypt(t, jose.ECDH_ES, jose.A128GCM, key.Key, "other", nil, "content"),
		"another curve":             encrypt(t, jose.ECDH_ES, jose.A128GCM, large.Public(), key.KeyID, nil, "content"),
		"another alg of the family": encrypt(t, jose.ECDH_ES_A128KW, jose.A128GCM, key.Key, key.KeyID, nil, "content"),
		"another enc":               encrypt(t, jose.ECDH_ES, jose.A256GCM, key.Key, key.KeyID, nil, "content"),
		"RSA":                       encrypt(t, jose.RSA_OAEP_256, jose.A128GCM, rsaKey.Public(), key.KeyID, nil, "content"),
		"RSA1_5":                    encrypt(t, jose.RSA1_5, jose.A128GCM, rsaKey.Public(), key.KeyID, nil, "content"),
		"dir":                       encrypt(t, jose.DIRECT, jose.A128GCM, secret, key.KeyID, nil, "content"),
		"a password":                encrypt(t, jose.PBES2_HS256_A128KW, jose.A128GCM, secret, key.KeyID, nil, "content"),
		"a password's rounds":       header(map[string]any{"p2c": 1 << 30, "p2s": "AAAA"}),
		"zip in the header":         header(map[string]any{"zip": "DEF"}),
		"crit":                      header(map[string]any{"crit": []string{"exp"}, "exp": 1}),
		"jwk":                       header(map[string]any{"jwk": key}),
		"jku":                       header(map[string]any{"jku": "https://evil.example/"}),
		"x5u":                       header(map[string]any{"x5u": "https://evil.example/"}),
		"x5c":                       header(map[string]any{"x5c": []string{"AAAA"}}),
		"a member that is new":      header(map[string]any{"other": 1}),
		"no alg":                    header(map[string]any{"alg": nil}),
		"no enc":                    header(map[string]any{"enc": nil}),
		"no epk":                    header(map[string]any{"epk": nil}),
		"epk of another type":       header(map[string]any{"epk": map[string]any{"kty": "RSA", "n": "AQAB", "e": "AQAB"}}),
		"epk off the curve":         header(map[string]any{"epk": map[string]any{"kty": "EC", "crv": "P-256", "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyA"}}),
		"epk symmetric":             header(map[string]any{"epk": map[string]any{"kty": "oct", "k": "AAAA"}}),
		"header altered":            header(map[string]any{"typ": "JWT"}),
		"header not JSON":           with(0, "AAAA"),
		"header with a member twice": with(0, base64.RawURLEncoding.EncodeToString([]byte(
			`{"alg":"ECDH-ES","enc":"A128GCM","enc":"A128GCM"}`))),
		"header null":      with(0, base64.RawURLEncoding.EncodeToString([]byte(`null`))),
		"an encrypted key": with(1, "AAAA"),
		"no nonce":         with(2, ""),
		"a long nonce":     with(2, strings.Repeat("A", 64)),
		"no content":       with(3, ""),
		"content altered":  with(3, "AAAA"),
		"no tag":           with(4, ""),
		"tag cut":          with(4, parts[4][:4]),
	} {
		if got, err := d.Decrypt(theTenant(t, d), "ECDH-ES", "A128GCM", compact); !errors.Is(err, tenant.ErrInvalidToken) || got != nil {
			t.Errorf("%s: %q, %v", rule, got, err)
		}
	}
	wrapped := encrypt(t, jose.ECDH_ES_A128KW, jose.A128CBC_HS256, key.Key, key.KeyID, nil, "content")
	parts = strings.Split(wrapped, ".")
	for rule, compact := range map[string]string{
		"no encrypted key": with(1, ""), "a short one": with(1, "AAAA"), "another": with(1, strings.Repeat("A", len(parts[1]))),
		"no nonce": with(2, ""), "no content": with(3, ""), "content that is no block": with(3, "AAAA"), "tag cut": with(4, parts[4][:4]),
	} {
		if got, err := d.Decrypt(theTenant(t, d), "ECDH-ES+A128KW", "A128CBC-HS256", compact); !errors.Is(err, tenant.ErrInvalidToken) || got != nil {
			t.Errorf("key wrap, %s: %q, %v", rule, got, err)
		}
	}
	// What no registration could have is the caller's mistake.
	for _, pair := range [][2]string{{"RSA-OAEP", "A128GCM"}, {"dir", "A128GCM"}, {"", ""}, {"ECDH-ES", "none"}} {
		if got, err := d.Decrypt(theTenant(t, d), pair[0], pair[1], good); err == nil || errors.Is(err, tenant.ErrInvalidToken) || got != nil {
			t.Errorf("%q: %q, %v", pair, got, err)
		}
	}
}

func FuzzDecrypt(f *testing.F) {
	d, _ := newDirectory(f, nil)
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(get(d.JWKS(), "/").Body.Bytes(), &set); err != nil {
		f.Fatal(err)
	}
	key := set.Keys[len(set.Keys)-1]
	for _, enc := range tenant.ContentEncryptions {
		for _, alg := range tenant.DecryptionAlgorithms {
			f.Add(alg, enc, encrypt(f, jose.KeyAlgorithm(alg), jose.ContentEncryption(enc), key.Key, key.KeyID, nil, "content"))
		}
	}
	f.Add("ECDH-ES", "A128GCM", "e30.....")
	f.Add("ECDH-ES", "A128GCM", "....")
	tn := theTenant(f, d)
	f.Fuzz(func(t *testing.T, alg, enc, compact string) {
		content, err := d.Decrypt(tn, alg, enc, compact)
		if err != nil && content != nil {
			t.Fatalf("an error with the content %q", content)
		}
		if len(content) > len(compact) {
			t.Fatalf("%d bytes became %d", len(compact), len(content))
		}
	})
}
