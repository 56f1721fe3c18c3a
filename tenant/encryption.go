package tenant

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
	josejson "github.com/go-jose/go-jose/v4/json"
)

// This file implements what opkit uses of RFC 7516 (JSON Web Encryption) to read
// what clients encrypt to it: compact serialization, and a key that is agreed on
// with ECDH-ES (RFC 7518 §4.6). There is neither RSA, whose padding has been an
// oracle too often, nor anything that a client secret or a password is the key of.

var (
	// DecryptionAlgorithms are the supported values of alg in what is encrypted to a
	// tenant, for metadata and registration.
	DecryptionAlgorithms = []string{"ECDH-ES", "ECDH-ES+A128KW", "ECDH-ES+A256KW"}
	// ContentEncryptions are the supported values of enc, whoever encrypts.
	ContentEncryptions = []string{"A128CBC-HS256", "A256CBC-HS512", "A128GCM", "A256GCM"}
)

// maxJWE bounds what is decoded.
const maxJWE = 16 << 10

// encryptionKey is a key that clients encrypt to. It never changes.
type encryptionKey struct {
	private *ecdsa.PrivateKey
	public  jose.JSONWebKey
}

// encryptionKeys returns the tenant's keys: the first one is published, and all
// decrypt.
//
// They are derived from the secrets in Config instead of being made and stored:
// every node has them without a write, they need no store to be read, and they
// follow the secrets when those are replaced. Whoever has the secrets could open
// stored keys as well.
func (d *Directory) encryptionKeys(t *Tenant) ([]encryptionKey, error) {
	if keys := t.keys.encryption.Load(); keys != nil {
		return *keys, nil
	}
	keys := make([]encryptionKey, 0, len(d.cfg.Secrets))
	for _, secret := range d.cfg.Secrets {
		k, err := deriveEncryptionKey(secret, t.ID())
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	t.keys.encryption.Store(&keys)
	return keys, nil
}

func deriveEncryptionKey(secret []byte, tenantID string) (encryptionKey, error) {
	for attempt := range 4 {
		scalar, err := hkdf.Key(sha256.New, secret, nil, fmt.Sprintf("opkit/encryption-key/v1/P-256/%d/%s", attempt, tenantID), 32)
		if err != nil {
			return encryptionKey{}, err
		}
		private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), scalar)
		if err != nil {
			continue // not below the order of the curve: one in four billion
		}
		public := jose.JSONWebKey{Key: private.Public(), Use: "enc"}
		thumbprint, err := public.Thumbprint(crypto.SHA256)
		if err != nil {
			return encryptionKey{}, err
		}
		public.KeyID = base64.RawURLEncoding.EncodeToString(thumbprint) // RFC 7638
		return encryptionKey{private, public}, nil
	}
	return encryptionKey{}, fmt.Errorf("tenant: no encryption key of tenant %q can be derived", tenantID)
}

// Decrypt returns the content of a compact JWE that is encrypted to the tenant with
// exactly these algorithms, of [DecryptionAlgorithms] and [ContentEncryptions]. The
// error wraps [ErrInvalidToken] or is a system error. Anybody can encrypt: who wrote
// the content is the caller's to find out.
func (d *Directory) Decrypt(t *Tenant, algorithm, encryption, compact string) ([]byte, error) {
	if !slices.Contains(DecryptionAlgorithms, algorithm) || !slices.Contains(ContentEncryptions, encryption) {
		return nil, fmt.Errorf("tenant: nothing is decrypted with %q and %q", algorithm, encryption)
	}
	kid, err := readEncryptedHeader(algorithm, encryption, compact)
	if err != nil {
		return nil, err
	}
	keys, err := d.encryptionKeys(t)
	if err != nil {
		return nil, err
	}
	jwe, err := jose.ParseEncryptedCompact(compact, []jose.KeyAlgorithm{jose.KeyAlgorithm(algorithm)}, []jose.ContentEncryption{jose.ContentEncryption(encryption)})
	if err != nil {
		return nil, invalidToken("it cannot be parsed")
	}
	for i := range keys {
		if kid != "" && kid != keys[i].public.KeyID {
			continue
		}
		if content, err := jwe.Decrypt(keys[i].private); err == nil {
			return content, nil
		}
	}
	return nil, invalidToken("it is not encrypted to a key of ours")
}

// encryptedMembers are all that a header may have. Others would have us decompress
// (zip), derive keys from passwords (p2c), use keys of the sender's choice (jwk,
// jku, x5u, x5c) or understand what we do not (crit).
var encryptedMembers = []string{"alg", "enc", "kid", "epk", "apu", "apv", "cty", "typ"}

// readEncryptedHeader returns the kid of a JWE, empty if it has none, whose header
// is one that Decrypt accepts.
func readEncryptedHeader(algorithm, encryption, compact string) (kid string, err error) {
	if len(compact) > maxJWE {
		return "", invalidToken("it is too long")
	}
	parts := strings.Split(compact, ".")
	if len(parts) != 5 || slices.ContainsFunc(parts, func(part string) bool { return !canonical(part) }) {
		return "", invalidToken("it is not a compact JWE")
	}
	raw, err := jwsEncoding.DecodeString(parts[0])
	if err != nil {
		return "", invalidToken("it is not a compact JWE")
	}
	var members map[string]josejson.RawMessage
	var header struct {
		Algorithm  string `json:"alg"`
		Encryption string `json:"enc"`
		KeyID      string `json:"kid"`
	}
	if josejson.Unmarshal(raw, &members) != nil || josejson.Unmarshal(raw, &header) != nil {
		return "", invalidToken("its header is not valid JSON, or has a member twice")
	}
	for name := range members {
		if !slices.Contains(encryptedMembers, name) {
			return "", invalidToken("its header has a member that is not supported")
		}
	}
	switch {
	case header.Algorithm != algorithm || header.Encryption != encryption:
		return "", invalidToken("its alg or enc is not the registered one")
	case (algorithm == "ECDH-ES") != (parts[1] == ""): // RFC 7516 §5.2, step 10
		return "", invalidToken("it has an encrypted key, or lacks it")
	}
	return header.KeyID, nil
}
