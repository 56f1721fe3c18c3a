package clientauth

import (
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"slices"

	"github.com/go-jose/go-jose/v4"

	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// This file encrypts to clients (RFC 7516) with the keys that they registered or
// publish.

// EncryptionAlgorithms are the supported values of alg in what is encrypted to a
// client, ContentEncryptions those of enc, for metadata and registration. RSA1_5 is
// not among them (RFC 8725 §3.2), nor is anything that keys on the client secret.
var (
	EncryptionAlgorithms = []string{"RSA-OAEP-256", "RSA-OAEP", "ECDH-ES", "ECDH-ES+A128KW", "ECDH-ES+A256KW"}
	ContentEncryptions   = tenant.ContentEncryptions
)

// DefaultContentEncryption is the enc of a client that registered only an alg
// (OpenID Connect Dynamic Client Registration §2).
const DefaultContentEncryption = "A128CBC-HS256"

// Recipient is a client that things are encrypted to.
type Recipient struct {
	key jose.JSONWebKey
	alg jose.KeyAlgorithm
	enc jose.ContentEncryption
}

// Recipient returns the client as the recipient of what is encrypted with the
// registered algorithms. Of several keys that fit, one that is declared to be for
// encryption is preferred. The error is ErrAlgorithm, ErrNoKeys or that of ctx, or
// wraps ErrKeysUnavailable.
func (k *KeySets) Recipient(ctx context.Context, client *store.Client, alg, enc string) (*Recipient, error) {
	if enc == "" {
		enc = DefaultContentEncryption
	}
	if !slices.Contains(EncryptionAlgorithms, alg) || !slices.Contains(ContentEncryptions, enc) {
		return nil, ErrAlgorithm
	}
	key, err := k.encryptionKey(ctx, client, alg)
	if err != nil {
		return nil, err
	}
	return &Recipient{*key, jose.KeyAlgorithm(alg), jose.ContentEncryption(enc)}, nil
}

func (k *KeySets) encryptionKey(ctx context.Context, client *store.Client, alg string) (*jose.JSONWebKey, error) {
	extra := client.Metadata
	switch {
	case extra != nil && len(extra.JWKS) > 0:
		keys, err := registeredKeys(extra.JWKS)
		if err != nil {
			return nil, err
		}
		if key := EncryptionKey(keys, alg); key != nil {
			return key, nil
		}
		return nil, ErrNoKeys
	case extra == nil || extra.JWKSURI == "":
		return nil, ErrNoKeys
	}
	at := address{client.TenantID, extra.JWKSURI}
	set, err := k.keysAt(ctx, at, nil)
	if err != nil {
		return nil, err
	}
	if key := EncryptionKey(set.keys, alg); key != nil {
		return key, nil
	}
	if set, err = k.keysAt(ctx, at, set); err != nil {
		return nil, err
	}
	if key := EncryptionKey(set.keys, alg); key != nil {
		return key, nil
	}
	return nil, ErrNoKeys
}

// EncryptionKey returns the key of a set that is used to encrypt with alg, nil if
// none fits.
func EncryptionKey(keys []jose.JSONWebKey, alg string) *jose.JSONWebKey {
	var found *jose.JSONWebKey
	for i := range keys {
		key := &keys[i]
		if key.Use != "" && key.Use != "enc" || key.Algorithm != "" && key.Algorithm != alg {
			continue
		}
		fits := false
		switch k := key.Key.(type) {
		case *rsa.PublicKey:
			fits = (alg == "RSA-OAEP-256" || alg == "RSA-OAEP") && k.N.BitLen() >= minRSABits
		case *ecdsa.PublicKey:
			fits = alg == "ECDH-ES" || alg == "ECDH-ES+A128KW" || alg == "ECDH-ES+A256KW"
		}
		if fits && (found == nil || found.Use == "" && key.Use == "enc") {
			found = key
		}
	}
	return found
}

// Encrypt returns the compact JWE of payload. contentType is its cty: "JWT" if the
// payload is a JWT itself (RFC 7519 §5.2), else empty.
func (r *Recipient) Encrypt(payload []byte, contentType jose.ContentType) (string, error) {
	options := &jose.EncrypterOptions{}
	if contentType != "" {
		options.WithContentType(contentType)
	}
	encrypter, err := jose.NewEncrypter(r.enc, jose.Recipient{Algorithm: r.alg, Key: r.key.Key, KeyID: r.key.KeyID}, options)
	if err != nil {
		return "", err
	}
	jwe, err := encrypter.Encrypt(payload)
	if err != nil {
		return "", err
	}
	return jwe.CompactSerialize()
}
